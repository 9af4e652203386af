//! Checkpoints of a run, one safetensors file each.
//!
//! ```text
//! <run>/checkpoints/last.safetensors            averaged and trained weights after the latest checkpoint
//! <run>/checkpoints/best.safetensors            the same at the lowest validation loss
//! <run>/checkpoints/step-00001000.safetensors   the same at a chosen step
//! <run>/checkpoints/resume.safetensors          the whole state of the run, to resume from
//! ```
//!
//! Tensors are named `ema.<parameter>` and `raw.<parameter>`; the resume file adds `m.<parameter>` and `v.<parameter>`,
//! the optimiser's moments, and `kept.<parameter>` if the objective keeps an average of the past. Everything else is one JSON object under the key `pushforward` of the file's metadata: a
//! single key, because the order of several would change from one write to the next.
//!
//! A file is written beside its destination, synced and renamed, so that a run killed at any moment leaves either the
//! old file or the new one.
//!
//! # Examples
//! ```
//! use std::collections::BTreeMap;
//! use pushforward::burn::tensor::TensorData;
//! use pushforward::train::checkpoint::{Checkpoint, FORMAT, LAST, folder};
//!
//! let run = tempfile::tempdir()?;
//! let weights = BTreeMap::from([("layer.bias".to_owned(), TensorData::from([1.0f32, 2.0]))]);
//! let (recipe, provenance) = (String::new(), BTreeMap::new());
//! let written = Checkpoint { format: FORMAT, step: 12, recipe, provenance, ema: weights.clone(), raw: weights };
//! let path = folder(run.path()).join(LAST);
//! written.save(&path)?;
//! assert_eq!(Checkpoint::load(&path)?, written);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod file;
mod format;
mod packed;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use self::error::CheckpointError;
use self::file::{Counters, Header, Kind, parse, read, replace, same_tensors, split, write};
pub use self::format::{BEST, FORMAT, Half, LAST, RESUME};
use crate::params::StateDict;
use crate::train::config::MOST_STEPS;
use crate::train::optim::Moments;

/// Weights, with the metadata needed to rebuild the model and to trace its origin.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// Version of the file format.
    pub format: u32,
    /// Optimiser steps taken.
    pub step: u64,
    /// The resolved recipe, as TOML.
    pub recipe: String,
    /// Provenance of the weights: versions, data and its hash, device, and so on.
    pub provenance: BTreeMap<String, String>,
    /// Averaged weights; equal to `raw` if the run keeps no average.
    pub ema: StateDict,
    /// Trained weights; empty in a [small file](Checkpoint::pack).
    pub raw: StateDict,
}

/// The whole state of a run between two optimiser steps.
#[derive(Clone, Debug, PartialEq)]
pub struct Resume {
    /// Version of the file format.
    pub format: u32,
    /// The resolved recipe, as TOML.
    pub recipe: String,
    /// Provenance of the weights, see [`Checkpoint::provenance`].
    pub provenance: BTreeMap<String, String>,
    /// Seed of the run.
    pub seed: u64,
    /// Optimiser steps taken.
    pub step: u64,
    /// Number of micro-batches taken: the index of the next one in the data and in every random stream.
    pub micro_batch: u64,
    /// Number of updates of the averaged weights.
    pub ema_updates: u64,
    /// Lowest validation loss so far.
    pub best_validation: Option<f64>,
    /// Number of validations since the lowest loss.
    pub stale_validations: u64,
    /// Seconds of training so far, summed over all resumed parts of the run.
    pub elapsed_seconds: f64,
    /// Trained weights.
    pub raw: StateDict,
    /// Averaged weights; `None` if the run keeps no average.
    pub ema: Option<StateDict>,
    /// Averaged weights of the past that the objective [keeps](crate::train::objective::Objective::keeps_average), if it does.
    pub kept: Option<StateDict>,
    /// The optimiser's moments.
    pub moments: Moments,
}

/// Most seconds of a run, about 30,000 years: a duration beyond is damage, and overflows on a progress bar.
const MOST_SECONDS: f64 = 1e12;

/// File name of the weights that are kept from `step`.
pub(super) fn step_file(step: u64) -> String {
    format!("step-{step:08}.safetensors")
}

/// The checkpoint folder of a run folder.
pub fn folder(run: &Path) -> PathBuf {
    run.join("checkpoints")
}

/// The file of a run folder with the run's model: the best one of a run that may stop early (`train.patience`), which
/// may have gone on far past it, and the latest one of all other runs.
///
/// # Examples
/// ```
/// use pushforward::train::checkpoint::{LAST, chosen_file, folder};
/// let run = tempfile::tempdir()?;
/// assert_eq!(chosen_file(run.path()), folder(run.path()).join(LAST));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn chosen_file(run: &Path) -> PathBuf {
    let [best, last] = [BEST, LAST].map(|name| folder(run).join(name));
    let may_stop_early = |recipe: String| {
        let table: Option<toml::Table> = recipe.parse().ok();
        table.is_some_and(|table| table.get("train").is_some_and(|train| train.get("patience").is_some()))
    };
    // A file that cannot be read is reported by whoever loads it.
    if best.exists() && file::read_recipe(&last).is_ok_and(may_stop_early) { best } else { last }
}

