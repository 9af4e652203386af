//! The area under the receiver operating characteristic.

/// The probability that a positive item scores higher than a negative one, ties counting half (Mann and Whitney); NaN
/// if there are no items of a kind.
pub(super) fn auc(scores: &[f64], positive: &[bool]) -> f64 {
    let mut order: Vec<(f64, bool)> = scores.iter().copied().zip(positive.iter().copied()).collect();
    order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let (mut below, mut wins) = (0, 0.0);
    for ties in order.chunk_by(|a, b| a.0 == b.0) {
        let positives = ties.iter().filter(|(_, positive)| *positive).count();
        let negatives = ties.len() - positives;
        wins += positives as f64 * (below as f64 + negatives as f64 / 2.0);
        below += negatives;
    }
    wins / (below as f64 * (order.len() - below) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        assert_eq!(auc(&[0.1, 0.4, 0.35, 0.8], &[false, false, true, true]), 0.75);
        assert_eq!(auc(&[1.0, 2.0], &[false, true]), 1.0);
        assert_eq!(auc(&[1.0, 2.0], &[true, false]), 0.0);
        assert_eq!(auc(&[0.0; 5], &[true, false, false, true, false]), 0.5);
        assert_eq!(auc(&[0.0, 0.0, 1.0, 1.0], &[false, true, false, true]), 0.5);
        assert!(auc(&[1.0], &[true]).is_nan());
    }
}
