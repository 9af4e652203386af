//! Normalisation over the last axis, with weights, offset and a modulation per batch entry, in one pass.
//!
//! ```text
//! c = x - mean(x), or x     r = (mean(c^2) + eps)^(-1/2)     n = r c         dn = r (dc - n mean(n dc))
//! y  = a n + o              a = w (1 + scale)                o = b (1 + scale) + shift
//! dy = a dn + da n + do     da = w dscale                    do = b dscale + dshift
//! ```
//!
//! `d` is the tangent. With gradients `g = gy`, `h = gdy` and `m = a h`:
//!
//! ```text
//! gdx = r (m - mean(m) - n mean(m n))
//! k = a g + da h - r mean(n dc) m - r mean(m n) dx
//! gx = r (k - mean(k) - n (mean(k n) + mean(m dn)))
//! ga = sum(g n + h dn)      go = sum(g)      gda = sum(h n)      gdo = sum(h)          over the rows of a batch entry
//! ```
//!
//! Without centring the means of `x`, `m` and `k` are left out.

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::Tensor;
use burn_flex::FlexTensor;

use super::buffer::{Slot, pieces, pieces_mut, run, slots, written};
use super::graph::{Maybe, maybe, operation};
use super::linear::add_rows;
use super::simd::{LANES, simd};
use super::{Pair, first_two, optional, pair, slice, tensor};

/// How a normalisation is scaled and shifted.
#[derive(Debug, Default)]
pub struct Affine {
    /// `w`, `[features]`; one where it is absent.
    pub weight: Option<Tensor<1>>,
    /// `b`, `[features]`; zero where it is absent.
    pub bias: Option<Tensor<1>>,
    /// `shift` and `scale` of every batch entry with their tangents, `[batch, 1, features]`.
    pub modulation: Option<[Pair<3>; 2]>,
}

/// LayerNorm where `centred`, RMSNorm otherwise; see [`crate::nn::norm`] and [`crate::nn::modulation`].
///
/// # Shapes
/// - `x`, output: `[..., features]`; with a modulation `[batch, positions, features]`
///
/// # Panics
/// If the tensor is not [served](super::serve).
pub fn norm<const D: usize>((x, dx): Pair<D>, affine: Affine, centred: bool, eps: f64) -> Pair<D> {
    let [(shift, dshift), (scale, dscale)] = match affine.modulation {
        Some([(shift, dshift), (scale, dscale)]) => [(Some(shift), dshift), (Some(scale), dscale)],
        None => [(None, None), (None, None)],
    };
    pair(Dispatch::normalised(
        x.into_dispatch(),
        maybe(dx),
        maybe(affine.weight),
        maybe(affine.bias),
        maybe(shift),
        maybe(dshift),
        maybe(scale),
        maybe(dscale),
        centred,
        eps as f32,
    ))
}

/// Normalisations as operations of a backend.
#[backend_extension(Flex, Autodiff)]
#[expect(clippy::too_many_arguments, reason = "one operation of eight tensors, five of which may be absent")]
pub(super) trait NormOps: Backend {
    /// See [`norm`].
    fn normalised(
        x: FloatTensor<Self>,
        #[extension_type] dx: Maybe<Self>,
        #[extension_type] weight: Maybe<Self>,
        #[extension_type] bias: Maybe<Self>,
        #[extension_type] shift: Maybe<Self>,
        #[extension_type] dshift: Maybe<Self>,
        #[extension_type] scale: Maybe<Self>,
        #[extension_type] dscale: Maybe<Self>,
        centred: bool,
        eps: f32,
    ) -> (FloatTensor<Self>, Option<FloatTensor<Self>>);
}

impl NormOps for Flex {
    fn normalised(
        x: FlexTensor,
        dx: Maybe<Self>,
        weight: Maybe<Self>,
        bias: Maybe<Self>,
        shift: Maybe<Self>,
        dshift: Maybe<Self>,
        scale: Maybe<Self>,
        dscale: Maybe<Self>,
        centred: bool,
        eps: f32,
    ) -> (FlexTensor, Option<FlexTensor>) {
        let rest = [dx, weight, bias, shift, dshift, scale, dscale];
        let [dx, weight, bias, shift, dshift, scale, dscale] = rest.map(|x| x.into_option().map(super::contiguous));
        let inputs = [Some(super::contiguous(x)), dx, weight, bias, shift, dshift, scale, dscale];
        first_two(forward(inputs, centred, eps).0)
    }
}

