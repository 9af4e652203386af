//! Finding, reading, inflating and hashing source files.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use super::DataError;
use super::plain_text::{self, PlainText};
use crate::hash::sha256;

/// Most bytes of a file, and of what a gzipped file holds.
const LARGEST: u64 = 2 << 30;
/// Most bytes of what is no regular file: a pipe or a device may never end.
const LARGEST_STREAM: u64 = 256 << 20;
/// A gzipped file may hold so many bytes, and so many more per byte of its own: data shrink by a factor of 2 to 50, a
/// file made to fill the memory by 1,000.
const INFLATED: [u64; 2] = [64 << 20, 100];

/// Where the files of data sets are looked for, and where what takes long to read is kept for the next time. A path
/// stands for a data folder without such a place.
///
/// # Examples
/// ```
/// use std::path::Path;
/// use pushforward::data::{DataConfig, Folders};
/// let dir = tempfile::tempdir()?;
/// let alkanes: String = (1..=20).map(|n| "C".repeat(n) + "\n").collect();
/// std::fs::write(dir.path().join("alkanes.smi"), alkanes)?;
/// let config: DataConfig = toml::from_str("set = 'molecules'\npath = 'alkanes.smi'")?;
/// let cache = dir.path().join("cache");
/// config.load(Folders { data: dir.path(), cache: Some(&cache) }, 0)?;
/// assert_eq!(std::fs::read_dir(&cache)?.count(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Folders<'a> {
    /// The data folder.
    pub data: &'a Path,
    /// Folder for molecules that were read; nothing is kept if `None`.
    pub cache: Option<&'a Path>,
}

impl<'a> From<&'a Path> for Folders<'a> {
    fn from(data: &'a Path) -> Self {
        Self { data, cache: None }
    }
}

impl<'a> From<&'a PathBuf> for Folders<'a> {
    fn from(data: &'a PathBuf) -> Self {
        Self { data, cache: None }
    }
}

/// The folders that may hold a set: the one the recipe names, else `<data_dir>/<folder>` and the data folder itself.
pub(crate) fn folders(path: Option<&Path>, folder: &str, data_dir: &Path) -> Result<Vec<PathBuf>, DataError> {
    Ok(match path {
        Some(path) => vec![existing("path", path, data_dir)?],
        None => vec![data_dir.join(folder), data_dir.to_owned()],
    })
}

/// Leaves the last part of a path; returns whether there were others.
pub(crate) fn drop_folder(path: &mut PathBuf) -> bool {
    let Some(name) = path.file_name().map(PathBuf::from).filter(|name| name != path) else { return false };
    *path = name;
    true
}

/// `path` as given or, failing that, inside the data folder.
pub(crate) fn existing(key: &'static str, path: &Path, data_dir: &Path) -> Result<PathBuf, DataError> {
    [path.to_owned(), data_dir.join(path)]
        .into_iter()
        .find(|candidate| candidate.exists())
        .ok_or_else(|| DataError::NoSuchPath { key, path: path.to_owned(), data_dir: data_dir.to_owned() })
}

/// The file `name`, plain or gzipped, in the first of `dirs` that has it.
pub(crate) fn find(set: &str, name: &str, dirs: &[PathBuf]) -> Result<PathBuf, DataError> {
    let names = [name.to_owned(), format!("{name}.gz")];
    dirs.iter()
        .flat_map(|dir| names.iter().map(|name| dir.join(name)))
        .find(|path| path.is_file())
        .ok_or_else(|| DataError::NotFound { set: set.to_owned(), looked_for: names.to_vec(), dirs: dirs.to_vec() })
}

/// A file in memory, as stored.
pub(crate) struct Source {
    path: PathBuf,
    bytes: Vec<u8>,
}

/// The bytes as stored, for hashes.
impl AsRef<[u8]> for Source {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Source {
    pub(crate) fn read(path: PathBuf) -> Result<Self, DataError> {
        let bytes = bytes(&path, LARGEST)?;
        Ok(Self { path, bytes })
    }

