//! Multi-head attention on packed projections, with rotary positions, for values and tangents.
//!
//! ```text
//! Q, K: rotated by position, Q / sqrt(head width)      S = Q K^T + bias     P = softmax(S)     O = P V
//! dS = dQ K^T + Q dK^T + dbias       dP = P (dS - rowsum(P dS))     dO = dP V + P dV
//! ```
//!
//! With gradients `G = gO`, `H = gdO`, and sums over rows `<.,.>`:
//!
//! ```text
//! B = H V^T        A = G V^T + H dV^T + B (dS - <P,dS>) - <P,B> dS
//! gdS = P (B - <P,B>)        gS = P (A - <P,A>)
//! gQ = gS K + gdS dK         gdQ = gdS K         gK = gS^T Q + gdS^T dQ         gdK = gdS^T Q
//! gV = P^T G + dP^T H        gdV = P^T H         gbias = gS       gdbias = gdS
//! ```
//!
//! Scores are held for one block of queries of one head at a time and recomputed in the derivative.
//!
//! References: Dao et al. 2022 (arXiv:2205.14135) for the recomputation; Su et al. 2021 (arXiv:2104.09864) for the positions.

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::Tensor;
use burn_flex::FlexTensor;

use super::buffer::{Scattered, Slot, run, slots, written};
use super::gemm::{Factor, filled, gemm_add};
use super::graph::{Maybe, maybe, operation};
use super::matrix::Matrix;
use super::precision::Precision;
use super::simd::{exp, fetch, simd, sums};
use super::softmax::largest;
use super::{ValueTangent, first_two, pair, slice, tensor};

/// Multi-head attention with optional bias, rotary positions and key mask.
///
/// # Shapes
/// - `qkv`: `[batch, positions, 3 width]`: queries, keys and values, each with its heads concatenated
/// - `bias`: `[batch, heads, positions, positions]`, added to the scores; rows are queries
/// - `rotary`: `[2, 1, positions, width / heads / 2]`, cosines and sines of the rotation angles
/// - `keys`: `[batch, positions]`, 1 for keys that may be attended to and 0 for others; at least one 1 per row
/// - output: `[batch, positions, width]`
///
/// # Panics
/// If the tensor is not [served](super::serve), or the heads do not divide the width.
///
/// # Examples
/// With a single visible key, every output is that key's value.
/// ```
/// use burn::tensor::{Device, Tensor};
/// use pushforward_kernels::attention;
///
/// let device = Device::flex();
/// // Two positions of width 1: query, key, value.
/// let qkv = Tensor::<3>::from_floats([[[0.3, 1.0, 5.0], [0.7, 2.0, 9.0]]], &device);
/// let keys = Tensor::<2>::from_floats([[0.0, 1.0]], &device);
/// let (o, _) = attention((qkv, None), 1, None, None, Some(keys));
/// assert_eq!(o.into_data().iter::<f32>().collect::<Vec<_>>(), [9.0, 9.0]);
/// ```
pub fn attention(
    (qkv, dqkv): ValueTangent<3>,
    heads: usize,
    bias: Option<ValueTangent<4>>,
    rotary: Option<Tensor<4>>,
    keys: Option<Tensor<2>>,
) -> ValueTangent<3> {
    let [b, n, width] = qkv.dims();
    assert!(
        heads > 0 && width.is_multiple_of(3 * heads),
        "{heads} heads must divide queries, keys and values of {width}"
    );
    let head = width / 3 / heads;
    let (bias, dbias) = bias.map_or((None, None), |(bias, dbias)| (Some(bias), dbias));
    if let Some(bias) = &bias {
        assert_eq!(bias.dims(), [b, heads, n, n], "a number for every score");
    }
    // If one of the two tangents is given, the other is zero.
    let dqkv = dqkv.or_else(|| dbias.is_some().then(|| qkv.zeros_like()));
    let dbias = dbias.or_else(|| bias.as_ref().filter(|_| dqkv.is_some()).map(Tensor::zeros_like));
    if let Some(rotary) = &rotary {
        assert!(head.is_multiple_of(2), "rotary positions need an even head width, found {head}");
        assert_eq!(rotary.dims(), [2, 1, n, head / 2], "a cosine and a sine per position and pair of features");
    }
    if let Some(keys) = &keys {
        assert_eq!(keys.dims(), [b, n], "a key mask of [batch, positions]");
    }
    pair(Dispatch::packed_attention(
        qkv.into_dispatch(),
        maybe(dqkv),
        maybe(bias),
        maybe(dbias),
        maybe(rotary),
        maybe(keys),
        heads,
    ))
}

