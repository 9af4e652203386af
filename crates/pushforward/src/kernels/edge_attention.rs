//! Attention of graphs with a score for every feature, shaped by the edges.
//!
//! ```text
//! s_ij = q_i k_j (1 + m_ij) + a_ij      p_ij = softmax over the present j of s_ij      o_i = sum_j p_ij v_j
//! ds = dq k (1 + m) + q dk (1 + m) + q k dm + da      do_i = sum_j p_ij ((ds_ij - sum_k p_ik ds_ik) v_j + dv_j)
//! ```
//!
//! all for every feature by itself. With `g, h` the gradients of `o, do` and `G, H` those of `s, ds`:
//!
//! ```text
//! A_j = g v_j + h ((ds_j - sum_k p_k ds_k) v_j - ds_j o + dv_j)      H_j += h p_j (v_j - o)      G_j += p_j (A_j - sum_k p_k A_k)
//! gv_j = sum_i p_j g + p_j (ds_j - sum_k p_k ds_k) h                  gdv_j = sum_i p_j h
//! ```
//!
//! and what reaches `q, k, m, a` from there is that of a product. Scores are computed again from the inputs; only the logarithm of
//! the sum of their exponentials is kept.

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, ExtensionType, Flex, TensorMetadata, backend_extension};
use burn::tensor::Tensor;
use burn_flex::FlexTensor;

use super::buffer::{Slot, pieces, pieces_mut, run, slots, written};
use super::graph::{Maybe, maybe, operation};
use super::simd::{exp, simd};
use super::{Pair, contiguous, optional, slice, tensor};

/// Scores of pairs of nodes and what every node sees.
///
/// # Shapes
/// - `q`, `k`, `v`: `[batch, nodes, features]`
/// - `mul`, `add`: `[batch, nodes, nodes, features]`, what edges multiply scores by, less one, and add to them
/// - `keys`: `[batch, nodes]`, 1 for nodes that are seen, 0 for others
/// - output: scores `[batch, nodes, nodes, features]`, whether seen or not, and `[batch, nodes, features]`
///
/// # Panics
/// If the tensors are not [served](super::serve), or shapes differ.
pub fn edge_attention(nodes: [Pair<3>; 3], edges: [Pair<4>; 2], keys: Option<Tensor<2>>) -> (Pair<4>, Pair<3>) {
    let [b, n, w] = nodes[0].0.dims();
    for (x, _) in &nodes {
        assert_eq!(x.dims(), [b, n, w], "queries, keys and values of [batch, nodes, features]");
    }
    for (x, _) in &edges {
        assert_eq!(x.dims(), [b, n, n, w], "edges of [batch, nodes, nodes, features]");
    }
    if let Some(keys) = &keys {
        assert_eq!(keys.dims(), [b, n], "a mask of [batch, nodes]");
    }
    // One of several tangents that is absent is zero.
    let dual = nodes.iter().any(|x| x.1.is_some()) || edges.iter().any(|x| x.1.is_some());
    fn zeros<const D: usize>((x, dx): Pair<D>, dual: bool) -> Pair<D> {
        let dx = dx.or_else(|| dual.then(|| x.zeros_like()));
        (x, dx)
    }
    let [q, k, v] = nodes.map(|x| zeros(x, dual));
    let [mul, add] = edges.map(|x| zeros(x, dual));
    let values = Five::of([q.0, k.0, v.0], [mul.0, add.0]);
    let tangents = match (q.1, k.1, v.1, mul.1, add.1) {
        (Some(q), Some(k), Some(v), Some(mul), Some(add)) => Five::of([q, k, v], [mul, add]),
        _ => Five::Absent,
    };
    let mut outputs = Dispatch::scores_and_seen(values, tangents, maybe(keys)).into_iter();
    let mut next = || outputs.next().expect("scores, what is seen, and their tangents");
    let (scores, seen) = (Tensor::from_dispatch(next()), Tensor::from_dispatch(next()));
    let tangents = dual.then(|| (Tensor::from_dispatch(next()), Tensor::from_dispatch(next())));
    let (dscores, dseen) = tangents.unzip();
    ((scores, dscores), (seen, dseen))
}

