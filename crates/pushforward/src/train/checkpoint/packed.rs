//! Small files of a model: averaged weights only, in half precision, compressed.
//!
//! ```text
//! gzip( safetensors { half.<parameter>: bytes [2, ...shape], ema.<parameter>: what is no float32 } )
//! ```
//!
//! A number takes two bytes. All upper bytes of a tensor come first, then all lower ones: the upper ones, sign and
//! exponent, take few values and are compressed to about a third. The metadata are those of the checkpoint.

use std::io::{self, Read as _, Write as _};
use std::path::Path;

use burn::tensor::{DType, TensorData};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use crate::params::{StateDict, check_finite};
use crate::train::checkpoint::error::CheckpointError;
use crate::train::checkpoint::file::{Header, Kind, parse, serialize, split};

/// First bytes of a gzip file; as the length of a header they would be far above its limit.
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// Most bytes of a file after decompression: damage could ask for a thousand times the memory of the file.
const MOST_BYTES: u64 = 1 << 31;

/// The bytes of a small file of these averaged weights.
pub(super) fn pack(header: &Header, weights: &StateDict) -> Result<Vec<u8>, CheckpointError> {
    let path = Path::new("small file");
    let numbers = header.packed.expect("the header of a small file names the type of its numbers");
    let (mut half, mut rest) = (StateDict::new(), StateDict::new());
    for (name, data) in weights {
        if data.dtype() != DType::F32 {
            rest.insert(name.clone(), data.clone());
            continue;
        }
        let short = data.clone().convert_dtype(numbers.dtype());
        let misfit = |source| CheckpointError::Tensor { path: path.into(), source };
        check_finite(&format!("ema.{name}"), &short).map_err(misfit)?;
        let shape: Vec<usize> = std::iter::once(2).chain(data.shape().iter().copied()).collect();
        half.insert(name.clone(), TensorData::new(planes(short.as_bytes()), shape));
    }
    let bytes = serialize(path, header, &[("half", &half), ("ema", &rest)])?;
    let mut out = GzEncoder::new(Vec::new(), Compression::best());
    let written = out.write_all(&bytes).and_then(|()| out.finish());
    written.map_err(|source| CheckpointError::Write { path: path.into(), source })
}

/// Whether the bytes are those of a small file.
pub(super) fn is_packed(bytes: &[u8]) -> bool {
    bytes.starts_with(&GZIP)
}

/// Header and weights in the bytes of a small file.
pub(super) fn unpack(bytes: &[u8], path: &Path) -> Result<(Header, StateDict), CheckpointError> {
    let damaged = |reason: String| CheckpointError::Header { path: path.into(), reason };
    let mut whole = Vec::new();
    let unread = |source: io::Error| damaged(format!("it cannot be decompressed ({source})"));
    GzDecoder::new(bytes).take(MOST_BYTES + 1).read_to_end(&mut whole).map_err(unread)?;
    if whole.len() as u64 > MOST_BYTES {
        return Err(damaged(format!("it has more than {MOST_BYTES} bytes after decompression")));
    }
    let (header, tensors) = parse(&whole, path, Kind::Weights)?;
    let Some(numbers) = header.packed else {
        return Err(damaged("a compressed file that does not say how its numbers are stored".into()));
    };
    let [half, mut ema] = split(path, tensors, ["half", "ema"])?;
    for (name, data) in half {
        let shape = data.shape().to_vec();
        if data.dtype() != DType::U8 || shape.first() != Some(&2) {
            return Err(damaged(format!("tensor `half.{name}` of shape {shape:?} is not two planes of bytes")));
        }
        let short = TensorData::try_from_bytes_vec(numbers_of(data.as_bytes()), shape[1..].to_vec(), numbers.dtype())
            .map_err(|error| damaged(format!("tensor `half.{name}`: {error}")))?;
        let full = short.convert_dtype(DType::F32);
        check_finite(&format!("half.{name}"), &full)
            .map_err(|source| CheckpointError::Tensor { path: path.into(), source })?;
        if ema.insert(name.clone(), full).is_some() {
            return Err(damaged(format!("tensor `{name}` is there twice")));
        }
    }
    Ok((header, ema))
}

