//! The setting `charges` of molecules.

use serde::{Deserialize, Serialize};

/// How molecules with formal charges are treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Charges {
    /// They are refused.
    Drop,
    /// Every charged form of an element is a node class of its own.
    Classes,
}
