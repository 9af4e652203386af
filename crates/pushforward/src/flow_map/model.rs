//! The trainable model: a network with label embeddings, observed sites, masks, the evidence skip and loss weights.
//!
//! # Examples
//! Before training the logits of the built-in networks are zero; with the evidence skip they are `s / (1-s)^2 x`.
//! ```
//! use pushforward::burn::tensor::{Device, Tensor};
//! use pushforward::flow_map::backbone::Parametrisation;
//! use pushforward::flow_map::map::FlowMap;
//! use pushforward::flow_map::model::{FlowMapModelConfig, Skip};
//! use pushforward::flow_map::network::NetworkConfig;
//! use pushforward::nn::{SiteShape, mlp::MlpConfig};
//! use pushforward::rng::{Purpose, stream};
//! use pushforward::tensor::to_host;
//!
//! let (sites, device) = (SiteShape::line(1, 2), Device::flex());
//! let config = FlowMapModelConfig {
//!     network: NetworkConfig::Mlp(MlpConfig::default()),
//!     skip: Skip::Evidence { cap: 64.0 },
//!     parametrisation: Parametrisation::Endpoint,
//!     learned_weight: false,
//!     labels: None,
//!     smoothing: 0.0,
//!     observed_length: 1.0,
//! };
//! let model = config.init(sites, &device, &mut stream(0, Purpose::Init, 0));
//! let x = Tensor::<3>::from_data([[[1.0f32, -0.5]]], &device);
//! let z = to_host(&FlowMap::new(&model).output(&x, &[0.5], &[0.5]));
//! assert!((z[0] - 2.0).abs() < 1e-5 && (z[1] + 1.0).abs() < 1e-5);
//! ```

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::dual::Dual;
use crate::flow_map::backbone::{Backbone, BackboneConfig, EndpointNet, FactoredNet, Inputs, Labels, Parametrisation};
use crate::flow_map::conditioning::Conditioning;
use crate::flow_map::network::{Network, NetworkConfig};
use crate::flow_map::smoothing;
use crate::nn::evidence::evidence;
use crate::nn::linear::{Linear, LinearConfig, LinearInit};
use crate::nn::time_embedding::TimeFeatures;
use crate::nn::{Fill, Pass, SiteShape, parameter};
use crate::rng::Stream;

/// A term that is added to the logits of the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Skip {
    /// No such term, as in the published networks.
    #[default]
    None,
    /// The evidence of a site's own noised vector under the Gaussian source, `min(s/(1-s)^2, cap) x`.
    ///
    /// The logits of the posterior are `log p(x_1 = k | other sites) + s x_k / (1-s)^2`, so the network only has to
    /// learn the first term, which stays bounded as s approaches 1.
    Evidence {
        /// Upper bound of the factor of `x`; above about 64 the class of the site is certain.
        cap: f64,
    },
}

impl Skip {
    fn add(self, z: Dual<3>, x: Dual<3>, s: Dual<1>) -> Dual<3> {
        let Self::Evidence { cap } = self else { return z };
        let [b, _, _] = z.dims();
        z + x * evidence(s, cap).linear(|v| v.reshape([b, 1, 1]))
    }
}

/// Configuration of a [`FlowMapModel`].
#[derive(Clone, Debug, PartialEq)]
pub struct FlowMapModelConfig<C = NetworkConfig> {
    /// The network.
    pub network: C,
    /// Term that is added to the logits.
    pub skip: Skip,
    /// Meaning of the output.
    pub parametrisation: Parametrisation,
    /// Whether the loss weight of pairs of times is learned ([`PairWeight`]).
    pub learned_weight: bool,
    /// Number of labels; `None` for a model without label conditioning.
    pub labels: Option<usize>,
    /// Label smoothing of the loss that trains the diagonal, in [0, 1); 0 for none.
    pub smoothing: f64,
    /// Length of the one-hot vectors of observed sites, as the network gets them.
    pub observed_length: f64,
}