/// Attention as an operation of a backend.
#[backend_extension(Flex, Autodiff)]
pub(super) trait AttentionOps: Backend {
    /// See [`attention`].
    fn packed_attention(
        qkv: FloatTensor<Self>,
        #[extension_type] dqkv: Maybe<Self>,
        #[extension_type] bias: Maybe<Self>,
        #[extension_type] dbias: Maybe<Self>,
        #[extension_type] rotary: Maybe<Self>,
        #[extension_type] keys: Maybe<Self>,
        heads: usize,
    ) -> (FloatTensor<Self>, Option<FloatTensor<Self>>);
}

impl AttentionOps for Flex {
    fn packed_attention(
        qkv: FlexTensor,
        dqkv: Maybe<Self>,
        bias: Maybe<Self>,
        dbias: Maybe<Self>,
        rotary: Maybe<Self>,
        keys: Maybe<Self>,
        heads: usize,
    ) -> (FlexTensor, Option<FlexTensor>) {
        let [dqkv, bias, dbias, rotary, keys] =
            [dqkv, bias, dbias, rotary, keys].map(|x| x.into_option().map(super::contiguous));
        first_two(forward([Some(super::contiguous(qkv)), dqkv, bias, dbias, rotary, keys], heads, false).0)
    }
}

impl<C: CheckpointStrategy> AttentionOps for Autodiff<Flex, C> {
    fn packed_attention(
        qkv: FloatTensor<Self>,
        dqkv: Maybe<Self>,
        bias: Maybe<Self>,
        dbias: Maybe<Self>,
        rotary: Maybe<Self>,
        keys: Maybe<Self>,
        heads: usize,
    ) -> (FloatTensor<Self>, Option<FloatTensor<Self>>) {
        let [dqkv, bias, dbias, rotary, keys] = [dqkv, bias, dbias, rotary, keys].map(Maybe::into_option);
        let inputs = [Some(qkv), dqkv, bias, dbias, rotary, keys];
        first_two(operation::<C, _, 6>(inputs, |inputs, keep| forward(inputs, heads, keep), backward))
    }
}

/// Prefetch distance in rows.
const AHEAD: usize = 12;

/// Queries per block of scores.
const BLOCK: usize = 128;

/// The inputs and, for the derivative, the log-sum-exp of every row of scores.
#[derive(Clone, Debug)]
struct Kept {
    qkv: FlexTensor,
    dqkv: Option<FlexTensor>,
    bias: Option<FlexTensor>,
    dbias: Option<FlexTensor>,
    /// Cosines, then sines.
    rotary: Option<FlexTensor>,
    keys: Option<FlexTensor>,
    heads: usize,
    precision: Precision,
    log_sums: Vec<f32>,
}

/// Sizes and layout of the heads in the packed projections.
#[derive(Clone, Copy)]
struct Layout<'a> {
    batch: usize,
    positions: usize,
    heads: usize,
    /// Features of a head.
    head: usize,
    cos: &'a [f32],
    sin: &'a [f32],
    precision: Precision,
}

/// Queries, keys and values of one head, or their tangents or gradients, `[positions, head]` each.
struct Head {
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
}

impl<'a> Layout<'a> {
    fn new(qkv: &FlexTensor, rotary: &'a Option<FlexTensor>, heads: usize, precision: Precision) -> Self {
        let shape = qkv.shape();
        let rotary = super::optional(rotary);
        let (cos, sin) = rotary.split_at(rotary.len() / 2);
        Self { batch: shape[0], positions: shape[1], heads, head: shape[2] / 3 / heads, cos, sin, precision }
    }

