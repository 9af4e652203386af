//! The text of a file in blocks of whole records, so that a file of any size takes the memory of a block.
//!
//! The rule of [`PlainText`](crate::data::plain_text::PlainText) holds: a byte order mark at the beginning is dropped,
//! `\r\n` and a lone `\r` are line breaks, and NUL is refused. Parquet is read as the CSV text of its rows.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use flate2::bufread::MultiGzDecoder;

use crate::data::DataError;
use crate::data::fields;
use crate::data::files::magic;
use crate::data::plain_text;
use crate::hash::sha256_of;

/// Bytes of a block, about.
const BLOCK: usize = if cfg!(test) { 1 << 12 } else { 4 << 20 };
/// Bytes that are read at once.
const READ: usize = if cfg!(test) { 1 << 10 } else { 1 << 18 };
/// Most bytes of a record.
const RECORD: usize = 64 << 20;

/// Where a block may end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::data) enum Cut {
    /// After a line break.
    Lines,
    /// After any character.
    Characters,
    /// Before a header of FASTA.
    Fasta,
    /// After the qualities of a record of FASTQ.
    Fastq,
    /// Before a row of a table whose fields this character separates; quoted fields may hold line breaks.
    Rows(u8),
}

impl Cut {
    /// The last place where a text may be cut; 0 for none.
    fn last(self, text: &[u8]) -> usize {
        let after_line = || text.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        match self {
            Self::Lines => after_line(),
            Self::Characters => {
                // The bytes of a character that is not whole are left.
                let start = text.iter().rposition(|&byte| byte & 0xc0 != 0x80).unwrap_or(0);
                let whole = std::str::from_utf8(&text[start..]).is_ok();
                if whole { text.len() } else { start }
            }
            Self::Fasta => text.windows(2).rposition(|pair| pair == b"\n>").map_or(0, |at| at + 1),
            Self::Fastq => fastq(text),
            Self::Rows(delimiter) => {
                let end = after_line();
                // What is no UTF-8 is refused when the block is read.
                let Ok(text) = std::str::from_utf8(&text[..end]) else { return end };
                let (mut last, mut rows) = (0, 0);
                // An error is found again when the rows are read.
                let _ = fields::split(text, delimiter, 1, Path::new(""), |_, starts| {
                    (last, rows) = (starts[0], rows + 1);
                    Ok(())
                });
                if rows > 1 { last } else { 0 }
            }
        }
    }
}

/// Where the last whole record of FASTQ ends.
fn fastq(text: &[u8]) -> usize {
    let (mut end, mut at, mut letters, mut qualities, mut plus) = (0, 0, 0, 0, false);
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        at += line.len();
        let length = line.trim_ascii().len();
        match (line.first(), plus) {
            _ if length == 0 => {}
            (_, true) => {
                qualities += length;
                if qualities >= letters && line.ends_with(b"\n") {
                    (end, letters, qualities, plus) = (at, 0, 0, false);
                }
            }
            (Some(b'+'), false) => plus = true,
            (Some(b'@'), false) if letters == 0 => {}
            _ => letters += length,
        }
        if plus && letters == 0 {
            (end, plus) = (at, false);
        }
    }
    end
}

/// A file that counts how much of it was read. A read is short at the end alone, whatever the system gives at once, so that
/// all processes that read a file cut it into the same blocks.
struct Counted<R>(R, Rc<Cell<u64>>);

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut count = 0;
        while count < out.len() {
            match self.0.read(&mut out[count..]) {
                Ok(0) => break,
                Ok(more) => count += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.1.set(self.1.get() + count as u64);
        Ok(count)
    }
}

/// A block of a file.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::data) struct Block {
    pub(in crate::data) text: String,
    /// The line where it begins, from 1.
    pub(in crate::data) line: u64,
}

/// A file, block by block.
pub(in crate::data) struct Blocks {
    path: PathBuf,
    reader: Box<dyn Read>,
    read: Rc<Cell<u64>>,
    length: u64,
    cut: Cut,
    /// What was read and is not given yet.
    text: Vec<u8>,
    line: u64,
    block: usize,
    ended: bool,
    begun: bool,
    after_return: bool,
    /// Number of `\r\n` and of lone `\r`, and whether there was a mark.
    returns: [u64; 2],
    marked: bool,
}