impl<C: CheckpointStrategy> NormOps for Autodiff<Flex, C> {
    fn normalised(
        x: FloatTensor<Self>,
        dx: Maybe<Self>,
        weight: Maybe<Self>,
        bias: Maybe<Self>,
        shift: Maybe<Self>,
        dshift: Maybe<Self>,
        scale: Maybe<Self>,
        dscale: Maybe<Self>,
        centred: bool,
        eps: f32,
    ) -> (FloatTensor<Self>, Option<FloatTensor<Self>>) {
        let rest = [dx, weight, bias, shift, dshift, scale, dscale];
        let [dx, weight, bias, shift, dshift, scale, dscale] = rest.map(Maybe::into_option);
        let inputs = [Some(x), dx, weight, bias, shift, dshift, scale, dscale];
        first_two(operation::<C, _, 8>(inputs, |inputs, _| forward(inputs, centred, eps), backward))
    }
}

/// What the derivative needs.
#[derive(Clone, Debug)]
struct Kept {
    x: FlexTensor,
    dx: Option<FlexTensor>,
    weight: Option<FlexTensor>,
    bias: Option<FlexTensor>,
    scale: Option<FlexTensor>,
    dscale: Option<FlexTensor>,
    /// `a` and `da` of every batch entry.
    a: Vec<f32>,
    da: Vec<f32>,
    /// Of every row: mean, `r` and, with a tangent, the tangent's mean and `mean(n dc)`.
    statistics: Vec<[f32; 4]>,
    centred: bool,
}

/// Batch entries, rows of each, features, and rows per piece; pieces do not cross entries.
#[derive(Clone, Copy)]
struct Sizes {
    entries: usize,
    rows: usize,
    features: usize,
    piece: usize,
}

impl Sizes {
    fn new(x: &FlexTensor, modulation: Option<&FlexTensor>) -> Self {
        let shape = x.shape();
        let features = shape[shape.num_dims() - 1];
        let entries = modulation.map_or(1, |m| m.shape()[0]);
        let rows = shape.num_elements() / (features * entries).max(1);
        Self { entries, rows, features, piece: rows.clamp(1, 64) }
    }

    fn work(&self) -> usize {
        self.entries * self.rows * self.features
    }

    fn pieces_of_entry(&self) -> usize {
        self.rows.div_ceil(self.piece)
    }

    /// Pieces of a tensor with `width` numbers a row, entry by entry.
    fn split<'a>(self, x: &'a [f32], width: usize) -> impl Iterator<Item = &'a [f32]> {
        pieces(x, self.rows * width).flat_map(move |x| pieces(x, self.piece * width).take(self.pieces_of_entry()))
    }

    fn split_mut<'a, T>(self, x: &'a mut [T], width: usize) -> impl Iterator<Item = &'a mut [T]> {
        pieces_mut(x, self.rows * width)
            .flat_map(move |x| pieces_mut(x, self.piece * width).take(self.pieces_of_entry()))
    }

    /// `a` and such for every piece.
    fn spread<'a>(self, per_entry: &'a [f32]) -> impl Iterator<Item = &'a [f32]> {
        pieces(per_entry, self.features).flat_map(move |x| std::iter::repeat_n(x, self.pieces_of_entry()))
    }

    fn count(&self) -> usize {
        self.entries * self.pieces_of_entry()
    }
}

/// `f(weight or bias, scale of an entry)` for all entries.
fn per_entry(s: Sizes, f: impl Fn(usize, usize) -> f32) -> Vec<f32> {
    (0..s.entries).flat_map(|e| (0..s.features).map(move |i| (e, i))).map(|(e, i)| f(i, e * s.features + i)).collect()
}

