//! Conditioning of a batch: the sites and classes that its items have, labels, observed sites and constraints.
//!
//! # Examples
//! A padded graph: of three nodes and three pairs of nodes, the item has two nodes and one pair.
//! ```
//! use pushforward::burn::tensor::{Device, Tensor};
//! use pushforward::flow_map::conditioning::{Conditioning, item_sizes};
//! use pushforward::nn::{SiteShape, graph::GraphShape};
//! use pushforward::node_pairs::ABSENT;
//! use pushforward::tensor::to_host;
//!
//! let sites = SiteShape::graph(GraphShape { nodes: 3, node_classes: 2, edge_classes: 2 });
//! let ids = [1, 0, ABSENT, 1, ABSENT, ABSENT];
//! let like = Tensor::<1>::zeros([1], &Device::flex());
//! let site_mask = |conditioning: Conditioning| to_host(&conditioning.site_mask.unwrap());
//! let item = site_mask(Conditioning::of_items(&sites, &ids, &like));
//! assert_eq!((item_sizes(&sites, &ids), &item[..]), (vec![2], &[1.0, 1.0, 0.0, 1.0, 0.0, 0.0][..]));
//! // A batch of two new graphs: the first is like the item, the second has all three nodes.
//! let batch = Conditioning::of_sizes(&sites, &[2, 3], &like);
//! assert_eq!(site_mask(batch.slice(0..1)), item);
//! assert_eq!(site_mask(batch.select(&[1, 1])), [1.0; 2 * 6]);
//! ```

use std::ops::Range;

use burn::tensor::{Device, Int, Tensor};
use serde::{Deserialize, Serialize};

use crate::dual::Dual;
use crate::flow_map::constraint::Constraint;
use crate::flow_map::subsets::Subsets;
use crate::nn::SiteShape;
use crate::node_pairs::ABSENT;
use crate::setting::{ITEMS, SettingError, fraction, size};
use crate::tensor::{from_host, indices};

/// What a model is conditioned on.
///
/// The condition is dropped for a share of the training examples, so that the model also learns the unconditional
/// distribution: for samples without a condition, and for classifier-free guidance (Ho and Salimans 2022,
/// arXiv:2207.12598).
///
/// # Examples
/// ```
/// use pushforward::flow_map::conditioning::Condition;
/// let told: Condition = toml::from_str("kind = 'observed'\nlabels = true")?;
/// assert!(told.takes_any_subset() && told.takes_labels());
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Condition {
    /// Nothing.
    #[default]
    None,
    /// The label of the item in the data set.
    Label {
        /// Share of the examples whose label is hidden.
        #[serde(default = "tenth")]
        dropout: f64,
    },
    /// The first sites of the item; their number is uniform on 1 to `longest`. The network gets them without noise.
    Prefix {
        /// Share of the examples without a prefix.
        #[serde(default = "tenth")]
        dropout: f64,
        /// Longest prefix in sites; all sites but one if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        longest: Option<usize>,
    },
    /// Any subset of the sites, and the label if `labels` is set. The network gets the observed sites without noise, four
    /// times as long as other one-hot vectors, so that it can tell them from noise.
    Observed {
        /// Share of the examples without observed sites; the label is hidden in as large a share, independently.
        #[serde(default = "fifth")]
        dropout: f64,
        /// The law of the subsets.
        #[serde(default)]
        subsets: Subsets,
        /// Whether the model is conditioned on labels too.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        labels: bool,
    },
}

fn tenth() -> f64 {
    0.1
}

fn fifth() -> f64 {
    0.2
}

/// Length of the one-hot vectors of observed sites as the network gets them. Noise of two classes often looks like a
/// one-hot vector of length 1; of this length it hardly ever does.
const OBSERVED_LENGTH: f64 = 4.0;

impl Condition {
    /// Checks every setting against its range.
    ///
    /// # Errors
    /// Names the key and its allowed values.
    pub fn validate(&self) -> Result<(), SettingError> {
        match *self {
            Self::None => Ok(()),
            Self::Label { dropout } => fraction("dropout", dropout),
            Self::Prefix { dropout, longest } => {
                fraction("dropout", dropout)?;
                size("longest", longest.unwrap_or(1), 1..=ITEMS)
            }
            Self::Observed { dropout, .. } => fraction("dropout", dropout),
        }
    }

    /// Whether models are told labels.
    pub fn takes_labels(&self) -> bool {
        matches!(self, Self::Label { .. } | Self::Observed { labels: true, .. })
    }

    /// Whether models can be told the classes of any subset of the sites.
    pub fn takes_any_subset(&self) -> bool {
        matches!(self, Self::Observed { .. })
    }

    /// Length of the one-hot vectors of observed sites, as the network gets them.
    pub(super) fn observed_length(&self) -> f64 {
        if self.takes_any_subset() { OBSERVED_LENGTH } else { 1.0 }
    }
}

