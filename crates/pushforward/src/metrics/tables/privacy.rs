//! Do synthetic rows give training rows away?
//!
//! The distance of two rows is the sum over columns of the differences of numbers, in units of the range of the training
//! column, and of 2 for every pair of different classes, as in TabSyn. A missing value differs from all others.
//!
//! Both scores compare training rows with held-out rows of the same law, so that 0.5 means that nothing shows. A share
//! of 0.5 does not prove that a generator is private: it misses copies of few rows.

use super::auc::auc;
use super::columns::Columns;
use super::nearest::{Nearest, Norm, Points};
use crate::metrics::interval::{Estimate, mean};
use crate::rng::Stream;

/// The share of synthetic rows whose nearest training row is nearer than their nearest held-out row, equal distances
/// counting half: 0.5 for a generator that has learnt the law, 1 for one that copies.
///
/// Equal numbers of training and held-out rows are compared, and at most `most` rows of each table are taken; the time
/// is proportional to the square of that number. NaN if a table has no rows.
///
/// # Panics
/// If the tables differ in names, kinds or classes of columns.
///
/// ```
/// use pushforward::metrics::tables::{Column, Columns, dcr_share};
/// use pushforward::rng::{Purpose, stream};
/// let table = |from: u32, step: u32| {
///     let numbers = (0..100).map(|i| f64::from(from + step * i)).collect();
///     Columns::new(vec![("number".to_owned(), Column::Numbers(numbers))])
/// };
/// let (train, held_out, between) = (table(0, 4), table(2, 4), table(1, 2));
/// let mut random = stream(0, Purpose::Metric, 0);
/// assert_eq!(dcr_share(&train, &held_out, &train, 16_000, &mut random).value, 1.0);
/// assert_eq!(dcr_share(&train, &held_out, &between, 16_000, &mut random).value, 0.5);
/// ```
pub fn dcr_share(
    train: &Columns,
    held_out: &Columns,
    synthetic: &Columns,
    most: usize,
    stream: &mut Stream,
) -> Estimate {
    train.assert_like(held_out);
    train.assert_like(synthetic);
    let equal = most.min(train.rows()).min(held_out.rows());
    if equal == 0 || synthetic.rows() == 0 {
        return mean(&[]);
    }
    let points = |table: &Columns, most, stream: &mut Stream| Points::new(&table.at_most(most, stream), train);
    let rows = points(synthetic, most, stream);
    let to = [train, held_out].map(|table| rows.nearest(&points(table, equal, stream), Norm::Absolute, false));
    let wins = to[0].iter().zip(&to[1]).map(|(train, held_out)| match rounded(train).total_cmp(&rounded(held_out)) {
        std::cmp::Ordering::Less => 1.0,
        std::cmp::Ordering::Equal => 0.5,
        std::cmp::Ordering::Greater => 0.0,
    });
    mean(&wins.collect::<Vec<f64>>())
}

/// The area under the curve of an attack that takes a row for a training row if a synthetic row is near: 0.5 for an
/// attacker that learns nothing, 1 for one who is always right.
///
/// At most `most` rows of each table are taken; the time is proportional to the square of that number. NaN if a table
/// has no rows.
///
/// # Panics
/// If the tables differ in names, kinds or classes of columns.
///
/// ```
/// use pushforward::metrics::tables::{Column, Columns, membership_auc};
/// use pushforward::rng::{Purpose, stream};
/// let table = |from: u32| {
///     let numbers = (0..100).map(|i| f64::from(from + 4 * i)).collect();
///     Columns::new(vec![("number".to_owned(), Column::Numbers(numbers))])
/// };
/// let mut random = stream(0, Purpose::Metric, 0);
/// assert_eq!(membership_auc(&table(0), &table(2), &table(0), 16_000, &mut random), 1.0);
/// assert_eq!(membership_auc(&table(0), &table(2), &table(1), 16_000, &mut random), 0.5);
/// ```
pub fn membership_auc(
    train: &Columns,
    held_out: &Columns,
    synthetic: &Columns,
    most: usize,
    stream: &mut Stream,
) -> f64 {
    train.assert_like(held_out);
    train.assert_like(synthetic);
    if synthetic.rows() == 0 {
        return f64::NAN;
    }
    let points = |table: &Columns, stream: &mut Stream| Points::new(&table.at_most(most, stream), train);
    let targets = points(synthetic, stream);
    let [members, others]: [Vec<Nearest>; 2] =
        [train, held_out].map(|table| points(table, stream).nearest(&targets, Norm::Absolute, false));
    let scores: Vec<f64> = members.iter().chain(&others).map(|nearest| -rounded(nearest)).collect();
    let positive: Vec<bool> = (0..scores.len()).map(|row| row < members.len()).collect();
    auc(&scores, &positive)
}

/// Distances as multiples of what rounding may make of equal ones: 30 is as far from 28 as from 32, but not in float32
/// after a division by the range. Zero is exact: a copy is nearer than any other row.
fn rounded(nearest: &Nearest) -> f64 {
    let steps = (f64::from(nearest.distance) / 2e-6).round();
    if nearest.distance > 0.0 { steps.max(1.0) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::super::samples::mixed;
    use super::*;
    use crate::rng::{Purpose, stream};

    #[test]
    fn rows_of_the_same_law_give_nothing_away_and_copies_everything() {
        let (train, held_out, fresh) = (mixed(1000, 0.0, 0), mixed(1000, 0.0, 1), mixed(1000, 0.0, 2));
        let mut random = stream(0, Purpose::Metric, 0);
        let share = dcr_share(&train, &held_out, &fresh, 1000, &mut random);
        assert!((share.value - 0.5).abs() < 0.05 && share.n == 1000, "{share:?}");
        assert!((membership_auc(&train, &held_out, &fresh, 1000, &mut random) - 0.5).abs() < 0.04);
        assert_eq!(dcr_share(&train, &held_out, &train, 1000, &mut random).value, 1.0);
        assert_eq!(dcr_share(&train, &held_out, &held_out, 1000, &mut random).value, 0.0);
        assert!(membership_auc(&train, &held_out, &train, 1000, &mut random) > 0.99);
        // Held-out rows that are training rows as well are equally near.
        assert_eq!(dcr_share(&train, &train, &fresh, 1000, &mut random).value, 0.5);
    }

    #[test]
    fn more_training_rows_are_no_advantage() {
        let (train, held_out, fresh) = (mixed(4000, 0.0, 0), mixed(500, 0.0, 1), mixed(2000, 0.0, 2));
        let share = dcr_share(&train, &held_out, &fresh, 4000, &mut stream(0, Purpose::Metric, 0));
        assert!((share.value - 0.5).abs() < 0.06, "{share:?}");
    }

    #[test]
    fn empty_tables_have_no_scores() {
        let (some, none) = (mixed(5, 0.0, 0), mixed(0, 0.0, 0));
        let mut random = stream(0, Purpose::Metric, 0);
        assert!(dcr_share(&some, &none, &some, 10, &mut random).value.is_nan());
        assert!(membership_auc(&some, &some, &none, 10, &mut random).is_nan());
        assert!(membership_auc(&none, &some, &some, 10, &mut random).is_nan());
    }
}
