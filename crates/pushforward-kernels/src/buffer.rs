//! Uninitialised output buffers, and work split into pieces.

use std::mem::{ManuallyDrop, MaybeUninit};

use rayon::prelude::*;

use super::denormal::Flushed;

/// A number that may be uninitialised.
pub(super) type Slot = MaybeUninit<f32>;

/// An uninitialised buffer of `n` numbers: filling it with zeros would cost as much as many kernels do.
pub(super) fn slots(n: usize) -> Vec<Slot> {
    let mut slots = Vec::with_capacity(n);
    // SAFETY: the capacity is `n`, and a slot may be uninitialised.
    unsafe { slots.set_len(n) };
    slots
}

/// The numbers of a buffer that has been written.
///
/// # Safety
/// Every slot has been written.
pub(super) unsafe fn written(slots: Vec<Slot>) -> Vec<f32> {
    let mut slots = ManuallyDrop::new(slots);
    // SAFETY: same allocation, and a slot has the layout of its number, which the caller has written.
    unsafe { Vec::from_raw_parts(slots.as_mut_ptr().cast(), slots.len(), slots.capacity()) }
}

/// [`written`], in place.
///
/// # Safety
/// Every slot has been written.
pub(super) unsafe fn written_mut(slots: &mut [Slot]) -> &mut [f32] {
    // SAFETY: a slot has the layout of its number, which the caller has written.
    unsafe { &mut *(std::ptr::from_mut(slots) as *mut [f32]) }
}

/// Pieces of `size` numbers; an endless iterator of empty slices if `x` is empty (an absent tensor).
pub(super) fn pieces(x: &[f32], size: usize) -> impl Iterator<Item = &[f32]> {
    x.chunks(size.max(1)).chain(std::iter::repeat(&[][..]))
}

/// [`pieces`], mutable.
pub(super) fn pieces_mut<T>(x: &mut [T], size: usize) -> impl Iterator<Item = &mut [T]> {
    x.chunks_mut(size.max(1)).chain(std::iter::repeat_with(|| &mut [][..]))
}

/// Below this many nanoseconds of work, waking other threads costs more than it saves.
const WORTH_SHARING: usize = 40_000;

/// Runs all jobs, in any order, concurrently if `nanoseconds`, an estimate of the total work, makes that worthwhile.
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

/// Memory that concurrent jobs write at disjoint, not contiguous places.
pub(super) struct Scattered<'a> {
    start: *mut Slot,
    len: usize,
    owner: std::marker::PhantomData<&'a mut [Slot]>,
}

// SAFETY: access to the memory is unsafe; callers guarantee that jobs write disjoint slots.
unsafe impl Sync for Scattered<'_> {}

impl<'a> Scattered<'a> {
    pub(super) fn new(slots: &'a mut [Slot]) -> Self {
        Self { start: slots.as_mut_ptr(), len: slots.len(), owner: std::marker::PhantomData }
    }

    /// Pointer to a block of `m` rows of `n` numbers with stride `width`.
    ///
    /// # Panics
    /// If the block is out of bounds.
    pub(super) fn block(&self, start: usize, [m, n]: [usize; 2], width: usize) -> *mut f32 {
        assert!(m > 0 && start + (m - 1) * width + n <= self.len, "a block of {m} x {n} at {start} of {}", self.len);
        // SAFETY: in bounds, as was just asserted.
        unsafe { self.start.add(start).cast() }
    }

    /// `len` consecutive slots.
    ///
    /// # Panics
    /// If the slots are out of bounds.
    ///
    /// # Safety
    /// No other reference to these slots exists while the result is in use.
    #[expect(clippy::mut_from_ref, reason = "the caller keeps jobs apart")]
    pub(super) unsafe fn at(&self, start: usize, len: usize) -> &mut [Slot] {
        assert!(start + len <= self.len, "{start} + {len} slots of {}", self.len);
        // SAFETY: in bounds, and the caller has exclusive access.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), len) }
    }
}