impl Blocks {
    /// Opens a file, plain or gzipped.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub(in crate::data) fn open(path: &Path, cut: Cut) -> Result<Self, DataError> {
        Self::of_size(path, cut, BLOCK)
    }

    fn of_size(path: &Path, cut: Cut, block: usize) -> Result<Self, DataError> {
        let failed = |source| DataError::Read { path: path.to_owned(), source };
        let read = Rc::new(Cell::new(0));
        let plain = File::open(path).map_err(failed)?;
        let length = plain.metadata().map_err(failed)?.len();
        let magic = magic(path).map_err(failed)?;
        #[cfg(feature = "parquet")]
        let rows = if magic == crate::data::parquet::MAGIC {
            let rows = |problem| DataError::Rows { path: path.to_owned(), problem };
            Some(crate::data::parquet::CsvRows::open(plain.try_clone().map_err(failed)?).map_err(rows)?)
        } else {
            None
        };
        #[cfg(not(feature = "parquet"))]
        let rows: Option<File> = None;
        let file = Counted(plain, read.clone());
        let reader: Box<dyn Read> = if let Some(rows) = rows {
            Box::new(Counted(rows, read.clone()))
        } else if magic.starts_with(&[0x1f, 0x8b]) {
            Box::new(MultiGzDecoder::new(BufReader::with_capacity(1 << 18, file)))
        } else {
            Box::new(file)
        };
        Ok(Self {
            path: path.to_owned(),
            reader,
            read,
            length,
            cut,
            text: Vec::new(),
            line: 1,
            block,
            ended: false,
            begun: false,
            after_return: false,
            returns: [0; 2],
            marked: false,
        })
    }

    /// Bytes of the file that were read; of Parquet about so many.
    pub(in crate::data) fn read(&self) -> u64 {
        // The text of Parquet is longer than the file.
        self.read.get().min(self.length)
    }

    /// What was dropped or replaced, one sentence each.
    pub(in crate::data) fn notes(&self) -> Vec<String> {
        plain_text::notes(self.marked, self.returns)
    }

    /// The next block; `None` at the end.
    ///
    /// # Errors
    /// If the file cannot be read, is no text, or has a record that is too long.
    pub(in crate::data) fn next(&mut self) -> Result<Option<Block>, DataError> {
        let mut wanted = self.block;
        let cut = loop {
            while !self.ended && self.text.len() < wanted {
                self.fill()?;
            }
            if self.ended {
                break self.text.len();
            }
            match self.cut.last(&self.text) {
                0 if self.text.len() > RECORD => {
                    let problem = format!(
                        "line {}: a record of more than {RECORD} bytes, or a quote that is never closed",
                        self.line
                    );
                    return Err(DataError::Rows { path: self.path.clone(), problem });
                }
                0 => wanted = 2 * self.text.len(),
                cut => break cut,
            }
        };
        if cut == 0 {
            return Ok(None);
        }
        let rest = self.text.split_off(cut);
        let text = std::mem::replace(&mut self.text, rest);
        let line = self.line;
        self.line += lines(&text);
        let text = String::from_utf8(text).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            let bytes = error.as_bytes();
            let wide = line == 1 && [[0xff, 0xfe], [0xfe, 0xff]].iter().any(|mark| bytes.starts_with(mark));
            let found =
                if wide { "UTF-16; convert it to UTF-8".to_owned() } else { format!("byte {:#04x}", bytes[at]) };
            self.malformed(line + lines(&bytes[..at]), "UTF-8 text", found)
        })?;
        Ok(Some(Block { text, line }))
    }

    fn malformed(&self, line: u64, expected: &str, found: String) -> DataError {
        DataError::Malformed { path: self.path.clone(), place: "line", offset: line, expected: expected.into(), found }
    }

    /// Reads some bytes by the rule of plain text.
    fn fill(&mut self) -> Result<(), DataError> {
        let mut bytes = vec![0; READ];
        let count = match self.reader.read(&mut bytes) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(source) => return Err(DataError::Read { path: self.path.clone(), source }),
        };
        let mut bytes = &bytes[..count];
        if count == 0 {
            self.ended = true;
            self.returns[1] += u64::from(std::mem::take(&mut self.after_return));
        }
        if !self.begun && count >= 3 {
            (self.begun, self.marked) = (true, bytes.starts_with(b"\xef\xbb\xbf"));
            bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
            if (bytes.starts_with(b"PAR1") && !cfg!(feature = "parquet")) || bytes.starts_with(b"PK\x03\x04") {
                let what = if bytes[1] == b'A' { "a Parquet file" } else { "a workbook or an archive" };
                let problem = format!("this is {what}, and a set is prepared from text; write it as CSV first");
                return Err(DataError::Rows { path: self.path.clone(), problem });
            }
        }
        if let Some(at) = bytes.iter().position(|&byte| byte == 0) {
            return Err(plain_text::nul(&self.path, self.line + lines(&self.text) + lines(&bytes[..at])));
        }
        if !self.after_return && !bytes.contains(&b'\r') {
            self.text.extend_from_slice(bytes);
            return Ok(());
        }
        for &byte in bytes {
            // A line break was written for the \r before.
            let follows = std::mem::replace(&mut self.after_return, byte == b'\r');
            self.returns[usize::from(byte != b'\n')] += u64::from(follows);
            match byte {
                b'\n' if follows => {}
                b'\r' => self.text.push(b'\n'),
                other => self.text.push(other),
            }
        }
        Ok(())
    }
}

fn lines(text: &[u8]) -> u64 {
    text.iter().filter(|&&byte| byte == b'\n').count() as u64
}

