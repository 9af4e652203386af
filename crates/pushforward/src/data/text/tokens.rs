//! Tokens of a `tokenizers` JSON file.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

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
}

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
        let encoding = self.tokenizer.encode_fast(text, false);
        encoding.map(|e| e.get_ids().to_vec()).map_err(|e| DataError::Tokenizer { problem: e.to_string() })
    }

    pub(super) fn decode(&self, classes: &[u32]) -> String {
        // If the tokenizer cannot decode, its tokens are joined by spaces.
        self.tokenizer.decode(classes, false).unwrap_or_else(|_| {
            let words = classes.iter().filter_map(|&class| self.tokenizer.id_to_token(class));
            words.collect::<Vec<_>>().join(" ")
        })
    }
}

impl TryFrom<String> for Tokens {
    type Error = DataError;

    fn try_from(json: String) -> Result<Self, DataError> {
        let fail = |problem: String| DataError::Tokenizer { problem };
        let mut tokenizer: tokenizers::Tokenizer = json.parse().map_err(|e: tokenizers::Error| fail(e.to_string()))?;
        // Files often set the truncation and padding of their model. A data set needs the whole text.
        tokenizer.with_padding(None).with_truncation(None).map_err(|e| fail(e.to_string()))?;
        let size = tokenizer.get_vocab(true).into_values().max().map_or(0, |id| id as usize + 1);
        if size < 2 {
            return Err(fail(format!("it has {size} tokens, at least two are needed")));
        }
        let end = ENDS.iter().find_map(|end| tokenizer.token_to_id(end));
        Ok(Self { json: json.into(), tokenizer: Arc::new(tokenizer), size, end })
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
