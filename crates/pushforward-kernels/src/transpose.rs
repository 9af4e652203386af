//! Transposition of matrices.

use super::buffer::{Slot, slots, written};

/// Rows that are transposed together: writes fill whole cache lines, and reads are no more streams than the prefetcher
/// follows.
pub(super) const TOGETHER: usize = 16;

/// Transposes `rows` rows of `columns` numbers with stride `distance` into `columns` rows of `rows` numbers with stride
/// `other`.
pub(super) fn transpose<T>(
    (from, distance): (&[f32], usize),
    [rows, columns]: [usize; 2],
    (out, other): (&mut [T], usize),
    put: impl Fn(&mut T, f32),
) {
    if columns == 0 {
        return;
    }
    for first in (0..rows).step_by(TOGETHER) {
        let (from, out) = (&from[first * distance..], &mut out[first..]);
        if rows - first >= TOGETHER {
            // Constant counts and equal lengths, so that the loop has no bounds checks.
            let lines: [&[f32]; TOGETHER] = std::array::from_fn(|i| &from[i * distance..][..columns]);
            for (column, out) in out.chunks_mut(other).enumerate().take(columns) {
                out[..TOGETHER].iter_mut().zip(lines).for_each(|(out, line)| put(out, line[column]));
            }
        } else {
            for (column, out) in out.chunks_mut(other).enumerate().take(columns) {
                let lines = from[column..].iter().step_by(distance);
                out[..rows - first].iter_mut().zip(lines).for_each(|(out, x)| put(out, *x));
            }
        }
    }
}

/// Transposes each of several consecutive matrices.
///
/// # Panics
/// If the slice is not a whole number of matrices.
pub(super) fn transpose_each(from: &[f32], [rows, columns]: [usize; 2]) -> Vec<f32> {
    let (size, mut out) = ((rows * columns).max(1), slots(from.len()));
    assert!(from.len().is_multiple_of(size), "{} numbers in matrices of {rows} x {columns}", from.len());
    let matrices = out.chunks_exact_mut(size).zip(from.chunks_exact(size));
    matrices.for_each(|(out, from)| transpose((from, columns), [rows, columns], (out, rows), put));
    // SAFETY: the matrices cover the buffer, and every entry is written.
    unsafe { written(out) }
}

pub(super) fn put(slot: &mut Slot, x: f32) {
    slot.write(x);
}
