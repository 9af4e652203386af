//! Convolutions of images as matrix products over patches, and their transposes.
//!
//! ```text
//! patches(x): [positions, kernel^2 channels], what the kernel sees at every position        W: [kernel^2 channels, outputs]
//! y = patches(x) W + b          gx = patches^T(gy W^T)          gW = patches(x)^T gy          gb = sum of gy over positions
//! ```
//!
//! Here `patches^T` adds patches up where they lie in the image. A transposed convolution swaps the parts of `x` and `gy`:
//! `y = patches^T(x W^T) + b`, `gx = patches(gy) W`, `gW = patches(gy)^T x`. Both are written as `lift`, from an image to a grid of
//! positions, and `lower`, back again.
//!
//! Inside, images have their channels last and a frame of zeros around them: a line of a patch is then one run of numbers, and
//! the weights, laid out once, are the second factor of every product.

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

/// Step and padding of a convolution.
#[derive(Clone, Copy, Debug)]
pub struct Stride {
    /// Step between positions.
    pub stride: usize,
    /// Zeros added on every side.
    pub padding: usize,
}

/// A convolution.
///
/// # Shapes
/// - `x`: `[batch, inputs, height, width]`
/// - `weight`: `[outputs, inputs, kernel, kernel]`
/// - `bias`: `[outputs]`
/// - output: `[batch, outputs, (height + 2 padding - kernel) / stride + 1, ...]`
///
/// # Panics
/// If the tensors are not [served](super::serve), channels differ, another axis than the batch is empty, the kernel is not square or
/// exceeds the padded image.
pub fn conv2d(x: Tensor<4>, weight: Tensor<4>, bias: Option<Tensor<1>>, stride: Stride) -> Tensor<4> {
    let ([_, found, h, w], [outputs, inputs, kernel, _]) = (x.dims(), weight.dims());
    assert_eq!(found, inputs, "a convolution of {inputs} channels was given {found}");
    check(x.dims(), weight.dims(), &bias, outputs);
    let (side, padded) = (h.min(w), h.min(w) + 2 * stride.padding);
    assert!(kernel <= padded, "a kernel of {kernel} exceeds an image of {side} padded to {padded}");
    let out = Dispatch::convolution(x.into_dispatch(), weight.into_dispatch(), maybe(bias), stride, false);
    Tensor::from_dispatch(out)
}

/// A transposed convolution.
///
/// # Shapes
/// - `x`: `[batch, inputs, height, width]`
/// - `weight`: `[inputs, outputs, kernel, kernel]`
/// - `bias`: `[outputs]`
/// - output: `[batch, outputs, (height - 1) stride + kernel - 2 padding, ...]`
///
/// # Panics
/// If the tensors are not [served](super::serve), channels differ, another axis than the batch is empty, or the kernel is not square.
pub fn conv_transpose2d(x: Tensor<4>, weight: Tensor<4>, bias: Option<Tensor<1>>, stride: Stride) -> Tensor<4> {
    let ([_, found, ..], [inputs, outputs, ..]) = (x.dims(), weight.dims());
    assert_eq!(found, inputs, "a transposed convolution of {inputs} channels was given {found}");
    check(x.dims(), weight.dims(), &bias, outputs);
    let out = Dispatch::convolution(x.into_dispatch(), weight.into_dispatch(), maybe(bias), stride, true);
    Tensor::from_dispatch(out)
}