/// The hash of files as they are stored, one after the other, and their length together.
///
/// # Errors
/// If one cannot be read.
pub(in crate::data) fn sha256_stored<P: AsRef<Path>>(paths: &[P]) -> Result<(String, u64), DataError> {
    let (mut all, mut total): (Box<dyn Read>, u64) = (Box::new(io::empty()), 0);
    for path in paths {
        let failed = |source| DataError::Read { path: path.as_ref().to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let about = file.metadata().map_err(failed)?;
        if !about.is_file() {
            let problem = "a set is prepared from files, which are read several times".into();
            return Err(DataError::Rows { path: path.as_ref().to_owned(), problem });
        }
        total += about.len();
        all = Box::new(all.chain(file));
    }
    let failed = |source| DataError::Read { path: paths[0].as_ref().to_owned(), source };
    Ok((sha256_of(&mut all).map_err(failed)?, total))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::data::plain_text::PlainText;

    fn blocks(bytes: &[u8], cut: Cut, size: usize) -> Result<(Vec<Block>, Vec<String>), String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let mut blocks = Blocks::of_size(file.path(), cut, size).map_err(|e| e.to_string())?;
        let mut found = Vec::new();
        while let Some(block) = blocks.next().map_err(|e| e.to_string())? {
            found.push(block);
        }
        Ok((found, blocks.notes()))
    }

    #[test]
    fn blocks_are_whole_records_and_the_text_is_that_read_at_once() {
        let fasta = "\u{feff}>a one\r\nACGT\r\nAC\r>b\nGG\n\n>c\nTT";
        let fastq = "@a\nACGT\n+\n@@>+\n@b\nAC\nG\n+b\n!!\n!\n@c\n\n+\n\n@d\nA\n+\n!";
        let table = "a,b\n1,\"x\ny\"\n2,\"q\"\"\n,\"\n3,é\n4,5";
        for (text, cut, at_least) in [
            (fasta, Cut::Fasta, 3),
            (fastq, Cut::Fastq, 3),
            (table, Cut::Rows(b','), 3),
            (fasta, Cut::Lines, 5),
            (table, Cut::Characters, 8),
        ] {
            let whole = PlainText::of(text.to_owned()).unwrap();
            // The file is read in large pieces, so that small ones have to be cut by hand.
            let bytes = whole.text.as_bytes();
            let (mut begin, mut count) = (0, 0);
            while begin < bytes.len() {
                let place = (begin + 1..bytes.len()).map(|end| begin + cut.last(&bytes[begin..end]));
                let end = place.filter(|&end| end > begin).min().unwrap_or(bytes.len());
                let block = std::str::from_utf8(&bytes[begin..end]).unwrap();
                match cut {
                    Cut::Fasta => assert!(block.starts_with('>'), "{block:?}"),
                    Cut::Fastq => assert!(block.trim_start().starts_with('@'), "{block:?}"),
                    Cut::Rows(_) => assert_eq!(block.matches('"').count() % 2, 0, "{block:?}"),
                    Cut::Lines | Cut::Characters => {}
                }
                (begin, count) = (end, count + 1);
            }
            assert!(count >= at_least, "{cut:?}: {count}");
            let (found, notes) = blocks(text.as_bytes(), cut, 4).unwrap();
            assert_eq!(found.iter().map(|b| b.text.as_str()).collect::<String>(), whole.text);
            assert_eq!(notes, whole.notes);
        }
    }

    #[test]
    fn many_blocks_make_the_file_and_know_their_lines() {
        let text: String = (0..200_000).map(|i| format!("line {i}\n")).collect();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(text.as_bytes()).unwrap();
        for bytes in [text.clone().into_bytes(), gzip.finish().unwrap()] {
            let (found, _) = blocks(&bytes, Cut::Lines, 1 << 16).unwrap();
            assert!(found.len() > 5);
            assert_eq!(found.iter().map(|block| block.text.as_str()).collect::<String>(), text);
            assert!(found.iter().all(|block| block.text.starts_with(&format!("line {}\n", block.line - 1))));
        }
        // A damaged end is an error.
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(text.as_bytes()).unwrap();
        let mut bytes = gzip.finish().unwrap();
        bytes.truncate(bytes.len() - 20);
        assert!(blocks(&bytes, Cut::Lines, 1 << 16).is_err());
    }

    #[test]
    fn what_is_no_text_is_named_with_its_line() {
        assert!(
            blocks(b"a\nb\xff\n", Cut::Lines, 4).unwrap_err().contains("line 2: expected UTF-8 text, found byte 0xff")
        );
        assert!(blocks(b"a\nb\n\0", Cut::Lines, 4).unwrap_err().contains("line 3"));
        assert!(blocks(b"\xff\xfea", Cut::Lines, 4).unwrap_err().contains("UTF-16"));
        // With the feature it is read, and this one is damaged.
        assert!(blocks(b"PAR1....", Cut::Lines, 4).unwrap_err().contains("Parquet"));
        assert!(blocks(b"", Cut::Lines, 4).unwrap().0.is_empty());
    }
}
