//! Matrix multiplication of slices on one thread.
//!
//! The second factor is packed in panels of [`PANEL`] columns, which are read row by row for a tile of the result held
//! in registers; the first factor is read in place. The order of summation of an entry does not depend on what else is
//! computed, so results do not depend on how rows and columns are divided among threads. If the [`Precision`] allows
//! and the processor has the instructions, products are computed by [`super::amx`].
//!
//! Reference: Goto, van de Geijn 2008 (doi:10.1145/1356052.1356053).

use super::amx;
use super::buffer::{Slot, pieces_mut, run, slots, written, written_mut};
use super::matrix::Matrix;
use super::precision::{Precision, bf16};
use super::simd::{LANES, Level, level, simd};
use super::transpose::{put, transpose};

/// Columns of a panel: four of the widest registers.
const PANEL: usize = 4 * LANES;

/// Depth of a product that is computed at once: a panel of this depth fits the L2 cache.
pub(super) const DEPTH: usize = 256;

/// The second factor of a product.
pub(super) struct Factor<'a> {
    depth: usize,
    columns: usize,
    packing: Packing<'a>,
}

/// Memory layout of a second factor.
enum Packing<'a> {
    /// Not packed: rows with this stride.
    Rows(&'a [f32], usize),
    /// Consecutive panels, each row by row; the columns of the last one are padded with zeros to whole registers. If
    /// `rounded`, both factors are rounded to bfloat16.
    Panels { data: Vec<f32>, rounded: bool },
    /// Tiles of bfloat16 numbers.
    Tiles(amx::Panels),
}

impl<'a> Factor<'a> {
    /// Whether factors of this precision are multiplied as tiles of bfloat16 numbers.
    pub(super) fn in_tiles(precision: Precision) -> bool {
        precision.parts().is_some_and(amx::serves)
    }

    /// Whether factors of this precision are multiplied as the float32 numbers that they are.
    pub(super) fn is_plain(precision: Precision) -> bool {
        precision != Precision::Bf16 && !Self::in_tiles(precision)
    }

    /// Packs `depth` rows of `columns` numbers.
    ///
    /// # Panics
    /// If an entry lies outside of its slice, or neither rows nor columns are contiguous.
    pub(super) fn packed(b: Matrix<'_>, depth: usize, columns: usize, precision: Precision) -> Self {
        assert!(b.holds(depth, columns), "a factor within its slice");
        if let Some(parts) = precision.parts().filter(|_| Self::in_tiles(precision) && depth > 0) {
            // SAFETY: the entries lie in the slice.
            let panels = unsafe { amx::Panels::packed(b, depth, columns, parts) };
            return Self { depth, columns, packing: Packing::Tiles(panels) };
        }
        Self::panels(b, depth, columns, precision == Precision::Bf16)
    }

    /// Panels for float32 instructions, even if the processor has others.
    fn panels(b: Matrix<'_>, depth: usize, columns: usize, rounded: bool) -> Self {
        let mut data = slots(depth * columns.next_multiple_of(LANES));
        let panels = pieces_mut(&mut data, depth * PANEL).take(columns.div_ceil(PANEL)).enumerate();
        run(depth * columns / 4, panels, |(i, out)| {
            let first = i * PANEL;
            pack(b.from(0, first), depth, PANEL.min(columns - first), out);
        });
        // SAFETY: every panel was filled.
        let mut data = unsafe { written(data) };
        if rounded {
            round(&mut data);
        }
        Self { depth, columns, packing: Packing::Panels { data, rounded } }
    }

    /// [`packed`](Self::packed) without a copy if possible: for products too small to be worth it.
    ///
    /// # Panics
    /// If an entry lies outside of its slice.
    pub(super) fn in_place(b: Matrix<'a>, depth: usize, columns: usize, precision: Precision) -> Self {
        // Tiles read whole registers, even if fewer columns are used.
        let whole = columns.next_multiple_of(LANES);
        if !Self::is_plain(precision) || b.column != 1 || (whole > columns && b.row < whole) || !b.holds(depth, whole) {
            return Self::packed(b, depth, columns, precision);
        }
        Self { depth, columns, packing: Packing::Rows(b.data, b.row) }
    }
}

