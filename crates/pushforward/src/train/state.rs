//! The state of a run, and the operations of a step that change it.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use burn::module::Module;

use super::config::TrainConfig;
use super::ema::Ema;
use super::error::TrainError;
use super::gradients::{Gradients, pcgrad};
use super::micro_batches::{Shared, StepSums, Team};
use super::optim::Optimizer;
use super::reduction::Reduction;
use super::report::Micro;
use super::request::{Event, Progress, RunFolder};
use crate::hash::sha256;
use crate::params::{self, StateDict};
use crate::ranks::{RankError, Ranks};
use crate::train::checkpoint::{self, Checkpoint, FORMAT, RESUME, Resume};
use crate::train::objective::Objective;

/// The state of a run between two optimiser steps.
pub(super) struct Run<M> {
    seed: u64,
    pub(super) model: M,
    ema: Option<Ema<M>>,
    /// The average that the objective keeps as it was.
    kept: Option<M>,
    optimizer: Optimizer,
    pub(super) step: u64,
    micro_batch: u64,
    pub(super) best_validation: Option<f64>,
    pub(super) stale_validations: u64,
    pub(super) seconds_before: f64,
    pub(super) last_good: Option<PathBuf>,
    /// One single-threaded pool per micro-batch computed in parallel; empty if they are computed one after another.
    workers: Vec<rayon::ThreadPool>,
    pub(super) ranks: Arc<Ranks>,
    team: Team,
}

impl<M: Module> Run<M> {
    pub(super) fn begin(
        model: M,
        seed: u64,
        config: &TrainConfig,
        resume: Option<Resume>,
        (ranks, reduction): (Arc<Ranks>, Reduction),
    ) -> Result<Self, TrainError> {
        let mut run = Self {
            seed,
            ema: config.ema.map(|config| Ema::new(config, &model, 0)),
            model,
            kept: None,
            optimizer: Optimizer::new(config.adamw(), config.optimizer),
            step: 0,
            micro_batch: 0,
            best_validation: None,
            stale_validations: 0,
            seconds_before: 0.0,
            last_good: None,
            workers: Vec::new(),
            ranks: ranks.clone(),
            team: Team { ranks, reduction, layout: None },
        };
        let Some(resume) = resume else { return Ok(run) };
        if resume.seed != seed {
            return Err(TrainError::Seed { expected: seed, found: resume.seed });
        }
        run.model = params::load(run.model, &resume.raw)?;
        run.ema = match (config.ema, &resume.ema) {
            (Some(config), Some(ema)) => {
                Some(Ema::new(config, &params::load(run.model.valid(), ema)?, resume.ema_updates))
            }
            (None, None) => None,
            _ => return Err(TrainError::EmaMismatch),
        };
        run.kept = resume.kept.map(|kept| params::load(run.model.valid(), &kept)).transpose()?;
        run.optimizer.restore(&resume.moments, &run.model)?;
        run.step = resume.step;
        run.micro_batch = resume.micro_batch;
        run.best_validation = resume.best_validation;
        run.stale_validations = resume.stale_validations;
        run.seconds_before = resume.elapsed_seconds;
        Ok(run)
    }

    /// Starts the threads that compute the micro-batches of an optimiser step, at most one per micro-batch.
    pub(super) fn spawn_workers(&mut self, workers: usize, config: &TrainConfig) {
        let useful = workers.min(self.ranks.share(config.accumulate as usize).len());
        if useful > 1 {
            let pool = |_| rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("the system grants a thread");
            self.workers = (0..useful).map(pool).collect();
        }
    }

    pub(super) fn averaged(&self) -> M {
        self.ema.as_ref().map_or_else(|| self.model.valid(), |ema| ema.model().clone())
    }

    /// The gradient of the mean loss over the micro-batches of one optimiser step on all ranks, and that loss.
    pub(super) fn accumulate_gradients<O: Objective<M> + Sync>(
        &mut self,
        objective: &O,
        batch: &(dyn Fn(u64) -> O::Batch + Sync),
        config: &TrainConfig,
        progress: f64,
    ) -> Result<(Gradients, Vec<Micro>, f64), RankError> {
        let steps = match config.minutes {
            Some(_) if progress > 0.0 => ((self.step as f64 / progress).round() as u64).max(self.step + 1),
            _ => config.steps,
        };
        let indices = self.micro_batch..self.micro_batch + config.accumulate;
        self.micro_batch = indices.end;
        if self.kept.is_none() && objective.keeps_average(self.step as f64 / steps.max(1) as f64) {
            self.kept = Some(self.averaged());
        }
        let (model, ema) = (self.model.clone(), self.kept.clone().unwrap_or_else(|| self.averaged()));
        let shared = Shared { model, ema, seed: self.seed, step: self.step, steps };
        let StepSums { terms: mut sums, micros, loss } =
            shared.sums(objective, batch, indices, config, &self.workers, &mut self.team)?;
        let scale = 1.0 / config.accumulate as f64;
        // A step without the main term has no conflict.
        let main = objective.main_term().map_or(Some(0), |main| sums.iter().position(|(name, _)| *name == main));
        let first = main.map(|main| sums.remove(main).1).unwrap_or_default();
        let project = |(_, later)| if first.0.is_empty() { later } else { pcgrad(&first, later) };
        let later = sums.into_iter().map(project).reduce(|sum, later| sum + later).unwrap_or_default();
        Ok(((first + later).scale(scale), micros, loss * scale))
    }

