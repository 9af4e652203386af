//! Sets larger than memory: prepared once, read item by item.
//!
//! [`DataConfig::prepare`](crate::data::DataConfig::prepare) reads a source in blocks, however large it is, and writes what
//! its items are as class indices into *shards*, safetensors files of about 16 MiB, with an index in JSON beside them: the
//! schema, the settings of the source, the shards of each part with their hashes, and what was refused and noted. A recipe
//! names the folder, `data = { set = "prepared", path = "FOLDER" }`. Its items are read from the shards by position whenever
//! they are asked for, and have all that those of the source have: labels, numbers of columns, SMILES.
//!
//! Parts that the source says (by position in a text, by a column, by files) are those of the source read at once, and so is
//! every batch of a training. Parts that are drawn at random need to know all items when a source is read at once; here,
//! the content of an item draws its part, so that equal items are together; rows of tables, which are often equal, are drawn
//! one by one. What columns hold is found in a sample of the rows, and the training rows of a table keep their order.
//!
//! Nothing is left of a preparation that is stopped or fails; it begins anew.
//!
//! Several processes share the work: each makes the items of its [`Share`] of the source
//! ([`DataConfig::prepare_share`](crate::data::DataConfig::prepare_share)), and one puts them together
//! ([`DataConfig::prepare_from`](crate::data::DataConfig::prepare_from)).
//!
//! # Examples
//! ```
//! use std::ops::ControlFlow;
//! use pushforward::data::prepared::verify;
//! use pushforward::data::{DataConfig, ExampleKey};
//! let dir = tempfile::tempdir()?;
//! std::fs::write(dir.path().join("a.txt"), "What is prepared is not read again. ".repeat(60))?;
//! let source: DataConfig = toml::from_str("set = 'text'\npath = 'a.txt'\nlength = 16")?;
//! source.prepare(dir.path(), &dir.path().join("a"), &mut |_, _, _| ControlFlow::Continue(()))?;
//! verify(&dir.path().join("a"))?;
//!
//! let prepared: DataConfig = toml::from_str("set = 'prepared'\npath = 'a'")?;
//! let (read, whole) = (prepared.load(dir.path(), 0)?, source.load(dir.path(), 0)?);
//! assert_eq!((read.schema(), &read.sha256), (whole.schema(), &whole.sha256));
//! let (mut a, mut b) = ([0; 16], [0; 16]);
//! let key = ExampleKey { seed: 0, epoch: 3, index: 7 };
//! read.train.write(key, &mut a);
//! whole.train.write(key, &mut b);
//! assert_eq!(a, b);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub(in crate::data) mod blocks;
pub(in crate::data) mod index;
pub(in crate::data) mod job;
pub(in crate::data) mod open;
pub(in crate::data) mod parting;
mod prepare;
pub(in crate::data) mod sampled;
mod set;
pub(in crate::data) mod shard;
pub(in crate::data) mod share;
#[cfg(test)]
mod tests;
mod unread;
pub(in crate::data) mod writer;

pub use self::job::{Share, Watch};
pub use self::open::verify;
pub(in crate::data) use self::set::LabelOf;
pub use self::unread::reading;
pub use self::writer::check_free;
