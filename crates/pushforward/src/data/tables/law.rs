//! The law of a number inside a bin: the values themselves if they are few, else a piecewise-linear quantile function.

use serde::{Deserialize, Serialize};

use crate::data::tables::numbers::NumberFormat;
use crate::rng::Stream;

/// Knots of a quantile function, and most values of a bin that are kept as they are.
pub(super) const KNOTS: usize = 16;

/// How numbers are distributed within a bin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Law {
    /// Values with their counts, in increasing order.
    Values(Vec<(f64, u64)>),
    /// The quantile function at equally spaced levels from 0 to 1, linear between them.
    Quantiles(Vec<f64>),
}

/// An interval with its ends.
pub(super) type Interval = [f64; 2];

impl Law {
    /// The law of values in increasing order with their counts. A value that is rarer than `rare` is not kept as it is.
    pub(super) fn of(values: &[(f64, u64)], format: NumberFormat, rare: u64) -> Self {
        if values.len() <= KNOTS && values.iter().all(|&(_, count)| count >= rare) {
            return Self::Values(values.to_vec());
        }
        // A value stands for all numbers that are rounded to it.
        let half = format.half();
        let total: u64 = values.iter().map(|(_, count)| count).sum();
        let mut knots = Vec::with_capacity(KNOTS + 1);
        let (mut below, mut at) = (0u64, 0);
        for knot in 0..=KNOTS {
            let level = total as f64 * knot as f64 / KNOTS as f64;
            while at + 1 < values.len() && (below + values[at].1) as f64 <= level {
                below += values[at].1;
                at += 1;
            }
            let (value, count) = values[at];
            let inside = ((level - below as f64) / count as f64).clamp(0.0, 1.0);
            knots.push(value - half + 2.0 * half * inside);
        }
        Self::Quantiles(knots)
    }

    /// The share of the law in an interval of numbers of the format.
    pub(super) fn share(&self, within: Interval, format: NumberFormat) -> f64 {
        match self {
            Self::Values(values) => {
                let inside = values.iter().filter(|(value, _)| (within[0]..=within[1]).contains(value));
                let total: u64 = values.iter().map(|(_, count)| count).sum();
                inside.map(|(_, count)| *count as f64).sum::<f64>() / total.max(1) as f64
            }
            Self::Quantiles(knots) => {
                let [from, to] = levels(knots, within, format);
                (to - from).max(0.0)
            }
        }
    }

    /// Draws a number, of an interval that has a share of the law.
    pub(super) fn draw(&self, within: Interval, format: NumberFormat, stream: &mut Stream) -> f64 {
        match self {
            Self::Values(values) => {
                let inside = || values.iter().filter(|(value, _)| (within[0]..=within[1]).contains(value));
                let total: u64 = inside().map(|(_, count)| count).sum();
                let mut left = stream.uniform() * total as f64;
                for &(value, count) in inside() {
                    left -= count as f64;
                    if left < 0.0 {
                        return value;
                    }
                }
                inside().next_back().map_or(values[0].0, |&(value, _)| value)
            }
            Self::Quantiles(knots) => {
                let [from, to] = levels(knots, within, format);
                let level = from + (to - from) * stream.uniform();
                let place = (level * (knots.len() - 1) as f64).clamp(0.0, (knots.len() - 1) as f64);
                let knot = (place as usize).min(knots.len() - 2);
                let number = knots[knot] + (knots[knot + 1] - knots[knot]) * (place - knot as f64);
                format.round(number).clamp(within[0], within[1])
            }
        }
    }

    /// The mean.
    pub(super) fn mean(&self) -> f64 {
        match self {
            Self::Values(values) => {
                let total: f64 = values.iter().map(|(_, count)| *count as f64).sum();
                values.iter().map(|(value, count)| value * *count as f64).sum::<f64>() / total
            }
            Self::Quantiles(knots) => {
                let mean_of = |pair: &[f64]| 0.5 * (pair[0] + pair[1]);
                knots.windows(2).map(mean_of).sum::<f64>() / (knots.len() - 1) as f64
            }
        }
    }