/// Masks, labels, observed sites and constraints of a batch; all `None` except for graphs, records, conditional models and
/// constrained samples.
///
/// # Examples
/// ```
/// use pushforward::burn::tensor::{Device, Tensor};
/// use pushforward::flow_map::{conditioning::Conditioning, constraint::Constraint};
/// use pushforward::nn::SiteShape;
///
/// let (x, sites) = (Tensor::<3>::zeros([2, 3, 4], &Device::flex()), SiteShape::line(3, 4));
/// // Both items begin with class 1, and do not end with class 0.
/// let ends = Constraint::all(sites.clone()).forbid(2, 0)?;
/// let conditioning = Conditioning::default().with_observed(&sites, [&[Some(1), None, None][..]], &x).with_constraint(Some(&ends), &x);
/// let logits: Vec<f32> = conditioning.mask_logits(x).into_data().iter().collect();
/// assert!(logits[0] < -1e8 && logits[1] == 0.0 && logits[4] == 0.0 && logits[8] < -1e8 && logits[9] == 0.0);
/// # Ok::<(), pushforward::flow_map::constraint::ConstraintError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Conditioning {
    /// One for the sites that an item has, zero for padding, `[batch, sites]`.
    pub site_mask: Option<Tensor<2>>,
    /// One for the classes that a site has, zero for padding, `[1, sites, classes]`.
    pub class_mask: Option<Tensor<3>>,
    /// One for the classes that a sample may take, else zero, `[1, sites, classes]`. Masks logits but not the noise, so
    /// that the noise has the distribution of training.
    pub constraint: Option<Tensor<3>>,
    /// Noise on the diagonal of the edge matrix, `[batch, nodes, edge classes]`: the published sampler of graphs has it
    /// at time 0, the published training does not. Only the published graph network takes it.
    pub diagonal_noise: Option<Tensor<3>>,
    /// Label of every item, `[batch]`, for models with label conditioning; the number of labels stands for a hidden
    /// one.
    pub labels: Option<Tensor<1, Int>>,
    /// Observed sites: one-hot vectors there and zeros elsewhere, `[batch, sites, classes]`, or `[1, sites, classes]`
    /// if they are the same for all items. The network gets them without noise at all times, and samples end there. For
    /// models that are trained with observed sites.
    pub observed: Option<Tensor<3>>,
}

/// Added to the logit of a masked class: finite, and the softmax is zero.
const MASKED: f64 = -1e9;

impl Conditioning {
    /// The masks of items of this shape; with the given numbers of nodes for graphs, of letters for records.
    pub fn of_sizes<const D: usize>(sites: &SiteShape, sizes: &[usize], like: &Tensor<D>) -> Self {
        let site_mask = sites.largest_size().map(|_| {
            let values: Vec<f64> = sizes.iter().flat_map(|&n| sites.sites_of(n)).collect();
            from_host(&values, [sizes.len(), sites.count], like)
        });
        Self { site_mask, class_mask: sites.class_mask(like), ..Self::default() }
    }

    /// The masks of items as class indices, with [`ABSENT`] for sites that an item does not have.
    pub fn of_items<const D: usize>(sites: &SiteShape, ids: &[u32], like: &Tensor<D>) -> Self {
        let mut found = Self::of_sizes(sites, &item_sizes(sites, ids), like);
        if found.site_mask.is_none() && ids.contains(&ABSENT) {
            let there: Vec<f64> = ids.iter().map(|&id| f64::from(u8::from(id != ABSENT))).collect();
            found.site_mask = Some(from_host(&there, [ids.len() / sites.count, sites.count], like));
        }
        found
    }

    /// The same with a constraint.
    #[must_use]
    pub fn with_constraint<const D: usize>(self, constraint: Option<&Constraint>, like: &Tensor<D>) -> Self {
        Self { constraint: constraint.map(|c| c.tensor(like)), ..self }
    }

