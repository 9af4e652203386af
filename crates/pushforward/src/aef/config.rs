//! Configuration of the models, as in the table `model` of a recipe.
//!
//! ```toml
//! [model]
//! family = "aef"
//! variant = "noise"
//! latent = 8
//! network = { kind = "small" }
//! ```
//!
//! # Examples
//! ```
//! use pushforward::aef::ImageShape;
//! use pushforward::aef::config::{AefConfig, Variant};
//!
//! let config: AefConfig = toml::from_str("variant = 'corner'\nlatent = 4").expect("the types are right");
//! assert_eq!(config.variant, Variant::Corner);
//! assert_eq!(config.check(ImageShape { channels: 1, height: 28, width: 28 }), Ok(()));
//! let error = config.check(ImageShape { channels: 1, height: 5, width: 5 }).expect_err("5 is not a multiple of 4");
//! assert_eq!(error.key, "model.network.kind");
//! ```

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::encoder::{Encoder, ScaleConfig};
use super::latent::{Expansion, Recognition};
use super::network::{ImageNetworkConfig, ImageNetworks};
use super::output::{Decoder, OutputConfig};
use super::preprocessing::Preprocessing;
use super::prior::PriorConfig;
use super::{AefModel, Autoencoder, ImageShape, LatentModel, PartitionModel, PixelFlow};
use crate::aef::mask::{self, CoreShell};
use crate::bijector::logit::MARGIN;
use crate::bijector::{Flow, FlowConfig, FlowStep, Haar, LinearStart, MafConfig, Orthogonal, Transform};
use crate::nn::linear::LinearConfig;
use crate::rng::Stream;
use crate::setting::{SettingError, positive, size};

/// Added to the scales of the AEF models, as published.
pub const AEF_EPSILON: f64 = 1e-5;
/// Added to the scales of the VAE models, as published.
pub const VAE_EPSILON: f64 = 1e-6;

/// Largest latent.
const MOST_LATENT: usize = 1 << 20;
/// Most draws in the objective.
const MOST_DRAWS: usize = 1_000_000;

/// Configuration of an [`AefModel`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AefConfig {
    /// Model variant.
    pub variant: Variant,
    /// Size of the latent.
    pub latent: usize,
    /// Encoder and decoder.
    pub network: ImageNetworkConfig,
    /// The decoder's output distribution.
    pub output: OutputConfig,
    /// Parametrisation of the encoder's scale.
    pub encoder_scale: ScaleConfig,
    /// Flow on the core, in the AEF models.
    pub core: FlowConfig,
    /// Posterior flow, in `vae-iaf` and `iwae`.
    pub posterior: FlowConfig,
    /// The prior: a flow or a flow map; in `flow` the flow on pixels.
    pub prior: PriorConfig,
    /// Scale of the noise in the variant `noise`, and of the noise that a flow map as the prior leaves on the latent.
    pub noise: f64,
    /// Number of draws in the objective of `iwae`.
    pub draws: usize,
    /// Distance of the logit's argument from 0 and 1, see [`Logit`](crate::bijector::Logit).
    pub alpha: f64,
    /// Run folder or checkpoint of a finished model of the same data and settings but for the prior: all else is kept as it is,
    /// and the prior alone is trained. Relative paths start at the working directory.
    pub from: Option<String>,
}

impl Default for AefConfig {
    fn default() -> Self {
        Self {
            variant: Variant::default(),
            latent: 8,
            network: ImageNetworkConfig::default(),
            output: OutputConfig::default(),
            encoder_scale: ScaleConfig::default(),
            core: FlowConfig::Maf(MafConfig::default()),
            posterior: FlowConfig::Iaf(MafConfig::default()),
            prior: FlowConfig::Maf(MafConfig::default()).into(),
            noise: 0.242,
            draws: 10,
            alpha: 1e-6,
            from: None,
        }
    }
}

