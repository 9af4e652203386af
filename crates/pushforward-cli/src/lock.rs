//! The lock of a run folder: one process writes to it at a time.
//!
//! The system releases the lock when the process ends, however it ends; the file stays.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use crate::files::FilesError;

/// Name of the file in a run folder.
pub(crate) const LOCK: &str = "lock";

/// Held by the process that writes to a run folder.
#[derive(Debug)]
pub(crate) struct RunLock {
    /// Keeps the lock until it is closed.
    _file: File,
}

/// Why a folder cannot be written to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    /// Another process writes to it.
    #[error("{} is in use by {holder}: wait for its end, stop it, or train in another folder", path.display())]
    Held {
        /// The folder.
        path: PathBuf,
        /// The other process.
        holder: String,
    },
    /// The file cannot be opened or locked.
    #[error(transparent)]
    Files(#[from] FilesError),
}

impl RunLock {
    /// Locks an existing folder.
    ///
    /// # Errors
    /// See [`LockError`].
    pub(crate) fn of(folder: &Path) -> Result<Self, LockError> {
        let path = folder.join(LOCK);
        let failed = |source| FilesError::io("lock", &path)(source);
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // On systems where a locked file cannot be read, the process stays unnamed.
                let _ = file.take(200).read_to_string(&mut holder);
                let holder = if holder.is_empty() { "another process".to_owned() } else { holder };
                return Err(LockError::Held { path: folder.to_path_buf(), holder });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source).into()),
        }
        let name = format!("process {}", std::process::id());
        file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(name.as_bytes())).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_process_is_refused_and_told_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let first = RunLock::of(folder.path()).unwrap();
        let message = RunLock::of(folder.path()).unwrap_err().to_string();
        assert!(message.contains(&format!("process {}", std::process::id())), "{message}");
        drop(first);
        RunLock::of(folder.path()).unwrap();
    }
}
