//! Ranges of the settings of data sets, checked before a set is read or made.

use crate::data::config::DataConfig;
use crate::data::images::grey::Pixels;
use crate::data::sequences::SequenceSplit;
use crate::setting::{SettingError, fraction, not_negative, require, size};

/// Most examples of a set that is made.
const EXAMPLES: usize = 10_000_000;
/// Longest item of a text, in symbols.
const LENGTH: usize = 1 << 20;
/// Most items that a limit or a split may name.
const ITEMS: usize = 1 << 40;

impl DataConfig {
    /// Checks every setting against its range.
    ///
    /// # Errors
    /// Names the key, relative to the table `data`, its allowed values and the value found.
    ///
    /// # Examples
    /// ```
    /// use pushforward::data::DataConfig;
    /// let config: DataConfig = toml::from_str("set = 'glyphs'\nexamples = 1000000000000")?;
    /// assert_eq!(config.validate().unwrap_err().key, "examples");
    /// # Ok::<(), toml::de::Error>(())
    /// ```
    pub fn validate(&self) -> Result<(), SettingError> {
        let optional = |key: &str, value: Option<usize>| size(key, value.unwrap_or(1), 1..=ITEMS);
        let pixels = |pixels: Pixels| match pixels {
            Pixels::Levels(levels) => size("pixels.levels", levels as usize, 2..=256),
            Pixels::Threshold | Pixels::Stochastic => Ok(()),
        };
        match self {
            Self::Glyphs(config) => {
                size("examples", config.examples, 1..=EXAMPLES)?;
                not_negative("noise", config.noise)
            }
            Self::Echo(config) => size("letters", config.letters, 1..=64),
            Self::Sums(config) => size("digits", config.digits, 1..=9),
            Self::Checker(_) | Self::External(_) => Ok(()),
            Self::Prepared(config) => config.of.as_ref().map_or(Ok(()), |of| of.validate()),
            Self::Mnist(config) | Self::FashionMnist(config) | Self::Kmnist(config) => {
                pixels(config.pixels)?;
                size("validation", config.validation, 0..=ITEMS)?;
                optional("limit", config.limit)?;
                not_negative("noise", config.noise)
            }
            Self::Cifar10(config) => {
                size("validation", config.validation, 0..=ITEMS)?;
                optional("limit", config.limit)?;
                not_negative("noise", config.noise)
            }
            Self::ImageFolder(config) => not_negative("noise", config.flip_and_noise().1),
            Self::Text8(config) => size("length", config.length, 1..=LENGTH),
            Self::Text(config) => size("length", config.length, 1..=LENGTH),
            Self::Table(config) => {
                size("bins", config.bins, 2..=65_536)?;
                size("classes", config.classes, 1..=65_536)?;
                optional("limit", config.limit)
            }
            Self::Sequences(config) => {
                size("longest", config.longest, 1..=LENGTH)?;
                size("shortest", config.shortest, 1..=config.longest)?;
                if let SequenceSplit::Clusters(clusters) = config.split {
                    size("split.clusters.k", clusters.k, 1..=64)?;
                    fraction("split.clusters.share", clusters.share)?;
                }
                require(config.motif.as_deref() != Some(""), "motif", "has at least one letter")?;
                optional("limit", config.limit)
            }
            // Their readers check the numbers of atoms and molecules against the data.
            Self::SmallMolecules(_) | Self::Qm9(_) | Self::Zinc250k(_) | Self::Molecules(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_out_of_range_are_named() {
        for (text, key) in [
            ("set = 'glyphs'\nexamples = 0", "examples"),
            ("set = 'glyphs'\nexamples = 1000000000", "examples"),
            ("set = 'glyphs'\nnoise = inf", "noise"),
            ("set = 'echo'\nletters = 1000000000", "letters"),
            ("set = 'sums'\ndigits = 10", "digits"),
            ("set = 'mnist'\nnoise = nan", "noise"),
            ("set = 'mnist'\npixels = { levels = 1 }", "pixels.levels"),
            ("set = 'mnist'\nlimit = 0", "limit"),
            ("set = 'text'\npath = 'a'\nlength = 1000000000000", "length"),
            ("set = 'text8'\nlength = 0", "length"),
            ("set = 'sequences'\npath = 'a'\nlongest = 0", "longest"),
            ("set = 'sequences'\npath = 'a'\nshortest = 0", "shortest"),
            ("set = 'sequences'\npath = 'a'\nsplit = { clusters = { share = 2.0 } }", "split.clusters.share"),
        ] {
            let config: DataConfig = toml::from_str(text).unwrap();
            assert_eq!(config.validate().expect_err(text).key, key, "{text}");
        }
    }
}
