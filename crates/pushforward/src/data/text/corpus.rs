//! Text as one long stream of symbols, cut into windows.
//!
//! The stream is split by position: the first 90 % of all symbols train, the next 5 % validate, the last 5 % test.
//! Line ends and byte order marks are read by the rule that all readers share ([`read_text`](crate::data::read_text)).
//! With a tokenizer, every line is a document: its tokens are followed by the end token, if the tokenizer has one.
//!
//! An epoch cuts a part of `n` symbols into `floor(n / length)` contiguous windows starting at an offset, so it reads
//! the part once, up to a remainder shorter than a window at each end. In training the offset is drawn per epoch, so
//! that window boundaries vary; held-out parts start at zero. A window that would exceed the end is moved back to it.
//!
//! # Examples
//! ```
//! use pushforward::data::{DataConfig, text::corpus::Text8Config};
//! let dir = tempfile::tempdir()?;
//! std::fs::write(dir.path().join("text8"), "ab ".repeat(100))?;
//! let splits = DataConfig::Text8(Text8Config { length: 10, path: None }).load(dir.path(), 0)?;
//! // Parts of 270, 15 and 15 symbols, in windows of 10.
//! assert_eq!([splits.train.len(), splits.validation.len(), splits.test.len()], [27, 1, 1]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::data::files::{self, Source};
use crate::data::plain_text::{PlainText, unusual};
use crate::data::{DataError, Dataset, ExampleKey, Layout, Schema, Splits, Tokens, Vocabulary};
use crate::hash::sha256;

/// Settings of `text8`, and of any file of its form: one line of `a` to `z` and spaces, plain or gzipped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Text8Config {
    /// Number of symbols of an example. Default 256.
    pub length: usize,
    /// The file, or a folder with a file `text8` or `text8.gz`. Default: `text8` in the data folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
}

impl Default for Text8Config {
    fn default() -> Self {
        Self { length: default_length(), path: None }
    }
}

/// Settings of `text`: any UTF-8 file, plain or gzipped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextConfig {
    /// The file.
    pub path: PathBuf,
    /// Number of symbols of an example. Default 256.
    #[serde(default = "default_length")]
    pub length: usize,
    /// A `tokenizers` JSON file. Default: every character of the file is a symbol, in code point order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<PathBuf>,
    /// Largest share of the characters besides spaces that the tokenizer may lose: by its token for the unknown, or
    /// without a trace. Default: 0.05 for a new run, no limit for a recipe without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most_lost: Option<f64>,
}

/// Most different characters of a text without a tokenizer.
const MOST_CHARACTERS: usize = 1 << 16;

/// Most tokens of a line per byte: some tokenizers add bytes, and those of damaged files add without end.
const MOST_PER_BYTE: usize = 8;

fn default_length() -> usize {
    256
}

impl Text8Config {
    /// The file.
    pub(super) fn file(&self, data_dir: &Path) -> Result<PathBuf, DataError> {
        let dirs = files::folders(self.path.as_deref(), "text8", data_dir)?;
        match &dirs[..] {
            [file] if file.is_file() => Ok(file.clone()),
            dirs => files::find("text8", "text8", dirs),
        }
    }

    pub(crate) fn load(&self, data_dir: &Path) -> Result<Splits, DataError> {
        let source = Source::read(self.file(data_dir)?)?;
        let mut ids = letters(&source)?;
        ids.shrink_to_fit();
        cut("text8", Ids::Narrow(ids), Vocabulary::text8(), self.length, sha256([&source]))
    }
}

impl TextConfig {
    pub(crate) fn load(&self, data_dir: &Path) -> Result<Splits, DataError> {
        let source = Source::read(files::existing("path", &self.path, data_dir)?)?;
        let PlainText { text, notes, .. } = source.text()?;
        let symbols: Vec<char> = text.chars().collect::<BTreeSet<char>>().into_iter().collect();
        let unusual = unusual(&symbols);
        let splits = match &self.tokenizer {
            None => self.characters(&source, &text, symbols),
            Some(tokenizer) => self.tokens(&source, &text, files::existing("tokenizer", tokenizer, data_dir)?),
        };
        splits.map(|mut splits| {
            splits.notes.splice(..0, notes.into_iter().chain(unusual));
            splits
        })
    }

    pub(crate) fn settle(&mut self) {
        self.most_lost.get_or_insert(0.05);
    }

