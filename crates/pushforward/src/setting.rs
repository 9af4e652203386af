//! Errors of settings, named by their keys in a recipe.
//!
//! # Examples
//! ```
//! use pushforward::bijector::FlowConfig;
//!
//! let flow: FlowConfig = toml::from_str("kind = 'maf'\nlayers = 0").expect("the types are right");
//! let error = flow.validate().expect_err("a flow needs layers");
//! assert_eq!(error.within("prior").within("model").key, "model.prior.layers");
//! ```

use std::ops::RangeInclusive;

/// A setting that is out of range, or inconsistent with other settings or with the data.
///
/// # Examples
/// ```
/// use pushforward::setting::SettingError;
/// let error = SettingError::new("heads", "must divide the width, found 3 for 128").within("network").within("model");
/// assert_eq!(error.to_string(), "model.network.heads must divide the width, found 3 for 128");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} {problem}")]
pub struct SettingError {
    /// Path of the key, relative to the table that was checked.
    pub key: String,
    /// What is allowed, and what was found.
    pub problem: String,
}

impl SettingError {
    /// A problem with the setting of a key.
    pub fn new(key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { key: key.into(), problem: problem.into() }
    }

    /// The same error with the key prefixed by the table that contains it.
    #[must_use]
    pub fn within(self, table: &str) -> Self {
        Self { key: format!("{table}.{}", self.key), ..self }
    }
}

/// An error about the setting of a key unless a condition holds.
///
/// # Errors
/// If the condition does not hold.
pub(crate) fn require(holds: bool, key: &str, problem: impl std::fmt::Display) -> Result<(), SettingError> {
    if holds { Ok(()) } else { Err(SettingError::new(key, problem.to_string())) }
}

/// Requires a value in `[0, 1]`.
pub(crate) fn fraction(key: &str, value: f64) -> Result<(), SettingError> {
    require((0.0..=1.0).contains(&value), key, format_args!("lies in [0, 1], found {value}"))
}

/// Requires a value in `[0, 1)`.
pub(crate) fn open_fraction(key: &str, value: f64) -> Result<(), SettingError> {
    require((0.0..1.0).contains(&value), key, format_args!("lies in [0, 1), found {value}"))
}

/// Positive settings: products with them and quotients by them remain finite in float32.
const POSITIVE: RangeInclusive<f64> = 1e-30..=1e30;
/// Largest width of a layer.
pub(crate) const WIDTH: usize = 1 << 16;
/// Largest ratio of a hidden width to the width of its stream.
pub(crate) const EXPANSION: usize = 64;
/// Largest number of layers or blocks of a network.
pub(crate) const DEPTH: usize = 1024;
/// Largest number of items, samples or draws.
pub(crate) const ITEMS: usize = 100_000_000;
/// Largest number of network evaluations per item.
pub(crate) const STEPS: usize = 100_000;

/// Requires a positive value, neither tiny nor huge.
pub(crate) fn positive(key: &str, value: f64) -> Result<(), SettingError> {
    require(POSITIVE.contains(&value), key, format_args!("must be positive, from 1e-30 to 1e30, found {value}"))
}

/// Requires zero or a positive value, neither tiny nor huge.
pub(crate) fn not_negative(key: &str, value: f64) -> Result<(), SettingError> {
    let problem = format_args!("must not be negative; 0 or from 1e-30 to 1e30, found {value}");
    require(value == 0.0 || POSITIVE.contains(&value), key, problem)
}

/// Requires a number of things in a range.
pub(crate) fn size(key: &str, value: usize, range: RangeInclusive<usize>) -> Result<(), SettingError> {
    let (least, most) = (range.start(), range.end());
    let problem = format_args!("must be at least {least} and at most {most}, found {value}");
    require(range.contains(&value), key, problem)
}

/// Requires a width of time features, which come in pairs.
pub(crate) fn pairs_of_features(key: &str, value: usize) -> Result<(), SettingError> {
    size(key, value, 2..=WIDTH)?;
    require(value.is_multiple_of(2), key, format_args!("must be even, found {value}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_refuse_every_extreme() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 1e-45, 1e300] {
            let found = [positive("x", value), not_negative("x", value), fraction("x", value + 2.0)];
            assert!(found.iter().take(2).all(Result::is_err), "{value}");
        }
        assert_eq!((not_negative("x", 0.0), positive("x", 1e-30)), (Ok(()), Ok(())));
        assert!(fraction("x", f64::NAN).is_err() && open_fraction("x", f64::NAN).is_err());
        let message = |value| size("blocks", value, 1..=9).expect_err("out of range").to_string();
        assert_eq!(message(0), "blocks must be at least 1 and at most 9, found 0");
        assert_eq!(message(usize::MAX), format!("blocks must be at least 1 and at most 9, found {}", usize::MAX));
        assert!(pairs_of_features("time_width", 3).is_err() && pairs_of_features("time_width", 0).is_err());
        assert_eq!(pairs_of_features("time_width", 4), Ok(()));
    }
}
