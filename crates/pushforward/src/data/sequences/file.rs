//! A file of sequences that a trained alphabet is compared with: sequences to score.

use std::path::Path;

use crate::data::DataError;
use crate::data::files::Source;
use crate::data::sequences::config::SequenceConfig;
use crate::data::sequences::layout::SequenceLayout;
use crate::data::sequences::read::read;
use crate::data::sequences::records::Records;

/// Reads at most `most` records of a file as items of a layout: FASTA, FASTQ, lines, or a table with a column of
/// sequences.
///
/// # Errors
/// If the file cannot be read, or a record is no sequence of the layout: its place and what is wrong.
///
/// # Examples
/// ```
/// use pushforward::data::graph::ABSENT;
/// use pushforward::data::sequences::{Alphabet, SequenceLayout, read_sequences};
/// let layout = SequenceLayout::new(Alphabet::Dna, "ACGT".chars().collect(), vec![0, 0, 3, 1]);
/// let dir = tempfile::tempdir()?;
/// let path = dir.path().join("a.fasta");
/// std::fs::write(&path, ">one\nAC\n>two\nTT\nG\n")?;
/// assert_eq!(read_sequences(&path, &layout, 9)?, [0, 1, ABSENT, 3, 3, 2]);
/// std::fs::write(&path, ">one\nAC\n>two\nTTGG\n")?;
/// assert!(read_sequences(&path, &layout, 9).unwrap_err().to_string().contains("line 3: it has 4 letters"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn read_sequences(path: &Path, layout: &SequenceLayout, most: usize) -> Result<Vec<u32>, DataError> {
    let source = Source::read(path.to_owned())?;
    let config = SequenceConfig { alphabet: Some(layout.alphabet), ..SequenceConfig::of(path) };
    let mut records = Records::new(false);
    read(source, &config, &mut records)?;
    records.truncate(most);
    let mut ids = Vec::with_capacity(records.len() * layout.longest());
    for record in 0..records.len() {
        let item = layout.encode(records.sequence(record)).map_err(|error| {
            let problem = if let DataError::Setting { problem, .. } = error { problem } else { error.to_string() };
            DataError::Rows { path: path.to_owned(), problem: format!("{}: {problem}", records.place(record)) }
        })?;
        ids.extend(item);
    }
    if ids.is_empty() {
        return Err(DataError::Rows { path: path.to_owned(), problem: "it holds no sequences".into() });
    }
    Ok(ids)
}
