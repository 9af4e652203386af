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
//!
//! With `volume`, a [head](VolumeHead) beside the map tells how likely a draw is from its noise alone: for proposals, and no
//! density. It is compared with `ode`, and agrees before training, where both are exact.
//! ```
//! use pushforward::aef::{ImageShape, config::AefConfig};
//! use pushforward::burn::tensor::{Device, Tensor};
//! use pushforward::rng::{Purpose, stream};
//! use pushforward::tensor::to_host;
//!
//! let text = "latent = 2\nnetwork = { kind = 'mlp', width = 8 }\nprior = { kind = 'flow-map', volume = { width = 8 } }";
//! let config: AefConfig = toml::from_str(text)?;
//! let shape = ImageShape { channels: 1, height: 2, width: 2 };
//! let model = config.init(shape, &Device::flex(), &mut stream(0, Purpose::Init, 0));
//! let map = model.prior_map().expect("the prior is a flow map");
//! let noise = Tensor::<2>::from_data([[2.0f32, 2.0], [0.1, 0.0], [0.5, 1.0], [3.0, 0.0]], &Device::flex());
//! assert_eq!(to_host(&map.likeliest(noise, 2).expect("there is a head")), [0.1f32, 0.0, 0.5, 1.0].map(f64::from));
//! assert!(map.volume_errors(8, 0).expect("likewise").iter().all(|error| error.abs() < 0.05));
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
use crate::rng::{Purpose, Stream, stream};
use crate::setting::{SettingError, require};
use crate::tensor::{from_f32, indices};
use crate::transport::change::{from_noise, to_noise};
use crate::transport::density::{self, Density, PointDensities, log_densities};
use crate::transport::map::{Drawing, end_time};
use crate::transport::objective::{bound_integral, off_diagonal, pairs, stratified};
use crate::transport::{MapObjective, MapObjectiveConfig, VectorMap, VectorMapConfig, VolumeHead};

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
    /// The network.
    pub network: VectorMapConfig,
    /// The training.
    pub objective: MapObjectiveConfig,
    /// A perceptron beside it that estimates the density of a draw in one evaluation, see [`VolumeHead`]; its `token` is 0.
    pub volume: Option<VectorMapConfig>,
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

impl FlowMapPriorConfig {
    /// Number of parameters of the map and of its head.
    pub(super) fn parameters(&self, features: usize) -> u128 {
        let head = self.volume.as_ref().map_or(0, |volume| volume.parameters(features));
        self.network.parameters(features) + head
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
            Self::FlowMap(FlowMapPriorConfig { network, objective, volume }) => {
                network.validate().map_err(|e| e.within("network"))?;
                if let Some(volume) = volume {
                    volume.validate().map_err(|e| e.within("volume"))?;
                    require(volume.token == 0, "volume.token", "is 0: the head is a perceptron")?;
                }
                objective.validate().map_err(|e| e.within("objective"))
            }
        }
    }

    pub(super) fn validate_for(&self, features: usize) -> Result<(), SettingError> {
        match self {
            Self::Flow(flow) => flow.validate_for(features),
            Self::FlowMap(map) => {
                self.validate()?;
                map.network.validate_for(features).map_err(|e| e.within("network"))
            }
        }
    }

    pub(super) fn parameters(&self, features: usize) -> u128 {
        match self {
            Self::Flow(flow) => flow.parameters(features),
            Self::FlowMap(config) => norm(features) + config.parameters(features),
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
            Self::FlowMap(FlowMapPriorConfig { network, objective, volume }) => {
                let standardise = Transform::ActNorm(ActNorm::init(features, device));
                let map = network.init(features, device, stream);
                let volume = volume.as_ref().map(|config| VolumeHead::init(config, features, device, stream));
                let flow = Flow { steps: vec![FlowStep::new(standardise)] };
                (flow, Some(LatentMap { map, volume, noise, objective: objective.clone() }))
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
    /// The estimate of the density of its draws, if there is one.
    pub volume: Option<VolumeHead>,
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
        let (d, like) = (self.map.features(), self.like());
        density::returning_share(&self.map, d, &like, self.noise, jumps, draws, seed)
    }

    fn like(&self) -> Tensor<1> {
        let device = self.map.devices().pop().expect("a map has parameters");
        Tensor::zeros([1], &device)
    }

    /// The likeliest of every `choices` rows of standard normal numbers, by the head: the draw of one jump from it has the
    /// largest estimate of its density. `None` without a head.
    ///
    /// # Shapes
    /// - `z0`: `[batch * choices, d]`, the choices of a draw next to each other
    /// - output: `[batch, d]`
    pub fn likeliest(&self, z0: Tensor<2>, choices: usize) -> Option<Tensor<2>> {
        let nats = self.volume.as_ref()?.log_densities(z0.clone(), self.noise);
        let best = |(first, nats): (usize, &[f64])| {
            let best = (0..choices).max_by(|&a, &b| nats[a].total_cmp(&nats[b])).unwrap_or(0);
            (first * choices + best) as u32
        };
        let chosen: Vec<u32> = nats.chunks(choices).enumerate().map(best).collect();
        Some(z0.clone().select(0, indices(&chosen, [chosen.len()], &z0.device())))
    }

    /// Estimates of the head less the densities by `ode`, in nats, at `draws` draws of one jump; `None` without a head.
    pub fn volume_errors(&self, draws: usize, seed: u64) -> Option<Vec<f64>> {
        let head = self.volume.as_ref()?;
        let noise = stream(seed, Purpose::Sample, 0).normals(draws * self.map.features());
        let noise = from_f32(&noise, [draws, self.map.features()], &self.like());
        let exact = self.log_densities(self.draw(noise.clone(), Drawing::Jumps(1)), Density::default(), seed, 0).values;
        let found = head.log_densities(noise, self.noise);
        Some(found.into_iter().zip(exact).map(|(found, exact)| found - exact).collect())
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

    /// The losses beside the bound with their names and weights, one value per row: that off the diagonal, and that of the
    /// head. Their gradients reach the map, and the head.
    ///
    /// # Shapes
    /// - `m`: `[batch, d]`
    pub(super) fn losses(&self, m: Tensor<2>, random: &mut Stream) -> Vec<(&'static str, Tensor<1>)> {
        let MapObjectiveConfig { off_diagonal: kind, weight, boundary, .. } = self.objective;
        let m = m.detach().inner();
        let (mut found, teacher) = (Vec::new(), self.map.valid());
        if kind != MapObjective::None && weight != 0.0 {
            let times = pairs(m.dims()[0], self.noise, boundary, random);
            let xi = normals(random, m.dims(), &m);
            let nats = off_diagonal(&self.map, &teacher, m.clone(), xi, &times, kind, random) * weight;
            found.push(("off_diagonal", nats));
        }
        if let Some(head) = &self.volume {
            let xi = normals(random, m.dims(), &m);
            found.push(("volume", head.loss(&teacher, (m, xi), self.noise, boundary, random)));
        }
        found
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
