//! Alpha-precision and beta-recall: are synthetic rows among the real ones, and real rows near synthetic ones?
//!
//! ```text
//! P(a)  share of synthetic rows within the a-quantile of the distances of real rows from their centre
//! R(b)  share of real rows at least as near to a synthetic row as to another real row, whose synthetic row is within
//!       the b-quantile of such rows' distances from the synthetic centre
//! alpha-precision  1 - sum |a - P(a)| / sum a            beta-recall  1 - sum |b - R(b)| / sum b
//! ```
//!
//! Over 30 values from 0 to 1. Alaa, van Breugel, Saveliev and van der Schaar, How faithful is your synthetic data?,
//! 2022; in the variant that synthcity calls naive and TabSyn reports: no embedding, numbers scaled to the range of the
//! real column, classes as indicators. Even real rows have a recall of about one half: of two other rows, either may be
//! the nearer one. The numbers are relative to those of held-out rows.

use super::columns::{Column, Columns};
use super::logistic::quantile;
use super::nearest::{Norm, Points};
use crate::rng::Stream;

const STEPS: usize = 30;

/// Precision and recall.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Coverage {
    /// How well the synthetic rows are spread among the real ones, centre to edge.
    pub alpha_precision: f64,
    /// How many of the real rows have a synthetic one nearby.
    pub beta_recall: f64,
}

/// Precision and recall by equal numbers of rows of both tables, at most `most`; NaN for tables of fewer than two rows.
/// The time is proportional to the square of that number.
///
/// # Panics
/// If the tables differ in names, kinds or classes of columns.
///
/// ```
/// use pushforward::metrics::tables::{Column, Columns, coverage};
/// use pushforward::rng::{Purpose, stream};
/// let table = |spread: f64, index| {
///     let mut random = stream(1, Purpose::Metric, index);
///     let numbers = (0..1000).map(|_| spread * random.normal()).collect();
///     Columns::new(vec![("number".to_owned(), Column::Numbers(numbers))])
/// };
/// let mut random = stream(0, Purpose::Metric, 0);
/// let real = table(1.0, 0);
/// let (same, narrow) = (coverage(&real, &table(1.0, 1), 500, &mut random), coverage(&real, &table(0.1, 1), 500, &mut random));
/// assert!(same.alpha_precision > 0.9 && same.beta_recall > 0.4);
/// assert!(narrow.alpha_precision < 0.5 && narrow.beta_recall < 0.3);
/// ```
pub fn coverage(real: &Columns, synthetic: &Columns, most: usize, stream: &mut Stream) -> Coverage {
    real.assert_like(synthetic);
    let most = most.min(real.rows()).min(synthetic.rows());
    if most < 2 {
        return Coverage { alpha_precision: f64::NAN, beta_recall: f64::NAN };
    }
    let (real, synthetic) = (real.at_most(most, stream), synthetic.at_most(most, stream));
    let sizes = real.columns().iter().filter_map(|(_, column)| match column {
        Column::Numbers(_) => None,
        Column::Categories { classes, .. } => Some(*classes),
    });
    let sizes: Vec<usize> = sizes.collect();
    let (x, y) = (Points::new(&real, &real), Points::new(&synthetic, &real));
    let (centre_of_x, centre_of_y) = (Centre::new(&x, &sizes), Centre::new(&y, &sizes));
    let own = x.nearest(&x, Norm::Squared, true);
    let other = x.nearest(&y, Norm::Squared, false);
    let spread: Vec<f64> = centre_of_y.distances(&y);
    let spread: Vec<f64> = other.iter().map(|nearest| spread[nearest.row]).collect();
    let covered: Vec<f64> = (0..most).filter(|&i| other[i].distance <= own[i].distance).map(|i| spread[i]).collect();
    Coverage {
        alpha_precision: agreement(&centre_of_x.distances(&x), &centre_of_x.distances(&y), most),
        beta_recall: agreement(&spread, &covered, most),
    }
}

/// How far the shares of `rows` that are within the quantiles of `radii` are from those of `radii` themselves.
fn agreement(radii: &[f64], distances: &[f64], rows: usize) -> f64 {
    let mut radii = radii.to_vec();
    radii.sort_unstable_by(f64::total_cmp);
    let (mut error, mut total) = (0.0, 0.0);
    for step in 0..STEPS {
        let level = step as f64 / (STEPS - 1) as f64;
        let radius = quantile(&radii, level);
        let within = distances.iter().filter(|&&distance| distance <= radius).count();
        error += (level - within as f64 / rows as f64).abs();
        total += level;
    }
    1.0 - error / total
}

