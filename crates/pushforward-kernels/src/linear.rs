//! Affine layers, optionally followed by an activation.
//!
//! ```text
//! h = x W + b            dh = dx W                    y = h or f(h)         dy = dh or f'(h) dh
//! gh = gy f'(h) + gdy f''(h) dh                       gdh = gdy f'(h)
//! gx = gh W^T            gdx = gdh W^T                gW = x^T gh + dx^T gdh                gb = sum of gh over rows
//! ```
//!
//! Here `d` is the tangent and `g` the gradient. Rows are divided into pieces independently of the number of threads,
//! so that results do not depend on it.

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Shape, Tensor};
use burn_flex::FlexTensor;

use super::activation::{Activation, Curve, curve, dual_gradients, value_gradients};
use super::buffer::{Scattered, Slot, pieces, pieces_mut, run, slots, written, written_mut};
use super::gemm::{DEPTH, Factor, filled, gemm, gemm_at};
use super::graph::{Maybe, maybe, operation};
use super::matrix::Matrix;
use super::packed::weights;
use super::precision::Precision;
use super::simd::simd;
use super::{ValueTangent, contiguous, first_two, optional, pair, slice, tensor};

/// Affine layer `x W + b`, followed by an activation if one is given.
///
/// # Shapes
/// - `x`: `[..., inputs]`
/// - `weight`: `[inputs, outputs]`
/// - `bias`: `[outputs]`
/// - output: `[..., outputs]`
///
/// # Panics
/// If the tensor is not [served](super::serve), or widths differ or are zero.
///
/// # Examples
/// ```
/// use burn::tensor::{Device, Tensor};
/// use pushforward_kernels::{Activation, linear};
///
/// let device = Device::flex();
/// let x = Tensor::<2>::from_floats([[1.0, -3.0]], &device);
/// let bias = Tensor::<1>::ones([2], &device);
/// let (y, _) = linear((x, None), Tensor::eye(2, &device), Some(bias), Some(Activation::Relu));
/// assert_eq!(y.into_data().iter::<f32>().collect::<Vec<_>>(), [2.0, 0.0]);
/// ```
pub fn linear<const D: usize>(
    (x, dx): ValueTangent<D>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
    activation: Option<Activation>,
) -> ValueTangent<D> {
    let (found, [inputs, outputs]) = (x.dims()[D - 1], weight.dims());
    assert_eq!(found, inputs, "a linear layer of {inputs} inputs was given rows of {found}");
    assert!(inputs > 0 && outputs > 0, "a linear layer of {inputs} inputs and {outputs} outputs");
    pair(Dispatch::affine_map(x.into_dispatch(), maybe(dx), weight.into_dispatch(), maybe(bias), activation))
}

/// Affine maps as operations of a backend.
#[backend_extension(Flex, Autodiff)]
pub(super) trait LinearOps: Backend {
    /// See [`linear`].
    fn affine_map(
        x: FloatTensor<Self>,
        #[extension_type] dx: Maybe<Self>,
        weight: FloatTensor<Self>,
        #[extension_type] bias: Maybe<Self>,
        activation: Option<Activation>,
    ) -> (FloatTensor<Self>, Option<FloatTensor<Self>>);
}

impl LinearOps for Flex {
    fn affine_map(
        x: FlexTensor,
        dx: Maybe<Self>,
        weight: FlexTensor,
        bias: Maybe<Self>,
        activation: Option<Activation>,
    ) -> (FlexTensor, Option<FlexTensor>) {
        let (outputs, _) = forward(
            [Some(x), dx.into_option(), Some(weight), bias.into_option()].map(|x| x.map(contiguous)),
            activation,
            false,
        );
        first_two(outputs)
    }
}

impl<C: CheckpointStrategy> LinearOps for Autodiff<Flex, C> {
    fn affine_map(
        x: FloatTensor<Self>,
        dx: Maybe<Self>,
        weight: FloatTensor<Self>,
        bias: Maybe<Self>,
        activation: Option<Activation>,
    ) -> (FloatTensor<Self>, Option<FloatTensor<Self>>) {
        let inputs = [Some(x), dx.into_option(), Some(weight), bias.into_option()];
        first_two(operation::<C, _, 4>(inputs, |inputs, keep| forward(inputs, activation, keep), backward))
    }
}

