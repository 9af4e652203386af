//! Batches of objectives: items with their noise, labels, observed sites and weights.

use burn::module::Module;
use burn::tensor::{Int, Tensor};

use crate::flow_map::backbone::Backbone;
use crate::flow_map::conditioning::Condition;
use crate::flow_map::conditioning::{Conditioning, item_sizes};
use crate::flow_map::interpolant::{Noise, interpolate, source_tensor};
use crate::flow_map::model::FlowMapModel;
use crate::flow_map::subsets::Subsets;
use crate::nn::SiteShape;
use crate::nn::graph::GraphShape;
use crate::node_pairs::{ABSENT, pair_count};
use crate::rng::Stream;
use crate::tensor::{from_host, indices, one_hot};

/// A batch of items as class indices.
#[derive(Clone, Debug)]
pub struct IdBatch {
    /// `batch * sites` indices, item by item; [`ABSENT`] for sites that an item does not have.
    pub ids: Vec<u32>,
    /// One label per item, for models with label conditioning.
    pub labels: Option<Vec<u32>>,
}

/// How items become noised points.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchConfig {
    /// The noise.
    pub noise: Noise,
    /// What the model is conditioned on.
    pub condition: Condition,
    /// For graphs, weight of the mean loss over pairs of nodes, relative to the mean loss over nodes.
    pub edge_weight: f64,
}

impl Default for BatchConfig {
    /// Standard normal noise and no condition.
    fn default() -> Self {
        Self { noise: Noise::default(), condition: Condition::None, edge_weight: 1.0 }
    }
}

/// The two ends of the paths of a batch, noise and data, with the conditioning.
#[derive(Clone, Debug)]
pub struct NoisedBatch {
    /// The noise, `[batch, sites, classes]`.
    pub x0: Tensor<3>,
    /// The data as one-hot vectors, `[batch, sites, classes]`; zero for sites that an item does not have.
    pub x1: Tensor<3>,
    /// The data as class indices, `[batch, sites]`.
    pub ids: Tensor<2, Int>,
    /// Masks, labels and observed sites.
    pub conditioning: Conditioning,
    /// Weights of the sites in the mean over an item, `[batch, sites]`; equal weights if `None`.
    weights: Option<Tensor<2>>,
}

impl NoisedBatch {
    /// Draws the noise of a batch from the stream `source`, and what is hidden of its conditions from `hidden`.
    ///
    /// If `hidden` is `None`, all labels are given to the model and no site is observed.
    ///
    /// # Panics
    /// If the length of the batch is not a multiple of the number of sites, or the condition is a label and labels are
    /// missing or out of range.
    pub fn new<N: Backbone>(
        model: &FlowMapModel<N>,
        batch: &IdBatch,
        config: &BatchConfig,
        source: &mut Stream,
        hidden: Option<&mut Stream>,
    ) -> Self {
        let sites = model.sites();
        let n = batch.ids.len() / sites.count;
        assert_eq!(batch.ids.len(), n * sites.count, "a batch holds whole items of {} sites", sites.count);
        let device = model.devices().into_iter().next().expect("a model has parameters, and they lie on a device");
        let noise = config.noise.source.draw_items(&sites, n, source);
        let x0 = source_tensor(noise, [n, sites.count, sites.classes], &device);
        let mut conditioning = Conditioning::of_items(&sites, &batch.ids, &x0);
        let ids: Vec<u32> = batch.ids.iter().map(|&id| if id == ABSENT { 0 } else { id }).collect();
        let ids = indices(&ids, [n, sites.count], &device);
        let x1 = conditioning.mask(one_hot(ids.clone(), sites.classes, &x0));
        match (config.condition, hidden) {
            (Condition::Label { dropout }, hidden) => {
                let labels = labels(model, batch, n, dropout, hidden);
                conditioning.labels = Some(indices(&labels, [n], &device));
            }
            (Condition::Prefix { dropout, longest }, Some(hidden)) => {
                let longest = longest.unwrap_or(sites.count - 1).min(sites.count);
                let mask = prefixes(n, sites.count, longest, dropout, hidden);
                conditioning.observed = Some(x1.clone() * from_host(&mask, [n, sites.count, 1], &x1));
            }
            (Condition::Observed { dropout, subsets, labels: labelled }, mut hidden) => {
                if labelled {
                    let labels = labels(model, batch, n, dropout, hidden.as_deref_mut());
                    conditioning.labels = Some(indices(&labels, [n], &device));
                }
                if let Some(hidden) = hidden {
                    let mask = shown(&sites, &batch.ids, subsets, dropout, hidden);
                    conditioning.observed = Some(x1.clone() * from_host(&mask, [n, sites.count, 1], &x1));
                }
            }
            (Condition::None | Condition::Prefix { .. }, _) => {}
        }
        let weights = match sites.as_graph() {
            Some(graph) => {
                let weights = site_weights(graph, &item_sizes(&sites, &batch.ids), config.edge_weight);
                Some(from_host(&weights, [n, sites.count], &x0))
            }
            // Every letter counts the same, so that the sum over a batch is that of its letters.
            None => conditioning.site_mask.clone().map(|mask| mask / sites.count as f64),
        };
        Self { x1, x0: config.noise.shape(x0, sites, &conditioning), ids, conditioning, weights }
    }

    /// Number of items.
    pub fn len(&self) -> usize {
        self.x0.dims()[0]
    }

