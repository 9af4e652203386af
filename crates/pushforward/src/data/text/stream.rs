//! Texts of any size, prepared in a stream.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::data::files::{self, Source};
use crate::data::plain_text::unusual;
use crate::data::prepared::blocks::{Block, Blocks, Cut, sha256_stored};
use crate::data::prepared::index::{About, Form};
use crate::data::prepared::job::Job;
use crate::data::prepared::shard::Item;
use crate::data::prepared::share::{Found, Kind, Sink, written};
use crate::data::prepared::writer::Writer;
use crate::data::text::corpus::{Loss, Text8Config, TextConfig, add_tokens, bounds, too_many_characters};
use crate::data::{DataError, Layout, Schema, Tokens, Vocabulary};

/// Adds symbols to the stream.
fn add(sink: &mut Sink<'_, '_>, ids: &[u32]) -> Result<(), DataError> {
    // A few at a time, so that a shard is written as soon as it is full.
    ids.chunks(1 << 16).try_for_each(|ids| sink.push(0, Item { ids, ..Item::default() }))
}

/// A stream of symbols that is to be written.
struct Stream<'a> {
    name: &'a str,
    vocabulary: &'a Vocabulary,
    length: usize,
    sha256: String,
}

impl Stream<'_> {
    /// Writes what `make` gives to the sink. `notes` makes remarks of what is found.
    fn write<F: Found>(
        self,
        job: &mut Job<'_>,
        make: impl FnOnce(&mut Job<'_>, &mut Sink<'_, '_>) -> Result<F, DataError>,
        notes: impl FnOnce(F) -> Result<Vec<String>, DataError>,
    ) -> Result<(), DataError> {
        let Self { name, vocabulary, length, sha256 } = self;
        let mut symbols = 0;
        let keep = &mut |part: u8, item: Item<'_>, writer: &mut Writer| {
            symbols += item.ids.len();
            writer.push(part, item)
        };
        let kind = Kind { source: &sha256, classes: vocabulary.size(), varies: false };
        let Some((writer, found)) = written(job, &kind, keep, make)? else { return Ok(()) };
        let notes = notes(found)?;
        let bounds = bounds(symbols, length)?.map(|bound| bound as u64);
        let layout = Layout::Text { vocabulary: vocabulary.clone() };
        let schema = Schema { sites: length, classes: vocabulary.size(), layout };
        writer.finish(About {
            of: job.of.clone(),
            name: name.to_owned(),
            form: Form::Windows { bounds },
            schema,
            sha256,
            labels: None,
            label_names: Vec::new(),
            refused: Vec::new(),
            notes,
            numbers: Vec::new(),
        })
    }
}

/// Reads a file block by block.
fn each(
    path: &Path,
    cut: Cut,
    job: &mut Job<'_>,
    (stage, total): (&str, u64),
    mut take: impl FnMut(Block) -> Result<(), DataError>,
) -> Result<Vec<String>, DataError> {
    let mut blocks = Blocks::open(path, cut)?;
    while let Some(block) = blocks.next()? {
        take(block)?;
        job.tell(stage, blocks.read(), total)?;
    }
    Ok(blocks.notes())
}

impl Text8Config {
    pub(in crate::data) fn prepare(&self, data_dir: &Path, mut job: Job<'_>) -> Result<(), DataError> {
        let file = self.file(data_dir)?;
        let (sha256, total) = sha256_stored(&[&file])?;
        let vocabulary = Vocabulary::text8();
        let mut breaks = 0;
        let stream = Stream { name: "text8", vocabulary: &vocabulary, length: self.length, sha256 };
        let make = |job: &mut Job<'_>, sink: &mut Sink<'_, '_>| {
            each(&file, Cut::Characters, job, ("writing", total), |block| {
                // Line ends belong to the text only in its middle, where they are refused.
                let text = block.text.trim_end_matches('\n');
                let breaks_before = std::mem::replace(&mut breaks, block.text.len() - text.len());
                if text.is_empty() {
                    breaks += breaks_before;
                    return Ok(());
                }
                let refuse = |line: u64, found: char| DataError::Malformed {
                    path: file.clone(),
                    place: "line",
                    offset: line,
                    expected: "a letter a to z or a space".into(),
                    found: format!("{found:?}"),
                };
                if breaks_before > 0 {
                    return Err(refuse(block.line.saturating_sub(1).max(1), '\n'));
                }
                let class = |c: char| match c {
                    ' ' => Ok(0),
                    'a'..='z' => Ok(c as u32 - 'a' as u32 + 1),
                    other => Err(refuse(block.line, other)),
                };
                if !sink.own() {
                    return Ok(());
                }
                add(sink, &text.chars().map(class).collect::<Result<Vec<u32>, _>>()?)
            })?;
            Ok(())
        };
        stream.write(&mut job, make, |()| Ok(Vec::new()))
    }
}