/// Kept for the derivative: the inputs and, with an activation, `h` and `dh`.
#[derive(Clone, Debug)]
struct Kept {
    x: FlexTensor,
    dx: Option<FlexTensor>,
    weight: FlexTensor,
    activation: Option<Activation>,
    precision: Precision,
    h: Option<FlexTensor>,
    dh: Option<FlexTensor>,
}

/// Rows, inputs, outputs, and rows per piece.
struct Sizes {
    rows: usize,
    inputs: usize,
    outputs: usize,
    piece: usize,
}

impl Sizes {
    fn new(x: &FlexTensor, weight: &FlexTensor, precision: Precision) -> Self {
        let (inputs, outputs) = (weight.shape()[0], weight.shape()[1]);
        let rows = x.shape().num_elements() / inputs.max(1);
        // Many pieces, but none so small that the cost of starting a job matters.
        let worth = (1 << 21) / (inputs * outputs).max(1);
        let piece = if Factor::in_tiles(precision) {
            // Whole tiles of rows. For few rows, small pieces, so that one thread does not get all of them.
            let tile = if rows < 1024 { 32 } else { 96 };
            rows.div_ceil(64).max(worth).next_multiple_of(tile)
        } else {
            // Every piece reads all weights once. An even number if there are several, so that two threads have equal
            // work.
            let count = rows.div_ceil(worth.max(48)).clamp(1, 64);
            rows.div_ceil(if count > 1 { count.next_multiple_of(2) } else { 1 }).max(1)
        };
        Self { rows, inputs, outputs, piece }
    }

    /// Estimated nanoseconds of one product over all rows.
    fn work(&self) -> usize {
        self.rows * self.inputs * self.outputs / 50
    }

    fn pieces(&self) -> usize {
        self.rows.div_ceil(self.piece)
    }
}

fn forward(
    [x, dx, weight, bias]: [Option<FlexTensor>; 4],
    activation: Option<Activation>,
    keep: bool,
) -> (Vec<FlexTensor>, Kept) {
    let (x, weight) = (x.expect("a value"), weight.expect("a weight"));
    let precision = Precision::current();
    let s = Sizes::new(&x, &weight, precision);
    let Sizes { rows, inputs, outputs, piece } = s;
    let zeros = vec![0.0; if activation.is_some() && bias.is_none() { outputs } else { 0 }];
    let bias = bias.as_ref().map_or(zeros.as_slice(), slice);
    let w = Matrix::rows(slice(&weight), outputs);
    // For a few rows, packing float32 weights does not pay, and changes no bit. Weights of another precision are always
    // packed: an item must not depend on how many others are computed with it.
    let few = rows * (1 + usize::from(dx.is_some())) <= 32 && Factor::is_plain(precision);
    let (place, packing);
    let w = if few {
        place = Factor::in_place(w, inputs, outputs, precision);
        &place
    } else {
        packing = weights(&weight, false, precision);
        &*packing
    };
    let room = |wanted: bool| slots(if wanted { rows * outputs } else { 0 });
    let (mut y, mut dy) = (room(true), room(dx.is_some()));
    let keeps = keep && activation.is_some();
    let (mut h, mut dh) = (room(keeps), room(keeps && dx.is_some()));
    let jobs = pieces(slice(&x), piece * inputs)
        .zip(pieces(optional(&dx), piece * inputs))
        .zip(pieces_mut(&mut y, piece * outputs).zip(pieces_mut(&mut dy, piece * outputs)))
        .zip(pieces_mut(&mut h, piece * outputs).zip(pieces_mut(&mut dh, piece * outputs)))
        .take(s.pieces());
    run(s.work() * (1 + usize::from(dx.is_some())), jobs, |(((x, dx), (y, dy)), (h, dh))| {
        let m = y.len() / outputs;
        let y = filled(y, m, Matrix::rows(x, inputs), w);
        if dy.is_empty() {
            match activation {
                Some(f) => activate_rows(f, y, h, bias),
                None => add_to_rows(y, bias),
            }
            return;
        }
        let dy = filled(dy, m, Matrix::rows(dx, inputs), w);
        match activation {
            Some(f) => activate_dual_rows(f, y, dy, h, dh, bias),
            None => add_to_rows(y, bias),
        }
    });
    let mut dims: Vec<usize> = x.shape().iter().copied().collect();
    if let Some(last) = dims.last_mut() {
        *last = outputs;
    }
    // SAFETY: the jobs cover all rows, and each writes all of its piece of every buffer that is not empty.
    let done = |buffer: Vec<Slot>| tensor(unsafe { written(buffer) }, Shape::from(dims.clone()));
    let some = |buffer: Vec<Slot>| (!buffer.is_empty()).then(|| done(buffer));
    let (h, dh) = (some(h), some(dh));
    let results = std::iter::once(done(y)).chain(dx.is_some().then(|| done(dy))).collect();
    (results, Kept { x, dx, weight, activation, precision, h, dh })
}