    /// Whether any rank asks to stop, and the seconds of the first rank, which all go by.
    pub(super) fn decide(&self, stop: bool, seconds: f64) -> Result<(bool, f64), RankError> {
        let all = self.ranks.gather([&[u8::from(stop)][..], &seconds.to_le_bytes()].concat())?;
        let seconds = all[0].last_chunk().map_or(seconds, |bytes| f64::from_le_bytes(*bytes));
        Ok((all.iter().any(|told| told.first() == Some(&1)), seconds))
    }

    /// The error of a run whose ranks cannot go on together.
    pub(super) fn lost(&self, error: RankError) -> TrainError {
        TrainError::Ranks { error, checkpoint: self.last_good.clone() }
    }

    /// Compares the parameters of all ranks.
    pub(super) fn compare(&self) -> Result<(), RankError> {
        if self.ranks.size() == 1 {
            return Ok(());
        }
        let bytes = |model: &M| params::collect(model).into_iter().map(|(_, data)| data.as_bytes().to_vec());
        let kept = self.kept.iter().flat_map(bytes);
        let own = sha256(bytes(&self.model).chain(bytes(&self.averaged())).chain(kept));
        let what = format!(
            "differs in its parameters after step {}: its memory or its processor is not as those of the others",
            self.step
        );
        self.ranks.agree(own.as_bytes(), &what)
    }

    pub(super) fn update(&mut self, lr: f64, gradients: Gradients) {
        self.model = self.optimizer.step(lr, self.model.clone(), gradients);
        if let Some(ema) = &mut self.ema {
            ema.update(&self.model);
        }
        self.step += 1;
    }

    /// Records a validation; returns whether its loss is the lowest so far.
    pub(super) fn record_validation(&mut self, values: &[(String, f64)]) -> bool {
        let Some((_, loss)) = values.first() else { return false };
        // Infinite and undefined losses are never the best.
        let best = loss.is_finite() && self.best_validation.is_none_or(|best| *loss < best);
        if best {
            self.best_validation = Some(*loss);
            self.stale_validations = 0;
        } else {
            self.stale_validations += 1;
        }
        best
    }

    /// Writes the named files; returns whether the callback asked to stop.
    pub(super) fn save(
        &mut self,
        folder: Option<&RunFolder>,
        files: &[String],
        start: Instant,
        on_event: &mut dyn FnMut(Event<'_, M>) -> ControlFlow<()>,
    ) -> Result<bool, TrainError> {
        let Some(run) = folder.filter(|_| !files.is_empty() && self.ranks.is_first()) else { return Ok(false) };
        let weights = |model: &M| -> StateDict { params::collect(model).into_iter().collect() };
        let raw = weights(&self.model);
        let ema = self.ema.as_ref().map(|ema| weights(ema.model()));
        let kept = self.kept.as_ref().map(weights);
        let mut stop = false;
        for file in files {
            let path = checkpoint::folder(&run.path).join(file);
            let (recipe, provenance) = (run.recipe.clone(), run.provenance.clone());
            if file == RESUME {
                Resume {
                    format: FORMAT,
                    recipe,
                    provenance,
                    seed: self.seed,
                    step: self.step,
                    micro_batch: self.micro_batch,
                    ema_updates: self.ema.as_ref().map_or(0, Ema::updates),
                    best_validation: self.best_validation,
                    stale_validations: self.stale_validations,
                    elapsed_seconds: self.seconds_before + start.elapsed().as_secs_f64(),
                    raw: raw.clone(),
                    ema: ema.clone(),
                    kept: kept.clone(),
                    moments: self.optimizer.moments(),
                }
                .save(&path)?;
            } else {
                let ema = ema.clone().unwrap_or_else(|| raw.clone());
                let checkpoint =
                    Checkpoint { format: FORMAT, step: self.step, recipe, provenance, ema, raw: raw.clone() };
                checkpoint.save(&path)?;
            }
            stop |= on_event(Event::Progress(Progress::Checkpoint { step: self.step, path: &path })).is_break();
            self.last_good = Some(path);
        }
        Ok(stop)
    }
}
