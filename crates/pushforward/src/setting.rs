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

/// Requires a positive, finite value.
pub(crate) fn positive(key: &str, value: f64) -> Result<(), SettingError> {
    require(value.is_finite() && value > 0.0, key, format_args!("must be positive, found {value}"))
}

/// Requires a finite value that is not negative.
pub(crate) fn not_negative(key: &str, value: f64) -> Result<(), SettingError> {
    require(value.is_finite() && value >= 0.0, key, format_args!("must not be negative, found {value}"))
}
