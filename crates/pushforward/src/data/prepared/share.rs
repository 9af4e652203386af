//! The items of a set by several processes: each writes those of its share of the source, and one puts them together.
//!
//! All processes read the source and cut it into the same blocks. A block belongs to the share in which it begins, by its place
//! in the file as it is stored, so that shares follow one another; only its own process makes items of it, which is
//! most of the work. What depends on all items before (shards, the numbers of molecules) is decided when the shares are put together, in the same way
//! as by a process alone.
//!
//! The file of a share has a header in JSON (what it is a share of), the items one after the other, and an end in JSON (what
//! was found besides). It has its name only when it is whole.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write as _};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::data::DataError;
use crate::data::prepared::job::{Job, Role, Share, Turn};
use crate::data::prepared::shard::Item;
use crate::data::prepared::writer::Writer;

/// What the header says it is.
const FORMAT: &str = "pushforward share 1";
/// Most bytes of a header or an end.
const MOST: u64 = 1 << 28;

/// What is found beside items.
pub(in crate::data) trait Found: Serialize + DeserializeOwned {
    /// Adds what a later share has found.
    fn add(&mut self, later: Self);
}

impl Found for () {
    fn add(&mut self, (): Self) {}
}

/// What happens to an item: told its part, or what decides it, and where the set is written.
pub(in crate::data) type Keep<'a> = dyn FnMut(u8, Item<'_>, &mut Writer) -> Result<(), DataError> + 'a;

/// Where items go.
enum To<'a, 'k> {
    Set(&'a mut Writer, &'a mut Keep<'k>),
    Share(&'a mut ShareFile),
}

/// Takes the items of a source.
pub(in crate::data) struct Sink<'a, 'k> {
    to: To<'a, 'k>,
    /// The share of this process, and whose turn it is.
    own: Option<(usize, Rc<Turn>)>,
}

impl Sink<'_, '_> {
    /// Whether this process makes the items of the block that is read now.
    pub(in crate::data) fn own(&self) -> bool {
        self.turn()()
    }

    /// The same, asked later.
    pub(in crate::data) fn turn(&self) -> impl Fn() -> bool + use<> {
        let own = self.own.clone();
        move || own.as_ref().is_none_or(|(share, turn)| turn.is_of(*share))
    }

    /// Adds an item.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(in crate::data) fn push(&mut self, part: u8, item: Item<'_>) -> Result<(), DataError> {
        match &mut self.to {
            To::Set(writer, keep) => keep(part, item, writer),
            To::Share(file) => file.push(part, item),
        }
    }
}

/// What the items of a set are.
pub(in crate::data) struct Kind<'a> {
    /// Hash of the source.
    pub(in crate::data) source: &'a str,
    /// Number of classes.
    pub(in crate::data) classes: usize,
    /// Whether items differ in length.
    pub(in crate::data) varies: bool,
}

