//! Activations of values and tangents.
//!
//! ```text
//! y = f(x)      dy = f'(x) dx        gx = f'(x) gy + f''(x) dx gdy      gdx = f'(x) gdy
//! ```
//!
//! `d` is the tangent and `g` the gradient.

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn_flex::FlexTensor;

use super::buffer::{Slot, pieces, pieces_mut, run, slots, written};
use super::graph::{Maybe, maybe, operation};
use super::simd::{sigmoid, simd};
use super::{ValueTangent, first_two, optional, pair, slice, tensor};

/// An elementwise function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// GELU in its tanh form, `x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))`.
    Gelu,
    /// `x sigmoid(x)`.
    Silu,
    /// `max(x, 0)`, with slope 0 at 0.
    Relu,
}

/// Applies an activation to every element.
///
/// # Panics
/// If the tensor is not [served](super::serve).
///
/// # Examples
/// ```
/// use burn::tensor::{Device, Tensor};
/// use pushforward_kernels::{Activation, activate};
///
/// let device = Device::flex();
/// let x = Tensor::<1>::from_floats([-1.0, 2.0], &device);
/// let (y, dy) = activate((x, Some(Tensor::ones([2], &device))), Activation::Relu);
/// let numbers = |x: Tensor<1>| x.into_data().iter::<f32>().collect::<Vec<_>>();
/// assert_eq!(numbers(y), [0.0, 2.0]);
/// assert_eq!(numbers(dy.unwrap()), [0.0, 1.0]);
/// ```
pub fn activate<const D: usize>((x, dx): ValueTangent<D>, activation: Activation) -> ValueTangent<D> {
    pair(Dispatch::activated(x.into_dispatch(), maybe(dx), activation))
}

/// Activations as operations of a backend.
#[backend_extension(Flex, Autodiff)]
pub(super) trait ActivationOps: Backend {
    /// See [`activate`].
    fn activated(
        x: FloatTensor<Self>,
        #[extension_type] dx: Maybe<Self>,
        activation: Activation,
    ) -> (FloatTensor<Self>, Option<FloatTensor<Self>>);
}

impl ActivationOps for Flex {
    fn activated(x: FlexTensor, dx: Maybe<Self>, activation: Activation) -> (FlexTensor, Option<FlexTensor>) {
        let inputs = [Some(x), dx.into_option()].map(|x| x.map(super::contiguous));
        first_two(forward(inputs, activation).0)
    }
}

impl<C: CheckpointStrategy> ActivationOps for Autodiff<Flex, C> {
    fn activated(
        x: FloatTensor<Self>,
        dx: Maybe<Self>,
        activation: Activation,
    ) -> (FloatTensor<Self>, Option<FloatTensor<Self>>) {
        let inputs = [Some(x), dx.into_option()];
        first_two(operation::<C, _, 2>(inputs, |inputs, _| forward(inputs, activation), backward))
    }
}

/// Inputs, kept for the derivative.
#[derive(Clone, Debug)]
struct Kept {
    x: FlexTensor,
    dx: Option<FlexTensor>,
    activation: Activation,
}

/// Elements per job.
const PIECE: usize = 1 << 13;

fn forward([x, dx]: [Option<FlexTensor>; 2], activation: Activation) -> (Vec<FlexTensor>, Kept) {
    let x = x.expect("a value");
    let n = x.shape().num_elements();
    let (mut y, mut dy) = (slots(n), slots(if dx.is_some() { n } else { 0 }));
    let jobs = (pieces(slice(&x), PIECE).zip(pieces(optional(&dx), PIECE)))
        .zip(pieces_mut(&mut y, PIECE).zip(pieces_mut(&mut dy, PIECE)))
        .take(n.div_ceil(PIECE));
    run(n, jobs, |((x, dx), (y, dy))| {
        if dx.is_empty() {
            values(activation, x, y);
        } else {
            duals(activation, x, dx, y, dy);
        }
    });
    // SAFETY: the jobs cover all elements.
    let done = |buffer: Vec<Slot>| tensor(unsafe { written(buffer) }, x.shape());
    let outputs = std::iter::once(done(y)).chain(dx.is_some().then(|| done(dy))).collect();
    (outputs, Kept { x, dx, activation })
}

