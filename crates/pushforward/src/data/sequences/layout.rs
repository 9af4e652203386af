//! The letters and lengths of sequences.

use serde::{Deserialize, Serialize};

use crate::data::DataError;
use crate::data::sequences::alphabet::Alphabet;
use crate::node_pairs::ABSENT;

/// What the classes of sequences mean, and how long sequences are. Part of every checkpoint.
///
/// A sequence of `n` letters has classes at the first `n` sites; the others are [`ABSENT`](crate::node_pairs::ABSENT).
///
/// # Examples
/// ```
/// use pushforward::data::graph::ABSENT;
/// use pushforward::data::sequences::{Alphabet, SequenceLayout};
/// let layout = SequenceLayout::new(Alphabet::Dna, "ACGT".chars().collect(), vec![0, 0, 3, 1]);
/// assert_eq!(layout.encode("ct")?, [1, 3, ABSENT]);
/// assert_eq!(layout.decode(&[1, 3, ABSENT]), "CT");
/// assert_eq!(layout.classes_of('R'), [0, 2]);
/// assert!((layout.length_nats(2) - (7f64 / 4.0).ln()).abs() < 1e-12);
/// assert_eq!((layout.longest(), layout.varies(), layout.letters().len()), (3, true, 4));
/// assert!(layout.encode("CTAG").is_err() && layout.encode("X").is_err() && layout.encode("R").is_err());
/// let merged = SequenceLayout::new(Alphabet::Dna, "ACGTN".chars().collect(), vec![0, 0, 1]);
/// assert_eq!(merged.encode("cR")?, [1, 4]);
/// # Ok::<(), pushforward::data::DataError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SequenceLayout {
    /// The alphabet.
    pub alphabet: Alphabet,
    /// The letter of each class.
    letters: Vec<char>,
    /// Number of training sequences with `n` letters, for `n` from 0 to the longest: the law of the length of a sample.
    pub lengths: Vec<u64>,
    /// Whether sequences differ in length.
    varies: bool,
}

impl SequenceLayout {
    /// A layout of sequences whose training part has `lengths[n]` sequences of `n` letters.
    pub fn new(alphabet: Alphabet, letters: Vec<char>, lengths: Vec<u64>) -> Self {
        let varies = lengths.iter().rev().skip(1).any(|&count| count > 0);
        Self { alphabet, letters, lengths, varies }
    }

    /// The layout of so many sequences of each length, and so many of the training part.
    pub(super) fn of_lengths(alphabet: Alphabet, letters: Vec<char>, all: &[u64], train: Vec<u64>) -> Self {
        // Those of held-out parts count too.
        let varies = all.iter().filter(|&&count| count > 0).count() > 1;
        Self { varies, ..Self::new(alphabet, letters, train) }
    }

    /// The letter of each class.
    pub fn letters(&self) -> &[char] {
        &self.letters
    }

    /// Number of letters of the longest sequence.
    pub fn longest(&self) -> usize {
        self.lengths.len().saturating_sub(1)
    }

    /// Whether sequences differ in length.
    pub fn varies(&self) -> bool {
        self.varies
    }

    /// `-log p` of a length in nats; zero if all sequences have the same.
    ///
    /// ```text
    /// p(n) = (lengths[n] + 1) / (sum of lengths + longest)        1 <= n <= longest
    /// ```
    ///
    /// The one more keeps lengths possible that only held-out sequences have.
    pub fn length_nats(&self, n: usize) -> f64 {
        if !self.varies {
            return 0.0;
        }
        let total: u64 = self.lengths.iter().sum();
        let count = self.lengths.get(n).copied().unwrap_or(0) + 1;
        -(count as f64 / (total + self.longest() as u64) as f64).ln()
    }

    /// Number of letters of an item.
    pub fn length_of(&self, item: &[u32]) -> usize {
        item.iter().take_while(|&&class| class != ABSENT).count()
    }

    /// The classes that a letter of a pattern stands for: its own, and those of the letters that it stands for. Empty if
    /// the alphabet has none of them.
    pub fn classes_of(&self, letter: char) -> Vec<u32> {
        let letter = self.alphabet.normal(letter);
        let meaning = self.alphabet.meaning(letter).unwrap_or_default();
        (0..)
            .zip(&self.letters)
            .filter(|(_, known)| **known == letter || meaning.contains(**known))
            .map(|(k, _)| k)
            .collect()
    }

    /// The letters of an item.
    pub fn decode(&self, item: &[u32]) -> String {
        item.iter().take_while(|&&class| class != ABSENT).map(|&class| self.letters[class as usize]).collect()
    }

    /// The classes of a sequence, with absent sites after its last letter.
    ///
    /// # Errors
    /// If it is empty, too long, of another length than all others, or has another letter.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, DataError> {
        let refuse = |problem: String| Err(DataError::Setting { key: "sequence", problem });
        let longest = self.longest();
        let mut item = Vec::with_capacity(longest);
        for letter in text.chars() {
            let normal = self.alphabet.normal(letter);
            let class_of = |letter: char| self.letters.iter().position(|&known| known == letter);
            // Letters that stand for others may have become one class.
            let any = || self.alphabet.meaning(normal).and_then(|_| class_of(self.alphabet.any()));
            let Some(class) = class_of(normal).or_else(any) else {
                let known: String = self.letters.iter().take(100).collect();
                return refuse(format!("the letter {letter:?} is not one of {known}"));
            };
            item.push(class as u32);
        }
        if item.is_empty() || item.len() > longest || (!self.varies && item.len() != longest) {
            let wanted = if self.varies { format!("1 to {longest}") } else { longest.to_string() };
            return refuse(format!("it has {} letters, and sequences have {wanted}", item.len()));
        }
        item.resize(longest, ABSENT);
        Ok(item)
    }

    /// Checks that the layout is one of so many sites and classes.
    pub(in crate::data) fn check(&self, sites: usize, classes: usize) -> Result<(), String> {
        if self.letters.len() != classes {
            return Err(format!("an alphabet of {} letters does not have {classes} classes", self.letters.len()));
        }
        let total = self.lengths.iter().try_fold(0u64, |sum, &count| sum.checked_add(count));
        let some = total.is_some_and(|total| total > 0) && self.lengths[0] == 0;
        if self.longest() != sites || !some {
            return Err(format!("the lengths of the sequences are not those of 1 to {sites} letters"));
        }
        Ok(())
    }
}
