//! The networks of the family behind one door, and the model that training optimises.

use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor};
use serde::{Deserialize, Serialize};

use crate::dual::Dual;
pub use crate::flow_map::conditioning::{Conditioning, sizes};
use crate::flow_map::map::Parametrisation;
use crate::flow_map::sample::large_vocabulary::Factored;
use crate::nn::dit::{Dit, DitConfig};
use crate::nn::graph_transformer::{GraphTransformer, GraphTransformerConfig};
use crate::nn::linear::{Linear, LinearConfig, LinearInit};
use crate::nn::mlp::{Mlp, MlpConfig};
use crate::nn::pair_transformer::{PairTransformer, PairTransformerConfig};
use crate::nn::time_embedding::TimeFeatures;
use crate::nn::unet::{Unet, UnetConfig};
use crate::nn::{Fill, Pass, SiteShape, parameter};
use crate::rng::Stream;
use crate::tensor::indices;

/// A function of a point and two times with one vector per site.
pub trait EndpointNet {
    /// Logits of the endpoint (velocities, for the unconstrained baseline).
    ///
    /// # Shapes
    /// - `x`: `[batch, sites, classes]`
    /// - `s`, `t`: `[batch]`
    /// - output: `[batch, sites, classes]`
    fn logits(&self, x: Dual<3>, s: Dual<1>, t: Dual<1>, given: &Conditioning, pass: &mut Pass<'_>) -> Dual<3>;

    /// Passes through a network that one call takes.
    fn passes(&self) -> u64 {
        1
    }

    /// The network cut at its first and last layer, where [its samples](crate::flow_map::sample::large_vocabulary) need not hold points.
    fn ends(&self) -> Option<&dyn Factored> {
        None
    }
}

/// Which network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum NetworkConfig {
    /// Transformer.
    Dit(DitConfig),
    /// Convolutional, for images.
    Unet(UnetConfig),
    /// Perceptron, for small problems.
    Mlp(MlpConfig),
    /// The published network for graphs.
    GraphTransformer(GraphTransformerConfig),
    /// Our own network for graphs.
    PairTransformer(PairTransformerConfig),
}

/// A network of the family.
#[derive(Module, Debug)]
pub enum Network {
    /// Transformer.
    Dit(Dit),
    /// Convolutional.
    Unet(Unet),
    /// Perceptron.
    Mlp(Mlp),
    /// The published network for graphs.
    GraphTransformer(GraphTransformer),
    /// Our own network for graphs.
    PairTransformer(PairTransformer),
}

impl NetworkConfig {
    /// Width of the condition on times, which classes of items join; nothing for a network that cannot be told of them.
    pub fn condition_width(&self) -> Option<usize> {
        match self {
            Self::Dit(config) => Some(config.cond),
            Self::Unet(config) => Some(config.cond()),
            Self::Mlp(config) => Some(config.width),
            Self::PairTransformer(config) => Some(config.cond),
            Self::GraphTransformer(_) => None,
        }
    }

    /// Draws the weights.
    ///
    /// # Panics
    /// If the network does not fit the sites.
    pub fn init(&self, sites: SiteShape, device: &Device, stream: &mut Stream) -> Network {
        let graph = || sites.as_graph().unwrap_or_else(|| panic!("a graph network needs a graph: {sites:?}"));
        match self {
            Self::GraphTransformer(config) => Network::GraphTransformer(config.init(graph(), device, stream)),
            Self::PairTransformer(config) => Network::PairTransformer(config.init(graph(), device, stream)),
            Self::Dit(config) => Network::Dit(config.init(sites, device, stream)),
            Self::Unet(config) => Network::Unet(config.init(sites, device, stream)),
            Self::Mlp(config) => Network::Mlp(config.init(sites, device, stream)),
        }
    }
}

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
pub struct FlowMapModelConfig {
    /// The network.
    pub network: NetworkConfig,
    /// What the last layer adds.
    pub skip: Skip,
    /// What the output means.
    pub parametrisation: Parametrisation,
    /// Whether the loss weight of the pairs is learned.
    pub learned_weight: bool,
    /// Number of labels that the model can be told; none for a model without that condition.
    pub labels: Option<usize>,
}

