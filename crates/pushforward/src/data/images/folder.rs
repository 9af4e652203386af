//! A folder of image files as a data set.
//!
//! # Examples
//! ```
//! use pushforward::data::DataConfig;
//! let dir = tempfile::tempdir()?;
//! for i in 0..10 {
//!     image::GrayImage::from_pixel(2, 2, image::Luma([i])).save(dir.path().join(format!("{i}.png")))?;
//! }
//! let text = format!("set = 'image-folder'\npath = {:?}\nsize = [2, 2]\nchannels = 1", dir.path());
//! let raw = toml::from_str::<DataConfig>(&text)?.raw(dir.path(), 0)?;
//! assert_eq!([raw.train.count, raw.validation.count, raw.test.count], [8, 1, 1]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::data::images::grey::Pixels;
use crate::data::images::listing::Listing;
use crate::data::images::pictures::{self, Crop, Resize, ResizeFilter};
use crate::data::images::raw;
use crate::data::{DataError, RawImages, RawSplits, files};
use crate::hash::sha256;

/// Longest side of an image.
const LONGEST: usize = 4096;

/// Settings of `image-folder`: the PNG and JPEG files of one folder or, if it has none itself, those of its subfolders, each
/// of which is a class.
///
/// Files are read in the order of their names. For alpha channels, 16-bit files and grey files among colour files see
/// [`images::pictures`](crate::data::images::pictures).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FolderConfig {
    /// The folder.
    pub path: PathBuf,
    /// Height and width of the images; files of another size are cropped and resized.
    pub size: [usize; 2],
    /// 1 for grey, 3 for colour. Default 3.
    #[serde(default = "three")]
    pub channels: usize,
    /// Filter for resizing. Default `"triangle"`.
    #[serde(default)]
    pub resize: ResizeFilter,
    /// What is cropped before resizing. Default `"center"`.
    #[serde(default)]
    pub crop: Crop,
    /// How the images are divided into parts. Default: at random, a tenth each for validation and test.
    #[serde(default)]
    pub split: FolderSplit,
    /// How a grey value is mapped to a class, for categorical models of grey images. Default `"threshold"`.
    #[serde(default)]
    pub pixels: Pixels,
    /// At most this many images in each part. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Mirrors half of the training images; see [`crate::data::ContinuousImages`]. Default false.
    #[serde(default)]
    pub flip: bool,
    /// Standard deviation of noise on the pixels; see [`crate::data::ContinuousImages`]. Default 0.
    #[serde(default)]
    pub noise: f64,
}

fn three() -> usize {
    3
}

/// How a folder is divided into training, validation and test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FolderSplit {
    /// At random.
    Random(RandomSplit),
    /// By a list in the format of CelebA's `list_eval_partition.txt`: a line is a file name and 0 (training), 1
    /// (validation) or 2 (test). Files that are not in the list are not used.
    List(PathBuf),
}

impl Default for FolderSplit {
    fn default() -> Self {
        Self::Random(RandomSplit::default())
    }
}

/// A random division, the same for all runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RandomSplit {
    /// Share of validation images. Default 0.1.
    pub validation: f64,
    /// Share of test images. Default 0.1.
    pub test: f64,
    /// Seed of the division. It is independent of the seed of the run, so that runs of different seeds can be compared.
    pub seed: u64,
}

impl Default for RandomSplit {
    fn default() -> Self {
        Self { validation: 0.1, test: 0.1, seed: 0 }
    }
}

impl FolderConfig {
    pub(in crate::data) fn channels(&self) -> usize {
        self.channels
    }

    pub(in crate::data) fn pixels(&self) -> Pixels {
        self.pixels
    }

    pub(in crate::data) fn flip_and_noise(&self) -> (bool, f64) {
        (self.flip, self.noise)
    }

    pub(in crate::data) fn paths_mut(&mut self) -> Vec<(&'static str, &mut PathBuf)> {
        let list = match &mut self.split {
            FolderSplit::List(list) => Some(("split.list", list)),
            FolderSplit::Random(_) => None,
        };
        std::iter::once(("path", &mut self.path)).chain(list).collect()
    }

    pub(in crate::data) fn files(&self) -> Vec<PathBuf> {
        let list = match &self.split {
            FolderSplit::List(list) => Some(list.clone()),
            FolderSplit::Random(_) => None,
        };
        std::iter::once(self.path.clone()).chain(list).collect()
    }

