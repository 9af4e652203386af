//! Atomic writes, and run directories that are never overwritten.
//!
//! Every file of a run is written to a temporary file beside its target and renamed when complete, so that a crash or
//! a full disk leaves the old file or none, but never a partial one.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::lock::{LOCK, LockError, RunLock};

/// Folders that every run directory holds.
const RUN_FOLDERS: [&str; 2] = ["checkpoints", "samples"];

/// The file that marks a run directory: the resolved recipe.
pub(crate) const RUN_RECIPE: &str = "recipe.toml";

/// Beginning of the names of temporary files.
const PARTIAL: &str = ".partial-";

/// Errors of files and run directories.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FilesError {
    /// An operation of the operating system failed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// The operation, as a verb: "write", "read", "create".
        action: &'static str,
        /// The file or folder it was tried on.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The folder of a new run is not empty.
    #[error(
        "the folder {} is not empty (it holds {found}); continue that run with --resume {}, choose another folder \
         with --out, or remove this one",
        path.display(), path.display()
    )]
    RunExists {
        /// The run directory asked for.
        path: PathBuf,
        /// One entry found in it.
        found: String,
    },
    /// The path of the run directory is not a folder.
    #[error("{} is a file, not a folder; choose another folder with --out", path.display())]
    NotAFolder {
        /// The path asked for.
        path: PathBuf,
    },
    /// The folder to resume from is not a run directory.
    #[error("{} is not a run directory (it has no {RUN_RECIPE}); give the folder that `train` wrote", path.display())]
    NotARun {
        /// The folder asked for.
        path: PathBuf,
    },
}

impl FilesError {
    /// Wraps an I/O error with the operation and the path; for `map_err`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }
}

/// Writes `bytes` to `path` atomically; missing parent folders are created.
///
/// # Errors
/// The folder cannot be made or the file not written; an older file of that name is then untouched.
pub(crate) fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), FilesError> {
    write_atomic_with(path, |file| file.write_all(bytes))
}

/// As [`write_atomic`], with the content streamed by `fill`.
///
/// # Errors
/// As [`write_atomic`], or whatever `fill` returns.
pub(crate) fn write_atomic_with(
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), FilesError> {
    let folder = parent(path);
    fs::create_dir_all(folder).map_err(FilesError::io("create the folder", folder))?;
    write_beside(path, folder, fill).map_err(FilesError::io("write", path))
}

fn write_beside(path: &Path, folder: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(PARTIAL);
    // A temporary file is private by default and would stay so after the rename: request the permissions of an ordinary
    // new file, which the umask narrows.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(folder)?;
    {
        let mut buffered = io::BufWriter::new(file.as_file_mut());
        fill(&mut buffered)?;
        buffered.flush()?;
    }
    // The rename must not reach the disk before the content does.
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// `runs/NAME`, or the first free `runs/NAME-N`.
pub(crate) fn free_run_dir(name: &str) -> PathBuf {
    let base = Path::new("runs").join(name);
    let numbered = (2..).map(|i| Path::new("runs").join(format!("{name}-{i}")));
    std::iter::once(base).chain(numbered).find(|path| !path.exists()).expect("there are endless numbers")
}

/// Creates a new run directory with its folders, and locks it. An empty folder is accepted, and one whose run ended
/// before its first checkpoint, which starts again from the beginning; any other is refused.
///
/// # Errors
/// [`FilesError::RunExists`] if the folder holds anything else.
pub(crate) fn create_run_dir(path: &Path) -> Result<RunLock, LockError> {
    if path.is_file() {
        return Err(FilesError::NotAFolder { path: path.to_path_buf() }.into());
    }
    // Looked at before the lock is made, too, so that a foreign folder stays as it is.
    let mine = begun_in_vain(path)?;
    fs::create_dir_all(path).map_err(FilesError::io("create the folder", path))?;
    let lock = RunLock::of(path)?;
    let mine = if mine.is_empty() { begun_in_vain(path)? } else { mine };
    for entry in mine.into_iter().filter(|name| name != LOCK) {
        let entry = path.join(entry);
        let removed = if entry.is_dir() { fs::remove_dir_all(&entry) } else { fs::remove_file(&entry) };
        removed.map_err(FilesError::io("remove", &entry))?;
    }
    create_run_folders(path)?;
    Ok(lock)
}

/// The entries of a folder that holds nothing, or a run without any checkpoint.
///
/// # Errors
/// [`FilesError::RunExists`] if it holds anything else.
fn begun_in_vain(path: &Path) -> Result<Vec<String>, FilesError> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let names = |folder: &Path| -> Result<Vec<String>, FilesError> {
        let entries = fs::read_dir(folder).map_err(FilesError::io("read", folder))?;
        let names = entries.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()));
        names.collect::<Result<_, _>>().map_err(FilesError::io("read", folder))
    };
    let found = names(path)?;
    let ours = |name: &String| {
        RUN_FOLDERS.contains(&name.as_str())
            || [RUN_RECIPE, LOCK, "metrics.jsonl", "tensorboard"].contains(&name.as_str())
            || name.starts_with(PARTIAL)
    };
    let checkpoints = path.join(RUN_FOLDERS[0]);
    let saved = if checkpoints.is_dir() { names(&checkpoints)? } else { Vec::new() };
    let foreign = found.iter().find(|name| !ours(name)).cloned();
    let saved = saved.into_iter().find(|name| !name.starts_with('.'));
    // Without a recipe, files of these names are someone else's.
    let nameless = found.iter().find(|name| *name != LOCK && !found.contains(&RUN_RECIPE.to_owned())).cloned();
    match foreign.or(saved).or(nameless) {
        Some(found) => Err(FilesError::RunExists { path: path.to_path_buf(), found }),
        None => Ok(found),
    }
}

