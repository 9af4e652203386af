//! Labels from the user's own data: a column, the header of a record by a regular expression, or a second file; classes as
//! they are, or numbers in bins.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::data::DataError;
use crate::data::files;
use crate::data::parts::Parts;
use crate::data::prepared::sampled::Reservoir;

/// How items of one's own are labelled. In a recipe: `label = { by = { column = "activity" } }` for classes, with
/// `bins = 4` or `edges = [0.1, 1.0]` for numbers.
///
/// # Examples
/// ```
/// use pushforward::data::OwnLabel;
/// let label: OwnLabel = toml::from_str("by = { header = 'class=(\\w+)' }\nmost = 3")?;
/// assert_eq!(label.most, Some(3));
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnLabel {
    /// Where the label of an item stands.
    pub by: LabelSource,
    /// Numbers between bins, increasing; the label is the number of edges up to the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edges: Option<Vec<f64>>,
    /// Number of bins of about as many training items each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bins: Option<usize>,
    /// Number of classes that have a label of their own, the most frequent ones; all others share one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most: Option<usize>,
}

/// Where the label of an item stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LabelSource {
    /// In a column of the table, by its heading or number from 1.
    Column(String),
    /// In the header of a record: the first group of a regular expression, or what all of it matches.
    Header(String),
    /// In a column of another table, in the row of the same name.
    File(LabelFile),
}

/// A table of labels by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelFile {
    /// The file.
    pub path: PathBuf,
    /// The column of names, by its heading or number from 1.
    pub key: String,
    /// The column of labels, by its heading or number from 1.
    pub column: String,
    /// Where the items have their names: the column of their own table, by its heading or number from 1. Default: the one
    /// that is called as `key`. A record of FASTA is named by the first word of its header, a line by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own: Option<String>,
}

/// The label of every item, and what each label stands for.
pub(super) type Labelled = (Vec<u32>, Vec<String>);

/// The key of the second file.
const FILE: &str = "label.by.file.path";
/// Most classes.
const MOST: usize = 10_000;
/// Different numbers from which on they are taken for a measurement.
const MEASURED: usize = 50;

/// Most different classes that are counted in a stream, and most numbers whose quantiles are edges there.
const COUNTED: usize = 1 << 20;

/// Texts of labels, counted.
#[derive(Debug)]
pub(super) struct Tally {
    /// Number of training items with a text; 0 for those that only others have.
    counts: BTreeMap<String, u64>,
    /// Numbers of training items.
    numbers: Reservoir<f64>,
    most: usize,
}

impl Default for Tally {
    fn default() -> Self {
        Self::of(usize::MAX)
    }
}

impl Tally {
    /// One that takes a bounded memory: it refuses more than a million classes, and has a sample of a million numbers.
    pub(super) fn sampled() -> Self {
        Self::of(COUNTED)
    }

    fn of(most: usize) -> Self {
        Self { counts: BTreeMap::new(), numbers: Reservoir::new(most, 0), most }
    }

    /// Adds the text of an item; `train` says whether it is one of the training part.
    ///
    /// # Errors
    /// If there are too many classes.
    pub(super) fn add(&mut self, of: &OwnLabel, text: &str, train: bool) -> Result<(), DataError> {
        let text = text.trim();
        if !of.of_numbers() {
            if let Some(count) = self.counts.get_mut(text) {
                *count += u64::from(train);
            } else if self.counts.len() >= self.most {
                let problem = format!("more than {COUNTED} different values, which are no classes");
                return Err(DataError::Setting { key: "label", problem });
            } else {
                self.counts.insert(text.to_owned(), u64::from(train));
            }
        } else if let Some(number) = number(text).filter(|_| train && of.bins.is_some()) {
            self.numbers.add(|| number);
        }
        Ok(())
    }
}

/// Turns texts into labels.
#[derive(Debug)]
pub(super) enum Labeller {
    Names {
        known: HashMap<String, u32>,
        /// The label of all others.
        other: Option<u32>,
    },
    Bins(Vec<f64>),
}

impl OwnLabel {
    /// The second file, if labels stand in one.
    pub(super) fn file(&self) -> Option<&PathBuf> {
        if let LabelSource::File(file) = &self.by { Some(&file.path) } else { None }
    }

    /// The second file with its key, for paths that are made absolute.
    pub(super) fn path_mut(&mut self) -> Option<(&'static str, &mut PathBuf)> {
        if let LabelSource::File(file) = &mut self.by { Some((FILE, &mut file.path)) } else { None }
    }

    /// The second file, where it is found; `None` if labels stand in none.
    ///
    /// # Errors
    /// If it does not exist.
    pub(super) fn found_file(&self, data_dir: &Path) -> Result<Option<PathBuf>, DataError> {
        self.file().map(|path| files::existing(FILE, path, data_dir)).transpose()
    }

