//! The only source of randomness: counter-based streams addressed by `(seed, purpose, index)`.
//!
//! A stream is a pure function of its address. Step `k` of a training run, item `i` of a sample and
//! epoch `e` of a data order each open their own stream, so nothing about the generator has to be
//! stored to resume a run, and item `i` of a sample is the same whatever the batch size.
//!
//! # Examples
//! ```
//! use pushforward::rng::{Purpose, stream};
//!
//! let numbers = |index| stream(0, Purpose::Sample, index).normals(3);
//! assert_eq!(numbers(7), numbers(7));
//! assert_ne!(numbers(7), numbers(8));
//! let mut order = [0, 1, 2, 3, 4];
//! stream(0, Purpose::Order, 0).shuffle(&mut order);
//! order.sort();
//! assert_eq!(order, [0, 1, 2, 3, 4]);
//! ```

use rand::{Rng as _, RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, Gamma, StandardNormal};

/// What a stream is for. Two purposes never share random numbers, whatever the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u64)]
pub enum Purpose {
    /// Initial weights of a network.
    Init = 1,
    /// Order of the examples in an epoch (index: epoch).
    Order = 2,
    /// Source noise `x_0` of a training step (index: step).
    Source = 3,
    /// Times of a training step (index: step).
    Time = 4,
    /// Dropout masks of a training step (index: step).
    Dropout = 5,
    /// Random choices inside an example, such as stochastic binarisation (index: epoch and example).
    Example = 6,
    /// Synthetic data sets (index: example).
    Synthesis = 7,
    /// Source noise of a sample (index: item).
    Sample = 8,
    /// Fresh noise injected while sampling (index: item).
    Renoise = 9,
    /// Validation noise and times (index: batch).
    Validation = 10,
    /// Monte Carlo estimates of likelihood bounds (index: item).
    Likelihood = 11,
    /// Splits of a data set into training, validation and test parts.
    Split = 12,
    /// Random choices of evaluation metrics, such as bootstrap samples (index: repetition).
    Metric = 13,
    /// Number of nodes of a sampled graph (index: item).
    Size = 14,
    /// Resampling of particles (index: population).
    Resample = 15,
    /// Which conditions, labels or observed sites, a training step hides (index: step).
    Condition = 16,
    /// Deviations over which a mean image is averaged (index: antithetic pair).
    Deviation = 17,
    /// What a row of a table is drawn beyond its classes: numbers in their bins, rare values (index: row).
    Decode = 18,
    /// Whether a row is kept whose class a condition allows in part (index: row).
    Accept = 19,
    /// Noise on which a calibration is fitted (index: level).
    Calibration = 20,
    /// Label of a sample (index: item).
    Label = 21,
    /// Where the part of a graph is that samples keep (index: particle).
    Place = 22,
}

/// One stream of random numbers.
#[derive(Clone, Debug)]
pub struct Stream(ChaCha8Rng);

/// Opens the stream at `(seed, purpose, index)`.
///
/// ```
/// use pushforward::rng::{stream, Purpose};
/// let mut a = stream(0, Purpose::Sample, 7);
/// let mut b = stream(0, Purpose::Sample, 7);
/// assert_eq!(a.uniform(), b.uniform());
/// ```
pub fn stream(seed: u64, purpose: Purpose, index: u64) -> Stream {
    let mut key = [0u8; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&(purpose as u64).to_le_bytes());
    let mut rng = ChaCha8Rng::from_seed(key);
    rng.set_stream(index);
    Stream(rng)
}

impl Stream {
    /// A number in `[0, 1)` with 53 random bits.
    pub fn uniform(&mut self) -> f64 {
        self.0.random::<f64>()
    }

    /// A standard normal number.
    pub fn normal(&mut self) -> f64 {
        StandardNormal.sample(&mut self.0)
    }

    /// A Gamma(`shape`, 1) number.
    ///
    /// # Panics
    /// If `shape` is not positive and finite.
    pub fn gamma(&mut self, shape: f64) -> f64 {
        Gamma::new(shape, 1.0).expect("the Gamma shape is positive and finite").sample(&mut self.0)
    }

    /// An integer in `0..n`.
    ///
    /// # Panics
    /// If `n` is zero.
    pub fn below(&mut self, n: usize) -> usize {
        self.0.random_range(0..n)
    }

    /// 64 random bits, for instance to seed another generator.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// `n` standard normal numbers.
    pub fn normals(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| StandardNormal.sample(&mut self.0)).collect()
    }

    /// Shuffles `items` in place (Fisher-Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_independent_and_repeatable() {
        let draw = |s, p, i| {
            let mut r = stream(s, p, i);
            (r.bits(), r.bits())
        };
        let base = draw(1, Purpose::Sample, 2);
        assert_eq!(base, draw(1, Purpose::Sample, 2));
        assert_ne!(base, draw(2, Purpose::Sample, 2));
        assert_ne!(base, draw(1, Purpose::Renoise, 2));
        assert_ne!(base, draw(1, Purpose::Sample, 3));
    }

    #[test]
    fn moments() {
        let mut r = stream(0, Purpose::Metric, 0);
        let n = 20_000;
        let x: Vec<f64> = (0..n).map(|_| r.normal()).collect();
        let mean = x.iter().sum::<f64>() / n as f64;
        let var = x.iter().map(|v| v * v).sum::<f64>() / n as f64;
        assert!(mean.abs() < 0.03 && (var - 1.0).abs() < 0.04, "{mean} {var}");
        let g = (0..n).map(|_| r.gamma(2.5)).sum::<f64>() / n as f64;
        assert!((g - 2.5).abs() < 0.05, "{g}");
    }
}
