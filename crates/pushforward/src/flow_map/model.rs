//! The trainable model: a network with labels, observed sites, masks and what else is learned beside it.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::dual::Dual;
use crate::flow_map::backbone::{Backbone, BackboneConfig, EndpointNet, FactoredNet, Inputs, Labels, Parametrisation};
use crate::flow_map::conditioning::Conditioning;
use crate::flow_map::network::{Network, NetworkConfig};
use crate::nn::linear::{Linear, LinearConfig, LinearInit};
use crate::nn::time_embedding::TimeFeatures;
use crate::nn::{Fill, Pass, SiteShape, parameter};
use crate::rng::Stream;

/// What the last layer adds to the logits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Skip {
    /// Nothing: the published networks.
    #[default]
    None,
    /// The evidence of a site's own noised vector under the Gaussian source, `min(s/(1-s)^2, cap) x`.
    ///
    /// The posterior's logits are `log p(x_1 = k | other sites) + s x_k / (1-s)^2`, so the network is left with the first
    /// part, which does not grow as s nears 1.
    Evidence {
        /// Largest factor; beyond about 64 the site is decided.
        cap: f64,
    },
}

impl Skip {
    fn add(self, z: Dual<3>, x: Dual<3>, s: Dual<1>) -> Dual<3> {
        let Self::Evidence { cap } = self else { return z };
        let [b, _, _] = z.dims();
        // In r = s/(1-s) the factor is r (1 + r); r is capped instead, which also bounds the division.
        let r_max = 0.5 * ((1.0 + 4.0 * cap).sqrt() - 1.0);
        let s_max = r_max / (1.0 + r_max);
        let below = s.value.clone().detach().lower_equal_scalar(s_max);
        let evidence = |s: Tensor<1>| {
            let s = s.clamp_max(s_max);
            let rest = s.clone().neg() + 1.0;
            s / (rest.clone() * rest)
        };
        let slope = |s: Tensor<1>| {
            let c = s.clamp_max(s_max);
            let rest = c.clone().neg() + 1.0;
            let slope = (c + 1.0) / (rest.clone() * rest.clone() * rest);
            slope.mask_fill(below.bool_not(), 0.0)
        };
        z + x * s.elementwise(evidence, slope).linear(|v| v.reshape([b, 1, 1]))
    }
}

/// Configuration of a [`FlowMapModel`].
#[derive(Clone, Debug, PartialEq)]
pub struct FlowMapModelConfig<C = NetworkConfig> {
    /// The network.
    pub network: C,
    /// What the last layer adds.
    pub skip: Skip,
    /// What the output means.
    pub parametrisation: Parametrisation,
    /// Whether the loss weight of the pairs of times is learned.
    pub learned_weight: bool,
    /// Number of labels of a model that takes labels.
    pub labels: Option<usize>,
}

impl<C: BackboneConfig> FlowMapModelConfig<C> {
    /// Draws the weights.
    ///
    /// # Panics
    /// If the network does not fit the sites, or takes no labels.
    pub fn init(&self, sites: SiteShape, device: &Device, stream: &mut Stream) -> FlowMapModel<C::Network> {
        let network = self.network.init(sites, device, stream);
        let pair_weight = self.learned_weight.then(|| PairWeight::init(device, stream));
        let labels = self.labels.map(|labels| {
            let width = network.label_width().expect("this network takes no labels");
            parameter([labels + 1, width], Fill::Normal(LABEL_SCALE), device, stream)
        });
        FlowMapModel { network, pair_weight, labels, skip: self.skip, parametrisation: self.parametrisation, sites }
    }
}

/// Deviation of the initial vectors of labels: that of the embedded times.
const LABEL_SCALE: f64 = 0.3;

/// What training optimises: the network, the vectors of labels and, where it is learned, the loss weight of the pairs of times.
#[derive(Module, Debug)]
pub struct FlowMapModel<N: Module + Backbone = Network> {
    /// The network.
    pub network: N,
    /// Log-variance of the off-diagonal loss at a pair of times.
    pub pair_weight: Option<PairWeight>,
    /// What is added to the embedded times for every label, the last row for a hidden one: `[labels + 1, width]`.
    pub labels: Option<Param<Tensor<2>>>,
    #[module(skip)]
    skip: Skip,
    #[module(skip)]
    parametrisation: Parametrisation,
    #[module(skip)]
    sites: SiteShape,
}

impl<N: Backbone> FlowMapModel<N> {
    /// A model of a network that was made by hand, for endpoints, without labels.
    pub fn new(network: N, sites: SiteShape) -> Self {
        let (skip, parametrisation) = (Skip::None, Parametrisation::Endpoint);
        Self { network, pair_weight: None, labels: None, skip, parametrisation, sites }
    }

    /// What the model computes on.
    pub fn sites(&self) -> SiteShape {
        self.sites
    }

    /// Number of labels of a model that takes labels.
    pub fn label_count(&self) -> Option<usize> {
        self.labels.as_ref().map(|table| table.dims()[0] - 1)
    }

    fn label_vectors(&self) -> Option<Labels> {
        self.labels.as_ref().map(|table| Labels(table.val()))
    }
}

impl<N: Backbone> EndpointNet for FlowMapModel<N> {
    fn logits(&self, x: Dual<3>, s: Dual<1>, t: Dual<1>, conditioning: &Conditioning, pass: &mut Pass<'_>) -> Dual<3> {
        let node_mask = self.sites.as_graph().and_then(|graph| {
            let mask = conditioning.site_mask.clone()?;
            Some(mask.slice_dim(1, 0..graph.nodes))
        });
        let batch = x.dims()[0];
        let label = self.label_vectors().map(|labels| labels.select(batch, conditioning.labels.as_ref()));
        let x = conditioning.show_observed(x);
        let inputs = Inputs { label, node_mask, conditioning };
        let z = self.network.forward(x.clone(), s.clone(), t, &inputs, pass);
        let z = self.skip.add(z, x, s);
        match self.parametrisation {
            Parametrisation::Endpoint => Dual { value: conditioning.mask_logits(z.value), tangent: z.tangent },
            // A velocity is zero there, like the noise.
            Parametrisation::Velocity => z,
        }
    }

    fn parametrisation(&self) -> Parametrisation {
        self.parametrisation
    }

    fn factored(&self) -> Option<FactoredNet<'_>> {
        let plain = self.skip == Skip::None && self.parametrisation == Parametrisation::Endpoint;
        let backbone = self.network.factored().filter(|_| plain)?;
        Some(FactoredNet::new(backbone, self.label_vectors()))
    }
}

/// The learned loss weight `exp(-w) L + w`, with `w(s, t)` linear in Fourier features of s and of t - s.
///
/// At the optimum `exp(w)` is the mean loss at the pair, so every pair counts alike. Feed it divergences, which can reach
/// zero; a cross-entropy would make it fit the target's entropy. Reference: Karras et al. 2024 (arXiv:2312.02696), eq. 21.
#[derive(Module, Debug)]
pub struct PairWeight {
    linear: Linear,
}

/// Fourier features of each of the two times.
const WEIGHT_FEATURES: usize = 64;

impl PairWeight {
    /// Starts at weight one for every pair.
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
