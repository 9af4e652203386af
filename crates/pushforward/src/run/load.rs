//! Models from checkpoints.

use std::path::{Path, PathBuf};

use burn::tensor::Device;

use crate::data::Schema;
use crate::flow_map::backbone::BackboneConfig;
use crate::flow_map::conditioning::Condition;
use crate::hash;
use crate::params::{self, StateDict};
use crate::rng::{Purpose, stream};
use crate::run::check::{check, image_shape, site_shape};
use crate::run::model::{Loaded, Model, RunInfo};
use crate::run::recipe::{ModelConfig, Recipe, RecipeError};
use crate::run::trained::{TrainedAef, TrainedClassifier, TrainedFlowMap};
use crate::setting::SettingError;
use crate::train::checkpoint::{Checkpoint, CheckpointError, chosen_file};

/// Which weights of a checkpoint to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WeightSet {
    /// Exponential moving average.
    #[default]
    Ema,
    /// Weights after the last optimiser step.
    Raw,
}

/// Why a checkpoint cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read, or its tensors do not match the model.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The recipe stored in it is invalid.
    #[error("the recipe inside {path}: {source}")]
    Recipe {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: RecipeError,
    },
    /// The data schema stored in it is missing or invalid.
    #[error("{path} has no valid description of its data ({problem}): it was not written by this program")]
    Schema {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The model does not fit the data.
    #[error("{path}: {source}")]
    Setting {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: SettingError,
    },
}

/// Provenance key of the data's [`Schema`], as JSON.
pub const SCHEMA_KEY: &str = "schema";
/// Provenance key of the name of the data.
pub(super) const DATA_KEY: &str = "data";
/// Provenance key of the SHA-256 of the data's files.
pub(super) const HASH_KEY: &str = "data_sha256";
/// Provenance key of the number of class labels.
pub(super) const LABELS_KEY: &str = "labels";

/// The checkpoint file of a path: [that of a run folder](chosen_file), or the path itself.
///
/// # Examples
/// ```
/// use pushforward::run::checkpoint_file;
/// let folder = tempfile::tempdir()?;
/// assert!(checkpoint_file(folder.path()).starts_with(folder.path().join("checkpoints")));
/// let file = folder.path().join("best.safetensors");
/// assert_eq!(checkpoint_file(&file), file);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn checkpoint_file(path: &Path) -> PathBuf {
    if path.is_dir() { chosen_file(path) } else { path.to_path_buf() }
}

/// Loads a model from a checkpoint, or from [that of a run folder](chosen_file). `C` is the configuration type of a flow
/// map's network: [`NetworkConfig`](crate::flow_map::network::NetworkConfig) unless the model was trained with a
/// network of your own. The page of [this module](crate::run) has an example.
///
/// # Errors
/// See [`LoadError`].
pub fn load<C: BackboneConfig>(
    path: &Path,
    weights: WeightSet,
    device: &Device,
) -> Result<Loaded<Model<C>>, LoadError> {
    let path = checkpoint_file(path);
    let file = Checkpoint::load(&path)?;
    let recipe: Recipe<C> = Recipe::parse(&file.recipe, "recipe", &[])
        .map_err(|source| LoadError::Recipe { path: path.clone(), source })?;
    let schema = file.provenance.get(SCHEMA_KEY).ok_or_else(|| "there is no schema".to_owned());
    let schema: Schema = schema
        .and_then(|text| serde_json::from_str(text).map_err(|e| e.to_string()))
        .map_err(|problem| LoadError::Schema { path: path.clone(), problem })?;
    check(&recipe.model, &schema).map_err(|source| LoadError::Setting { path: path.clone(), source })?;
    let labels = file.provenance.get(LABELS_KEY).and_then(|n| n.parse().ok());
    let stored = match weights {
        WeightSet::Ema => &file.ema,
        WeightSet::Raw => &file.raw,
    };
    let model = build(&recipe.model, &schema, labels, stored, &path, device)?;
    let sha256 = hash::sha256_file(&path).map_err(|source| CheckpointError::Read { path: path.clone(), source })?;
    let unsaved = RunInfo::unsaved(&recipe, file.recipe, schema, file.provenance);
    let run = RunInfo { step: file.step, path, sha256, ..unsaved };
    Ok(Loaded { model, run })
}

/// Constructs the model of a checked configuration and loads its stored weights.
fn build<C: BackboneConfig>(
    config: &ModelConfig<C>,
    schema: &Schema,
    labels: Option<usize>,
    stored: &StateDict,
    path: &Path,
    device: &Device,
) -> Result<Model<C>, LoadError> {
    let no_labels =
        || LoadError::Schema { path: path.to_path_buf(), problem: "the number of labels is missing".into() };
    let mismatch = |source| CheckpointError::Tensor { path: path.to_path_buf(), source };
    let (sites, mut init) = (site_shape(schema), stream(0, Purpose::Init, 0));
    Ok(match config {
        ModelConfig::FlowMap(config) => {
            if labels.is_none() && matches!(config.condition, Condition::Label { .. }) {
                return Err(no_labels());
            }
            let net = config.model(labels).init(sites, device, &mut init);
            let net = params::load(net, stored).map_err(mismatch)?;
            Model::FlowMap(TrainedFlowMap::new(config.clone(), net, schema.clone(), device))
        }
        ModelConfig::Aef(config) => {
            let shape =
                image_shape(schema).map_err(|source| LoadError::Setting { path: path.to_path_buf(), source })?;
            let mut net = params::load(config.init(shape, device, &mut init), stored).map_err(mismatch)?;
            net.assume_initialised();
            Model::Aef(TrainedAef { config: config.clone(), net, shape, device: device.clone() })
        }
        ModelConfig::Classifier(config) => {
            let net = config.init(sites, labels.ok_or_else(no_labels)?, device, &mut init);
            let net = params::load(net, stored).map_err(mismatch)?;
            Model::Classifier(TrainedClassifier { config: config.clone(), net })
        }
    })
}
