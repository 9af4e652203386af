//! The texts of labels of sequences: from a column, a header or a second file.

use std::collections::HashMap;

use regex::Regex;

use crate::data::files::Source;
use crate::data::sequences::read::named;
use crate::data::sequences::records::Records;
use crate::data::tables::grid::{Expected, Grid};
use crate::data::{DataError, LabelSource, OwnLabel};

/// Where the label of a record is read.
enum Place {
    Field,
    Header(Regex),
    File(HashMap<String, String>),
}

/// Reads labels of records.
pub(super) struct Labels {
    settings: OwnLabel,
    source: Place,
}

impl Labels {
    /// # Errors
    /// If the regular expression, or the file of labels, cannot be used.
    pub(super) fn new(label: &OwnLabel, file: Option<Source>) -> Result<Self, DataError> {
        let source = match &label.by {
            LabelSource::Column(_) => Place::Field,
            LabelSource::Header(pattern) => {
                let problem = |e: regex::Error| DataError::Setting { key: "label.by.header", problem: e.to_string() };
                Place::Header(Regex::new(pattern).map_err(problem)?)
            }
            LabelSource::File(of) => {
                let grid = Grid::read(file.expect("the file of labels was read"), Expected::default())?;
                let key = named(&grid, &of.key, "label.by.file.key")?;
                let column = named(&grid, &of.column, "label.by.file.column")?;
                let mut labels: HashMap<String, String> = HashMap::new();
                for row in 0..grid.rows() {
                    let (name, label) = (grid.cell(row, key).into_owned(), grid.cell(row, column).into_owned());
                    if let Some(other) = labels.get(&name).filter(|other| **other != label) {
                        return Err(grid.refuse(format!("`{name}` has two labels, `{other}` and `{label}`")));
                    }
                    labels.insert(name, label);
                }
                Place::File(labels)
            }
        };
        Ok(Self { settings: label.clone(), source })
    }

    /// The text of the label of a record, given its header or its field; `None` if there is none that can be one.
    pub(super) fn of(&self, about: &str) -> Option<String> {
        let text = match &self.source {
            Place::Field => Some(about.to_owned()),
            Place::Header(pattern) => pattern
                .captures(about)
                .and_then(|captures| captures.get(1).or_else(|| captures.get(0)).map(|text| text.as_str().to_owned())),
            Place::File(labels) => {
                // The name of a record is the first word of its header; a field of a table is one as it is.
                let word = || labels.get(about.split_whitespace().next()?);
                labels.get(about.trim()).or_else(word).cloned()
            }
        };
        text.filter(|text| self.settings.accepts(text))
    }
}

/// The text of the label of each record; `None` where there is none.
///
/// # Errors
/// As [`Labels::new`].
pub(super) fn label_texts(
    label: &OwnLabel,
    records: &Records,
    file: Option<Source>,
) -> Result<Vec<Option<String>>, DataError> {
    let labels = Labels::new(label, file)?;
    Ok(records.about.iter().map(|about| labels.of(about)).collect())
}
