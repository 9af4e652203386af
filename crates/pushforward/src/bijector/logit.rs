//! The logit of numbers in the unit interval, shrunk away from its ends.

use burn::module::Module;
use burn::tensor::{Tensor, activation};

use super::map::softplus;
use super::map::{Bijector, sum_features};

/// Smallest distance of the logit's argument from 0 and 1.
pub(crate) const MARGIN: f64 = 1e-6;

/// `y = logit(alpha + (1 - 2 alpha) x)`, for `x` in `[0, 1]`.
///
/// ```text
/// a = clamp(alpha + (1 - 2 alpha) x, 1e-6, 1 - 1e-6)      y = log a - log(1 - a)
/// ladj = features log(1 - 2 alpha) + sum_i softplus(y_i) + softplus(-y_i)
/// ```
///
/// The map is not invertible where the clamp acts; with `alpha >= 1e-6` it acts nowhere in the interval. `inverse` maps
/// the real line to numbers between `-alpha / (1 - 2 alpha)` and `1 + alpha / (1 - 2 alpha)`: clip samples to `[0, 1]`.
///
/// Reference: Dinh, Sohl-Dickstein, Bengio 2017 (arXiv:1605.08803), section 4.1.
///
/// # Examples
/// The slope of the logit at 1/2 is 4.
/// ```
/// use pushforward::bijector::{Bijector, Logit};
/// use pushforward::burn::tensor::{Device, Tensor};
/// use pushforward::tensor::to_host;
///
/// let (y, ladj) = Logit::new(0.0).forward_and_ladj(Tensor::<2>::from_data([[0.5f32]], &Device::flex()));
/// assert!(to_host(&y)[0].abs() < 1e-6);
/// assert!((to_host(&ladj)[0] - 4f64.ln()).abs() < 1e-6);
/// ```
#[derive(Module, Debug)]
pub struct Logit {
    #[module(skip)]
    alpha: f64,
}

impl Logit {
    /// The map that shrinks the interval by `alpha` at both ends.
    ///
    /// # Panics
    /// If `alpha` is not in `[0, 0.5)`.
    pub fn new(alpha: f64) -> Self {
        assert!((0.0..0.5).contains(&alpha), "alpha of a logit must lie in [0, 0.5), found {alpha}");
        Self { alpha }
    }

    /// The log-determinant as a function of the output.
    fn ladj(&self, y: Tensor<2>) -> Tensor<1> {
        let features = y.dims()[1] as f64;
        sum_features(softplus(y.clone()) + softplus(y.neg())) + features * (-2.0 * self.alpha).ln_1p()
    }
}

impl Bijector for Logit {
    fn forward_and_ladj(&self, x: Tensor<2>) -> (Tensor<2>, Tensor<1>) {
        let a = (x * (1.0 - 2.0 * self.alpha) + self.alpha).clamp(MARGIN, 1.0 - MARGIN);
        let y = a.clone().log() - a.neg().log1p();
        (y.clone(), self.ladj(y))
    }

    fn inverse_and_ladj(&self, z: Tensor<2>) -> (Tensor<2>, Tensor<1>) {
        let x = (activation::sigmoid(z.clone()) - self.alpha) * (1.0 - 2.0 * self.alpha).recip();
        (x, self.ladj(z).neg())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "alpha of a logit must lie in [0, 0.5), found 0.5")]
    fn alpha_has_a_range() {
        Logit::new(0.5);
    }
}
