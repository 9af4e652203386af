//! The graph transformer of the published molecule code, conditioned on a pair of times.
//!
//! Streams for nodes `X`, edges `E` and the whole graph `y`. In the attention every feature has its own scores, which
//! depend on the edges.
//!
//! ```text
//! Y_ij = (q_i k_j / sqrt(df)) (1 + W_mul E_ij) + W_add E_ij                 feature by feature
//! E'   = W_e( y_add + (1 + y_mul) Y )     X' = W_x( y_add' + (1 + y_mul') sum_j softmax_j(Y_ij) v_j )
//! y'   = MLP( W y + W pool(X) + W pool(E) )                                 pool = mean, min, max, standard deviation
//! X = norm(X + X'), X = norm(X + FF(X)); E and y likewise                   norm without weights
//! logits = MLP(X) + x, sym(MLP(E)) + e
//! ```
//!
//! References: Vignac et al. 2023 (arXiv:2209.14734) for the network; Roos et al. 2026 (arXiv:2602.12233) for its use
//! here.
//!
//! # Examples
//! Swapping the two nodes of a graph swaps their logits and leaves those of the pair as they are.
//! ```
//! use pushforward::burn::tensor::{Device, Tensor};
//! use pushforward::nn::graph_transformer::GraphTransformerConfig;
//! use pushforward::nn::{Pass, graph::GraphShape};
//! use pushforward::rng::{Purpose, stream};
//! use pushforward::tensor::to_host;
//!
//! let widths = [8; 3];
//! let (layers, heads, feed_forward, outer) = (1, 2, widths, widths);
//! let config = GraphTransformerConfig { layers, widths, feed_forward, outer, heads, ..Default::default() };
//! let graph = GraphShape { nodes: 2, node_classes: 2, edge_classes: 2 };
//! let net = config.init(graph, &Device::flex(), &mut stream(0, Purpose::Init, 0));
//! let logits = |nodes: [[f32; 2]; 2]| {
//!     let x = Tensor::<3>::from_data([[nodes[0], nodes[1], [0.5, 0.0]]], &Device::flex());
//!     let t = Tensor::<1>::full([1], 0.5, &Device::flex());
//!     to_host(&net.forward(x.into(), t.clone().into(), t.into(), None, None, &mut Pass::eval()).value)
//! };
//! let (a, b) = (logits([[1.0, 0.0], [0.3, 2.0]]), logits([[0.3, 2.0], [1.0, 0.0]]));
//! assert!([0, 1, 2, 3, 4, 5].iter().zip([2, 3, 0, 1, 4, 5]).all(|(&i, j)| (a[i] - b[j]).abs() < 1e-4));
//! ```

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::Pass;
use super::attention::check_heads;
use super::dropout::Dropout;
use super::edge_attention::{EdgeAttention, Mask};
use super::graph::GraphShape;
use super::graph_pooling::Pooling;
use super::linear::{Linear, LinearConfig, exact_product};
use super::norm::normalised;
use super::time_embedding::TimeFeatures;
use super::two_layers::TwoLayers;
use crate::dual::Dual;
use crate::rng::Stream;
use crate::setting::{DEPTH, SettingError, WIDTH, open_fraction, require, size};

/// Configuration of a [`GraphTransformer`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GraphTransformerConfig {
    /// Number of layers.
    pub layers: usize,
    /// Widths of the node, edge and graph streams.
    pub widths: [usize; 3],
    /// Hidden widths of the feed-forward layers of the three streams. The published constructor sets the last one to
    /// 2048, regardless of its presets.
    pub feed_forward: [usize; 3],
    /// Hidden widths of the node and edge networks at input and output, and of the time embedding.
    pub outer: [usize; 3],
    /// Number of attention heads. It only sets the scale of the scores, one over the root of the width of a head.
    pub heads: usize,
    /// Dropout on the branches of a layer, in training passes.
    pub dropout: f64,
    /// Normalisation of the node and graph streams; that of edges is always RMSNorm.
    pub norm: GraphNorm,
    /// Embedding of the times.
    pub time: GraphTime,
    /// The entries that are pooled.
    pub pooling: Pooling,
}

/// Normalisation of a stream, without learned weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GraphNorm {
    /// RMSNorm.
    #[default]
    Rms,
    /// LayerNorm.
    Layer,
}

/// Embedding of the start time and the length of the jump into the graph stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GraphTime {
    /// The features of both, concatenated, and two linear layers with ReLU.
    #[default]
    Concat,
    /// The features of both through linear maps with normalised weights, added, and a SiLU; each operation preserves
    /// magnitudes (Karras et al. 2024, arXiv:2312.02696).
    Sum,
}

