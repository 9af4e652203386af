//! Shape, trend and missing values: laws of single columns, of pairs of columns, and of what is missing.
//!
//! ```text
//! shape of numbers         1 - sup |F_real - F_synthetic|                   Kolmogorov and Smirnov
//! shape of classes         1 - TV of the laws
//! trend of two numbers     1 - |r_real - r_synthetic| / 2                   Pearson's correlation
//! trend of other pairs     1 - TV of the contingency tables                 numbers in ten bins
//! missing_tv               TV of the laws of the patterns of missing values
//! ```
//!
//! The conventions are those of the quality report of SDMetrics 0.24, so that figures compare with published ones
//! (version 0.32 averages the trend over pairs only that are related in the real table, unless its thresholds are 0).
//! Missing values are left out of shape and correlations, and are a class in contingency tables. Each table has bins of
//! its own range (so a table that is shifted as a whole shows in the shape, and not in mixed pairs). A column or pair
//! whose score is not defined is left out of the mean.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::columns::{Column, Columns, range};
use super::counting::{Codes, total_variation};

/// Number of bins of a column of numbers.
pub(super) const BINS: usize = 10;

/// Scores of columns.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnScores {
    /// The mean of the scores that are defined; NaN if none is.
    pub mean: f64,
    /// The score of every column; NaN where it is not defined.
    pub each: Vec<f64>,
}

/// Scores of pairs of columns.
#[derive(Clone, Debug, PartialEq)]
pub struct PairScores {
    /// The mean of the scores that are defined; NaN if none is.
    pub mean: f64,
    /// Two columns, the first below the second, and their score; NaN where it is not defined.
    pub each: Vec<(usize, usize, f64)>,
}

pub(super) fn mean_defined(scores: impl Iterator<Item = f64>) -> f64 {
    let (sum, n) = scores.filter(|s| !s.is_nan()).fold((0.0, 0), |(sum, n), s| (sum + s, n + 1));
    sum / f64::from(n)
}

/// How well the columns are met one by one: 1 if all have the same laws, 0 if none shares a value.
///
/// # Panics
/// If the tables differ in names, kinds or classes of columns.
///
/// ```
/// use pushforward::metrics::tables::{Column, Columns, shape};
/// let table = |ids: &[u32], numbers: &[f64]| {
///     let classes = Column::Categories { ids: ids.to_vec(), classes: 2, missing: None };
///     Columns::new(vec![("class".to_owned(), classes), ("number".to_owned(), Column::Numbers(numbers.to_vec()))])
/// };
/// let scores = shape(&table(&[0, 1], &[1.0, 2.0]), &table(&[0, 0], &[1.0, 2.0]));
/// assert_eq!((scores.mean, scores.each), (0.75, vec![0.5, 1.0]));
/// ```
pub fn shape(real: &Columns, synthetic: &Columns) -> ColumnScores {
    real.assert_like(synthetic);
    let pairs = real.columns().par_iter().zip(synthetic.columns());
    let each: Vec<f64> = pairs
        .map(|((_, real), (_, synthetic))| match (real, synthetic) {
            (Column::Numbers(a), Column::Numbers(b)) => 1.0 - kolmogorov_smirnov(a, b),
            _ => 1.0 - total_variation(&present(real).counts(), &present(synthetic).counts()),
        })
        .collect();
    ColumnScores { mean: mean_defined(each.iter().copied()), each }
}

/// How well pairs of columns are met: 1 if all correlations and contingency tables are the same.
///
/// # Panics
/// If the tables differ in names, kinds or classes of columns.
///
/// ```
/// use pushforward::metrics::tables::{Column, Columns, trend};
/// let table = |b: [f64; 4]| {
///     let numbers = |name: &str, values: [f64; 4]| (name.to_owned(), Column::Numbers(values.to_vec()));
///     Columns::new(vec![numbers("a", [1.0, 2.0, 3.0, 4.0]), numbers("b", b)])
/// };
/// let rising = table([2.0, 4.0, 6.0, 8.0]);
/// // A correlation of -1 instead of 1 is as wrong as can be.
/// let scores = trend(&rising, &table([8.0, 6.0, 4.0, 2.0]));
/// assert!(scores.mean.abs() < 1e-15 && scores.each.len() == 1);
/// ```
pub fn trend(real: &Columns, synthetic: &Columns) -> PairScores {
    real.assert_like(synthetic);
    let codes = |table: &Columns| table.columns().par_iter().map(|(_, c)| binned(c)).collect::<Vec<Codes>>();
    let (real_codes, synthetic_codes) = (codes(real), codes(synthetic));
    let width = real.columns().len();
    let pairs: Vec<(usize, usize)> = (0..width).flat_map(|i| (i + 1..width).map(move |j| (i, j))).collect();
    let each: Vec<(usize, usize, f64)> = pairs
        .into_par_iter()
        .map(|(i, j)| {
            let [a, b] = [real, synthetic].map(|table| correlation(&table.columns()[i].1, &table.columns()[j].1));
            let score = match (a, b) {
                (Some(a), Some(b)) => 1.0 - (a - b).abs() / 2.0,
                _ => {
                    let a = real_codes[i].pair_counts(&real_codes[j]);
                    1.0 - total_variation(&a, &synthetic_codes[i].pair_counts(&synthetic_codes[j]))
                }
            };
            (i, j, score)
        })
        .collect();
    PairScores { mean: mean_defined(each.iter().map(|&(_, _, score)| score)), each }
}

