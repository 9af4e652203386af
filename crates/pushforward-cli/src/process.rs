//! The program's allocator and threads, which the benchmarks share.
//!
//! Training allocates and frees large buffers all the time. The system's allocator returns them to the kernel and pays for fresh
//! pages at every step; this one returns them after a delay, unless it is told to keep them.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Position of `purge_delay` in mimalloc's list of options, which its bindings leave out.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// Sets up allocator and threads, so many if a number is given; call before anything is computed.
pub(crate) fn prepare(threads: Option<usize>) {
    keep_memory();
    work_here(threads);
}

/// Keeps freed memory for the next step instead of returning it to the system; memory use stays at its peak.
fn keep_memory() {
    // SAFETY: sets a number that the allocator reads when it frees; unknown options are ignored.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, -1) };
}

/// Makes this thread a worker of the thread pool. Otherwise it would sleep during parallel work and be woken at its
/// end, which takes as long as a small operation. Not as the only worker: work handed over by another thread would wait
/// for it.
fn work_here(threads: Option<usize>) {
    let asked =
        threads.or_else(|| std::env::var("RAYON_NUM_THREADS").ok().and_then(|n| n.parse().ok()).filter(|n| *n > 0));
    let threads = asked.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
    let pool = if threads > 1 { pool.use_current_thread() } else { pool };
    // If a pool exists already, it is used as it is.
    let _ = pool.build_global();
}
