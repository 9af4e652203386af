//! The interface of a data set, and its three parts.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::data::schema::Schema;
use crate::rng::{Purpose, Stream, stream};

/// A data set of examples of `sites` categorical variables.
///
/// # Examples
/// A data set of one's own: all pairs of bits.
/// ```
/// use pushforward::data::{Dataset, ExampleKey, Layout, Schema};
/// struct Bits(Schema);
/// impl Dataset for Bits {
///     fn schema(&self) -> &Schema {
///         &self.0
///     }
///     fn len(&self) -> usize {
///         4
///     }
///     fn write(&self, key: ExampleKey, out: &mut [u32]) {
///         out.copy_from_slice(&[key.index as u32 / 2, key.index as u32 % 2]);
///     }
/// }
/// let set = Bits(Schema { sites: 2, classes: 2, layout: Layout::Table });
/// let mut example = [0; 2];
/// set.write(ExampleKey { seed: 0, epoch: 0, index: 2 }, &mut example);
/// assert_eq!(example, [1, 0]);
/// ```
pub trait Dataset: Send + Sync {
    /// Number of variables, number of classes, and what they depict.
    fn schema(&self) -> &Schema;

    /// Number of examples in an epoch.
    fn len(&self) -> usize;

    /// Whether there are no examples.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes example `key.index` into `out`, one class index per site. Sets with randomness per epoch (stochastic
    /// pixels, text windows) derive it from `key`; the others use the index only.
    ///
    /// # Panics
    /// If the index is not below [`Dataset::len`] or `out` is not `schema().sites` long.
    fn write(&self, key: ExampleKey, out: &mut [u32]);

    /// The class label of example `index`; `None` if the set has no labels.
    fn label(&self, _index: usize) -> Option<u32> {
        None
    }

    /// Number of labels; by default, one more than the largest label.
    fn label_count(&self) -> Option<usize> {
        let largest = (0..self.len()).try_fold(0, |largest, index| Some(largest.max(self.label(index)?)));
        largest.map(|largest| largest as usize + 1)
    }

    /// The label of any molecule, given its canonical SMILES; `None` if the set does not label molecules.
    fn label_of(&self, _smiles: &str) -> Option<u32> {
        None
    }

    /// The number of example `index` that a class at a site stands for in part, NaN if it is missing; `None` if the class
    /// tells all.
    fn number(&self, _index: usize, _site: usize) -> Option<f64> {
        None
    }

    /// The canonical SMILES of example `index`; `None` if examples are not molecules.
    fn smiles(&self, _index: usize) -> Option<Cow<'_, str>> {
        None
    }

    /// Whether examples are read from files one by one, because all of them may not fit into memory.
    fn is_stored(&self) -> bool {
        false
    }
}

/// Which example in which epoch: the address of all randomness of one example.
///
/// # Examples
/// ```
/// use pushforward::data::ExampleKey;
/// let key = ExampleKey { seed: 0, epoch: 3, index: 7 };
/// assert_eq!(key.stream().uniform(), key.stream().uniform());
/// let next = ExampleKey { epoch: 4, ..key };
/// assert_ne!(key.stream().uniform(), next.stream().uniform());
/// let neighbour = ExampleKey { index: 8, ..key };
/// assert_ne!(key.stream().uniform(), neighbour.stream().uniform());
/// assert_eq!(key.epoch_stream().uniform(), neighbour.epoch_stream().uniform());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExampleKey {
    /// Seed of the run.
    pub seed: u64,
    /// Number of the epoch, from 0, below 2^32 - 2.
    pub epoch: u64,
    /// Index of the example in its part, below 2^32.
    pub index: usize,
}

impl ExampleKey {
    /// The key of a held-out example, which is the same in every epoch.
    pub fn fixed(seed: u64, index: usize) -> Self {
        // An epoch that no run reaches, so that no training example shares its stream.
        Self { seed, epoch: u64::from(u32::MAX) - 1, index }
    }

