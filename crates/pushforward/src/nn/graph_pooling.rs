//! Summaries of a set: mean, minimum, maximum and standard deviation (Corso et al. 2020, arXiv:2004.05718).
//!
//! ```text
//! d mean = mean(dx)    d min = dx at the least    d max = dx at the largest    d std = sum((x - m) dx) / ((n-1) std)
//! ```
//!
//! The standard deviation is that of a sample, `n - 1`, and its derivative is zero where it is zero.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::dual::Dual;
use crate::kernels;

/// Which entries a summary sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pooling {
    /// Those that are there: how far a graph is padded does not matter.
    #[default]
    Masked,
    /// All of them, padding included, as published.
    Padded,
}

/// The four summaries side by side.
///
/// # Shapes
/// - `x`: `[batch, entries, features]`; absent entries are zero
/// - `node_mask`: `[batch, entries, 1]`, one where there is an entry; at least one per row
/// - output: `[batch, 4 features]`
pub fn pool(x: Dual<3>, node_mask: Option<&Tensor<3>>, pooling: Pooling) -> Dual<2> {
    let [b, n, features] = x.dims();
    let node_mask = node_mask.filter(|_| pooling == Pooling::Masked);
    if kernels::serve(&x.value) {
        return kernels::summaries(x.into(), node_mask.cloned()).into();
    }
    let counts: Tensor<3> = match node_mask {
        Some(node_mask) => node_mask.clone().sum_dim(1),
        None => Tensor::full([b, 1, 1], n as f64, (&x.value.device(), x.value.dtype())),
    };
    let keep = |x: Tensor<3>| match node_mask {
        Some(node_mask) => x * node_mask.clone(),
        None => x,
    };
    let mean = x.clone().linear(|x| keep(x).sum_dim(1) / counts.clone());
    // Entries that are not there must be neither the least nor the largest.
    let outside = |side: f64| match node_mask {
        Some(node_mask) => x.value.clone().detach() + (node_mask.clone().neg() + 1.0) * side,
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
    // A root of one stands in where the variance is zero, so that neither derivative meets a quotient by zero.
    let safe = variance.mask_fill(flat.clone(), 1.0);
    let deviation = safe.elementwise(Tensor::sqrt, |v| v.sqrt().recip() * 0.5).mask_fill(flat, 0.0);
    Dual::cat(vec![mean, least, largest, deviation], 2).linear(|v| v.reshape([b, 4 * features]))
}
