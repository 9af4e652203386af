//! Matrix products of bfloat16 numbers on x86 processors, accumulated in float32: with the tile unit (AMX), sixteen
//! rows of 32 numbers times sixteen columns; without it, by dot products of pairs (AVX512-BF16, in
//! [`super::avx512_bf16`]) over the same tiles.
//!
//! In one part, a number is rounded to the nearest bfloat16 `h`. In two parts, it is `h + l` with `l` the rounded
//! remainder, about 16 binary digits, and a product is `ha hb + la hb + ha lb`: relative error about `2^-18`, at a
//! third of the speed, which is still several times that of float32 instructions. Dot products in two parts would be
//! slower than float32 and are not implemented. Denormal numbers count as zero.
//!
//! Reference: Henry, Tang, Heinecke 2019 (arXiv:1904.06376), section III.

use std::arch::asm;
use std::arch::x86_64::{
    __cpuid_count, __m512, __m512i, _mm512_castsi512_ps, _mm512_castsi512_si256, _mm512_cvtepu16_epi32,
    _mm512_cvtne2ps_pbh, _mm512_extracti64x4_epi64, _mm512_loadu_si512, _mm512_maskz_loadu_ps,
    _mm512_permutexvar_epi16, _mm512_setzero_ps, _mm512_setzero_si512, _mm512_shuffle_i32x4, _mm512_slli_epi32,
    _mm512_storeu_si512, _mm512_sub_ps, _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpacklo_epi32,
    _mm512_unpacklo_epi64,
};
use std::mem::MaybeUninit;
use std::sync::OnceLock;

use super::avx512_bf16;
use super::buffer::{pieces_mut, run};
use super::matrix::Matrix;
use super::tile::{BLOCK, Line, SIDE};

type Lines = Vec<MaybeUninit<Line>>;

fn room(lines: usize) -> Lines {
    let mut out = Vec::with_capacity(lines);
    // SAFETY: the capacity is `lines`, and a line may be uninitialised.
    unsafe { out.set_len(lines) };
    out
}

/// Instructions that multiply tiles.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Unit {
    /// The tile unit.
    Tiles,
    /// Dot products of pairs.
    Dots,
}

impl Unit {
    /// The unit for numbers in `parts` parts; `None` if no unit of this processor is faster than float32.
    fn of(parts: usize) -> Option<Self> {
        if tiles_available() {
            Some(Self::Tiles)
        } else {
            (parts == 1 && avx512_bf16::available()).then_some(Self::Dots)
        }
    }
}

/// Whether this processor multiplies numbers in `parts` parts faster than float32.
pub(super) fn serves(parts: usize) -> bool {
    Unit::of(parts).is_some()
}

/// Whether the processor has the tile unit and the operating system permits its use; determined once.
fn tiles_available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| {
        const TILES: u32 = 1 << 24;
        const BF16: u32 = 1 << 22;
        const REQUEST_PERMISSION: libc::c_long = 0x1023;
        const TILE_DATA: libc::c_long = 18;
        let has = avx512_bf16::available() && __cpuid_count(7, 0).edx & (TILES | BF16) == TILES | BF16;
        // SAFETY: requests permission to use the tiles; no other effect.
        has && unsafe { libc::syscall(libc::SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) } == 0
    })
}

/// The packed second factor of a product: consecutive panels of [`BLOCK`] columns, each of blocks along the depth, each
/// of two tiles of first parts followed, for two parts, by two tiles of second parts. Padded with zeros.
pub(super) struct Panels {
    lines: Lines,
    depth: usize,
    columns: usize,
    parts: usize,
}

impl Panels {
    /// Packs `depth` rows of `columns` numbers in `parts` (1 or 2) parts.
    ///
    /// # Panics
    /// If such products are not [served](serves), or neither rows nor columns of `b` are contiguous.
    ///
    /// # Safety
    /// The entries of `b` lie in its slice.
    pub(super) unsafe fn packed(b: Matrix<'_>, depth: usize, columns: usize, parts: usize) -> Self {
        assert!(serves(parts) && (parts == 1 || parts == 2), "a processor that multiplies numbers in one or two parts");
        let (size, b) = (panel(depth, parts), b.transposed());
        let mut lines = room(size * columns.div_ceil(BLOCK));
        let pieces = pieces_mut(&mut lines, size).take(columns.div_ceil(BLOCK)).enumerate();
        run(depth * columns / 4, pieces, |(i, out)| {
            let first = i * BLOCK;
            // SAFETY: the caller's entries, room for the whole depth, and the processor has AVX-512.
            unsafe { pack(b.from(first, 0), [BLOCK.min(columns - first), depth], parts, out, true) };
        });
        Self { lines, depth, columns, parts }
    }
}