/// The total variation distance of the laws of the patterns of missing values, a pattern being the set of columns that
/// a row lacks: 0 if the tables have the same, in particular if nothing is missing; 1 if they share no pattern.
///
/// # Panics
/// If the tables differ in names, kinds or classes of columns.
///
/// ```
/// use pushforward::metrics::tables::{Column, Columns, missing_tv};
/// let table = |a: [f64; 2], b: [f64; 2]| {
///     let numbers = |name: &str, values: [f64; 2]| (name.to_owned(), Column::Numbers(values.to_vec()));
///     Columns::new(vec![numbers("a", a), numbers("b", b)])
/// };
/// let together = table([1.0, f64::NAN], [1.0, f64::NAN]);
/// // Each column lacks one value in either table, but not in the same row.
/// assert_eq!(missing_tv(&together, &table([1.0, f64::NAN], [f64::NAN, 1.0])), 1.0);
/// ```
pub fn missing_tv(real: &Columns, synthetic: &Columns) -> f64 {
    real.assert_like(synthetic);
    let mut patterns = BTreeMap::new();
    let [real, synthetic] = [real, synthetic].map(|table| {
        let mut ids = Vec::with_capacity(table.rows());
        for row in 0..table.rows() {
            let pattern: Vec<bool> = table.columns().iter().map(|(_, column)| column.is_missing(row)).collect();
            let next = patterns.len() as u32;
            ids.push(*patterns.entry(pattern).or_insert(next));
        }
        Codes { ids, classes: usize::MAX }.counts()
    });
    total_variation(&real, &synthetic)
}

/// The largest distance of the distribution functions of the numbers that are not missing; NaN if a sample has none.
fn kolmogorov_smirnov(x: &[f64], y: &[f64]) -> f64 {
    let [x, y] = [x, y].map(|values| {
        let mut values: Vec<f64> = values.iter().copied().filter(|v| !v.is_nan()).collect();
        values.sort_unstable_by(f64::total_cmp);
        values
    });
    if x.is_empty() || y.is_empty() {
        return f64::NAN;
    }
    let (mut i, mut j, mut largest) = (0, 0, 0.0f64);
    while i < x.len() && j < y.len() {
        let at = x[i].min(y[j]);
        i += x[i..].iter().take_while(|&&v| v <= at).count();
        j += y[j..].iter().take_while(|&&v| v <= at).count();
        largest = largest.max((i as f64 / x.len() as f64 - j as f64 / y.len() as f64).abs());
    }
    largest
}

/// The classes of the rows that have one.
fn present(column: &Column) -> Codes {
    let Column::Categories { ids, classes, missing } = column else { unreachable!("the tables have the same kinds") };
    Codes { ids: ids.iter().copied().filter(|&id| Some(id) != *missing).collect(), classes: *classes }
}

/// Ends of `BINS` bins of equal width between the numbers of a sample.
pub(super) fn bin_edges(values: &[f64]) -> Option<[f64; BINS + 1]> {
    let (low, high) = range(values)?;
    let (low, high) = if low == high { (low - 0.5, high + 0.5) } else { (low, high) };
    let step = (high - low) / BINS as f64;
    let mut edges: [f64; BINS + 1] = std::array::from_fn(|i| i as f64 * step + low);
    edges[BINS] = high;
    Some(edges)
}

/// Classes, and numbers as bins that contain their lower ends; the largest number and the missing ones have their own.
fn binned(column: &Column) -> Codes {
    match column {
        Column::Categories { ids, classes, .. } => Codes { ids: ids.clone(), classes: *classes },
        Column::Numbers(values) => {
            let edges = bin_edges(values).unwrap_or_default();
            let bin = |v: f64| if v.is_nan() { BINS + 2 } else { edges.partition_point(|&edge| edge <= v) };
            Codes { ids: values.iter().map(|&v| bin(v) as u32).collect(), classes: BINS + 3 }
        }
    }
}