    fn width(&self) -> usize {
        self.heads * self.head
    }

    /// Estimated nanoseconds of one product of scores for all heads.
    fn work(&self) -> usize {
        self.batch * self.heads * self.positions * (self.positions + 16) * self.head / 30
    }

    /// Offset of a part (0 queries, 1 keys, 2 values) of a head in the packed projections.
    fn start(&self, entry: usize, head: usize, part: usize) -> usize {
        entry * self.positions * 3 * self.width() + part * self.width() + head * self.head
    }

    fn load(&self, packed: &[f32], entry: usize, head: usize) -> Head {
        let part = |part: usize, scale: f32| {
            let mut out = slots(self.positions * self.head);
            let from = &packed[self.start(entry, head, part)..];
            for (position, out) in out.chunks_exact_mut(self.head.max(1)).enumerate() {
                // The stride is too large for the hardware prefetcher.
                fetch(from, (position + AHEAD) * 3 * self.width(), self.head);
                let row = &from[position * 3 * self.width()..][..self.head];
                if part == 2 || self.cos.is_empty() {
                    copy(row, out, scale);
                } else {
                    let half = self.head / 2;
                    let [cos, sin] = [self.cos, self.sin].map(|x| &x[position * half..][..half]);
                    rotate(row, out, cos, sin, scale);
                }
            }
            // SAFETY: both branches write every row.
            unsafe { written(out) }
        };
        Head { q: part(0, self.query_scale()), k: part(1, 1.0), v: part(2, 1.0) }
    }

    /// Transpose of `load`: writes the gradient of a head to that of the packed projections.
    ///
    /// # Safety
    /// No other job writes this head of this entry.
    unsafe fn store(&self, gradient: &Head, out: &Scattered<'_>, entry: usize, head: usize) {
        for (part, from, scale) in [(0, &gradient.q, self.query_scale()), (1, &gradient.k, 1.0), (2, &gradient.v, 1.0)]
        {
            for (position, row) in from.chunks_exact(self.head.max(1)).enumerate() {
                let start = self.start(entry, head, part) + position * 3 * self.width();
                // SAFETY: the caller's job is the only one of this head, and writes each row once.
                let out = unsafe { out.at(start, self.head) };
                if part == 2 || self.cos.is_empty() {
                    copy(row, out, scale);
                } else {
                    let half = self.head / 2;
                    let [cos, sin] = [self.cos, self.sin].map(|x| &x[position * half..][..half]);
                    rotate_back(row, out, cos, sin, scale);
                }
            }
        }
    }

    fn query_scale(&self) -> f32 {
        (self.head as f32).powf(-0.5)
    }

    fn empty(&self) -> Head {
        let zeros = || vec![0.0; self.positions * self.head];
        Head { q: zeros(), k: zeros(), v: zeros() }
    }

    /// Blocks of queries as (first, count).
    fn blocks(&self) -> impl Iterator<Item = (usize, usize)> {
        let n = self.positions;
        (0..n).step_by(BLOCK).map(move |start| (start, BLOCK.min(n - start)))
    }

    /// A job's scores from row `first` on; empty if `of` is empty.
    fn scores<'b>(&self, of: &'b [f32], job: usize, first: usize) -> &'b [f32] {
        of.get((job * self.positions + first) * self.positions..).unwrap_or_default()
    }

    /// Rows of a part of a head, from `first` on.
    fn rows<'b>(&self, x: &'b [f32], first: usize) -> Matrix<'b> {
        Matrix::rows(&x[first * self.head..], self.head)
    }

    /// All rows of a part of a head as a second factor.
    fn factor<'b>(&self, x: &'b [f32]) -> Factor<'b> {
        Factor::in_place(self.rows(x, 0), self.positions, self.head, self.precision)
    }

    /// The transpose of [`factor`](Self::factor).
    fn transposed<'b>(&self, x: &'b [f32]) -> Factor<'b> {
        Factor::packed(self.rows(x, 0).transposed(), self.head, self.positions, self.precision)
    }

    /// Some rows as a second factor.
    fn block<'b>(&self, x: &'b [f32], first: usize, count: usize) -> Factor<'b> {
        Factor::in_place(self.rows(x, first), count, self.head, self.precision)
    }
}

