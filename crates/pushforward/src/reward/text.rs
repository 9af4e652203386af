//! Rewards of text.

use burn::tensor::Tensor;
use regex::Regex;

use super::error::SpecError;
use super::leaf::{Context, Items, Leaf, argument_error, bare, quoted, whole};
use super::parse::Argument;
use crate::data::synthetic::{echo, sums};
use crate::data::{DataConfig, Layout, Vocabulary};
use crate::metrics::kneser_ney::KneserNey;
use crate::tensor::from_host;

/// The names, as error messages list them.
pub(super) const NAMES: &[&str] = &[
    "contains(\"..\")",
    "matches(\"..\")",
    "charset(\"..\")",
    "word_length",
    "ngram",
    "result(N) for sums",
    "correct for sums and echo",
];

pub(super) fn leaf<'a>(
    name: &str,
    arguments: &[Argument],
    context: Context<'a>,
) -> Result<Option<Box<dyn Leaf + 'a>>, SpecError> {
    let Layout::Text { vocabulary } = &context.schema.layout else { return Ok(None) };
    let encode = |text: &str| vocabulary.encode(text).map_err(|e| argument_error(name, e.to_string()));
    Ok(Some(match name {
        "contains" => {
            let text = quoted(name, arguments)?.to_owned();
            let pattern = match vocabulary {
                Vocabulary::Characters(_) => Some(encode(&text)?),
                Vocabulary::Tokenizer(_) => None,
            };
            if pattern.as_ref().is_some_and(|p| p.len() > context.schema.sites) {
                return Err(argument_error(
                    name,
                    format!("{text:?} is longer than an item, {} symbols", context.schema.sites),
                ));
            }
            Box::new(Contains { vocabulary, text, pattern })
        }
        "matches" => {
            let pattern = Regex::new(quoted(name, arguments)?).map_err(|e| argument_error(name, e.to_string()))?;
            Box::new(OfText { vocabulary, rule: Box::new(move |text| f64::from(u8::from(pattern.is_match(text)))) })
        }
        "charset" => {
            let set: Vec<char> = quoted(name, arguments)?.chars().collect();
            Box::new(Charset { vocabulary, set })
        }
        "word_length" => {
            bare(name, arguments)?;
            Box::new(OfText { vocabulary, rule: Box::new(word_length) })
        }
        "ngram" => {
            bare(name, arguments)?;
            let needed = || argument_error(name, "an n-gram model of the training text is needed".into());
            Box::new(Ngram(context.scorer.ok_or_else(needed)?))
        }
        "result" if matches!(context.data, DataConfig::Sums(_)) => {
            let wanted = whole(name, arguments)?.to_string();
            let rule = move |text: &str| {
                let found = text.split_once('=').map(|(_, result)| result.trim_start_matches('0'));
                f64::from(u8::from(found == Some(wanted.trim_start_matches('0'))))
            };
            Box::new(OfText { vocabulary, rule: Box::new(rule) })
        }
        "correct" if matches!(context.data, DataConfig::Sums(_) | DataConfig::Echo(_)) => {
            bare(name, arguments)?;
            let sums = matches!(context.data, DataConfig::Sums(_));
            Box::new(Correct { sums })
        }
        _ => return Ok(None),
    }))
}

/// Mean number of characters of the words; 0 without words.
fn word_length(text: &str) -> f64 {
    let words: Vec<usize> = text.split_whitespace().map(|w| w.chars().count()).collect();
    words.iter().sum::<usize>() as f64 / words.len().max(1) as f64
}

/// A function of the decoded text.
struct OfText<'a> {
    vocabulary: &'a Vocabulary,
    rule: Box<dyn Fn(&str) -> f64>,
}

impl Leaf for OfText<'_> {
    fn score(&self, items: &Items<'_>) -> Vec<f64> {
        items.rows().map(|row| (self.rule)(&self.vocabulary.decode(row))).collect()
    }
}

struct Contains<'a> {
    vocabulary: &'a Vocabulary,
    text: String,
    /// The text as classes, if the vocabulary is of characters.
    pattern: Option<Vec<u32>>,
}

impl Leaf for Contains<'_> {
    fn score(&self, items: &Items<'_>) -> Vec<f64> {
        items.rows().map(|row| f64::from(u8::from(self.vocabulary.decode(row).contains(&self.text)))).collect()
    }

    /// The probability that the text occurs, as if its occurrences at different places were independent.
    fn soft(&self, pi: &Tensor<3>) -> Option<Tensor<1>> {
        let pattern = self.pattern.as_ref()?;
        let places = pi.dims()[1] + 1 - pattern.len();
        let at = |(offset, &class): (usize, &u32)| -> Tensor<2> {
            let class = class as usize;
            pi.clone().slice_dim(1, offset..offset + places).slice_dim(2, class..class + 1).squeeze_dim(2)
        };
        let here = pattern.iter().enumerate().map(at).reduce(|a, b| a * b)?;
        // In logarithms, and clamped below 1 so that the gradient does not vanish.
        let nowhere = (here.clamp_max(1.0 - 1e-6).neg() + 1.0).log().sum_dim(1).exp();
        Some((nowhere.neg() + 1.0).squeeze_dim(1))
    }
}

struct Charset<'a> {
    vocabulary: &'a Vocabulary,
    set: Vec<char>,
}

impl Leaf for Charset<'_> {
    fn score(&self, items: &Items<'_>) -> Vec<f64> {
        let share = |row: &[u32]| {
            let text = self.vocabulary.decode(row);
            let inside = text.chars().filter(|c| self.set.contains(c)).count();
            inside as f64 / text.chars().count().max(1) as f64
        };
        items.rows().map(share).collect()
    }

    fn soft(&self, pi: &Tensor<3>) -> Option<Tensor<1>> {
        let Vocabulary::Characters(symbols) = self.vocabulary else { return None };
        let inside: Vec<f64> = symbols.iter().map(|c| f64::from(u8::from(self.set.contains(c)))).collect();
        let inside = from_host(&inside, [1, 1, symbols.len()], pi);
        Some((pi.clone() * inside).sum_dim(2).mean_dim(1).flatten::<1>(0, 2))
    }
}

struct Ngram<'a>(&'a KneserNey);

impl Leaf for Ngram<'_> {
    fn score(&self, items: &Items<'_>) -> Vec<f64> {
        items.rows().map(|row| self.0.log_prob(row) / row.len() as f64).collect()
    }
}

struct Correct {
    sums: bool,
}

impl Leaf for Correct {
    fn score(&self, items: &Items<'_>) -> Vec<f64> {
        let right =
            |row: &[u32]| if self.sums { sums::check(row) == sums::Verdict::Correct } else { echo::is_echo(row) };
        items.rows().map(|row| f64::from(u8::from(right(row)))).collect()
    }
}
