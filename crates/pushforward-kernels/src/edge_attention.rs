//! Graph attention with a score per feature, modulated by the edges.
//!
//! ```text
//! s_ij = q_i k_j (1 + m_ij) + a_ij      p_ij = softmax over unmasked j of s_ij      o_i = sum_j p_ij v_j
//! ds = dq k (1 + m) + q dk (1 + m) + q k dm + da      do_i = sum_j p_ij ((ds_ij - sum_k p_ik ds_ik) v_j + dv_j)
//! ```
//!
//! each feature independently. With `g, h` the gradients of `o, do` and `G, H` those of `s, ds`:
//!
//! ```text
//! A_j = g v_j + h ((ds_j - sum_k p_k ds_k) v_j - ds_j o + dv_j)      H_j += h p_j (v_j - o)      G_j += p_j (A_j - sum_k p_k A_k)
//! gv_j = sum_i p_j g + p_j (ds_j - sum_k p_k ds_k) h                  gdv_j = sum_i p_j h
//! ```
//!
//! and the gradients of `q, k, m, a` follow by the product rule. Scores are recomputed from the inputs; only their
//! log-sum-exp is kept.

mod loops;

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, ExtensionType, Flex, TensorMetadata, backend_extension};
use burn::tensor::Tensor;
use burn_flex::FlexTensor;

use self::loops::{Entry, Sizes};
use super::buffer::{Slot, pieces, pieces_mut, run, slots, written};
use super::graph::{Maybe, maybe, operation};
use super::{ValueTangent, contiguous, optional, slice, tensor};

/// Attention scores of all pairs of nodes, and the attention output of every node. A fully masked row gives 0.
///
/// `nodes` are `q, k, v`, and `edges` are `mul, add`, each with its tangent.
///
/// # Shapes
/// - `q`, `k`, `v`: `[batch, nodes, features]`
/// - `mul`, `add`: `[batch, nodes, nodes, features]`, `m` and `a` above: scores are multiplied by `1 + mul`, then `add`
///   is added
/// - `keys`: `[batch, nodes]`, 1 for nodes that may be attended to, 0 for masked ones
/// - output: scores `[batch, nodes, nodes, features]`, those of masked nodes included, and `[batch, nodes, features]`
///
/// # Panics
/// If the tensors are not [served](super::serve), or shapes differ.
///
/// # Examples
/// With equal scores, a node's output is the mean of the values.
/// ```
/// use burn::tensor::{Device, Tensor};
/// use pushforward_kernels::edge_attention;
///
/// let device = Device::flex();
/// let [q, k, mul] = [[1, 2, 1]; 3].map(|shape| (Tensor::<3>::zeros(shape, &device), None));
/// let v = (Tensor::<3>::from_floats([[[1.0], [5.0]]], &device), None);
/// let edge = || (Tensor::<4>::zeros([1, 2, 2, 1], &device), None);
/// let (_, (o, _)) = edge_attention([q, k, v], [edge(), edge()], None);
/// assert_eq!(o.into_data().iter::<f32>().collect::<Vec<_>>(), [3.0, 3.0]);
/// ```
pub fn edge_attention(
    nodes: [ValueTangent<3>; 3],
    edges: [ValueTangent<4>; 2],
    keys: Option<Tensor<2>>,
) -> (ValueTangent<4>, ValueTangent<3>) {
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
    // If any tangent is given, absent ones are zero.
    let dual = nodes.iter().any(|x| x.1.is_some()) || edges.iter().any(|x| x.1.is_some());
    fn zeros<const D: usize>((x, dx): ValueTangent<D>, dual: bool) -> ValueTangent<D> {
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

/// `q, k, v, mul, add` or their tangents; all or none.
#[derive(ExtensionType)]
pub(super) enum Five<B: Backend> {
    /// All five.
    Given(FloatTensor<B>, FloatTensor<B>, FloatTensor<B>, FloatTensor<B>, FloatTensor<B>),
    /// None.
    Absent,
}

impl Five<Dispatch> {
    fn of(nodes: [Tensor<3>; 3], edges: [Tensor<4>; 2]) -> Self {
        let ([q, k, v], [mul, add]) = (nodes.map(Tensor::into_dispatch), edges.map(Tensor::into_dispatch));
        Self::Given(q, k, v, mul, add)
    }
}

/// Edge attention as an operation of a backend.
#[backend_extension(Flex, Autodiff)]
pub(super) trait EdgeAttentionOps: Backend {
    /// See [`edge_attention`]; returns scores, outputs, and their tangents.
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

/// Kept for the derivative: the inputs, and the log-sum-exps of the scores, `[batch, nodes, features]`.
#[derive(Clone, Debug)]
struct Kept {
    inputs: [Option<FlexTensor>; INPUTS],
    log_sums: Vec<f32>,
}

/// Batch entries of five tensors; an endless iterator of empty entries if they are absent.
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
        loops::forward([x, dx], keys, [scores, seen, dscores, dseen], log_sums, &mut scratch, s);
    });
    // SAFETY: there is a job for every entry, which writes all of its scores and outputs.
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
    // If no tangent has a gradient, the tangents' terms vanish.
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
        loops::backward([x, dx], keys, log_sums, [gs, go, hs, ho], [out, dout], &mut scratch, s);
    });
    let shapes: [_; 5] = std::array::from_fn(|i| inputs[i].as_ref().expect("a value").shape());
    let mut all = found.into_iter().chain(dfound).zip(shapes.iter().chain(&shapes)).zip(wanted);
    std::array::from_fn(|_| {
        let ((gradient, shape), wanted) = all.next()?;
        (wanted && !gradient.is_empty()).then(|| tensor(gradient, shape.clone()))
    })
}
