//! Frechet distance and kernel distance between two sets of features, all in `f64`.
//!
//! ```text
//! frechet = |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1^1/2 S2 S1^1/2)^1/2     m, S: mean and covariance (divisor n - 1)
//! kid     = mean_{i!=j} k(x_i, x_j) + mean_{i!=j} k(y_i, y_j) - 2 mean_{i,j} k(x_i, y_j)
//! k(x, y) = (x.y / dim + 1)^3
//! ```
//!
//! The Frechet distance is that of two Gaussians; it is biased upwards by few samples, so compare at equal n. The
//! kernel distance is unbiased and may be slightly negative. Both mean nothing without the name of the feature
//! extractor. Heusel et al. 2017, arXiv 1706.08500 (equation 6); Binkowski et al. 2018, arXiv 1801.01401 (section 3.1).
//!
//! # Examples
//! ```
//! use pushforward::metrics::frechet::{Moments, frechet, frechet_ridged};
//! // Diagonal Gaussians: |m1 - m2|^2 + sum (s1 - s2)^2 = 9 + (1 - 2)^2.
//! let a = Moments::from_parts(100, vec![0.0, 0.0], &[1.0, 0.0, 0.0, 1.0]);
//! let b = Moments::from_parts(100, vec![3.0, 0.0], &[4.0, 0.0, 0.0, 1.0]);
//! assert!((frechet(&a, &b) - 10.0).abs() < 1e-9);
//! assert!(frechet(&a, &a) < 1e-9);
//! // With 1 added to all variances: 9 + (sqrt 2 - sqrt 5)^2.
//! assert!((frechet_ridged(&a, &b, 1.0) - 9.0 - (2f64.sqrt() - 5f64.sqrt()).powi(2)).abs() < 1e-9);
//! ```

use faer::{Mat, MatRef, Side};

/// Mean and covariance of feature rows, accumulated batch by batch.
///
/// # Examples
/// ```
/// use pushforward::metrics::frechet::Moments;
/// let rows = [0.0, 1.0, 2.0, 5.0, 4.0, 0.0];
/// let mut batched = Moments::new(2);
/// rows.chunks(2).for_each(|row| batched.push(row));
/// assert_eq!((batched.n(), batched.mean()), (3, &[2.0, 2.0][..]));
/// let whole = Moments::of(&rows, 2).covariance();
/// assert!(batched.covariance().iter().zip(whole).all(|(a, b)| (a - b).abs() < 1e-12));
/// ```
#[derive(Clone, Debug)]
pub struct Moments {
    n: usize,
    mean: Vec<f64>,
    /// Sum of the outer products of the centred rows. Batches are merged by the pairwise rule of Chan, Golub and
    /// LeVeque (1979), because a difference of raw second moments would lose half of the digits.
    scatter: Mat<f64>,
}

impl Moments {
    /// Moments of zero rows of `dim` features.
    pub fn new(dim: usize) -> Self {
        Self { n: 0, mean: vec![0.0; dim], scatter: Mat::zeros(dim, dim) }
    }

    /// Moments of one batch of rows.
    ///
    /// # Panics
    /// As [`Moments::push`].
    pub fn of(rows: &[f64], dim: usize) -> Self {
        let mut moments = Self::new(dim);
        moments.push(rows);
        moments
    }

    /// Stored moments, such as those of a reference set: `covariance` row-major with the divisor `n - 1`.
    ///
    /// # Panics
    /// If `covariance` is not `dim * dim` long or `n` is below 2.
    pub fn from_parts(n: usize, mean: Vec<f64>, covariance: &[f64]) -> Self {
        let dim = mean.len();
        assert_eq!(covariance.len(), dim * dim, "a covariance of {dim} features has {dim} x {dim} entries");
        assert!(n > 1, "a covariance needs at least 2 rows, got {n}");
        let scatter = Mat::from_fn(dim, dim, |i, j| covariance[i * dim + j] * (n - 1) as f64);
        Self { n, mean, scatter }
    }

