//! Dropout whose mask comes from a stream and is the same for a value and its tangent.
//!
//! # Examples
//! ```
//! use pushforward::burn::tensor::{Device, Tensor};
//! use pushforward::nn::{Pass, dropout::Dropout};
//! use pushforward::rng::{Purpose, stream};
//! use pushforward::tensor::to_host;
//!
//! let (dropout, x) = (Dropout::new(0.5), Tensor::<1>::ones([100], &Device::flex()));
//! assert_eq!(to_host(&dropout.forward(x.clone().into(), &mut Pass::eval()).value), [1.0; 100]);
//! let mut random = stream(0, Purpose::Dropout, 0);
//! let y = to_host(&dropout.forward(x.into(), &mut Pass::train(&mut random)).value);
//! assert!(y.contains(&0.0) && y.contains(&2.0) && y.iter().all(|v| *v == 0.0 || *v == 2.0));
//! ```

use burn::module::Module;
use burn::tensor::Tensor;

use super::Pass;
use crate::dual::Dual;
use crate::tensor::from_host;

/// Sets entries to zero with probability `p` and divides the others by `1 - p`, in training passes only.
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
