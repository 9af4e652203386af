//! Tokens of a `tokenizers` JSON file.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::data::DataError;

/// A tokenizer, from the content of a `tokenizers` JSON file. Serialised as that content, so that a checkpoint needs no
/// second file.
///
/// # Examples
/// ```
/// use pushforward::data::{Tokens, Vocabulary};
/// let json = serde_json::json!({
///     "version": "1.0", "added_tokens": [], "normalizer": null, "pre_tokenizer": { "type": "WhitespaceSplit" },
///     "post_processor": null, "decoder": null, "truncation": null, "padding": null,
///     "model": { "type": "WordLevel", "unk_token": "?", "vocab": { "?": 0, "the": 1, "cat": 2 } },
/// });
/// let vocabulary = Vocabulary::Tokenizer(Tokens::try_from(json.to_string())?);
/// assert_eq!(vocabulary.encode("the cat sat")?, [1, 2, 0]);
/// # Ok::<(), pushforward::data::DataError>(())
/// ```
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Tokens {
    json: Arc<str>,
    tokenizer: Arc<tokenizers::Tokenizer>,
    size: usize,
    end: Option<u32>,
    /// The token for what is not in the vocabulary.
    unknown: Option<u32>,
}

/// Most tokens, and the bound of their numbers: memory is taken for all numbers below the largest one.
const MOST_TOKENS: u64 = 1 << 20;
/// Most bytes of a tokenizer file; those of published models have up to 40 MB.
const LARGEST: usize = 128 << 20;

/// Names of the end-of-document token in common tokenizers.
const ENDS: [&str; 7] = ["[SEP]", "</s>", "<|endoftext|>", "<|end_of_text|>", "<eos>", "<EOS>", "[EOS]"];

impl Tokens {
    pub(super) fn size(&self) -> usize {
        self.size
    }

    pub(super) fn end(&self) -> Option<u32> {
        self.end
    }

    pub(super) fn encode(&self, text: &str) -> Result<Vec<u32>, DataError> {
        let encoding = guarded("encoding a text", || self.tokenizer.encode_fast(text, false))?;
        encoding.map(|e| e.get_ids().to_vec()).map_err(|e| DataError::Tokenizer { problem: e.to_string() })
    }

    /// Class indices of a text, and how many of its characters besides spaces no token stands for: those of the token for
    /// the unknown, and those that are dropped.
    pub(super) fn encode_counting(&self, text: &str) -> Result<(Vec<u32>, usize), DataError> {
        let encoding = guarded("encoding a text", || self.tokenizer.encode(text, false))?;
        let encoding = encoding.map_err(|e| DataError::Tokenizer { problem: e.to_string() })?;
        let mut kept = vec![false; text.len()];
        for (&id, &(start, end)) in encoding.get_ids().iter().zip(encoding.get_offsets()) {
            if Some(id) != self.unknown && start <= end {
                kept[start.min(text.len())..end.min(text.len())].fill(true);
            }
        }
        let lost = text.char_indices().filter(|&(at, c)| !kept[at] && !c.is_whitespace()).count();
        Ok((encoding.get_ids().to_vec(), lost))
    }

    pub(super) fn decode(&self, classes: &[u32]) -> String {
        // If the tokenizer cannot decode, its tokens are joined by spaces.
        let decoded = guarded("decoding", || self.tokenizer.decode(classes, false));
        decoded.ok().and_then(Result::ok).unwrap_or_else(|| {
            let words = classes.iter().filter_map(|&class| self.tokenizer.id_to_token(class));
            words.collect::<Vec<_>>().join(" ")
        })
    }
}

/// A call of the tokenizer library, which panics on some damaged files.
fn guarded<T>(what: &str, call: impl FnOnce() -> T) -> Result<T, DataError> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        let said: String = said.unwrap_or("no message").chars().take(200).collect();
        DataError::Tokenizer { problem: format!("the file is damaged: {what} fails inside the library ({said})") }
    })
}

