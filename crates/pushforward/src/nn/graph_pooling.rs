//! Pooling of a set: mean, minimum, maximum and standard deviation (Corso et al. 2020, arXiv:2004.05718).
//!
//! ```text
//! d mean = mean(dx)    d min = dx at argmin x    d max = dx at argmax x    d std = sum((x - m) dx) / ((n-1) std)
//! ```
//!
//! The standard deviation has the divisor `n - 1`; where it is zero, its derivative is taken as zero.
//!
//! # Examples
//! ```
//! use pushforward::burn::tensor::{Device, Tensor};
//! use pushforward::nn::graph_pooling::{Pooling, pool};
//! use pushforward::tensor::to_host;
//!
//! // Two entries, 1 and 3, and padding.
//! let device = Device::flex();
//! let x = Tensor::<3>::from_data([[[1.0f32], [3.0], [0.0]]], &device);
//! let mask = Tensor::<3>::from_data([[[1.0f32], [1.0], [0.0]]], &device);
//! let pooled = to_host(&pool(x.into(), Some(&mask), Pooling::Masked).value);
//! assert!(pooled.iter().zip([2.0, 1.0, 3.0, 2f64.sqrt()]).all(|(a, b)| (a - b).abs() < 1e-6));
//! ```

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::dual::Dual;
use crate::kernels;

/// The entries that are pooled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pooling {
    /// Without padding.
    #[default]
    Masked,
    /// With padding, as published: zeros before the first layer, and what the layers make of it later, so that logits
    /// depend on the number of nodes that graphs are padded to.
    Padded,
}

/// Mean, minimum, maximum and standard deviation over the entries, concatenated.
///
/// # Shapes
/// - `x`: `[batch, entries, features]`
/// - `mask`: `[batch, entries, 1]`, one for entries that exist and zero for padding; at least one per row
/// - output: `[batch, 4 features]`
pub fn pool(x: Dual<3>, mask: Option<&Tensor<3>>, pooling: Pooling) -> Dual<2> {
    let [b, n, features] = x.dims();
    let mask = mask.filter(|_| pooling == Pooling::Masked);
    if kernels::serve(&x.value) {
        return kernels::summaries(x.into(), mask.cloned()).into();
    }
    let counts: Tensor<3> = match mask {
        Some(mask) => mask.clone().sum_dim(1),
        None => Tensor::full([b, 1, 1], n as f64, (&x.value.device(), x.value.dtype())),
    };
    let keep = |x: Tensor<3>| match mask {
        Some(mask) => x * mask.clone(),
        None => x,
    };
    let mean = x.clone().linear(|x| keep(x).sum_dim(1) / counts.clone());
    // Padding must be neither the minimum nor the maximum.
    let outside = |side: f64| match mask {
        Some(mask) => x.value.clone().detach() + (mask.clone().neg() + 1.0) * side,
        None => x.value.clone().detach(),
    };
    let at = |index: Tensor<3, burn::tensor::Int>| x.clone().linear(|x| x.gather(1, index.clone()));
    let least = at(outside(1e30).argmin(1));
    let largest = at(outside(-1e30).argmax(1));
    let centred = (x.clone() + mean.clone().scale(-1.0)).linear(keep);
    let degrees = (counts - 1.0).clamp_min(1.0);
    let variance = centred.clone() * centred;
    let variance = variance.linear(|v| v.sum_dim(1) / degrees.clone());
    let flat = variance.value.clone().detach().lower_equal_scalar(0.0);
    // Where the variance is zero it is replaced by one before the root, so that no derivative divides by zero.
    let safe = variance.mask_fill(flat.clone(), 1.0);
    let deviation = safe.elementwise(Tensor::sqrt, |v| v.sqrt().recip() * 0.5).mask_fill(flat, 0.0);
    Dual::cat(vec![mean, least, largest, deviation], 2).linear(|v| v.reshape([b, 4 * features]))
}
