//! Updates of parameters outside of any autodiff graph: AdamW, moving averages, inner products.
//!
//! ```text
//! m <- beta_1 m + (1 - beta_1) g      v <- beta_2 v + (1 - beta_2) g^2      w <- keep w - rate m / (root sqrt(v) + eps)
//! ```

use burn::backend::{Flex, TensorMetadata};
use burn::tensor::Tensor;
use burn_flex::FlexTensor;

use super::buffer::{run, slots, written};
use super::simd::{simd, sums};
use super::{contiguous, slice, tensor};

/// Coefficients of an AdamW step.
#[derive(Clone, Copy, Debug)]
pub struct AdamWRates {
    /// Decay rates of the moments.
    pub betas: [f32; 2],
    /// `1 - lr weight_decay`.
    pub keep: f32,
    /// `lr / (1 - beta_1^k)` in step k.
    pub rate: f32,
    /// `(1 - beta_2^k)^(-1/2)`.
    pub root: f32,
    /// Added to the root of the corrected second moment.
    pub eps: f32,
}

/// Elements per job.
const PIECE: usize = 1 << 13;

/// One AdamW step (Loshchilov, Hutter 2019, arXiv:1711.05101). Returns the new weights and moments; moments are updated
/// in place unless their memory is shared.
///
/// # Panics
/// If the tensors are not [served](super::serve) or belong to a graph, or lengths differ.
///
/// # Examples
/// Without weight decay, the first step from moments of zero has length `lr`.
/// ```
/// use burn::tensor::{Device, Tensor};
/// use pushforward_kernels::{AdamWRates, adamw};
///
/// let (lr, betas) = (0.1f32, [0.9f32, 0.999]);
/// let (rate, root) = (lr / (1.0 - betas[0]), (1.0 - betas[1]).powf(-0.5));
/// let zeros = || Tensor::<1>::zeros([2], &Device::flex());
/// let gradient = Tensor::from_floats([3.0, -0.5], &Device::flex());
/// let rates = AdamWRates { betas, keep: 1.0, rate, root, eps: 1e-8 };
/// let (w, _) = adamw(zeros(), gradient, [zeros(), zeros()], rates);
/// let w: Vec<f32> = w.into_data().iter().collect();
/// assert!((w[0] + lr).abs() < 1e-5 && (w[1] - lr).abs() < 1e-5);
/// ```
pub fn adamw(
    weights: Tensor<1>,
    gradient: Tensor<1>,
    moments: [Tensor<1>; 2],
    rates: AdamWRates,
) -> (Tensor<1>, [Tensor<1>; 2]) {
    let [weights, gradient] = [weights, gradient].map(|x| contiguous(primitive(x)));
    let [mut first, mut second] = moments.map(|x| whole(primitive(x)));
    let n = slice(&weights).len();
    assert!([&gradient, &first, &second].map(|x| slice(x).len()) == [n; 3], "as many gradients and moments as weights");
    let mut out = slots(n);
    let jobs = (slice(&weights).chunks(PIECE).zip(slice(&gradient).chunks(PIECE)))
        .zip(first.storage_mut::<f32>().chunks_mut(PIECE).zip(second.storage_mut::<f32>().chunks_mut(PIECE)))
        .zip(out.chunks_mut(PIECE));
    run(n, jobs, |(((w, g), (m, v)), out)| {
        moments_of(rates.betas, g, m, v);
        weights_of(rates, w, m, v, out);
    });
    // SAFETY: the jobs cover all elements.
    let out = tensor(unsafe { written(out) }, weights.shape());
    (from(out), [from(first), from(second)])
}

/// Step of an exponential moving average, `decay average + (1 - decay) value`.
///
/// # Panics
/// If the tensors are not [served](super::serve) or belong to a graph, or lengths differ.
///
/// # Examples
/// ```
/// use burn::tensor::{Device, Tensor};
/// use pushforward_kernels::average;
///
/// let (device, shape) = (Device::flex(), [1]);
/// let mean = average(Tensor::zeros(shape, &device), Tensor::ones(shape, &device), 0.75);
/// assert_eq!(mean.into_scalar::<f32>(), 0.25);
/// ```
pub fn average(average: Tensor<1>, value: Tensor<1>, decay: f64) -> Tensor<1> {
    let [average, value] = [average, value].map(|x| contiguous(primitive(x)));
    let n = slice(&average).len();
    assert_eq!(slice(&value).len(), n, "an average and a value of one length");
    let mut out = slots(n);
    let jobs = slice(&average).chunks(PIECE).zip(slice(&value).chunks(PIECE)).zip(out.chunks_mut(PIECE));
    run(n / 2, jobs, |((a, x), out)| averages(decay as f32, (1.0 - decay) as f32, a, x, out));
    // SAFETY: the jobs cover all elements.
    from(tensor(unsafe { written(out) }, average.shape()))
}

/// Inner product, accumulated in float32 within pieces and in float64 over pieces.
///
/// # Panics
/// If the tensors are not [served](super::serve) or belong to a graph, or lengths differ.
///
/// # Examples
/// ```
/// use burn::tensor::{Device, Tensor};
/// use pushforward_kernels::dot;
///
/// let a = Tensor::from_floats([1.0, 2.0, 3.0], &Device::flex());
/// assert_eq!(dot(&a, &a), 14.0);
/// ```
pub fn dot(a: &Tensor<1>, b: &Tensor<1>) -> f64 {
    let [a, b] = [a, b].map(|x| contiguous(primitive(x.clone())));
    let n = slice(&a).len();
    assert_eq!(slice(&b).len(), n, "factors of one length");
    let mut parts = vec![0.0f32; n.div_ceil(PIECE)];
    let jobs = slice(&a).chunks(PIECE).zip(slice(&b).chunks(PIECE)).zip(&mut parts);
    run(n / 4, jobs, |((a, b), part)| *part = gemm(a, b));
    parts.into_iter().map(f64::from).sum()
}

