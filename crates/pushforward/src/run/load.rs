//! Models of every family behind one door: made from a recipe, loaded from a checkpoint, asked for samples and scores.
//!
//! Together with [`crate::run::recipe`] and [`crate::run::evaluate`] this is the only place that names more than one family. A
//! capability that a family lacks is a [`RequestError`], never a panic.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use sha2::{Digest as _, Sha256};

use crate::aef::config::AefConfig;
use crate::aef::marginal::{self, LogDensities, MarginalRequest};
use crate::aef::model::DrawRequest;
use crate::aef::{AefModel, ImageShape};
use crate::classifier::{Classifier, ClassifierConfig};
use crate::data::Schema;
use crate::flow_map::config::{Condition, FlowMapConfig};
use crate::flow_map::interpolant::Source;
use crate::flow_map::likelihood::{self, BoundRequest};
use crate::flow_map::map::{FlowMap, Parametrisation};
use crate::flow_map::network::FlowMapModel;
use crate::flow_map::sample::guidance::Guided;
use crate::flow_map::sample::{self, SampleRequest, Samples};
use crate::flow_map::steer::{self, Reward, SteerError, SteerRequest, Steered};
use crate::node_pairs::ABSENT;
use crate::params;
use crate::rng::{Purpose, stream};
pub use crate::run::check::{check_compatibility, image_schema, image_shape, site_shape};
use crate::run::recipe::{ModelConfig, Recipe, RecipeError};
use crate::tensor::from_host;
use crate::train::checkpoint::{self, Checkpoint, CheckpointError, LAST};

/// A model for use, without gradients.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one value per process")]
pub enum Model {
    /// A categorical flow map.
    FlowMap {
        /// Its settings.
        config: FlowMapConfig,
        /// Its weights.
        net: FlowMapModel,
    },
    /// An autoencoder within flows, or one of its baselines.
    Aef {
        /// Its settings.
        config: AefConfig,
        /// Its weights.
        net: AefModel,
        /// Its images.
        shape: ImageShape,
    },
    /// An image classifier.
    Classifier {
        /// Its settings.
        config: ClassifierConfig,
        /// Its weights.
        net: Classifier,
    },
}

impl Model {
    /// Name of the family, for messages.
    pub fn family(&self) -> &'static str {
        match self {
            Self::FlowMap { .. } => "flow map",
            Self::Aef { .. } => "autoencoder within flows",
            Self::Classifier { .. } => "classifier",
        }
    }
}

/// Which weights of a checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WeightSet {
    /// The running average.
    #[default]
    Ema,
    /// The trained ones.
    Raw,
}

/// A checkpoint, ready for use.
#[derive(Debug)]
pub struct Loaded {
    /// The recipe of its run.
    pub recipe: Recipe,
    /// What its data look like.
    pub schema: Schema,
    /// The model.
    pub model: Model,
    /// Where the weights come from.
    pub provenance: BTreeMap<String, String>,
    /// Optimiser steps taken.
    pub step: u64,
    /// The file.
    pub path: PathBuf,
    /// Hash of the file.
    pub sha256: String,
    /// Where the model lies.
    pub device: Device,
    /// A weaker model that guidance pushes samples away from; see [`Loaded::guided_by`].
    pub weak: Option<Box<Loaded>>,
}

/// Why a checkpoint could not be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The recipe inside.
    #[error("the recipe inside {path}: {source}")]
    Recipe {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: RecipeError,
    },
    /// The description of the data inside.
    #[error("{path} does not say what its data look like ({problem}): it was not written by this program")]
    Schema {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The network does not fit the data.
    #[error("{0}")]
    Incompatible(String),
}

/// Why a model cannot do what was asked.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The family has no such capability.
    #[error("a {family} cannot {what}; {instead}")]
    Unsupported {
        /// Name of the family.
        family: &'static str,
        /// The request.
        what: &'static str,
        /// What to do.
        instead: &'static str,
    },
    /// The request does not fit the model.
    #[error("{0}")]
    Incompatible(String),
}

