//! Records of files of sequences: FASTA, FASTQ, lines, or a column of a table.
//!
//! - FASTA: a record begins with a line `>header`; its sequence takes as many lines as it likes. Lines that begin with `;`
//!   are comments, and an asterisk at the end of a sequence is its stop, which is dropped.
//! - FASTQ: `@header`, sequence, `+`, and as many signs of quality as the sequence has letters, which are left out.
//! - Lines: a record each. Blank lines are no records.
//! - Tables: a row each, the sequence in one column; see the reader of [tables](crate::data::tables).

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::data::DataError;
use crate::data::tables::grid::Grid;

/// The form of a file of sequences.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SequenceFormat {
    /// `>header`, then the sequence in one or more lines.
    Fasta,
    /// `@header`, sequence, `+`, qualities.
    Fastq,
    /// A sequence a line.
    Lines,
    /// A sequence a row, in one of the columns.
    Table,
}

impl SequenceFormat {
    /// The name for people.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Fasta => "FASTA",
            Self::Fastq => "FASTQ",
            Self::Lines => "lines",
            Self::Table => "a table",
        }
    }

    /// The form of a text by its first lines; `None` for what may be lines or a table.
    pub(super) fn of(text: &str) -> Option<Self> {
        let mut lines = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with(';'));
        let first = lines.next()?;
        let fastq = || first.starts_with('@') && lines.take(100).any(|line| line.starts_with('+'));
        if first.starts_with('>') {
            Some(Self::Fasta)
        } else if fastq() {
            Some(Self::Fastq)
        } else {
            None
        }
    }
}

/// Records of a file, one after the other.
#[derive(Debug, Default)]
pub(super) struct Records {
    /// The letters of all records.
    pub(super) letters: String,
    /// Where the letters of each record end, in bytes.
    ends: Vec<usize>,
    /// The line where each record begins, from 1.
    pub(super) lines: Vec<u64>,
    /// The header of each record, its field in the column of labels or names, or its line; empty if they are not kept.
    pub(super) about: Vec<Box<str>>,
    /// The field of each record in the column that says its part; empty if there is none.
    pub(super) part: Vec<Box<str>>,
    /// The first record of each file after the first one, and the file's name.
    later: Vec<(usize, String)>,
    /// Lines and records of the file before these.
    before: (u64, usize),
    /// What was left out, one sentence each.
    pub(super) notes: Vec<String>,
    keeps: bool,
}

impl Records {
    /// No records yet; `keeps` says whether headers are kept.
    pub(super) fn new(keeps: bool) -> Self {
        Self { keeps, ..Self::default() }
    }

    /// The same after so many lines and records of their file.
    pub(super) fn after(self, lines: u64, records: usize) -> Self {
        Self { before: (lines, records), ..self }
    }

    /// What follows is read from another file.
    pub(super) fn next_file(&mut self, path: &Path) {
        self.later.push((self.len(), path.display().to_string()));
    }

    /// Number of records.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The letters of a record.
    pub(super) fn sequence(&self, record: usize) -> &str {
        let start = record.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.letters[start..self.ends[record]]
    }

    /// Keeps the first `count` records.
    pub(super) fn truncate(&mut self, count: usize) {
        if count < self.len() {
            self.ends.truncate(count);
            self.letters.truncate(self.ends.last().copied().unwrap_or(0));
            self.lines.truncate(count);
            self.about.truncate(count);
            self.part.truncate(count);
        }
    }

    fn open(&mut self, line: u64, header: &str) {
        self.lines.push(line);
        if self.keeps {
            self.about.push(header.trim().into());
        }
    }

    fn close(&mut self) {
        self.ends.push(self.letters.len());
    }

    /// Adds the letters of a line, without the white space between them.
    fn add(&mut self, line: &str) {
        if line.bytes().any(|byte| byte.is_ascii_whitespace()) {
            self.letters.extend(line.split_whitespace());
        } else {
            self.letters.push_str(line);
        }
    }

    /// Reads the records of a FASTA file.
    ///
    /// # Errors
    /// If a sequence comes before the first header.
    pub(super) fn fasta(&mut self, text: &str, path: &Path) -> Result<(), DataError> {
        let (mut comments, mut stops, mut open) = (0u64, 0u64, false);
        let mut end = |records: &mut Self, open: bool| {
            if open {
                let before = records.ends.last().copied().unwrap_or(0);
                if records.letters.len() > before && records.letters.ends_with('*') {
                    records.letters.pop();
                    stops += 1;
                }
                records.close();
            }
        };
        for (line, number) in text.split('\n').zip(1..) {
            if let Some(header) = line.strip_prefix('>') {
                end(self, open);
                self.open(number, header);
                open = true;
            } else if line.starts_with(';') {
                comments += 1;
            } else if !line.trim().is_empty() {
                if !open {
                    let number = number + self.before.0;
                    return Err(malformed(path, number, "a header that begins with >, before the sequence", line));
                }
                self.add(line);
            }
        }
        end(self, open);
        self.notes.extend((comments > 0).then(|| format!("left out the lines of comment: {comments}")));
        self.notes.extend((stops > 0).then(|| format!("dropped asterisks at the end of sequences: {stops}")));
        Ok(())
    }

