//! Gradients of all parameters together: sums, norm, clipping and conflict projection (PCGrad).
//!
//! # Examples
//! The gradient of `3 a + 4 b` has norm 5.
//! ```
//! use pushforward::burn::module::Param;
//! use pushforward::burn::tensor::{Device, Tensor};
//! use pushforward::train::gradients::{Gradients, clip, grad_norm};
//!
//! let device = Device::flex().autodiff();
//! let weights: Param<Tensor<1>> = Param::from_data([0.5f32, -2.0], &device);
//! let loss = (weights.val() * Tensor::<1>::from_data([3.0f32, 4.0], &device)).sum();
//! let gradients = Gradients::of(&loss, &weights);
//! assert!((grad_norm(&gradients) - 5.0).abs() < 1e-6);
//! assert!((grad_norm(&clip(gradients, 5.0, 1.0)) - 1.0).abs() < 1e-6);
//! ```

use std::ops::Add;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Gradients as Backward, Tensor};

use crate::kernels;

/// One gradient per float parameter, as a vector, in the order of [`crate::params::collect`]; `None` if the loss does
/// not depend on the parameter, or the parameter is frozen.
#[derive(Clone, Debug, Default)]
pub struct Gradients(pub(crate) Vec<Option<Tensor<1>>>);

impl Gradients {
    /// Differentiates the scalar `loss`, shape `[1]`, with respect to the parameters of `model`.
    ///
    /// # Panics
    /// If `loss` does not depend on any tracked tensor, or its graph was already used.
    pub fn of<M: Module>(loss: &Tensor<1>, model: &M) -> Self {
        let mut extractor = Extractor { backward: loss.backward(), found: Vec::new() };
        model.visit(&mut extractor);
        Self(extractor.found)
    }

    /// The gradient times a number.
    pub fn scale(self, factor: f64) -> Self {
        if factor == 1.0 {
            return self;
        }
        Self(self.0.into_iter().map(|g| g.map(|g| g.mul_scalar(factor))).collect())
    }

    /// Position of the first parameter whose gradient has an infinite or NaN element.
    pub(super) fn first_non_finite(&self) -> Option<usize> {
        // As f64, which has the numbers of every precision: 1e39 is finite but no f32.
        let broken = |g: &Tensor<1>| g.to_data().iter::<f64>().any(|value| !value.is_finite());
        self.0.iter().position(|g| g.as_ref().is_some_and(broken))
    }
}

impl Add for Gradients {
    type Output = Self;

    /// The sum of two gradients; an empty one is zero.
    fn add(self, other: Self) -> Self {
        if self.0.is_empty() {
            return other;
        }
        if other.0.is_empty() {
            return self;
        }
        let sum = |pair| match pair {
            (Some(a), Some(b)) => Some(Tensor::add(a, b)),
            (a, b) => a.or(b),
        };
        Self(self.0.into_iter().zip(other.0).map(sum).collect())
    }
}

/// Euclidean norm of the gradient over all parameters, with a single readback.
pub fn grad_norm(gradients: &Gradients) -> f64 {
    dot(gradients, gradients).sqrt()
}

/// Scales the gradient down to norm `limit` if its norm, given as `norm`, is larger.
pub fn clip(gradients: Gradients, norm: f64, limit: f64) -> Gradients {
    if norm > limit { gradients.scale(limit / norm) } else { gradients }
}

/// Removes from `later` its component against `first`.
///
/// ```text
/// later - min(0, <later, first>) / <first, first> * first        inner products over all parameters jointly
/// ```
///
/// Gradients that do not conflict are returned unchanged. Reference: Gradient Surgery for Multi-Task Learning (Yu et
/// al., 2020), arXiv:2001.06782, algorithm 1, applied in one direction only: the gradient of the first term is never
/// changed.
///
/// # Examples
/// The gradients `(1, 0)` and `(-1, 1)` conflict; the projection of the second is `(0, 1)`.
/// ```
/// use pushforward::burn::module::Param;
/// use pushforward::burn::tensor::{Device, Tensor};
/// use pushforward::train::gradients::{Gradients, grad_norm, pcgrad};
///
/// let device = Device::flex().autodiff();
/// let weights: Param<Tensor<1>> = Param::from_data([0.0f32, 0.0], &device);
/// let gradient = |g: [f32; 2]| Gradients::of(&(weights.val() * Tensor::<1>::from_data(g, &device)).sum(), &weights);
/// let projected = pcgrad(&gradient([1.0, 0.0]), gradient([-1.0, 1.0]));
/// assert!(grad_norm(&(projected + gradient([0.0, -1.0]))) < 1e-6);
/// ```
pub fn pcgrad(first: &Gradients, later: Gradients) -> Gradients {
    let inner = dot(first, &later);
    let square = dot(first, first);
    // Both comparisons are false for NaN: `later` is then returned unchanged, and the caller's check finds the NaN.
    if inner < 0.0 && square > 0.0 { later + first.clone().scale(-inner / square) } else { later }
}

