//! `checker`: two variables of 16 classes whose joint table is a checkerboard of blocks.
//!
//! ```text
//! J[a, b] = 0.98 w[a, b] / W   if a / 4 + b / 4 is even      (128 cells, W the sum of w over them)
//!         = 0.02 / 128         otherwise
//! w[a, b] = 64 + (37 r) mod 128,  r the index of the cell among the even cells, row by row
//! ```
//!
//! All 128 weights differ (37 and 128 have no common divisor), between 64 and 191. Each variable alone is close to
//! uniform; only the pair has structure, so a model that treats sites as independent puts half its mass on odd cells.
//! Every cell has some mass, so KL(samples || true) is finite for any samples. KL(true || samples) is finite once the
//! samples are counted with a pseudo-count, see [`empirical`].
//!
//! # Examples
//! ```
//! use pushforward::data::synthetic::checker::{entropy, posterior, table};
//! use pushforward::metrics::divergence::kl;
//! let joint = table();
//! assert!((joint.iter().sum::<f64>() - 1.0).abs() < 1e-12);
//! assert!((entropy() + kl(&joint, &[1.0 / 256.0; 256]) - 256f64.ln()).abs() < 1e-12);
//! // At t = 0 the noise carries no information: the posterior marginals are the marginals.
//! let marginals = posterior(&joint, &[0.0; 32], 0.0);
//! assert!((marginals[3] - joint[3 * 16..4 * 16].iter().sum::<f64>()).abs() < 1e-12);
//! ```

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::data::synthetic::echo::softmax;
use crate::data::{DataError, Dataset, ExampleKey, Layout, Schema, Splits, files};
use crate::rng::{Purpose, stream};

/// Classes of each variable.
pub const CLASSES: usize = 16;

const BLOCK: usize = 4;
const OFF_PATTERN: f64 = 0.02;
const TRAIN: usize = 50_000;
const HELD_OUT: usize = 10_000;

/// Settings of `checker`; there are none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckerConfig {}

impl CheckerConfig {
    pub(crate) fn load(&self, seed: u64) -> Result<Splits, DataError> {
        let cumulative: Arc<[f64]> = table()
            .into_iter()
            .scan(0.0, |sum, p| {
                *sum += p;
                Some(*sum)
            })
            .collect();
        let schema = Schema { sites: 2, classes: CLASSES, layout: Layout::Table };
        let mut first = 0;
        let mut part = |len| -> Arc<dyn Dataset> {
            let set = PairSet { schema: schema.clone(), cumulative: cumulative.clone(), seed, first, len };
            first += len as u64;
            Arc::new(set)
        };
        let (train, validation, test) = (part(TRAIN), part(HELD_OUT), part(HELD_OUT));
        let sha256 = files::sha256_made("checker", self, seed);
        Ok(Splits::new("checker", [train, validation, test], sha256))
    }
}

struct PairSet {
    schema: Schema,
    cumulative: Arc<[f64]>,
    seed: u64,
    /// Index of the first example among those of all parts.
    first: u64,
    len: usize,
}

impl Dataset for PairSet {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn len(&self) -> usize {
        self.len
    }

    fn write(&self, key: ExampleKey, out: &mut [u32]) {
        assert!(key.index < self.len, "example {} of {}", key.index, self.len);
        assert_eq!(out.len(), 2, "an example has 2 sites");
        let u = stream(self.seed, Purpose::Synthesis, self.first + key.index as u64).uniform();
        let cell = self.cumulative.partition_point(|&c| c <= u).min(CLASSES * CLASSES - 1);
        out[0] = (cell / CLASSES) as u32;
        out[1] = (cell % CLASSES) as u32;
    }
}

/// Whether the pair lies on an even block of the board.
fn on_pattern(a: u32, b: u32) -> bool {
    (a as usize / BLOCK + b as usize / BLOCK).is_multiple_of(2)
}

