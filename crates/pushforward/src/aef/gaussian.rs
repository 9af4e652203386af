//! Log-densities of diagonal Gaussians, in nats.
//!
//! # Examples
//! ```
//! use pushforward::aef::gaussian::{LN_2PI, log_normal, log_standard, row_sum};
//! use pushforward::burn::tensor::{Device, Tensor};
//! use pushforward::tensor::scalar;
//!
//! let row = |value| Tensor::<2>::full([1, 3], value, &Device::flex());
//! let at_the_mean = scalar(&log_normal(row(1.5), row(1.5), row(2.0)));
//! assert!((at_the_mean + 3.0 * (2f64.ln() + 0.5 * LN_2PI)).abs() < 1e-5);
//! // Scaling by 2 is a change of variables: log N(x; m, s^2) = log N((x - m) / s; 0, I) - sum log s.
//! let standard = log_standard((row(0.5) - row(1.5)) / row(2.0)) - row_sum(row(2.0).log());
//! assert!((scalar(&standard) - scalar(&log_normal(row(0.5), row(1.5), row(2.0)))).abs() < 1e-5);
//! ```

use burn::tensor::Tensor;

/// `ln(2 pi)`.
pub const LN_2PI: f64 = 1.837_877_066_409_345_3;

/// `log N(x; 0, I)` of every row.
///
/// # Shapes
/// - `x`: `[batch, n]`
/// - output: `[batch]`
pub fn log_standard(x: Tensor<2>) -> Tensor<1> {
    let n = x.dims()[1] as f64;
    (x.clone() * x).sum_dim(1).squeeze_dim::<1>(1) * -0.5 - 0.5 * n * LN_2PI
}

/// `log N(x; mean, diag(scale^2))` of every row.
///
/// # Shapes
/// - `x`, `mean`, `scale`: `[batch, n]`
/// - output: `[batch]`
pub fn log_normal(x: Tensor<2>, mean: Tensor<2>, scale: Tensor<2>) -> Tensor<1> {
    log_standard((x - mean) / scale.clone()) - row_sum(scale.log())
}

/// Sum of every row.
pub fn row_sum(x: Tensor<2>) -> Tensor<1> {
    x.sum_dim(1).squeeze_dim(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};

    #[test]
    fn densities_by_hand() {
        let row = |v: [f32; 2]| Tensor::<2>::from_data(TensorData::new(v.to_vec(), [1, 2]), &Device::flex());
        let found = log_normal(row([1.0, -1.0]), row([0.0, 1.0]), row([1.0, 2.0]));
        // -1/2 - 1/2 - ln 2 - ln(2 pi)
        let wanted = -1.0 - 2f64.ln() - LN_2PI;
        assert!((crate::tensor::scalar(&found) - wanted).abs() < 1e-6);
    }
}
