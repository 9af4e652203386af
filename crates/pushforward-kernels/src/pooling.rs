//! Summary statistics of a set, feature by feature: mean, minimum, maximum and sample standard deviation.
//!
//! ```text
//! m = mean(x)      c = x - m      D = max(n - 1, 1)      s = sqrt(sum(c^2) / D)      a = c / (D s)      e = ds = sum(a dx)
//! gx  = gm / n + [argmin] gmin + [argmax] gmax + a gs + (dc / (D s) - e a / s) hs
//! gdx = hm / n + [argmin] hmin + [argmax] hmax + a hs
//! ```
//!
//! `d` is the tangent, `g` and `h` the gradients of summaries and of their tangents. Sums run over the `n` unmasked
//! entries; if `s = 0`, then `a`, `e` and all terms with them are 0.

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::Tensor;
use burn_flex::FlexTensor;

use super::buffer::{Slot, pieces, pieces_mut, run, slots, written};
use super::graph::{Maybe, maybe, operation};
use super::simd::simd;
use super::{ValueTangent, contiguous, first_two, optional, pair, slice, tensor};

/// Mean, minimum, maximum and standard deviation, concatenated; the pooling of the graph transformer.
///
/// # Shapes
/// - `x`: `[batch, entries, features]`
/// - `mask`: `[batch, entries, 1]`, 1 for entries of the set, at least one per row, and 0 for padding
/// - output: `[batch, 4 features]`
///
/// # Panics
/// If the tensors are not [served](super::serve), shapes differ, or a set has no entries.
///
/// # Examples
/// ```
/// use burn::tensor::{Device, Tensor};
/// use pushforward_kernels::summaries;
///
/// let device = Device::flex();
/// let x = Tensor::<3>::from_floats([[[1.0], [3.0], [2.0], [99.0]]], &device);
/// let mask = Tensor::from_floats([[[1.0], [1.0], [1.0], [0.0]]], &device);
/// let (y, _) = summaries((x, None), Some(mask));
/// assert_eq!(y.into_data().iter::<f32>().collect::<Vec<_>>(), [2.0, 1.0, 3.0, 1.0]);
/// ```
pub fn summaries((x, dx): ValueTangent<3>, mask: Option<Tensor<3>>) -> ValueTangent<2> {
    let [b, n, f] = x.dims();
    assert!(n > 0 && f > 0, "summaries of {n} entries of {f} features");
    if let Some(dx) = &dx {
        assert_eq!(dx.dims(), x.dims(), "a tangent has the shape of its value");
    }
    if let Some(mask) = &mask {
        assert_eq!(mask.dims(), [b, n, 1], "the mask of the entries of a set is [batch, entries, 1]");
    }
    pair(Dispatch::summarised(x.into_dispatch(), maybe(dx), maybe(mask)))
}

/// Summaries as operations of a backend.
#[backend_extension(Flex, Autodiff)]
pub(super) trait PoolingOps: Backend {
    /// See [`summaries`].
    fn summarised(
        x: FloatTensor<Self>,
        #[extension_type] dx: Maybe<Self>,
        #[extension_type] mask: Maybe<Self>,
    ) -> (FloatTensor<Self>, Option<FloatTensor<Self>>);
}

impl PoolingOps for Flex {
    fn summarised(x: FlexTensor, dx: Maybe<Self>, mask: Maybe<Self>) -> (FlexTensor, Option<FlexTensor>) {
        let inputs = [Some(x), dx.into_option(), mask.into_option()];
        first_two(forward(inputs.map(|x| x.map(contiguous))).0)
    }
}

impl<C: CheckpointStrategy> PoolingOps for Autodiff<Flex, C> {
    fn summarised(
        x: FloatTensor<Self>,
        dx: Maybe<Self>,
        mask: Maybe<Self>,
    ) -> (FloatTensor<Self>, Option<FloatTensor<Self>>) {
        let inputs = [Some(x), dx.into_option(), mask.into_option()];
        first_two(operation::<C, _, 3>(inputs, |inputs, _| forward(inputs), backward))
    }
}

/// Kept for the derivative: the inputs and, for every feature of every set, [`KEPT`] numbers.
#[derive(Clone, Debug)]
struct Kept {
    inputs: [Option<FlexTensor>; 3],
    numbers: Vec<f32>,
}

/// Mean, its tangent, `1 / (D s)`, `e / s`, argmin and argmax.
const KEPT: usize = 6;

