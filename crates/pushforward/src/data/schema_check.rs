//! Whether a schema is one of data at all: a file may hold any numbers.

use crate::data::schema::{Layout, Schema};
use crate::node_pairs::pair_count;

/// Most sites of an item: 16 million, as of pictures of 2,300 x 2,300 in colour.
const SITES: usize = 1 << 24;
/// Most classes of a site.
const CLASSES: usize = 1 << 24;
/// Most nodes of a graph.
const NODES: usize = 4096;

impl Schema {
    /// Checks that sites, classes and layout describe the same items.
    ///
    /// # Errors
    /// Says what does not fit.
    ///
    /// # Examples
    /// ```
    /// use pushforward::data::{Layout, Schema};
    /// let picture = |height, width| Schema { sites: 256, classes: 2, layout: Layout::Image { height, width } };
    /// assert_eq!(picture(16, 16).check(), Ok(()));
    /// assert_eq!(picture(16, 3).check().unwrap_err(), "images of 16 x 3 pixels do not have 256 sites");
    /// ```
    pub fn check(&self) -> Result<(), String> {
        let Self { sites, classes, .. } = *self;
        if !(1..=SITES).contains(&sites) || !(1..=CLASSES).contains(&classes) {
            return Err(format!("{sites} sites of {classes} classes are not possible"));
        }
        match &self.layout {
            Layout::Table => Ok(()),
            Layout::Columns(table) => table.check(sites, classes),
            Layout::Sequence(sequence) => sequence.check(sites, classes),
            Layout::Text { vocabulary } if vocabulary.size() != classes => {
                Err(format!("a vocabulary of {} symbols does not have {classes} classes", vocabulary.size()))
            }
            Layout::Text { .. } => Ok(()),
            // One site per value: colour images have three per pixel.
            Layout::Image { height, width } => {
                let fits = height.checked_mul(*width).is_some_and(|n| n > 0 && sites.is_multiple_of(n));
                let problem = || format!("images of {height} x {width} pixels do not have {sites} sites");
                if fits { Ok(()) } else { Err(problem()) }
            }
            Layout::Graph(graph) => {
                let nodes = graph.nodes;
                if !(1..=NODES).contains(&nodes) || sites != nodes + pair_count(nodes) {
                    return Err(format!("graphs of {nodes} nodes do not have {sites} sites"));
                }
                if graph.node_classes.is_empty() || graph.edge_classes == 0 || graph.classes() != classes {
                    let (node, edge) = (graph.node_classes.len(), graph.edge_classes);
                    return Err(format!(
                        "{node} classes of nodes and {edge} of pairs do not have {classes} classes as the larger number"
                    ));
                }
                let total = graph.sizes.iter().try_fold(0u64, |sum, &count| sum.checked_add(count));
                if graph.sizes.len() > nodes + 1 || graph.sizes.first().is_some_and(|&n| n > 0) || total.is_none() {
                    return Err(format!("the sizes of the graphs are not those of 1 to {nodes} nodes"));
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Vocabulary;
    use crate::data::graph::{GraphLayout, NodeClass};

    #[test]
    fn schemas_of_no_data_are_refused() {
        let node_classes = ["C", "O"].map(|e| NodeClass { element: e.into(), charge: 0 }).to_vec();
        let graph = GraphLayout { nodes: 3, node_classes, edge_classes: 4, sizes: vec![0, 5, 3, 2] };
        let of = |graph: &GraphLayout| Schema { sites: 6, classes: 4, layout: Layout::Graph(graph.clone()) };
        assert_eq!(of(&graph).check(), Ok(()));
        for nodes in [0, 2, 1_000_000_000, 1 << 53, usize::MAX] {
            assert!(of(&GraphLayout { nodes, ..graph.clone() }).check().is_err(), "{nodes}");
        }
        for sizes in [vec![1, 1], vec![0; 9], vec![0, u64::MAX, 1]] {
            assert!(of(&GraphLayout { sizes, ..graph.clone() }).check().is_err());
        }
        assert!(of(&GraphLayout { edge_classes: 0, ..graph.clone() }).check().is_err());
        let text = Layout::Text { vocabulary: Vocabulary::text8() };
        for (layout, sites, classes) in [
            (text.clone(), 4, 26),
            (text, 0, 27),
            (Layout::Table, 1 << 53, 2),
            (Layout::Table, 2, 1_000_000_000),
            (Layout::Table, 2, 0),
            (Layout::Image { height: usize::MAX, width: 2 }, 4, 2),
            (Layout::Image { height: 0, width: 0 }, 4, 2),
        ] {
            let schema = Schema { sites, classes, layout };
            assert!(schema.check().is_err(), "{schema:?}");
        }
    }
}
