//! What is known of the items of a batch from the start: which sites and classes they have, and what the model is told.

use std::ops::Range;

use burn::tensor::{Device, Int, Tensor};

use crate::dual::Dual;
use crate::flow_map::constraint::Constraint;
use crate::nn::SiteShape;
use crate::node_pairs::ABSENT;
use crate::tensor::{from_host, indices};

/// What is known of the items of a batch from the start; nothing, for all but graphs, conditions and constrained samples.
#[derive(Clone, Debug, Default)]
pub struct Conditioning {
    /// Which sites an item has, `[batch, sites]`, one or zero.
    pub present: Option<Tensor<2>>,
    /// Which classes a site has, `[1, sites, classes]`, one or zero.
    pub open: Option<Tensor<3>>,
    /// Which classes a sample may take, `[1, sites, classes]`, one or zero. It closes logits and leaves the noise alone, which
    /// stays what the network was trained on.
    pub allowed: Option<Tensor<3>>,
    /// Noise on the diagonal of the edge matrix, `[batch, nodes, edge classes]`, as the published sampler of graphs has it at
    /// time 0 and the published training never; only the published graph network takes it.
    pub diagonal: Option<Tensor<3>>,
    /// The label of every item, `[batch]`, for models with that condition; the number of labels where it is hidden.
    pub labels: Option<Tensor<1, Int>>,
    /// The sites that the network sees as they will be at time 1, whatever the point is there, and that end there: one-hot
    /// vectors there and zeros elsewhere, `[batch, sites, classes]`, or one row for all. For models that are trained with such sites.
    pub known: Option<Tensor<3>>,
}

/// Whether one row stands for all items.
fn one(known: &Tensor<3>) -> bool {
    known.dims()[0] == 1
}

/// The logit of a class that a site does not have: finite, and nothing after a softmax.
const CLOSED: f64 = -1e9;

impl Conditioning {
    /// For items of these numbers of nodes, where the sites are those of a graph.
    pub fn of_sizes<const D: usize>(sites: SiteShape, nodes: &[usize], like: &Tensor<D>) -> Self {
        let Some(graph) = sites.as_graph() else { return Self::default() };
        let values: Vec<f64> = nodes.iter().flat_map(|&n| graph.sites_of(n)).collect();
        let present = from_host(&values, [nodes.len(), sites.count], like);
        Self { present: Some(present), open: Some(graph.live(like)), ..Self::default() }
    }

    /// For items as class indices, [`ABSENT`] where an item has no such site.
    pub fn of_items<const D: usize>(sites: SiteShape, ids: &[u32], like: &Tensor<D>) -> Self {
        Self::of_sizes(sites, &sizes(sites, ids), like)
    }

    /// The same under a constraint.
    pub fn restrict<const D: usize>(self, allowed: Option<&Constraint>, like: &Tensor<D>) -> Self {
        Self { allowed: allowed.map(|a| a.tensor(like)), ..self }
    }

    /// The same of items that begin with these classes.
    pub fn begin<const D: usize>(self, sites: SiteShape, prefix: &[u32], like: &Tensor<D>) -> Self {
        if prefix.is_empty() {
            return self;
        }
        let classes = sites.classes;
        let mut known = vec![0.0; sites.count * classes];
        prefix.iter().enumerate().for_each(|(i, &class)| known[i * classes + class as usize] = 1.0);
        Self { known: Some(from_host(&known, [1, sites.count, classes], like)), ..self }
    }

    /// Items in another order, or several times.
    pub fn select(&self, items: &[u32]) -> Self {
        let pick = |device: &Device| indices(items, [items.len()], device);
        Self {
            present: self.present.clone().map(|p| p.clone().select(0, pick(&p.device()))),
            open: self.open.clone(),
            allowed: self.allowed.clone(),
            diagonal: self.diagonal.clone().map(|d| d.clone().select(0, pick(&d.device()))),
            labels: self.labels.clone().map(|l| l.clone().select(0, pick(&l.device()))),
            known: self.known.clone().map(|k| if one(&k) { k } else { k.clone().select(0, pick(&k.device())) }),
        }
    }

    /// Some of the items.
    pub fn slice(&self, items: Range<usize>) -> Self {
        Self {
            present: self.present.clone().map(|p| p.slice_dim(0, items.clone())),
            open: self.open.clone(),
            allowed: self.allowed.clone(),
            diagonal: self.diagonal.clone().map(|d| d.slice_dim(0, items.clone())),
            labels: self.labels.clone().map(|l| l.slice_dim(0, items.clone())),
            known: self.known.clone().map(|k| if one(&k) { k } else { k.slice_dim(0, items) }),
        }
    }

    /// Zeroes the entries that an item does not have.
    ///
    /// # Shapes
    /// - `x`, output: `[batch, sites, classes]`
    pub fn keep(&self, x: Tensor<3>) -> Tensor<3> {
        let x = match &self.open {
            Some(open) => x * open.clone(),
            None => x,
        };
        match &self.present {
            Some(present) => x * present.clone().unsqueeze_dim(2),
            None => x,
        }
    }

    /// Noise that only stands where an item has something, and is `edge_noise` times as large on pairs of nodes.
    ///
    /// # Shapes
    /// - `x0`, output: `[batch, sites, classes]`
    pub fn noise(&self, x0: Tensor<3>, sites: SiteShape, edge_noise: f64) -> Tensor<3> {
        let x0 = self.keep(x0);
        match sites.as_graph() {
            Some(graph) if edge_noise != 1.0 => {
                let scales: Vec<f64> =
                    (0..sites.count).map(|i| if i < graph.nodes { 1.0 } else { edge_noise }).collect();
                let scales: Tensor<3> = from_host(&scales, [1, sites.count, 1], &x0);
                x0 * scales
            }
            _ => x0,
        }
    }

    /// What the network sees of a point: known sites as they will be at time 1.
    ///
    /// # Shapes
    /// - `x`, output: `[batch, sites, classes]`
    pub(super) fn seen(&self, x: Dual<3>) -> Dual<3> {
        let Some(known) = &self.known else { return x };
        let free = known.clone().sum_dim(2).neg() + 1.0;
        let x = x.linear(|x| x * free.clone());
        Dual { value: x.value + known.clone(), tangent: x.tangent }
    }

    /// Puts the logits of classes that a site does not have, may not take, or is known not to have, where a softmax gives
    /// them nothing.
    ///
    /// # Shapes
    /// - `z`, output: `[batch, sites, classes]`
    pub fn close(&self, z: Tensor<3>) -> Tensor<3> {
        let shut = |z: Tensor<3>, mask: &Tensor<3>| z + (mask.clone().neg() + 1.0) * CLOSED;
        let z = [&self.open, &self.allowed].into_iter().flatten().fold(z, shut);
        match &self.known {
            Some(known) => z + (known.clone().sum_dim(2) - known.clone()) * CLOSED,
            None => z,
        }
    }
}

/// Numbers of nodes of items of graphs; empty for items of other shapes.
pub fn sizes(sites: SiteShape, ids: &[u32]) -> Vec<usize> {
    let Some(graph) = sites.as_graph() else { return Vec::new() };
    ids.chunks(sites.count).map(|item| item[..graph.nodes].iter().filter(|&&id| id != ABSENT).count()).collect()
}
