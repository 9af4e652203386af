//! Convolutions of images as matrix products over patches, and their transposes.
//!
//! ```text
//! patches(x): [channels kernel^2, positions], what the kernel sees at every position        W: [outputs, channels kernel^2]
//! y = W patches(x) + b          gx = patches^T (W^T gy)         gW = gy patches(x)^T          gb = sum of gy over positions
//! ```
//!
//! A transposed convolution swaps the parts of `x` and `gy`: `y = patches^T (W^T x) + b`, `gx = W patches(gy)`,
//! `gW = x patches(gy)^T`. Both are written as `lift`, from an image to a grid of positions, and `lower`, back again.

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::Tensor;
use burn_flex::FlexTensor;

use super::buffer::{pieces, pieces_mut, run, slots, written};
use super::graph::{Maybe, maybe, operation};
use super::linear::add_rows;
use super::precision::Precision;
use super::product::{Factor, First, Matrix, add_product, filled, product_at};
use super::simd::{LANES, simd};
use super::{contiguous, optional, slice, tensor};

/// Step and padding of a convolution.
#[derive(Clone, Copy, Debug)]
pub struct Stride {
    /// Step between positions.
    pub stride: usize,
    /// Zeros added on every side.
    pub padding: usize,
}

/// A convolution; see [`Conv2d`](crate::nn::conv::Conv2d).
///
/// # Shapes
/// - `x`: `[batch, inputs, height, width]`
/// - `weight`: `[outputs, inputs, kernel, kernel]`
/// - `bias`: `[outputs]`
/// - output: `[batch, outputs, (height + 2 padding - kernel) / stride + 1, ...]`
///
/// # Panics
/// If the tensors are not [served](super::serve), channels differ, or the kernel exceeds the padded image.
pub fn conv2d(x: Tensor<4>, weight: Tensor<4>, bias: Option<Tensor<1>>, stride: Stride) -> Tensor<4> {
    let ([_, found, h, w], [_, inputs, kernel, _]) = (x.dims(), weight.dims());
    assert_eq!(found, inputs, "a convolution of {inputs} channels was given {found}");
    let (side, padded) = (h.min(w), h.min(w) + 2 * stride.padding);
    assert!(kernel <= padded, "a kernel of {kernel} exceeds an image of {side} padded to {padded}");
    let out = Dispatch::convolution(x.into_dispatch(), weight.into_dispatch(), maybe(bias), stride, false);
    Tensor::from_dispatch(out)
}

