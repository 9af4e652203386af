//! The texts of labels of items: a field of their table, what a header says, or a row of a second file.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::PathBuf;

use regex::Regex;

use crate::data::files::Source;
use crate::data::tables::grid::{Expected, Grid};
use crate::data::{DataError, LabelSource, OwnLabel};

/// Where the label of an item is read.
enum Place {
    Field,
    Header(Regex),
    File(SecondFile),
}

/// The labels of a second file, by the names of items.
struct SecondFile {
    path: PathBuf,
    /// The label of a name, and its line.
    labels: HashMap<String, (String, u64)>,
}

/// Reads labels of items.
pub(super) struct LabelTexts {
    settings: OwnLabel,
    place: Place,
}

impl LabelTexts {
    /// `file` is the second file, if labels stand in one.
    ///
    /// # Errors
    /// If the regular expression, or the second file, cannot be used: the line where a name has another label than before.
    pub(super) fn new(label: &OwnLabel, file: Option<Source>) -> Result<Self, DataError> {
        let place = match &label.by {
            LabelSource::Column(_) => Place::Field,
            LabelSource::Header(pattern) => {
                let problem = |e: regex::Error| DataError::Setting { key: "label.by.header", problem: e.to_string() };
                Place::Header(Regex::new(pattern).map_err(problem)?)
            }
            LabelSource::File(of) => {
                let mut grid = Grid::read(file.expect("the file of labels was read"), Expected::default())?;
                // Words over words that all differ look like a row of theirs.
                let heads = |grid: &Grid| {
                    let is = |name: &str| (0..grid.width).any(|at| grid.cell(0, at).trim().eq_ignore_ascii_case(name));
                    grid.rows() > 1 && is(of.key.trim()) && is(of.column.trim())
                };
                if grid.header.is_none() && heads(&grid) {
                    grid.take_header();
                }
                let key = grid.named(&of.key, "label.by.file.key")?;
                let column = grid.named(&of.column, "label.by.file.column")?;
                Place::File(SecondFile::read(&grid, key, column)?)
            }
        };
        Ok(Self { settings: label.clone(), place })
    }

    /// The text of the label of an item, given its header or its field; `None` if there is none that can be one.
    pub(super) fn of<'a>(&'a self, about: &'a str) -> Option<Cow<'a, str>> {
        let text = match &self.place {
            Place::Field => Some(about),
            Place::Header(pattern) => {
                let found = pattern.captures(about);
                found.and_then(|found| found.get(1).or_else(|| found.get(0)).map(|text| text.as_str()))
            }
            Place::File(file) => file.of(about),
        };
        text.filter(|text| self.settings.accepts(text)).map(Cow::Borrowed)
    }

    /// The error of a second file that names none of the items, whose headers or fields these are.
    pub(super) fn mismatch<T: AsRef<str>>(&self, items: impl IntoIterator<Item = T>) -> Result<(), DataError> {
        let Place::File(file) = &self.place else { return Ok(()) };
        let mut first = None;
        for about in items {
            if file.of(about.as_ref()).is_some() {
                return Ok(());
            }
            first.get_or_insert(about);
        }
        let named = file.labels.iter().min_by_key(|(_, (_, line))| *line);
        let (Some(first), Some((name, (_, line)))) = (first, named) else { return Ok(()) };
        let [name, first] = [name, first.as_ref()].map(|text| text.chars().take(60).collect::<String>());
        let problem = format!(
            "none of its names is one of an item: line {line} is for {name:?}, and the first item is called {first:?}; \
             data.label.by.file.own says which column of the items' own table has their names"
        );
        Err(DataError::Rows { path: file.path.clone(), problem })
    }
}

impl SecondFile {
    fn of(&self, about: &str) -> Option<&str> {
        // The name of a record is the first word of its header; a field of a table is one as it is.
        let word = || self.labels.get(about.split_whitespace().next()?);
        self.labels.get(about.trim()).or_else(word).map(|(text, _)| text.as_str())
    }

    fn read(grid: &Grid, key: usize, column: usize) -> Result<Self, DataError> {
        let mut labels: HashMap<String, (String, u64)> = HashMap::new();
        let mut at = (0, grid.line(0));
        for row in 0..grid.rows() {
            at = (row, grid.line_after(row, at));
            let (name, text, line) = (grid.cell(row, key).into_owned(), grid.cell(row, column).into_owned(), at.1);
            match labels.get(&name) {
                Some((other, first)) if *other != text => {
                    let problem =
                        format!("line {line}: {name:?} has the label {text:?}, and {other:?} in line {first}");
                    return Err(grid.refuse(problem));
                }
                Some(_) => {}
                None => {
                    labels.insert(name, (text, line));
                }
            }
        }
        Ok(Self { path: grid.path.clone(), labels })
    }
}
