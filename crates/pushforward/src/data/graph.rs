//! Graphs as rows of categorical variables.
//!
//! A graph of up to `N` nodes is `N + N (N-1) / 2` sites: its nodes, then its unordered pairs of nodes row by row, `(0,1) (0,2)
//! ... (1,2) ...`, so that every pair counts once and a matrix of edges is symmetric with an empty diagonal by construction.
//! A graph of fewer nodes leaves its last nodes, and every pair that touches one of them, [`ABSENT`].

use serde::{Deserialize, Serialize};

/// The class index of a site that an item does not have.
pub const ABSENT: u32 = u32::MAX;

/// What the sites of a graph are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GraphLayout {
    /// Most nodes of a graph.
    pub nodes: usize,
    /// Classes of a node.
    pub node_classes: Vec<NodeClass>,
    /// Classes of a pair; class 0 is no edge. For molecules: none, single, double, triple.
    pub edge_classes: usize,
    /// How many training graphs have `n` nodes, for `n` from 0 to `nodes`: the law of the size of a sample.
    pub sizes: Vec<u64>,
}

/// A class of nodes: an element with a formal charge.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeClass {
    /// Symbol of the element.
    pub element: String,
    /// Formal charge.
    #[serde(default)]
    pub charge: i8,
}

/// Number of unordered pairs of `nodes` nodes.
pub fn pairs(nodes: usize) -> usize {
    nodes * nodes.saturating_sub(1) / 2
}

/// The site of a pair `i < j` among `nodes` nodes, counted from the first pair.
///
/// # Panics
/// If the pair is not in order or not among the nodes.
pub fn pair_index(i: usize, j: usize, nodes: usize) -> usize {
    assert!(i < j && j < nodes, "a pair i < j of {nodes} nodes, found {i}, {j}");
    i * (2 * nodes - i - 1) / 2 + j - i - 1
}

impl GraphLayout {
    /// Sites of an item: nodes and pairs.
    pub fn sites(&self) -> usize {
        self.nodes + pairs(self.nodes)
    }

    /// Classes of the site with the most.
    pub fn classes(&self) -> usize {
        self.node_classes.len().max(self.edge_classes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_counted_row_by_row() {
        for nodes in 0..7 {
            let in_order = (0..nodes).flat_map(|i| (i + 1..nodes).map(move |j| (i, j)));
            let found: Vec<usize> = in_order.map(|(i, j)| pair_index(i, j, nodes)).collect();
            assert_eq!(found, (0..pairs(nodes)).collect::<Vec<_>>());
        }
    }
}
