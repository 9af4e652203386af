//! Metrics of molecules.
//!
//! | metric | denominator |
//! |---|---|
//! | `validity_strict`, `validity_largest_fragment` | samples |
//! | `uniqueness` | valid samples, by either validity: the estimator says which |
//! | `novelty` | distinct valid samples; counts those not in the training split |
//! | `valid_unique_novel` | samples; by strict validity |
//! | `label_accuracy` | strictly valid samples; counts those of the label they were conditioned on |
//! | `coverage`, `coverage_held_out` | molecules of an enumerated set, and of its held-out splits |
//!
//! Distances compare the strictly valid samples, duplicates included, with the training split: Wasserstein distances of
//! properties, total variation of atoms, bonds and sizes, a Frechet distance on a fixed list of descriptors (each in
//! units of its standard deviation in the training split), the Frechet distance on [`ChemNet`]'s features if that
//! network is given, and maximum mean discrepancies of graph statistics. The same rows for the test split, whose
//! sampler is `held-out data`, are the values that a perfect generator would reach. Uniqueness and coverage depend on
//! the number of samples and have no interval of a fraction, because duplicates are not independent trials.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use rayon::prelude::*;

use crate::chem::fingerprint::{Fingerprint, WORDS};
use crate::chem::properties::DESCRIPTORS;
use crate::chem::{Molecule, Perceived, Properties, Verdict, check};
use crate::data::graph::GraphLayout;
use crate::data::{DataConfig, Dataset, Splits};
use crate::flow_map::sample::Samples;
use crate::hash::sha256;
use crate::metrics::divergence::total_variation;
use crate::metrics::frechet::{Moments, frechet, too_few};
use crate::metrics::graph_stats::{Graph, Statistic};
use crate::metrics::report::Row;
use crate::metrics::similarity::{cosine, internal_diversity, nearest};
use crate::metrics::wasserstein::wasserstein;
use crate::metrics::{entropy, interval};
use crate::run::evaluate::chemnet::ChemNet;
use crate::run::evaluate::metrics::SampleMetrics;
use crate::run::held_out::{REFERENCE_ITEMS, items};

/// Maximum number of molecules on either side of a comparison of fingerprints.
const FINGERPRINTS: usize = 5_000;
/// Maximum number of graphs on either side of a maximum mean discrepancy.
const GRAPHS: usize = 1_000;
/// Name of the list of descriptors in reports.
const SCORER: &str = "24 descriptors of RDKit, first list";

/// Reference statistics of molecules.
pub(super) struct MoleculeMetrics<'a> {
    layout: GraphLayout,
    name: String,
    sha256: String,
    /// Canonical SMILES of the training split.
    train: Members,
    /// Canonical SMILES of the held-out splits; `None` unless the set is enumerated.
    held_out: Option<HashSet<String>>,
    reference: Profile,
    /// The training split, which assigns labels to molecules.
    labeller: Arc<dyn Dataset>,
    test: Arc<dyn Dataset>,
    /// Standard deviations of the descriptors in the training split.
    scales: Vec<f64>,
    /// ChemNet, and moments of its features of the training split.
    chemnet: Option<(&'a ChemNet, Moments)>,
}

/// The training molecules, by canonical SMILES.
enum Members {
    Listed(HashSet<String>),
    /// Those of a set that may be larger than memory.
    Stored(Arc<dyn Dataset>),
}

impl Members {
    fn of(train: &Arc<dyn Dataset>) -> Self {
        if train.is_stored() {
            return Self::Stored(train.clone());
        }
        Self::Listed((0..train.len()).filter_map(|i| train.smiles(i)).map(Cow::into_owned).collect())
    }

    /// Those of some molecules that are training molecules.
    fn among<'s>(&self, molecules: &HashSet<&'s str>) -> HashSet<&'s str> {
        match self {
            Self::Listed(known) => molecules.iter().copied().filter(|smiles| known.contains(*smiles)).collect(),
            Self::Stored(train) => {
                let known = (0..train.len()).filter_map(|i| molecules.get(&*train.smiles(i)?).copied());
                known.collect()
            }
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Listed(known) => known.len(),
            Self::Stored(train) => train.len(),
        }
    }
}

/// Statistics of a collection of molecules.
struct Profile {
    count: usize,
    /// Values of each property.
    properties: Vec<Vec<f64>>,
    /// Descriptors, molecule by molecule.
    descriptors: Vec<f64>,
    /// Counts of atoms by class, of bonds by order, and of molecules by number of atoms.
    histograms: [Vec<f64>; 3],
    fingerprints: Vec<Fingerprint>,
    scaffolds: Vec<String>,
    /// Histograms of every graph, by statistic.
    graphs: Vec<Vec<Vec<f64>>>,
}

