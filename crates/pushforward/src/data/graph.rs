//! Graphs as rows of categorical variables.
//!
//! A graph of up to `N` nodes is `N + N (N-1) / 2` sites: its nodes, then its unordered pairs of nodes row by row, `(0,1) (0,2)
//! ... (1,2) ...`, so that every pair counts once and a matrix of edges is symmetric with an empty diagonal by construction.
//! A graph of fewer nodes leaves its last nodes, and every pair that touches one of them, [`ABSENT`].

use serde::{Deserialize, Serialize};

pub use crate::node_pairs::{ABSENT, pair_count, pair_index};

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

impl GraphLayout {
    /// Sites of an item: nodes and pairs.
    pub fn sites(&self) -> usize {
        self.nodes + pair_count(self.nodes)
    }

    /// Classes of the site with the most.
    pub fn classes(&self) -> usize {
        self.node_classes.len().max(self.edge_classes)
    }
}
