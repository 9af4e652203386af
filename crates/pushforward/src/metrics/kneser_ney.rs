//! An interpolated modified Kneser-Ney n-gram model over token ids: the scorer behind `perplexity`.
//!
//! ```text
//! P_k(w|h) = max(c(hw) - D(c(hw)), 0) / c(h) + left(h) P_{k-1}(w|h')         h' = h without its oldest token
//! left(h)  = (D1 N1(h) + D2 N2(h) + D3 N3+(h)) / c(h)                        N_i(h) = tokens with count i after h
//! P_0(w)   = 1 / vocabulary
//! Y = n1 / (n1 + 2 n2),  D1 = 1 - 2 Y n2/n1,  D2 = 2 - 3 Y n3/n2,  D3 = 3 - 4 Y n4/n3   n_i = n-grams with count i
//! ```
//!
//! At the highest order `c` counts occurrences; in the recursion it is the number of distinct tokens seen before the
//! n-gram. A position with fewer than `order - 1` tokens before it starts the recursion at its own length with
//! occurrences, so the first tokens of a sequence are scored by plain short n-grams.
//!
//! The training text is treated as circular, its end joined to its start. Then every n-gram has a token before and
//! after it, and the counts of all lengths agree without special cases, at the cost of `order - 1` n-grams that never
//! occurred. N-grams are stored in sorted arrays of packed integers, one array per length.
//!
//! Kneser and Ney, Improved backing-off for m-gram language modeling, 1995; Chen and Goodman, An empirical study of
//! smoothing techniques for language modeling, 1999 (equations 17, 26-28).
//!
//! # Examples
//! ```
//! use pushforward::metrics::kneser_ney::{DEFAULT_ORDER, KneserNey, KneserNeyError, MAX_ORDER};
//! let text: Vec<u32> = (0..200).map(|i| i % 4).collect();
//! let model = KneserNey::train("cycle", &text, 5, DEFAULT_ORDER)?;
//! // Token 4 never occurs and still has mass; the distribution sums to one.
//! let p: Vec<f64> = (0..5).map(|token| model.probability(&[0, 1], token)).collect();
//! assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-12);
//! assert!(p[2] > 0.9 && p[4] > 0.0);
//! // The perplexity is the exponential of the cross-entropy.
//! let (nats, perplexity) = (model.nats_per_token(&[&text]), model.perplexity(&[&text]));
//! assert!((perplexity.value - nats.value.exp()).abs() < 1e-12);
//! let order = MAX_ORDER + 1;
//! assert_eq!(KneserNey::train("too long", &text, 5, order).err(), Some(KneserNeyError::Order { order }));
//! # Ok::<(), KneserNeyError>(())
//! ```

use crate::hash;
use crate::metrics::discounting::{Interpolated, Table, interpolate, left_neighbours, ring_tables};
use crate::metrics::interval::{Estimate, ratio_of_sums};

/// Default order for characters.
pub const DEFAULT_ORDER: usize = 6;

/// The largest order.
pub const MAX_ORDER: usize = 8;

/// Why a model could not be trained.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KneserNeyError {
    /// The order is out of range.
    #[error("an n-gram model of order {order} is not possible; choose an order from 1 to {MAX_ORDER}")]
    Order {
        /// The requested order.
        order: usize,
    },
    /// The vocabulary is empty, or too large to pack an n-gram into 64 bits.
    #[error(
        "{order}-grams over a vocabulary of {vocabulary} do not fit into 64 bits; lower the order or use characters"
    )]
    Vocabulary {
        /// Size of the vocabulary.
        vocabulary: usize,
        /// The requested order.
        order: usize,
    },
    /// The text is shorter than one n-gram.
    #[error("the text `{corpus}` has {tokens} tokens, an order of {order} needs at least as many")]
    ShortText {
        /// Name of the text.
        corpus: String,
        /// Its length.
        tokens: usize,
        /// The requested order.
        order: usize,
    },
    /// A token id is not below the vocabulary size.
    #[error("token id {token} at position {position} of `{corpus}` is outside the vocabulary of {vocabulary}")]
    Token {
        /// Name of the text.
        corpus: String,
        /// Its position in the text.
        position: usize,
        /// The id.
        token: u32,
        /// Size of the vocabulary.
        vocabulary: usize,
    },
}

