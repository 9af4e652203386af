//! Markov chains and position weight matrices: baselines that know the letters before, or the position, and nothing else.

use std::collections::{BTreeMap, HashMap};

use crate::rng::Stream;

/// A Markov chain of some order, from counts of the training sequences. The first letters depend on as many letters as
/// there are before them.
///
/// # Examples
/// ```
/// use pushforward::metrics::sequences::Markov;
/// use pushforward::rng::{Purpose, stream};
/// // After 0 comes 1, after 1 comes 2.
/// let chain = Markov::train(&[&[0, 1, 2, 0, 1, 2][..], &[0, 1, 2, 0]], 3, 1);
/// assert_eq!(chain.draw(5, &mut stream(0, Purpose::Metric, 0)), [0, 1, 2, 0, 1]);
/// ```
#[derive(Clone, Debug)]
pub struct Markov {
    order: usize,
    classes: usize,
    /// How often each letter follows a context of at most `order` letters; longer contexts than the letters before are
    /// those of the beginning, which have a key of their own.
    counts: HashMap<Vec<u32>, BTreeMap<u32, u64>>,
}

impl Markov {
    /// Counts the letters after each context.
    pub fn train<S: AsRef<[u32]>>(sequences: &[S], classes: usize, order: usize) -> Self {
        let mut counts: HashMap<Vec<u32>, BTreeMap<u32, u64>> = HashMap::new();
        for sequence in sequences.iter().map(AsRef::as_ref) {
            for (place, &letter) in sequence.iter().enumerate() {
                let most = order.min(place);
                // Shorter contexts too, for those that the chain reaches and no sequence goes on from.
                for length in 0..=most {
                    let context = &sequence[place - length..place];
                    let key = Self::key(context, place, order);
                    *counts.entry(key).or_default().entry(letter).or_default() += 1;
                }
            }
        }
        Self { order, classes, counts }
    }

    /// A context; where fewer letters than the order come before, marked as the beginning.
    fn key(context: &[u32], place: usize, order: usize) -> Vec<u32> {
        let mut key = context.to_vec();
        if place < order && context.len() == place {
            key.push(u32::MAX);
        }
        key
    }

    /// Draws a sequence of `length` letters.
    pub fn draw(&self, length: usize, stream: &mut Stream) -> Vec<u32> {
        let mut sequence: Vec<u32> = Vec::with_capacity(length);
        for place in 0..length {
            let longest = self.order.min(place);
            let known = (0..=longest)
                .rev()
                .find_map(|n| self.counts.get(&Self::key(&sequence[place - n..], place, self.order)));
            sequence.push(match known {
                Some(counts) => draw(counts.iter().map(|(&letter, &count)| (letter, count)), stream),
                None => stream.below(self.classes) as u32,
            });
        }
        sequence
    }
}

/// Draws `count` sequences whose letters are independent of each other, each with the law of its position; lengths are
/// those of sequences drawn at random.
///
/// # Panics
/// If there are no sequences.
///
/// # Examples
/// ```
/// use pushforward::metrics::sequences::position_weights;
/// use pushforward::rng::{Purpose, stream};
/// let drawn = position_weights(&[&[0, 1][..], &[0, 1], &[0, 1, 2]], 3, 50, &mut stream(0, Purpose::Metric, 0));
/// assert!(drawn.iter().all(|one| one[..2] == [0, 1]) && drawn.iter().any(|one| one.len() == 3));
/// ```
pub fn position_weights<S: AsRef<[u32]>>(
    sequences: &[S],
    classes: usize,
    count: usize,
    stream: &mut Stream,
) -> Vec<Vec<u32>> {
    let longest = sequences.iter().map(|s| s.as_ref().len()).max().expect("there are sequences");
    let mut weights = vec![vec![0u64; classes]; longest];
    for sequence in sequences.iter().map(AsRef::as_ref) {
        sequence.iter().zip(&mut weights).for_each(|(&letter, at)| at[letter as usize] += 1);
    }
    (0..count)
        .map(|_| {
            let length = sequences[stream.below(sequences.len())].as_ref().len();
            weights[..length].iter().map(|at| draw((0..).zip(at.iter().copied()), stream)).collect()
        })
        .collect()
}

fn draw(counts: impl Iterator<Item = (u32, u64)> + Clone, stream: &mut Stream) -> u32 {
    let mut left = stream.uniform() * counts.clone().map(|(_, count)| count).sum::<u64>() as f64;
    let mut last = 0;
    for (class, count) in counts.filter(|(_, count)| *count > 0) {
        left -= count as f64;
        last = class;
        if left < 0.0 {
            break;
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::ngram_kl::{DELTA, NgramCounts, ngram_kl};
    use crate::rng::{Purpose, stream};

    #[test]
    fn a_chain_of_an_order_has_the_words_of_one_letter_more_and_not_the_longer_ones() {
        // Words of five letters over two; the last letter is the sum of the first four.
        let mut random = stream(0, Purpose::Metric, 1);
        let words: Vec<Vec<u32>> = (0..4000)
            .map(|_| {
                let mut word: Vec<u32> = (0..4).map(|_| random.below(2) as u32).collect();
                word.push(word.iter().sum::<u32>() % 2);
                word
            })
            .collect();
        let kl = |order: usize| {
            let chain = Markov::train(&words, 2, order);
            let mut draws = stream(0, Purpose::Metric, 2);
            let drawn: Vec<Vec<u32>> = (0..4000).map(|_| chain.draw(5, &mut draws)).collect();
            ngram_kl(&NgramCounts::count(&drawn, 2, 5), &NgramCounts::count(&words, 2, 5), DELTA)
        };
        assert!(kl(4) < 0.02 && kl(2) > 0.5, "{} {}", kl(4), kl(2));
    }
}