    /// Every character is a symbol.
    fn characters(&self, source: &Source, text: &str, symbols: Vec<char>) -> Result<Splits, DataError> {
        too_many_characters(source.path(), &symbols)?;
        let vocabulary = Vocabulary::Characters(symbols);
        let ids = Ids::new(vocabulary.encode(text)?, vocabulary.size());
        cut("text", ids, vocabulary, self.length, sha256([source]))
    }

    fn tokens(&self, source: &Source, text: &str, file: PathBuf) -> Result<Splits, DataError> {
        self.check_most_lost()?;
        let json = Source::read(file.clone())?;
        let fail = |problem: String| DataError::Tokenizer { problem: format!("{}: {problem}", file.display()) };
        let named = |error| match error {
            DataError::Tokenizer { problem } => fail(problem),
            other => other,
        };
        let tokens = Tokens::try_from(json.text()?.text).map_err(named)?;
        let vocabulary = Vocabulary::Tokenizer(tokens);
        let (mut ids, mut loss) = (Vec::new(), Loss::default());
        add_tokens(&vocabulary, text, &mut ids, &mut loss).map_err(named)?;
        let said = self.judge(&loss).map_err(named)?;
        let ids = Ids::new(ids, vocabulary.size());
        let mut splits = cut("text", ids, vocabulary, self.length, sha256([source, &json]))?;
        splits.notes.extend(said);
        Ok(splits)
    }

    pub(super) fn check_most_lost(&self) -> Result<(), DataError> {
        if self.most_lost.is_some_and(|share| !(0.0..=1.0).contains(&share)) {
            return Err(DataError::Setting { key: "most_lost", problem: "a share, 0 to 1".into() });
        }
        Ok(())
    }

    /// What to say of what a tokenizer loses.
    ///
    /// # Errors
    /// If it is more than the recipe allows.
    pub(super) fn judge(&self, loss: &Loss) -> Result<Option<String>, DataError> {
        let Loss { lost, all } = loss;
        let share = *lost as f64 / (*all).max(1) as f64;
        let said = format!(
            "the tokenizer loses {lost} of {all} characters besides spaces ({:.2} %): they are not in its vocabulary",
            100.0 * share
        );
        if let Some(most) = self.most_lost.filter(|&most| share > most) {
            let most = 100.0 * most;
            return Err(DataError::Tokenizer {
                problem: format!(
                    "{said}; at most {most:.2} % may be lost (data.most_lost); use a tokenizer made for such text"
                ),
            });
        }
        Ok((*lost > 0).then_some(said))
    }
}

/// How many characters besides spaces a tokenizer loses, of how many.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Loss {
    lost: usize,
    all: usize,
}

impl Loss {
    /// Adds that of another piece of the text.
    pub(super) fn add(&mut self, other: &Self) {
        self.lost += other.lost;
        self.all += other.all;
    }
}

/// Adds the tokens of every line of a text, and what is lost.
///
/// # Errors
/// If the tokenizer fails.
pub(super) fn add_tokens(
    vocabulary: &Vocabulary,
    text: &str,
    ids: &mut Vec<u32>,
    loss: &mut Loss,
) -> Result<(), DataError> {
    for line in text.split_inclusive('\n') {
        // Without an end token, the line break is kept as the separator of documents.
        let document = if vocabulary.end().is_some() { line.trim_end_matches('\n') } else { line };
        if !document.is_empty() {
            let (encoded, missing) = vocabulary.encode_counting(document)?;
            if encoded.len() > 64 + MOST_PER_BYTE * document.len() {
                let (tokens, bytes) = (encoded.len(), document.len());
                let problem = format!("{tokens} tokens for a line of {bytes} bytes; the file is damaged");
                return Err(DataError::Tokenizer { problem });
            }
            ids.extend(encoded);
            ids.extend(vocabulary.end());
            loss.lost += missing;
        }
    }
    loss.all += text.chars().filter(|c| !c.is_whitespace()).count();
    Ok(())
}

/// Refuses a text of more characters than there can be classes.
pub(super) fn too_many_characters(path: &Path, symbols: &[char]) -> Result<(), DataError> {
    if symbols.len() <= MOST_CHARACTERS {
        return Ok(());
    }
    let problem = format!(
        "{} different characters, at most {MOST_CHARACTERS} are possible as classes; give a `tokenizer`",
        symbols.len()
    );
    Err(DataError::Rows { path: path.to_owned(), problem })
}

