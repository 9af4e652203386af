//! Estimates with 95 % intervals.
//!
//! ```text
//! Wilson     (p + z^2/2n +- z sqrt(p (1 - p)/n + z^2/4n^2)) / (1 + z^2/n)      z = 1.96
//! mean       m +- z s / sqrt(n)
//! ratio      r = sum a_i / sum b_i +- z sqrt(sum (a_i - r b_i)^2 / (n (n - 1))) / mean(b)
//! Student    m +- t s / sqrt(n)                   t: the 97.5 % quantile with n - 1 degrees of freedom
//! bootstrap  2.5 % and 97.5 % quantiles of the statistic over resampled items
//! ```
//!
//! Wilson, Probable inference, the law of succession, and statistical inference, 1927;
//! Efron and Tibshirani, An introduction to the bootstrap, 1993 (chapter 13).
//!
//! # Examples
//! ```
//! use pushforward::metrics::interval::{Z95, fraction, mean};
//! let none = fraction(0, 10);
//! assert_eq!(none.ci95, Some([0.0, Z95 * Z95 / (10.0 + Z95 * Z95)]));
//! let [low, high] = mean(&[1.0, 2.0, 3.0, 6.0]).ci95.unwrap();
//! assert!((low + high - 2.0 * 3.0).abs() < 1e-12 && high - low > 1.0);
//! ```

use crate::rng::Stream;

/// The 97.5 % quantile of the standard normal distribution.
pub const Z95: f64 = 1.959963984540054;

/// A value, its 95 % interval if known, and the number of items it is computed from.
///
/// # Examples
/// ```
/// use pushforward::metrics::interval::Estimate;
/// let nats = Estimate { value: 0.0, ci95: Some([-1.0, 1.0]), n: 10 };
/// let perplexity = nats.map(f64::exp);
/// assert_eq!((perplexity.value, perplexity.ci95), (1.0, Some([(-1f64).exp(), 1f64.exp()])));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The estimate; NaN if there are no items.
    pub value: f64,
    /// Lower and upper end of the 95 % interval.
    pub ci95: Option<[f64; 2]>,
    /// Number of independent items.
    pub n: usize,
}

impl Estimate {
    /// The estimate and its interval under an increasing function, such as `exp`.
    pub fn map(self, increasing: impl Fn(f64) -> f64) -> Self {
        Self { value: increasing(self.value), ci95: self.ci95.map(|ends| ends.map(&increasing)), n: self.n }
    }
}

/// A fraction with its Wilson interval, which stays inside `[0, 1]` and does not collapse to a point at 0 and at 1.
///
/// With `n = 0` the value is NaN and there is no interval.
///
/// # Panics
/// If `successes` exceeds `n`.
pub fn fraction(successes: usize, n: usize) -> Estimate {
    assert!(successes <= n, "{successes} successes out of {n} items");
    let count = n as f64;
    let p = successes as f64 / count;
    let shrink = 1.0 + Z95 * Z95 / count;
    let centre = (p + Z95 * Z95 / (2.0 * count)) / shrink;
    let half = Z95 * (p * (1.0 - p) / count + (Z95 / (2.0 * count)).powi(2)).sqrt() / shrink;
    // At 0 and at 1 the near end is exact; the formula would give it up to rounding.
    let low = if successes == 0 { 0.0 } else { centre - half };
    let high = if successes == n { 1.0 } else { centre + half };
    Estimate { value: p, ci95: (n > 0).then_some([low, high]), n }
}

/// The mean of `values` with its normal interval (`None` for fewer than two values).
pub fn mean(values: &[f64]) -> Estimate {
    ratio_of_sums(values, &vec![1.0; values.len()])
}

/// The mean of a few repeats of a measurement with Student's interval (`None` for fewer than two repeats).
pub fn repeats(values: &[f64]) -> Estimate {
    let normal = mean(values);
    let scale = student(values.len().saturating_sub(1)) / Z95;
    Estimate { ci95: normal.ci95.map(|ends| ends.map(|end| normal.value + scale * (end - normal.value))), ..normal }
}

