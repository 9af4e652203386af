//! Download of one file over HTTP: from the first mirror that has it, resumed after interruptions, verified, then
//! renamed into place.
//!
//! Bytes are collected in `NAME.part` beside the target. The partial file survives a lost connection and an interrupt,
//! and the next try asks for the rest (RFC 9110, section 14). It is locked while in use, so that two downloads of one
//! file do not mix.

use std::fs::{self, File, TryLockError};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::HumanCount;
use pushforward::hash::sha256_of;

use crate::archive::check_content;
use crate::files::FilesError;
use crate::sources::Content;

/// Tries at one mirror, each resuming the last one.
const TRIES: usize = 4;

/// Timeouts and proxy of connections.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    /// Timeout of resolving the name, and again of connecting.
    pub(crate) connect: Duration,
    /// Time without data after which a transfer counts as failed.
    pub(crate) stall: Duration,
    /// Proxy to go through.
    pub(crate) proxy: Option<ureq::Proxy>,
}

impl Connection {
    /// Default timeouts, and the proxy that the environment names.
    pub(crate) fn from_env() -> Self {
        Self { connect: Duration::from_secs(10), stall: Duration::from_secs(30), proxy: ureq::Proxy::try_from_env() }
    }

    fn agent(&self) -> ureq::Agent {
        ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_resolve(Some(self.connect))
            .timeout_connect(Some(self.connect))
            .timeout_recv_response(Some(self.stall))
            .timeout_per_read(Some(self.stall))
            .proxy(self.proxy.clone())
            .user_agent(concat!("pushforward/", env!("CARGO_PKG_VERSION")))
            // No decoding: the checksums are those of the compressed files.
            .accept_encoding("identity")
            .build()
            .into()
    }
}

/// A file to download, with its expected properties.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'a> {
    /// The same file at several places, tried in turn.
    pub(crate) urls: &'a [String],
    /// Target path; its folder must exist.
    pub(crate) to: &'a Path,
    /// Size, if known.
    pub(crate) bytes: Option<u64>,
    /// SHA-256 in lower-case hexadecimal, if known.
    pub(crate) sha256: Option<&'a str>,
    /// Structure, for files without a checksum.
    pub(crate) content: Content,
    /// Timeouts and proxy.
    pub(crate) connection: &'a Connection,
}

/// A completely downloaded file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Arrived {
    /// The mirror it came from.
    pub(crate) url: String,
    /// Its size.
    pub(crate) bytes: u64,
    /// Its SHA-256 in lower-case hexadecimal.
    pub(crate) sha256: String,
}

/// Why a download failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DownloadError {
    /// No mirror delivered; one entry for each, in the order tried.
    #[error("no mirror delivered the file")]
    Mirrors(Vec<(String, Problem)>),
    /// The caller asked to stop; the partial file is kept for the next time.
    #[error("the download was interrupted; the same command continues it")]
    Interrupted,
    /// Another process downloads the same file.
    #[error("another process is downloading to {}; wait for it or stop it", .0.display())]
    Busy(PathBuf),
    /// The partial file cannot be written, read or renamed.
    #[error(transparent)]
    Files(#[from] FilesError),
}

/// Why one mirror failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    /// No connection: no network, unknown host, or connection refused.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// The server answered with an error status.
    #[error("answered with status {0}")]
    Status(u16),
    /// The connection broke or timed out in every try.
    #[error("broke off: {0}")]
    Broken(String),
    /// The file there has another size.
    #[error("has {} bytes, expected {}", HumanCount(*.found), HumanCount(*.expected))]
    Size {
        /// Bytes, as published.
        expected: u64,
        /// Bytes, as announced or received.
        found: u64,
    },
    /// The file has another checksum.
    #[error("has SHA-256 {found}, expected {expected}; it was deleted")]
    Checksum {
        /// As published.
        expected: String,
        /// As received.
        found: String,
    },
    /// The file has another structure than expected.
    #[error("{0}; it was deleted")]
    Content(String),
}

