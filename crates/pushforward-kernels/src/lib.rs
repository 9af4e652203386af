//! Fused CPU kernels behind plain functions, each with its derivative written by hand.
//!
//! A kernel serves float32 tensors on burn's CPU backend; every caller keeps a composed form for the other devices and
//! precisions. The arithmetic is one scalar loop body, compiled once for AVX-512, once for AVX2 and once plainly, and chosen
//! at run time.

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
pub use self::precision::{Precision, Scope};
pub use self::softmax::{log_softmax, softmax};
pub use self::split::split;
pub use self::update::{AdamWRates, adamw, average, dot};

/// Whether a device is the CPU.
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

/// Whether the kernels serve this tensor.
pub fn serve<const D: usize>(x: &Tensor<D>) -> bool {
    x.dtype() == DType::F32 && is_cpu(&x.device())
}

/// The numbers of a contiguous tensor.
fn slice(x: &FlexTensor) -> &[f32] {
    x.as_slice::<f32>().expect("kernels serve float32 tensors")
}

/// A contiguous tensor of these numbers.
fn tensor(values: Vec<f32>, shape: Shape) -> FlexTensor {
    FlexTensor::new(Bytes::from_elems(values), Layout::contiguous(shape), DType::F32)
}

/// The tensor with its numbers one after the other.
fn contiguous(x: FlexTensor) -> FlexTensor {
    // A run within a larger buffer will do, which burn's own function would copy.
    if x.layout().contiguous_offsets().is_some() { x } else { x.to_contiguous() }
}

/// A value and, maybe, its tangent.
pub type ValueTangent<const D: usize> = (Tensor<D>, Option<Tensor<D>>);

fn pair<const D: usize>((value, tangent): (DispatchTensor, Option<DispatchTensor>)) -> ValueTangent<D> {
    (Tensor::from_dispatch(value), tangent.map(Tensor::from_dispatch))
}

/// The numbers of a contiguous tensor; none where it is absent.
fn optional(x: &Option<FlexTensor>) -> &[f32] {
    x.as_ref().map_or(&[], slice)
}

/// The outputs of an operation that has a value and, maybe, a tangent.
fn first_two<T>(outputs: Vec<T>) -> (T, Option<T>) {
    let mut outputs = outputs.into_iter();
    (outputs.next().expect("an operation has an output"), outputs.next())
}
