//! What is fixed about the items of a batch before the network is asked: the sites and classes they have, labels, observed sites,
//! constraints.

use std::ops::Range;

use burn::tensor::{Device, Int, Tensor};
use serde::{Deserialize, Serialize};

use crate::dual::Dual;
use crate::flow_map::constraint::Constraint;
use crate::nn::SiteShape;
use crate::node_pairs::ABSENT;
use crate::setting::{SettingError, fraction, require};
use crate::tensor::{from_host, indices};

/// What a model is told of an item beside its noised point.
///
/// It is hidden from a share of the examples, so that the model also knows the law of all items: samples need not name a
/// condition, and guidance has something to compare with (Ho and Salimans 2022, arXiv:2207.12598).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Condition {
    /// Nothing.
    #[default]
    None,
    /// The label that the data set gives it.
    Label {
        /// Share of the examples whose label is hidden.
        #[serde(default = "tenth")]
        dropout: f64,
    },
    /// Its first sites, as many as a uniform draw from 1 to `longest` says; the network sees them as they are in the end.
    Prefix {
        /// Share of the examples of which nothing is told.
        #[serde(default = "tenth")]
        dropout: f64,
        /// Most sites that are told; all but one, if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        longest: Option<usize>,
    },
}

fn tenth() -> f64 {
    0.1
}

impl Condition {
    /// Checks every setting against its range.
    ///
    /// # Errors
    /// The key and what it may be.
    pub fn validate(&self) -> Result<(), SettingError> {
        match *self {
            Self::None => Ok(()),
            Self::Label { dropout } => fraction("dropout", dropout),
            Self::Prefix { dropout, longest } => {
                fraction("dropout", dropout)?;
                require(longest != Some(0), "longest", "is at least 1, found 0")
            }
        }
    }
}

/// What is fixed about the items of a batch; empty for all but graphs, conditional models and constrained samples.
///
/// # Examples
/// ```
/// use pushforward::burn::tensor::{Device, Tensor};
/// use pushforward::flow_map::conditioning::Conditioning;
/// use pushforward::nn::SiteShape;
///
/// let x = Tensor::<3>::zeros([2, 3, 4], &Device::flex());
/// // Both items begin with class 1.
/// let conditioning = Conditioning::default().with_prefix(SiteShape::line(3, 4), &[1], &x);
/// let logits: Vec<f32> = conditioning.mask_logits(x).into_data().iter().collect();
/// assert!(logits[0] < -1e8 && logits[1] == 0.0 && logits[4] == 0.0);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Conditioning {
    /// Which sites an item has, `[batch, sites]`, one or zero.
    pub site_mask: Option<Tensor<2>>,
    /// Which classes a site has, `[1, sites, classes]`, one or zero.
    pub class_mask: Option<Tensor<3>>,
    /// Which classes a sample may take, `[1, sites, classes]`, one or zero. It masks logits and leaves the noise alone, which
    /// stays what the network was trained on.
    pub constraint: Option<Tensor<3>>,
    /// Noise on the diagonal of the edge matrix, `[batch, nodes, edge classes]`, as the published sampler of graphs has it at
    /// time 0 and the published training never; only the published graph network takes it.
    pub diagonal_noise: Option<Tensor<3>>,
    /// The label of every item, `[batch]`, for models with that condition; the number of labels where it is hidden.
    pub labels: Option<Tensor<1, Int>>,
    /// The sites that the network sees as they are at time 1, whatever the point is there, and that end there: one-hot
    /// vectors there and zeros elsewhere, `[batch, sites, classes]`, or one row for all. For models that are trained with such sites.
    pub observed: Option<Tensor<3>>,
}

/// The logit of a masked class: finite, and zero after a softmax.
const MASKED: f64 = -1e9;

impl Conditioning {
    /// For items of these numbers of nodes, where the sites are those of a graph.
    pub fn of_sizes<const D: usize>(sites: SiteShape, nodes: &[usize], like: &Tensor<D>) -> Self {
        let Some(graph) = sites.as_graph() else { return Self::default() };
        let values: Vec<f64> = nodes.iter().flat_map(|&n| graph.sites_of(n)).collect();
        let site_mask = from_host(&values, [nodes.len(), sites.count], like);
        Self { site_mask: Some(site_mask), class_mask: Some(graph.live(like)), ..Self::default() }
    }

    /// For items as class indices, [`ABSENT`] where an item has no such site.
    pub fn of_items<const D: usize>(sites: SiteShape, ids: &[u32], like: &Tensor<D>) -> Self {
        Self::of_sizes(sites, &node_counts(sites, ids), like)
    }

