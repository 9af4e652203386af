//! Tables of tests.

use super::columns::{Column, Columns};
use crate::rng::{Purpose, stream};

pub(super) fn numbers(name: &str, values: &[f64]) -> (String, Column) {
    (name.to_owned(), Column::Numbers(values.to_vec()))
}

/// Nine classes, and one for missing values.
pub(super) fn classes(name: &str, ids: &[u32]) -> (String, Column) {
    (name.to_owned(), Column::Categories { ids: ids.to_vec(), classes: 10, missing: Some(9) })
}

/// A number, a class that follows it and a target that follows both; `shift` moves the number.
pub(super) fn mixed(rows: usize, shift: f64, index: u64) -> Columns {
    let mut stream = stream(3, Purpose::Metric, index);
    let x: Vec<f64> = (0..rows).map(|_| stream.normal() + shift).collect();
    let follow: Vec<u32> = x.iter().map(|x| u32::from(x + 0.5 * stream.normal() > 0.0) + 2).collect();
    let target: Vec<u32> = x.iter().zip(&follow).map(|(x, &f)| u32::from(x + f64::from(f) > 3.0)).collect();
    Columns::new(vec![numbers("x", &x), classes("follow", &follow), classes("target", &target)])
}