impl SampleMetrics for MoleculeMetrics<'_> {
    fn rows(&self, samples: &Samples, labels: &[u32]) -> Vec<Row> {
        self.rows_of(&samples.ids, labels)
    }

    fn held_out(&self, n: usize) -> Vec<Row> {
        self.rows_of(&items(self.test.as_ref(), n), &[])
    }
}

impl<'a> MoleculeMetrics<'a> {
    pub(super) fn new(layout: &GraphLayout, data: &DataConfig, splits: &Splits, chemnet: Option<&'a ChemNet>) -> Self {
        let smiles = |set: &dyn Dataset| -> Vec<String> {
            (0..set.len()).filter_map(|i| set.smiles(i)).map(Cow::into_owned).collect()
        };
        let enumerated = matches!(data, DataConfig::SmallMolecules(_));
        let held_out = || [&splits.validation, &splits.test].into_iter().flat_map(|p| smiles(p.as_ref())).collect();
        let rows = items(splits.train.as_ref(), REFERENCE_ITEMS);
        let checked = check_rows(layout, &rows);
        let valid = strictly_valid(&checked);
        let reference = Profile::of(layout, &valid);
        let chemnet = chemnet.map(|net| (net, chemnet_moments(net, &valid)));
        let scales = scales(&reference.descriptors);
        Self {
            layout: layout.clone(),
            name: format!("{}/train", splits.name),
            sha256: splits.sha256.clone(),
            train: Members::of(&splits.train),
            held_out: enumerated.then(held_out),
            reference,
            labeller: splits.train.clone(),
            test: splits.test.clone(),
            scales,
            chemnet,
        }
    }

    /// All metrics of samples, rows of class indices; sample i was conditioned on `labels[i % labels.len()]`.
    fn rows_of(&self, ids: &[u32], labels: &[u32]) -> Vec<Row> {
        let checked = check_rows(&self.layout, ids);
        let mut rows = self.counts(&checked);
        rows.extend(self.label_accuracy(&checked, labels));
        let valid = strictly_valid(&checked);
        rows.extend(self.distances(&Profile::of(&self.layout, &valid)));
        rows.extend(self.chemnet_distance(&valid));
        rows
    }

    /// The Frechet ChemNet distance; `None` without the network.
    fn chemnet_distance(&self, molecules: &[(&Molecule, &str)]) -> Option<Row> {
        let (net, reference) = self.chemnet.as_ref()?;
        let (name, unit) = ("frechet_chemnet", "squared feature distance");
        let row = match too_few(molecules.len(), reference.n()) {
            Some(reason) => Row::without_value(name, unit, reason),
            None => Row::new(name, unit, frechet(&chemnet_moments(net, molecules), reference)),
        };
        Some(row.scorer("ChemNet", &net.sha256).n(molecules.len()).reference(&self.name, &self.sha256))
    }

    /// Fraction of the strictly valid molecules that have the label they were conditioned on; `None` without labels.
    fn label_accuracy(&self, checked: &[(Molecule, Verdict)], labels: &[u32]) -> Option<Row> {
        let pairs = checked.iter().zip(labels.iter().cycle());
        let found: Vec<bool> = pairs
            .filter_map(|((_, verdict), label)| Some(self.labeller.label_of(verdict.strict()?)? == *label))
            .collect();
        let right = found.iter().filter(|right| **right).count();
        let row = Row::estimate("label_accuracy", "fraction", interval::fraction(right, found.len()));
        // Labels from a column of the user's file cannot be read off a molecule.
        (!labels.is_empty() && self.labeller.label_of("C").is_some())
            .then(|| row.estimator("of the label asked for / strictly valid"))
    }