    /// Whether the batch has no items.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All but the last `n` items, and the last `n` items.
    ///
    /// # Panics
    /// If there are fewer than `n` items.
    pub fn split(self, n: usize) -> (Self, Self) {
        let length = self.len();
        assert!(n <= length, "axis 0 of the batch: {n} items cannot be split off {length}");
        let first = length - n;
        let part = |start: usize, length: usize| Self {
            x0: self.x0.clone().slice_dim(0, start..start + length),
            x1: self.x1.clone().slice_dim(0, start..start + length),
            ids: self.ids.clone().slice_dim(0, start..start + length),
            conditioning: self.conditioning.slice(start..start + length),
            weights: self.weights.clone().map(|w| w.slice_dim(0, start..start + length)),
        };
        if n == 0 {
            let none = part(0, 0);
            return (self, none);
        }
        (part(0, first), part(first, n))
    }

    /// The points `x_t`, `[batch, sites, classes]`; every item has its own time.
    pub fn at(&self, times: &[f64]) -> Tensor<3> {
        interpolate(self.x0.clone(), self.x1.clone(), times)
    }

    /// The (weighted) mean over the sites of every item.
    ///
    /// # Shapes
    /// - `per_site`: `[batch, sites]`
    /// - output: `[batch]`
    pub fn over_sites(&self, per_site: Tensor<2>) -> Tensor<1> {
        match &self.weights {
            Some(weights) => (per_site * weights.clone()).sum_dim(1).squeeze_dim(1),
            None => per_site.mean_dim(1).squeeze_dim(1),
        }
    }
}

/// The labels of a batch; those hidden by label dropout are replaced by the number of labels.
fn labels<N: Backbone>(
    model: &FlowMapModel<N>,
    batch: &IdBatch,
    n: usize,
    dropout: f64,
    hidden: Option<&mut Stream>,
) -> Vec<u32> {
    let count = model.label_count().expect("a model whose condition is a label has labels") as u32;
    let labels = batch.labels.clone().expect("a batch for a model whose condition is a label has labels");
    assert_eq!(labels.len(), n, "a batch of {n} items has as many labels");
    assert!(labels.iter().all(|&label| label < count), "labels are below {count}");
    match hidden {
        Some(hidden) => {
            labels.into_iter().map(|label| if hidden.uniform() < dropout { count } else { label }).collect()
        }
        None => labels,
    }
}

/// One for observed sites, a prefix of random length of every item, and zero for the others.
fn prefixes(n: usize, sites: usize, longest: usize, dropout: f64, hidden: &mut Stream) -> Vec<f64> {
    let mut item = || {
        let (shown, length) = (hidden.uniform() >= dropout, 1 + hidden.below(longest));
        (0..sites).map(move |i| f64::from(u8::from(shown && i < length)))
    };
    (0..n).flat_map(|_| item()).collect()
}

/// One for the sites that are shown of every item, zero for the others.
fn shown(sites: &SiteShape, ids: &[u32], subsets: Subsets, dropout: f64, hidden: &mut Stream) -> Vec<f64> {
    let item = |item: &[u32]| {
        let all_hidden = hidden.uniform() < dropout;
        let shown = subsets.draw(sites, item, hidden);
        shown.into_iter().map(move |shown| f64::from(u8::from(shown && !all_hidden)))
    };
    ids.chunks(sites.count).flat_map(item).collect()
}

/// Weights of the sites of graphs: the mean over the nodes plus `edge_weight` times the mean over the pairs of nodes,
/// without padding.
fn site_weights(graph: GraphShape, nodes: &[usize], edge_weight: f64) -> Vec<f64> {
    let row = |&n: &usize| {
        let (node, pair) = (1.0 / n.max(1) as f64, edge_weight / pair_count(n).max(1) as f64);
        graph.sites_of(n).enumerate().map(move |(i, there)| there * if i < graph.nodes { node } else { pair })
    };
    nodes.iter().flat_map(row).collect()
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::nn::mlp::MlpConfig;
    use crate::rng::{Purpose, stream};
    use crate::tensor::to_host;

    /// Three items of four classes or of a graph of two nodes, each with an observed prefix.
    fn batch(sites: SiteShape) -> NoisedBatch {
        let network = MlpConfig::default().init(sites.clone(), &Device::flex(), &mut stream(0, Purpose::Init, 0));
        let ids = IdBatch { ids: (0..3 * sites.count as u32).map(|i| i % 2).collect(), labels: None };
        let config = BatchConfig { condition: Condition::Prefix { dropout: 0.0, longest: None }, ..Default::default() };
        let mut noise = stream(0, Purpose::Source, 0);
        let hidden = &mut stream(0, Purpose::Condition, 0);
        NoisedBatch::new(&FlowMapModel::new(network, sites), &ids, &config, &mut noise, Some(hidden))
    }

    fn numbers(batch: &NoisedBatch) -> [Vec<f64>; 4] {
        let observed = batch.conditioning.observed.as_ref().expect("prefixes are observed");
        let weights = batch.weights.as_ref().map_or_else(Vec::new, to_host);
        [to_host(&batch.x0), to_host(&batch.x1), to_host(observed), weights]
    }

    #[test]
    fn the_parts_of_a_split_are_the_batch_for_every_size() {
        let graph = GraphShape { nodes: 2, node_classes: 2, edge_classes: 2 };
        for sites in [SiteShape::line(2, 4), SiteShape::graph(graph)] {
            let whole = batch(sites);
            for n in 0..=3 {
                let (first, last) = whole.clone().split(n);
                assert_eq!((first.len(), last.len()), (3 - n, n));
                let joined: Vec<Vec<f64>> =
                    numbers(&first).into_iter().zip(numbers(&last)).map(|(a, b)| [a, b].concat()).collect();
                assert_eq!(joined, numbers(&whole), "the last {n} split off");
            }
        }
    }

    #[test]
    #[should_panic(expected = "axis 0 of the batch: 4 items cannot be split off 3")]
    fn no_more_items_are_split_off_than_there_are() {
        batch(SiteShape::line(2, 4)).split(4);
    }
}
