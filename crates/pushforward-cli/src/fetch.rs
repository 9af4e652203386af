//! `data fetch NAME`: downloads the files of a data set that are not in the data folder yet.
//!
//! The folder is `DATA/mnist`, `DATA/text8` and so on. Files put there by hand are checked and used like downloaded
//! ones, so that a copy is enough on a machine without a network.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use indicatif::HumanCount;

use crate::archive::unpack;
use crate::download::{Arrived, Connection, DownloadError, Problem, Request, download, verify};
use crate::files::FilesError;
use crate::sources::{Content, Kind, RemoteFile, Source};

/// Environment variable that names the data folder.
pub(crate) const DATA_VARIABLE: &str = "PUSHFORWARD_DATA";

/// The folder of the data sets: the one named by `PUSHFORWARD_DATA`, else `pushforward/data` in the user's cache
/// folder, or `data` in the working directory for a user without one.
pub(crate) fn default_data_dir() -> PathBuf {
    data_dir_from(std::env::var_os(DATA_VARIABLE), dirs::cache_dir())
}

/// The folder for molecules that were read: `pushforward/prepared` in the user's cache folder.
pub(crate) fn cache_dir() -> Option<PathBuf> {
    dirs::cache_dir().map(|cache| cache.join("pushforward").join("prepared"))
}

fn data_dir_from(variable: Option<OsString>, cache: Option<PathBuf>) -> PathBuf {
    match (variable.filter(|value| !value.is_empty()), cache) {
        (Some(folder), _) => folder.into(),
        (None, Some(cache)) => cache.join("pushforward").join("data"),
        (None, None) => "data".into(),
    }
}

/// Progress of a download.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Progress<'a> {
    /// Name of the file.
    pub(crate) file: &'a str,
    /// Bytes received.
    pub(crate) received: u64,
    /// Bytes in all, if known.
    pub(crate) total: Option<u64>,
}

/// A file of the data set that is in place. `Display` gives a line for the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fetched {
    /// The file, or the folder where an archive was unpacked.
    pub(crate) path: PathBuf,
    /// How it got there.
    pub(crate) how: How,
}

/// How a file got into place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum How {
    /// It was present and valid.
    Present,
    /// It was downloaded.
    Downloaded {
        /// The download.
        arrived: Arrived,
        /// Whether it was verified by a published checksum.
        pinned: bool,
    },
    /// The archive was present and has been unpacked.
    Unpacked,
}

impl fmt::Display for Fetched {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: ", self.path.display())?;
        match &self.how {
            How::Present => write!(out, "already there"),
            How::Unpacked => write!(out, "unpacked from the archive there"),
            How::Downloaded { arrived, pinned: true } => {
                write!(out, "{} bytes from {}, SHA-256 as published", HumanCount(arrived.bytes), arrived.url)
            }
            How::Downloaded { arrived, pinned: false } => {
                let (bytes, url, sha256) = (HumanCount(arrived.bytes), &arrived.url, &arrived.sha256);
                write!(out, "{bytes} bytes from {url}, structure as expected; checksum not pinned (found {sha256})")
            }
        }
    }
}

/// Why a data set is not complete.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// No mirror delivered a file. The message says which files to put where instead.
    #[error("{0}")]
    Unavailable(Box<Unavailable>),
    /// The download was stopped, is running in another process, or hit a file error.
    #[error("{name}: {source}")]
    Download {
        /// Name of the data set.
        name: &'static str,
        /// What happened.
        source: DownloadError,
    },
    /// A file cannot be read, written or unpacked.
    #[error(transparent)]
    Files(#[from] FilesError),
}

/// A file that no mirror delivered, and everything the data set still lacks.
#[derive(Debug)]
pub(crate) struct Unavailable {
    name: &'static str,
    file: &'static str,
    folder: PathBuf,
    problems: Vec<(String, Problem)>,
    lacking: Vec<&'static RemoteFile>,
}

impl fmt::Display for Unavailable {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let offline = self.problems.iter().all(|(_, problem)| matches!(problem, Problem::Unreachable(_)));
        let why = if offline { "no mirror can be reached; is there a network?" } else { "no mirror delivered it" };
        writeln!(out, "cannot download {} of {}: {why}", self.file, self.name)?;
        for (url, problem) in &self.problems {
            writeln!(out, "  {url} {problem}")?;
        }
        write!(out, "Try again, or put by hand into {}:", self.folder.display())?;
        for file in &self.lacking {
            write!(out, "\n  {}", file.name)?;
            match (file.bytes, file.sha256) {
                (Some(bytes), Some(sha256)) => write!(out, " ({} bytes, SHA-256 {sha256})", HumanCount(bytes))?,
                (Some(bytes), None) => write!(out, " ({} bytes)", HumanCount(bytes))?,
                (None, Some(sha256)) => write!(out, " (SHA-256 {sha256})")?,
                (None, None) => {}
            }
        }
        Ok(())
    }
}