fn forward(inputs: [Option<FlexTensor>; 8], centred: bool, eps: f32) -> (Vec<FlexTensor>, Kept) {
    let [x, dx, weight, bias, shift, dshift, scale, dscale] = inputs;
    let x = x.expect("a value");
    let s = Sizes::new(&x, shift.as_ref());
    let d = s.features;
    let dual = dx.is_some() || dshift.is_some() || dscale.is_some();
    // A constant has a tangent of zeros where the modulation has one that is not.
    let dx = dual.then(|| dx.unwrap_or_else(|| tensor(vec![0.0; x.shape().num_elements()], x.shape())));
    let at = |x: &Option<FlexTensor>, i: usize, absent: f32| x.as_ref().map_or(absent, |x| slice(x)[i]);
    let a = per_entry(s, |i, e| at(&weight, i, 1.0) * (1.0 + at(&scale, e, 0.0)));
    let o = per_entry(s, |i, e| at(&bias, i, 0.0) * (1.0 + at(&scale, e, 0.0)) + at(&shift, e, 0.0));
    let (da, o_d) = if dual {
        (
            per_entry(s, |i, e| at(&weight, i, 1.0) * at(&dscale, e, 0.0)),
            per_entry(s, |i, e| at(&bias, i, 0.0) * at(&dscale, e, 0.0) + at(&dshift, e, 0.0)),
        )
    } else {
        (Vec::new(), Vec::new())
    };
    let n = x.shape().num_elements();
    let (mut y, mut dy) = (slots(n), slots(if dual { n } else { 0 }));
    let mut statistics = vec![[0.0; 4]; s.entries * s.rows];
    let jobs = (s.split(slice(&x), d).zip(s.split(optional(&dx), d)))
        .zip(s.spread(&a).zip(s.spread(&o)))
        .zip(s.spread(&da).zip(s.spread(&o_d)))
        .zip(s.split_mut(&mut y, d).zip(s.split_mut(&mut dy, d)))
        .zip(s.split_mut(&mut statistics, 1))
        .take(s.count());
    run(s.work(), jobs, |(((((x, dx), (a, o)), (da, o_d)), (y, dy)), statistics)| {
        if dx.is_empty() {
            value_rows(x, a, o, y, statistics, centred, eps);
        } else {
            dual_rows([x, dx], [a, o, da, o_d], y, dy, statistics, centred, eps);
        }
    });
    // SAFETY: the jobs cover all rows, and each writes all rows of its pieces.
    let done = |buffer: Vec<Slot>| tensor(unsafe { written(buffer) }, x.shape());
    let outputs = std::iter::once(done(y)).chain(dual.then(|| done(dy))).collect();
    (outputs, Kept { x, dx, weight, bias, scale, dscale, a, da, statistics, centred })
}

fn backward(kept: Kept, gradients: Vec<Option<FlexTensor>>, wanted: [bool; 8]) -> [Option<FlexTensor>; 8] {
    let Kept { x, dx, weight, bias, scale, dscale, a, da, statistics, centred } = kept;
    let s = Sizes::new(&x, scale.as_ref());
    let d = s.features;
    let n = x.shape().num_elements();
    let mut gradients = gradients.into_iter();
    let (gy, gdy) = (gradients.next().flatten(), gradients.next().flatten());
    let dual = gdy.is_some();
    let gy = gy.unwrap_or_else(|| tensor(vec![0.0; n], x.shape()));
    let (mut gx, mut gdx) = (slots(n), slots(if dual { n } else { 0 }));
    // Sums over the rows of a piece: of a, o, da and do, one after the other.
    let sums_of_piece = if dual { 4 * d } else { 2 * d };
    let mut sums = vec![0.0; s.count() * sums_of_piece];
    let jobs = (s.split(slice(&gy), d).zip(s.split(optional(&gdy), d)))
        .zip(s.split(slice(&x), d).zip(s.split(optional(&dx), d)))
        .zip(s.spread(&a).zip(s.spread(&da)))
        .zip(s.split_mut(&mut gx, d).zip(s.split_mut(&mut gdx, d)))
        .zip(pieces_mut(&mut sums, sums_of_piece))
        .zip(pieces_of(&statistics, s))
        .take(s.count());
    run(s.work() * 2, jobs, |((((((gy, gdy), (x, dx)), (a, da)), (gx, gdx)), sums), statistics)| {
        if gdy.is_empty() {
            value_gradients(gy, x, a, statistics, gx, sums, centred);
        } else {
            dual_gradients([gy, gdy], [x, dx], [a, da], statistics, gx, gdx, sums, centred);
        }
    });
    // SAFETY: the jobs cover all rows, and each writes all rows of its pieces.
    let done = |buffer: Vec<Slot>| tensor(unsafe { written(buffer) }, x.shape());
    let gdx = (dual && wanted[1]).then(|| done(gdx));
    let gx = wanted[0].then(|| done(gx));
    // One row of sums per entry.
    let mut entries = vec![0.0; s.entries * sums_of_piece];
    for (entry, pieces) in
        entries.chunks_mut(sums_of_piece.max(1)).zip(sums.chunks(s.pieces_of_entry().max(1) * sums_of_piece.max(1)))
    {
        add_rows(pieces, entry);
    }
    let sum = |entry: usize, which: usize, i: usize| {
        if which < 2 || dual { entries[entry * sums_of_piece + which * d + i] } else { 0.0 }
    };
    let at = |x: &Option<FlexTensor>, i: usize, absent: f32| x.as_ref().map_or(absent, |x| slice(x)[i]);
    // Gradient of the weight from that of a, and of the bias from that of o.
    let over_entries = |which: usize| {
        let of = |i: usize| {
            let term = |e: usize| {
                let (scale, dscale) = (at(&scale, e * d + i, 0.0), at(&dscale, e * d + i, 0.0));
                sum(e, which, i) * (1.0 + scale) + sum(e, which + 2, i) * dscale
            };
            (0..s.entries).map(term).sum()
        };
        tensor((0..d).map(of).collect(), [d].into())
    };
    let of_entries = |f: &dyn Fn(usize, usize) -> f32| {
        let values = (0..s.entries).flat_map(|e| (0..d).map(move |i| (e, i))).map(|(e, i)| f(e, i)).collect();
        tensor(values, [s.entries, 1, d].into())
    };
    let of_scale = |which: usize| {
        of_entries(&|e, i| sum(e, which, i) * at(&weight, i, 1.0) + sum(e, which + 1, i) * at(&bias, i, 0.0))
    };
    [
        gx,
        gdx,
        wanted[2].then(|| over_entries(0)),
        wanted[3].then(|| over_entries(1)),
        wanted[4].then(|| of_entries(&|e, i| sum(e, 1, i))),
        wanted[5].then(|| of_entries(&|e, i| sum(e, 3, i))),
        wanted[6].then(|| of_scale(0)),
        wanted[7].then(|| of_scale(2)),
    ]
}

