//! Labels of molecules for conditional models: bins of a property, or scaffolds.
//!
//! # Examples
//! ```
//! use std::path::Path;
//! use pushforward::data::DataConfig;
//! let text = "set = 'small-molecules'\natoms = 3\nlabel = { by = 'rings', edges = [1.0] }";
//! let train = toml::from_str::<DataConfig>(text)?.load(Path::new("unused"), 0)?.train;
//! assert_eq!(train.label_count(), Some(2));
//! assert_eq!((train.label_of("CCO"), train.label_of("C1CC1")), (Some(0), Some(1)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::HashMap;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::chem::Perceived;
use crate::data::DataError;

/// How molecules are labelled. In a recipe: `label = { by = "qed", edges = [0.4, 0.5, 0.6] }`.
///
/// By a property, the label is the index of the bin: 0 below the first edge, the number of edges from the last edge on.
/// By scaffold, the label is the rank of the scaffold by frequency in the training part, from 0, for the `most` most
/// frequent ones; all others share the next label. The empty scaffold of molecules without rings counts as a scaffold.
/// Properties are those of [`chem::properties`](crate::chem::properties), computed at every load: half a minute for
/// 100,000 molecules on two cores.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "kebab-case", deny_unknown_fields)]
#[expect(missing_docs, reason = "properties by their names")]
pub enum MoleculeLabel {
    Weight { edges: Vec<f64> },
    Logp { edges: Vec<f64> },
    Tpsa { edges: Vec<f64> },
    Qed { edges: Vec<f64> },
    Rings { edges: Vec<f64> },
    Scaffold { most: usize },
}

/// Computes the label of a molecule.
#[derive(Debug)]
pub(super) enum Labeller {
    Bins {
        /// Index into [`Properties::values`](crate::chem::Properties::values).
        property: usize,
        edges: Vec<f64>,
    },
    Scaffolds(HashMap<String, u32>),
}

impl MoleculeLabel {
    /// The labeller, given the canonical SMILES of the training part.
    ///
    /// # Errors
    /// If there are no edges, they do not increase, or `most` is zero.
    pub(super) fn labeller(&self, train: &[&str]) -> Result<Labeller, DataError> {
        let (property, edges) = match self {
            Self::Weight { edges } => (0, edges),
            Self::Logp { edges } => (1, edges),
            Self::Tpsa { edges } => (2, edges),
            Self::Qed { edges } => (3, edges),
            Self::Rings { edges } => (4, edges),
            Self::Scaffold { most } => return scaffolds(train, *most),
        };
        if edges.is_empty() || !edges.iter().all(|e| e.is_finite()) || !edges.windows(2).all(|e| e[0] < e[1]) {
            let problem = format!("its edges are increasing numbers, at least one, found {edges:?}");
            return Err(DataError::Setting { key: "label", problem });
        }
        Ok(Labeller::Bins { property, edges: edges.clone() })
    }
}

fn scaffolds(train: &[&str], most: usize) -> Result<Labeller, DataError> {
    if most == 0 {
        let problem = "`most`, the number of scaffolds with a label of their own, is at least 1".into();
        return Err(DataError::Setting { key: "label", problem });
    }
    let found: Vec<String> = train.par_iter().filter_map(|smiles| scaffold(smiles)).collect();
    let mut counts: HashMap<String, usize> = HashMap::new();
    found.into_iter().for_each(|scaffold| *counts.entry(scaffold).or_default() += 1);
    let mut order: Vec<(String, usize)> = counts.into_iter().collect();
    order.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    Ok(Labeller::Scaffolds(order.into_iter().take(most).map(|(scaffold, _)| scaffold).zip(0..).collect()))
}

fn scaffold(canonical: &str) -> Option<String> {
    Perceived::of(canonical).ok().map(|molecule| molecule.scaffold())
}

impl Labeller {
    /// Number of labels.
    pub(super) fn count(&self) -> usize {
        match self {
            Self::Bins { edges, .. } => edges.len() + 1,
            Self::Scaffolds(known) => known.len() + 1,
        }
    }

    /// The label of a molecule; `None` if the text is not a SMILES.
    pub(super) fn label(&self, canonical: &str) -> Option<u32> {
        Some(match self {
            Self::Bins { property, edges } => {
                let value = Perceived::of(canonical).ok()?.properties().values()[*property];
                edges.iter().filter(|edge| value >= **edge).count() as u32
            }
            Self::Scaffolds(known) => known.get(&scaffold(canonical)?).copied().unwrap_or(known.len() as u32),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_count_edges_and_scaffolds_go_by_how_often_they_occur() {
        let bins = MoleculeLabel::Rings { edges: vec![1.0, 2.0] }.labeller(&[]).unwrap();
        let labels = ["CCO", "C1CC1", "C1CC2CC12", "C1CC2CC3C1C23"].map(|s| bins.label(s).unwrap());
        assert_eq!((labels, bins.count()), ([0, 1, 2, 2], 3));
        let train = ["CC1CC1", "C1CC1", "c1ccccc1", "Cc1ccccc1", "OC1CC1", "CCC", "C1CCC1"];
        let known = MoleculeLabel::Scaffold { most: 2 }.labeller(&train).unwrap();
        let labels = ["NC1CC1", "Oc1ccccc1", "CCCC", "C1CCC1"].map(|s| known.label(s).unwrap());
        assert_eq!((labels, known.count()), ([0, 1, 2, 2], 3));
    }

    #[test]
    fn edges_that_make_no_bins_are_refused() {
        for edges in [vec![], vec![2.0, 1.0], vec![f64::NAN]] {
            let message = MoleculeLabel::Qed { edges }.labeller(&[]).unwrap_err().to_string();
            assert!(message.contains("label") && message.contains("increasing"), "{message}");
        }
        assert!(MoleculeLabel::Scaffold { most: 0 }.labeller(&["CC"]).is_err());
    }
}
