//! Configuration of autoencoders of categorical data, as in the table `model` of a recipe with
//! `family = "categorical-aef"`.

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::model::CategoricalModel;
use super::network::ItemNetworkConfig;
use crate::aef::prior::PriorConfig;
use crate::bijector::{ActNorm, Flow, FlowConfig, MafConfig};
use crate::nn::count::{linear, norm};
use crate::nn::{LinearConfig, SiteShape};
use crate::rng::Stream;
use crate::setting::{SettingError, fraction, positive, size};

/// Largest latent.
const MOST_LATENT: usize = 1 << 20;

/// Configuration of a [`CategoricalModel`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CategoricalConfig {
    /// Size of the latent.
    pub latent: usize,
    /// Scale s of the noise on the latent.
    pub noise: f64,
    /// Share of the training over which the prior's gradient in the encoder rises from zero: until the decoder has
    /// learned to read the latent, the prior alone would erase it (Sonderby et al. 2016, arXiv:1602.02282).
    pub warmup: f64,
    /// Encoder and decoder.
    pub network: ItemNetworkConfig,
    /// The prior: a flow or a flow map.
    pub prior: PriorConfig,
    /// A decoder from the prior's base variable, trained in a second stage.
    pub coupling: Option<CouplingConfig>,
    /// Run folder or checkpoint of a finished model of the same data and settings, whose encoder and decoder are kept as they
    /// are: only the prior is trained, or, with a coupling, only that, and the prior is kept too. Relative paths start at the
    /// working directory.
    pub from: Option<String>,
}

/// Settings of a coupling: the decoder of one step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CouplingConfig {
    /// Its network; that of the model if absent.
    pub network: Option<ItemNetworkConfig>,
    /// Share of the training after which it alone is trained. Until then the autoencoder and its prior are; with
    /// [`CategoricalConfig::from`] it is trained from the first step on.
    pub start: f64,
}

impl Default for CouplingConfig {
    fn default() -> Self {
        Self { network: None, start: 0.5 }
    }
}

impl Default for CategoricalConfig {
    fn default() -> Self {
        Self {
            latent: 8,
            noise: 0.242,
            warmup: 0.2,
            network: ItemNetworkConfig::default(),
            prior: FlowConfig::Maf(MafConfig::default()).into(),
            coupling: None,
            from: None,
        }
    }
}

impl CategoricalConfig {
    /// Checks the settings against their ranges.
    ///
    /// # Errors
    /// Names the key and its allowed values.
    pub fn validate(&self) -> Result<(), SettingError> {
        size("latent", self.latent, 1..=MOST_LATENT)?;
        positive("noise", self.noise)?;
        fraction("warmup", self.warmup)?;
        self.networks().try_for_each(|(key, network)| network.validate().map_err(|e| e.within(key)))?;
        if let Some(coupling) = &self.coupling {
            fraction("start", coupling.start).map_err(|e| e.within("coupling"))?;
        }
        self.prior.validate_for(self.latent).map_err(|e| e.within("prior"))
    }

    /// The settings of networks with their keys.
    fn networks(&self) -> impl Iterator<Item = (&'static str, &ItemNetworkConfig)> {
        let of_coupling = self.coupling.as_ref().and_then(|coupling| coupling.network.as_ref());
        std::iter::once(("network", &self.network)).chain(of_coupling.map(|network| ("coupling.network", network)))
    }

    /// The settings of the coupling's network.
    fn of_coupling(&self) -> Option<&ItemNetworkConfig> {
        self.coupling.as_ref().map(|coupling| coupling.network.as_ref().unwrap_or(&self.network))
    }

    /// Whether the two have the same encoder, decoder and noise, and, if `prior`, the same prior.
    pub fn shares_with(&self, other: &Self, prior: bool) -> bool {
        let parts = |config: &Self| (config.latent, config.noise, config.network.clone());
        parts(self) == parts(other) && (!prior || self.prior == other.prior)
    }

    /// Checks the settings against the shape of an item, so that [`Self::init`] does not panic.
    ///
    /// # Errors
    /// Names the key and its allowed values.
    pub fn check(&self, sites: &SiteShape) -> Result<(), SettingError> {
        self.validate()?;
        self.networks().try_for_each(|(key, net)| net.check(sites).map_err(|e| e.within(key)))
    }

    /// Number of parameters of the model of items of the given shape.
    pub fn parameters(&self, sites: &SiteShape) -> u128 {
        let d = self.latent;
        let nets = self.network.encoder_parameters(sites, d) + self.network.decoder_parameters(sites, d);
        let prior = match &self.prior {
            PriorConfig::Flow(flow) => flow.parameters(d),
            PriorConfig::FlowMap(map) => map.parameters(d),
        };
        let coupling = self.of_coupling().map_or(0, |net| net.decoder_parameters(sites, d));
        nets + linear(sites.count * sites.classes, d) + norm(d) + prior + coupling
    }

    /// A model with random initial weights; data-dependent parameters are set by [`CategoricalModel::initialise`].
    ///
    /// # Panics
    /// If the settings are out of range or do not fit the shape.
    pub fn init(&self, sites: SiteShape, device: &Device, stream: &mut Stream) -> CategoricalModel {
        if let Err(problem) = self.check(&sites) {
            panic!("{problem}");
        }
        let d = self.latent;
        let encoder = self.network.encoder(&sites, d, device, stream);
        let direct = LinearConfig::new(sites.count * sites.classes, d).init(device, stream);
        let decoder = self.network.decoder(&sites, d, device, stream);
        let (flow, map) = self.prior.init(d, self.noise, device, stream);
        // Codes are standardised already, and the noise of the path is that of the standardised code.
        let prior = if map.is_some() { Flow::default() } else { flow };
        let coupling = self.of_coupling().map(|net| net.decoder(&sites, d, device, stream));
        CategoricalModel::new((encoder, direct), ActNorm::init(d, device), decoder, (prior, map), sites, self.noise)
            .with_coupling(coupling)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_have_ranges_and_fit_the_items() {
        let parse = |text: &str| toml::from_str::<CategoricalConfig>(text).expect("it is well-formed");
        assert_eq!(parse("").validate(), Ok(()));
        for (text, key) in [
            ("latent = 0", "latent"),
            ("noise = 0.0", "noise"),
            ("warmup = 1.5", "warmup"),
            ("network = { kind = 'mlp', width = 0 }", "network.width"),
            ("prior = { kind = 'tar-flow', token = 3 }", "prior.token"),
            ("coupling = { start = -0.1 }", "coupling.start"),
            ("coupling = { network = { kind = 'mlp', width = 0 } }", "coupling.network.width"),
        ] {
            assert_eq!(parse(text).validate().expect_err(text).key, key);
        }
        let small = parse("network = { kind = 'small' }");
        assert!(small.check(&SiteShape::image([8, 8], 2)).is_ok());
        assert_eq!(small.check(&SiteShape::line(8, 2)).expect_err("one row").key, "network.kind");
        assert!(toml::from_str::<CategoricalConfig>("variant = 'vae'").is_err());
    }
}
