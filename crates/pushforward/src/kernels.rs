//! Fused CPU kernels behind plain functions, each with its derivative written by hand.
//!
//! A kernel serves float32 tensors on burn's CPU backend; every caller keeps a composed form for the other devices and
//! precisions. The arithmetic is one scalar loop body, compiled once for AVX-512, once for AVX2 and once plainly, and chosen
//! at run time.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Bytes, DType, Tensor};
use burn_flex::{FlexTensor, Layout};
use rayon::prelude::*;

use crate::device::is_cpu;

/// Whether the kernels serve this tensor.
pub fn serve<const D: usize>(x: &Tensor<D>) -> bool {
    x.dtype() == DType::F32 && is_cpu(&x.device())
}

/// GELU in its tanh form; see [`Dual::gelu`](crate::dual::Dual::gelu).
///
/// # Panics
/// If the tensor is not [served](serve).
pub fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    Tensor::from_dispatch(Dispatch::gelu_tanh(x.into_dispatch()))
}

/// The derivative of [`gelu`], itself differentiable once.
///
/// # Panics
/// If the tensor is not [served](serve).
pub fn gelu_slope<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    Tensor::from_dispatch(Dispatch::gelu_tanh_slope(x.into_dispatch()))
}

/// The kernels as operations of a backend.
#[backend_extension(Flex, Autodiff)]
pub trait KernelOps: Backend {
    /// See [`gelu`].
    fn gelu_tanh(x: FloatTensor<Self>) -> FloatTensor<Self>;
    /// See [`gelu_slope`].
    fn gelu_tanh_slope(x: FloatTensor<Self>) -> FloatTensor<Self>;
}

impl KernelOps for Flex {
    fn gelu_tanh(x: FlexTensor) -> FlexTensor {
        map(&x, gelu_values)
    }

    fn gelu_tanh_slope(x: FlexTensor) -> FlexTensor {
        map(&x, gelu_slopes)
    }
}

impl<C: CheckpointStrategy> KernelOps for Autodiff<Flex, C> {
    fn gelu_tanh(x: FloatTensor<Self>) -> FloatTensor<Self> {
        tracked::<C>(x, gelu_values, gelu_slopes)
    }

    fn gelu_tanh_slope(x: FloatTensor<Self>) -> FloatTensor<Self> {
        tracked::<C>(x, gelu_slopes, gelu_curvatures)
    }
}

/// An elementwise function of slices, into the second one.
type Elementwise = fn(&[f32], &mut [f32]);

/// Elements that one task handles.
const CHUNK: usize = 1 << 13;

fn map(x: &FlexTensor, f: Elementwise) -> FlexTensor {
    let x = x.to_contiguous();
    let values = x.as_slice::<f32>().expect("kernels serve float32 tensors");
    let mut out = vec![0.0f32; values.len()];
    out.par_chunks_mut(CHUNK).zip(values.par_chunks(CHUNK)).for_each(|(out, x)| f(x, out));
    FlexTensor::new(Bytes::from_elems(out), Layout::contiguous(x.shape()), DType::F32)
}

/// An elementwise operation in the graph, with the function that gives its derivative.
fn tracked<C: CheckpointStrategy>(
    x: FloatTensor<Autodiff<Flex, C>>,
    value: Elementwise,
    derivative: Elementwise,
) -> FloatTensor<Autodiff<Flex, C>> {
    #[derive(Debug)]
    struct ElementwiseStep;
    impl Backward<Flex, 1> for ElementwiseStep {
        type State = (FlexTensor, Elementwise);
        fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
            let upstream = grads.consume::<Flex>(&ops.node).to_contiguous();
            let (x, derivative) = ops.state;
            let [Some(parent)] = ops.parents else { return };
            let upstream = upstream.as_slice::<f32>().expect("a gradient has its value's precision");
            let values = x.as_slice::<f32>().expect("kernels serve float32 tensors");
            let mut out = vec![0.0f32; values.len()];
            out.par_chunks_mut(CHUNK).zip(values.par_chunks(CHUNK)).zip(upstream.par_chunks(CHUNK)).for_each(
                |((out, x), upstream)| {
                    derivative(x, out);
                    out.iter_mut().zip(upstream).for_each(|(o, u)| *o *= u);
                },
            );
            let shape = x.shape();
            grads.register::<Flex>(
                parent.id,
                FlexTensor::new(Bytes::from_elems(out), Layout::contiguous(shape), DType::F32),
            );
        }
    }
    let (x, node) = x.into_parts();
    let x = x.to_contiguous();
    match ElementwiseStep.prepare::<C>([node]).compute_bound().stateful() {
        OpsKind::Tracked(prep) => {
            let out = map(&x, value);
            prep.finish((x, derivative), out)
        }
        OpsKind::UnTracked(prep) => prep.finish(map(&x, value)),
    }
}