    /// Adds a batch.
    ///
    /// # Shapes
    /// - `rows`: `[batch, dim]`, row-major
    ///
    /// # Panics
    /// If the length is not a multiple of `dim`.
    pub fn push(&mut self, rows: &[f64]) {
        let dim = self.mean.len();
        let batch = as_matrix(rows, dim);
        let count = batch.nrows();
        if count == 0 {
            return;
        }
        let mean: Vec<f64> = (0..dim).map(|j| batch.col(j).sum() / count as f64).collect();
        let centred = Mat::from_fn(count, dim, |i, j| batch[(i, j)] - mean[j]);
        self.scatter += centred.transpose() * &centred;
        let total = (self.n + count) as f64;
        let shift: Vec<f64> = mean.iter().zip(&self.mean).map(|(new, old)| new - old).collect();
        let between = self.n as f64 * count as f64 / total;
        self.scatter += Mat::from_fn(dim, dim, |i, j| between * shift[i] * shift[j]);
        for (mean, shift) in self.mean.iter_mut().zip(&shift) {
            *mean += shift * count as f64 / total;
        }
        self.n += count;
    }

    /// Number of rows.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Mean of the rows.
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// Covariance with the divisor `n - 1`, row-major.
    ///
    /// # Panics
    /// If there are fewer than 2 rows.
    pub fn covariance(&self) -> Vec<f64> {
        let covariance = self.ridged(0.0);
        let dim = self.mean.len();
        (0..dim * dim).map(|k| covariance[(k / dim, k % dim)]).collect()
    }

    fn ridged(&self, ridge: f64) -> Mat<f64> {
        assert!(self.n > 1, "a covariance needs at least 2 rows, got {}", self.n);
        let dim = self.mean.len();
        let scale = 1.0 / (self.n - 1) as f64;
        Mat::from_fn(dim, dim, |i, j| self.scatter[(i, j)] * scale + if i == j { ridge } else { 0.0 })
    }
}

/// Why two sets of rows have no distance: each needs a covariance. `None` if they have one.
///
/// # Examples
/// ```
/// use pushforward::metrics::frechet::too_few;
/// assert_eq!(too_few(2, 500), None);
/// assert!(too_few(1, 500).is_some_and(|reason| reason.contains("found 1 and 500")));
/// ```
pub fn too_few(samples: usize, reference: usize) -> Option<String> {
    (samples < 2 || reference < 2).then(|| {
        format!("a distance needs at least 2 samples and 2 items to compare with, found {samples} and {reference}")
    })
}

/// Frechet distance of two feature sets (`frechet`), never negative; NaN if a feature was not finite.
///
/// # Panics
/// If the dimensions differ or a set has fewer than 2 rows.
pub fn frechet(a: &Moments, b: &Moments) -> f64 {
    frechet_ridged(a, b, 0.0)
}

/// Frechet distance after adding `ridge` to the diagonals of both covariances, as some published protocols do
/// (1e-6 for molecules). Not needed for rank-deficient sets here.
///
/// # Panics
/// As [`frechet`].
pub fn frechet_ridged(a: &Moments, b: &Moments, ridge: f64) -> f64 {
    assert_eq!(a.mean.len(), b.mean.len(), "dimensions of the two feature sets");
    let shift: f64 = a.mean.iter().zip(&b.mean).map(|(x, y)| (x - y).powi(2)).sum();
    let (s1, s2) = (a.ridged(ridge), b.ridged(ridge));
    let trace = |s: &Mat<f64>| s.diagonal().column_vector().sum();
    let distance = shift + trace(&s1) + trace(&s2) - 2.0 * trace_of_root(&s1, &s2);
    // Equal sets leave a rounding error of either sign. `max` alone would turn NaN into zero.
    if distance < 0.0 { 0.0 } else { distance }
}