fn letters(source: &Source) -> Result<Vec<u8>, DataError> {
    let mut content = source.open();
    let mut bytes = content.take(u64::MAX)?;
    if bytes.starts_with(b"PK\x03\x04") {
        return Err(content.malformed(0, "text; unpack it first", "a zip archive"));
    }
    // The rule of all text files, as far as it concerns a file of one line.
    let mark = if bytes.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
    bytes.drain(..mark);
    while bytes.len() > 1 && bytes.ends_with(b"\r\n") || bytes.ends_with(b"\r") || bytes.ends_with(b"\n") {
        bytes.pop();
    }
    for (offset, byte) in (mark..).zip(bytes.iter_mut()) {
        *byte = match *byte {
            b' ' => 0,
            letter @ b'a'..=b'z' => letter - b'a' + 1,
            other => {
                let found = format!("{:?}", char::from(other));
                return Err(content.malformed(offset as u64, "a letter a to z or a space", found));
            }
        };
    }
    Ok(bytes)
}

/// The stream of symbols, one byte each if the vocabulary has at most 256.
enum Ids {
    Narrow(Vec<u8>),
    Wide(Vec<u32>),
}

impl Ids {
    fn new(ids: Vec<u32>, size: usize) -> Self {
        if size <= 256 { Self::Narrow(ids.into_iter().map(|id| id as u8).collect()) } else { Self::Wide(ids) }
    }

    fn len(&self) -> usize {
        match self {
            Self::Narrow(ids) => ids.len(),
            Self::Wide(ids) => ids.len(),
        }
    }
}

/// Where the validation and the test part of so many symbols begin.
///
/// # Errors
/// If an item is longer than a part.
pub(super) fn bounds(n: usize, length: usize) -> Result<[usize; 2], DataError> {
    let (first, second) = (n - n / 10, n - n / 20);
    let shortest = (second - first).min(n - second);
    if length == 0 || length > shortest {
        let problem = format!("{length}; 1 to {shortest} are possible, the symbols of the smallest part of the text");
        return Err(DataError::Setting { key: "length", problem });
    }
    Ok([first, second])
}

fn cut(name: &str, ids: Ids, vocabulary: Vocabulary, length: usize, sha256: String) -> Result<Splits, DataError> {
    let n = ids.len();
    let [first, second] = bounds(n, length)?;
    let ids = Arc::new(ids);
    let schema = Schema { sites: length, classes: vocabulary.size(), layout: Layout::Text { vocabulary } };
    let part = |range, drawn| -> Arc<dyn Dataset> {
        Arc::new(Windows { schema: schema.clone(), ids: ids.clone(), range, drawn })
    };
    let train = part(0..first, true);
    let (validation, test) = (part(first..second, false), part(second..n, false));
    Ok(Splits::new(name, [train, validation, test], sha256))
}

/// Where a window begins in a part of so many symbols; `drawn` says whether the first window of an epoch begins at a place
/// of its own.
pub(in crate::data) fn window_start(symbols: usize, length: usize, drawn: bool, key: ExampleKey) -> usize {
    let offset = if drawn { key.epoch_stream().below(length) } else { 0 };
    (offset + key.index * length).min(symbols - length)
}

struct Windows {
    schema: Schema,
    ids: Arc<Ids>,
    range: Range<usize>,
    /// Whether the windows begin elsewhere in every epoch.
    drawn: bool,
}

impl Dataset for Windows {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn len(&self) -> usize {
        self.range.len() / self.schema.sites
    }

