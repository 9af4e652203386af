//! Attention of the published graph network: every feature has its own scores, which depend on the edges.
//!
//! The equations are in [`graph_transformer`](super::graph_transformer).
//!
//! # Examples
//! With zero queries and edges all scores are zero, and every node gets the mean of the values.
//! ```
//! use pushforward::burn::tensor::{Device, Tensor};
//! use pushforward::nn::edge_attention::edge_attention;
//! use pushforward::tensor::to_host;
//!
//! let v = Tensor::<3>::from_data([[[1.0f32], [3.0]]], &Device::flex());
//! let (q, edges) = (v.zeros_like(), Tensor::<4>::zeros([1, 2, 2, 1], &Device::flex()));
//! let edges = [edges.clone().into(), edges.into()];
//! let (scores, out) = edge_attention([q.into(), v.clone().into(), v.into()], edges, None);
//! assert_eq!(to_host(&scores.value), [0.0; 4]);
//! assert!(to_host(&out.value).iter().all(|mean| (mean - 2.0).abs() < 1e-6));
//! ```

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::graph_pooling::{Pooling, pool};

use super::linear::{Linear, LinearConfig};
use super::modulation::modulate;
use super::two_layers::TwoLayers;
use crate::dual::Dual;
use crate::kernels;
use crate::rng::Stream;

/// Masks of nodes and edges; `None` if nothing is padding.
pub(super) struct Mask {
    /// `[batch, nodes, 1]`
    nodes: Option<Tensor<3>>,
    /// `[batch, nodes, nodes, 1]`; includes the diagonal.
    edges: Option<Tensor<4>>,
}

impl Mask {
    pub(super) fn new<const D: usize>(batch: usize, n: usize, node_mask: Option<&Tensor<2>>, like: &Tensor<D>) -> Self {
        let Some(node_mask) = node_mask else { return Self { nodes: None, edges: None } };
        let node_mask = node_mask.clone().cast(like.dtype());
        let (rows, columns) =
            (node_mask.clone().reshape([batch, n, 1, 1]), node_mask.clone().reshape([batch, 1, n, 1]));
        Self { nodes: Some(node_mask.reshape([batch, n, 1])), edges: Some(rows * columns) }
    }

    pub(super) fn nodes(&self, x: Dual<3>) -> Dual<3> {
        match &self.nodes {
            Some(mask) => x.linear(|x| x * mask.clone()),
            None => x,
        }
    }

    pub(super) fn edges(&self, x: Dual<4>) -> Dual<4> {
        match &self.edges {
            Some(mask) => x.linear(|x| x * mask.clone()),
            None => x,
        }
    }
}

/// Attention with separate scores for every feature, and the updates of the node, edge and graph streams.
#[derive(Module, Debug)]
pub struct EdgeAttention {
    /// Queries.
    pub q: Linear,
    /// Keys.
    pub k: Linear,
    /// Values.
    pub v: Linear,
    /// From edges, term added to the scores.
    pub e_add: Linear,
    /// From edges, factor of the scores minus one.
    pub e_mul: Linear,
    /// From the graph, term added to the edge update.
    pub y_e_add: Linear,
    /// From the graph, factor of the edge update minus one.
    pub y_e_mul: Linear,
    /// From the graph, term added to the node update.
    pub y_x_add: Linear,
    /// From the graph, factor of the node update minus one.
    pub y_x_mul: Linear,
    /// From the graph to its update.
    pub y_y: Linear,
    /// From pooled nodes to the graph update.
    pub x_y: Linear,
    /// From pooled edges to the graph update.
    pub e_y: Linear,
    /// Output map of the node update.
    pub x_out: Linear,
    /// Output map of the edge update.
    pub e_out: Linear,
    /// Output map of the graph update.
    pub y_out: TwoLayers,
    #[module(skip)]
    head: usize,
    #[module(skip)]
    pooling: Pooling,
}

impl EdgeAttention {
    pub(super) fn init(
        [dx, de, dy]: [usize; 3],
        heads: usize,
        pooling: Pooling,
        device: &Device,
        stream: &mut Stream,
    ) -> Self {
        let mut map = |inputs: usize, outputs: usize| LinearConfig::new(inputs, outputs).init(device, stream);
        Self {
            q: map(dx, dx),
            k: map(dx, dx),
            v: map(dx, dx),
            e_add: map(de, dx),
            e_mul: map(de, dx),
            y_e_add: map(dy, dx),
            y_e_mul: map(dy, dx),
            y_x_add: map(dy, dx),
            y_x_mul: map(dy, dx),
            y_y: map(dy, dy),
            x_y: map(4 * dx, dy),
            e_y: map(4 * de, dy),
            x_out: map(dx, dx),
            e_out: map(dx, de),
            y_out: TwoLayers::init([dy, dy, dy], device, stream),
            head: dx / heads,
            pooling,
        }
    }

