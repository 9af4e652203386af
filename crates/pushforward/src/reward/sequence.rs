//! Rewards of sequences.

use burn::tensor::Tensor;

use super::class::classified;
use super::error::SpecError;
use super::leaf::{Context, Items, Leaf, argument_error, bare, quoted, whole};
use super::parse::Argument;
use crate::data::Layout;
use crate::data::sequences::{Alphabet, SequenceLayout};
use crate::metrics::kneser_ney::KneserNey;
use crate::metrics::sequences::{Motif, identity};
use crate::tensor::from_host;

/// The names, as error messages list them.
pub(super) const NAMES: &[&str] = &[
    "motifs(\"..\")",
    "has(\"..\")",
    "gc for DNA and RNA",
    "share(\"..\")",
    "length",
    "identity(\"..\")",
    "ngram",
    "class(K)",
    "charge for proteins",
    "hydropathy for proteins",
    "mass for proteins",
];

/// Hydropathy of amino acids (Kyte and Doolittle 1982), by letter.
const HYDROPATHY: [(char, f64); 20] = [
    ('A', 1.8),
    ('R', -4.5),
    ('N', -3.5),
    ('D', -3.5),
    ('C', 2.5),
    ('Q', -3.5),
    ('E', -3.5),
    ('G', -0.4),
    ('H', -3.2),
    ('I', 4.5),
    ('L', 3.8),
    ('K', -3.9),
    ('M', 1.9),
    ('F', 2.8),
    ('P', -1.6),
    ('S', -0.8),
    ('T', -0.7),
    ('W', -0.9),
    ('Y', -1.3),
    ('V', 4.2),
];
/// Average masses of amino acid residues, dalton.
const MASS: [(char, f64); 20] = [
    ('A', 71.0788),
    ('R', 156.1875),
    ('N', 114.1038),
    ('D', 115.0886),
    ('C', 103.1388),
    ('Q', 128.1307),
    ('E', 129.1155),
    ('G', 57.0519),
    ('H', 137.1411),
    ('I', 113.1594),
    ('L', 113.1594),
    ('K', 128.1741),
    ('M', 131.1926),
    ('F', 147.1766),
    ('P', 97.1167),
    ('S', 87.0782),
    ('T', 101.1051),
    ('W', 186.2132),
    ('Y', 163.1760),
    ('V', 99.1326),
];
/// Charges of side chains near pH 7, counted as whole.
const CHARGE: [(char, f64); 4] = [('K', 1.0), ('R', 1.0), ('D', -1.0), ('E', -1.0)];
/// Mass of the water that a chain has beside its residues, dalton.
const WATER: f64 = 18.0153;

pub(super) fn leaf<'a>(
    name: &str,
    arguments: &[Argument],
    context: Context<'a>,
) -> Result<Option<Box<dyn Leaf + 'a>>, SpecError> {
    let Layout::Sequence(layout) = &context.schema.layout else { return Ok(None) };
    let protein = layout.alphabet == Alphabet::Protein;
    let nucleic = matches!(layout.alphabet, Alphabet::Dna | Alphabet::Rna);
    let sum = |per_letter: &[(char, f64)], more: f64, mean: bool| Box::new(Sum::new(layout, per_letter, more, mean));
    Ok(Some(match name {
        "motifs" | "has" => {
            let text = quoted(name, arguments)?;
            let sets: Vec<Vec<u32>> = text.chars().map(|letter| layout.classes_of(letter)).collect();
            if let Some((letter, _)) = text.chars().zip(&sets).find(|(_, set)| set.is_empty()) {
                return Err(argument_error(name, format!("the letter {letter:?} is none of the sequences")));
            }
            if sets.len() > layout.longest() {
                return Err(argument_error(name, format!("sequences have at most {} letters", layout.longest())));
            }
            Box::new(Motifs { layout, motif: Motif::new(sets), once: name == "has" })
        }
        "gc" if nucleic => {
            bare(name, arguments)?;
            sum(&[('G', 1.0), ('C', 1.0)], 0.0, true)
        }
        "share" => {
            let mut letters: Vec<(char, f64)> = Vec::new();
            for letter in quoted(name, arguments)?.chars() {
                let classes = layout.classes_of(letter);
                if classes.is_empty() {
                    return Err(argument_error(name, format!("the letter {letter:?} is none of the sequences")));
                }
                letters.extend(classes.into_iter().map(|class| (layout.letters()[class as usize], 1.0)));
            }
            sum(&letters, 0.0, true)
        }
        "length" => {
            bare(name, arguments)?;
            Box::new(OfLetters { layout, rule: Box::new(|letters| letters.len() as f64) })
        }
        "identity" => {
            let text = quoted(name, arguments)?;
            let target = layout.encode(text).map_err(|e| argument_error(name, e.to_string()))?;
            let target = target[..layout.length_of(&target)].to_vec();
            Box::new(OfLetters { layout, rule: Box::new(move |letters| identity(letters, &target)) })
        }
        "ngram" => {
            bare(name, arguments)?;
            let needed = || argument_error(name, "an n-gram model of the training sequences is needed".into());
            let scorer: &KneserNey = context.scorer.ok_or_else(needed)?;
            let rule = |letters: &[u32]| scorer.log_prob(letters) / letters.len().max(1) as f64;
            Box::new(OfLetters { layout, rule: Box::new(rule) })
        }
        "class" => classified(whole(name, arguments)?, context)?,
        "charge" if protein => {
            bare(name, arguments)?;
            sum(&CHARGE, 0.0, false)
        }
        "hydropathy" if protein => {
            bare(name, arguments)?;
            sum(&HYDROPATHY, 0.0, true)
        }
        "mass" if protein => {
            bare(name, arguments)?;
            sum(&MASS, WATER, false)
        }
        _ => return Ok(None),
    }))
}

