//! Splitting of rows into equal parts, with a single buffer for their gradients.

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::Tensor;
use burn_flex::FlexTensor;

use super::graph::operation;
use super::{contiguous, slice, tensor};

/// Splits every row into equal parts.
///
/// # Shapes
/// - `x`: `[batch, parts * features]`
/// - output: `parts` times `[batch, 1, features]`
///
/// # Panics
/// If the tensor is not [served](super::serve), or the parts do not divide its width.
///
/// # Examples
/// ```
/// use burn::tensor::{Device, Tensor};
/// use pushforward_kernels::split;
///
/// let x = Tensor::<2>::from_floats([[1.0, 2.0, 3.0, 4.0]], &Device::flex());
/// let parts = split(x, 2);
/// assert_eq!(parts[1].dims(), [1, 1, 2]);
/// assert_eq!(parts[1].to_data().iter::<f32>().collect::<Vec<_>>(), [3.0, 4.0]);
/// ```
pub fn split(x: Tensor<2>, parts: usize) -> Vec<Tensor<3>> {
    let [_, width] = x.dims();
    assert!(parts > 0 && width.is_multiple_of(parts), "rows of {width} cannot be cut into {parts} equal parts");
    Dispatch::split_rows(x.into_dispatch(), parts).into_iter().map(Tensor::from_dispatch).collect()
}

/// Splitting as an operation of a backend.
#[backend_extension(Flex, Autodiff)]
pub(super) trait SplitOps: Backend {
    /// See [`split`].
    fn split_rows(x: FloatTensor<Self>, parts: usize) -> Vec<FloatTensor<Self>>;
}

impl SplitOps for Flex {
    fn split_rows(x: FlexTensor, parts: usize) -> Vec<FlexTensor> {
        forward(&contiguous(x), parts)
    }
}

impl<C: CheckpointStrategy> SplitOps for Autodiff<Flex, C> {
    fn split_rows(x: FloatTensor<Self>, parts: usize) -> Vec<FloatTensor<Self>> {
        let forward = |[x]: [Option<FlexTensor>; 1], _| {
            let x = x.expect("a value");
            (forward(&x, parts), (x.shape()[0], x.shape()[1]))
        };
        operation::<C, _, 1>([Some(x)], forward, backward)
    }
}

fn forward(x: &FlexTensor, parts: usize) -> Vec<FlexTensor> {
    let (rows, all) = (x.shape()[0], x.shape()[1]);
    let width = all / parts;
    let part = |i: usize| {
        let mut out = Vec::with_capacity(rows * width);
        slice(x).chunks_exact(all.max(1)).for_each(|row| out.extend_from_slice(&row[i * width..][..width]));
        out
    };
    (0..parts).map(|i| tensor(part(i), [rows, 1, width].into())).collect()
}

fn backward((rows, all): (usize, usize), gradients: Vec<Option<FlexTensor>>, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
    let width = all / gradients.len().max(1);
    let mut out = vec![0.0; rows * all];
    for (i, gradient) in gradients.iter().enumerate() {
        let from = super::optional(gradient).chunks_exact(width.max(1));
        for (out, from) in out.chunks_exact_mut(all.max(1)).zip(from) {
            out[i * width..][..width].copy_from_slice(from);
        }
    }
    [Some(tensor(out, [rows, all].into()))]
}