/// The mean of rows: of every number, and of every indicator of a class.
struct Centre {
    numbers: Vec<f64>,
    shares: Vec<Vec<f64>>,
}

impl Centre {
    /// `sizes` are the numbers of classes of the columns of classes; those of missing numbers have two.
    fn new(points: &Points, sizes: &[usize]) -> Self {
        let n = points.rows as f64;
        let numbers = points.numbers.iter().map(|column| column.iter().map(|&v| f64::from(v)).sum::<f64>() / n);
        let largest = sizes.iter().copied().max().unwrap_or(0).max(2);
        let shares = points.classes.iter().map(|ids| {
            let mut shares = vec![0.0; largest];
            ids.iter().for_each(|&id| shares[id as usize] += 1.0 / n);
            shares
        });
        Self { numbers: numbers.collect(), shares: shares.collect() }
    }

    /// Euclidean distances of all rows.
    fn distances(&self, points: &Points) -> Vec<f64> {
        let mut sums = vec![0.0; points.rows];
        for (centre, column) in self.numbers.iter().zip(&points.numbers) {
            sums.iter_mut().zip(column).for_each(|(sum, &v)| *sum += (f64::from(v) - centre).powi(2));
        }
        for (shares, ids) in self.shares.iter().zip(&points.classes) {
            // |indicator - p|^2 = |p|^2 + 1 - 2 p of the class
            let square: f64 = shares.iter().map(|p| p * p).sum();
            sums.iter_mut().zip(ids).for_each(|(sum, &id)| *sum += square + 1.0 - 2.0 * shares[id as usize]);
        }
        sums.into_iter().map(|sum: f64| sum.max(0.0).sqrt()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{classes, mixed, numbers};
    use super::*;
    use crate::rng::{Purpose, stream};

    fn both(real: &Columns, synthetic: &Columns) -> Coverage {
        coverage(real, synthetic, 1000, &mut stream(0, Purpose::Metric, 0))
    }

    #[test]
    fn a_copy_covers_everything_and_a_far_table_nothing() {
        let real = mixed(1000, 0.0, 0);
        let copy = both(&real, &real);
        // The quantile at 0 contains one row already.
        assert!(copy.alpha_precision > 0.99 && copy.beta_recall > 0.99, "{copy:?}");
        let far = both(&real, &mixed(1000, 100.0, 1));
        assert_eq!(far.alpha_precision, 0.0 + far.alpha_precision);
        assert!(far.alpha_precision < 1e-12 && far.beta_recall < 0.01, "{far:?}");
    }

    #[test]
    fn other_real_rows_are_nearer_half_of_the_time() {
        let same = both(&mixed(1000, 0.0, 0), &mixed(1000, 0.0, 1));
        assert!(same.alpha_precision > 0.95 && (0.4..0.6).contains(&same.beta_recall), "{same:?}");
        // One value repeated is in the middle, and near to few.
        let real: Vec<f64> = (0..100).map(f64::from).collect();
        let (real, one) = (Columns::new(vec![numbers("x", &real)]), Columns::new(vec![numbers("x", &[49.6; 100])]));
        let collapsed = both(&real, &one);
        assert!(collapsed.alpha_precision < 0.1 && collapsed.beta_recall < 0.05, "{collapsed:?}");
    }

    #[test]
    fn distances_from_the_centre_are_those_of_indicators() {
        let table = Columns::new(vec![numbers("x", &[0.0, 1.0, 0.0, 1.0]), classes("c", &[0, 0, 0, 3])]);
        let points = Points::new(&table, &table);
        let distances = Centre::new(&points, &[10]).distances(&points);
        let want = [0.25 + 2.0 * 0.0625, 0.25 + 2.0 * 0.5625].map(f64::sqrt);
        assert!((distances[0] - want[0]).abs() < 1e-12 && (distances[3] - want[1]).abs() < 1e-12);
        let single = Columns::new(vec![numbers("x", &[0.0])]);
        assert!(both(&single, &single).beta_recall.is_nan());
    }
}
