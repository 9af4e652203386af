//! Settings of the classifier.
//!
//! # Examples
//! ```
//! use pushforward::classifier::ClassifierConfig;
//!
//! assert_eq!(ClassifierConfig::default().validate(), Ok(()));
//! let config = ClassifierConfig { channels: 6, ..ClassifierConfig::default() };
//! let error = config.validate().expect_err("not a multiple of 4");
//! assert_eq!(error.key, "channels");
//! ```

use serde::{Deserialize, Serialize};

use crate::setting::SettingError;

/// Number of groups of the group normalisations.
pub(super) const GROUPS: usize = 4;

/// Configuration of a [`Classifier`](super::Classifier).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClassifierConfig {
    /// Channels of the first convolution, a multiple of 4; twice and four times as many in the next two.
    pub channels: usize,
    /// Number of features.
    pub width: usize,
    /// Dropout rate on the features, in training passes.
    pub dropout: f64,
}

impl Default for ClassifierConfig {
    fn default() -> Self {
        Self { channels: 16, width: 64, dropout: 0.2 }
    }
}

impl ClassifierConfig {
    /// Checks every setting against its range.
    ///
    /// # Errors
    /// Names the setting that is out of range, and its allowed values.
    pub fn validate(&self) -> Result<(), SettingError> {
        if self.channels == 0 || !self.channels.is_multiple_of(GROUPS) {
            return Err(SettingError::new(
                "channels",
                format!("= {} must be a positive multiple of {GROUPS}", self.channels),
            ));
        }
        if self.width == 0 {
            return Err(SettingError::new("width", "= 0 leaves no features; use at least 1"));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(SettingError::new("dropout", format!("= {} must lie in [0, 1)", self.dropout)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_typos_are_errors() {
        let parse = |text: &str| toml::from_str::<ClassifierConfig>(text);
        let good = parse("channels = 8").expect("the other settings have defaults");
        assert_eq!((good.channels, good.width), (8, 64));
        assert_eq!(good.validate(), Ok(()));
        for (text, key) in [("channels = 6", "channels"), ("width = 0", "width"), ("dropout = 1.0", "dropout")] {
            let problem =
                parse(text).expect("it is well-formed").validate().expect_err("it is out of range").to_string();
            assert!(problem.starts_with(key), "{problem}");
        }
        assert!(parse("chanels = 8").expect_err("a typo").to_string().contains("channels"));
    }
}
