//! CIFAR-10 in its binary version: six files of 10,000 records, five for training and one for test.
//!
//! ```text
//! label, 1 byte, 0 to 9 | red, green, blue: 32 x 32 bytes each, row by row from the top
//! ```
//!
//! Reference: Krizhevsky, "Learning multiple layers of features from tiny images" (2009), and the page of the data set.
//!
//! # Examples
//! ```
//! use std::path::Path;
//! use pushforward::data::{DataConfig, images::cifar::FILES};
//! let config: DataConfig = toml::from_str("set = 'cifar10'\nflip = true")?;
//! assert_eq!(config.files().len(), FILES.len());
//! assert_eq!(config.files()[5], Path::new("cifar10/test_batch.bin"));
//! # Ok::<(), toml::de::Error>(())
//! ```

use std::cmp::Ordering;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::data::DataError;
use crate::data::files::{self, Source};
use crate::data::images::raw::{RawImages, RawSplits};
use crate::hash::sha256;

/// The six files of the set, the test file last.
pub const FILES: [&str; 6] = [
    "data_batch_1.bin",
    "data_batch_2.bin",
    "data_batch_3.bin",
    "data_batch_4.bin",
    "data_batch_5.bin",
    "test_batch.bin",
];

/// Folder inside the published archive.
const INNER: &str = "cifar-10-batches-bin";

/// Number of records of a file.
const RECORDS: usize = 10_000;
const SIDE: usize = 32;
const RECORD: usize = 1 + 3 * SIDE * SIDE;
const CLASSES: u8 = 10;

/// Settings of `cifar10`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CifarConfig {
    /// Number of images of the training files, the last ones, that form the validation part. Default 5,000.
    pub validation: usize,
    /// Draws the validation part at random with this seed instead. It is independent of the seed of the run, so that
    /// runs with different seeds can be compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split_seed: Option<u64>,
    /// At most this many images in each part. Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Folder with the six files. Default: the set's folder in the data folder, then the data folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Mirrors half of the training images; see [`crate::data::ContinuousImages`]. Default false.
    pub flip: bool,
    /// Standard deviation of noise on the pixels; see [`crate::data::ContinuousImages`]. Default 0.
    pub noise: f64,
}

impl Default for CifarConfig {
    fn default() -> Self {
        Self { validation: 5_000, split_seed: None, limit: None, path: None, flip: false, noise: 0.0 }
    }
}

impl CifarConfig {
    pub(crate) fn read(&self, data_dir: &Path) -> Result<RawSplits, DataError> {
        let folders = files::folders(self.path.as_deref(), "cifar10", data_dir)?;
        let dirs: Vec<PathBuf> = folders.into_iter().flat_map(|dir| [dir.join(INNER), dir]).collect();
        let mut splits = read(&dirs, RECORDS, self.validation, self.split_seed)?;
        splits.limit(self.limit)?;
        Ok(splits)
    }
}

fn read(dirs: &[PathBuf], records: usize, validation: usize, split_seed: Option<u64>) -> Result<RawSplits, DataError> {
    let sources =
        FILES.iter().map(|file| Source::read(files::find("cifar10", file, dirs)?)).collect::<Result<Vec<_>, _>>()?;
    let (train, test) = sources.split_at(FILES.len() - 1);
    let (mut train, test) = (images(train, records)?, images(test, records)?);
    let validation = train.hold_out(validation, split_seed)?;
    Ok(RawSplits { name: "cifar10".into(), train, validation, test, sha256: sha256(&sources), label_names: Vec::new() })
}