/// Why steering failed.
#[derive(Debug, thiserror::Error)]
pub enum SteerFailure {
    /// The model cannot do it.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// Steering itself.
    #[error(transparent)]
    Steer(#[from] SteerError),
}

/// Provenance key of the data's description.
pub const SCHEMA_KEY: &str = "schema";
/// Provenance key of the number of class labels.
pub const LABELS_KEY: &str = "labels";

/// The file that a run folder or checkpoint path stands for: a folder's latest weights.
pub fn checkpoint_file(path: &Path) -> PathBuf {
    if path.is_dir() { checkpoint::folder(path).join(LAST) } else { path.to_path_buf() }
}

/// Reads a checkpoint, or the latest one of a run folder.
///
/// # Errors
/// See [`LoadError`].
pub fn load(path: &Path, weights: WeightSet, device: &Device) -> Result<Loaded, LoadError> {
    let path = checkpoint_file(path);
    let file = Checkpoint::load(&path)?;
    let recipe = Recipe::parse(&file.recipe, "recipe", &[])
        .map_err(|source| LoadError::Recipe { path: path.clone(), source })?;
    let schema = file.provenance.get(SCHEMA_KEY).ok_or_else(|| "there is no schema".to_owned());
    let schema: Schema = schema
        .and_then(|text| serde_json::from_str(text).map_err(|e| e.to_string()))
        .map_err(|problem| LoadError::Schema { path: path.clone(), problem })?;
    check_compatibility(&recipe.model, &schema).map_err(LoadError::Incompatible)?;
    let stored = match weights {
        WeightSet::Ema => &file.ema,
        WeightSet::Raw => &file.raw,
    };
    let misfit = |source| CheckpointError::Tensor { path: path.clone(), source };
    let (sites, mut init) = (site_shape(&schema), stream(0, Purpose::Init, 0));
    let model = match &recipe.model {
        ModelConfig::FlowMap(config) => {
            let labels = file.provenance.get(LABELS_KEY).and_then(|n| n.parse().ok());
            if labels.is_none() && matches!(config.condition, Condition::Label { .. }) {
                return Err(no_labels(&path));
            }
            let net = config.model(labels).init(sites, device, &mut init);
            Model::FlowMap { config: config.clone(), net: params::load(net, stored).map_err(misfit)? }
        }
        ModelConfig::Aef(config) => {
            let shape = image_shape(&schema).map_err(LoadError::Incompatible)?;
            let mut net = params::load(config.init(shape, device, &mut init), stored).map_err(misfit)?;
            net.assume_initialised();
            Model::Aef { config: config.clone(), net, shape }
        }
        ModelConfig::Classifier(config) => {
            let labels = file.provenance.get(LABELS_KEY).and_then(|n| n.parse().ok());
            let labels = labels.ok_or_else(|| no_labels(&path))?;
            let net = config.init(sites, labels, device, &mut init);
            Model::Classifier { config: config.clone(), net: params::load(net, stored).map_err(misfit)? }
        }
    };
    let sha256 = hash(&path).map_err(|source| CheckpointError::Read { path: path.clone(), source })?;
    Ok(Loaded {
        recipe,
        schema,
        model,
        provenance: file.provenance,
        step: file.step,
        path,
        sha256,
        device: device.clone(),
        weak: None,
    })
}

fn no_labels(path: &Path) -> LoadError {
    LoadError::Schema { path: path.to_path_buf(), problem: "the number of labels is missing".into() }
}

/// SHA-256 of a file, lowercase hex.
fn hash(path: &Path) -> std::io::Result<String> {
    let (mut file, mut hasher, mut buffer) = (std::fs::File::open(path)?, Sha256::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            n => hasher.update(&buffer[..n]),
        }
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

impl Loaded {
    /// Draws samples; see [`sample::sample`].
    ///
    /// # Errors
    /// If the model is no generator, or the request does not fit it.
    pub fn sample(
        &self,
        request: &SampleRequest,
        progress: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Samples, RequestError> {
        let (config, net, request) = self.compatible("draw samples", request)?;
        let sites = site_shape(&self.schema);
        Ok(match self.guided(net, request.guidance) {
            Some(net) => sample::sample(&net, config, sites, &self.device, &request, progress),
            None => sample::sample(net, config, sites, &self.device, &request, progress),
        })
    }

    /// The same model with a weaker one for guidance, such as an early or a small one's checkpoint.
    ///
    /// # Errors
    /// If one of them is no flow map, or they are of different data or conditions.
    pub fn guided_by(self, weak: Self) -> Result<Self, RequestError> {
        let (ours, _) = self.flow_map("be guided", "use a flow-map checkpoint")?;
        let (theirs, _) = weak.flow_map("guide another model", "use a flow-map checkpoint")?;
        let kind = |config: &FlowMapConfig| {
            (
                config.objective.off_diagonal.parametrisation(),
                std::mem::discriminant(&config.condition),
                config.source,
                config.edge_noise,
            )
        };
        if self.schema != weak.schema || kind(ours) != kind(theirs) {
            return Err(RequestError::Incompatible(format!(
                "{} cannot guide {}: a weaker model has the same data, source, condition and kind of output",
                weak.path.display(),
                self.path.display()
            )));
        }
        Ok(Self { weak: Some(Box::new(weak)), ..self })
    }

    fn guided<'a>(&'a self, net: &'a FlowMapModel, weight: f64) -> Option<Guided<'a, FlowMapModel>> {
        let weak = self.weak.as_ref().map(|weak| match &weak.model {
            Model::FlowMap { net, .. } => net,
            _ => unreachable!("only flow maps guide"),
        });
        (weight != 1.0).then(|| Guided::new(net, weak, weight))
    }

    /// Draws samples of high reward; see [`steer::steer`].
    ///
    /// # Errors
    /// If the model is no flow map, the request does not fit it, or the reward fails before any sample is finished.
    pub fn steer(
        &self,
        request: &SteerRequest,
        reward: &dyn Reward,
        progress: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Steered, SteerFailure> {
        let (config, net, sample) = self.compatible("be steered", &request.sample)?;
        let request = SteerRequest { sample, ..request.clone() };
        let sites = site_shape(&self.schema);
        Ok(match self.guided(net, request.sample.guidance) {
            Some(net) => steer::steer(&net, config, sites, &self.device, &request, reward, progress)?,
            None => steer::steer(net, config, sites, &self.device, &request, reward, progress)?,
        })
    }

    /// Upper bounds of `-log p` in nats, one per item; see [`likelihood::bound`].
    ///
    /// # Errors
    /// If the model has no such bound, or the items are not of its kind.
    pub fn bound(&self, ids: &[u32], first: u64, request: &BoundRequest) -> Result<Vec<f64>, RequestError> {
        let (config, net) = self.flow_map("score items", "use a flow-map checkpoint")?;
        if config.source != Source::Gaussian || config.edge_noise != 1.0 {
            return Err(RequestError::Incompatible(
                "the likelihood bound holds for the standard Gaussian source only".into(),
            ));
        }
        let parametrisation = config.objective.off_diagonal.parametrisation();
        if parametrisation == Parametrisation::Velocity {
            return Err(RequestError::Incompatible(
                "the naive baseline predicts velocities and has no likelihood bound".into(),
            ));
        }
        let sites = site_shape(&self.schema);
        let known = |i: u32| (i as usize) < sites.classes || (i == ABSENT && sites.as_graph().is_some());
        if !ids.len().is_multiple_of(sites.count) || !ids.iter().all(|&i| known(i)) {
            return Err(RequestError::Incompatible(format!(
                "items have {} sites of {} classes, and the data have others",
                sites.count, sites.classes
            )));
        }
        let map = FlowMap::new(net, parametrisation);
        Ok(likelihood::bound(&map, sites, ids, first, request, &self.device))
    }

    pub(super) fn flow_map(
        &self,
        what: &'static str,
        instead: &'static str,
    ) -> Result<(&FlowMapConfig, &FlowMapModel), RequestError> {
        match &self.model {
            Model::FlowMap { config, net } => Ok((config, net)),
            other => Err(RequestError::Unsupported { family: other.family(), what, instead }),
        }
    }

    /// The model of continuous images.
    ///
    /// # Errors
    /// If the checkpoint holds another family.
    pub fn aef(&self, what: &'static str) -> Result<(&AefConfig, &AefModel, ImageShape), RequestError> {
        match &self.model {
            Model::Aef { config, net, shape } => Ok((config, net, *shape)),
            other => Err(RequestError::Unsupported {
                family: other.family(),
                what,
                instead: "use a checkpoint of an autoencoder",
            }),
        }
    }

    /// Draws images in data space, `count * n` values; see [`AefModel::sample`].
    ///
    /// # Errors
    /// If the model draws no images, or the request is out of range.
    pub fn draw_images(
        &self,
        request: &DrawRequest,
        progress: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Vec<f32>, RequestError> {
        let (config, net, shape) = self.aef("draw images")?;
        if !net.generates() {
            return Err(RequestError::Incompatible(
                "a deterministic autoencoder has no prior to draw from: use a model with one".into(),
            ));
        }
        if !(request.temperature.is_finite() && request.temperature >= 0.0) {
            return Err(RequestError::Incompatible(format!(
                "the temperature is not negative, found {}",
                request.temperature
            )));
        }
        Ok(net.sample(shape, config.latent, request, &self.device, progress))
    }

    /// Log-densities of dequantised images, `[0, 1]^n` image by image; see [`marginal::log_densities`]. `first` is the index of the
    /// first image, which addresses its draws.
    ///
    /// # Errors
    /// If the model has no density, or the images are not of its size.
    pub fn image_log_densities(
        &self,
        pixels: &[f32],
        first: u64,
        request: &MarginalRequest,
    ) -> Result<LogDensities, RequestError> {
        let (_, net, shape) = self.aef("score images")?;
        let n = shape.numel();
        if pixels.is_empty() || !pixels.len().is_multiple_of(n) {
            return Err(RequestError::Incompatible(format!(
                "images have {shape} values, and {} are given",
                pixels.len()
            )));
        }
        let x = from_host(
            &pixels.iter().map(|&p| f64::from(p)).collect::<Vec<_>>(),
            [pixels.len() / n, n],
            &net.preprocessing().norm.shift.val(),
        );
        marginal::log_densities(net, x, first, request).ok_or_else(|| {
            RequestError::Incompatible("a deterministic autoencoder has no density: use a model with one".into())
        })
    }

    /// What a report says of the model.
    pub fn identity(&self) -> serde_json::Value {
        serde_json::json!({
            "name": self.recipe.name,
            "step": self.step,
            "checkpoint_sha256": self.sha256,
            "data": self.recipe.data.name(),
            "data_sha256": self.provenance.get("data_sha256"),
            "version": self.provenance.get("version"),
        })
    }
}
