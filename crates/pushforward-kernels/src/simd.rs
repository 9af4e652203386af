//! Compilation of a loop body for several instruction sets.

use std::sync::OnceLock;

/// Instruction sets that the kernels distinguish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// The instructions that the build target guarantees (NEON on 64-bit ARM).
    Plain,
    /// AVX2 and fused multiply-add.
    Avx2,
    /// The 512-bit sets that every AVX-512 server processor has.
    Avx512,
}

/// The best level of this processor, determined once.
pub(super) fn level() -> Level {
    static LEVEL: OnceLock<Level> = OnceLock::new();
    *LEVEL.get_or_init(|| {
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            let avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512bw");
            if avx512 && avx2 {
                return Level::Avx512;
            }
            if avx2 {
                return Level::Avx2;
            }
        }
        Level::Plain
    })
}

/// Compiles a function once for each [`Level`] and calls the best one. The body is written for one number at a time, or with
/// arrays of accumulators where a sum has to be reordered; the compiler turns it into vector instructions.
macro_rules! simd {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$meta])*
        $vis fn $name($($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            fn plain($($arg: $ty),*) $(-> $ret)? $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma,bmi2")]
                fn avx512($($arg: $ty),*) $(-> $ret)? {
                    plain($($arg),*)
                }
                #[target_feature(enable = "avx2,fma,bmi2")]
                fn avx2($($arg: $ty),*) $(-> $ret)? {
                    plain($($arg),*)
                }
                match $crate::simd::level() {
                    // SAFETY: the processor has the instruction set that the function is compiled for.
                    $crate::simd::Level::Avx512 => return unsafe { avx512($($arg),*) },
                    // SAFETY: as above.
                    $crate::simd::Level::Avx2 => return unsafe { avx2($($arg),*) },
                    $crate::simd::Level::Plain => {}
                }
            }
            plain($($arg),*)
        }
    };
}
pub(super) use simd;

/// Prefetches some numbers into the L1 cache, if they lie in the slice.
#[inline(always)]
pub(super) fn fetch(x: &[f32], start: usize, count: usize) {
    for _x in x.get(start..start + count).unwrap_or_default().chunks(LANES) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a hint, whatever the address.
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(_x.as_ptr().cast());
        }
    }
}

/// Number of partial sums: as many as the widest registers hold.
pub(super) const LANES: usize = 16;

/// Sums of `N` terms over `0..n`. Keep the terms short: a closure that is not inlined is compiled for the plain level.
#[inline(always)]
pub(super) fn sums<const N: usize>(n: usize, mut term: impl FnMut(usize) -> [f32; N]) -> [f32; N] {
    let mut lanes = [[0.0f32; LANES]; N];
    let whole = n - n % LANES;
    for start in (0..whole).step_by(LANES) {
        for lane in 0..LANES {
            let terms = term(start + lane);
            lanes.iter_mut().zip(terms).for_each(|(sum, term)| sum[lane] += term);
        }
    }
    let mut total = lanes.map(|lanes| lanes.iter().sum());
    for index in whole..n {
        total.iter_mut().zip(term(index)).for_each(|(sum, term): (&mut f32, f32)| *sum += term);
    }
    total
}

#[inline(always)]
pub(super) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// `e^x` to about two units in the last place: `2^n e^r` with `|r| <= ln(2)/2` and a Taylor polynomial of degree 7 of `e^r`.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
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

    #[test]
    fn exponential() {
        for i in -8700..8800 {
            let x = i as f32 * 0.01;
            let error = f64::from(exp(x)) / f64::from(x).exp() - 1.0;
            assert!(error.abs() < 3e-7, "exp({x}): relative error {error:e}");
        }
    }
}
