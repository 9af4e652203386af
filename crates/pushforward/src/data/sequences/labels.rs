//! The texts of labels of sequences: from a column, a header or a second file.

use std::collections::HashMap;

use regex::Regex;

use crate::data::files::Source;
use crate::data::sequences::read::named;
use crate::data::sequences::records::Records;
use crate::data::tables::grid::{Expected, Grid};
use crate::data::{DataError, LabelSource, OwnLabel};

/// The text of the label of each record; `None` where there is none.
///
/// # Errors
/// If the regular expression, or the file of labels, cannot be used.
pub(super) fn label_texts(
    label: &OwnLabel,
    records: &Records,
    file: Option<Source>,
) -> Result<Vec<Option<String>>, DataError> {
    let about = || records.about.iter();
    let texts: Vec<Option<String>> = match &label.by {
        LabelSource::Column(_) => about().map(|field| Some(field.to_string())).collect(),
        LabelSource::Header(pattern) => {
            let problem = |e: regex::Error| DataError::Setting { key: "label.by.header", problem: e.to_string() };
            let pattern = Regex::new(pattern).map_err(problem)?;
            let found = |header: &str| {
                let captures = pattern.captures(header)?;
                captures.get(1).or_else(|| captures.get(0)).map(|text| text.as_str().to_owned())
            };
            about().map(|header| found(header)).collect()
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
            // The name of a record is the first word of its header; a field of a table is one as it is.
            let name = |about: &str| labels.get(about.trim()).or_else(|| labels.get(about.split_whitespace().next()?));
            about().map(|about| name(about).cloned()).collect()
        }
    };
    Ok(texts.into_iter().map(|text| text.filter(|text| label.accepts(text))).collect())
}
