//! The data of a run, in the form that its model family takes.

use crate::data::{ContinuousSplits, DataError, Folders, Schema, Splits};
use crate::flow_map::backbone::BackboneConfig;
use crate::run::check::image_schema;
use crate::run::recipe::{ModelConfig, Recipe};

/// The data of a run: categorical variables or continuous images.
///
/// # Examples
/// ```
/// use std::path::Path;
/// use pushforward::run::{Data, Recipe};
///
/// let text = "
///     name = 'words'
///     data = { set = 'echo', letters = 3 }
///     model = { family = 'flow-map', network = { kind = 'mlp' } }
/// ";
/// let recipe: Recipe = Recipe::parse(text, "here", &[])?;
/// let data = Data::load(&recipe, Path::new("not read: this set is synthetic"))?;
/// // A word of three letters, twice.
/// assert_eq!((data.name(), data.schema().sites), ("echo", 6));
/// assert_eq!(data.label_count(), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub enum Data {
    /// Items of categorical variables, for flow maps, autoencoders of such data and classifiers.
    Categorical(Splits),
    /// Images in `[0, 1]^n`, for autoencoders.
    Continuous(ContinuousSplits),
}

impl Data {
    /// Reads the recipe's data set from files, or generates it, in the form that the model family takes.
    ///
    /// # Errors
    /// As [`DataConfig::load`](crate::data::DataConfig::load).
    pub fn load<'a, C: BackboneConfig>(recipe: &Recipe<C>, folders: impl Into<Folders<'a>>) -> Result<Self, DataError> {
        let folders = folders.into();
        Ok(match recipe.model {
            ModelConfig::Aef(_) => Self::Continuous(recipe.data.continuous(folders.data, recipe.seed)?),
            ModelConfig::FlowMap(_) | ModelConfig::CategoricalAef(_) | ModelConfig::Classifier(_) => {
                Self::Categorical(recipe.data.load(folders, recipe.seed)?)
            }
        })
    }

    /// Description of an example: number of sites, classes, layout.
    pub fn schema(&self) -> Schema {
        match self {
            Self::Categorical(splits) => splits.schema().clone(),
            Self::Continuous(splits) => image_schema(splits.train.shape()),
        }
    }

    /// Name of the set.
    pub fn name(&self) -> &str {
        match self {
            Self::Categorical(splits) => &splits.name,
            Self::Continuous(splits) => &splits.name,
        }
    }

    /// SHA-256 of the source files, or of the settings of a synthetic set.
    pub fn sha256(&self) -> &str {
        match self {
            Self::Categorical(splits) => &splits.sha256,
            Self::Continuous(splits) => &splits.sha256,
        }
    }

    /// Number of training examples.
    pub(super) fn train_len(&self) -> usize {
        match self {
            Self::Categorical(splits) => splits.train.len(),
            Self::Continuous(splits) => splits.train.len(),
        }
    }

    /// What the reader chose, dropped and refused, one sentence each; empty for images.
    pub fn notes(&self) -> Vec<String> {
        match self {
            Self::Categorical(splits) => splits.notes.iter().cloned().chain(splits.refusals()).collect(),
            Self::Continuous(_) => Vec::new(),
        }
    }

    /// Number of class labels; `None` for data without labels.
    pub fn label_count(&self) -> Option<usize> {
        match self {
            Self::Categorical(splits) => splits.train.label_count(),
            Self::Continuous(_) => None,
        }
    }

    /// How often each label occurs among the training data; of a million examples, evenly spread, where there are more.
    pub(in crate::run) fn label_counts(&self) -> Vec<u64> {
        let (Self::Categorical(splits), Some(count)) = (self, self.label_count()) else { return Vec::new() };
        let mut counts = vec![0; count];
        let step = splits.train.len().div_ceil(1_000_000).max(1);
        let labels = (0..splits.train.len()).step_by(step).filter_map(|index| splits.train.label(index));
        labels.for_each(|label| counts[label as usize] += 1);
        counts
    }
}

impl From<Splits> for Data {
    fn from(splits: Splits) -> Self {
        Self::Categorical(splits)
    }
}

impl From<ContinuousSplits> for Data {
    fn from(splits: ContinuousSplits) -> Self {
        Self::Continuous(splits)
    }
}
