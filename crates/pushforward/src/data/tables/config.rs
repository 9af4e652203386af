//! The settings of a table in a recipe.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::data::fields::Delimiter;
use crate::data::files::{self, Folders, Source};
use crate::data::label_texts::LabelTexts;
use crate::data::own_labels::Labelled;
use crate::data::packed::Packed;
use crate::data::part_names::part_of;
use crate::data::tables::build::{self, Built, Choices};
use crate::data::tables::column::TableColumn;
use crate::data::tables::grid::{Expected, Form, Grid};
use crate::data::tables::kinds::ColumnChoice;
use crate::data::tables::layout::{TableLayout, find};
use crate::data::tables::rows::{Place, Rows};
use crate::data::tables::set::Part;
use crate::data::tables::zeros;
use crate::data::{DataError, Dataset, Layout, OwnLabel, Schema, Splits};
use crate::hash::sha256;
use crate::rng::{Purpose, stream};

/// Columns that are read at a time, so that the texts of few are in memory.
const AT_A_TIME: usize = 4;
/// Texts that stand for what is missing.
const MISSING: [&str; 10] = ["", "?", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "Null"];

/// What is done with rows in which a value is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MissingValues {
    /// What is missing is a class of its own, which samples have as often.
    #[default]
    Class,
    /// What is missing is unknown: the model is trained on the other cells of the row, and samples have a value in every cell.
    Hole,
    /// The row is left out.
    Drop,
}

/// What is done with rows of another length than the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RaggedRows {
    /// They are an error.
    #[default]
    Error,
    /// They are left out.
    Drop,
}

/// How the rows are divided into parts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TableSplit {
    /// At random.
    #[default]
    Rows,
    /// By a column, which is left out of the model: `train` or `training`; `valid`, `validation`, `val` or `dev`; `test`.
    Column(String),
}

/// Settings of `table`: a file of rows, plain or gzipped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableConfig {
    /// The file.
    pub path: PathBuf,
    /// A file with the rows of the test part. Default: one in twenty of `path`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<PathBuf>,
    /// A file with the rows of the validation part. Default: one in twenty of `path`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<PathBuf>,
    /// Whether the first row names the columns. Default: found by reading.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<bool>,
    /// Kinds of columns, by name or number from 1. Default: found by reading.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub columns: BTreeMap<String, ColumnChoice>,
    /// What is done with rows in which a value is missing.
    #[serde(default)]
    pub missing: MissingValues,
    /// Texts that stand for what is missing. Default: nothing, `?`, `NA`, `N/A`, `NaN` and `null`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing_values: Option<Vec<String>>,
    /// What is done with rows of another length than the first.
    #[serde(default)]
    pub ragged: RaggedRows,
    /// Most classes of a column of numbers. Fewer different numbers have a class each; else frequent ones have one, and
    /// the others share bins.
    #[serde(default = "bins")]
    pub bins: usize,
    /// Values of fewer training rows share a class.
    #[serde(default)]
    pub rare: u64,
    /// Values of fewer training rows are not kept anywhere and count as missing.
    #[serde(default)]
    pub drop_rare: u64,
    /// Most values of a categorical column that have a class each; the others share one.
    #[serde(default = "classes")]
    pub classes: usize,
    /// Two values never occur together if no training row has both, and independent columns would have them in so many rows or
    /// more: [structural zeros](crate::structural_zeros), which no sample has; rare pairs are found by it, too. 0 keeps none.
    #[serde(default = "structural_zeros", skip_serializing_if = "is_structural_zeros")]
    pub structural_zeros: f64,
    /// The column that models trained on samples predict when samples are scored. Default: the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Labels for conditional models, from a column that is then left out of the model: `{ by = { column = "sex" } }`; or
    /// from a second file, and then a column of names is left out unless `columns` says its kind. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<OwnLabel>,
    /// Number of rows to read from the start of the file. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// How the rows are divided into parts.
    #[serde(default)]
    pub split: TableSplit,
    /// Seed of the division into parts.
    #[serde(default)]
    pub split_seed: u64,
}

