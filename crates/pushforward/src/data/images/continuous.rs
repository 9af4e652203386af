//! Images as points of `[0, 1]^n`: 8-bit images dequantised, optionally mirrored and with noise.
//!
//! # Examples
//! ```
//! use pushforward::data::images::continuous::{dequantize, quantize};
//! for pixel in 0..=255 {
//!     assert_eq!(quantize(dequantize(pixel, 0.999)), pixel);
//! }
//! assert_eq!([-1.0, 1.0].map(quantize), [0, 255]);
//! ```

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::data::images::raw::draw;
use crate::data::{DataConfig, DataError, ExampleKey, RawImages};
use crate::hash::sha256;

/// Dequantises an 8-bit pixel: a point of its interval of width 1/256.
///
/// ```text
/// x' = (pixel + u) / 256,    u in [0, 1)
/// ```
///
/// Rounding to f32 stays inside the interval: `x'` is below 1, and [`quantize`] inverts it.
///
/// Reference: Theis, van den Oord, Bethge, "A note on the evaluation of generative models" (2016), arXiv 1511.01844.
pub fn dequantize(pixel: u8, u: f64) -> f32 {
    let next = (f32::from(pixel) + 1.0) / 256.0;
    (((f64::from(pixel) + u) / 256.0) as f32).min(next.next_down())
}

/// The 8-bit pixel in whose interval `x` lies, `floor(256 x)`, clamped to `0..=255`. NaN gives 0.
pub fn quantize(x: f32) -> u8 {
    // The cast truncates towards zero and saturates.
    (256.0 * x) as u8
}

/// Images for models of continuous data.
///
/// Example `i` of an epoch is, with `u` uniform in `[0, 1)`, `n` standard normal and every draw from the stream of its
/// [`ExampleKey`],
///
/// ```text
/// x' = (pixel + u) / 256                     see `dequantize`
/// x  = clamp(x' + noise n, 0, 1)             if noise > 0
/// ```
///
/// mirrored left to right with probability 1/2 if `flip` is set. Held-out images have fixed draws, the same in every
/// epoch, and are never mirrored.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use pushforward::data::{ContinuousImages, ExampleKey, RawImages, images::continuous::quantize};
/// let raw = RawImages { pixels: vec![0, 128, 255, 7], labels: None, count: 1, channels: 1, height: 2, width: 2 };
/// let images = ContinuousImages::training(Arc::new(raw.clone()), false, 0.0);
/// let x = images.batch(&[ExampleKey { seed: 0, epoch: 0, index: 0 }]);
/// assert_eq!(x.into_iter().map(quantize).collect::<Vec<_>>(), raw.pixels);
/// ```
#[derive(Clone)]
pub struct ContinuousImages {
    images: Arc<RawImages>,
    flip: bool,
    noise: f64,
    /// Seed of the draws of a held-out part.
    fixed: Option<u64>,
}

impl ContinuousImages {
    /// Training images, with new draws in every epoch.
    ///
    /// # Panics
    /// If `noise` is negative or not finite.
    pub fn training(images: Arc<RawImages>, flip: bool, noise: f64) -> Self {
        check(noise).unwrap_or_else(|error| panic!("{error}"));
        Self { images, flip, noise, fixed: None }
    }

    /// Held-out images, the same in every epoch; `seed` determines the draws.
    ///
    /// # Panics
    /// If `noise` is negative or not finite.
    pub fn held_out(images: Arc<RawImages>, noise: f64, seed: u64) -> Self {
        Self { fixed: Some(seed), ..Self::training(images, false, noise) }
    }

    /// The same images, dequantised and mirrored with the same draws, without noise.
    pub fn clean(&self) -> Self {
        Self { noise: 0.0, ..self.clone() }
    }

    /// The images as stored.
    pub fn raw(&self) -> &RawImages {
        &self.images
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.images.count
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.images.count == 0
    }

    /// `[channels, height, width]` of an image.
    pub fn shape(&self) -> [usize; 3] {
        self.images.shape()
    }

