//! The setting `label` of molecules: a property, or a column of their own table.

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use crate::data::molecules::labels::MoleculeLabel;
use crate::data::{DataError, LabelSource, OwnLabel};

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
    /// A column of their table.
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

    /// The column of labels, by heading or number.
    ///
    /// # Errors
    /// If labels are to come from elsewhere.
    pub(super) fn column(&self) -> Result<Option<&str>, DataError> {
        match self.own().map(|label| &label.by) {
            None => Ok(None),
            Some(LabelSource::Column(column)) => Ok(Some(column)),
            Some(LabelSource::Header(_) | LabelSource::File(_)) => {
                let problem = "labels of molecules are properties, or stand in a column: { column = \"...\" }".into();
                Err(DataError::Setting { key: "label.by", problem })
            }
        }
    }
}
