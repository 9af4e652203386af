//! Cross-entropy between classes and logits, and KL divergence of probabilities from logits, without a tensor of
//! log-probabilities.
//!
//! ```text
//! l = log sum_k exp(z_k)                  y = l - z_c                            gz = g (softmax(z) - onehot(c))
//! y = sum_k q_k (log q_k - z_k + l)       gz = g (softmax(z) sum(q) - q)         gq = g (log q + 1 - z + l)
//! ```

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Int, Shape, Tensor};
use burn_flex::FlexTensor;

use super::buffer::{Slot, pieces, pieces_mut, run, slots, written};
use super::graph::{Maybe, maybe, operation};
use super::simd::{exp, simd, sums};
use super::softmax::{largest, sizes};
use super::{optional, slice, tensor};

/// Lower limit of the arguments of logarithms, so that `0 log 0 = 0`.
///
/// # Examples
/// ```
/// assert_eq!(0.0 * f32::max(0.0, pushforward_kernels::LEAST).ln(), 0.0);
/// ```
pub const LEAST: f32 = 1e-37;

/// Cross-entropy `-log softmax(z)_class`, in nats.
///
/// # Shapes
/// - `z`: `[batch, sites, classes]`
/// - `class`, output: `[batch, sites]`
///
/// # Panics
/// If the tensor is not [served](super::serve), shapes differ, or a class is out of range.
///
/// # Examples
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use pushforward_kernels::cross_entropy;
///
/// let device = Device::flex();
/// let class = Tensor::<2, Int>::zeros([1, 1], &device);
/// let y = cross_entropy(&class, Tensor::zeros([1, 1, 4], &device)).into_scalar::<f32>();
/// assert!((y - 4f32.ln()).abs() < 1e-6);
/// ```
pub fn cross_entropy(class: &Tensor<2, Int>, z: Tensor<3>) -> Tensor<2> {
    let (logits, classes) = (z.dims(), class.dims());
    assert_eq!(logits[..2], classes, "classes of shape {classes:?} for logits {logits:?}");
    let all = logits[2];
    let ids: Vec<u32> = class.clone().into_data().iter::<u32>().collect();
    assert!(ids.iter().all(|&id| (id as usize) < all), "classes below {all}");
    Tensor::from_dispatch(Dispatch::divergences(z.into_dispatch(), Maybe::Absent, Arc::from(ids)))
}

/// Kullback-Leibler divergence `KL(q || softmax(z))`, in nats.
///
/// # Shapes
/// - `z`, `q`: `[batch, sites, classes]`
/// - output: `[batch, sites]`
///
/// # Panics
/// If a tensor is not [served](super::serve), or shapes differ.
///
/// # Examples
/// ```
/// use burn::tensor::{Device, Tensor};
/// use pushforward_kernels::divergence;
///
/// let device = Device::flex();
/// let q = Tensor::<3>::from_floats([[[0.25, 0.75]]], &device);
/// let y = divergence(q.clone(), q.log()).into_scalar::<f32>();
/// assert!(y.abs() < 1e-6);
/// ```
pub fn divergence(q: Tensor<3>, z: Tensor<3>) -> Tensor<2> {
    let (target, logits) = (q.dims(), z.dims());
    assert!(target == logits, "probabilities of shape {target:?} for logits {logits:?}");
    Tensor::from_dispatch(Dispatch::divergences(z.into_dispatch(), maybe(Some(q)), Arc::from([])))
}

