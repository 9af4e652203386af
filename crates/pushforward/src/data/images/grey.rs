//! Grey images as categorical variables, one per pixel.
//!
//! # Examples
//! ```
//! use pushforward::data::{DataConfig, images::grey::{ImageConfig, Pixels}};
//! let config: DataConfig = toml::from_str("set = 'mnist'\npixels = { levels = 8 }")?;
//! let expected = ImageConfig { pixels: Pixels::Levels(8), ..ImageConfig::default() };
//! assert_eq!(config, DataConfig::Mnist(expected));
//! assert_eq!(Pixels::Levels(8).classes(), 8);
//! # Ok::<(), toml::de::Error>(())
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::data::images::idx;
use crate::data::images::raw::{RawImages, RawSplits};
use crate::data::{DataError, Dataset, ExampleKey, Layout, Schema, Splits, files};

/// Settings of an image set of the MNIST family.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImageConfig {
    /// How a grey value is mapped to a class. Default `"threshold"`.
    pub pixels: Pixels,
    /// Number of images of the training file, the last ones, that form the validation part. Default 5,000.
    pub validation: usize,
    /// Draws the validation part at random with this seed instead. It is independent of the seed of the run, so that
    /// runs with different seeds can be compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split_seed: Option<u64>,
    /// At most this many images in each part. Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Folder with the four files. Default: the set's folder in the data folder, then the data folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Mirrors half of the training images; see [`crate::data::ContinuousImages`]. Default false.
    pub flip: bool,
    /// Standard deviation of noise on the pixels; see [`crate::data::ContinuousImages`]. Default 0.
    pub noise: f64,
}

impl Default for ImageConfig {
    fn default() -> Self {
        Self {
            pixels: Pixels::default(),
            validation: 5_000,
            split_seed: None,
            limit: None,
            path: None,
            flip: false,
            noise: 0.0,
        }
    }
}

/// How a grey value `g` in `0..=255` is mapped to a class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pixels {
    /// Two classes: 1 (light) if `g >= 128`.
    #[default]
    Threshold,
    /// Two classes: 1 (light) with probability `g / 255`. Drawn in every epoch for training, fixed for validation and
    /// test.
    Stochastic,
    /// `K` classes of equal width, 2 to 256: `floor(g K / 256)`.
    Levels(u32),
}

impl Pixels {
    /// Number of classes.
    pub fn classes(self) -> usize {
        match self {
            Self::Threshold | Self::Stochastic => 2,
            Self::Levels(levels) => levels as usize,
        }
    }
}

impl ImageConfig {
    pub(crate) fn read(&self, name: &str, folder: &str, data_dir: &Path) -> Result<RawSplits, DataError> {
        let dirs = files::folders(self.path.as_deref(), folder, data_dir)?;
        let mut splits = idx::mnist_family(name, &dirs, self.validation, self.split_seed)?;
        splits.limit(self.limit)?;
        Ok(splits)
    }
}

/// Grey images as categorical variables. `seed` fixes the held-out draws of [`Pixels::Stochastic`].
pub(crate) fn view(raw: RawSplits, pixels: Pixels, seed: u64) -> Result<Splits, DataError> {
    let classes = pixels.classes();
    if !(2..=256).contains(&classes) {
        return Err(DataError::Setting { key: "pixels", problem: format!("{classes} levels; 2 to 256 are possible") });
    }
    let view = |raw, fixed| -> Arc<dyn Dataset> { Arc::new(ImageSet::new(raw, pixels, fixed)) };
    // The held-out parts need different seeds; any function of the first will do for the second.
    let (train, validation) = (view(raw.train, None), view(raw.validation, Some(seed)));
    let splits = Splits::new(&raw.name, [train, validation, view(raw.test, Some(!seed))], raw.sha256);
    Ok(Splits { label_names: raw.label_names, ..splits })
}

struct ImageSet {
    schema: Schema,
    raw: RawImages,
    pixels: Pixels,
    /// Seed of the draws of a held-out part.
    fixed: Option<u64>,
}

