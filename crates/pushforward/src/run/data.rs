//! The data of a run, as its family sees them.

use std::path::Path;

use crate::data::{ContinuousSplits, DataError, Schema, Splits};
use crate::flow_map::backbone::BackboneConfig;
use crate::run::check::image_schema;
use crate::run::recipe::{ModelConfig, Recipe};

/// The data of a run.
#[derive(Clone, Debug)]
pub enum Data {
    /// Items of categorical variables, for flow maps and classifiers.
    Categorical(Splits),
    /// Images in `[0, 1]^n`, for autoencoders.
    Continuous(ContinuousSplits),
}

impl Data {
    /// Reads or makes the data that a recipe names, in the form that its family takes.
    ///
    /// # Errors
    /// As [`DataConfig::load`](crate::data::DataConfig::load).
    pub fn load<C: BackboneConfig>(recipe: &Recipe<C>, data_dir: &Path) -> Result<Self, DataError> {
        Ok(match recipe.model {
            ModelConfig::Aef(_) => Self::Continuous(recipe.data.continuous(data_dir, recipe.seed)?),
            ModelConfig::FlowMap(_) | ModelConfig::Classifier(_) => {
                Self::Categorical(recipe.data.load(data_dir, recipe.seed)?)
            }
        })
    }

    /// What an example is.
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

    /// Hash of the source files or of the settings of a made-up set.
    pub fn sha256(&self) -> &str {
        match self {
            Self::Categorical(splits) => &splits.sha256,
            Self::Continuous(splits) => &splits.sha256,
        }
    }

    /// Number of training examples.
    pub fn train_len(&self) -> usize {
        match self {
            Self::Categorical(splits) => splits.train.len(),
            Self::Continuous(splits) => splits.train.len(),
        }
    }

    /// Number of labels, where the examples have them.
    pub fn label_count(&self) -> Option<usize> {
        match self {
            Self::Categorical(splits) => splits.train.label_count(),
            Self::Continuous(_) => None,
        }
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
