//! Mapping between class indices and symbols.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::data::DataError;
pub use crate::data::text::tokens::Tokens;

/// The symbols of a text: single characters, or the tokens of a `tokenizers` JSON file.
///
/// # Examples
/// ```
/// use pushforward::data::{DataError, Vocabulary};
/// let vocabulary = Vocabulary::characters("abc".chars().collect())?;
/// assert_eq!((vocabulary.size(), vocabulary.encode("cab")?), (3, vec![2, 0, 1]));
/// assert!(matches!(vocabulary.encode("ax"), Err(DataError::UnknownCharacter { character: 'x', offset: 1, .. })));
/// # Ok::<(), DataError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Vocabulary {
    /// Class `k` is the `k`-th character.
    Characters(Vec<char>),
    /// Class `k` is token number `k`.
    Tokenizer(Tokens),
}

impl Vocabulary {
    /// A vocabulary of characters, in the order of their classes.
    ///
    /// # Errors
    /// If a character occurs twice.
    pub fn characters(symbols: Vec<char>) -> Result<Self, DataError> {
        let mut seen = std::collections::HashSet::new();
        match symbols.iter().find(|&&symbol| !seen.insert(symbol)) {
            Some(twice) => Err(DataError::Setting { key: "vocabulary", problem: format!("{twice:?} occurs twice") }),
            None => Ok(Self::Characters(symbols)),
        }
    }

    /// Space and `a` to `z`, the symbols of text8.
    pub fn text8() -> Self {
        Self::Characters(std::iter::once(' ').chain('a'..='z').collect())
    }

    /// Number of classes.
    pub fn size(&self) -> usize {
        match self {
            Self::Characters(symbols) => symbols.len(),
            Self::Tokenizer(tokens) => tokens.size(),
        }
    }

    /// The end-of-document token, `None` if the tokenizer has none.
    pub fn end(&self) -> Option<u32> {
        match self {
            Self::Characters(_) => None,
            Self::Tokenizer(tokens) => tokens.end(),
        }
    }

    /// Class indices of a text.
    ///
    /// # Errors
    /// If a character is not in the vocabulary, or the tokenizer fails.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, DataError> {
        match self {
            Self::Characters(symbols) => {
                let classes: HashMap<char, u32> = symbols.iter().copied().zip(0..).collect();
                text.char_indices()
                    .map(|(offset, character)| {
                        let unknown = DataError::UnknownCharacter { character, offset, size: symbols.len() };
                        classes.get(&character).copied().ok_or(unknown)
                    })
                    .collect()
            }
            Self::Tokenizer(tokens) => tokens.encode(text),
        }
    }

    /// Number of characters that class indices spell, at least 1: as many as indices for characters, those of the decoded
    /// text for tokens.
    ///
    /// # Panics
    /// As [`Vocabulary::decode`].
    pub fn characters_of(&self, classes: &[u32]) -> usize {
        match self {
            Self::Characters(_) => classes.len().max(1),
            Self::Tokenizer(_) => self.decode(classes).chars().count().max(1),
        }
    }

    /// Class indices of a text, and how many of its characters besides spaces a tokenizer loses: those that its token for
    /// the unknown stands for, and those that it drops.
    pub(super) fn encode_counting(&self, text: &str) -> Result<(Vec<u32>, usize), DataError> {
        match self {
            Self::Characters(_) => Ok((self.encode(text)?, 0)),
            Self::Tokenizer(tokens) => tokens.encode_counting(text),
        }
    }

    /// Text of a sequence of class indices, special tokens included.
    ///
    /// # Panics
    /// If a class is not below [`Vocabulary::size`].
    pub fn decode(&self, classes: &[u32]) -> String {
        let size = self.size();
        if let Some(class) = classes.iter().find(|&&class| class as usize >= size) {
            panic!("class {class} in a vocabulary of {size} symbols");
        }
        match self {
            Self::Characters(symbols) => classes.iter().map(|&class| symbols[class as usize]).collect(),
            Self::Tokenizer(tokens) => tokens.decode(classes),
        }
    }
}

