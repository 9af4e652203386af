//! What an invertible map is.

use burn::module::{Module, ModuleDisplay};
use burn::tensor::{Tensor, activation};

use crate::tensor::from_host;

/// An invertible map of points with the logarithm of its Jacobian determinant.
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

    /// Sets what is initialised by data from a batch `x` that arrives in the `forward` direction, or in the other where `inverted`. Maps
    /// without such parameters do nothing.
    fn initialise_from(&mut self, _x: &Tensor<2>, _inverted: bool) {}

    /// Takes loaded parameters for initialised ones.
    fn assume_initialised(&mut self) {}
}

/// The same number for every row of `like`: the log-determinant of a map whose Jacobian does not depend on the point.
pub(super) fn constant_ladj(value: f64, like: &Tensor<2>) -> Tensor<1> {
    let [batch, _] = like.dims();
    from_host(&vec![value; batch], [batch], like)
}

/// Sum over the features of every row.
pub(super) fn sum_features(ladj: Tensor<2>) -> Tensor<1> {
    let [batch, _] = ladj.dims();
    ladj.sum_dim(1).reshape([batch])
}

/// Panics unless points have the number of features a map was made for.
#[track_caller]
pub(super) fn check_features(map: &str, x: &Tensor<2>, features: usize) {
    let [_, found] = x.dims();
    assert_eq!(found, features, "axis 1 of the input: {map} is for {features} features, found {found}");
}

/// `log(1 + exp(x))`, right to float64: the default of burn replaces it by `x` from 20 on, which is off by `2e-9`.
pub(super) fn softplus<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    activation::softplus_with_threshold(x, 1.0, 40.0)
}