/// Downloads the missing files of `source` into `data_dir`. `on_progress` may stop; partial files are kept for the next
/// time.
///
/// # Errors
/// See [`FetchError`]. Files fetched before the one that failed stay.
pub(crate) fn fetch(
    source: &'static Source,
    data_dir: &Path,
    connection: &Connection,
    on_progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Vec<Fetched>, FetchError> {
    let folder = data_dir.join(source.folder);
    fs::create_dir_all(&folder).map_err(FilesError::io("create the folder", &folder))?;
    source.files.iter().map(|file| fetch_file(source, file, &folder, connection, on_progress)).collect()
}

/// Whether every file of `source` is in place, by presence and size only: quick enough for `data list`.
pub(crate) fn is_present(source: &Source, data_dir: &Path) -> bool {
    let folder = data_dir.join(source.folder);
    source.files.iter().all(|file| match file.kind {
        Kind::Data(_) => has_size(&folder.join(file.name), file.bytes),
        _ => members_present(file, &folder),
    })
}

fn fetch_file(
    source: &'static Source,
    file: &'static RemoteFile,
    folder: &Path,
    connection: &Connection,
    on_progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Fetched, FetchError> {
    let target = folder.join(file.name);
    let urls: Vec<String> = source.mirrors.iter().map(|mirror| format!("{mirror}{}", file.name)).collect();
    let content = if let Kind::Data(content) = file.kind { content } else { Content::Any };
    let request = Request { urls: &urls, to: &target, bytes: file.bytes, sha256: file.sha256, content, connection };
    let archive = !matches!(file.kind, Kind::Data(_));
    let path = if archive { folder.to_path_buf() } else { target.clone() };

    if archive && members_present(file, folder) {
        return Ok(Fetched { path, how: How::Present });
    }
    if is_right(&request)? {
        if !archive {
            return Ok(Fetched { path, how: How::Present });
        }
        unpack(&target, file.kind, folder)?;
        return Ok(Fetched { path, how: How::Unpacked });
    }
    let mut on_bytes = |received, total| on_progress(Progress { file: file.name, received, total });
    let arrived = download(&request, &mut on_bytes).map_err(|error| match error {
        DownloadError::Mirrors(problems) => {
            // The file itself may be present with the right size and wrong content.
            let lacks = |other: &&RemoteFile| other.name == file.name || !is_in_place(other, folder);
            let lacking = source.files.iter().filter(lacks).collect();
            let folder = folder.to_path_buf();
            FetchError::Unavailable(Box::new(Unavailable {
                name: source.name,
                file: file.name,
                folder,
                problems,
                lacking,
            }))
        }
        DownloadError::Files(error) => error.into(),
        other => FetchError::Download { name: source.name, source: other },
    })?;
    if archive {
        unpack(&target, file.kind, folder)?;
        // Only an archive that was downloaded here; one put there by hand is kept.
        fs::remove_file(&target).map_err(FilesError::io("remove", &target))?;
    }
    Ok(Fetched { path, how: How::Downloaded { arrived, pinned: file.sha256.is_some() } })
}

fn is_in_place(file: &RemoteFile, folder: &Path) -> bool {
    if let Kind::Data(_) = file.kind {
        has_size(&folder.join(file.name), file.bytes)
    } else {
        members_present(file, folder)
    }
}

/// Whether the file is present with the published size and checksum. A wrong one is replaced when the download has
/// succeeded, and kept otherwise.
fn is_right(request: &Request) -> Result<bool, FilesError> {
    if !request.to.is_file() {
        return Ok(false);
    }
    let verified = File::open(request.to).and_then(|mut file| verify(request, &mut file));
    Ok(verified.map_err(FilesError::io("read", request.to))?.is_ok())
}

/// Whether the members are present; they are written atomically, so sizes suffice.
fn members_present(file: &RemoteFile, folder: &Path) -> bool {
    file.kind.members().iter().all(|member| has_size(&folder.join(member.name), Some(member.bytes)))
}

fn has_size(path: &Path, bytes: Option<u64>) -> bool {
    fs::metadata(path).is_ok_and(|found| found.is_file() && bytes.is_none_or(|bytes| bytes == found.len()))
}

#[cfg(test)]
mod tests {
    use pushforward::hash;

    use super::*;
    use crate::archive::tests::{tar_gz, zip_of};
    use crate::printer::Printer;
    use crate::sources::{Member, SOURCES, find};
    use crate::test_server::{Reply, Server, closed_port, connection};

    /// A source for tests; leaked, because real sources are static.
    fn source(mirrors: &[&str], files: Vec<RemoteFile>) -> &'static Source {
        let mirrors: Vec<&'static str> = mirrors.iter().map(|url| &*url.to_string().leak()).collect();
        Box::leak(Box::new(Source {
            name: "toy",
            folder: "toy_folder",
            title: "",
            licence: "",
            mirrors: mirrors.leak(),
            files: files.leak(),
        }))
    }

    fn file(name: &'static str, content: &[u8], kind: Kind) -> RemoteFile {
        let sha256 = hash::sha256([content]);
        RemoteFile { name, bytes: Some(content.len() as u64), sha256: Some(sha256.leak()), kind }
    }

    fn plain(name: &'static str, content: &[u8]) -> RemoteFile {
        file(name, content, Kind::Data(Content::Any))
    }

    fn run(source: &'static Source, data_dir: &Path) -> Result<Vec<Fetched>, FetchError> {
        fetch(source, data_dir, &connection(), &mut |_| ControlFlow::Continue(()))
    }

    #[test]
    fn files_are_downloaded_once() {
        let server = Server::start(vec![Reply::File(b"one".to_vec()), Reply::File(b"three".to_vec())]);
        let source = source(&[&server.base], vec![plain("a.gz", b"one"), plain("b.gz", b"three")]);
        let data = tempfile::tempdir().unwrap();
        assert!(!is_present(source, data.path()));
        let mut seen = Vec::new();
        let fetched = fetch(source, data.path(), &connection(), &mut |progress| {
            seen.push((progress.file.to_string(), progress.received, progress.total));
            ControlFlow::Continue(())
        })
        .unwrap();
        assert!(fetched[1].to_string().ends_with("SHA-256 as published"), "{}", fetched[1]);
        assert!(seen.contains(&("b.gz".to_string(), 5, Some(5))), "{seen:?}");
        assert_eq!(fs::read(data.path().join("toy_folder/b.gz")).unwrap(), b"three");
        assert!(is_present(source, data.path()));

        let again = run(source, data.path()).unwrap();
        assert!(again.iter().all(|file| file.how == How::Present));
        assert_eq!(server.requests(), ["/a.gz all", "/b.gz all"]);
    }

    #[test]
    fn a_wrong_file_in_the_folder_is_replaced_only_by_a_right_one() {
        let server = Server::start(vec![Reply::Status(503), Reply::File(b"one".to_vec())]);
        let source = source(&[&server.base], vec![plain("a.gz", b"one")]);
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join("toy_folder/a.gz");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, b"eno").unwrap();
        let message = run(source, data.path()).unwrap_err().to_string();
        assert!(message.contains("answered with status 503") && message.contains("\n  a.gz (3 bytes"), "{message}");
        assert_eq!(fs::read(&path).unwrap(), b"eno");
        run(source, data.path()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one");
    }

    #[test]
    fn without_a_network_the_message_says_what_to_put_where() {
        let files = vec![plain("a.gz", b"one"), plain("b.gz", b"three"), plain("c.gz", b"x")];
        let source = source(&[&closed_port(), &closed_port()], files);
        let data = tempfile::tempdir().unwrap();
        let folder = data.path().join("toy_folder");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("a.gz"), b"one").unwrap();
        let message = run(source, data.path()).unwrap_err().to_string();
        assert!(message.contains("cannot download b.gz of toy: no mirror can be reached"), "{message}");
        assert!(message.contains(&folder.display().to_string()), "{message}");
        let b = hash::sha256([b"three"]);
        assert!(message.contains(&format!("\n  b.gz (5 bytes, SHA-256 {b})\n  c.gz (1 bytes")), "{message}");
        assert!(!message.contains("\n  a.gz"), "what is there need not be brought: {message}");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "nothing half-written is left");
    }

    #[test]
    fn a_wrong_checksum_is_told_with_both_values() {
        let server = Server::start(vec![Reply::File(b"eno".to_vec())]);
        let source = source(&[&server.base], vec![plain("a.gz", b"one")]);
        let data = tempfile::tempdir().unwrap();
        let message = run(source, data.path()).unwrap_err().to_string();
        let (expected, found) = (hash::sha256([b"one"]), hash::sha256([b"eno"]));
        assert!(message.contains(&format!("has SHA-256 {found}, expected {expected}")), "{message}");
        assert!(message.contains("no mirror delivered it"), "{message}");
    }

    #[test]
    fn archives_are_unpacked_and_removed() {
        let zip = zip_of("letters", b"a b c");
        let tar = tar_gz(&[("x.bin", b"xx"), ("y.bin", b"yyy")]);
        let members = Kind::TarGz(&[
            Member { name: "x.bin", bytes: 2, content: Content::Any },
            Member { name: "y.bin", bytes: 3, content: Content::Any },
        ]);
        let letters = Kind::Zip(&[Member { name: "letters", bytes: 5, content: Content::Letters }]);
        let server = Server::start(vec![Reply::File(zip.clone()), Reply::File(tar.clone())]);
        let source = source(&[&server.base], vec![file("l.zip", &zip, letters), file("t.tar.gz", &tar, members)]);
        let data = tempfile::tempdir().unwrap();
        run(source, data.path()).unwrap();
        let folder = data.path().join("toy_folder");
        assert_eq!(fs::read(folder.join("letters")).unwrap(), b"a b c");
        assert_eq!(fs::read(folder.join("y.bin")).unwrap(), b"yyy");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 3, "the archives are gone");
        assert!(is_present(source, data.path()));
        assert!(run(source, data.path()).unwrap().iter().all(|file| file.how == How::Present));
    }

    #[test]
    fn an_archive_put_there_by_hand_is_used_and_kept() {
        let zip = zip_of("letters", b"a b c");
        let letters = Kind::Zip(&[Member { name: "letters", bytes: 5, content: Content::Letters }]);
        let source = source(&[&closed_port()], vec![file("l.zip", &zip, letters)]);
        let data = tempfile::tempdir().unwrap();
        let folder = data.path().join("toy_folder");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("l.zip"), &zip).unwrap();
        assert_eq!(run(source, data.path()).unwrap()[0].how, How::Unpacked);
        assert_eq!(fs::read(folder.join("letters")).unwrap(), b"a b c");
        assert!(folder.join("l.zip").exists());
    }

    #[test]
    fn a_file_without_a_checksum_is_checked_by_structure() {
        let table = Kind::Data(Content::Table { header: "id,", rows: 2 });
        let unpinned = |name| RemoteFile { name, bytes: None, sha256: None, kind: table };
        let server =
            Server::start(vec![Reply::File(b"id,x\n1,a\n2,b\n".to_vec()), Reply::File(b"id,x\n1,a\n".to_vec())]);
        let data = tempfile::tempdir().unwrap();
        let good = source(&[&server.base], vec![unpinned("good.csv")]);
        let line = run(good, data.path()).unwrap()[0].to_string();
        assert!(line.contains("checksum not pinned"), "{line}");
        assert_eq!(run(good, data.path()).unwrap()[0].how, How::Present);
        let short = source(&[&server.base], vec![unpinned("short.csv")]);
        let message = run(short, data.path()).unwrap_err().to_string();
        assert!(message.contains("should hold 2 rows but holds 1; it was deleted"), "{message}");
        assert!(!data.path().join("toy_folder/short.csv").exists());
    }

    #[test]
    fn an_interrupt_is_told_as_one() {
        let server = Server::start(vec![Reply::File(b"one".to_vec())]);
        let source = source(&[&server.base], vec![plain("a.gz", b"one")]);
        let data = tempfile::tempdir().unwrap();
        let error = fetch(source, data.path(), &connection(), &mut |_| ControlFlow::Break(())).unwrap_err();
        assert!(matches!(error, FetchError::Download { source: DownloadError::Interrupted, .. }));
    }

    #[test]
    fn the_variable_wins_over_the_cache_folder() {
        let cache = Some(PathBuf::from("cache"));
        assert_eq!(data_dir_from(Some("here".into()), cache.clone()), Path::new("here"));
        assert_eq!(data_dir_from(Some("".into()), cache.clone()), Path::new("cache/pushforward/data"));
        assert_eq!(data_dir_from(None, cache), Path::new("cache/pushforward/data"));
        assert_eq!(data_dir_from(None, None), Path::new("data"));
    }

    /// The pinned checksums against byte-exact originals, if a folder with them is given.
    #[test]
    fn published_files_have_the_pinned_checksums() {
        let Some(folder) = std::env::var_os(DATA_VARIABLE).map(PathBuf::from) else {
            Printer::default().note("skipped: no data folder");
            return;
        };
        for source in SOURCES.iter().filter(|source| is_present(source, &folder)) {
            assert_eq!(find(source.name).unwrap().name, source.name);
            for fetched in fetch(source, &folder, &connection(), &mut |_| ControlFlow::Break(())).unwrap() {
                assert_eq!(fetched.how, How::Present, "{}", fetched.path.display());
            }
        }
    }
}
