//! A file of rows that a trained dictionary is compared with: rows to score, and rows whose missing cells are filled in.

use std::borrow::Cow;
use std::path::Path;

use crate::data::DataError;
use crate::data::files::Source;
use crate::data::tables::grid::{Expected, Grid};
use crate::data::tables::layout::{TableLayout, find};

/// The rows of a file, with the columns of the dictionary that it has.
///
/// # Examples
/// ```
/// use pushforward::data::tables::TableFile;
/// use pushforward::data::{DataConfig, Layout};
/// let dir = tempfile::tempdir()?;
/// let rows: String = (0..200).map(|i| format!("{},{}\n", i % 9, ["a", "b"][i % 2])).collect();
/// std::fs::write(dir.path().join("t.csv"), format!("n,word\n{rows}"))?;
/// let config: DataConfig = toml::from_str("set = 'table'\npath = 't.csv'")?;
/// let splits = config.load(dir.path(), 0)?;
/// let Layout::Columns(table) = &splits.schema().layout else { unreachable!("a table") };
///
/// // Other columns, in another order, with a gap.
/// let path = dir.path().join("holes.csv");
/// std::fs::write(&path, "note,word,n\nx, b ,3\n\"y, z\",,4\n")?;
/// let file = TableFile::read(&path, table)?;
/// assert_eq!(file.encode(0, table)?, [Some(3), Some(table.encode(1, "b")?)]);
/// assert_eq!(file.encode(1, table)?, [Some(4), None]);
/// // The filled cell is quoted where it has to be, and all else stays as it was.
/// let filled = file.with_cells(&[(1, 1, "a".to_owned())])?;
/// assert_eq!(filled, "note,word,n\nx, b ,3\n\"y, z\",a,4\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct TableFile {
    grid: Grid,
    /// For each site of the dictionary, the column of the file.
    places: Vec<Option<usize>>,
}

impl TableFile {
    /// Reads a file. Its columns are found by their names, in any order and beside others; without a header they are
    /// those of the dictionary.
    ///
    /// # Errors
    /// If it cannot be read as a table, or has no column of the dictionary.
    pub fn read(path: &Path, table: &TableLayout) -> Result<Self, DataError> {
        let names: Vec<&str> = table.columns().iter().map(|column| column.name()).collect();
        let mut grid =
            Grid::read(Source::read(path.to_owned())?, Expected { header: Some(false), ..Expected::default() })?;
        let first: Vec<String> = (0..grid.width).map(|column| grid.cell(0, column).into_owned()).collect();
        // A header has names of columns; rows have values.
        let named = first.iter().filter(|name| names.contains(&name.as_str())).count();
        if grid.header.is_none() && table.heading().is_some() && 2 * named >= first.len().min(names.len()) {
            grid.take_header();
        }
        let modelled = table.places();
        let places: Vec<Option<usize>> = match &grid.header {
            Some(header) => {
                let header: Vec<&str> = header.iter().map(String::as_str).collect();
                modelled.iter().map(|&at| find(&header, names[at]).ok()).collect()
            }
            None if grid.width == names.len() => modelled.iter().map(|&at| Some(at)).collect(),
            None => {
                let (found, wanted) = (grid.width, names.len());
                return Err(grid.refuse(format!(
                    "{found} columns and no header that names them; the model has {wanted} columns: {}",
                    names.join(", ")
                )));
            }
        };
        if places.iter().all(Option::is_none) {
            return Err(
                grid.refuse(format!("no column of the model is among those of the header: {}", names.join(", ")))
            );
        }
        Ok(Self { grid, places })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.grid.rows()
    }

    /// The line where a row begins, from 1.
    pub fn line(&self, row: usize) -> u64 {
        self.grid.line(row)
    }

    /// The field of a site in a row; `None` if the file has not its column.
    pub fn field(&self, row: usize, site: usize) -> Option<Cow<'_, str>> {
        self.places[site].map(|column| self.grid.cell(row, column))
    }

    /// The classes of a row, `None` where a field is missing or the file has not the column.
    ///
    /// # Errors
    /// If a field has no class: the line, the column and the values that it has.
    pub fn encode(&self, row: usize, table: &TableLayout) -> Result<Vec<Option<u32>>, DataError> {
        (0..self.places.len()).map(|site| self.encode_field(row, site, table)).collect()
    }

    /// The class of the field of a site, `None` if it is missing or the file has not the column.
    ///
    /// # Errors
    /// As [`TableFile::encode`].
    pub fn encode_field(&self, row: usize, site: usize, table: &TableLayout) -> Result<Option<u32>, DataError> {
        let Some(field) = self.field(row, site).filter(|field| !table.is_missing(field)) else { return Ok(None) };
        let problem = |e: DataError| self.grid.refuse(format!("line {}: {e}", self.line(row)));
        table.encode(site, &field).map(Some).map_err(problem)
    }

    /// The text of the file with other fields in some cells, given as row, site and field, row by row in increasing
    /// order. All else stays as it is.
    ///
    /// # Errors
    /// If the file has not the column of a site.
    pub fn with_cells(&self, cells: &[(usize, usize, String)]) -> Result<String, DataError> {
        let mut placed: Vec<(usize, usize, &str)> = Vec::with_capacity(cells.len());
        for (row, site, field) in cells {
            let Some(column) = self.places[*site] else {
                return Err(self.grid.refuse(format!("it has no column for site {site}, which is to be filled")));
            };
            placed.push((*row, column, field));
        }
        placed.sort_by_key(|&(row, column, _)| (row, column));
        Ok(self.grid.with_fields(&placed))
    }
}
