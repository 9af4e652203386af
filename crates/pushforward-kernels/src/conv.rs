//! Convolutions of images as matrix products over patches, and their transposes.
//!
//! ```text
//! patches(x): [positions, kernel^2 channels], the receptive field of every position      W: [kernel^2 channels, outputs]
//! y = patches(x) W + b          gx = patches^T(gy W^T)          gW = patches(x)^T gy          gb = sum of gy over positions
//! ```
//!
//! Here `patches^T` adds patches up at their pixels of the image. A transposed convolution exchanges the roles of `x`
//! and `gy`: `y = patches^T(x W^T) + b`, `gx = patches(gy) W`, `gW = patches(gy)^T x`. Both are written as `lift`, from
//! an image to a grid of positions, and `lower`, back again.
//!
//! Internally, images have channels last and are padded with zeros: a line of a patch is then contiguous, and the
//! weights, packed once, are the second factor of every product.

use std::ops::Range;

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::Tensor;
use burn_flex::FlexTensor;

use super::buffer::{Slot, pieces, pieces_mut, run, slots, written, written_mut};
use super::gemm::{DEPTH, Factor, filled, gemm_add};
use super::graph::{Maybe, maybe, operation};
use super::linear::{add_rows, add_to_rows};
use super::matrix::Matrix;
use super::precision::Precision;
use super::simd::{simd, sums};
use super::transpose::{TOGETHER, put, transpose, transpose_each};
use super::{contiguous, optional, slice, tensor};

/// Stride and padding of a convolution, equal in both directions.
#[derive(Clone, Copy, Debug)]
pub struct Stride {
    /// Distance between positions, in pixels.
    pub stride: usize,
    /// Zeros added on every side.
    pub padding: usize,
}

/// Two-dimensional convolution (cross-correlation), `y = patches(x) W + b`.
///
/// # Shapes
/// - `x`: `[batch, inputs, height, width]`
/// - `weight`: `[outputs, inputs, kernel, kernel]`
/// - `bias`: `[outputs]`
/// - output: `[batch, outputs, (height + 2 padding - kernel) / stride + 1, ...]`
///
/// # Panics
/// If the tensors are not [served](super::serve), channels differ, another axis than the batch is empty, or the kernel
/// is not square or exceeds the padded image.
///
/// # Examples
/// ```
/// use burn::tensor::{Device, Tensor};
/// use pushforward_kernels::{Stride, conv2d};
///
/// let device = Device::flex();
/// let x = Tensor::<4>::from_floats([[[[1.0, 2.0], [3.0, 4.0]]]], &device);
/// let y = conv2d(x, Tensor::ones([1, 1, 2, 2], &device), None, Stride { stride: 1, padding: 0 });
/// assert_eq!(y.into_data().iter::<f32>().collect::<Vec<_>>(), [10.0]);
/// ```
pub fn conv2d(x: Tensor<4>, weight: Tensor<4>, bias: Option<Tensor<1>>, stride: Stride) -> Tensor<4> {
    let ([_, found, h, w], [outputs, inputs, kernel, _]) = (x.dims(), weight.dims());
    assert_eq!(found, inputs, "a convolution of {inputs} channels was given {found}");
    check(x.dims(), weight.dims(), &bias, outputs);
    let (side, padded) = (h.min(w), h.min(w) + 2 * stride.padding);
    assert!(kernel <= padded, "a kernel of {kernel} exceeds an image of {side} padded to {padded}");
    let out = Dispatch::convolution(x.into_dispatch(), weight.into_dispatch(), maybe(bias), stride, false);
    Tensor::from_dispatch(out)
}

