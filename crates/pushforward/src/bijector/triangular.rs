//! Triangular and orthogonal matrices.

use burn::tensor::Tensor;

use crate::rng::Stream;

/// The inverse of a lower triangular matrix, by recursion on blocks of half the size.
///
/// ```text
/// [A 0; B D]^-1 = [A^-1 0; -D^-1 B A^-1  D^-1]
/// ```
///
/// # Shapes
/// - `l`, output: `[n, n]`
pub(super) fn inverse_lower(l: Tensor<2>) -> Tensor<2> {
    let [n, _] = l.dims();
    if n == 1 {
        return l.recip();
    }
    let (h, block) =
        (n / 2, |i: usize, rows: usize, j: usize, columns: usize| l.clone().narrow(0, i, rows).narrow(1, j, columns));
    let (a, d) = (inverse_lower(block(0, h, 0, h)), inverse_lower(block(h, n - h, h, n - h)));
    let b = d.clone().matmul(block(h, n - h, 0, h)).matmul(a.clone()).neg();
    let zero = block(0, h, h, n - h).zeros_like();
    Tensor::cat(vec![Tensor::cat(vec![a, zero], 1), Tensor::cat(vec![b, d], 1)], 0)
}

/// The rows of a random orthogonal matrix: Gram-Schmidt on standard normal vectors.
pub(super) fn random_orthogonal(n: usize, stream: &mut Stream) -> Vec<Vec<f64>> {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let mut rows: Vec<Vec<f64>> = Vec::with_capacity(n);
    while rows.len() < n {
        let mut row: Vec<f64> = (0..n).map(|_| stream.normal()).collect();
        // Twice, to remove the rounding error of the first pass.
        for _ in 0..2 {
            for other in &rows {
                let along = dot(&row, other);
                row.iter_mut().zip(other).for_each(|(r, o)| *r -= along * o);
            }
        }
        let length = dot(&row, &row).sqrt();
        if length > 1e-6 {
            rows.push(row.into_iter().map(|r| r / length).collect());
        }
    }
    rows
}

/// `A = P L U` with partial pivoting: row `i` of `A` is row `order[i]` of `L U`. Returns `order`, and both factors in
/// one matrix without the unit diagonal of `L`.
pub(super) fn factorise(mut a: Vec<Vec<f64>>) -> (Vec<usize>, Vec<Vec<f64>>) {
    let n = a.len();
    let mut source: Vec<usize> = (0..n).collect();
    for k in 0..n {
        let pivot = (k..n).max_by(|&i, &j| a[i][k].abs().total_cmp(&a[j][k].abs())).expect("at least one row is left");
        a.swap(k, pivot);
        source.swap(k, pivot);
        let (done, rest) = a.split_at_mut(k + 1);
        for row in rest {
            row[k] /= done[k][k];
            let factor = row[k];
            row[k + 1..].iter_mut().zip(&done[k][k + 1..]).for_each(|(r, d)| *r -= factor * d);
        }
    }
    let mut order = vec![0; n];
    source.iter().enumerate().for_each(|(k, &row)| order[row] = k);
    (order, a)
}
