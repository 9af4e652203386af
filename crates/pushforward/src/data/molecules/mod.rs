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
//! assert_eq!(check(&layout.molecule(&row)).strict(), train.smiles(1).as_deref());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod charges;
mod column;
mod correction;
pub mod files;
mod known;
pub mod labelling;
pub mod labels;
mod prepared;
mod rows;
mod set;
pub mod small;
pub mod split;
mod stream;

pub use self::charges::Charges;
pub use self::correction::Correction;
pub use self::files::{MoleculeConfig, SmilesFileConfig};
pub use self::labelling::MoleculeLabelling;
pub use self::small::SmallMoleculeConfig;
pub use self::split::MoleculeSplit;
pub(in crate::data) use self::stream::label_of;

/// Whether a text file, plain or gzipped, is one of molecules: a heading names SMILES, or most of its lines read as
/// molecules of several atoms. The answer is no if it cannot be read as text.
///
/// # Examples
/// ```
/// use pushforward::data::molecules::is_smiles_file;
/// let dir = tempfile::tempdir()?;
/// let path = dir.path().join("a.txt");
/// std::fs::write(&path, "CCO\nCCN\nc1ccccc1\n")?;
/// assert!(is_smiles_file(&path));
/// std::fs::write(&path, "To be, or not to be:\nthat is the question.\n")?;
/// assert!(!is_smiles_file(&path));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn is_smiles_file(path: &std::path::Path) -> bool {
    crate::data::files::telling(path).is_ok_and(|text| column::is_smiles_file(&text))
}
