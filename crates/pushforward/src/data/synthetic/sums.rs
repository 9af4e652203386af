//! `sums`: additions with their results, such as `3+9=12` or `42+59=101`.
//!
//! Two operands of `n` digits and a sum of `n + 1`, all padded with zeros, so that every example has `3 n + 3` sites.
//! Every digit of the sum depends on all digits to its right through the carry: a one-step sample is right only if the
//! map has learned the joint distribution.
//!
//! # Examples
//! ```
//! use pushforward::data::synthetic::sums::{SumConfig, Verdict, check};
//! // 3+9=11 is false, 39+=12 is not an equation.
//! assert_eq!(check(&[3, 10, 9, 11, 1, 1]), Verdict::WellFormed);
//! assert_eq!(check(&[3, 9, 10, 11, 1, 2]), Verdict::Malformed);
//! // The operands are 100 equally likely pairs of digits.
//! assert!((SumConfig { digits: 1 }.entropy() - 100f64.ln()).abs() < 1e-12);
//! ```

use serde::{Deserialize, Serialize};

use crate::data::synthetic::rule;
use crate::data::{DataError, Layout, Schema, Splits, Vocabulary, files};

/// The symbols, in the order of their classes.
const SYMBOLS: &str = "0123456789+=";
const PLUS: u32 = 10;
const EQUALS: u32 = 11;

/// Settings of `sums`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SumConfig {
    /// Digits `n` of an operand, 1 to 9. Default 1.
    pub digits: usize,
}

impl Default for SumConfig {
    fn default() -> Self {
        Self { digits: 1 }
    }
}

/// The result of [`check`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not of the form digits, plus, digits, equals, digits.
    Malformed,
    /// Well-formed, but the sum is wrong.
    WellFormed,
    /// Well-formed, and the equation is true.
    Correct,
}

impl SumConfig {
    pub(crate) fn load(&self, seed: u64) -> Result<Splits, DataError> {
        let digits = self.digits;
        if !(1..=9).contains(&digits) {
            return Err(DataError::Setting { key: "digits", problem: format!("{digits}; 1 to 9 are possible") });
        }
        let vocabulary = Vocabulary::Characters(SYMBOLS.chars().collect());
        let schema = Schema { sites: 3 * digits + 3, classes: SYMBOLS.len(), layout: Layout::Text { vocabulary } };
        let operands = 10u64.pow(digits as u32);
        let sha256 = files::sha256_made("sums", self, seed);
        Ok(rule::splits("sums", schema, operands * operands, sha256, seed, move |number, out| {
            assert_eq!(out.len(), 3 * digits + 3, "an example has {} sites", 3 * digits + 3);
            let (a, b) = (number / operands, number % operands);
            write_number(a, &mut out[..digits]);
            out[digits] = PLUS;
            write_number(b, &mut out[digits + 1..2 * digits + 1]);
            out[2 * digits + 1] = EQUALS;
            write_number(a + b, &mut out[2 * digits + 2..]);
        }))
    }

    /// Entropy of an example in nats, `2 n ln 10`.
    pub fn entropy(&self) -> f64 {
        2.0 * self.digits as f64 * 10f64.ln()
    }
}

/// Checks one example, of any number of digits.
pub fn check(example: &[u32]) -> Verdict {
    let Some(digits) = (example.len() / 3).checked_sub(1).filter(|&n| n > 0 && example.len() == 3 * n + 3) else {
        return Verdict::Malformed;
    };
    let (a, rest) = example.split_at(digits);
    let (b, sum) = rest[1..].split_at(digits);
    if rest[0] != PLUS || sum[0] != EQUALS {
        return Verdict::Malformed;
    }
    match (read_number(a), read_number(b), read_number(&sum[1..])) {
        (Some(a), Some(b), Some(sum)) if a + b == sum => Verdict::Correct,
        (Some(_), Some(_), Some(_)) => Verdict::WellFormed,
        _ => Verdict::Malformed,
    }
}

fn write_number(mut value: u64, out: &mut [u32]) {
    for digit in out.iter_mut().rev() {
        *digit = (value % 10) as u32;
        value /= 10;
    }
}

fn read_number(digits: &[u32]) -> Option<u64> {
    digits.iter().try_fold(0, |value, &digit| (digit < 10).then(|| 10 * value + u64::from(digit)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::data::ExampleKey;

    fn example(digits: usize, index: usize) -> Vec<u32> {
        let splits = SumConfig { digits }.load(0).unwrap();
        let mut out = vec![0; splits.schema().sites];
        splits.train.write(ExampleKey { seed: 0, epoch: 0, index }, &mut out);
        out
    }

    #[test]
    fn examples_read_as_equations() {
        let vocabulary = Vocabulary::Characters(SYMBOLS.chars().collect());
        assert_eq!(vocabulary.decode(&example(1, 39)), "3+9=12");
        assert_eq!(vocabulary.decode(&example(1, 12)), "1+2=03");
        assert_eq!(vocabulary.decode(&example(2, 4259)), "42+59=101");
        assert_eq!(check(&vocabulary.encode("3+9=11").unwrap()), Verdict::WellFormed);
        for text in ["3+9+12", "33=9+1", "3+=912", "3+9=1", ""] {
            assert_eq!(check(&vocabulary.encode(text).unwrap()), Verdict::Malformed, "{text}");
        }
        assert!(SumConfig { digits: 10 }.load(0).is_err());
    }

    proptest! {
        #[test]
        fn every_example_is_correct_and_every_wrong_digit_is_found(
            digits in 1usize..=9, index in 0usize..100, site in 0usize..30, shift in 1u32..10,
        ) {
            let mut out = example(digits, index);
            prop_assert_eq!(check(&out), Verdict::Correct);
            let site = site % out.len();
            if out[site] < 10 {
                out[site] = (out[site] + shift) % 10;
                prop_assert_eq!(check(&out), Verdict::WellFormed);
            } else {
                out[site] = shift;
                prop_assert_eq!(check(&out), Verdict::Malformed);
            }
        }
    }
}