    /// Whether the numbers are finite and in order.
    pub(super) fn is_sound(&self) -> bool {
        match self {
            Self::Values(values) => {
                !values.is_empty()
                    && values.iter().all(|(value, _)| value.is_finite())
                    && values.windows(2).all(|pair| pair[0].0 < pair[1].0)
                    && values.iter().try_fold(0u64, |sum, (_, count)| sum.checked_add(*count)).is_some_and(|n| n > 0)
            }
            Self::Quantiles(knots) => {
                knots.len() > 1
                    && knots.iter().all(|knot| knot.is_finite())
                    && knots.windows(2).all(|pair| pair[0] <= pair[1])
            }
        }
    }
}

/// The levels between which a quantile function lies in an interval of numbers of the format.
fn levels(knots: &[f64], within: Interval, format: NumberFormat) -> [f64; 2] {
    let half = format.half();
    // The largest level below a number, and the smallest above it, if the function is flat there.
    let level = |number: f64, last: bool| {
        let at = if last { knots.partition_point(|&k| k <= number) } else { knots.partition_point(|&k| k < number) };
        if at == 0 {
            return 0.0;
        }
        if at == knots.len() {
            return 1.0;
        }
        let (low, high) = (knots[at - 1], knots[at]);
        let inside = if high > low { ((number - low) / (high - low)).clamp(0.0, 1.0) } else { 0.0 };
        ((at - 1) as f64 + inside) / (knots.len() - 1) as f64
    };
    [level(within[0] - half, false), level(within[1] + half, true)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Purpose, stream};

    #[test]
    fn draws_follow_the_counts_within_any_interval() {
        let format = NumberFormat::INTEGER;
        let values: Vec<(f64, u64)> = (0..40).map(|i| (f64::from(i), 1 + u64::from(i < 10) * 3)).collect();
        let law = Law::of(&values, format, 0);
        assert!(law.is_sound() && matches!(law, Law::Quantiles(_)));
        let total: u64 = values.iter().map(|(_, count)| count).sum();
        for within in [[0.0, 39.0], [5.0, 14.0], [7.0, 7.0]] {
            let inside: Vec<_> = values.iter().filter(|(v, _)| (within[0]..=within[1]).contains(v)).collect();
            let share = inside.iter().map(|(_, count)| count).sum::<u64>() as f64 / total as f64;
            assert!((law.share(within, format) - share).abs() < 0.02, "{within:?}");
            let mut stream = stream(0, Purpose::Sample, 0);
            let draws: Vec<f64> = (0..20_000).map(|_| law.draw(within, format, &mut stream)).collect();
            assert!(draws.iter().all(|d| (within[0]..=within[1]).contains(d) && d.fract() == 0.0));
            let mean = draws.iter().sum::<f64>() / draws.len() as f64;
            let weight: u64 = inside.iter().map(|(_, count)| count).sum();
            let expected = inside.iter().map(|(v, count)| v * *count as f64).sum::<f64>() / weight as f64;
            assert!((mean - expected).abs() < 0.3, "{within:?} {mean} {expected}");
        }
        assert_eq!(law.share([50.0, 60.0], format), 0.0);
    }

    #[test]
    fn few_values_come_back_as_they_were() {
        let law = Law::of(&[(1.0, 1), (7.0, 3)], NumberFormat::INTEGER, 0);
        let mut stream = stream(0, Purpose::Sample, 0);
        let draws: Vec<f64> = (0..4000).map(|_| law.draw([0.0, 9.0], NumberFormat::INTEGER, &mut stream)).collect();
        let sevens = draws.iter().filter(|&&d| d == 7.0).count();
        assert!(draws.iter().all(|&d| d == 1.0 || d == 7.0) && (2850..3150).contains(&sevens), "{sevens}");
        // Rare values are not kept.
        assert!(matches!(Law::of(&[(1.0, 1), (7.0, 3)], NumberFormat::INTEGER, 2), Law::Quantiles(_)));
    }
}
