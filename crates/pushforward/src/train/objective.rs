//! The middle of the house: what a training loop needs to know of a family, and nothing else.

use burn::tensor::Tensor;

/// What an objective sees of a training step.
pub struct TrainStep<'a, M> {
    /// The network being trained; its parameters carry gradients.
    pub model: &'a M,
    /// The averaged weights, without gradients; the trained ones where the run keeps no average.
    pub ema: &'a M,
    /// Seed of the run.
    pub seed: u64,
    /// Address of the random streams: the micro-step, counted from 0 over the whole run.
    pub index: u64,
    /// Number of optimiser steps taken before this one.
    pub step: u64,
    /// Length of the run in optimiser steps, for schedules inside an objective.
    pub steps: u64,
}

/// A training objective for models of type `M`.
pub trait Objective<M> {
    /// What one call consumes.
    type Batch;

    /// The loss of one batch.
    fn loss(&self, step: &TrainStep<'_, M>, batch: &Self::Batch) -> LossParts;
}

/// A loss as a sum of terms, and figures to watch.
pub struct LossParts {
    /// The terms. Their sum is minimised; with gradient-conflict projection, the gradient of every later term loses its
    /// component against the first one's.
    pub terms: Vec<LossTerm>,
    /// Further figures for the metrics file. They are read on logging steps only.
    pub observed: Vec<Observed>,
}

/// One term of a loss.
pub struct LossTerm {
    /// The scalar that is differentiated, shape `[1]`, weight included.
    pub loss: Tensor<1>,
    /// The term's value of every example, before weighting.
    pub values: Observed,
}

/// A figure of every example, by where the example lies in time.
pub struct Observed {
    /// Name in the metrics file.
    pub name: &'static str,
    /// Value of every example, without gradient, shape `[n]`.
    pub per_example: Tensor<1>,
    /// Where every example lies on the time axis, in `[0, 1]`; empty for figures without one.
    pub times: Vec<f64>,
}

impl Observed {
    /// A figure of every example with its gradient taken off.
    pub fn new(name: &'static str, per_example: Tensor<1>, times: Vec<f64>) -> Self {
        Self { name, per_example: per_example.detach().inner(), times }
    }
}

impl LossParts {
    /// A loss of one term: the mean over examples.
    ///
    /// # Shapes
    /// - `per_example`: `[n]`
    pub fn mean(name: &'static str, per_example: Tensor<1>, times: Vec<f64>) -> Self {
        let loss = per_example.clone().mean();
        Self { terms: vec![LossTerm { loss, values: Observed::new(name, per_example, times) }], observed: Vec::new() }
    }
}