/// Queries, keys, values, and what edges multiply scores by and add to them, or their tangents; all or none.
#[derive(ExtensionType)]
pub(super) enum Five<B: Backend> {
    /// They are there.
    Given(FloatTensor<B>, FloatTensor<B>, FloatTensor<B>, FloatTensor<B>, FloatTensor<B>),
    /// They are not.
    Absent,
}

impl Five<Dispatch> {
    fn of(nodes: [Tensor<3>; 3], edges: [Tensor<4>; 2]) -> Self {
        let ([q, k, v], [mul, add]) = (nodes.map(Tensor::into_dispatch), edges.map(Tensor::into_dispatch));
        Self::Given(q, k, v, mul, add)
    }
}

/// This attention as an operation of a backend.
#[backend_extension(Flex, Autodiff)]
pub(super) trait EdgeAttentionOps: Backend {
    /// See [`edge_attention`]; scores, what is seen, and their tangents.
    fn scores_and_seen(
        #[extension_type] values: Five<Self>,
        #[extension_type] tangents: Five<Self>,
        #[extension_type] keys: Maybe<Self>,
    ) -> Vec<FloatTensor<Self>>;
}

impl EdgeAttentionOps for Flex {
    fn scores_and_seen(values: Five<Self>, tangents: Five<Self>, keys: Maybe<Self>) -> Vec<FlexTensor> {
        forward(together(values, tangents, keys).map(|x| x.map(contiguous)), false).0
    }
}

impl<C: CheckpointStrategy> EdgeAttentionOps for Autodiff<Flex, C> {
    fn scores_and_seen(values: Five<Self>, tangents: Five<Self>, keys: Maybe<Self>) -> Vec<FloatTensor<Self>> {
        operation::<C, _, INPUTS>(together(values, tangents, keys), forward, backward)
    }
}

/// Five values, their tangents, and the mask.
const INPUTS: usize = 11;

fn together<B: Backend>(values: Five<B>, tangents: Five<B>, keys: Maybe<B>) -> [Option<FloatTensor<B>>; INPUTS] {
    let [values, tangents] = [values, tangents].map(|five| match five {
        Five::Given(q, k, v, mul, add) => [q, k, v, mul, add].map(Some),
        Five::Absent => [const { None }; 5],
    });
    let mut all = values.into_iter().chain(tangents).chain([keys.into_option()]);
    std::array::from_fn(|_| all.next().flatten())
}

/// The inputs, and the logarithms of the sums of exponentials `[batch, nodes, features]`.
#[derive(Clone, Debug)]
struct Kept {
    inputs: [Option<FlexTensor>; INPUTS],
    log_sums: Vec<f32>,
}

/// Batch, nodes, features.
#[derive(Clone, Copy)]
struct Sizes {
    b: usize,
    n: usize,
    w: usize,
}

impl Sizes {
    fn new(q: &FlexTensor) -> Self {
        let shape = q.shape();
        Self { b: shape[0], n: shape[1], w: shape[2] }
    }

    /// Numbers of the nodes of an entry, and of its edges.
    fn node(self) -> usize {
        self.n * self.w
    }

    fn edge(self) -> usize {
        self.n * self.n * self.w
    }
}

/// `q, k, v, mul, add` of an entry, or their tangents.
#[derive(Clone, Copy)]
struct Entry<'a>([&'a [f32]; 5]);

/// The entries of five tensors; empty ones without end where they are absent.
fn entries<'a>(five: &[&'a [f32]; 5], s: Sizes) -> impl Iterator<Item = Entry<'a>> {
    let [q, k, v, mul, add] = *five;
    let nodes = pieces(q, s.node()).zip(pieces(k, s.node())).zip(pieces(v, s.node()));
    let edges = pieces(mul, s.edge()).zip(pieces(add, s.edge()));
    nodes.zip(edges).map(|(((q, k), v), (mul, add))| Entry([q, k, v, mul, add]))
}

