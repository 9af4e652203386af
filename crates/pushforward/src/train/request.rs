//! What to train, what happens meanwhile, and what it leaves.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::checkpoint::Resume;
use super::config::TrainConfig;
use super::objective::Objective;
use super::report::StepReport;

/// Validates a model, given without gradients; the first value is the validation loss, lower is better.
pub type Validate<'a, M> = dyn Fn(&M) -> Vec<(String, f64)> + 'a;

/// What to train.
pub struct TrainRequest<'a, M, O: Objective<M>> {
    /// The network, on an autodiff device; its weights are replaced where `resume` is given.
    pub model: M,
    /// What to minimise.
    pub objective: &'a O,
    /// The batch of a micro-step, counted from 0 over the whole run; must depend on nothing else.
    pub batch: &'a (dyn Fn(u64) -> O::Batch + Sync),
    /// Validates the averaged weights.
    pub validate: Option<&'a Validate<'a, M>>,
    /// Seed of the run.
    pub seed: u64,
    /// Settings.
    pub config: TrainConfig,
    /// Where checkpoints go; none are written if absent.
    pub run: Option<RunFolder>,
    /// State to go on from.
    pub resume: Option<Resume>,
    /// Ends this part of the run after so many minutes, leaving it resumable.
    pub max_minutes: Option<f64>,
    /// Threads that compute micro-steps beside each other, each by itself on one core; useful on a CPU with `accumulate` above 1.
    /// Does not change a bit of the result.
    pub workers: usize,
}

impl<'a, M, O: Objective<M>> TrainRequest<'a, M, O> {
    /// A run from the start with seed 0, on one thread, that validates nothing and leaves nothing on disk.
    pub fn new(model: M, objective: &'a O, batch: &'a (dyn Fn(u64) -> O::Batch + Sync), config: TrainConfig) -> Self {
        Self {
            model,
            objective,
            batch,
            validate: None,
            seed: 0,
            config,
            run: None,
            resume: None,
            max_minutes: None,
            workers: 1,
        }
    }
}

/// Where a run leaves its checkpoints, and what it writes into them.
#[derive(Clone, Debug)]
pub struct RunFolder {
    /// Folder of the run; checkpoints go to `checkpoints` inside.
    pub path: PathBuf,
    /// The resolved recipe, as TOML.
    pub recipe: String,
    /// Versions, data and its hash, device, and so on.
    pub provenance: BTreeMap<String, String>,
}

/// Something that happened in a run.
pub enum Event<'a, M> {
    /// An optimiser step was taken.
    Step(&'a StepReport),
    /// The averaged weights were validated.
    Validation {
        /// Optimiser steps taken.
        step: u64,
        /// What the validation returned.
        values: &'a [(String, f64)],
        /// Whether the validation loss is the lowest so far.
        best: bool,
    },
    /// A sample is due.
    Sample {
        /// Optimiser steps taken.
        step: u64,
        /// The averaged weights, without gradients.
        ema: &'a M,
    },
    /// A file was written.
    Checkpoint {
        /// Optimiser steps taken.
        step: u64,
        /// The file.
        path: &'a Path,
    },
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// Its length was reached.
    Finished,
    /// The validation loss did not fall for `patience` validations.
    Patience,
    /// `max_minutes` were over; it can be resumed.
    TimeLimit,
    /// The caller answered [`ControlFlow::Break`](std::ops::ControlFlow::Break); it can be resumed.
    Stopped,
}

/// What a run leaves.
#[derive(Debug)]
pub struct Outcome<M> {
    /// The trained weights, with gradients.
    pub model: M,
    /// The averaged weights, without gradients; the trained ones where the run keeps no average.
    pub ema: M,
    /// Optimiser steps taken.
    pub step: u64,
    /// Why it ended.
    pub reason: EndReason,
    /// Lowest validation loss.
    pub best_validation: Option<f64>,
    /// Seconds of training, over all parts of the run.
    pub seconds: f64,
}
