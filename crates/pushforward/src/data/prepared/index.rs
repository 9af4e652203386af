//! The index of a prepared set: what its items are, and which shards have them.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::data::files;
use crate::data::prepared::shard::Entry;
use crate::data::{DataError, Schema};

/// The file of the index.
pub(super) const FILE: &str = "index.json";
/// What the index says it is.
const FORMAT: &str = "pushforward prepared set 1";
/// Most bytes of an index.
const MOST: u64 = 1 << 30;

/// How classes of a shard become items.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(in crate::data) enum Form {
    /// Windows of one stream of symbols, whose parts begin at 0 and at these places.
    Windows { bounds: [u64; 2] },
    /// The classes of the first sites; those after them are absent.
    Rows,
    /// A graph: its number of nodes, their classes, and ends and order of each edge. The class of a node is that at its
    /// place of the list.
    Graphs { classes: Vec<u32> },
}

/// What a set is, beside its shards.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::data) struct About {
    /// The settings of what was prepared.
    pub(in crate::data) of: Value,
    /// Name of the set.
    pub(in crate::data) name: String,
    pub(in crate::data) form: Form,
    pub(in crate::data) schema: Schema,
    /// Hash of the source and, if that does not decide the parts, of how they were drawn.
    pub(in crate::data) sha256: String,
    /// Number of labels, if there are some.
    pub(in crate::data) labels: Option<usize>,
    pub(in crate::data) label_names: Vec<String>,
    pub(in crate::data) refused: Vec<(String, u64)>,
    pub(in crate::data) notes: Vec<String>,
    /// The site of each number of an item.
    pub(in crate::data) numbers: Vec<usize>,
}

/// The index.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Index {
    format: String,
    #[serde(flatten)]
    pub(super) about: About,
    /// Shards of the training, validation and test part; a stream has all of them in the first.
    pub(super) shards: [Vec<Entry>; 3],
}

impl Index {
    pub(super) fn new(about: About, shards: [Vec<Entry>; 3]) -> Self {
        Self { format: FORMAT.to_owned(), about, shards }
    }

    pub(super) fn write(&self, folder: &Path) -> Result<(), DataError> {
        let path = folder.join(FILE);
        let text = serde_json::to_string_pretty(self).expect("an index holds names and numbers");
        std::fs::write(&path, text + "\n").map_err(|source| DataError::Write { path, source })
    }

    /// # Errors
    /// If there is none, or it is not one of a prepared set.
    pub(super) fn read(folder: &Path) -> Result<Self, DataError> {
        let path = folder.join(FILE);
        let bytes = files::bytes(&path, MOST)?;
        let refuse = |problem: String| DataError::Rows { path: path.clone(), problem };
        let index: Self = serde_json::from_slice(&bytes)
            .map_err(|error| refuse(format!("it is not the index of a prepared set, or damaged: {error}")))?;
        if index.format != FORMAT {
            return Err(refuse(format!("its format is {:?}, and this version reads {FORMAT:?}", index.format)));
        }
        let About { schema, label_names, labels, numbers, .. } = &index.about;
        schema.check().map_err(refuse)?;
        let named = label_names.is_empty() || *labels == Some(label_names.len());
        if !named || numbers.iter().any(|&site| site >= schema.sites) {
            return Err(refuse("its labels or numbers are not those of its schema".into()));
        }
        Ok(index)
    }
}

/// Whether a folder holds a prepared set, by its index.
pub(in crate::data) fn is_prepared(folder: &Path) -> bool {
    use std::io::Read as _;
    let mut head = Vec::new();
    let opened = std::fs::File::open(folder.join(FILE));
    let read = opened.and_then(|file| file.take(256).read_to_end(&mut head));
    read.is_ok() && String::from_utf8_lossy(&head).contains("pushforward prepared set")
}
