//! Unordered pairs of a set as a row, `(0,1) (0,2) ... (1,2) ...`, and the mark of what is not there.

/// The class index of a site that an item does not have, such as a pair with a node that is not there.
pub const ABSENT: u32 = u32::MAX;

/// Number of unordered pairs of `n` things.
pub fn pair_count(n: usize) -> usize {
    n * n.saturating_sub(1) / 2
}

/// The place of a pair `i < j` among the pairs of `n` things.
///
/// # Panics
/// If the pair is not in order or not among them.
pub fn pair_index(i: usize, j: usize, n: usize) -> usize {
    assert!(i < j && j < n, "a pair i < j of {n} things, found {i}, {j}");
    i * (2 * n - i - 1) / 2 + j - i - 1
}

/// The pairs in order.
pub fn in_order(n: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..n).flat_map(move |i| (i + 1..n).map(move |j| (i, j)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_counted_row_by_row() {
        for n in 0..7 {
            let found: Vec<usize> = in_order(n).map(|(i, j)| pair_index(i, j, n)).collect();
            assert_eq!(found, (0..pair_count(n)).collect::<Vec<_>>());
        }
    }
}
