//! The IDX format of the MNIST family.
//!
//! ```text
//! 0 0 type rank | dim_0 ... dim_{rank-1}, 4 bytes each, big-endian | data, row-major
//! ```
//!
//! Reference: LeCun, Cortes, Burges, "The MNIST database of handwritten digits" (file formats). Only type 0x08,
//! unsigned bytes, occurs in the family and is read.
//!
//! # Examples
//! ```
//! use pushforward::data::images::idx::Idx;
//! let dir = tempfile::tempdir()?;
//! let file = dir.path().join("labels");
//! std::fs::write(&file, [0u8, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1])?;
//! assert_eq!(Idx::read(&file)?, Idx { dims: vec![3], data: vec![7, 2, 1] });
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::path::{Path, PathBuf};

use crate::data::DataError;
use crate::data::files::{self, Source};
use crate::data::images::raw::{RawImages, RawSplits};
use crate::hash::sha256;

/// The four files of a set of the family, without the `.gz` of the published files.
pub const FILES: [&str; 4] =
    ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"];

/// An array of bytes, read from an IDX file.
#[derive(Clone, Debug, PartialEq)]
pub struct Idx {
    /// Sizes, slowest dimension first.
    pub dims: Vec<usize>,
    /// Row-major values.
    pub data: Vec<u8>,
}

impl Idx {
    /// Reads one IDX file, plain or gzipped.
    ///
    /// # Errors
    /// If the file cannot be read, is not IDX, is not of bytes, is empty, or does not have the length that its header says.
    pub fn read(path: &Path) -> Result<Self, DataError> {
        parse(&Source::read(path.to_owned())?)
    }
}

/// Reads a set of the MNIST family; each file is taken from the first of `dirs` that has it. The validation part is the
/// last `validation` images of the training file or, with a seed, random ones; the test part is the `t10k` file.
pub(crate) fn mnist_family(
    name: &str,
    dirs: &[PathBuf],
    validation: usize,
    split_seed: Option<u64>,
) -> Result<RawSplits, DataError> {
    let sources =
        FILES.iter().map(|file| Source::read(files::find(name, file, dirs)?)).collect::<Result<Vec<_>, _>>()?;
    let mut train = images(&sources[0], &sources[1])?;
    let test = images(&sources[2], &sources[3])?;
    if (train.height, train.width) != (test.height, test.width) {
        let (expected, found) =
            (format!("{}x{}", train.height, train.width), format!("{}x{}", test.height, test.width));
        return Err(sources[2].open().malformed(8, format!("images of {expected} as in the training file"), found));
    }
    let validation = train.hold_out(validation, split_seed)?;
    Ok(RawSplits { name: name.to_owned(), train, validation, test, sha256: sha256(&sources), label_names: Vec::new() })
}

fn images(images: &Source, labels: &Source) -> Result<RawImages, DataError> {
    let pixels = parse(images)?;
    let [count, height, width] = pixels.dims[..] else {
        let found = format!("{}", pixels.dims.len());
        return Err(images.open().malformed(3, "rank 3 (images, rows, columns)", found));
    };
    let labels_idx = parse(labels)?;
    if labels_idx.dims != [count] {
        let expected = format!("one label for each of {count} images");
        return Err(labels.open().malformed(4, expected, format!("labels of shape {:?}", labels_idx.dims)));
    }
    Ok(RawImages { pixels: pixels.data, labels: Some(labels_idx.data), count, channels: 1, height, width })
}

fn parse(source: &Source) -> Result<Idx, DataError> {
    let mut content = source.open();
    let head = content.take(4)?;
    let [zero0, zero1, kind, rank] = head[..] else {
        return Err(content.malformed(head.len() as u64, "a magic number of 4 bytes", "the end of the file"));
    };
    if (zero0, zero1) != (0, 0) {
        return Err(content.malformed(0, "an IDX magic number (0x00 0x00)", format!("{zero0:#04x} {zero1:#04x}")));
    }
    if kind != 0x08 {
        return Err(content.malformed(2, "type 0x08 (unsigned bytes)", format!("{kind:#04x}")));
    }
    let start = 4 + 4 * u64::from(rank);
    let sizes = content.take(start - 4)?;
    if sizes.len() as u64 + 4 < start {
        return Err(content.malformed(4 + sizes.len() as u64, format!("{rank} sizes"), "the end of the file"));
    }
    let dims: Vec<usize> =
        sizes.chunks_exact(4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]) as usize).collect();
    let size = dims.iter().try_fold(1u64, |size, &dim| size.checked_mul(dim as u64)).filter(|&size| size < 1 << 48);
    let Some(size) = size else {
        return Err(content.malformed(4, "sizes of an array that fits into memory", format!("{dims:?}")));
    };
    if size == 0 || rank == 0 {
        return Err(content.malformed(4, "at least one item, and none of its sizes zero", format!("shape {dims:?}")));
    }
    // One byte more than expected, to detect trailing bytes and to make the gzip decoder verify its checksum.
    let data = content.take(size + 1)?;
    match (data.len() as u64).cmp(&size) {
        std::cmp::Ordering::Less => {
            let expected = format!("{size} bytes of data for shape {dims:?}");
            let found = format!("the end of the file after {} of them", data.len());
            Err(content.malformed(start + data.len() as u64, expected, found))
        }
        std::cmp::Ordering::Greater => {
            Err(content.malformed(start + size, format!("the end of the file for shape {dims:?}"), "more bytes"))
        }
        std::cmp::Ordering::Equal => Ok(Idx { dims, data }),
    }
}