    /// A part of a file that was read already.
    pub(crate) fn of(path: impl Into<PathBuf>, bytes: Vec<u8>) -> Self {
        Self { path: path.into(), bytes }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The content as text, by the rule of [`plain_text`].
    ///
    /// A Parquet file is read as the CSV text of its cells.
    pub(crate) fn text(&self) -> Result<PlainText, DataError> {
        #[cfg(feature = "parquet")]
        if self.bytes.starts_with(super::parquet::MAGIC) {
            let rows = |problem| DataError::Rows { path: self.path.clone(), problem };
            let text = super::parquet::to_csv(self.bytes.clone(), LARGEST).map_err(rows)?;
            return Ok(PlainText { text, notes: vec!["read from Parquet".into()], headed: true });
        }
        let mut content = self.open();
        let text = String::from_utf8(content.take(u64::MAX)?).map_err(|error| {
            let offset = error.utf8_error().valid_up_to();
            let wide = [[0xff, 0xfe], [0xfe, 0xff]].iter().any(|mark| error.as_bytes().starts_with(mark));
            let found = if wide {
                "UTF-16; convert it to UTF-8".to_owned()
            } else {
                format!("byte {:#04x}", error.as_bytes()[offset])
            };
            content.malformed(offset as u64, "UTF-8 text", found)
        })?;
        PlainText::of(text).map_err(|line| plain_text::nul(&self.path, line))
    }

    /// Opens the content; gzip is recognised by its first two bytes, not by the file name.
    pub(crate) fn open(&self) -> Content<'_> {
        let gzip = self.bytes.starts_with(&[0x1f, 0x8b]);
        let reader =
            if gzip { Reader::Gzip(MultiGzDecoder::new(&self.bytes[..])) } else { Reader::Plain(&self.bytes[..]) };
        let most = LARGEST.min(INFLATED[0] + INFLATED[1] * self.bytes.len() as u64);
        Content { source: self, reader, most, left: most }
    }
}

/// The bytes of a file of at most `most` bytes, or `LARGEST_STREAM` if it is no regular file.
pub(crate) fn bytes(path: &Path, most: u64) -> Result<Vec<u8>, DataError> {
    let read = || {
        let file = File::open(path)?;
        let about = file.metadata()?;
        let most = if about.is_file() { most } else { most.min(LARGEST_STREAM) };
        // The length of a regular file is known, so that a large one is refused before it is read.
        let mut bytes = Vec::new();
        if !about.is_file() || about.len() <= most {
            file.take(most + 1).read_to_end(&mut bytes)?;
        }
        Ok((bytes, most, about.is_file() && about.len() > most))
    };
    let (bytes, most, large) = read().map_err(|source: std::io::Error| match source.kind() {
        std::io::ErrorKind::OutOfMemory => {
            let problem = "it does not fit into memory; `pushforward data prepare` reads text, tables, sequences and \
                           molecules in a stream";
            DataError::Rows { path: path.to_owned(), problem: problem.into() }
        }
        _ => DataError::Read { path: path.to_owned(), source },
    })?;
    if large || bytes.len() as u64 > most {
        return Err(DataError::TooLarge { path: path.to_owned(), what: "the file has", most });
    }
    Ok(bytes)
}

/// Reads a file as it is.
///
/// # Errors
/// If it cannot be read, or is larger than 2 GiB, or than 256 MiB and a pipe or a device.
pub fn read_bytes(path: &Path) -> Result<Vec<u8>, DataError> {
    bytes(path, LARGEST)
}

/// Reads a text file, plain or gzipped, by the rule that all text files are read by: UTF-8, a byte order mark is
/// dropped, `\r\n` and `\r` are line breaks.
///
/// # Errors
/// If the file cannot be read, is larger than 2 GiB, is not UTF-8, or contains NUL.
///
/// # Examples
/// ```
/// use pushforward::data::read_text;
/// let dir = tempfile::tempdir()?;
/// let path = dir.path().join("a.txt");
/// std::fs::write(&path, "\u{feff}one\r\ntwo\rthree")?;
/// assert_eq!(read_text(&path)?, "one\ntwo\nthree");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn read_text(path: &Path) -> Result<String, DataError> {
    Ok(Source::read(path.to_owned())?.text()?.text)
}

/// Most bytes of a file that is read as a whole to find out what it is.
const LOOKED_AT: u64 = 64 << 20;
/// Bytes of the beginning of a text that tell what it is.
const HEAD: u64 = 1 << 20;

/// The text of a file that tells what it is: all of it, or the first lines if it is large.
///
/// # Errors
/// As [`read_text`].
pub(crate) fn telling(path: &Path) -> Result<String, DataError> {
    let large = std::fs::metadata(path).is_ok_and(|about| about.is_file() && about.len() > LOOKED_AT);
    if large { head(path) } else { read_text(path) }
}

/// The first bytes of a file, four if it has so many.
///
/// # Errors
/// If it cannot be read.
pub(crate) fn magic(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut found = Vec::new();
    File::open(path)?.take(4).read_to_end(&mut found)?;
    Ok(found)
}

/// The first lines of a text file, plain or gzipped, at most a mebibyte of them; a part of the first line if it is longer.
///
/// # Errors
/// As [`read_text`].
pub(crate) fn head(path: &Path) -> Result<String, DataError> {
    let failed = |source| DataError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    #[cfg(feature = "parquet")]
    if magic(path).map_err(failed)? == super::parquet::MAGIC {
        let rows = |problem| DataError::Rows { path: path.to_owned(), problem };
        let rows = super::parquet::CsvRows::open(file).map_err(rows)?;
        rows.take(HEAD).read_to_end(&mut bytes).map_err(failed)?;
        return first_lines(path, bytes);
    }
    std::io::BufReader::new(file).take(HEAD).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut inflated = Vec::new();
        // What follows the beginning of the file is missing; what was read until then is enough.
        let _ = MultiGzDecoder::new(&bytes[..]).take(HEAD).read_to_end(&mut inflated);
        bytes = inflated;
    }
    first_lines(path, bytes)
}

