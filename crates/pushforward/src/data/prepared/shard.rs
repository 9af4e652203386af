//! A shard: some of the items of a part, in a safetensors file.
//!
//! | tensor | elements | what it holds |
//! |---|---|---|
//! | `ids` | all classes | the classes of all items, one after the other, in the narrowest unsigned type |
//! | `ends` | items | where each item ends in `ids`; items of one length have none |
//! | `labels` | items | the label of each item, if there are labels |
//! | `numbers` | items times numbers | what classes stand for in part |
//! | `text`, `text_ends` | bytes, items | a text of each item, and where it ends |
//!
//! A file is read by positions and never mapped: what is mapped counts as memory of the process under a limit of its address
//! space, a file that becomes shorter ends a process that has mapped it, and the pages that the system keeps are the same.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorView};
use serde::{Deserialize, Serialize};

use crate::data::DataError;
use crate::hash::sha256_file;

/// Most shards of a part whose files stay open.
const KEPT: usize = 256;
/// Most bytes of the header of a file.
const HEADER: u64 = 1 << 20;

/// What an index says of a shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) file: String,
    pub(super) items: u64,
    /// Classes of all items.
    pub(super) symbols: u64,
    /// Length of the file.
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

/// The narrowest type of class indices.
pub(super) fn width(classes: usize) -> Dtype {
    match classes {
        ..=256 => Dtype::U8,
        257..=65_536 => Dtype::U16,
        _ => Dtype::U32,
    }
}

/// What is written of an item. All items of a set have the same of its parts.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::data) struct Item<'a> {
    pub(in crate::data) ids: &'a [u32],
    pub(in crate::data) label: Option<u32>,
    pub(in crate::data) text: Option<&'a str>,
    pub(in crate::data) numbers: &'a [f64],
}

/// Items of a shard that is not written yet.
#[derive(Debug)]
pub(super) struct Buffer {
    width: Dtype,
    ids: Vec<u8>,
    ends: Vec<u8>,
    labels: Vec<u8>,
    numbers: Vec<u8>,
    text: Vec<u8>,
    text_ends: Vec<u8>,
    pub(super) items: u64,
    symbols: u64,
}

impl Buffer {
    pub(super) fn new(width: Dtype) -> Self {
        let none = Vec::new;
        let (ids, ends, labels, numbers, text, text_ends) = (none(), none(), none(), none(), none(), none());
        Self { width, ids, ends, labels, numbers, text, text_ends, items: 0, symbols: 0 }
    }

    /// Adds an item; `ends` says whether items differ in length.
    pub(super) fn push(&mut self, item: Item<'_>, ends: bool) {
        match self.width {
            Dtype::U8 => self.ids.extend(item.ids.iter().map(|&id| id as u8)),
            Dtype::U16 => self.ids.extend(item.ids.iter().flat_map(|&id| (id as u16).to_le_bytes())),
            _ => self.ids.extend(item.ids.iter().flat_map(|id| id.to_le_bytes())),
        }
        self.symbols += item.ids.len() as u64;
        self.items += 1;
        if ends {
            self.ends.extend((self.symbols as u32).to_le_bytes());
        }
        self.labels.extend(item.label.into_iter().flat_map(u32::to_le_bytes));
        self.numbers.extend(item.numbers.iter().flat_map(|number| number.to_le_bytes()));
        if let Some(text) = item.text {
            self.text.extend(text.as_bytes());
            self.text_ends.extend((self.text.len() as u32).to_le_bytes());
        }
    }

    /// Bytes of what is held.
    pub(super) fn bytes(&self) -> usize {
        let all = [&self.ids, &self.ends, &self.labels, &self.numbers, &self.text, &self.text_ends];
        all.into_iter().map(Vec::len).sum()
    }

    /// Writes the shard and begins the next one.
    pub(super) fn write(&mut self, folder: &Path, file: String) -> Result<Entry, DataError> {
        let path = folder.join(&file);
        let tensors = [
            ("ids", self.width, &self.ids),
            ("ends", Dtype::U32, &self.ends),
            ("labels", Dtype::U32, &self.labels),
            ("numbers", Dtype::F64, &self.numbers),
            ("text", Dtype::U8, &self.text),
            ("text_ends", Dtype::U32, &self.text_ends),
        ];
        let tensors = tensors.into_iter().filter(|(_, _, bytes)| !bytes.is_empty()).map(|(name, dtype, bytes)| {
            let shape = vec![8 * bytes.len() / dtype.bitsize()];
            (name, TensorView::new(dtype, shape, bytes).expect("as many bytes as elements"))
        });
        let failed = |source| DataError::Write { path: path.clone(), source };
        safetensors::serialize_to_file(tensors, None, &path).map_err(|error| failed(io::Error::other(error)))?;
        let bytes = path.metadata().map_err(failed)?.len();
        let sha256 = sha256_file(&path).map_err(failed)?;
        let entry = Entry { file, items: self.items, symbols: self.symbols, bytes, sha256 };
        *self = Self::new(self.width);
        Ok(entry)
    }
}

