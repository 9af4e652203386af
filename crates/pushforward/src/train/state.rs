//! The state of a run, and the operations of a step that change it.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Instant;

use burn::module::Module;
use burn::tensor::Tensor;

use super::config::TrainConfig;
use super::ema::Ema;
use super::error::TrainError;
use super::gradients::{Gradients, pcgrad};
use super::optim::AdamWOptimizer;
use super::report::Micro;
use super::request::{Event, Progress, RunFolder};
use crate::params::{self, StateDict};
use crate::train::checkpoint::{self, Checkpoint, FORMAT, RESUME, Resume};
use crate::train::objective::{LossTerm, Objective, TrainStep};

/// The state of a run between two optimiser steps.
pub(super) struct Run<M> {
    seed: u64,
    pub(super) model: M,
    ema: Option<Ema<M>>,
    optimizer: AdamWOptimizer,
    pub(super) step: u64,
    micro_batch: u64,
    pub(super) best_validation: Option<f64>,
    pub(super) stale_validations: u64,
    pub(super) seconds_before: f64,
    pub(super) last_good: Option<PathBuf>,
    /// One single-threaded pool per micro-batch computed in parallel; empty if they are computed one after another.
    workers: Vec<rayon::ThreadPool>,
}

impl<M: Module> Run<M> {
    pub(super) fn begin(model: M, seed: u64, config: &TrainConfig, resume: Option<Resume>) -> Result<Self, TrainError> {
        let mut run = Self {
            seed,
            ema: config.ema.map(|config| Ema::new(config, &model, 0)),
            model,
            optimizer: AdamWOptimizer::new(config.adamw()),
            step: 0,
            micro_batch: 0,
            best_validation: None,
            stale_validations: 0,
            seconds_before: 0.0,
            last_good: None,
            workers: Vec::new(),
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
        let useful = workers.min(config.accumulate as usize);
        if useful > 1 {
            let pool = |_| rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("the system grants a thread");
            self.workers = (0..useful).map(pool).collect();
        }
    }

    pub(super) fn averaged(&self) -> M {
        self.ema.as_ref().map_or_else(|| self.model.valid(), |ema| ema.model().clone())
    }

    /// The gradient of the mean loss over the micro-batches of one optimiser step, and that loss.
    pub(super) fn accumulate_gradients<O: Objective<M> + Sync>(
        &mut self,
        objective: &O,
        batch: &(dyn Fn(u64) -> O::Batch + Sync),
        config: &TrainConfig,
        progress: f64,
    ) -> (Gradients, Vec<Micro>, f64) {
        let steps = match config.minutes {
            Some(_) if progress > 0.0 => ((self.step as f64 / progress).round() as u64).max(self.step + 1),
            _ => config.steps,
        };
        let averaged = self.averaged();
        let mut sums: Vec<(&'static str, Gradients)> = Vec::new();
        let mut loss_sum = 0.0;
        let mut micros = Vec::new();
        let first = self.micro_batch;
        self.micro_batch += config.accumulate;
        let view = |model| Shared { model, ema: averaged.clone(), seed: self.seed, step: self.step, steps };
        let mut results: Vec<MicroResult> = if self.workers.is_empty() || config.accumulate == 1 {
            let shared = view(self.model.clone());
            (first..self.micro_batch).map(|index| shared.micro_batch(objective, batch, index, config)).collect()
        } else {
            // Every worker has its own copy of the parameters as leaves, so that the autodiff graphs share no node.
            let forks: Vec<Shared<M>> = self.workers.iter().map(|_| view(self.model.valid().train())).collect();
            let indices = first..self.micro_batch;
            let count = self.workers.len() as u64;
            std::thread::scope(|scope| {
                let running: Vec<_> = (0u64..)
                    .zip(self.workers.iter().zip(forks))
                    .map(|(worker, (pool, shared))| {
                        let mine = indices.clone().filter(move |index| (index - first) % count == worker);
                        scope.spawn(move || {
                            pool.install(move || {
                                let _precision = config.precision.scope();
                                mine.map(|index| shared.micro_batch(objective, batch, index, config))
                                    .collect::<Vec<_>>()
                            })
                        })
                    })
                    .collect();
                let join = |handle: std::thread::ScopedJoinHandle<'_, Vec<MicroResult>>| {
                    handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                };
                running.into_iter().flat_map(join).collect()
            })
        };
        // Summed in the order of their indices, so that the result is the same bit for bit for any number of workers.
        results.sort_by_key(|result| result.index);
        for result in results {
            loss_sum += result.loss;
            for (name, gradients) in result.gradients {
                accumulate(&mut sums, name, gradients);
            }
            micros.push(result.micro);
        }
        let scale = 1.0 / config.accumulate as f64;
        let loss = loss_sum * scale;
        // A step without the main term has no conflict.
        let main = objective.main_term().map_or(Some(0), |main| sums.iter().position(|(name, _)| *name == main));
        let first = main.map(|main| sums.remove(main).1).unwrap_or_default();
        let project = |(_, later)| if first.0.is_empty() { later } else { pcgrad(&first, later) };
        let later = sums.into_iter().map(project).reduce(|sum, later| sum + later).unwrap_or_default();
        ((first + later).scale(scale), micros, loss)
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
        let Some(run) = folder.filter(|_| !files.is_empty()) else { return Ok(false) };
        let weights = |model: &M| -> StateDict { params::collect(model).into_iter().collect() };
        let raw = weights(&self.model);
        let ema = self.ema.as_ref().map(|ema| weights(ema.model()));
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

/// Inputs that the micro-batches of one optimiser step share.
struct Shared<M> {
    model: M,
    ema: M,
    seed: u64,
    step: u64,
    steps: u64,
}

/// Result of a micro-batch.
struct MicroResult {
    index: u64,
    loss: f64,
    /// One per term if terms are differentiated separately (PCGrad), otherwise that of their sum.
    gradients: Vec<(&'static str, Gradients)>,
    micro: Micro,
}

impl<M: Module> Shared<M> {
    fn micro_batch<O: Objective<M>>(
        &self,
        objective: &O,
        batch: &(dyn Fn(u64) -> O::Batch + Sync),
        index: u64,
        config: &TrainConfig,
    ) -> MicroResult {
        let view = TrainStep {
            model: &self.model,
            ema: &self.ema,
            seed: self.seed,
            index,
            step: self.step,
            steps: self.steps,
        };
        let parts = objective.loss(&view, &batch(index));
        let total = parts.terms.iter().map(|term| term.loss.clone()).reduce(Tensor::add);
        let total = total.expect("an objective returns at least one term");
        let loss = total.clone().without_autodiff().into_scalar::<f64>();
        let gradients = if config.pcgrad {
            // The sum was only needed for its value: dropping it without a backward pass keeps the graphs of the terms.
            drop(total);
            let of = |term: &LossTerm| (term.values.name, Gradients::of(&term.loss, &self.model));
            parts.terms.iter().map(of).collect()
        } else {
            vec![("", Gradients::of(&total, &self.model))]
        };
        MicroResult { index, loss, gradients, micro: Micro::new(index, parts) }
    }
}

fn accumulate(sums: &mut Vec<(&'static str, Gradients)>, name: &'static str, gradients: Gradients) {
    match sums.iter_mut().find(|(known, _)| *known == name) {
        Some((_, sum)) => *sum = std::mem::take(sum) + gradients,
        None => sums.push((name, gradients)),
    }
}