fn bins() -> usize {
    100
}

fn classes() -> usize {
    255
}

fn structural_zeros() -> f64 {
    5.0
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_structural_zeros(least: &f64) -> bool {
    *least == structural_zeros()
}

/// Rows by their part, and how many were left out, by reason.
pub(super) struct Divided {
    pub(super) parts: [Vec<Place>; 3],
    pub(super) refused: BTreeMap<String, u64>,
    pub(super) notes: Vec<String>,
}

/// What is asked of the columns of a file.
pub(super) struct Asked {
    pub(super) names: Vec<String>,
    columns: Vec<Option<ColumnChoice>>,
    /// Texts that stand for what is missing.
    missing: Vec<String>,
    /// The column of labels, or of names where a second file has the labels, and what reads them.
    label: Option<(usize, LabelTexts)>,
    /// The form of the file.
    pub(super) first: Grid,
}

impl Asked {
    /// The text of the label of a row; `None` if it has none.
    pub(super) fn label(&self, grid: &Grid, row: usize) -> Option<String> {
        let (column, labels) = self.label.as_ref()?;
        let text = labels.of(&grid.cell(row, *column))?.into_owned();
        (!self.missing.contains(&text)).then_some(text)
    }
}

impl TableConfig {
    pub(crate) fn paths_mut(&mut self) -> Vec<(&'static str, &mut PathBuf)> {
        let held_out = self.validation.iter_mut().map(|path| ("validation", path));
        std::iter::once(("path", &mut self.path))
            .chain(held_out)
            .chain(self.test.iter_mut().map(|path| ("test", path)))
            .chain(self.label.iter_mut().filter_map(OwnLabel::path_mut))
            .collect()
    }

    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let labels = self.label.iter().filter_map(OwnLabel::file);
        std::iter::once(&self.path).chain(&self.validation).chain(&self.test).chain(labels).cloned().collect()
    }

    pub(crate) fn load(&self, folders: Folders<'_>) -> Result<Splits, DataError> {
        let open = |key, path: &PathBuf| Source::read(files::existing(key, path, folders.data)?);
        let mut sources = vec![open("path", &self.path)?];
        let held_out = [("validation", &self.validation), ("test", &self.test)];
        for (key, path) in held_out {
            sources.extend(path.as_ref().map(|path| open(key, path)).transpose()?);
        }
        let of_labels = self.label.as_ref().map(|label| label.found_file(folders.data)).transpose()?.flatten();
        let of_labels = of_labels.map(Source::read).transpose()?;
        let hash = sha256(sources.iter().chain(&of_labels));
        let mut grids: Vec<Grid> = Vec::new();
        for source in sources {
            let expected = Expected {
                header: self.header.or(grids.first().and_then(|first| first.header.is_none().then_some(false))),
                drop_ragged: self.ragged == RaggedRows::Drop,
                like: grids.first().map(|first| (first.form, first.width)),
                later: None,
            };
            let grid = Grid::read(source, expected)?;
            if let Some(first) = grids.first()
                && grid.header.is_some()
                && grid.header != first.header
            {
                let problem = format!("its header is not that of {}", first.path.display());
                return Err(grid.refuse(problem));
            }
            grids.push(grid);
        }
        self.build(&grids, of_labels, hash)
    }

    /// What is asked of the columns of a file, given the second file of labels if there is one.
    pub(super) fn what_is_asked(&self, grid: &Grid, of_labels: Option<Source>) -> Result<Asked, DataError> {
        let names = names(grid)?;
        let missing: Vec<String> = match &self.missing_values {
            Some(values) => values.clone(),
            None => MISSING.iter().map(|&text| text.to_owned()).collect(),
        };
        let columns = self.asked(&names)?;
        let texts = self.label.as_ref().map(|label| LabelTexts::new(label, of_labels)).transpose()?;
        let label = self.label_column(&names)?.zip(texts);
        Ok(Asked { names, columns, missing, label, first: grid.emptied() })
    }

    /// Why a row is left out; `None` if it is not.
    pub(super) fn refusal(&self, grid: &Grid, row: usize, asked: &Asked) -> Option<&'static str> {
        let missing = |text: &str| asked.missing.iter().any(|missing| missing == text);
        let skipped = |column: usize| asked.columns[column] == Some(ColumnChoice::Skip);
        let gap = |column: usize| !skipped(column) && missing(&grid.cell(row, column));
        if self.missing == MissingValues::Drop && (0..grid.width).any(gap) {
            return Some("rows in which a value is missing");
        }
        (self.label.is_some() && asked.label(grid, row).is_none()).then_some("rows without a label")
    }

    fn build(&self, grids: &[Grid], of_labels: Option<Source>, hash: String) -> Result<Splits, DataError> {
        let asked = self.what_is_asked(&grids[0], of_labels)?;
        if let Some((column, labels)) = &asked.label {
            labels.mismatch((0..grids[0].rows()).map(|row| grids[0].cell(row, *column)))?;
        }
        let divided = self.divide(grids, &asked)?;
        let labels = self.labels(grids, &asked, &divided.parts)?;
        self.of_parts(grids, &asked, divided, labels, hash)
    }

    /// The set of rows whose parts are known.
    pub(super) fn of_parts(
        &self,
        grids: &[Grid],
        asked: &Asked,
        Divided { parts, refused, mut notes }: Divided,
        labels: Option<Labelled>,
        hash: String,
    ) -> Result<Splits, DataError> {
        let first = &grids[0];
        let Asked { names, columns: asked, missing, .. } = asked;
        let counts = parts.each_ref().map(Vec::len);
        let places: Vec<Place> = parts.concat();
        let rows = Rows { grids, places: &places, train: counts[0] };
        let choices = Choices {
            missing: missing.clone(),
            bins: self.bins,
            rare: self.rare,
            drop_rare: self.drop_rare,
            classes: self.classes,
            holes: self.missing == MissingValues::Hole,
        };
        let mut columns: Vec<TableColumn> = Vec::new();
        let mut packed: Vec<(Packed, usize)> = Vec::new();
        let mut numbers: Vec<Vec<f64>> = Vec::new();
        let all: Vec<usize> = (0..names.len()).collect();
        let mut errors = Vec::new();
        for some in all.chunks(AT_A_TIME) {
            let built: Vec<Result<Built, DataError>> =
                some.par_iter().map(|&at| build::column(&rows, at, &names[at], asked[at], &choices)).collect();
            for built in built {
                let built = match built {
                    Ok(built) => built,
                    Err(error) => {
                        errors.push(error);
                        continue;
                    }
                };
                notes.extend(built.note);
                let classes = built.column.classes();
                if classes > 0 {
                    let mut ids = Packed::new(built.ids.len(), classes);
                    built.ids.iter().enumerate().for_each(|(row, &class)| ids.set(row, class));
                    packed.push((ids, classes));
                    numbers.push(built.numbers);
                }
                columns.push(built.column);
            }
        }
        if let Some(error) = joined(errors) {
            return Err(error);
        }
        if packed.is_empty() {
            let said: String = notes.iter().map(|note| format!("\n  {note}")).collect();
            return Err(first.refuse(format!("no column is left to model{said}")));
        }
        let classes: Vec<usize> = packed.iter().map(|(_, classes)| *classes).collect();
        let most = classes.iter().copied().max().unwrap_or(0);
        let sites = packed.len();
        let mut ids = Packed::new(places.len() * sites, most);
        for (site, (column, _)) in packed.into_iter().enumerate() {
            (0..places.len()).for_each(|row| ids.set(row * sites + site, column.get(row)));
        }
        let layout = TableLayout {
            columns,
            delimiter: first.delimiter(),
            header: first.header.is_some(),
            missing: missing.clone(),
            holes: choices.holes,
            zeros: zeros::find(self.structural_zeros, &ids, &classes, counts[0], &mut notes)?,
        };
        self.target.as_ref().map(|name| layout.site(name)).transpose()?;
        let schema = Arc::new(Schema { sites, classes: most, layout: Layout::Columns(layout) });
        let (ids, numbers) = (Arc::new(ids), Arc::new(numbers));
        let starts = [0, counts[0], counts[0] + counts[1]];
        let (labels, label_names) = labels.unzip();
        let label_names: Vec<String> = label_names.unwrap_or_default();
        let labels: Option<Arc<(Vec<u32>, usize)>> = labels.map(|labels| Arc::new((labels, label_names.len())));
        let part = |part: usize| -> Arc<dyn Dataset> {
            let (schema, ids, numbers, labels) = (schema.clone(), ids.clone(), numbers.clone(), labels.clone());
            Arc::new(Part { schema, ids, numbers, labels, first: starts[part], count: counts[part] })
        };
        let mut splits = Splits::new("table", [part(0), part(1), part(2)], hash);
        splits.label_names = label_names;
        splits.notes = notes;
        splits.refused = refused.into_iter().filter(|(_, count)| *count > 0).collect();
        Ok(splits)
    }

    /// What the recipe says about each column.
    fn asked(&self, names: &[String]) -> Result<Vec<Option<ColumnChoice>>, DataError> {
        let plain: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut asked = vec![None; names.len()];
        for (name, &choice) in &self.columns {
            let place = find(&plain, name).map_err(|problem| DataError::Column { column: name.clone(), problem })?;
            asked[place] = Some(choice);
        }
        if let TableSplit::Column(name) = &self.split {
            let place = find(&plain, name).map_err(|problem| DataError::Column { column: name.clone(), problem })?;
            asked[place] = Some(ColumnChoice::Skip);
        }
        if let Some(place) = self.label_column(names)? {
            let of_names = self.label.as_ref().is_some_and(|label| label.file().is_some());
            asked[place] = asked[place].filter(|_| of_names).or(Some(ColumnChoice::Skip));
        }
        Ok(asked)
    }

    /// The column of labels, or of names where a second file has the labels.
    fn label_column(&self, names: &[String]) -> Result<Option<usize>, DataError> {
        let Some(label) = &self.label else { return Ok(None) };
        let Some((name, key)) = label.own_column() else {
            let problem = "rows have no headers: labels stand in a column, { column = \"...\" }, or in a second file, \
                           { file = { path = \"...\", key = \"...\", column = \"...\" } }";
            return Err(DataError::Setting { key: "label.by", problem: problem.into() });
        };
        let plain: Vec<&str> = names.iter().map(String::as_str).collect();
        let problem = |problem| DataError::Setting { key, problem: format!("`{name}` {problem}") };
        find(&plain, name).map(Some).map_err(problem)
    }

    /// The labels of the rows of all parts, one part after the other, and their names.
    fn labels(&self, grids: &[Grid], asked: &Asked, parts: &[Vec<Place>; 3]) -> Result<Option<Labelled>, DataError> {
        let Some(label) = &self.label else { return Ok(None) };
        let text = |&(grid, row): &Place| asked.label(&grids[grid as usize], row as usize);
        let texts: Vec<String> =
            parts.iter().flatten().map(|place| text(place).expect("rows without a label were left out")).collect();
        let all: Vec<&str> = texts.iter().map(String::as_str).collect();
        let (labeller, names) = label.labeller(&all[..parts[0].len()], &all)?;
        let labels = all.iter().map(|text| labeller.label(text).expect("they are accepted"));
        Ok(Some((labels.collect(), names)))
    }

    /// Divides the rows into parts.
    fn divide(&self, grids: &[Grid], asked: &Asked) -> Result<Divided, DataError> {
        let (first, names) = (&grids[0], &asked.names);
        let mut refused = BTreeMap::new();
        let mut notes = vec![first.about()];
        for grid in grids {
            *refused.entry(format!("rows that have not {} fields", grid.width)).or_default() += grid.ragged;
            notes.extend(grid.notes.iter().cloned());
        }
        let mut usable = |grid: usize, limit: usize| -> Vec<Place> {
            let mut found = Vec::new();
            for row in 0..grids[grid].rows().min(limit) {
                match self.refusal(&grids[grid], row, asked) {
                    None => found.push((grid as u32, row as u32)),
                    Some(reason) => *refused.entry(reason.to_owned()).or_default() += 1,
                }
            }
            found
        };
        let main = usable(0, self.limit.unwrap_or(usize::MAX));
        let mut parts = [main, Vec::new(), Vec::new()];
        let mut next = 1;
        for (part, path) in [(1, &self.validation), (2, &self.test)] {
            if path.is_some() {
                parts[part] = usable(next, usize::MAX);
                next += 1;
            }
        }
        if let TableSplit::Column(name) = &self.split {
            let plain: Vec<&str> = names.iter().map(String::as_str).collect();
            let column = find(&plain, name).map_err(|problem| DataError::Column { column: name.clone(), problem })?;
            for place in std::mem::take(&mut parts[0]) {
                match part_of(&first.cell(place.1 as usize, column)) {
                    Some(part) => parts[usize::from(part)].push(place),
                    None => *refused.entry(format!("rows whose `{name}` names no part")).or_default() += 1,
                }
            }
        }
        // Parts that have no rows yet get one in twenty of the training part.
        let mut order = std::mem::take(&mut parts[0]);
        let held_out = (order.len() / 20).max(1);
        let wanted = parts[1..].iter().filter(|part| part.is_empty()).count();
        if order.len() > wanted * held_out {
            stream(self.split_seed, Purpose::Split, 0).shuffle(&mut order);
            for part in parts[1..].iter_mut().rev().filter(|part| part.is_empty()) {
                *part = order.split_off(order.len() - held_out);
            }
        }
        parts[0] = order;
        if parts.iter().any(Vec::is_empty) {
            let [train, validation, test] = parts.each_ref().map(Vec::len);
            return Err(first.refuse(format!(
                "{train} rows to train, {validation} to validate and {test} to test; each part needs one"
            )));
        }
        Ok(Divided { parts, refused, notes })
    }
}

