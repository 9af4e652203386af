//! Evaluation of generative models against their data sets: metrics of samples at several numbers of network
//! evaluations, and likelihoods, as one [`Report`](crate::metrics::report::Report).
//!
//! The data set determines the metrics: samples of synthetic sets are checked exactly, text is scored by an n-gram
//! model of the training split, images by a classifier of the same set, molecules by chemical validity and properties.
//! Correctness and perplexity are never reported without an entropy beside them: a generator that has collapsed to one
//! perfect sample scores well on both.
//!
//! # Examples
//! Held-out data pass the exact check of their set.
//! ```
//! use std::path::Path;
//! use pushforward::data::DataConfig;
//! use pushforward::flow_map::sample::Samples;
//! use pushforward::run::{evaluate::metrics_for, items, site_shape};
//!
//! let config = DataConfig::Echo(Default::default());
//! let splits = config.load(Path::new("not read: this set is synthetic"), 0)?;
//! let metrics = metrics_for(&config, &splits, None, 5, &mut |_, _, _| true)?;
//! let ids = items(splits.test.as_ref(), 20);
//! let samples = Samples { ids, endpoints: Vec::new(), sites: site_shape(splits.schema()), nfe: vec![1; 20] };
//! let rows = metrics.rows(&samples, &[]);
//! assert!(rows.iter().any(|row| row.metric == "correct" && row.value == 1.0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod chemnet;
mod choose;
mod classified;
mod flow_map;
pub(in crate::run) mod generates;
mod images;
mod metrics;
#[cfg(feature = "chem")]
mod molecules;
mod remarks;
mod request;
mod sequences;
mod synthetic;
mod tables;
mod text;
mod volume;

pub use self::choose::{check_metrics, metrics_for};
pub use self::flow_map::evaluate;
pub use self::generates::Generates;
pub use self::images::{ImageEvalRequest, evaluate_images};
pub use self::metrics::SampleMetrics;
pub use self::request::{EvalError, EvalRequest, Features, Progress};
