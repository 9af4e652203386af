//! Evaluation of a generator against its data set: samples at several numbers of network evaluations, and the likelihood
//! bound, as one report.
//!
//! Which metrics apply follows from the data set: the made-up sets have an exact check of every sample, text is scored by
//! an n-gram model of the training split, images by a classifier of the same set, molecules by chemistry. Correctness and perplexity are never
//! reported without an entropy beside them: a generator that has collapsed to one perfect sample scores well on both.

pub mod chemnet;
mod choose;
mod classified;
mod flow_map;
mod images;
mod metrics;
mod molecules;
mod request;
mod synthetic;
mod text;

pub use self::choose::metrics_for;
pub use self::flow_map::evaluate;
pub use self::images::{ImageEvalRequest, evaluate_images};
pub use self::metrics::SampleMetrics;
pub use self::request::{EvalError, EvalRequest, Features, Progress};
