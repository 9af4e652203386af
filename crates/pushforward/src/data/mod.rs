//! Data sets of categorical variables and of images.
//!
//! A [`Dataset`] hands out examples as class indices, `sites` of them, each in `0..classes`. No tensors here:
//! the training loop moves a batch of plain integers to its device once. A recipe names a set by a [`DataConfig`];
//! [`DataConfig::load`] gives its three [`Splits`], and [`Batches`] puts the training split in an order that is a
//! function of `(seed, epoch)` alone.
//!
//! Sets of images serve models of continuous data too: [`DataConfig::continuous`] gives their parts as
//! [`ContinuousImages`], points of `[0, 1]^n`, which [`EpochSampler`] puts in the same order.
//!
//! `checker`, `echo`, `sums`, `glyphs` and `small-molecules` are made by the program from a seed and carry an exact
//! check of every sample. `text`, `image-folder` and `molecules` are the user's own files. The others are read from files
//! under a data folder, `<data_dir>/<set>/<file>`, plain or gzipped.

mod config;
mod dataset;
mod epoch_sampler;
mod error;
mod files;
pub mod graph;
pub mod images;
mod memory;
#[cfg(feature = "chem")]
pub mod molecules;
mod schema;
pub mod synthetic;
pub mod text;

pub use self::config::{DataConfig, ExternalConfig};
pub use self::dataset::{Dataset, ExampleKey, Splits};
pub use self::epoch_sampler::{Batches, EpochSampler};
pub use self::error::DataError;
pub(crate) use self::files::sha256_bytes;
pub use self::images::continuous::{ContinuousImages, ContinuousSplits};
pub use self::images::raw::{RawImages, RawSplits};
pub use self::memory::InMemory;
pub use self::schema::{Layout, Schema};
pub use self::text::vocabulary::{Tokens, Vocabulary};