fn images(sources: &[Source], records: usize) -> Result<RawImages, DataError> {
    let count = sources.len() * records;
    let (mut pixels, mut labels) = (Vec::with_capacity(count * (RECORD - 1)), Vec::with_capacity(count));
    for source in sources {
        let mut content = source.open();
        let size = records * RECORD;
        // One byte more than expected, to detect trailing bytes.
        let bytes = content.take(size as u64 + 1)?;
        let wanted = format!("{records} records of {RECORD} bytes");
        match bytes.len().cmp(&size) {
            Ordering::Less => {
                let found = format!("the end of the file after {} of {size} bytes", bytes.len());
                return Err(content.malformed(bytes.len() as u64, wanted, found));
            }
            Ordering::Greater => {
                return Err(content.malformed(
                    size as u64,
                    format!("the end of the file after {wanted}"),
                    "more bytes",
                ));
            }
            Ordering::Equal => {}
        }
        for (number, record) in bytes.chunks_exact(RECORD).enumerate() {
            if record[0] >= CLASSES {
                let found = format!("{} in record {number}", record[0]);
                return Err(content.malformed((number * RECORD) as u64, "a label from 0 to 9", found));
            }
            labels.push(record[0]);
            pixels.extend_from_slice(&record[1..]);
        }
    }
    Ok(RawImages { pixels, labels: Some(labels), count, channels: 3, height: SIDE, width: SIDE })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::DataConfig;

    /// Two records a file: red holds the file's number, green the record's, blue counts the pixels.
    fn records(file: usize) -> Vec<u8> {
        let plane = |value: usize| vec![value as u8; SIDE * SIDE];
        let blue: Vec<u8> = (0..SIDE * SIDE).map(|i| i as u8).collect();
        (0..2).flat_map(|i| [vec![(file + i) as u8], plane(file), plane(i), blue.clone()].concat()).collect()
    }

    #[test]
    fn planes_labels_and_parts_are_where_the_format_puts_them() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join(INNER);
        std::fs::create_dir(&inner).unwrap();
        for (number, file) in FILES.iter().enumerate() {
            std::fs::write(inner.join(file), records(number)).unwrap();
        }
        let dirs = [dir.path().join("elsewhere"), inner];
        let splits = read(&dirs, 2, 3, None).unwrap();
        assert_eq!((splits.train.count, splits.validation.count, splits.test.count), (7, 3, 2));
        assert_eq!(splits.train.shape(), [3, 32, 32]);
        assert_eq!(splits.train.labels.as_deref(), Some(&[0, 1, 1, 2, 2, 3, 3][..]));
        assert_eq!(splits.test.labels.as_deref(), Some(&[5, 6][..]));
        let image = splits.validation.image(2);
        let at = |plane: usize, row: usize, column: usize| image[plane * 1024 + row * 32 + column];
        assert_eq!([at(0, 0, 0), at(0, 31, 31), at(1, 0, 0), at(1, 31, 31)], [4, 4, 1, 1]);
        assert_eq!([at(2, 0, 1), at(2, 1, 0), at(2, 7, 31)], [1, 32, 255]);
        let drawn = read(&dirs, 2, 3, Some(1)).unwrap();
        assert_eq!((drawn.train.count, drawn.validation.count, &drawn.sha256), (7, 3, &splits.sha256));
        assert_eq!(drawn.test, splits.test);
        assert_ne!(drawn.validation, splits.validation);
    }

    #[test]
    fn damage_is_named_with_its_place() {
        let error_of = |bytes: Vec<u8>| images(&[Source::of("x.bin", bytes)], 2).unwrap_err().to_string();
        let good = records(0);
        let mut label = good.clone();
        label[RECORD] = 10;
        for (bytes, parts) in [
            (good[..6_000].to_vec(), ["byte 6000", "2 records of 3073 bytes", "after 6000 of 6146 bytes"]),
            (good[..RECORD].to_vec(), ["byte 3073", "2 records", "after 3073 of 6146"]),
            ([&good[..], &[0]].concat(), ["byte 6146", "the end of the file", "more bytes"]),
            (label, ["byte 3073", "a label from 0 to 9", "10 in record 1"]),
        ] {
            let message = error_of(bytes);
            assert!(message.starts_with("x.bin, ") && parts.iter().all(|part| message.contains(part)), "{message}");
        }
    }

    #[test]
    fn a_recipe_finds_the_files_and_tells_what_is_wrong_with_them() {
        let dir = tempfile::tempdir().unwrap();
        let config: DataConfig = toml::from_str("set = 'cifar10'\nsplit_seed = 3").unwrap();
        let message = config.raw(dir.path(), 0).unwrap_err().to_string();
        assert!(message.contains("data_batch_1.bin") && message.contains("data fetch cifar10"), "{message}");
        let folder = dir.path().join("cifar10");
        std::fs::create_dir(&folder).unwrap();
        FILES.iter().for_each(|file| std::fs::write(folder.join(file), records(0)).unwrap());
        let message = config.raw(dir.path(), 0).unwrap_err().to_string();
        assert!(message.contains("data_batch_1.bin, byte 6146") && message.contains("10000 records"), "{message}");
        let message = config.load(dir.path(), 0).unwrap_err().to_string();
        assert!(message.contains("colour") && message.contains("cifar10"), "{message}");
    }
}
