//! Log-weights of particles: effective sample size, mean weight, and resampling.
//!
//! ```text
//! ESS = (sum_i w_i)^2 / sum_i w_i^2                      1 to N; 0 if all weights are zero
//! log mean w = log( (1/N) sum_i w_i )
//! systematic: particle i is chosen floor(n w_i / sum w) times or once more, n w_i / sum w times on average
//! ```
//!
//! Kong, Liu, Wong 1994 for the effective sample size; Kitagawa 1996 for systematic resampling.
//!
//! # Examples
//! Three equal weights and one of zero.
//! ```
//! use pushforward::flow_map::steer::weights::{effective_size, log_mean_exp, systematic};
//!
//! let log_weights = [2.0, 2.0, f64::NEG_INFINITY, 2.0];
//! assert_eq!(effective_size(&log_weights), 3.0);
//! assert!((log_mean_exp(&log_weights) - (2.0 + 0.75f64.ln())).abs() < 1e-12);
//! assert_eq!(systematic(&log_weights, 6, 0.5), [0, 0, 1, 1, 3, 3]);
//! ```

/// Effective sample size of weights `exp(log_weights)`.
pub fn effective_size(log_weights: &[f64]) -> f64 {
    let w = relative(log_weights);
    let (sum, squares) = w.iter().fold((0.0, 0.0), |(s, q), w| (s + w, q + w * w));
    if squares > 0.0 { sum * sum / squares } else { 0.0 }
}

/// Logarithm of the mean weight; minus infinity if all weights are zero.
pub fn log_mean_exp(log_weights: &[f64]) -> f64 {
    let top = log_weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if top == f64::NEG_INFINITY {
        return top;
    }
    top + (relative(log_weights).iter().sum::<f64>() / log_weights.len() as f64).ln()
}

/// Indices of `count` particles by systematic resampling with one uniform number in [0, 1), in increasing order; empty
/// if all weights are zero.
pub fn systematic(log_weights: &[f64], count: usize, uniform: f64) -> Vec<usize> {
    let w = relative(log_weights);
    let total: f64 = w.iter().sum();
    // Rounding must not move the last point past the last particle of positive weight.
    let Some(last) = w.iter().rposition(|&w| w > 0.0) else { return Vec::new() };
    let (mut particle, mut passed) = (0, w[0]);
    let place = |i: usize| (i as f64 + uniform) * total / count as f64;
    (0..count)
        .map(|i| {
            while passed <= place(i) && particle < last {
                particle += 1;
                passed += w[particle];
            }
            particle
        })
        .collect()
}

/// Index of one particle, drawn in proportion to its weight; `None` if all weights are zero.
pub fn choose(log_weights: &[f64], uniform: f64) -> Option<usize> {
    systematic(log_weights, 1, uniform).first().copied()
}

/// Weights relative to the largest.
fn relative(log_weights: &[f64]) -> Vec<f64> {
    let top = log_weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weight = |l: &f64| if *l == f64::NEG_INFINITY { 0.0 } else { (l - top).exp() };
    log_weights.iter().map(weight).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Purpose, stream};

    #[test]
    fn effective_size_by_hand() {
        assert_eq!(effective_size(&[0.0; 7]), 7.0);
        assert_eq!(effective_size(&[-1e4, f64::NEG_INFINITY, -1e4]), 2.0);
        assert!((effective_size(&[3f64.ln(), 0.0]) - 16.0 / 10.0).abs() < 1e-12);
        assert_eq!(effective_size(&[f64::NEG_INFINITY; 3]), 0.0);
        assert!((log_mean_exp(&[3f64.ln() + 900.0, 900.0]) - 900.0 - 2f64.ln()).abs() < 1e-12);
        assert_eq!(log_mean_exp(&[f64::NEG_INFINITY; 3]), f64::NEG_INFINITY);
    }

    #[test]
    fn systematic_resampling_takes_every_particle_its_share_rounded_down_or_up() {
        let mut randomness = stream(0, Purpose::Metric, 0);
        let log_w: Vec<f64> =
            (0..9).map(|i| if i % 4 == 3 { f64::NEG_INFINITY } else { 2.0 * randomness.normal() }).collect();
        let total: f64 = log_w.iter().map(|l| l.exp()).sum();
        let (count, repeats) = (20, 4000);
        let mut seen = [0.0; 9];
        for _ in 0..repeats {
            let chosen = systematic(&log_w, count, randomness.uniform());
            assert_eq!(chosen.len(), count);
            for (i, l) in log_w.iter().enumerate() {
                let (times, share) =
                    (chosen.iter().filter(|&&c| c == i).count() as f64, count as f64 * l.exp() / total);
                assert!(times >= (share - 1e-9).floor() && times <= (share + 1e-9).ceil(), "{times} of {share}");
                seen[i] += times / f64::from(repeats);
            }
        }
        for (seen, l) in seen.iter().zip(&log_w) {
            // A count that is floor or ceil deviates by at most one half.
            assert!((seen - count as f64 * l.exp() / total).abs() < 4.0 * 0.5 / f64::from(repeats).sqrt());
        }
        assert_eq!(systematic(&[f64::NEG_INFINITY], 3, 0.5), Vec::<usize>::new());
        assert_eq!(systematic(&[0.0, f64::NEG_INFINITY], 2, 1.0 - 1e-16), [0, 0]);
        assert_eq!(choose(&[f64::NEG_INFINITY, 0.0], 0.0), Some(1));
    }
}