/// Makes the items of a set. `make` reads the source and gives items to the sink, each to be kept by `keep`. Returns the set that is being
/// written; `None` if this process has written its share, and has nothing more to do.
///
/// # Errors
/// If items cannot be made or written, or shares do not belong together.
pub(in crate::data) fn written<F: Found>(
    job: &mut Job<'_>,
    kind: &Kind<'_>,
    keep: &mut Keep<'_>,
    make: impl FnOnce(&mut Job<'_>, &mut Sink<'_, '_>) -> Result<F, DataError>,
) -> Result<Option<(Writer, F)>, DataError> {
    let of = job.of.clone();
    let header = |share| Header { format: FORMAT.to_owned(), of: of.clone(), source: kind.source.to_owned(), share };
    job.turn = Rc::default();
    match job.role {
        Role::Alone => {
            let mut writer = Writer::new(job.out, kind.classes, kind.varies)?;
            let found = make(job, &mut Sink { to: To::Set(&mut writer, keep), own: None })?;
            Ok(Some((writer, found)))
        }
        Role::Share(share) => {
            let mut file = ShareFile::new(job.out, &header(share))?;
            let own = Some((share.index, job.turn.clone()));
            let found = make(job, &mut Sink { to: To::Share(&mut file), own })?;
            file.finish(&End { blocks: job.turn.blocks(), found })?;
            Ok(None)
        }
        Role::Join(files) => {
            let mut writer = Writer::new(job.out, kind.classes, kind.varies)?;
            let mut all: Option<End<F>> = None;
            for (index, path) in files.iter().enumerate() {
                let mut items = ShareItems::open(path)?;
                if items.header != header(Share { index, of: files.len() }) {
                    let problem = format!(
                        "it is not share {} of {} of this set as its files and settings are now; write all shares again",
                        index + 1,
                        files.len()
                    );
                    return Err(DataError::Rows { path: path.clone(), problem });
                }
                while let Some(part) = items.next()? {
                    keep(part, items.item(), &mut writer)?;
                }
                job.tell("putting together", index as u64 + 1, files.len() as u64)?;
                let end: End<F> = items.end()?;
                match &mut all {
                    None => all = Some(end),
                    Some(all) if all.blocks != end.blocks => return Err(items.damaged("its source was cut otherwise")),
                    Some(all) => all.found.add(end.found),
                }
            }
            let none = || DataError::Setting { key: "shares", problem: "there are none to put together".into() };
            Ok(Some((writer, all.ok_or_else(none)?.found)))
        }
    }
}

/// What a file is a share of.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: String,
    of: Value,
    source: String,
    share: Share,
}

#[derive(Serialize, Deserialize)]
struct End<F> {
    /// Blocks of the whole source.
    blocks: u64,
    found: F,
}

/// What stands before an item, by its bits: its part, and what it has.
const PART: u8 = 3;
const LABEL: u8 = 4;
const TEXT: u8 = 8;
/// What stands before the end.
const END: u8 = 0xff;

/// The file of a share that is being written.
struct ShareFile {
    path: PathBuf,
    /// Its name until it is whole.
    partial: PathBuf,
    file: BufWriter<File>,
    bytes: Vec<u8>,
}

impl ShareFile {
    fn new(path: &Path, header: &Header) -> Result<Self, DataError> {
        let failed = |source| DataError::Write { path: path.to_owned(), source };
        let path = std::path::absolute(path).map_err(failed)?;
        let name = path.file_name().map_or_else(Default::default, |name| name.to_string_lossy().into_owned());
        let partial = path.with_file_name(format!(".{name}.part-{}", std::process::id()));
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        let file = BufWriter::with_capacity(1 << 18, File::create(&partial).map_err(failed)?);
        let mut new = Self { path, partial, file, bytes: Vec::new() };
        new.text(header)?;
        Ok(new)
    }

    /// Writes what is in JSON, with its length before it.
    fn text(&mut self, value: &impl Serialize) -> Result<(), DataError> {
        let text = serde_json::to_vec(value).expect("names and numbers");
        self.bytes.extend((text.len() as u64).to_le_bytes());
        self.bytes.extend(text);
        self.write()
    }

    fn write(&mut self) -> Result<(), DataError> {
        let written = self.file.write_all(&self.bytes);
        self.bytes.clear();
        written.map_err(|source| DataError::Write { path: self.path.clone(), source })
    }

