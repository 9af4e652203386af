//! Text as class indices: characters or tokens, packed into windows.

pub mod corpus;
pub(crate) mod vocabulary;
