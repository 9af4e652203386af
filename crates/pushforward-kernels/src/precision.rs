//! Precision of matrix products.

use std::cell::Cell;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

/// Precision of the kernels' matrix products of float32 numbers. Sums and all other operations are float32.
///
/// # Examples
/// ```
/// use pushforward_kernels::Precision;
///
/// assert_eq!(Precision::current(), Precision::F32);
/// {
///     let _scope = Precision::Bf16.scope();
///     assert_eq!(Precision::current(), Precision::Bf16);
/// }
/// assert_eq!(Precision::current(), Precision::F32);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// float32.
    #[default]
    F32,
    /// Every number as a sum of two bfloat16 numbers, about 16 binary digits, if the processor has a tile unit (AMX),
    /// where this is several times faster than float32; float32 on others. Relative error of a product about `2^-18`.
    High,
    /// bfloat16, 8 binary digits, on every processor; fast with a tile unit, and with half the instructions of float32
    /// with AVX512-BF16 (on Linux).
    Bf16,
}

thread_local! {
    static PRECISION: Cell<Precision> = const { Cell::new(Precision::F32) };
}

impl Precision {
    /// Precision of kernels called on this thread: float32 unless [`set`](Self::set) or within a
    /// [`scope`](Self::scope).
    #[must_use]
    pub fn current() -> Self {
        PRECISION.get()
    }

    /// Sets the precision of this thread.
    pub fn set(self) {
        PRECISION.set(self);
    }

    /// Sets the precision of this thread until the scope is dropped. Gradients of operations inside the scope have its
    /// precision, even if they are computed outside of it.
    pub fn scope(self) -> Scope {
        Scope { before: PRECISION.replace(self), thread: std::marker::PhantomData }
    }

    /// Precision that products on a device really have: `High` needs a CPU with a tile unit, and devices other than the
    /// CPU use float32.
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

    /// Number of bfloat16 numbers per float32 number; `None` for float32.
    pub(super) fn parts(self) -> Option<usize> {
        match self {
            Self::F32 => None,
            Self::High => Some(2),
            Self::Bf16 => Some(1),
        }
    }
}

/// Guard of a [`Precision::scope`]: restores the previous precision of the thread when dropped.
#[must_use = "the precision lasts as long as this is kept"]
#[derive(Debug)]
pub struct Scope {
    before: Precision,
    /// Makes the type `!Send`, because precisions are per thread.
    thread: std::marker::PhantomData<*const ()>,
}

impl Drop for Scope {
    fn drop(&mut self) {
        PRECISION.set(self.before);
    }
}

/// The nearest bfloat16 number, ties to even; for numbers, not NaN.
///
/// # Examples
/// ```
/// assert_eq!(pushforward_kernels::bf16(1.0 + 1.0 / 512.0), 1.0);
/// ```
#[inline(always)]
pub fn bf16(x: f32) -> f32 {
    let bits = x.to_bits();
    f32::from_bits(bits.wrapping_add(0x7fff + (bits >> 16 & 1)) & !0xffff)
}
