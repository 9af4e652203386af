//! The rows of one or more files, and the different texts of a column.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::data::DataError;
use crate::data::tables::grid::Grid;

/// A row: the number of its file, and of the row in it.
pub(super) type Place = (u32, u32);

/// Rows of files of the same columns, the training part first.
pub(super) struct Rows<'a> {
    pub(super) grids: &'a [Grid],
    pub(super) places: &'a [Place],
    /// How many of the rows are trained on.
    pub(super) train: usize,
}

/// The different texts of a column.
pub(super) struct Distinct<'a> {
    pub(super) texts: Vec<Cow<'a, str>>,
    /// The text of each row.
    pub(super) ids: Vec<u32>,
    /// How many rows have a text, and how many training rows.
    pub(super) counts: Vec<[u64; 2]>,
    /// The first row that has a text.
    pub(super) first: Vec<u32>,
}

impl<'a> Rows<'a> {
    pub(super) fn distinct(&self, column: usize) -> Distinct<'a> {
        let mut known: HashMap<Cow<'a, str>, u32> = HashMap::new();
        let mut found = Distinct {
            texts: Vec::new(),
            ids: Vec::with_capacity(self.places.len()),
            counts: Vec::new(),
            first: Vec::new(),
        };
        for (row, &(grid, place)) in self.places.iter().enumerate() {
            let text = self.grids[grid as usize].cell(place as usize, column);
            let id = match known.get(&text) {
                Some(&id) => id,
                None => {
                    let id = found.texts.len() as u32;
                    known.insert(text.clone(), id);
                    found.texts.push(text);
                    found.counts.push([0, 0]);
                    found.first.push(row as u32);
                    id
                }
            };
            let counts = &mut found.counts[id as usize];
            counts[0] += 1;
            counts[1] += u64::from(row < self.train);
            found.ids.push(id);
        }
        found
    }

    /// The line of a row, and its file if that is not the first.
    pub(super) fn line(&self, row: u32) -> String {
        let (grid, place) = self.places[row as usize];
        let grid = &self.grids[grid as usize];
        let line = grid.line(place as usize);
        if self.places[row as usize].0 == 0 {
            format!("line {line}")
        } else {
            format!("{}, line {line}", grid.path.display())
        }
    }

    /// The error of a column.
    pub(super) fn refuse(&self, name: &str, problem: &str) -> DataError {
        self.grids[0].refuse(format!("column `{name}` {problem}"))
    }
}