impl<C: BackboneConfig> FlowMapModelConfig<C> {
    /// Number of parameters, counted before the model is made; `None` if that of the network is not known.
    pub fn parameters(&self, sites: SiteShape) -> Option<u128> {
        let labels = self.labels.map_or(0, |labels| {
            let width = self.network.label_width().unwrap_or(1);
            (labels as u128 + 1) * width as u128
        });
        let weight = if self.learned_weight { 2 * WEIGHT_FEATURES as u128 + 1 } else { 0 };
        Some(self.network.parameters(sites)? + labels + weight)
    }

    /// Makes the model with random initial weights.
    ///
    /// # Panics
    /// If the network does not support this shape of data, or `labels` is set and the network cannot take labels.
    pub fn init(&self, sites: SiteShape, device: &Device, stream: &mut Stream) -> FlowMapModel<C::Network> {
        let network = self.network.init(sites.clone(), device, stream);
        let pair_weight = self.learned_weight.then(|| PairWeight::init(device, stream));
        let labels = self.labels.map(|labels| {
            let width = network.label_width().expect("a model with labels has a network that takes labels");
            parameter([labels + 1, width], Fill::Normal(LABEL_SCALE), device, stream)
        });
        let Self { skip, parametrisation, smoothing, observed_length, .. } = *self;
        FlowMapModel { network, pair_weight, labels, skip, parametrisation, smoothing, observed_length, sites }
    }
}

/// Standard deviation of initial label embeddings: about that of the embedded times, to which they are added.
const LABEL_SCALE: f64 = 0.3;

/// The trained parameters: the network, the label embeddings and, if it is learned, the loss weight of pairs of times.
#[derive(Module, Debug)]
pub struct FlowMapModel<N: Module + Backbone = Network> {
    /// The network.
    pub network: N,
    /// Learned weight of the off-diagonal loss at a pair of times.
    pub pair_weight: Option<PairWeight>,
    /// Label embeddings, added to the embedded times, `[labels + 1, width]`; the last row stands for a hidden label.
    pub labels: Option<Param<Tensor<2>>>,
    #[module(skip)]
    skip: Skip,
    #[module(skip)]
    parametrisation: Parametrisation,
    #[module(skip)]
    smoothing: f64,
    #[module(skip)]
    observed_length: f64,
    #[module(skip)]
    sites: SiteShape,
}

impl<N: Backbone> FlowMapModel<N> {
    /// A model of the given network, with the endpoint parametrisation and without labels or skip.
    pub fn new(network: N, sites: SiteShape) -> Self {
        let (skip, parametrisation) = (Skip::None, Parametrisation::Endpoint);
        Self {
            network,
            pair_weight: None,
            labels: None,
            skip,
            parametrisation,
            smoothing: 0.0,
            observed_length: 1.0,
            sites,
        }
    }

    /// Shape of an item.
    pub fn sites(&self) -> SiteShape {
        self.sites.clone()
    }

    /// Number of labels; `None` for a model without label conditioning.
    pub fn label_count(&self) -> Option<usize> {
        self.labels.as_ref().map(|table| table.dims()[0] - 1)
    }

    fn label_vectors(&self) -> Option<Labels> {
        self.labels.as_ref().map(|table| Labels(table.val()))
    }

    /// The output of the network with the evidence skip, before any mask.
    fn unmasked(
        &self,
        x: Dual<3>,
        s: Dual<1>,
        t: Dual<1>,
        conditioning: &Conditioning,
        pass: &mut Pass<'_>,
    ) -> Dual<3> {
        let node_mask = self.sites.as_graph().and_then(|graph| {
            let mask = conditioning.site_mask.clone()?;
            Some(mask.slice_dim(1, 0..graph.nodes))
        });
        let batch = x.dims()[0];
        let label = self.label_vectors().map(|labels| labels.select(batch, conditioning.labels.as_ref()));
        let x = conditioning.show_observed(x, self.observed_length);
        let inputs = Inputs { label, node_mask, conditioning };
        let z = self.network.forward(x.clone(), s.clone(), t, &inputs, pass);
        self.skip.add(z, x, s)
    }