/// Model variants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Variant {
    /// Core at the centre of the image.
    Center,
    /// Core in the corners of the image.
    Corner,
    /// Core after a trained rotation, which is initialised with the principal components of the first batch.
    LearnedCore,
    /// Core at the centre of the image of averages over 2 x 2 pixels.
    HaarCore,
    /// Core as a linear function of the image (expansion); the published objective, which is not a likelihood.
    Linear,
    /// The same with noise of a finite scale: a lower bound of the log-likelihood.
    #[default]
    Noise,
    /// Variational autoencoder with a Gaussian posterior.
    Vae,
    /// Variational autoencoder with a posterior flow.
    VaeIaf,
    /// The same, trained with the importance-weighted bound.
    Iwae,
    /// Deterministic autoencoder.
    Autoencoder,
    /// The prior flow on pixels.
    Flow,
}

impl Variant {
    fn is_partition(self) -> bool {
        matches!(self, Self::Center | Self::Corner | Self::LearnedCore | Self::HaarCore)
    }

    fn is_expansion(self) -> bool {
        matches!(self, Self::Linear | Self::Noise)
    }
}

impl AefConfig {
    /// Checks the settings against their ranges.
    ///
    /// # Errors
    /// Names the key and its allowed values.
    pub fn validate(&self) -> Result<(), SettingError> {
        let within = |table: &'static str| move |e: SettingError| e.within(table).within("model");
        self.network.validate(None).map_err(within("network"))?;
        self.output.validate().map_err(within("output"))?;
        self.encoder_scale.validate().map_err(within("encoder_scale"))?;
        self.core.validate().map_err(within("core"))?;
        self.posterior.validate().map_err(within("posterior"))?;
        self.prior.validate().map_err(within("prior"))?;
        size("model.latent", self.latent, 1..=MOST_LATENT)?;
        positive("model.noise", self.noise).map_err(|e| SettingError {
            problem: format!("{}; the limit without noise is model.variant = linear", e.problem),
            ..e
        })?;
        size("model.draws", self.draws, 1..=MOST_DRAWS)?;
        if self.from.is_some() && matches!(self.variant, Variant::Autoencoder | Variant::Flow) {
            let problem = "keeps an autoencoder and trains its prior, which this variant does not have";
            return Err(SettingError::new("model.from", problem));
        }
        // Below the margin of the logit the map is cut off at the ends, and its density is not that of the image.
        if !(MARGIN..0.5).contains(&self.alpha) {
            let problem = format!("must lie in [{MARGIN:e}, 0.5), found {}", self.alpha);
            return Err(SettingError::new("model.alpha", problem));
        }
        let blurred = self.variant.is_partition() || matches!(self.variant, Variant::Noise | Variant::Vae);
        if self.prior.flow_map().is_some() && !blurred && self.variant != Variant::Autoencoder {
            let problem = "= flow-map needs noise on the latent: model.variant = noise, vae, or a partition";
            return Err(SettingError::new("model.prior.kind", problem));
        }
        if self.variant.is_partition() && matches!(self.output, OutputConfig::Logistics { .. }) {
            return Err(SettingError::new(
                "model.output.kind",
                "= logistics has no deviations: a partition needs a Gaussian output",
            ));
        }
        Ok(())
    }

    /// Whether the two differ in nothing but the prior.
    pub fn shares_with(&self, other: &Self) -> bool {
        let Self { prior, from, .. } = self;
        *self == Self { prior: prior.clone(), from: from.clone(), ..other.clone() }
    }

    /// Checks the settings against the shape of the images, so that [`Self::init`] does not panic.
    ///
    /// # Errors
    /// Names the key and its allowed values.
    pub fn check(&self, shape: ImageShape) -> Result<(), SettingError> {
        if self.variant != Variant::Flow {
            self.network.validate(Some(shape)).map_err(|e| e.within("network").within("model"))?;
        }
        let latent = if self.variant == Variant::Flow { shape.numel() } else { self.latent };
        for (key, flow, used) in [
            ("core", &self.core, self.variant.is_partition() || self.variant.is_expansion()),
            ("posterior", &self.posterior, matches!(self.variant, Variant::VaeIaf | Variant::Iwae)),
        ] {
            if used {
                flow.validate_for(latent).map_err(|e| e.within(key).within("model"))?;
            }
        }
        if self.variant != Variant::Autoencoder {
            self.prior.validate_for(latent).map_err(|e| e.within("prior").within("model"))?;
        }
        let most = match self.variant {
            Variant::HaarCore => shape.numel() / 4,
            variant if variant.is_partition() => shape.numel() - 1,
            _ => usize::MAX,
        };
        if self.latent > most {
            return Err(SettingError::new(
                "model.latent",
                format!("must be at most {most} for {shape} images in this variant, found {}", self.latent),
            ));
        }
        if self.variant == Variant::HaarCore && !(shape.height.is_multiple_of(2) && shape.width.is_multiple_of(2)) {
            return Err(SettingError::new("model.variant", format!("= haar-core needs even sides, found {shape}")));
        }
        Ok(())
    }

