//! LayerNorm and RMSNorm over the last axis, with weight, bias and a modulation per batch entry, in one pass.
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
//! Without centring (RMSNorm), the means of `x`, `m` and `k` are left out.

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::Tensor;
use burn_flex::FlexTensor;

use super::buffer::{Slot, pieces, pieces_mut, run, slots, written};
use super::graph::{Maybe, maybe, operation};
use super::linear::add_rows;
use super::simd::{simd, sums};
use super::{ValueTangent, first_two, optional, pair, slice, tensor};

/// Scale and shift of a normalisation, `y = a n + o`.
#[derive(Debug, Default)]
pub struct Affine {
    /// `w`, `[features]`; `None` for 1.
    pub weight: Option<Tensor<1>>,
    /// `b`, `[features]`; `None` for 0.
    pub bias: Option<Tensor<1>>,
    /// `shift` and `scale` of every batch entry with their tangents, `[batch, 1, features]`; `None` for 0.
    pub modulation: Option<[ValueTangent<3>; 2]>,
}

/// LayerNorm if `centred`, RMSNorm otherwise.
///
/// # Shapes
/// - `x`, output: `[..., features]`; with a modulation `[batch, positions, features]`
///
/// # Panics
/// If the tensor is not [served](super::serve).
///
/// # Examples
/// Zero mean and unit variance are a fixed point.
/// ```
/// use burn::tensor::{Device, Tensor};
/// use pushforward_kernels::{Affine, norm};
///
/// let x = Tensor::<2>::from_floats([[3.0, 7.0]], &Device::flex());
/// let (y, _) = norm((x, None), Affine::default(), true, 0.0);
/// let (z, _) = norm((y.clone(), None), Affine::default(), true, 0.0);
/// assert_eq!(y.clone().into_data().iter::<f32>().collect::<Vec<_>>(), [-1.0, 1.0]);
/// assert!((y - z).abs().max().into_scalar::<f32>() < 1e-6);
/// ```
pub fn norm<const D: usize>((x, dx): ValueTangent<D>, affine: Affine, centred: bool, eps: f64) -> ValueTangent<D> {
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

/// Kept for the derivative.
#[derive(Clone, Debug)]
struct Kept {
    x: FlexTensor,
    dx: Option<FlexTensor>,
    weight: Option<FlexTensor>,
    bias: Option<FlexTensor>,
    scale: Option<FlexTensor>,
    dscale: Option<FlexTensor>,
    /// `a` of every batch entry; `da` is its tangent.
    a: Vec<f32>,
    da: Vec<f32>,
    /// For every row: mean, `r` and, with a tangent, the tangent's mean and `mean(n dc)`.
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
    fn split(self, x: &[f32], width: usize) -> impl Iterator<Item = &[f32]> {
        pieces(x, self.rows * width).flat_map(move |x| pieces(x, self.piece * width).take(self.pieces_of_entry()))
    }

    fn split_mut<T>(self, x: &mut [T], width: usize) -> impl Iterator<Item = &mut [T]> {
        pieces_mut(x, self.rows * width)
            .flat_map(move |x| pieces_mut(x, self.piece * width).take(self.pieces_of_entry()))
    }

    /// A vector per batch entry (such as `a`), repeated for every piece of the entry.
    fn spread(self, per_entry: &[f32]) -> impl Iterator<Item = &[f32]> {
        pieces(per_entry, self.features).flat_map(move |x| std::iter::repeat_n(x, self.pieces_of_entry()))
    }

    fn count(&self) -> usize {
        self.entries * self.pieces_of_entry()
    }
}

/// Weight, bias and modulation as slices, with ones and zeros for absent ones.
struct Factors {
    weight: Vec<f32>,
    bias: Vec<f32>,
    scale: Vec<f32>,
    dscale: Vec<f32>,
}

impl Factors {
    fn new(s: Sizes, [weight, bias, scale, dscale]: [&Option<FlexTensor>; 4]) -> Self {
        let or =
            |x: &Option<FlexTensor>, n: usize, absent: f32| x.as_ref().map_or(vec![absent; n], |x| slice(x).to_vec());
        let (d, all) = (s.features, s.entries * s.features);
        Self {
            weight: or(weight, d, 1.0),
            bias: or(bias, d, 0.0),
            scale: or(scale, all, 0.0),
            dscale: or(dscale, all, 0.0),
        }
    }

    /// `factor (offset + scale)` of every entry, plus `shift`.
    fn of_entries(factor: &[f32], offset: f32, scale: &[f32], shift: &[f32]) -> Vec<f32> {
        let mut out = Vec::with_capacity(scale.len());
        for scale in scale.chunks_exact(factor.len().max(1)) {
            out.extend(factor.iter().zip(scale).map(|(f, s)| f * (offset + s)));
        }
        out.iter_mut().zip(shift).for_each(|(out, shift)| *out += shift);
        out
    }
}

fn forward(inputs: [Option<FlexTensor>; 8], centred: bool, eps: f32) -> (Vec<FlexTensor>, Kept) {
    let [x, dx, weight, bias, shift, dshift, scale, dscale] = inputs;
    let x = x.expect("a value");
    let s = Sizes::new(&x, shift.as_ref());
    let d = s.features;
    let dual = dx.is_some() || dshift.is_some() || dscale.is_some();
    // If only the modulation has a tangent, that of `x` is zero.
    let dx = dual.then(|| dx.unwrap_or_else(|| tensor(vec![0.0; x.shape().num_elements()], x.shape())));
    let f = Factors::new(s, [&weight, &bias, &scale, &dscale]);
    let a = Factors::of_entries(&f.weight, 1.0, &f.scale, &[]);
    let o = Factors::of_entries(&f.bias, 1.0, &f.scale, optional(&shift));
    let of_tangent = |factor: &[f32], shift: &[f32]| {
        if dual { Factors::of_entries(factor, 0.0, &f.dscale, shift) } else { Vec::new() }
    };
    let (da, o_d) = (of_tangent(&f.weight, &[]), of_tangent(&f.bias, optional(&dshift)));
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
            dual_gradients([gy, gdy], [x, dx], [a, da], statistics, [gx, gdx], sums, centred);
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
    let f = Factors::new(s, [&weight, &bias, &scale, &dscale]);
    // Sums of one kind, entry by entry.
    let sums_of = |which: usize| {
        let zeros = vec![0.0; if which < 2 || dual { 0 } else { d }];
        let of = |entry: &[f32]| if zeros.is_empty() { entry[which * d..][..d].to_vec() } else { zeros.clone() };
        entries.chunks_exact(sums_of_piece.max(1)).flat_map(of).collect::<Vec<f32>>()
    };
    let [of_a, of_o, of_da, of_do] = [0, 1, 2, 3].map(sums_of);
    let over_entries = |of: &[f32], of_tangent: &[f32]| {
        let mut sum = vec![0.0; d];
        let rows = of.chunks_exact(d).zip(of_tangent.chunks_exact(d));
        for ((of, of_tangent), (scale, dscale)) in rows.zip(f.scale.chunks_exact(d).zip(f.dscale.chunks_exact(d))) {
            for i in 0..d {
                sum[i] += of[i] * (1.0 + scale[i]) + of_tangent[i] * dscale[i];
            }
        }
        tensor(sum, [d].into())
    };
    let of_entries = |values: Vec<f32>| tensor(values, [s.entries, 1, d].into());
    let of_scale = |of_a: &[f32], of_o: &[f32]| {
        let factors = f.weight.iter().zip(&f.bias).cycle();
        of_entries(of_a.iter().zip(of_o).zip(factors).map(|((a, o), (w, b))| a * w + o * b).collect())
    };
    [
        gx,
        gdx,
        wanted[2].then(|| over_entries(&of_a, &of_da)),
        wanted[3].then(|| over_entries(&of_o, &of_do)),
        wanted[4].then(|| of_entries(of_o.clone())),
        wanted[5].then(|| of_entries(of_do.clone())),
        wanted[6].then(|| of_scale(&of_a, &of_o)),
        wanted[7].then(|| of_scale(&of_da, &of_do)),
    ]
}

fn pieces_of(statistics: &[[f32; 4]], s: Sizes) -> impl Iterator<Item = &[[f32; 4]]> {
    statistics.chunks(s.rows.max(1)).flat_map(move |x| x.chunks(s.piece))
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
            for i in 0..d {
                sum_a[i] += g[i] * (x[i] - mean) * r;
                sum_o[i] += g[i];
            }
            let [m, mn] = sums(d, |i| {
                let m = g[i] * a[i];
                [m, m * (x[i] - mean) * r]
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
        gs: [&[f32]; 2], xs: [&[f32]; 2], affine: [&[f32]; 2], statistics: &[[f32; 4]],
        outs: [&mut [Slot]; 2], sums_of: &mut [f32], centred: bool,
    ) {
        let [gx, gdx] = outs;
        let d = affine[0].len();
        let ([a, da], inverse) = (affine.map(|x| &x[..d]), 1.0 / d as f32);
        let (sum_a, rest) = sums_of.split_at_mut(d);
        let (sum_o, rest) = rest.split_at_mut(d);
        let (sum_da, sum_do) = rest.split_at_mut(d);
        let sum_do = &mut sum_do[..d];
        let rows = (gs[0].chunks_exact(d).zip(gs[1].chunks_exact(d))).zip(xs[0].chunks_exact(d).zip(xs[1].chunks_exact(d)));
        let out = gx.chunks_exact_mut(d).zip(gdx.chunks_exact_mut(d));
        for ((((g, h), (x, dx)), (gx, gdx)), &[mean, r, dmean, along]) in rows.zip(out).zip(statistics) {
            let tangent = |i: usize, n: f32| r * (dx[i] - dmean - n * along);
            for i in 0..d {
                let n = (x[i] - mean) * r;
                sum_a[i] += g[i] * n + h[i] * tangent(i, n);
                sum_o[i] += g[i];
                sum_da[i] += h[i] * n;
                sum_do[i] += h[i];
            }
            let [m, mn, mdn] = sums(d, |i| {
                let (n, m) = ((x[i] - mean) * r, h[i] * a[i]);
                [m, m * n, m * tangent(i, n)]
            }).map(|s| s * inverse);
            let m = if centred { m } else { 0.0 };
            let k_of = |i: usize| g[i] * a[i] + h[i] * da[i] - r * (along * h[i] * a[i] + mn * dx[i]);
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
