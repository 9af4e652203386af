//! Training: one loop for every model, objective and data set.
//!
//! ```text
//! every optimiser step:   gradient of the mean loss of `accumulate` micro-batches -> check -> clip -> AdamW -> average
//! ```
//!
//! The examples of a micro-batch and all its random numbers are a function of its index. A run therefore has no hidden
//! state beyond [`Resume`](checkpoint::Resume), and on a CPU a run that was interrupted and resumed equals an
//! uninterrupted one bit for bit.
//!
//! The loop prints nothing: it reports through [`Event`]s, and the callback's return value may end the run.
//!
//! # Examples
//! An objective of your own: a constant learns its target.
//! ```
//! use std::ops::ControlFlow;
//! use burn::module::{Module, Param};
//! use burn::tensor::{Device, Tensor};
//! use pushforward::burn;
//! use pushforward::train::objective::{LossParts, Objective, TrainStep};
//! use pushforward::train::{TrainConfig, TrainRequest, train};
//!
//! #[derive(Module, Debug)]
//! struct Constant {
//!     value: Param<Tensor<1>>,
//! }
//!
//! struct SquaredError;
//!
//! impl Objective<Constant> for SquaredError {
//!     type Batch = f64;
//!     fn loss(&self, step: &TrainStep<'_, Constant>, target: &f64) -> LossParts {
//!         LossParts::mean("squared_error", (step.model.value.val() - *target).square(), Vec::new())
//!     }
//! }
//!
//! let model = Constant { value: Param::from_data([0.0f32], &Device::flex().autodiff()) };
//! let config = TrainConfig { steps: 100, lr: 0.1, warmup: 0, ..TrainConfig::default() };
//! let request = TrainRequest::new(model, &SquaredError, &|_| 3.0, config);
//! let outcome = train(request, &mut |_| ControlFlow::Continue(()))?;
//! assert!((outcome.ema.value.val().into_scalar::<f64>() - 3.0).abs() < 0.1);
//! # Ok::<(), pushforward::train::TrainError>(())
//! ```

pub mod checkpoint;
pub mod config;
pub mod ema;
mod error;
mod forecast;
pub mod gradients;
pub mod metrics;
mod micro_batches;
pub mod objective;
pub mod optim;
mod reduction;
mod report;
mod request;
pub mod schedule;
mod state;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod toy;
mod training;

pub use self::config::{ConfigError, TrainConfig};
pub use self::error::TrainError;
pub use self::forecast::Link;
pub use self::reduction::Reduction;
pub use self::report::{Details, NonFinite, StepReport};
pub use self::request::{EndReason, Event, Outcome, Progress, RunFolder, TrainRequest, Validate};
pub use self::training::train;