    /// A model with random initial weights; data-dependent parameters are set by [`AefModel::initialise`].
    ///
    /// # Panics
    /// If the settings are out of range or do not fit the shape.
    pub fn init(&self, shape: ImageShape, device: &Device, stream: &mut Stream) -> AefModel {
        if let Err(problem) = self.validate().and_then(|()| self.check(shape)) {
            panic!("{problem}");
        }
        self.init_with(&self.network, shape, device, stream)
    }

    /// The same with encoder and decoder of your own; [`AefConfig::network`] is not read.
    pub fn init_with<N: ImageNetworks>(
        &self,
        networks: &N,
        shape: ImageShape,
        device: &Device,
        stream: &mut Stream,
    ) -> AefModel<N::Encoder, N::Decoder> {
        let d = self.latent;
        let preprocessing = Preprocessing::init(self.alpha, shape, device);
        let epsilon = match self.variant {
            Variant::Vae | Variant::VaeIaf | Variant::Iwae => VAE_EPSILON,
            _ => AEF_EPSILON,
        };
        let pair = |device: &Device, stream: &mut Stream| {
            let encoder = networks.encoder(shape, 2 * d, device, stream);
            let decoder = networks.decoder(d, self.output.maps() * shape.channels, shape, device, stream);
            let pre_scale = networks.pre_scale();
            (
                Encoder::new(encoder, self.encoder_scale, epsilon, shape),
                Decoder::new(decoder, &self.output, pre_scale, epsilon, shape, device),
            )
        };
        match self.variant {
            Variant::Center | Variant::Corner | Variant::LearnedCore | Variant::HaarCore => {
                let (rotation, core) = self.rotation(shape, device, stream);
                let nets = pair(device, stream);
                let core_flow = self.core.init(d, device, stream);
                let (prior, map) = self.prior.init(d, self.noise, device, stream);
                let split = CoreShell::new(&core, shape.numel());
                let model = PartitionModel::new(preprocessing, rotation, split, nets, core_flow, prior);
                AefModel::Partition(model.with_map(map))
            }
            Variant::Linear | Variant::Noise => {
                let nets = pair(device, stream);
                let recognition = Recognition::Expansion(Expansion {
                    map: LinearConfig::new(shape.numel(), d).init(device, stream),
                    core: self.core.init(d, device, stream),
                    noise: if self.variant == Variant::Noise { self.noise } else { 0.0 },
                });
                let (prior, map) = self.prior.init(d, self.noise, device, stream);
                AefModel::Latent(LatentModel::new(preprocessing, nets, recognition, prior, 1).with_map(map))
            }
            Variant::Vae | Variant::VaeIaf | Variant::Iwae => {
                let nets = pair(device, stream);
                let flow = if self.variant == Variant::Vae { &FlowConfig::None {} } else { &self.posterior };
                let recognition = Recognition::Posterior(flow.init(d, device, stream));
                let (prior, map) = self.prior.init(d, self.noise, device, stream);
                let draws = if self.variant == Variant::Iwae { self.draws } else { 1 };
                AefModel::Latent(LatentModel::new(preprocessing, nets, recognition, prior, draws).with_map(map))
            }
            Variant::Autoencoder => {
                let encoder = networks.encoder(shape, d, device, stream);
                let decoder = networks.decoder(d, shape.channels, shape, device, stream);
                AefModel::Autoencoder(Autoencoder::new(preprocessing, encoder, decoder, shape))
            }
            Variant::Flow => {
                let (flow, _) = self.prior.init(shape.numel(), self.noise, device, stream);
                AefModel::Flow(PixelFlow { preprocessing, flow })
            }
        }
    }