/// Inner product over all parameters, summed in f64 on the host after f32 reductions.
fn dot(a: &Gradients, b: &Gradients) -> f64 {
    let pairs = || a.0.iter().zip(&b.0).filter_map(|(a, b)| Some((a.as_ref()?, b.as_ref()?)));
    if pairs().all(|(a, b)| kernels::serve(a) && kernels::serve(b)) {
        return pairs().map(|(a, b)| kernels::dot(a, b)).sum();
    }
    // One readback for all parameters.
    let products = pairs().map(|(a, b)| a.clone().mul(b.clone()).sum()).collect();
    Tensor::cat(products, 0).into_data().iter::<f64>().sum()
}

struct Extractor {
    backward: Backward,
    found: Vec<Option<Tensor<1>>>,
}

impl ModuleVisitor for Extractor {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val();
        let gradient = if value.is_require_grad() { value.grad_remove(&mut self.backward) } else { None };
        self.found.push(gradient.map(|g| g.flatten(0, D - 1)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;
    use proptest::prelude::*;

    fn gradients(values: &[&[f32]]) -> Gradients {
        let device = Device::flex();
        Gradients(values.iter().map(|v| Some(Tensor::from_data(*v, &device))).collect())
    }

    fn values(gradients: &Gradients) -> Vec<f64> {
        gradients.0.iter().flatten().flat_map(|g| g.clone().into_data().iter::<f64>().collect::<Vec<_>>()).collect()
    }

    #[test]
    fn norm_and_clip_are_joint() {
        let g = gradients(&[&[3.0], &[0.0, 4.0]]);
        assert_eq!(grad_norm(&g), 5.0);
        assert_eq!(values(&clip(g.clone(), 5.0, 10.0)), [3.0, 0.0, 4.0]);
        let clipped = clip(g, 5.0, 1.0);
        assert!((grad_norm(&clipped) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn projection_by_hand() {
        // <later, first> = -2, <first, first> = 4: later + first / 2. Within the second parameter alone there is no
        // conflict, so a projection per parameter would give another answer.
        let first = gradients(&[&[1.0, 1.0], &[1.0, 1.0]]);
        let later = gradients(&[&[-4.0, 0.0], &[1.0, 1.0]]);
        assert_eq!(values(&pcgrad(&first, later)), [-3.5, 0.5, 1.5, 1.5]);
        let agreeing = gradients(&[&[4.0, 0.0], &[-1.0, -1.0]]);
        assert_eq!(values(&pcgrad(&first, agreeing.clone())), values(&agreeing));
        let zero = gradients(&[&[0.0, 0.0], &[0.0, 0.0]]);
        assert_eq!(values(&pcgrad(&zero, agreeing.clone())), values(&agreeing));
    }

    #[test]
    fn large_numbers_of_double_precision_are_finite() {
        let wide = |v: f64| Some(Tensor::from_data([v], (&Device::flex(), burn::tensor::DType::F64)));
        assert_eq!(Gradients(vec![None, wide(1e39)]).first_non_finite(), None);
        assert_eq!(Gradients(vec![None, wide(1e39), wide(f64::INFINITY)]).first_non_finite(), Some(2));
    }

    #[test]
    fn a_parameter_without_gradient_counts_as_zero() {
        let mut first = gradients(&[&[1.0], &[1.0]]);
        first.0[0] = None;
        let later = gradients(&[&[5.0], &[-1.0]]);
        assert_eq!(values(&pcgrad(&first, later)), [5.0, 0.0]);
    }

    proptest! {
        #[test]
        fn projection_removes_conflict_and_nothing_else(
            a in prop::collection::vec(-2.0f32..2.0, 6),
            b in prop::collection::vec(-2.0f32..2.0, 6),
        ) {
            let first = gradients(&[&a[..2], &a[2..]]);
            let later = gradients(&[&b[..2], &b[2..]]);
            let (before, size) = (dot(&first, &later), grad_norm(&first) * grad_norm(&later));
            let projected = pcgrad(&first, later.clone());
            let after = dot(&first, &projected);
            prop_assert!((after - before.max(0.0)).abs() <= 1e-5 * (1.0 + size));
            prop_assert!(grad_norm(&projected) <= grad_norm(&later) + 1e-5);
            // The change is parallel to `first`: Cauchy-Schwarz holds with equality.
            let change = projected + later.scale(-1.0);
            prop_assert!((dot(&change, &first).abs() - grad_norm(&change) * grad_norm(&first)).abs() <= 1e-4);
        }
    }
}
