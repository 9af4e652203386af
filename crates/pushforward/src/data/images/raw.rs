//! Images of 8-bit pixels in memory, and their division into parts.

use crate::data::DataError;
use crate::rng::{Purpose, stream};

/// Images of 8-bit pixels, for models of continuous data and for the categorical views in
/// [`images::grey`](crate::data::images::grey).
///
/// # Examples
/// ```
/// use pushforward::data::RawImages;
/// // Two colour images of 1 x 2 pixels, plane by plane.
/// let images = RawImages { pixels: (0..12).collect(), labels: None, count: 2, channels: 3, height: 1, width: 2 };
/// assert_eq!(images.shape(), [3, 1, 2]);
/// assert_eq!(images.image(1), [6, 7, 8, 9, 10, 11]);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct RawImages {
    /// `[count, channels, height, width]`, row-major: images are concatenated planes, a plane is its rows from the top.
    pub pixels: Vec<u8>,
    /// One class per image.
    pub labels: Option<Vec<u8>>,
    /// Number of images.
    pub count: usize,
    /// Planes: 1 for grey, 3 for red, green and blue.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

/// The three parts of an image set.
#[derive(Clone, Debug)]
pub struct RawSplits {
    /// Name of the set, as in a recipe.
    pub name: String,
    /// Images to train on.
    pub train: RawImages,
    /// Images for choices during training, such as which weights to keep.
    pub validation: RawImages,
    /// Images for reported results.
    pub test: RawImages,
    /// SHA-256 of the source files as stored or, for a synthetic set, of its settings and seed.
    pub sha256: String,
    /// What each label stands for, where the data say it.
    pub label_names: Vec<String>,
}

impl RawImages {
    /// `[channels, height, width]` of every image.
    pub fn shape(&self) -> [usize; 3] {
        [self.channels, self.height, self.width]
    }

    /// The pixels of image `index`, `[channels, height, width]`.
    ///
    /// # Panics
    /// If there is no such image.
    pub fn image(&self, index: usize) -> &[u8] {
        let size = self.size();
        &self.pixels[index * size..(index + 1) * size]
    }

    fn size(&self) -> usize {
        self.shape().iter().product()
    }

    /// Removes and returns the images from index `at` on.
    fn split_off(&mut self, at: usize) -> Self {
        let tail = Self {
            pixels: self.pixels.split_off(at * self.size()),
            labels: self.labels.as_mut().map(|labels| labels.split_off(at)),
            count: self.count - at,
            ..*self
        };
        self.count = at;
        tail
    }

    pub(super) fn select(&self, indices: &[usize]) -> Self {
        Self {
            pixels: indices.iter().flat_map(|&index| self.image(index)).copied().collect(),
            labels: self.labels.as_ref().map(|labels| indices.iter().map(|&index| labels[index]).collect()),
            count: indices.len(),
            ..*self
        }
    }

    /// Removes and returns the validation part of the images of a training file: the last `count` or, with a seed,
    /// `count` random ones. Both parts keep the order of the file.
    pub(super) fn hold_out(&mut self, count: usize, seed: Option<u64>) -> Result<Self, DataError> {
        if count == 0 || count >= self.count {
            let problem = format!("{count}; 1 to {} are possible with this training file", self.count - 1);
            return Err(DataError::Setting { key: "validation", problem });
        }
        let Some(seed) = seed else { return Ok(self.split_off(self.count - count)) };
        let (rest, held) = draw(self.count, count, seed, 0);
        let held = self.select(&held);
        *self = self.select(&rest);
        Ok(held)
    }
}

impl RawSplits {
    /// Keeps at most the first `limit` images of each part.
    pub(super) fn limit(&mut self, limit: Option<usize>) -> Result<(), DataError> {
        let Some(limit) = limit else { return Ok(()) };
        check_limit(limit)?;
        for part in [&mut self.train, &mut self.validation, &mut self.test] {
            if limit < part.count {
                part.split_off(limit);
            }
        }
        Ok(())
    }
}

pub(super) fn check_limit(limit: usize) -> Result<(), DataError> {
    if limit > 0 {
        return Ok(());
    }
    Err(DataError::Setting { key: "limit", problem: "0 leaves no image; leave it out for all".into() })
}

/// Splits `0..n` at random into `n - count` and `count` numbers, each in ascending order. `index` distinguishes draws
/// of the same seed.
pub(super) fn draw(n: usize, count: usize, seed: u64, index: u64) -> (Vec<usize>, Vec<usize>) {
    let mut rest: Vec<usize> = (0..n).collect();
    stream(seed, Purpose::Split, index).shuffle(&mut rest);
    let mut drawn = rest.split_off(n - count);
    rest.sort_unstable();
    drawn.sort_unstable();
    (rest, drawn)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Colour images of 1 x 2 pixels that hold their own number.
    fn numbered(count: usize) -> RawImages {
        let pixels = (0..count).flat_map(|i| [i as u8; 6]).collect();
        let labels = Some((0..count).map(|i| i as u8).collect());
        RawImages { pixels, labels, count, channels: 3, height: 1, width: 2 }
    }

    fn numbers(images: &RawImages) -> Vec<u8> {
        let numbers: Vec<u8> = (0..images.count).map(|i| images.image(i)[0]).collect();
        assert_eq!(images.labels.as_ref().unwrap(), &numbers, "labels move with their images");
        assert_eq!(images.pixels.len(), 6 * images.count);
        numbers
    }

    #[test]
    fn validation_is_the_end_or_a_draw_of_the_seed() {
        let split = |seed| {
            let mut train = numbered(50);
            let held = train.hold_out(5, seed).unwrap();
            (numbers(&train), numbers(&held))
        };
        assert_eq!(split(None), ((0..45).collect(), (45..50).collect()));
        let (train, held) = split(Some(3));
        assert_eq!((train.len(), held.len()), (45, 5));
        assert!(held.iter().all(|number| !train.contains(number)));
        assert!(train.is_sorted() && held.is_sorted());
        assert_eq!(split(Some(3)), (train, held.clone()));
        assert_ne!(split(Some(4)).1, held);
        assert_ne!(held, [45, 46, 47, 48, 49]);
        for count in [0, 50] {
            assert!(numbered(50).hold_out(count, Some(1)).unwrap_err().to_string().contains("1 to 49"));
        }
    }
}