impl TextConfig {
    pub(in crate::data) fn prepare(&self, data_dir: &Path, mut job: Job<'_>) -> Result<(), DataError> {
        let file = files::existing("path", &self.path, data_dir)?;
        match &self.tokenizer {
            None => self.prepare_characters(&file, &mut job),
            Some(tokenizer) => {
                let tokenizer = files::existing("tokenizer", tokenizer, data_dir)?;
                self.prepare_tokens(&file, tokenizer, &mut job)
            }
        }
    }

    fn prepare_characters(&self, file: &Path, job: &mut Job<'_>) -> Result<(), DataError> {
        let (sha256, total) = sha256_stored(&[file])?;
        let mut symbols = Symbols::default();
        let mut notes = each(file, Cut::Characters, job, ("looking for symbols", total), |block| {
            symbols.add(&block.text);
            Ok(())
        })?;
        let symbols = symbols.all();
        notes.extend(unusual(&symbols));
        too_many_characters(file, &symbols)?;
        let vocabulary = Vocabulary::Characters(symbols);
        let stream = Stream { name: "text", vocabulary: &vocabulary, length: self.length, sha256 };
        let make = |job: &mut Job<'_>, sink: &mut Sink<'_, '_>| {
            each(file, Cut::Characters, job, ("writing", total), |block| {
                if sink.own() { add(sink, &vocabulary.encode(&block.text)?) } else { Ok(()) }
            })?;
            Ok(())
        };
        stream.write(job, make, |()| Ok(notes))
    }

    fn prepare_tokens(&self, file: &Path, tokenizer: PathBuf, job: &mut Job<'_>) -> Result<(), DataError> {
        self.check_most_lost()?;
        let (sha256, total) = sha256_stored(&[file, &tokenizer])?;
        let named = |error| match error {
            DataError::Tokenizer { problem } => {
                DataError::Tokenizer { problem: format!("{}: {problem}", tokenizer.display()) }
            }
            other => other,
        };
        let json = Source::read(tokenizer.clone())?.text()?.text;
        let vocabulary = Vocabulary::Tokenizer(Tokens::try_from(json).map_err(named)?);
        let stream = Stream { name: "text", vocabulary: &vocabulary, length: self.length, sha256 };
        let make = |job: &mut Job<'_>, sink: &mut Sink<'_, '_>| {
            let (mut symbols, mut loss) = (Symbols::default(), Loss::default());
            let notes = each(file, Cut::Lines, job, ("writing", total), |block| {
                if !sink.own() {
                    return Ok(());
                }
                symbols.add(&block.text);
                let mut ids = Vec::new();
                add_tokens(&vocabulary, &block.text, &mut ids, &mut loss).map_err(named)?;
                add(sink, &ids)
            })?;
            Ok(OfTokens { symbols: symbols.all().into_iter().collect(), loss, notes })
        };
        stream.write(job, make, |found| {
            let mut symbols = Symbols::default();
            symbols.add(&found.symbols);
            let judged = self.judge(&found.loss).map_err(named)?;
            Ok(found.notes.into_iter().chain(unusual(&symbols.all())).chain(judged).collect())
        })
    }
}

/// What is found while a text becomes tokens.
#[derive(Serialize, Deserialize)]
struct OfTokens {
    /// The different characters.
    symbols: String,
    loss: Loss,
    /// Of the whole file.
    notes: Vec<String>,
}

impl Found for OfTokens {
    fn add(&mut self, later: Self) {
        self.symbols.push_str(&later.symbols);
        self.loss.add(&later.loss);
    }
}

/// The different characters of a text.
struct Symbols {
    ascii: [bool; 128],
    others: BTreeSet<char>,
}

impl Default for Symbols {
    fn default() -> Self {
        Self { ascii: [false; 128], others: BTreeSet::new() }
    }
}

impl Symbols {
    fn add(&mut self, text: &str) {
        for c in text.chars() {
            match self.ascii.get_mut(c as usize) {
                Some(found) => *found = true,
                None => drop(self.others.insert(c)),
            }
        }
    }

    /// All of them, in the order of code points.
    fn all(&self) -> Vec<char> {
        let ascii = (0u8..128).filter(|&byte| self.ascii[usize::from(byte)]).map(char::from);
        ascii.chain(self.others.iter().copied()).collect()
    }
}
