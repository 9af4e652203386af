//! A random sample of things that come one after the other.
//!
//! Reference: Vitter 1985, Random sampling with a reservoir (ACM Transactions on Mathematical Software 11), algorithm R.

use crate::rng::{Purpose, Stream, stream};

/// At most so many of the things that were added, each with the same probability.
#[derive(Debug)]
pub(in crate::data) struct Reservoir<T> {
    kept: Vec<T>,
    seen: usize,
    most: usize,
    random: Stream,
}

impl<T> Reservoir<T> {
    /// A sample of at most `most`.
    pub(in crate::data) fn new(most: usize, seed: u64) -> Self {
        Self { kept: Vec::new(), seen: 0, most, random: stream(seed, Purpose::Split, u64::MAX) }
    }

    /// Adds a thing, which is made only if it is kept.
    pub(in crate::data) fn add(&mut self, make: impl FnOnce() -> T) {
        self.seen += 1;
        if self.kept.len() < self.most {
            return self.kept.push(make());
        }
        let place = self.random.below(self.seen);
        if let Some(other) = self.kept.get_mut(place) {
            *other = make();
        }
    }

    pub(in crate::data) fn most(&self) -> usize {
        self.most
    }

    /// Whether everything that was added is kept.
    pub(in crate::data) fn is_whole(&self) -> bool {
        self.seen <= self.most
    }

    /// What is kept.
    pub(in crate::data) fn kept(self) -> Vec<T> {
        self.kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_kept_or_each_with_the_same_probability() {
        let sample = |count: usize, seed| {
            let mut sample = Reservoir::new(20, seed);
            (0..count).for_each(|number| sample.add(|| number));
            (sample.is_whole(), sample.kept())
        };
        assert_eq!(sample(20, 0), (true, (0..20).collect()));
        let mut counts = [0; 4];
        for seed in 0..400 {
            let (whole, kept) = sample(80, seed);
            assert!(!whole && kept.len() == 20);
            kept.iter().for_each(|number| counts[number / 20] += 1);
        }
        // 8,000 draws, 2,000 of each quarter with a standard deviation of about 34.
        assert!(counts.iter().all(|&count| (1850..2150).contains(&count)), "{counts:?}");
    }
}