fn backward(kept: Kept, gradients: Vec<Option<FlexTensor>>, wanted: [bool; 2]) -> [Option<FlexTensor>; 2] {
    let Kept { x, dx, activation } = kept;
    let n = x.shape().num_elements();
    let mut gradients = gradients.into_iter();
    let (gy, gdy) = (gradients.next().flatten(), gradients.next().flatten());
    let gy = gy.unwrap_or_else(|| tensor(vec![0.0; n], x.shape()));
    let (mut gx, mut gdx) = (slots(n), slots(if gdy.is_some() { n } else { 0 }));
    let jobs = (pieces(slice(&gy), PIECE).zip(pieces(optional(&gdy), PIECE)))
        .zip(pieces(slice(&x), PIECE).zip(pieces(optional(&dx), PIECE)))
        .zip(pieces_mut(&mut gx, PIECE).zip(pieces_mut(&mut gdx, PIECE)))
        .take(n.div_ceil(PIECE));
    run(n, jobs, |(((gy, gdy), (x, dx)), (gx, gdx))| {
        if gdy.is_empty() {
            value_gradients(activation, gy, x, gx);
        } else {
            dual_gradients(activation, [gy, gdy], [x, dx], gx, gdx);
        }
    });
    // SAFETY: the jobs cover all elements.
    let done = |buffer: Vec<Slot>| tensor(unsafe { written(buffer) }, x.shape());
    let gdx = (gdy.is_some() && wanted[1]).then(|| done(gdx));
    [wanted[0].then(|| done(gx)), gdx]
}

/// Value, first and second derivative of a function; after inlining, unused ones cost nothing.
pub(super) trait Curve {
    fn at(x: f32) -> [f32; 3];
}

pub(super) struct Gelu;

impl Curve for Gelu {
    #[inline(always)]
    fn at(x: f32) -> [f32; 3] {
        // 2 sqrt(2/pi): the tanh form is `x sigma(v)` with `v = TWO_C (x + A x^3)`.
        const TWO_C: f32 = 1.595_769;
        const A: f32 = 0.044_715;
        let s = sigmoid(TWO_C * x * (1.0 + A * x * x));
        let dv = TWO_C * (1.0 + 3.0 * A * x * x);
        let ddv = 6.0 * TWO_C * A * x;
        let ds = s * (1.0 - s);
        [x * s, s + x * ds * dv, ds * (2.0 * dv + x * ((1.0 - 2.0 * s) * dv * dv + ddv))]
    }
}

pub(super) struct Silu;

impl Curve for Silu {
    #[inline(always)]
    fn at(x: f32) -> [f32; 3] {
        let s = sigmoid(x);
        let ds = s * (1.0 - s);
        [x * s, s + x * ds, ds * (2.0 + x * (1.0 - 2.0 * s))]
    }
}

pub(super) struct Relu;

impl Curve for Relu {
    #[inline(always)]
    fn at(x: f32) -> [f32; 3] {
        // NaN stays NaN.
        if x <= 0.0 { [0.0; 3] } else { [x, 1.0, 0.0] }
    }
}

/// Dispatches to the curve of an activation.
macro_rules! curve {
    ($activation:expr, $function:ident($($argument:expr),*)) => {
        match $activation {
            $crate::Activation::Gelu => $function::<$crate::activation::Gelu>($($argument),*),
            $crate::Activation::Silu => $function::<$crate::activation::Silu>($($argument),*),
            $crate::Activation::Relu => $function::<$crate::activation::Relu>($($argument),*),
        }
    };
}
pub(super) use curve;