    fn write(&self, key: ExampleKey, out: &mut [u32]) {
        let length = self.schema.sites;
        assert!(key.index < self.len(), "window {} of {}", key.index, self.len());
        assert_eq!(out.len(), length, "an example has {length} sites");
        let first = self.range.start + window_start(self.range.len(), length, self.drawn, key);
        match &*self.ids {
            Ids::Narrow(ids) => {
                out.iter_mut().zip(&ids[first..first + length]).for_each(|(class, &id)| *class = u32::from(id));
            }
            Ids::Wide(ids) => out.copy_from_slice(&ids[first..first + length]),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;
    use crate::data::text::vocabulary::tiny_tokenizer;

    /// Windows of a part, in order.
    fn windows(part: &Arc<dyn Dataset>, epoch: u64) -> Vec<Vec<u32>> {
        (0..part.len())
            .map(|index| {
                let mut out = vec![0; part.schema().sites];
                part.write(ExampleKey { seed: 0, epoch, index }, &mut out);
                out
            })
            .collect()
    }

    proptest! {
        #[test]
        fn an_epoch_reads_every_symbol_up_to_the_remainder(
            n in 400usize..3000, length in 1usize..20, epoch in 0u64..9,
        ) {
            // Every symbol is its own position, so that what was read is known.
            let ids = Ids::Wide((0..n as u32).collect());
            let splits = cut("t", ids, Vocabulary::text8(), length, String::new()).unwrap();
            let bounds = [0, n - n / 10, n - n / 20, n];
            let parts = [&splits.train, &splits.validation, &splits.test];
            for (part, bound) in parts.into_iter().zip(bounds.windows(2)) {
                let mut read: Vec<u32> = windows(part, epoch).concat();
                read.sort_unstable();
                read.dedup();
                prop_assert!(read[0] as usize >= bound[0] && (read[read.len() - 1] as usize) < bound[1]);
                prop_assert!(read.len() > bound[1] - bound[0] - length, "{} of {}", read.len(), bound[1] - bound[0]);
                // No gaps between windows.
                prop_assert_eq!(read.len() as u32 - 1, read[read.len() - 1] - read[0]);
            }
        }
    }

    #[test]
    fn text8_splits_by_characters_and_varies_its_windows() {
        let dir = tempfile::tempdir().unwrap();
        let text: String = (0..10_000).map(|i| [' ', 'a', 'b', 'z'][(i * i / 7 + i) % 4]).collect();
        std::fs::create_dir(dir.path().join("text8")).unwrap();
        std::fs::write(dir.path().join("text8/text8"), &text).unwrap();
        let plain = Text8Config { length: 50, path: None }.load(dir.path()).unwrap();
        assert_eq!((plain.train.len(), plain.validation.len(), plain.test.len()), (180, 10, 10));
        assert_eq!(plain.schema().classes, 27);
        let Layout::Text { vocabulary } = &plain.schema().layout else { panic!("text8 is text") };
        let held_out = windows(&plain.validation, 4).iter().map(|w| vocabulary.decode(w)).collect::<String>();
        assert_eq!(held_out, text[9_000..9_500]);
        assert_ne!(windows(&plain.train, 0), windows(&plain.train, 1));
        assert_eq!(windows(&plain.train, 1), windows(&plain.train, 1));

        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(format!("{text}\n").as_bytes()).unwrap();
        std::fs::write(dir.path().join("other.gz"), gzip.finish().unwrap()).unwrap();
        let zipped = Text8Config { length: 50, path: Some("other.gz".into()) }.load(dir.path()).unwrap();
        assert_eq!(windows(&zipped.train, 3), windows(&plain.train, 3));
        assert_ne!(zipped.sha256, plain.sha256);
    }

    #[test]
    fn bad_text_is_named_with_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let check = |bytes: &[u8], parts: [&str; 2]| {
            std::fs::write(dir.path().join("t"), bytes).unwrap();
            let text8 = Text8Config { length: 2, path: Some(dir.path().join("t")) }.load(dir.path());
            let text = TextConfig { length: 2, path: "t".into(), tokenizer: None, most_lost: None }.load(dir.path());
            let message = text8.and(text).unwrap_err().to_string();
            assert!(parts.iter().all(|part| message.contains(part)), "{message}");
        };
        check(b"abc def9", ["byte 7", "'9'"]);
        check(b"ab\ncd", ["byte 2", "'\\n'"]);
        check(b"PK\x03\x04abc", ["byte 0", "zip archive"]);
        check(b"abc", ["length", "1 to 0"]);
        std::fs::write(dir.path().join("t"), b"ab\xc3\xa9\xff").unwrap();
        let config = TextConfig { length: 2, path: "t".into(), tokenizer: None, most_lost: None };
        let message = config.load(dir.path()).unwrap_err().to_string();
        assert!(message.contains("byte 4") && message.contains("0xff"), "{message}");
        let message = TextConfig { path: "u".into(), ..config }.load(dir.path()).unwrap_err().to_string();
        assert!(message.contains("`path` is u"), "{message}");
    }

    #[test]
    fn line_ends_and_byte_order_marks_are_no_symbols() {
        let dir = tempfile::tempdir().unwrap();
        let plain = "to be or not to be\n".repeat(30);
        let of = |name: &str, text: String| {
            std::fs::write(dir.path().join(name), text).unwrap();
            TextConfig { path: name.into(), length: 6, tokenizer: None, most_lost: None }.load(dir.path())
        };
        let expected = of("lf", plain.clone()).unwrap();
        assert!(expected.notes.is_empty());
        for (name, text) in [
            ("bom", format!("\u{feff}{plain}")),
            ("crlf", plain.replace('\n', "\r\n")),
            ("cr", plain.replace('\n', "\r")),
        ] {
            let splits = of(name, text).unwrap();
            assert_eq!(splits.schema(), expected.schema(), "{name}");
            assert_eq!(windows(&splits.test, 0), windows(&expected.test, 0), "{name}");
            assert_eq!(splits.notes.len(), 1, "{name}");
        }
        let odd = of("odd", plain.replace("not", "n\u{7}t\u{feff}")).unwrap();
        assert_eq!(odd.notes, ["unusual symbols of the text: U+0007, U+FEFF"]);
        let message = of("nul", plain.replace("not", "n\0t")).unwrap_err().to_string();
        assert!(message.contains("line 1") && message.contains("U+0000"), "{message}");
        let many: String = (0..70_000).filter_map(|i| char::from_u32(0x1_0000 + i)).collect();
        assert!(of("many", many.repeat(3)).unwrap_err().to_string().contains("tokenizer"));
        std::fs::write(dir.path().join("t8"), format!("\u{feff}{}\r\n", "ab ".repeat(100))).unwrap();
        assert_eq!(Text8Config { length: 10, path: Some("t8".into()) }.load(dir.path()).unwrap().train.len(), 27);
    }

    #[test]
    fn a_tokenizer_that_loses_much_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("t.txt"), "the cat sat on the mats\n".repeat(30)).unwrap();
        std::fs::write(dir.path().join("t.json"), tiny_tokenizer()).unwrap();
        let mut config =
            TextConfig { path: "t.txt".into(), length: 6, tokenizer: Some("t.json".into()), most_lost: None };
        // A recipe from before the limit is read as it was.
        assert!(config.load(dir.path()).unwrap().notes[0].contains("loses 120 of 540 characters"));
        config.settle();
        let message = config.load(dir.path()).unwrap_err().to_string();
        assert!(message.contains("t.json") && message.contains("22.22 %") && message.contains("5.00 %"), "{message}");
        config.most_lost = Some(0.25);
        assert!(config.load(dir.path()).is_ok());
        // A normalizer that makes a text of its own.
        let normalizer = format!(r#""normalizer": {{"type": "Prepend", "prepend": "{}"}}"#, "a ".repeat(1000));
        std::fs::write(dir.path().join("t.json"), tiny_tokenizer().replace("\"normalizer\":null", &normalizer))
            .unwrap();
        let message = config.load(dir.path()).unwrap_err().to_string();
        assert!(message.contains("t.json") && message.contains("for a line of 23 bytes"), "{message}");
    }