impl FlowMapModelConfig {
    /// Draws the weights.
    ///
    /// # Panics
    /// If the network does not fit the sites, or cannot be told of labels.
    pub fn init(&self, sites: SiteShape, device: &Device, stream: &mut Stream) -> FlowMapModel {
        let labels = |labels: usize, stream: &mut Stream| {
            let width = self.network.condition_width().expect("the published graph network cannot be told of labels");
            parameter([labels + 1, width], Fill::Normal(LABEL_SCALE), device, stream)
        };
        FlowMapModel {
            network: self.network.init(sites, device, stream),
            pair_weight: self.learned_weight.then(|| PairWeight::init(device, stream)),
            labels: self.labels.map(|n| labels(n, stream)),
            skip: self.skip,
            parametrisation: self.parametrisation,
            sites,
        }
    }
}

/// Deviation of the numbers that stand for a label at first: that of the embedded times.
const LABEL_SCALE: f64 = 0.3;

/// What training optimises: the network and, where it is learned, the loss weight of the pairs of times.
#[derive(Module, Debug)]
pub struct FlowMapModel {
    /// The network.
    pub network: Network,
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

impl FlowMapModel {
    /// What the model computes on.
    pub fn sites(&self) -> SiteShape {
        self.sites
    }

    /// Number of labels that the model can be told, if it can.
    pub fn label_count(&self) -> Option<usize> {
        self.labels.as_ref().map(|table| table.dims()[0] - 1)
    }

    fn dit(&self) -> &Dit {
        match &self.network {
            Network::Dit(net) => net,
            _ => unreachable!("only a transformer has linear ends"),
        }
    }

    /// What is added to the embedded times of a batch.
    fn told(&self, batch: usize, labels: Option<&Tensor<1, Int>>) -> Option<Tensor<2>> {
        let table = self.labels.as_ref()?.val();
        let [rows, _] = table.dims();
        let labels =
            labels.cloned().unwrap_or_else(|| indices(&vec![rows as u32 - 1; batch], [batch], &table.device()));
        Some(table.select(0, labels))
    }
}

impl EndpointNet for FlowMapModel {
    fn logits(&self, x: Dual<3>, s: Dual<1>, t: Dual<1>, given: &Conditioning, pass: &mut Pass<'_>) -> Dual<3> {
        let nodes = || {
            let graph = self.sites.as_graph()?;
            Some(given.present.clone()?.slice_dim(1, 0..graph.nodes))
        };
        let told = self.told(x.dims()[0], given.labels.as_ref());
        let x = given.seen(x);
        let z = match &self.network {
            Network::Dit(net) => net.forward(x.clone(), s.clone(), t, told, pass),
            Network::Unet(net) => net.forward(x.clone(), s.clone(), t, told, pass),
            // It reads everything: what an item does not have is nothing to it, whatever a jump has left there.
            Network::Mlp(net) => net.forward(x.clone().linear(|x| given.keep(x)), s.clone(), t, told),
            Network::GraphTransformer(net) => {
                net.forward(x.clone(), s.clone(), t, nodes().as_ref(), given.diagonal.as_ref(), pass)
            }
            Network::PairTransformer(net) => net.forward(x.clone(), s.clone(), t, told, nodes().as_ref(), pass),
        };
        let z = self.skip.add(z, x, s);
        match self.parametrisation {
            Parametrisation::Endpoint => Dual { value: given.close(z.value), tangent: z.tangent },
            // A velocity is zero there, like the noise.
            Parametrisation::Velocity => z,
        }
    }

    /// Where there are more classes than features.
    fn ends(&self) -> Option<&dyn Factored> {
        let Network::Dit(net) = &self.network else { return None };
        let [token, width] = net.input.projection.weight.dims();
        let plain = self.skip == Skip::None && self.parametrisation == Parametrisation::Endpoint;
        (plain && token == self.sites.classes && token > width).then_some(self)
    }
}

impl Factored for FlowMapModel {
    fn read(&self, x: Tensor<3>) -> Tensor<3> {
        self.dit().read(x)
    }

    fn features(&self, read: Tensor<3>, s: Tensor<1>, t: Tensor<1>, given: &Conditioning) -> Tensor<3> {
        let told = self.told(read.dims()[0], given.labels.as_ref());
        self.dit().features_of(read, s, t, told)
    }

    fn logits(&self, features: Tensor<3>, given: &Conditioning) -> Tensor<3> {
        given.close(self.dit().logits_of(features))
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