/// A transposed convolution; see [`ConvTranspose2d`](crate::nn::conv::ConvTranspose2d).
///
/// # Shapes
/// - `x`: `[batch, inputs, height, width]`
/// - `weight`: `[inputs, outputs, kernel, kernel]`
/// - `bias`: `[outputs]`
/// - output: `[batch, outputs, (height - 1) stride + kernel - 2 padding, ...]`
///
/// # Panics
/// If the tensors are not [served](super::serve), or channels differ.
pub fn conv_transpose2d(x: Tensor<4>, weight: Tensor<4>, bias: Option<Tensor<1>>, stride: Stride) -> Tensor<4> {
    let ([_, found, ..], [inputs, ..]) = (x.dims(), weight.dims());
    assert_eq!(found, inputs, "a transposed convolution of {inputs} channels was given {found}");
    let out = Dispatch::convolution(x.into_dispatch(), weight.into_dispatch(), maybe(bias), stride, true);
    Tensor::from_dispatch(out)
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

    /// Numbers that the kernel sees at a position.
    fn patch(&self) -> usize {
        self.channels * self.kernel * self.kernel
    }

    /// A guess of the nanoseconds of one product over the batch.
    fn work(&self) -> usize {
        self.batch * self.grid * self.patch() * self.positions() / 40
    }

    /// Distance of the rows of patches: whole registers, so that a product takes them where they lie.
    fn stretch(&self) -> usize {
        self.positions().next_multiple_of(LANES)
    }

    /// Room for the patches of an image. What lies outside of it is zero, and stays so however often the room is used.
    fn room(&self) -> Vec<f32> {
        vec![0.0; self.patch() * self.stretch()]
    }

    /// Calls `f` with every run of positions whose pixels are inside of the image: place in the patches, line of the image (channels one
    /// after the other), first pixel in it, and length; pixels of a run are `stride` apart.
    #[inline(always)]
    fn runs(&self, mut f: impl FnMut(usize, usize, usize, usize)) {
        let ([rows, columns], stretch) = (self.places, self.stretch());
        let inside = |offset: usize, places: usize, pixels: usize| {
            // Positions p with 0 <= p stride + offset - padding < pixels.
            let first = self.padding.saturating_sub(offset).div_ceil(self.stride);
            let end = (pixels + self.padding).saturating_sub(offset).div_ceil(self.stride);
            (first.min(places), end.min(places))
        };
        for channel in 0..self.channels {
            for dy in 0..self.kernel {
                let (top, bottom) = inside(dy, rows, self.image[0]);
                for dx in 0..self.kernel {
                    let (left, right) = inside(dx, columns, self.image[1]);
                    if left >= right {
                        continue;
                    }
                    let patch = (channel * self.kernel + dy) * self.kernel + dx;
                    for row in top..bottom {
                        let line = channel * self.image[0] + row * self.stride + dy - self.padding;
                        let x = left * self.stride + dx - self.padding;
                        f(patch * stretch + row * columns + left, line, x, right - left);
                    }
                }
            }
        }
    }

    /// Where pixel `x` of a line lies if the line's even pixels come before its odd ones.
    #[inline(always)]
    fn sorted(&self, line: usize, x: usize) -> usize {
        line * self.image[1] + x % 2 * self.image[1].div_ceil(2) + x / 2
    }

    /// What the kernel sees, `[patch, positions]`, into [`room`](Self::room). With stride 2 runs are copied from `sorted` lines, where they
    /// lie together.
    #[inline(always)]
    fn patches(&self, image: &[f32], sorted: &mut [f32], out: &mut [f32]) {
        let width = self.image[1];
        match self.stride {
            1 => self.runs(|place, line, x, n| {
                out[place..place + n].copy_from_slice(&image[line * width + x..][..n]);
            }),
            2 => {
                for (line, sorted) in image.chunks_exact(width).zip(sorted.chunks_exact_mut(width)) {
                    let (even, odd) = sorted.split_at_mut(width.div_ceil(2));
                    even.iter_mut().zip(line.iter().step_by(2)).for_each(|(out, x)| *out = *x);
                    odd.iter_mut().zip(line[1..].iter().step_by(2)).for_each(|(out, x)| *out = *x);
                }
                self.runs(|place, line, x, n| {
                    out[place..place + n].copy_from_slice(&sorted[self.sorted(line, x)..][..n]);
                });
            }
            stride => self.runs(|place, line, x, n| {
                let from = image[line * width + x..].iter().step_by(stride);
                out[place..place + n].iter_mut().zip(from).for_each(|(out, x)| *out = *x);
            }),
        }
    }

    /// The transpose: adds patches up where they lie in the image, which is zero.
    #[inline(always)]
    fn add_up(&self, patches: &[f32], sorted: &mut [f32], image: &mut [f32]) {
        let width = self.image[1];
        let add = |to: &mut [f32], from: &[f32]| to.iter_mut().zip(from).for_each(|(out, x)| *out += x);
        match self.stride {
            1 => self.runs(|place, line, x, n| add(&mut image[line * width + x..][..n], &patches[place..place + n])),
            2 => {
                sorted.fill(0.0);
                self.runs(|place, line, x, n| {
                    add(&mut sorted[self.sorted(line, x)..][..n], &patches[place..place + n]);
                });
                for (line, sorted) in image.chunks_exact_mut(width).zip(sorted.chunks_exact(width)) {
                    let (even, odd) = sorted.split_at(width.div_ceil(2));
                    line.iter_mut().step_by(2).zip(even).for_each(|(out, x)| *out = *x);
                    line[1..].iter_mut().step_by(2).zip(odd).for_each(|(out, x)| *out = *x);
                }
            }
            stride => self.runs(|place, line, x, n| {
                let to = image[line * width + x..].iter_mut().step_by(stride);
                to.zip(&patches[place..place + n]).for_each(|(out, x)| *out += x);
            }),
        }
    }

    /// Room for the lines of an image with even and odd pixels apart, where that is needed.
    fn lines(&self) -> Vec<f32> {
        vec![0.0; if self.stride == 2 { self.channels * self.pixels() } else { 0 }]
    }

    /// `W patches(x)` of every batch entry: from images to grids.
    fn lift(&self, images: &[f32], weight: &[f32]) -> Vec<f32> {
        let (patch, positions) = (self.patch(), self.positions());
        let mut out = slots(self.batch * self.grid * positions);
        let share = self.batch.div_ceil(SHARES).max(1);
        let (image, grid) = (self.channels * self.pixels(), self.grid * positions);
        let jobs = pieces(images, share * image).zip(pieces_mut(&mut out, share * grid));
        let mut laid = None;
        let weight = First::laid(Matrix::rows(weight, patch), self.grid, patch, self.precision, &mut laid);
        run(self.work(), jobs.take(self.batch.div_ceil(share)), |(images, out)| {
            let (mut room, mut lines) = (self.room(), self.lines());
            for (image, out) in images.chunks(image.max(1)).zip(out.chunks_mut(grid.max(1))) {
                unfold(self, image, &mut lines, &mut room);
                let patches = Factor::in_place(Matrix::rows(&room, self.stretch()), patch, positions, self.precision);
                filled(out, self.grid, weight, &patches);
            }
        });
        // SAFETY: there is a job for every batch entry, and its product fills it.
        unsafe { written(out) }
    }

    /// `patches^T (W^T x)` of every batch entry: from grids to images.
    fn lower(&self, grids: &[f32], weight: &[f32]) -> Vec<f32> {
        let (patch, positions) = (self.patch(), self.positions());
        let mut out = vec![0.0; self.batch * self.channels * self.pixels()];
        let jobs = pieces(grids, self.grid * positions).zip(pieces_mut(&mut out, self.channels * self.pixels()));
        let mut laid = None;
        let transposed = Matrix::rows(weight, patch).transposed();
        let transposed = First::laid(transposed, patch, self.grid, self.precision, &mut laid);
        run(self.work(), jobs.take(self.batch), |(grid, out)| {
            let mut patches = self.room();
            let grid = Factor::in_place(Matrix::rows(grid, positions), self.grid, positions, self.precision);
            let width = self.stretch();
            // SAFETY: there is room for `patch` rows of `width` numbers, which this job has alone.
            unsafe { product_at(patches.as_mut_ptr(), width, patch, transposed, &grid, false) };
            fold(self, &patches, &mut self.lines(), out);
        });
        out
    }

    /// `x patches(image)^T` added up over the batch.
    fn weight_gradient(&self, grids: &[f32], images: &[f32]) -> Vec<f32> {
        let (patch, positions) = (self.patch(), self.positions());
        let share = self.batch.div_ceil(GROUPS).max(1);
        let mut sums = vec![0.0; self.batch.div_ceil(share) * patch * self.grid];
        let jobs = (pieces(images, share * self.channels * self.pixels())
            .zip(pieces(grids, share * self.grid * positions)))
        .zip(pieces_mut(&mut sums, patch * self.grid))
        .take(self.batch.div_ceil(share));
        run(self.work(), jobs, |((images, grids), sum)| {
            let (mut room, mut lines) = (self.room(), self.lines());
            let entries = images.chunks(self.channels * self.pixels()).zip(grids.chunks(self.grid * positions));
            for (image, grid) in entries {
                unfold(self, image, &mut lines, &mut room);
                // Transposed, because the grid is the smaller of the two to lay out.
                let grid = Matrix::rows(grid, positions).transposed();
                let grid = Factor::packed(grid, positions, self.grid, self.precision);
                add_product(sum, self.grid, patch, Matrix::rows(&room, self.stretch()), &grid);
            }
        });
        let mut sum = vec![0.0; patch * self.grid];
        add_rows(&sums, &mut sum);
        let mut out = vec![0.0; patch * self.grid];
        for (i, row) in sum.chunks_exact(self.grid.max(1)).enumerate() {
            row.iter().enumerate().for_each(|(j, x)| out[j * patch + i] = *x);
        }
        out
    }
}

