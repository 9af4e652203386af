//! Graphs as rows of categorical variables.
//!
//! A graph of up to `N` nodes has `N + N (N-1) / 2` sites: its nodes, then its unordered pairs of nodes row by row,
//! `(0,1) (0,2) ... (1,2) ...`. Every pair counts once, and the edge matrix is symmetric with an empty diagonal by
//! construction. In a graph of fewer nodes the last nodes, and all pairs with one of them, are [`ABSENT`].
//!
//! # Examples
//! ```
//! use pushforward::data::graph::{pair_count, pair_index};
//! // Three nodes have the pairs (0,1) (0,2) (1,2).
//! assert_eq!(pair_count(3), 3);
//! assert_eq!([pair_index(0, 1, 3), pair_index(0, 2, 3), pair_index(1, 2, 3)], [0, 1, 2]);
//! ```

use serde::{Deserialize, Serialize};

pub use crate::node_pairs::{ABSENT, pair_count, pair_index};

/// The sites of a graph and their classes.
///
/// # Examples
/// ```
/// use pushforward::data::graph::{ABSENT, GraphLayout, NodeClass};
/// let node_classes = ["C", "O"].map(|element| NodeClass { element: element.into(), charge: 0 }).to_vec();
/// let layout = GraphLayout { nodes: 3, node_classes, edge_classes: 4, sizes: vec![0, 0, 1, 1] };
/// assert_eq!((layout.sites(), layout.classes()), (3 + 3, 4));
/// // C=O with the third node absent; pairs (0,1) (0,2) (1,2).
/// let molecule = layout.molecule(&[0, 1, ABSENT, 2, ABSENT, ABSENT]);
/// assert_eq!(pushforward::chem::canonical(&molecule)?, "C=O");
/// # Ok::<(), pushforward::chem::Refusal>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GraphLayout {
    /// Largest number of nodes `N`.
    pub nodes: usize,
    /// Classes of a node.
    pub node_classes: Vec<NodeClass>,
    /// Classes of a pair; class 0 is no edge. For molecules: none, single, double, triple.
    pub edge_classes: usize,
    /// Number of training graphs with `n` nodes, for `n` from 0 to `nodes`: the distribution of the size of a sample.
    pub sizes: Vec<u64>,
}

/// Writes a graph as a row: `ids` has the number of nodes, their classes, which are places of `known`, and ends `i < j` and
/// order of each edge. `None` if it is no graph of the layout.
pub(in crate::data) fn write_graph(ids: &[u32], known: &[u32], layout: &GraphLayout, out: &mut [u32]) -> Option<()> {
    let (&count, rest) = ids.split_first()?;
    let (count, most) = (count as usize, layout.nodes);
    let (nodes, edges) = rest.split_at_checked(count)?;
    if count > most || edges.len() % 3 != 0 || out.len() != layout.sites() {
        return None;
    }
    out.fill(ABSENT);
    let (head, pairs) = out.split_at_mut(most);
    for (to, &class) in head.iter_mut().zip(nodes) {
        *to = *known.get(class as usize)?;
    }
    for i in 0..count.saturating_sub(1) {
        let first = pair_index(i, i + 1, most);
        pairs[first..first + count - i - 1].fill(0);
    }
    for edge in edges.chunks_exact(3) {
        let [i, j] = [edge[0] as usize, edge[1] as usize];
        if i >= j || j >= count || edge[2] as usize >= layout.edge_classes {
            return None;
        }
        pairs[pair_index(i, j, most)] = edge[2];
    }
    Some(())
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
    /// Number of sites of an item: nodes and pairs.
    pub fn sites(&self) -> usize {
        self.nodes + pair_count(self.nodes)
    }

    /// Number of classes of the site with the most.
    pub fn classes(&self) -> usize {
        self.node_classes.len().max(self.edge_classes)
    }
}