/// Writes a panel of the first `columns` columns of `b`.
fn pack(b: Matrix<'_>, depth: usize, columns: usize, out: &mut [Slot]) {
    let width = columns.next_multiple_of(LANES);
    if width > columns {
        out.fill(Slot::new(0.0));
    }
    if b.column == 1 {
        for (k, out) in out.chunks_exact_mut(width).enumerate().take(depth) {
            for (out, x) in out.iter_mut().zip(&b.data[k * b.row..][..columns]) {
                out.write(*x);
            }
        }
        return;
    }
    assert_eq!(b.row, 1, "rows or columns without gaps");
    transpose((b.data, b.column), [columns, depth], (out, width), put);
}

/// `out = a b` for `a` of `m` rows; rows of `out` have stride `width`.
///
/// # Panics
/// If an entry lies outside of its slice.
pub(super) fn gemm(out: &mut [Slot], width: usize, m: usize, a: Matrix<'_>, b: &Factor<'_>) {
    let n = b.columns;
    assert!(m == 0 || n == 0 || (m - 1) * width + n <= out.len(), "a product within its slice");
    // SAFETY: the rows lie in `out`, and without `add` nothing is read from it.
    unsafe { gemm_at(out.as_mut_ptr().cast(), width, m, a, b, false) }
}

/// `out = out + a b`.
///
/// # Panics
/// If an entry lies outside of its slice.
pub(super) fn gemm_add(out: &mut [f32], width: usize, m: usize, a: Matrix<'_>, b: &Factor<'_>) {
    let n = b.columns;
    assert!(m == 0 || n == 0 || (m - 1) * width + n <= out.len(), "a product within its slice");
    // SAFETY: the rows lie in `out`, all of which is written.
    unsafe { gemm_at(out.as_mut_ptr(), width, m, a, b, true) }
}

/// [`gemm`] into a contiguous matrix, returned as initialised.
pub(super) fn filled<'a>(out: &'a mut [Slot], m: usize, a: Matrix<'_>, b: &Factor<'_>) -> &'a mut [f32] {
    assert_eq!(out.len(), m * b.columns, "as many slots as entries");
    gemm(out, b.columns, m, a, b);
    // SAFETY: the product wrote all m rows.
    unsafe { written_mut(out) }
}

