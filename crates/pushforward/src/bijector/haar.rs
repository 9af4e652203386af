//! The Haar wavelet transform of images.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::map::{Bijector, check_features};
use super::permutation::Permutation;

/// One level of the orthonormal Haar transform: `[channels, height, width]` to `[4 channels, height / 2, width / 2]`.
///
/// ```text
/// z = 1/2 [[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]] (a, b, c, d)
/// ```
///
/// for the pixels `a b / c d` of every block. The averages of all channels come first, then their differences along the
/// width, along the height, and along both. The matrix is its own inverse; the log-determinant is zero.
///
/// Reference: Ardizzone et al. 2019 (arXiv:1907.02392).
///
/// # Examples
/// ```
/// use pushforward::bijector::{Bijector, Haar};
/// use pushforward::burn::tensor::{Device, Tensor};
/// use pushforward::tensor::to_host;
///
/// let haar = Haar::new([1, 2, 2], &Device::flex());
/// let z = haar.forward_and_ladj(Tensor::<2>::from_data([[1.0f32, 2.0, 3.0, 4.0]], &Device::flex())).0;
/// assert_eq!(to_host(&z), [5.0, -1.0, -2.0, 0.0]);
/// assert_eq!(to_host(&haar.inverse_and_ladj(z).0), [1.0, 2.0, 3.0, 4.0]);
/// ```
#[derive(Module, Debug)]
pub struct Haar {
    blocks: Permutation,
    features: usize,
}

impl Haar {
    /// The transform of images of the given shape, `[channels, height, width]`.
    ///
    /// # Panics
    /// If height or width is odd.
    pub fn new(shape: [usize; 3], device: &Device) -> Self {
        Self { blocks: Permutation::squeeze(shape, device), features: shape.iter().product() }
    }
}

/// Multiplies the four quarters of the features by the matrix.
fn mix(x: Tensor<2>) -> Tensor<2> {
    let quarter = x.dims()[1] / 4;
    let [a, b, c, d] = [0, 1, 2, 3].map(|i| x.clone().narrow(1, i * quarter, quarter));
    let (upper, lower) = (a.clone() + b.clone(), c.clone() + d.clone());
    let (upper_step, lower_step) = (a - b, c - d);
    let rows = [
        upper.clone() + lower.clone(),
        upper_step.clone() + lower_step.clone(),
        upper - lower,
        upper_step - lower_step,
    ];
    Tensor::cat(rows.to_vec(), 1) * 0.5
}

impl Bijector for Haar {
    fn forward_and_ladj(&self, x: Tensor<2>) -> (Tensor<2>, Tensor<1>) {
        let (x, ladj) = self.blocks.forward_and_ladj(x);
        (mix(x), ladj)
    }

    fn inverse_and_ladj(&self, z: Tensor<2>) -> (Tensor<2>, Tensor<1>) {
        check_features("a Haar transform", &z, self.features);
        self.blocks.inverse_and_ladj(mix(z))
    }
}
