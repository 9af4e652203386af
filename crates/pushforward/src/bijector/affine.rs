//! A fixed scale and shift of every feature.

use burn::module::Module;
use burn::tensor::Tensor;

use super::map::{Bijector, constant_ladj};

/// `y = scale x + shift` with fixed numbers.
///
/// ```text
/// ladj = features log |scale|
/// ```
///
/// # Examples
/// ```
/// use pushforward::bijector::{Affine, Bijector};
/// use pushforward::burn::tensor::{Device, Tensor};
/// use pushforward::tensor::to_host;
///
/// let x = Tensor::<2>::from_data([[0.0f32, 1.0, -1.0]], &Device::flex());
/// let (y, ladj) = Affine::new(2.0, 1.0).forward_and_ladj(x);
/// assert_eq!(to_host(&y), [1.0, 3.0, -1.0]);
/// assert!((to_host(&ladj)[0] - 3.0 * 2f64.ln()).abs() < 1e-6);
/// ```
#[derive(Module, Debug)]
pub struct Affine {
    #[module(skip)]
    scale: f64,
    #[module(skip)]
    shift: f64,
}

impl Affine {
    /// The map with the given scale and shift.
    ///
    /// # Panics
    /// If `scale` is zero or one of the numbers is not finite.
    pub fn new(scale: f64, shift: f64) -> Self {
        assert!(
            scale != 0.0 && scale.is_finite() && shift.is_finite(),
            "an affine map needs a finite scale other than 0 and a finite shift, found {scale} and {shift}"
        );
        Self { scale, shift }
    }

    fn ladj(&self, like: &Tensor<2>) -> f64 {
        like.dims()[1] as f64 * self.scale.abs().ln()
    }
}

impl Bijector for Affine {
    fn forward_and_ladj(&self, x: Tensor<2>) -> (Tensor<2>, Tensor<1>) {
        let ladj = constant_ladj(self.ladj(&x), &x);
        (x * self.scale + self.shift, ladj)
    }

    fn inverse_and_ladj(&self, z: Tensor<2>) -> (Tensor<2>, Tensor<1>) {
        let ladj = constant_ladj(-self.ladj(&z), &z);
        ((z - self.shift) * self.scale.recip(), ladj)
    }
}
