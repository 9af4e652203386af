//! Loaded models with the provenance of their runs.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::data::{DataConfig, Schema};
use crate::flow_map::backbone::BackboneConfig;
use crate::flow_map::network::NetworkConfig;
use crate::run::recipe::{EvalConfig, Recipe};
use crate::run::trained::{Steers, TrainedAef, TrainedCategoricalAef, TrainedClassifier, TrainedFlowMap};

/// A model of any family, for inference (no gradients).
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one value per process")]
pub enum Model<C: BackboneConfig = NetworkConfig> {
    /// A categorical flow map.
    FlowMap(TrainedFlowMap<C>),
    /// An autoencoder within flows, or one of its baselines.
    Aef(TrainedAef),
    /// An autoencoder of categorical data.
    CategoricalAef(TrainedCategoricalAef),
    /// A classifier of images or sequences.
    Classifier(TrainedClassifier),
}

/// A model with the description of its run.
#[derive(Debug)]
pub struct Loaded<M = Model> {
    /// The model.
    pub model: M,
    /// The run.
    pub run: RunInfo,
}

/// Description of the run that produced a model.
#[derive(Clone, Debug)]
pub struct RunInfo {
    /// Name of the run.
    pub name: String,
    /// One line for people.
    pub description: String,
    /// Seed of the run.
    pub seed: u64,
    /// The data set, as the recipe spells it.
    pub data: DataConfig,
    /// The recipe's settings of the evaluation.
    pub eval: EvalConfig,
    /// The resolved recipe, as TOML.
    pub recipe: String,
    /// Sites, classes and layout of the data.
    pub schema: Schema,
    /// Version, device, precision, name and hash of the data, and so on.
    pub provenance: BTreeMap<String, String>,
    /// Optimiser steps taken.
    pub step: u64,
    /// Path of the checkpoint; empty if none was written.
    pub path: PathBuf,
    /// SHA-256 of the checkpoint; empty if none was written.
    pub sha256: String,
}

/// A model is not of the family that an operation needs.
///
/// # Examples
/// ```
/// use pushforward::run::WrongFamily;
/// let (found, wanted, purpose) = ("a classifier", "a flow map", "draw samples");
/// let error = WrongFamily { path: "run".into(), found, wanted, purpose };
/// let text = "a classifier cannot draw samples: run holds one; use a checkpoint of a flow map";
/// assert_eq!(error.to_string(), text);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found} cannot {purpose}: {path} holds one; use a checkpoint of {wanted}")]
pub struct WrongFamily {
    /// The checkpoint.
    pub path: String,
    /// Family of the model in it.
    pub found: &'static str,
    /// The family that is needed.
    pub wanted: &'static str,
    /// What it is needed for.
    pub purpose: &'static str,
}

const FLOW_MAP: &str = "a flow map";
const AEF: &str = "an autoencoder within flows";
const CATEGORICAL_AEF: &str = "an autoencoder of categorical data";
const CLASSIFIER: &str = "a classifier";

impl<C: BackboneConfig> Model<C> {
    /// Name of the family with its article, as messages use it.
    pub fn family(&self) -> &'static str {
        match self {
            Self::FlowMap(_) => FLOW_MAP,
            Self::Aef(_) => AEF,
            Self::CategoricalAef(_) => CATEGORICAL_AEF,
            Self::Classifier(_) => CLASSIFIER,
        }
    }

    /// The model as one that can be steered; `None` for classifiers.
    pub fn steers(&self) -> Option<&dyn Steers> {
        match self {
            Self::FlowMap(model) => Some(model),
            Self::Aef(model) => Some(model),
            Self::CategoricalAef(model) => Some(model),
            Self::Classifier(_) => None,
        }
    }
}

impl<C: BackboneConfig> Loaded<Model<C>> {
    /// The flow map; `purpose` completes "... cannot" in the error message.
    ///
    /// # Errors
    /// If it is a model of another family.
    pub fn flow_map(self, purpose: &'static str) -> Result<Loaded<TrainedFlowMap<C>>, WrongFamily> {
        match self.model {
            Model::FlowMap(model) => Ok(Loaded { model, run: self.run }),
            other => Err(wrong_family(&self.run, other.family(), FLOW_MAP, purpose)),
        }
    }

    /// The autoencoder; `purpose` completes "... cannot" in the error message.
    ///
    /// # Errors
    /// If it is a model of another family.
    pub fn aef(self, purpose: &'static str) -> Result<Loaded<TrainedAef>, WrongFamily> {
        match self.model {
            Model::Aef(model) => Ok(Loaded { model, run: self.run }),
            other => Err(wrong_family(&self.run, other.family(), AEF, purpose)),
        }
    }

    /// The autoencoder of categorical data; `purpose` completes "... cannot" in the error message.
    ///
    /// # Errors
    /// If it is a model of another family.
    pub fn categorical_aef(self, purpose: &'static str) -> Result<Loaded<TrainedCategoricalAef>, WrongFamily> {
        match self.model {
            Model::CategoricalAef(model) => Ok(Loaded { model, run: self.run }),
            other => Err(wrong_family(&self.run, other.family(), CATEGORICAL_AEF, purpose)),
        }
    }

    /// The classifier; `purpose` completes "... cannot" in the error message.
    ///
    /// # Errors
    /// If it is a model of another family.
    pub fn classifier(self, purpose: &'static str) -> Result<Loaded<TrainedClassifier>, WrongFamily> {
        match self.model {
            Model::Classifier(model) => Ok(Loaded { model, run: self.run }),
            other => Err(wrong_family(&self.run, other.family(), CLASSIFIER, purpose)),
        }
    }
}

fn wrong_family(run: &RunInfo, found: &'static str, wanted: &'static str, purpose: &'static str) -> WrongFamily {
    WrongFamily { path: run.path.display().to_string(), found, wanted, purpose }
}

impl RunInfo {
    /// The run of a recipe, whose TOML is `text`, before its first step and without a checkpoint.
    pub(super) fn unsaved<C: BackboneConfig>(
        recipe: &Recipe<C>,
        text: String,
        schema: Schema,
        provenance: BTreeMap<String, String>,
    ) -> Self {
        Self {
            name: recipe.name.clone(),
            description: recipe.description.clone(),
            seed: recipe.seed,
            data: recipe.data.clone(),
            eval: recipe.eval.clone(),
            recipe: text,
            schema,
            provenance,
            step: 0,
            path: PathBuf::new(),
            sha256: String::new(),
        }
    }

    /// The entries of a report that identify the model.
    pub fn identity(&self) -> serde_json::Value {
        serde_json::json!({
            "name": self.name,
            "step": self.step,
            "checkpoint_sha256": self.sha256,
            "data": self.data.name(),
            "data_sha256": self.provenance.get("data_sha256"),
            "version": self.provenance.get("version"),
        })
    }
}