    /// The random stream of this example in this epoch.
    pub fn stream(&self) -> Stream {
        stream(self.seed, Purpose::Example, (self.epoch << 32) | self.index as u64)
    }

    /// The random stream shared by all examples of this epoch, for choices such as the offset of text windows.
    pub fn epoch_stream(&self) -> Stream {
        // Counted down from the top, which no `epoch << 32 | index` of a run reaches.
        stream(self.seed, Purpose::Example, u64::MAX - self.epoch)
    }
}

/// The training, validation and test part of a data set.
///
/// # Examples
/// ```
/// use std::path::Path;
/// use pushforward::data::{DataConfig, ExampleKey};
/// let splits = DataConfig::Checker(Default::default()).load(Path::new("unused"), 0)?;
/// assert_eq!(splits.test.len(), 10_000);
/// let mut pair = [0; 2];
/// splits.test.write(ExampleKey { seed: 0, epoch: 0, index: 0 }, &mut pair);
/// assert!(pair.iter().all(|&class| (class as usize) < splits.schema().classes));
/// # Ok::<(), pushforward::data::DataError>(())
/// ```
#[derive(Clone)]
pub struct Splits {
    /// Name of the set, as in a recipe.
    pub name: String,
    /// Examples to train on.
    pub train: Arc<dyn Dataset>,
    /// Examples for choices during training, such as which weights to keep.
    pub validation: Arc<dyn Dataset>,
    /// Examples for reported results.
    pub test: Arc<dyn Dataset>,
    /// SHA-256 of the source files as stored or, for a synthetic set, of its settings and seed.
    pub sha256: String,
    /// Number of items of the source that were refused, by reason.
    pub refused: Vec<(String, u64)>,
    /// What the reader chose, dropped or found unusual, one sentence each.
    pub notes: Vec<String>,
    /// What each label stands for, where the data say it.
    pub label_names: Vec<String>,
    /// The file that keeps what was read for the next time.
    pub kept: Option<PathBuf>,
}

impl Splits {
    /// Training, validation and test of a set of which nothing was refused. `sha256` identifies it: a resumed run
    /// refuses data of another hash.
    pub fn new(name: &str, [train, validation, test]: [Arc<dyn Dataset>; 3], sha256: String) -> Self {
        let (refused, notes, label_names) = (Vec::new(), Vec::new(), Vec::new());
        Self { name: name.to_owned(), train, validation, test, sha256, refused, notes, label_names, kept: None }
    }

    /// The schema, the same in all parts.
    pub fn schema(&self) -> &Schema {
        self.train.schema()
    }

    /// How many items of the source were accepted and why others were not, in one line; `None` if none were refused.
    pub fn refusals(&self) -> Option<String> {
        let accepted = (self.train.len() + self.validation.len() + self.test.len()) as u64;
        (!self.refused.is_empty()).then(|| refusals(accepted, self.refused.iter().map(|(why, n)| (why.as_str(), *n))))
    }
}

/// Accepted and refused items in one line.
pub(crate) fn refusals<'a>(accepted: u64, refused: impl Iterator<Item = (&'a str, u64)>) -> String {
    let mut refused: Vec<(&str, u64)> = refused.collect();
    refused.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    let all: u64 = refused.iter().map(|(_, count)| count).sum();
    let reasons = match refused[..] {
        [(reason, _)] => reason.to_owned(),
        _ => refused.iter().map(|(reason, count)| format!("{count} {reason}")).collect::<Vec<_>>().join(", "),
    };
    format!("accepted {accepted} of {}; refused {all}: {reasons}", accepted + all)
}

impl fmt::Debug for Splits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Splits")
            .field("name", &self.name)
            .field("schema", self.schema())
            .field("examples", &[self.train.len(), self.validation.len(), self.test.len()])
            .field("sha256", &self.sha256)
            .field("refused", &self.refused)
            .finish()
    }
}
