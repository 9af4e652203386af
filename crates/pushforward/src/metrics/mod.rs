//! Evaluation: arrays in, numbers with units out.
//!
//! Nothing here knows a model. Callers bring samples as token ids, class labels or feature rows; the
//! functions give back `f64` values in nats (bits only through [`bits_per_dim`]), most of them as an
//! [`interval::Estimate`] with a 95 % interval, and [`report`] turns them into JSON or a text table.
//!
//! | file | numbers |
//! |---|---|
//! | [`interval`] | 95 % intervals of fractions, means, ratios; bootstrap |
//! | [`entropy`] | unigram entropy per sequence and pooled, joint entropy with bias corrections, distinct-n |
//! | [`divergence`] | KL, total variation, KL of an empirical joint to a true table |
//! | [`ngram_kl`] | KL between the n-grams of samples and of held-out data |
//! | [`kneser_ney`] | a character n-gram model: perplexity with a scorer of our own |
//! | [`frechet`] | Frechet distance and kernel distance (KID) between feature sets |
//! | [`balance`] | class balance |
//! | [`wasserstein`] | distance of two samples of numbers |
//! | [`graph_stats`] | degrees, clustering, orbits and spectra of graphs, and their discrepancy |
//! | [`similarity`] | Tanimoto similarity, nearest neighbours, diversity, cosine of counts |
//! | [`bits_per_dim`] | the one place where nats become bits |
//! | [`report`] | rows, JSON, text table |

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
pub mod similarity;
pub mod wasserstein;

/// Lengths of the runs of equal neighbours. Sorting and counting runs instead of hashing gives the counts
/// in a fixed order, so that sums over them do not change in their last digits from run to run.
fn run_lengths<T: PartialEq>(sorted: &[T]) -> Vec<u64> {
    sorted.chunk_by(|a, b| a == b).map(|run| run.len() as u64).collect()
}