/// Number of lines of a panel or strip.
fn panel(depth: usize, parts: usize) -> usize {
    depth.div_ceil(BLOCK) * parts * 2 * SIDE
}

/// Tile configuration: every tile has full size.
#[repr(C, align(64))]
struct Cut {
    palette: u8,
    zeros: [u8; 15],
    bytes: [u16; 16],
    rows: [u8; 16],
}

static CUT: Cut = Cut {
    palette: 1,
    zeros: [0; 15],
    bytes: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
    rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
};

/// `out = a b`, or with `add` `out = out + a b`, for `a` of `m` rows; rows of `out` have stride `width`.
///
/// # Safety
/// The entries of `a` lie in its slice; `out` points to `m` rows with stride `width`, as long as those of `b`, to which
/// the caller has exclusive access; with `add` they are initialised.
pub(super) unsafe fn multiply(out: *mut f32, width: usize, m: usize, a: Matrix<'_>, b: &Panels, add: bool) {
    let unit = Unit::of(b.parts).expect("what could be laid out can be multiplied");
    // SAFETY: the caller's contract.
    unsafe { multiply_on(unit, out, width, m, a, b, add) }
}

/// [`multiply`] on a unit.
///
/// # Safety
/// As [`multiply`], and the processor has the unit.
unsafe fn multiply_on(unit: Unit, out: *mut f32, width: usize, m: usize, a: Matrix<'_>, b: &Panels, add: bool) {
    let blocks = b.depth.div_ceil(BLOCK);
    let size = panel(b.depth, b.parts);
    let mut strip = room(size);
    let mut own = [0.0f32; BLOCK * BLOCK];
    if unit == Unit::Tiles {
        // SAFETY: the processor has the unit. Nothing else on this thread uses it, so the configuration holds until it
        // is released.
        unsafe { asm!("ldtilecfg [{cut}]", cut = in(reg) &raw const CUT, options(nostack, readonly)) };
    }
    // SAFETY: as at the calls below, which keep the contract of either function; the processor has the unit.
    let square = |c, width, factors: [*const MaybeUninit<Line>; 2], rows| unsafe {
        match unit {
            Unit::Tiles => square(c, width, factors, blocks, b.parts, rows, add),
            Unit::Dots => avx512_bf16::square(c, width, factors.map(<*const _>::cast), blocks, rows, add),
        }
    };
    for row in (0..m).step_by(BLOCK) {
        let rows = BLOCK.min(m - row);
        // SAFETY: the caller's entries, and room for the whole depth.
        unsafe { pack(a.from(row, 0), [rows, b.depth], b.parts, &mut strip, false) };
        for (column, panel) in (0..b.columns).step_by(BLOCK).zip(b.lines.chunks(size.max(1)).chain([&[][..]])) {
            let columns = BLOCK.min(b.columns - column);
            let whole = rows == BLOCK && columns == BLOCK;
            // SAFETY: rows and columns of the block lie in the caller's rows; a partial block is computed in a separate
            // buffer. Strip and panel are `blocks` blocks.
            unsafe {
                let at = out.add(row * width + column);
                if whole {
                    square(at, width, [strip.as_ptr(), panel.as_ptr()], rows);
                    continue;
                }
                let inside = || (0..rows).map(|i| (at.add(i * width), i * BLOCK));
                if add {
                    inside().for_each(|(at, i)| std::ptr::copy_nonoverlapping(at, own.as_mut_ptr().add(i), columns));
                }
                square(own.as_mut_ptr(), BLOCK, [strip.as_ptr(), panel.as_ptr()], rows);
                inside().for_each(|(at, i)| std::ptr::copy_nonoverlapping(own.as_ptr().add(i), at, columns));
            }
        }
    }
    if unit == Unit::Tiles {
        // SAFETY: releases the unit.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }
}

/// A block of the result from a strip of the first factor and a panel of the second: four tiles, or the upper two if
/// the strip has at most [`SIDE`] rows.
///
/// # Safety
/// `blocks` blocks in `parts` parts lie at both factors, and the tiles of the result at `c`; the tiles are configured.
unsafe fn square(
    c: *mut f32,
    width: usize,
    [a, b]: [*const MaybeUninit<Line>; 2],
    blocks: usize,
    parts: usize,
    rows: usize,
    add: bool,
) {
    // SAFETY: reads the blocks of the factors and, with `add`, the tiles of the result, and writes the tiles of the result.
    unsafe {
        asm!(
            "test {add}, {add}", "jz 2f",
            "tileloadd tmm0, [{c} + {w}*1]", "tileloadd tmm1, [{c} + {w}*1 + 64]",
            "test {lower}, {lower}", "jz 3f",
            "tileloadd tmm2, [{d} + {w}*1]", "tileloadd tmm3, [{d} + {w}*1 + 64]", "jmp 3f",
            "2:", "tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3",
            "3:", "test {n}, {n}", "jz 8f",
            // First parts with first parts.
            "4:", "tileloadd tmm6, [{b} + {l}*1]", "tileloadd tmm7, [{b} + {l}*1 + 1024]",
            "tileloadd tmm4, [{a} + {l}*1]", "tdpbf16ps tmm0, tmm4, tmm6", "tdpbf16ps tmm1, tmm4, tmm7",
            "test {lower}, {lower}", "jz 5f",
            "tileloadd tmm5, [{a} + {l}*1 + 1024]", "tdpbf16ps tmm2, tmm5, tmm6", "tdpbf16ps tmm3, tmm5, tmm7",
            "5:", "test {rests}, {rests}", "jz 7f",
            // Remainders of the first factor with first parts.
            "tileloadd tmm4, [{a} + {l}*1 + 2048]", "tdpbf16ps tmm0, tmm4, tmm6", "tdpbf16ps tmm1, tmm4, tmm7",
            "test {lower}, {lower}", "jz 6f",
            "tileloadd tmm5, [{a} + {l}*1 + 3072]", "tdpbf16ps tmm2, tmm5, tmm6", "tdpbf16ps tmm3, tmm5, tmm7",
            // First parts with remainders of the second factor.
            "6:", "tileloadd tmm6, [{b} + {l}*1 + 2048]", "tileloadd tmm7, [{b} + {l}*1 + 3072]",
            "tileloadd tmm4, [{a} + {l}*1]", "tdpbf16ps tmm0, tmm4, tmm6", "tdpbf16ps tmm1, tmm4, tmm7",
            "test {lower}, {lower}", "jz 7f",
            "tileloadd tmm5, [{a} + {l}*1 + 1024]", "tdpbf16ps tmm2, tmm5, tmm6", "tdpbf16ps tmm3, tmm5, tmm7",
            "7:", "add {a}, {step}", "add {b}, {step}", "dec {n}", "jnz 4b",
            "8:", "tilestored [{c} + {w}*1], tmm0", "tilestored [{c} + {w}*1 + 64], tmm1",
            "test {lower}, {lower}", "jz 9f",
            "tilestored [{d} + {w}*1], tmm2", "tilestored [{d} + {w}*1 + 64], tmm3", "9:",
            c = in(reg) c, d = in(reg) c.wrapping_add(SIDE * width), w = in(reg) width * 4,
            a = inout(reg) a => _, b = inout(reg) b => _, n = inout(reg) blocks => _, l = in(reg) size_of::<Line>(),
            step = in(reg) parts * 2 * SIDE * size_of::<Line>(),
            add = in(reg) usize::from(add), lower = in(reg) usize::from(rows > SIDE), rests = in(reg) parts - 1,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack)
        );
    }
}