impl Checkpoint {
    /// Writes the file; replaces an older one atomically.
    ///
    /// # Errors
    /// If a value is not finite, or the file cannot be written. An older file is then unchanged.
    pub fn save(&self, path: &Path) -> Result<(), CheckpointError> {
        write(path, &self.header(None), &[("ema", &self.ema), ("raw", &self.raw)])
    }

    /// The bytes of a small file: the averaged weights in half precision, compressed, with the same metadata.
    /// [`Checkpoint::load`] reads it; the weights that it gives are float32 again, and `raw` is empty.
    ///
    /// # Errors
    /// If a number is not finite in half precision.
    ///
    /// # Examples
    /// ```
    /// use std::{collections::BTreeMap, path::Path};
    /// use pushforward::burn::tensor::TensorData;
    /// use pushforward::train::checkpoint::{Checkpoint, FORMAT, Half};
    ///
    /// let weights = BTreeMap::from([("layer.bias".to_owned(), TensorData::from([1.0f32, 2.001]))]);
    /// let (recipe, provenance) = (String::new(), BTreeMap::new());
    /// let whole = Checkpoint { format: FORMAT, step: 12, recipe, provenance, ema: weights.clone(), raw: weights };
    /// let small = Checkpoint::from_bytes(&whole.pack(Half::Bf16)?, Path::new("small"))?;
    /// assert_eq!(small.ema["layer.bias"], TensorData::from([1.0f32, 2.0]));
    /// assert!(small.raw.is_empty() && small.step == 12);
    /// # Ok::<(), pushforward::train::checkpoint::CheckpointError>(())
    /// ```
    pub fn pack(&self, numbers: Half) -> Result<Vec<u8>, CheckpointError> {
        packed::pack(&self.header(Some(numbers)), &self.ema)
    }

    fn header(&self, packed: Option<Half>) -> Header {
        let (recipe, provenance) = (self.recipe.clone(), self.provenance.clone());
        let (format, step) = (self.format, self.step);
        Header { format, kind: Kind::Weights, step, recipe, provenance, counters: None, packed }
    }

    /// Reads a file that [`Checkpoint::save`] or [`Checkpoint::pack`] wrote.
    ///
    /// # Errors
    /// See [`CheckpointError`]. Whether the weights fit a model is checked by [`crate::params::load`].
    pub fn load(path: &Path) -> Result<Self, CheckpointError> {
        Self::from_bytes(&read(path)?, path)
    }

    /// The same from the bytes of a file; `path` names it in messages.
    ///
    /// # Errors
    /// As [`Checkpoint::load`].
    pub fn from_bytes(bytes: &[u8], path: &Path) -> Result<Self, CheckpointError> {
        if packed::is_packed(bytes) {
            let (Header { format, step, recipe, provenance, .. }, ema) = packed::unpack(bytes, path)?;
            return Ok(Self { format, step, recipe, provenance, ema, raw: StateDict::new() });
        }
        let (header, tensors) = parse(bytes, path, Kind::Weights)?;
        let [ema, raw] = split(path, tensors, ["ema", "raw"])?;
        for (set, other, prefix) in [(&ema, &raw, "raw"), (&raw, &ema, "ema")] {
            same_tensors(set, other, prefix, true)
                .map_err(|source| CheckpointError::Tensor { path: path.into(), source })?;
        }
        let Header { format, step, recipe, provenance, .. } = header;
        Ok(Self { format, step, recipe, provenance, ema, raw })
    }

    /// Adds entries to the provenance of a file that [`Checkpoint::save`] or [`Checkpoint::pack`] wrote, in place of those of
    /// the same key. The file is replaced atomically; its weights stay as they are, in a small file bit for bit.
    ///
    /// # Errors
    /// As [`Checkpoint::load`] and [`Checkpoint::save`].
    ///
    /// # Examples
    /// ```
    /// use std::collections::BTreeMap;
    /// use pushforward::burn::tensor::TensorData;
    /// use pushforward::train::checkpoint::{Checkpoint, FORMAT, Half};
    ///
    /// let weights = BTreeMap::from([("layer.bias".to_owned(), TensorData::from([1.0f32, 2.0]))]);
    /// let (recipe, provenance) = (String::new(), BTreeMap::new());
    /// let whole = Checkpoint { format: FORMAT, step: 12, recipe, provenance, ema: weights.clone(), raw: weights };
    /// let folder = tempfile::tempdir()?;
    /// let path = folder.path().join("small.safetensors.gz");
    /// std::fs::write(&path, whole.pack(Half::Bf16)?)?;
    /// Checkpoint::annotate(&path, BTreeMap::from([("machine".to_owned(), "two cores".to_owned())]))?;
    /// let small = Checkpoint::load(&path)?;
    /// assert_eq!((small.provenance["machine"].as_str(), small.ema), ("two cores", whole.ema));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn annotate(path: &Path, entries: BTreeMap<String, String>) -> Result<(), CheckpointError> {
        let bytes = read(path)?;
        if packed::is_packed(&bytes) {
            let (mut header, weights) = packed::unpack(&bytes, path)?;
            header.provenance.extend(entries);
            let failed = |source| CheckpointError::Write { path: path.into(), source };
            return replace(path, &packed::pack(&header, &weights)?).map_err(failed);
        }
        let mut file = Self::from_bytes(&bytes, path)?;
        file.provenance.extend(entries);
        file.save(path)
    }
}