fn pieces_of(statistics: &[[f32; 4]], s: Sizes) -> impl Iterator<Item = &[[f32; 4]]> {
    statistics.chunks(s.rows.max(1)).flat_map(move |x| x.chunks(s.piece))
}

/// Sums of `N` terms over `0..n`, with the terms of every lane added in order.
#[inline(always)]
pub(super) fn sums<const N: usize>(n: usize, mut term: impl FnMut(usize) -> [f32; N]) -> [f32; N] {
    let mut lanes = [[0.0f32; LANES]; N];
    let whole = n - n % LANES;
    let mut start = 0;
    while start < whole {
        for lane in 0..LANES {
            let terms = term(start + lane);
            for i in 0..N {
                lanes[i][lane] += terms[i];
            }
        }
        start += LANES;
    }
    let mut total = [0.0; N];
    for i in 0..N {
        total[i] = lanes[i].iter().sum();
    }
    for index in whole..n {
        let terms = term(index);
        for i in 0..N {
            total[i] += terms[i];
        }
    }
    total
}

simd! {
    fn value_rows(
        x: &[f32], a: &[f32], o: &[f32], y: &mut [Slot], statistics: &mut [[f32; 4]], centred: bool, eps: f32,
    ) {
        let d = a.len();
        let (o, inverse) = (&o[..d], 1.0 / d as f32);
        for ((x, y), statistics) in x.chunks_exact(d).zip(y.chunks_exact_mut(d)).zip(statistics) {
            let mean = if centred { sums(d, |i| [x[i]])[0] * inverse } else { 0.0 };
            let [square] = sums(d, |i| [(x[i] - mean) * (x[i] - mean)]);
            let r = 1.0 / (square * inverse + eps).sqrt();
            *statistics = [mean, r, 0.0, 0.0];
            for i in 0..d {
                y[i].write((x[i] - mean) * r * a[i] + o[i]);
            }
        }
    }
}

