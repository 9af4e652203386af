//! Data sets of categorical variables and of images.
//!
//! A [`Dataset`] writes examples as `sites` class indices, each in `0..classes`. There are no tensors here: the
//! training loop moves each batch of integers to its device once. A recipe selects a data set by a [`DataConfig`];
//! [`DataConfig::load`] returns its three [`Splits`], and [`Batches`] shuffles the training split in an order that
//! depends on `(seed, epoch)` only.
//!
//! Image sets can also be used by models of continuous data: [`DataConfig::continuous`] returns the splits as
//! [`ContinuousImages`], points of `[0, 1]^n`, and [`EpochSampler`] gives the order.
//!
//! `checker`, `echo`, `sums`, `glyphs` and `small-molecules` are synthetic: generated from a seed, with an exact check
//! of every sample. `text`, `image-folder`, `molecules`, `sequences`
//! and `table` read the user's own files, or `prepared` what was made of them for sets larger than memory. The others are published data
//! sets, read from `<data_dir>/<set>/<file>`, plain or gzipped.
//!
//! # Examples
//! ```
//! use std::path::Path;
//! use pushforward::data::{Batches, DataConfig};
//! let config: DataConfig = toml::from_str("set = 'echo'\nletters = 3")?;
//! let splits = config.load(Path::new("unused by synthetic sets"), 0)?;
//! assert_eq!((splits.schema().sites, splits.schema().classes), (6, 8));
//! let batch = Batches::new(splits.train, 4, 0).at(0);
//! // Every example is a word of three letters, twice.
//! assert!(batch.chunks(6).all(|example| example[..3] == example[3..]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod config;
mod dataset;
mod epoch_sampler;
mod error;
mod fields;
mod files;
pub mod graph;
pub mod images;
mod label_names;
mod label_texts;
mod memory;
#[cfg_attr(not(feature = "chem"), path = "no_molecules.rs")]
pub mod molecules;
mod own_labels;
mod packed;
#[cfg(feature = "parquet")]
mod parquet;
mod part_names;
mod parts;
mod permutation;
mod plain_text;
pub mod prepared;
mod ranges;
mod schema;
mod schema_check;
pub mod sequences;
pub mod synthetic;
#[cfg(feature = "chem")]
mod table;
pub mod tables;
pub mod text;

pub use self::config::{DataConfig, ExternalConfig, PreparedConfig};
pub use self::dataset::{Dataset, ExampleKey, Splits};
pub use self::epoch_sampler::{Batches, EpochSampler};
pub use self::error::DataError;
pub(crate) use self::files::drop_folder;
pub use self::files::{Folders, read_bytes, read_text};
pub use self::images::continuous::{ContinuousImages, ContinuousSplits};
pub use self::images::raw::{RawImages, RawSplits};
pub use self::memory::InMemory;
pub use self::own_labels::{LabelFile, LabelSource, OwnLabel};
pub use self::parts::SplitFiles;
pub use self::prepared::reading;
pub use self::schema::{Layout, Schema};
pub use self::text::vocabulary::{Tokens, Vocabulary};