    /// The class of image `index`; `None` if the set has no labels.
    pub fn label(&self, index: usize) -> Option<u32> {
        self.images.labels.as_ref().map(|labels| u32::from(labels[index]))
    }

    /// Writes image `key.index` into `out`, `[channels, height, width]`.
    ///
    /// # Panics
    /// If there is no such image, or `out` has another size.
    pub fn write(&self, key: ExampleKey, out: &mut [f32]) {
        let image = self.images.image(key.index);
        assert_eq!(out.len(), image.len(), "an image of shape {:?} has {} values", self.shape(), image.len());
        let mut draws = self.fixed.map_or(key, |seed| ExampleKey::fixed(seed, key.index)).stream();
        let mirrored = self.flip && draws.uniform() < 0.5;
        let width = self.images.width;
        for (out, row) in out.chunks_exact_mut(width).zip(image.chunks_exact(width)) {
            for (column, x) in out.iter_mut().enumerate() {
                let pixel = row[if mirrored { width - 1 - column } else { column }];
                *x = dequantize(pixel, draws.uniform());
            }
        }
        // After all draws of `u`, so that `clean` has the same ones.
        if self.noise > 0.0 {
            out.iter_mut().for_each(|x| *x = (f64::from(*x) + self.noise * draws.normal()).clamp(0.0, 1.0) as f32);
        }
    }

    /// The images of `keys` in their order, `[keys, channels, height, width]`.
    ///
    /// # Panics
    /// As [`ContinuousImages::write`].
    pub fn batch(&self, keys: &[ExampleKey]) -> Vec<f32> {
        let size = self.shape().iter().product();
        let mut out = vec![0.0; keys.len() * size];
        keys.iter().zip(out.chunks_exact_mut(size)).for_each(|(key, image)| self.write(*key, image));
        out
    }
}

/// The three parts of an image set, for models of continuous data.
#[derive(Clone)]
pub struct ContinuousSplits {
    /// Name of the set, as in a recipe.
    pub name: String,
    /// Images to train on.
    pub train: ContinuousImages,
    /// Images for choices during training, such as which weights to keep.
    pub validation: ContinuousImages,
    /// Images for reported results.
    pub test: ContinuousImages,
    /// SHA-256 of the source files as stored or, for a synthetic set, of its settings and seed.
    pub sha256: String,
}

impl ContinuousSplits {
    /// Images of the caller's own in a random order, 90 % of them to train, 5 % to validate and 5 % to test; `seed`
    /// determines the order and the draws of held-out images.
    ///
    /// # Errors
    /// If a part would be empty.
    ///
    /// # Examples
    /// ```
    /// use pushforward::data::{ContinuousSplits, RawImages};
    /// let images = RawImages { pixels: vec![7; 240], labels: None, count: 60, channels: 1, height: 2, width: 2 };
    /// let splits = ContinuousSplits::of_images(&images, "mine", 0)?;
    /// assert_eq!([splits.train.len(), splits.validation.len(), splits.test.len()], [54, 3, 3]);
    /// # Ok::<(), pushforward::data::DataError>(())
    /// ```
    pub fn of_images(images: &RawImages, name: &str, seed: u64) -> Result<Self, DataError> {
        let count = images.count;
        if count < 3 {
            let problem = format!("{count} images cannot be split into three parts");
            return Err(DataError::Setting { key: "images", problem });
        }
        let held_out = (count / 20).max(1);
        let (train, rest) = draw(count, 2 * held_out, seed, 0);
        // The numbers of a draw are in ascending order: which of them validate is drawn again.
        let (test, validation) = draw(rest.len(), held_out, seed, 1);
        let part = |of: &[usize]| Arc::new(images.select(of));
        let of_rest = |places: &[usize]| part(&places.iter().map(|&place| rest[place]).collect::<Vec<_>>());
        let shape: Vec<u8> = images.shape().iter().flat_map(|size| (*size as u64).to_le_bytes()).collect();
        Ok(Self {
            name: name.to_owned(),
            train: ContinuousImages::training(part(&train), false, 0.0),
            validation: ContinuousImages::held_out(of_rest(&validation), 0.0, seed),
            test: ContinuousImages::held_out(of_rest(&test), 0.0, !seed),
            sha256: sha256([&shape[..], &images.pixels]),
        })
    }
}