    /// The same with observed sites: rows of the classes of the sites, `None` for sites that are not observed. One row
    /// is for all items; nothing is observed if there are no rows.
    ///
    /// # Panics
    /// If a row has another length than the items.
    #[must_use]
    pub fn with_observed<'a, const D: usize>(
        self,
        sites: &SiteShape,
        rows: impl IntoIterator<Item = &'a [Option<u32>]>,
        like: &Tensor<D>,
    ) -> Self {
        let (classes, mut observed, mut items) = (sites.classes, Vec::new(), 0);
        for row in rows {
            assert_eq!(row.len(), sites.count, "a row of observed sites has one entry for every site");
            let start = observed.len();
            observed.resize(start + sites.count * classes, 0.0);
            for (site, class) in row.iter().enumerate().filter_map(|(site, class)| Some((site, (*class)?))) {
                observed[start + site * classes + class as usize] = 1.0;
            }
            items += 1;
        }
        if items == 0 {
            return self;
        }
        Self { observed: Some(from_host(&observed, [items, sites.count, classes], like)), ..self }
    }

    /// The same without labels and observed sites: the unconditional prediction of classifier-free guidance.
    pub(super) fn unconditional(&self) -> Self {
        Self { labels: None, observed: None, ..self.clone() }
    }

    /// Selects items by index, in any order and with repetitions.
    pub fn select(&self, items: &[u32]) -> Self {
        let pick = |device: &Device| indices(items, [items.len()], device);
        self.map_items(|x| x.clone().select(0, pick(&x.device())), |x| x.clone().select(0, pick(&x.device())))
    }

    /// Selects a range of items.
    pub fn slice(&self, items: Range<usize>) -> Self {
        self.map_items(|x| x.slice_dim(0, items.clone()), |x| x.slice_dim(0, items.clone()))
    }

    /// Applies a selection of rows to all tensors that have one row per item.
    fn map_items(
        &self,
        matrix: impl Fn(Tensor<2>) -> Tensor<2>,
        vector: impl Fn(Tensor<1, Int>) -> Tensor<1, Int>,
    ) -> Self {
        // Tensors of three axes are flattened to two for the selection.
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

    /// Sets the entries of sites and classes that an item does not have to zero.
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

    /// Root-mean-square over the sites and classes that an item has.
    ///
    /// # Shapes
    /// - `x`: `[batch, sites, classes]`
    /// - output: `[batch, 1, 1]`
    pub(super) fn root_mean_square(&self, x: Tensor<3>) -> Tensor<3> {
        let squared = x.clone() * x;
        if self.site_mask.is_none() && self.class_mask.is_none() {
            return squared.mean_dim(2).mean_dim(1).sqrt();
        }
        let present = self.mask(squared.ones_like()).sum_dim(2).sum_dim(1).clamp_min(1.0);
        (self.mask(squared).sum_dim(2).sum_dim(1) / present).sqrt()
    }

    /// Replaces observed sites of a point by their one-hot vectors, times `length`: the input of the network.
    ///
    /// # Shapes
    /// - `x`, output: `[batch, sites, classes]`
    pub(super) fn show_observed(&self, x: Dual<3>, length: f64) -> Dual<3> {
        let Some(observed) = &self.observed else { return x };
        let free = observed.clone().sum_dim(2).neg() + 1.0;
        let x = x.linear(|x| x * free.clone());
        Dual { value: x.value + observed.clone() * length, tangent: x.tangent }
    }

    /// Masks the logits of classes that a site does not have.
    pub(super) fn mask_classes(&self, z: Tensor<3>) -> Tensor<3> {
        match &self.class_mask {
            Some(mask) => z + (mask.clone().neg() + 1.0) * MASKED,
            None => z,
        }
    }

    /// One for the classes that a site can have in the data: those it has at all, and at observed sites the observed
    /// one, `[1 or batch, sites, classes]`. `None` if these are all classes.
    pub(super) fn possible_classes(&self) -> Option<Tensor<3>> {
        let Some(observed) = &self.observed else { return self.class_mask.clone() };
        let free = observed.clone().sum_dim(2).neg() + 1.0;
        let elsewhere = match &self.class_mask {
            Some(mask) => mask.clone() * free,
            None => observed.ones_like() * free,
        };
        Some(elsewhere + observed.clone())
    }

    /// Masks the logits of classes that a site does not have, that the constraint forbids, or that differ from the
    /// observed class.
    ///
    /// # Shapes
    /// - `z`, output: `[batch, sites, classes]`
    pub fn mask_logits(&self, z: Tensor<3>) -> Tensor<3> {
        let z = self.mask_classes(z);
        let z = match &self.constraint {
            Some(constraint) => z + (constraint.clone().neg() + 1.0) * MASKED,
            None => z,
        };
        match &self.observed {
            Some(observed) => z + (observed.clone().sum_dim(2) - observed.clone()) * MASKED,
            None => z,
        }
    }
}

/// Number of nodes of every graph, or of letters of every record; empty for data of which all items have all sites.
pub fn item_sizes(sites: &SiteShape, ids: &[u32]) -> Vec<usize> {
    let Some(largest) = sites.largest_size() else { return Vec::new() };
    ids.chunks(sites.count).map(|item| item[..largest].iter().filter(|&&id| id != ABSENT).count()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::graph::GraphShape;
    use crate::tensor::to_host;

    #[test]
    fn absent_sites_and_classes_do_not_count() {
        let sites = SiteShape::graph(GraphShape { nodes: 3, node_classes: 1, edge_classes: 2 });
        let like = Tensor::<1>::zeros([1], &Device::flex());
        let conditioning = Conditioning::of_sizes(&sites, &[2, 3], &like);
        let x = Tensor::<3>::full([2, 6, 2], 3.0, &Device::flex());
        assert_eq!(to_host(&conditioning.root_mean_square(x.clone())), [3.0, 3.0]);
        assert_eq!(to_host(&Conditioning::default().root_mean_square(x)), [3.0, 3.0]);
    }
}