impl Resume {
    /// Writes the file; replaces an older one atomically.
    ///
    /// # Errors
    /// If a value is not finite, or the file cannot be written. An older file is then unchanged.
    pub fn save(&self, path: &Path) -> Result<(), CheckpointError> {
        let header = Header {
            format: self.format,
            kind: Kind::Resume,
            step: self.step,
            recipe: self.recipe.clone(),
            provenance: self.provenance.clone(),
            counters: Some(Counters {
                seed: self.seed,
                micro_batch: self.micro_batch,
                ema: self.ema.is_some(),
                ema_updates: self.ema_updates,
                kept: self.kept.is_some(),
                best_validation: self.best_validation.map(|value| value.to_string()),
                stale_validations: self.stale_validations,
                elapsed_seconds: self.elapsed_seconds.to_string(),
                optimizer_steps: self.moments.steps.clone(),
            }),
            packed: None,
        };
        let none = StateDict::new();
        let [ema, kept] = [&self.ema, &self.kept].map(|set| set.as_ref().unwrap_or(&none));
        let Moments { first, second, .. } = &self.moments;
        let sets = [("raw", &self.raw), ("ema", ema), ("kept", kept), ("m", first), ("v", second)];
        write(path, &header, &sets)
    }

    /// Reads a file that [`Resume::save`] wrote.
    ///
    /// # Errors
    /// See [`CheckpointError`].
    pub fn load(path: &Path) -> Result<Self, CheckpointError> {
        let (header, tensors) = parse(&read(path)?, path, Kind::Resume)?;
        let Header { format, step, recipe, provenance, counters, .. } = header;
        let damaged = |reason: &str| CheckpointError::Header { path: path.into(), reason: reason.into() };
        let counters = counters.ok_or_else(|| damaged("the counters of the run are missing"))?;
        let number = |text: &str| text.parse::<f64>().map_err(|_| damaged(&format!("`{text}` is not a number")));
        let elapsed_seconds = number(&counters.elapsed_seconds)?;
        let counted = [step, counters.micro_batch, counters.ema_updates, counters.stale_validations];
        if counted.iter().chain(counters.optimizer_steps.values()).any(|&count| count > MOST_STEPS) {
            return Err(damaged(&format!("a counter of the run is above {MOST_STEPS}")));
        }
        if !(0.0..=MOST_SECONDS).contains(&elapsed_seconds) {
            return Err(damaged(&format!("the run has taken {elapsed_seconds} seconds")));
        }
        let [raw, ema, kept, first, second] = split(path, tensors, ["raw", "ema", "kept", "m", "v"])?;
        let tensor = |source| CheckpointError::Tensor { path: path.into(), source };
        let as_raw = |there: bool, set: StateDict, prefix: &str| {
            if !there {
                return Ok(None);
            }
            same_tensors(&raw, &set, prefix, true).map_err(tensor)?;
            same_tensors(&set, &raw, "raw", true).map_err(tensor)?;
            Ok(Some(set))
        };
        let (ema, kept) = (as_raw(counters.ema, ema, "ema")?, as_raw(counters.kept, kept, "kept")?);
        for (set, other, prefix) in [(&second, &first, "m"), (&first, &raw, "raw")] {
            same_tensors(set, other, prefix, prefix != "raw").map_err(tensor)?;
        }
        if !first.keys().eq(counters.optimizer_steps.keys()) {
            return Err(damaged("the step counts of the optimiser do not belong to its moments"));
        }
        Ok(Self {
            format,
            recipe,
            provenance,
            seed: counters.seed,
            step,
            micro_batch: counters.micro_batch,
            ema_updates: counters.ema_updates,
            best_validation: counters
                .best_validation
                .as_deref()
                .map(number)
                .transpose()?
                .filter(|best| best.is_finite()),
            stale_validations: counters.stale_validations,
            elapsed_seconds,
            raw,
            ema,
            kept,
            moments: Moments { first, second, steps: counters.optimizer_steps },
        })
    }
}

#[cfg(test)]
mod tests;