/// Compiles one elementwise body for several instruction sets and picks the best one the processor has.
macro_rules! elementwise {
    ($name:ident, $body:path) => {
        fn $name(x: &[f32], out: &mut [f32]) {
            #[inline(always)]
            fn all(x: &[f32], out: &mut [f32]) {
                for (o, &x) in out.iter_mut().zip(x) {
                    *o = $body(x);
                }
            }
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
                fn avx512(x: &[f32], out: &mut [f32]) {
                    all(x, out);
                }
                #[target_feature(enable = "avx2,fma")]
                fn avx2(x: &[f32], out: &mut [f32]) {
                    all(x, out);
                }
                if is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512bw")
                {
                    // SAFETY: the processor has the instruction set that the function is compiled for.
                    return unsafe { avx512(x, out) };
                }
                if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                    // SAFETY: as above.
                    return unsafe { avx2(x, out) };
                }
            }
            all(x, out);
        }
    };
}

elementwise!(gelu_values, gelu_value);
elementwise!(gelu_slopes, gelu_first);
elementwise!(gelu_curvatures, gelu_second);

/// 2 sqrt(2/pi): the tanh form is `x sigma(v)` with `v = TWO_C (x + A x^3)`.
const TWO_C: f32 = 1.595_769;
const A: f32 = 0.044_715;

#[inline(always)]
fn gelu_value(x: f32) -> f32 {
    x * sigmoid(TWO_C * x * (1.0 + A * x * x))
}

#[inline(always)]
fn gelu_first(x: f32) -> f32 {
    let s = sigmoid(TWO_C * x * (1.0 + A * x * x));
    let dv = TWO_C * (1.0 + 3.0 * A * x * x);
    s + x * s * (1.0 - s) * dv
}

#[inline(always)]
fn gelu_second(x: f32) -> f32 {
    let s = sigmoid(TWO_C * x * (1.0 + A * x * x));
    let dv = TWO_C * (1.0 + 3.0 * A * x * x);
    let ddv = 6.0 * TWO_C * A * x;
    let ds = s * (1.0 - s);
    ds * (2.0 * dv + x * ((1.0 - 2.0 * s) * dv * dv + ddv))
}

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// `e^x` to about two units in the last place: `2^n e^r` with `|r| <= ln(2)/2` and a Taylor polynomial of degree 7 of `e^r`.
#[inline(always)]
fn exp(x: f32) -> f32 {
    // Adding and subtracting this constant rounds to an integer, which is then in the low bits of the sum.
    const ROUND: f32 = 12_582_912.0;
    // ln 2 in two parts; the first has few enough digits that its multiples are exact.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let x = x.clamp(-87.0, 88.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * LN2_HIGH - n * LN2_LOW;
    let tail = r * (1.0 / 720.0 + r * (1.0 / 5040.0));
    let p = 1.0 + r * (1.0 + r * (0.5 + r * (1.0 / 6.0 + r * (1.0 / 24.0 + r * (1.0 / 120.0 + tail)))));
    p * f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};

    fn exact(x: f64) -> [f64; 3] {
        let f = |x: f64| 0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x)).tanh());
        let h = 1e-4;
        [f(x), (f(x + h) - f(x - h)) / (2.0 * h), (f(x + h) - 2.0 * f(x) + f(x - h)) / (h * h)]
    }

    #[test]
    fn exponential() {
        for i in -8700..8800 {
            let x = i as f32 * 0.01;
            let error = f64::from(exp(x)) / f64::from(x).exp() - 1.0;
            assert!(error.abs() < 3e-7, "exp({x}): relative error {error:e}");
        }
    }

    #[test]
    fn gelu_and_its_derivatives_at_every_length() {
        for n in [1, 7, 16, 33, 20_000] {
            let x: Vec<f32> = (0..n).map(|i| -12.0 + 24.0 * i as f32 / n as f32).collect();
            let kernels: [Elementwise; 3] = [gelu_values, gelu_slopes, gelu_curvatures];
            for (order, kernel) in kernels.into_iter().enumerate() {
                let mut out = vec![f32::NAN; n];
                kernel(&x, &mut out);
                for (x, found) in x.iter().zip(out) {
                    let wanted = exact(f64::from(*x))[order];
                    let tolerance = if order == 2 { 3e-5 } else { 3e-6 };
                    assert!((f64::from(found) - wanted).abs() < tolerance, "order {order} at {x}: {found}, {wanted}");
                }
            }
        }
    }

    #[test]
    fn gradients_of_value_and_slope() {
        let device = Device::flex().autodiff();
        let values = [-2.0f32, -0.4, 0.3, 1.7, 0.0, 5.0];
        let leaf = || Tensor::<2>::from_data(TensorData::new(values.to_vec(), [2, 3]), &device).require_grad();
        assert!(serve(&leaf()));
        for (order, f) in [(1, gelu as fn(Tensor<2>) -> Tensor<2>), (2, gelu_slope)] {
            let x = leaf();
            // Transposed, so that the kernel meets a strided input.
            let y = f(x.clone().transpose()) * 3.0;
            let grads = y.sum().backward();
            let found: Vec<f32> = x.grad(&grads).expect("a gradient").into_data().iter().collect();
            for (x, found) in values.iter().zip(found) {
                let wanted = 3.0 * exact(f64::from(*x))[order];
                assert!((f64::from(found) - wanted).abs() < 5e-5, "order {order} at {x}: {found}, {wanted}");
            }
        }
    }
}
