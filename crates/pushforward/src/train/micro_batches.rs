//! The micro-batches of an optimiser step: their gradients, computed in turn or in parallel, and added over all ranks.

use std::ops::Range;
use std::sync::Arc;

use burn::module::Module;
use burn::tensor::Tensor;

use super::config::TrainConfig;
use super::gradients::Gradients;
use super::reduction::{Growing, Layout, Reduction, Row, Summation, backward};
use super::report::Micro;
use crate::kernels::watch::Roots;
use crate::params;
use crate::ranks::codec::{Reader, Writer};
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

/// A micro-batch before its backward passes.
struct Forward {
    loss: f64,
    /// One per term if terms are differentiated separately (PCGrad), otherwise their sum.
    losses: Vec<(&'static str, Tensor<1>)>,
    micro: Micro,
}

/// Result of a micro-batch.
struct MicroResult {
    index: u64,
    loss: f64,
    gradients: Vec<(&'static str, Gradients)>,
    micro: Micro,
}

/// How the ranks of a run add gradients.
pub(super) struct Team {
    pub(super) ranks: Arc<Ranks>,
    pub(super) reduction: Reduction,
    /// Where parameters lie in messages, once the first step has shown the order of their gradients.
    pub(super) layout: Option<Arc<Layout>>,
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
        team: &mut Team,
    ) -> Result<StepSums, RankError> {
        let total = (indices.end - indices.start) as usize;
        let mine = |share: Range<usize>| indices.start + share.start as u64..indices.start + share.end as u64;
        let own = mine(team.ranks.share(total));
        if team.ranks.size() > 1 {
            return self.team_sums(objective, batch, (own, total), config, workers, team);
        }
        let mut sums = StepSums { terms: Vec::new(), micros: Vec::new(), loss: 0.0 };
        // Gradients and losses are added in the order of their indices, so that the result is the same bit for bit for any number
        // of workers.
        self.compute(objective, batch, own, config, workers, &mut |result| {
            sums.loss += result.loss;
            sums.micros.push(result.micro);
            result.gradients.into_iter().for_each(|(name, gradients)| accumulate(&mut sums.terms, name, gradients));
        });
        Ok(sums)
    }