    pub(crate) fn read(&self, data_dir: &Path) -> Result<RawSplits, DataError> {
        self.check()?;
        let folder = files::existing("path", &self.path, data_dir)?;
        let listing = Listing::of(&folder)?;
        let names = &listing.names;
        let mut parts = match &self.split {
            FolderSplit::Random(split) => split.parts(names)?,
            FolderSplit::List(list) => listed(&files::existing("split.list", list, data_dir)?, &folder, names)?,
        };
        if let Some(limit) = self.limit {
            parts.iter_mut().for_each(|part| part.truncate(limit));
        }
        let resize = Some(Resize { crop: self.crop, filter: self.resize });
        // In the format of `sha256sum`, for the files that are used.
        let mut sums = BTreeSet::new();
        let mut read = |names: &[OsString]| -> Result<RawImages, DataError> {
            let paths: Vec<PathBuf> = names.iter().map(|name| folder.join(name)).collect();
            let (images, hashes) = pictures::read_all(&paths, [self.channels, self.size[0], self.size[1]], resize)?;
            sums.extend(names.iter().cloned().zip(hashes));
            let labels = names.iter().map(|name| listing.label(name)).collect();
            Ok(RawImages { labels, ..images })
        };
        let [train, validation, test] = &parts;
        let (train, validation, test) = (read(train)?, read(validation)?, read(test)?);
        let sums: String = sums.iter().map(|(name, hash)| format!("{hash}  {}\n", name.to_string_lossy())).collect();
        let sha256 = sha256([sums]);
        let label_names = listing.classes;
        Ok(RawSplits { name: "image-folder".into(), train, validation, test, sha256, label_names })
    }

    fn check(&self) -> Result<(), DataError> {
        if !matches!(self.channels, 1 | 3) {
            let problem = format!("{}; 1 (grey) or 3 (colour) are possible", self.channels);
            return Err(DataError::Setting { key: "channels", problem });
        }
        if !self.size.iter().all(|side| (1..=LONGEST).contains(side)) {
            let problem = format!("{:?}; height and width from 1 to {LONGEST} are possible", self.size);
            return Err(DataError::Setting { key: "size", problem });
        }
        self.limit.map_or(Ok(()), raw::check_limit)
    }
}

impl RandomSplit {
    fn parts(&self, names: &[OsString]) -> Result<[Vec<OsString>; 3], DataError> {
        let share = |share: f64| share > 0.0 && share < 1.0;
        if !(share(self.validation) && share(self.test) && self.validation + self.test < 1.0) {
            let problem = format!(
                "validation = {} and test = {}; both are shares above 0 that leave images to train on",
                self.validation, self.test
            );
            return Err(DataError::Setting { key: "split.random", problem });
        }
        let n = names.len();
        let count = |share: f64| ((share * n as f64).round() as usize).max(1);
        let (validation, test) = (count(self.validation), count(self.test));
        if validation + test >= n {
            let problem =
                format!("{n} images are too few for {validation} to validate, {test} to test and some to train");
            return Err(DataError::Setting { key: "split.random", problem });
        }
        // The test part is drawn first, so that it does not depend on the share of validation.
        let pick = |indices: &[usize]| -> Vec<OsString> { indices.iter().map(|&i| names[i].clone()).collect() };
        let (rest, test) = raw::draw(n, test, self.seed, 1);
        let (train, validation) = raw::draw(rest.len(), validation, self.seed, 0);
        let of_rest = |places: Vec<usize>| places.into_iter().map(|place| rest[place]).collect::<Vec<usize>>();
        Ok([pick(&of_rest(train)), pick(&of_rest(validation)), pick(&test)])
    }
}

