//! Unordered pairs of nodes as a row, `(0,1) (0,2) ... (1,2) ...`, and the index that marks absent sites.
//!
//! # Examples
//! ```
//! use pushforward::node_pairs::{in_order, pair_count, pair_index};
//!
//! assert_eq!(pair_count(4), 6);
//! assert!(in_order(4).enumerate().all(|(index, (i, j))| pair_index(i, j, 4) == index));
//! ```

/// Class index of a site that an item does not have, such as a pair that involves an absent node.
pub const ABSENT: u32 = u32::MAX;

/// Number of unordered pairs of `n` nodes.
pub fn pair_count(n: usize) -> usize {
    n * n.saturating_sub(1) / 2
}

/// Index of the pair `i < j` in the row of pairs of `n` nodes.
///
/// # Panics
/// Unless `i < j < n`.
pub fn pair_index(i: usize, j: usize, n: usize) -> usize {
    assert!(i < j && j < n, "a pair i < j of {n} things, found {i}, {j}");
    i * (2 * n - i - 1) / 2 + j - i - 1
}

/// The pairs of `n` nodes, in the order of [`pair_index`].
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
