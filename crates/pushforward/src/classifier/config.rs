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

use crate::nn::count::{conv, linear, norm};
use crate::nn::{Arrangement, SiteShape};
use crate::setting::{SettingError, WIDTH, open_fraction, size};

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
        size("channels", self.channels, 1..=WIDTH)?;
        if !self.channels.is_multiple_of(GROUPS) {
            return Err(SettingError::new(
                "channels",
                format!("= {} must be a positive multiple of {GROUPS}", self.channels),
            ));
        }
        size("width", self.width, 1..=WIDTH)?;
        open_fraction("dropout", self.dropout)
    }
}

impl ClassifierConfig {
    /// Number of parameters for items of a shape; `None` if they are neither images nor sequences.
    pub fn parameters(&self, sites: &SiteShape, labels: usize) -> Option<u128> {
        let (c, (planes, [height, width])) = (self.channels, planes_of(sites)?);
        let convolutions = conv(planes, c, 5) + conv(c, 2 * c, 3) + conv(2 * c, 2 * c, 3) + conv(2 * c, 4 * c, 3);
        let norms = norm(c) + 2 * norm(2 * c) + norm(4 * c) + norm(self.width);
        let features = linear(4 * c * height.div_ceil(8) * width.div_ceil(8), self.width);
        Some(convolutions + norms + features + linear(self.width, labels))
    }
}

/// Number of channels, height and width of an item; `None` if it is neither an image nor a sequence of at least two letters.
pub(super) fn planes_of(sites: &SiteShape) -> Option<(usize, [usize; 2])> {
    match sites.arrangement {
        Arrangement::Grid(grid) => Some((1, grid)),
        // A single letter would be taken for a grey level.
        Arrangement::Record if sites.classes > 1 => Some((sites.classes, [1, sites.count])),
        _ => None,
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
