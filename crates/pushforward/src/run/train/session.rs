//! One training run between the loop and the caller: what all families share.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::Device;

use crate::aef::ImageShape;
use crate::params;
use crate::rng::{Purpose, Stream, stream};
use crate::run::train::error::TrainRunError;
use crate::run::trained::PREVIEW_COUNT;
use crate::train::checkpoint::Resume;
use crate::train::objective::Objective;
use crate::train::{self, Outcome, RunFolder, StepReport, TrainConfig, TrainRequest, Validate};

/// Something that happened in a run.
#[derive(Debug)]
pub enum Event<'a> {
    /// Everything is checked and made; the first step comes next.
    Start {
        /// Number of trained parameters.
        parameters: usize,
        /// Number of training examples.
        examples: usize,
    },
    /// An optimiser step was taken.
    Step(&'a StepReport),
    /// The averaged weights were validated.
    Validation {
        /// Optimiser steps taken.
        step: u64,
        /// Names and values; the first one is the validation loss.
        values: &'a [(String, f64)],
        /// Whether the validation loss is the lowest so far.
        best: bool,
    },
    /// Samples of the averaged weights.
    Preview {
        /// Optimiser steps taken.
        step: u64,
        /// The samples.
        preview: &'a Preview,
    },
    /// A checkpoint was written.
    Checkpoint {
        /// Optimiser steps taken.
        step: u64,
        /// The file.
        path: &'a Path,
    },
}

/// A few samples to look at.
#[derive(Clone, Debug)]
pub enum Preview {
    /// Items of categorical variables.
    Items {
        /// Network evaluations of each.
        nfe: usize,
        /// Class indices, item by item.
        ids: Vec<u32>,
    },
    /// Images.
    Images {
        /// Pixels in `[0, 1]`, image by image.
        pixels: Vec<f32>,
        /// Shape of an image.
        shape: ImageShape,
    },
}

impl Preview {
    /// Number of items.
    pub const COUNT: usize = PREVIEW_COUNT;
}

/// What a run takes beside its recipe and its data.
#[derive(Debug)]
pub struct TrainOptions {
    /// Where to compute.
    pub device: Device,
    /// Name of the device, for the records.
    pub device_name: String,
    /// Folder of the run, for checkpoints; none are written if absent.
    pub folder: Option<PathBuf>,
    /// State to go on from.
    pub resume: Option<Resume>,
    /// Ends this part of the run after so many minutes, leaving it resumable.
    pub max_minutes: Option<f64>,
    /// Threads that compute micro-batches beside each other; useful on a CPU where `train.accumulate` is above 1.
    pub workers: usize,
}

impl TrainOptions {
    /// A run from the start on this device, that leaves nothing on disk.
    pub fn new(device: Device) -> Self {
        Self { device, device_name: "cpu".into(), folder: None, resume: None, max_minutes: None, workers: 1 }
    }
}

/// A run that has been checked.
pub(super) struct Session<'a> {
    pub(super) seed: u64,
    pub(super) config: TrainConfig,
    pub(super) device: Device,
    pub(super) preview_nfe: Vec<usize>,
    pub(super) examples: usize,
    pub(super) folder: Option<RunFolder>,
    pub(super) resume: Option<Resume>,
    pub(super) max_minutes: Option<f64>,
    pub(super) workers: usize,
    pub(super) on_event: &'a mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
}

impl Session<'_> {
    /// The stream of the initial weights.
    pub(super) fn init(&self) -> Stream {
        stream(self.seed, Purpose::Init, 0)
    }

    /// Trains a model, and tells the caller what happens.
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
            ..TrainRequest::new(model, objective, batch, self.config.clone())
        };
        let on_event = &mut self.on_event;
        let outcome = train::train(request, &mut |event| match event {
            train::Event::Step(report) => on_event(Event::Step(report)),
            train::Event::Validation { step, values, best } => on_event(Event::Validation { step, values, best }),
            train::Event::Checkpoint { step, path } => on_event(Event::Checkpoint { step, path }),
            train::Event::Sample { step, ema } => {
                preview(ema).iter().try_for_each(|preview| on_event(Event::Preview { step, preview }))
            }
        })?;
        Ok(outcome)
    }
}