    fn counts(&self, checked: &[(Molecule, Verdict)]) -> Vec<Row> {
        let samples = checked.len();
        let strict: Vec<&str> = checked.iter().filter_map(|(_, v)| v.strict()).collect();
        let largest: Vec<&str> = checked.iter().filter_map(|(_, v)| v.largest_fragment()).collect();
        let fraction = |metric, of, n| Row::estimate(metric, "fraction", interval::fraction(of, n));
        let mut rows = vec![
            fraction("validity_strict", strict.len(), samples).estimator("one component that sanitises / samples"),
            fraction("validity_largest_fragment", largest.len(), samples).estimator("graph sanitises / samples"),
        ];
        let all: HashSet<&str> = strict.iter().chain(&largest).copied().collect();
        let trained = self.train.among(&all);
        let mut found = HashSet::new();
        for (valid, kind) in [(&strict, "strictly valid"), (&largest, "largest fragments")] {
            let distinct: HashSet<&str> = valid.iter().copied().collect();
            let novel = distinct.iter().filter(|s| !trained.contains(**s)).count();
            let share = distinct.len() as f64 / valid.len() as f64;
            let row = Row::new("uniqueness", "fraction", share).n(valid.len());
            rows.push(row.estimator(&format!("distinct / {kind}")));
            let row = fraction("novelty", novel, distinct.len()).reference(&self.name, &self.sha256);
            rows.push(row.estimator(&format!("not in training / distinct {kind}")));
            if kind == "strictly valid" {
                let row = fraction("valid_unique_novel", novel, samples).reference(&self.name, &self.sha256);
                rows.push(row.estimator("distinct strictly valid not in training / samples"));
                found = distinct;
            }
        }
        let mut times: BTreeMap<&str, u64> = BTreeMap::new();
        strict.iter().for_each(|smiles| *times.entry(smiles).or_default() += 1);
        if !times.is_empty() {
            let joint = entropy::joint(&times.into_values().collect::<Vec<_>>()).chao_wang_jost;
            rows.push(Row::new("entropy_joint", "nats", joint).estimator("chao-wang-jost").n(strict.len()));
        }
        if let Some(held_out) = &self.held_out {
            let hidden = found.iter().filter(|s| held_out.contains(**s)).count();
            let known = found.iter().filter(|s| trained.contains(**s)).count() + hidden;
            let all = self.train.len() + held_out.len();
            let share = |of: usize, n: usize| of as f64 / n as f64;
            let row = Row::new("coverage", "fraction", share(known, all)).n(samples);
            rows.push(row.estimator(&format!("distinct members among the samples / {all} members")));
            let row = Row::new("coverage_held_out", "fraction", share(hidden, held_out.len())).n(samples);
            rows.push(row.estimator(&format!("held-out members among the samples / {}", held_out.len())));
        }
        rows
    }

    fn distances(&self, samples: &Profile) -> Vec<Row> {
        let reference = &self.reference;
        let finish = |row: Row, n: usize| row.n(n).reference(&self.name, &self.sha256);
        let mut rows = Vec::new();
        for (index, name) in Properties::NAMES.iter().enumerate() {
            let distance = wasserstein(&samples.properties[index], &reference.properties[index]);
            let row = Row::new(&format!("wasserstein_{name}"), Properties::UNITS[index], distance);
            rows.push(finish(row, samples.count));
        }
        for (index, name) in ["atoms_tv", "bonds_tv", "sizes_tv"].into_iter().enumerate() {
            let [a, b] = [samples, reference].map(|p| shares(&p.histograms[index]));
            rows.push(finish(Row::new(name, "fraction", total_variation(&a, &b)), samples.count));
        }
        let moments = [samples, reference].map(|p| self.moments(p));
        let (name, unit) = ("frechet", "squared standard deviations");
        let row = match (&moments, too_few(samples.count, reference.count)) {
            ([Some(a), Some(b)], None) => Row::new(name, unit, frechet(a, b)),
            (_, reason) => Row::without_value(name, unit, reason.unwrap_or_default()),
        };
        rows.push(finish(row.scorer(SCORER, &list_hash()), samples.count));
        let near = nearest(&samples.fingerprints, &reference.fingerprints);
        let n = near.len();
        let against = format!("nearest of {} training molecules, ECFP4", reference.fingerprints.len());
        let row = Row::estimate("nearest_tanimoto", "similarity", interval::mean(&near)).estimator(&against);
        rows.push(finish(row, n));
        let row = Row::new("internal_diversity", "1 - similarity", internal_diversity(&samples.fingerprints));
        rows.push(row.estimator("all pairs, ECFP4").n(n));
        let row = Row::new("scaffold_similarity", "cosine", cosine(&samples.scaffolds, &reference.scaffolds));
        rows.push(finish(row.estimator("Murcko scaffolds of molecules with rings"), samples.count));
        for (statistic, (a, b)) in Statistic::ALL.into_iter().zip(samples.graphs.iter().zip(&reference.graphs)) {
            let row = Row::new(&format!("mmd_{}", statistic.name()), "squared discrepancy", statistic.mmd(a, b));
            rows.push(finish(row.estimator("gaussian kernel of total variation"), a.len()));
        }
        rows
    }

