//! `echo`: a word of `w` letters, written twice.
//!
//! The two copies of a letter are two observations of one categorical variable, so the exact flow is known in closed
//! form at any size. With Gaussian source noise `x0` and `x_t = (1 - t) x0 + t onehot(x1)`, the letter at sites `i` and
//! `i + w` has the posterior
//!
//! ```text
//! pi_k(x_t) = softmax_k( t (x_t[i, k] + x_t[i + w, k]) / (1 - t)^2 ),
//! ```
//!
//! Bayes' rule with `log N(x; t e_k, (1 - t)^2 I) = t x_k / (1 - t)^2 + const`, the same for both sites.
//!
//! # Examples
//! ```
//! use pushforward::data::synthetic::echo::EchoConfig;
//! let config = EchoConfig { letters: 1, vocabulary: "ab".into() };
//! assert!((config.entropy() - 2f64.ln()).abs() < 1e-12);
//! // Log-odds t (1 + 1) / (1 - t)^2 = 4 for the second letter, at both sites.
//! let pi = config.posterior(&[0.0, 1.0, 0.0, 1.0], 0.5);
//! assert!(((pi[1] / pi[0]).ln() - 4.0).abs() < 1e-12);
//! assert_eq!(pi[..2], pi[2..]);
//! ```

use serde::{Deserialize, Serialize};

use crate::data::synthetic::rule;
use crate::data::{DataError, Layout, Schema, Splits, Vocabulary, files};

/// Settings of `echo`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EchoConfig {
    /// Letters `w` of the word; an example has `2 w` sites. Default 4.
    pub letters: usize,
    /// The symbols of the letters, all equally likely. Default `"abcdefgh"`.
    pub vocabulary: String,
}

impl Default for EchoConfig {
    fn default() -> Self {
        Self { letters: 4, vocabulary: "abcdefgh".into() }
    }
}

impl EchoConfig {
    pub(crate) fn load(&self, seed: u64) -> Result<Splits, DataError> {
        let symbols: Vec<char> = self.vocabulary.chars().collect();
        let classes = symbols.len();
        let vocabulary = Vocabulary::characters(symbols)?;
        let fail = |problem: &str| Err(DataError::Setting { key: "letters", problem: problem.into() });
        if classes < 2 {
            let problem = "at least two symbols are needed for something to learn".into();
            return Err(DataError::Setting { key: "vocabulary", problem });
        }
        let total = u32::try_from(self.letters).ok().and_then(|w| (classes as u64).checked_pow(w));
        let total = match total {
            _ if self.letters == 0 => return fail("a word has at least one letter"),
            Some(total) => total,
            None => return fail("there are more than 2^64 words; use fewer letters or symbols"),
        };
        let schema = Schema { sites: 2 * self.letters, classes, layout: Layout::Text { vocabulary } };
        let sha256 = files::sha256_made("echo", self, seed);
        let letters = self.letters;
        Ok(rule::splits("echo", schema, total, sha256, seed, move |mut number, out| {
            assert_eq!(out.len(), 2 * letters, "an example has {} sites", 2 * letters);
            for i in 0..letters {
                out[i] = (number % classes as u64) as u32;
                out[i + letters] = out[i];
                number /= classes as u64;
            }
        }))
    }

    /// Entropy of an example in nats, `w ln K`.
    pub fn entropy(&self) -> f64 {
        self.letters as f64 * (self.vocabulary.chars().count() as f64).ln()
    }

    /// The exact posterior of every site given noisy sites at time `t` with Gaussian source noise.
    ///
    /// # Shapes
    /// - `x`: `[2 w * K]`, site by site
    /// - result: the same
    ///
    /// # Panics
    /// If `x` has another size or `t` is not in `[0, 1)`.
    pub fn posterior(&self, x: &[f64], t: f64) -> Vec<f64> {
        let classes = self.vocabulary.chars().count();
        let half = self.letters * classes;
        assert_eq!(x.len(), 2 * half, "x has {} entries, 2 w K = {}", x.len(), 2 * half);
        assert!((0.0..1.0).contains(&t), "t = {t} is not in [0, 1)");
        let precision = t / ((1.0 - t) * (1.0 - t));
        let mut pi: Vec<f64> = (0..half).map(|j| precision * (x[j] + x[j + half])).collect();
        pi.chunks_exact_mut(classes).for_each(softmax);
        pi.extend_from_within(..);
        pi
    }
}

/// Whether the second half of `example` repeats the first.
pub fn is_echo(example: &[u32]) -> bool {
    let (word, again) = example.split_at(example.len() / 2);
    word == again
}

/// Softmax of `logits`, in place.
pub(crate) fn softmax(logits: &mut [f64]) {
    let top = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    logits.iter_mut().for_each(|l| *l = (*l - top).exp());
    let sum: f64 = logits.iter().sum();
    logits.iter_mut().for_each(|l| *l /= sum);
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::data::ExampleKey;
    use crate::rng::{Purpose, stream};

    #[test]
    fn every_word_once_and_every_word_an_echo() {
        let splits = EchoConfig::default().load(0).unwrap();
        assert_eq!(splits.train.len(), 4096);
        let mut words = HashSet::new();
        for index in 0..4096 {
            let mut out = vec![0; 8];
            splits.train.write(ExampleKey { seed: 0, epoch: 0, index }, &mut out);
            assert!(is_echo(&out));
            words.insert(out);
        }
        assert_eq!(words.len(), 4096);
        assert!((EchoConfig::default().entropy() - 4096f64.ln()).abs() < 1e-12);
        assert!(!is_echo(&[0, 1, 0, 2]) && !is_echo(&[0, 1, 1]));
    }

    #[test]
    fn posterior_is_calibrated() {
        // Averaged over data and noise, the posterior of the true letter equals the mean of sum_k pi_k^2.
        let config = EchoConfig { letters: 1, vocabulary: "abc".into() };
        let mut r = stream(2, Purpose::Metric, 0);
        let (t, n) = (0.4, 20_000);
        let (mut hit, mut square) = (0.0, 0.0);
        for _ in 0..n {
            let letter = r.below(3);
            let x: Vec<f64> = (0..6).map(|j| (1.0 - t) * r.normal() + if j % 3 == letter { t } else { 0.0 }).collect();
            let pi = config.posterior(&x, t);
            assert_eq!(pi[..3], pi[3..]);
            hit += pi[letter] / n as f64;
            square += pi[..3].iter().map(|p| p * p).sum::<f64>() / n as f64;
        }
        assert!((hit - square).abs() < 0.01 && hit > 0.45, "{hit} {square}");
        let flat = config.posterior(&[5.0, 0.0, -5.0, 1.0, 2.0, 3.0], 0.0);
        assert!(flat.iter().all(|p| (p - 1.0 / 3.0).abs() < 1e-15));
    }

    #[test]
    fn impossible_settings_are_errors() {
        for (letters, vocabulary, word) in
            [(0, "ab", "at least one"), (64, "abcdefgh", "2^64"), (2, "a", "two symbols"), (2, "aba", "'a'")]
        {
            let message = EchoConfig { letters, vocabulary: vocabulary.into() }.load(0).unwrap_err().to_string();
            assert!(message.contains(word), "{message}");
        }
    }
}