/// A trained n-gram model.
///
/// # Examples
/// ```
/// use pushforward::metrics::kneser_ney::KneserNey;
/// let model = KneserNey::train("bits", &[0, 1, 1, 0, 1, 0, 0, 1], 2, 2)?;
/// let nats = -model.probability(&[], 0).ln() - model.probability(&[0], 1).ln();
/// assert!((model.log_prob(&[0, 1]) + nats).abs() < 1e-12);
/// assert!((model.perplexity(&[[0, 1]]).value - (nats / 2.0).exp()).abs() < 1e-12);
/// # Ok::<(), pushforward::metrics::kneser_ney::KneserNeyError>(())
/// ```
#[derive(Clone, Debug)]
pub struct KneserNey {
    corpus: String,
    vocabulary: usize,
    order: usize,
    /// Bits per token in a packed n-gram; the oldest token is in the highest bits.
    bits: u32,
    /// Mass that the two unigram estimates give to the uniform distribution.
    occurrence_root: f64,
    continuation_root: f64,
    /// `levels[k - 1]` holds the n-grams of `k` tokens.
    levels: Vec<Level>,
    sha256: String,
}

/// All n-grams of one length in increasing order of their key, with parallel arrays.
#[derive(Clone, Debug)]
struct Level {
    keys: Vec<u64>,
    /// Probability of the last token after the others, from occurrences and from continuations.
    occurrence: Vec<f64>,
    continuation: Vec<f64>,
    /// The n-gram as a context: the mass that the next longer estimate gives to the next shorter one, `left(h)`.
    occurrence_left: Vec<f64>,
    continuation_left: Vec<f64>,
}

impl KneserNey {
    /// Whether models of this order over this vocabulary are possible, whatever the text.
    ///
    /// # Errors
    /// If the order is out of range, or n-grams do not fit into 64 bits.
    ///
    /// # Examples
    /// ```
    /// use pushforward::metrics::kneser_ney::KneserNey;
    /// assert!(KneserNey::fits(27, 6).is_ok() && KneserNey::fits(3001, 5).is_ok());
    /// assert!(KneserNey::fits(3001, 6).unwrap_err().to_string().contains("lower the order"));
    /// ```
    pub fn fits(vocabulary: usize, order: usize) -> Result<(), KneserNeyError> {
        bits(vocabulary, order).map(drop)
    }

    /// Trains on `text`, token ids below `vocabulary`. `corpus` names the text in reports.
    ///
    /// Needs 8 bytes per token, plus up to 60 per distinct n-gram of any length up to `order`; the time is mostly that
    /// of sorting the text once.
    ///
    /// # Errors
    /// If the order or the vocabulary is out of range, the text too short, or a token outside the vocabulary.
    pub fn train(corpus: &str, text: &[u32], vocabulary: usize, order: usize) -> Result<Self, KneserNeyError> {
        let bits = check(corpus, text, vocabulary, order)?;
        let uniform = 1.0 / vocabulary as f64;
        let mut model = Self {
            corpus: corpus.to_owned(),
            vocabulary,
            order,
            bits,
            occurrence_root: 0.0,
            continuation_root: 0.0,
            levels: Vec::with_capacity(order),
            sha256: String::new(),
        };
        let mut tables = ring_tables(text, order, bits).into_iter().peekable();
        while let Some(Table { keys, counts }) = tables.next() {
            let length = model.levels.len() + 1;
            let shorter: Vec<f64> = match model.levels.last() {
                None => vec![uniform; keys.len()],
                Some(level) => {
                    keys.iter().map(|key| level.continuation[level.expect(key & model.mask(length - 1))]).collect()
                }
            };
            let occurrence = interpolate(&keys, &counts, &shorter, bits);
            let continuation = tables.peek().map_or_else(Interpolated::default, |longer| {
                interpolate(&keys, &left_neighbours(&longer.keys, model.mask(length)), &shorter, bits)
            });
            match model.levels.last_mut() {
                None => {
                    model.occurrence_root = occurrence.left[0];
                    model.continuation_root = continuation.left.first().copied().unwrap_or(1.0);
                }
                Some(level) => (level.occurrence_left, level.continuation_left) = (occurrence.left, continuation.left),
            }
            model.levels.push(Level {
                keys,
                occurrence: occurrence.probability,
                continuation: continuation.probability,
                occurrence_left: Vec::new(),
                continuation_left: Vec::new(),
            });
        }
        model.sha256 = model.digest();
        Ok(model)
    }

