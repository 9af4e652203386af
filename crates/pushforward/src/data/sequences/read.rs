//! The records of a file, whatever its form.

use std::path::Path;

use crate::data::files::Source;
use crate::data::plain_text::PlainText;
use crate::data::sequences::alphabet::Alphabet;
use crate::data::sequences::config::{SequenceConfig, SequenceSplit};
use crate::data::sequences::records::{Records, SequenceFormat};
use crate::data::tables::grid::{Expected, Grid, is_table};
use crate::data::{DataError, LabelSource, OwnLabel};

/// Rows that decide which column holds sequences.
const LOOKED_AT: usize = 200;

/// Adds the records of a file.
pub(super) fn read(
    source: Source,
    config: &SequenceConfig,
    records: &mut Records,
) -> Result<SequenceFormat, DataError> {
    let PlainText { text, notes, .. } = source.text()?;
    let format = config.format.unwrap_or_else(|| form(&text, config));
    if format == SequenceFormat::Table {
        table(Grid::read(source, Expected::default())?, config, records)?;
        return Ok(format);
    }
    let path = source.path().to_owned();
    drop(source);
    records.notes.extend(notes);
    refuse_columns(config, format, &path)?;
    match format {
        SequenceFormat::Fasta => records.fasta(&text, &path)?,
        SequenceFormat::Fastq => records.fastq(&text, &path)?,
        SequenceFormat::Lines | SequenceFormat::Table => records.lines(&text, spaces(config)),
    }
    Ok(format)
}

/// Whether spaces inside a line are letters.
pub(super) fn spaces(config: &SequenceConfig) -> bool {
    matches!(config.alphabet, None | Some(Alphabet::Found))
}

/// Refuses settings that name columns or headers of a form that has none.
pub(super) fn refuse_columns(config: &SequenceConfig, format: SequenceFormat, path: &Path) -> Result<(), DataError> {
    if format == SequenceFormat::Table {
        return Ok(());
    }
    let by = config.label.as_ref().map(|label| &label.by);
    let lines = format == SequenceFormat::Lines;
    if matches!(by, Some(LabelSource::Column(_))) || (lines && matches!(by, Some(LabelSource::Header(_)))) {
        let what = if lines { "headers or columns" } else { "columns" };
        let problem = format!("{} is read as {}, without {what}", path.display(), format.name());
        return Err(DataError::Setting { key: "label.by", problem });
    }
    let column = config.column.as_ref().map(|name| ("column", name));
    let part = if let SequenceSplit::Column(name) = &config.split { Some(("split", name)) } else { None };
    if let Some((key, name)) = column.or(part) {
        let problem = format!("names the column `{name}`, and {} is {}", path.display(), format.name());
        return Err(DataError::Setting { key, problem });
    }
    Ok(())
}

/// The form of a text that a recipe does not name.
pub(super) fn form(text: &str, config: &SequenceConfig) -> SequenceFormat {
    let column = config.column.is_some() || matches!(config.split, SequenceSplit::Column(_));
    SequenceFormat::of(text).unwrap_or(if column || is_table(text) {
        SequenceFormat::Table
    } else {
        SequenceFormat::Lines
    })
}

fn table(mut grid: Grid, config: &SequenceConfig, records: &mut Records) -> Result<(), DataError> {
    let columns = columns_of(&mut grid, config, records)?;
    records.table(&grid, columns.sequence, columns.about, columns.part);
    Ok(())
}

/// The columns of a table that are read.
pub(super) struct Columns {
    pub(super) sequence: usize,
    /// Of labels, or of names.
    pub(super) about: Option<usize>,
    pub(super) part: Option<usize>,
}

/// Chooses the columns, and takes the first row for their names if it is.
pub(super) fn columns_of(
    grid: &mut Grid,
    config: &SequenceConfig,
    records: &mut Records,
) -> Result<Columns, DataError> {
    // A heading over sequences that all differ looks like one of them.
    let heads = |field: &str| {
        let field = field.trim();
        let named = |name: &String| name.parse::<usize>().is_err() && name.trim().eq_ignore_ascii_case(field);
        ["seq", "sequence", "sequences"].iter().any(|usual| usual.eq_ignore_ascii_case(field))
            || config.column.as_ref().is_some_and(named)
    };
    if grid.header.is_none() && grid.rows() > 1 && (0..grid.width).any(|column| heads(&grid.cell(0, column))) {
        grid.take_header();
    }
    let column = match &config.column {
        Some(name) => grid.named(name, "column")?,
        None => choose(grid)?,
    };
    let part = match &config.split {
        SequenceSplit::Column(name) => Some(grid.named(name, "split")?),
        _ => None,
    };
    let about = match config.label.as_ref().map(OwnLabel::own_column) {
        Some(Some((name, key))) => Some(grid.named(name, key)?),
        Some(None) => {
            let problem = "a table has no headers of records: use { column = \"...\" }".into();
            return Err(DataError::Setting { key: "label.by", problem });
        }
        None => None,
    };
    records.notes.extend(grid.notes.iter().cloned());
    let name = grid.header.as_ref().map_or_else(String::new, |header| format!(" `{}`", header[column]));
    records.notes.push(format!("sequences: column {}{name} of {}", column + 1, grid.width));
    Ok(Columns { sequence: column, about, part })
}

/// The only column, or the one whose heading says that it holds sequences, or the only one whose fields are words of
/// letters that hardly repeat.
fn choose(grid: &Grid) -> Result<usize, DataError> {
    if grid.width == 1 {
        return Ok(0);
    }
    let headings = grid.header.iter().flatten();
    let says = |name: &String| ["seq", "sequence", "sequences"].contains(&name.trim().to_lowercase().as_str());
    if let Some(column) = headings.clone().position(says) {
        return Ok(column);
    }
    let about = |name: &String| name.to_lowercase().contains("seq");
    let named: Vec<usize> = (0..grid.width).zip(headings).filter(|(_, name)| about(name)).map(|(c, _)| c).collect();
    let rows = grid.rows().min(LOOKED_AT);
    let letters = |&column: &usize| {
        let fields: Vec<_> = (0..rows).map(|row| grid.cell(row, column)).collect();
        let different: std::collections::HashSet<&str> = fields.iter().map(AsRef::as_ref).collect();
        let word = |field: &str| field.len() > 3 && field.chars().all(char::is_alphabetic);
        2 * different.len() > rows && fields.iter().filter(|field| word(field)).count() * 10 > rows * 9
    };
    let found: Vec<usize> = if named.len() == 1 { named } else { (0..grid.width).filter(letters).collect() };
    match found[..] {
        [column] => Ok(column),
        _ => Err(grid.refuse(format!(
            "{} columns look like sequences; name the one by its heading or number: data.column = \"...\" (the table has {})",
            found.len(),
            grid.column_names()
        ))),
    }
}