fn forward(inputs: [Option<FlexTensor>; 6], heads: usize, keep: bool) -> (Vec<FlexTensor>, Kept) {
    let [qkv, dqkv, bias, dbias, rotary, keys] = inputs;
    let qkv = qkv.expect("a value");
    let precision = Precision::current();
    let l = Layout::new(&qkv, &rotary, heads, precision);
    let (n, d, width) = (l.positions, l.head, l.width());
    let (packed, tangent, mask) = (slice(&qkv), dqkv.as_ref().map(slice), super::optional(&keys));
    let (added, dadded) = (super::optional(&bias), super::optional(&dbias));
    let size = l.batch * n * width;
    let (mut o, mut d_o) = (slots(size), slots(if tangent.is_some() { size } else { 0 }));
    let mut log_sums = vec![0.0; if keep { l.batch * heads * n } else { 0 }];
    let (o_at, do_at) = (Scattered::new(&mut o), Scattered::new(&mut d_o));
    let rows = |at: &Scattered<'_>, entry: usize, head: usize, first: usize, from: &[f32], scales: &[f32]| {
        for (i, from) in from.chunks_exact(d).enumerate() {
            // SAFETY: only this job writes this head of this entry, each row once.
            let out = unsafe { at.at((entry * n + first + i) * width + head * d, d) };
            copy(from, out, scales.get(i).copied().unwrap_or(1.0));
        }
    };
    let sums_of = super::buffer::pieces_mut(&mut log_sums, n);
    let jobs = (0..l.batch * heads).zip(sums_of);
    run(l.work() * if tangent.is_some() { 5 } else { 2 }, jobs, |(job, log_sums)| {
        let (entry, head) = (job / heads, job % heads);
        let x = l.load(packed, entry, head);
        let dx = tangent.map(|t| l.load(t, entry, head));
        let mut scratch = slots(if dx.is_some() { 2 } else { 1 } * BLOCK.min(n) * n);
        let mut out = slots(BLOCK.min(n) * d);
        let mut scales = [0.0; BLOCK];
        let (p, ds) = scratch.split_at_mut(BLOCK.min(n) * n);
        let (keys, values) = (l.transposed(&x.k), l.factor(&x.v));
        let dual = dx.as_ref().map(|dx| (l.transposed(&dx.k), l.factor(&dx.v), &dx.q));
        for (first, m) in l.blocks() {
            let (out, scales) = (&mut out[..m * d], &mut scales[..m]);
            let p = filled(&mut p[..m * n], m, l.rows(&x.q, first), &keys);
            add_bias(p, l.scores(added, job, first));
            mask_rows(p, mask, entry, n);
            exponentials(p, scales, log_sums.get_mut(first..first + m).unwrap_or_default(), n);
            let Some((dkeys, dvalues, dq)) = &dual else {
                rows(&o_at, entry, head, first, filled(out, m, Matrix::rows(p, n), &values), scales);
                continue;
            };
            let ds = filled(&mut ds[..m * n], m, l.rows(dq, first), &keys);
            gemm_add(ds, n, m, l.rows(&x.q, first), dkeys);
            add_bias(ds, l.scores(dadded, job, first));
            softmax_tangents(p, ds, scales, n);
            rows(&o_at, entry, head, first, filled(out, m, Matrix::rows(p, n), &values), &[]);
            let out = filled(out, m, Matrix::rows(ds, n), &values);
            gemm_add(out, d, m, Matrix::rows(p, n), dvalues);
            rows(&do_at, entry, head, first, out, &[]);
        }
    });
    // SAFETY: the jobs cover all heads of all entries, and each writes all of its rows.
    let done = |buffer: Vec<Slot>| tensor(unsafe { written(buffer) }, [l.batch, n, width].into());
    let outputs = std::iter::once(done(o)).chain(dqkv.is_some().then(|| done(d_o))).collect();
    (outputs, Kept { qkv, dqkv, bias, dbias, rotary, keys, heads, precision, log_sums })
}