simd! {
    /// [`Geometry::patches`].
    fn unfold(geometry: &Geometry, image: &[f32], sorted: &mut [f32], out: &mut [f32]) {
        geometry.patches(image, sorted, out);
    }
}
simd! {
    /// [`Geometry::add_up`].
    fn fold(geometry: &Geometry, patches: &[f32], sorted: &mut [f32], image: &mut [f32]) {
        geometry.add_up(patches, sorted, image);
    }
}

/// Parts of a batch that are lifted beside each other, each in one room.
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
    let (mut out, channels, [h, w]) = if transposed {
        (g.lower(slice(x), slice(weight)), g.channels, g.image)
    } else {
        (g.lift(slice(x), slice(weight)), g.grid, g.places)
    };
    if let Some(bias) = bias {
        for (out, bias) in out.chunks_exact_mut((h * w).max(1)).zip(slice(bias).iter().cycle()) {
            out.iter_mut().for_each(|x| *x += bias);
        }
    }
    tensor(out, [g.batch, channels, h, w].into())
}

fn backward(kept: Kept, gradients: Vec<Option<FlexTensor>>, wanted: [bool; 3]) -> [Option<FlexTensor>; 3] {
    let Kept { x, weight, stride, transposed, precision } = kept;
    let g = Geometry::new(&x, &weight, stride, transposed, precision);
    let [gy] = gradients.as_slice() else { unreachable!("a convolution has one output") };
    let (gy, values, weights) = (optional(gy), slice(&x), slice(&weight));
    let gx = wanted[0].then(|| if transposed { g.lift(gy, weights) } else { g.lower(gy, weights) });
    let gw = wanted[1].then(|| if transposed { g.weight_gradient(values, gy) } else { g.weight_gradient(gy, values) });
    let (channels, size) = if transposed { (g.channels, g.pixels()) } else { (g.grid, g.positions()) };
    let gb = wanted[2].then(|| {
        let mut sums = vec![0.0; channels];
        for (i, x) in gy.chunks_exact(size.max(1)).enumerate() {
            sums[i % channels] += x.iter().sum::<f32>();
        }
        tensor(sums, [channels].into())
    });
    [gx.map(|gx| tensor(gx, x.shape())), gw.map(|gw| tensor(gw, weight.shape())), gb]
}
