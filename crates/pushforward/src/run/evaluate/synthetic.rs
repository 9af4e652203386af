//! Metrics of synthetic data sets: every sample is checked exactly.

use crate::data::synthetic::{checker, echo, glyphs, sums};
use crate::flow_map::sample::Samples;
use crate::metrics::balance::Balance;
use crate::metrics::divergence::kl_to_truth;
use crate::metrics::report::Row;
use crate::metrics::{entropy, interval};
use crate::run::evaluate::metrics::{SampleMetrics, label_row};

/// Metrics of a synthetic set.
#[derive(Clone, Copy, Debug)]
pub(super) enum SyntheticMetrics {
    Checker,
    Echo,
    Sums,
    Glyphs,
}

impl SampleMetrics for SyntheticMetrics {
    fn rows(&self, samples: &Samples, labels: &[u32]) -> Vec<Row> {
        let sequences: Vec<&[u32]> = samples.items().collect();
        match self {
            Self::Checker => checker_rows(&samples.ids),
            Self::Echo => echo_rows(&sequences),
            Self::Sums => sum_rows(&sequences),
            Self::Glyphs => glyph_rows(&sequences, labels),
        }
    }
}

fn checker_rows(pairs: &[u32]) -> Vec<Row> {
    let mut counts = vec![0u64; checker::CLASSES * checker::CLASSES];
    for pair in pairs.chunks_exact(2) {
        counts[pair[0] as usize * checker::CLASSES + pair[1] as usize] += 1;
    }
    let kl = kl_to_truth(&counts, &checker::table());
    vec![
        Row::new("kl_true_joint", "nats", kl.plug_in).estimator("plug-in"),
        Row::new("kl_true_joint", "nats", kl.corrected()).estimator("bias-corrected"),
        Row::new("entropy_joint", "nats", entropy::joint(&counts).chao_wang_jost).estimator("chao-wang-jost"),
    ]
}

/// Entropy of whole items, corrected for the finite sample; NaN without items.
fn joint_entropy(items: &[&[u32]]) -> Row {
    let counts = entropy::joint_counts(items);
    let value = if counts.is_empty() { f64::NAN } else { entropy::joint(&counts).chao_wang_jost };
    Row::new("entropy_joint", "nats", value).estimator("chao-wang-jost").n(items.len())
}

fn echo_rows(sequences: &[&[u32]]) -> Vec<Row> {
    let exact: Vec<&[u32]> = sequences.iter().copied().filter(|s| echo::is_echo(s)).collect();
    let words: Vec<&[u32]> = exact.iter().map(|s| &s[..s.len() / 2]).collect();
    vec![
        Row::estimate("correct", "fraction", interval::fraction(exact.len(), sequences.len())),
        joint_entropy(&words),
        Row::estimate("entropy_unigram", "nats", entropy::mean_unigram(sequences)),
    ]
}

fn sum_rows(sequences: &[&[u32]]) -> Vec<Row> {
    let verdicts: Vec<sums::Verdict> = sequences.iter().map(|s| sums::check(s)).collect();
    let formed = verdicts.iter().filter(|v| **v != sums::Verdict::Malformed).count();
    let pairs = sequences.iter().zip(&verdicts);
    let correct: Vec<&[u32]> = pairs.filter(|(_, v)| **v == sums::Verdict::Correct).map(|(s, _)| *s).collect();
    vec![
        Row::estimate("well_formed", "fraction", interval::fraction(formed, sequences.len())),
        Row::estimate("correct", "fraction", interval::fraction(correct.len(), sequences.len())),
        joint_entropy(&correct),
    ]
}

fn glyph_rows(sequences: &[&[u32]], labels: &[u32]) -> Vec<Row> {
    let classes: Vec<usize> = sequences.iter().map(|s| glyphs::classify(s).class as usize).collect();
    let valid: Vec<usize> =
        sequences.iter().zip(&classes).filter(|(s, _)| glyphs::is_valid(s)).map(|(_, class)| *class).collect();
    let balance = Balance::new(valid.iter().copied(), glyphs::CLASSES);
    let rows = vec![
        Row::estimate("valid", "fraction", interval::fraction(valid.len(), sequences.len())),
        Row::new("class_balance_tv", "fraction", balance.total_variation_to_uniform()).n(valid.len()),
        Row::new("distinct", "fraction", entropy::joint_counts(sequences).len() as f64 / sequences.len().max(1) as f64),
    ];
    rows.into_iter().chain(label_row(classes.into_iter(), labels)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_without_a_right_item_has_rows() {
        let wrong: [&[u32]; 2] = [&[1, 2, 3, 4, 5, 6], &[0, 0, 0, 1, 1, 1]];
        for rows in [echo_rows(&wrong), sum_rows(&wrong)] {
            let value = |metric: &str| rows.iter().find(|r| r.metric == metric).map(|r| r.value);
            assert_eq!(value("correct"), Some(0.0));
            assert!(value("entropy_joint").is_some_and(f64::is_nan));
        }
    }
}
