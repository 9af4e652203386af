//! Maps given by their endpoint: jumps, draws in few evaluations, and the differential equation of the diagonal.
//!
//! # Examples
//! The exact map of data in a single point: every endpoint is that point.
//! ```
//! use pushforward::burn::tensor::{Device, Tensor};
//! use pushforward::dual::Dual;
//! use pushforward::tensor::to_host;
//! use pushforward::transport::Transport;
//! use pushforward::transport::map::{along_the_path, draw, end_time, jump_to};
//!
//! struct Point;
//! impl Transport for Point {
//!     fn endpoint(&self, x: Dual<2>, _: Dual<1>, _: Dual<1>) -> Dual<2> {
//!         x.scale(0.0).shift(3.0)
//!     }
//! }
//! let noise = Tensor::<2>::from_data([[1.0f32, -2.0]], &Device::flex());
//! let end = end_time(0.5);
//! assert!((end - 2.0 / 3.0).abs() < 1e-12);
//! // A jump to time 1 ends in the endpoint.
//! assert_eq!(to_host(&jump_to(&Point, noise.clone().into(), 0.2, 1.0).value), [3.0, 3.0]);
//! // Noise of scale 1/2 around the point.
//! assert!(to_host(&draw(&Point, noise.clone(), end, 1)).iter().zip([3.5, 2.0]).all(|(a, b)| (a - b).abs() < 1e-5));
//! assert!(to_host(&along_the_path(&Point, noise, end, 4)).iter().zip([3.5, 2.0]).all(|(a, b)| (a - b).abs() < 1e-5));
//! ```

use burn::tensor::Tensor;

use crate::dual::Dual;
use crate::tensor::vector;
use crate::transport::jumps::jump;
use crate::transport::time::{column, jump_weight};

/// A flow map of vectors, given by its endpoint.
pub trait Transport {
    /// The endpoint `pi_{s,t}(x)`: the point at time 1 on the straight line from `x` at time s through the jump at time t.
    ///
    /// # Shapes
    /// - `x`, output: `[batch, d]`
    /// - `s`, `t`: `[batch]`
    fn endpoint(&self, x: Dual<2>, s: Dual<1>, t: Dual<1>) -> Dual<2>;
}

/// The time `t* = 1/(1+eps)` at which a path leaves noise of the scale `eps`.
pub fn end_time(eps: f64) -> f64 {
    1.0 / (1.0 + eps)
}

/// The endpoint of all rows at the same pair of times.
pub(super) fn endpoint_at(map: &impl Transport, x: Dual<2>, s: f64, t: f64) -> Dual<2> {
    let n = x.dims()[0];
    let times = [s, t].map(|time| vector(&vec![time; n], &x.value));
    let [s, t] = times.map(Dual::from);
    map.endpoint(x, s, t)
}

/// The jump of all rows from s to t.
///
/// # Shapes
/// - `x`, output: `[batch, d]`
pub fn jump_to(map: &impl Transport, x: Dual<2>, s: f64, t: f64) -> Dual<2> {
    let pi = endpoint_at(map, x.clone(), s, t);
    let gamma = jump_weight(s, t);
    x.scale(1.0 - gamma) + pi.scale(gamma)
}

/// Points `z = X_{0,t*}(xi)/t*` of noise by equal jumps, with one evaluation each.
///
/// # Shapes
/// - `noise`, output: `[batch, d]`
///
/// # Panics
/// If there are no jumps, or `end` is not in (0, 1).
pub fn draw(map: &impl Transport, noise: Tensor<2>, end: f64, jumps: usize) -> Tensor<2> {
    drawn(map, noise.into(), end, jumps).value
}

/// [`draw`] on dual numbers.
pub(super) fn drawn(map: &impl Transport, noise: Dual<2>, end: f64, jumps: usize) -> Dual<2> {
    check(end, jumps);
    let time = |i: usize| end * i as f64 / jumps as f64;
    (0..jumps).fold(noise, |x, i| jump_to(map, x, time(i), time(i + 1))).scale(1.0 / end)
}

/// The same by equal steps of Euler's method along the diagonal, with one evaluation each.
///
/// # Shapes
/// - `noise`, output: `[batch, d]`
///
/// # Panics
/// As [`draw`].
pub fn along_the_path(map: &impl Transport, noise: Tensor<2>, end: f64, steps: usize) -> Tensor<2> {
    check(end, steps);
    let time = |i: usize| end * i as f64 / steps as f64;
    let x = (0..steps).fold(noise, |x, i| {
        let pi = endpoint_at(map, x.clone().into(), time(i), time(i)).value;
        let gamma = column(&vec![jump_weight(time(i), time(i + 1)); x.dims()[0]], &x);
        jump(x, pi, gamma)
    });
    x / end
}

/// How points are drawn, with the number of network evaluations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drawing {
    /// Equal jumps, see [`draw`].
    Jumps(usize),
    /// Equal steps of Euler's method, see [`along_the_path`].
    Euler(usize),
}

impl Default for Drawing {
    fn default() -> Self {
        Self::Jumps(1)
    }
}

impl Drawing {
    /// Points of noise.
    ///
    /// # Shapes
    /// - `noise`, output: `[batch, d]`
    ///
    /// # Panics
    /// As [`draw`].
    pub fn draw(self, map: &impl Transport, noise: Tensor<2>, end: f64) -> Tensor<2> {
        match self {
            Self::Jumps(evaluations) => draw(map, noise, end, evaluations),
            Self::Euler(evaluations) => along_the_path(map, noise, end, evaluations),
        }
    }

    /// Number of network evaluations.
    pub fn evaluations(self) -> usize {
        match self {
            Self::Jumps(evaluations) | Self::Euler(evaluations) => evaluations,
        }
    }
}

fn check(end: f64, steps: usize) {
    assert!(steps > 0, "a draw takes at least one network evaluation");
    assert!(end > 0.0 && end < 1.0, "the path ends between 0 and 1, found {end}");
}