/// Locks a run directory that can be resumed, and creates those of its folders that are missing.
///
/// # Errors
/// [`FilesError::NotARun`] if the folder is absent or has no recipe.
pub(crate) fn open_run_dir(path: &Path) -> Result<RunLock, LockError> {
    if !path.join(RUN_RECIPE).is_file() {
        return Err(FilesError::NotARun { path: path.to_path_buf() }.into());
    }
    let lock = RunLock::of(path)?;
    create_run_folders(path)?;
    // What a killed process left behind; with the lock, no other one is writing.
    for folder in std::iter::once(path.to_path_buf()).chain(RUN_FOLDERS.map(|name| path.join(name))) {
        for entry in fs::read_dir(&folder).map_err(FilesError::io("read", &folder))?.flatten() {
            if entry.file_name().to_string_lossy().starts_with(PARTIAL) {
                fs::remove_file(entry.path()).map_err(FilesError::io("remove", &entry.path()))?;
            }
        }
    }
    Ok(lock)
}

fn create_run_folders(path: &Path) -> Result<(), FilesError> {
    for name in RUN_FOLDERS {
        let folder = path.join(name);
        fs::create_dir_all(&folder).map_err(FilesError::io("create the folder", &folder))?;
    }
    Ok(())
}

/// The parent folder of a path; the working directory for a bare file name.
fn parent(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn atomic_write_creates_and_replaces() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/er/file.bin");
        write_atomic(&path, b"one").unwrap();
        write_atomic(&path, b"two!").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two!");
        assert_eq!(names(path.parent().unwrap()), ["file.bin"], "temporary files must be gone");
    }

    #[test]
    fn failed_write_keeps_the_old_file_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        write_atomic(&path, b"old").unwrap();
        let error = write_atomic_with(&path, |file| {
            file.write_all(b"half of the n")?;
            Err(io::Error::other("disk full"))
        })
        .unwrap_err();
        assert!(error.to_string().contains("cannot write"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names(folder.path()), ["file"]);
    }

    #[cfg(unix)]
    #[test]
    fn written_files_have_the_rights_of_ordinary_new_files() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (ours, plain) = (folder.path().join("ours"), folder.path().join("plain"));
        write_atomic(&ours, b"x").unwrap();
        fs::write(&plain, b"x").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&ours), mode(&plain));
    }

    #[test]
    fn run_dir_is_made_once_and_then_refused() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("runs/first");
        let lock = create_run_dir(&run).unwrap();
        assert_eq!(names(&run), ["checkpoints", "lock", "samples"]);
        fs::write(run.join(RUN_RECIPE), b"").unwrap();
        assert!(matches!(create_run_dir(&run), Err(LockError::Held { .. })));
        drop(lock);
        // A run that ended before its first checkpoint starts again.
        fs::write(run.join("metrics.jsonl"), b"{}").unwrap();
        drop(create_run_dir(&run).unwrap());
        assert_eq!(names(&run), ["checkpoints", "lock", "samples"]);
        fs::write(run.join(RUN_RECIPE), b"").unwrap();
        fs::write(run.join("checkpoints/last.safetensors"), b"").unwrap();
        let message = create_run_dir(&run).unwrap_err().to_string();
        assert!(
            message.contains("not empty") && message.contains("--resume") && message.contains("--out"),
            "{message}"
        );
    }

    #[test]
    fn run_dir_takes_over_an_empty_folder_but_not_a_file() {
        let folder = tempfile::tempdir().unwrap();
        create_run_dir(folder.path()).unwrap();
        let file = folder.path().join("file");
        fs::write(&file, b"").unwrap();
        assert!(matches!(create_run_dir(&file), Err(LockError::Files(FilesError::NotAFolder { .. }))));
        let message = create_run_dir(folder.path()).unwrap_err().to_string();
        assert!(message.contains("it holds file"), "a file of someone else: {message}");
    }

    #[test]
    fn only_a_folder_with_a_recipe_can_be_resumed() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(open_run_dir(folder.path()), Err(LockError::Files(FilesError::NotARun { .. }))));
        fs::write(folder.path().join(RUN_RECIPE), b"").unwrap();
        fs::write(folder.path().join(".partial-x"), b"half").unwrap();
        let _lock = open_run_dir(folder.path()).unwrap();
        assert!(!folder.path().join(".partial-x").exists(), "what a killed process left is removed");
        assert!(folder.path().join("checkpoints").is_dir());
    }
}