/// Packs lines of a factor: blocks along the depth, each of two tiles of first parts followed, for two parts, by two
/// tiles of second parts. The rows of a tile are lines in the first factor, and pairs of neighbours along the depth in
/// the `second`.
///
/// # Safety
/// `lines` rows of `depth` numbers lie in the slice of `x`, and the processor has AVX512-BF16.
#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx512bf16")]
unsafe fn pack(x: Matrix<'_>, [lines, depth]: [usize; 2], parts: usize, out: &mut [MaybeUninit<Line>], second: bool) {
    assert!(x.row == 1 || x.column == 1, "numbers side by side along the depth or across it");
    // Numbers contiguous along the depth give tiles of lines, numbers contiguous across it tiles of pairs; if the
    // factor needs the other kind, the tile is transposed.
    let transposed = (x.column == 1) == second;
    let mut own = [const { MaybeUninit::<Line>::uninit() }; 2 * SIDE];
    let blocks = out.chunks_exact_mut(parts * 2 * SIDE).zip((0..depth).step_by(BLOCK));
    for (out, first) in blocks {
        for (half, from) in [0, SIDE].into_iter().enumerate() {
            let size = [lines.saturating_sub(from).min(SIDE), BLOCK.min(depth - first)];
            let start = x.data.as_ptr().wrapping_add(from * x.row + first * x.column);
            let place = |part: usize| (2 * part + half) * SIDE;
            // SAFETY: the caller's numbers, and room for a tile of every part.
            unsafe {
                let tiles = [0, parts - 1].map(|part| out.as_mut_ptr().add(place(part)));
                let to = if transposed { [0, SIDE].map(|row| own.as_mut_ptr().add(row)) } else { tiles };
                if x.column == 1 {
                    along(start, size, x.row, to, parts);
                } else {
                    across(start, size, x.column, to, parts);
                }
                if transposed {
                    (0..parts).for_each(|part| transpose(to[part], tiles[part]));
                }
            }
        }
    }
}

