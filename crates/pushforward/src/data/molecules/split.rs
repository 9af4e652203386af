//! How a set of molecules is divided into a training, validation and test part.
//!
//! A molecule may stand in a file several times: copies, other spellings, and stereoisomers, which are one graph. By
//! `molecules`, all of them belong to one part, so that no held-out molecule is trained on; by `items`, every line is
//! on its own. Without copies both give the same parts. A column of the table, or files of their own, may say the part
//! instead.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::data::parts::SplitFiles;

/// How molecules are divided into parts. In a recipe: `split = "molecules"`, `split = { column = "SPLIT" }` or
/// `split = { files = { validation = "valid.smi", test = "test.smi" } }`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum MoleculeSplit {
    /// At random, every line on its own; recipes before this setting.
    Items,
    /// At random, all lines of one canonical SMILES together.
    Molecules,
    /// By a column of the table: `train` or `training`; `valid`, `validation`, `val` or `dev`; `test`, in any case. Rows
    /// with another value are refused.
    Column(String),
    /// The file of the set is the training part, these files are the others.
    Files(SplitFiles),
}

impl MoleculeSplit {
    /// The column that says the part.
    pub(super) fn column(&self) -> Option<&str> {
        match self {
            Self::Column(column) => Some(column),
            Self::Items | Self::Molecules | Self::Files(_) => None,
        }
    }

    /// The files of the held-out parts, with the names of their parts.
    pub(super) fn files(&self) -> Vec<(&'static str, &PathBuf)> {
        match self {
            Self::Files(files) => files.named(),
            Self::Items | Self::Molecules | Self::Column(_) => Vec::new(),
        }
    }

    pub(super) fn paths_mut(&mut self) -> Vec<(&'static str, &mut PathBuf)> {
        match self {
            Self::Files(files) => files.paths_mut(),
            Self::Items | Self::Molecules | Self::Column(_) => Vec::new(),
        }
    }
}
