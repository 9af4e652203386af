//! The program's allocator, which the benchmarks share.
//!
//! Training allocates and frees large buffers all the time. The system's allocator returns them to the kernel and pays for fresh
//! pages at every step; this one returns them after a delay, unless it is told to keep them.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Position of `purge_delay` in mimalloc's list of options, which its bindings leave out.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// Keeps freed memory for the next step instead of returning it; the most that was ever in use stays taken.
pub(crate) fn keep_memory() {
    // SAFETY: sets a number that the allocator reads when it frees; an option that it does not know is ignored.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, -1) };
}
