//! The networks of the family behind one door, and the model that training optimises.

use std::ops::Range;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::dual::Dual;
use crate::flow_map::allowed::Allowed;
use crate::flow_map::map::Parametrisation;
use crate::nn::dit::{Dit, DitConfig};
use crate::nn::graph_transformer::{GraphTransformer, GraphTransformerConfig};
use crate::nn::linear::{Linear, LinearConfig, LinearInit};
use crate::nn::mlp::{Mlp, MlpConfig};
use crate::nn::pair_transformer::{PairTransformer, PairTransformerConfig};
use crate::nn::time_embedding::TimeFeatures;
use crate::nn::unet::{Unet, UnetConfig};
use crate::nn::{Pass, SiteShape};
use crate::pairs::ABSENT;
use crate::rng::Stream;
use crate::tensor::{from_host, indices};

/// A function of a point and two times with one vector per site.
pub trait EndpointNet {
    /// Logits of the endpoint (velocities, for the unconstrained baseline).
    ///
    /// # Shapes
    /// - `x`: `[batch, sites, classes]`
    /// - `s`, `t`: `[batch]`
    /// - output: `[batch, sites, classes]`
    fn logits(&self, x: Dual<3>, s: Dual<1>, t: Dual<1>, given: &Given, pass: &mut Pass<'_>) -> Dual<3>;
}

/// What is known of the items of a batch from the start; nothing, for all but graphs and constrained samples.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// Which sites an item has, `[batch, sites]`, one or zero.
    pub present: Option<Tensor<2>>,
    /// Which classes a site has, `[1, sites, classes]`, one or zero.
    pub open: Option<Tensor<3>>,
    /// Which classes a sample may take, `[1, sites, classes]`, one or zero. It closes logits and leaves the noise alone, which
    /// stays what the network was trained on.
    pub allowed: Option<Tensor<3>>,
    /// Noise on the diagonal of the edge matrix, `[batch, nodes, edge classes]`, as the published sampler of graphs has it at
    /// time 0 and the published training never; only the published graph network takes it.
    pub diagonal: Option<Tensor<3>>,
}

/// The logit of a class that a site does not have: finite, and nothing after a softmax.
const CLOSED: f64 = -1e9;

impl Given {
    /// For items of these numbers of nodes, where the sites are those of a graph.
    pub fn of_sizes<const D: usize>(sites: SiteShape, nodes: &[usize], like: &Tensor<D>) -> Self {
        let Some(graph) = sites.as_graph() else { return Self::default() };
        let values: Vec<f64> = nodes.iter().flat_map(|&n| graph.sites_of(n)).collect();
        let present = from_host(&values, [nodes.len(), sites.count], like);
        Self { present: Some(present), open: Some(graph.live(like)), ..Self::default() }
    }

    /// For items as class indices, [`ABSENT`] where an item has no such site.
    pub fn of_items<const D: usize>(sites: SiteShape, ids: &[u32], like: &Tensor<D>) -> Self {
        Self::of_sizes(sites, &sizes(sites, ids), like)
    }

    /// The same under a constraint.
    pub fn restrict<const D: usize>(self, allowed: Option<&Allowed>, like: &Tensor<D>) -> Self {
        Self { allowed: allowed.map(|a| a.tensor(like)), ..self }
    }

    /// Items in another order, or several times.
    pub fn select(&self, items: &[u32]) -> Self {
        let pick = |device: &Device| indices(items, [items.len()], device);
        Self {
            present: self.present.clone().map(|p| p.clone().select(0, pick(&p.device()))),
            open: self.open.clone(),
            allowed: self.allowed.clone(),
            diagonal: self.diagonal.clone().map(|d| d.clone().select(0, pick(&d.device()))),
        }
    }

    /// Some of the items.
    pub fn slice(&self, items: Range<usize>) -> Self {
        Self {
            present: self.present.clone().map(|p| p.slice_dim(0, items.clone())),
            open: self.open.clone(),
            allowed: self.allowed.clone(),
            diagonal: self.diagonal.clone().map(|d| d.slice_dim(0, items)),
        }
    }