/// Files of the family for tests: `train` and `test` images of 2 x 3 pixels that count upwards.
#[cfg(test)]
pub(crate) fn write_family(dir: &Path, train: usize, test: usize) {
    for (file, count) in FILES.iter().zip([train, train, test, test]) {
        let bytes = if file.contains("images") {
            encode(&[count, 2, 3], (0..count * 6).map(|i| (i * 7) as u8).collect())
        } else {
            encode(&[count], (0..count).map(|i| (i % 10) as u8).collect())
        };
        std::fs::write(dir.join(file), bytes).unwrap();
    }
}

#[cfg(test)]
fn encode(dims: &[usize], data: Vec<u8>) -> Vec<u8> {
    let mut out = vec![0, 0, 8, dims.len() as u8];
    dims.iter().for_each(|&dim| out.extend((dim as u32).to_be_bytes()));
    out.extend(data);
    out
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn parse_bytes(bytes: Vec<u8>) -> Result<Idx, DataError> {
        parse(&Source::of("x.idx", bytes))
    }

    proptest! {
        #[test]
        fn round_trip_plain_and_gzipped(dims in prop::collection::vec(1usize..5, 1..5), fill: u8) {
            let data: Vec<u8> = (0..dims.iter().product::<usize>()).map(|i| fill.wrapping_add(i as u8)).collect();
            let bytes = encode(&dims, data.clone());
            let expected = Idx { dims, data };
            prop_assert_eq!(&parse_bytes(gzip(&bytes)).unwrap(), &expected);
            prop_assert_eq!(&parse_bytes(bytes).unwrap(), &expected);
        }

        #[test]
        fn any_bytes_give_a_value_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = parse_bytes(bytes.clone());
            let _ = parse_bytes([&[0, 0, 8], &bytes[..]].concat());
            let _ = parse_bytes([&[0x1f, 0x8b, 8, 0], &bytes[..]].concat());
        }
    }

    #[test]
    fn damage_is_named_with_its_place() {
        let good = encode(&[2, 3], vec![1, 2, 3, 4, 5, 6]);
        let zipped = gzip(&good);
        let edit = |at: usize, value: u8| {
            let mut bytes = good.clone();
            bytes[at] = value;
            bytes
        };
        let mut bad_sum = zipped.clone();
        let sum = bad_sum.len() - 6;
        bad_sum[sum] ^= 0xff;
        for (bytes, parts) in [
            (good[..3].to_vec(), ["byte 3", "magic number"]),
            (edit(0, 7), ["byte 0", "0x07"]),
            (edit(2, 0x0d), ["byte 2", "0x0d"]),
            (good[..9].to_vec(), ["byte 9", "2 sizes"]),
            (good[..15].to_vec(), ["byte 15", "after 3 of them"]),
            ([&good[..], &[0]].concat(), ["byte 18", "more bytes"]),
            (edit(4, 0xff), ["after 6 of them", "[4278190082, 3]"]),
            (encode(&[0xffff_ffff; 3], Vec::new()), ["byte 4", "fits into memory"]),
            (zipped[..zipped.len() - 10].to_vec(), ["compressed byte", "gzip"]),
            (bad_sum, ["compressed byte", "gzip"]),
            (gzip(&good[..15]), ["decompressed byte 15", "after 3 of them"]),
            (Vec::new(), ["byte 0", "end of the file"]),
            (encode(&[0, 2, 3], Vec::new()), ["byte 4", "at least one item"]),
            (encode(&[2, 0, 3], Vec::new()), ["byte 4", "[2, 0, 3]"]),
            (encode(&[], vec![1]), ["byte 4", "at least one item"]),
        ] {
            let message = parse_bytes(bytes).unwrap_err().to_string();
            assert!(message.starts_with("x.idx, ") && parts.iter().all(|part| message.contains(part)), "{message}");
        }
    }

    #[test]
    fn a_family_is_split_and_checked() {
        let dir = tempfile::tempdir().unwrap();
        write_family(dir.path(), 20, 4);
        let dirs = [dir.path().to_owned()];
        let splits = mnist_family("mnist", &dirs, 5, None).unwrap();
        assert_eq!((splits.train.count, splits.validation.count, splits.test.count), (15, 5, 4));
        assert_eq!(splits.validation.image(0)[0], (15 * 6 * 7) as u8);
        assert_eq!(splits.validation.labels.as_ref().unwrap()[0], 5);
        assert_eq!(splits.sha256.len(), 64);
        assert!(mnist_family("mnist", &dirs, 20, None).unwrap_err().to_string().contains("1 to 19"));
        std::fs::write(dir.path().join(FILES[1]), encode(&[19], vec![0; 19])).unwrap();
        let message = mnist_family("mnist", &dirs, 5, None).unwrap_err().to_string();
        assert!(message.contains("20 images") && message.contains("[19]"), "{message}");
        std::fs::write(dir.path().join(FILES[0]), encode(&[20], vec![0; 20])).unwrap();
        assert!(mnist_family("mnist", &dirs, 5, None).unwrap_err().to_string().contains("rank 3"));
    }
}