/// A tensor of a file.
#[derive(Clone, Copy, Debug)]
struct Column {
    /// The first byte.
    at: u64,
    /// Bytes of an element.
    size: u64,
}

/// A shard that is read by positions.
#[derive(Debug)]
pub(super) struct Shard {
    path: PathBuf,
    /// The open file, if it stays open.
    file: Option<OnceLock<File>>,
    pub(super) items: u64,
    pub(super) symbols: u64,
    ids: Column,
    ends: Option<Column>,
    labels: Option<Column>,
    numbers: Option<Column>,
    /// Numbers of an item.
    numbers_each: u64,
    text: Option<(Column, Column)>,
}

impl Shard {
    /// Opens shard `number` of a part and compares it with its entry.
    ///
    /// # Errors
    /// If the file is missing, of another length, or does not hold what the entry says.
    pub(super) fn open(folder: &Path, entry: &Entry, number: usize, classes: usize) -> Result<Self, DataError> {
        let path = folder.join(&entry.file);
        let failed = |source| DataError::Read { path: path.clone(), source };
        let damaged = |problem: String| damaged(&path, &problem);
        let file = File::open(&path).map_err(failed)?;
        let bytes = file.metadata().map_err(failed)?.len();
        if bytes != entry.bytes {
            return Err(damaged(format!("it has {bytes} bytes, and the index says {}", entry.bytes)));
        }
        let mut length = [0; 8];
        read_at(&file, &path, &mut length, 0).map_err(failed)?;
        let length = u64::from_le_bytes(length);
        if length > HEADER.min(bytes) {
            return Err(damaged("its header is not one of safetensors".into()));
        }
        let mut header = vec![0; length as usize];
        read_at(&file, &path, &mut header, 8).map_err(failed)?;
        let header: Metadata =
            serde_json::from_slice(&header).map_err(|error| damaged(format!("its header cannot be read: {error}")))?;
        if 8 + length + header.data_len() as u64 != bytes {
            return Err(damaged("its header says another length".into()));
        }
        let column = |name: &str, dtype: Dtype, elements: u64| {
            let Some(info) = header.info(name) else { return Ok(None) };
            let found = (info.data_offsets.1 - info.data_offsets.0) as u64 * 8 / dtype.bitsize() as u64;
            if info.dtype != dtype || (elements > 0 && found != elements) {
                let expected = format!("{elements} numbers of type {dtype}");
                return Err(damaged(format!("`{name}` has {found} of type {}, expected {expected}", info.dtype)));
            }
            let column = Column { at: 8 + length + info.data_offsets.0 as u64, size: dtype.bitsize() as u64 / 8 };
            Ok(Some((column, found)))
        };
        let here = |found: Option<(Column, u64)>| found.map(|(column, _)| column);
        let ids = here(column("ids", width(classes), entry.symbols)?)
            .ok_or_else(|| damaged("it has no tensor `ids`".to_owned()))?;
        let ends = here(column("ends", Dtype::U32, entry.items)?);
        let labels = here(column("labels", Dtype::U32, entry.items)?);
        let numbers = column("numbers", Dtype::F64, 0)?;
        let text = here(column("text", Dtype::U8, 0)?).zip(here(column("text_ends", Dtype::U32, entry.items)?));
        Ok(Self {
            items: entry.items,
            symbols: entry.symbols,
            ids,
            ends,
            labels,
            numbers: here(numbers),
            numbers_each: numbers.map_or(0, |(_, count)| count / entry.items.max(1)),
            text,
            file: (number < KEPT).then(|| OnceLock::from(file)),
            path,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of elements of a tensor.
    fn bytes(&self, column: Column, elements: Range<u64>) -> Result<Vec<u8>, DataError> {
        let failed = |source| DataError::Read { path: self.path.clone(), source };
        let mut bytes = vec![0; ((elements.end - elements.start) * column.size) as usize];
        let at = column.at + elements.start * column.size;
        match self.file.as_ref().and_then(OnceLock::get) {
            Some(file) => read_at(file, &self.path, &mut bytes, at),
            None => File::open(&self.path).and_then(|file| read_at(&file, &self.path, &mut bytes, at)),
        }
        .map_err(failed)?;
        Ok(bytes)
    }

    fn words(&self, column: Column, elements: Range<u64>) -> Result<impl Iterator<Item = u32>, DataError> {
        let bytes = self.bytes(column, elements)?;
        Ok((0..bytes.len() / 4).map(move |i| u32::from_le_bytes(std::array::from_fn(|j| bytes[4 * i + j]))))
    }

    /// Where an item begins and ends, from a tensor of ends.
    fn span(&self, ends: Column, item: u64, most: Option<u64>) -> Result<Range<u64>, DataError> {
        let found: Vec<u64> = self.words(ends, item.saturating_sub(1)..item + 1)?.map(u64::from).collect();
        let range = if item == 0 { 0..found[0] } else { found[0]..found[1] };
        if range.start > range.end || most.is_some_and(|most| range.end > most) {
            return Err(damaged(
                &self.path,
                &format!("item {item} begins at {} and ends at {}", range.start, range.end),
            ));
        }
        Ok(range)
    }

    /// The places of an item among the classes of the shard.
    pub(super) fn places(&self, item: u64) -> Result<Range<u64>, DataError> {
        match self.ends {
            Some(ends) => self.span(ends, item, Some(self.symbols)),
            None => {
                let length = self.symbols / self.items;
                Ok(item * length..(item + 1) * length)
            }
        }
    }

    /// Writes the classes from place `first` on; each is below `classes`.
    pub(super) fn classes(&self, first: u64, out: &mut [u32], classes: usize) -> Result<(), DataError> {
        let bytes = self.bytes(self.ids, first..first + out.len() as u64)?;
        match self.ids.size {
            1 => out.iter_mut().zip(&bytes).for_each(|(out, &id)| *out = u32::from(id)),
            2 => out
                .iter_mut()
                .zip(bytes.chunks_exact(2))
                .for_each(|(out, id)| *out = u16::from_le_bytes([id[0], id[1]]).into()),
            _ => out.iter_mut().zip(bytes.chunks_exact(4)).for_each(|(out, id)| {
                *out = u32::from_le_bytes([id[0], id[1], id[2], id[3]]);
            }),
        }
        match out.iter().find(|&&class| class as usize >= classes) {
            Some(class) => Err(damaged(&self.path, &format!("it holds class {class}, and there are {classes}"))),
            None => Ok(()),
        }
    }

    /// The label of an item, below `count`; `None` without labels.
    pub(super) fn label(&self, item: u64, count: usize) -> Result<Option<u32>, DataError> {
        let Some(labels) = self.labels else { return Ok(None) };
        let label = self.words(labels, item..item + 1)?.next();
        match label.filter(|&label| label as usize >= count) {
            Some(label) => Err(damaged(&self.path, &format!("it holds label {label}, and there are {count}"))),
            None => Ok(label),
        }
    }

    /// Number `place` of an item; `None` without numbers.
    pub(super) fn number(&self, item: u64, place: u64) -> Result<Option<f64>, DataError> {
        let Some(numbers) = self.numbers.filter(|_| place < self.numbers_each) else { return Ok(None) };
        let at = item * self.numbers_each + place;
        let bytes = self.bytes(numbers, at..at + 1)?;
        Ok(Some(f64::from_le_bytes(std::array::from_fn(|i| bytes[i]))))
    }

    /// The text of an item; `None` without texts.
    pub(super) fn text(&self, item: u64) -> Result<Option<String>, DataError> {
        let Some((text, ends)) = self.text else { return Ok(None) };
        let bytes = self.bytes(text, self.span(ends, item, None)?)?;
        let text = String::from_utf8(bytes);
        text.map(Some).map_err(|_| damaged(&self.path, &format!("the text of item {item} is not UTF-8")))
    }
}

/// The error of a shard that does not hold what it should.
pub(super) fn damaged(path: &Path, problem: &str) -> DataError {
    let problem = format!("the shard is damaged: {problem}; prepare the set again");
    DataError::Rows { path: path.to_owned(), problem }
}

#[cfg(unix)]
fn read_at(file: &File, _: &Path, out: &mut [u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, out, at)
}

/// Without positioned reads, a file of its own has the position.
#[cfg(not(unix))]
fn read_at(_: &File, path: &Path, out: &mut [u8], at: u64) -> io::Result<()> {
    use std::io::{Read as _, Seek as _};
    let mut file = File::open(path)?;
    file.seek(io::SeekFrom::Start(at))?;
    file.read_exact(out)
}