/// The joint distribution, row by row: `table()[16 a + b]` is the probability of `(a, b)`.
pub fn table() -> Vec<f64> {
    let mut rank = 0;
    let mut table = vec![0.0; CLASSES * CLASSES];
    for (cell, weight) in table.iter_mut().enumerate() {
        if on_pattern((cell / CLASSES) as u32, (cell % CLASSES) as u32) {
            *weight = f64::from(64 + 37 * rank % 128);
            rank += 1;
        }
    }
    let sum: f64 = table.iter().sum();
    let odd = OFF_PATTERN / (table.len() as f64 - f64::from(rank));
    table.iter_mut().for_each(|w| *w = if *w == 0.0 { odd } else { (1.0 - OFF_PATTERN) * *w / sum });
    table
}

/// Entropy of the joint distribution in nats.
pub fn entropy() -> f64 {
    table().iter().map(|p| -p * p.ln()).sum()
}

/// Relative frequencies of `pairs` as a table, with a pseudo-count of `pseudo` for each cell.
///
/// # Panics
/// If `pairs` has odd length, contains a class above 15, or is empty while `pseudo` is zero.
///
/// # Examples
/// ```
/// use pushforward::data::synthetic::checker::empirical;
/// let table = empirical(&[0, 1, 0, 1, 15, 15, 0, 0], 0.0);
/// assert_eq!((table[1], table[255], table[0], table[2]), (0.5, 0.25, 0.25, 0.0));
/// ```
pub fn empirical(pairs: &[u32], pseudo: f64) -> Vec<f64> {
    assert!(pairs.len().is_multiple_of(2), "pairs come in twos, not {} classes", pairs.len());
    let total = pairs.len() as f64 / 2.0 + pseudo * (CLASSES * CLASSES) as f64;
    assert!(total > 0.0, "no pair to count");
    let mut counts = vec![pseudo / total; CLASSES * CLASSES];
    for pair in pairs.chunks_exact(2) {
        assert!(pair.iter().all(|&c| (c as usize) < CLASSES), "classes {pair:?} are not below {CLASSES}");
        counts[pair[0] as usize * CLASSES + pair[1] as usize] += 1.0 / total;
    }
    counts
}

/// Log-posterior of a pair with joint table `joint` given both noisy sites, `x_t = (1 - t) x0 + t onehot(x1)` with
/// Gaussian `x0`: `log J[a, b] + t (x[0, a] + x[1, b]) / (1 - t)^2`, normalised.
///
/// # Shapes
/// - `joint`: `[K * K]`, row by row
/// - `x`: `[2 * K]`, site by site
/// - result: `[K * K]`
///
/// # Panics
/// If the sizes do not fit or `t` is not in `[0, 1)`.
///
/// # Examples
/// Two dependent bits. At time 0 the noisy sites say nothing; later, one site tells about the other.
/// ```
/// use pushforward::data::synthetic::checker::{log_posterior, posterior};
///
/// let (joint, x) = ([0.4, 0.1, 0.1, 0.4], [1.0, 0.0, 0.5, 0.5]);
/// let at_0 = log_posterior(&joint, &x, 0.0);
/// assert!(at_0.iter().zip(joint).all(|(log, p)| (log.exp() - p).abs() < 1e-12));
/// let marginals = posterior(&joint, &x, 0.5);
/// assert!(marginals[0] > 0.8 && marginals[2] > 0.6);
/// ```
pub fn log_posterior(joint: &[f64], x: &[f64], t: f64) -> Vec<f64> {
    let classes = x.len() / 2;
    assert_eq!(x.len(), 2 * classes, "x has {} entries, which is odd", x.len());
    assert_eq!(joint.len(), classes * classes, "the table has {} cells, K * K = {}", joint.len(), classes * classes);
    assert!((0.0..1.0).contains(&t), "t = {t} is not in [0, 1)");
    let precision = t / ((1.0 - t) * (1.0 - t));
    let cell = |(i, p): (usize, &f64)| p.ln() + precision * (x[i / classes] + x[classes + i % classes]);
    let mut log: Vec<f64> = joint.iter().enumerate().map(cell).collect();
    let top = log.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let norm = top + log.iter().map(|l| (l - top).exp()).sum::<f64>().ln();
    log.iter_mut().for_each(|l| *l -= norm);
    log
}

