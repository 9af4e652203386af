//! Writes a prepared set: under another name, which becomes the set's when all is done.

use std::fs;
use std::path::{Path, PathBuf};

use safetensors::Dtype;

use crate::data::DataError;
use crate::data::prepared::index::{About, Index};
use crate::data::prepared::shard::{Buffer, Entry, Item, width};

/// Bytes of a shard.
const FULL: usize = 16 << 20;
const PARTS: [&str; 3] = ["train", "validation", "test"];

/// Shards of a part.
struct Part {
    buffer: Buffer,
    shards: Vec<Entry>,
}

/// A set that is being written.
pub(in crate::data) struct Writer {
    out: PathBuf,
    /// The folder until all is done.
    folder: PathBuf,
    /// Whether items differ in length.
    varies: bool,
    parts: [Part; 3],
}

impl Writer {
    /// Begins a set whose items have classes below `classes`, and differ in length or not.
    ///
    /// # Errors
    /// If the folder exists and is not empty, or cannot be made.
    pub(in crate::data) fn new(out: &Path, classes: usize, varies: bool) -> Result<Self, DataError> {
        check_free(out)?;
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| DataError::Write { path, source }
        };
        let out = std::path::absolute(out).map_err(failed(out))?;
        let name = out.file_name().map_or_else(Default::default, |name| name.to_string_lossy().into_owned());
        let folder = out.with_file_name(format!(".{name}.part-{}", std::process::id()));
        fs::create_dir_all(&folder).map_err(failed(&folder))?;
        let width: Dtype = width(classes);
        let part = || Part { buffer: Buffer::new(width), shards: Vec::new() };
        Ok(Self { out, folder, varies, parts: [part(), part(), part()] })
    }

    /// Adds an item to a part, or symbols to the stream.
    ///
    /// # Errors
    /// If a shard cannot be written.
    pub(in crate::data) fn push(&mut self, part: u8, item: Item<'_>) -> Result<(), DataError> {
        let to = &mut self.parts[usize::from(part)];
        to.buffer.push(item, self.varies);
        if to.buffer.bytes() >= FULL { self.flush(part) } else { Ok(()) }
    }

    fn flush(&mut self, part: u8) -> Result<(), DataError> {
        let part = usize::from(part);
        let to = &mut self.parts[part];
        if to.buffer.items > 0 {
            let file = format!("{}-{:05}.safetensors", PARTS[part], to.shards.len());
            to.shards.push(to.buffer.write(&self.folder, file)?);
        }
        Ok(())
    }

    /// Number of items of each part.
    pub(in crate::data) fn counts(&self) -> [u64; 3] {
        let count = |part: &Part| part.buffer.items + part.shards.iter().map(|shard| shard.items).sum::<u64>();
        self.parts.each_ref().map(count)
    }

    /// Writes what is left and the index, and gives the set its name.
    ///
    /// # Errors
    /// If a file cannot be written; nothing is left then.
    pub(in crate::data) fn finish(mut self, about: About) -> Result<(), DataError> {
        for part in 0..3 {
            self.flush(part)?;
        }
        let shards = self.parts.each_mut().map(|part| std::mem::take(&mut part.shards));
        Index::new(about, shards).write(&self.folder)?;
        // An empty folder of that name was allowed.
        let _ = fs::remove_dir(&self.out);
        fs::rename(&self.folder, &self.out).map_err(|source| DataError::Write { path: self.out.clone(), source })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // After the end, there is nothing of this name.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Checks that a folder can become a set, before the work of many processes.
///
/// # Errors
/// If it exists and is not empty.
///
/// # Examples
/// ```
/// use std::path::Path;
/// use pushforward::data::prepared::check_free;
/// assert!(check_free(Path::new("nowhere")).is_ok() && check_free(Path::new("src")).is_err());
/// ```
pub fn check_free(out: &Path) -> Result<(), DataError> {
    let empty = fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_none());
    if out.exists() && !empty {
        let problem = "it exists already; name a new folder, or remove it".into();
        return Err(DataError::Rows { path: out.to_owned(), problem });
    }
    Ok(())
}
