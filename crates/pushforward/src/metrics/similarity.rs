//! Similarities of bit strings, of sets of bit strings, and of label counts.
//!
//! ```text
//! tanimoto(a, b)     |a and b| / |a or b|                          1 if both are empty
//! nearest            mean over samples of max over the reference
//! internal diversity 1 - mean over all ordered pairs, including each item with itself
//! cosine(a, b)       sum_l a_l b_l / |a| |b|                        counts per label
//! ```
//!
//! Nearest neighbours, diversity and the cosine of scaffold counts are those of MOSES (Polykovskiy et al. 2020, arXiv
//! 1811.12823).
//!
//! # Examples
//! ```
//! use pushforward::metrics::similarity::{cosine, internal_diversity, nearest, tanimoto};
//! assert_eq!(tanimoto(&[0b0111], &[0b1101]), 2.0 / 4.0);
//! assert_eq!(nearest(&[[0b11]], &[[0b1], [0b111]]), [2.0 / 3.0]);
//! assert_eq!(internal_diversity(&[[0b1], [0b10]]), 0.5);
//! assert_eq!(cosine(&["a", "b"], &["c"]), 0.0);
//! ```

use std::collections::BTreeMap;

use rayon::prelude::*;

/// Tanimoto similarity of two bit strings.
///
/// # Panics
/// If their lengths differ.
pub fn tanimoto(a: &[u64], b: &[u64]) -> f64 {
    assert_eq!(a.len(), b.len(), "bit strings of {} and {} words", a.len(), b.len());
    let (mut both, mut either) = (0, 0);
    for (a, b) in a.iter().zip(b) {
        both += (a & b).count_ones();
        either += (a | b).count_ones();
    }
    if either == 0 { 1.0 } else { f64::from(both) / f64::from(either) }
}

/// The similarity of each sample to its nearest reference; NaN without references.
pub fn nearest<const W: usize>(samples: &[[u64; W]], reference: &[[u64; W]]) -> Vec<f64> {
    samples.par_iter().map(|a| reference.iter().map(|b| tanimoto(a, b)).fold(f64::NAN, f64::max)).collect()
}

/// One minus the mean similarity of all ordered pairs; NaN without samples.
pub fn internal_diversity<const W: usize>(samples: &[[u64; W]]) -> f64 {
    // Sums of rows are added in order, so that the digits do not depend on the number of threads.
    let rows: Vec<f64> = samples.par_iter().map(|a| samples.iter().map(|b| tanimoto(a, b)).sum()).collect();
    1.0 - rows.iter().sum::<f64>() / (samples.len() as f64).powi(2)
}

/// Cosine of the label counts of two lists; NaN if one is empty.
pub fn cosine<S: Ord>(a: &[S], b: &[S]) -> f64 {
    let mut counts: BTreeMap<&S, [f64; 2]> = BTreeMap::new();
    for (side, list) in [a, b].into_iter().enumerate() {
        list.iter().for_each(|label| counts.entry(label).or_default()[side] += 1.0);
    }
    let sum = |product: fn(&[f64; 2]) -> f64| counts.values().map(product).sum::<f64>();
    sum(|c| c[0] * c[1]) / (sum(|c| c[0] * c[0]) * sum(|c| c[1] * c[1])).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        assert_eq!(tanimoto(&[0b0111, 0], &[0b1101, 1]), 2.0 / 5.0);
        assert_eq!(tanimoto(&[0], &[0]), 1.0);
        assert_eq!(nearest(&[[0b11], [0b100]], &[[0b1], [0b111]]), [2.0 / 3.0, 1.0 / 3.0]);
        assert!(nearest(&[[1]], &[])[0].is_nan());
        assert_eq!(internal_diversity(&[[0b1], [0b10]]), 0.5);
        assert_eq!(internal_diversity(&[[0b1]; 5]), 0.0);
        assert!((cosine(&["a", "b"], &["a", "a"]) - 0.5f64.sqrt()).abs() < 1e-15);
        assert_eq!(cosine(&["a"], &["b"]), 0.0);
        assert!(cosine::<&str>(&[], &["b"]).is_nan());
    }
}