impl Default for GraphTransformerConfig {
    /// The sizes behind the published QM9 figures.
    fn default() -> Self {
        Self {
            layers: 9,
            widths: [256, 64, 64],
            feed_forward: [256, 128, 128],
            outer: [256, 128, 128],
            heads: 8,
            dropout: 0.1,
            norm: GraphNorm::Rms,
            time: GraphTime::Concat,
            pooling: Pooling::Masked,
        }
    }
}

/// Features of each of the two times.
pub(super) const TIME_FEATURES: usize = 128;

impl GraphTransformerConfig {
    /// Checks the settings on their own, without the shape of the data.
    ///
    /// # Errors
    /// Names the key and its allowed values.
    pub fn validate(&self) -> Result<(), SettingError> {
        size("layers", self.layers, 0..=DEPTH)?;
        for (key, widths) in [("widths", self.widths), ("feed_forward", self.feed_forward), ("outer", self.outer)] {
            // The third of the outer widths is not used if times are added.
            let used = if key == "outer" && self.time == GraphTime::Sum { 2 } else { 3 };
            widths.into_iter().take(used).try_for_each(|width| size(key, width, 1..=WIDTH))?;
        }
        open_fraction("dropout", self.dropout)?;
        check_heads(self.heads, self.widths[0], 1)
    }

    /// Checks the settings against the shape of a graph.
    ///
    /// # Errors
    /// Names the key and its allowed values.
    pub fn check(&self, graph: GraphShape) -> Result<(), SettingError> {
        self.validate()?;
        require(graph.nodes >= 2, "kind", "needs graphs of at least 2 nodes")
    }

    /// Makes the network with random initial weights.
    ///
    /// # Panics
    /// If [`GraphTransformerConfig::check`] fails.
    pub fn init(&self, graph: GraphShape, device: &Device, stream: &mut Stream) -> GraphTransformer {
        let [dx, de, dy] = self.widths;
        let [hx, he, hy] = self.outer;
        if let Err(problem) = self.check(graph) {
            panic!("{problem}");
        }
        let mut two = |i: usize, h: usize, o: usize| TwoLayers::init([i, h, o], device, stream);
        let nodes_in = two(graph.node_classes, hx, dx);
        let edges_in = two(graph.edge_classes, he, de);
        let nodes_out = two(dx, hx, graph.node_classes);
        let edges_out = two(de, he, graph.edge_classes);
        GraphTransformer {
            time: match self.time {
                GraphTime::Concat => TimeEncoder::Concat(TwoLayers::init([2 * TIME_FEATURES, hy, dy], device, stream)),
                GraphTime::Sum => {
                    let map = LinearConfig::new(TIME_FEATURES, dy).without_bias();
                    TimeEncoder::Sum(TimeSum { start: map.init(device, stream), length: map.init(device, stream) })
                }
            },
            nodes_in,
            edges_in,
            layers: (0..self.layers).map(|_| Layer::init(self, device, stream)).collect(),
            nodes_out,
            edges_out,
            graph,
        }
    }
}

/// The network, made by [`GraphTransformerConfig::init`].
#[derive(Module, Debug)]
pub struct GraphTransformer {
    /// Embedding of the times into the graph stream.
    pub time: TimeEncoder,
    /// Embedding of nodes.
    pub nodes_in: TwoLayers,
    /// Embedding of edges.
    pub edges_in: TwoLayers,
    /// The layers.
    pub layers: Vec<Layer>,
    /// Map to logits of nodes.
    pub nodes_out: TwoLayers,
    /// Map to logits of edges.
    pub edges_out: TwoLayers,
    #[module(skip)]
    graph: GraphShape,
}

impl GraphTransformer {
    /// Logits of the endpoint; zero for classes that a site does not have.
    ///
    /// `diagonal` is added to the diagonal of the edge matrix, which is zero otherwise. The published sampler starts
    /// from noise there, unlike the published training.
    ///
    /// # Shapes
    /// - `x`: `[batch, sites, classes]`
    /// - `s`, `t`: `[batch]`
    /// - `node_mask`: `[batch, nodes]`, one for nodes that exist and zero for padding
    /// - `diagonal`: `[batch, nodes, edge_classes]`
    /// - output: `[batch, sites, classes]`
    pub fn forward(
        &self,
        x: Dual<3>,
        s: Dual<1>,
        t: Dual<1>,
        node_mask: Option<&Tensor<2>>,
        diagonal: Option<&Tensor<3>>,
        pass: &mut Pass<'_>,
    ) -> Dual<3> {
        let [b, _, _] = x.dims();
        let n = self.graph.nodes;
        let mask = Mask::new(b, n, node_mask, &x.value);
        let (nodes, pairs) = self.graph.split(x);
        let mut edges = self.graph.matrix(pairs.clone());
        if let Some(diagonal) = diagonal {
            let on = Tensor::<2>::eye(n, &edges.value.device()).cast(edges.value.dtype()).reshape([1, n, n, 1]);
            edges = edges + (diagonal.clone().unsqueeze_dim::<4>(2) * on).into();
        }
        let mut y = self.time.forward(s, t);
        let mut h = mask.nodes(self.nodes_in.forward_relu(nodes.clone()));
        let e = self.edges_in.forward_relu(edges);
        let mut e = mask.edges((e.clone() + e.linear(|e| e.swap_dims(1, 2))).scale(0.5));
        for layer in &self.layers {
            (h, e, y) = layer.forward(h, e, y, &mask, pass);
        }
        let nodes = self.nodes_out.forward(h) + nodes;
        let pairs = self.graph.upper(self.edges_out.forward(e)) + pairs;
        self.graph.join(nodes, pairs)
    }
}

