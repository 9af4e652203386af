//! Boosted trees by `forust-ml`, with the parameters that XGBoost has by default.
//!
//! 100 trees of depth 6, rate 0.3, penalty 1 on the leaves, at least a weight of 1 in a leaf, 256 bins. Classes become
//! indicators; of a column of many classes, the most frequent ones, beside the rank of every class by frequency.

use forust_ml::objective::ObjectiveType;
use forust_ml::{GradientBooster, Matrix};

use super::features::Features;

/// Number of classes of a column that become indicators.
const INDICATORS: usize = 64;

/// Numbers for the trees, column after column.
pub(super) struct Design {
    cells: Vec<f64>,
    rows: usize,
}

/// What is predicted.
#[derive(Clone, Copy, Debug)]
pub(super) enum Task {
    /// The log odds of 1, from zeros and ones.
    Odds,
    /// A number.
    Number,
}

impl Design {
    pub(super) fn new(features: &Features) -> Self {
        let mut cells: Vec<f64> = features.numbers.concat();
        for (ids, classes) in &features.classes {
            let mut counts = vec![0usize; *classes];
            ids.iter().for_each(|&id| counts[id as usize] += 1);
            let mut order: Vec<usize> = (0..*classes).filter(|&class| counts[class] > 0).collect();
            order.sort_by_key(|&class| std::cmp::Reverse(counts[class]));
            if order.len() > INDICATORS {
                let mut ranks = vec![0.0; *classes];
                order.iter().enumerate().for_each(|(rank, &class)| ranks[class] = rank as f64);
                cells.extend(ids.iter().map(|&id| ranks[id as usize]));
            }
            // One indicator says everything about two classes.
            let shown = if order.len() == 2 { &order[..1] } else { &order[..order.len().min(INDICATORS)] };
            for &class in shown {
                cells.extend(ids.iter().map(|&id| f64::from(u8::from(id as usize == class))));
            }
        }
        Self { cells, rows: features.rows }
    }

    /// The named rows, column after column.
    fn select(&self, rows: &[usize]) -> Vec<f64> {
        self.cells.chunks_exact(self.rows).flat_map(|column| rows.iter().map(|&row| column[row])).collect()
    }

    /// Predictions for the rows `test` by trees that are trained on the rows `train`; NaN if there is nothing to train
    /// on.
    pub(super) fn fit_predict(&self, train: &[usize], targets: &[f64], test: &[usize], task: Task) -> Vec<f64> {
        if train.is_empty() || test.is_empty() || self.cells.is_empty() {
            return vec![f64::NAN; test.len()];
        }
        let columns = self.cells.len() / self.rows;
        let mut trees = GradientBooster::default()
            .set_objective_type(match task {
                Task::Odds => ObjectiveType::LogLoss,
                Task::Number => ObjectiveType::SquaredLoss,
            })
            .set_iterations(100)
            .set_learning_rate(0.3)
            .set_max_depth(6)
            .set_l2(1.0)
            .set_min_leaf_weight(1.0)
            .set_nbins(256)
            .set_initialize_base_score(true)
            .set_tiled_histograms(true);
        let (x, y) = (self.select(train), train.iter().map(|&row| targets[row]).collect::<Vec<f64>>());
        match trees.fit_unweighted(&Matrix::new(&x, train.len(), columns), &y, None) {
            Ok(()) => trees.predict(&Matrix::new(&self.select(test), test.len(), columns), true),
            Err(_) => vec![f64::NAN; test.len()],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features(ids: Vec<u32>, classes: usize) -> Features {
        Features { rows: ids.len(), numbers: Vec::new(), classes: vec![(ids, classes)] }
    }

    #[test]
    fn classes_become_indicators() {
        assert_eq!(Design::new(&features(vec![2, 0, 2, 2], 3)).cells, [1.0, 0.0, 1.0, 1.0]);
        assert_eq!(Design::new(&features(vec![1, 0, 2], 4)).cells, [0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
        let many = Design::new(&features((0..200).map(|i| i % 100).collect(), 100));
        assert_eq!(many.cells.len() / many.rows, INDICATORS + 1);
    }

    #[test]
    fn trees_learn_what_a_line_cannot() {
        let x: Vec<f64> = (0..1000).map(|i| f64::from(i % 10)).collect();
        let y: Vec<f64> = (0..1000).map(|i| f64::from(i / 10 % 10)).collect();
        let targets: Vec<f64> = x.iter().zip(&y).map(|(x, y)| f64::from(u8::from((*x < 5.0) == (*y < 5.0)))).collect();
        let design = Design::new(&Features { numbers: vec![x, y], classes: Vec::new(), rows: 1000 });
        let (train, test): (Vec<usize>, Vec<usize>) = (0..1000).partition(|i| i % 7 > 1);
        let odds = design.fit_predict(&train, &targets, &test, Task::Odds);
        assert!(test.iter().zip(&odds).all(|(&row, z)| (*z > 0.0) == (targets[row] > 0.5)));
        let numbers = design.fit_predict(&train, &targets, &test, Task::Number);
        assert!(test.iter().zip(&numbers).all(|(&row, p)| (p - targets[row]).abs() < 0.1));
    }

    #[test]
    fn bits_do_not_depend_on_threads() {
        let cells: Vec<f64> = (0..6000u32).map(|i| f64::from(i * 7919 % 1009)).collect();
        let targets: Vec<f64> = (0..3000u32).map(|i| f64::from(i * 31 % 17 % 2)).collect();
        let design = Design { cells, rows: 3000 };
        let rows: Vec<usize> = (0..3000).collect();
        let with = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| design.fit_predict(&rows, &targets, &rows, Task::Odds))
        };
        assert_eq!(with(1), with(3));
    }

    #[test]
    fn without_rows_there_is_no_prediction() {
        let design = Design::new(&features(vec![0, 1], 2));
        assert!(design.fit_predict(&[], &[0.0, 1.0], &[1], Task::Odds)[0].is_nan());
    }
}
