//! Counts of codes, and of pairs of codes, in their order.

/// A class for every row, below `classes`.
pub(super) struct Codes {
    pub(super) ids: Vec<u32>,
    pub(super) classes: usize,
}

/// Number of codes up to which they are counted in an array instead of being sorted.
const DENSE: usize = 1 << 16;

/// The codes that occur, in increasing order, with their counts.
fn count(codes: impl ExactSizeIterator<Item = u64>, space: usize) -> Vec<(u64, u64)> {
    if space <= DENSE {
        let mut counts = vec![0u64; space];
        codes.for_each(|code| counts[code as usize] += 1);
        return (0..).zip(counts).filter(|&(_, n)| n > 0).collect();
    }
    let mut codes: Vec<u64> = codes.collect();
    codes.sort_unstable();
    codes.chunk_by(|a, b| a == b).map(|run| (run[0], run.len() as u64)).collect()
}

impl Codes {
    pub(super) fn counts(&self) -> Vec<(u64, u64)> {
        count(self.ids.iter().map(|&id| u64::from(id)), self.classes)
    }

    /// Counts of the pairs; the pair `(a, b)` has the code `a * other.classes + b`.
    pub(super) fn pair_counts(&self, other: &Self) -> Vec<(u64, u64)> {
        let width = other.classes as u64;
        let codes = self.ids.iter().zip(&other.ids).map(|(&a, &b)| u64::from(a) * width + u64::from(b));
        count(codes, self.classes.saturating_mul(other.classes))
    }
}

/// The total variation distance of two laws given by counts; NaN if one has none.
pub(super) fn total_variation<K: Ord + Copy>(a: &[(K, u64)], b: &[(K, u64)]) -> f64 {
    let total = |counts: &[(K, u64)]| counts.iter().map(|&(_, n)| n).sum::<u64>() as f64;
    let (in_a, in_b) = (total(a), total(b));
    let (mut i, mut j, mut sum) = (0, 0, 0.0);
    while i < a.len() || j < b.len() {
        let key = match (a.get(i), b.get(j)) {
            (Some(a), Some(b)) => a.0.min(b.0),
            (Some(one), None) | (None, Some(one)) => one.0,
            (None, None) => unreachable!("one law is not at its end"),
        };
        let next = |counts: &[(K, u64)], at: &mut usize| match counts.get(*at) {
            Some(&(k, n)) if k == key => {
                *at += 1;
                n as f64
            }
            _ => 0.0,
        };
        sum += (next(a, &mut i) / in_a - next(b, &mut j) / in_b).abs();
    }
    if in_a == 0.0 || in_b == 0.0 { f64::NAN } else { sum / 2.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        assert_eq!(total_variation(&[(0, 1), (1, 3)], &[(0, 3), (1, 1)]), 0.5);
        assert_eq!(total_variation(&[(0, 5)], &[(1, 2)]), 1.0);
        assert_eq!(total_variation(&[(0, 5), (2, 5)], &[(0, 1), (2, 1)]), 0.0);
        assert!(total_variation(&[(0, 5)], &[]).is_nan());
    }

    #[test]
    fn sorted_and_dense_counts_agree() {
        let codes = |classes| Codes { ids: (0..5000u32).map(|i| i * i % 97).collect(), classes };
        let (small, large) = (codes(97), codes(100_000));
        assert_eq!(small.counts(), large.counts());
        let pair = |code: u64, width: u64| (code / width, code % width);
        let small: Vec<_> = small.pair_counts(&small).iter().map(|&(c, n)| (pair(c, 97), n)).collect();
        let large: Vec<_> = large.pair_counts(&large).iter().map(|&(c, n)| (pair(c, 100_000), n)).collect();
        assert_eq!(small, large);
    }
}
