//! Models from checkpoints.

use std::path::{Path, PathBuf};

use burn::tensor::Device;

use crate::data::Schema;
use crate::flow_map::backbone::BackboneConfig;
use crate::hash;
use crate::params::{self, StateDict};
use crate::rng::{Purpose, stream};
use crate::run::check::{image_shape, site_shape};
use crate::run::model::{Loaded, Model, RunInfo};
use crate::run::recipe::ModelConfig;
use crate::run::stored::{LoadError, Stored};
use crate::run::trained::{TrainedAef, TrainedCategoricalAef, TrainedClassifier, TrainedFlowMap};
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
    let sha256 = hash::sha256_file(&path).map_err(|source| CheckpointError::Read { path: path.clone(), source })?;
    restored(file, path, sha256, weights, device)
}

/// The same from the bytes of a file, such as one that a program contains; `path` names it in messages.
///
/// # Errors
/// See [`LoadError`].
pub fn load_bytes<C: BackboneConfig>(
    bytes: &[u8],
    path: &Path,
    weights: WeightSet,
    device: &Device,
) -> Result<Loaded<Model<C>>, LoadError> {
    restored(Checkpoint::from_bytes(bytes, path)?, path.into(), hash::sha256([bytes]), weights, device)
}

fn restored<C: BackboneConfig>(
    file: Checkpoint,
    path: PathBuf,
    sha256: String,
    weights: WeightSet,
    device: &Device,
) -> Result<Loaded<Model<C>>, LoadError> {
    let Stored { recipe, schema, labels, label_counts, calibration, grids, margins, .. } =
        Stored::<C>::of(&file, &path)?;
    let stored = match weights {
        WeightSet::Ema => &file.ema,
        WeightSet::Raw if file.raw.is_empty() => return Err(LoadError::AveragedOnly { path }),
        WeightSet::Raw => &file.raw,
    };
    let mut model = build(&recipe.model, &schema, labels, stored, &path, device)?;
    if let Model::FlowMap(model) = &mut model {
        model.label_counts = label_counts;
        if weights == WeightSet::Ema {
            (model.calibration, model.grids, model.margins) = (calibration, grids, margins);
        }
    }
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
    let mismatch = |source| CheckpointError::Tensor { path: path.to_path_buf(), source };
    let (sites, mut init) = (site_shape(schema), stream(0, Purpose::Init, 0));
    Ok(match config {
        ModelConfig::FlowMap(config) => {
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
        ModelConfig::CategoricalAef(config) => {
            let mut net = params::load(config.init(sites, device, &mut init), stored).map_err(mismatch)?;
            net.assume_initialised();
            let (config, schema, device) = (config.clone(), schema.clone(), device.clone());
            Model::CategoricalAef(TrainedCategoricalAef { config, net, schema, device })
        }
        ModelConfig::Classifier(config) => {
            let net = config.init(sites, labels.expect("a classifier has labels"), device, &mut init);
            let net = params::load(net, stored).map_err(mismatch)?;
            Model::Classifier(TrainedClassifier { config: config.clone(), net })
        }
    })
}
