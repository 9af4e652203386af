//! C2ST: how well a classifier tells real from synthetic rows.
//!
//! ```text
//! score = 1 - mean over folds of 2 (max(AUC, 1/2) - 1/2)
//! ```
//!
//! 1 if the classifier cannot tell them apart, 0 if it always can. Three folds, with equal shares of both tables, as in
//! the detection metrics of SDMetrics: numbers with the mean of the real column for missing ones, and classes as
//! indicators. Rows that occur in both tables push the AUC below one half, which counts as one half.

use super::auc::auc;
use super::columns::Columns;
use super::features::Features;
use super::logistic;
#[cfg(feature = "trees")]
use super::trees::{Design, Task};
use crate::rng::Stream;

const FOLDS: usize = 3;

/// Detection by logistic regression: what a linear model sees, which is means and shares but no dependence. NaN for
/// tables of fewer than three rows.
///
/// # Panics
/// If the tables differ in names, kinds or classes of columns.
///
/// ```
/// use pushforward::metrics::tables::{Column, Columns, c2st_logistic};
/// use pushforward::rng::{Purpose, stream};
/// let table = |from: u32| {
///     let numbers = (from..from + 100).map(f64::from).collect();
///     Columns::new(vec![("number".to_owned(), Column::Numbers(numbers))])
/// };
/// let mut random = stream(0, Purpose::Metric, 0);
/// assert_eq!(c2st_logistic(&table(0), &table(100), &mut random), 0.0);
/// assert!(c2st_logistic(&table(0), &table(1), &mut random) > 0.8);
/// ```
pub fn c2st_logistic(real: &Columns, synthetic: &Columns, stream: &mut Stream) -> f64 {
    real.assert_like(synthetic);
    let features = Features::stack(&[real, synthetic], true);
    let positive = labels(real, synthetic);
    score(real.rows(), &positive, stream, |train, test| {
        let odds = logistic::fit_predict(&features, train, &positive);
        test.iter().map(|&row| odds[row]).collect()
    })
}

/// Detection by boosted trees, which see dependence between columns, and values that only one table has. NaN for tables
/// of fewer than three rows.
///
/// # Panics
/// If the tables differ in names, kinds or classes of columns.
///
/// ```
/// use pushforward::metrics::tables::{Column, Columns, c2st_trees, independent};
/// use pushforward::rng::{Purpose, stream};
/// let numbers = Column::Numbers((0..600).map(|row| f64::from(row % 20)).collect());
/// let real = Columns::new(["a", "b"].map(|name| (name.to_owned(), numbers.clone())).to_vec());
/// let mut random = stream(0, Purpose::Metric, 0);
/// // The numbers of a real row are equal.
/// assert!(c2st_trees(&real, &independent(&real, 600, &mut random), &mut random) < 0.2);
/// ```
#[cfg(feature = "trees")]
pub fn c2st_trees(real: &Columns, synthetic: &Columns, stream: &mut Stream) -> f64 {
    real.assert_like(synthetic);
    let design = Design::new(&Features::stack(&[real, synthetic], true));
    let positive = labels(real, synthetic);
    let targets: Vec<f64> = positive.iter().map(|&positive| f64::from(u8::from(positive))).collect();
    score(real.rows(), &positive, stream, |train, test| design.fit_predict(train, &targets, test, Task::Odds))
}

/// Which rows are real ones.
fn labels(real: &Columns, synthetic: &Columns) -> Vec<bool> {
    (0..real.rows() + synthetic.rows()).map(|row| row < real.rows()).collect()
}

/// The score of a classifier, which gets the rows that it is trained on and those that it predicts.
fn score(
    real: usize,
    positive: &[bool],
    stream: &mut Stream,
    mut classify: impl FnMut(&[usize], &[usize]) -> Vec<f64>,
) -> f64 {
    if real < FOLDS || positive.len() - real < FOLDS {
        return f64::NAN;
    }
    let mut fold_of = vec![0; positive.len()];
    for kind in [0..real, real..positive.len()] {
        let mut rows: Vec<usize> = kind.collect();
        stream.shuffle(&mut rows);
        rows.iter().enumerate().for_each(|(at, &row)| fold_of[row] = at % FOLDS);
    }
    let advantage = |fold: usize| {
        let (test, train): (Vec<usize>, Vec<usize>) = (0..positive.len()).partition(|&row| fold_of[row] == fold);
        let truth: Vec<bool> = test.iter().map(|&row| positive[row]).collect();
        2.0 * (auc(&classify(&train, &test), &truth).max(0.5) - 0.5)
    };
    1.0 - (0..FOLDS).map(advantage).sum::<f64>() / FOLDS as f64
}

#[cfg(test)]
mod tests {
    use super::super::samples::{mixed, numbers};
    use super::*;
    use crate::metrics::tables::independent;
    use crate::rng::{Purpose, stream};

    fn random() -> Stream {
        stream(0, Purpose::Metric, 0)
    }

    #[test]
    fn a_shift_is_detected_by_as_much_as_it_moves() {
        // AUC of two normal laws that are one standard deviation apart: Phi(1 / sqrt 2) = 0.7602.
        let normal = |shift: f64, index| {
            let mut random = stream(1, Purpose::Metric, index);
            let values: Vec<f64> = (0..6000).map(|_| random.normal() + shift).collect();
            Columns::new(vec![numbers("x", &values)])
        };
        let score = c2st_logistic(&normal(0.0, 0), &normal(1.0, 1), &mut random());
        assert!((score - (1.0 - 2.0 * 0.2602)).abs() < 0.02, "{score}");
        assert!(c2st_logistic(&normal(0.0, 0), &normal(0.0, 1), &mut random()) > 0.95);
    }

    #[test]
    fn folds_have_equal_shares() {
        let positive: Vec<bool> = (0..100).map(|row| row < 30).collect();
        let mut seen = vec![0; 100];
        let perfect = score(30, &positive, &mut random(), |train, test| {
            assert_eq!(train.len() + test.len(), 100);
            assert_eq!(test.iter().filter(|&&row| row < 30).count(), 10);
            test.iter().for_each(|&row| seen[row] += 1);
            test.iter().map(|&row| -(row as f64)).collect()
        });
        assert_eq!((perfect, seen), (0.0, vec![1; 100]));
        // A classifier that is always wrong has learnt nothing that holds.
        assert_eq!(score(30, &positive, &mut random(), |_, test| test.iter().map(|&row| row as f64).collect()), 1.0);
        assert!(score(2, &positive, &mut random(), |_, _| unreachable!("too few rows")).is_nan());
    }

    #[cfg(feature = "trees")]
    #[test]
    fn trees_see_dependence_and_a_linear_model_does_not() {
        let real = mixed(3000, 0.0, 0);
        let drawn = independent(&real, 3000, &mut random());
        assert!(c2st_logistic(&real, &drawn, &mut random()) > 0.93);
        assert!(c2st_trees(&real, &drawn, &mut random()) < 0.6);
        assert!(c2st_trees(&real, &mixed(3000, 0.0, 1), &mut random()) > 0.9);
    }

    #[test]
    fn bits_do_not_depend_on_threads() {
        let (real, other) = (mixed(9000, 0.0, 0), mixed(9000, 0.1, 1));
        let with = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| c2st_logistic(&real, &other, &mut random()))
        };
        assert_eq!(with(1), with(3));
    }
}
