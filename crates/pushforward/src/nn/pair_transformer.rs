//! A transformer on the nodes and the unordered pairs of nodes of a graph, conditioned on a pair of times.
//!
//! Every unordered pair is stored once, so edges take half the cost of an edge matrix and are symmetric by
//! construction. Pairs add a bias to the attention scores of each head. Padding does not change the result.
//!
//! ```text
//! c = SiLU(emb(s)) + SiLU(emb(t-s)) + W n/N           n of N nodes exist; adaLN-zero modulation by c, see dit
//! m = LN(h) (1 + scale) + shift                        p = LN(e)
//! h = h + gate  W_o [ Attn(m; bias = W_b p),  sum of p over the pairs of a node ]
//! h = h + gate' MLP( LN(h) (1 + scale') + shift' )
//! e = e + gate'' W_2 GELU( W_1 (LN(e) (1 + scale'') + shift'') + W_n m_i + W_n m_j )
//! logits = W_x LN(h), W_e LN(e)                        modulated
//! ```
//!
//! By default the network is equivariant to permutations of the nodes. With `positions` it adds learned position
//! embeddings `P` of nodes and pairs, `h = W x + P_i` and `e = W x + P_ij`. If the order of nodes in the data is
//! canonical, as in canonical SMILES, the network then has to learn one order of each graph instead of all (Yan et al.
//! 2023, arXiv:2307.01646).
//!
//! Optional structural features are powers of the random walk on the soft adjacency `a_ij = sum of e_ij over bonds`,
//! clamped to `[0, 1]` (relative random-walk probabilities: Ma et al. 2023, arXiv:2305.17589).
//!
//! # Examples
//! The last layers start at zero, so before training every endpoint is uniform.
//! ```
//! use pushforward::burn::tensor::{Device, Tensor};
//! use pushforward::nn::pair_transformer::PairTransformerConfig;
//! use pushforward::nn::{Pass, graph::GraphShape};
//! use pushforward::rng::{Purpose, stream};
//! use pushforward::tensor::to_host;
//!
//! let config = PairTransformerConfig { width: 8, pair_width: 4, blocks: 1, heads: 2, cond: 8, ..Default::default() };
//! let graph = GraphShape { nodes: 3, node_classes: 2, edge_classes: 2 };
//! let (device, mut random) = (Device::flex(), stream(0, Purpose::Init, 0));
//! let net = config.init(graph, &device, &mut random);
//! let (x, time) = (Tensor::<3>::ones([1, 3 + 3, 2], &device), Tensor::<1>::zeros([1], &device));
//! let z = net.forward(x.into(), time.clone().into(), time.into(), None, None, &mut Pass::eval());
//! assert_eq!(to_host(&z.value), [0.0; 6 * 2]);
//! ```

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::attention::{biased_attention, check_heads};
use super::dropout::Dropout;
use super::graph::GraphShape;
use super::linear::{Linear, LinearConfig, LinearInit};
use super::modulation::{Modulation, gated};
use super::norm::LayerNorm;
use super::time_embedding::{PairEmbedding, TimeFeatures};
use super::{Fill, Pass, parameter};
use crate::dual::Dual;
use crate::rng::Stream;
use crate::setting::{DEPTH, EXPANSION, SettingError, WIDTH, open_fraction, pairs_of_features, require, size};

/// Configuration of a [`PairTransformer`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PairTransformerConfig {
    /// Width of the node stream.
    pub width: usize,
    /// Width of the pair stream.
    pub pair_width: usize,
    /// Number of blocks.
    pub blocks: usize,
    /// Number of attention heads; must divide the width.
    pub heads: usize,
    /// Width of the conditioning vector (embedded times, labels and number of nodes).
    pub cond: usize,
    /// Hidden width of the feed-forward layers, as a multiple of the width of their stream.
    pub expansion: usize,
    /// Dropout on all branches, in training passes.
    pub dropout: f64,
    /// Kind of time features.
    pub time: TimeFeatures,
    /// Number of time features.
    pub time_width: usize,
    /// Number of powers of the random walk that are added to the features of nodes and pairs; 0 for none.
    pub walk: usize,
    /// Whether nodes and pairs have position embeddings: for data with a canonical order of nodes.
    pub positions: bool,
}

