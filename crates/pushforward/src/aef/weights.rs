//! Means of importance weights from their logarithms.

/// `log 1/K sum_k e^(w_k)` and its standard error by the delta method, NaN of a single weight; without the `-ln K` if `without_ln_k`.
pub fn log_mean(log_weights: &[f64], without_ln_k: bool) -> (f64, f64) {
    let k = log_weights.len() as f64;
    let top = log_weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = log_weights.iter().map(|w| (w - top).exp()).collect();
    let mean = weights.iter().sum::<f64>() / k;
    let variance = weights.iter().map(|w| (w - mean).powi(2)).sum::<f64>() / (k - 1.0).max(1.0);
    let value = top + mean.ln() + if without_ln_k { k.ln() } else { 0.0 };
    // A single weight has no spread.
    (value, if log_weights.len() > 1 { (variance / k).sqrt() / mean } else { f64::NAN })
}

/// Weights that are kept one by one; with more, parts of so many are summed.
const KEPT: usize = 1 << 16;

/// Logarithms of weights in bounded memory.
#[derive(Debug, Default)]
pub(super) struct Weights {
    kept: Vec<f64>,
    parts: Option<Sums>,
}

/// Sums of weights and of their squares, relative to the largest.
#[derive(Clone, Copy, Debug)]
struct Sums {
    count: f64,
    top: f64,
    sum: f64,
    squares: f64,
}

impl Sums {
    fn of(log_weights: &[f64]) -> Self {
        let top = log_weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let relative = || log_weights.iter().map(|w| if top.is_finite() { (w - top).exp() } else { 0.0 });
        Self { count: log_weights.len() as f64, top, sum: relative().sum(), squares: relative().map(|w| w * w).sum() }
    }

    fn and(self, other: Self) -> Self {
        let top = self.top.max(other.top);
        let factor = |part: Self| if part.top.is_finite() { (part.top - top).exp() } else { 0.0 };
        let (a, b) = (factor(self), factor(other));
        Self {
            count: self.count + other.count,
            top,
            sum: a * self.sum + b * other.sum,
            squares: a * a * self.squares + b * b * other.squares,
        }
    }
}

impl Weights {
    pub(super) fn push(&mut self, log_weight: f64) {
        self.kept.push(log_weight);
        if self.kept.len() == KEPT {
            let part = Sums::of(&self.kept);
            self.parts = Some(self.parts.map_or(part, |parts| parts.and(part)));
            self.kept.clear();
        }
    }

    /// As [`log_mean`] of all weights.
    pub(super) fn log_mean(self, without_ln_k: bool) -> (f64, f64) {
        let Some(parts) = self.parts else { return log_mean(&self.kept, without_ln_k) };
        let all = if self.kept.is_empty() { parts } else { parts.and(Sums::of(&self.kept)) };
        let (k, mean) = (all.count, all.sum / all.count);
        let variance = (all.squares - k * mean * mean).max(0.0) / (k - 1.0).max(1.0);
        let value = all.top + mean.ln() + if without_ln_k { k.ln() } else { 0.0 };
        (value, (variance / k).sqrt() / mean)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Purpose, stream};

    #[test]
    fn sums_of_parts_are_those_of_all() {
        let mut random = stream(3, Purpose::Metric, 0);
        for count in [1, 5, KEPT - 1, KEPT, 3 * KEPT + 17] {
            let all: Vec<f64> = (0..count).map(|i| 3.0 * random.normal() - i as f64 * 1e-4 + 700.0).collect();
            let mut parts = Weights::default();
            all.iter().for_each(|&w| parts.push(w));
            assert!(parts.kept.capacity() <= 2 * KEPT);
            let ((value, error), (whole, wide)) = (parts.log_mean(false), log_mean(&all, false));
            assert!(
                (value - whole).abs() < 1e-9 && (count == 1 || (error - wide).abs() < 1e-9 * (1.0 + wide)),
                "{count}"
            );
            if count < KEPT {
                assert_eq!(
                    (value.to_bits(), error.to_bits()),
                    (whole.to_bits(), wide.to_bits()),
                    "few weights are averaged as ever"
                );
            }
        }
    }
}