/// Two-dimensional transposed convolution, `y = patches^T(x W^T) + b`.
///
/// # Shapes
/// - `x`: `[batch, inputs, height, width]`
/// - `weight`: `[inputs, outputs, kernel, kernel]`
/// - `bias`: `[outputs]`
/// - output: `[batch, outputs, (height - 1) stride + kernel - 2 padding, ...]`
///
/// # Panics
/// If the tensors are not [served](super::serve), channels differ, another axis than the batch is empty, or the kernel is not square.
///
/// # Examples
/// A kernel of ones as wide as the stride repeats pixels.
/// ```
/// use burn::tensor::{Device, Tensor};
/// use pushforward_kernels::{Stride, conv_transpose2d};
///
/// let device = Device::flex();
/// let x = Tensor::<4>::from_floats([[[[3.0, 5.0]]]], &device);
/// let y = conv_transpose2d(x, Tensor::ones([1, 1, 2, 2], &device), None, Stride { stride: 2, padding: 0 });
/// assert_eq!(y.dims(), [1, 1, 2, 4]);
/// assert_eq!(y.into_data().iter::<f32>().take(4).collect::<Vec<_>>(), [3.0, 3.0, 5.0, 5.0]);
/// ```
pub fn conv_transpose2d(x: Tensor<4>, weight: Tensor<4>, bias: Option<Tensor<1>>, stride: Stride) -> Tensor<4> {
    let ([_, found, ..], [inputs, outputs, ..]) = (x.dims(), weight.dims());
    assert_eq!(found, inputs, "a transposed convolution of {inputs} channels was given {found}");
    check(x.dims(), weight.dims(), &bias, outputs);
    let out = Dispatch::convolution(x.into_dispatch(), weight.into_dispatch(), maybe(bias), stride, true);
    Tensor::from_dispatch(out)
}

/// Checks common to both kinds of convolution.
fn check(x: [usize; 4], weight: [usize; 4], bias: &Option<Tensor<1>>, outputs: usize) {
    let some = x[1..].iter().chain(&weight).all(|n| *n > 0);
    assert!(some, "images of {x:?} and weights of {weight:?}: only the batch may be empty");
    assert_eq!(weight[2], weight[3], "kernels are square: height {}, width {}", weight[2], weight[3]);
    if let Some(bias) = bias {
        assert_eq!(bias.dims(), [outputs], "an offset for each of {outputs} channels");
    }
}

/// Convolutions as operations of a backend.
#[backend_extension(Flex, Autodiff)]
pub(super) trait ConvOps: Backend {
    /// See [`conv2d`] and, where `transposed` is set, [`conv_transpose2d`].
    fn convolution(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        #[extension_type] bias: Maybe<Self>,
        stride: Stride,
        transposed: bool,
    ) -> FloatTensor<Self>;
}

impl ConvOps for Flex {
    fn convolution(
        x: FlexTensor,
        weight: FlexTensor,
        bias: Maybe<Self>,
        stride: Stride,
        transposed: bool,
    ) -> FlexTensor {
        let bias = bias.into_option().map(contiguous);
        forward(&contiguous(x), &contiguous(weight), bias.as_ref(), stride, transposed, Precision::current())
    }
}

impl<C: CheckpointStrategy> ConvOps for Autodiff<Flex, C> {
    fn convolution(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Maybe<Self>,
        stride: Stride,
        transposed: bool,
    ) -> FloatTensor<Self> {
        let forward = |[x, weight, bias]: [Option<FlexTensor>; 3], _| {
            let [x, weight] = [x, weight].map(|x| x.expect("a value"));
            let precision = Precision::current();
            let out = forward(&x, &weight, bias.as_ref(), stride, transposed, precision);
            (vec![out], Kept { x, weight, stride, transposed, precision })
        };
        let inputs = [Some(x), Some(weight), bias.into_option()];
        operation::<C, _, 3>(inputs, forward, backward).remove(0)
    }
}

/// What the derivative needs.
#[derive(Clone, Debug)]
struct Kept {
    x: FlexTensor,
    weight: FlexTensor,
    stride: Stride,
    transposed: bool,
    precision: Precision,
}

/// An image and a grid of positions of a kernel on it.
#[derive(Clone, Copy, Debug)]
struct Geometry {
    batch: usize,
    /// Channels of the grid.
    grid: usize,
    /// Channels of the image.
    channels: usize,
    /// Height and width of the image.
    image: [usize; 2],
    /// Rows and columns of the grid.
    places: [usize; 2],
    kernel: usize,
    stride: usize,
    padding: usize,
    precision: Precision,
}

impl Geometry {
    fn new(
        x: &FlexTensor,
        weight: &FlexTensor,
        Stride { stride, padding }: Stride,
        transposed: bool,
        precision: Precision,
    ) -> Self {
        let (x, weight) = (x.shape(), weight.shape());
        let (given, kernel) = ([x[2], x[3]], weight[2]);
        let other = if transposed {
            given.map(|n| (n.max(1) - 1) * stride + kernel - 2 * padding)
        } else {
            given.map(|n| (n + 2 * padding - kernel) / stride + 1)
        };
        let (image, places) = if transposed { (other, given) } else { (given, other) };
        Self { batch: x[0], grid: weight[0], channels: weight[1], image, places, kernel, stride, padding, precision }
    }

