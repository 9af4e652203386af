//! How exactly matrices are multiplied.

use std::cell::Cell;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

/// How exactly the kernels multiply matrices of float32 numbers. Sums are float32, and so is everything else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// As float32.
    #[default]
    F32,
    /// As the sum of two bfloat16 numbers each, about 16 binary digits, where the processor has a unit for that (AMX), which is
    /// several times faster; as float32 on all others. Relative error of a product about `2^-18`.
    High,
    /// As bfloat16, 8 binary digits, on every processor; fast on those with the unit, and with half the instructions of float32 on those
    /// with AVX512-BF16 (on Linux).
    Bf16,
}

thread_local! {
    static PRECISION: Cell<Precision> = const { Cell::new(Precision::F32) };
}

impl Precision {
    /// That of the kernels called on this thread: float32 unless a [`scope`](Self::scope) says otherwise.
    #[must_use]
    pub fn current() -> Self {
        PRECISION.get()
    }

    /// Sets it for this thread.
    pub fn set(self) {
        PRECISION.set(self);
    }

    /// Sets it until the scope is dropped. What is computed inside has its gradients computed likewise, wherever that happens.
    pub fn scope(self) -> Scope {
        Scope { before: PRECISION.replace(self), thread: std::marker::PhantomData }
    }

    /// What products on a device are made in: `High` needs a CPU with the unit for it, and other devices compute in float32.
    #[must_use]
    pub fn on(self, device: &Device) -> Self {
        match self {
            Self::High if !(super::is_cpu(device) && super::amx::serves(2)) => Self::F32,
            Self::Bf16 if !super::is_cpu(device) => Self::F32,
            other => other,
        }
    }

    /// The name in recipes and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::High => "high",
            Self::Bf16 => "bf16",
        }
    }

    /// Numbers of bfloat16 that stand for one.
    pub(super) fn parts(self) -> Option<usize> {
        match self {
            Self::F32 => None,
            Self::High => Some(2),
            Self::Bf16 => Some(1),
        }
    }
}

/// While it lives, the kernels of its thread have a precision of their own.
#[must_use = "the precision lasts as long as this is kept"]
#[derive(Debug)]
pub struct Scope {
    before: Precision,
    /// It belongs to its thread.
    thread: std::marker::PhantomData<*const ()>,
}

impl Drop for Scope {
    fn drop(&mut self) {
        PRECISION.set(self.before);
    }
}

/// The nearest bfloat16 number, ties to even.
#[inline(always)]
pub(super) fn bf16(x: f32) -> f32 {
    let bits = x.to_bits();
    f32::from_bits(bits.wrapping_add(0x7fff + (bits >> 16 & 1)) & !0xffff)
}
