//! Priors: a flow from the latent to a standard normal variable, or a flow map between the two.
//!
//! ```text
//! flow        log p(z) = log N(f(z); 0, I) + ladj f(z)
//! flow map    log p(z) = log p(u) + ladj f(z),   u = f(z): one shift and scale per feature;  p(u) by name
//! ```
//!
//! A [flow map](crate::transport) is trained on latents with noise of the scale s = `model.noise`, by a bound without its
//! density, and drawn from with one evaluation or a few. Each member of the family has its own noise:
//!
//! - `noise`: `u = m + s xi` with `m = f(z(h))`, the code of the expansion without noise. The noise of the model is
//!   added to the latent, in place of the core.
//! - `vae`: `u = m + s xi` with `m ~ N(mean, scale^2)`, the posterior of the encoder in the space of u.
//! - partitions: `m = f(z)` itself; the bound holds for the prior blurred by s once more (see
//!   [densities](crate::transport::density)), the density by the differential equation or the jump for the prior as it is.
//!
//! All train the map together with the autoencoder: the gradient of the bound reaches the encoder, that of the
//! off-diagonal loss the map only. A posterior flow, the linear expansion and pixels have no noise of this kind, so `iwae`,
//! `vae-iaf`, `linear` and `flow` take flows.
//!
//! # Examples
//! ```
//! use pushforward::aef::PriorConfig;
//!
//! let prior: PriorConfig = toml::from_str("kind = 'flow-map'\nnetwork = { width = 64 }\nobjective = { draws = 8 }")?;
//! assert!(prior.flow_map().is_some() && prior.validate().is_ok());
//! assert_eq!(toml::from_str::<PriorConfig>(&toml::to_string(&prior).expect("a table"))?, prior);
//! let prior: PriorConfig = toml::from_str("kind = 'maf'\nlayers = 2")?;
//! assert!(prior.flow().is_some());
//! # Ok::<(), toml::de::Error>(())
//! ```
//!
//! Latents of a model in one evaluation, and along the differential equation, whose inverse gives the noise back.
//! ```
//! use pushforward::aef::{ImageShape, config::AefConfig};
//! use pushforward::burn::tensor::{Device, Tensor};
//! use pushforward::rng::{Purpose, stream};
//! use pushforward::tensor::to_host;
//! use pushforward::transport::map::Drawing;
//!
//! let text = "variant = 'noise'\nlatent = 2\nnetwork = { kind = 'mlp', width = 8 }\nprior = { kind = 'flow-map' }";
//! let config: AefConfig = toml::from_str(text)?;
//! let shape = ImageShape { channels: 1, height: 2, width: 2 };
//! let mut model = config.init(shape, &Device::flex(), &mut stream(0, Purpose::Init, 0));
//! model.assume_initialised();
//! let noise = Tensor::<2>::from_data([[0.3f32, -1.1]], &Device::flex());
//! let (one, path) = (model.draw_latents(noise.clone(), Drawing::Jumps(1)), model.from_base(noise.clone()));
//! // The map before training is exact, so both agree.
//! assert!(to_host(&(one - path.clone())).iter().all(|d| d.abs() < 1e-4));
//! assert!(to_host(&(model.to_base(path) - noise)).iter().all(|d| d.abs() < 1e-4));
//! # Ok::<(), toml::de::Error>(())
//! ```

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Deserializer, Serialize};

use super::gaussian::LN_2PI;
use super::rows::{normals, repeat_rows};
use crate::bijector::{ActNorm, Flow, FlowConfig, FlowStep, Transform};
use crate::nn::count::norm;
use crate::rng::Stream;
use crate::setting::SettingError;
use crate::transport::change::{from_noise, to_noise};
use crate::transport::density::{self, Density, PointDensities, log_densities};
use crate::transport::map::{Drawing, end_time};
use crate::transport::objective::{bound_integral, off_diagonal, pairs, stratified};
use crate::transport::{MapObjective, MapObjectiveConfig, VectorMap, VectorMapConfig};