/// The 97.5 % quantile of Student's t distribution. Above two degrees of freedom by its expansion in their inverse, to
/// 0.2 % at three and better beyond (Abramowitz and Stegun 1964, 26.7.5).
fn student(freedom: usize) -> f64 {
    match freedom {
        0 => f64::INFINITY,
        1 => (std::f64::consts::PI * 0.475).tan(),
        2 => 0.95 * (2.0 / (1.0 - 0.95f64 * 0.95)).sqrt(),
        _ => {
            let (z, n) = (Z95, freedom as f64);
            let terms = [
                (z.powi(3) + z) / 4.0,
                (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / 96.0,
                (3.0 * z.powi(7) + 19.0 * z.powi(5) + 17.0 * z.powi(3) - 15.0 * z) / 384.0,
                (79.0 * z.powi(9) + 776.0 * z.powi(7) + 1482.0 * z.powi(5) - 1920.0 * z.powi(3) - 945.0 * z) / 92160.0,
            ];
            terms.iter().rev().fold(0.0, |sum, term| (sum + term) / n) + z
        }
    }
}

/// `sum numerators / sum denominators`, such as nats per token of sequences of unequal length, with the
/// interval of the linearised ratio; the items are the independent units.
///
/// # Panics
/// If the two lengths differ.
///
/// # Examples
/// ```
/// use pushforward::metrics::interval::ratio_of_sums;
/// // Nats and tokens of two sequences: 6 nats over 4 tokens, not the mean of 1 and 5/3.
/// let rate = ratio_of_sums(&[1.0, 5.0], &[1.0, 3.0]);
/// assert_eq!((rate.value, rate.n), (1.5, 2));
/// ```
pub fn ratio_of_sums(numerators: &[f64], denominators: &[f64]) -> Estimate {
    assert_eq!(numerators.len(), denominators.len(), "numerators and denominators differ in length");
    let n = numerators.len();
    let denominator: f64 = denominators.iter().sum();
    let value = numerators.iter().sum::<f64>() / denominator;
    let squares: f64 = numerators.iter().zip(denominators).map(|(a, b)| (a - value * b).powi(2)).sum();
    let count = n as f64;
    let half = Z95 * (squares / (count * (count - 1.0))).sqrt() / (denominator / count);
    Estimate { value, ci95: (n > 1).then_some([value - half, value + half]), n }
}

/// The percentile interval of `statistic` over `resamples` draws of `n` item indices with replacement.
///
/// # Panics
/// If `n` or `resamples` is zero.
///
/// # Examples
/// ```
/// use pushforward::metrics::interval::bootstrap;
/// use pushforward::rng::{Purpose, stream};
/// let x = [1.0, 2.0, 3.0, 4.0];
/// let mean = |items: &[usize]| items.iter().map(|&i| x[i]).sum::<f64>() / items.len() as f64;
/// let [low, high] = bootstrap(x.len(), 200, &mut stream(0, Purpose::Metric, 0), mean);
/// assert!(1.0 <= low && low < 2.5 && 2.5 < high && high <= 4.0);
/// ```
pub fn bootstrap(n: usize, resamples: usize, stream: &mut Stream, statistic: impl Fn(&[usize]) -> f64) -> [f64; 2] {
    assert!(n > 0 && resamples > 0, "a bootstrap needs items and resamples, got {n} and {resamples}");
    let mut items = vec![0; n];
    let mut values: Vec<f64> = (0..resamples)
        .map(|_| {
            items.fill_with(|| stream.below(n));
            statistic(&items)
        })
        .collect();
    values.sort_by(f64::total_cmp);
    [quantile(&values, 0.025), quantile(&values, 0.975)]
}

/// The `q` quantile of sorted values, linear between neighbours.
fn quantile(sorted: &[f64], q: f64) -> f64 {
    let place = q * (sorted.len() - 1) as f64;
    let below = sorted[place.floor() as usize];
    let above = sorted[place.ceil() as usize];
    below + (above - below) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Purpose, stream};
    use proptest::prelude::*;

    #[test]
    fn repeats_have_the_intervals_of_the_tables() {
        for (freedom, wanted) in
            [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (9, 2.262), (30, 2.042), (1000, 1.962)]
        {
            let off = student(freedom) / wanted - 1.0;
            assert!(off.abs() < 2e-3, "{freedom} degrees of freedom: off by {off:e}");
        }
        let found = repeats(&[1.0, 2.0, 3.0]);
        let half = 4.303 / 3f64.sqrt();
        let [low, high] = found.ci95.unwrap();
        assert!(
            (found.value - 2.0).abs() < 1e-12 && (low - 2.0 + half).abs() < 1e-3 && (high - 2.0 - half).abs() < 1e-3
        );
        assert_eq!(repeats(&[1.0]).ci95, None);
    }

    proptest! {
        #[test]
        fn wilson_ends_lie_z_standard_errors_from_the_fraction(n in 1usize..2000, share in 0.0..=1.0f64) {
            let successes = (share * n as f64) as usize;
            let Estimate { value, ci95, .. } = fraction(successes, n);
            let ends = ci95.unwrap();
            prop_assert!(0.0 <= ends[0] && ends[0] <= value && value <= ends[1] && ends[1] <= 1.0);
            for end in ends {
                // The defining equation: the end p is z standard errors, taken at p, from the fraction.
                let gap = (value - end).powi(2) - Z95 * Z95 * end * (1.0 - end) / n as f64;
                prop_assert!(gap.abs() < 1e-12, "{gap}");
            }
        }
    }

    #[test]
    fn wilson_at_the_ends() {
        let none = fraction(0, 10).ci95.unwrap();
        assert_eq!(none[0], 0.0);
        assert!((none[1] - Z95 * Z95 / (10.0 + Z95 * Z95)).abs() < 1e-15);
        assert_eq!(fraction(10, 10).ci95.unwrap()[1], 1.0);
        let nothing = fraction(0, 0);
        assert!(nothing.value.is_nan() && nothing.ci95.is_none());
    }

    #[test]
    fn mean_by_hand() {
        let e = mean(&[1.0, 2.0, 3.0, 6.0]);
        let half = Z95 * (14.0f64 / 3.0).sqrt() / 2.0;
        let [low, high] = e.ci95.unwrap();
        assert_eq!((e.value, e.n), (3.0, 4));
        assert!((low - (3.0 - half)).abs() < 1e-14 && (high - (3.0 + half)).abs() < 1e-14);
        assert!(mean(&[1.0]).ci95.is_none());
    }

    #[test]
    fn intervals_cover_the_truth_about_19_times_in_20() {
        let mut r = stream(3, Purpose::Metric, 0);
        let (rounds, n) = (2000, 60);
        let mut covered = [0usize; 3];
        for _ in 0..rounds {
            let hits = (0..n).filter(|_| r.uniform() < 0.1).count();
            let (b, a): (Vec<f64>, Vec<f64>) = (0..n)
                .map(|_| (1.0 + r.uniform(), r.normal()))
                .map(|(length, noise)| (length, length * 2.0 + noise))
                .unzip();
            let inside = |e: Estimate, truth: f64| e.ci95.is_some_and(|[low, high]| low <= truth && truth <= high);
            covered[0] += usize::from(inside(fraction(hits, n), 0.1));
            covered[1] += usize::from(inside(mean(&a), 3.0));
            covered[2] += usize::from(inside(ratio_of_sums(&a, &b), 2.0));
        }
        for share in covered.map(|c| c as f64 / rounds as f64) {
            assert!((0.925..0.975).contains(&share), "{covered:?} of {rounds}");
        }
    }

    #[test]
    fn bootstrap_of_a_mean_agrees_with_the_normal_interval() {
        let mut r = stream(4, Purpose::Metric, 0);
        let x: Vec<f64> = (0..400).map(|_| r.normal()).collect();
        let [low, high] =
            bootstrap(x.len(), 1000, &mut r, |items| items.iter().map(|&i| x[i]).sum::<f64>() / items.len() as f64);
        let [l, h] = mean(&x).ci95.unwrap();
        assert!((low - l).abs() < 0.015 && (high - h).abs() < 0.015, "{low} {l} {high} {h}");
    }
}