/// First and, for two parts, second parts of lines that are contiguous along the depth: a row is a line.
///
/// # Safety
/// `lines` runs of `depth` numbers, `step` apart, lie at `x`, and there is room for a tile of every part; the processor has AVX512-BF16.
#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx512bf16")]
unsafe fn along(
    x: *const f32,
    [lines, depth]: [usize; 2],
    step: usize,
    out: [*mut MaybeUninit<Line>; 2],
    parts: usize,
) {
    let masks = [lowest(depth), lowest(depth.saturating_sub(SIDE))];
    for line in 0..SIDE {
        let x = x.wrapping_add(line * step);
        let there = line < lines;
        // SAFETY: no more than the caller's numbers are read, and the rows of tiles are written.
        unsafe {
            let a = _mm512_maskz_loadu_ps(if there { masks[0] } else { 0 }, x);
            let b = _mm512_maskz_loadu_ps(if there { masks[1] } else { 0 }, x.wrapping_add(SIDE));
            let high = rounded([a, b]);
            _mm512_storeu_si512(out[0].add(line).cast(), high);
            if parts > 1 {
                _mm512_storeu_si512(out[1].add(line).cast(), rounded(rests([a, b], high)));
            }
        }
    }
}

/// First and, for two parts, second parts of lines that are contiguous across the depth: a row is pairs of neighbours
/// along the depth.
///
/// # Safety
/// `depth` runs of `lines` numbers, `step` apart, lie at `x`, and there is room for a tile of every part; the processor has AVX512-BF16.
#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx512bf16")]
unsafe fn across(
    x: *const f32,
    [lines, depth]: [usize; 2],
    step: usize,
    out: [*mut MaybeUninit<Line>; 2],
    parts: usize,
) {
    // Interleaves sixteen even and sixteen odd numbers.
    let places: [u16; 2 * SIDE] = std::array::from_fn(|i| (i / 2 + i % 2 * SIDE) as u16);
    // SAFETY: an array as wide as a register.
    let places = unsafe { _mm512_loadu_si512(places.as_ptr().cast()) };
    let mask = lowest(lines);
    for pair in 0..SIDE {
        let mut halves = [_mm512_setzero_ps(); 2];
        for (odd, half) in halves.iter_mut().enumerate() {
            let k = 2 * pair + odd;
            let x = x.wrapping_add(k * step);
            if k >= depth {
                continue;
            }
            // SAFETY: the caller's numbers.
            *half = unsafe { _mm512_maskz_loadu_ps(mask, x) };
        }
        let high = rounded(halves);
        // SAFETY: the rows of tiles.
        unsafe {
            _mm512_storeu_si512(out[0].add(pair).cast(), _mm512_permutexvar_epi16(places, high));
            if parts > 1 {
                let low = rounded(rests(halves, high));
                _mm512_storeu_si512(out[1].add(pair).cast(), _mm512_permutexvar_epi16(places, low));
            }
        }
    }
}

/// Mask of the first `n` of sixteen lanes.
fn lowest(n: usize) -> u16 {
    if n >= SIDE { u16::MAX } else { (1 << n) - 1 }
}

/// Rounds thirty-two numbers to the nearest bfloat16.
#[inline]
#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx512bf16")]
fn rounded([a, b]: [__m512; 2]) -> __m512i {
    // SAFETY: both are 512 bits.
    unsafe { std::mem::transmute(_mm512_cvtne2ps_pbh(b, a)) }
}

