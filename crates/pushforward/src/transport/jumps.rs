//! The arithmetic of jumps towards an endpoint, which maps of classes and of vectors share.
//!
//! ```text
//! X = x + gamma (pi - x)      gamma = (t-s)/(1-s)      C = (1-t) gamma      b = (1-r)/(1-r gamma)
//! ```
//!
//! # Examples
//! Half of the way to the endpoint.
//! ```
//! use pushforward::burn::tensor::{Device, Tensor};
//! use pushforward::tensor::to_host;
//! use pushforward::transport::jumps::{drift_weight, jump};
//! use pushforward::transport::time::{column, jump_weight};
//!
//! let (x, pi) = (Tensor::<2>::zeros([1, 2], &Device::flex()), Tensor::ones([1, 2], &Device::flex()));
//! let gamma = column(&[jump_weight(0.2, 0.6)], &x);
//! assert_eq!(to_host(&jump(x, pi, gamma)), [0.5, 0.5]);
//! assert!((drift_weight(0.2, 0.6) - 0.2).abs() < 1e-12);
//! ```

use burn::tensor::Tensor;

use crate::transport::time::jump_weight;

/// The jump `X = x + gamma (pi - x)`.
///
/// # Shapes
/// - `x`, `pi`, output: `[batch, ...]`
/// - `gamma`: `[batch, 1, ...]`
pub fn jump<const D: usize>(x: Tensor<D>, pi: Tensor<D>, gamma: Tensor<D>) -> Tensor<D> {
    x.clone() + (pi - x) * gamma
}

/// `C = (1-t) gamma`, the weight of the drift `dpi` of the endpoint.
pub fn drift_weight(s: f64, t: f64) -> f64 {
    (1.0 - t) * jump_weight(s, t)
}

/// Weight `b = (1-r)/(1-r gamma)` of the second jump's endpoint in the endpoint of the composed jump.
///
/// # Examples
/// The second jump, from u to t, moves a point by the same part of its endpoint as the composed one.
/// ```
/// use pushforward::transport::{jumps::second_share, time::jump_weight};
///
/// let (s, u, t) = (0.2, 0.45, 0.7); // r = 1/2
/// let gamma = jump_weight(s, t);
/// assert!((gamma * second_share(gamma, 0.5) - jump_weight(u, t)).abs() < 1e-12);
/// ```
pub fn second_share(gamma: f64, r: f64) -> f64 {
    if r >= 1.0 { 0.0 } else { (1.0 - r) / (1.0 - r * gamma) }
}