fn backward(kept: Kept, gradients: Vec<Option<FlexTensor>>, wanted: [bool; 6]) -> [Option<FlexTensor>; 6] {
    let Kept { qkv, dqkv, bias, dbias, rotary, keys, heads, precision, log_sums } = kept;
    let l = Layout::new(&qkv, &rotary, heads, precision);
    let (n, d, width) = (l.positions, l.head, l.width());
    let mut gradients = gradients.into_iter();
    let (g, h) = (gradients.next().flatten(), gradients.next().flatten());
    let (packed, mask) = (slice(&qkv), super::optional(&keys));
    let (added, dadded) = (super::optional(&bias), super::optional(&dbias));
    let tangent = h.as_ref().and(dqkv.as_ref()).map(slice);
    let (mut out, mut dout) = (slots(packed.len()), slots(tangent.map_or(0, <[f32]>::len)));
    let (out_at, dout_at) = (Scattered::new(&mut out), Scattered::new(&mut dout));
    let room = |wanted: bool, like: &[f32]| slots(if wanted { like.len() } else { 0 });
    let mut gbias = room(wanted[2], added);
    let mut gdbias = room(wanted[3] && tangent.is_some(), dadded);
    let (gbias_at, gdbias_at) = (Scattered::new(&mut gbias), Scattered::new(&mut gdbias));
    let (keep_bias, keep_dbias) = (!added.is_empty() && wanted[2], !dadded.is_empty() && wanted[3]);
    // Gradient of a head's output, contiguous.
    let gather = |g: &Option<FlexTensor>, entry: usize, head: usize| {
        let mut rows = vec![0.0; n * d];
        if let Some(g) = g {
            for (position, row) in rows.chunks_exact_mut(d).enumerate() {
                row.copy_from_slice(&slice(g)[(entry * n + position) * width + head * d..][..d]);
            }
        }
        rows
    };
    let jobs = (0..l.batch * heads).zip(super::buffer::pieces(&log_sums, n));
    run(l.work() * if tangent.is_some() { 14 } else { 6 }, jobs, |(job, log_sums)| {
        let (entry, head) = (job / heads, job % heads);
        let (x, g) = (l.load(packed, entry, head), gather(&g, entry, head));
        let dual = tangent.map(|t| (l.load(t, entry, head), gather(&h, entry, head)));
        let (mut gx, mut gdx) =
            (l.empty(), if dual.is_some() { l.empty() } else { Head { q: vec![], k: vec![], v: vec![] } });
        let block = BLOCK.min(n);
        let mut scratch = slots(if dual.is_some() { 4 } else { 2 } * block * n);
        let (p, rest) = scratch.split_at_mut(block * n);
        let (a, rest) = rest.split_at_mut(block * n);
        let (keys_t, values_t, keys) = (l.transposed(&x.k), l.transposed(&x.v), l.factor(&x.k));
        let factors = dual.as_ref().map(|(dx, _)| (l.transposed(&dx.k), l.transposed(&dx.v), l.factor(&dx.k)));
        for (first, m) in l.blocks() {
            let rows = first * d..(first + m) * d;
            let p = filled(&mut p[..m * n], m, l.rows(&x.q, first), &keys_t);
            add_bias(p, l.scores(added, job, first));
            mask_rows(p, mask, entry, n);
            from_logs(p, &log_sums[first..first + m], n);
            let a = filled(&mut a[..m * n], m, l.rows(&g, first), &values_t);
            let by_rows = |x| Matrix::rows(x, n);
            let by_columns = |x| Matrix::rows(x, n).transposed();
            let (queries, upstream) = (l.block(&x.q, first, m), l.block(&g, first, m));
            gemm_add(&mut gx.v, d, n, by_columns(p), &upstream);
            let (Some((dx, h)), Some((dkeys_t, dvalues_t, dkeys))) = (&dual, &factors) else {
                softmax_gradients(p, a, n);
                if keep_bias {
                    // SAFETY: only this job writes the scores of this head of this entry.
                    copy(a, unsafe { gbias_at.at((job * n + first) * n, m * n) }, 1.0);
                }
                gemm_add(&mut gx.q[rows], d, m, by_rows(a), &keys);
                gemm_add(&mut gx.k, d, n, by_columns(a), &queries);
                continue;
            };
            gemm_add(a, n, m, l.rows(h, first), dvalues_t);
            let (ds, b) = rest.split_at_mut(block * n);
            let ds = filled(&mut ds[..m * n], m, l.rows(&dx.q, first), &keys_t);
            gemm_add(ds, n, m, l.rows(&x.q, first), dkeys_t);
            add_bias(ds, l.scores(dadded, job, first));
            let b = filled(&mut b[..m * n], m, l.rows(h, first), &values_t);
            let (dqueries, dupstream) = (l.block(&dx.q, first, m), l.block(h, first, m));
            gemm_add(&mut gdx.v, d, n, by_columns(p), &dupstream);
            dual_softmax_gradients(p, ds, a, b, n);
            for (keep, at, gradient) in [(keep_bias, &gbias_at, &*a), (keep_dbias, &gdbias_at, &*b)] {
                if keep {
                    // SAFETY: only this job writes the scores of this head of this entry.
                    copy(gradient, unsafe { at.at((job * n + first) * n, m * n) }, 1.0);
                }
            }
            gemm_add(&mut gx.v, d, n, by_columns(ds), &dupstream);
            gemm_add(&mut gx.q[rows.clone()], d, m, by_rows(a), &keys);
            gemm_add(&mut gx.q[rows.clone()], d, m, by_rows(b), dkeys);
            gemm_add(&mut gdx.q[rows], d, m, by_rows(b), &keys);
            gemm_add(&mut gx.k, d, n, by_columns(a), &queries);
            gemm_add(&mut gx.k, d, n, by_columns(b), &dqueries);
            gemm_add(&mut gdx.k, d, n, by_columns(b), &queries);
        }
        // SAFETY: only this job writes this head of this entry.
        unsafe {
            l.store(&gx, &out_at, entry, head);
            if dual.is_some() {
                l.store(&gdx, &dout_at, entry, head);
            }
        }
    });
    // SAFETY: the jobs cover all heads of all entries, and each stores all rows of its queries, keys and values.
    let done = |buffer: Vec<Slot>| tensor(unsafe { written(buffer) }, qkv.shape());
    let dual = tangent.is_some();
    // SAFETY: likewise for all rows of scores, if the buffer is not empty.
    let scores = |buffer: Vec<Slot>| {
        (!buffer.is_empty()).then(|| tensor(unsafe { written(buffer) }, [l.batch, heads, n, n].into()))
    };
    let (gbias, gdbias) = (scores(gbias), scores(gdbias));
    [wanted[0].then(|| done(out)), (dual && wanted[1]).then(|| done(dout)), gbias, gdbias, None, None]
}