/// The errors of all columns as one, so that they can be corrected together.
fn joined(errors: Vec<DataError>) -> Option<DataError> {
    errors.into_iter().reduce(|all, next| match (all, next) {
        (DataError::Rows { path, problem }, DataError::Rows { problem: more, .. }) => {
            DataError::Rows { path, problem: format!("{problem}\n  {more}") }
        }
        (all, _) => all,
    })
}

/// The names of the columns; their numbers from 1 if there is no header.
fn names(grid: &Grid) -> Result<Vec<String>, DataError> {
    let numbered = |column: usize| (column + 1).to_string();
    let Some(header) = &grid.header else { return Ok((0..grid.width).map(numbered).collect()) };
    let mut names: Vec<String> = Vec::new();
    for (column, name) in header.iter().enumerate() {
        let name = if name.is_empty() { numbered(column) } else { name.clone() };
        if let Some(other) = names.iter().position(|known| *known == name) {
            return Err(grid.refuse(format!(
                "columns {} and {} are both named `{name}`; rename one, or say data.header = false if the first row is one \
                 of data",
                other + 1,
                column + 1
            )));
        }
        names.push(name);
    }
    Ok(names)
}

impl Grid {
    fn delimiter(&self) -> char {
        match self.form {
            Form::Character(delimiter) => char::from(delimiter),
            Form::Words => ' ',
            Form::Lines => '\n',
        }
    }

    /// What was found, in one sentence.
    pub(super) fn about(&self) -> String {
        let by = match self.form {
            Form::Character(delimiter) => format!("separated by {}", Delimiter::Character(delimiter).name()),
            Form::Words => format!("separated by {}", Delimiter::Spaces.name()),
            Form::Lines => "one a line".to_owned(),
        };
        let header = if self.header.is_some() { "the first row is the header" } else { "there is no header" };
        format!("{} columns {by}; {header}", self.width)
    }
}