impl Default for PairTransformerConfig {
    fn default() -> Self {
        Self {
            width: 128,
            pair_width: 64,
            blocks: 5,
            heads: 8,
            cond: 128,
            expansion: 4,
            dropout: 0.0,
            time: TimeFeatures::Fourier,
            time_width: 64,
            walk: 0,
            positions: false,
        }
    }
}

impl PairTransformerConfig {
    /// Checks the settings on their own, without the shape of the data.
    ///
    /// # Errors
    /// Names the key and its allowed values.
    pub fn validate(&self) -> Result<(), SettingError> {
        for (key, width) in [("width", self.width), ("pair_width", self.pair_width), ("cond", self.cond)] {
            size(key, width, 1..=WIDTH)?;
        }
        size("blocks", self.blocks, 0..=DEPTH)?;
        size("expansion", self.expansion, 1..=EXPANSION)?;
        size("walk", self.walk, 0..=DEPTH)?;
        pairs_of_features("time_width", self.time_width)?;
        open_fraction("dropout", self.dropout)?;
        check_heads(self.heads, self.width, 1)
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
    /// If [`PairTransformerConfig::check`] fails.
    pub fn init(&self, graph: GraphShape, device: &Device, stream: &mut Stream) -> PairTransformer {
        let (width, pair_width) = (self.width, self.pair_width);
        if let Err(problem) = self.check(graph) {
            panic!("{problem}");
        }
        let zero = |inputs: usize, outputs: usize| LinearConfig::new(inputs, outputs).with_init(LinearInit::Zero);
        let place = |count: usize, width: usize, stream: &mut Stream| {
            self.positions.then(|| parameter([1, count, width], Fill::Normal(PLACE_SCALE), device, stream))
        };
        PairTransformer {
            nodes_in: LinearConfig::new(graph.node_classes + self.walk, width).init(device, stream),
            pairs_in: LinearConfig::new(graph.edge_classes + self.walk, pair_width).init(device, stream),
            time: PairEmbedding::init(self.time, self.time_width, self.cond, device, stream),
            size: LinearConfig::new(1, self.cond).init(device, stream),
            blocks: (0..self.blocks).map(|_| PairBlock::init(self, device, stream)).collect(),
            norm: LayerNorm::init(width, device, stream),
            pair_norm: LayerNorm::init(pair_width, device, stream),
            modulation: Modulation::init(self.cond, 2, width, device, stream),
            pair_modulation: Modulation::init(self.cond, 2, pair_width, device, stream),
            nodes_out: zero(width, graph.node_classes).init(device, stream),
            pairs_out: zero(pair_width, graph.edge_classes).init(device, stream),
            node_places: place(graph.nodes, width, stream),
            pair_places: place(graph.pairs(), pair_width, stream),
            graph,
            walk: self.walk,
        }
    }
}

/// Standard deviation of initial position embeddings.
const PLACE_SCALE: f64 = 0.3;

/// The network, made by [`PairTransformerConfig::init`].
#[derive(Module, Debug)]
pub struct PairTransformer {
    /// Embedding of nodes.
    pub nodes_in: Linear,
    /// Embedding of pairs.
    pub pairs_in: Linear,
    /// Embedding of the pair of times.
    pub time: PairEmbedding,
    /// Embedding of the relative number of nodes, `n/N`.
    pub size: Linear,
    /// The blocks.
    pub blocks: Vec<PairBlock>,
    /// Final normalisation of nodes.
    pub norm: LayerNorm,
    /// Final normalisation of pairs.
    pub pair_norm: LayerNorm,
    /// Shift and scale of the final normalisation of nodes.
    pub modulation: Modulation,
    /// Shift and scale of the final normalisation of pairs.
    pub pair_modulation: Modulation,
    /// Map to logits of nodes.
    pub nodes_out: Linear,
    /// Map to logits of pairs.
    pub pairs_out: Linear,
    /// Position embeddings of nodes, `[1, nodes, width]`.
    pub node_places: Option<Param<Tensor<3>>>,
    /// Position embeddings of pairs, `[1, pairs, pair_width]`.
    pub pair_places: Option<Param<Tensor<3>>>,
    #[module(skip)]
    graph: GraphShape,
    #[module(skip)]
    walk: usize,
}

impl PairTransformer {
    /// Logits of the endpoint; zero for classes that a site does not have.
    ///
    /// # Shapes
    /// - `x`: `[batch, sites, classes]`
    /// - `s`, `t`: `[batch]`
    /// - `class`: `[batch, cond]`, added to the embedded times
    /// - `node_mask`: `[batch, nodes]`, one for nodes that exist and zero for padding
    /// - output: `[batch, sites, classes]`
    pub fn forward(
        &self,
        x: Dual<3>,
        s: Dual<1>,
        t: Dual<1>,
        class: Option<Tensor<2>>,
        node_mask: Option<&Tensor<2>>,
        pass: &mut Pass<'_>,
    ) -> Dual<3> {
        let [b, _, _] = x.dims();
        let n = self.graph.nodes;
        let (mut nodes, mut pairs) = self.graph.split(x);
        let like = nodes.value.clone();
        let node_mask = match node_mask {
            Some(node_mask) => node_mask.clone().cast(like.dtype()),
            None => Tensor::ones([b, n], (&like.device(), like.dtype())),
        };
        let around = Around::new(self.graph, node_mask.clone());
        if self.walk > 0 {
            let (on_nodes, on_pairs) = walk_features(self.graph, &pairs, &around, self.walk);
            nodes = Dual::cat(vec![nodes, on_nodes], 2);
            pairs = Dual::cat(vec![pairs, on_pairs], 2);
        }
        let share = node_mask.mean_dim(1);
        let cond = self.time.forward_with(s, t, class) + self.size.forward(share.into());
        let mut h = with_positions(self.nodes_in.forward(nodes), self.node_places.as_ref());
        let mut e = with_positions(self.pairs_in.forward(pairs), self.pair_places.as_ref());
        for block in &self.blocks {
            (h, e) = block.forward(h, e, cond.clone(), &around, pass);
        }
        let [shift, scale] = self.modulation.forward(cond.clone());
        let nodes = self.nodes_out.forward(self.norm.forward_modulated(h, shift, scale));
        let [shift, scale] = self.pair_modulation.forward(cond);
        let pairs = self.pairs_out.forward(self.pair_norm.forward_modulated(e, shift, scale));
        self.graph.join(nodes, pairs)
    }
}

/// Adds position embeddings, if there are any.
fn with_positions(x: Dual<3>, places: Option<&Param<Tensor<3>>>) -> Dual<3> {
    match places {
        Some(places) => Dual { value: x.value + places.val(), tangent: x.tangent },
        None => x,
    }
}

/// Incidence of the nodes and pairs of a batch.
#[derive(Clone, Debug)]
struct Around {
    graph: GraphShape,
    /// `[batch, nodes]`, one for nodes that exist and zero for padding.
    node_mask: Tensor<2>,
    /// `[batch, nodes, pairs]`, one if the node is an end of the pair and the pair exists.
    incidence: Tensor<3>,
    /// `[batch, pairs, nodes]`, one if the node is an end of the pair.
    ends: Tensor<3>,
    /// `[1, pairs, nodes * nodes]`, one if the entry of the edge matrix belongs to the pair.
    cells: Tensor<3>,
}

impl Around {
    fn new(graph: GraphShape, node_mask: Tensor<2>) -> Self {
        let [b, n] = node_mask.dims();
        let incidence = graph.incidence(&node_mask);
        // A pair exists if both of its ends exist.
        let ends = incidence.clone().swap_dims(1, 2);
        let count = ends.clone().expand([b, graph.pairs(), n]).matmul(node_mask.clone().reshape([b, n, 1]));
        let there = count.greater_scalar(1.5).float().cast(node_mask.dtype());
        let incidence = incidence.expand([b, n, graph.pairs()]) * there.reshape([b, 1, graph.pairs()]);
        let eye = Tensor::<2>::eye(graph.pairs(), &node_mask.device()).cast(node_mask.dtype());
        let cells = graph.matrix(eye.unsqueeze_dim::<3>(0).into()).value.reshape([1, n * n, graph.pairs()]);
        Self { graph, node_mask, incidence, ends: ends.expand([b, graph.pairs(), n]), cells: cells.swap_dims(1, 2) }
    }

