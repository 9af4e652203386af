//! Part of a training run that all families share: connects the training loop to the caller's events.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use burn::module::Module;
use burn::tensor::Device;

use crate::data::DataConfig;
use crate::params;
use crate::ranks::Ranks;
use crate::rng::{Purpose, Stream, stream};
use crate::run::preview::Preview;
use crate::run::train::error::TrainRunError;
use crate::train::checkpoint::Resume;
use crate::train::objective::Objective;
use crate::train::{self, Outcome, Progress, Reduction, RunFolder, TrainConfig, TrainRequest, Validate};

/// Progress of a run, for its caller.
#[derive(Debug)]
pub enum Event<'a> {
    /// Checks have passed and the model is constructed; the first step comes next.
    Start {
        /// Number of trained parameters.
        parameters: usize,
        /// Number of training examples.
        examples: usize,
    },
    /// What the training loop reports: steps, validations and checkpoints.
    Progress(Progress<'a>),
    /// Samples of the averaged weights.
    Preview {
        /// Optimiser steps taken.
        step: u64,
        /// The samples.
        preview: &'a Preview,
    },
}

/// Options of a run that are not part of its recipe.
#[derive(Debug)]
pub struct TrainOptions {
    /// Device to compute on.
    pub device: Device,
    /// Name of the device, for the provenance.
    pub device_name: String,
    /// Folder of the run, for checkpoints; `None` to write no files.
    pub folder: Option<PathBuf>,
    /// State to resume from; see [`resume`](crate::run::resume).
    pub resume: Option<Resume>,
    /// Stops after this many minutes; the run can then be resumed.
    pub max_minutes: Option<f64>,
    /// Threads that compute micro-batches concurrently; useful on a CPU with `train.accumulate` above 1.
    pub workers: usize,
    /// Bytes of memory that the run may take; one that needs more is refused before anything is allocated. `None` for
    /// no limit.
    pub memory: Option<u64>,
    /// The processes of the run, each with the same recipe, data and state to resume from; see [`TrainRequest::ranks`]. The first
    /// one writes to `folder`.
    pub ranks: Arc<Ranks>,
    /// How ranks add their gradients.
    pub reduction: Reduction,
}

impl TrainOptions {
    /// A new run on this device that writes no files.
    pub fn new(device: Device) -> Self {
        Self {
            device,
            device_name: "cpu".into(),
            folder: None,
            resume: None,
            max_minutes: None,
            workers: 1,
            memory: None,
            ranks: Arc::new(Ranks::alone()),
            reduction: Reduction::default(),
        }
    }
}

/// A run whose recipe and data have been checked.
pub(super) struct Session<'a> {
    pub(super) seed: u64,
    pub(super) config: TrainConfig,
    pub(super) device: Device,
    /// Data of the recipe, and their provenance.
    pub(super) data: DataConfig,
    pub(super) provenance: BTreeMap<String, String>,
    pub(super) preview_nfe: Vec<usize>,
    pub(super) examples: usize,
    pub(super) folder: Option<RunFolder>,
    pub(super) resume: Option<Resume>,
    pub(super) max_minutes: Option<f64>,
    pub(super) workers: usize,
    pub(super) ranks: Arc<Ranks>,
    pub(super) reduction: Reduction,
    pub(super) on_event: &'a mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
}

impl Session<'_> {
    /// Random stream of the initial weights.
    pub(super) fn init(&self) -> Stream {
        stream(self.seed, Purpose::Init, 0)
    }

    /// Trains a model and passes events on to the caller.
    pub(super) fn fit<M: Module, O: Objective<M> + Sync>(
        &mut self,
        model: M,
        objective: &O,
        batch: &(dyn Fn(u64) -> O::Batch + Sync),
        validate: &Validate<'_, M>,
        preview: &dyn Fn(&M) -> Vec<Preview>,
    ) -> Result<Outcome<M>, TrainRunError> {
        let start = Event::Start { parameters: params::count(&model), examples: self.examples };
        if (self.on_event)(start).is_break() {
            return Err(TrainRunError::Refused);
        }
        let request = TrainRequest {
            validate: Some(validate),
            seed: self.seed,
            run: self.folder.take(),
            resume: self.resume.take(),
            max_minutes: self.max_minutes,
            workers: self.workers,
            ranks: self.ranks.clone(),
            reduction: self.reduction,
            ..TrainRequest::new(model, objective, batch, self.config.clone())
        };
        let on_event = &mut self.on_event;
        let outcome = train::train(request, &mut |event| match event {
            train::Event::Progress(progress) => on_event(Event::Progress(progress)),
            train::Event::Sample { step, ema } => {
                preview(ema).iter().try_for_each(|preview| on_event(Event::Preview { step, preview }))
            }
        })?;
        Ok(outcome)
    }
}