    /// Name for reports, such as `kneser-ney-6 on text8`.
    pub fn name(&self) -> String {
        format!("kneser-ney-{} on {}", self.order, self.corpus)
    }

    /// Hash of everything the model computes with (the n-grams and their probabilities), lowercase hex.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Size of the vocabulary.
    pub fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    /// Probability of `token` after `context`, of which only the last `order - 1` tokens count. Never zero.
    ///
    /// # Panics
    /// If a token id is not below the vocabulary size.
    pub fn probability(&self, context: &[u32], token: u32) -> f64 {
        let context = &context[context.len().saturating_sub(self.order - 1)..];
        let history = context.iter().fold(0, |key, &t| key << self.bits | self.checked(t));
        self.after(history, context.len(), self.checked(token))
    }

    /// Log probability of a sequence, nats. Each position is conditioned on up to `order - 1` tokens before it
    /// in the sequence.
    ///
    /// # Panics
    /// If a token id is not below the vocabulary size.
    pub fn log_prob(&self, sequence: &[u32]) -> f64 {
        let mut history = 0;
        let mut sum = 0.0;
        for (position, &token) in sequence.iter().enumerate() {
            let token = self.checked(token);
            sum += self.after(history, position.min(self.order - 1), token).ln();
            history = (history << self.bits | token) & self.mask(self.order - 1);
        }
        sum
    }

    /// Perplexity per token, `exp(-sum log_prob / sum tokens)`, with an interval over sequences.
    ///
    /// # Panics
    /// If a token id is not below the vocabulary size.
    pub fn perplexity<S: AsRef<[u32]>>(&self, sequences: &[S]) -> Estimate {
        self.nats_per_token(sequences).map(f64::exp)
    }

    /// Cross-entropy per token, nats, with an interval over sequences.
    ///
    /// # Panics
    /// If a token id is not below the vocabulary size.
    pub fn nats_per_token<S: AsRef<[u32]>>(&self, sequences: &[S]) -> Estimate {
        let nats: Vec<f64> = sequences.iter().map(|s| -self.log_prob(s.as_ref())).collect();
        let tokens: Vec<f64> = sequences.iter().map(|s| s.as_ref().len() as f64).collect();
        ratio_of_sums(&nats, &tokens)
    }

    /// `P(token | the length tokens packed in history)`.
    fn after(&self, history: u64, length: usize, token: u64) -> f64 {
        let key = history << self.bits | token;
        if let Ok(i) = self.levels[length].keys.binary_search(&key) {
            return self.levels[length].occurrence[i];
        }
        // Unseen: multiply the masses that the contexts give to shorter estimates until a shorter n-gram is found. An
        // unseen context gives all of its mass.
        let left = |length: usize, arrays: fn(&Level) -> &[f64], root: f64| match length {
            0 => root,
            _ => {
                let level = &self.levels[length - 1];
                let context = (key >> self.bits) & self.mask(length);
                level.keys.binary_search(&context).map_or(1.0, |i| arrays(level)[i])
            }
        };
        let mut weight = left(length, |level| &level.occurrence_left, self.occurrence_root);
        for shorter in (0..length).rev() {
            let level = &self.levels[shorter];
            if let Ok(i) = level.keys.binary_search(&(key & self.mask(shorter + 1))) {
                return weight * level.continuation[i];
            }
            weight *= left(shorter, |level| &level.continuation_left, self.continuation_root);
        }
        weight / self.vocabulary as f64
    }

    fn checked(&self, token: u32) -> u64 {
        assert!(
            (token as usize) < self.vocabulary,
            "token id {token} is outside the vocabulary of {}",
            self.vocabulary
        );
        u64::from(token)
    }

    /// Bit mask of the newest `tokens` tokens of a packed n-gram.
    fn mask(&self, tokens: usize) -> u64 {
        match self.bits * tokens as u32 {
            0 => 0,
            bits => u64::MAX >> (64 - bits),
        }
    }

    fn digest(&self) -> String {
        let roots = [self.occurrence_root, self.continuation_root];
        let numbers = roots.iter().chain(self.levels.iter().flat_map(Level::values)).map(|value| value.to_le_bytes());
        let keys = self.levels.iter().flat_map(|level| &level.keys).map(|key| key.to_le_bytes());
        hash::sha256(std::iter::once((self.vocabulary as u64).to_le_bytes()).chain(numbers).chain(keys))
    }
}

