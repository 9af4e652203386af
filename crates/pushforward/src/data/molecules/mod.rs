//! Molecules: read from files or enumerated, and packed as rows of nodes and pairs.
//!
//! # Examples
//! ```
//! use std::path::Path;
//! use pushforward::chem::check;
//! use pushforward::data::{DataConfig, ExampleKey, Layout};
//! let config: DataConfig = toml::from_str("set = 'small-molecules'\natoms = 3")?;
//! let train = config.load(Path::new("unused"), 0)?.train;
//! let Layout::Graph(layout) = &train.schema().layout else { unreachable!("molecules are graphs") };
//! let mut row = vec![0; train.schema().sites];
//! train.write(ExampleKey { seed: 0, epoch: 0, index: 1 }, &mut row);
//! assert_eq!(check(&layout.molecule(&row)).strict(), train.smiles(1));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod files;
pub mod labels;
mod prepared;
mod rows;
mod set;
pub mod small;
mod smiles_file;

pub use self::files::{MoleculeConfig, SmilesFileConfig};
pub use self::small::SmallMoleculeConfig;