/// Divergences as an operation of a backend.
#[backend_extension(Flex, Autodiff)]
pub(super) trait DivergenceOps: Backend {
    /// [`divergence`] if `q` is given, [`cross_entropy`] otherwise.
    fn divergences(z: FloatTensor<Self>, #[extension_type] q: Maybe<Self>, classes: Arc<[u32]>) -> FloatTensor<Self>;
}

impl DivergenceOps for Flex {
    fn divergences(z: FlexTensor, q: Maybe<Self>, classes: Arc<[u32]>) -> FlexTensor {
        let inputs = [Some(z), q.into_option()].map(|x| x.map(super::contiguous));
        forward(inputs, classes).0.remove(0)
    }
}

impl<C: CheckpointStrategy> DivergenceOps for Autodiff<Flex, C> {
    fn divergences(z: FloatTensor<Self>, q: Maybe<Self>, classes: Arc<[u32]>) -> FloatTensor<Self> {
        operation::<C, _, 2>([Some(z), q.into_option()], |inputs, _| forward(inputs, classes), backward).remove(0)
    }
}

/// Kept for the derivative: the inputs, and the log-sum-exp of every row.
#[derive(Clone, Debug)]
struct Kept {
    z: FlexTensor,
    q: Option<FlexTensor>,
    classes: Arc<[u32]>,
    log_sums: Arc<[f32]>,
}

fn forward([z, q]: [Option<FlexTensor>; 2], classes: Arc<[u32]>) -> (Vec<FlexTensor>, Kept) {
    let z = z.expect("a value");
    let (n, width, piece) = sizes(&z);
    let rows = n / width;
    let (mut y, mut log_sums) = (slots(rows), slots(rows));
    let jobs = (pieces(slice(&z), piece).zip(pieces(optional(&q), piece)))
        .zip(classes.chunks(piece / width).chain(std::iter::repeat(&[][..])))
        .zip(pieces_mut(&mut y, piece / width).zip(pieces_mut(&mut log_sums, piece / width)))
        .take(n.div_ceil(piece));
    run(n * 2, jobs, |(((z, q), classes), (y, log_sums))| divergences_of([z, q], classes, y, log_sums, width));
    // SAFETY: the jobs cover all rows, and each writes all of its own.
    let done = |buffer: Vec<Slot>| unsafe { written(buffer) };
    let shape = z.shape();
    let shape: Vec<usize> = shape.iter().copied().take(shape.num_dims() - 1).collect();
    let y = tensor(done(y), Shape::from(shape));
    (vec![y], Kept { z, q, classes, log_sums: Arc::from(done(log_sums)) })
}

fn backward(kept: Kept, gradients: Vec<Option<FlexTensor>>, wanted: [bool; 2]) -> [Option<FlexTensor>; 2] {
    let Kept { z, q, classes, log_sums } = kept;
    let Some(g) = gradients.into_iter().next().flatten() else { return [None, None] };
    let (n, width, piece) = sizes(&z);
    let rows = piece / width;
    let (mut gz, mut gq) = (slots(n), slots(if wanted[1] { n } else { 0 }));
    let jobs = (pieces(slice(&z), piece).zip(pieces(optional(&q), piece)))
        .zip(classes.chunks(rows).chain(std::iter::repeat(&[][..])))
        .zip(pieces(&log_sums, rows).zip(pieces(slice(&g), rows)))
        .zip(pieces_mut(&mut gz, piece).zip(pieces_mut(&mut gq, piece)))
        .take(n.div_ceil(piece));
    run(n * 2, jobs, |((((z, q), classes), (log_sums, g)), (gz, gq))| {
        gradients_of([z, q], classes, [log_sums, g], gz, gq, width);
    });
    // SAFETY: the jobs cover all rows.
    let done = |buffer: Vec<Slot>| tensor(unsafe { written(buffer) }, z.shape());
    [wanted[0].then(|| done(gz)), wanted[1].then(|| done(gq))]
}

simd! {
    fn divergences_of(inputs: [&[f32]; 2], classes: &[u32], y: &mut [Slot], log_sums: &mut [Slot], width: usize) {
        let [z, q] = inputs;
        for (row, (z, (y, log_sum))) in z.chunks_exact(width).zip(y.iter_mut().zip(log_sums)).enumerate() {
            let max = largest(z);
            let [sum] = sums(width, |k| [exp(z[k] - max)]);
            let l = max + sum.ln();
            log_sum.write(l);
            y.write(match classes.get(row) {
                Some(class) => l - z[*class as usize],
                None => {
                    let q = &q[row * width..][..width];
                    q.iter().zip(z).map(|(q, z)| q * (q.max(LEAST).ln() - z + l)).sum()
                }
            });
        }
    }
}

simd! {
    fn gradients_of(
        inputs: [&[f32]; 2], classes: &[u32], of_rows: [&[f32]; 2], gz: &mut [Slot], gq: &mut [Slot], width: usize,
    ) {
        let ([z, q], [log_sums, g]) = (inputs, of_rows);
        let rows = z.chunks_exact(width).zip(gz.chunks_exact_mut(width)).zip(log_sums.iter().zip(g)).enumerate();
        for (row, ((z, gz), (l, g))) in rows {
            if let Some(class) = classes.get(row) {
                for (gz, z) in gz.iter_mut().zip(z) {
                    gz.write(g * exp(z - l));
                }
                gz[*class as usize].write(g * (exp(z[*class as usize] - l) - 1.0));
                continue;
            }
            let range = row * width..(row + 1) * width;
            let q = &q[range.clone()];
            let [all] = sums(width, |k| [q[k]]);
            for ((gz, z), q) in gz.iter_mut().zip(z).zip(q) {
                gz.write(g * (exp(z - l) * all - q));
            }
            if !gq.is_empty() {
                for ((gq, z), q) in gq[range].iter_mut().zip(z).zip(q) {
                    gq.write(g * (q.max(LEAST).ln() + f32::from(u8::from(*q > LEAST)) - z + l));
                }
            }
        }
    }
}
