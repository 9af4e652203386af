//! The settings of sequences in a recipe.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::data::OwnLabel;
use crate::data::parts::SplitFiles;
use crate::data::sequences::alphabet::{Alphabet, Ambiguity};
use crate::data::sequences::records::SequenceFormat;

/// How sequences are divided into parts. In a recipe: `split = "records"`, `split = { clusters = { k = 6, share = 0.5 } }`,
/// `split = { column = "part" }` or `split = { files = { validation = "valid.fasta", test = "test.fasta" } }`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SequenceSplit {
    /// At random, equal sequences together.
    #[default]
    Records,
    /// At random, similar sequences together, so that held-out ones are unlike those that are trained on.
    Clusters(Clusters),
    /// By a column of the table: `train` or `training`; `valid`, `validation`, `val` or `dev`; `test`.
    Column(String),
    /// The file of the set is the training part, these files are the others.
    Files(SplitFiles),
}

/// Which sequences are similar.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clusters {
    /// Length of the k-mers that are compared.
    #[serde(default = "six")]
    pub k: usize,
    /// Share of the k-mers of the shorter sequence that the longer one has too, from which on they are similar.
    #[serde(default = "half")]
    pub share: f64,
}

fn six() -> usize {
    6
}

fn half() -> f64 {
    0.5
}

/// Settings of `sequences`: a file of FASTA, FASTQ, lines, or a table with a column of sequences, plain or gzipped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SequenceConfig {
    /// The file.
    pub path: PathBuf,
    /// Its form. Default: found by reading.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<SequenceFormat>,
    /// Of a table, the column of sequences, by its heading or number from 1. Default: the one whose heading says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// The alphabet. Default: found by reading.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alphabet: Option<Alphabet>,
    /// What is done with letters that stand for several others.
    #[serde(default)]
    pub ambiguity: Ambiguity,
    /// Records of fewer letters are refused.
    #[serde(default = "one")]
    pub shortest: usize,
    /// Records of more letters are refused.
    #[serde(default = "longest")]
    pub longest: usize,
    /// How the records are divided into parts.
    #[serde(default)]
    pub split: SequenceSplit,
    /// Number of training records. Default: nine in ten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train: Option<usize>,
    /// Number of validation records. Default: one in twenty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<usize>,
    /// Seed of the division into parts.
    #[serde(default)]
    pub split_seed: u64,
    /// Labels, for conditional models. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<OwnLabel>,
    /// The motif whose rate and place are measured, where letters may stand for several: `TATAWAW`. Default: of DNA,
    /// RNA and proteins, the one whose place is most certain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub motif: Option<String>,
    /// Number of records to read from the start of the file. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

fn one() -> usize {
    1
}

/// A record of a million letters among short ones would make every item a million sites long.
fn longest() -> usize {
    1024
}

impl SequenceConfig {
    /// The defaults for a file.
    pub(super) fn of(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            format: None,
            column: None,
            alphabet: None,
            ambiguity: Ambiguity::Refuse,
            shortest: one(),
            longest: longest(),
            split: SequenceSplit::Records,
            train: None,
            validation: None,
            split_seed: 0,
            label: None,
            motif: None,
            limit: None,
        }
    }

    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let held_out = self.held_out().into_iter().map(|(_, path)| path);
        std::iter::once(&self.path)
            .chain(held_out)
            .chain(self.label.iter().filter_map(OwnLabel::file))
            .cloned()
            .collect()
    }

    pub(crate) fn paths_mut(&mut self) -> Vec<(&'static str, &mut PathBuf)> {
        let held_out = if let SequenceSplit::Files(files) = &mut self.split { files.paths_mut() } else { Vec::new() };
        let labels = self.label.iter_mut().filter_map(OwnLabel::path_mut);
        std::iter::once(("path", &mut self.path)).chain(held_out).chain(labels).collect()
    }

    /// Files of held-out parts, with the names of the parts.
    pub(super) fn held_out(&self) -> Vec<(&'static str, &PathBuf)> {
        if let SequenceSplit::Files(files) = &self.split { files.named() } else { Vec::new() }
    }
}

/// Whether a file is one of sequences: FASTA or FASTQ by its first lines, or lines of one word each. The answer is no if it
/// cannot be read as text.
///
/// # Examples
/// ```
/// use pushforward::data::sequences::is_sequence_file;
/// let dir = tempfile::tempdir()?;
/// let path = dir.path().join("a.txt");
/// for (text, expected) in [(">a\nACGT\n", true), (">a\nTo be, or not to be:\n", false)] {
///     std::fs::write(&path, text)?;
///     assert_eq!(is_sequence_file(&path), expected);
/// }
/// std::fs::write(&path, "emma\nolivia\nava\nmia\nlea\n".repeat(8))?;
/// assert!(is_sequence_file(&path));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn is_sequence_file(path: &Path) -> bool {
    crate::data::files::telling(path).is_ok_and(|text| match SequenceFormat::of(&text) {
        Some(SequenceFormat::Fasta) => has_letters(&text),
        found => found.is_some() || are_words(&text),
    })
}

/// Whether the first line after headers and comments is a word: quotations of letters begin with > as FASTA does.
fn has_letters(text: &str) -> bool {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['>', ';']));
    lines.next().is_none_or(|line| line.chars().all(|c| c.is_alphabetic() || matches!(c, '-' | '*')))
}

/// Fewest lines that tell a list of words from a text.
const LINES: usize = 20;

/// Whether a text is a list of words, one a line.
fn are_words(text: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).take(1000).collect();
    let word = |line: &&&str| line.chars().all(|c| c.is_alphabetic() || matches!(c, '-' | '\'' | '*'));
    lines.len() >= LINES && 50 * lines.iter().filter(word).count() >= 49 * lines.len()
}
