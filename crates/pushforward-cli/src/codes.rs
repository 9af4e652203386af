//! Codes of images and of other items as files.
//!
//! ```text
//! z           [N, d]  F32   latents
//! z0          [N, d]  F32   their base variables
//! deviations  [N, m]  F32   the part of an image beyond its latent, if the model has one
//! sizes       [N, 1]  F32   numbers of nodes or letters of items that differ in that
//! ```
//!
//! The metadata hold one JSON object under `pushforward`: the names of the images and the hash of the checkpoint.

use std::collections::HashMap;
use std::path::Path;

use pushforward::data::read_bytes;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors, serialize};
use serde::{Deserialize, Serialize};

use crate::exit::{Failure, OrFail as _};

const METADATA_KEY: &str = "pushforward";

/// Codes of images.
#[derive(Debug, Default)]
pub(crate) struct Codes {
    /// Images and checkpoint that they come from.
    pub(crate) origin: Origin,
    /// `count * d` numbers; empty for a file with `z0` only.
    pub(crate) z: Vec<f32>,
    /// `count * d` numbers; not read if the file has `z`.
    pub(crate) z0: Vec<f32>,
    /// `count * m` numbers; empty if the model or the file has none.
    pub(crate) deviations: Vec<f32>,
    /// `count` numbers; empty if all items have all sites.
    pub(crate) sizes: Vec<f32>,
}

/// Origin of codes.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Origin {
    /// Names of the images.
    pub(crate) names: Vec<String>,
    /// Hash of the checkpoint that made the codes.
    pub(crate) checkpoint_sha256: String,
}

/// One code as JSON.
#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    z: &'a [f32],
    z0: &'a [f32],
    #[serde(skip_serializing_if = "Option::is_none")]
    deviations: Option<&'a [f32]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<f32>,
}

impl Codes {
    fn count(&self) -> usize {
        self.origin.names.len()
    }

    /// One JSON object a line.
    pub(crate) fn jsonl(&self, deviations: bool) -> String {
        let row = |values: &'_ [f32], i: usize| {
            let width = values.len() / self.count();
            i * width..(i + 1) * width
        };
        let line = |(i, name): (usize, &String)| {
            let deviations =
                (deviations && !self.deviations.is_empty()).then(|| &self.deviations[row(&self.deviations, i)]);
            let (z, z0) = (&self.z[row(&self.z, i)], &self.z0[row(&self.z0, i)]);
            let line = Line { name, z, z0, deviations, size: self.sizes.get(i).copied() };
            serde_json::to_string(&line).expect("strings and numbers") + "\n"
        };
        self.origin.names.iter().enumerate().map(line).collect()
    }

    /// The codes as a safetensors file.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, Failure> {
        let bytes = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
        let parts = [("z", &self.z), ("z0", &self.z0), ("deviations", &self.deviations), ("sizes", &self.sizes)];
        let parts: Vec<_> =
            parts.into_iter().filter(|(_, v)| !v.is_empty()).map(|(n, v)| (n, v.len(), bytes(v))).collect();
        let views = parts.iter().map(|(name, len, bytes)| {
            TensorView::new(Dtype::F32, vec![self.count(), len / self.count()], bytes).map(|view| (*name, view))
        });
        let views = views.collect::<Result<Vec<_>, _>>().or_run()?;
        let origin = serde_json::to_string(&self.origin).or_run()?;
        serialize(views, Some(HashMap::from([(METADATA_KEY.to_owned(), origin)]))).or_run()
    }

    /// Reads a file for a model of latents of `d` numbers and deviations of `m`.
    pub(crate) fn read(path: &Path, d: usize, m: usize) -> Result<Self, Failure> {
        let refuse = |problem: String| {
            Failure::request(format!("{}: {problem}", path.display()))
                .hint("give a .safetensors file that `pushforward encode` wrote with the same model")
        };
        let bytes = read_bytes(path).or_request()?;
        let file = SafeTensors::deserialize(&bytes)
            .map_err(|e| refuse(format!("the file is truncated or no safetensors file ({e})")))?;
        let mut codes = Self::default();
        let read = |name: &str, width: usize| -> Result<(usize, Vec<f32>), Failure> {
            let Ok(tensor) = file.tensor(name) else { return Ok((0, Vec::new())) };
            let count = match tensor.shape() {
                [count, found] if tensor.dtype() == Dtype::F32 && *found == width && *count > 0 => *count,
                shape => {
                    let found = format!("{:?} of shape {shape:?}", tensor.dtype());
                    return Err(refuse(format!(
                        "the tensor `{name}` is {found}, the model takes F32 of shape [N, {width}]"
                    )));
                }
            };
            let bytes = tensor.data().chunks_exact(4);
            let values: Vec<f32> = bytes.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
            match values.iter().position(|v| !v.is_finite()) {
                Some(at) => Err(refuse(format!("the tensor `{name}` holds {} in row {}", values[at], at / width))),
                None => Ok((count, values)),
            }
        };
        let ((z, of_z), (z0, of_base)) = (read("z", d)?, read("z0", d)?);
        let (rows, deviations) = read("deviations", m)?;
        let (_, sizes) = read("sizes", 1)?;
        let count = if z > 0 { z } else { z0 };
        if count == 0 {
            return Err(refuse("there is neither a tensor `z` nor `z0`".into()));
        }
        if rows > 0 && rows != count {
            return Err(refuse(format!("there are {count} latents and {rows} rows of deviations")));
        }
        if !sizes.is_empty() && sizes.len() != count {
            return Err(refuse(format!("there are {count} latents and {} sizes", sizes.len())));
        }
        (codes.z, codes.z0, codes.deviations, codes.sizes) = (of_z, of_base, deviations, sizes);
        let metadata = SafeTensors::read_metadata(&bytes).ok().and_then(|(_, head)| head.metadata().clone());
        let origin = metadata.and_then(|head| serde_json::from_str(head.get(METADATA_KEY)?).ok());
        codes.origin = origin.unwrap_or_default();
        if codes.origin.names.len() != count {
            codes.origin.names = (0..count).map(|i| format!("code-{i:05}")).collect();
        }
        Ok(codes)
    }
}