impl fmt::Debug for ContinuousSplits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContinuousSplits")
            .field("name", &self.name)
            .field("shape", &self.train.shape())
            .field("examples", &[self.train.len(), self.validation.len(), self.test.len()])
            .field("sha256", &self.sha256)
            .finish()
    }
}

impl DataConfig {
    /// The images of the set for models of continuous data. `seed` determines the content of synthetic sets and the
    /// draws of held-out images.
    ///
    /// # Errors
    /// As [`DataConfig::raw`]; also if `noise` is negative or not finite.
    pub fn continuous(&self, data_dir: &Path, seed: u64) -> Result<ContinuousSplits, DataError> {
        let (flip, noise) = self.flip_and_noise();
        check(noise)?;
        let raw = self.raw(data_dir, seed)?;
        let [train, validation, test] = [raw.train, raw.validation, raw.test].map(Arc::new);
        Ok(ContinuousSplits {
            name: raw.name,
            train: ContinuousImages::training(train, flip, noise),
            validation: ContinuousImages::held_out(validation, noise, seed),
            // A seed other than that of validation: any function of it.
            test: ContinuousImages::held_out(test, noise, !seed),
            sha256: raw.sha256,
        })
    }

    /// Refuses settings that a categorical view would ignore.
    pub(in crate::data) fn refuse_continuous_settings(&self) -> Result<(), DataError> {
        let key = match self.flip_and_noise() {
            (true, _) => "flip",
            (_, noise) if noise != 0.0 => "noise",
            _ => return Ok(()),
        };
        let problem = "only models of continuous images take it; leave it out for a categorical model".into();
        Err(DataError::Setting { key, problem })
    }

    fn flip_and_noise(&self) -> (bool, f64) {
        match self {
            Self::Glyphs(config) => (false, config.noise),
            Self::Mnist(config) | Self::FashionMnist(config) | Self::Kmnist(config) => (config.flip, config.noise),
            Self::Cifar10(config) => (config.flip, config.noise),
            Self::ImageFolder(config) => config.flip_and_noise(),
            Self::Echo(_)
            | Self::Sums(_)
            | Self::Checker(_)
            | Self::Text8(_)
            | Self::Text(_)
            | Self::SmallMolecules(_)
            | Self::Qm9(_)
            | Self::Zinc250k(_)
            | Self::Molecules(_)
            | Self::Table(_)
            | Self::Sequences(_)
            | Self::Prepared(_)
            | Self::External(_) => (false, 0.0),
        }
    }
}

