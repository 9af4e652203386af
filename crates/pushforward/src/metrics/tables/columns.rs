//! A table as columns of numbers and of class indices, which all scores take.
//!
//! The caller encodes the tables that are compared with one dictionary, so that a class has one index in all of them.
//!
//! # Examples
//! ```
//! use pushforward::metrics::tables::{Column, Columns};
//! use pushforward::rng::{Purpose, stream};
//! let table = Columns::new(vec![
//!     ("age".to_owned(), Column::Numbers(vec![39.0, f64::NAN, 50.0])),
//!     ("sex".to_owned(), Column::Categories { ids: vec![0, 1, 1], classes: 2, missing: None }),
//! ]);
//! assert_eq!((table.rows(), table.select(&[2, 0]).rows()), (3, 2));
//! assert_eq!(table.at_most(2, &mut stream(0, Purpose::Metric, 0)).columns()[0].0, "age");
//! ```

use crate::rng::Stream;

/// One column of a table.
#[derive(Clone, Debug, PartialEq)]
pub enum Column {
    /// Finite numbers; NaN is a missing one.
    Numbers(Vec<f64>),
    /// Classes by index.
    Categories {
        /// The class of every row, below `classes`.
        ids: Vec<u32>,
        /// Number of classes, that of missing values included.
        classes: usize,
        /// The class that means that the value is missing.
        missing: Option<u32>,
    },
}

/// A table: columns of equal length, with their names.
#[derive(Clone, Debug, PartialEq)]
pub struct Columns {
    columns: Vec<(String, Column)>,
    rows: usize,
}

impl Columns {
    /// # Panics
    /// If the columns differ in length, a number is infinite, or a class is not below the number of classes.
    pub fn new(columns: Vec<(String, Column)>) -> Self {
        let rows = columns.first().map_or(0, |(_, column)| column.len());
        for (name, column) in &columns {
            assert_eq!(column.len(), rows, "column {name} has another length than the first");
            let valid = match column {
                Column::Numbers(values) => values.iter().all(|v| !v.is_infinite()),
                Column::Categories { ids, classes, missing } => {
                    ids.iter().chain(missing).all(|&id| (id as usize) < *classes)
                }
            };
            assert!(
                valid,
                "column {name} has an infinite number, or a class beyond its {column_kind}",
                column_kind = column.kind()
            );
        }
        Self { columns, rows }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The columns with their names.
    pub fn columns(&self) -> &[(String, Column)] {
        &self.columns
    }

    /// The named rows, in that order and as often as they are named.
    ///
    /// # Panics
    /// If a row does not exist.
    pub fn select(&self, rows: &[usize]) -> Self {
        let columns = self.columns.iter().map(|(name, column)| (name.clone(), column.select(rows))).collect();
        Self { columns, rows: rows.len() }
    }

    /// At most `most` rows, drawn without replacement and in their order; all of them if there are no more.
    pub fn at_most(&self, most: usize, stream: &mut Stream) -> Self {
        let mut rows: Vec<usize> = (0..self.rows).collect();
        if self.rows > most {
            stream.shuffle(&mut rows);
            rows.truncate(most);
            rows.sort_unstable();
        }
        self.select(&rows)
    }

    /// # Panics
    /// If the tables differ in names, kinds or classes.
    /// The same rows, each without the values that a random row of `other` has not.
    ///
    /// # Panics
    /// If `other` has no rows.
    #[must_use]
    pub(crate) fn with_holes_of(&self, other: &Self, stream: &mut Stream) -> Self {
        let mut found = self.clone();
        for row in 0..self.rows() {
            let from = stream.below(other.rows());
            for ((_, column), (_, pattern)) in found.columns.iter_mut().zip(&other.columns) {
                if pattern.is_missing(from) {
                    column.hide(row);
                }
            }
        }
        found
    }

    pub(super) fn assert_like(&self, other: &Self) {
        assert_eq!(self.columns.len(), other.columns.len(), "the tables have different numbers of columns");
        for ((name, a), (other_name, b)) in self.columns.iter().zip(&other.columns) {
            assert_eq!(name, other_name, "the tables have different names of columns");
            assert_eq!(a.kind(), b.kind(), "the tables have different encodings of column {name}");
        }
    }
}

impl Column {
    /// Hides the value of a row; a category needs a class for it.
    pub(super) fn hide(&mut self, row: usize) {
        match self {
            Self::Numbers(values) => values[row] = f64::NAN,
            Self::Categories { ids, missing, .. } => ids[row] = missing.unwrap_or(ids[row]),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Numbers(values) => values.len(),
            Self::Categories { ids, .. } => ids.len(),
        }
    }

    /// What tables that are compared share.
    fn kind(&self) -> String {
        match self {
            Self::Numbers(_) => "numbers".to_owned(),
            Self::Categories { classes, missing, .. } => format!("{classes} classes, missing: {missing:?}"),
        }
    }