fn forward(inputs: [Option<FlexTensor>; 3]) -> (Vec<FlexTensor>, Kept) {
    let x = inputs[0].as_ref().expect("a value");
    let [b, n, f] = sizes(x);
    let dual = inputs[1].is_some();
    let (mut out, mut dout) = (slots(b * 4 * f), slots(if dual { b * 4 * f } else { 0 }));
    let mut numbers = vec![0.0; b * KEPT * f];
    let jobs = (pieces(slice(x), n * f).zip(pieces(optional(&inputs[1]), n * f)))
        .zip(pieces(optional(&inputs[2]), n))
        .zip(pieces_mut(&mut out, 4 * f).zip(pieces_mut(&mut dout, 4 * f)))
        .zip(pieces_mut(&mut numbers, KEPT * f))
        .take(b);
    run(b * n * f, jobs, |((((x, dx), mask), (out, dout)), numbers)| summarise([x, dx], mask, out, dout, numbers));
    // SAFETY: a job for every set writes all of its summaries.
    let done = |buffer: Vec<Slot>| tensor(unsafe { written(buffer) }, [b, 4 * f].into());
    let outputs = std::iter::once(done(out)).chain(dual.then(|| done(dout))).collect();
    (outputs, Kept { inputs, numbers })
}

fn backward(kept: Kept, gradients: Vec<Option<FlexTensor>>, wanted: [bool; 3]) -> [Option<FlexTensor>; 3] {
    let Kept { inputs, numbers } = kept;
    let x = inputs[0].as_ref().expect("a value");
    let [b, n, f] = sizes(x);
    let mut gradients = gradients.into_iter();
    let zeros = || tensor(vec![0.0; b * 4 * f], [b, 4 * f].into());
    let g = gradients.next().flatten().unwrap_or_else(zeros);
    let h = gradients.next().flatten();
    let dual = h.is_some();
    let (mut gx, mut gdx) = (slots(b * n * f), slots(if dual { b * n * f } else { 0 }));
    let jobs = (pieces(slice(x), n * f).zip(pieces(optional(&inputs[1]), n * f)))
        .zip(pieces(optional(&inputs[2]), n).zip(pieces(&numbers, KEPT * f)))
        .zip(pieces(slice(&g), 4 * f).zip(pieces(optional(&h), 4 * f)))
        .zip(pieces_mut(&mut gx, n * f).zip(pieces_mut(&mut gdx, n * f)))
        .take(b);
    run(b * n * f, jobs, |((((x, dx), (mask, numbers)), (g, h)), (gx, gdx))| {
        if h.is_empty() {
            value_gradients(x, mask, numbers, g, gx);
        } else {
            dual_gradients([x, dx], mask, numbers, [g, h], gx, gdx);
        }
    });
    // SAFETY: a job for every set writes the gradients of all of its entries.
    let done = |buffer: Vec<Slot>| tensor(unsafe { written(buffer) }, x.shape());
    [wanted[0].then(|| done(gx)), (wanted[1] && dual).then(|| done(gdx)), None]
}

fn sizes(x: &FlexTensor) -> [usize; 3] {
    let shape = x.shape();
    [shape[0], shape[1], shape[2]]
}

/// Whether an entry is unmasked; always true without a mask.
#[inline(always)]
fn exists(mask: &[f32], i: usize) -> bool {
    mask.get(i).is_none_or(|p| *p > 0.5)
}

/// Number of unmasked entries among `n`.
#[inline(always)]
fn count(mask: &[f32], n: usize) -> f32 {
    (0..n).filter(|i| exists(mask, *i)).count() as f32
}

/// Parts of equal length.
#[inline(always)]
fn parts<const N: usize>(x: &[f32]) -> [&[f32]; N] {
    let f = x.len() / N;
    std::array::from_fn(|i| &x[i * f..][..f])
}