impl Level {
    /// All numbers of the level, in the order in which they are hashed.
    fn values(&self) -> impl Iterator<Item = &f64> {
        [&self.occurrence, &self.continuation, &self.occurrence_left, &self.continuation_left].into_iter().flatten()
    }

    /// Index of an n-gram that exists because the text is circular.
    fn expect(&self, key: u64) -> usize {
        self.keys.binary_search(&key).expect("in a circular text every suffix of an n-gram occurs")
    }
}

/// Checks the arguments and returns the bits per token.
/// Bits of a token in a packed n-gram.
fn bits(vocabulary: usize, order: usize) -> Result<u32, KneserNeyError> {
    if !(1..=MAX_ORDER).contains(&order) {
        return Err(KneserNeyError::Order { order });
    }
    let bits = vocabulary.max(2).next_power_of_two().ilog2();
    if vocabulary == 0 || bits * order as u32 > 64 {
        return Err(KneserNeyError::Vocabulary { vocabulary, order });
    }
    Ok(bits)
}

fn check(corpus: &str, text: &[u32], vocabulary: usize, order: usize) -> Result<u32, KneserNeyError> {
    let bits = bits(vocabulary, order)?;
    if text.len() < order {
        return Err(KneserNeyError::ShortText { corpus: corpus.to_owned(), tokens: text.len(), order });
    }
    match text.iter().position(|t| *t as usize >= vocabulary) {
        Some(position) => {
            Err(KneserNeyError::Token { corpus: corpus.to_owned(), position, token: text[position], vocabulary })
        }
        None => Ok(bits),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::entropy::of_probabilities;
    use crate::rng::{Purpose, Stream, stream};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn probabilities_sum_to_one_after_any_context(
            text in prop::collection::vec(0u32..5, 8..400),
            contexts in prop::collection::vec(prop::collection::vec(0u32..7, 0..9), 8),
            order in 1usize..=8,
        ) {
            // Tokens 5 and 6 never occur, so many contexts are new at every length.
            let model = KneserNey::train("random", &text, 7, order).unwrap();
            let seen = (0..text.len()).map(|end| text[..end].to_vec());
            for context in contexts.into_iter().chain(seen) {
                let p: Vec<f64> = (0..7).map(|w| model.probability(&context, w)).collect();
                prop_assert!(p.iter().all(|p| *p > 0.0), "{context:?}: {p:?}");
                prop_assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-12, "{context:?}: {p:?}");
            }
        }
    }

    /// A Markov chain of order 2 over 6 symbols, and its entropy rate from the empirical frequency of states.
    struct Chain {
        rows: Vec<Vec<f64>>,
    }

    impl Chain {
        fn new(r: &mut Stream) -> Self {
            let row = |r: &mut Stream| {
                let g: Vec<f64> = (0..6).map(|_| r.gamma(0.4) + 1e-3).collect();
                let sum: f64 = g.iter().sum();
                g.iter().map(|g| g / sum).collect()
            };
            Self { rows: (0..36).map(|_| row(r)).collect() }
        }

        fn text(&self, n: usize, r: &mut Stream) -> (Vec<u32>, f64) {
            let (mut state, mut entropy) = (0, 0.0);
            let mut text = Vec::with_capacity(n);
            for _ in 0..n {
                let row = &self.rows[state];
                entropy += of_probabilities(row) / n as f64;
                let mut u = r.uniform();
                let next = row.iter().position(|p| {
                    u -= p;
                    u < 0.0
                });
                let next = next.unwrap_or(5);
                text.push(next as u32);
                state = state % 6 * 6 + next;
            }
            (text, entropy)
        }
    }

    #[test]
    fn cross_entropy_approaches_the_entropy_rate_of_a_markov_chain() {
        let mut r = stream(0, Purpose::Metric, 0);
        let chain = Chain::new(&mut r);
        let (text, _) = chain.text(300_000, &mut r);
        let (held_out, rate) = chain.text(100_000, &mut r);
        let excess = |tokens: usize, order| {
            let model = KneserNey::train("chain", &text[..tokens], 6, order).unwrap();
            model.nats_per_token(&[&held_out]).value - rate
        };
        let (few, many, blind) = (excess(2_000, 3), excess(300_000, 3), excess(300_000, 2));
        // The held-out surprise scatters around its own rate by about 1 / sqrt(100,000).
        assert!(many < 0.01 && many > -0.01, "{many}");
        assert!(few > many + 0.005 && blind > 0.1, "{few} {blind}");
        assert!(excess(300_000, 6) < 0.02, "longer contexts than needed cost little: {}", excess(300_000, 6));
        let uniform = 6.0f64.ln() - rate;
        assert!(uniform > 0.3, "the chain is far from uniform: {uniform}");
    }

    #[test]
    fn small_text_by_hand() {
        // Ring of 0 0 1: bigrams 00, 01, 10, each once. Unigram occurrences 2, 1; continuations 2, 1. Too few counts
        // of counts, so the discounts are 1/2, 1, 3/2 except D1 = 1 - 2 (1/3) (1/1) = 1/3 for unigrams.
        let model = KneserNey::train("tiny", &[0, 0, 1], 2, 2).unwrap();
        let (d1, d2) = (1.0 / 3.0, 1.0);
        let left = (d1 + d2) / 3.0;
        let unigram = [(2.0 - d2) / 3.0 + left / 2.0, (1.0 - d1) / 3.0 + left / 2.0];
        assert!((model.probability(&[], 0) - unigram[0]).abs() < 1e-15);
        assert!((model.probability(&[], 1) - unigram[1]).abs() < 1e-15);
        // Bigrams: n1 = 3, n2 = 0 would give D1 = 1, which is not below the count: half of it.
        assert!((model.probability(&[0], 0) - (0.25 + 0.5 * unigram[0])).abs() < 1e-15);
        assert!((model.probability(&[1], 0) - (0.5 + 0.5 * unigram[0])).abs() < 1e-15);
        assert!((model.probability(&[1], 1) - 0.5 * unigram[1]).abs() < 1e-15);
        let sum = model.probability(&[], 1).ln() + model.probability(&[1], 1).ln() + model.probability(&[1, 1], 0).ln();
        assert!((model.log_prob(&[1, 1, 0]) - sum).abs() < 1e-15);
        assert!((model.perplexity(&[[1, 1, 0]]).value - (-sum / 3.0).exp()).abs() < 1e-14);
    }

    #[test]
    fn sequence_starts_follow_plain_frequencies() {
        // 1 only ever follows 0, so its continuation count says little; at a sequence start its frequency counts.
        let text: Vec<u32> = (0..4000).map(|i| u32::from(i % 2 == 0) * (1 + i % 3)).collect();
        let model = KneserNey::train("alternating", &text, 4, 3).unwrap();
        assert!((model.probability(&[], 0) - 0.5).abs() < 1e-3);
    }

    #[test]
    fn the_hash_names_the_model() {
        let text: Vec<u32> = (0..1000).map(|i| i * i % 7).collect();
        let model = |text: &[u32], order| KneserNey::train("squares", text, 7, order).unwrap();
        assert_eq!(model(&text, 4).sha256(), model(&text, 4).sha256());
        assert_ne!(model(&text, 4).sha256(), model(&text, 3).sha256());
        assert_ne!(model(&text, 4).sha256(), model(&text[..999], 4).sha256());
        assert_eq!((model(&text, 4).name().as_str(), model(&text, 4).sha256().len()), ("kneser-ney-4 on squares", 64));
    }

    #[test]
    fn requests_that_cannot_be_served() {
        let message =
            |text: &[u32], vocabulary, order| KneserNey::train("t", text, vocabulary, order).unwrap_err().to_string();
        assert!(message(&[0; 9], 2, 9).contains("order from 1 to 8"));
        assert!(message(&[0; 9], 50_000, 6).contains("do not fit into 64 bits"));
        assert!(message(&[0; 3], 2, 4).contains("`t` has 3 tokens"));
        assert!(message(&[0, 0, 5, 0], 5, 2).contains("token id 5 at position 2"));
        // 256^8 fills the 64 bits exactly.
        let bytes: Vec<u32> = (0..512).map(|i| i % 256).collect();
        assert!(KneserNey::train("bytes", &bytes, 256, 8).unwrap().log_prob(&bytes) > -512.0 * 256.0f64.ln());
    }
}