/// Pearson's correlation over the rows that have both numbers; NaN if one is constant, `None` for classes.
fn correlation(x: &Column, y: &Column) -> Option<f64> {
    let (Column::Numbers(x), Column::Numbers(y)) = (x, y) else { return None };
    let both: Vec<(f64, f64)> =
        x.iter().copied().zip(y.iter().copied()).filter(|(x, y)| !x.is_nan() && !y.is_nan()).collect();
    let n = both.len() as f64;
    let (mx, my) = both.iter().fold((0.0, 0.0), |(a, b), (x, y)| (a + x / n, b + y / n));
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for (x, y) in &both {
        let (dx, dy) = (x - mx, y - my);
        (xx, yy, xy) = (xx + dx * dx, yy + dy * dy, xy + dx * dy);
    }
    let constant = |of: fn(&(f64, f64)) -> f64| both.iter().all(|pair| of(pair) == of(&both[0]));
    let undefined = both.is_empty() || constant(|pair| pair.0) || constant(|pair| pair.1);
    Some(if undefined { f64::NAN } else { (xy / (xx.sqrt() * yy.sqrt())).clamp(-1.0, 1.0) })
}

#[cfg(test)]
mod tests {
    use super::super::samples::{classes, mixed, numbers};
    use super::*;

    const NAN: f64 = f64::NAN;

    #[test]
    fn equal_tables_score_one_and_disjoint_ones_zero() {
        let real = mixed(500, 0.0, 0);
        let same = shape(&real, &real);
        assert_eq!((same.mean, same.each.len()), (1.0, 3));
        let same = trend(&real, &real);
        assert_eq!((same.mean, same.each.len(), missing_tv(&real, &real)), (1.0, 3, 0.0));
        let one = Columns::new(vec![numbers("x", &[1.0, 2.0]), classes("c", &[0, 1])]);
        let other = Columns::new(vec![numbers("x", &[5.0, 6.0]), classes("c", &[2, 3])]);
        assert_eq!((shape(&one, &other).mean, trend(&one, &other).mean), (0.0, 0.0));
    }

    #[test]
    fn kolmogorov_and_smirnov_by_hand() {
        assert_eq!(kolmogorov_smirnov(&[1.0, 2.0, 3.0, 4.0], &[3.0, 4.0, 5.0, 6.0]), 0.5);
        assert_eq!(kolmogorov_smirnov(&[1.0, NAN, 1.0, 2.0], &[1.0, 2.0, 2.0, NAN]), 2.0 / 3.0 - 1.0 / 3.0);
        assert_eq!(kolmogorov_smirnov(&[1.0, 1.0], &[1.0]), 0.0);
        assert!(kolmogorov_smirnov(&[NAN], &[1.0]).is_nan());
    }

    #[test]
    fn missing_classes_are_left_out_of_shape_and_are_a_class_in_trend() {
        let real = Columns::new(vec![classes("a", &[0, 1, 9, 9]), classes("b", &[0, 0, 0, 0])]);
        let synthetic = Columns::new(vec![classes("a", &[0, 1, 0, 1]), classes("b", &[0, 0, 0, 0])]);
        assert_eq!(shape(&real, &synthetic).each, [1.0, 1.0]);
        assert_eq!(trend(&real, &synthetic).mean, 0.5);
        assert_eq!(missing_tv(&real, &synthetic), 0.5);
    }

    #[test]
    fn constant_columns_have_no_correlation_and_are_left_out() {
        let table = Columns::new(vec![
            numbers("x", &[1.0, 2.0, 4.0]),
            numbers("y", &[2.0, 1.0, 0.0]),
            numbers("constant", &[0.1, 0.1, 0.1]),
        ]);
        let scores = trend(&table, &table);
        assert_eq!(scores.mean, 1.0);
        assert_eq!(
            scores.each.iter().map(|(i, j, s)| (*i, *j, s.is_nan())).collect::<Vec<_>>(),
            [(0, 1, false), (0, 2, true), (1, 2, true)]
        );
        // r = -0.9819805060619657 over the rows that have both numbers.
        let [(_, x), (_, y), _] = table.columns() else { panic!("three columns") };
        assert!((correlation(x, y).unwrap() + 0.981_980_506_061_965_7).abs() < 1e-15);
    }

    #[test]
    fn bins_are_those_of_numpy() {
        let edges = bin_edges(&[0.0, 10.0, NAN]).unwrap();
        assert_eq!(edges, std::array::from_fn(|i| i as f64));
        assert_eq!(bin_edges(&[3.0]).unwrap()[0], 2.5);
        assert_eq!(binned(&Column::Numbers(vec![0.0, 0.9, 1.0, 9.9, 10.0, NAN])).ids, [1, 1, 2, 10, 11, 12]);
    }
}