simd! {
    /// Adds a bias to the scores, unless it is empty.
    fn add_bias(scores: &mut [f32], bias: &[f32]) {
        scores.iter_mut().zip(bias).for_each(|(score, bias)| *score += bias);
    }
}

/// Sets the scores of masked keys to -1e30, whose exponential is 0.
fn mask_rows(scores: &mut [f32], mask: &[f32], entry: usize, n: usize) {
    if mask.is_empty() {
        return;
    }
    let mask = &mask[entry * n..][..n];
    for row in scores.chunks_exact_mut(n) {
        row.iter_mut().zip(mask).filter(|(_, keep)| **keep == 0.0).for_each(|(score, _)| *score = -1e30);
    }
}

simd! {
    fn copy(from: &[f32], out: &mut [Slot], scale: f32) {
        out.iter_mut().zip(from).for_each(|(out, x)| {
            out.write(x * scale);
        });
    }
}
simd! {
    /// `(a, b) -> (a cos - b sin, b cos + a sin)` of the halves of a row.
    fn rotate(row: &[f32], out: &mut [Slot], cos: &[f32], sin: &[f32], scale: f32) {
        let half = cos.len();
        let (a, b) = (&row[..half], &row[half..2 * half]);
        let (first, second) = out.split_at_mut(half);
        let (second, sin) = (&mut second[..half], &sin[..half]);
        for i in 0..half {
            first[i].write((a[i] * cos[i] - b[i] * sin[i]) * scale);
            second[i].write((b[i] * cos[i] + a[i] * sin[i]) * scale);
        }
    }
}
simd! {
    /// The transpose of `rotate`.
    fn rotate_back(row: &[f32], out: &mut [Slot], cos: &[f32], sin: &[f32], scale: f32) {
        let half = cos.len();
        let (a, b) = (&row[..half], &row[half..2 * half]);
        let (first, second) = out.split_at_mut(half);
        let (second, sin) = (&mut second[..half], &sin[..half]);
        for i in 0..half {
            first[i].write((a[i] * cos[i] + b[i] * sin[i]) * scale);
            second[i].write((b[i] * cos[i] - a[i] * sin[i]) * scale);
        }
    }
}
simd! {
    /// Replaces scores by `exp(score - max)`, row by row; writes the inverse of the row's sum to `scales` and the
    /// log-sum-exp of the scores to `logs`, unless that is empty.
    fn exponentials(p: &mut [f32], scales: &mut [f32], logs: &mut [f32], n: usize) {
        for (index, (row, scale)) in p.chunks_exact_mut(n).zip(scales).enumerate() {
            let max = largest(row);
            row.iter_mut().for_each(|x| *x = exp(*x - max));
            let [sum] = sums(n, |i| [row[i]]);
            *scale = 1.0 / sum;
            if let Some(log) = logs.get_mut(index) {
                *log = max + sum.ln();
            }
        }
    }
}
simd! {
    /// Replaces scores by probabilities, given the log-sum-exp of every row.
    fn from_logs(p: &mut [f32], logs: &[f32], n: usize) {
        for (row, log) in p.chunks_exact_mut(n).zip(logs) {
            row.iter_mut().for_each(|x| *x = exp(*x - log));
        }
    }
}
simd! {
    /// Normalises `p` and replaces `ds` by `p (ds - <p, ds>)`.
    fn softmax_tangents(p: &mut [f32], ds: &mut [f32], scales: &[f32], n: usize) {
        for ((p, ds), scale) in p.chunks_exact_mut(n).zip(ds.chunks_exact_mut(n)).zip(scales) {
            let [along] = sums(n, |i| [p[i] * ds[i]]);
            let along = along * scale;
            for i in 0..n {
                p[i] *= scale;
                ds[i] = p[i] * (ds[i] - along);
            }
        }
    }
}
simd! {
    /// Replaces `a` by `p (a - <p, a>)`.
    fn softmax_gradients(p: &[f32], a: &mut [f32], n: usize) {
        for (p, a) in p.chunks_exact(n).zip(a.chunks_exact_mut(n)) {
            let [along] = sums(n, |i| [p[i] * a[i]]);
            for i in 0..n {
                a[i] = p[i] * (a[i] - along);
            }
        }
    }
}
simd! {
    /// Replaces `ds` by `dP`, `a = G V^T + H dV^T` by `gS`, and `b = B` by `gdS`.
    fn dual_softmax_gradients(p: &[f32], ds: &mut [f32], a: &mut [f32], b: &mut [f32], n: usize) {
        let others = ds.chunks_exact_mut(n).zip(a.chunks_exact_mut(n).zip(b.chunks_exact_mut(n)));
        for (p, (ds, (a, b))) in p.chunks_exact(n).zip(others) {
            let [along, across] = sums(n, |i| [p[i] * ds[i], p[i] * b[i]]);
            let [through] = sums(n, |i| {
                a[i] += b[i] * (ds[i] - along) - across * ds[i];
                [p[i] * a[i]]
            });
            for i in 0..n {
                a[i] = p[i] * (a[i] - through);
                b[i] = p[i] * (b[i] - across);
                ds[i] = p[i] * (ds[i] - along);
            }
        }
    }
}
