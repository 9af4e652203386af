//! Class balance of labelled samples: distance of the class frequencies to the intended ones.
//!
//! ```text
//! class_balance_tv = 1/2 sum_c |n_c / n - p_c|
//! ```
//!
//! Samples of a perfect model do not reach zero: with `C` equally likely classes and `n` samples the expected
//! distance is about `sqrt(C / (2 pi n))`.
//!
//! # Examples
//! ```
//! use pushforward::metrics::balance::Balance;
//! let balance = Balance::new([0, 1, 1, 2], 3);
//! assert_eq!(balance.shares(), [0.25, 0.5, 0.25]);
//! assert!((balance.total_variation_to_uniform() - 1.0 / 6.0).abs() < 1e-15);
//! ```

use crate::metrics::divergence::total_variation;
use crate::metrics::entropy;

/// Class counts of a set of samples.
///
/// # Examples
/// ```
/// use pushforward::metrics::balance::Balance;
/// let balance = Balance::new(0..10, 10);
/// assert_eq!(balance.counts, [1; 10]);
/// assert!((balance.entropy() - 10f64.ln()).abs() < 1e-12);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balance {
    /// Number of samples of each class.
    pub counts: Vec<u64>,
}

impl Balance {
    /// Counts `labels` over `classes` classes.
    ///
    /// # Panics
    /// If a label is not below `classes`.
    pub fn new(labels: impl IntoIterator<Item = usize>, classes: usize) -> Self {
        let mut counts = vec![0; classes];
        for label in labels {
            assert!(label < classes, "label {label} is outside the {classes} classes");
            counts[label] += 1;
        }
        Self { counts }
    }

    /// Share of each class; NaN without samples.
    pub fn shares(&self) -> Vec<f64> {
        let n: u64 = self.counts.iter().sum();
        self.counts.iter().map(|&c| c as f64 / n as f64).collect()
    }

    /// Total variation distance of the shares to `reference` probabilities.
    ///
    /// # Panics
    /// If `reference` has another number of classes.
    pub fn total_variation(&self, reference: &[f64]) -> f64 {
        total_variation(&self.shares(), reference)
    }

    /// Total variation distance to equal shares.
    pub fn total_variation_to_uniform(&self) -> f64 {
        let classes = self.counts.len();
        self.total_variation(&vec![1.0 / classes as f64; classes])
    }

    /// Entropy of the shares, nats; `ln classes` when they are equal.
    pub fn entropy(&self) -> f64 {
        entropy::of_counts(&self.counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let b = Balance::new([0, 0, 0, 1, 2, 2], 4);
        assert_eq!(b.counts, [3, 1, 2, 0]);
        // |1/2 - 1/4| + |1/6 - 1/4| + |1/3 - 1/4| + |0 - 1/4| = 2/3
        assert!((b.total_variation_to_uniform() - 1.0 / 3.0).abs() < 1e-15);
        assert!(b.total_variation(&[0.5, 1.0 / 6.0, 1.0 / 3.0, 0.0]) < 1e-15);
        let h = 0.5 * 2.0f64.ln() + 6.0f64.ln() / 6.0 + 3.0f64.ln() / 3.0;
        assert!((b.entropy() - h).abs() < 1e-15);
    }

    #[test]
    #[should_panic(expected = "label 4 is outside the 4 classes")]
    fn label_outside() {
        Balance::new([4], 4);
    }
}