    /// Moments of the descriptors in units of [`MoleculeMetrics::scales`]; `None` for fewer than two molecules.
    fn moments(&self, profile: &Profile) -> Option<Moments> {
        let width = DESCRIPTORS.len();
        let scaled = profile.descriptors.iter().enumerate().map(|(i, v)| v / self.scales[i % width]);
        (profile.count > 1).then(|| Moments::of(&scaled.collect::<Vec<_>>(), width))
    }
}

fn chemnet_moments(net: &ChemNet, molecules: &[(&Molecule, &str)]) -> Moments {
    let smiles: Vec<&str> = molecules.iter().map(|(_, smiles)| *smiles).collect();
    Moments::of(&net.features(&smiles), ChemNet::WIDTH)
}

impl Profile {
    fn of(layout: &GraphLayout, molecules: &[(&Molecule, &str)]) -> Self {
        let perceived: Vec<Perceived> = molecules.par_iter().filter_map(|(_, s)| Perceived::of(s).ok()).collect();
        let described: Vec<_> = perceived.par_iter().map(|p| (p.properties().values(), p.descriptors())).collect();
        let properties =
            (0..Properties::NAMES.len()).map(|i| described.iter().map(|(values, _)| values[i]).collect()).collect();
        let descriptors = described.iter().flat_map(|(_, descriptors)| *descriptors).collect();
        let mut histograms =
            [vec![0.0; layout.node_classes.len()], vec![0.0; layout.edge_classes], vec![0.0; layout.nodes + 1]];
        for (molecule, _) in molecules {
            for atom in molecule.atoms() {
                let class = layout.node_classes.iter().position(|c| c.atom() == Some(*atom));
                histograms[0][class.expect("an atom made from a class has it")] += 1.0;
            }
            molecule.bonds().iter().for_each(|bond| histograms[1][usize::from(bond.order)] += 1.0);
            histograms[2][molecule.atoms().len()] += 1.0;
        }
        let first = |most: usize| perceived.len().min(most);
        let fingerprints: Vec<[u64; WORDS]> =
            perceived[..first(FINGERPRINTS)].par_iter().map(Perceived::fingerprint).collect();
        let scaffolds: Vec<String> = perceived.par_iter().map(Perceived::scaffold).filter(|s| !s.is_empty()).collect();
        let graphs: Vec<Graph> = molecules[..molecules.len().min(GRAPHS)]
            .iter()
            .map(|(m, _)| Graph::new(m.atoms().len(), m.bonds().iter().map(|b| (b.from, b.to))))
            .collect();
        let graphs = Statistic::ALL.map(|s| graphs.par_iter().map(|g| s.describe(g)).collect()).into();
        Self { count: perceived.len(), properties, descriptors, histograms, fingerprints, scaffolds, graphs }
    }
}

/// The molecule of every row, and whether it is valid.
fn check_rows(layout: &GraphLayout, ids: &[u32]) -> Vec<(Molecule, Verdict)> {
    ids.par_chunks(layout.sites())
        .map(|row| {
            let molecule = layout.molecule(row);
            let verdict = check(&molecule);
            (molecule, verdict)
        })
        .collect()
}

fn strictly_valid(checked: &[(Molecule, Verdict)]) -> Vec<(&Molecule, &str)> {
    checked.iter().filter_map(|(molecule, verdict)| verdict.strict().map(|smiles| (molecule, smiles))).collect()
}

fn shares(counts: &[f64]) -> Vec<f64> {
    let total: f64 = counts.iter().sum();
    counts.iter().map(|c| c / total).collect()
}

/// Standard deviation of each descriptor; 1 for one that does not vary.
fn scales(descriptors: &[f64]) -> Vec<f64> {
    let width = DESCRIPTORS.len();
    let n = (descriptors.len() / width) as f64;
    let column = |i: usize| descriptors.iter().skip(i).step_by(width);
    (0..width)
        .map(|i| {
            let mean = column(i).sum::<f64>() / n;
            let variance = column(i).map(|v| (v - mean).powi(2)).sum::<f64>() / n;
            if variance > 1e-12 { variance.sqrt() } else { 1.0 }
        })
        .collect()
}

