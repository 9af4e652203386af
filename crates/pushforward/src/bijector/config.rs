//! Configuration of flows.

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::elementwise::{Elementwise, Scale};
use super::spline::MAX_BINS;
use super::{
    ActNorm, Coupling, Flow, FlowStep, LinearStart, LuLinear, MaskedAutoregressive, Permutation, TarFlowLayerConfig,
    Transform,
};
use crate::rng::Stream;
use crate::setting::{DEPTH, ITEMS, SettingError, WIDTH, positive, size};

/// Configuration of a flow, as in a recipe.
///
/// # Examples
/// ```
/// use pushforward::bijector::FlowConfig;
/// use pushforward::burn::tensor::Device;
/// use pushforward::rng::{Purpose, stream};
///
/// let config: FlowConfig = toml::from_str("kind = 'maf'\nlayers = 2\nhidden = 8")?;
/// let flow = config.init(3, &Device::flex(), &mut stream(0, Purpose::Init, 0));
/// assert_eq!(flow.steps.len(), 2 * 3); // permutation, autoregressive map and ActNorm of every layer
/// assert!(toml::from_str::<FlowConfig>("kind = 'maf'\nlayer = 2").is_err());
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum FlowConfig {
    /// The identity: the density is that of the standard normal distribution.
    None {},
    /// Masked autoregressive: `forward` (density) in one pass, `inverse` (sampling) in one pass per feature.
    Maf(MafConfig),
    /// Inverse autoregressive: the inverses of the same maps, so that `inverse` takes one pass.
    Iaf(MafConfig),
    /// Affine couplings: one pass in either direction.
    RealNvp(RealNvpConfig),
    /// Rational-quadratic splines, in couplings or autoregressive maps.
    Spline(SplineConfig),
    /// Autoregressive over tokens, with transformers: `forward` in one pass, `inverse` in one step per token.
    TarFlow(TarFlowConfig),
}

/// Settings of masked and of inverse autoregressive flows.
///
/// Every layer reverses the order of the features, applies an affine map to each feature given those before it, and
/// normalises with one scale and shift for all features. The defaults are those of Silvestri, Roos, Ambrogioni 2023
/// (arXiv:2205.09546).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MafConfig {
    /// Number of layers.
    pub layers: usize,
    /// Width of the hidden layers of the masked networks.
    pub hidden: usize,
    /// Residual blocks of each network.
    pub blocks: usize,
    /// Parametrisation of the scales.
    pub scale: Scale,
}

impl Default for MafConfig {
    fn default() -> Self {
        Self { layers: 4, hidden: 256, blocks: 2, scale: Scale::Softplus {} }
    }
}

/// Mixing of the features between layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mixing {
    /// Reverses the order, so that the halves of a coupling alternate.
    Reverse,
    /// A fixed random order.
    Shuffle,
    /// A learned linear map that starts as a random rotation.
    Linear,
}

/// Settings of flows of affine couplings (Dinh, Sohl-Dickstein, Bengio 2017, arXiv:1605.08803).
///
/// Every layer normalises each feature, mixes, and applies an affine map to half of the features given the other half.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RealNvpConfig {
    /// Number of layers.
    pub layers: usize,
    /// Width of the hidden layers of the networks.
    pub hidden: usize,
    /// Residual blocks of each network.
    pub blocks: usize,
    /// Parametrisation of the scales.
    pub scale: Scale,
    /// Mixing of the features between layers.
    pub mixing: Mixing,
}

impl Default for RealNvpConfig {
    fn default() -> Self {
        Self { layers: 8, hidden: 128, blocks: 2, scale: Scale::Bounded { m: 2.0 }, mixing: Mixing::Reverse }
    }
}

/// Settings of flows of rational-quadratic splines (Durkan et al. 2019, arXiv:1906.04032).
///
/// Every layer normalises each feature, mixes, and applies splines to half of the features given the other half, or to
/// each feature given those before it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SplineConfig {
    /// Number of layers.
    pub layers: usize,
    /// Width of the hidden layers of the networks.
    pub hidden: usize,
    /// Residual blocks of each network.
    pub blocks: usize,
    /// Number of pieces of a spline.
    pub bins: usize,
    /// The splines act on `[-bound, bound]`; outside they are the identity.
    pub bound: f64,
    /// Whether to use autoregressive maps, whose `inverse` takes one pass per feature, in place of couplings.
    pub autoregressive: bool,
    /// Mixing of the features between layers.
    pub mixing: Mixing,
}

impl Default for SplineConfig {
    fn default() -> Self {
        Self { layers: 4, hidden: 128, blocks: 2, bins: 8, bound: 5.0, autoregressive: false, mixing: Mixing::Linear }
    }
}

