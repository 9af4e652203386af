//! KL divergence between the n-grams of samples and of held-out data (`ngram_kl`), nats.
//!
//! ```text
//! p(g) = (c_samples(g)   + delta) / (N_samples   + delta U)
//! q(g) = (c_reference(g) + delta) / (N_reference + delta U)            U = distinct n-grams of both together
//! ngram_kl = sum_g p(g) ln(p(g) / q(g))
//! ```
//!
//! Unlike perplexity it cannot be lowered by repeating one likely sentence: the repeated n-grams have far more mass in
//! `p` than in `q`. It is biased upwards for few samples, the more so the larger n; compare a value with that of
//! held-out data of the same size against the same reference.
//!
//! N-grams are counted by sorting packed keys, which is as fast as hashing and gives the same digits in every run.
//!
//! # Examples
//! ```
//! use pushforward::metrics::ngram_kl::{DELTA, NgramCounts, ngram_kl};
//! let varied = NgramCounts::count(&[[0, 1, 1, 0, 0, 1]], 2, 2);
//! let repeated = NgramCounts::count(&[[0, 0, 0, 0, 0, 0]], 2, 2);
//! assert_eq!(ngram_kl(&varied, &varied, DELTA), 0.0);
//! assert!(ngram_kl(&repeated, &varied, DELTA) > 1.0);
//! ```

use crate::metrics::run_lengths;

/// Default `delta`: small, because at n = 6 the union has many more cells than the samples have n-grams, and mass
/// spread evenly over it would dominate them.
pub const DELTA: f64 = 0.01;

/// Counts of the n-grams of a set of sequences. N-grams do not cross sequence ends.
///
/// # Examples
/// ```
/// use pushforward::metrics::ngram_kl::NgramCounts;
/// // Bigrams 01 10 01; the second sequence is too short for one.
/// let counts = NgramCounts::count(&[vec![0, 1, 0, 1], vec![1]], 2, 2);
/// assert_eq!((counts.total(), counts.distinct()), (3, 2));
/// ```
#[derive(Clone, Debug)]
pub struct NgramCounts {
    n: usize,
    vocabulary: usize,
    keys: Vec<u64>,
    counts: Vec<u64>,
    total: u64,
}

impl NgramCounts {
    /// Counts the n-grams of `sequences` of token ids below `vocabulary`. Sequences shorter than `n` have none.
    ///
    /// Takes 8 bytes per token while counting. An n-gram is exact as long as `vocabulary^n < 2^64`, else its
    /// key is a 64-bit hash (two of ten million n-grams collide with probability 3e-6).
    ///
    /// # Panics
    /// If `n` is zero or a token id is not below `vocabulary`.
    pub fn count<S: AsRef<[u32]>>(sequences: &[S], vocabulary: usize, n: usize) -> Self {
        assert!(n > 0, "an n-gram has at least one token");
        let base = vocabulary as u64;
        let packs = base.checked_pow(n as u32).is_some();
        let capacity = sequences.iter().map(|s| (s.as_ref().len() + 1).saturating_sub(n)).sum();
        let mut keys = Vec::with_capacity(capacity);
        for sequence in sequences.iter().map(AsRef::as_ref) {
            if let Some(token) = sequence.iter().find(|t| **t as usize >= vocabulary) {
                panic!("token id {token} is outside the vocabulary of {vocabulary}");
            }
            let windows = sequence.windows(n);
            if packs {
                keys.extend(windows.map(|w| w.iter().fold(0, |key, &token| key * base + u64::from(token))));
            } else {
                keys.extend(windows.map(|w| w.iter().fold(0, |key, &token| scramble(key, token))));
            }
        }
        keys.sort_unstable();
        let counts = run_lengths(&keys);
        let total = keys.len() as u64;
        keys.dedup();
        Self { n, vocabulary, keys, counts, total }
    }

    /// Number of n-grams.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Number of distinct n-grams.
    pub fn distinct(&self) -> usize {
        self.keys.len()
    }
}

/// `KL(samples || reference)` of the n-gram distributions, nats, with `delta` added to every count over the union.
///
/// # Panics
/// If the two were counted with different n or vocabulary, if either is empty, or if `delta` is not positive.
pub fn ngram_kl(samples: &NgramCounts, reference: &NgramCounts, delta: f64) -> f64 {
    assert_eq!(
        (samples.n, samples.vocabulary),
        (reference.n, reference.vocabulary),
        "n and vocabulary of samples and reference"
    );
    assert!(samples.total > 0 && reference.total > 0, "no {}-grams to compare", samples.n);
    assert!(delta > 0.0, "delta is {delta}, the divergence needs a positive one to be finite");
    let union = union_counts(samples, reference);
    let sample_mass = samples.total as f64 + delta * union.len() as f64;
    let reference_mass = reference.total as f64 + delta * union.len() as f64;
    let term = |&(a, b): &(u64, u64)| {
        let p = (a as f64 + delta) / sample_mass;
        let q = (b as f64 + delta) / reference_mass;
        p * (p / q).ln()
    };
    union.iter().map(term).sum()
}