/// A number for letters as class indices.
type Rule<'a> = dyn Fn(&[u32]) -> f64 + 'a;

/// A function of the letters that an item has.
struct OfLetters<'a> {
    layout: &'a SequenceLayout,
    rule: Box<Rule<'a>>,
}

impl Leaf for OfLetters<'_> {
    fn score(&self, items: &Items<'_>) -> Vec<f64> {
        items.rows().map(|row| (self.rule)(&row[..self.layout.length_of(row)])).collect()
    }
}

/// A number a letter, summed or averaged.
struct Sum<'a> {
    layout: &'a SequenceLayout,
    /// The number of each class.
    weights: Vec<f64>,
    more: f64,
    mean: bool,
}

impl<'a> Sum<'a> {
    fn new(layout: &'a SequenceLayout, per_letter: &[(char, f64)], more: f64, mean: bool) -> Self {
        let of =
            |letter: &char| per_letter.iter().find(|(known, _)| known == letter).map_or(0.0, |(_, weight)| *weight);
        Self { layout, weights: layout.letters().iter().map(of).collect(), more, mean }
    }
}

impl Leaf for Sum<'_> {
    fn score(&self, items: &Items<'_>) -> Vec<f64> {
        let of = |row: &[u32]| {
            let letters = &row[..self.layout.length_of(row)];
            let sum: f64 = letters.iter().map(|&class| self.weights[class as usize]).sum();
            self.more + if self.mean { sum / letters.len().max(1) as f64 } else { sum }
        };
        items.rows().map(of).collect()
    }

    /// Of sequences of one length alone: points do not tell which letters an item has.
    fn soft(&self, pi: &Tensor<3>) -> Option<Tensor<1>> {
        if self.layout.varies() {
            return None;
        }
        let sum = (pi.clone() * from_host(&self.weights, [1, 1, self.weights.len()], pi)).sum_dim(2);
        let sum = if self.mean { sum.mean_dim(1) } else { sum.sum_dim(1) };
        Some(sum.flatten::<1>(0, 2) + self.more)
    }
}

/// Occurrences of a motif, counted with those that overlap, or whether there is one.
struct Motifs<'a> {
    layout: &'a SequenceLayout,
    motif: Motif,
    once: bool,
}

impl Leaf for Motifs<'_> {
    fn score(&self, items: &Items<'_>) -> Vec<f64> {
        let of = |row: &[u32]| {
            let found = self.motif.places(&row[..self.layout.length_of(row)]).count();
            if self.once { found.min(1) as f64 } else { found as f64 }
        };
        items.rows().map(of).collect()
    }

    /// The expected number of occurrences as if letters were independent, or the probability of one as if occurrences were.
    fn soft(&self, pi: &Tensor<3>) -> Option<Tensor<1>> {
        if self.layout.varies() {
            return None;
        }
        let sets = self.motif.positions();
        let places = pi.dims()[1] + 1 - sets.len();
        let at = |(offset, set): (usize, &Vec<u32>)| -> Tensor<2> {
            let mut inside = vec![0.0; pi.dims()[2]];
            set.iter().for_each(|&class| inside[class as usize] = 1.0);
            let inside = from_host(&inside, [1, 1, inside.len()], pi);
            (pi.clone().slice_dim(1, offset..offset + places) * inside).sum_dim(2).squeeze_dim(2)
        };
        let here = sets.iter().enumerate().map(at).reduce(|a, b| a * b)?;
        if !self.once {
            return Some(here.sum_dim(1).squeeze_dim(1));
        }
        // In logarithms, and clamped below 1 so that the gradient does not vanish.
        let nowhere = (here.clamp_max(1.0 - 1e-6).neg() + 1.0).log().sum_dim(1).exp();
        Some((nowhere.neg() + 1.0).squeeze_dim(1))
    }
}