/// `out = a b`, or with `add` `out = out + a b`, where other jobs may own the memory between the rows.
///
/// # Panics
/// If an entry of `a` lies outside of its slice.
///
/// # Safety
/// `out` points to `m` rows with stride `width`, as long as those of `b`, to which the caller has exclusive access;
/// with `add` they are initialised.
pub(super) unsafe fn gemm_at(out: *mut f32, width: usize, m: usize, a: Matrix<'_>, b: &Factor<'_>, add: bool) {
    let (n, depth) = (b.columns, b.depth);
    assert!(a.holds(m, depth) && (n <= width || m <= 1), "a product within its slices");
    if m == 0 || n == 0 {
        return;
    }
    let (data, distance, rounded) = match &b.packing {
        Packing::Rows(data, row) => (*data, Some(*row), false),
        Packing::Panels { data, rounded } => (&data[..], None, *rounded),
        // SAFETY: the caller's rows, and entries of `a` that lie in their slice.
        Packing::Tiles(panels) => return unsafe { amx::multiply(out, width, m, a, panels, add) },
    };
    // The rows of a transposed factor are strided; with a large stride, some rows at a time are gathered before use.
    let gathered = rounded || (a.row == 1 && a.column >= FAR && m > 6);
    let mut own = [Slot::uninit(); GATHERED * DEPTH];
    // At least one pass: a product of depth 0 is zero.
    for first in (0..depth.max(1)).step_by(DEPTH) {
        let k = DEPTH.min(depth - first);
        for row in (0..m).step_by(if gathered { GATHERED } else { m }) {
            let rows = if gathered { GATHERED.min(m - row) } else { m };
            let mut block = Block {
                m: rows,
                k,
                columns: 0,
                a: a.data[(row * a.row + first * a.column).min(a.data.len())..].as_ptr(),
                a_row: a.row,
                a_column: a.column,
                b: std::ptr::null(),
                b_row: 0,
                out,
                out_row: width,
                add: add || first > 0,
            };
            if gathered {
                gather(a.from(row, first), [rows, k], rounded, &mut own);
                (block.a, block.a_row, block.a_column) = (own.as_ptr().cast(), 1, GATHERED);
            }
            for column in (0..n).step_by(PANEL) {
                block.columns = PANEL.min(n - column);
                let panel = block.columns.next_multiple_of(LANES);
                let (start, b_row) = match distance {
                    Some(row) => (first * row + column, row),
                    None => (column * depth + first * panel, panel),
                };
                (block.b, block.b_row) = (data[start.min(data.len())..].as_ptr(), b_row);
                // SAFETY: rows and columns of the block lie in `a` or its gathered copy, in a panel and in the caller's
                // rows, and the processor has the instructions of its level.
                unsafe {
                    block.out = out.add(row * width + column);
                    match level() {
                        #[cfg(target_arch = "x86_64")]
                        Level::Avx512 => avx512::multiply(&block),
                        #[cfg(target_arch = "x86_64")]
                        Level::Avx2 => avx2::multiply(&block),
                        _ => plain::multiply(&block),
                    }
                }
            }
        }
    }
}

/// Rows of a transposed factor that are gathered at a time.
const GATHERED: usize = 48;

/// Least stride for which gathering pays.
const FAR: usize = 512;

/// Copies rows of a factor to a buffer, where entries of a row have stride [`GATHERED`].
fn gather(a: Matrix<'_>, [rows, depth]: [usize; 2], rounded: bool, out: &mut [Slot]) {
    for (k, out) in out.chunks_exact_mut(GATHERED).enumerate().take(depth) {
        let from = &a.data[k * a.column..];
        // A copy of constant length compiles to a few instructions.
        match from.first_chunk::<GATHERED>().filter(|_| a.row == 1 && rows == GATHERED) {
            Some(from) => out.iter_mut().zip(from).for_each(|(out, x)| {
                out.write(*x);
            }),
            None => out.iter_mut().zip(from.iter().step_by(a.row.max(1))).take(rows).for_each(|(out, x)| {
                out.write(*x);
            }),
        }
        if rounded {
            // SAFETY: just written.
            round(unsafe { written_mut(&mut out[..rows]) });
        }
    }
}

simd! {
    /// Rounds to bfloat16.
    fn round(x: &mut [f32]) {
        x.iter_mut().for_each(|x| *x = bf16(*x));
    }
}

/// A block of a product: a range of the depth of one panel.
struct Block {
    m: usize,
    k: usize,
    columns: usize,
    a: *const f32,
    a_row: usize,
    a_column: usize,
    b: *const f32,
    b_row: usize,
    out: *mut f32,
    out_row: usize,
    add: bool,
}