fn backward(kept: Kept, gradients: Vec<Option<FlexTensor>>, wanted: [bool; 4]) -> [Option<FlexTensor>; 4] {
    let Kept { x, dx, weight, activation, precision, h, dh } = kept;
    let s = Sizes::new(&x, &weight, precision);
    let Sizes { rows, inputs, outputs, piece } = s;
    let zeros = || tensor(vec![0.0; rows * outputs], [rows, outputs].into());
    let mut gradients = gradients.into_iter();
    let (gy, gdy) = (gradients.next().flatten(), gradients.next().flatten());
    // With an activation, the gradient of the tangent contributes to that of the value.
    let gy = if h.is_some() { Some(gy.unwrap_or_else(zeros)) } else { gy };
    let (through_value, through_tangent) = (gy.is_some(), gdy.is_some());
    let room = |wanted: bool, width: usize| slots(if wanted { rows * width } else { 0 });
    let (mut gh, mut gdh) = (room(h.is_some(), outputs), room(h.is_some() && through_tangent, outputs));
    let (mut gx, mut gdx) = (room(wanted[0] && through_value, inputs), room(wanted[1] && through_tangent, inputs));
    let mut gb = vec![0.0; if wanted[3] && through_value { s.pieces() * outputs } else { 0 }];
    let wt = (!gx.is_empty() || !gdx.is_empty()).then(|| weights(&weight, true, precision));
    let jobs = pieces(optional(&gy), piece * outputs)
        .zip(pieces(optional(&gdy), piece * outputs))
        .zip(pieces(optional(&h), piece * outputs).zip(pieces(optional(&dh), piece * outputs)))
        .zip(pieces_mut(&mut gh, piece * outputs).zip(pieces_mut(&mut gdh, piece * outputs)))
        .zip(pieces_mut(&mut gx, piece * inputs).zip(pieces_mut(&mut gdx, piece * inputs)))
        .zip(pieces_mut(&mut gb, outputs))
        .take(s.pieces());
    run(s.work() * 2, jobs, |(((((gy, gdy), (h, dh)), (gh, gdh)), (gx, gdx)), gb)| {
        let (gy, gdy) = match activation {
            None => (gy, gdy),
            Some(f) => before_activation(f, [gy, gdy], [h, dh], gh, gdh),
        };
        if !gb.is_empty() {
            add_rows(gy, gb);
        }
        for (gx, gy) in [(gx, gy), (gdx, gdy)] {
            if let Some(wt) = wt.as_deref().filter(|_| !gx.is_empty()) {
                gemm(gx, inputs, gx.len() / inputs, Matrix::rows(gy, outputs), wt);
            }
        }
    });
    // SAFETY: the jobs cover all rows, and each writes all of its piece of every buffer that is not empty.
    let done = |buffer: Vec<Slot>| unsafe { written(buffer) };
    let (gh, gdh) = (done(gh), done(gdh));
    let (gy, gdy) = if h.is_some() { (&gh[..], &gdh[..]) } else { (optional(&gy), optional(&gdy)) };
    let gw = wanted[2].then(|| {
        let pairs = [(slice(&x), gy), (optional(&dx), gdy)];
        let gw = weight_gradient(pairs.into_iter().filter(|(_, g)| !g.is_empty()), &s, precision);
        tensor(gw, weight.shape())
    });
    let shaped = |buffer: Vec<Slot>| (!buffer.is_empty()).then(|| tensor(done(buffer), x.shape()));
    let gb = (!gb.is_empty()).then(|| {
        let mut sum = vec![0.0; outputs];
        add_rows(&gb, &mut sum);
        tensor(sum, [outputs].into())
    });
    [shaped(gx), shaped(gdx), gw, gb]
}

