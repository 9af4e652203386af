//! Training: one loop for every model, objective and data set.
//!
//! ```text
//! for every optimiser step:   gradient of the mean loss of `accumulate` micro-steps -> check -> clip -> AdamW -> average
//! ```
//!
//! Whatever is random in a micro-step, and which examples it sees, is a function of its index. A run therefore has no hidden
//! state beyond [`Resume`], and one that was interrupted and resumed equals an uninterrupted one bit for bit on a CPU.
//!
//! The loop prints nothing: what happens is told through [`Event`]s, and the caller's answer may end the run.

pub mod checkpoint;
pub mod config;
pub mod ema;
pub mod gradients;
pub mod metrics;
pub mod objective;
pub mod optim;
mod report;
pub mod schedule;
mod state;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod toy;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

use burn::module::Module;

pub use self::config::{ConfigError, TrainConfig};
use self::gradients::{clip, grad_norm};
pub use self::report::{Details, NonFinite, StepReport, TIME_BUCKETS};
use self::report::{Rate, details, first_non_finite};
use self::state::Run;
use crate::params::{self, ParamsError};
use crate::train::checkpoint::{BEST, CheckpointError, LAST, RESUME, Resume};
use crate::train::objective::Objective;

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
    /// The caller answered [`ControlFlow::Break`]; it can be resumed.
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

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// A setting is out of range.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The state to resume from belongs to another seed.
    #[error("the run to resume has seed {found}, the request says {expected}: resume with the recipe of the run")]
    Seed {
        /// Seed of the request.
        expected: u64,
        /// Seed of the state.
        found: u64,
    },
    /// The state to resume from does not keep averaged weights and the request does, or the other way round.
    #[error("the run to resume and the request differ in train.ema: resume with the recipe of the run")]
    EmaMismatch,
    /// The state to resume from does not fit the model.
    #[error("the run cannot be resumed with this model: {0}")]
    Resume(#[from] ParamsError),
    /// A checkpoint cannot be written.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The loss or the gradient is infinite or not a number. The weights of before the step were not touched.
    #[error(
        "training stopped in step {step}: {place}; {}; try a lower train.lr or train.clip",
        checkpoint.as_ref().map_or("no checkpoint was written yet".into(), |p| format!("the last good checkpoint is {}", p.display()))
    )]
    NonFinite {
        /// The optimiser step, counted from 1, that could not be taken.
        step: u64,
        /// Where.
        place: NonFinite,
        /// The last checkpoint written.
        checkpoint: Option<PathBuf>,
    },
}

/// Trains a model. Where `on_event` breaks, the step is finished, a checkpoint is written and the run returns.
///
/// With `config.minutes` the run ends and the schedule follows the clock; `TrainStep::steps` is then an estimate from the rate so far.
///
/// # Errors
/// See [`TrainError`]. After an error the files of the run are those of its last checkpoint.
///
/// # Panics
/// If an objective returns no terms, or times that do not belong to its examples; or a model without tracked parameters.
pub fn train<M: Module, O: Objective<M> + Sync>(
    request: TrainRequest<'_, M, O>,
    on_event: &mut dyn FnMut(Event<'_, M>) -> ControlFlow<()>,
) -> Result<Outcome<M>, TrainError> {
    let TrainRequest { model, objective, batch, validate, seed, config, run: folder, resume, max_minutes, workers } =
        request;
    config.validate()?;
    let _precision = config.precision.scope();
    let start = Instant::now();
    let mut saved_step = resume.as_ref().map(|resume| resume.step);
    let mut run = Run::begin(model, seed, &config, resume)?;
    run.spawn_workers(workers, &config);
    if saved_step.is_some() {
        run.last_good =
            folder.as_ref().map(|run| checkpoint::folder(&run.path).join(RESUME)).filter(|path| path.exists());
    }
    let mut rate = Rate::default();
    let mut stop = false;

    let reason = loop {
        let elapsed = run.seconds_before + start.elapsed().as_secs_f64();
        let progress = match config.minutes {
            Some(minutes) => elapsed / (60.0 * minutes),
            None => run.step as f64 / config.steps as f64,
        };
        if progress >= 1.0 {
            break EndReason::Finished;
        }
        if config.patience.is_some_and(|patience| run.stale_validations >= patience) {
            break EndReason::Patience;
        }
        if stop {
            break EndReason::Stopped;
        }
        if max_minutes.is_some_and(|minutes| start.elapsed().as_secs_f64() >= 60.0 * minutes) {
            break EndReason::TimeLimit;
        }

        let step_start = Instant::now();
        let (gradients, micros, loss) = run.accumulate_gradients(objective, batch, &config, progress);
        let failed = |place| TrainError::NonFinite { step: run.step + 1, place, checkpoint: run.last_good.clone() };
        if !loss.is_finite() {
            return Err(failed(first_non_finite(&micros)));
        }
        let norm = grad_norm(&gradients);
        if !norm.is_finite() {
            let parameter = gradients.first_non_finite().map(|index| params::flat(&run.model)[index].name.clone());
            return Err(failed(NonFinite::Gradient { parameter }));
        }
        let lr = config.lr * config.schedule.factor(run.step, config.warmup, progress);
        run.update(lr, clip(gradients, norm, config.clip.unwrap_or(f64::INFINITY)));
        rate.add(config.batch as u64 * config.accumulate, step_start.elapsed().as_secs_f64());

        let log = run.step == 1 || due(run.step, config.log_every);
        let report = StepReport {
            step: run.step,
            loss,
            lr,
            grad_norm: norm,
            seconds: run.seconds_before + start.elapsed().as_secs_f64(),
            examples_per_second: rate.examples_per_second(),
            details: log.then(|| details(&micros)),
        };
        if log {
            rate = Rate::default();
        }
        drop(micros);
        stop |= on_event(Event::Step(&report)).is_break();

        let mut files = Vec::new();
        if let Some(validate) = validate.filter(|_| due(run.step, config.validate_every)) {
            let values = validate(&run.averaged());
            let best = run.record_validation(&values);
            if best {
                files.push(BEST.to_owned());
            }
            stop |= on_event(Event::Validation { step: run.step, values: &values, best }).is_break();
        }
        if due(run.step, config.keep_every) {
            files.push(checkpoint::step_file(run.step));
        }
        if due(run.step, config.checkpoint_every) {
            files.extend([LAST.to_owned(), RESUME.to_owned()]);
            saved_step = Some(run.step);
        }
        stop |= run.save(folder.as_ref(), &files, start, on_event)?;
        if !stop && due(run.step, config.sample_every) {
            stop |= on_event(Event::Sample { step: run.step, ema: &run.averaged() }).is_break();
        }
    };
    if saved_step != Some(run.step) {
        run.save(folder.as_ref(), &[LAST.to_owned(), RESUME.to_owned()], start, on_event)?;
    }
    Ok(Outcome {
        ema: run.averaged(),
        model: run.model,
        step: run.step,
        reason,
        best_validation: run.best_validation,
        seconds: run.seconds_before + start.elapsed().as_secs_f64(),
    })
}

/// Whether something that happens every `every` steps, 0 for never, happens at `step`.
fn due(step: u64, every: u64) -> bool {
    every > 0 && step.is_multiple_of(every)
}
