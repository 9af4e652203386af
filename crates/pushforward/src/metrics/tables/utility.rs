//! TSTR: what trees that are trained on synthetic rows know about real ones.

use super::auc::auc;
use super::columns::{Column, Columns};
use super::features::Features;
use super::marginals::mean_defined;
use super::trees::{Design, Task};

/// How well a column is predicted from the others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Utility {
    /// Area under the curve, of classes; higher is better, 0.5 is chance.
    Auc(f64),
    /// Root of the mean squared error, of numbers, in their unit; lower is better.
    Rmse(f64),
}

impl Utility {
    /// The number.
    pub fn value(self) -> f64 {
        match self {
            Self::Auc(value) | Self::Rmse(value) => value,
        }
    }
}

/// Boosted trees are trained on `train` to predict column `target`, and tested on `test`, which are real rows that the
/// generator has not seen. Compare with the same for real training rows.
///
/// Of a column of two classes, the AUC is that of the second one; of more, the mean over the classes against the rest.
/// Rows without a target are left out; the score is NaN if none remain, or if all targets in `test` are of one class.
///
/// # Panics
/// If the tables differ in names, kinds or classes of columns, or have no column `target`.
///
/// ```
/// use pushforward::metrics::tables::{Column, Columns, Utility, tstr};
/// let table = |rows: u32| {
///     let number = (0..rows).map(|row| f64::from(row % 50)).collect();
///     let large = Column::Categories { ids: (0..rows).map(|row| u32::from(row % 50 > 20)).collect(), classes: 2, missing: None };
///     Columns::new(vec![("number".to_owned(), Column::Numbers(number)), ("large".to_owned(), large)])
/// };
/// assert_eq!(tstr(&table(500), &table(100), 1), Utility::Auc(1.0));
/// // Numbers are predicted by the mean of their class at best.
/// let rmse = tstr(&table(500), &table(100), 0).value();
/// assert!((7.0..9.0).contains(&rmse));
/// ```
pub fn tstr(train: &Columns, test: &Columns, target: usize) -> Utility {
    train.assert_like(test);
    let (_, kind) = &train.columns()[target];
    let present = |table: &Columns| -> Columns {
        let rows: Vec<usize> = (0..table.rows()).filter(|&row| !table.columns()[target].1.is_missing(row)).collect();
        table.select(&rows)
    };
    let (train, test) = (present(train), present(test));
    let mut features = Features::stack(&[&train, &test], false);
    let order = train.columns()[..target].iter();
    let (numbers, classes) = order.fold((0, 0), |(numbers, classes), (_, column)| match column {
        Column::Numbers(_) => (numbers + 1, classes),
        Column::Categories { .. } => (numbers, classes + 1),
    });
    let (known, asked): (Vec<usize>, Vec<usize>) = (0..features.rows).partition(|&row| row < train.rows());
    match kind {
        Column::Numbers(_) => {
            let targets = features.numbers.remove(numbers);
            let predicted = Design::new(&features).fit_predict(&known, &targets, &asked, Task::Number);
            let errors = asked.iter().zip(&predicted).map(|(&row, p)| (targets[row] - p).powi(2));
            Utility::Rmse((errors.sum::<f64>() / asked.len() as f64).sqrt())
        }
        Column::Categories { .. } => {
            let (ids, count) = features.classes.remove(classes);
            let design = Design::new(&features);
            let occurs = |class: usize| asked.iter().any(|&row| ids[row] as usize == class);
            let mut wanted: Vec<usize> = (0..count).filter(|&class| occurs(class)).collect();
            // The first of two classes has the same curve as the second.
            if let [_, second] = wanted[..] {
                wanted = vec![second];
            }
            let area = |class: usize| {
                let targets: Vec<f64> = ids.iter().map(|&id| f64::from(u8::from(id as usize == class))).collect();
                let truth: Vec<bool> = asked.iter().map(|&row| ids[row] as usize == class).collect();
                auc(&design.fit_predict(&known, &targets, &asked, Task::Odds), &truth)
            };
            Utility::Auc(mean_defined(wanted.into_iter().map(area)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{classes, mixed, numbers};
    use super::*;
    use crate::metrics::tables::independent;
    use crate::rng::{Purpose, stream};

    #[test]
    fn real_rows_teach_and_independent_columns_do_not() {
        let (train, test) = (mixed(3000, 0.0, 0), mixed(3000, 0.0, 1));
        let Utility::Auc(real) = tstr(&train, &test, 2) else { panic!("classes have an area") };
        let drawn = independent(&train, 3000, &mut stream(0, Purpose::Metric, 0));
        let baseline = tstr(&drawn, &test, 2).value();
        assert!(real > 0.97 && (0.3..0.7).contains(&baseline), "{real} {baseline}");
        // The deviation of x, whose variance is 1, is less once its class is known.
        let Utility::Rmse(rmse) = tstr(&train, &test, 0) else { panic!("numbers have an error") };
        assert!((0.4..0.8).contains(&rmse), "{rmse}");
    }

    #[test]
    fn several_classes_are_averaged_and_missing_targets_left_out() {
        let x: Vec<f64> = (0..900).map(|i| f64::from(i % 90)).collect();
        let ids: Vec<u32> = (0..900).map(|i| if i % 100 == 7 { 9 } else { i % 90 / 30 }).collect();
        let table = Columns::new(vec![classes("third", &ids), numbers("x", &x)]);
        assert_eq!(tstr(&table, &table, 0), Utility::Auc(1.0));
        let one = Columns::new(vec![classes("third", &[1, 1, 9]), numbers("x", &[1.0, 2.0, 3.0])]);
        assert!(tstr(&table, &one, 0).value().is_nan());
    }
}
