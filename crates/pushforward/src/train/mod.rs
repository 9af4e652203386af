//! Training: one loop for every model, objective and data set.
//!
//! ```text
//! for every optimiser step:   gradient of the mean loss of `accumulate` micro-steps -> check -> clip -> AdamW -> average
//! ```
//!
//! Whatever is random in a micro-step, and which examples it sees, is a function of its index. A run therefore has no hidden
//! state beyond [`Resume`](checkpoint::Resume), and one that was interrupted and resumed equals an uninterrupted one bit for bit on a CPU.
//!
//! The loop prints nothing: what happens is told through [`Event`]s, and the caller's answer may end the run.

pub mod checkpoint;
pub mod config;
pub mod ema;
mod error;
pub mod gradients;
pub mod metrics;
pub mod objective;
pub mod optim;
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
pub use self::report::{Details, NonFinite, StepReport, TIME_BUCKETS};
pub use self::request::{EndReason, Event, Outcome, RunFolder, TrainRequest, Validate};
pub use self::training::train;