fn five(inputs: &[Option<FlexTensor>; INPUTS], first: usize) -> [&[f32]; 5] {
    std::array::from_fn(|i| optional(&inputs[first + i]))
}

fn forward(inputs: [Option<FlexTensor>; INPUTS], keep: bool) -> (Vec<FlexTensor>, Kept) {
    let s = Sizes::new(inputs[0].as_ref().expect("queries"));
    let (values, tangents) = (five(&inputs, 0), five(&inputs, 5));
    let dual = inputs[5].is_some();
    let room = |wanted: bool, n: usize| slots(if wanted { s.b * n } else { 0 });
    let (mut scores, mut seen) = (room(true, s.edge()), room(true, s.node()));
    let (mut dscores, mut dseen) = (room(dual, s.edge()), room(dual, s.node()));
    let mut log_sums = vec![0.0; if keep { s.b * s.node() } else { 0 }];
    let jobs = entries(&values, s)
        .zip(entries(&tangents, s))
        .zip(pieces(optional(&inputs[10]), s.n))
        .zip(pieces_mut(&mut scores, s.edge()).zip(pieces_mut(&mut seen, s.node())))
        .zip(pieces_mut(&mut dscores, s.edge()).zip(pieces_mut(&mut dseen, s.node())))
        .zip(pieces_mut(&mut log_sums, s.node()))
        .take(s.b);
    let work = s.b * s.edge() * if dual { 4 } else { 2 };
    run(work, jobs, |(((((x, dx), keys), (scores, seen)), (dscores, dseen)), log_sums)| {
        let mut scratch = vec![0.0; 4 * s.w];
        see([x, dx], keys, [scores, seen, dscores, dseen], log_sums, &mut scratch, s);
    });
    // SAFETY: there is a job for every entry, which writes all of its scores and of what its nodes see.
    let done = |buffer: Vec<Slot>, shape: &[usize]| tensor(unsafe { written(buffer) }, shape.to_vec().into());
    let (edge, node) = ([s.b, s.n, s.n, s.w], [s.b, s.n, s.w]);
    let mut outputs = vec![done(scores, &edge), done(seen, &node)];
    if dual {
        outputs.extend([done(dscores, &edge), done(dseen, &node)]);
    }
    (outputs, Kept { inputs, log_sums })
}