/// Checks the numbers of the tokens before memory is taken for them.
fn check_sizes(file: &Value) -> Result<(), String> {
    let most = |what: &str, found: u64| {
        let problem = format!("{what} {found}; fewer than {MOST_TOKENS} tokens, numbered from 0, are possible");
        if found < MOST_TOKENS { Ok(()) } else { Err(problem) }
    };
    let vocabulary = &file["model"]["vocab"];
    let entries = vocabulary.as_object().map(|map| map.len()).or(vocabulary.as_array().map(Vec::len)).unwrap_or(0);
    most("the number of tokens is", entries as u64)?;
    let added = file["added_tokens"].as_array().into_iter().flatten().map(|token| &token["id"]);
    let numbers = vocabulary.as_object().into_iter().flat_map(|map| map.values()).chain(added);
    numbers.filter_map(Value::as_u64).try_for_each(|number| most("a token has the number", number))
}

/// Switches off what a file often sets for the training of its model: truncation and padding, because a data set needs
/// the whole text, and random choices of tokens, because a run is reproducible. Returns whether anything was on.
fn without_habits(file: &mut Value) -> bool {
    let mut changed = false;
    let mut clear = |table: &mut Value, keys: &[&str]| {
        for key in keys {
            if let Some(value) = table.get_mut(*key).filter(|value| !value.is_null()) {
                *value = Value::Null;
                changed = true;
            }
        }
    };
    clear(file, &["truncation", "padding"]);
    clear(&mut file["model"], &["dropout", "alpha", "nbest_size"]);
    changed
}

impl TryFrom<String> for Tokens {
    type Error = DataError;

    fn try_from(json: String) -> Result<Self, DataError> {
        let fail = |problem: String| DataError::Tokenizer { problem };
        if json.len() > LARGEST {
            return Err(fail(format!("{} bytes; at most {LARGEST} are possible", json.len())));
        }
        let mut file: Value = serde_json::from_str(&json).map_err(|e| fail(e.to_string()))?;
        if !file["model"].is_object() {
            return Err(fail("there is no table `model`: not a `tokenizers` JSON file".into()));
        }
        check_sizes(&file).map_err(fail)?;
        let changed = without_habits(&mut file);
        let text = if changed { file.to_string() } else { json.clone() };
        let parsed = guarded("reading it", || text.parse::<tokenizers::Tokenizer>())?;
        let tokenizer = parsed.map_err(|e: tokenizers::Error| fail(e.to_string()))?;
        let size = tokenizer.get_vocab(true).into_values().max().map_or(0, |id| id as usize + 1);
        if size < 2 {
            return Err(fail(format!("it has {size} tokens, at least two are needed")));
        }
        let unknown = &file["model"]["unk_token"];
        let unknown = unknown.as_str().and_then(|token| tokenizer.token_to_id(token));
        let unknown = unknown.or_else(|| u32::try_from(file["model"]["unk_id"].as_u64()?).ok());
        let end = ENDS.iter().find_map(|end| tokenizer.token_to_id(end));
        let tokens = Self { json: json.into(), tokenizer: Arc::new(tokenizer), size, end, unknown };
        // Damage that shows when the file is used is told now.
        let some: Vec<u32> = (0..size.min(512) as u32).collect();
        let _ = guarded("decoding its tokens", || tokens.tokenizer.decode(&some, false))?;
        let _ = guarded("encoding a text", || tokens.tokenizer.encode_fast("A first, \u{e9}1 text.\n", false))?;
        Ok(tokens)
    }
}

impl From<Tokens> for String {
    fn from(tokens: Tokens) -> Self {
        tokens.json.as_ref().to_owned()
    }
}

impl PartialEq for Tokens {
    fn eq(&self, other: &Self) -> bool {
        self.json == other.json
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("size", &self.size).field("end", &self.end).finish_non_exhaustive()
    }
}
