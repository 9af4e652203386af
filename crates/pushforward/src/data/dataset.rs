//! What a data set is: examples as class indices, in three parts.

use std::fmt;
use std::sync::Arc;

use crate::data::schema::Schema;
use crate::rng::{Purpose, Stream, stream};

/// Examples of `sites` categorical variables.
pub trait Dataset: Send + Sync {
    /// What an example looks like.
    fn schema(&self) -> &Schema;

    /// Number of examples in an epoch.
    fn len(&self) -> usize;

    /// True if there is no example at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes the example `key.index` into `out`, one class index per site. Sets that draw something anew at each
    /// visit (pixels, crops) take it from the visit; the others ignore all but the index.
    ///
    /// # Panics
    /// If the index is not below [`Dataset::len`] or `out` is not `schema().sites` long.
    fn write(&self, key: ExampleKey, out: &mut [u32]);

    /// The class label of example `index`, where the set has labels.
    fn label(&self, _index: usize) -> Option<u32> {
        None
    }

    /// Number of labels; one more than the largest, unless the set knows better.
    fn label_count(&self) -> Option<usize> {
        let largest = (0..self.len()).try_fold(0, |largest, index| Some(largest.max(self.label(index)?)));
        largest.map(|largest| largest as usize + 1)
    }

    /// The label of any molecule by its canonical SMILES, where the set gives labels to molecules.
    fn label_of(&self, _smiles: &str) -> Option<u32> {
        None
    }

    /// The canonical SMILES of example `index`, where the set is of molecules.
    fn smiles(&self, _index: usize) -> Option<&str> {
        None
    }
}

/// One look at one example: the address of everything random about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExampleKey {
    /// Seed of the run.
    pub seed: u64,
    /// Passes over the data before this one, below 2^32 - 2.
    pub epoch: u64,
    /// Which example, below 2^32.
    pub index: usize,
}

impl ExampleKey {
    /// The visit of a held-out example: the same whatever the epoch.
    pub fn fixed(seed: u64, index: usize) -> Self {
        // An epoch that no run reaches, so that no training visit shares its stream.
        Self { seed, epoch: u64::from(u32::MAX) - 1, index }
    }

    /// The stream of this example in this epoch.
    pub fn stream(&self) -> Stream {
        stream(self.seed, Purpose::Example, (self.epoch << 32) | self.index as u64)
    }

    /// The stream that all examples of this epoch share, for choices such as where windows begin.
    pub fn epoch_stream(&self) -> Stream {
        // Counted from the top, where no `epoch << 32 | index` of a run lies.
        stream(self.seed, Purpose::Example, u64::MAX - self.epoch)
    }
}

/// The three parts of a data set.
#[derive(Clone)]
pub struct Splits {
    /// Name of the set, as in a recipe.
    pub name: String,
    /// What the model is fitted to.
    pub train: Arc<dyn Dataset>,
    /// What choices are made on.
    pub validation: Arc<dyn Dataset>,
    /// What is reported.
    pub test: Arc<dyn Dataset>,
    /// Hash of the source files as stored or, for a made-up set, of its settings and seed.
    pub sha256: String,
    /// How many items of the source are not in the set, by reason.
    pub refused: Vec<(String, u64)>,
}

impl Splits {
    /// What an example looks like, the same in all parts.
    pub fn schema(&self) -> &Schema {
        self.train.schema()
    }
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