    fn positions(&self) -> usize {
        self.places[0] * self.places[1]
    }

    fn pixels(&self) -> usize {
        self.image[0] * self.image[1]
    }

    /// Numbers per line of a patch.
    fn line(&self) -> usize {
        self.kernel * self.channels
    }

    /// Numbers per patch.
    fn patch(&self) -> usize {
        self.kernel * self.line()
    }

    /// Estimated nanoseconds of one product over the batch.
    fn work(&self) -> usize {
        self.batch * self.grid * self.patch() * self.positions() / 40
    }

    /// Width of a padded image.
    fn padded_width(&self) -> usize {
        self.image[1] + 2 * self.padding
    }

    /// Buffer for a padded image, channels last, filled with zeros.
    fn room(&self) -> Vec<f32> {
        vec![0.0; (self.image[0] + 2 * self.padding) * self.padded_width() * self.channels]
    }

    /// Range of a line of the image within the padded image.
    fn inside(&self, line: usize) -> Range<usize> {
        let start = ((line + self.padding) * self.padded_width() + self.padding) * self.channels;
        start..start + self.image[1] * self.channels
    }

    /// Range of a line of a patch within the padded image.
    fn seen(&self, [row, column]: [usize; 2], line: usize) -> Range<usize> {
        let start = ((row * self.stride + line) * self.padded_width() + column * self.stride) * self.channels;
        start..start + self.line()
    }

    /// Consecutive ranges of rows of the grid whose patches fit the L2 cache together.
    fn stretches(&self, patch: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        let (rows, step) = (self.places[0], (PATCHES / (patch * self.places[1])).max(1));
        (0..rows).step_by(step).map(move |first| first..rows.min(first + step))
    }

    /// `[grid, channels, kernel, kernel]` to `[grid, kernel, kernel, channels]`, the order of patches.
    fn channels_last(&self, weight: &[f32]) -> Vec<f32> {
        transpose_each(weight, [self.channels, self.kernel * self.kernel])
    }

    /// The inverse of [`channels_last`](Self::channels_last).
    fn channels_first(&self, weight: &[f32]) -> Vec<f32> {
        transpose_each(weight, [self.kernel * self.kernel, self.channels])
    }