    /// The logits as the losses see them: at `s = t` those of the smoothed posterior, if the diagonal is trained with
    /// [label smoothing](crate::flow_map::config::ObjectiveConfig::smoothing).
    ///
    /// # Shapes
    /// As [`EndpointNet::logits`].
    pub(super) fn trained_logits(
        &self,
        x: Dual<3>,
        s: Dual<1>,
        t: Dual<1>,
        conditioning: &Conditioning,
        pass: &mut Pass<'_>,
    ) -> Dual<3> {
        self.masked(self.unmasked(x, s, t, conditioning, pass), conditioning)
    }

    fn masked(&self, z: Dual<3>, conditioning: &Conditioning) -> Dual<3> {
        match self.parametrisation {
            Parametrisation::Endpoint => Dual { value: conditioning.mask_logits(z.value), tangent: z.tangent },
            // Velocities of absent classes are zero, like their noise, so they need no mask.
            Parametrisation::Velocity => z,
        }
    }
}

impl<N: Backbone> EndpointNet for FlowMapModel<N> {
    fn logits(&self, x: Dual<3>, s: Dual<1>, t: Dual<1>, conditioning: &Conditioning, pass: &mut Pass<'_>) -> Dual<3> {
        if self.smoothing == 0.0 || self.parametrisation == Parametrisation::Velocity {
            return self.trained_logits(x, s, t, conditioning, pass);
        }
        let diagonal = s.value.clone().detach().equal(t.value.clone().detach());
        let z = self.unmasked(x, s, t, conditioning, pass);
        // The smoothed share was dealt to all classes of a site, whatever the sample may take of them.
        let live = conditioning.class_mask.as_ref();
        let z = Dual { value: conditioning.mask_classes(z.value), tangent: z.tangent };
        self.masked(smoothing::undo(z, self.smoothing, diagonal, live), conditioning)
    }

    fn parametrisation(&self) -> Parametrisation {
        self.parametrisation
    }

    fn factored(&self) -> Option<FactoredNet<'_>> {
        let endpoint = self.parametrisation == Parametrisation::Endpoint;
        let plain = self.skip == Skip::None && endpoint && self.smoothing == 0.0;
        let backbone = self.network.factored().filter(|_| plain)?;
        Some(FactoredNet::new(backbone, self.label_vectors()))
    }
}

/// The learned loss weight `exp(-w) L + w`, with `w(s, t)` linear in Fourier features of s and of t - s.
///
/// At the optimum `exp(w)` is the mean loss at the pair, so all pairs have equal weight. `L` should be a divergence,
/// which can reach zero; with a cross-entropy, `w` would mostly fit the entropy of the target.
///
/// Reference: Karras et al. 2024 (arXiv:2312.02696), eq. 21.
#[derive(Module, Debug)]
pub struct PairWeight {
    linear: Linear,
}

/// Fourier features of each of the two times.
const WEIGHT_FEATURES: usize = 64;

impl PairWeight {
    /// Weight one (`w = 0`) for every pair.
    pub fn init(device: &Device, stream: &mut Stream) -> Self {
        let zero = LinearConfig::new(2 * WEIGHT_FEATURES, 1).with_init(LinearInit::Zero);
        Self { linear: zero.init(device, stream) }
    }

    /// `w(s, t)`, `[batch]`.
    pub fn forward(&self, s: Tensor<1>, t: Tensor<1>) -> Tensor<1> {
        let features = |a: Tensor<1>| TimeFeatures::Fourier.features(a.into(), WEIGHT_FEATURES).value;
        let both = Tensor::cat(vec![features(s.clone()), features(t - s)], 1);
        self.linear.forward(both.into()).value.squeeze_dim(1)
    }
}
