//! Text as class indices: characters or tokens, cut into windows.
//!
//! # Examples
//! ```
//! use pushforward::data::Vocabulary;
//! let vocabulary = Vocabulary::text8();
//! assert_eq!(vocabulary.encode("ab c")?, [1, 2, 0, 3]);
//! assert_eq!(vocabulary.decode(&[1, 2, 0, 3]), "ab c");
//! # Ok::<(), pushforward::data::DataError>(())
//! ```

pub mod corpus;
mod stream;
#[cfg_attr(not(feature = "text"), path = "no_tokens.rs")]
mod tokens;
pub(crate) mod vocabulary;