    /// Sums over the pairs of every node: `[batch, pairs, features]` to `[batch, nodes, features]`.
    fn gather(&self, pairs: Dual<3>) -> Dual<3> {
        pairs.linear(|e| self.incidence.clone().matmul(e))
    }

    /// Sums over the ends of every pair: `[batch, nodes, features]` to `[batch, pairs, features]`.
    fn spread(&self, nodes: Dual<3>) -> Dual<3> {
        nodes.linear(|h| self.ends.clone().matmul(h))
    }

    /// Pairs as matrices, feature by feature: `[batch, pairs, features]` to `[batch, features, nodes, nodes]`.
    fn matrices(&self, pairs: Dual<3>) -> Dual<4> {
        let [b, p, features] = pairs.dims();
        let n = self.graph.nodes;
        pairs.linear(|e| {
            let rows = e.swap_dims(1, 2).reshape([1, b * features, p]);
            rows.matmul(self.cells.clone()).reshape([b, features, n, n])
        })
    }
}

/// Return probabilities of nodes, and transition probabilities of pairs (mean of both directions), for random walks of
/// 1 to `steps` steps.
fn walk_features(graph: GraphShape, pairs: &Dual<3>, around: &Around, steps: usize) -> (Dual<3>, Dual<3>) {
    let [b, _, k] = pairs.dims();
    let n = graph.nodes;
    let bonds = pairs.clone().linear(|e| e.slice_dim(2, 1..k).sum_dim(2));
    let inside = bonds.value.clone().detach();
    let outside = inside.clone().lower_equal_scalar(0.0).bool_or(inside.greater_equal_scalar(1.0));
    let soft = Dual { value: bonds.value.clamp(0.0, 1.0), tangent: bonds.tangent.map(|t| t.mask_fill(outside, 0.0)) };
    let there = around.node_mask.clone();
    let both = there.clone().reshape([b, n, 1]) * there.reshape([b, 1, n]);
    let adjacency: Dual<3> = around.matrices(soft).linear(|a| a.reshape([b, n, n]) * both.clone());
    let degree = adjacency.clone().linear(|a| a.sum_dim(2)).shift(1e-2);
    let inverse = degree.elementwise(Tensor::recip, |d| (d.clone() * d).recip().neg());
    let step = adjacency * inverse;
    let (mut power, mut on_nodes, mut on_pairs) = (step.clone(), Vec::new(), Vec::new());
    let eye = Tensor::<2>::eye(n, &power.value.device()).cast(power.value.dtype()).unsqueeze_dim::<3>(0);
    for i in 0..steps {
        if i > 0 {
            power = power.matmul(step.clone());
        }
        on_nodes.push(power.clone().linear(|p| (p * eye.clone()).sum_dim(2)));
        on_pairs.push(graph.upper(power.clone().linear(|p| p.reshape([b, n, n, 1]))));
    }
    (Dual::cat(on_nodes, 2), Dual::cat(on_pairs, 2))
}

/// One block of the network.
#[derive(Module, Debug)]
pub struct PairBlock {
    /// Normalisation of nodes before attention.
    pub norm_attention: LayerNorm,
    /// `[width, 3 width]`
    pub qkv: Linear,
    /// Normalisation of pairs before attention.
    pub norm_bias: LayerNorm,
    /// From pairs to biases of the attention scores, `[pair_width, heads]`.
    pub bias: Linear,
    /// From the attention output and the sums over pairs, `[width + pair_width, width]`.
    pub attention_output: Linear,
    /// Normalisation of nodes before the feed-forward layers.
    pub norm_mlp: LayerNorm,
    /// `[width, expansion * width]`
    pub mlp_first: Linear,
    /// `[expansion * width, width]`
    pub mlp_second: Linear,
    /// Normalisation of pairs before their feed-forward layers.
    pub norm_pairs: LayerNorm,
    /// From the two nodes of a pair, `[width, expansion * pair_width]`.
    pub ends: Linear,
    /// `[pair_width, expansion * pair_width]`
    pub pair_first: Linear,
    /// `[expansion * pair_width, pair_width]`
    pub pair_second: Linear,
    /// Shift, scale and gate of both branches of the nodes.
    pub modulation: Modulation,
    /// Shift, scale and gate of the branch of the pairs.
    pub pair_modulation: Modulation,
    dropout: Dropout,
    #[module(skip)]
    heads: usize,
}

impl PairBlock {
    fn init(config: &PairTransformerConfig, device: &Device, stream: &mut Stream) -> Self {
        let (width, pair_width) = (config.width, config.pair_width);
        let (hidden, pair_hidden) = (config.expansion * width, config.expansion * pair_width);
        let mut map = |inputs: usize, outputs: usize| LinearConfig::new(inputs, outputs).init(device, stream);
        let (bias, attention_output) = (map(pair_width, config.heads), map(width + pair_width, width));
        let (mlp_first, mlp_second) = (map(width, hidden), map(hidden, width));
        let (pair_first, pair_second) = (map(pair_width, pair_hidden), map(pair_hidden, pair_width));
        Self {
            norm_attention: LayerNorm::init(width, device, stream),
            qkv: LinearConfig::new(width, 3 * width).without_bias().init(device, stream),
            norm_bias: LayerNorm::init(pair_width, device, stream),
            bias,
            attention_output,
            norm_mlp: LayerNorm::init(width, device, stream),
            mlp_first,
            mlp_second,
            norm_pairs: LayerNorm::init(pair_width, device, stream),
            ends: LinearConfig::new(width, pair_hidden).without_bias().init(device, stream),
            pair_first,
            pair_second,
            modulation: Modulation::init(config.cond, 6, width, device, stream),
            pair_modulation: Modulation::init(config.cond, 3, pair_width, device, stream),
            dropout: Dropout::new(config.dropout),
            heads: config.heads,
        }
    }