/// Settings of the prior, as in the table `model.prior` of a recipe.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum PriorConfig {
    /// `kind = "flow-map"`
    FlowMap(FlowMapPriorConfig),
    /// One of the flows.
    Flow(FlowConfig),
}

/// Settings of a flow map as the prior.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename = "flow-map", deny_unknown_fields, default)]
pub struct FlowMapPriorConfig {
    /// The residual perceptron.
    pub network: VectorMapConfig,
    /// The training.
    pub objective: MapObjectiveConfig,
}

impl<'de> Deserialize<'de> for PriorConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let mut table = BTreeMap::<String, toml::Value>::deserialize(deserializer)?;
        let flow_map = table.get("kind").and_then(toml::Value::as_str) == Some("flow-map");
        if flow_map {
            table.remove("kind");
        }
        let table = toml::Value::Table(table.into_iter().collect());
        if flow_map {
            return table.try_into().map(Self::FlowMap).map_err(|e| D::Error::custom(e.message()));
        }
        let other = |e: toml::de::Error| {
            let more = if e.message().starts_with("unknown variant") { " or, as a prior, `flow-map`" } else { "" };
            D::Error::custom(format!("{}{more}", e.message()))
        };
        table.try_into().map(Self::Flow).map_err(other)
    }
}

impl From<FlowConfig> for PriorConfig {
    fn from(flow: FlowConfig) -> Self {
        Self::Flow(flow)
    }
}

impl PriorConfig {
    /// The settings of a flow map.
    pub fn flow_map(&self) -> Option<&FlowMapPriorConfig> {
        match self {
            Self::FlowMap(config) => Some(config),
            Self::Flow(_) => None,
        }
    }

    /// The settings of a flow.
    pub fn flow(&self) -> Option<&FlowConfig> {
        match self {
            Self::FlowMap(_) => None,
            Self::Flow(flow) => Some(flow),
        }
    }

    /// Checks the settings against their ranges.
    ///
    /// # Errors
    /// Names the key and its allowed values.
    pub fn validate(&self) -> Result<(), SettingError> {
        match self {
            Self::Flow(flow) => flow.validate(),
            Self::FlowMap(FlowMapPriorConfig { network, objective }) => {
                network.validate().map_err(|e| e.within("network"))?;
                objective.validate().map_err(|e| e.within("objective"))
            }
        }
    }

    pub(super) fn validate_for(&self, features: usize) -> Result<(), SettingError> {
        self.flow().map_or_else(|| self.validate(), |flow| flow.validate_for(features))
    }

    pub(super) fn parameters(&self, features: usize) -> u128 {
        match self {
            Self::Flow(flow) => flow.parameters(features),
            Self::FlowMap(config) => norm(features) + config.network.parameters(features),
        }
    }

    /// The flow, and the map from its base variable to noise.
    pub(super) fn init(
        &self,
        features: usize,
        noise: f64,
        device: &Device,
        stream: &mut Stream,
    ) -> (Flow, Option<LatentMap>) {
        match self {
            Self::Flow(flow) => (flow.init(features, device, stream), None),
            Self::FlowMap(FlowMapPriorConfig { network, objective }) => {
                let standardise = Transform::ActNorm(ActNorm::init(features, device));
                let map = network.init(features, device, stream);
                let flow = Flow { steps: vec![FlowStep::new(standardise)] };
                (flow, Some(LatentMap { map, noise, objective: objective.clone() }))
            }
        }
    }
}

/// Steps of the Runge-Kutta method between latents and their base variables, and in training, where noise is larger than the
/// error.
const STEPS: usize = 16;
const COARSE: usize = 4;

/// A flow map as the prior of `u = f(z)`.
#[derive(Module, Debug)]
pub struct LatentMap {
    /// The map.
    pub map: VectorMap,
    /// Scale s of the noise at the end of its path.
    #[module(skip)]
    pub noise: f64,
    /// How it is trained.
    #[module(skip)]
    pub objective: MapObjectiveConfig,
}