/// `tr (S1^1/2 S2 S1^1/2)^1/2` by two symmetric eigendecompositions.
fn trace_of_root(s1: &Mat<f64>, s2: &Mat<f64>) -> f64 {
    // The decomposition fails on entries that are not finite, and on nothing else.
    let Ok(eigen) = s1.self_adjoint_eigen(Side::Lower) else { return f64::NAN };
    let values: Vec<f64> = eigen.S().column_vector().iter().copied().collect();
    let roots = roots(&values);
    let vectors = eigen.U();
    let scaled = Mat::from_fn(vectors.nrows(), vectors.ncols(), |i, j| vectors[(i, j)] * roots[j]);
    // (U R)^T S2 (U R) has the eigenvalues of S1^1/2 S2 S1^1/2 and saves one rotation.
    let product = scaled.transpose() * s2 * &scaled;
    let symmetric = Mat::from_fn(product.nrows(), product.ncols(), |i, j| 0.5 * (product[(i, j)] + product[(j, i)]));
    let Ok(values) = symmetric.self_adjoint_eigenvalues(Side::Lower) else { return f64::NAN };
    self::roots(&values).iter().sum()
}

/// Square roots of the eigenvalues of a positive semidefinite matrix. Those within rounding of zero count as zero:
/// the root of 1e-16 is 1e-8, and a rank-deficient covariance of many features has thousands of them.
fn roots(values: &[f64]) -> Vec<f64> {
    let largest = values.iter().copied().fold(0.0, f64::max);
    let floor = largest * values.len() as f64 * f64::EPSILON;
    values.iter().map(|&v| if v > floor { v.sqrt() } else { 0.0 }).collect()
}

/// Kernel distance of two feature sets (`kid`): the unbiased squared maximum mean discrepancy, cubic kernel.
///
/// Every pair of rows is used; time grows with the square of the number of rows.
///
/// # Shapes
/// - `a`: `[n1, dim]`, `b`: `[n2, dim]`, row-major
///
/// # Panics
/// If a length is not a multiple of `dim` or a set has fewer than 2 rows.
///
/// # Examples
/// ```
/// use pushforward::metrics::frechet::kid;
/// // One feature, k(x, y) = (x y + 1)^3: 1 + 8 - 2 for all rows 0 against all rows 1.
/// assert_eq!(kid(&[0.0, 0.0], &[1.0, 1.0], 1), 7.0);
/// ```
pub fn kid(a: &[f64], b: &[f64], dim: usize) -> f64 {
    let (a, b) = (as_matrix(a, dim), as_matrix(b, dim));
    assert!(a.nrows() > 1 && b.nrows() > 1, "kid needs 2 rows in each set, got {} and {}", a.nrows(), b.nrows());
    let within = |x: MatRef<'_, f64>| {
        let own: f64 = (0..x.nrows()).map(|i| cubic(x.row(i) * x.row(i).transpose(), dim)).sum();
        (kernel_sum(x, x) - own) / (x.nrows() * (x.nrows() - 1)) as f64
    };
    within(a) + within(b) - 2.0 * kernel_sum(a, b) / (a.nrows() * b.nrows()) as f64
}

/// Sum of the kernel over all pairs, in blocks of rows so that the whole Gram matrix is never in memory.
fn kernel_sum(a: MatRef<'_, f64>, b: MatRef<'_, f64>) -> f64 {
    const BLOCK: usize = 256;
    (0..a.nrows())
        .step_by(BLOCK)
        .map(|start| {
            let gram = a.subrows(start, BLOCK.min(a.nrows() - start)) * b.transpose();
            gram.col_iter().flat_map(|column| column.iter().copied()).map(|dot| cubic(dot, a.ncols())).sum::<f64>()
        })
        .sum()
}

fn cubic(dot: f64, dim: usize) -> f64 {
    (dot / dim as f64 + 1.0).powi(3)
}

