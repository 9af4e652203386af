//! Dropout whose mask comes from a stream and is the same for a value and its tangent.

use burn::module::Module;
use burn::tensor::Tensor;

use super::Pass;
use crate::dual::Dual;
use crate::tensor::from_host;

/// Zeroes entries with a given probability and rescales the others, in training passes only.
#[derive(Module, Debug)]
pub struct Dropout {
    #[module(skip)]
    probability: f64,
}

impl Dropout {
    /// Dropout of the given probability.
    ///
    /// # Panics
    /// If `probability` is not in `[0, 1)`.
    pub fn new(probability: f64) -> Self {
        assert!((0.0..1.0).contains(&probability), "a dropout probability lies in [0, 1), found {probability}");
        Self { probability }
    }

    /// Applies the mask. Shapes are kept.
    pub fn forward<const D: usize>(&self, x: Dual<D>, pass: &mut Pass<'_>) -> Dual<D> {
        let Some(stream) = pass.stream.as_deref_mut().filter(|_| self.probability > 0.0) else { return x };
        let dims = x.dims();
        let keep = 1.0 / (1.0 - self.probability);
        let values: Vec<f64> =
            (0..dims.iter().product()).map(|_| if stream.uniform() < self.probability { 0.0 } else { keep }).collect();
        let mask: Tensor<D> = from_host(&values, dims, &x.value);
        x.linear(|v| v * mask.clone())
    }
}
