//! Graphs as points: nodes and unordered pairs of nodes in one tensor, and the conversion to and from edge matrices.
//!
//! A point of a graph is `[batch, N + N (N-1) / 2, K]`: nodes, then pairs in row-major order. Node and pair sites may
//! have fewer than `K` classes; their other entries are zero. Edge matrices made of pairs are symmetric with a zero
//! diagonal.
//!
//! # Examples
//! ```
//! use pushforward::burn::tensor::{Device, Tensor};
//! use pushforward::nn::graph::GraphShape;
//! use pushforward::tensor::to_host;
//!
//! let graph = GraphShape { nodes: 3, node_classes: 2, edge_classes: 1 };
//! let pairs = Tensor::<3>::from_data([[[1.0f32], [2.0], [3.0]]], &Device::flex()); // (0,1), (0,2), (1,2)
//! let matrix = graph.matrix(pairs.clone().into());
//! assert_eq!(to_host(&matrix.value), [0.0, 1.0, 2.0, 1.0, 0.0, 3.0, 2.0, 3.0, 0.0]);
//! assert_eq!(to_host(&graph.upper(matrix).value), to_host(&pairs));
//! ```

use burn::tensor::{Int, Tensor};

use crate::dual::Dual;
use crate::node_pairs::{in_order, pair_count, pair_index};
use crate::tensor::{from_host, indices};

/// Sizes of a graph.
///
/// # Examples
/// Two nodes of three classes and one pair of two classes, in a point of three classes.
/// ```
/// use pushforward::burn::tensor::{Device, Tensor};
/// use pushforward::nn::graph::GraphShape;
/// use pushforward::tensor::to_host;
///
/// let graph = GraphShape { nodes: 2, node_classes: 3, edge_classes: 2 };
/// assert_eq!(graph.sites_of(1).collect::<Vec<_>>(), [1.0, 0.0, 0.0]); // a single node has no pair
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GraphShape {
    /// Largest number of nodes.
    pub nodes: usize,
    /// Number of classes of a node.
    pub node_classes: usize,
    /// Number of classes of a pair.
    pub edge_classes: usize,
}

impl GraphShape {
    /// Number of unordered pairs of nodes.
    pub fn pairs(&self) -> usize {
        pair_count(self.nodes)
    }

    /// Mask of the sites of a graph with `node_count` nodes: one for sites that it has, zero for padding.
    pub fn sites_of(&self, node_count: usize) -> impl Iterator<Item = f64> {
        let exists = move |i: usize| f64::from(u8::from(i < node_count));
        (0..self.nodes).map(exists).chain(in_order(self.nodes).map(move |(_, j)| exists(j)))
    }

    /// Splits a point into its nodes and pairs.
    ///
    /// # Shapes
    /// - `x`: `[batch, sites, classes]`
    /// - output: `[batch, nodes, node_classes]`, `[batch, pairs, edge_classes]`
    pub fn split(&self, x: Dual<3>) -> (Dual<3>, Dual<3>) {
        let part = |start: usize, length: usize, classes: usize| {
            x.clone().linear(|x| x.slice_dim(1, start..start + length).slice_dim(2, 0..classes))
        };
        (part(0, self.nodes, self.node_classes), part(self.nodes, self.pairs(), self.edge_classes))
    }

    /// The inverse of [`split`](Self::split); entries of classes that a site does not have are zero.
    pub fn join(&self, nodes: Dual<3>, pairs: Dual<3>) -> Dual<3> {
        let k = self.node_classes.max(self.edge_classes);
        let wide = |x: Dual<3>| {
            let [b, n, classes] = x.dims();
            if classes == k {
                return x;
            }
            x.linear(|x| Tensor::cat(vec![x.clone(), Tensor::zeros([b, n, k - classes], (&x.device(), x.dtype()))], 2))
        };
        Dual::cat(vec![wide(nodes), wide(pairs)], 1)
    }

    /// The edge matrix of pairs, symmetric with a zero diagonal.
    ///
    /// # Shapes
    /// - `pairs`: `[batch, pairs, features]`
    /// - output: `[batch, nodes, nodes, features]`
    pub fn matrix(&self, pairs: Dual<3>) -> Dual<4> {
        let n = self.nodes;
        let place = |cell: usize| {
            let (i, j) = (cell / n, cell % n);
            if i == j { self.pairs() as u32 } else { pair_index(i.min(j), i.max(j), n) as u32 }
        };
        let table: Tensor<1, Int> = indices(&(0..n * n).map(place).collect::<Vec<_>>(), [n * n], &pairs.value.device());
        pairs.linear(|x| {
            let [b, _, features] = x.dims();
            let none = Tensor::zeros([b, 1, features], (&x.device(), x.dtype()));
            Tensor::cat(vec![x, none], 1).select(1, table.clone()).reshape([b, n, n, features])
        })
    }