/// Hash of the list of descriptors.
fn list_hash() -> String {
    sha256([DESCRIPTORS.join("\n")])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Layout;
    use crate::data::graph::ABSENT;

    fn metrics_of(atoms: usize) -> (MoleculeMetrics<'static>, Splits) {
        let config: DataConfig = toml::from_str(&format!("set = 'small-molecules'\natoms = {atoms}")).unwrap();
        let splits = config.load(std::path::Path::new("unused"), 0).unwrap();
        let Layout::Graph(layout) = &splits.schema().layout else { panic!("molecules are graphs") };
        (MoleculeMetrics::new(layout, &config, &splits, None), splits)
    }

    fn value(rows: &[Row], metric: &str, estimator: &str) -> f64 {
        let estimator_fits = |r: &&Row| r.estimator.as_deref().unwrap_or_default().contains(estimator);
        let found: Vec<f64> =
            rows.iter().filter(|r| r.metric == metric).filter(estimator_fits).map(|r| r.value).collect();
        assert_eq!(found.len(), 1, "{metric} {estimator}");
        found[0]
    }

    #[test]
    fn the_training_part_is_valid_known_and_at_distance_zero() {
        let (metrics, splits) = metrics_of(4);
        let rows = metrics.rows_of(&items(splits.train.as_ref(), usize::MAX), &[]);
        assert_eq!(value(&rows, "validity_strict", ""), 1.0);
        assert_eq!(value(&rows, "uniqueness", "strictly"), 1.0);
        assert_eq!(value(&rows, "novelty", "strictly"), 0.0);
        let all = splits.train.len() + splits.validation.len() + splits.test.len();
        assert!((value(&rows, "coverage", "") - splits.train.len() as f64 / all as f64).abs() < 1e-12);
        assert_eq!(value(&rows, "coverage_held_out", ""), 0.0);
        for metric in ["wasserstein_weight", "wasserstein_qed", "atoms_tv", "bonds_tv", "sizes_tv", "mmd_orbits"] {
            assert!(value(&rows, metric, "").abs() < 1e-9, "{metric}");
        }
        assert!(value(&rows, "frechet", "").abs() < 1e-6);
        assert!((value(&rows, "scaffold_similarity", "") - 1.0).abs() < 1e-12);
        let rows = metrics.rows_of(&items(splits.test.as_ref(), usize::MAX), &[]);
        assert_eq!(value(&rows, "novelty", "strictly"), 1.0);
        assert_eq!(value(&rows, "coverage_held_out", ""), splits.test.len() as f64 / (all - splits.train.len()) as f64);
        assert!(value(&rows, "frechet", "") > 1e-6);
        assert!(value(&rows, "nearest_tanimoto", "") < 1.0);
    }

    #[test]
    fn fractions_have_their_denominators() {
        let (metrics, splits) = metrics_of(3);
        let Layout::Graph(layout) = &splits.schema().layout else { panic!("molecules are graphs") };
        let class = |symbol: &str| layout.node_classes.iter().position(|c| c.element == symbol).unwrap() as u32;
        let (c, f) = (class("C"), class("F"));
        let absent = ABSENT;
        // Pairs (0,1) (0,2) (1,2): propane twice, ethane beside methane, bonds that fluorine cannot make, nothing.
        let samples = [
            [c, c, c, 1, 0, 1],
            [c, c, c, 0, 1, 1],
            [c, c, c, 0, 0, 1],
            [f, c, absent, 2, absent, absent],
            [absent, absent, absent, absent, absent, absent],
        ];
        let rows = metrics.counts(&check_rows(layout, samples.as_flattened()));
        assert_eq!(value(&rows, "validity_strict", ""), 2.0 / 5.0);
        assert_eq!(value(&rows, "validity_largest_fragment", ""), 3.0 / 5.0);
        assert_eq!(value(&rows, "uniqueness", "strictly"), 1.0 / 2.0);
        assert_eq!(value(&rows, "uniqueness", "largest"), 2.0 / 3.0);
        let novel = if metrics.train.among(&HashSet::from(["CCC"])).is_empty() { 1.0 } else { 0.0 };
        assert_eq!(value(&rows, "novelty", "strictly"), novel);
        assert_eq!(value(&rows, "valid_unique_novel", ""), novel / 5.0);
    }

    #[test]
    fn nothing_valid_is_no_panic() {
        let (metrics, splits) = metrics_of(3);
        let rows = metrics.rows_of(&vec![ABSENT; splits.schema().sites * 4], &[]);
        assert_eq!(value(&rows, "validity_strict", ""), 0.0);
        assert!(value(&rows, "frechet", "").is_nan() && value(&rows, "uniqueness", "strictly").is_nan());
    }
}