    /// `patches(x) W + b` of every batch entry: from images to grids.
    fn lift(&self, images: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f32> {
        let (patch, positions) = (self.patch(), self.positions());
        let weight = self.channels_last(weight);
        let weight = Factor::packed(Matrix::rows(&weight, patch).transposed(), patch, self.grid, self.precision);
        let mut out = slots(self.batch * self.grid * positions);
        let share = self.batch.div_ceil(SHARES).max(1);
        let (image, grid) = (self.channels * self.pixels(), self.grid * positions);
        let jobs = pieces(images, share * image).zip(pieces_mut(&mut out, share * grid));
        run(self.work(), jobs.take(self.batch.div_ceil(share)), |(images, out)| {
            let (mut padded, mut patches, mut lifted) = (self.room(), Vec::new(), slots(grid));
            for (image, out) in images.chunks(image).zip(out.chunks_mut(grid)) {
                pad(self, image, &mut padded);
                for rows in self.stretches(patch) {
                    patches.clear();
                    unfold(self, &padded, rows.clone(), 0..self.kernel, &mut patches);
                    let (m, start) = (rows.len() * self.places[1], rows.start * self.places[1] * self.grid);
                    let lifted = &mut lifted[start..][..m * self.grid];
                    add_to_rows(filled(lifted, m, Matrix::rows(&patches, patch), &weight), bias);
                }
                // SAFETY: the stretches are all rows of the grid.
                let lifted = unsafe { written_mut(&mut lifted) };
                transpose((lifted, self.grid), [positions, self.grid], (out, positions), put);
            }
        });
        // SAFETY: there is a job for every batch entry, and it writes all channels of all positions.
        unsafe { written(out) }
    }

    /// `patches^T(x W^T) + b` of every batch entry: from grids to images.
    fn lower(&self, grids: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f32> {
        let (patch, positions) = (self.patch(), self.positions());
        let weight = self.channels_last(weight);
        let weight = Factor::packed(Matrix::rows(&weight, patch), self.grid, patch, self.precision);
        let (image, grid) = (self.channels * self.pixels(), self.grid * positions);
        let mut out = slots(self.batch * image);
        let share = self.batch.div_ceil(SHARES).max(1);
        let jobs = pieces(grids, share * grid).zip(pieces_mut(&mut out, share * image));
        run(self.work(), jobs.take(self.batch.div_ceil(share)), |(grids, out)| {
            let (mut padded, mut patches) = (self.room(), Vec::new());
            for (grid, out) in grids.chunks(grid).zip(out.chunks_mut(image)) {
                match bias {
                    [] => padded.fill(0.0),
                    _ => padded.chunks_exact_mut(bias.len()).for_each(|pixel| pixel.copy_from_slice(bias)),
                }
                for rows in self.stretches(patch) {
                    let (m, start) = (rows.len() * self.places[1], rows.start * self.places[1]);
                    patches.resize(m * patch, Slot::uninit());
                    let grid = Matrix::rows(grid, positions).transposed().from(start, 0);
                    fold(self, filled(&mut patches, m, grid, &weight), rows, &mut padded);
                }
                unpad(self, &padded, out);
            }
        });
        // SAFETY: there is a job for every batch entry, and it writes all pixels of all channels.
        unsafe { written(out) }
    }

    /// `patches(image)^T x` added up over the batch, `[grid, channels, kernel, kernel]`.
    fn weight_gradient(&self, grids: &[f32], images: &[f32]) -> Vec<f32> {
        let (patch, positions) = (self.patch(), self.positions());
        let (image, grid) = (self.channels * self.pixels(), self.grid * positions);
        let share = self.batch.div_ceil(GROUPS).max(1);
        // Lines of patches at once: as many as the L2 cache holds for the positions of a few images; images at once: as
        // many as give a product of full depth.
        let lines = (DEPTH / self.line()).clamp(1, self.kernel);
        let bunch = (DEPTH.min(PATCHES / (lines * self.line())) / positions).clamp(1, share);
        let mut sums = vec![0.0; self.batch.div_ceil(share) * patch * self.grid];
        let jobs = (pieces(images, share * image).zip(pieces(grids, share * grid)))
            .zip(pieces_mut(&mut sums, patch * self.grid))
            .take(self.batch.div_ceil(share));
        run(self.work(), jobs, |((images, grids), sum)| {
            let mut rooms: Vec<_> = (0..bunch).map(|_| self.room()).collect();
            let mut patches = Vec::new();
            for (images, grids) in images.chunks(bunch * image).zip(grids.chunks(bunch * grid)) {
                rooms.truncate(images.len() / image);
                rooms.iter_mut().zip(images.chunks_exact(image)).for_each(|(room, image)| pad(self, image, room));
                let transposed_grids = transpose_each(grids, [self.grid, positions]);
                for first in (0..self.kernel).step_by(lines) {
                    let lines = first..self.kernel.min(first + lines);
                    let width = lines.len() * self.line();
                    // A few rows at a time for a single image, all rows for several.
                    for rows in self.stretches(width * rooms.len()) {
                        patches.clear();
                        for padded in &rooms {
                            unfold(self, padded, rows.clone(), lines.clone(), &mut patches);
                        }
                        let start = rows.start * self.places[1] * self.grid;
                        let depth = patches.len() / width;
                        let grid = Matrix::rows(&transposed_grids[start..], self.grid).transposed();
                        let patches = Factor::in_place(Matrix::rows(&patches, width), depth, width, self.precision);
                        gemm_add(&mut sum[first * self.line()..], patch, self.grid, grid, &patches);
                    }
                }
            }
        });
        let mut sum = vec![0.0; patch * self.grid];
        add_rows(&sums, &mut sum);
        self.channels_first(&sum)
    }
}

/// Copies an image, channels last, into its padded buffer; a few channels at a time, each read as a sequential stream.
fn pad(g: &Geometry, image: &[f32], padded: &mut [f32]) {
    for first in (0..g.channels).step_by(TOGETHER) {
        let channels = TOGETHER.min(g.channels - first);
        for line in 0..g.image[0] {
            let from = &image[first * g.pixels() + line * g.image[1]..];
            let out = &mut padded[g.inside(line)][first..];
            let sizes = [channels, g.image[1]];
            transpose((from, g.pixels()), sizes, (out, g.channels), |out, x| *out = x);
        }
    }
}

/// The pixels of a padded image, without the padding.
fn unpad(g: &Geometry, padded: &[f32], image: &mut [Slot]) {
    for line in 0..g.image[0] {
        let (from, out) = (&padded[g.inside(line)], &mut image[line * g.image[1]..]);
        transpose((from, g.channels), [g.image[1], g.channels], (out, g.pixels()), put);
    }
}

simd! {
    /// The given lines of the patches at the given rows of the grid.
    fn unfold(g: &Geometry, padded: &[f32], rows: Range<usize>, lines: Range<usize>, out: &mut Vec<f32>) {
        out.reserve(rows.len() * g.places[1] * lines.len() * g.line());
        for row in rows {
            for column in 0..g.places[1] {
                lines.clone().for_each(|line| out.extend_from_slice(&padded[g.seen([row, column], line)]));
            }
        }
    }
}
simd! {
    /// The transpose of `unfold`: adds patches up at their pixels of the padded image.
    fn fold(g: &Geometry, patches: &[f32], rows: Range<usize>, padded: &mut [f32]) {
        let mut lines = patches.chunks_exact(g.line());
        for row in rows {
            for column in 0..g.places[1] {
                for (line, from) in (&mut lines).take(g.kernel).enumerate() {
                    padded[g.seen([row, column], line)].iter_mut().zip(from).for_each(|(out, x)| *out += x);
                }
            }
        }
    }
}

/// Numbers of patches held at once.
const PATCHES: usize = 1 << 16;

/// Parts of a batch that are lifted and lowered concurrently, each with one padded image.
const SHARES: usize = 16;

/// Parts of a batch whose weight gradients are accumulated concurrently.
const GROUPS: usize = 8;

fn forward(
    x: &FlexTensor,
    weight: &FlexTensor,
    bias: Option<&FlexTensor>,
    stride: Stride,
    transposed: bool,
    precision: Precision,
) -> FlexTensor {
    let g = Geometry::new(x, weight, stride, transposed, precision);
    let bias = bias.map_or(&[][..], slice);
    let (out, channels, [h, w]) = if transposed {
        (g.lower(slice(x), slice(weight), bias), g.channels, g.image)
    } else {
        (g.lift(slice(x), slice(weight), bias), g.grid, g.places)
    };
    tensor(out, [g.batch, channels, h, w].into())
}

fn backward(kept: Kept, gradients: Vec<Option<FlexTensor>>, wanted: [bool; 3]) -> [Option<FlexTensor>; 3] {
    let Kept { x, weight, stride, transposed, precision } = kept;
    let g = Geometry::new(&x, &weight, stride, transposed, precision);
    let [gy] = gradients.as_slice() else { unreachable!("a convolution has one output") };
    let (gy, values, weights) = (optional(gy), slice(&x), slice(&weight));
    let gx = wanted[0].then(|| if transposed { g.lift(gy, weights, &[]) } else { g.lower(gy, weights, &[]) });
    let gw = wanted[1].then(|| if transposed { g.weight_gradient(values, gy) } else { g.weight_gradient(gy, values) });
    let (channels, size) = if transposed { (g.channels, g.pixels()) } else { (g.grid, g.positions()) };
    let gb = wanted[2].then(|| tensor(channel_sums(gy, channels, size), [channels].into()));
    [gx.map(|gx| tensor(gx, x.shape())), gw.map(|gw| tensor(gw, weight.shape())), gb]
}

/// Sums over batch entries and positions.
fn channel_sums(x: &[f32], channels: usize, size: usize) -> Vec<f32> {
    let share = x.len().div_ceil(SHARES).next_multiple_of(channels * size);
    let mut parts = vec![0.0; x.len().div_ceil(share.max(1)) * channels];
    run(x.len(), x.chunks(share.max(1)).zip(pieces_mut(&mut parts, channels)), |(x, part)| add_channels(x, size, part));
    let mut out = vec![0.0; channels];
    add_rows(&parts, &mut out);
    out
}

simd! {
    /// Adds the sums of consecutive `size` numbers to their channels.
    fn add_channels(x: &[f32], size: usize, out: &mut [f32]) {
        for x in x.chunks_exact(out.len() * size) {
            for (out, x) in out.iter_mut().zip(x.chunks_exact(size)) {
                *out += sums(size, |i| [x[i]])[0];
            }
        }
    }
}