/// Downloads a file. `on_progress` gets the bytes received so far and their total, and may stop.
///
/// # Errors
/// See [`DownloadError`]; the target is then as it was before.
pub(crate) fn download(
    request: &Request,
    on_progress: &mut dyn FnMut(u64, Option<u64>) -> ControlFlow<()>,
) -> Result<Arrived, DownloadError> {
    let mut part = Part::open(request.to)?;
    let agent = request.connection.agent();
    let mut problems = Vec::new();
    for url in request.urls {
        match from_mirror(&agent, url, request, &mut part, on_progress) {
            Ok(sha256) => {
                let bytes = part.length()?;
                part.finish(request.to)?;
                return Ok(Arrived { url: url.clone(), bytes, sha256 });
            }
            Err(Stop::Problem(problem)) => problems.push((url.clone(), problem)),
            Err(Stop::Interrupted) => return Err(DownloadError::Interrupted),
            Err(Stop::Files(error)) => return Err(error.into()),
        }
    }
    part.remove_if_empty()?;
    Err(DownloadError::Mirrors(problems))
}

/// SHA-256 of an open file, from its start, if the file satisfies `request`; else the problem.
pub(crate) fn verify(request: &Request, file: &mut (impl Read + Seek)) -> io::Result<Result<String, Problem>> {
    let found = file.seek(SeekFrom::End(0))?;
    file.rewind()?;
    if let Some(expected) = request.bytes.filter(|expected| *expected != found) {
        return Ok(Err(Problem::Size { expected, found }));
    }
    let found = sha256_of(file)?;
    if let Some(expected) = request.sha256.filter(|expected| *expected != found) {
        return Ok(Err(Problem::Checksum { expected: expected.to_string(), found }));
    }
    file.rewind()?;
    Ok(check_content(request.content, &mut BufReader::new(file))?.map(|()| found).map_err(Problem::Content))
}

/// Why one mirror's turn ended.
enum Stop {
    Problem(Problem),
    Interrupted,
    Files(FilesError),
}

impl From<FilesError> for Stop {
    fn from(error: FilesError) -> Self {
        Self::Files(error)
    }
}

impl From<Problem> for Stop {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

/// The verified content's SHA-256, once `part` holds it.
fn from_mirror(
    agent: &ureq::Agent,
    url: &str,
    request: &Request,
    part: &mut Part,
    on_progress: &mut dyn FnMut(u64, Option<u64>) -> ControlFlow<()>,
) -> Result<String, Stop> {
    let mut tries = TRIES;
    loop {
        let before = part.length()?;
        match transfer(agent, url, request, part, on_progress) {
            Ok(()) => {}
            Err(Stop::Problem(Problem::Broken(why))) => {
                tries -= 1;
                // A mirror that sends no data is not tried again.
                if tries > 0 && part.length()? > before {
                    continue;
                }
                return Err(Problem::Broken(why).into());
            }
            Err(stop) => return Err(stop),
        }
        let problem = match part.verify(request)? {
            Ok(sha256) => return Ok(sha256),
            Err(problem) => problem,
        };
        part.clear()?;
        // The wrong bytes may come from an earlier try at another mirror: start from scratch once.
        if before == 0 {
            return Err(problem.into());
        }
    }
}

/// Appends the missing bytes to `part`; succeeds also if there are none.
fn transfer(
    agent: &ureq::Agent,
    url: &str,
    request: &Request,
    part: &mut Part,
    on_progress: &mut dyn FnMut(u64, Option<u64>) -> ControlFlow<()>,
) -> Result<(), Stop> {
    if request.bytes.is_some_and(|bytes| part.length().is_ok_and(|length| length > bytes)) {
        part.clear()?;
    }
    let mut received = part.length()?;
    if request.bytes == Some(received) {
        return Ok(());
    }
    let mut get = agent.get(url);
    if received > 0 {
        get = get.header("Range", format!("bytes={received}-"));
    }
    let mut response = get.call().map_err(call_problem)?;
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_string);
    let range = header("content-range").map_or(Range::default(), |text| parse_range(&text));
    match response.status().as_u16() {
        // The server ignores ranges and sends the whole file.
        200 => {
            part.clear()?;
            received = 0;
        }
        206 if received > 0 && range.start == Some(received) => {}
        // Nothing is left to send: the partial file is complete.
        416 if received > 0 && range.total == Some(received) => return Ok(()),
        // The partial file is not a prefix of the server's file; without it, the whole file is requested.
        206 | 416 if received > 0 => {
            part.clear()?;
            return transfer(agent, url, request, part, on_progress);
        }
        status => return Err(Problem::Status(status).into()),
    }
    let announced = response.body().content_length().map(|rest| received + rest);
    if let (Some(expected), Some(found)) = (request.bytes, announced)
        && expected != found
    {
        // Most often the page of a captive portal or an error page: not worth the transfer.
        return Err(Problem::Size { expected, found }.into());
    }
    let total = announced.or(request.bytes);