/// The upper bytes of all numbers, then the lower ones.
fn planes(numbers: &[u8]) -> Vec<u8> {
    let low = usize::from(cfg!(target_endian = "big"));
    let plane = |at: usize| numbers.chunks_exact(2).map(move |pair| pair[at]);
    plane(1 - low).chain(plane(low)).collect()
}

/// The inverse of [`planes`].
fn numbers_of(planes: &[u8]) -> Vec<u8> {
    let (upper, lower) = planes.split_at(planes.len() / 2);
    let number = |(&upper, &lower): (&u8, &u8)| u16::from_be_bytes([upper, lower]).to_ne_bytes();
    upper.iter().zip(lower).flat_map(number).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::train::checkpoint::{Checkpoint, FORMAT, Half};

    fn checkpoint(values: &[f32]) -> Checkpoint {
        let weights = BTreeMap::from([
            ("a.weight".to_owned(), TensorData::new(values.to_vec(), [values.len(), 1])),
            ("steps".to_owned(), TensorData::new(vec![3i64, 4], [2])),
            ("mask".to_owned(), TensorData::new(vec![1u8, 0], [2])),
        ]);
        let provenance = BTreeMap::from([("data".into(), "toy".into())]);
        Checkpoint { format: FORMAT, step: 12, recipe: "x = 1".into(), provenance, ema: weights.clone(), raw: weights }
    }

    fn unpacked(bytes: &[u8]) -> Result<Checkpoint, CheckpointError> {
        Checkpoint::from_bytes(bytes, Path::new("small"))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn everything_but_rounding_comes_back(values in prop::collection::vec(-6e4f32..6e4, 1..40)) {
            let whole = checkpoint(&values);
            for (numbers, digits) in [(Half::Bf16, 8), (Half::F16, 11)] {
                let small = unpacked(&whole.pack(numbers).unwrap()).unwrap();
                prop_assert_eq!(
                    (&small.recipe, &small.provenance, small.step, small.format),
                    (&whole.recipe, &whole.provenance, whole.step, whole.format)
                );
                prop_assert!(small.raw.is_empty());
                prop_assert_eq!(&small.ema["steps"], &whole.ema["steps"]);
                prop_assert_eq!(&small.ema["mask"], &whole.ema["mask"]);
                let found: Vec<f32> = small.ema["a.weight"].iter::<f32>().collect();
                for (found, wanted) in found.iter().zip(&values) {
                    // Half a unit of the last digit; below 2^-14, float16 has a fixed spacing of 2^-24.
                    let bound = (wanted.abs() * 2f32.powi(-digits)).max(2f32.powi(-25));
                    prop_assert!((found - wanted).abs() <= bound, "{found} for {wanted}");
                }
                // Numbers that are short already stay, bit for bit.
                let again = unpacked(&small.pack(numbers).unwrap()).unwrap();
                prop_assert_eq!(again, small);
            }
        }
    }

    #[test]
    fn numbers_that_do_not_fit_and_damage_are_refused() {
        let error = checkpoint(&[1.0, 7e4]).pack(Half::F16).unwrap_err().to_string();
        assert!(error.contains("`ema.a.weight` holds inf at element 1"), "{error}");
        let good = checkpoint(&[1.0, 2.0, 3.0]).pack(Half::Bf16).unwrap();
        assert_eq!(good, checkpoint(&[1.0, 2.0, 3.0]).pack(Half::Bf16).unwrap(), "equal models are equal files");
        for length in 2..good.len() {
            assert!(unpacked(&good[..length]).is_err(), "{length}");
        }
        for at in 2..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            // Some bits of a gzip file mean nothing; no other change passes.
            if let Ok(found) = unpacked(&bad) {
                assert_eq!(found, unpacked(&good).unwrap(), "a change of byte {at} went unnoticed");
            }
        }
        let mut plain = GzEncoder::new(Vec::new(), Compression::fast());
        let header = Header {
            format: FORMAT,
            kind: Kind::Weights,
            step: 0,
            recipe: String::new(),
            provenance: BTreeMap::new(),
            counters: None,
            packed: None,
        };
        plain.write_all(&serialize(Path::new("x"), &header, &[]).unwrap()).unwrap();
        let error = unpacked(&plain.finish().unwrap()).unwrap_err().to_string();
        assert!(error.contains("does not say how its numbers are stored"), "{error}");
    }
}