simd! {
    /// `y = f(x)`.
    fn values(f: Activation, x: &[f32], y: &mut [Slot]) {
        #[inline(always)]
        fn with<F: Curve>(x: &[f32], y: &mut [Slot]) {
            y.iter_mut().zip(x).for_each(|(y, x)| {
                y.write(F::at(*x)[0]);
            });
        }
        curve!(f, with(x, y));
    }
}
simd! {
    /// `y = f(x)` and `dy = f'(x) dx`.
    fn duals(f: Activation, x: &[f32], dx: &[f32], y: &mut [Slot], dy: &mut [Slot]) {
        #[inline(always)]
        fn with<F: Curve>(x: &[f32], dx: &[f32], y: &mut [Slot], dy: &mut [Slot]) {
            for ((x, dx), (y, dy)) in x.iter().zip(dx).zip(y.iter_mut().zip(dy)) {
                let [value, slope, _] = F::at(*x);
                y.write(value);
                dy.write(slope * dx);
            }
        }
        curve!(f, with(x, dx, y, dy));
    }
}
simd! {
    pub(super) fn value_gradients(f: Activation, gy: &[f32], x: &[f32], gx: &mut [Slot]) {
        #[inline(always)]
        fn with<F: Curve>(gy: &[f32], x: &[f32], gx: &mut [Slot]) {
            for ((gy, x), gx) in gy.iter().zip(x).zip(gx) {
                gx.write(gy * F::at(*x)[1]);
            }
        }
        curve!(f, with(gy, x, gx));
    }
}
simd! {
    pub(super) fn dual_gradients(f: Activation, gs: [&[f32]; 2], xs: [&[f32]; 2], gx: &mut [Slot], gdx: &mut [Slot]) {
        #[inline(always)]
        fn with<F: Curve>([gy, gdy]: [&[f32]; 2], [x, dx]: [&[f32]; 2], gx: &mut [Slot], gdx: &mut [Slot]) {
            for (((gy, gdy), (x, dx)), (gx, gdx)) in gy.iter().zip(gdy).zip(x.iter().zip(dx)).zip(gx.iter_mut().zip(gdx)) {
                let [_, slope, curvature] = F::at(*x);
                gx.write(gy * slope + gdy * curvature * dx);
                gdx.write(gdy * slope);
            }
        }
        curve!(f, with(gs, xs, gx, gdx));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Value, slope and curvature in float64.
    fn exact(activation: Activation, x: f64) -> [f64; 3] {
        let f = |x: f64| match activation {
            Activation::Gelu => {
                0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x)).tanh())
            }
            Activation::Silu => x / (1.0 + (-x).exp()),
            Activation::Relu => x.max(0.0),
        };
        let h = 1e-4;
        [f(x), (f(x + h) - f(x - h)) / (2.0 * h), (f(x + h) - 2.0 * f(x) + f(x - h)) / (h * h)]
    }

    #[test]
    fn values_slopes_and_curvatures_at_every_length() {
        for activation in [Activation::Gelu, Activation::Silu, Activation::Relu] {
            for n in [1, 7, 16, 33, 20_000] {
                let x: Vec<f32> = (0..n).map(|i| -12.0 + 24.0 * i as f32 / n as f32).collect();
                let (ones, mut y, mut dy) = (vec![1.0f32; n], slots(n), slots(n));
                duals(activation, &x, &ones, &mut y, &mut dy);
                let (mut gx, mut gdx) = (slots(n), slots(n));
                dual_gradients(activation, [&vec![0.0; n], &ones], [&x, &ones], &mut gx, &mut gdx);
                // SAFETY: all slices have the length n.
                let found = [y, dy, gx].map(|x| unsafe { written(x) });
                // Finite differences are meaningless at a kink.
                for (i, x) in x.iter().enumerate().filter(|(_, x)| activation != Activation::Relu || x.abs() > 1e-3) {
                    let wanted = exact(activation, f64::from(*x));
                    for (order, tolerance) in [3e-6, 3e-6, 3e-5].into_iter().enumerate() {
                        let (found, wanted) = (f64::from(found[order][i]), wanted[order]);
                        let fine = (found - wanted).abs() < tolerance;
                        assert!(fine, "{activation:?}, order {order} at {x}: {found}, {wanted}");
                    }
                }
            }
        }
    }
}
