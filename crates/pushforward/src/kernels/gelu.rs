//! GELU in its tanh form, its slope and its curvature.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::Tensor;
use burn_flex::FlexTensor;
use rayon::prelude::*;

use super::simd::{sigmoid, simd};
use super::{slice, tensor};

/// GELU in its tanh form; see [`Dual::gelu`](crate::dual::Dual::gelu).
///
/// # Panics
/// If the tensor is not [served](super::serve).
pub fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    Tensor::from_dispatch(Dispatch::gelu_tanh(x.into_dispatch()))
}

/// The derivative of [`gelu`], itself differentiable once.
///
/// # Panics
/// If the tensor is not [served](super::serve).
pub fn gelu_slope<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    Tensor::from_dispatch(Dispatch::gelu_tanh_slope(x.into_dispatch()))
}

/// GELU as operations of a backend.
#[backend_extension(Flex, Autodiff)]
pub(super) trait GeluOps: Backend {
    /// See [`gelu`].
    fn gelu_tanh(x: FloatTensor<Self>) -> FloatTensor<Self>;
    /// See [`gelu_slope`].
    fn gelu_tanh_slope(x: FloatTensor<Self>) -> FloatTensor<Self>;
}

impl GeluOps for Flex {
    fn gelu_tanh(x: FlexTensor) -> FlexTensor {
        map(&x, gelu_values)
    }

    fn gelu_tanh_slope(x: FlexTensor) -> FlexTensor {
        map(&x, gelu_slopes)
    }
}

impl<C: CheckpointStrategy> GeluOps for Autodiff<Flex, C> {
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
    let values = slice(&x);
    let mut out = vec![0.0f32; values.len()];
    out.par_chunks_mut(CHUNK).zip(values.par_chunks(CHUNK)).for_each(|(out, x)| f(x, out));
    tensor(out, x.shape())
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
            let (upstream, values) = (slice(&upstream), slice(&x));
            let mut out = vec![0.0f32; values.len()];
            out.par_chunks_mut(CHUNK).zip(values.par_chunks(CHUNK)).zip(upstream.par_chunks(CHUNK)).for_each(
                |((out, x), upstream)| {
                    derivative(x, out);
                    out.iter_mut().zip(upstream).for_each(|(o, u)| *o *= u);
                },
            );
            let shape = x.shape();
            grads.register::<Flex>(parent.id, tensor(out, shape));
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

simd! {
    fn gelu_values(x: &[f32], out: &mut [f32]) {
        x.iter().zip(out).for_each(|(&x, out)| *out = gelu_value(x));
    }
}
simd! {
    fn gelu_slopes(x: &[f32], out: &mut [f32]) {
        x.iter().zip(out).for_each(|(&x, out)| *out = gelu_first(x));
    }
}
simd! {
    fn gelu_curvatures(x: &[f32], out: &mut [f32]) {
        x.iter().zip(out).for_each(|(&x, out)| *out = gelu_second(x));
    }
}

/// 2 sqrt(2/pi): the tanh form is `x sigma(v)` with `v = TWO_C (x + A x^3)`.
const TWO_C: f32 = 1.595_769;
const A: f32 = 0.044_715;

#[inline(always)]
pub(super) fn gelu_value(x: f32) -> f32 {
    x * sigmoid(TWO_C * x * (1.0 + A * x * x))
}

#[inline(always)]
pub(super) fn gelu_first(x: f32) -> f32 {
    let [_, slope, _] = gelu_all(x);
    slope
}

#[inline(always)]
fn gelu_second(x: f32) -> f32 {
    let [_, _, curvature] = gelu_all(x);
    curvature
}

/// Value, slope and curvature; what is not used costs nothing.
#[inline(always)]
pub(super) fn gelu_all(x: f32) -> [f32; 3] {
    let s = sigmoid(TWO_C * x * (1.0 + A * x * x));
    let dv = TWO_C * (1.0 + 3.0 * A * x * x);
    let ddv = 6.0 * TWO_C * A * x;
    let ds = s * (1.0 - s);
    [x * s, s + x * ds * dv, ds * (2.0 * dv + x * ((1.0 - 2.0 * s) * dv * dv + ddv))]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::serve;
    use burn::tensor::{Device, TensorData};

    fn exact(x: f64) -> [f64; 3] {
        let f = |x: f64| 0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x)).tanh());
        let h = 1e-4;
        [f(x), (f(x + h) - f(x - h)) / (2.0 * h), (f(x + h) - 2.0 * f(x) + f(x - h)) / (h * h)]
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