    let mut body = response.body_mut().as_reader();
    let mut buffer = vec![0u8; 1 << 16];
    loop {
        if on_progress(received, total).is_break() {
            return Err(Stop::Interrupted);
        }
        let count = match body.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) => return Err(Problem::Broken(error.to_string()).into()),
        };
        part.append(&buffer[..count])?;
        received += count as u64;
        if let Some(expected) = request.bytes.filter(|expected| received > *expected) {
            part.clear()?;
            return Err(Problem::Size { expected, found: received }.into());
        }
    }
    match total {
        Some(total) if received < total => {
            let (received, total) = (HumanCount(received), HumanCount(total));
            Err(Problem::Broken(format!("the connection closed after {received} of {total} bytes")).into())
        }
        _ => Ok(()),
    }
}

/// Distinguishes a missing network from a faulty mirror.
fn call_problem(error: ureq::Error) -> Problem {
    use ureq::{Error, Timeout};
    let text = error.to_string();
    match error {
        Error::HostNotFound | Error::ConnectionFailed | Error::Timeout(Timeout::Resolve | Timeout::Connect) => {
            Problem::Unreachable(text)
        }
        Error::Io(error) => match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof => Problem::Broken(text),
            _ => Problem::Unreachable(text),
        },
        _ => Problem::Broken(text),
    }
}

/// A parsed `Content-Range` header: `bytes START-END/TOTAL`, or `bytes */TOTAL`.
#[derive(Debug, Default, PartialEq)]
struct Range {
    start: Option<u64>,
    total: Option<u64>,
}

fn parse_range(text: &str) -> Range {
    let Some((range, total)) = text.trim().strip_prefix("bytes").and_then(|text| text.trim().split_once('/')) else {
        return Range::default();
    };
    let start = range.split_once('-').and_then(|(start, _)| start.trim().parse().ok());
    Range { start, total: total.trim().parse().ok() }
}

/// The partial file, open and locked.
#[derive(Debug)]
struct Part {
    path: PathBuf,
    file: File,
}

impl Part {
    fn open(target: &Path) -> Result<Self, DownloadError> {
        let mut name = target.file_name().unwrap_or_default().to_os_string();
        name.push(".part");
        let path = target.with_file_name(name);
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(FilesError::io("open", &path))?;
        match file.try_lock() {
            // A file system without locks is fine for a single download.
            Ok(()) | Err(TryLockError::Error(_)) => Ok(Self { path, file }),
            Err(TryLockError::WouldBlock) => Err(DownloadError::Busy(target.to_path_buf())),
        }
    }

    fn length(&self) -> Result<u64, FilesError> {
        Ok(self.file.metadata().map_err(FilesError::io("read", &self.path))?.len())
    }

    fn clear(&self) -> Result<(), FilesError> {
        self.file.set_len(0).map_err(FilesError::io("write", &self.path))
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), FilesError> {
        let written = self.file.seek(SeekFrom::End(0)).and_then(|_| self.file.write_all(bytes));
        written.map_err(FilesError::io("write", &self.path))
    }

    fn verify(&mut self, request: &Request) -> Result<Result<String, Problem>, FilesError> {
        verify(request, &mut self.file).map_err(FilesError::io("read", &self.path))
    }

    fn finish(self, target: &Path) -> Result<(), FilesError> {
        self.file.sync_all().map_err(FilesError::io("write", &self.path))?;
        fs::rename(&self.path, target).map_err(FilesError::io("write", target))
    }

    fn remove_if_empty(self) -> Result<(), FilesError> {
        if self.length()? == 0 {
            fs::remove_file(&self.path).map_err(FilesError::io("remove", &self.path))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
