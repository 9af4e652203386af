//! Interface between the training loop and a model family: an objective maps a batch to the terms of a loss.
//!
//! # Examples
//! ```
//! use pushforward::burn::tensor::{Device, Tensor};
//! use pushforward::tensor::scalar;
//! use pushforward::train::objective::{LossParts, Observed};
//!
//! let per_example = Tensor::<1>::from_data([1.0f32, 3.0], &Device::flex().autodiff());
//! let error = Observed::new("error", per_example.clone().sqrt(), Vec::new());
//! let mut parts = LossParts::mean("squared_error", per_example, Vec::new());
//! assert_eq!(scalar(&parts.terms[0].loss), 2.0);
//! // Logged as a mean over examples, without a gradient.
//! parts.observed.push(error);
//! assert!(!parts.observed[0].per_example.is_require_grad());
//! ```

use burn::tensor::Tensor;

/// Inputs of an objective besides the batch: the weights, and the position in the run.
pub struct TrainStep<'a, M> {
    /// The network being trained; its parameters carry gradients.
    pub model: &'a M,
    /// The averaged weights, without gradients; the trained weights if the run has no average. Those of the past, once the objective
    /// [keeps](Objective::keeps_average) them.
    pub ema: &'a M,
    /// Seed of the run.
    pub seed: u64,
    /// Index of the random streams: the number of the micro-batch, counted from 0 over the whole run.
    pub index: u64,
    /// Number of optimiser steps taken before this one.
    pub step: u64,
    /// Length of the run in optimiser steps, for schedules inside an objective.
    pub steps: u64,
}

/// A training objective for models of type `M`.
pub trait Objective<M> {
    /// Data of one call.
    type Batch;

    /// Name of the term whose gradient PCGrad never changes; by default the first term of a step.
    fn main_term(&self) -> Option<&'static str> {
        None
    }

    /// Whether the average after this part of the run stays what [`TrainStep::ema`] is until its end.
    fn keeps_average(&self, progress: f64) -> bool {
        let _ = progress;
        false
    }

    /// The loss of one batch.
    fn loss(&self, step: &TrainStep<'_, M>, batch: &Self::Batch) -> LossParts;
}

/// A loss as a sum of terms, and further quantities to log.
pub struct LossParts {
    /// The terms; their sum is minimised. With PCGrad ([`pcgrad`](super::gradients::pcgrad)), the gradients of all
    /// terms but the [main one](Objective::main_term) lose their component against its gradient.
    pub terms: Vec<LossTerm>,
    /// Further quantities for the metrics file. They are read back on logging steps only.
    pub observed: Vec<Observed>,
}

/// One term of a loss.
pub struct LossTerm {
    /// The scalar to differentiate, shape `[1]`, weight included.
    pub loss: Tensor<1>,
    /// Value of the term per example, before weighting.
    pub values: Observed,
}

/// A quantity per example, with the times of the examples.
pub struct Observed {
    /// Name in the metrics file.
    pub name: &'static str,
    /// Value of every example, without gradient, shape `[n]`.
    pub per_example: Tensor<1>,
    /// Time of every example, in `[0, 1]`; empty for quantities without a time.
    pub times: Vec<f64>,
}

impl Observed {
    /// A quantity per example; its value is detached from the autodiff graph.
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