    /// The column of the items' own table that has their labels or, with a second file, their names; and the key that says
    /// so. `None` if labels stand in headers.
    pub(super) fn own_column(&self) -> Option<(&str, &'static str)> {
        match &self.by {
            LabelSource::Column(name) => Some((name, "label.by.column")),
            LabelSource::Header(_) => None,
            LabelSource::File(LabelFile { own: Some(name), .. }) => Some((name, "label.by.file.own")),
            LabelSource::File(LabelFile { key, .. }) => Some((key, "label.by.file.key")),
        }
    }

    /// Whether labels are bins of numbers.
    pub(super) fn of_numbers(&self) -> bool {
        self.edges.is_some() || self.bins.is_some()
    }

    /// Whether a text can have a label.
    pub(super) fn accepts(&self, text: &str) -> bool {
        let text = text.trim();
        if self.of_numbers() { number(text).is_some() } else { !text.is_empty() }
    }

    /// The labels of all items, and their names, from their texts and the members of each part.
    ///
    /// # Errors
    /// As [`OwnLabel::labeller`].
    pub(super) fn of_parts(&self, all: &[&str], parts: &Parts) -> Result<Labelled, DataError> {
        let train: Vec<&str> = parts[0].iter().map(|&item| all[item as usize]).collect();
        let (labeller, names) = self.labeller(&train, all)?;
        let labels = all.iter().map(|text| labeller.label(text).expect("the texts are accepted"));
        Ok((labels.collect(), names))
    }

    /// What the label is of, for names of bins.
    fn quantity(&self) -> &str {
        match &self.by {
            LabelSource::Column(name) => name,
            LabelSource::Header(_) => "value",
            LabelSource::File(file) => &file.column,
        }
    }

    /// The labeller of a set, and the names of its labels. `train` are texts of the training part, `all` those of all parts,
    /// all of them accepted.
    ///
    /// # Errors
    /// If edges do not increase, or the values are too many to be classes.
    pub(super) fn labeller(&self, train: &[&str], all: &[&str]) -> Result<(Labeller, Vec<String>), DataError> {
        let mut tally = Tally::default();
        all.iter().try_for_each(|text| tally.add(self, text, false))?;
        train.iter().try_for_each(|text| tally.add(self, text, true))?;
        self.of_tally(tally)
    }

    /// The same from counted texts.
    ///
    /// # Errors
    /// As there.
    pub(super) fn of_tally(&self, tally: Tally) -> Result<(Labeller, Vec<String>), DataError> {
        let refuse = |problem: String| Err(DataError::Setting { key: "label", problem });
        if self.edges.is_some() && self.bins.is_some() || self.of_numbers() && self.most.is_some() {
            return refuse("one of `edges`, `bins` and `most` is possible".into());
        }
        if self.bins.is_some_and(|bins| !(2..=MOST).contains(&bins)) {
            return refuse(format!("`bins` is from 2 to {MOST}, found {}", self.bins.unwrap_or_default()));
        }
        let edges = match (&self.edges, self.bins) {
            (Some(edges), _) => Some(edges.clone()),
            (None, Some(bins)) => Some(quantiles(tally.numbers.kept(), bins)),
            (None, None) => None,
        };
        if let Some(edges) = edges {
            if self.bins.is_some() && edges.is_empty() {
                return refuse("all numbers of the training items are equal: they cannot be divided into bins".into());
            }
            if edges.is_empty() || !edges.iter().all(|e| e.is_finite()) || !edges.windows(2).all(|e| e[0] < e[1]) {
                return refuse(format!("its edges are increasing numbers, at least one, found {edges:?}"));
            }
            let names = bin_names(self.quantity(), &edges);
            return Ok((Labeller::Bins(edges), names));
        }
        let counts = &tally.counts;
        let different = counts.len();
        if different > MEASURED && counts.keys().all(|text| number(text).is_some()) {
            return refuse(format!(
                "{different} different numbers; say into how many parts they are divided, label.bins = 4, or where, label.edges"
            ));
        }
        let most = self.most.unwrap_or(different);
        if most == 0 || most.min(different) > MOST {
            let problem =
                format!("{different} different values; label.most, from 1 to {MOST}, says how many have a label");
            return refuse(problem);
        }
        let mut order: Vec<(&str, u64)> = counts.iter().map(|(text, count)| (text.as_str(), *count)).collect();
        // Numbers by size, then all others in the order of the alphabet.
        order.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
        let rest = order.len() > most;
        order.truncate(most);
        order.sort_by(|a, b| match (number(a.0), number(b.0)) {
            (Some(x), Some(y)) => x.total_cmp(&y).then(a.0.cmp(b.0)),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => a.0.cmp(b.0),
        });
        let mut names: Vec<String> = order.iter().map(|(name, _)| (*name).to_owned()).collect();
        let known = names.iter().cloned().zip(0..).collect();
        let other = rest.then_some(names.len() as u32);
        names.extend(rest.then(|| "other".to_owned()));
        Ok((Labeller::Names { known, other }, names))
    }
}

impl Labeller {
    /// The label of a text that is accepted.
    pub(super) fn label(&self, text: &str) -> Option<u32> {
        match self {
            Self::Names { known, other } => known.get(text.trim()).copied().or(*other),
            Self::Bins(edges) => {
                let value = number(text)?;
                Some(edges.iter().filter(|edge| value >= **edge).count() as u32)
            }
        }
    }
}