fn backward(kept: Kept, gradients: Vec<Option<FlexTensor>>, wanted: [bool; INPUTS]) -> [Option<FlexTensor>; INPUTS] {
    let Kept { inputs, log_sums } = kept;
    let s = Sizes::new(inputs[0].as_ref().expect("queries"));
    let (values, mut tangents) = (five(&inputs, 0), five(&inputs, 5));
    let gradient = |i: usize| gradients.get(i).and_then(|g| g.as_ref()).map_or(&[][..], slice);
    let upstream = [0, 1, 2, 3].map(gradient);
    // Without a gradient of a tangent there is nothing to do for tangents.
    let dual = !upstream[2].is_empty() || !upstream[3].is_empty();
    if !dual {
        tangents = [&[]; 5];
    }
    let sizes = [s.node(), s.node(), s.node(), s.edge(), s.edge()];
    let mut found = sizes.map(|size| vec![0.0; s.b * size]);
    let mut dfound = sizes.map(|size| vec![0.0; if dual { s.b * size } else { 0 }]);
    fn cut(all: &mut [Vec<f32>; 5], sizes: [usize; 5]) -> impl Iterator<Item = [&mut [f32]; 5]> {
        let [q, k, v, mul, add] = all;
        let nodes = pieces_mut(q, sizes[0]).zip(pieces_mut(k, sizes[1])).zip(pieces_mut(v, sizes[2]));
        let edges = pieces_mut(mul, sizes[3]).zip(pieces_mut(add, sizes[4]));
        nodes.zip(edges).map(|(((q, k), v), (mul, add))| [q, k, v, mul, add])
    }
    let [gs, go, hs, ho] = upstream;
    let jobs = entries(&values, s)
        .zip(entries(&tangents, s))
        .zip(pieces(optional(&inputs[10]), s.n).zip(pieces(&log_sums, s.node())))
        .zip((pieces(gs, s.edge()).zip(pieces(go, s.node()))).zip(pieces(hs, s.edge()).zip(pieces(ho, s.node()))))
        .zip(cut(&mut found, sizes).zip(cut(&mut dfound, sizes)))
        .take(s.b);
    let work = s.b * s.edge() * if dual { 10 } else { 4 };
    run(work, jobs, |((((x, dx), (keys, log_sums)), ((gs, go), (hs, ho))), (out, dout))| {
        let mut scratch = vec![0.0; (3 * s.n + 6) * s.w];
        unsee([x, dx], keys, log_sums, [gs, go, hs, ho], [out, dout], &mut scratch, s);
    });
    let shapes: [_; 5] = std::array::from_fn(|i| inputs[i].as_ref().expect("a value").shape());
    let mut all = found.into_iter().chain(dfound).zip(shapes.iter().chain(&shapes)).zip(wanted);
    std::array::from_fn(|_| {
        let ((gradient, shape), wanted) = all.next()?;
        (wanted && !gradient.is_empty()).then(|| tensor(gradient, shape.clone()))
    })
}