fn as_matrix(rows: &[f64], dim: usize) -> MatRef<'_, f64> {
    assert!(dim > 0 && rows.len().is_multiple_of(dim), "{} numbers are not rows of {dim} features", rows.len());
    MatRef::from_row_major_slice(rows, rows.len() / dim, dim)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Purpose, stream};

    fn rows(n: usize, dim: usize, shift: f64, seed: u64) -> Vec<f64> {
        let mut r = stream(seed, Purpose::Metric, 0);
        (0..n * dim).map(|_| r.normal() + shift).collect()
    }

    #[test]
    fn moments_do_not_depend_on_the_batches() {
        let x = rows(50, 3, 1e4, 0);
        let whole = Moments::of(&x, 3);
        let mut parts = Moments::new(3);
        for range in [0..1, 1..1, 1..20, 20..50] {
            parts.push(&x[range.start * 3..range.end * 3]);
        }
        assert_eq!(parts.n(), 50);
        for (a, b) in whole.covariance().iter().zip(parts.covariance()) {
            assert!((a - b).abs() < 1e-10, "{a} {b}");
        }
        for (a, b) in whole.mean().iter().zip(parts.mean()) {
            assert!((a / b - 1.0).abs() < 1e-14, "{a} {b}");
        }
    }

    #[test]
    fn diagonal_gaussians_have_a_closed_form() {
        let (sd1, sd2): ([f64; 3], [f64; 3]) = ([1.0, 0.5, 0.0], [2.0, 0.1, 0.7]);
        let diagonal =
            |sd: [f64; 3]| (0..9).map(|k| if k % 4 == 0 { sd[k / 4].powi(2) } else { 0.0 }).collect::<Vec<_>>();
        let a = Moments::from_parts(9, vec![0.0, 1.0, 2.0], &diagonal(sd1));
        let b = Moments::from_parts(5, vec![0.5, 1.0, 0.0], &diagonal(sd2));
        let expected = 0.25 + 4.0 + sd1.iter().zip(sd2).map(|(x, y)| (x - y).powi(2)).sum::<f64>();
        assert!((frechet(&a, &b) - expected).abs() < 1e-12);
        assert!((frechet(&b, &a) - expected).abs() < 1e-12);
    }

    #[test]
    fn a_set_is_at_distance_zero_from_itself_even_rank_deficient() {
        let few = Moments::of(&rows(5, 40, 0.0, 1), 40);
        assert!(frechet(&few, &few) < 1e-10, "{}", frechet(&few, &few));
        let broken = Moments::of(&[0.0, 1.0, f64::NAN, 2.0], 2);
        assert!(frechet(&broken, &broken).is_nan());
    }

    #[test]
    fn orthogonal_rank_one_covariances_share_nothing() {
        // S1 = u u^T and S2 = v v^T have the trace term |u.v|, here zero; the roots of rounding errors would add up.
        let dim = 60;
        let (u, mut v) = (rows(1, dim, 0.0, 2), rows(1, dim, 0.0, 3));
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let along = dot(&u, &v) / dot(&u, &u);
        v.iter_mut().zip(&u).for_each(|(v, u)| *v -= along * u);
        let rank_one = |u: &[f64]| (0..dim * dim).map(|k| u[k / dim] * u[k % dim]).collect::<Vec<_>>();
        let moments = |u: &[f64]| Moments::from_parts(2, vec![0.0; dim], &rank_one(u));
        let error = frechet(&moments(&u), &moments(&v)) - dot(&u, &u) - dot(&v, &v);
        assert!(error.abs() < 1e-10, "{error}");
    }

    #[test]
    fn kid_is_unbiased_and_sees_a_shift() {
        let dim = 4;
        let equal: f64 =
            (0..40).map(|s| kid(&rows(30, dim, 0.0, s), &rows(20, dim, 0.0, 100 + s), dim)).sum::<f64>() / 40.0;
        // Leaving the pairs of a row with itself in would add about 1.
        assert!(equal.abs() < 0.2, "{equal}");
        assert!(kid(&rows(300, dim, 0.0, 0), &rows(300, dim, 0.5, 1), dim) > 0.2);
    }

    #[test]
    fn blocks_cover_every_pair() {
        let (a, b) = (rows(600, 2, 0.0, 0), rows(300, 2, 0.1, 1));
        let sum: f64 =
            a.chunks(2).flat_map(|x| b.chunks(2).map(move |y| ((x[0] * y[0] + x[1] * y[1]) / 2.0 + 1.0).powi(3))).sum();
        assert!((kernel_sum(as_matrix(&a, 2), as_matrix(&b, 2)) / sum - 1.0).abs() < 1e-12);
    }
}
