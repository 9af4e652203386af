//! Finding, reading, inflating and hashing source files.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use super::DataError;
use crate::hash::sha256;

/// The folders that may hold a set: the one the recipe names, else `<data_dir>/<folder>` and the data folder itself.
pub(crate) fn folders(path: Option<&Path>, folder: &str, data_dir: &Path) -> Result<Vec<PathBuf>, DataError> {
    Ok(match path {
        Some(path) => vec![existing("path", path, data_dir)?],
        None => vec![data_dir.join(folder), data_dir.to_owned()],
    })
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
        match std::fs::read(&path) {
            Ok(bytes) => Ok(Self { path, bytes }),
            Err(source) => Err(DataError::Read { path, source }),
        }
    }

    #[cfg(test)]
    pub(crate) fn of(path: &str, bytes: Vec<u8>) -> Self {
        Self { path: path.into(), bytes }
    }

    /// The content as text.
    pub(crate) fn utf8(&self) -> Result<String, DataError> {
        let mut content = self.open();
        String::from_utf8(content.take(u64::MAX)?).map_err(|error| {
            let offset = error.utf8_error().valid_up_to();
            content.malformed(offset as u64, "UTF-8 text", format!("byte {:#04x}", error.as_bytes()[offset]))
        })
    }

    /// Opens the content; gzip is recognised by its first two bytes, not by the file name.
    pub(crate) fn open(&self) -> Content<'_> {
        let gzip = self.bytes.starts_with(&[0x1f, 0x8b]);
        let reader =
            if gzip { Reader::Gzip(MultiGzDecoder::new(&self.bytes[..])) } else { Reader::Plain(&self.bytes[..]) };
        Content { source: self, reader }
    }
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
                if let Err(error) = decoder.by_ref().take(limit).read_to_end(&mut out) {
                    return Err(DataError::Malformed {
                        path: self.source.path.clone(),
                        place: "compressed byte",
                        offset: (self.source.bytes.len() - decoder.get_ref().len()) as u64,
                        expected: "valid gzip data".into(),
                        found: error.to_string(),
                    });
                }
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