/// A tokenizer of eight words for tests, with an end token, and with truncation at two tokens, which must be ignored.
#[cfg(test)]
pub(crate) fn tiny_tokenizer() -> String {
    serde_json::json!({
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0},
        "padding": null,
        "added_tokens": [{"id": 1, "content": "[SEP]", "single_word": false, "lstrip": false, "rstrip": false,
                          "normalized": false, "special": true}],
        "normalizer": null, "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "unk_token": "[UNK]",
                  "vocab": {"[UNK]": 0, "[SEP]": 1, "the": 2, "cat": 3, "sat": 4, "on": 5, "mat": 6, "a": 7}}
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn characters_round_trip(text in "[a-z ]{0,40}") {
            let vocabulary = Vocabulary::text8();
            prop_assert_eq!(vocabulary.decode(&vocabulary.encode(&text).unwrap()), text);
        }
    }

    #[test]
    fn text8_has_27_symbols_and_names_the_others() {
        let vocabulary = Vocabulary::text8();
        assert_eq!((vocabulary.size(), vocabulary.encode("az b").unwrap()), (27, vec![1, 26, 0, 2]));
        let message = vocabulary.encode("ab\u{e9}c").unwrap_err().to_string();
        assert!(message.contains("'\u{e9}' at byte 2") && message.contains("27"), "{message}");
        assert!(Vocabulary::characters(vec!['a', 'b', 'a']).unwrap_err().to_string().contains("'a'"));
    }

    #[test]
    #[should_panic(expected = "class 27 in a vocabulary of 27")]
    fn foreign_classes_panic() {
        Vocabulary::text8().decode(&[0, 27]);
    }

    #[test]
    fn tokenizers_round_trip_uncut_and_survive_serialisation() {
        let vocabulary = Vocabulary::Tokenizer(Tokens::try_from(tiny_tokenizer()).unwrap());
        assert_eq!((vocabulary.size(), vocabulary.end()), (8, Some(1)));
        let classes = vocabulary.encode("the cat sat on the dog").unwrap();
        assert_eq!(classes, [2, 3, 4, 5, 2, 0]);
        assert_eq!(vocabulary.decode(&classes), "the cat sat on the [UNK]");
        assert_eq!((vocabulary.characters_of(&classes), Vocabulary::text8().characters_of(&[0, 1, 2])), (24, 3));
        let back: Vocabulary = serde_json::from_str(&serde_json::to_string(&vocabulary).unwrap()).unwrap();
        assert_eq!(back, vocabulary);
        assert_eq!(back.encode("a mat").unwrap(), [7, 6]);
        assert!(matches!(Tokens::try_from("{}".to_owned()), Err(DataError::Tokenizer { .. })));
    }

    #[test]
    fn what_a_tokenizer_loses_is_counted() {
        let vocabulary = Vocabulary::Tokenizer(Tokens::try_from(tiny_tokenizer()).unwrap());
        assert_eq!(vocabulary.encode_counting("the cat  sat").unwrap(), (vec![2, 3, 4], 0));
        // A word that is unknown is lost as a whole; spaces are not counted.
        assert_eq!(vocabulary.encode_counting("the dogs sat").unwrap(), (vec![2, 0, 4], 4));
        // Pairs of letters without a token for the unknown: what is not in the vocabulary is dropped.
        let dropping = byte_pairs("null");
        assert_eq!(dropping.encode_counting("abxab").unwrap(), (vec![2, 2], 1));
        assert_eq!(dropping.encode_counting("ab\u{e9}").unwrap().1, 1);
    }

    /// Two letters and their pair.
    fn byte_pairs(dropout: &str) -> Vocabulary {
        let json = format!(
            r#"{{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
            "pre_tokenizer": null, "post_processor": null, "decoder": null, "model": {{"type": "BPE",
            "dropout": {dropout}, "unk_token": null, "vocab": {{"a": 0, "b": 1, "ab": 2}}, "merges": ["a b"]}}}}"#
        );
        Vocabulary::Tokenizer(Tokens::try_from(json).unwrap())
    }

    #[test]
    fn random_merges_of_a_file_are_switched_off() {
        let text = "ab".repeat(200);
        assert_eq!(byte_pairs("0.5").encode(&text).unwrap(), vec![2; 200]);
        assert_eq!(byte_pairs("0.5").encode_counting(&text).unwrap().0, vec![2; 200]);
        // The file itself is kept, so that a checkpoint has it as it was.
        let Vocabulary::Tokenizer(tokens) = byte_pairs("0.5") else { unreachable!() };
        assert!(String::from(tokens).contains("\"dropout\": 0.5"));
    }

    #[test]
    fn damaged_files_are_errors_before_memory_is_taken() {
        let base: serde_json::Value = serde_json::from_str(&tiny_tokenizer()).unwrap();
        let refused = |change: &dyn Fn(&mut serde_json::Value)| {
            let mut file = base.clone();
            change(&mut file);
            Tokens::try_from(file.to_string()).unwrap_err().to_string()
        };
        let message = refused(&|file| file["model"]["vocab"]["mat"] = (1u64 << 31).into());
        assert!(message.contains("2147483648") && message.contains("1048576"), "{message}");
        let message = refused(&|file| file["added_tokens"][0]["id"] = u32::MAX.into());
        assert!(message.contains("4294967295"), "{message}");
        let one = |file: &mut serde_json::Value| {
            file["added_tokens"] = serde_json::json!([]);
            file["model"]["vocab"] = serde_json::json!({"[UNK]": 0});
        };
        assert!(refused(&one).contains("at least two"));
        refused(&|file| file["model"] = serde_json::json!({"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": ["a"]}));
        refused(&|file| {
            let vocabulary = serde_json::json!([["a", 0.0], ["b", -1.0]]);
            file["model"] = serde_json::json!({"type": "Unigram", "unk_id": 7, "vocab": vocabulary});
        });
    }
}