/// Posterior marginals of both sites, from [`log_posterior`].
///
/// # Shapes
/// As [`log_posterior`]; result: `[2 * K]`, site by site.
pub fn posterior(joint: &[f64], x: &[f64], t: f64) -> Vec<f64> {
    let classes = x.len() / 2;
    let mut pair = log_posterior(joint, x, t);
    softmax(&mut pair);
    let mut marginals = vec![0.0; 2 * classes];
    for (i, p) in pair.iter().enumerate() {
        marginals[i / classes] += p;
        marginals[classes + i % classes] += p;
    }
    marginals
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::data::synthetic::echo::EchoConfig;
    use crate::metrics::divergence::kl;

    #[test]
    fn the_table_is_as_described() {
        let table = table();
        assert!((table.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert!(table.iter().all(|&p| p > 0.0));
        let even: Vec<u64> =
            (0..256).filter(|&i| on_pattern(i / 16, i % 16)).map(|i| table[i as usize].to_bits()).collect();
        assert_eq!((even.len(), even.iter().collect::<HashSet<_>>().len()), (128, 128));
        assert!((entropy() + kl(&table, &[1.0 / 256.0; 256]) - 256f64.ln()).abs() < 1e-12);
        let rows: Vec<f64> = table.chunks(16).map(|row| row.iter().sum()).collect();
        let columns: Vec<f64> = (0..16).map(|b| table.iter().skip(b).step_by(16).sum()).collect();
        let product: Vec<f64> = rows.iter().flat_map(|r| columns.iter().map(move |c| r * c)).collect();
        let information = kl(&table, &product);
        assert!(information > 0.55 && information < 0.75, "{information}");
    }

    #[test]
    fn examples_follow_the_table() {
        let splits = CheckerConfig {}.load(7).unwrap();
        let mut pairs = vec![0; 2 * TRAIN];
        for (index, pair) in pairs.chunks_exact_mut(2).enumerate() {
            splits.train.write(ExampleKey { seed: 0, epoch: 0, index }, pair);
        }
        // The expected KL of the empirical table is (cells - 1) / 2N.
        let divergence = kl(&empirical(&pairs, 0.0), &table());
        assert!(divergence < 2.0 * 255.0 / (2.0 * TRAIN as f64), "{divergence}");
        assert!(kl(&table(), &empirical(&pairs, 0.5)) < 0.005);
        assert!(kl(&table(), &empirical(&[0, 0], 0.0)).is_infinite());
    }

    #[test]
    fn posterior_of_a_diagonal_table_is_that_of_echo() {
        let joint: Vec<f64> = (0..9).map(|i| if i % 4 == 0 { 1.0 / 3.0 } else { 0.0 }).collect();
        let x = [0.3, -0.8, 1.1, 0.2, 0.9, -0.4];
        let echo = EchoConfig { letters: 1, vocabulary: "abc".into() };
        for t in [0.0, 0.3, 0.9] {
            for (a, b) in posterior(&joint, &x, t).iter().zip(echo.posterior(&x, t)) {
                assert!((a - b).abs() < 1e-12, "{a} {b}");
            }
        }
    }

    #[test]
    fn posterior_agrees_with_gaussian_densities() {
        let mut r = stream(0, Purpose::Metric, 1);
        let (joint, t) = (table(), 0.35);
        let x: Vec<f64> = (0..32).map(|_| r.normal()).collect();
        let density = |a: usize, b: usize| {
            let square: f64 = (0..32).map(|j| (x[j] - if j == a || j == 16 + b { t } else { 0.0 }).powi(2)).sum();
            joint[16 * a + b] * (-square / (2.0 * (1.0 - t) * (1.0 - t))).exp()
        };
        let total: f64 = (0..256).map(|i| density(i / 16, i % 16)).sum();
        for (i, log) in log_posterior(&joint, &x, t).iter().enumerate() {
            assert!((log.exp() - density(i / 16, i % 16) / total).abs() < 1e-12);
        }
        let at_zero = posterior(&joint, &x, 0.0);
        assert!((at_zero[3] - joint[48..64].iter().sum::<f64>()).abs() < 1e-12);
    }
}