#[cfg(test)]
mod tests {
    use pushforward::rng::{Purpose, stream};

    use super::*;

    fn codes() -> Codes {
        let origin = Origin { names: vec!["a.png".into(), "b.png".into()], checkpoint_sha256: "ab".into() };
        let deviations = (0..6).map(|i| i as f32).collect();
        Codes { origin, z: vec![0.1, 2.0, 3.0, 4.0], z0: vec![5.0; 4], deviations, sizes: Vec::new() }
    }

    fn error_of(codes: &Codes, d: usize, m: usize) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), codes.to_bytes().unwrap()).unwrap();
        match Codes::read(file.path(), d, m).unwrap_err() {
            Failure::Request(error) => error.to_string(),
            other @ Failure::Run(_) => panic!("{other:?}"),
        }
    }

    #[test]
    fn files_are_read_back_and_lines_hold_a_code_each() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let written = codes();
        std::fs::write(file.path(), written.to_bytes().unwrap()).unwrap();
        let read = Codes::read(file.path(), 2, 3).unwrap();
        assert_eq!((&read.z, &read.z0, &read.deviations), (&written.z, &written.z0, &written.deviations));
        assert_eq!(read.origin, written.origin);
        let lines = written.jsonl(true);
        assert_eq!(
            lines.lines().nth(1),
            Some(r#"{"name":"b.png","z":[3.0,4.0],"z0":[5.0,5.0],"deviations":[3.0,4.0,5.0]}"#)
        );
        assert_eq!(written.jsonl(false).lines().next(), Some(r#"{"name":"a.png","z":[0.1,2.0],"z0":[5.0,5.0]}"#));
        // Codes that a user writes need neither names nor latents beside the base variables.
        let own = Codes { z: Vec::new(), deviations: Vec::new(), ..codes() };
        let own = Codes { origin: Origin { checkpoint_sha256: String::new(), ..own.origin }, ..own };
        std::fs::write(file.path(), own.to_bytes().unwrap()).unwrap();
        assert!(Codes::read(file.path(), 2, 3).unwrap().z.is_empty());
    }

    #[test]
    fn codes_of_another_kind_are_refused() {
        for (codes, d, m, part) in [
            (codes(), 3, 3, "the tensor `z` is F32 of shape [2, 2], the model takes F32 of shape [N, 3]"),
            (codes(), 2, 4, "the tensor `deviations`"),
            (Codes { z: vec![0.0, 1.0, f32::NAN, 0.0], ..codes() }, 2, 3, "the tensor `z` holds NaN in row 1"),
            (Codes { z: Vec::new(), z0: Vec::new(), ..codes() }, 2, 3, "neither a tensor `z` nor `z0`"),
            (Codes { sizes: vec![3.0, f32::INFINITY], ..codes() }, 2, 3, "the tensor `sizes` holds inf"),
        ] {
            let message = error_of(&codes, d, m);
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn any_bytes_give_codes_or_an_error() {
        let (folder, sound) = (tempfile::tempdir().unwrap(), codes().to_bytes().unwrap());
        let path = folder.path().join("codes");
        for index in 0..3000 {
            let (mut random, mut bytes) = (stream(0, Purpose::Metric, index), sound.clone());
            for _ in 0..1 + random.below(4) {
                let at = random.below(bytes.len());
                match random.below(3) {
                    0 => bytes[at] = random.below(256) as u8,
                    1 => bytes.truncate(at + 1),
                    _ => drop(bytes.splice(at..at, *b"999999999999")),
                }
            }
            std::fs::write(&path, &bytes).unwrap();
            if let Ok(read) = Codes::read(&path, 2, 3) {
                assert!(read.z.iter().chain(&read.z0).all(|v| v.is_finite()) && read.count() > 0);
            }
        }
    }
}
