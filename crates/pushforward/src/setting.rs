//! Settings that cannot be used, named by their keys in a recipe.

/// A setting that is out of range, or does not fit the others or the data.
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
    /// The key, from the table that was checked.
    pub key: String,
    /// What it may be, and what was found.
    pub problem: String,
}

impl SettingError {
    /// A problem with the setting of a key.
    pub fn new(key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { key: key.into(), problem: problem.into() }
    }

    /// The same with the key seen from the table around.
    #[must_use]
    pub fn within(self, table: &str) -> Self {
        Self { key: format!("{table}.{}", self.key), ..self }
    }
}

/// Refuses the setting of a key unless a condition holds.
///
/// # Errors
/// If it does not hold.
pub(crate) fn require(holds: bool, key: &str, problem: impl std::fmt::Display) -> Result<(), SettingError> {
    if holds { Ok(()) } else { Err(SettingError::new(key, problem.to_string())) }
}

/// Refuses what does not lie in `[0, 1]`.
pub(crate) fn fraction(key: &str, value: f64) -> Result<(), SettingError> {
    require((0.0..=1.0).contains(&value), key, format_args!("lies in [0, 1], found {value}"))
}

/// Refuses what does not lie in `[0, 1)`.
pub(crate) fn open_fraction(key: &str, value: f64) -> Result<(), SettingError> {
    require((0.0..1.0).contains(&value), key, format_args!("lies in [0, 1), found {value}"))
}

/// Refuses what is not positive or not finite.
pub(crate) fn positive(key: &str, value: f64) -> Result<(), SettingError> {
    require(value.is_finite() && value > 0.0, key, format_args!("is positive, found {value}"))
}

/// Refuses what is negative or not finite.
pub(crate) fn not_negative(key: &str, value: f64) -> Result<(), SettingError> {
    require(value.is_finite() && value >= 0.0, key, format_args!("is not negative, found {value}"))
}
