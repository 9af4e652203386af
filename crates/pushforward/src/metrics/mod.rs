//! Evaluation: arrays in, numbers with units out.
//!
//! No function here depends on a model. Inputs are token ids, class labels or feature rows; outputs are `f64` in nats
//! (in bits only through [`bits_per_dim`]), most of them as an [`interval::Estimate`] with a 95 % interval. [`report`]
//! writes them as JSON or a text table.
//!
//! | file | numbers |
//! |---|---|
//! | [`interval`] | 95 % intervals of fractions, means, ratios; bootstrap |
//! | [`entropy`] | unigram entropy per sequence and pooled, joint entropy with bias corrections, distinct-n |
//! | [`divergence`] | KL, total variation, KL of an empirical joint to a true table |
//! | [`ngram_kl`] | KL between the n-grams of samples and of held-out data |
//! | [`kneser_ney`] | an n-gram model trained on the reference text: the scorer of `perplexity` |
//! | [`frechet`] | Frechet distance and kernel distance (KID) between feature sets |
//! | [`balance`] | class balance |
//! | [`wasserstein`] | distance of two samples of numbers |
//! | [`graph_stats`] | degrees, clustering, orbits and spectra of graphs, and their discrepancy |
//! | [`similarity`] | Tanimoto similarity, nearest neighbours, diversity, cosine of counts |
//! | [`sequences`] | k-mers by position, motifs, nearest neighbours, Markov chains |
//! | [`tables`] | synthetic tables: laws of columns and pairs, detection, use for training, privacy |
//! | [`bits_per_dim`] | conversion of nats to bits |
//! | [`report`] | rows, JSON, text table |
//!
//! # Examples
//! ```
//! use pushforward::metrics::{bits_per_dim::bits, entropy, interval::fraction};
//! let samples = [[0u32, 1], [0, 1], [1, 0], [1, 1]];
//! // H(1/2, 1/4, 1/4) = 1.5 bits.
//! let counts = entropy::joint_counts(&samples);
//! assert!((bits(entropy::of_counts(&counts)) - 1.5).abs() < 1e-12);
//! let valid = fraction(3, 4);
//! assert!(valid.ci95.is_some_and(|[low, high]| low < 0.75 && 0.75 < high));
//! ```

pub mod balance;
pub mod bits_per_dim;
mod discounting;
pub mod divergence;
pub mod entropy;
pub mod frechet;
pub mod graph_stats;
pub mod interval;
pub mod kneser_ney;
pub mod ngram_kl;
pub mod report;
pub mod sequences;
pub mod similarity;
mod table;
pub mod tables;
pub mod wasserstein;

/// Lengths of the runs of equal neighbours. Sorting and counting runs instead of hashing gives the counts
/// in a fixed order, so that sums over them do not change in their last digits from run to run.
fn run_lengths<T: PartialEq>(sorted: &[T]) -> Vec<u64> {
    sorted.chunk_by(|a, b| a == b).map(|run| run.len() as u64).collect()
}
