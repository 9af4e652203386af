//! The nearest row of another table, by comparing all with all.

use rayon::prelude::*;

use super::columns::{Column, Columns, mean_present, range};

/// Rows whose distances are summed at a time, column after column.
const BLOCK: usize = 512;

/// Rows that are compared with one block of targets before the next one, which the cache of a core holds meanwhile.
const ROWS: usize = 64;

/// What two different classes contribute: the distance of two indicators, in either norm.
const MISMATCH: f32 = 2.0;

/// Rows as numbers in units of the range of a reference table, and as classes.
///
/// A missing number has the mean of the reference, and the class of missing ones in a column beside it.
pub(super) struct Points {
    pub(super) numbers: Vec<Vec<f32>>,
    pub(super) classes: Vec<Vec<u32>>,
    pub(super) rows: usize,
}

/// The sum over columns that is compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Norm {
    /// Absolute differences.
    Absolute,
    /// Squared differences.
    Squared,
}

/// The nearest row and its distance, squared if the norm is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Nearest {
    pub(super) row: usize,
    pub(super) distance: f32,
}

impl Points {
    pub(super) fn new(table: &Columns, reference: &Columns) -> Self {
        let mut points = Self { numbers: Vec::new(), classes: Vec::new(), rows: table.rows() };
        for ((_, column), (_, reference)) in table.columns().iter().zip(reference.columns()) {
            match (column, reference) {
                (Column::Numbers(values), Column::Numbers(reference)) => {
                    let (low, high) = range(reference).unwrap_or_default();
                    let (unit, mean) = (if high > low { high - low } else { 1.0 }, mean_present(reference));
                    let scaled = |v: &f64| ((if v.is_nan() { mean } else { *v } - low) / unit) as f32;
                    points.numbers.push(values.iter().map(scaled).collect());
                    points.classes.push(values.iter().map(|v| u32::from(v.is_nan())).collect());
                }
                (Column::Categories { ids, .. }, _) => points.classes.push(ids.clone()),
                (Column::Numbers(_), Column::Categories { .. }) => unreachable!("the tables have the same kinds"),
            }
        }
        points
    }

    /// Drops columns in which no row of either table differs from another.
    fn varying<'a>(&'a self, other: &'a Self) -> Vec<(&'a [u32], &'a [u32])> {
        let pairs = self.classes.iter().map(Vec::as_slice).zip(other.classes.iter().map(Vec::as_slice));
        pairs.filter(|(a, b)| a.iter().chain(*b).any(|id| *id != b[0])).collect()
    }

    /// The row of `targets` that is nearest to every row, the first of several; `itself` leaves the row of the same
    /// index out. Every distance is summed in the order of the columns, so that equal rows are equally far.
    ///
    /// # Panics
    /// If `targets` has no rows.
    pub(super) fn nearest(&self, targets: &Self, norm: Norm, itself: bool) -> Vec<Nearest> {
        assert!(targets.rows > 0, "no rows to be near to");
        let classes = self.varying(targets);
        let search = |first: usize| {
            let mut found = vec![Nearest { row: 0, distance: f32::INFINITY }; ROWS.min(self.rows - first)];
            let mut sums = [0f32; BLOCK];
            for start in (0..targets.rows).step_by(BLOCK) {
                let sums = &mut sums[..BLOCK.min(targets.rows - start)];
                for (best, row) in found.iter_mut().zip(first..) {
                    self.distances(row, targets, &classes, norm, start, sums);
                    if itself && (start..start + sums.len()).contains(&row) {
                        sums[row - start] = f32::INFINITY;
                    }
                    let least = sums.iter().fold(f32::INFINITY, |a, &b| if b < a { b } else { a });
                    if least < best.distance {
                        let at = sums.iter().position(|&sum| sum == least).expect("the least one is there");
                        *best = Nearest { row: start + at, distance: least };
                    }
                }
            }
            found
        };
        let chunks: Vec<Vec<Nearest>> =
            (0..self.rows.div_ceil(ROWS)).into_par_iter().map(|c| search(c * ROWS)).collect();
        chunks.concat()
    }

    /// The distances of a row from those of `targets` from `start` on.
    fn distances(
        &self,
        row: usize,
        targets: &Self,
        classes: &[(&[u32], &[u32])],
        norm: Norm,
        start: usize,
        sums: &mut [f32],
    ) {
        sums.fill(0.0);
        for (from, to) in self.numbers.iter().zip(&targets.numbers) {
            let (x, to) = (from[row], &to[start..start + sums.len()]);
            match norm {
                Norm::Absolute => sums.iter_mut().zip(to).for_each(|(sum, y)| *sum += (x - y).abs()),
                Norm::Squared => sums.iter_mut().zip(to).for_each(|(sum, y)| *sum += (x - y) * (x - y)),
            }
        }
        for (from, to) in classes {
            let (x, to) = (from[row], &to[start..start + sums.len()]);
            sums.iter_mut().zip(to).for_each(|(sum, &y)| *sum += if x == y { 0.0 } else { MISMATCH });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{classes, mixed, numbers};
    use super::*;

    #[test]
    fn distances_by_hand() {
        let reference = Columns::new(vec![numbers("x", &[0.0, 10.0]), classes("c", &[0, 1])]);
        let rows = Columns::new(vec![numbers("x", &[4.0, f64::NAN]), classes("c", &[0, 1])]);
        let (from, to) = (Points::new(&rows, &reference), Points::new(&reference, &reference));
        // |4 - 0| / 10; and a missing number is half a range and the class of missing ones away.
        let absolute = from.nearest(&to, Norm::Absolute, false);
        assert_eq!(absolute, [Nearest { row: 0, distance: 0.4 }, Nearest { row: 1, distance: 2.5 }]);
        let squared = from.nearest(&to, Norm::Squared, false);
        assert_eq!(squared, [Nearest { row: 0, distance: 0.4 * 0.4 }, Nearest { row: 1, distance: 2.25 }]);
        assert_eq!(
            to.nearest(&to, Norm::Squared, true),
            [Nearest { row: 1, distance: 3.0 }, Nearest { row: 0, distance: 3.0 }]
        );
    }

    #[test]
    fn blocks_agree_with_a_search_by_pairs() {
        let table = mixed(1300, 0.0, 0);
        let (points, own) = (Points::new(&table, &table), Points::new(&mixed(40, 0.0, 1), &table));
        for (row, found) in own.nearest(&points, Norm::Absolute, false).into_iter().enumerate() {
            let distance = |other: usize| {
                let numbers = (own.numbers[0][row] - points.numbers[0][other]).abs();
                let classes = (0..3).filter(|&c| own.classes[c][row] != points.classes[c][other]).count();
                numbers + 2.0 * classes as f32
            };
            let least = (0..1300).map(distance).fold(f32::INFINITY, f32::min);
            assert!((found.distance - least).abs() < 1e-6 && (distance(found.row) - least).abs() < 1e-6);
        }
        assert!(points.nearest(&points, Norm::Squared, false).iter().all(|found| found.distance == 0.0));
    }
}