simd! {
    fn summarise(xs: [&[f32]; 2], mask: &[f32], out: &mut [Slot], dout: &mut [Slot], numbers: &mut [f32]) {
        let f = out.len() / 4;
        let rows = || xs[0].chunks_exact(f).enumerate().filter(|(i, _)| exists(mask, *i));
        let tangents = || xs[1].chunks_exact(f).enumerate().filter(|(i, _)| exists(mask, *i));
        let count = count(mask, xs[0].len() / f);
        let (mean, rest) = numbers.split_at_mut(f);
        let (dmean, rest) = rest.split_at_mut(f);
        let (slope, rest) = rest.split_at_mut(f);
        let (bend, rest) = rest.split_at_mut(f);
        let (least, largest) = rest.split_at_mut(f);
        let largest = &mut largest[..f];
        let Some((first, x)) = rows().next() else { panic!("a set without entries has no summaries") };
        let (mut min, mut max) = (x.to_vec(), x.to_vec());
        let (min, max) = (&mut min[..f], &mut max[..f]);
        least.fill(first as f32);
        largest.fill(first as f32);
        for (i, x) in rows() {
            let (x, i) = (&x[..f], i as f32);
            for j in 0..f {
                mean[j] += x[j];
                // NaN propagates to minimum and maximum.
                let (lower, higher) = (x[j] < min[j] || x[j].is_nan(), x[j] > max[j] || x[j].is_nan());
                least[j] = if lower { i } else { least[j] };
                min[j] = if lower { x[j] } else { min[j] };
                largest[j] = if higher { i } else { largest[j] };
                max[j] = if higher { x[j] } else { max[j] };
            }
        }
        mean.iter_mut().for_each(|m| *m /= count);
        for (_, x) in rows() {
            let x = &x[..f];
            for j in 0..f {
                slope[j] += (x[j] - mean[j]) * (x[j] - mean[j]);
            }
        }
        let degrees = (count - 1.0).max(1.0);
        let [to_mean, to_min, to_max, to_deviation] = four(out, f);
        for j in 0..f {
            let deviation = (slope[j] / degrees).sqrt();
            slope[j] = if deviation > 0.0 { 1.0 / (degrees * deviation) } else { 0.0 };
            to_mean[j].write(mean[j]);
            to_min[j].write(min[j]);
            to_max[j].write(max[j]);
            to_deviation[j].write(deviation);
        }
        if dout.is_empty() {
            return;
        }
        for (_, dx) in tangents() {
            dmean.iter_mut().zip(dx).for_each(|(m, dx)| *m += dx);
        }
        dmean.iter_mut().for_each(|m| *m /= count);
        for ((_, x), (_, dx)) in rows().zip(tangents()) {
            let (x, dx) = (&x[..f], &dx[..f]);
            for j in 0..f {
                bend[j] += (x[j] - mean[j]) * (dx[j] - dmean[j]);
            }
        }
        let [to_mean, to_min, to_max, to_deviation] = four(dout, f);
        for j in 0..f {
            let along = bend[j] * slope[j];
            // e / s, where 1 / s = D / (D s).
            bend[j] = along * slope[j] * degrees;
            to_mean[j].write(dmean[j]);
            to_min[j].write(xs[1][least[j] as usize * f + j]);
            to_max[j].write(xs[1][largest[j] as usize * f + j]);
            to_deviation[j].write(along);
        }
    }
}

#[inline(always)]
fn four(out: &mut [Slot], f: usize) -> [&mut [Slot]; 4] {
    let (first, second) = out.split_at_mut(2 * f);
    let ((a, b), (c, d)) = (first.split_at_mut(f), second.split_at_mut(f));
    [a, b, c, &mut d[..f]]
}

simd! {
    fn value_gradients(x: &[f32], mask: &[f32], numbers: &[f32], g: &[f32], gx: &mut [Slot]) {
        let f = g.len() / 4;
        let [mean, _, slope, _, least, largest] = parts::<KEPT>(numbers);
        let [gm, gmin, gmax, gs] = parts::<4>(g);
        let share = 1.0 / count(mask, x.len() / f);
        for (i, (x, gx)) in x.chunks_exact(f).zip(gx.chunks_exact_mut(f)).enumerate() {
            if !exists(mask, i) {
                gx.fill(Slot::new(0.0));
                continue;
            }
            let (x, gx, i) = (&x[..f], &mut gx[..f], i as f32);
            for j in 0..f {
                let extreme = if least[j] == i { gmin[j] } else { 0.0 } + if largest[j] == i { gmax[j] } else { 0.0 };
                gx[j].write(gm[j] * share + extreme + (x[j] - mean[j]) * slope[j] * gs[j]);
            }
        }
    }
}
simd! {
    fn dual_gradients(
        xs: [&[f32]; 2], mask: &[f32], numbers: &[f32], upstream: [&[f32]; 2], gx: &mut [Slot], gdx: &mut [Slot],
    ) {
        let f = upstream[0].len() / 4;
        let [mean, dmean, slope, bend, least, largest] = parts::<KEPT>(numbers);
        let [gm, gmin, gmax, gs] = parts::<4>(upstream[0]);
        let [hm, hmin, hmax, hs] = parts::<4>(upstream[1]);
        let share = 1.0 / count(mask, xs[0].len() / f);
        let rows = xs[0].chunks_exact(f).zip(xs[1].chunks_exact(f));
        let out = gx.chunks_exact_mut(f).zip(gdx.chunks_exact_mut(f));
        for (i, ((x, dx), (gx, gdx))) in rows.zip(out).enumerate() {
            if !exists(mask, i) {
                gx.fill(Slot::new(0.0));
                gdx.fill(Slot::new(0.0));
                continue;
            }
            let (x, dx, gx, gdx, i) = (&x[..f], &dx[..f], &mut gx[..f], &mut gdx[..f], i as f32);
            for j in 0..f {
                let [low, high] = [least[j] == i, largest[j] == i];
                let extreme = if low { gmin[j] } else { 0.0 } + if high { gmax[j] } else { 0.0 };
                let dextreme = if low { hmin[j] } else { 0.0 } + if high { hmax[j] } else { 0.0 };
                let a = (x[j] - mean[j]) * slope[j];
                let da = (dx[j] - dmean[j]) * slope[j] - bend[j] * a;
                gx[j].write(gm[j] * share + extreme + a * gs[j] + da * hs[j]);
                gdx[j].write(hm[j] * share + dextreme + a * hs[j]);
            }
        }
    }
}