impl ImageSet {
    fn new(raw: RawImages, pixels: Pixels, fixed: Option<u64>) -> Self {
        let layout = Layout::Image { height: raw.height, width: raw.width };
        let schema = Schema { sites: raw.height * raw.width, classes: pixels.classes(), layout };
        Self { schema, raw, pixels, fixed }
    }
}

impl Dataset for ImageSet {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn len(&self) -> usize {
        self.raw.count
    }

    fn write(&self, key: ExampleKey, out: &mut [u32]) {
        let image = self.raw.image(key.index);
        assert_eq!(out.len(), image.len(), "an example has {} sites", image.len());
        let pairs = out.iter_mut().zip(image);
        match self.pixels {
            Pixels::Threshold => pairs.for_each(|(class, &grey)| *class = u32::from(grey >= 128)),
            Pixels::Levels(levels) => pairs.for_each(|(class, &grey)| *class = u32::from(grey) * levels / 256),
            Pixels::Stochastic => {
                let mut draws = self.fixed.map_or(key, |seed| ExampleKey::fixed(seed, key.index)).stream();
                pairs.for_each(|(class, &grey)| *class = u32::from(draws.uniform() * 255.0 < f64::from(grey)));
            }
        }
    }

    fn label(&self, index: usize) -> Option<u32> {
        self.raw.labels.as_ref().map(|labels| u32::from(labels[index]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::DataConfig;

    fn load(config: ImageConfig) -> Result<Splits, DataError> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("fashion_mnist")).unwrap();
        idx::write_family(&dir.path().join("fashion_mnist"), 20, 4);
        DataConfig::FashionMnist(config).load(dir.path(), 1)
    }

    fn example(set: &Arc<dyn Dataset>, epoch: u64, index: usize) -> Vec<u32> {
        let mut out = vec![0; set.schema().sites];
        set.write(ExampleKey { seed: 0, epoch, index }, &mut out);
        out
    }

    #[test]
    fn views_follow_their_formulas() {
        let base = ImageConfig { validation: 5, ..ImageConfig::default() };
        let splits = load(base.clone()).unwrap();
        assert_eq!((splits.train.len(), splits.validation.len(), splits.test.len()), (15, 5, 4));
        // Image 3 holds (18..24) * 7 = 126, 133, ..., 161.
        assert_eq!(example(&splits.train, 0, 3), [0, 1, 1, 1, 1, 1]);
        assert_eq!((splits.train.label(3), splits.validation.label(0)), (Some(3), Some(5)));
        let levels = load(ImageConfig { pixels: Pixels::Levels(256), ..base.clone() }).unwrap();
        assert_eq!(example(&levels.train, 0, 3), [126, 133, 140, 147, 154, 161]);
        let levels = load(ImageConfig { pixels: Pixels::Levels(4), limit: Some(4), ..base.clone() }).unwrap();
        assert_eq!(example(&levels.train, 0, 3), [1, 2, 2, 2, 2, 2]);
        assert_eq!((levels.train.len(), levels.schema().classes), (4, 4));
        assert!(
            load(ImageConfig { pixels: Pixels::Levels(1), ..base.clone() }).unwrap_err().to_string().contains("256")
        );
        assert!(load(ImageConfig { limit: Some(0), ..base }).unwrap_err().to_string().contains("limit"));
    }

    #[test]
    fn stochastic_pixels_have_the_right_mean_and_are_fixed_when_held_out() {
        let config = ImageConfig { pixels: Pixels::Stochastic, validation: 5, ..ImageConfig::default() };
        let splits = load(config).unwrap();
        let epochs = 4_000;
        let mut mean = [0.0; 6];
        for epoch in 0..epochs {
            let example = example(&splits.train, epoch, 3);
            mean.iter_mut().zip(example).for_each(|(m, class)| *m += f64::from(class) / epochs as f64);
        }
        for (i, m) in mean.iter().enumerate() {
            assert!((m - (18 + i) as f64 * 7.0 / 255.0).abs() < 0.04, "{mean:?}");
        }
        assert_eq!(example(&splits.train, 1, 3), example(&splits.train, 1, 3));
        assert!((0..4).all(|i| example(&splits.test, 0, i) == example(&splits.test, 7, i)));
    }
}
