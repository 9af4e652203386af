//! Memory that is written before it is read, and work in pieces.

use std::mem::{ManuallyDrop, MaybeUninit};

use rayon::prelude::*;

use super::denormal::Flushed;

/// A number that may not have been written yet.
pub(super) type Slot = MaybeUninit<f32>;

/// Room for `n` numbers: filling it with zeros first would cost as much as many kernels do.
pub(super) fn slots(n: usize) -> Vec<Slot> {
    let mut slots = Vec::with_capacity(n);
    // SAFETY: the capacity is `n`, and a slot may hold anything.
    unsafe { slots.set_len(n) };
    slots
}

/// The numbers of slots that have been written.
///
/// # Safety
/// Every slot has been written.
pub(super) unsafe fn written(slots: Vec<Slot>) -> Vec<f32> {
    let mut slots = ManuallyDrop::new(slots);
    // SAFETY: same allocation, and a slot has the layout of its number, which the caller has written.
    unsafe { Vec::from_raw_parts(slots.as_mut_ptr().cast(), slots.len(), slots.capacity()) }
}

/// The same in place.
///
/// # Safety
/// Every slot has been written.
pub(super) unsafe fn written_mut(slots: &mut [Slot]) -> &mut [f32] {
    // SAFETY: a slot has the layout of its number, which the caller has written.
    unsafe { &mut *(std::ptr::from_mut(slots) as *mut [f32]) }
}

/// Pieces of `size` numbers; empty ones without end where there are no numbers.
pub(super) fn pieces(x: &[f32], size: usize) -> impl Iterator<Item = &[f32]> {
    x.chunks(size.max(1)).chain(std::iter::repeat(&[][..]))
}

/// The same to be written.
pub(super) fn pieces_mut<T>(x: &mut [T], size: usize) -> impl Iterator<Item = &mut [T]> {
    x.chunks_mut(size.max(1)).chain(std::iter::repeat_with(|| &mut [][..]))
}

/// Below this many nanoseconds of work, waking other threads costs more than it saves.
const WORTH_SHARING: usize = 40_000;

/// Does all jobs, in any order and beside each other where `nanoseconds`, a guess of the work of all, is enough for that.
pub(super) fn run<T: Send>(nanoseconds: usize, jobs: impl Iterator<Item = T>, job: impl Fn(T) + Send + Sync) {
    if nanoseconds < WORTH_SHARING || rayon::current_num_threads() == 1 {
        let _flushed = Flushed::new();
        return jobs.for_each(job);
    }
    let jobs: Vec<T> = jobs.collect();
    jobs.into_par_iter().with_max_len(1).for_each(|x| {
        let _flushed = Flushed::new();
        job(x);
    });
}

/// Memory that jobs write at places of their own that do not lie in pieces.
pub(super) struct Scattered<'a> {
    start: *mut Slot,
    len: usize,
    owner: std::marker::PhantomData<&'a mut [Slot]>,
}

// SAFETY: reaching the memory is unsafe and takes callers that keep jobs apart.
unsafe impl Sync for Scattered<'_> {}

impl<'a> Scattered<'a> {
    pub(super) fn new(slots: &'a mut [Slot]) -> Self {
        Self { start: slots.as_mut_ptr(), len: slots.len(), owner: std::marker::PhantomData }
    }

    /// Where a block of `m` rows of `n` numbers, `width` apart, starts.
    ///
    /// # Panics
    /// If the block is not inside.
    pub(super) fn block(&self, start: usize, [m, n]: [usize; 2], width: usize) -> *mut f32 {
        assert!(m > 0 && start + (m - 1) * width + n <= self.len, "a block of {m} x {n} at {start} of {}", self.len);
        // SAFETY: inside, as was just asserted.
        unsafe { self.start.add(start).cast() }
    }

    /// A run of slots.
    ///
    /// # Panics
    /// If the run is not inside.
    ///
    /// # Safety
    /// No other job uses these slots, and this one does not hold them twice.
    #[expect(clippy::mut_from_ref, reason = "the caller keeps jobs apart")]
    pub(super) unsafe fn at(&self, start: usize, len: usize) -> &mut [Slot] {
        assert!(start + len <= self.len, "{start} + {len} slots of {}", self.len);
        // SAFETY: inside, and the caller has it alone.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), len) }
    }
}