fn check(noise: f64) -> Result<(), DataError> {
    if noise.is_finite() && noise >= 0.0 {
        return Ok(());
    }
    let problem = format!("{noise}; a standard deviation from 0 on, where black is 0 and white is 1, is possible");
    Err(DataError::Setting { key: "noise", problem })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two colour images of 2 x 3 pixels.
    fn images() -> Arc<RawImages> {
        let pixels = (0..36).map(|i| i * 7).collect();
        Arc::new(RawImages { pixels, labels: Some(vec![4, 9]), count: 2, channels: 3, height: 2, width: 3 })
    }

    fn key(epoch: u64, index: usize) -> ExampleKey {
        ExampleKey { seed: 5, epoch, index }
    }

    fn write(images: &ContinuousImages, key: ExampleKey) -> Vec<f32> {
        images.batch(&[key])
    }

    fn pixels(x: &[f32]) -> Vec<u8> {
        x.iter().copied().map(quantize).collect()
    }

    #[test]
    fn dequantised_pixels_stay_in_their_interval() {
        for pixel in 0..=255 {
            assert_eq!(dequantize(pixel, 0.0), f32::from(pixel) / 256.0);
            for u in [0.0, 0.5, 1.0 - f64::EPSILON / 2.0] {
                let x = dequantize(pixel, u);
                assert_eq!(quantize(x), pixel);
                assert!(x < 1.0);
            }
        }
        assert_eq!([-0.1, 1.0, 1.7, f32::NAN].map(quantize), [0, 255, 255, 0]);
    }

    #[test]
    fn dequantisation_is_uniform_and_a_function_of_the_visit() {
        let set = ContinuousImages::training(images(), false, 0.0);
        assert_eq!((set.len(), set.shape(), set.label(1)), (2, [3, 2, 3], Some(9)));
        let epochs = 2_000;
        let (mut sum, mut squares) = (0.0, 0.0);
        for epoch in 0..epochs {
            let x = write(&set, key(epoch, 1));
            assert_eq!(pixels(&x), images().image(1));
            for (x, pixel) in x.iter().zip(images().image(1)) {
                let u = f64::from(*x) * 256.0 - f64::from(*pixel);
                sum += u;
                squares += u * u;
            }
        }
        let n = (epochs * 18) as f64;
        let (mean, variance) = (sum / n, squares / n - (sum / n).powi(2));
        assert!((mean - 0.5).abs() < 0.007 && (variance - 1.0 / 12.0).abs() < 0.002, "{mean} {variance}");
        assert_eq!(write(&set, key(3, 0)), write(&set, key(3, 0)));
        assert_ne!(write(&set, key(3, 0)), write(&set, key(4, 0)));
        assert_eq!(set.batch(&[key(1, 1), key(0, 0)]), [write(&set, key(1, 1)), write(&set, key(0, 0))].concat());
    }

    #[test]
    fn half_of_the_visits_mirror_every_row_of_every_plane() {
        let set = ContinuousImages::training(images(), true, 0.0);
        let mirror: Vec<u8> = images().image(0).chunks(3).flat_map(|row| [row[2], row[1], row[0]]).collect();
        let mut flips = 0;
        for epoch in 0..1_000 {
            let seen = pixels(&write(&set, key(epoch, 0)));
            assert!(seen == mirror || seen == images().image(0));
            flips += u32::from(seen == mirror);
        }
        assert!((430..570).contains(&flips), "{flips}");
    }

    #[test]
    fn noise_has_its_deviation_and_is_laid_over_the_same_image() {
        let middle = RawImages { pixels: vec![128; 36], ..(*images()).clone() };
        let set = ContinuousImages::training(Arc::new(middle), true, 0.1);
        let (mut sum, mut squares, epochs) = (0.0, 0.0, 2_000);
        for epoch in 0..epochs {
            let (noisy, clean) = (write(&set, key(epoch, 0)), write(&set.clean(), key(epoch, 0)));
            assert!(clean.iter().all(|x| quantize(*x) == 128));
            for (noisy, clean) in noisy.iter().zip(&clean) {
                let e = f64::from(noisy - clean);
                sum += e;
                squares += e * e;
            }
        }
        let n = (epochs * 18) as f64;
        let (mean, deviation) = (sum / n, (squares / n).sqrt());
        assert!(mean.abs() < 0.003 && (deviation - 0.1).abs() < 0.002, "{mean} {deviation}");
        let loud = ContinuousImages::training(images(), false, 2.0);
        let x: Vec<f32> = (0..20).flat_map(|epoch| write(&loud, key(epoch, 0))).collect();
        assert!(x.iter().all(|x| (0.0..=1.0).contains(x)) && x.contains(&0.0) && x.contains(&1.0));
        // Mirrored images have their clean ones mirrored too.
        let (faint, epochs) = (ContinuousImages::training(images(), true, 1e-6), 0..20);
        for epoch in epochs {
            let (noisy, clean) = (write(&faint, key(epoch, 0)), write(&faint.clean(), key(epoch, 0)));
            assert!(noisy.iter().zip(clean).all(|(a, b)| (a - b).abs() < 1e-4));
        }
    }

    #[test]
    fn held_out_images_do_not_change_and_are_not_mirrored() {
        let set = ContinuousImages::held_out(images(), 0.3, 8);
        assert_eq!(write(&set, key(0, 1)), write(&set, ExampleKey { seed: 77, epoch: 12, index: 1 }));
        assert_ne!(write(&set, key(0, 1)), write(&ContinuousImages::held_out(images(), 0.3, 9), key(0, 1)));
        assert_eq!(pixels(&write(&set.clean(), key(0, 1))), images().image(1));
    }

    #[test]
    fn recipes_give_three_parts_with_their_settings() {
        let parse = |text: &str| toml::from_str::<DataConfig>(text).unwrap();
        let load = |text: &str| parse(text).continuous(Path::new("unused"), 1);
        let splits = load("set = 'glyphs'\nexamples = 20\nnoise = 0.25").unwrap();
        assert_eq!((splits.train.shape(), splits.train.len(), splits.test.len()), ([1, 16, 16], 20, 5_000));
        assert_ne!(write(&splits.train, key(0, 0)), write(&splits.train, key(1, 0)));
        for part in [&splits.validation, &splits.test] {
            assert_eq!(write(part, key(0, 0)), write(part, key(1, 0)));
            assert_ne!(write(part, key(0, 0)), write(&part.clean(), key(0, 0)));
        }
        for noise in ["-1.0", "nan", "inf"] {
            let error = load(&format!("set = 'glyphs'\nnoise = {noise}")).expect_err("no deviation").to_string();
            assert!(error.contains("noise") && error.contains("deviation"), "{error}");
        }
        assert!(load("set = 'echo'").expect_err("a text").to_string().contains("holds no images"));
        for (text, key) in [("set = 'glyphs'\nnoise = 0.1", "`noise`"), ("set = 'mnist'\nflip = true", "`flip`")] {
            let error = parse(text).load(Path::new("unused"), 0).unwrap_err().to_string();
            assert!(error.contains(key) && error.contains("continuous"), "{error}");
        }
    }

    #[test]
    #[should_panic(expected = "standard deviation")]
    fn a_negative_deviation_is_no_noise() {
        ContinuousImages::held_out(images(), -0.1, 0);
    }

    #[test]
    #[should_panic(expected = "an image of shape [3, 2, 3] has 18 values")]
    fn a_slice_of_another_size_is_refused() {
        ContinuousImages::held_out(images(), 0.0, 0).write(key(0, 0), &mut [0.0; 17]);
    }

    #[test]
    fn images_of_ones_own_are_in_one_part_each() {
        let pixels = (0..100).flat_map(|i| [i, i, i]).collect();
        let labels = Some((0..100).collect());
        let images = RawImages { pixels, labels, count: 100, channels: 3, height: 1, width: 1 };
        let splits = ContinuousSplits::of_images(&images, "mine", 3).unwrap();
        let mut seen = Vec::new();
        for part in [&splits.train, &splits.validation, &splits.test] {
            (0..part.len()).for_each(|i| {
                assert_eq!(part.label(i), Some(u32::from(part.raw().image(i)[2])));
                seen.push(part.raw().image(i)[0]);
            });
        }
        seen.sort_unstable();
        assert_eq!((seen, splits.test.len(), splits.train.shape()), ((0..100).collect(), 5, [3, 1, 1]));
        let other = ContinuousSplits::of_images(&images, "mine", 4).unwrap();
        assert!(other.test.raw() != splits.test.raw() && other.sha256 == splits.sha256);
        let two = RawImages { pixels: vec![0; 2], labels: None, count: 2, channels: 1, height: 1, width: 1 };
        assert!(ContinuousSplits::of_images(&two, "mine", 0).unwrap_err().to_string().contains("2 images"));
    }
}