    fn forward(
        &self,
        h: Dual<3>,
        e: Dual<3>,
        cond: Dual<2>,
        around: &Around,
        pass: &mut Pass<'_>,
    ) -> (Dual<3>, Dual<3>) {
        let [shift_a, scale_a, gate_a, shift_m, scale_m, gate_m] = self.modulation.forward(cond.clone());
        let [shift_e, scale_e, gate_e] = self.pair_modulation.forward(cond);
        let m = self.norm_attention.forward_modulated(h.clone(), shift_a, scale_a);
        let p = self.norm_bias.forward(e.clone());
        let bias = around.matrices(self.bias.forward(p.clone()));
        let seen = biased_attention(self.qkv.forward(m.clone()), bias, self.heads, &around.node_mask);
        let both = Dual::cat(vec![seen, around.gather(p)], 2);
        let h = gated(h, self.dropout.forward(self.attention_output.forward(both), pass), gate_a);
        let f = self.norm_mlp.forward_modulated(h.clone(), shift_m, scale_m);
        let f = self.mlp_second.forward(self.mlp_first.forward_gelu(f));
        let h = gated(h, self.dropout.forward(f, pass), gate_m);
        let f = self.norm_pairs.forward_modulated(e.clone(), shift_e, scale_e);
        let f = (self.pair_first.forward(f) + around.spread(self.ends.forward(m))).gelu();
        let f = self.pair_second.forward(f);
        (h, gated(e, self.dropout.forward(f, pass), gate_e))
    }
}