    fn push(&mut self, part: u8, item: Item<'_>) -> Result<(), DataError> {
        let Item { ids, label, text, numbers } = item;
        let has = |bit: u8, there: bool| if there { bit } else { 0 };
        let width: u8 = match ids.iter().max().copied().unwrap_or(0) {
            0..=0xff => 1,
            0x100..=0xffff => 2,
            _ => 4,
        };
        self.bytes.extend([(part & PART) | has(LABEL, label.is_some()) | has(TEXT, text.is_some()), width]);
        let counts = [ids.len(), text.map_or(0, str::len), numbers.len()];
        self.bytes.extend(counts.iter().flat_map(|&count| (count as u32).to_le_bytes()));
        self.bytes.extend(label.into_iter().flat_map(u32::to_le_bytes));
        match width {
            1 => self.bytes.extend(ids.iter().map(|&id| id as u8)),
            2 => self.bytes.extend(ids.iter().flat_map(|&id| (id as u16).to_le_bytes())),
            _ => self.bytes.extend(ids.iter().flat_map(|id| id.to_le_bytes())),
        }
        self.bytes.extend(text.unwrap_or_default().as_bytes());
        self.bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        self.write()
    }

    fn finish(mut self, end: &impl Serialize) -> Result<(), DataError> {
        self.bytes.push(END);
        self.text(end)?;
        let kept = self.file.flush().and_then(|()| self.file.get_ref().sync_all());
        let named = kept.and_then(|()| fs::rename(&self.partial, &self.path));
        named.map_err(|source| DataError::Write { path: self.path.clone(), source })
    }
}

impl Drop for ShareFile {
    fn drop(&mut self) {
        // After the end, there is nothing of this name.
        let _ = fs::remove_file(&self.partial);
    }
}

/// The items of the file of a share, one after the other.
struct ShareItems {
    path: PathBuf,
    file: BufReader<File>,
    header: Header,
    /// Of the item that was read last.
    ids: Vec<u32>,
    label: Option<u32>,
    text: Option<String>,
    numbers: Vec<f64>,
}

impl ShareItems {
    fn open(path: &Path) -> Result<Self, DataError> {
        let failed = |source| DataError::Read { path: path.to_owned(), source };
        let mut file = BufReader::with_capacity(1 << 18, File::open(path).map_err(failed)?);
        let none = || DataError::Rows { path: path.to_owned(), problem: "it is no share of a set".into() };
        let header = read_text(&mut file).map_err(|_| none())?;
        let header: Header = serde_json::from_slice(&header).map_err(|_| none())?;
        let (ids, numbers) = (Vec::new(), Vec::new());
        Ok(Self { path: path.to_owned(), file, header, ids, label: None, text: None, numbers })
    }

    fn damaged(&self, problem: &str) -> DataError {
        let problem = format!("the share is damaged: {problem}; write it again");
        DataError::Rows { path: self.path.clone(), problem }
    }

    fn bytes(&mut self, count: usize) -> Result<Vec<u8>, DataError> {
        let mut bytes = Vec::new();
        let read = (&mut self.file).take(count as u64).read_to_end(&mut bytes);
        match read {
            Ok(found) if found == count => Ok(bytes),
            Ok(_) => Err(self.damaged("it ends too early")),
            Err(source) => Err(DataError::Read { path: self.path.clone(), source }),
        }
    }

    /// Reads the next item and returns its part; `None` at the end.
    fn next(&mut self) -> Result<Option<u8>, DataError> {
        let kind = self.bytes(1)?[0];
        if kind == END {
            return Ok(None);
        }
        let head = self.bytes(13)?;
        let word = |bytes: &[u8]| u32::from_le_bytes(std::array::from_fn(|i| bytes[i]));
        let [ids, text, numbers] = [1, 5, 9].map(|at| word(&head[at..]) as usize);
        self.label = if kind & LABEL > 0 { Some(word(&self.bytes(4)?)) } else { None };
        let width = usize::from(head[0]);
        let bytes = self.bytes(ids * width)?;
        self.ids.clear();
        match width {
            1 => self.ids.extend(bytes.iter().map(|&id| u32::from(id))),
            2 => self.ids.extend(bytes.chunks_exact(2).map(|id| u32::from(u16::from_le_bytes([id[0], id[1]])))),
            4 => self.ids.extend(bytes.chunks_exact(4).map(word)),
            _ => return Err(self.damaged("an item has classes of no known width")),
        }
        let text = self.bytes(text)?;
        let text = String::from_utf8(text).map_err(|_| self.damaged("the text of an item is not UTF-8"))?;
        self.text = Some(text).filter(|_| kind & TEXT > 0);
        let bytes = self.bytes(numbers * 8)?;
        self.numbers.clear();
        let number = |bytes: &[u8]| f64::from_le_bytes(std::array::from_fn(|i| bytes[i]));
        self.numbers.extend(bytes.chunks_exact(8).map(number));
        Ok(Some(kind & PART))
    }

