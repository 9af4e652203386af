//! Patches of images as rows, and back: what makes a convolution of a product.
//!
//! ```text
//! unfold   rows[(b, i, j), (c, u, v)] = x[b, c, stride i + u - padding, stride j + v - padding]      0 outside of the image
//! fold     x[b, c, y, x] = sum of all rows[...] that unfold would read from there
//! ```
//!
//! The two are each other's adjoint, so that each is the derivative of the other.

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::Tensor;
use burn_flex::FlexTensor;

use super::buffer::{pieces, pieces_mut, run};
use super::graph::operation;
use super::{contiguous, slice, tensor};

/// Sizes of a batch of images and of the patches in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patches {
    /// Batch, channels, height and width of the images.
    pub image: [usize; 4],
    /// Side of a patch.
    pub kernel: usize,
    /// Step between patches.
    pub stride: usize,
    /// Zeros around the image.
    pub padding: usize,
}

impl Patches {
    /// Patches along height and width.
    pub fn grid(&self) -> [usize; 2] {
        let [_, _, height, width] = self.image;
        [height, width].map(|side| (side + 2 * self.padding - self.kernel) / self.stride + 1)
    }

    /// Number of rows, and of numbers in a row.
    pub fn rows(&self) -> [usize; 2] {
        let ([batch, channels, _, _], [down, right]) = (self.image, self.grid());
        [batch * down * right, channels * self.kernel * self.kernel]
    }

    /// Calls `f` with a place in the rows of one image, a place in the image and a length, for all runs of patches that lie in
    /// the image.
    #[inline(always)]
    fn runs(&self, mut f: impl FnMut(usize, usize, usize)) {
        let Self { image: [_, channels, height, width], kernel, stride, padding } = *self;
        let ([down, right], [_, columns]) = (self.grid(), self.rows());
        for i in 0..down {
            // Rows of the patch that lie in the image, and columns likewise.
            let [top, bottom] = inside(i * stride, kernel, padding, height);
            for j in 0..right {
                let [left, end] = inside(j * stride, kernel, padding, width);
                let row = (i * right + j) * columns;
                for c in 0..channels {
                    for u in top..bottom {
                        let from = (c * height + i * stride + u - padding) * width + j * stride + left - padding;
                        f(row + (c * kernel + u) * kernel + left, from, end - left);
                    }
                }
            }
        }
    }
}

/// The part `start..end` of a patch at `at` that lies in the image.
#[inline(always)]
fn inside(at: usize, kernel: usize, padding: usize, side: usize) -> [usize; 2] {
    let start = padding.saturating_sub(at).min(kernel);
    [start, (side + padding).saturating_sub(at).clamp(start, kernel)]
}

/// Patches as rows; see the module.
///
/// # Shapes
/// - `x`: `[batch, channels, height, width]`
/// - output: [`Patches::rows`]
///
/// # Panics
/// If the tensor is not [served](super::serve), or is not of the size of the patches' images.
pub fn unfold(x: Tensor<4>, patches: Patches) -> Tensor<2> {
    assert_eq!(x.dims(), patches.image, "batch, channels, height and width");
    Tensor::from_dispatch(Dispatch::unfold_patches(x.into_dispatch(), patches))
}

/// Rows of patches added up in images; see the module.
///
/// # Shapes
/// - `rows`: [`Patches::rows`]
/// - output: `[batch, channels, height, width]`
///
/// # Panics
/// If the tensor is not [served](super::serve), or has other rows.
pub fn fold(rows: Tensor<2>, patches: Patches) -> Tensor<4> {
    assert_eq!(rows.dims(), patches.rows(), "rows of patches");
    Tensor::from_dispatch(Dispatch::fold_patches(rows.into_dispatch(), patches))
}

/// Patches as operations of a backend.
#[backend_extension(Flex, Autodiff)]
pub(super) trait PatchOps: Backend {
    /// See [`unfold`].
    fn unfold_patches(x: FloatTensor<Self>, patches: Patches) -> FloatTensor<Self>;
    /// See [`fold`].
    fn fold_patches(rows: FloatTensor<Self>, patches: Patches) -> FloatTensor<Self>;
}

impl PatchOps for Flex {
    fn unfold_patches(x: FlexTensor, patches: Patches) -> FlexTensor {
        unfolded(&contiguous(x), patches)
    }

    fn fold_patches(rows: FlexTensor, patches: Patches) -> FlexTensor {
        folded(&contiguous(rows), patches)
    }
}

impl<C: CheckpointStrategy> PatchOps for Autodiff<Flex, C> {
    fn unfold_patches(x: FloatTensor<Self>, patches: Patches) -> FloatTensor<Self> {
        let forward = |[x]: [Option<FlexTensor>; 1], _| (vec![unfolded(&x.expect("an image"), patches)], patches);
        only(operation::<C, _, 1>([Some(x)], forward, |patches, gradients, _| {
            [gradients.into_iter().next().flatten().map(|g| folded(&g, patches))]
        }))
    }

    fn fold_patches(rows: FloatTensor<Self>, patches: Patches) -> FloatTensor<Self> {
        let forward = |[rows]: [Option<FlexTensor>; 1], _| (vec![folded(&rows.expect("rows"), patches)], patches);
        only(operation::<C, _, 1>([Some(rows)], forward, |patches, gradients, _| {
            [gradients.into_iter().next().flatten().map(|g| unfolded(&g, patches))]
        }))
    }
}

fn only<T>(outputs: Vec<T>) -> T {
    outputs.into_iter().next().expect("an operation has an output")
}

/// Values of one image, and of its rows.
fn sizes(patches: Patches) -> [usize; 2] {
    let ([batch, channels, height, width], [rows, columns]) = (patches.image, patches.rows());
    [channels * height * width, rows * columns / batch.max(1)]
}

fn unfolded(x: &FlexTensor, patches: Patches) -> FlexTensor {
    let ([image, rows], all) = (sizes(patches), patches.rows());
    let mut out = vec![0.0; all[0] * all[1]];
    let jobs = pieces(slice(x), image).zip(pieces_mut(&mut out, rows)).take(patches.image[0]);
    run(all[0] * all[1], jobs, |(x, out)| {
        patches.runs(|to, from, n| {
            let (out, x) = (&mut out[to..to + n], &x[from..from + n]);
            out.iter_mut().zip(x).for_each(|(out, x)| *out = *x);
        });
    });
    tensor(out, all.into())
}

fn folded(rows: &FlexTensor, patches: Patches) -> FlexTensor {
    let [image, of_image] = sizes(patches);
    let mut out = vec![0.0; patches.image[0] * image];
    let jobs = pieces_mut(&mut out, image).zip(pieces(slice(rows), of_image)).take(patches.image[0]);
    run(patches.image[0] * of_image, jobs, |(out, rows)| {
        patches.runs(|from, to, n| {
            let (out, rows) = (&mut out[to..to + n], &rows[from..from + n]);
            out.iter_mut().zip(rows).for_each(|(out, x)| *out += x);
        });
    });
    tensor(out, patches.image.into())
}
