//! Tiles of bfloat16 numbers multiplied by dot products of pairs (AVX512-BF16), for processors without a tile unit: half the
//! instructions of float32.

use std::arch::x86_64::{
    __m512bh, __m512i, _mm512_dpbf16_ps, _mm512_loadu_ps, _mm512_loadu_si512, _mm512_set1_epi32, _mm512_setzero_ps,
    _mm512_storeu_ps,
};
use std::sync::OnceLock;

use super::simd::{Level, level};
use super::tile::{BLOCK, Line, SIDE};

/// Rows of the result held in registers, two registers each.
const ROWS: usize = 8;

/// Whether the processor has the instruction; determined once.
pub(super) fn available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| level() == Level::Avx512 && is_x86_feature_detected!("avx512bf16"))
}

/// A block of the result, [`BLOCK`] columns and `rows` rows rounded up to a multiple of [`ROWS`], from a strip of the
/// first factor and a panel of the second.
///
/// # Safety
/// Both factors point to `blocks` blocks in one part, and `c` to that part of the result, initialised if `add`; the
/// processor has the instruction.
#[target_feature(enable = "avx512f,avx512bf16")]
pub(super) unsafe fn square(
    c: *mut f32,
    width: usize,
    [a, b]: [*const Line; 2],
    blocks: usize,
    rows: usize,
    add: bool,
) {
    for first in (0..rows.min(BLOCK)).step_by(ROWS) {
        // SAFETY: lines of the factors' tiles, which lie one after the other, and rows of the result.
        unsafe {
            let c = c.add(first * width);
            let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
            if add {
                for (i, sums) in sums.iter_mut().enumerate() {
                    *sums = [_mm512_loadu_ps(c.add(i * width)), _mm512_loadu_ps(c.add(i * width + SIDE))];
                }
            }
            for block in 0..blocks {
                let lines = a.add(block * BLOCK + first).cast::<u32>();
                let panel = b.add(block * BLOCK);
                for pair in 0..SIDE {
                    let left = numbers(_mm512_loadu_si512(panel.add(pair).cast()));
                    let right = numbers(_mm512_loadu_si512(panel.add(SIDE + pair).cast()));
                    for (i, sums) in sums.iter_mut().enumerate() {
                        let a = numbers(_mm512_set1_epi32(lines.add(i * SIDE + pair).read().cast_signed()));
                        *sums = [_mm512_dpbf16_ps(sums[0], a, left), _mm512_dpbf16_ps(sums[1], a, right)];
                    }
                }
            }
            for (i, [left, right]) in sums.into_iter().enumerate() {
                _mm512_storeu_ps(c.add(i * width), left);
                _mm512_storeu_ps(c.add(i * width + SIDE), right);
            }
        }
    }
}

/// The bits of a register as pairs of numbers.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn numbers(bits: __m512i) -> __m512bh {
    // SAFETY: both are 512 bits.
    unsafe { std::mem::transmute(bits) }
}