/// Embedding of the times.
#[derive(Module, Debug)]
pub enum TimeEncoder {
    /// [`GraphTime::Concat`].
    Concat(TwoLayers),
    /// [`GraphTime::Sum`].
    Sum(TimeSum),
}

/// The two linear maps of [`GraphTime::Sum`].
#[derive(Module, Debug)]
pub struct TimeSum {
    /// For the start time.
    pub start: Linear,
    /// For the length of the jump.
    pub length: Linear,
}

impl TimeEncoder {
    fn forward(&self, s: Dual<1>, t: Dual<1>) -> Dual<2> {
        let length = t + s.clone().scale(-1.0);
        let features = |a: Dual<1>| TimeFeatures::Sinusoidal.features(a, TIME_FEATURES).scale(std::f64::consts::SQRT_2);
        let (s, length) = (features(s), features(length));
        match self {
            Self::Concat(net) => net.forward_relu(Dual::cat(vec![s, length], 1)),
            Self::Sum(sum) => {
                let sum = magnitude_preserving(&sum.start, s) + magnitude_preserving(&sum.length, length);
                sum.scale(std::f64::consts::FRAC_1_SQRT_2).silu().scale(1.0 / 0.596)
            }
        }
    }
}

/// A magnitude-preserving linear map: every column of the weights is normalised to unit length.
fn magnitude_preserving(map: &Linear, x: Dual<2>) -> Dual<2> {
    let w = map.weight.val();
    let norm = (w.clone() * w.clone()).sum_dim(0).sqrt() + 1e-4 * (w.dims()[0] as f64).sqrt();
    let w = w / norm;
    x.linear(|x| exact_product(x, w.clone()))
}

/// One layer.
#[derive(Module, Debug)]
pub struct Layer {
    /// The attention.
    pub attention: EdgeAttention,
    /// Feed-forward layers of nodes.
    pub nodes: TwoLayers,
    /// Feed-forward layers of edges.
    pub edges: TwoLayers,
    /// Feed-forward layers of the graph.
    pub graph: TwoLayers,
    dropout: Dropout,
    #[module(skip)]
    centred: bool,
}

impl Layer {
    fn init(config: &GraphTransformerConfig, device: &Device, stream: &mut Stream) -> Self {
        let [dx, de, dy] = config.widths;
        let [fx, fe, fy] = config.feed_forward;
        Self {
            attention: EdgeAttention::init(config.widths, config.heads, config.pooling, device, stream),
            nodes: TwoLayers::init([dx, fx, dx], device, stream),
            edges: TwoLayers::init([de, fe, de], device, stream),
            graph: TwoLayers::init([dy, fy, dy], device, stream),
            dropout: Dropout::new(config.dropout),
            centred: config.norm == GraphNorm::Layer,
        }
    }

    fn forward(
        &self,
        x: Dual<3>,
        e: Dual<4>,
        y: Dual<2>,
        mask: &Mask,
        pass: &mut Pass<'_>,
    ) -> (Dual<3>, Dual<4>, Dual<2>) {
        let (dx, de, dy) = self.attention.forward(x.clone(), e.clone(), y.clone(), mask);
        let x = normalised(x + self.dropout.forward(dx, pass), self.centred, EPS);
        let e = normalised(e + self.dropout.forward(de, pass), false, EPS);
        let y = normalised(y + self.dropout.forward(dy, pass), self.centred, EPS);
        let x = normalised(x.clone() + self.branch(&self.nodes, x, pass), self.centred, EPS);
        let e = normalised(e.clone() + self.branch(&self.edges, e, pass), false, EPS);
        let y = normalised(y.clone() + self.branch(&self.graph, y, pass), self.centred, EPS);
        match self.attention.pooling() {
            Pooling::Masked => (mask.nodes(x), mask.edges(e), y),
            // As published: the next layer pools what residuals and norms left in the padding.
            Pooling::Padded => (x, e, y),
        }
    }

    fn branch<const D: usize>(&self, net: &TwoLayers, x: Dual<D>, pass: &mut Pass<'_>) -> Dual<D> {
        let hidden = self.dropout.forward(net.first.forward_relu(x), pass);
        self.dropout.forward(net.second.forward(hidden), pass)
    }
}

const EPS: f64 = 1e-5;
