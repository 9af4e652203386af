//! Softmax and its logarithm along the last axis, of values and tangents.
//!
//! ```text
//! pi = softmax(z)        dpi = pi (dz - q)       q = <pi, dz>
//! l = log pi             dl = dz - q
//! ```
//!
//! With gradients `g` of the value and `h` of the tangent:
//!
//! ```text
//! softmax:     k = g + h (dz - q) - <pi, h> dz      gz = pi (k - <pi, k>)                        gdz = pi (h - <pi, h>)
//! logarithm:   s = sum(h)                           gz = g - pi (sum(g) + s (dz - q))            gdz = h - pi s
//! ```

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn_flex::FlexTensor;

use super::buffer::{Slot, pieces, pieces_mut, run, slots, written};
use super::graph::{Maybe, maybe, operation};
use super::simd::{LANES, exp, simd, sums};
use super::{ValueTangent, first_two, optional, pair, slice, tensor};

/// Softmax along the last axis.
///
/// # Panics
/// If the tensor is not [served](super::serve).
///
/// # Examples
/// Softmax does not change when a constant is added.
/// ```
/// use burn::tensor::{Device, Tensor};
/// use pushforward_kernels::softmax;
///
/// let z = Tensor::<1>::from_floats([0.0, 1.0, 2.0], &Device::flex());
/// let (pi, _) = softmax((z.clone(), None));
/// let (shifted, _) = softmax((z + 8.0, None));
/// assert!((pi - shifted).abs().max().into_scalar::<f32>() < 1e-6);
/// ```
pub fn softmax<const D: usize>((z, dz): ValueTangent<D>) -> ValueTangent<D> {
    pair(Dispatch::softmaxed(z.into_dispatch(), maybe(dz), false))
}

/// Logarithm of the [`softmax`] along the last axis.
///
/// # Panics
/// If the tensor is not [served](super::serve).
///
/// # Examples
/// ```
/// use burn::tensor::{Device, Tensor};
/// use pushforward_kernels::log_softmax;
///
/// let (l, _) = log_softmax((Tensor::<1>::zeros([4], &Device::flex()), None));
/// assert!(l.into_data().iter::<f32>().all(|l| (l + 4f32.ln()).abs() < 1e-6));
/// ```
pub fn log_softmax<const D: usize>((z, dz): ValueTangent<D>) -> ValueTangent<D> {
    pair(Dispatch::softmaxed(z.into_dispatch(), maybe(dz), true))
}

/// Softmax as an operation of a backend.
#[backend_extension(Flex, Autodiff)]
pub(super) trait SoftmaxOps: Backend {
    /// [`softmax`], or [`log_softmax`] if `log`.
    fn softmaxed(
        z: FloatTensor<Self>,
        #[extension_type] dz: Maybe<Self>,
        log: bool,
    ) -> (FloatTensor<Self>, Option<FloatTensor<Self>>);
}

impl SoftmaxOps for Flex {
    fn softmaxed(z: FlexTensor, dz: Maybe<Self>, log: bool) -> (FlexTensor, Option<FlexTensor>) {
        first_two(forward([Some(z), dz.into_option()].map(|x| x.map(super::contiguous)), log).0)
    }
}

impl<C: CheckpointStrategy> SoftmaxOps for Autodiff<Flex, C> {
    fn softmaxed(z: FloatTensor<Self>, dz: Maybe<Self>, log: bool) -> (FloatTensor<Self>, Option<FloatTensor<Self>>) {
        first_two(operation::<C, _, 2>([Some(z), dz.into_option()], |inputs, _| forward(inputs, log), backward))
    }
}

/// Kept for the derivative: the output, which replaces the input, and the tangent of the input.
#[derive(Clone, Debug)]
struct Kept {
    y: FlexTensor,
    dz: Option<FlexTensor>,
    log: bool,
}

/// Number of rows of a tensor, their width, and numbers per piece.
pub(super) fn sizes(x: &FlexTensor) -> (usize, usize, usize) {
    let shape = x.shape();
    let width = shape[shape.num_dims() - 1].max(1);
    (shape.num_elements(), width, width * (1usize << 12).div_ceil(width))
}

fn forward([z, dz]: [Option<FlexTensor>; 2], log: bool) -> (Vec<FlexTensor>, Kept) {
    let z = z.expect("a value");
    let (n, width, piece) = sizes(&z);
    let (mut y, mut dy) = (slots(n), slots(if dz.is_some() { n } else { 0 }));
    let jobs = (pieces(slice(&z), piece).zip(pieces(optional(&dz), piece)))
        .zip(pieces_mut(&mut y, piece).zip(pieces_mut(&mut dy, piece)))
        .take(n.div_ceil(piece));
    run(n * 2, jobs, |((z, dz), (y, dy))| rows(z, dz, y, dy, width, log));
    // SAFETY: the jobs cover all rows.
    let done = |buffer: Vec<Slot>| tensor(unsafe { written(buffer) }, z.shape());
    let y = done(y);
    let outputs = std::iter::once(y.clone()).chain(dz.is_some().then(|| done(dy))).collect();
    (outputs, Kept { y, dz, log })
}