/// What both kinds ask of their arguments.
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

    /// Numbers of a line of what the kernel sees at a position.
    fn line(&self) -> usize {
        self.kernel * self.channels
    }

    /// Numbers that the kernel sees at a position.
    fn patch(&self) -> usize {
        self.kernel * self.line()
    }

    /// A guess of the nanoseconds of one product over the batch.
    fn work(&self) -> usize {
        self.batch * self.grid * self.patch() * self.positions() / 40
    }

    /// Width of an image with its frame.
    fn framed(&self) -> usize {
        self.image[1] + 2 * self.padding
    }

    /// Room for an image, channels last, with its frame of zeros.
    fn room(&self) -> Vec<f32> {
        vec![0.0; (self.image[0] + 2 * self.padding) * self.framed() * self.channels]
    }

    /// Where the pixels of a line of the image lie in its frame.
    fn inside(&self, line: usize) -> Range<usize> {
        let start = ((line + self.padding) * self.framed() + self.padding) * self.channels;
        start..start + self.image[1] * self.channels
    }

    /// Where a line of what the kernel sees at a position lies in the frame.
    fn seen(&self, [row, column]: [usize; 2], line: usize) -> Range<usize> {
        let start = ((row * self.stride + line) * self.framed() + column * self.stride) * self.channels;
        start..start + self.line()
    }

    /// Rows of the grid whose patches fit the second cache together, from the first one on.
    fn stretches(&self, patch: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        let (rows, step) = (self.places[0], (PATCHES / (patch * self.places[1])).max(1));
        (0..rows).step_by(step).map(move |first| first..rows.min(first + step))
    }

    /// `[grid, channels, kernel, kernel]` to `[grid, kernel, kernel, channels]`, as patches lie.
    fn channels_last(&self, weight: &[f32]) -> Vec<f32> {
        transpose_each(weight, [self.channels, self.kernel * self.kernel])
    }

    /// The other way round.
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
            let (mut framed, mut patches, mut lifted) = (self.room(), Vec::new(), slots(grid));
            for (image, out) in images.chunks(image).zip(out.chunks_mut(grid)) {
                frame(self, image, &mut framed);
                for rows in self.stretches(patch) {
                    patches.clear();
                    unfold(self, &framed, rows.clone(), 0..self.kernel, &mut patches);
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
            let (mut framed, mut patches) = (self.room(), Vec::new());
            for (grid, out) in grids.chunks(grid).zip(out.chunks_mut(image)) {
                match bias {
                    [] => framed.fill(0.0),
                    _ => framed.chunks_exact_mut(bias.len()).for_each(|pixel| pixel.copy_from_slice(bias)),
                }
                for rows in self.stretches(patch) {
                    let (m, start) = (rows.len() * self.places[1], rows.start * self.places[1]);
                    patches.resize(m * patch, Slot::uninit());
                    let grid = Matrix::rows(grid, positions).transposed().from(start, 0);
                    fold(self, filled(&mut patches, m, grid, &weight), rows, &mut framed);
                }
                unframe(self, &framed, out);
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
        // As many lines of patches as the second cache holds of the positions of some images, and as many images as make a product deep.
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
                rooms.iter_mut().zip(images.chunks_exact(image)).for_each(|(room, image)| frame(self, image, room));
                let turned = transpose_each(grids, [self.grid, positions]);
                for first in (0..self.kernel).step_by(lines) {
                    let lines = first..self.kernel.min(first + lines);
                    let width = lines.len() * self.line();
                    // Rows one after the other where there is one image, or else all of them.
                    for rows in self.stretches(width * rooms.len()) {
                        patches.clear();
                        for framed in &rooms {
                            unfold(self, framed, rows.clone(), lines.clone(), &mut patches);
                        }
                        let start = rows.start * self.places[1] * self.grid;
                        let depth = patches.len() / width;
                        let grid = Matrix::rows(&turned[start..], self.grid).transposed();
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

/// The pixels of an image, channels last, into its frame; some channels from their first line to their last, which are read as that many
/// streams.
fn frame(g: &Geometry, image: &[f32], framed: &mut [f32]) {
    for first in (0..g.channels).step_by(TOGETHER) {
        let channels = TOGETHER.min(g.channels - first);
        for line in 0..g.image[0] {
            let from = &image[first * g.pixels() + line * g.image[1]..];
            let out = &mut framed[g.inside(line)][first..];
            let sizes = [channels, g.image[1]];
            transpose((from, g.pixels()), sizes, (out, g.channels), |out, x| *out = x);
        }
    }
}

/// The pixels of a framed image.
fn unframe(g: &Geometry, framed: &[f32], image: &mut [Slot]) {
    for line in 0..g.image[0] {
        let (from, out) = (&framed[g.inside(line)], &mut image[line * g.image[1]..]);
        transpose((from, g.channels), [g.image[1], g.channels], (out, g.pixels()), put);
    }
}

simd! {
    /// Some lines of what the kernel sees at the positions of some rows of the grid.
    fn unfold(g: &Geometry, framed: &[f32], rows: Range<usize>, lines: Range<usize>, out: &mut Vec<f32>) {
        out.reserve(rows.len() * g.places[1] * lines.len() * g.line());
        for row in rows {
            for column in 0..g.places[1] {
                lines.clone().for_each(|line| out.extend_from_slice(&framed[g.seen([row, column], line)]));
            }
        }
    }
}
simd! {
    /// The transpose: adds patches up where they lie in the framed image.
    fn fold(g: &Geometry, patches: &[f32], rows: Range<usize>, framed: &mut [f32]) {
        let mut lines = patches.chunks_exact(g.line());
        for row in rows {
            for column in 0..g.places[1] {
                for (line, from) in (&mut lines).take(g.kernel).enumerate() {
                    framed[g.seen([row, column], line)].iter_mut().zip(from).for_each(|(out, x)| *out += x);
                }
            }
        }
    }
}

/// Numbers of patches at once.
const PATCHES: usize = 1 << 16;

/// Parts of a batch that are lifted and lowered beside each other, each in one room.
const SHARES: usize = 16;

/// Parts of a batch whose weight gradients are added up beside each other.
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
    /// Adds the sums of runs of `size` numbers to their channels.
    fn add_channels(x: &[f32], size: usize, out: &mut [f32]) {
        for x in x.chunks_exact(out.len() * size) {
            for (out, x) in out.iter_mut().zip(x.chunks_exact(size)) {
                *out += sums(size, |i| [x[i]])[0];
            }
        }
    }
}
