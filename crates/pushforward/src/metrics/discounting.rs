//! Counts and discounts for training a Kneser-Ney model. The equations are in
//! [`kneser_ney`](crate::metrics::kneser_ney).

use crate::metrics::run_lengths;

/// The distinct n-grams of one length, packed and in increasing order, and how often each occurs.
pub(super) struct Table {
    pub(super) keys: Vec<u64>,
    pub(super) counts: Vec<u64>,
}

/// Tables of the n-grams of 1 to `order` tokens of `bits` bits in the text treated as circular.
pub(super) fn ring_tables(text: &[u32], order: usize, bits: u32) -> Vec<Table> {
    let mut keys = ring_windows(text, order, bits);
    keys.sort_unstable();
    let counts = run_lengths(&keys);
    keys.dedup();
    keys.shrink_to_fit();
    let mut tables = vec![Table { keys, counts }];
    for _ in 1..order {
        // Cutting the newest token off sorted n-grams leaves sorted shorter ones.
        let longer = &tables[tables.len() - 1];
        let mut shorter = Table { keys: Vec::new(), counts: Vec::new() };
        for (key, count) in longer.keys.iter().map(|key| key >> bits).zip(&longer.counts) {
            if shorter.keys.last() == Some(&key) {
                *shorter.counts.last_mut().expect("one count per key") += count;
            } else {
                shorter.keys.push(key);
                shorter.counts.push(*count);
            }
        }
        tables.push(shorter);
    }
    tables.reverse();
    tables
}

/// The packed n-grams that start at each position of the text treated as circular.
fn ring_windows(text: &[u32], order: usize, bits: u32) -> Vec<u64> {
    let width = u64::MAX >> (64 - bits * order as u32);
    let mut key = text[..order - 1].iter().fold(0, |key, &t| key << bits | u64::from(t));
    let newest = text[order - 1..].iter().chain(&text[..order - 1]);
    newest
        .map(|&token| {
            key = (key << bits | u64::from(token)) & width;
            key
        })
        .collect()
}

/// Number of distinct tokens that precede each n-gram: longer n-grams that agree in all but the oldest token.
pub(super) fn left_neighbours(longer: &[u64], mask: u64) -> Vec<u64> {
    let mut ends: Vec<u64> = longer.iter().map(|key| key & mask).collect();
    ends.sort_unstable();
    run_lengths(&ends)
}

/// One estimate for one length: a probability per n-gram, and per context the mass given to the shorter estimate.
#[derive(Default)]
pub(super) struct Interpolated {
    pub(super) probability: Vec<f64>,
    pub(super) left: Vec<f64>,
}

/// Discounts `counts` and interpolates with `shorter`, the next shorter estimate of the same tokens.
pub(super) fn interpolate(keys: &[u64], counts: &[u64], shorter: &[f64], bits: u32) -> Interpolated {
    let discounts = discounts(counts);
    let discount = |count: u64| discounts[count.min(3) as usize - 1];
    let mut result = Interpolated { probability: Vec::with_capacity(keys.len()), left: Vec::new() };
    let mut start = 0;
    // N-grams with the same context are adjacent.
    for group in keys.chunk_by(|a, b| a >> bits == b >> bits) {
        let range = start..start + group.len();
        start = range.end;
        let total = counts[range.clone()].iter().sum::<u64>() as f64;
        let left = counts[range.clone()].iter().map(|&c| discount(c)).sum::<f64>() / total;
        result.left.push(left);
        result.probability.extend(range.map(|i| (counts[i] as f64 - discount(counts[i])) / total + left * shorter[i]));
    }
    result
}

/// Discounts of counts 1, 2, and 3 or more. Where the counts of counts do not determine a discount (small texts, or
/// short n-grams that all occur often) it is half the count, so that the shorter estimate always gets some mass.
fn discounts(counts: &[u64]) -> [f64; 3] {
    let mut with_count = [0u64; 5];
    for &c in counts.iter().filter(|c| **c < 5) {
        with_count[c as usize] += 1;
    }
    let n = with_count.map(|c| c as f64);
    let y = n[1] / (n[1] + 2.0 * n[2]);
    [1, 2, 3].map(|c| {
        let estimate = c as f64 - (c + 1) as f64 * y * n[c + 1] / n[c];
        if estimate > 0.0 && estimate < c as f64 { estimate } else { c as f64 / 2.0 }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_of_a_ring() {
        // Ring of 0 1 1: trigrams 011, 110, 101.
        let tables = ring_tables(&[0, 1, 1], 3, 1);
        let expected: [(&[u64], &[u64]); 3] = [(&[0, 1], &[1, 2]), (&[1, 2, 3], &[1, 1, 1]), (&[3, 5, 6], &[1, 1, 1])];
        for (table, (keys, counts)) in tables.iter().zip(expected) {
            assert_eq!((table.keys.as_slice(), table.counts.as_slice()), (keys, counts));
        }
        // 0 is preceded by 1 only; 1 is preceded by 0 and by 1.
        assert_eq!(left_neighbours(&tables[1].keys, 1), [1, 2]);
    }

    #[test]
    fn discounts_from_counts_of_counts() {
        // 8 once, 4 twice, 2 three times, 1 four times: Y = 1/2.
        let counts = [[1; 8].as_slice(), &[2; 4], &[3; 2], &[4], &[900]].concat();
        assert_eq!(discounts(&counts), [0.5, 1.25, 2.0]);
        // Nothing rare: half the count.
        assert_eq!(discounts(&[70, 80, 900]), [0.5, 1.0, 1.5]);
    }

    #[test]
    fn discounted_mass_goes_to_the_shorter_estimate() {
        // Contexts 0 (counts 3 and 1) and 1 (count 70), discounts 1/2, 1, 3/2.
        let result = interpolate(&[0, 1, 2], &[3, 1, 70], &[0.5, 0.5, 0.25], 1);
        assert_eq!(result.left, [0.5, 1.5 / 70.0]);
        assert_eq!(result.probability, [1.5 / 4.0 + 0.25, 0.5 / 4.0 + 0.25, 68.5 / 70.0 + 0.25 * 1.5 / 70.0]);
    }
}
