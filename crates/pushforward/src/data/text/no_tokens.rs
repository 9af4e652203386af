//! Stand-in for tokens in a build without the feature `text`: there are none, and reading some is an error.

use serde::{Deserialize, Serialize};

use crate::data::DataError;

/// A tokenizer, which needs the feature `text`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub enum Tokens {}

impl Tokens {
    pub(super) fn size(&self) -> usize {
        match *self {}
    }

    pub(super) fn end(&self) -> Option<u32> {
        match *self {}
    }

    pub(super) fn encode(&self, _: &str) -> Result<Vec<u32>, DataError> {
        match *self {}
    }

    pub(super) fn encode_counting(&self, _: &str) -> Result<(Vec<u32>, usize), DataError> {
        match *self {}
    }

    pub(super) fn decode(&self, _: &[u32]) -> String {
        match *self {}
    }
}

impl TryFrom<String> for Tokens {
    type Error = DataError;

    fn try_from(_: String) -> Result<Self, DataError> {
        let problem = "this build leaves out tokenizers; build the library with its feature `text`".into();
        Err(DataError::Tokenizer { problem })
    }
}
