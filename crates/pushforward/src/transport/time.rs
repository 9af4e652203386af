//! Times: jump weights, pairs `s <= t`, and grids for sampling.
//!
//! # Examples
//! ```
//! use pushforward::transport::time::{TimeGrid, jump_weight};
//!
//! // Two jumps cover as much of the way as one: (1 - gamma(s,u)) (1 - gamma(u,t)) = 1 - gamma(s,t).
//! let (s, u, t) = (0.15, 0.4, 0.93);
//! let rest = (1.0 - jump_weight(s, u)) * (1.0 - jump_weight(u, t));
//! assert!((rest - (1.0 - jump_weight(s, t))).abs() < 1e-15);
//! // A jump to time 1 ends in its endpoint.
//! let last = TimeGrid::uniform(4).intervals().last();
//! assert_eq!(last.map(|(s, t)| jump_weight(s, t)), Some(1.0));
//! ```

use burn::tensor::Tensor;

use crate::tensor::from_host;

/// Fraction of the way from a point at `s` to its endpoint that the jump to `t` covers.
///
/// ```text
/// gamma(s, t) = (t - s) / (1 - s)        0 <= s <= t <= 1
/// ```
///
/// Only this function, [`jump_weights`] and [`rate`] divide by `1 - s`, here in float64 on the host. Nothing is clamped: the published codes
/// add 1e-8 to the divisor (text) or bound it by 0.05 (graphs), which is a different map near `s = 1`.
///
/// Reference: Roos et al. 2026, arXiv:2602.12233.
pub fn jump_weight(s: f64, t: f64) -> f64 {
    if t <= s { 0.0 } else { (t - s) / (1.0 - s) }
}

/// The derivative of [`jump_weight`] in `t`, `1 / (1 - s)`; zero at `s = 1`, where every jump is the identity.
pub fn rate(s: f64) -> f64 {
    if s >= 1.0 { 0.0 } else { 1.0 / (1.0 - s) }
}

/// [`jump_weight`] of every example, of times that are tensors; 0 where `t <= s`.
///
/// # Shapes
/// - `s`, `t`, output: `[batch]`
///
/// # Examples
/// ```
/// use pushforward::burn::tensor::{Device, Tensor};
/// use pushforward::flow_map::time::jump_weights;
/// use pushforward::tensor::to_host;
///
/// let times = |times: [f32; 3]| Tensor::<1>::from_data(times, &Device::flex());
/// assert_eq!(to_host(&jump_weights(times([0.0, 0.5, 1.0]), times([1.0, 0.75, 1.0]))), [1.0, 0.5, 0.0]);
/// ```
pub fn jump_weights(s: Tensor<1>, t: Tensor<1>) -> Tensor<1> {
    // At s = 1 the jump has no length, and any divisor gives 0.
    let rest = (s.clone().neg() + 1.0).clamp_min(1e-30);
    (t - s).clamp_min(0.0) / rest
}

/// One pair of times per example of a batch, `s[i] <= t[i]`.
#[derive(Clone, Debug, PartialEq)]
pub struct TimePairs {
    /// Start times.
    pub s: Vec<f64>,
    /// End times.
    pub t: Vec<f64>,
}

impl TimePairs {
    /// Pairs on the diagonal.
    pub fn diagonal(t: Vec<f64>) -> Self {
        Self { s: t.clone(), t }
    }

    /// `f(s, t)` of every example.
    pub fn map(&self, f: impl Fn(f64, f64) -> f64) -> Vec<f64> {
        self.s.iter().zip(&self.t).map(|(&s, &t)| f(s, t)).collect()
    }

    /// `f(s, t)` of every example as a tensor that broadcasts over the other axes.
    ///
    /// # Shapes
    /// - output: `[batch, 1, ...]`, of as many axes as `like`
    pub fn column<const D: usize>(&self, like: &Tensor<D>, f: impl Fn(f64, f64) -> f64) -> Tensor<D> {
        column(&self.map(f), like)
    }
}

/// Host numbers, one per example, as a tensor that broadcasts over the other axes.
///
/// # Shapes
/// - output: `[batch, 1, ...]`, of as many axes as `like`
pub fn column<const D: usize>(values: &[f64], like: &Tensor<D>) -> Tensor<D> {
    let mut shape = [1; D];
    shape[0] = values.len();
    from_host(values, shape, like)
}

/// Why a time grid is not possible.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TimeGridError {
    /// The times are out of order or range.
    #[error("a time grid increases strictly from 0 to 1, found {0:?}")]
    Times(Vec<f64>),
    /// The number of network evaluations is zero.
    #[error("a sample takes at least one network evaluation")]
    NoEvaluation,
    /// Heun's method cannot spend an even number of evaluations.
    #[error("heun spends an odd number of evaluations (2 per step, less 1), found {0}")]
    EvenEvaluations(usize),
}

/// Increasing times from 0 to 1: the steps of a sampler.
#[derive(Clone, Debug, PartialEq)]
pub struct TimeGrid(Vec<f64>);

impl TimeGrid {
    /// `steps` equal steps.
    ///
    /// # Panics
    /// If `steps` is zero.
    pub fn uniform(steps: usize) -> Self {
        assert!(steps > 0, "a time grid has at least one step");
        Self((0..=steps).map(|i| i as f64 / steps as f64).collect())
    }

    /// A grid of the given times.
    ///
    /// # Errors
    /// If the times do not increase strictly from 0 to 1.
    pub fn new(times: Vec<f64>) -> Result<Self, TimeGridError> {
        let increasing = times.windows(2).all(|w| w[0] < w[1]);
        match (times.first(), times.last()) {
            (Some(&first), Some(&last)) if first == 0.0 && last == 1.0 && increasing => Ok(Self(times)),
            _ => Err(TimeGridError::Times(times)),
        }
    }

    /// The times, from 0 to 1.
    pub fn times(&self) -> &[f64] {
        &self.0
    }

    /// Number of steps.
    pub fn steps(&self) -> usize {
        self.0.len() - 1
    }

    /// The steps as pairs `(s, t)`.
    pub fn intervals(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        self.0.windows(2).map(|w| (w[0], w[1]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights() {
        assert_eq!(jump_weight(0.3, 0.3), 0.0);
        assert_eq!(jump_weight(0.3, 1.0), 1.0);
        assert_eq!(jump_weight(1.0, 1.0), 0.0);
        assert!((jump_weight(0.2, 0.6) - 0.5).abs() < 1e-15);
        // Two jumps cover as much of the way as one: (1-g(s,u)) (1-g(u,t)) = 1-g(s,t).
        let (s, u, t) = (0.15, 0.4, 0.93);
        let rest = (1.0 - jump_weight(s, u)) * (1.0 - jump_weight(u, t));
        assert!((rest - (1.0 - jump_weight(s, t))).abs() < 1e-15);
    }

    #[test]
    fn grids() {
        assert_eq!(TimeGrid::uniform(2).intervals().collect::<Vec<_>>(), [(0.0, 0.5), (0.5, 1.0)]);
        assert!(TimeGrid::new(vec![0.0, 0.7, 0.6, 1.0]).is_err() && TimeGrid::new(vec![]).is_err());
    }
}
