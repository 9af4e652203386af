//! Long computations beside the interpreter: other threads of Python run meanwhile, and Ctrl-C ends them.

use pushforward::kernels::Precision;
use pyo3::prelude::*;

/// Runs a computation without holding the interpreter. It calls its argument between parts of the work, and stops if
/// that returns false, which it does after Ctrl-C.
///
/// # Errors
/// The exception of the interruption.
pub(crate) fn beside<T: Send>(
    py: Python<'_>,
    compute: impl FnOnce(&mut dyn FnMut(usize) -> bool) -> T + Send,
) -> PyResult<T> {
    let mut stopped: Option<PyErr> = None;
    let found = py.detach(|| {
        // As in the program; a setting of the thread.
        let _precision = Precision::High.scope();
        compute(&mut |_| match Python::attach(|py| py.check_signals()) {
            Ok(()) => true,
            Err(error) => {
                stopped = Some(error);
                false
            }
        })
    });
    stopped.map_or(Ok(found), Err)
}