    /// The sums of several ranks, of which this one has the micro-batches `own` of so many.
    fn team_sums<O: Objective<M> + Sync>(
        &self,
        objective: &O,
        batch: &(dyn Fn(u64) -> O::Batch + Sync),
        (own, total): (Range<u64>, usize),
        config: &TrainConfig,
        workers: &[rayon::ThreadPool],
        team: &mut Team,
    ) -> Result<StepSums, RankError> {
        let (ranks, reduction) = (&team.ranks, team.reduction);
        let parameters = params::flat(&self.model);
        let lengths: Vec<usize> = parameters.iter().map(|flat| flat.value.dims()[0]).collect();
        let layout = |order| Arc::new(Layout::new(ranks, reduction, &lengths, order));
        // Until it is known, the last parameters are taken for the first that are complete.
        let known = team.layout.clone().unwrap_or_else(|| layout((0..lengths.len()).rev().collect()));
        let rounds = if reduction.reproducible { total.div_ceil(ranks.size()) } else { 1 };
        let mut summation = Summation::new(ranks.clone(), known, rounds);
        let (mut terms, mut losses, mut micros) = (Terms::new(), Vec::new(), Vec::new());
        let row = |index, (name, gradients): (&str, &Gradients)| Row::new(index, name, gradients);
        let parallel = !workers.is_empty() && own.end - own.start > 1;
        let mut order = Vec::new();
        if reduction.overlap && !parallel {
            // In the reproducible order every micro-batch has a round of its own; otherwise all but the last are added first.
            let first_sent = if reduction.reproducible { own.start } else { own.end - 1 };
            self.compute(objective, batch, own.start..first_sent, config, &[], &mut |result| {
                losses.push((result.index, result.loss));
                micros.push(result.micro);
                result.gradients.into_iter().for_each(|(name, gradients)| accumulate(&mut terms, name, gradients));
            });
            for index in first_sent..own.end {
                // Leaves of its own, which no other graph uses.
                let model = params::map_flat(self.model.clone(), |_, value| value);
                let Forward { loss, losses: mut of_terms, micro } =
                    self.forward(&model, objective, batch, index, config);
                losses.push((index, loss));
                micros.push(micro);
                let (name, last) = of_terms.pop().expect("a micro-batch has a loss");
                let roots = if of_terms.is_empty() { Roots::Fresh } else { Roots::Used };
                for (name, loss) in of_terms {
                    accumulate(&mut terms, name, Gradients::of(&loss, &model));
                }
                let first = if reduction.reproducible { index } else { own.start };
                let rows = std::mem::take(&mut terms);
                let rows = rows.iter().map(|(name, gradients)| row(first, (name, gradients))).collect();
                let growing = Growing { rows, name: name.into(), index: first };
                (summation, order) = backward(summation, growing, &last, &model, roots)?;
            }
        } else {
            self.compute(objective, batch, own.clone(), config, workers, &mut |result| {
                losses.push((result.index, result.loss));
                micros.push(result.micro);
                if reduction.reproducible {
                    let row = |(name, gradients): &(&str, _)| row(result.index, (name, gradients));
                    summation.add(&result.gradients.iter().map(row).collect::<Vec<_>>());
                } else {
                    result.gradients.into_iter().for_each(|(name, gradients)| accumulate(&mut terms, name, gradients));
                }
            });
        }
        while summation.rounds() > 0 {
            let rows = std::mem::take(&mut terms);
            summation.add(&rows.iter().map(|(name, gradients)| row(own.start, (name, gradients))).collect::<Vec<_>>());
        }
        let terms = summation.finish(&parameters)?;
        if team.layout.is_none() {
            team.layout = Some(layout(agreed_order(ranks, &order, lengths.len())?));
        }
        let loss = all_losses(ranks, &losses)?.iter().fold(0.0, |sum, (_, loss)| sum + loss);
        Ok(StepSums { terms, micros, loss })
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
        let Forward { loss, losses, micro } = self.forward(&self.model, objective, batch, index, config);
        let gradients = losses.into_iter().map(|(name, loss)| (name, Gradients::of(&loss, &self.model))).collect();
        MicroResult { index, loss, gradients, micro }
    }

    fn forward<O: Objective<M>>(
        &self,
        model: &M,
        objective: &O,
        batch: &(dyn Fn(u64) -> O::Batch + Sync),
        index: u64,
        config: &TrainConfig,
    ) -> Forward {
        let view = TrainStep { model, ema: &self.ema, seed: self.seed, index, step: self.step, steps: self.steps };
        let parts = objective.loss(&view, &batch(index));
        let total = parts.terms.iter().map(|term| term.loss.clone()).reduce(Tensor::add);
        let total = total.expect("an objective returns at least one term");
        let loss = total.clone().without_autodiff().into_scalar::<f64>();
        let losses = if config.pcgrad {
            // The sum was only needed for its value: dropping it without a backward pass keeps the graphs of the terms.
            drop(total);
            parts.terms.iter().map(|term: &LossTerm| (term.values.name, term.loss.clone())).collect()
        } else {
            vec![("", total)]
        };
        Forward { loss, losses, micro: Micro::new(index, parts) }
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

/// The order in which the first rank has seen gradients, with the parameters that it has not seen, first of them the last.
fn agreed_order(ranks: &Ranks, own: &[usize], count: usize) -> Result<Vec<usize>, RankError> {
    let told =
        if ranks.is_first() { Writer::default().u64s(own.iter().map(|&i| i as u64)).bytes() } else { Vec::new() };
    let all = ranks.gather(told)?;
    let seen = Reader::new(&all[0]).u64s()?;
    let mut order = Vec::with_capacity(count);
    for parameter in seen.into_iter().map(|i| i as usize).chain((0..count).rev()) {
        if parameter < count && !order.contains(&parameter) {
            order.push(parameter);
        }
    }
    Ok(order)
}
