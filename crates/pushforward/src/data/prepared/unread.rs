//! Files that cannot be read any more in the middle of work.
//!
//! A set that was opened and checked may still fail later: a disk breaks, a shard is removed. [`Dataset::write`] has no
//! error, since other sets have none, so that such a failure unwinds with the error, which [`reading`] returns.
//!
//! [`Dataset::write`]: crate::data::Dataset::write

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::data::DataError;

struct Unread(DataError);

/// The value, or an end of the work that reads it.
pub(super) fn or_unwind<T>(read: Result<T, DataError>) -> T {
    read.unwrap_or_else(|error| resume_unwind(Box::new(Unread(error))))
}

/// Does work that reads items.
///
/// # Errors
/// If the files of a prepared set cannot be read any more: which, and why.
///
/// # Examples
/// ```
/// use pushforward::data::reading;
/// assert_eq!(reading(|| 3)?, 3);
/// # Ok::<(), pushforward::data::DataError>(())
/// ```
pub fn reading<T>(work: impl FnOnce() -> T) -> Result<T, DataError> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| match panic.downcast::<Unread>() {
        Ok(unread) => unread.0,
        Err(other) => resume_unwind(other),
    })
}
