//! Request, events and outcome of a training run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::checkpoint::Resume;
use super::config::TrainConfig;
use super::objective::Objective;
use super::reduction::Reduction;
use super::report::StepReport;
use crate::ranks::Ranks;

/// Validation function. The model comes without gradients; the first value is the validation loss, lower is better.
pub type Validate<'a, M> = dyn Fn(&M) -> Vec<(String, f64)> + 'a;

/// What to train, and how.
pub struct TrainRequest<'a, M, O: Objective<M>> {
    /// The network, on an autodiff device; its weights are replaced if `resume` is given.
    pub model: M,
    /// The loss to minimise.
    pub objective: &'a O,
    /// Batch of a micro-batch number, counted from 0 over the whole run; must be a pure function of that number.
    pub batch: &'a (dyn Fn(u64) -> O::Batch + Sync),
    /// Validation of the averaged weights.
    pub validate: Option<&'a Validate<'a, M>>,
    /// Seed of the run.
    pub seed: u64,
    /// Settings.
    pub config: TrainConfig,
    /// Where to write checkpoints; `None` to write none.
    pub run: Option<RunFolder>,
    /// State to resume from.
    pub resume: Option<Resume>,
    /// Stops this part of the run after so many minutes; the run can then be resumed.
    pub max_minutes: Option<f64>,
    /// Number of threads that compute micro-batches in parallel, one core each; useful on a CPU with `accumulate` above
    /// 1. The result is the same bit for bit.
    pub workers: usize,
    /// The processes of the run. Each computes its share of the `accumulate` micro-batches of a step; the first one validates and
    /// writes, and all get the same parameters.
    pub ranks: Arc<Ranks>,
    /// How they add their gradients.
    pub reduction: Reduction,
}

impl<'a, M, O: Objective<M>> TrainRequest<'a, M, O> {
    /// A new run with seed 0 on one thread, without validation and without checkpoints.
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
            ranks: Arc::new(Ranks::alone()),
            reduction: Reduction::default(),
        }
    }
}

/// Where a run writes its checkpoints, and the metadata it writes into them.
#[derive(Clone, Debug)]
pub struct RunFolder {
    /// Folder of the run; checkpoints go to `checkpoints` inside.
    pub path: PathBuf,
    /// The resolved recipe, as TOML.
    pub recipe: String,
    /// Provenance: versions, data and its hash, device, and so on.
    pub provenance: BTreeMap<String, String>,
}

/// What a run reports of its progress, whatever its model.
#[derive(Clone, Copy, Debug)]
pub enum Progress<'a> {
    /// An optimiser step was taken.
    Step(&'a StepReport),
    /// The averaged weights were validated.
    Validation {
        /// Optimiser steps taken.
        step: u64,
        /// Names and values, as the validation function returned them; the first one is the validation loss.
        values: &'a [(String, f64)],
        /// Whether the validation loss is the lowest so far.
        best: bool,
    },
    /// A file was written.
    Checkpoint {
        /// Optimiser steps taken.
        step: u64,
        /// The file.
        path: &'a Path,
    },
}

/// An event of a training run.
pub enum Event<'a, M> {
    /// The run goes on as reported.
    Progress(Progress<'a>),
    /// A sample is due, see [`TrainConfig::sample_every`].
    Sample {
        /// Optimiser steps taken.
        step: u64,
        /// The averaged weights, without gradients.
        ema: &'a M,
    },
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// Its length was reached.
    Finished,
    /// The validation loss did not fall for `patience` validations.
    Patience,
    /// `max_minutes` passed; the run can be resumed.
    TimeLimit,
    /// The callback returned [`ControlFlow::Break`](std::ops::ControlFlow::Break); the run can be resumed.
    Stopped,
}

/// Result of a training run.
#[derive(Debug)]
pub struct Outcome<M> {
    /// The trained weights, with gradients.
    pub model: M,
    /// The averaged weights, without gradients; the trained weights if the run keeps no average. Those of the lowest
    /// validation loss if the run may stop early (`patience`), of the last step otherwise.
    pub ema: M,
    /// Optimiser steps after which `ema` was taken.
    pub ema_step: u64,
    /// Optimiser steps taken.
    pub step: u64,
    /// Why it ended.
    pub reason: EndReason,
    /// Lowest validation loss; `None` without a finite one.
    pub best_validation: Option<f64>,
    /// Seconds of training, summed over all resumed parts of the run.
    pub seconds: f64,
}