/// Settings of transformer autoregressive flows (Zhai et al. 2024, arXiv:2412.06329).
///
/// Every layer applies an affine map to each token given those before it, and then reverses the order of the tokens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TarFlowConfig {
    /// Number of layers.
    pub layers: usize,
    /// Features of a token; there must be at least two tokens.
    pub token: usize,
    /// Width of the transformers.
    pub width: usize,
    /// Blocks of each transformer.
    pub blocks: usize,
    /// Attention heads of each transformer; must divide the width.
    pub heads: usize,
    /// Largest absolute logarithm of a scale.
    pub clip: f64,
}

impl Default for TarFlowConfig {
    fn default() -> Self {
        Self { layers: 4, token: 1, width: 128, blocks: 2, heads: 4, clip: 3.0 }
    }
}

impl FlowConfig {
    /// Checks every setting against its range.
    ///
    /// # Errors
    /// Names the setting that is out of range, and its allowed values.
    pub fn validate(&self) -> Result<(), SettingError> {
        match self {
            Self::None {} => Ok(()),
            Self::Maf(config) | Self::Iaf(config) => {
                sizes(config.layers, ("hidden", config.hidden), config.blocks)?;
                config.scale.validate()
            }
            Self::RealNvp(config) => {
                sizes(config.layers, ("hidden", config.hidden), config.blocks)?;
                config.scale.validate()
            }
            Self::Spline(config) => {
                sizes(config.layers, ("hidden", config.hidden), config.blocks)?;
                size("bins", config.bins, 2..=MAX_BINS)?;
                positive("bound", config.bound)
            }
            Self::TarFlow(config) => {
                sizes(config.layers, ("width", config.width), config.blocks)?;
                size("token", config.token, 1..=WIDTH)?;
                if config.heads == 0 || !config.width.is_multiple_of(config.heads) {
                    return Err(SettingError::new(
                        "heads",
                        format!("= {} must divide width = {}", config.heads, config.width),
                    ));
                }
                positive("clip", config.clip)
            }
        }
    }

    /// Checks the settings, also against the number of features of the points.
    ///
    /// # Errors
    /// Names the setting that is out of range or does not fit, and its allowed values.
    ///
    /// # Examples
    /// ```
    /// use pushforward::bijector::FlowConfig;
    /// let config: FlowConfig = toml::from_str("kind = 'tar-flow'\ntoken = 2")?;
    /// assert!(config.validate_for(6).is_ok() && config.validate_for(7).is_err());
    /// # Ok::<(), toml::de::Error>(())
    /// ```
    pub fn validate_for(&self, features: usize) -> Result<(), SettingError> {
        self.validate()?;
        size("features", features, 1..=ITEMS)?;
        match self {
            Self::TarFlow(TarFlowConfig { token, .. }) if !features.is_multiple_of(*token) || features / token < 2 => {
                Err(SettingError::new(
                    "token",
                    format!("= {token} must cut {features} features into at least two tokens"),
                ))
            }
            _ => Ok(()),
        }
    }

    /// A flow on points with the given number of features, with random initial weights.
    ///
    /// Flows with [`ActNorm`] layers have to be initialised with data: by [`Flow::initialise`] if training uses
    /// `forward`, by [`Flow::initialise_inverse`] if it uses `inverse`. After loading parameters, call
    /// [`Bijector::assume_initialised`](super::Bijector::assume_initialised) instead.
    ///
    /// # Panics
    /// If a setting is out of range or does not fit the features (see [`FlowConfig::validate`]).
    pub fn init(&self, features: usize, device: &Device, stream: &mut Stream) -> Flow {
        if let Err(problem) = self.validate_for(features) {
            panic!("{problem}");
        }
        match self {
            Self::None {} => Flow::default(),
            Self::Maf(config) => config.init(features, false, device, stream),
            // Each layer ends with the inverse of ActNorm, so that ActNorm multiplies in the fast direction of these
            // flows.
            Self::Iaf(config) => config.init(features, true, device, stream).inverse(),
            Self::RealNvp(config) => config.init(features, device, stream),
            Self::Spline(config) => config.init(features, device, stream),
            Self::TarFlow(config) => config.init(features, device, stream),
        }
    }
}

impl MafConfig {
    fn init(&self, features: usize, invert_norm: bool, device: &Device, stream: &mut Stream) -> Flow {
        let map = Elementwise::Affine(self.scale);
        let mut steps = Vec::with_capacity(3 * self.layers);
        for _ in 0..self.layers {
            let network = MaskedAutoregressive::init(map, features, self.hidden, self.blocks, device, stream);
            let norm = Transform::ActNorm(ActNorm::init(1, device));
            steps.push(FlowStep::new(Transform::Permutation(Permutation::reverse(features, device))));
            steps.push(FlowStep::new(Transform::MaskedAutoregressive(network)));
            steps.push(FlowStep { transform: norm, inverted: invert_norm });
        }
        Flow { steps }
    }
}