    /// Reads the records of a FASTQ file.
    ///
    /// # Errors
    /// If a record has not its four parts, or as many qualities as letters.
    pub(super) fn fastq(&mut self, text: &str, path: &Path) -> Result<(), DataError> {
        let mut lines = text.lines().zip(self.before.0 + 1..).filter(|(line, _)| !line.trim().is_empty()).peekable();
        let mut last = 0;
        while let Some((line, number)) = lines.next() {
            let header =
                line.strip_prefix('@').ok_or_else(|| malformed(path, number, "a header that begins with @", line))?;
            self.open(number - self.before.0, header);
            let before = self.letters.len();
            while let Some((line, _)) = lines.next_if(|(line, _)| !line.starts_with('+')) {
                self.add(line);
            }
            let length = self.letters.len() - before;
            let Some((_, plus)) = lines.next() else {
                return Err(malformed(
                    path,
                    number,
                    "a line that begins with + after the sequence",
                    "the end of the file",
                ));
            };
            let mut qualities = 0;
            while qualities < length {
                let Some((line, number)) = lines.next() else { break };
                (qualities, last) = (qualities + line.trim_end().len(), number);
            }
            if qualities != length {
                let found = format!("{qualities}");
                return Err(malformed(
                    path,
                    last.max(plus),
                    &format!("{length} signs of quality, one a letter"),
                    &found,
                ));
            }
            self.close();
        }
        Ok(())
    }

    /// Reads a record a line; `spaces` says whether spaces inside a line are letters.
    pub(super) fn lines(&mut self, text: &str, spaces: bool) {
        let mut blank = 0u64;
        let text = text.strip_suffix('\n').unwrap_or(text);
        for (line, number) in text.split('\n').zip(1..) {
            let line = line.trim();
            if line.is_empty() {
                blank += 1;
                continue;
            }
            self.open(number, line);
            if spaces {
                self.letters.push_str(line);
            } else {
                self.add(line);
            }
            self.close();
        }
        self.notes.extend((blank > 0).then(|| format!("left out the blank lines: {blank}")));
    }

    /// Reads a record a row: the sequence, what is said about it, and its part.
    pub(super) fn table(&mut self, grid: &Grid, column: usize, about: Option<usize>, part: Option<usize>) {
        for row in 0..grid.rows() {
            self.lines.push(0);
            self.letters.push_str(grid.cell(row, column).trim());
            if self.keeps {
                self.about.push(about.map_or_else(Box::default, |about| grid.cell(row, about).into()));
            }
            if let Some(part) = part {
                self.part.push(grid.cell(row, part).into());
            }
            self.close();
        }
    }

    /// The place of a record in its file, for messages.
    pub(super) fn place(&self, record: usize) -> String {
        let file = self.later.iter().rev().find(|(first, _)| *first <= record);
        let before = file.map_or(0, |(first, _)| *first);
        let place = match self.lines[record] {
            0 => format!("row {}", record - before + self.before.1 + 1),
            line => format!("line {}", line + self.before.0),
        };
        file.map_or(place.clone(), |(_, name)| format!("{name}, {place}"))
    }
}

fn malformed(path: &Path, line: u64, expected: &str, found: &str) -> DataError {
    let found: String = found.chars().take(40).collect();
    DataError::Malformed {
        path: path.to_owned(),
        place: "line",
        offset: line,
        expected: expected.to_owned(),
        found: format!("{found:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequences(read: impl Fn(&mut Records) -> Result<(), DataError>) -> Result<Vec<String>, String> {
        let mut records = Records::new(true);
        read(&mut records).map_err(|e| e.to_string())?;
        Ok((0..records.len())
            .map(|i| format!("{}:{}:{}", records.lines[i], records.about[i], records.sequence(i)))
            .collect())
    }

    fn fasta(text: &str) -> Result<Vec<String>, String> {
        sequences(|records| records.fasta(text, Path::new("f")))
    }

    fn fastq(text: &str) -> Result<Vec<String>, String> {
        sequences(|records| records.fastq(text, Path::new("f")))
    }

    #[test]
    fn sequences_of_several_lines_with_their_headers() {
        assert_eq!(fasta(">a one\nAC\nGT \n\n>b\n;no\nM K*\n").unwrap(), ["1:a one:ACGT", "5:b:MK"]);
        // Two headers in a row, and a header at the end: records without letters.
        assert_eq!(fasta(">a\n>b\nAC\n>c").unwrap(), ["1:a:", "2:b:AC", "4:c:"]);
        assert!(fasta("ACGT\n>a\nAC\n").unwrap_err().contains("line 1: expected a header"));
        assert!(fasta("").unwrap().is_empty());
    }

    #[test]
    fn qualities_are_left_out_whatever_they_begin_with() {
        assert_eq!(fastq("@a\nACGT\n+\n@@>+\n@b\nAC\nG\n+b\n!!!\n").unwrap(), ["1:a:ACGT", "5:b:ACG"]);
        assert!(fastq("@a\nACGT\n").unwrap_err().contains("line 1: expected a line that begins with +"));
        assert!(fastq("@a\nACGT\n+\n!!\n").unwrap_err().contains("expected 4 signs of quality"));
        assert!(fastq("@a\nAC\n+\n!!\nx\n").unwrap_err().contains("line 5: expected a header"));
    }

    #[test]
    fn forms_are_told_apart_by_their_first_lines() {
        let of = SequenceFormat::of;
        assert_eq!(of(";c\n>a\nA\n"), Some(SequenceFormat::Fasta));
        assert_eq!(of("@a\nA\n+\n!\n"), Some(SequenceFormat::Fastq));
        assert_eq!((of("ACGT\n"), of("@home\nB\n"), of("")), (None, None, None));
    }
}