/// Both counts of every key in the union, by merging the sorted keys.
fn union_counts(a: &NgramCounts, b: &NgramCounts) -> Vec<(u64, u64)> {
    let (mut i, mut j) = (0, 0);
    let mut union = Vec::with_capacity(a.keys.len().max(b.keys.len()));
    while i < a.keys.len() || j < b.keys.len() {
        let next = a.keys.get(i).copied().unwrap_or(u64::MAX).min(b.keys.get(j).copied().unwrap_or(u64::MAX));
        let (in_a, in_b) = (a.keys.get(i) == Some(&next), b.keys.get(j) == Some(&next));
        union.push((if in_a { a.counts[i] } else { 0 }, if in_b { b.counts[j] } else { 0 }));
        i += usize::from(in_a);
        j += usize::from(in_b);
    }
    union
}

/// Mixes one more token into a hash: multiply, then fold the high bits down (the finaliser of Steele, Lea and
/// Flood, Fast splittable pseudorandom number generators, 2014).
fn scramble(key: u64, token: u32) -> u64 {
    let mut z = (key ^ u64::from(token)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Purpose, stream};

    fn text(tokens: usize, vocabulary: usize, seed: u64) -> Vec<Vec<u32>> {
        let mut r = stream(seed, Purpose::Metric, 0);
        (0..10).map(|_| (0..tokens / 10).map(|_| r.below(vocabulary) as u32).collect()).collect()
    }

    #[test]
    fn by_hand() {
        // Bigrams 01 10 01 against 01 11: the union is {01, 10, 11}.
        let samples = NgramCounts::count(&[[0, 1, 0, 1]], 2, 2);
        let reference = NgramCounts::count(&[[0, 1, 1]], 2, 2);
        let (p, q): ([f64; 3], [f64; 3]) = ([2.5, 1.5, 0.5].map(|c: f64| c / 4.5), [1.5, 0.5, 1.5].map(|c| c / 3.5));
        let expected: f64 = p.iter().zip(q).map(|(p, q)| p * (p / q).ln()).sum();
        assert!((ngram_kl(&samples, &reference, 0.5) - expected).abs() < 1e-15);
        assert_eq!((samples.total(), samples.distinct()), (3, 2));
    }

    #[test]
    fn zero_for_equal_texts_and_small_for_equal_laws() {
        let (a, b) = (text(40_000, 5, 0), text(40_000, 5, 1));
        for n in 1..=6 {
            let (a, b) = (NgramCounts::count(&a, 5, n), NgramCounts::count(&b, 5, n));
            assert_eq!(ngram_kl(&a, &a, DELTA), 0.0);
            let kl = ngram_kl(&a, &b, DELTA);
            // Two samples of one distribution on S cells: about (S - 1)/2N from each.
            let bias = 5f64.powi(n as i32) / 40_000.0;
            assert!(kl > 0.0 && kl < 3.0 * bias, "n = {n}: {kl} against {bias}");
        }
    }

    #[test]
    fn repetition_is_punished() {
        let reference = NgramCounts::count(&text(40_000, 5, 0), 5, 3);
        let sentence: Vec<u32> = text(100, 5, 2).concat();
        let loops = NgramCounts::count(&vec![sentence; 400], 5, 3);
        assert!(ngram_kl(&loops, &reference, DELTA) > 0.2);
    }

    #[test]
    fn hashed_keys_count_as_packed_ones() {
        // The same texts under a vocabulary too large to pack give the same counts up to order.
        let (a, b) = (text(20_000, 7, 0), text(20_000, 7, 1));
        let kl = |vocabulary| {
            let count = |t| NgramCounts::count(t, vocabulary, 4);
            ngram_kl(&count(&a), &count(&b), DELTA)
        };
        assert!((kl(7) - kl(1 << 20)).abs() < 1e-12);
    }

    #[test]
    #[should_panic(expected = "token id 3 is outside the vocabulary of 3")]
    fn token_outside() {
        NgramCounts::count(&[[0, 3]], 3, 1);
    }
}