simd! {
    /// Forward, of an entry.
    fn see(
        xs: [Entry<'_>; 2], keys: &[f32], out: [&mut [Slot]; 4], log_sums: &mut [f32], scratch: &mut [f32], s: Sizes,
    ) {
        let Sizes { n, w, .. } = s;
        let [Entry([q, k, v, mul, add]), Entry([dq, dk, dv, dmul, dadd])] = xs;
        let [scores, seen, dscores, dseen] = out;
        let (max, rest) = scratch.split_at_mut(w);
        let (sum, rest) = rest.split_at_mut(w);
        let (value, mean) = rest.split_at_mut(w);
        let mean = &mut mean[..w];
        let there = |j: usize| keys.get(j).is_none_or(|key| *key != 0.0);
        for i in 0..n {
            let q = &q[i * w..][..w];
            max.fill(f32::MIN);
            for j in 0..n {
                let (k, at) = (&k[j * w..][..w], (i * n + j) * w);
                let (mul, add, out) = (&mul[at..][..w], &add[at..][..w], &mut scores[at..][..w]);
                for c in 0..w {
                    out[c].write(q[c] * k[c] * (1.0 + mul[c]) + add[c]);
                }
                if there(j) {
                    for c in 0..w {
                        // SAFETY: just written.
                        max[c] = max[c].max(unsafe { out[c].assume_init() });
                    }
                }
                if !dscores.is_empty() {
                    let (dq, dk) = (&dq[i * w..][..w], &dk[j * w..][..w]);
                    let (dmul, dadd, out) = (&dmul[at..][..w], &dadd[at..][..w], &mut dscores[at..][..w]);
                    for c in 0..w {
                        let slope = (dq[c] * k[c] + q[c] * dk[c]) * (1.0 + mul[c]);
                        out[c].write(slope + q[c] * k[c] * dmul[c] + dadd[c]);
                    }
                }
            }
            sum.fill(0.0);
            value.fill(0.0);
            mean.fill(0.0);
            let out = &mut seen[i * w..][..w];
            for j in (0..n).filter(|j| there(*j)) {
                let (v, scores) = (&v[j * w..][..w], &scores[(i * n + j) * w..][..w]);
                if dscores.is_empty() {
                    for c in 0..w {
                        // SAFETY: written above.
                        let p = exp(unsafe { scores[c].assume_init() } - max[c]);
                        sum[c] += p;
                        value[c] += p * v[c];
                    }
                    continue;
                }
                let dscores = &dscores[(i * n + j) * w..][..w];
                for c in 0..w {
                    // SAFETY: written above.
                    let [score, slope] = unsafe { [scores[c].assume_init(), dscores[c].assume_init()] };
                    let p = exp(score - max[c]);
                    sum[c] += p;
                    value[c] += p * v[c];
                    mean[c] += p * slope;
                }
            }
            for c in 0..w {
                // Nobody is seen where there are no keys.
                let scale = if sum[c] > 0.0 { 1.0 / sum[c] } else { 0.0 };
                out[c].write(value[c] * scale);
                value[c] = scale;
                mean[c] *= scale;
            }
            if let Some(logs) = log_sums.get_mut(i * w..(i + 1) * w) {
                for c in 0..w {
                    logs[c] = max[c] + sum[c].max(f32::MIN_POSITIVE).ln();
                }
            }
            if dscores.is_empty() {
                continue;
            }
            sum.fill(0.0);
            for j in (0..n).filter(|j| there(*j)) {
                let (at, rows) = ((i * n + j) * w, j * w);
                let (scores, dscores) = (&scores[at..][..w], &dscores[at..][..w]);
                let (v, dv) = (&v[rows..][..w], &dv[rows..][..w]);
                for c in 0..w {
                    // SAFETY: written above.
                    let [score, slope] = unsafe { [scores[c].assume_init(), dscores[c].assume_init()] };
                    let p = exp(score - max[c]) * value[c];
                    sum[c] += p * ((slope - mean[c]) * v[c] + dv[c]);
                }
            }
            let out = &mut dseen[i * w..][..w];
            for c in 0..w {
                out[c].write(sum[c]);
            }
        }
    }
}

simd! {
    /// Backward, of an entry.
    fn unsee(
        xs: [Entry<'_>; 2], keys: &[f32], log_sums: &[f32], upstream: [&[f32]; 4], out: [[&mut [f32]; 5]; 2],
        scratch: &mut [f32], s: Sizes,
    ) {
        let Sizes { n, w, .. } = s;
        let [Entry([q, k, v, mul, add]), Entry([dq, dk, dv, dmul, dadd])] = xs;
        let ([gs, go, hs, ho], [[gq, gk, gv, gmul, gadd], [gdq, gdk, gdv, gdmul, gdadd]]) = (upstream, out);
        let dual = !dq.is_empty();
        let (p, rest) = scratch.split_at_mut(n * w);
        let (slopes, rest) = rest.split_at_mut(n * w);
        let (a, rest) = rest.split_at_mut(n * w);
        let (big_g, rest) = rest.split_at_mut(w);
        let (big_h, rest) = rest.split_at_mut(w);
        let (mean, rest) = rest.split_at_mut(w);
        let (seen, rest) = rest.split_at_mut(w);
        let (through, rest) = rest.split_at_mut(w);
        let (zeros, _) = rest.split_at_mut(w);
        let zeros = &*zeros;
        let there = |j: usize| keys.get(j).is_none_or(|key| *key != 0.0);
        for i in 0..n {
            let (q, logs) = (&q[i * w..][..w], &log_sums[i * w..][..w]);
            let g = go.get(i * w..(i + 1) * w).unwrap_or(zeros);
            let h = ho.get(i * w..(i + 1) * w).unwrap_or(zeros);
            // Probabilities and slopes again.
            mean.fill(0.0);
            seen.fill(0.0);
            for j in 0..n {
                let (k, v, at) = (&k[j * w..][..w], &v[j * w..][..w], (i * n + j) * w);
                let (mul, add) = (&mul[at..][..w], &add[at..][..w]);
                let (p, slopes) = (&mut p[j * w..][..w], &mut slopes[j * w..][..w]);
                if there(j) {
                    for c in 0..w {
                        p[c] = exp(q[c] * k[c] * (1.0 + mul[c]) + add[c] - logs[c]);
                        seen[c] += p[c] * v[c];
                    }
                } else {
                    p.fill(0.0);
                }
                if dual {
                    let (dq, dk) = (&dq[i * w..][..w], &dk[j * w..][..w]);
                    let (dmul, dadd) = (&dmul[at..][..w], &dadd[at..][..w]);
                    for c in 0..w {
                        let slope = (dq[c] * k[c] + q[c] * dk[c]) * (1.0 + mul[c]);
                        slopes[c] = slope + q[c] * k[c] * dmul[c] + dadd[c];
                        mean[c] += p[c] * slopes[c];
                    }
                }
            }
            through.fill(0.0);
            for j in 0..n {
                let (v, rows) = (&v[j * w..][..w], j * w);
                let (p, a, gv) = (&p[rows..][..w], &mut a[rows..][..w], &mut gv[rows..][..w]);
                if dual {
                    let (slopes, dv, gdv) = (&slopes[rows..][..w], &dv[rows..][..w], &mut gdv[rows..][..w]);
                    for c in 0..w {
                        let off = slopes[c] - mean[c];
                        a[c] = g[c] * v[c] + h[c] * (off * v[c] - slopes[c] * seen[c] + dv[c]);
                        through[c] += p[c] * a[c];
                        gv[c] += p[c] * (g[c] + off * h[c]);
                        gdv[c] += p[c] * h[c];
                    }
                } else {
                    for c in 0..w {
                        a[c] = g[c] * v[c];
                        through[c] += p[c] * a[c];
                        gv[c] += p[c] * g[c];
                    }
                }
            }
            for j in 0..n {
                let (at, rows) = ((i * n + j) * w, j * w);
                let (p, a, v) = (&p[rows..][..w], &a[rows..][..w], &v[rows..][..w]);
                let gs = gs.get(at..at + w).unwrap_or(zeros);
                for c in 0..w {
                    big_g[c] = gs[c] + p[c] * (a[c] - through[c]);
                }
                let (k, mul) = (&k[rows..][..w], &mul[at..][..w]);
                let (gq, gk) = (&mut gq[i * w..][..w], &mut gk[rows..][..w]);
                let (gmul, gadd) = (&mut gmul[at..][..w], &mut gadd[at..][..w]);
                for c in 0..w {
                    let scaled = big_g[c] * (1.0 + mul[c]);
                    gq[c] += scaled * k[c];
                    gk[c] += scaled * q[c];
                    gmul[c] = big_g[c] * q[c] * k[c];
                    gadd[c] = big_g[c];
                }
                if !dual {
                    continue;
                }
                let hs = hs.get(at..at + w).unwrap_or(zeros);
                for c in 0..w {
                    big_h[c] = hs[c] + h[c] * p[c] * (v[c] - seen[c]);
                }
                let (dq, dk, dmul) = (&dq[i * w..][..w], &dk[rows..][..w], &dmul[at..][..w]);
                let (gdq, gdk) = (&mut gdq[i * w..][..w], &mut gdk[rows..][..w]);
                let (gdmul, gdadd) = (&mut gdmul[at..][..w], &mut gdadd[at..][..w]);
                for c in 0..w {
                    let (big_h, scaled) = (big_h[c], big_h[c] * (1.0 + mul[c]));
                    gq[c] += scaled * dk[c] + big_h * k[c] * dmul[c];
                    gk[c] += scaled * dq[c] + big_h * q[c] * dmul[c];
                    gmul[c] += big_h * (dq[c] * k[c] + q[c] * dk[c]);
                    gdq[c] += scaled * k[c];
                    gdk[c] += scaled * q[c];
                    gdmul[c] = big_h * q[c] * k[c];
                    gdadd[c] = big_h;
                }
            }
        }
    }
}
