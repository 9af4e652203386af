//! The trait of invertible maps.

use burn::module::{Module, ModuleDisplay};
use burn::tensor::{Tensor, activation};

use crate::tensor::from_host;

/// An invertible map of points with the logarithm of its absolute Jacobian determinant.
///
/// # Examples
/// A map of your own in a [`Flow`](super::Flow).
/// ```
/// use burn::module::Module;
/// use burn::tensor::{Device, Tensor};
/// use pushforward::bijector::{Bijector, Flow, FlowStep};
/// use pushforward::burn;
/// use pushforward::tensor::to_host;
///
/// #[derive(Module, Debug)]
/// struct Negate {
///     features: usize,
/// }
///
/// impl Bijector for Negate {
///     fn forward_and_ladj(&self, x: Tensor<2>) -> (Tensor<2>, Tensor<1>) {
///         let [batch, _] = x.dims();
///         let ladj = Tensor::zeros([batch], (&x.device(), x.dtype()));
///         (x.neg(), ladj)
///     }
///     fn inverse_and_ladj(&self, z: Tensor<2>) -> (Tensor<2>, Tensor<1>) {
///         self.forward_and_ladj(z)
///     }
/// }
///
/// let flow = Flow { steps: vec![FlowStep::new(Negate { features: 2 })] };
/// let z = flow.forward_and_ladj(Tensor::from_data([[1.0f32, -2.0]], &Device::flex())).0;
/// assert_eq!(to_host(&z), [-1.0, 2.0]);
/// ```
pub trait Bijector: Module + ModuleDisplay {
    /// From data to latent: `z = f(x)` and `log |det dz/dx|`.
    ///
    /// # Shapes
    /// - `x`, first output: `[batch, features]`
    /// - second output: `[batch]`
    fn forward_and_ladj(&self, x: Tensor<2>) -> (Tensor<2>, Tensor<1>);

    /// From latent to data: the `x` with `f(x) = z` and `log |det dx/dz|`.
    ///
    /// # Shapes
    /// - `z`, first output: `[batch, features]`
    /// - second output: `[batch]`
    fn inverse_and_ladj(&self, z: Tensor<2>) -> (Tensor<2>, Tensor<1>);

    /// Sets data-dependent initial parameters from a batch `x`, an input of `forward` or, if `inverted`, of `inverse`.
    /// Does nothing for maps without such parameters.
    fn initialise_from(&mut self, _x: &Tensor<2>, _inverted: bool) {}

    /// Marks data-dependent parameters as initialised, after they were loaded.
    fn assume_initialised(&mut self) {}
}

/// The same number for every row of `like`: the log-determinant of a map with a constant Jacobian determinant.
pub(super) fn constant_ladj(value: f64, like: &Tensor<2>) -> Tensor<1> {
    let [batch, _] = like.dims();
    from_host(&vec![value; batch], [batch], like)
}

/// Sum over the features of every row.
pub(super) fn sum_features(ladj: Tensor<2>) -> Tensor<1> {
    let [batch, _] = ladj.dims();
    ladj.sum_dim(1).reshape([batch])
}

/// Panics unless points have the expected number of features.
#[track_caller]
pub(super) fn check_features(map: &str, x: &Tensor<2>, features: usize) {
    let [_, found] = x.dims();
    assert_eq!(found, features, "axis 1 of the input: {map} is for {features} features, found {found}");
}

/// `log(1 + exp(x))`, accurate in float64: burn's default returns `x` for `x > 20`, an error of `2e-9`.
pub(super) fn softplus<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    activation::softplus_with_threshold(x, 1.0, 40.0)
}
