//! Fused CPU kernels for burn, as plain functions with hand-written derivatives.
//!
//! Kernels take float32 tensors on burn's CPU backend; callers compose burn's operations for other devices and number
//! types. The arithmetic is one scalar loop body, compiled for AVX-512, for AVX2 and for the build's target, and chosen
//! at run time.
//!
//! Most kernels take a value with an optional tangent ([`ValueTangent`]) and return both, so that a forward-mode
//! derivative costs one pass, and can itself be differentiated by burn's autodiff.
//!
//! # Examples
//! ```
//! use burn::tensor::{Device, Tensor};
//! use pushforward_kernels::softmax;
//!
//! let device = Device::flex();
//! let z = Tensor::<2>::from_floats([[0.0, 0.0]], &device);
//! let dz = Tensor::from_floats([[1.0, -1.0]], &device);
//! let (pi, dpi) = softmax((z, Some(dz)));
//! let numbers = |x: Tensor<2>| x.into_data().iter::<f32>().collect::<Vec<_>>();
//! assert_eq!((numbers(pi), numbers(dpi.unwrap())), (vec![0.5, 0.5], vec![0.5, -0.5]));
//! ```

mod activation;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod amx;
#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
#[path = "no_amx.rs"]
mod amx;
mod attention;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod avx512_bf16;
mod buffer;
mod conv;
mod cross_entropy;
mod denormal;
mod edge_attention;
mod gate;
mod gemm;
mod graph;
mod linear;
mod matrix;
mod norm;
mod packed;
mod pooling;
mod precision;
mod simd;
mod softmax;
mod split;
#[cfg(test)]
mod testing;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod tile;
mod transpose;
mod update;
pub mod watch;

use burn::backend::{DispatchDevice, DispatchTensor};
use burn::tensor::{Bytes, DType, Device, Shape, Tensor};
use burn_flex::{FlexTensor, Layout};

pub use self::activation::{Activation, activate};
pub use self::attention::attention;
pub use self::conv::{Stride, conv_transpose2d, conv2d};
pub use self::cross_entropy::{LEAST, cross_entropy, divergence};
pub use self::edge_attention::edge_attention;
pub use self::gate::gated;
pub use self::linear::linear;
pub use self::norm::{Affine, norm};
pub use self::pooling::summaries;
pub use self::precision::{Precision, Scope, bf16};
pub use self::softmax::{log_softmax, softmax};
pub use self::split::split;
pub use self::update::{AdamWRates, adamw, average, dot};

/// Whether a device is burn's CPU backend, with autodiff or without.
///
/// # Examples
/// ```
/// use burn::tensor::Device;
/// assert!(pushforward_kernels::is_cpu(&Device::flex().autodiff()));
/// ```
pub fn is_cpu(device: &Device) -> bool {
    fn on_cpu(device: &DispatchDevice) -> bool {
        match device {
            DispatchDevice::Flex(_) => true,
            DispatchDevice::Autodiff(inner) => on_cpu(inner),
            #[allow(unreachable_patterns, reason = "other variants exist where other backends are built in")]
            _ => false,
        }
    }
    on_cpu(device.as_dispatch())
}

/// Whether the kernels take this tensor: float32 on the CPU.
///
/// # Examples
/// ```
/// use burn::tensor::{Device, Tensor};
/// assert!(pushforward_kernels::serve(&Tensor::<1>::zeros([3], &Device::flex())));
/// ```
pub fn serve<const D: usize>(x: &Tensor<D>) -> bool {
    x.dtype() == DType::F32 && is_cpu(&x.device())
}

/// Elements of a contiguous tensor.
fn slice(x: &FlexTensor) -> &[f32] {
    x.as_slice::<f32>().expect("kernels serve float32 tensors")
}

/// A contiguous tensor with these elements.
fn tensor(values: Vec<f32>, shape: Shape) -> FlexTensor {
    FlexTensor::new(Bytes::from_elems(values), Layout::contiguous(shape), DType::F32)
}

/// The tensor, contiguous in memory.
fn contiguous(x: FlexTensor) -> FlexTensor {
    // A contiguous part of a larger buffer is accepted; burn's own function would copy it.
    if x.layout().contiguous_offsets().is_some() { x } else { x.to_contiguous() }
}

/// A value and optionally its tangent, a tensor of the same shape; `None` is a tangent of zeros.
pub type ValueTangent<const D: usize> = (Tensor<D>, Option<Tensor<D>>);

fn pair<const D: usize>((value, tangent): (DispatchTensor, Option<DispatchTensor>)) -> ValueTangent<D> {
    (Tensor::from_dispatch(value), tangent.map(Tensor::from_dispatch))
}

/// Elements of a contiguous tensor; an empty slice for `None`.
fn optional(x: &Option<FlexTensor>) -> &[f32] {
    x.as_ref().map_or(&[], slice)
}

/// Value and optional tangent from the outputs of an operation.
fn first_two<T>(outputs: Vec<T>) -> (T, Option<T>) {
    let mut outputs = outputs.into_iter();
    (outputs.next().expect("an operation has an output"), outputs.next())
}