fn backward(kept: Kept, gradients: Vec<Option<FlexTensor>>, wanted: [bool; 2]) -> [Option<FlexTensor>; 2] {
    let Kept { y, dz, log } = kept;
    let (n, width, piece) = sizes(&y);
    let mut gradients = gradients.into_iter();
    let (g, h) = (gradients.next().flatten(), gradients.next().flatten());
    let g = g.unwrap_or_else(|| tensor(vec![0.0; n], y.shape()));
    let (mut gz, mut gdz) = (slots(n), slots(if h.is_some() { n } else { 0 }));
    let jobs = (pieces(slice(&g), piece).zip(pieces(optional(&h), piece)))
        .zip(pieces(slice(&y), piece).zip(pieces(optional(&dz), piece)))
        .zip(pieces_mut(&mut gz, piece).zip(pieces_mut(&mut gdz, piece)))
        .take(n.div_ceil(piece));
    run(n * 2, jobs, |(((g, h), (y, dz)), (gz, gdz))| gradient_rows([g, h], [y, dz], gz, gdz, width, log));
    // SAFETY: the jobs cover all rows.
    let done = |buffer: Vec<Slot>| tensor(unsafe { written(buffer) }, y.shape());
    let gdz = (h.is_some() && wanted[1]).then(|| done(gdz));
    [wanted[0].then(|| done(gz)), gdz]
}

/// The largest number of a row.
#[inline(always)]
pub(super) fn largest(row: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let chunks = row.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for i in 0..LANES {
            lanes[i] = lanes[i].max(chunk[i]);
        }
    }
    lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |m, x| m.max(*x))
}

simd! {
    fn rows(z: &[f32], dz: &[f32], y: &mut [Slot], dy: &mut [Slot], n: usize, log: bool) {
        let mut pi = vec![0.0f32; n];
        let pi = &mut pi[..n];
        for (index, (z, y)) in z.chunks_exact(n).zip(y.chunks_exact_mut(n)).enumerate() {
            let max = largest(z);
            pi.iter_mut().zip(z).for_each(|(p, z)| *p = exp(z - max));
            let [sum] = sums(n, |i| [pi[i]]);
            let scale = 1.0 / sum;
            pi.iter_mut().for_each(|p| *p *= scale);
            if log {
                let log_sum = max + sum.ln();
                for i in 0..n {
                    y[i].write(z[i] - log_sum);
                }
            } else {
                for i in 0..n {
                    y[i].write(pi[i]);
                }
            }
            if dy.is_empty() {
                continue;
            }
            let (dz, dy) = (&dz[index * n..][..n], &mut dy[index * n..][..n]);
            let [q] = sums(n, |i| [pi[i] * dz[i]]);
            for i in 0..n {
                dy[i].write(if log { dz[i] - q } else { pi[i] * (dz[i] - q) });
            }
        }
    }
}

simd! {
    fn gradient_rows(gs: [&[f32]; 2], ys: [&[f32]; 2], gz: &mut [Slot], gdz: &mut [Slot], n: usize, log: bool) {
        let ([g, h], [y, dz]) = (gs, ys);
        let mut pi = vec![0.0f32; n];
        let pi = &mut pi[..n];
        for (index, ((g, y), gz)) in g.chunks_exact(n).zip(y.chunks_exact(n)).zip(gz.chunks_exact_mut(n)).enumerate() {
            if log {
                pi.iter_mut().zip(y).for_each(|(p, y)| *p = exp(*y));
            } else {
                pi.copy_from_slice(y);
            }
            if gdz.is_empty() {
                if log {
                    let [all] = sums(n, |i| [g[i]]);
                    for i in 0..n {
                        gz[i].write(g[i] - pi[i] * all);
                    }
                } else {
                    let [along] = sums(n, |i| [pi[i] * g[i]]);
                    for i in 0..n {
                        gz[i].write(pi[i] * (g[i] - along));
                    }
                }
                continue;
            }
            let range = index * n..(index + 1) * n;
            let (h, dz, gdz) = (&h[range.clone()], &dz[range.clone()], &mut gdz[range]);
            let (h, dz, gdz) = (&h[..n], &dz[..n], &mut gdz[..n]);
            if log {
                let [all, all_h, q] = sums(n, |i| [g[i], h[i], pi[i] * dz[i]]);
                for i in 0..n {
                    gz[i].write(g[i] - pi[i] * (all + all_h * (dz[i] - q)));
                    gdz[i].write(h[i] - pi[i] * all_h);
                }
            } else {
                let [q, along_h] = sums(n, |i| [pi[i] * dz[i], pi[i] * h[i]]);
                let k = |i: usize| g[i] + h[i] * (dz[i] - q) - along_h * dz[i];
                let [along] = sums(n, |i| [pi[i] * k(i)]);
                for i in 0..n {
                    gz[i].write(pi[i] * (k(i) - along));
                    gdz[i].write(pi[i] * (h[i] - along_h));
                }
            }
        }
    }
}