/// What bins between edges are, in words.
pub(super) fn bin_names(quantity: &str, edges: &[f64]) -> Vec<String> {
    let bin = |i: usize| match (i.checked_sub(1).map(|i| edges[i]), edges.get(i)) {
        (None, Some(high)) => format!("{quantity} < {high}"),
        (Some(low), Some(high)) => format!("{low} <= {quantity} < {high}"),
        (Some(low), None) => format!("{low} <= {quantity}"),
        (None, None) => quantity.to_owned(),
    };
    (0..=edges.len()).map(bin).collect()
}

fn number(text: &str) -> Option<f64> {
    text.trim().parse::<f64>().ok().filter(|value| value.is_finite())
}

/// Edges between parts of about as many values; fewer where values repeat.
fn quantiles(mut values: Vec<f64>, bins: usize) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    let mut edges: Vec<f64> = (1..bins)
        .filter_map(|i| values.get(i * values.len() / bins).copied())
        .filter(|&edge| edge > values[0])
        .map(|edge| shortest(values[values.partition_point(|&value| value < edge) - 1], edge))
        .collect();
    edges.dedup();
    edges
}

/// The shortest decimal above `low` and up to `high`, which divides the values as `high` does: people name labels by it.
fn shortest(low: f64, high: f64) -> f64 {
    if high == 0.0 {
        return high;
    }
    let magnitude = high.abs().log10().floor() as i32;
    let rounded = |digits: i32| {
        let exponent = magnitude + 1 - digits;
        format!("{:.0}e{exponent}", (high * 10f64.powi(-exponent)).floor()).parse::<f64>().ok()
    };
    (1..=15).filter_map(rounded).find(|&edge| low < edge && edge <= high).unwrap_or(high)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(text: &str) -> OwnLabel {
        toml::from_str(&format!("by = {{ column = 'x' }}\n{text}")).unwrap()
    }

    fn names(settings: &str, texts: &[&str]) -> Result<(Vec<u32>, Vec<String>), String> {
        let of = label(settings);
        let (labeller, names) = of.labeller(texts, texts).map_err(|e| e.to_string())?;
        Ok((texts.iter().map(|text| labeller.label(text).unwrap()).collect(), names))
    }

    #[test]
    fn classes_are_in_order_and_rare_ones_share_a_label() {
        let texts = ["b", "a ", "b", "c", "a", "b"];
        assert_eq!(names("", &texts).unwrap(), (vec![1, 0, 1, 2, 0, 1], vec!["a".into(), "b".into(), "c".into()]));
        assert_eq!(names("most = 1", &texts).unwrap(), (vec![0, 1, 0, 1, 1, 0], vec!["b".into(), "other".into()]));
        assert_eq!(names("", &["10", "9", "10"]).unwrap().1, ["9", "10"]);
        // Numbers and words that stand between them as texts.
        let mixed: Vec<String> = (0..40).flat_map(|i| [format!("{i}"), format!("{i}a"), format!("0{i}")]).collect();
        let mixed: Vec<&str> = mixed.iter().map(String::as_str).collect();
        assert_eq!(names("", &mixed).unwrap().1[..4], ["0", "00", "01", "1"]);
    }

    #[test]
    fn numbers_have_bins() {
        let (labels, said) = names("edges = [1.0, 2.0]", &["0.5", "1", "7"]).unwrap();
        assert_eq!((labels, said[1].as_str()), (vec![0, 1, 2], "1 <= x < 2"));
        let many: Vec<String> = (0..100).map(|i| i.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let (labels, said) = names("bins = 4", &many).unwrap();
        assert_eq!((said.len(), labels.iter().filter(|&&label| label == 2).count()), (4, 25));
        // Edges have as few digits as divide the numbers so.
        let of = |texts: &[&str]| names("bins = 2", texts).unwrap().1.remove(0);
        assert_eq!(of(&["0.123456", "0.2", "15.378031964314298", "16.9"]), "x < 10");
        assert_eq!(of(&["15.361", "15.36", "15.378031964314298", "16.9"]), "x < 15.37");
        assert_eq!(of(&["-7.25", "-7.125", "-7.11", "3"]), "x < -7.11");
        assert_eq!(of(&["-1", "-0.5", "0", "1e-300"]), "x < 0");
        assert_eq!(of(&["1", "1.0000000000000002"]), "x < 1.0000000000000002");
        assert!(names("", &many).unwrap_err().contains("100 different numbers"));
        assert!(names("bins = 4", &["1", "1"]).unwrap_err().contains("equal"));
        assert!(names("bins = 100000000000", &["1", "2"]).unwrap_err().contains("from 2 to"));
        assert!(names("edges = [2.0, 1.0]", &["1"]).is_err() && names("bins = 2\nmost = 1", &["1"]).is_err());
        assert!(label("").accepts("a") && !label("").accepts(" ") && !label("bins = 2").accepts("a"));
    }
}