    /// The same under a constraint.
    #[must_use]
    pub fn with_constraint<const D: usize>(self, constraint: Option<&Constraint>, like: &Tensor<D>) -> Self {
        Self { constraint: constraint.map(|c| c.tensor(like)), ..self }
    }

    /// The same of items that begin with these classes.
    #[must_use]
    pub fn with_prefix<const D: usize>(self, sites: SiteShape, prefix: &[u32], like: &Tensor<D>) -> Self {
        if prefix.is_empty() {
            return self;
        }
        let classes = sites.classes;
        let mut observed = vec![0.0; sites.count * classes];
        prefix.iter().enumerate().for_each(|(i, &class)| observed[i * classes + class as usize] = 1.0);
        Self { observed: Some(from_host(&observed, [1, sites.count, classes], like)), ..self }
    }

    /// The same without labels and observed sites: what classifier-free guidance compares with.
    pub(super) fn unconditional(&self) -> Self {
        Self { labels: None, observed: None, ..self.clone() }
    }

    /// Items in another order, or several times.
    pub fn select(&self, items: &[u32]) -> Self {
        let pick = |device: &Device| indices(items, [items.len()], device);
        self.map_items(|x| x.clone().select(0, pick(&x.device())), |x| x.clone().select(0, pick(&x.device())))
    }

    /// Some of the items.
    pub fn slice(&self, items: Range<usize>) -> Self {
        self.map_items(|x| x.slice_dim(0, items.clone()), |x| x.slice_dim(0, items.clone()))
    }

    /// Applies a selection of rows to everything that has one row an item.
    fn map_items(
        &self,
        matrix: impl Fn(Tensor<2>) -> Tensor<2>,
        vector: impl Fn(Tensor<1, Int>) -> Tensor<1, Int>,
    ) -> Self {
        // Rows of three axes are selected as rows of two.
        let rows = |x: Tensor<3>| {
            let [n, a, b] = x.dims();
            let x = matrix(x.reshape([n, a * b]));
            let n = x.dims()[0];
            x.reshape([n, a, b])
        };
        Self {
            site_mask: self.site_mask.clone().map(&matrix),
            class_mask: self.class_mask.clone(),
            constraint: self.constraint.clone(),
            diagonal_noise: self.diagonal_noise.clone().map(rows),
            labels: self.labels.clone().map(vector),
            observed: self.observed.clone().map(|x| if x.dims()[0] == 1 { x } else { rows(x) }),
        }
    }

    /// Zeroes the entries that an item does not have.
    ///
    /// # Shapes
    /// - `x`, output: `[batch, sites, classes]`
    pub fn mask(&self, x: Tensor<3>) -> Tensor<3> {
        let x = match &self.class_mask {
            Some(mask) => x * mask.clone(),
            None => x,
        };
        match &self.site_mask {
            Some(mask) => x * mask.clone().unsqueeze_dim(2),
            None => x,
        }
    }

    /// What the network sees of a point: observed sites as they are at time 1.
    ///
    /// # Shapes
    /// - `x`, output: `[batch, sites, classes]`
    pub(super) fn show_observed(&self, x: Dual<3>) -> Dual<3> {
        let Some(observed) = &self.observed else { return x };
        let free = observed.clone().sum_dim(2).neg() + 1.0;
        let x = x.linear(|x| x * free.clone());
        Dual { value: x.value + observed.clone(), tangent: x.tangent }
    }

    /// Masks the logits of classes that a site does not have, may not take, or is observed not to have.
    ///
    /// # Shapes
    /// - `z`, output: `[batch, sites, classes]`
    pub fn mask_logits(&self, z: Tensor<3>) -> Tensor<3> {
        let masked = |z: Tensor<3>, mask: &Tensor<3>| z + (mask.clone().neg() + 1.0) * MASKED;
        let z = [&self.class_mask, &self.constraint].into_iter().flatten().fold(z, masked);
        match &self.observed {
            Some(observed) => z + (observed.clone().sum_dim(2) - observed.clone()) * MASKED,
            None => z,
        }
    }
}

/// Numbers of nodes of items of graphs; empty for items of other shapes.
pub fn node_counts(sites: SiteShape, ids: &[u32]) -> Vec<usize> {
    let Some(graph) = sites.as_graph() else { return Vec::new() };
    ids.chunks(sites.count).map(|item| item[..graph.nodes].iter().filter(|&&id| id != ABSENT).count()).collect()
}
