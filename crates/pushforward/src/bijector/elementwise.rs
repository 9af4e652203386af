//! Increasing scalar maps with given parameters, which couplings and autoregressive maps apply to every feature.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::map::softplus;
use super::spline;
use crate::setting::{SettingError, positive};

/// A family of increasing maps of the real line.
///
/// # Examples
/// A spline with zero parameters is the identity.
/// ```
/// use pushforward::bijector::Elementwise;
/// use pushforward::burn::tensor::{Device, Tensor};
/// use pushforward::tensor::to_host;
///
/// let spline = Elementwise::Spline { bins: 4, bound: 3.0 };
/// let x = Tensor::<2>::from_data([[-5.0f32, 0.3, 2.0]], &Device::flex());
/// let parameters = Tensor::zeros([1, 3, spline.parameters()], &Device::flex());
/// let (y, log_slope) = spline.forward(x.clone(), parameters);
/// assert!(to_host(&(y - x)).iter().all(|difference| difference.abs() < 1e-5));
/// assert!(to_host(&log_slope).iter().all(|value| value.abs() < 1e-5));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Elementwise {
    /// `y = s x + t`; the parameters are `a`, from which `s` is computed, and `t`.
    Affine(Scale),
    /// A rational-quadratic spline on `[-bound, bound]` and the identity outside (Durkan et al. 2019,
    /// arXiv:1906.04032).
    Spline {
        /// Number of pieces, at least 2.
        bins: usize,
        /// End of the interval on which the spline acts.
        bound: f64,
    },
}

/// Parametrisation of a positive scale `s` by an unbounded number `a`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Scale {
    /// `s = softplus(a) + 1e-3`, as in nflows (Durkan et al. 2020).
    Softplus {},
    /// `s = exp(m tanh(a / m))`: between `exp(-m)` and `exp(m)`, and 1 at `a = 0`.
    Bounded {
        /// Largest absolute logarithm of the scale.
        m: f64,
    },
}

impl Scale {
    /// Checks the settings.
    ///
    /// # Errors
    /// Names the setting that is out of range, and its allowed values.
    pub(super) fn validate(&self) -> Result<(), SettingError> {
        match *self {
            Self::Bounded { m } => positive("m", m),
            Self::Softplus {} => Ok(()),
        }
    }

    /// The scale and its logarithm.
    fn of<const D: usize>(self, a: Tensor<D>) -> (Tensor<D>, Tensor<D>) {
        match self {
            Self::Softplus {} => {
                let s = softplus(a) + 1e-3;
                (s.clone(), s.log())
            }
            Self::Bounded { m } => {
                let log_s = soft_clip(a, m);
                (log_s.clone().exp(), log_s)
            }
        }
    }
}

impl Elementwise {
    /// Number of parameters of one map.
    pub fn parameters(&self) -> usize {
        match self {
            Self::Affine(_) => 2,
            Self::Spline { bins, .. } => spline::parameters(*bins),
        }
    }

    /// The maps with the given parameters at `x`, and the logarithms of their slopes.
    ///
    /// # Shapes
    /// - `x`, outputs: `[batch, features]`
    /// - `parameters`: `[batch, features, parameters]`
    pub fn forward(&self, x: Tensor<2>, parameters: Tensor<3>) -> (Tensor<2>, Tensor<2>) {
        match self {
            Self::Affine(scale) => {
                let [a, t] = parts(parameters);
                let (s, log_s) = scale.of(a);
                (x * s + t, log_s)
            }
            Self::Spline { bound, .. } => spline::forward(x, &parameters, *bound),
        }
    }

    /// The inverse maps at `y`, and the logarithms of their slopes.
    ///
    /// # Shapes
    /// - `y`, outputs: `[batch, features]`
    /// - `parameters`: `[batch, features, parameters]`
    pub fn inverse(&self, y: Tensor<2>, parameters: Tensor<3>) -> (Tensor<2>, Tensor<2>) {
        match self {
            Self::Affine(scale) => {
                let [a, t] = parts(parameters);
                let (s, log_s) = scale.of(a);
                ((y - t) / s, log_s.neg())
            }
            Self::Spline { bound, .. } => spline::inverse(y, &parameters, *bound),
        }
    }
}

/// The first two parameters of every feature.
fn parts(parameters: Tensor<3>) -> [Tensor<2>; 2] {
    let [batch, features, _] = parameters.dims();
    [0, 1].map(|i| parameters.clone().narrow(2, i, 1).reshape([batch, features]))
}

/// `m tanh(a / m)`: about `a` near zero, bounded by `m`.
pub(super) fn soft_clip<const D: usize>(a: Tensor<D>, m: f64) -> Tensor<D> {
    (a * m.recip()).tanh() * m
}
