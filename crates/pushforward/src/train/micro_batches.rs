//! The micro-batches of an optimiser step: their gradients, computed in turn or in parallel, and added over all ranks.

use std::ops::Range;

use burn::module::Module;
use burn::tensor::Tensor;

use super::config::TrainConfig;
use super::gradients::Gradients;
use super::reduction::{Reduction, Row, Summation};
use super::report::Micro;
use crate::params;
use crate::ranks::{RankError, Ranks};
use crate::train::objective::{LossTerm, Objective, TrainStep};

/// Inputs that the micro-batches of one optimiser step share.
pub(super) struct Shared<M> {
    pub(super) model: M,
    pub(super) ema: M,
    pub(super) seed: u64,
    pub(super) step: u64,
    pub(super) steps: u64,
}

/// Gradients by term, in the order in which terms appear.
pub(super) type Terms = Vec<(String, Gradients)>;

/// Result of a micro-batch.
struct MicroResult {
    index: u64,
    loss: f64,
    /// One per term if terms are differentiated separately (PCGrad), otherwise that of their sum.
    gradients: Vec<(&'static str, Gradients)>,
    micro: Micro,
}

/// Sums over the micro-batches of a step.
pub(super) struct StepSums {
    pub(super) terms: Terms,
    /// Of this rank.
    pub(super) micros: Vec<Micro>,
    pub(super) loss: f64,
}

impl<M: Module> Shared<M> {
    /// The sums over micro-batches `indices` of all ranks.
    pub(super) fn sums<O: Objective<M> + Sync>(
        &self,
        objective: &O,
        batch: &(dyn Fn(u64) -> O::Batch + Sync),
        indices: Range<u64>,
        config: &TrainConfig,
        workers: &[rayon::ThreadPool],
        (ranks, reduction): (&Ranks, Reduction),
    ) -> Result<StepSums, RankError> {
        let total = (indices.end - indices.start) as usize;
        let mine = |share: Range<usize>| indices.start + share.start as u64..indices.start + share.end as u64;
        let own = mine(ranks.share(total));
        let parameters = params::flat(&self.model);
        let streams = ranks.size() > 1 && reduction.reproducible;
        let mut summation = Summation::new(ranks, reduction, &parameters);
        let (mut losses, mut micros) = (Vec::new(), Vec::new());
        let mut terms = Terms::new();
        // In the order of their indices, so that the result is the same bit for bit for any number of workers.
        self.compute(objective, batch, own.clone(), config, workers, &mut |result| {
            losses.push((result.index, result.loss));
            micros.push(result.micro);
            if streams {
                let row = |(name, gradients): (&str, _)| Row { index: result.index, name: name.into(), gradients };
                summation.add(&result.gradients.into_iter().map(row).collect::<Vec<_>>());
            } else {
                result.gradients.into_iter().for_each(|(name, gradients)| accumulate(&mut terms, name, gradients));
            }
        });
        if ranks.size() > 1 {
            let rounds = if streams { total.div_ceil(ranks.size()) } else { 1 };
            let done = if streams { losses.len() } else { 0 };
            for _ in done..rounds {
                let row = |(name, gradients)| Row { index: own.start, name, gradients };
                summation.add(&std::mem::take(&mut terms).into_iter().map(row).collect::<Vec<_>>());
            }
            terms = summation.finish()?;
            losses = all_losses(ranks, &losses)?;
        }
        Ok(StepSums { terms, micros, loss: losses.iter().fold(0.0, |sum, (_, loss)| sum + loss) })
    }

    /// Passes on the results of the micro-batches in order: each when it is there, or all at the end if they are computed in
    /// parallel.
    fn compute<O: Objective<M> + Sync>(
        &self,
        objective: &O,
        batch: &(dyn Fn(u64) -> O::Batch + Sync),
        indices: Range<u64>,
        config: &TrainConfig,
        workers: &[rayon::ThreadPool],
        take: &mut dyn FnMut(MicroResult),
    ) {
        if workers.is_empty() || indices.end - indices.start == 1 {
            return indices.for_each(|index| take(self.micro_batch(objective, batch, index, config)));
        }
        // Every worker has its own copy of the parameters as leaves, so that the autodiff graphs share no node.
        let fork = |_| Self { model: self.model.valid().train(), ema: self.ema.clone(), ..*self };
        let forks: Vec<Self> = workers.iter().map(fork).collect();
        let (first, count) = (indices.start, workers.len() as u64);
        let mut results: Vec<MicroResult> = std::thread::scope(|scope| {
            let running: Vec<_> = (0u64..)
                .zip(workers.iter().zip(forks))
                .map(|(worker, (pool, shared))| {
                    let mine = indices.clone().filter(move |index| (index - first) % count == worker);
                    scope.spawn(move || {
                        pool.install(move || {
                            let _precision = config.precision.scope();
                            mine.map(|index| shared.micro_batch(objective, batch, index, config)).collect::<Vec<_>>()
                        })
                    })
                })
                .collect();
            let join = |handle: std::thread::ScopedJoinHandle<'_, Vec<MicroResult>>| {
                handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            running.into_iter().flat_map(join).collect()
        });
        results.sort_by_key(|result| result.index);
        results.into_iter().for_each(take);
    }

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

fn accumulate(sums: &mut Terms, name: &str, gradients: Gradients) {
    match sums.iter_mut().find(|(known, _)| known == name) {
        Some((_, sum)) => *sum = std::mem::take(sum) + gradients,
        None => sums.push((name.to_owned(), gradients)),
    }
}

/// The losses of the micro-batches of all ranks, which are in the order of their indices.
fn all_losses(ranks: &Ranks, own: &[(u64, f64)]) -> Result<Vec<(u64, f64)>, RankError> {
    let pair = |&(index, loss): &(u64, f64)| [index.to_le_bytes(), loss.to_le_bytes()].concat();
    let all = ranks.gather(own.iter().flat_map(pair).collect())?;
    let read = |bytes: &[u8; 16]| {
        let ([index, loss], _) = bytes.as_chunks::<8>() else { unreachable!("16 are two times 8") };
        (u64::from_le_bytes(*index), f64::from_le_bytes(*loss))
    };
    Ok(all.iter().flat_map(|bytes| bytes.as_chunks().0.iter().map(read)).collect())
}
