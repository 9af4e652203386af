//! k-mers by position: composition along aligned sequences.
//!
//! ```text
//! positional_kmer_kl = sum_b w_b KL(samples in bin b || reference in bin b)       w_b = share of the reference in bin b
//! ```
//!
//! A bin is a run of positions where k-mers begin; the divergence in a bin is that of [`ngram_kl`](crate::metrics::ngram_kl).
//! Bins without a k-mer of the samples or of the reference are left out, with their weight.

use crate::metrics::ngram_kl::{DELTA, NgramCounts, ngram_kl};

/// The divergence of the k-mers at each position, in nats; `None` if there are none to compare. Bins have `width` positions.
///
/// # Panics
/// If `k` or `width` is zero, or a letter is not below `classes`.
///
/// # Examples
/// The same letters in another order are another composition by position.
/// ```
/// use pushforward::metrics::sequences::positional_kmer_kl;
/// let (a, b) = ([&[0, 0, 1, 1][..]; 50], [&[1, 1, 0, 0][..]; 50]);
/// assert_eq!(positional_kmer_kl(&a, &a, 2, 1, 1), Some(0.0));
/// assert!(positional_kmer_kl(&b, &a, 2, 1, 1).unwrap() > 1.0);
/// assert!(positional_kmer_kl(&b, &a, 2, 1, 4).unwrap() < 1e-9);
/// assert_eq!(positional_kmer_kl(&a, &a, 2, 5, 1), None);
/// ```
pub fn positional_kmer_kl<S: AsRef<[u32]>, R: AsRef<[u32]>>(
    samples: &[S],
    reference: &[R],
    classes: usize,
    k: usize,
    width: usize,
) -> Option<f64> {
    assert!(k > 0 && width > 0, "k-mers and bins have at least one letter: {k}, {width}");
    let longest = reference.iter().map(|s| s.as_ref().len()).max().unwrap_or(0);
    let (mut sum, mut weight) = (0.0, 0.0);
    for start in (0..longest).step_by(width) {
        let [ours, theirs] = [bin(samples, start, width, k), bin(reference, start, width, k)];
        let [ours, theirs] = [ours, theirs].map(|parts| NgramCounts::count(&parts, classes, k));
        if ours.total() > 0 && theirs.total() > 0 {
            sum += theirs.total() as f64 * ngram_kl(&ours, &theirs, DELTA);
            weight += theirs.total() as f64;
        }
    }
    (weight > 0.0).then(|| sum / weight)
}

/// The letters of the k-mers that begin in a bin, of every sequence.
fn bin<S: AsRef<[u32]>>(sequences: &[S], start: usize, width: usize, k: usize) -> Vec<&[u32]> {
    let part = |s: &'_ S| -> (usize, usize) {
        let n = s.as_ref().len();
        (start.min(n), (start + width + k - 1).min(n))
    };
    sequences
        .iter()
        .map(|s| {
            let (from, to) = part(s);
            &s.as_ref()[from..to]
        })
        .collect()
}