    /// The item that was read last.
    fn item(&self) -> Item<'_> {
        Item { ids: &self.ids, label: self.label, text: self.text.as_deref(), numbers: &self.numbers }
    }

    fn end<F: DeserializeOwned>(&mut self) -> Result<End<F>, DataError> {
        let text = read_text(&mut self.file).map_err(|_| self.damaged("it ends too early"))?;
        serde_json::from_slice(&text).map_err(|error| self.damaged(&format!("its end cannot be read: {error}")))
    }
}

fn read_text(file: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut length = [0; 8];
    file.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    if length > MOST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut text = Vec::new();
    if file.take(length).read_to_end(&mut text)? as u64 == length {
        Ok(text)
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use super::*;
    use crate::data::DataConfig;

    #[test]
    fn shares_of_other_sets_and_damaged_ones_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let here = |name: &str| dir.path().join(name);
        let text = "To be, or not to be, that is the question. ".repeat(300);
        fs::write(here("a.txt"), &text).unwrap();
        let config = |length: usize| -> DataConfig {
            toml::from_str(&format!("set = 'text'\npath = 'a.txt'\nlength = {length}")).unwrap()
        };
        let go_on = &mut |_: &str, _: u64, _: u64| ControlFlow::Continue(());
        for (length, index, of, name) in [(16, 0, 2, "a"), (16, 1, 2, "b"), (16, 1, 3, "c"), (17, 1, 2, "d")] {
            config(length).prepare_share(dir.path(), Share { index, of }, &here(name), go_on).unwrap();
        }
        let bytes = fs::read(here("b")).unwrap();
        fs::write(here("short"), &bytes[..bytes.len() - 9]).unwrap();
        fs::write(here("none"), "no share").unwrap();
        let mut join = |names: &[&str]| {
            let files: Vec<_> = names.iter().map(|name| here(name)).collect();
            let joined = config(16).prepare_from(dir.path(), &files, &here("out"), go_on);
            joined.map_err(|error| error.to_string())
        };
        for (names, part) in [
            (&["a"][..], "not share 1 of 1"),
            (&["b", "a"], "not share 1 of 2"),
            (&["a", "c"], "not share 2 of 2"),
            (&["a", "d"], "settings are now"),
            (&["a", "short"], "ends too early"),
            (&["a", "none"], "no share of a set"),
            (&["a", "nowhere"], "cannot read"),
            (&[], "none to put together"),
        ] {
            let message = join(names).unwrap_err();
            assert!(message.contains(part), "{names:?}: {message}");
        }
        let count = || fs::read_dir(dir.path()).unwrap().count();
        assert!(!here("out").exists() && count() == 7);
        join(&["a", "b"]).unwrap();
        fs::remove_dir_all(here("out")).unwrap();
        // The source has changed since.
        fs::write(here("a.txt"), text + "?").unwrap();
        assert!(join(&["a", "b"]).unwrap_err().contains("as its files and settings are now"));
        // A share that is stopped leaves nothing.
        let stop = &mut |stage: &str, _: u64, _: u64| {
            if stage == "writing" { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let stopped = config(16).prepare_share(dir.path(), Share { index: 0, of: 2 }, &here("e"), stop);
        assert!(matches!(stopped, Err(DataError::Stopped)) && count() == 7);
    }
}