impl RealNvpConfig {
    fn init(&self, features: usize, device: &Device, stream: &mut Stream) -> Flow {
        let map = Elementwise::Affine(self.scale);
        layers(self.layers, self.mixing, features, device, stream, |stream| {
            Transform::Coupling(Coupling::init(map, features, self.hidden, self.blocks, device, stream))
        })
    }
}

impl SplineConfig {
    fn init(&self, features: usize, device: &Device, stream: &mut Stream) -> Flow {
        let (map, hidden) = (Elementwise::Spline { bins: self.bins, bound: self.bound }, self.hidden);
        layers(self.layers, self.mixing, features, device, stream, |stream| match self.autoregressive {
            true => Transform::MaskedAutoregressive(MaskedAutoregressive::init(
                map,
                features,
                hidden,
                self.blocks,
                device,
                stream,
            )),
            false => Transform::Coupling(Coupling::init(map, features, hidden, self.blocks, device, stream)),
        })
    }
}

impl TarFlowConfig {
    fn init(&self, features: usize, device: &Device, stream: &mut Stream) -> Flow {
        let Self { token, width, blocks, heads, clip, .. } = *self;
        let layer = TarFlowLayerConfig { tokens: features / token, channels: token, width, blocks, heads, clip };
        let reversed: Vec<usize> = (0..features).map(|i| features - token - i / token * token + i % token).collect();
        let pair = |_| {
            let map = Transform::TarFlow(layer.init(device, stream));
            [map, Transform::Permutation(Permutation::new(&reversed, device))].map(FlowStep::new)
        };
        Flow { steps: (0..self.layers).flat_map(pair).collect() }
    }
}

/// A flow whose layers are an ActNorm per feature, a mixing and a map.
fn layers(
    count: usize,
    mixing: Mixing,
    features: usize,
    device: &Device,
    stream: &mut Stream,
    mut map: impl FnMut(&mut Stream) -> Transform,
) -> Flow {
    let layer = |_| {
        let mixing = match mixing {
            Mixing::Reverse => Transform::Permutation(Permutation::reverse(features, device)),
            Mixing::Shuffle => Transform::Permutation(Permutation::shuffle(features, device, stream)),
            Mixing::Linear => Transform::LuLinear(LuLinear::init(features, LinearStart::Rotation, device, stream)),
        };
        [Transform::ActNorm(ActNorm::init(features, device)), mixing, map(stream)].map(FlowStep::new)
    };
    Flow { steps: (0..count).flat_map(layer).collect() }
}

/// Checks the sizes of the layers; `hidden` names the key of their width.
fn sizes(layers: usize, hidden: (&str, usize), blocks: usize) -> Result<(), SettingError> {
    size("layers", layers, 1..=DEPTH)?;
    size(hidden.0, hidden.1, 1..=WIDTH)?;
    size("blocks", blocks, 0..=DEPTH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<FlowConfig, toml::de::Error> {
        toml::from_str(text)
    }

    #[test]
    fn defaults_are_the_published_ones() {
        let published = MafConfig { layers: 4, hidden: 256, blocks: 2, scale: Scale::Softplus {} };
        assert_eq!(parse("kind = 'maf'").expect("defaults"), FlowConfig::Maf(published.clone()));
        assert_eq!(parse("kind = 'iaf'\nlayers = 4").expect("defaults"), FlowConfig::Iaf(published));
        assert_eq!(parse("kind = 'none'").expect("no settings"), FlowConfig::None {});
    }

    #[test]
    fn typos_and_ranges_are_errors() {
        for text in ["kind = 'maff'", "kind = 'maf'\nlayer = 3", "kind = 'none'\nlayers = 3"] {
            assert!(parse(text).is_err(), "{text}");
        }
        for (text, key) in [
            ("kind = 'maf'\nlayers = 0", "layers"),
            ("kind = 'iaf'\nhidden = 0", "hidden"),
            ("kind = 'maf'\nscale = { kind = 'bounded', m = 0.0 }", "m must be positive"),
            ("kind = 'real-nvp'\nlayers = 0", "layers"),
            ("kind = 'spline'\nbins = 1", "bins must be at least 2"),
            ("kind = 'spline'\nbound = -1.0", "bound must be positive"),
            ("kind = 'tar-flow'\nheads = 3", "heads = 3"),
            ("kind = 'tar-flow'\ntoken = 0", "token must be at least 1"),
            ("kind = 'tar-flow'\nclip = 0.0", "clip must be positive"),
        ] {
            let problem =
                parse(text).expect("it is well-formed").validate().expect_err("it is out of range").to_string();
            assert!(problem.starts_with(key), "{problem}");
        }
        let tokens = parse("kind = 'tar-flow'\ntoken = 4").expect("it is well-formed");
        assert_eq!(tokens.validate_for(8), Ok(()));
        for features in [4, 6] {
            let problem = tokens.validate_for(features).expect_err("the tokens do not fit").to_string();
            assert!(problem.contains("at least two tokens"), "{problem}");
        }
        assert!(FlowConfig::None {}.validate_for(0).is_err());
    }
}
