//! A permutation of `0..n` that is computed place by place, so that it takes no memory whatever `n` is.
//!
//! A Feistel network permutes the numbers of an even number of bits, at most four times as many as are wanted; a number
//! that is too large is permuted again until it is small enough, which is a permutation of the small ones.
//!
//! Reference: Black and Rogaway 2002, Ciphers with arbitrary finite domains (cycle walking, generalised Feistel).

use crate::rng::Stream;

/// Rounds of the network.
const ROUNDS: usize = 6;

/// A permutation of `0..count`.
#[derive(Clone, Debug)]
pub(super) struct Permutation {
    count: u64,
    /// Bits of each half.
    half: u32,
    keys: [u64; ROUNDS],
}

impl Permutation {
    /// A permutation that the stream decides.
    pub(super) fn new(count: u64, mut stream: Stream) -> Self {
        let bits = u64::BITS - count.saturating_sub(1).leading_zeros();
        Self { count, half: bits.div_ceil(2).max(1), keys: std::array::from_fn(|_| stream.bits()) }
    }

    /// What stands at a place.
    ///
    /// # Panics
    /// If the place is not below the count.
    pub(super) fn at(&self, place: u64) -> u64 {
        assert!(place < self.count, "place {place} of {}", self.count);
        let mut number = self.network(place);
        while number >= self.count {
            number = self.network(number);
        }
        number
    }

    fn network(&self, number: u64) -> u64 {
        let mask = (1 << self.half) - 1;
        let (mut left, mut right) = (number >> self.half, number & mask);
        for key in self.keys {
            (left, right) = (right, left ^ (mixed(right ^ key) & mask));
        }
        left << self.half | right
    }
}

/// The bits of a number, each dependent on all (Stafford's mix 13, as in SplitMix64).
fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rng::{Purpose, stream};

    proptest! {
        #[test]
        fn every_number_stands_at_one_place(count in 1u64..3000, seed: u64) {
            let order = Permutation::new(count, stream(seed, Purpose::Order, 0));
            let mut found: Vec<u64> = (0..count).map(|place| order.at(place)).collect();
            found.sort_unstable();
            prop_assert_eq!(found, (0..count).collect::<Vec<_>>());
        }
    }

    #[test]
    fn places_and_numbers_have_nothing_to_do_with_each_other() {
        let count = 100_000u64;
        let order = Permutation::new(count, stream(3, Purpose::Order, 1));
        let found: Vec<f64> = (0..count).map(|place| order.at(place) as f64).collect();
        let mean = (count - 1) as f64 / 2.0;
        let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| (x - mean) * (y - mean)).sum::<f64>();
        let places: Vec<f64> = (0..count).map(|place| place as f64).collect();
        // Of independent numbers, a correlation has a standard deviation of one in 316.
        for other in [&places[1..], &found[1..]] {
            let correlation = product(&found[..found.len() - 1], other) / product(&found, &found);
            assert!(correlation.abs() < 0.015, "{correlation}");
        }
        // Blocks of places have numbers from everywhere: the sums over them vary as those of random draws.
        let blocks: Vec<f64> = found.chunks(1000).map(|block| block.iter().sum::<f64>() / 1000.0 - mean).collect();
        let spread = (blocks.iter().map(|b| b * b).sum::<f64>() / 100.0).sqrt();
        let expected = count as f64 / 12f64.sqrt() / 1000f64.sqrt();
        assert!((0.7..1.4).contains(&(spread / expected)), "{}", spread / expected);
    }
}