fn primitive(x: Tensor<1>) -> FlexTensor {
    x.try_into_primitive::<Flex>().expect("kernels of updates serve tensors of the CPU outside of graphs")
}

fn from(x: FlexTensor) -> Tensor<1> {
    Tensor::from_primitive::<Flex>(x)
}

/// The tensor in a buffer of its own, of exactly its size.
fn whole(x: FlexTensor) -> FlexTensor {
    let numbers = x.storage::<f32>().len();
    if x.layout().contiguous_offsets() == Some((0, numbers)) { x } else { x.to_contiguous() }
}

simd! {
    fn moments_of(betas: [f32; 2], g: &[f32], m: &mut [f32], v: &mut [f32]) {
        let [beta_1, beta_2] = betas;
        for (g, (m, v)) in g.iter().zip(m.iter_mut().zip(v)) {
            *m = beta_1 * *m + (1.0 - beta_1) * g;
            *v = beta_2 * *v + (1.0 - beta_2) * g * g;
        }
    }
}
simd! {
    fn weights_of(rates: AdamWRates, w: &[f32], m: &[f32], v: &[f32], out: &mut [super::buffer::Slot]) {
        for ((w, out), (m, v)) in w.iter().zip(out).zip(m.iter().zip(v)) {
            out.write(rates.keep * w - rates.rate * m / (rates.root * v.sqrt() + rates.eps));
        }
    }
}
simd! {
    fn averages(decay: f32, rest: f32, a: &[f32], x: &[f32], out: &mut [super::buffer::Slot]) {
        for ((a, x), out) in a.iter().zip(x).zip(out) {
            out.write(decay * a + rest * x);
        }
    }
}
simd! {
    fn gemm(a: &[f32], b: &[f32]) -> f32 {
        let n = a.len();
        let b = &b[..n];
        sums(n, |i| [a[i] * b[i]])[0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    const LENGTHS: [usize; 4] = [1, 17, PIECE + 33, 9 * PIECE + 7];

    fn numbers(n: usize, seed: usize) -> Vec<f32> {
        (0..n).map(|i| (((i * 37 + seed * 101) % 199) as f32 - 99.0) / 100.0).collect()
    }

    fn vector(values: &[f32]) -> Tensor<1> {
        Tensor::from_data(values, &Device::flex())
    }

    fn host(x: Tensor<1>) -> Vec<f32> {
        x.into_data().iter().collect()
    }

    /// The result on two threads, which must equal that of one thread bit by bit.
    fn on_threads<T: PartialEq + Send>(f: impl Fn() -> T + Send + Sync) -> T {
        let on = |n: usize| rayon::ThreadPoolBuilder::new().num_threads(n).build().expect("a pool").install(&f);
        let two = on(2);
        assert!(on(1) == two, "the bits depend on the threads");
        two
    }

    #[test]
    fn adamw_is_the_formula_and_leaves_shared_moments_alone() {
        let rates = AdamWRates { betas: [0.8, 0.95], keep: 0.999, rate: 0.05, root: 2.0, eps: 1e-3 };
        for n in LENGTHS {
            let (w, g, m) = (numbers(n, 0), numbers(n, 1), numbers(n, 2));
            let v: Vec<f32> = numbers(n, 3).iter().map(|x| x * x).collect();
            let (new_w, new_m, new_v) = on_threads(|| {
                let (moment, kept) = (vector(&m), vector(&m));
                let shared = kept.clone();
                let (w, [_, _]) = adamw(vector(&w), vector(&g), [shared, vector(&v)], rates);
                assert!(host(kept) == m, "a moment that something else holds was written");
                let (again, [first, second]) = adamw(vector(&host(w.clone())), vector(&g), [moment, vector(&v)], rates);
                drop(again);
                (host(w), host(first), host(second))
            });
            for i in 0..n {
                let [w, g, m, v] = [w[i], g[i], m[i], v[i]].map(f64::from);
                let (m, v) = (0.8 * m + 0.2 * g, 0.95 * v + 0.05 * g * g);
                let w = 0.999 * w - 0.05 * m / (2.0 * v.sqrt() + 1e-3);
                for (found, wanted) in [(new_w[i], w), (new_m[i], m), (new_v[i], v)] {
                    assert!((f64::from(found) - wanted).abs() < 1e-5 * (1.0 + wanted.abs()), "{i}: {found}, {wanted}");
                }
            }
        }
    }

    #[test]
    fn averages_and_inner_products() {
        for n in LENGTHS {
            let (a, b) = (numbers(n, 4), numbers(n, 5));
            let (mean, inner) =
                on_threads(|| (host(average(vector(&a), vector(&b), 0.9)), dot(&vector(&a), &vector(&b))));
            let wanted: f64 = a.iter().zip(&b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            assert!((inner - wanted).abs() < 1e-5 * n as f64, "{n}: {inner}, {wanted}");
            for ((a, b), mean) in a.iter().zip(&b).zip(mean) {
                assert!((mean - (0.9 * a + 0.1 * b)).abs() < 1e-6);
            }
        }
    }
}