    /// Zeroes the entries that an item does not have.
    ///
    /// # Shapes
    /// - `x`, output: `[batch, sites, classes]`
    pub fn keep(&self, x: Tensor<3>) -> Tensor<3> {
        let x = match &self.open {
            Some(open) => x * open.clone(),
            None => x,
        };
        match &self.present {
            Some(present) => x * present.clone().unsqueeze_dim(2),
            None => x,
        }
    }

    /// Noise that only stands where an item has something, and is `edge_noise` times as large on pairs of nodes.
    ///
    /// # Shapes
    /// - `x0`, output: `[batch, sites, classes]`
    pub fn noise(&self, x0: Tensor<3>, sites: SiteShape, edge_noise: f64) -> Tensor<3> {
        let x0 = self.keep(x0);
        match sites.as_graph() {
            Some(graph) if edge_noise != 1.0 => {
                let scales: Vec<f64> =
                    (0..sites.count).map(|i| if i < graph.nodes { 1.0 } else { edge_noise }).collect();
                let scales: Tensor<3> = from_host(&scales, [1, sites.count, 1], &x0);
                x0 * scales
            }
            _ => x0,
        }
    }

    /// Puts the logits of classes that a site does not have, or may not take, where a softmax gives them nothing.
    ///
    /// # Shapes
    /// - `z`, output: `[batch, sites, classes]`
    pub fn close(&self, z: Tensor<3>) -> Tensor<3> {
        let shut = |z: Tensor<3>, mask: &Tensor<3>| z + (mask.clone().neg() + 1.0) * CLOSED;
        [&self.open, &self.allowed].into_iter().flatten().fold(z, shut)
    }
}

/// Numbers of nodes of items of graphs; empty for items of other shapes.
pub fn sizes(sites: SiteShape, ids: &[u32]) -> Vec<usize> {
    let Some(graph) = sites.as_graph() else { return Vec::new() };
    ids.chunks(sites.count).map(|item| item[..graph.nodes].iter().filter(|&&id| id != ABSENT).count()).collect()
}

/// Which network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum NetworkConfig {
    /// Transformer.
    Dit(DitConfig),
    /// Convolutional, for images.
    Unet(UnetConfig),
    /// Perceptron, for tiny problems.
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
}

impl FlowMapModelConfig {
    /// Draws the weights.
    pub fn init(&self, sites: SiteShape, device: &Device, stream: &mut Stream) -> FlowMapModel {
        FlowMapModel {
            network: self.network.init(sites, device, stream),
            pair_weight: self.learned_weight.then(|| PairWeight::init(device, stream)),
            skip: self.skip,
            parametrisation: self.parametrisation,
            sites,
        }
    }
}

/// What training optimises: the network and, where it is learned, the loss weight of the pairs of times.
#[derive(Module, Debug)]
pub struct FlowMapModel {
    /// The network.
    pub network: Network,
    /// Log-variance of the off-diagonal loss at a pair of times.
    pub pair_weight: Option<PairWeight>,
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
}

impl EndpointNet for FlowMapModel {
    fn logits(&self, x: Dual<3>, s: Dual<1>, t: Dual<1>, given: &Given, pass: &mut Pass<'_>) -> Dual<3> {
        let nodes = || {
            let graph = self.sites.as_graph()?;
            Some(given.present.clone()?.slice_dim(1, 0..graph.nodes))
        };
        let z = match &self.network {
            Network::Dit(net) => net.forward(x.clone(), s.clone(), t, pass),
            Network::Unet(net) => net.forward(x.clone(), s.clone(), t, pass),
            Network::Mlp(net) => net.forward(x.clone(), s.clone(), t),
            Network::GraphTransformer(net) => {
                net.forward(x.clone(), s.clone(), t, nodes().as_ref(), given.diagonal.as_ref(), pass)
            }
            Network::PairTransformer(net) => net.forward(x.clone(), s.clone(), t, nodes().as_ref(), pass),
        };
        let z = self.skip.add(z, x, s);
        match self.parametrisation {
            Parametrisation::Endpoint => Dual { value: given.close(z.value), tangent: z.tangent },
            // A velocity is zero there, like the noise.
            Parametrisation::Velocity => z,
        }
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
