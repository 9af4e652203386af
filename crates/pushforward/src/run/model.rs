//! Models for use, with where they come from.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::data::{DataConfig, Schema};
use crate::flow_map::backbone::BackboneConfig;
use crate::flow_map::network::NetworkConfig;
use crate::run::recipe::EvalConfig;
use crate::run::trained::{TrainedAef, TrainedClassifier, TrainedFlowMap};

/// A model of any family, without gradients.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one value per process")]
pub enum Model<C: BackboneConfig = NetworkConfig> {
    /// A categorical flow map.
    FlowMap(TrainedFlowMap<C>),
    /// An autoencoder within flows, or one of its baselines.
    Aef(TrainedAef),
    /// An image classifier.
    Classifier(TrainedClassifier),
}

/// A model and the run that it comes from.
#[derive(Debug)]
pub struct Loaded<M = Model> {
    /// The model.
    pub model: M,
    /// The run.
    pub run: RunInfo,
}

/// What is known of the run that a model comes from.
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
    /// What the recipe measures.
    pub eval: EvalConfig,
    /// The resolved recipe, as TOML.
    pub recipe: String,
    /// What the data look like.
    pub schema: Schema,
    /// Versions, data and their hash, device and so on.
    pub provenance: BTreeMap<String, String>,
    /// Optimiser steps taken.
    pub step: u64,
    /// The checkpoint; empty where none was written.
    pub path: PathBuf,
    /// Hash of the checkpoint; empty where none was written.
    pub sha256: String,
}

/// A model of another family than is needed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found} cannot {purpose}: {path} holds one; use a checkpoint of {wanted}")]
pub struct WrongFamily {
    /// The checkpoint.
    pub path: String,
    /// Its family.
    pub found: &'static str,
    /// The family that is needed.
    pub wanted: &'static str,
    /// What for.
    pub purpose: &'static str,
}

const FLOW_MAP: &str = "a flow map";
const AEF: &str = "an autoencoder within flows";
const CLASSIFIER: &str = "a classifier";

impl<C: BackboneConfig> Model<C> {
    /// Name of the family with its article, for messages.
    pub fn family(&self) -> &'static str {
        match self {
            Self::FlowMap(_) => FLOW_MAP,
            Self::Aef(_) => AEF,
            Self::Classifier(_) => CLASSIFIER,
        }
    }
}

impl<C: BackboneConfig> Loaded<Model<C>> {
    /// The flow map, which is needed for the given purpose.
    ///
    /// # Errors
    /// If it is a model of another family.
    pub fn flow_map(self, purpose: &'static str) -> Result<Loaded<TrainedFlowMap<C>>, WrongFamily> {
        match self.model {
            Model::FlowMap(model) => Ok(Loaded { model, run: self.run }),
            other => Err(wrong(&self.run, other.family(), FLOW_MAP, purpose)),
        }
    }

    /// The autoencoder, which is needed for the given purpose.
    ///
    /// # Errors
    /// If it is a model of another family.
    pub fn aef(self, purpose: &'static str) -> Result<Loaded<TrainedAef>, WrongFamily> {
        match self.model {
            Model::Aef(model) => Ok(Loaded { model, run: self.run }),
            other => Err(wrong(&self.run, other.family(), AEF, purpose)),
        }
    }

    /// The classifier, which is needed for the given purpose.
    ///
    /// # Errors
    /// If it is a model of another family.
    pub fn classifier(self, purpose: &'static str) -> Result<Loaded<TrainedClassifier>, WrongFamily> {
        match self.model {
            Model::Classifier(model) => Ok(Loaded { model, run: self.run }),
            other => Err(wrong(&self.run, other.family(), CLASSIFIER, purpose)),
        }
    }
}

fn wrong(run: &RunInfo, found: &'static str, wanted: &'static str, purpose: &'static str) -> WrongFamily {
    WrongFamily { path: run.path.display().to_string(), found, wanted, purpose }
}

impl RunInfo {
    /// What a report says of the model.
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
