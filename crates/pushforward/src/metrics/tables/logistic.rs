//! Logistic regression with an L2 penalty, by L-BFGS.
//!
//! ```text
//! minimise  sum_i log(1 + exp(-y_i (b + w . x_i))) + |w|^2 / 2          y_i = +-1
//! ```
//!
//! The penalty is that of scikit-learn's default, on numbers scaled by median and interquartile range (those without
//! range by 1) and on indicators of classes. The minimum is sought in coordinates of unit variance, where a column such
//! as the capital gain of Adult (range zero, values up to 1e5) does not slow it down.

use rayon::prelude::*;

use super::features::Features;

/// Rows of one task; sums over them are added in their order, whatever the number of threads.
const BLOCK: usize = 4096;

const ITERATIONS: usize = 300;

/// Pairs of steps and gradient differences that L-BFGS keeps.
const MEMORY: usize = 10;

/// The log odds of all rows of `features` by a model that is fitted to the rows `train`.
pub(super) fn fit_predict(features: &Features, train: &[usize], positive: &[bool]) -> Vec<f64> {
    let problem = Problem::new(features, train, positive);
    let weights = minimise(problem.width(), |v| problem.loss(v));
    let all: Vec<usize> = (0..features.rows).collect();
    all.par_chunks(BLOCK).flat_map_iter(|rows| problem.log_odds(rows, &weights)).collect()
}

struct Problem<'a> {
    features: &'a Features,
    train: &'a [usize],
    positive: &'a [bool],
    /// Mean of every number and every indicator, and 1 over its standard deviation.
    means: Vec<f64>,
    scales: Vec<f64>,
    /// Weight of the penalty in the scaled coordinates.
    penalties: Vec<f64>,
}

impl<'a> Problem<'a> {
    fn new(features: &'a Features, train: &'a [usize], positive: &'a [bool]) -> Self {
        let n = train.len() as f64;
        let (mut means, mut scales, mut penalties) = (Vec::new(), Vec::new(), Vec::new());
        let mut push = |mean: f64, deviation: f64, range: f64| {
            let scale = if deviation > 0.0 { 1.0 / deviation } else { 0.0 };
            means.push(mean);
            scales.push(scale);
            penalties.push((range * scale).powi(2));
        };
        for column in &features.numbers {
            let mut values: Vec<f64> = train.iter().map(|&row| column[row]).collect();
            values.sort_unstable_by(f64::total_cmp);
            let range = quantile(&values, 0.75) - quantile(&values, 0.25);
            let mean = values.iter().sum::<f64>() / n;
            let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
            push(mean, variance.sqrt(), if range > 0.0 { range } else { 1.0 });
        }
        for (ids, classes) in &features.classes {
            let mut counts = vec![0u64; *classes];
            train.iter().for_each(|&row| counts[ids[row] as usize] += 1);
            for count in counts {
                let p = count as f64 / n;
                push(p, (p * (1.0 - p)).sqrt(), 1.0);
            }
        }
        Self { features, train, positive, means, scales, penalties }
    }

    /// The weights and the constant, which comes last.
    fn width(&self) -> usize {
        self.means.len() + 1
    }

    fn log_odds(&self, rows: &[usize], v: &[f64]) -> Vec<f64> {
        let centre: f64 = (0..self.means.len()).map(|j| v[j] * self.scales[j] * self.means[j]).sum();
        let mut z = vec![v[self.width() - 1] - centre; rows.len()];
        for (j, column) in self.features.numbers.iter().enumerate() {
            let w = v[j] * self.scales[j];
            z.iter_mut().zip(rows).for_each(|(z, &row)| *z += w * column[row]);
        }
        let mut start = self.features.numbers.len();
        for (ids, classes) in &self.features.classes {
            let w: Vec<f64> = (start..start + classes).map(|j| v[j] * self.scales[j]).collect();
            z.iter_mut().zip(rows).for_each(|(z, &row)| *z += w[ids[row] as usize]);
            start += classes;
        }
        z
    }

    /// The mean loss over the training rows with the penalty, and its gradient.
    fn loss(&self, v: &[f64]) -> (f64, Vec<f64>) {
        let parts: Vec<(f64, Vec<f64>)> = self.train.par_chunks(BLOCK).map(|rows| self.block(rows, v)).collect();
        let (mut loss, mut gradient) = (0.0, vec![0.0; v.len()]);
        for (part, slope) in parts {
            loss += part;
            gradient.iter_mut().zip(slope).for_each(|(sum, g)| *sum += g);
        }
        let last = self.means.len();
        for j in 0..last {
            gradient[j] = (gradient[j] - self.means[j] * gradient[last]) * self.scales[j] + self.penalties[j] * v[j];
            loss += self.penalties[j] * v[j] * v[j] / 2.0;
        }
        let n = self.train.len() as f64;
        gradient.iter_mut().for_each(|g| *g /= n);
        (loss / n, gradient)
    }

    /// The loss of some rows, and its gradient for weights of columns that are neither centred nor scaled.
    fn block(&self, rows: &[usize], v: &[f64]) -> (f64, Vec<f64>) {
        let mut loss = 0.0;
        let mut residuals = self.log_odds(rows, v);
        for (z, &row) in residuals.iter_mut().zip(rows) {
            let signed = if self.positive[row] { *z } else { -*z };
            loss += (-signed.abs()).exp().ln_1p() + (-signed).max(0.0);
            *z = 1.0 / (1.0 + (-*z).exp()) - f64::from(u8::from(self.positive[row]));
        }
        let mut gradient = vec![0.0; v.len()];
        for (g, column) in gradient.iter_mut().zip(&self.features.numbers) {
            *g = residuals.iter().zip(rows).map(|(r, &row)| r * column[row]).sum();
        }
        let mut start = self.features.numbers.len();
        for (ids, classes) in &self.features.classes {
            residuals.iter().zip(rows).for_each(|(r, &row)| gradient[start + ids[row] as usize] += r);
            start += classes;
        }
        gradient[start] = residuals.iter().sum();
        (loss, gradient)
    }
}