impl LatentMap {
    /// The base variable of the differential equation of the diagonal.
    ///
    /// # Shapes
    /// - `u`, output: `[batch, d]`
    pub fn to_base(&self, u: Tensor<2>) -> Tensor<2> {
        to_noise(&self.map, u, end_time(self.noise), STEPS)
    }

    /// The same in fewer steps.
    pub(super) fn to_base_coarsely(&self, u: Tensor<2>) -> Tensor<2> {
        to_noise(&self.map, u, end_time(self.noise), COARSE)
    }

    /// The inverse of [`Self::to_base`].
    pub fn from_base(&self, z0: Tensor<2>) -> Tensor<2> {
        from_noise(&self.map, z0, end_time(self.noise), STEPS)
    }

    /// Draws of u.
    ///
    /// # Shapes
    /// - `z0`, standard normal, and output: `[batch, d]`
    pub fn draw(&self, z0: Tensor<2>, drawing: Drawing) -> Tensor<2> {
        drawing.draw(&self.map, z0, end_time(self.noise))
    }

    /// `log p(u)` in nats.
    ///
    /// # Shapes
    /// - `u`: `[batch, d]`
    pub fn log_densities(&self, u: Tensor<2>, density: Density, seed: u64, first: u64) -> PointDensities {
        log_densities(&self.map, u, self.noise, density, seed, first)
    }

    /// Share of draws that jumps bring back, see [`density::returning_share`]: their density is exact where it is 1.
    pub fn returning_share(&self, jumps: usize, draws: usize, seed: u64) -> f64 {
        let input = self.map.network.input.weight.val();
        let (d, like) = (input.dims()[0], input.flatten::<1>(0, 1));
        density::returning_share(&self.map, d, &like, self.noise, jumps, draws, seed)
    }

    /// A lower bound of `E log p(m + s xi)` with gradients, one value per row.
    ///
    /// # Shapes
    /// - `m`: `[batch, d]`
    /// - output: `[batch]`
    pub(super) fn bound(&self, m: &Tensor<2>, noise: PathNoise) -> Tensor<1> {
        let ([batch, d], draws) = (m.dims(), self.objective.draws);
        let rows = repeat_rows(m.clone(), draws);
        let integral = bound_integral(&self.map, rows, noise.xi, &noise.shares, self.noise).reshape([batch, draws]);
        integral.mean_dim(1).reshape([batch]).neg() - 0.5 * d as f64 * (LN_2PI + 1.0 + 2.0 * self.noise.ln())
    }

    /// The loss off the diagonal with its weight, one value per row; `None` without such a loss.
    ///
    /// # Shapes
    /// - `m`: `[batch, d]`
    pub(super) fn off_diagonal(&self, m: Tensor<2>, random: &mut Stream) -> Option<Tensor<1>> {
        let MapObjectiveConfig { off_diagonal: kind, weight, boundary, .. } = self.objective;
        if kind == MapObjective::None || weight == 0.0 {
            return None;
        }
        let m = m.detach().inner();
        let times = pairs(m.dims()[0], self.noise, boundary, random);
        let xi = normals(random, m.dims(), &m);
        let teacher = self.map.valid();
        Some(off_diagonal(&self.map, &teacher, m, xi, &times, kind, random) * weight)
    }
}

/// Noise and times of a bound.
pub(super) struct PathNoise {
    xi: Tensor<2>,
    shares: Vec<f64>,
}

impl PathNoise {
    /// Noise for `rows` points of each stream.
    pub(super) fn draw(streams: &mut [Stream], rows: usize, map: &LatentMap, d: usize, like: &Tensor<2>) -> Self {
        let draws = map.objective.draws;
        let shares = streams.iter_mut().flat_map(|stream| stratified(rows, draws, stream)).collect();
        let xi = streams.iter_mut().map(|stream| normals(stream, [rows * draws, d], like)).collect();
        Self { xi: Tensor::cat(xi, 0), shares }
    }
}
