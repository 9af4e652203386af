//! Matrix products on one thread, over slices.

use super::buffer::{Slot, written_mut};

/// A matrix in a slice: entry `(i, j)` lies at `i * row + j * column`.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    pub(super) data: &'a [f32],
    pub(super) row: usize,
    pub(super) column: usize,
}

impl<'a> Matrix<'a> {
    /// Rows one after the other, `width` apart.
    pub(super) fn rows(data: &'a [f32], width: usize) -> Self {
        Self { data, row: width, column: 1 }
    }

    pub(super) fn transposed(self) -> Self {
        Self { row: self.column, column: self.row, ..self }
    }

    /// Whether `rows` times `columns` entries lie in the slice.
    fn holds(&self, rows: usize, columns: usize) -> bool {
        rows == 0 || columns == 0 || (rows - 1) * self.row + (columns - 1) * self.column < self.data.len()
    }
}

/// `out = a b` with `a` of `m` rows and `b` of `n` columns, into rows that lie `width` apart.
///
/// # Panics
/// If an entry lies outside of its slice.
pub(super) fn product(out: &mut [Slot], width: usize, [m, n, k]: [usize; 3], a: Matrix<'_>, b: Matrix<'_>) {
    assert!(m == 0 || n == 0 || (m - 1) * width + n <= out.len(), "a product within its slice");
    // SAFETY: the rows lie in `out`, and without `add` nothing is read from it.
    unsafe { product_at(out.as_mut_ptr().cast(), width, [m, n, k], a, b, false) }
}

/// `out = out + a b`.
///
/// # Panics
/// If an entry lies outside of its slice.
pub(super) fn add_product(out: &mut [f32], width: usize, [m, n, k]: [usize; 3], a: Matrix<'_>, b: Matrix<'_>) {
    assert!(m == 0 || n == 0 || (m - 1) * width + n <= out.len(), "a product within its slice");
    // SAFETY: the rows lie in `out`, all of which is written.
    unsafe { product_at(out.as_mut_ptr(), width, [m, n, k], a, b, true) }
}

/// `out = a b`, or with `add` `out = out + a b`, where another job may own what lies between the rows.
///
/// # Panics
/// If an entry of `a` or `b` lies outside of its slice.
///
/// # Safety
/// `m` rows of `n` numbers, `width` apart, start at `out` and belong to the caller; with `add` they are written.
pub(super) unsafe fn product_at(
    out: *mut f32,
    width: usize,
    [m, n, k]: [usize; 3],
    a: Matrix<'_>,
    b: Matrix<'_>,
    add: bool,
) {
    assert!(a.holds(m, k) && b.holds(k, n) && n <= width, "a product within its slices");
    let stride = |x: usize| isize::try_from(x).expect("strides are lengths of slices");
    // SAFETY: the caller answers for `out`, and the other entries lie in their slices, as was just asserted.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out,
            1,
            stride(width),
            add,
            a.data.as_ptr(),
            stride(a.column),
            stride(a.row),
            b.data.as_ptr(),
            stride(b.column),
            stride(b.row),
            1.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// [`product`] into a matrix without gaps, which comes back as numbers.
pub(super) fn filled<'a>(out: &'a mut [Slot], [m, n, k]: [usize; 3], a: Matrix<'_>, b: Matrix<'_>) -> &'a mut [f32] {
    assert_eq!(out.len(), m * n, "as many slots as entries");
    product(out, n, [m, n, k], a, b);
    // SAFETY: the product wrote m rows of n numbers, which is all.
    unsafe { written_mut(out) }
}