    /// The rotation before the partition, and the indices of the core after the rotation.
    fn rotation(&self, shape: ImageShape, device: &Device, stream: &mut Stream) -> (Flow, Vec<usize>) {
        let d = self.latent;
        match self.variant {
            Variant::Center => (Flow::default(), mask::center(shape, d)),
            Variant::Corner => (Flow::default(), mask::corner(shape, d)),
            Variant::LearnedCore => {
                let rotation = Orthogonal::init(shape.numel(), d, LinearStart::Rotation, device, stream);
                (Flow { steps: vec![FlowStep::new(Transform::Orthogonal(rotation))] }, (0..d).collect())
            }
            Variant::HaarCore => {
                let averages = ImageShape { height: shape.height / 2, width: shape.width / 2, ..shape };
                let haar = Haar::new([shape.channels, shape.height, shape.width], device);
                (Flow { steps: vec![FlowStep::new(Transform::Haar(haar))] }, mask::center(averages, d))
            }
            other => panic!("{other:?} has no partition"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> AefConfig {
        toml::from_str(text).expect("it is well-formed")
    }

    #[test]
    fn defaults_are_the_recommended_bound_on_the_published_networks() {
        let config = parse("");
        assert_eq!((config.variant, config.latent), (Variant::Noise, 8));
        assert_eq!(config.validate(), Ok(()));
        assert_eq!(config.check(ImageShape { channels: 1, height: 28, width: 28 }), Ok(()));
    }

    #[test]
    fn what_does_not_fit_names_its_key() {
        for (text, part) in [
            ("latent = 0", "model.latent"),
            ("noise = 0.0", "model.variant = linear"),
            ("draws = 0", "model.draws"),
            ("alpha = 0.5", "model.alpha"),
            ("encoder_scale = { kind = 'bounded', limit = 0.0 }", "model.encoder_scale.limit"),
            ("output = { kind = 'fixed', scale = 0.0 }", "model.output.scale"),
            ("network = { kind = 'small', channels = 0 }", "model.network.channels"),
            ("variant = 'center'\noutput = { kind = 'logistics' }", "a partition needs a Gaussian output"),
            ("prior = { kind = 'maf', layers = 0 }", "model.prior.layers"),
            ("prior = { kind = 'flow-map', network = { width = 0 } }", "model.prior.network.width"),
            ("prior = { kind = 'flow-map', objective = { draws = 0 } }", "model.prior.objective.draws"),
            ("variant = 'linear'\nprior = { kind = 'flow-map' }", "model.prior.kind = flow-map needs noise"),
            ("variant = 'autoencoder'\nfrom = 'runs/a'", "model.from keeps an autoencoder"),
        ] {
            let problem = parse(text).validate().expect_err(text).to_string();
            assert!(problem.contains(part), "{text}: {problem}");
        }
        let odd = ImageShape { channels: 1, height: 5, width: 7 };
        for (text, part) in [
            ("", "model.network.kind = small"),
            ("network = { kind = 'mlp' }\nvariant = 'corner'\nlatent = 35", "model.latent must be at most 34"),
            ("network = { kind = 'mlp' }\nvariant = 'haar-core'\nlatent = 2", "model.variant = haar-core"),
        ] {
            let problem = parse(text).check(odd).expect_err(text).to_string();
            assert!(problem.contains(part), "{text}: {problem}");
        }
    }

    #[test]
    fn typos_are_errors() {
        assert!(toml::from_str::<AefConfig>("variant = 'centre'").is_err());
        assert!(toml::from_str::<AefConfig>("latnet = 2").is_err());
        let error =
            |prior: &str| toml::from_str::<AefConfig>(&format!("prior = {prior}")).expect_err(prior).to_string();
        assert!(error("{ kind = 'flow-mop' }").contains("or, as a prior, `flow-map`"));
        assert!(error("{ kind = 'flow-map', width = 3 }").contains("unknown field `width`"));
    }
}
