//! Principal components of a batch, the initial value of a learned core.
//!
//! # Examples
//! ```
//! use pushforward::aef::principal::principal_axes;
//! use pushforward::burn::tensor::{Device, Tensor};
//!
//! let on_a_line = Tensor::<2>::from_data([[0.0f32, 1.0], [3.0, 5.0], [6.0, 9.0]], &Device::flex()); // along (3, 4)
//! let axes = principal_axes(&on_a_line, 2);
//! assert_eq!(axes.len(), 1);
//! assert!((axes[0][0].abs() - 0.6).abs() < 1e-6 && (axes[0][1].abs() - 0.8).abs() < 1e-6);
//! ```

use burn::tensor::Tensor;
use faer::{Mat, Side};

use crate::tensor::to_host;

/// Unit vectors of largest variance of the rows, in decreasing order; fewer than `count` if the rows span fewer
/// directions.
///
/// # Shapes
/// - `x`: `[batch, n]`
/// - output: at most `count` vectors of length `n`
///
/// # Panics
/// If `x` has no rows.
pub fn principal_axes(x: &Tensor<2>, count: usize) -> Vec<Vec<f64>> {
    let [batch, n] = x.dims();
    assert!(batch > 0, "axis 0 of `x`: principal axes need at least 1 row, found 0");
    let mut rows = to_host(x);
    for column in 0..n {
        let mean = (0..batch).map(|i| rows[i * n + column]).sum::<f64>() / batch as f64;
        (0..batch).for_each(|i| rows[i * n + column] -= mean);
    }
    // The Gram matrix of the rows has the same non-zero eigenvalues as their scatter matrix, and is smaller: there are
    // usually fewer rows than columns.
    let rows = Mat::from_fn(batch, n, |i, j| rows[i * n + j]);
    let gram = &rows * rows.transpose();
    let Ok(eigen) = gram.self_adjoint_eigen(Side::Lower) else { return Vec::new() };
    let (values, vectors) = (eigen.S(), eigen.U());
    let largest = values[batch - 1].max(0.0);
    (0..count.min(batch))
        .map(|i| batch - 1 - i)
        .take_while(|&i| values[i] > 1e-10 * largest)
        .map(|i| {
            let axis = rows.transpose() * vectors.col(i);
            (0..n).map(|j| axis[j] / values[i].sqrt()).collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};

    #[test]
    #[should_panic(expected = "axis 0 of `x`: principal axes need at least 1 row, found 0")]
    fn no_rows_have_no_axes() {
        principal_axes(&Tensor::zeros([0, 3], &Device::flex()), 1);
    }

    #[test]
    fn axes_of_points_on_a_plane() {
        // Mostly along (3, 4, 0)/5, a little along the third axis, around (1, 1, 1).
        let points: Vec<f32> = [(-2.0, 0.1), (-1.0, -0.1), (1.0, -0.1), (2.0, 0.1f32)]
            .into_iter()
            .flat_map(|(a, b)| [1.0 + 0.6 * a, 1.0 + 0.8 * a, 1.0 + b])
            .collect();
        let x = Tensor::<2>::from_data(TensorData::new(points, [4, 3]), &Device::flex());
        let axes = principal_axes(&x, 3);
        assert_eq!(axes.len(), 2, "the points span two directions: {axes:?}");
        for (axis, wanted) in axes.iter().zip([[0.6, 0.8, 0.0], [0.0, 0.0, 1.0]]) {
            let along: f64 = axis.iter().zip(wanted).map(|(a, b)| a * b).sum();
            assert!((along.abs() - 1.0).abs() < 1e-5, "{axis:?}");
        }
    }
}
