//! The setting `label` of molecules: a property, a column of their own table, or a second file.

use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use crate::data::molecules::labels::MoleculeLabel;
use crate::data::{DataError, OwnLabel};

/// What molecules are labelled by: `{ by = "qed", edges = [0.5] }`, or `{ by = { column = "activity" } }`.
///
/// # Examples
/// ```
/// use pushforward::data::molecules::MoleculeLabelling;
/// #[derive(serde::Deserialize)]
/// struct Settings {
///     label: MoleculeLabelling,
/// }
/// let of = |text: &str| toml::from_str::<Settings>(text).map(|settings| settings.label);
/// assert!(matches!(of("label = { by = 'qed', edges = [0.5] }")?, MoleculeLabelling::Property(_)));
/// assert!(matches!(of("label = { by = { column = 'activity' } }")?, MoleculeLabelling::Own(_)));
/// assert!(of("label = { by = 'colour' }").is_err());
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum MoleculeLabelling {
    /// A property of the molecules.
    Property(MoleculeLabel),
    /// A column of their table, or a second file.
    Own(OwnLabel),
}

impl<'de> Deserialize<'de> for MoleculeLabelling {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The kind is decided by `by`, so that a mistake elsewhere has the message of its kind.
        let value = serde_json::Value::deserialize(deserializer)?;
        let own = value.get("by").is_some_and(|by| !by.is_string());
        let read = if own {
            serde_json::from_value(value).map(Self::Own)
        } else {
            serde_json::from_value(value).map(Self::Property)
        };
        read.map_err(D::Error::custom)
    }
}

impl MoleculeLabelling {
    /// The property, if it is one.
    pub(in crate::data) fn property(&self) -> Option<&MoleculeLabel> {
        if let Self::Property(label) = self { Some(label) } else { None }
    }

    /// The label of a column, if it is one.
    pub(super) fn own(&self) -> Option<&OwnLabel> {
        if let Self::Own(label) = self { Some(label) } else { None }
    }

    /// The file of labels with its key, for paths that are made absolute.
    pub(super) fn path_mut(&mut self) -> Option<(&'static str, &mut PathBuf)> {
        if let Self::Own(label) = self { label.path_mut() } else { None }
    }

    /// The column of labels, or of names, by heading or number, and the key that says so.
    ///
    /// # Errors
    /// If labels are to come from headers.
    pub(super) fn column(&self) -> Result<Option<(&str, &'static str)>, DataError> {
        let Some(label) = self.own() else { return Ok(None) };
        label.own_column().map(Some).ok_or_else(|| {
            let problem = "molecules have no headers: labels are properties, or stand in a column, \
                           { column = \"...\" }, or in a second file, { file = { path = \"...\", key = \"...\", column = \"...\" } }";
            DataError::Setting { key: "label.by", problem: problem.into() }
        })
    }
}