/// Remainder after rounding to bfloat16.
#[inline]
#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx512bf16")]
fn rests([a, b]: [__m512; 2], rounded: __m512i) -> [__m512; 2] {
    let low = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(rounded));
    let high = _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64::<1>(rounded));
    let whole = |x: __m512i| _mm512_castsi512_ps(_mm512_slli_epi32::<16>(x));
    [_mm512_sub_ps(a, whole(low)), _mm512_sub_ps(b, whole(high))]
}

/// Transposes a tile of 32-bit numbers.
///
/// # Safety
/// A tile lies at `from`, and there is room for one at `to`; the processor has AVX-512.
#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw")]
unsafe fn transpose(from: *const MaybeUninit<Line>, to: *mut MaybeUninit<Line>) {
    let (mut twos, mut fours) = ([_mm512_setzero_si512(); SIDE], [_mm512_setzero_si512(); SIDE]);
    for i in (0..SIDE).step_by(2) {
        // SAFETY: rows of the tile.
        let (a, b) = unsafe { (_mm512_loadu_si512(from.add(i).cast()), _mm512_loadu_si512(from.add(i + 1).cast())) };
        (twos[i], twos[i + 1]) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    }
    for i in (0..SIDE).step_by(4) {
        fours[i] = _mm512_unpacklo_epi64(twos[i], twos[i + 2]);
        fours[i + 1] = _mm512_unpackhi_epi64(twos[i], twos[i + 2]);
        fours[i + 2] = _mm512_unpacklo_epi64(twos[i + 1], twos[i + 3]);
        fours[i + 3] = _mm512_unpackhi_epi64(twos[i + 1], twos[i + 3]);
    }
    // Quarter q of fours[4 g + c] is column 4 q + c of rows 4 g to 4 g + 3.
    for c in 0..4 {
        let upper_even = _mm512_shuffle_i32x4::<0x88>(fours[c], fours[4 + c]);
        let upper_odd = _mm512_shuffle_i32x4::<0xdd>(fours[c], fours[4 + c]);
        let lower_even = _mm512_shuffle_i32x4::<0x88>(fours[8 + c], fours[12 + c]);
        let lower_odd = _mm512_shuffle_i32x4::<0xdd>(fours[8 + c], fours[12 + c]);
        // SAFETY: rows of the result.
        unsafe {
            _mm512_storeu_si512(to.add(c).cast(), _mm512_shuffle_i32x4::<0x88>(upper_even, lower_even));
            _mm512_storeu_si512(to.add(4 + c).cast(), _mm512_shuffle_i32x4::<0x88>(upper_odd, lower_odd));
            _mm512_storeu_si512(to.add(8 + c).cast(), _mm512_shuffle_i32x4::<0xdd>(upper_even, lower_even));
            _mm512_storeu_si512(to.add(12 + c).cast(), _mm512_shuffle_i32x4::<0xdd>(upper_odd, lower_odd));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::normals;

    /// Tests every available unit: in use, the first one hides the other.
    #[test]
    fn both_units_multiply_alike() {
        if !avx512_bf16::available() {
            return;
        }
        let mut numbers = normals();
        for (m, depth, n) in [(1, 1, 1), (7, 40, 33), (32, 64, 32), (45, 300, 70)] {
            let (a, b) = (numbers(m * depth), numbers(depth * n));
            let (a, b) = (Matrix::rows(&a, depth), Matrix::rows(&b, n));
            for add in [false, true] {
                let products: Vec<Vec<f32>> = [Unit::Dots, Unit::Tiles]
                    .into_iter()
                    .filter(|unit| *unit == Unit::Dots || tiles_available())
                    .map(|unit| {
                        let mut out = vec![0.5; m * n];
                        // SAFETY: entries and rows lie in their slices.
                        unsafe {
                            let panels = Panels::packed(b, depth, n, 1);
                            multiply_on(unit, out.as_mut_ptr(), n, m, a, &panels, add);
                        }
                        out
                    })
                    .collect();
                let seen = |x: f32| f64::from(super::super::precision::bf16(x));
                for (i, found) in (0..m * n).flat_map(|i| products.iter().map(move |p| (i, f64::from(p[i])))) {
                    let sum = |k: usize| seen(a.data[i / n * depth + k]) * seen(b.data[k * n + i % n]);
                    let wanted = (0..depth).map(sum).sum::<f64>() + if add { 0.5 } else { 0.0 };
                    assert!(
                        (found - wanted).abs() < 1e-5 * (depth as f64).sqrt(),
                        "{m} x {depth} x {n}: {found}, {wanted}"
                    );
                }
            }
        }
    }
}