    /// The mean of the two entries of every pair in an edge matrix; the inverse of [`matrix`](Self::matrix) for
    /// symmetric ones.
    ///
    /// # Shapes
    /// - `edges`: `[batch, nodes, nodes, features]`
    /// - output: `[batch, pairs, features]`
    pub fn upper(&self, edges: Dual<4>) -> Dual<3> {
        let n = self.nodes;
        let table = |place: fn(usize, usize, usize) -> usize| -> Tensor<1, Int> {
            let cells: Vec<u32> = in_order(n).map(|(i, j)| place(i, j, n) as u32).collect();
            indices(&cells, [self.pairs()], &edges.value.device())
        };
        let (above, below) = (table(|i, j, n| i * n + j), table(|i, j, n| j * n + i));
        edges.clone().linear(|x| {
            let [b, _, _, features] = x.dims();
            let cells = x.reshape([b, n * n, features]);
            (cells.clone().select(1, above.clone()) + cells.select(1, below.clone())) * 0.5
        })
    }

    /// Incidence matrix of nodes and pairs.
    ///
    /// # Shapes
    /// - output: `[1, nodes, pairs]`, one where the node is an end of the pair and zero elsewhere
    pub(super) fn incidence<const D: usize>(&self, like: &Tensor<D>) -> Tensor<3> {
        let mut values = vec![0.0; self.nodes * self.pairs()];
        for (place, (i, j)) in in_order(self.nodes).enumerate() {
            values[i * self.pairs() + place] = 1.0;
            values[j * self.pairs() + place] = 1.0;
        }
        from_host(&values, [1, self.nodes, self.pairs()], like)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::nn::SiteShape;
    use crate::tensor::to_host;

    const SHAPE: GraphShape = GraphShape { nodes: 4, node_classes: 2, edge_classes: 3 };

    fn counting<const D: usize>(shape: [usize; D]) -> Tensor<D> {
        let n: usize = shape.iter().product();
        let like = Tensor::<1>::zeros([1], &Device::flex());
        from_host(&(0..n).map(|i| i as f64 + 1.0).collect::<Vec<_>>(), shape, &like)
    }

    #[test]
    fn points_and_matrices_come_back() {
        let (nodes, edges) = (counting([2, 4, 2]), counting([2, 6, 3]));
        let x = SHAPE.join(nodes.clone().into(), edges.clone().into());
        assert_eq!(x.dims(), [2, 10, 3]);
        assert_eq!(
            to_host(&(x.value.clone() * SiteShape::graph(SHAPE).class_mask(&x.value).expect("sites differ"))),
            to_host(&x.value)
        );
        let (n, e) = SHAPE.split(x);
        assert_eq!((to_host(&n.value), to_host(&e.value)), (to_host(&nodes), to_host(&edges)));
        let matrix = SHAPE.matrix(edges.clone().into());
        let transposed = matrix.value.clone().swap_dims(1, 2);
        assert_eq!(to_host(&matrix.value), to_host(&transposed));
        let diagonal: f64 = (0..4)
            .map(|i| to_host(&matrix.value.clone().slice([0..2, i..i + 1, i..i + 1, 0..3])).iter().sum::<f64>())
            .sum();
        assert_eq!(diagonal, 0.0);
        assert_eq!(to_host(&SHAPE.upper(matrix).value), to_host(&edges));
    }

    #[test]
    fn incidence_sums_the_edges_of_a_node() {
        let edges = counting([2, 6, 3]);
        let by_incidence = SHAPE.incidence(&edges).expand([2, 4, 6]).matmul(edges.clone());
        let by_matrix: Tensor<3> = SHAPE.matrix(edges.into()).value.sum_dim(2).squeeze_dim(2);
        assert_eq!(to_host(&by_incidence), to_host(&by_matrix));
    }

    #[test]
    fn a_small_graph_has_the_sites_of_its_nodes() {
        let sites: Vec<f64> = SHAPE.sites_of(2).collect();
        assert_eq!(sites, [1., 1., 0., 0., 1., 0., 0., 0., 0., 0.]);
    }
}