/// The tiles of a block for one instruction set: registers of `$lanes` numbers, tiles of at most `$rows` rows and
/// `$columns` columns, held in registers.
macro_rules! tiles {
    ($module:ident, $(#[$features:meta])*, $lanes:literal, [$rows:literal, $columns:literal], $(#[$set:meta])* {$($setup:tt)*}) => {
        $(#[$set])*
        mod $module {
            use super::{Block, PANEL};
            $($setup)*

            /// # Safety
            /// The pointers of the block reach as far as its sizes say, `b` to whole registers, and the processor has the
            /// instructions.
            $(#[$features])*
            pub(super) unsafe fn multiply(block: &Block) {
                for column in (0..block.columns).step_by($columns) {
                    let columns = $columns.min(block.columns - column);
                    for row in (0..block.m).step_by($rows) {
                        // SAFETY: a tile of the block.
                        unsafe {
                            match columns.div_ceil($lanes) {
                                1 => rows::<1>(block, row, column, columns),
                                2 => rows::<2>(block, row, column, columns),
                                3 => rows::<3>(block, row, column, columns),
                                _ => rows::<4>(block, row, column, columns),
                            }
                        }
                    }
                }
            }

            $(#[$features])*
            #[inline]
            unsafe fn rows<const V: usize>(block: &Block, row: usize, column: usize, columns: usize) {
                // SAFETY: the remaining rows.
                unsafe {
                    match block.m - row {
                        1 => tile::<1, V>(block, row, column, columns),
                        2 => tile::<2, V>(block, row, column, columns),
                        3 => tile::<3, V>(block, row, column, columns),
                        4 if $rows >= 4 => tile::<4, V>(block, row, column, columns),
                        5 if $rows >= 5 => tile::<5, V>(block, row, column, columns),
                        _ => tile::<$rows, V>(block, row, column, columns),
                    }
                }
            }

            $(#[$features])*
            #[inline]
            unsafe fn tile<const R: usize, const V: usize>(block: &Block, row: usize, column: usize, columns: usize) {
                let mut sums = [[zero(); V]; R];
                // SAFETY: `R` rows and `V` registers of columns lie in the block; a tile with fewer columns is written
                // to a separate buffer.
                unsafe {
                    let a = block.a.add(row * block.a_row);
                    let b = block.b.add(column);
                    for k in 0..block.k {
                        let mut bs = [zero(); V];
                        for v in 0..V {
                            bs[v] = load(b.add(k * block.b_row + v * $lanes));
                        }
                        for r in 0..R {
                            let x = all(*a.add(r * block.a_row + k * block.a_column));
                            for v in 0..V {
                                sums[r][v] = multiply_add(x, bs[v], sums[r][v]);
                            }
                        }
                    }
                    let out = block.out.add(row * block.out_row + column);
                    if columns == V * $lanes {
                        for r in 0..R {
                            for v in 0..V {
                                let out = out.add(r * block.out_row + v * $lanes);
                                store(out, if block.add { add(load(out), sums[r][v]) } else { sums[r][v] });
                            }
                        }
                        return;
                    }
                    let mut own = [0.0f32; PANEL];
                    for r in 0..R {
                        for v in 0..V {
                            store(own.as_mut_ptr().add(v * $lanes), sums[r][v]);
                        }
                        for j in 0..columns {
                            let out = out.add(r * block.out_row + j);
                            *out = if block.add { *out + own[j] } else { own[j] };
                        }
                    }
                }
            }
        }
    };
}

tiles!(avx512, #[target_feature(enable = "avx512f")], 16, [6, 64], #[cfg(target_arch = "x86_64")] {
    use std::arch::x86_64::{
        _mm512_add_ps as add, _mm512_fmadd_ps as multiply_add, _mm512_loadu_ps as load, _mm512_set1_ps as all,
        _mm512_setzero_ps as zero, _mm512_storeu_ps as store,
    };
});
tiles!(avx2, #[target_feature(enable = "avx2,fma")], 8, [6, 16], #[cfg(target_arch = "x86_64")] {
    use std::arch::x86_64::{
        _mm256_add_ps as add, _mm256_fmadd_ps as multiply_add, _mm256_loadu_ps as load, _mm256_set1_ps as all,
        _mm256_setzero_ps as zero, _mm256_storeu_ps as store,
    };
});
tiles!(plain, , 4, [4, 16], {
    /// Four numbers, in whatever registers the target has.
    type Register = [f32; 4];

    #[inline(always)]
    fn zero() -> Register {
        [0.0; 4]
    }
    #[inline(always)]
    fn all(x: f32) -> Register {
        [x; 4]
    }
    #[inline(always)]
    fn add(a: Register, b: Register) -> Register {
        std::array::from_fn(|i| a[i] + b[i])
    }
    #[inline(always)]
    fn multiply_add(a: Register, b: Register, c: Register) -> Register {
        // If the target does not guarantee the instruction, `mul_add` would call the C library's function.
        if cfg!(target_arch = "aarch64") {
            std::array::from_fn(|i| a[i].mul_add(b[i], c[i]))
        } else {
            std::array::from_fn(|i| a[i] * b[i] + c[i])
        }
    }
    /// # Safety
    /// Four numbers lie at `x`.
    #[inline(always)]
    unsafe fn load(x: *const f32) -> Register {
        // SAFETY: the caller's four numbers.
        unsafe { x.cast::<Register>().read_unaligned() }
    }
    /// # Safety
    /// There is room for four numbers at `out`.
    #[inline(always)]
    unsafe fn store(out: *mut f32, x: Register) {
        // SAFETY: the caller's room.
        unsafe { out.cast::<Register>().write_unaligned(x) }
    }
});

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::normals;

    /// Entry `(i, j)` of a matrix.
    fn at(x: Matrix<'_>, i: usize, j: usize) -> f32 {
        x.data[i * x.row + j * x.column]
    }

    #[test]
    fn every_layout_size_and_precision() {
        let mut numbers = normals();
        let sizes =
            [(1, 1, 1), (1, 5, 3), (16, 32, 32), (17, 33, 16), (33, 37, 41), (64, 64, 64), (40, 300, 27), (96, 31, 65)];
        for (m, depth, n) in sizes {
            let (a, b) = (numbers(m * depth), numbers(depth * n));
            for turns in 0..8 {
                let [a_turned, b_turned, add] = [1, 2, 4].map(|bit| turns & bit != 0);
                let a = if a_turned { Matrix::rows(&a, m).transposed() } else { Matrix::rows(&a, depth) };
                let b = if b_turned { Matrix::rows(&b, depth).transposed() } else { Matrix::rows(&b, n) };
                // Products of rounded numbers are exact up to the sums; two parts of a number keep 16 digits, 2^-17 of it, and
                // the product of the lower parts is left out.
                for (precision, allowed) in [(Precision::F32, 1e-6), (Precision::High, 2e-5), (Precision::Bf16, 1e-6)] {
                    let seen = |x: f32| f64::from(if precision == Precision::Bf16 { bf16(x) } else { x });
                    // Also tests the path of processors without bfloat16 instructions.
                    let rounded = precision == Precision::Bf16;
                    let factors = [
                        Factor::packed(b, depth, n, precision),
                        Factor::in_place(b, depth, n, precision),
                        Factor::panels(b, depth, n, rounded),
                    ];
                    for factor in &factors {
                        let width = n + 3;
                        let mut out = vec![0.5f32; m * width];
                        // SAFETY: `m` rows of `n` numbers, `width` apart.
                        unsafe { gemm_at(out.as_mut_ptr(), width, m, a, factor, add) };
                        let (mut error, mut size) = (0.0, 0.0);
                        for i in 0..m {
                            for j in 0..n {
                                let sum: f64 = (0..depth).map(|k| seen(at(a, i, k)) * seen(at(b, k, j))).sum();
                                let wanted = if add { 0.5 + sum } else { sum };
                                error += (wanted - f64::from(out[i * width + j])).powi(2);
                                size += wanted * wanted;
                            }
                            assert!(out[i * width + n..][..3].iter().all(|x| *x == 0.5), "nothing between the rows");
                        }
                        let off = (error / size).sqrt();
                        assert!(off <= allowed, "{m} x {depth} x {n}, turns {turns}, {precision:?}: off by {off:e}");
                    }
                }
            }
        }
    }
}