/// The sum of `x^T g` over pairs of rows.
fn weight_gradient<'a>(
    pairs: impl Iterator<Item = (&'a [f32], &'a [f32])>,
    s: &Sizes,
    precision: Precision,
) -> Vec<f32> {
    let &Sizes { rows, inputs, outputs, .. } = s;
    let (pairs, size): (Vec<_>, _) = (pairs.collect(), inputs * outputs);
    if pairs.is_empty() {
        return vec![0.0; size];
    }
    let (tile, parts) = tiles(s, pairs.len(), precision);
    let share = rows.div_ceil(parts).next_multiple_of(DEPTH);
    let mut out = slots(rows.div_ceil(share) * size);
    let places = Scattered::new(&mut out);
    let tiles = (0..inputs).step_by(tile[0]).flat_map(|i| (0..outputs).step_by(tile[1]).map(move |j| (i, j)));
    let jobs = (0..rows).step_by(share).enumerate();
    let jobs = jobs.flat_map(|(part, first)| tiles.clone().map(move |tile| (part, first, tile)));
    run(s.work() * pairs.len(), jobs, |(part, start, (i, j))| {
        let [m, n] = [tile[0].min(inputs - i), tile[1].min(outputs - j)];
        let place = places.block(part * size + i * outputs + j, [m, n], outputs);
        let end = rows.min(start + share);
        for (index, (x, g)) in pairs.iter().enumerate() {
            // As deep at a time as fits the L2 cache.
            for first in (start..end).step_by(DEPTH) {
                let depth = DEPTH.min(end - first);
                let g = Matrix::rows(g, outputs).from(first, j);
                let g = if outputs <= NEAR {
                    Factor::in_place(g, depth, n, precision)
                } else {
                    Factor::packed(g, depth, n, precision)
                };
                let x = Matrix::rows(x, inputs).from(first, i).transposed();
                // SAFETY: the tile is in bounds, no other job touches it, and its first product initialises it.
                unsafe { gemm_at(place, outputs, m, x, &g, index > 0 || first > start) };
            }
        }
    });
    // SAFETY: the tiles cover all entries of all parts.
    let out = unsafe { written(out) };
    let (first, others) = out.split_at(size);
    if others.is_empty() {
        return out;
    }
    const PIECE: usize = 1 << 14;
    let mut sum = first.to_vec();
    run(out.len() / 4, sum.chunks_mut(PIECE).enumerate(), |(i, sum)| {
        others.chunks_exact(size).for_each(|part| add_rows(&part[i * PIECE..][..sum.len()], sum));
    });
    sum
}

/// Rows with a stride of at most this are read in place; with larger strides, they map to the same few cache sets.
const NEAR: usize = 512;

/// Rows and columns of the tiles of a weight gradient, and the number of partial sums over the rows, which are added up
/// in the end: enough jobs for several threads.
fn tiles(s: &Sizes, pairs: usize, precision: Precision) -> ([usize; 2], usize) {
    let in_tiles = Factor::in_tiles(precision);
    // bfloat16 tiles are faster, so that the final sums would take a larger share of the time.
    let wanted = if in_tiles { 4 } else { 8 };
    let jobs = |tile: [usize; 2]| s.inputs.div_ceil(tile[0]) * s.outputs.div_ceil(tile[1]);
    // At least this many rows for each additional partial sum.
    let most = (s.rows * pairs / 512).max(1);
    // Packing takes a large share of a product in bfloat16 tiles: a packed factor serves as many columns as the L2
    // cache holds.
    let mut tile = [(s.inputs / 4).next_multiple_of(32).clamp(128, 256), 1024];
    if !in_tiles {
        tile = [264, 256];
        while jobs(tile) * most < wanted {
            let sides = [tile[0].min(s.inputs), tile[1].min(s.outputs)];
            let longer = usize::from(sides[1] > sides[0]);
            if sides[longer] <= 66 {
                break;
            }
            tile[longer] /= 2;
        }
    }
    (tile, usize::div_ceil(wanted, jobs(tile)).min(most))
}