simd! {
    fn dual_rows(
        xs: [&[f32]; 2], affine: [&[f32]; 4], y: &mut [Slot], dy: &mut [Slot], statistics: &mut [[f32; 4]],
        centred: bool, eps: f32,
    ) {
        let d = affine[0].len();
        let ([a, o, da, o_d], inverse) = (affine.map(|x| &x[..d]), 1.0 / d as f32);
        for (((x, dx), (y, dy)), statistics) in (xs[0].chunks_exact(d).zip(xs[1].chunks_exact(d)))
            .zip(y.chunks_exact_mut(d).zip(dy.chunks_exact_mut(d)))
            .zip(statistics)
        {
            let [mean, dmean] = if centred { sums(d, |i| [x[i], dx[i]]).map(|s| s * inverse) } else { [0.0; 2] };
            let [square, along] = sums(d, |i| {
                let c = x[i] - mean;
                [c * c, c * (dx[i] - dmean)]
            });
            let r = 1.0 / (square * inverse + eps).sqrt();
            let along = along * inverse * r;
            *statistics = [mean, r, dmean, along];
            for i in 0..d {
                let n = (x[i] - mean) * r;
                let dn = r * (dx[i] - dmean - n * along);
                y[i].write(n * a[i] + o[i]);
                dy[i].write(dn * a[i] + n * da[i] + o_d[i]);
            }
        }
    }
}

simd! {
    fn value_gradients(
        gy: &[f32], x: &[f32], a: &[f32], statistics: &[[f32; 4]], gx: &mut [Slot], sums_of: &mut [f32], centred: bool,
    ) {
        let d = a.len();
        let inverse = 1.0 / d as f32;
        let (sum_a, sum_o) = sums_of.split_at_mut(d);
        let sum_o = &mut sum_o[..d];
        for (((g, x), gx), &[mean, r, ..]) in
            gy.chunks_exact(d).zip(x.chunks_exact(d)).zip(gx.chunks_exact_mut(d)).zip(statistics)
        {
            let [m, mn] = sums(d, |i| {
                let (n, m) = ((x[i] - mean) * r, g[i] * a[i]);
                sum_a[i] += g[i] * n;
                sum_o[i] += g[i];
                [m, m * n]
            });
            let (m, mn) = (if centred { m * inverse } else { 0.0 }, mn * inverse);
            for i in 0..d {
                let n = (x[i] - mean) * r;
                gx[i].write(r * (g[i] * a[i] - m - n * mn));
            }
        }
    }
}

simd! {
    fn dual_gradients(
        gs: [&[f32]; 2], xs: [&[f32]; 2], affine: [&[f32]; 2], statistics: &[[f32; 4]], gx: &mut [Slot],
        gdx: &mut [Slot], sums_of: &mut [f32], centred: bool,
    ) {
        let d = affine[0].len();
        let ([a, da], inverse) = (affine.map(|x| &x[..d]), 1.0 / d as f32);
        let (sum_a, rest) = sums_of.split_at_mut(d);
        let (sum_o, rest) = rest.split_at_mut(d);
        let (sum_da, sum_do) = rest.split_at_mut(d);
        let sum_do = &mut sum_do[..d];
        let rows = (gs[0].chunks_exact(d).zip(gs[1].chunks_exact(d))).zip(xs[0].chunks_exact(d).zip(xs[1].chunks_exact(d)));
        let out = gx.chunks_exact_mut(d).zip(gdx.chunks_exact_mut(d));
        for ((((g, h), (x, dx)), (gx, gdx)), &[mean, r, dmean, along]) in rows.zip(out).zip(statistics) {
            let [m, mn, mdn] = sums(d, |i| {
                let n = (x[i] - mean) * r;
                let dn = r * (dx[i] - dmean - n * along);
                let m = h[i] * a[i];
                sum_a[i] += g[i] * n + h[i] * dn;
                sum_o[i] += g[i];
                sum_da[i] += h[i] * n;
                sum_do[i] += h[i];
                [m, m * n, m * dn]
            }).map(|s| s * inverse);
            let m = if centred { m } else { 0.0 };
            let k_of = |i: usize| {
                let tangent = r * (along * h[i] * a[i] + mn * dx[i]);
                g[i] * a[i] + h[i] * da[i] - tangent
            };
            let [k, kn] = sums(d, |i| {
                let (n, k) = ((x[i] - mean) * r, k_of(i));
                [k, k * n]
            }).map(|s| s * inverse);
            let k = if centred { k } else { 0.0 };
            for i in 0..d {
                let n = (x[i] - mean) * r;
                gx[i].write(r * (k_of(i) - k - n * (kn + mdn)));
                gdx[i].write(r * (h[i] * a[i] - m - n * mn));
            }
        }
    }
}