/// The parts given by `list`, each sorted by name.
fn listed(list: &Path, folder: &Path, names: &[OsString]) -> Result<[Vec<OsString>; 3], DataError> {
    let text = files::read_text(list)?;
    let malformed = |line: usize, expected: &str, found: String| DataError::Malformed {
        path: list.to_owned(),
        place: "line",
        offset: line as u64 + 1,
        expected: expected.to_owned(),
        found,
    };
    let mut parts = [const { Vec::new() }; 3];
    let (mut seen, mut missing) = (BTreeSet::new(), Vec::new());
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let entry = line.trim().rsplit_once(char::is_whitespace).and_then(|(name, part)| {
            let part = ["0", "1", "2"].iter().position(|known| *known == part)?;
            Some((name.trim_end(), part))
        });
        let Some((name, part)) = entry else {
            let expected = "a file name and 0, 1 or 2 (training, validation, test)";
            return Err(malformed(number, expected, format!("{line:?}")));
        };
        if !seen.insert(name) {
            return Err(malformed(number, "every file once", format!("`{name}` for the second time")));
        }
        match names.binary_search_by(|known| known.as_os_str().cmp(OsStr::new(name))) {
            Ok(at) => parts[part].push(names[at].clone()),
            Err(_) => missing.push((number + 1, name)),
        }
    }
    if let Some((line, name)) = missing.first() {
        let others = match missing.len() {
            1 => String::new(),
            n => format!(" (nor {} others)", n - 1),
        };
        let problem = format!(
            "line {line} of {} names `{name}`, which {} does not hold as a picture{others}",
            list.display(),
            folder.display()
        );
        return Err(DataError::Setting { key: "split.list", problem });
    }
    for (part, purpose) in parts.iter_mut().zip(["0 (training)", "1 (validation)", "2 (test)"]) {
        if part.is_empty() {
            let problem = format!("{} gives no file the number {purpose}", list.display());
            return Err(DataError::Setting { key: "split.list", problem });
        }
        part.sort_unstable();
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{DataConfig, ExampleKey};

    /// `count` grey pictures of 2 x 2 pixels in a folder `set`, each filled with ten times its number.
    fn folder(count: usize) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("set")).unwrap();
        for i in 0..count {
            let image = image::GrayImage::from_pixel(2, 2, image::Luma([10 * i as u8]));
            image.save(dir.path().join(format!("set/{i:02}.png"))).unwrap();
        }
        dir
    }

    fn config(settings: &str) -> DataConfig {
        toml::from_str(&format!("set = 'image-folder'\npath = 'set'\nsize = [2, 2]\n{settings}")).unwrap()
    }

    fn numbers(images: &RawImages) -> Vec<u8> {
        (0..images.count).map(|i| images.image(i)[0] / 10).collect()
    }

    fn parts(dir: &tempfile::TempDir, settings: &str) -> [Vec<u8>; 3] {
        let raw = config(settings).raw(dir.path(), 0).unwrap();
        [&raw.train, &raw.validation, &raw.test].map(numbers)
    }

    fn error_of(dir: &tempfile::TempDir, settings: &str) -> String {
        config(settings).raw(dir.path(), 0).unwrap_err().to_string()
    }

    #[test]
    fn a_random_split_is_disjoint_complete_and_of_its_seed() {
        let dir = folder(20);
        let [train, validation, test] = parts(&dir, "");
        assert_eq!((train.len(), validation.len(), test.len()), (16, 2, 2));
        let mut all = [train.clone(), validation.clone(), test.clone()].concat();
        all.sort_unstable();
        assert_eq!(all, (0..20).collect::<Vec<u8>>());
        assert_eq!(parts(&dir, "")[0], train);
        assert_ne!(parts(&dir, "split = { random = { seed = 1 } }")[2], test);
        let wide = parts(&dir, "split = { random = { validation = 0.5 } }");
        assert_eq!((wide[1].len(), &wide[2]), (10, &test), "the test part does not depend on the share that validates");
        assert_eq!(parts(&dir, "limit = 1").map(|part| part.len()), [1, 1, 1]);
        let raw = |seed| config("").raw(dir.path(), seed).unwrap();
        assert_eq!((raw(0).train, raw(0).sha256), (raw(7).train, raw(7).sha256), "not of the seed of the run");
        assert_eq!(raw(0).train.shape(), [3, 2, 2]);
        let before = raw(0).sha256;
        image::GrayImage::new(2, 2).save(dir.path().join("set/03.png")).unwrap();
        assert_ne!(raw(0).sha256, before);
    }

    #[test]
    fn a_list_divides_the_folder() {
        let dir = folder(6);
        let write = |text: &str| std::fs::write(dir.path().join("list.txt"), text).unwrap();
        let list = "split = { list = 'list.txt' }";
        write("04.png 0\n00.png 0\n\n01.png  1\r\n05.png\t2\n");
        assert_eq!(parts(&dir, list), [vec![0, 4], vec![1], vec![5]]);
        for (text, expected) in [
            ("00.png 0\n01.png 3\n", "list.txt, line 2: expected a file name and 0, 1 or 2"),
            ("00.png\n", "line 1: expected"),
            ("00.png 0\n00.png 1\n", "line 2: expected every file once, found `00.png` for the second time"),
            ("00.png 0\n9.png 1\n8.png 2\n", "`9.png`, which"),
            ("00.png 0\n01.png 1\n", "no file the number 2 (test)"),
        ] {
            write(text);
            let message = error_of(&dir, list);
            assert!(message.contains(expected), "{message}");
        }
        write("00.png 0\n9.png 1\n8.png 2\n");
        let message = error_of(&dir, list);
        assert!(message.contains("line 2 of") && message.contains("(nor 1 others)"), "{message}");
        assert!(error_of(&dir, "split = { list = 'nowhere.txt' }").contains("nowhere.txt"));
    }

    #[test]
    fn grey_folders_have_a_categorical_view_and_colour_ones_say_so() {
        let dir = folder(20);
        let splits = config("channels = 1\npixels = { levels = 256 }").load(dir.path(), 0).unwrap();
        assert_eq!((splits.schema().sites, splits.schema().classes), (4, 256));
        let mut out = [0; 4];
        splits.train.write(ExampleKey::fixed(0, 0), &mut out);
        assert_eq!(out, [u32::from(parts(&dir, "")[0][0]) * 10; 4]);
        let message = config("").load(dir.path(), 0).unwrap_err().to_string();
        assert!(message.contains("image-folder") && message.contains("colour"), "{message}");
        let continuous = config("flip = true\nnoise = 0.1").continuous(dir.path(), 0).unwrap();
        assert_eq!((continuous.train.shape(), continuous.train.label(0)), ([3, 2, 2], None));
    }

    #[test]
    fn folders_in_the_folder_are_classes() {
        let dir = tempfile::tempdir().unwrap();
        for i in 0..20u8 {
            let folder = dir.path().join("set").join(["dark", "light"][i as usize % 2]);
            std::fs::create_dir_all(&folder).unwrap();
            let value = i + if i % 2 == 0 { 0 } else { 200 };
            image::GrayImage::from_pixel(2, 2, image::Luma([value])).save(folder.join(format!("{i}.png"))).unwrap();
        }
        let splits = config("channels = 1").load(dir.path(), 0).unwrap();
        assert_eq!((splits.label_names.join(" "), splits.train.label_count()), ("dark light".to_owned(), Some(2)));
        let mut pixels = [0; 4];
        for index in 0..splits.train.len() {
            splits.train.write(crate::data::ExampleKey::fixed(0, index), &mut pixels);
            assert_eq!(splits.train.label(index), Some(pixels[0]));
        }
    }

    #[test]
    fn settings_that_cannot_work_say_what_can() {
        let dir = folder(3);
        for (settings, part) in [
            ("channels = 2", "1 (grey) or 3 (colour)"),
            ("limit = 0", "leaves no image"),
            ("split = { random = { test = 0.0 } }", "shares above 0"),
            ("split = { random = { validation = 0.6, test = 0.4 } }", "leave images to train on"),
        ] {
            let message = error_of(&dir, settings);
            assert!(message.contains(part), "{message}");
        }
        assert!(parts(&dir, "").iter().all(|part| part.len() == 1));
        std::fs::remove_file(dir.path().join("set/00.png")).unwrap();
        assert!(error_of(&dir, "").contains("2 images are too few"));
        std::fs::write(dir.path().join("set/01.png"), b"broken").unwrap();
        std::fs::write(dir.path().join("set/03.png"), b"broken").unwrap();
        assert!(error_of(&dir, "").contains(".png: "));
        let elsewhere = |text: &str| toml::from_str::<DataConfig>(text).unwrap().raw(dir.path(), 0).unwrap_err();
        let message = elsewhere("set = 'image-folder'\npath = 'set'\nsize = [0, 9]").to_string();
        assert!(message.contains("[0, 9]") && message.contains("4096"), "{message}");
        let message = elsewhere("set = 'image-folder'\npath = 'nowhere'\nsize = [2, 2]").to_string();
        assert!(message.contains("`path` is nowhere"), "{message}");
    }
}