    #[test]
    fn any_text_by_characters_or_by_tokenizer() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("t.txt"), "the cat sat\n\na mat\u{e9}\n".repeat(30)).unwrap();
        std::fs::write(dir.path().join("t.json"), tiny_tokenizer()).unwrap();
        let config = TextConfig { path: "t.txt".into(), length: 6, tokenizer: None, most_lost: None };
        let splits = config.load(dir.path()).unwrap();
        let Layout::Text { vocabulary: Vocabulary::Characters(symbols) } = &splits.schema().layout else { panic!() };
        assert_eq!(symbols.iter().collect::<String>(), "\n acehmst\u{e9}");
        let config = TextConfig { tokenizer: Some("t.json".into()), ..config };
        let splits = config.load(dir.path()).unwrap();
        assert_eq!((splits.schema().classes, splits.train.len()), (8, (30 * 7 - 21) / 6));
        let mut ids = windows(&splits.train, 0).concat();
        let start = ids.windows(4).position(|w| w == [2, 3, 4, 1]).unwrap();
        ids.drain(..start);
        assert_eq!(ids[..7], [2, 3, 4, 1, 7, 0, 1]);
        let wrong = TextConfig { tokenizer: Some("t.txt".into()), ..config };
        assert!(wrong.load(dir.path()).unwrap_err().to_string().contains("t.txt"));
    }
}
