//! Columns as the numbers that classifiers take.

use super::columns::{Column, Columns, mean_present};

/// Columns of numbers, and of classes that become one indicator each.
pub(super) struct Features {
    pub(super) numbers: Vec<Vec<f64>>,
    /// The class of every row, and the number of classes.
    pub(super) classes: Vec<(Vec<u32>, usize)>,
    pub(super) rows: usize,
}

impl Features {
    /// The tables one below the other; missing numbers become the mean of the first table, as in SDMetrics, or stay NaN.
    pub(super) fn stack(tables: &[&Columns], impute: bool) -> Self {
        let mut features =
            Self { numbers: Vec::new(), classes: Vec::new(), rows: tables.iter().map(|t| t.rows()).sum() };
        for (at, (_, column)) in tables[0].columns().iter().enumerate() {
            let parts = tables.iter().map(|table| &table.columns()[at].1);
            match column {
                Column::Numbers(first) => {
                    let mean = if impute { mean_present(first) } else { f64::NAN };
                    let values = parts.flat_map(|part| match part {
                        Column::Numbers(values) => values.as_slice(),
                        Column::Categories { .. } => unreachable!("the tables have the same kinds"),
                    });
                    features.numbers.push(values.map(|&v| if v.is_nan() { mean } else { v }).collect());
                }
                Column::Categories { classes, .. } => {
                    let ids = parts.flat_map(|part| match part {
                        Column::Categories { ids, .. } => ids.as_slice(),
                        Column::Numbers(_) => unreachable!("the tables have the same kinds"),
                    });
                    features.classes.push((ids.copied().collect(), *classes));
                }
            }
        }
        features
    }
}