    fn select(&self, rows: &[usize]) -> Self {
        match self {
            Self::Numbers(values) => Self::Numbers(rows.iter().map(|&r| values[r]).collect()),
            Self::Categories { ids, classes, missing } => {
                Self::Categories { ids: rows.iter().map(|&r| ids[r]).collect(), classes: *classes, missing: *missing }
            }
        }
    }

    pub(super) fn is_missing(&self, row: usize) -> bool {
        match self {
            Self::Numbers(values) => values[row].is_nan(),
            Self::Categories { ids, missing, .. } => Some(ids[row]) == *missing,
        }
    }
}

/// The mean of the numbers that are not missing; zero if there are none.
pub(super) fn mean_present(values: &[f64]) -> f64 {
    let (sum, n) = values.iter().filter(|v| !v.is_nan()).fold((0.0, 0), |(sum, n), v| (sum + v, n + 1));
    if n == 0 { 0.0 } else { sum / f64::from(n) }
}

/// The smallest and the largest number that is not missing.
pub(super) fn range(values: &[f64]) -> Option<(f64, f64)> {
    let mut present = values.iter().copied().filter(|v| !v.is_nan());
    let first = present.next()?;
    Some(present.fold((first, first), |(low, high), v| (low.min(v), high.max(v))))
}

/// `rows` rows with the columns of `table` drawn independently of each other, with replacement: the baseline that has
/// every column right and no dependence between them. It is hard to beat in shape and in detection by a linear model.
///
/// # Panics
/// If the table has no rows and `rows` is positive.
///
/// ```
/// use pushforward::metrics::tables::{Column, Columns, independent, trend};
/// use pushforward::rng::{Purpose, stream};
/// let side = |_| Column::Categories { ids: (0..1000).map(|row| row % 2).collect(), classes: 2, missing: None };
/// let table = Columns::new(["left", "right"].map(|name| (name.to_owned(), side(name))).to_vec());
/// let drawn = independent(&table, 1000, &mut stream(0, Purpose::Metric, 0));
/// // The sides are equal in the table; here they agree in half of the rows.
/// assert!((trend(&table, &drawn).mean - 0.5).abs() < 0.05);
/// ```
pub fn independent(table: &Columns, rows: usize, stream: &mut Stream) -> Columns {
    let mut draw = |column: &Column| {
        let drawn: Vec<usize> = (0..rows).map(|_| stream.below(table.rows)).collect();
        column.select(&drawn)
    };
    let columns = table.columns.iter().map(|(name, column)| (name.clone(), draw(column))).collect();
    Columns { columns, rows }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{classes, numbers};
    use super::*;
    use crate::rng::{Purpose, stream};

    #[test]
    fn independent_columns_keep_values_and_lose_rows() {
        let x: Vec<f64> = (0..2000).map(f64::from).collect();
        let table = Columns::new(vec![numbers("a", &x), numbers("b", &x)]);
        let drawn = independent(&table, 500, &mut stream(0, Purpose::Metric, 0));
        let [(_, Column::Numbers(a)), (_, Column::Numbers(b))] = drawn.columns() else { panic!("two columns") };
        assert_eq!((a.len(), b.len()), (500, 500));
        assert!(a.iter().all(|v| x.contains(v)));
        assert!(a.iter().zip(b).filter(|(a, b)| a == b).count() < 10);
    }

    #[test]
    fn rows_are_drawn_without_replacement() {
        let x: Vec<f64> = (0..100).map(f64::from).collect();
        let table = Columns::new(vec![numbers("x", &x)]);
        let some = table.at_most(40, &mut stream(0, Purpose::Metric, 0));
        let (_, Column::Numbers(drawn)) = &some.columns()[0] else { panic!("numbers") };
        assert!(drawn.len() == 40 && drawn.is_sorted_by(|a, b| a < b));
        assert_eq!(table.at_most(100, &mut stream(0, Purpose::Metric, 0)), table);
    }

    #[test]
    #[should_panic(expected = "column id")]
    fn a_class_beyond_the_last_is_refused() {
        Columns::new(vec![classes("id", &[10])]);
    }

    #[test]
    #[should_panic(expected = "different encodings")]
    fn tables_of_different_kinds_are_refused() {
        Columns::new(vec![classes("id", &[1])]).assert_like(&Columns::new(vec![numbers("id", &[1.0])]));
    }

    #[test]
    fn means_and_ranges_leave_missing_numbers_out() {
        assert_eq!(mean_present(&[1.0, f64::NAN, 3.0]), 2.0);
        assert_eq!((range(&[2.0, f64::NAN, -1.0]), range(&[f64::NAN])), (Some((-1.0, 2.0)), None));
    }
}
