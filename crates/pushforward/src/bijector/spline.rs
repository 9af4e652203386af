//! Increasing rational-quadratic splines of the real line.
//!
//! Between the knots `(x_k, y_k)` with slopes `d_k`, `k = 0, ..., bins`, of which the outer ones are `(-bound, -bound)`
//! and `(bound, bound)` with slope 1:
//!
//! ```text
//! w = x_{k+1} - x_k    h = y_{k+1} - y_k    s = h / w    u = (x - x_k) / w    q = u (1 - u)
//! y     = y_k + h (s u^2 + d_k q) / (s + (d_{k+1} + d_k - 2 s) q)
//! dy/dx = s^2 (d_{k+1} u^2 + 2 s q + d_k (1 - u)^2) / (s + (d_{k+1} + d_k - 2 s) q)^2
//! ```
//!
//! and the identity outside. The inverse solves `a u^2 + b u + c = 0` with `v = y - y_k`, `r = d_{k+1} + d_k - 2 s`,
//! `a = h (s - d_k) + v r`, `b = h d_k - v r`, `c = -s v` in the form `u = 2 c / (-b - sqrt(b^2 - 4 a c))`, which does
//! not cancel.
//!
//! Reference: Durkan et al. 2019 (arXiv:1906.04032).

use burn::tensor::{Int, Tensor, activation};

use super::map::softplus;
use crate::tensor::from_host;

/// Smallest width of a bin relative to the interval, and smallest slope.
const LEAST: f64 = 1e-3;

/// Largest number of bins, so that the smallest widths sum to less than the interval.
pub(super) const MAX_BINS: usize = 256;

/// Number of parameters: widths, heights, and slopes at the inner knots.
pub(super) fn parameters(bins: usize) -> usize {
    3 * bins - 1
}

/// The knots, `[batch, features, bins + 1]` each.
struct Knots {
    x: Tensor<3>,
    y: Tensor<3>,
    slope: Tensor<3>,
}

/// The piece of the spline that a point lies on, `[batch, features]` each.
struct Piece {
    x: Tensor<2>,
    w: Tensor<2>,
    y: Tensor<2>,
    h: Tensor<2>,
    s: Tensor<2>,
    left: Tensor<2>,
    right: Tensor<2>,
}

impl Knots {
    /// Knots from unbounded parameters; zeros give equally spaced knots on the diagonal with slope 1, the identity.
    fn new(raw: &Tensor<3>, bound: f64) -> Self {
        let [batch, features, parameters] = raw.dims();
        let bins = (parameters + 1) / 3;
        let ends = |value: f64| from_host(&vec![value; batch * features], [batch, features, 1], raw);
        let between = |first, inner, last| Tensor::cat(vec![ends(first), inner, ends(last)], 2);
        let positions = |start: usize| {
            let share =
                activation::softmax(raw.clone().narrow(2, start, bins), 2) * (1.0 - LEAST * bins as f64) + LEAST;
            between(-bound, share.narrow(2, 0, bins - 1).cumsum(2) * (2.0 * bound) - bound, bound)
        };
        let unit = (1.0 - LEAST).exp_m1().ln(); // softplus(unit) + LEAST = 1
        let slope = softplus(raw.clone().narrow(2, 2 * bins, bins - 1) + unit) + LEAST;
        Self { x: positions(0), y: positions(bins), slope: between(1.0, slope, 1.0) }
    }

    /// The piece whose interval on the axis of `knots` contains `at`.
    fn piece(&self, knots: &Tensor<3>, at: &Tensor<2>) -> Piece {
        let [batch, features, ends] = knots.dims();
        let inner = knots.clone().narrow(2, 1, ends - 2);
        let below = inner.lower_equal(at.clone().reshape([batch, features, 1]).expand([batch, features, ends - 2]));
        let index: Tensor<3, Int> = below.int().sum_dim(2);
        let take = |t: &Tensor<3>, offset: i64| {
            t.clone().gather(2, index.clone().add_scalar(offset)).reshape([batch, features])
        };
        let (x, y) = (take(&self.x, 0), take(&self.y, 0));
        let (w, h) = (take(&self.x, 1) - x.clone(), take(&self.y, 1) - y.clone());
        let s = h.clone() / w.clone();
        Piece { x, w, y, h, s, left: take(&self.slope, 0), right: take(&self.slope, 1) }
    }
}

impl Piece {
    fn slope_excess(&self) -> Tensor<2> {
        self.right.clone() + self.left.clone() - self.s.clone() * 2.0
    }

    /// Value, and logarithm of the slope, at the fraction `u` of the piece.
    fn at(&self, u: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        let rest = u.clone().neg() + 1.0;
        let q = u.clone() * rest.clone();
        let below = self.s.clone() + self.slope_excess() * q.clone();
        let above = self.h.clone() * (self.s.clone() * u.clone() * u.clone() + self.left.clone() * q.clone());
        let rise =
            self.right.clone() * u.clone() * u + self.s.clone() * q * 2.0 + self.left.clone() * rest.clone() * rest;
        let log_slope = (self.s.clone().log() - below.clone().log()) * 2.0 + rise.log();
        (self.y.clone() + above / below, log_slope)
    }

    /// The fraction of the piece where the spline takes the value `y`.
    fn solve(&self, y: Tensor<2>) -> Tensor<2> {
        let v = y - self.y.clone();
        let vr = v.clone() * self.slope_excess();
        let a = self.h.clone() * (self.s.clone() - self.left.clone()) + vr.clone();
        let b = self.h.clone() * self.left.clone() - vr;
        let c = (self.s.clone() * v).neg();
        // Positive up to rounding; the lower limit keeps the gradient of the square root finite.
        let root = (b.clone() * b.clone() - a * c.clone() * 4.0).clamp_min(1e-30).sqrt();
        c * 2.0 / (b.neg() - root)
    }
}

/// The spline at `x`, and the logarithm of its slope.
///
/// # Shapes
/// - `x`, outputs: `[batch, features]`
/// - `raw`: `[batch, features, 3 bins - 1]`
pub(super) fn forward(x: Tensor<2>, raw: &Tensor<3>, bound: f64) -> (Tensor<2>, Tensor<2>) {
    inside(x, bound, |x| {
        let knots = Knots::new(raw, bound);
        let piece = knots.piece(&knots.x, &x);
        piece.at((x - piece.x.clone()) / piece.w.clone())
    })
}

/// The inverse spline at `y`, and the logarithm of its slope.
///
/// # Shapes
/// - `y`, outputs: `[batch, features]`
/// - `raw`: `[batch, features, 3 bins - 1]`
pub(super) fn inverse(y: Tensor<2>, raw: &Tensor<3>, bound: f64) -> (Tensor<2>, Tensor<2>) {
    inside(y, bound, |y| {
        let knots = Knots::new(raw, bound);
        let piece = knots.piece(&knots.y, &y);
        let u = piece.solve(y);
        let (_, log_slope) = piece.at(u.clone());
        (piece.x + u * piece.w, log_slope.neg())
    })
}

/// Applies `f` in `[-bound, bound]` and the identity outside.
fn inside(x: Tensor<2>, bound: f64, f: impl FnOnce(Tensor<2>) -> (Tensor<2>, Tensor<2>)) -> (Tensor<2>, Tensor<2>) {
    let beyond = x.clone().abs().greater_scalar(bound);
    // Clamped first: an infinity in the branch not taken would make the gradient NaN.
    let (y, ladj) = f(x.clone().clamp(-bound, bound));
    (y.mask_where(beyond.clone(), x), ladj.mask_fill(beyond, 0.0))
}