/// A quantile of sorted numbers, linear between them.
pub(super) fn quantile(sorted: &[f64], q: f64) -> f64 {
    let at = q * (sorted.len() - 1) as f64;
    let below = at.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (at - below as f64) * (sorted[above] - sorted[below])
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The minimum of a convex function from zero on, by L-BFGS with halved steps (Nocedal and Wright, algorithm 7.5).
fn minimise(width: usize, loss: impl Fn(&[f64]) -> (f64, Vec<f64>)) -> Vec<f64> {
    let mut at = vec![0.0; width];
    let (mut value, mut gradient) = loss(&at);
    let mut pairs: Vec<(Vec<f64>, Vec<f64>)> = Vec::new();
    for _ in 0..ITERATIONS {
        if gradient.iter().all(|g| g.abs() < 1e-7) {
            break;
        }
        let mut direction: Vec<f64> = gradient.iter().map(|g| -g).collect();
        let mut alphas = Vec::new();
        for (step, change) in pairs.iter().rev() {
            let alpha = dot(step, &direction) / dot(step, change);
            direction.iter_mut().zip(change).for_each(|(d, c)| *d -= alpha * c);
            alphas.push(alpha);
        }
        if let Some((step, change)) = pairs.last() {
            let scale = dot(step, change) / dot(change, change);
            direction.iter_mut().for_each(|d| *d *= scale);
        }
        for ((step, change), alpha) in pairs.iter().zip(alphas.into_iter().rev()) {
            let beta = dot(change, &direction) / dot(step, change);
            direction.iter_mut().zip(step).for_each(|(d, s)| *d += (alpha - beta) * s);
        }
        let slope = dot(&gradient, &direction);
        let moved = (0..40).map(|halvings| 0.5f64.powi(halvings)).find_map(|length| {
            let next: Vec<f64> = at.iter().zip(&direction).map(|(a, d)| a + length * d).collect();
            let (next_value, next_gradient) = loss(&next);
            (next_value <= value + 1e-4 * length * slope).then_some((next, next_value, next_gradient))
        });
        let Some((next, next_value, next_gradient)) = moved else { break };
        let step: Vec<f64> = next.iter().zip(&at).map(|(a, b)| a - b).collect();
        let change: Vec<f64> = next_gradient.iter().zip(&gradient).map(|(a, b)| a - b).collect();
        if dot(&step, &change) > 0.0 {
            pairs.push((step, change));
            if pairs.len() > MEMORY {
                pairs.remove(0);
            }
        }
        (at, value, gradient) = (next, next_value, next_gradient);
    }
    at
}

#[cfg(test)]
mod tests {
    use super::super::samples::mixed;
    use super::*;

    #[test]
    fn quantiles_are_linear() {
        let sorted = [1.0, 2.0, 4.0, 8.0];
        assert_eq!([0.0, 0.25, 0.5, 1.0].map(|q| quantile(&sorted, q)), [1.0, 1.75, 3.0, 8.0]);
        assert_eq!(quantile(&[5.0], 0.3), 5.0);
    }

    #[test]
    fn a_quadratic_is_minimised() {
        let scales = [1.0, 50.0, 0.1];
        let at = minimise(3, |x| {
            let d: Vec<f64> = x.iter().zip([1.0, -2.0, 3.0]).map(|(x, m)| x - m).collect();
            let gradient: Vec<f64> = d.iter().zip(scales).map(|(d, s)| s * d).collect();
            (dot(&d, &gradient) / 2.0, gradient)
        });
        assert!(at.iter().zip([1.0, -2.0, 3.0]).all(|(a, b)| (a - b).abs() < 1e-5), "{at:?}");
    }

    #[test]
    fn gradient_is_the_slope_and_vanishes_at_the_minimum() {
        let table = mixed(300, 0.5, 0);
        let features = Features::stack(&[&table], true);
        let positive: Vec<bool> = (0..300).map(|row| features.numbers[0][row] > 0.3 && row % 3 > 0).collect();
        let train: Vec<usize> = (0..250).collect();
        let problem = Problem::new(&features, &train, &positive);
        let v: Vec<f64> = (0..problem.width()).map(|j| 0.3 * (j as f64).sin()).collect();
        let (_, gradient) = problem.loss(&v);
        for j in 0..v.len() {
            let moved = |by: f64| {
                let mut v = v.clone();
                v[j] += by;
                problem.loss(&v).0
            };
            let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            assert!((slope - gradient[j]).abs() < 1e-8, "{j}: {slope} {}", gradient[j]);
        }
        let best = minimise(problem.width(), |v| problem.loss(v));
        assert!(problem.loss(&best).1.iter().all(|g| g.abs() < 1e-6));
        // A shift and a scale of a column change nothing: the penalty is on numbers of unit interquartile range.
        let mut other = Features::stack(&[&table], true);
        other.numbers[0].iter_mut().for_each(|v| *v = 1000.0 * *v + 7.0);
        let (a, b) = (fit_predict(&features, &train, &positive), fit_predict(&other, &train, &positive));
        assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-3));
    }
}
