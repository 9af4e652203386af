//! Divergences between distributions over a finite set, in nats.
//!
//! ```text
//! kl(p, q) = sum_i p_i ln(p_i / q_i)                     0 ln 0 = 0
//! tv(p, q) = 1/2 sum_i |p_i - q_i|
//! E kl(p_hat, p) = (S - 1) / 2N + O(1/N^2)               p_hat from N draws of p, S cells with p_i > 0
//! ```
//!
//! Because of the last line a perfect sampler does not score zero: [`KlToTruth`] has the plug-in value and the value
//! corrected by that expectation under separate names.
//!
//! # Examples
//! ```
//! use pushforward::metrics::divergence::{kl, total_variation};
//! let (p, q) = ([1.0, 0.0], [0.25, 0.75]);
//! assert!((kl(&p, &q) - 4f64.ln()).abs() < 1e-12);
//! assert_eq!(kl(&q, &p), f64::INFINITY);
//! assert_eq!(total_variation(&p, &q), 0.75);
//! ```

/// Kullback-Leibler divergence `KL(p || q)`, nats; infinite if `q` is zero anywhere that `p` is not.
///
/// # Panics
/// If the lengths differ.
pub fn kl(p: &[f64], q: &[f64]) -> f64 {
    assert_eq!(p.len(), q.len(), "p has {} entries and q has {}", p.len(), q.len());
    p.iter().zip(q).filter(|(p, _)| **p > 0.0).map(|(p, q)| p * (p / q).ln()).sum()
}

/// Total variation distance of two distributions, in `[0, 1]`.
///
/// # Panics
/// If the lengths differ.
pub fn total_variation(p: &[f64], q: &[f64]) -> f64 {
    assert_eq!(p.len(), q.len(), "p has {} entries and q has {}", p.len(), q.len());
    0.5 * p.iter().zip(q).map(|(p, q)| (p - q).abs()).sum::<f64>()
}

/// KL divergence of an empirical joint distribution from the true one, nats.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KlToTruth {
    /// `kl(counts / N, truth)`: never negative, about `bias` even for a perfect sampler.
    pub plug_in: f64,
    /// `(S - 1) / 2N`, the expectation of `plug_in` under a perfect sampler.
    pub bias: f64,
}

impl KlToTruth {
    /// `plug_in - bias`: zero in expectation for a perfect sampler, so a single value may be below zero.
    pub fn corrected(&self) -> f64 {
        self.plug_in - self.bias
    }
}

/// `KL(counts / N || truth)` of an empirical joint distribution; `truth` has the probability of every cell.
///
/// # Panics
/// If the lengths differ or there are no samples.
///
/// # Examples
/// ```
/// use pushforward::metrics::divergence::kl_to_truth;
/// let kl = kl_to_truth(&[50, 50], &[0.5, 0.5]);
/// assert_eq!((kl.plug_in, kl.bias), (0.0, 1.0 / 200.0));
/// assert_eq!(kl.corrected(), -kl.bias);
/// ```
pub fn kl_to_truth(counts: &[u64], truth: &[f64]) -> KlToTruth {
    let n: u64 = counts.iter().sum();
    assert!(n > 0, "an empirical joint needs samples");
    let p: Vec<f64> = counts.iter().map(|&c| c as f64 / n as f64).collect();
    let support = truth.iter().filter(|q| **q > 0.0).count();
    KlToTruth { plug_in: kl(&p, truth), bias: support.saturating_sub(1) as f64 / (2 * n) as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Purpose, stream};

    #[test]
    fn kl_by_hand() {
        assert!((kl(&[1.0, 0.0], &[0.25, 0.75]) - 4.0f64.ln()).abs() < 1e-15);
        assert_eq!(kl(&[0.3, 0.7], &[0.3, 0.7]), 0.0);
        assert_eq!(kl(&[0.3, 0.7], &[1.0, 0.0]), f64::INFINITY);
        assert!((total_variation(&[1.0, 0.0], &[0.25, 0.75]) - 0.75).abs() < 1e-15);
    }

    #[test]
    fn the_correction_centres_a_perfect_sampler_on_zero() {
        let mut r = stream(5, Purpose::Metric, 0);
        let truth: Vec<f64> = (0..65).map(|i| if i < 64 { (1.0 + (i % 4) as f64) / 160.0 } else { 0.0 }).collect();
        let (rounds, n) = (200, 4000);
        let (mut plug_in, mut corrected) = (0.0, 0.0);
        for _ in 0..rounds {
            let mut counts = vec![0u64; truth.len()];
            for _ in 0..n {
                let mut u = r.uniform();
                let cell = truth.iter().position(|p| {
                    u -= p;
                    u < 0.0
                });
                counts[cell.unwrap_or(63)] += 1;
            }
            let value = kl_to_truth(&counts, &truth);
            plug_in += value.plug_in / rounds as f64;
            corrected += value.corrected() / rounds as f64;
        }
        // 63 / 8000 = 0.0079; the mean over 200 rounds has a standard error of about 1e-4.
        assert!((plug_in - 63.0 / 8000.0).abs() < 4e-4, "{plug_in}");
        assert!(corrected.abs() < 4e-4, "{corrected}");
    }
}