/// The whole lines of the beginning of a text, or all of one that is shorter than it.
fn first_lines(path: &Path, mut bytes: Vec<u8>) -> Result<String, DataError> {
    let whole = (bytes.len() as u64) < HEAD;
    let valid = match std::str::from_utf8(&bytes) {
        // A character that is cut off at the end is no mistake.
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        _ => bytes.len(),
    };
    bytes.truncate(valid);
    let end = bytes.iter().rposition(|&byte| byte == b'\n').map_or(bytes.len(), |at| at + 1);
    bytes.truncate(if whole { bytes.len() } else { end });
    Ok(Source::of(path, bytes).text()?.text)
}

/// SHA-256 of the description of a synthetic set: name, settings as JSON and seed.
pub(crate) fn sha256_made(name: &str, settings: &impl serde::Serialize, seed: u64) -> String {
    let settings = serde_json::to_string(settings).expect("settings can be serialised");
    sha256([format!("{name} {settings} seed {seed}")])
}

/// The decompressed content of a [`Source`], read from the front.
pub(crate) struct Content<'a> {
    source: &'a Source,
    reader: Reader<'a>,
    /// Most decompressed bytes.
    most: u64,
    /// How many of them have not been read yet.
    left: u64,
}

enum Reader<'a> {
    Plain(&'a [u8]),
    Gzip(MultiGzDecoder<&'a [u8]>),
}

impl Content<'_> {
    /// Reads up to `limit` bytes. Memory use depends on the bytes that exist, not on `limit`.
    pub(crate) fn take(&mut self, limit: u64) -> Result<Vec<u8>, DataError> {
        let mut out = Vec::new();
        match &mut self.reader {
            Reader::Plain(bytes) => {
                let (head, tail) = bytes.split_at(bytes.len().min(usize::try_from(limit).unwrap_or(usize::MAX)));
                out.extend_from_slice(head);
                *bytes = tail;
            }
            Reader::Gzip(decoder) => {
                // One byte more than allowed tells that there are more.
                if let Err(error) = decoder.by_ref().take(limit.min(self.left + 1)).read_to_end(&mut out) {
                    return Err(DataError::Malformed {
                        path: self.source.path.clone(),
                        place: "compressed byte",
                        offset: (self.source.bytes.len() - decoder.get_ref().len()) as u64,
                        expected: "valid gzip data".into(),
                        found: error.to_string(),
                    });
                }
                if out.len() as u64 > self.left {
                    let path = self.source.path.clone();
                    return Err(DataError::TooLarge { path, what: "decompressed, it has", most: self.most });
                }
                self.left -= out.len() as u64;
            }
        }
        Ok(out)
    }

    /// The error for what is wrong at `offset` of the content.
    pub(crate) fn malformed(&self, offset: u64, expected: impl Into<String>, found: impl Into<String>) -> DataError {
        let place = match self.reader {
            Reader::Plain(_) => "byte",
            Reader::Gzip(_) => "decompressed byte",
        };
        let (expected, found) = (expected.into(), found.into());
        DataError::Malformed { path: self.source.path.clone(), place, offset, expected, found }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn what_inflates_without_end_is_refused_while_it_is_read() {
        let member = {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            gzip.write_all(&vec![b'a'; 32 << 20]).unwrap();
            gzip.finish().unwrap()
        };
        // Several members in one file count together; what stays below the limit is read.
        let few = Source::of("few.gz", member.repeat(2));
        assert_eq!(few.text().unwrap().text.len(), 64 << 20);
        let bomb = Source::of("bomb.gz", member.repeat(40));
        let message = bomb.open().take(u64::MAX).unwrap_err().to_string();
        assert!(message.contains("bomb.gz") && message.contains("decompressed"), "{message}");
        // The limit holds over several reads.
        let mut content = bomb.open();
        assert!((0..100).any(|_| content.take(8 << 20).is_err()));
    }

    #[cfg(unix)]
    #[test]
    fn a_device_without_an_end_is_refused() {
        let message = Source::read("/dev/zero".into()).err().unwrap().to_string();
        assert!(message.contains("/dev/zero") && message.contains("268435456"), "{message}");
        assert!(bytes(Path::new("/dev/null"), 1).unwrap().is_empty());
    }

    #[test]
    fn a_large_file_is_refused_by_its_length() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("large");
        File::create(&path).unwrap().set_len(LARGEST + 1).unwrap();
        assert!(matches!(Source::read(path), Err(DataError::TooLarge { .. })));
    }
}
