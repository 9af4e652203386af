//! Text as one long stream of symbols, cut into windows.
//!
//! The stream is split by position: the first 90 % of all symbols train, the next 5 % validate, the last 5 % test.
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

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::data::files::{self, Source};
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
}

fn default_length() -> usize {
    256
}

impl Text8Config {
    pub(crate) fn load(&self, data_dir: &Path) -> Result<Splits, DataError> {
        let dirs = files::folders(self.path.as_deref(), "text8", data_dir)?;
        let file = match &dirs[..] {
            [file] if file.is_file() => file.clone(),
            dirs => files::find("text8", "text8", dirs)?,
        };
        let source = Source::read(file)?;
        let mut ids = letters(&source)?;
        ids.shrink_to_fit();
        cut("text8", Ids::Narrow(ids), Vocabulary::text8(), self.length, sha256([&source]))
    }
}

impl TextConfig {
    pub(crate) fn load(&self, data_dir: &Path) -> Result<Splits, DataError> {
        let source = Source::read(files::existing("path", &self.path, data_dir)?)?;
        let text = source.utf8()?;
        let Some(tokenizer) = &self.tokenizer else {
            let mut symbols: Vec<char> = text.chars().collect();
            symbols.sort_unstable();
            symbols.dedup();
            let vocabulary = Vocabulary::Characters(symbols);
            let ids = Ids::new(vocabulary.encode(&text)?, vocabulary.size());
            return cut("text", ids, vocabulary, self.length, sha256([&source]));
        };
        let file = files::existing("tokenizer", tokenizer, data_dir)?;
        let json = Source::read(file.clone())?;
        let tokens = Tokens::try_from(json.utf8()?).map_err(|error| match error {
            DataError::Tokenizer { problem } => {
                DataError::Tokenizer { problem: format!("{}: {problem}", file.display()) }
            }
            other => other,
        })?;
        let vocabulary = Vocabulary::Tokenizer(tokens);
        let mut ids = Vec::new();
        for line in text.split_inclusive('\n') {
            // Without an end token, the line break is kept as the separator of documents.
            let document = if vocabulary.end().is_some() { line.trim_end_matches(['\n', '\r']) } else { line };
            if !document.is_empty() {
                ids.extend(vocabulary.encode(document)?);
                ids.extend(vocabulary.end());
            }
        }
        let ids = Ids::new(ids, vocabulary.size());
        cut("text", ids, vocabulary, self.length, sha256([&source, &json]))
    }
}

fn letters(source: &Source) -> Result<Vec<u8>, DataError> {
    let mut content = source.open();
    let mut bytes = content.take(u64::MAX)?;
    if bytes.starts_with(b"PK\x03\x04") {
        return Err(content.malformed(0, "text; unpack it first", "a zip archive"));
    }
    if bytes.ends_with(b"\n") {
        bytes.pop();
    }
    for (offset, byte) in bytes.iter_mut().enumerate() {
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

fn cut(name: &str, ids: Ids, vocabulary: Vocabulary, length: usize, sha256: String) -> Result<Splits, DataError> {
    let n = ids.len();
    let (first, second) = (n - n / 10, n - n / 20);
    let shortest = (second - first).min(n - second);
    if length == 0 || length > shortest {
        let problem = format!("{length}; 1 to {shortest} are possible, the symbols of the smallest part of the text");
        return Err(DataError::Setting { key: "length", problem });
    }
    let ids = Arc::new(ids);
    let schema = Schema { sites: length, classes: vocabulary.size(), layout: Layout::Text { vocabulary } };
    let part = |range, start| -> Arc<dyn Dataset> {
        Arc::new(Windows { schema: schema.clone(), ids: ids.clone(), range, start })
    };
    let train = part(0..first, Start::Drawn);
    let (validation, test) = (part(first..second, Start::Zero), part(second..n, Start::Zero));
    Ok(Splits { name: name.to_owned(), train, validation, test, sha256, refused: Vec::new() })
}

struct Windows {
    schema: Schema,
    ids: Arc<Ids>,
    range: Range<usize>,
    start: Start,
}

/// Where the first window of an epoch begins.
enum Start {
    Zero,
    Drawn,
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
        let offset = match self.start {
            Start::Zero => 0,
            Start::Drawn => key.epoch_stream().below(length),
        };
        let first = (self.range.start + offset + key.index * length).min(self.range.end - length);
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
            let text = TextConfig { length: 2, path: "t".into(), tokenizer: None }.load(dir.path());
            let message = text8.and(text).unwrap_err().to_string();
            assert!(parts.iter().all(|part| message.contains(part)), "{message}");
        };
        check(b"abc def9", ["byte 7", "'9'"]);
        check(b"ab\ncd", ["byte 2", "'\\n'"]);
        check(b"PK\x03\x04abc", ["byte 0", "zip archive"]);
        check(b"abc", ["length", "1 to 0"]);
        std::fs::write(dir.path().join("t"), b"ab\xc3\xa9\xff").unwrap();
        let config = TextConfig { length: 2, path: "t".into(), tokenizer: None };
        let message = config.load(dir.path()).unwrap_err().to_string();
        assert!(message.contains("byte 4") && message.contains("0xff"), "{message}");
        let message = TextConfig { path: "u".into(), ..config }.load(dir.path()).unwrap_err().to_string();
        assert!(message.contains("`path` is u"), "{message}");
    }

    #[test]
    fn any_text_by_characters_or_by_tokenizer() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("t.txt"), "the cat sat\n\na mat\u{e9}\n".repeat(30)).unwrap();
        std::fs::write(dir.path().join("t.json"), tiny_tokenizer()).unwrap();
        let config = TextConfig { path: "t.txt".into(), length: 6, tokenizer: None };
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
