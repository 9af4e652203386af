//! Sequences, one a record: DNA, RNA, proteins, names, and whatever else is a row of letters.
//!
//! The items of a set are the records of its file, whole, each from its first letter on. If records differ in length, an
//! item has as many sites as the longest, and those after its last letter are absent, as nodes of small graphs are.
//!
//! What is not a sequence is refused record by record, and told with its number: records without letters, records with
//! letters outside the alphabet, and records that are longer than `longest`.
//!
//! # Examples
//! ```
//! use pushforward::data::graph::ABSENT;
//! use pushforward::data::{DataConfig, ExampleKey, Layout};
//! let dir = tempfile::tempdir()?;
//! let record = |i: usize| format!(">r{i}\nACG\n{}\n", &"TTGCA"[i % 3..]);
//! std::fs::write(dir.path().join("a.fasta"), (0..60).map(record).collect::<String>() + ">bad\nACX\n")?;
//! let config: DataConfig = toml::from_str("set = 'sequences'\npath = 'a.fasta'\nsplit = { clusters = { k = 4, share = 1.0 } }")?;
//! let splits = config.load(dir.path(), 0)?;
//! let Layout::Sequence(layout) = &splits.schema().layout else { unreachable!("sequences") };
//! assert_eq!((splits.schema().sites, layout.letters()), (8, &['A', 'C', 'G', 'T'][..]));
//! let mut item = [0; 8];
//! splits.train.write(ExampleKey::fixed(0, 0), &mut item);
//! assert!(layout.decode(&item).starts_with("ACG") && (item[7] == ABSENT) == (layout.decode(&item).len() < 8));
//! assert_eq!(splits.refused, [("letters outside the alphabet dna".to_owned(), 1)]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod alphabet;
mod build;
mod clusters;
mod config;
mod file;
mod layout;
mod load;
mod read;
mod records;
mod set;
mod stream;
#[cfg(test)]
mod tests;

pub use self::alphabet::{Alphabet, Ambiguity};
pub use self::config::{Clusters, SequenceConfig, SequenceSplit, is_sequence_file};
pub use self::file::read_sequences;
pub use self::layout::SequenceLayout;
pub use self::records::SequenceFormat;
