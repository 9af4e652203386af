//! `glyphs`: digits drawn as strokes in a random pose, 16 x 16 pixels, with an exact check of samples.
//!
//! # Examples
//! ```
//! use std::path::Path;
//! use pushforward::data::{DataConfig, ExampleKey, synthetic::glyphs};
//! let test = DataConfig::Glyphs(glyphs::GlyphConfig::default()).load(Path::new("unused"), 0)?.test;
//! let mut image = vec![0; 16 * 16];
//! test.write(ExampleKey { seed: 0, epoch: 0, index: 3 }, &mut image);
//! let found = glyphs::classify(&image);
//! assert_eq!(Some(found.class), test.label(3));
//! assert!(glyphs::is_valid(&image) && found.distance <= glyphs::VALID_DISTANCE);
//! # Ok::<(), pushforward::data::DataError>(())
//! ```

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::data::images::raw::{RawImages, RawSplits};
use crate::data::synthetic::strokes::{self, PIXELS, Pose, SIDE};
use crate::data::{DataError, Dataset, ExampleKey, Layout, Schema, Splits, files};
use crate::rng::{Purpose, stream};

pub use crate::data::synthetic::classify::{Match, VALID_DISTANCE, classify, is_valid};

/// Number of digits.
pub const CLASSES: usize = 10;

/// Number of glyphs in the validation and in the test part.
const HELD_OUT: usize = 5_000;

/// Settings of `glyphs`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GlyphConfig {
    /// Number of training glyphs. Default 50,000. Validation and test have 5,000 others each.
    pub examples: usize,
    /// Standard deviation of noise on the grey pixels; see [`crate::data::ContinuousImages`]. Default 0.
    pub noise: f64,
}

impl Default for GlyphConfig {
    fn default() -> Self {
        Self { examples: 50_000, noise: 0.0 }
    }
}

/// Index of the first glyph and number of glyphs of each part. Held-out glyphs have the first indices, so that they do
/// not depend on the number of examples.
fn parts(config: &GlyphConfig) -> Result<[(usize, usize); 3], DataError> {
    if config.examples == 0 {
        return Err(DataError::Setting { key: "examples", problem: "0 leaves nothing to train on".into() });
    }
    Ok([(2 * HELD_OUT, config.examples), (0, HELD_OUT), (HELD_OUT, HELD_OUT)])
}

impl GlyphConfig {
    pub(crate) fn load(&self, seed: u64) -> Result<Splits, DataError> {
        let layout = Layout::Image { height: SIDE, width: SIDE };
        let schema = Schema { sites: PIXELS, classes: 2, layout };
        let part =
            |(first, len)| -> Arc<dyn Dataset> { Arc::new(GlyphSet { schema: schema.clone(), seed, first, len }) };
        let [train, validation, test] = parts(self)?.map(part);
        Ok(Splits::new("glyphs", [train, validation, test], self.sha256("glyphs", seed)))
    }

    /// The same glyphs in grey, anti-aliased.
    pub(crate) fn grey(&self, seed: u64) -> Result<RawSplits, DataError> {
        let [train, validation, test] = parts(self)?.map(|(first, len)| RawImages {
            pixels: (first..first + len).flat_map(|number| grey(seed, number)).collect(),
            labels: Some((first..first + len).map(|number| class(number) as u8).collect()),
            count: len,
            channels: 1,
            height: SIDE,
            width: SIDE,
        });
        Ok(RawSplits {
            name: "glyphs".into(),
            train,
            validation,
            test,
            sha256: self.sha256("grey glyphs", seed),
            label_names: Vec::new(),
        })
    }

    fn sha256(&self, name: &str, seed: u64) -> String {
        // Noise is added when examples are read and is not part of the set.
        files::sha256_made(name, &serde_json::json!({ "examples": self.examples }), seed)
    }
}

struct GlyphSet {
    schema: Schema,
    seed: u64,
    first: usize,
    len: usize,
}

impl Dataset for GlyphSet {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn len(&self) -> usize {
        self.len
    }

    fn write(&self, key: ExampleKey, out: &mut [u32]) {
        assert!(key.index < self.len, "glyph {} of {}", key.index, self.len);
        assert_eq!(out.len(), PIXELS, "a glyph has {PIXELS} sites");
        let cover = cover(self.seed, self.first + key.index);
        out.iter_mut().zip(cover).for_each(|(pixel, cover)| *pixel = u32::from(cover >= 0.5));
    }

    fn label(&self, index: usize) -> Option<u32> {
        Some(class(self.first + index) as u32)
    }
}

/// Grey levels of glyph number `number` of `seed`, 0 to 255 per pixel.
fn grey(seed: u64, number: usize) -> [u8; PIXELS] {
    cover(seed, number).map(|cover| (255.0 * cover).round() as u8)
}

fn cover(seed: u64, number: usize) -> [f32; PIXELS] {
    let pose = Pose::draw(&mut stream(seed, Purpose::Synthesis, number as u64));
    strokes::draw(class(number), &pose)
}

/// Classes alternate, so that every part is balanced.
fn class(number: usize) -> usize {
    number % CLASSES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grey_and_binary_glyphs_are_the_same_drawing() {
        let config = GlyphConfig { examples: 100, ..GlyphConfig::default() };
        let (binary, raw) = (config.load(3).unwrap(), config.grey(3).unwrap());
        assert_eq!((raw.train.count, raw.test.count), (100, HELD_OUT));
        for index in 0..100 {
            let mut out = vec![0; PIXELS];
            binary.train.write(ExampleKey { seed: 0, epoch: 0, index }, &mut out);
            assert_eq!(binary.train.label(index), Some(u32::from(raw.train.labels.as_ref().unwrap()[index])));
            let light = |&grey: &u8| u32::from(grey >= 128);
            assert_eq!(out, raw.train.image(index).iter().map(light).collect::<Vec<_>>());
        }
        let greys = raw.train.pixels.iter().filter(|&&g| g > 0 && g < 255).count();
        assert!(greys > 1_000, "anti-aliased edges: {greys}");
    }

    #[test]
    fn glyphs_differ_and_held_out_ones_do_not_depend_on_the_number_of_examples() {
        let config = GlyphConfig { examples: 500, noise: 0.5 };
        let raw = config.grey(0).unwrap();
        let all: std::collections::HashSet<&[u8]> = (0..500).map(|i| raw.train.image(i)).collect();
        assert_eq!(all.len(), 500);
        assert_eq!(raw.test, GlyphConfig { examples: 20, ..config.clone() }.grey(0).unwrap().test);
        assert_ne!(raw.test, config.grey(1).unwrap().test);
        let quiet = GlyphConfig { noise: 0.0, ..config.clone() }.grey(0).unwrap();
        assert!(raw.train == quiet.train && raw.sha256 == quiet.sha256, "noise is laid over the glyphs");
        assert!(GlyphConfig { examples: 0, ..config.clone() }.load(0).is_err());
    }
}
