//! What a noised one-hot vector says of its class.
//!
//! Under a standard Gaussian source, the point `x = (1-s) noise + s e_k` adds `s x / (1-s)^2` to the logits of its class:
//!
//! ```text
//! log p(k | x) = log p(k) + s x_k / (1-s)^2 + constant
//! ```
//!
//! # Examples
//! ```
//! use pushforward::burn::tensor::{Device, Tensor};
//! use pushforward::nn::evidence::evidence;
//! use pushforward::tensor::to_host;
//!
//! let s = Tensor::<1>::from_data([0.0f32, 0.5, 1.0], &Device::flex());
//! let factor = to_host(&evidence(s.into(), 64.0).value);
//! assert!(factor[0] == 0.0 && (factor[1] - 2.0).abs() < 1e-6 && (factor[2] - 64.0).abs() < 1e-3);
//! ```

use burn::tensor::Tensor;

use crate::dual::Dual;

/// The factor `min(s / (1-s)^2, cap)` of the point in the logits.
pub fn evidence(s: Dual<1>, cap: f64) -> Dual<1> {
    // With r = s/(1-s) the factor is r (1 + r). The cap is applied to r, which also bounds the division.
    let r_max = 0.5 * ((1.0 + 4.0 * cap).sqrt() - 1.0);
    let s_max = r_max / (1.0 + r_max);
    let below = s.value.clone().detach().lower_equal_scalar(s_max);
    let factor = |s: Tensor<1>| {
        let s = s.clamp_max(s_max);
        let rest = s.clone().neg() + 1.0;
        s / (rest.clone() * rest)
    };
    let slope = |s: Tensor<1>| {
        let c = s.clamp_max(s_max);
        let rest = c.clone().neg() + 1.0;
        let slope = (c + 1.0) / (rest.clone() * rest.clone() * rest);
        slope.mask_fill(below.bool_not(), 0.0)
    };
    s.elementwise(factor, slope)
}
