//! Remarks on models that say nothing: samples that are all the same, a bound that is worse than guessing.

use crate::data::{Layout, Schema};
use crate::metrics::interval;
use crate::node_pairs::{ABSENT, pair_count};

/// Fewest samples whose equality says something.
const FEW: usize = 8;

/// A remark on samples that are all the same; `nfe` is the number of network evaluations.
pub(super) fn on_samples(ids: &[u32], sites: usize, nfe: u32) -> Option<String> {
    let count = ids.len() / sites.max(1);
    let first = ids.get(..sites)?;
    let same = count >= FEW && ids.chunks(sites).all(|item| item == first);
    same.then(|| {
        format!(
            "all {count} samples with {nfe} network evaluations are the same: the model has not learned the variety of \
             its data; train it longer (train.steps or train.minutes), or with a lower train.lr"
        )
    })
}

/// A remark on a bound that is worse, on average, than giving every class the same probability.
pub(super) fn on_bound(nats: &[f64], ids: &[u32], schema: &Schema) -> Option<String> {
    let uniform: Vec<f64> = ids.chunks(schema.sites).map(|item| uniform(item, schema)).collect();
    let (found, guess) = (interval::mean(nats).value, interval::mean(&uniform).value);
    (found > guess).then(|| {
        format!(
            "the likelihood bound, {found:.1} nats, is worse than guessing every class alike, {guess:.1} nats: the \
             network's endpoints at early times are far off; train it longer (train.steps or train.minutes)"
        )
    })
}

/// `-log p` of an item under uniform classes, given its number of nodes.
fn uniform(item: &[u32], schema: &Schema) -> f64 {
    let Layout::Graph(graph) = &schema.layout else {
        let sites = item.iter().filter(|&&id| id != ABSENT).count();
        return sites as f64 * (schema.classes as f64).ln();
    };
    let nodes = item[..graph.nodes].iter().filter(|&&id| id != ABSENT).count();
    let [per_node, per_pair] = [graph.node_classes.len(), graph.edge_classes].map(|classes| (classes as f64).ln());
    nodes as f64 * per_node + pair_count(nodes) as f64 * per_pair
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::graph::{GraphLayout, NodeClass};

    #[test]
    fn equal_samples_are_remarked_on_and_others_are_not() {
        assert!(on_samples(&[1, 2].repeat(8), 2, 1).is_some_and(|text| text.contains("all 8 samples")));
        assert_eq!(on_samples(&[1, 2].repeat(3), 2, 1), None, "too few to say");
        assert_eq!(on_samples(&[[1, 2].repeat(8), vec![1, 1]].concat(), 2, 1), None);
    }

    #[test]
    fn bounds_are_compared_with_guessing() {
        let schema = Schema { sites: 4, classes: 2, layout: Layout::Table };
        let ids = [0; 8];
        assert!(on_bound(&[2.8, 2.8], &ids, &schema).is_some() && on_bound(&[2.7, 2.7], &ids, &schema).is_none());
        let node_classes = ["C", "O"].map(|e| NodeClass { element: e.into(), charge: 0 }).to_vec();
        let layout = GraphLayout { nodes: 2, node_classes, edge_classes: 4, sizes: vec![0, 1, 1] };
        let graph = Schema { sites: 3, classes: 4, layout: Layout::Graph(layout) };
        let (two, one) = ([0, 1, 2], [0, ABSENT, ABSENT]);
        assert!(
            (uniform(&two, &graph) - 16f64.ln()).abs() < 1e-12 && (uniform(&one, &graph) - 2f64.ln()).abs() < 1e-12
        );
    }
}