simd! {
    /// Adds `bias`, unless it is empty, to every row.
    pub(super) fn add_to_rows(y: &mut [f32], bias: &[f32]) {
        if bias.is_empty() {
            return;
        }
        for y in y.chunks_exact_mut(bias.len()) {
            y.iter_mut().zip(bias).for_each(|(y, b)| *y += b);
        }
    }
}
simd! {
    /// Adds the rows of `x` to `sum`.
    pub(super) fn add_rows(x: &[f32], sum: &mut [f32]) {
        for x in x.chunks_exact(sum.len().max(1)) {
            sum.iter_mut().zip(x).for_each(|(s, x)| *s += x);
        }
    }
}
simd! {
    /// `y <- f(y + bias)`; the argument of `f` is written to `h`, unless that is empty.
    fn activate_rows(f: Activation, y: &mut [f32], h: &mut [Slot], bias: &[f32]) {
        #[inline(always)]
        fn with<F: Curve>(y: &mut [f32], h: &mut [Slot], bias: &[f32]) {
            let width = bias.len().max(1);
            if h.is_empty() {
                for y in y.chunks_exact_mut(width) {
                    y.iter_mut().zip(bias).for_each(|(y, b)| *y = F::at(*y + b)[0]);
                }
            }
            for (y, h) in y.chunks_exact_mut(width).zip(h.chunks_exact_mut(width)) {
                for ((y, h), b) in y.iter_mut().zip(h).zip(bias) {
                    let x = *y + b;
                    h.write(x);
                    *y = F::at(x)[0];
                }
            }
        }
        curve!(f, with(y, h, bias));
    }
}
simd! {
    /// The same with a tangent.
    fn activate_dual_rows(
        f: Activation, y: &mut [f32], dy: &mut [f32], h: &mut [Slot], dh: &mut [Slot], bias: &[f32],
    ) {
        #[inline(always)]
        fn with<F: Curve>(y: &mut [f32], dy: &mut [f32], h: &mut [Slot], dh: &mut [Slot], bias: &[f32]) {
            let width = bias.len().max(1);
            if h.is_empty() {
                for (y, dy) in y.chunks_exact_mut(width).zip(dy.chunks_exact_mut(width)) {
                    for ((y, dy), b) in y.iter_mut().zip(dy).zip(bias) {
                        let [value, slope, _] = F::at(*y + b);
                        *y = value;
                        *dy *= slope;
                    }
                }
            }
            let rows = y.chunks_exact_mut(width).zip(dy.chunks_exact_mut(width));
            for ((y, dy), (h, dh)) in rows.zip(h.chunks_exact_mut(width).zip(dh.chunks_exact_mut(width))) {
                for (((y, dy), (h, dh)), b) in y.iter_mut().zip(dy).zip(h.iter_mut().zip(dh)).zip(bias) {
                    let x = *y + b;
                    h.write(x);
                    dh.write(*dy);
                    let [value, slope, _] = F::at(x);
                    *y = value;
                    *dy *= slope;
                }
            }
        }
        curve!(f, with(y, dy, h, dh, bias));
    }
}

/// Gradients of an activation's input from those of its output; that of the tangent only if it is not empty.
fn before_activation<'a>(
    f: Activation,
    [gy, gdy]: [&'a [f32]; 2],
    [h, dh]: [&[f32]; 2],
    gh: &'a mut [Slot],
    gdh: &'a mut [Slot],
) -> (&'a [f32], &'a [f32]) {
    let n = gh.len();
    assert!(gy.len() == n && h.len() == n, "slices of one length");
    if gdh.is_empty() {
        value_gradients(f, gy, h, gh);
    } else {
        assert!([gdy.len(), dh.len(), gdh.len()] == [n; 3], "slices of one length");
        dual_gradients(f, [gy, gdy], [h, dh], gh, gdh);
    }
    // SAFETY: all slices have one length, so that every slot was written.
    unsafe { (written_mut(gh), written_mut(gdh)) }
}