    pub(super) fn pooling(&self) -> Pooling {
        self.pooling
    }

    pub(super) fn forward(&self, x: Dual<3>, e: Dual<4>, y: Dual<2>, mask: &Mask) -> (Dual<3>, Dual<4>, Dual<2>) {
        let [b, n, width] = x.dims();
        let [q, k, v] = [&self.q, &self.k, &self.v].map(|map| map.forward(x.clone()));
        let q = q.scale(1.0 / (self.head as f64).sqrt());
        let [mul, add] = [&self.e_mul, &self.e_add].map(|map| map.forward(e.clone()));
        let node_mask = mask.nodes.as_ref().map(|nodes| nodes.clone().reshape([b, n]));
        let (scores, seen) = edge_attention([q, k, v], [mul, add], node_mask.as_ref());

        // Modulation by the graph: `add + (1 + mul) h`.
        let shaped = |h: Dual<3>, add: &Linear, mul: &Linear| {
            let [add, mul] = [add, mul].map(|map| map.forward(y.clone()).linear(|v| v.reshape([b, 1, width])));
            modulate(h, add, mul)
        };
        let scores = scores.linear(|s| s.reshape([b, n * n, width]));
        let new_e = self.e_out.forward(shaped(scores, &self.y_e_add, &self.y_e_mul));
        let edges = new_e.dims()[2];
        let new_e = mask.edges(new_e.linear(|e| e.reshape([b, n, n, edges])));
        let new_x = mask.nodes(self.x_out.forward(shaped(seen, &self.y_x_add, &self.y_x_mul)));

        let cells = e.linear(|e| e.flatten(1, 2));
        let pooled_x = pool(x, mask.nodes.as_ref(), self.pooling);
        let there = mask.edges.as_ref().map(|m| m.clone().reshape([b, n * n, 1]));
        let pooled_e = pool(cells, there.as_ref(), self.pooling);
        let sum = self.y_y.forward(y) + self.x_y.forward(pooled_x) + self.e_y.forward(pooled_e);
        (new_x, new_e, self.y_out.forward(sum))
    }
}

/// Scores `Y` of every feature of every pair of nodes, and the values averaged with the softmax of the scores over the
/// keys.
///
/// ```text
/// Y_ij = q_i k_j (1 + mul_ij) + add_ij        out_i = sum_j softmax_j(Y_ij) v_j        feature by feature
/// ```
///
/// Masked nodes are excluded from the softmax. The outputs at masked nodes are arbitrary; the caller masks them.
///
/// # Shapes
/// - `q`, `k`, `v`: `[batch, nodes, features]`
/// - `mul`, `add`: `[batch, nodes, nodes, features]`
/// - `node_mask`: `[batch, nodes]`, one for nodes that exist and zero for padding
/// - output: `[batch, nodes, nodes, features]`, `[batch, nodes, features]`
pub fn edge_attention(
    [q, k, v]: [Dual<3>; 3],
    [mul, add]: [Dual<4>; 2],
    node_mask: Option<&Tensor<2>>,
) -> (Dual<4>, Dual<3>) {
    if [&q, &k, &v].iter().all(|x| kernels::serve(&x.value)) && [&mul, &add].iter().all(|x| kernels::serve(&x.value)) {
        let (nodes, edges) = ([q, k, v].map(Into::into), [mul, add].map(Into::into));
        let (scores, seen) = kernels::edge_attention(nodes, edges, node_mask.cloned());
        return (scores.into(), seen.into());
    }
    let [b, n, width] = q.dims();
    let row = |x: Dual<3>| x.linear(|x| x.reshape([b, n, 1, width]));
    let column = |x: Dual<3>| x.linear(|x| x.reshape([b, 1, n, width]));
    let scores = row(q) * column(k) * mul.shift(1.0) + add;
    // Softmax over the keys, the third axis, of every feature by itself.
    let open = match node_mask {
        Some(node_mask) => {
            let absent = node_mask.clone().reshape([b, 1, n, 1]).lower_scalar(0.5).expand([b, n, n, width]);
            scores.clone().mask_fill(absent, -1e30)
        }
        None => scores.clone(),
    };
    let weights = open.linear(|s| s.swap_dims(2, 3)).softmax().linear(|p| p.swap_dims(2, 3));
    let seen = (weights * column(v)).linear(|v| v.sum_dim(2).reshape([b, n, width]));
    (scores, seen)
}
