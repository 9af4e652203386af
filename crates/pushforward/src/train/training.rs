//! The training loop.

use std::ops::ControlFlow;
use std::time::Instant;

use burn::module::Module;

use super::checkpoint::{self, BEST, Checkpoint, LAST, RESUME};
use super::config::TrainConfig;
use super::error::TrainError;
use super::gradients::{clip, grad_norm};
use super::objective::Objective;
use super::report::{NonFinite, Rate, StepReport, details, first_non_finite, on_host};
use super::request::{EndReason, Event, Outcome, Progress, RunFolder, TrainRequest};
use super::state::Run;
use crate::params;
use crate::ranks::RankError;

/// Trains a model. If `on_event` breaks, the step is finished, a checkpoint is written and the run returns.
///
/// With `config.minutes`, the length of the run and the schedule follow the clock; `TrainStep::steps` is then an
/// estimate from the speed so far. The page of [`train`](crate::train) has an example.
///
/// # Errors
/// See [`TrainError`]. After an error the files of the run are those of its last checkpoint.
///
/// # Panics
/// If the objective returns no terms, or another number of times than examples, or if the model has no tracked
/// parameters.
pub fn train<M: Module, O: Objective<M> + Sync>(
    request: TrainRequest<'_, M, O>,
    on_event: &mut dyn FnMut(Event<'_, M>) -> ControlFlow<()>,
) -> Result<Outcome<M>, TrainError> {
    let TrainRequest {
        model, objective, batch, validate, seed, config, run: folder, resume, max_minutes, workers, ..
    } = request;
    let (ranks, reduction) = (request.ranks, request.reduction);
    config.validate()?;
    if ranks.size() as u64 > config.accumulate {
        return Err(TrainError::Idle { ranks: ranks.size(), accumulate: config.accumulate });
    }
    let _precision = config.precision.scope();
    let start = Instant::now();
    let mut saved_step = resume.as_ref().map(|resume| resume.step);
    let mut run = Run::begin(model, seed, &config, resume, (ranks.clone(), reduction))?;
    same_run(&run, seed, &config).map_err(|error| run.lost(error))?;
    run.spawn_workers(workers, &config);
    if saved_step.is_some() {
        run.last_good =
            folder.as_ref().map(|run| checkpoint::folder(&run.path).join(RESUME)).filter(|path| path.exists());
    }
    let mut rate = Rate::default();
    let mut stop = false;
    // Only where the run may go on far past its best step.
    let mut best_weights: Option<(u64, M)> = None;

    let reason = loop {
        let seconds;
        (stop, seconds) = run.decide(stop, start.elapsed().as_secs_f64()).map_err(|error| run.lost(error))?;
        let progress = match config.minutes {
            Some(minutes) => (run.seconds_before + seconds) / (60.0 * minutes),
            None => run.step as f64 / config.steps as f64,
        };
        let reasons = [
            (EndReason::Finished, progress >= 1.0),
            (EndReason::Patience, config.patience.is_some_and(|patience| run.stale_validations >= patience)),
            (EndReason::Stopped, stop),
            (EndReason::TimeLimit, max_minutes.is_some_and(|minutes| seconds >= 60.0 * minutes)),
        ];
        if let Some((reason, _)) = reasons.into_iter().find(|(_, applies)| *applies) {
            break reason;
        }

        let report = step(&mut run, objective, batch, &config, progress, start, &mut rate)?;
        stop |= on_event(Event::Progress(Progress::Step(&report))).is_break();

        let mut files = Vec::new();
        if let Some(validate) = validate.filter(|_| due(run.step, config.validate_every)) {
            let values = ranks.from_first(|| encode(&validate(&run.averaged())));
            let values = values.and_then(|bytes| decode(&bytes)).map_err(|error| run.lost(error))?;
            let best = run.record_validation(&values);
            if best {
                files.push(BEST.to_owned());
                best_weights = config.patience.map(|_| (run.step, run.averaged()));
            }
            stop |=
                on_event(Event::Progress(Progress::Validation { step: run.step, values: &values, best })).is_break();
        }
        if due(run.step, config.keep_every) {
            files.push(checkpoint::step_file(run.step));
        }
        if due(run.step, config.checkpoint_every) {
            files.extend([LAST.to_owned(), RESUME.to_owned()]);
            saved_step = Some(run.step);
        }
        if !files.is_empty() || due(run.step, reduction.check_every) {
            run.compare().map_err(|error| run.lost(error))?;
        }
        stop |= save(&mut run, folder.as_ref(), &files, start, on_event)?;
        if due(run.step, config.sample_every) {
            let mut draw = || on_event(Event::Sample { step: run.step, ema: &run.averaged() }).is_break();
            let drawn = ranks.from_first(|| vec![u8::from(!stop && draw())]).map_err(|error| run.lost(error))?;
            stop |= drawn == [1];
        }
    };
    if saved_step != Some(run.step) {
        run.compare().map_err(|error| run.lost(error))?;
        save(&mut run, folder.as_ref(), &[LAST.to_owned(), RESUME.to_owned()], start, on_event)?;
    }
    if config.patience.is_some() && best_weights.is_none() && run.best_validation.is_some() {
        best_weights = saved_best(&run, folder.as_ref())?;
    }
    let (ema_step, ema) = best_weights.unwrap_or_else(|| (run.step, run.averaged()));
    Ok(Outcome {
        ema,
        ema_step,
        model: run.model,
        step: run.step,
        reason,
        best_validation: run.best_validation,
        seconds: run.seconds_before + start.elapsed().as_secs_f64(),
    })
}

/// Whether all ranks begin the same run.
fn same_run<M: Module>(run: &Run<M>, seed: u64, config: &TrainConfig) -> Result<(), RankError> {
    if run.ranks.size() == 1 {
        return Ok(());
    }
    let own = format!("{seed} {} {config:?}", run.step);
    run.ranks.agree(own.as_bytes(), "has another recipe, seed or step to resume from than the others")?;
    run.compare()
}

/// Writes files on the first rank, while the others wait.
fn save<M: Module>(
    run: &mut Run<M>,
    folder: Option<&RunFolder>,
    files: &[String],
    start: Instant,
    on_event: &mut dyn FnMut(Event<'_, M>) -> ControlFlow<()>,
) -> Result<bool, TrainError> {
    if files.is_empty() {
        return Ok(false);
    }
    let (ranks, mut written) = (run.ranks.clone(), Ok(false));
    let waited = ranks.from_first(|| {
        written = run.save(folder, files, start, on_event);
        Vec::new()
    });
    waited.map_err(|error| run.lost(error))?;
    written
}

/// The values of a validation as bytes, bit for bit.
fn encode(values: &[(String, f64)]) -> Vec<u8> {
    let bits: Vec<(&str, u64)> = values.iter().map(|(name, value)| (name.as_str(), value.to_bits())).collect();
    serde_json::to_vec(&bits).expect("names and numbers")
}

fn decode(bytes: &[u8]) -> Result<Vec<(String, f64)>, RankError> {
    let bits: Vec<(String, u64)> =
        serde_json::from_slice(bytes).map_err(|e| RankError::Failed(format!("a validation is damaged: {e}")))?;
    Ok(bits.into_iter().map(|(name, bits)| (name, f64::from_bits(bits))).collect())
}

/// The best weights of a run that was resumed and has not become better since.
fn saved_best<M: Module>(run: &Run<M>, folder: Option<&RunFolder>) -> Result<Option<(u64, M)>, TrainError> {
    let path = folder.map(|folder| checkpoint::folder(&folder.path).join(BEST)).filter(|path| path.exists());
    let Some(path) = path else { return Ok(None) };
    let best = Checkpoint::load(&path)?;
    Ok(Some((best.step, params::load(run.averaged(), &best.ema)?)))
}

/// Takes an optimiser step; `progress` is the share of the run that lies behind it.
fn step<M: Module, O: Objective<M> + Sync>(
    run: &mut Run<M>,
    objective: &O,
    batch: &(dyn Fn(u64) -> O::Batch + Sync),
    config: &TrainConfig,
    progress: f64,
    start: Instant,
    rate: &mut Rate,
) -> Result<StepReport, TrainError> {
    let step_start = Instant::now();
    let sums = run.accumulate_gradients(objective, batch, config, progress);
    let (gradients, micros, loss) = sums.map_err(|error| run.lost(error))?;
    let failed = |place| TrainError::NonFinite { step: run.step + 1, place, checkpoint: run.last_good.clone() };
    if !loss.is_finite() {
        let micros = on_host(&micros, &run.ranks).map_err(|error| run.lost(error))?;
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
    let values = log.then(|| on_host(&micros, &run.ranks)).transpose().map_err(|error| run.lost(error))?;
    let report = StepReport {
        step: run.step,
        loss,
        lr,
        grad_norm: norm,
        seconds: run.seconds_before + start.elapsed().as_secs_f64(),
        examples_per_second: rate.examples_per_second(),
        details: values.map(|micros| details(&micros)),
    };
    if log {
        *rate = Rate::default();
    }
    Ok(report)
}

/// Whether an action with the period `every` (0 for never) is due at `step`.
fn due(step: u64, every: u64) -> bool {
    every > 0 && step.is_multiple_of(every)
}
