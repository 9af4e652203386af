//! Rows of batches: copies of rows next to each other, and rows of random numbers.

use burn::tensor::Tensor;

use crate::rng::Stream;
use crate::tensor::from_f32;

/// Every row repeated `times` times, the copies of a row next to each other.
///
/// # Shapes
/// - `x`: `[batch, n]`
/// - output: `[batch * times, n]`
pub(super) fn repeat_rows(x: Tensor<2>, times: usize) -> Tensor<2> {
    if times == 1 {
        return x;
    }
    let [batch, n] = x.dims();
    x.reshape([batch, 1, n]).expand([batch, times, n]).reshape([batch * times, n])
}

/// Standard normal numbers with the dtype and device of `like`.
pub(super) fn normals<const D: usize, const L: usize>(
    noise: &mut Stream,
    shape: [usize; D],
    like: &Tensor<L>,
) -> Tensor<D> {
    from_f32(&noise.normals(shape.iter().product()), shape, like)
}
