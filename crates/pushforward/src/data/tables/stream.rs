//! Tables of any size, prepared in a stream: a pass for a sample of the rows, whose dictionary is that of the set, and one
//! that writes.
//!
//! The sample is a random one of rows, and the rows that bring a new value of a column with few values. If all rows are in
//! it, the dictionary is that of the file read at once. A row with a value that the sample has not counts it among the rare
//! ones, else as missing; where the column has neither, the row is refused.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::data::files::{self, Folders, Source, head, magic};
use crate::data::own_labels::Tally;
use crate::data::part_names::part_of;
use crate::data::prepared::blocks::{Blocks, Cut, sha256_stored};
use crate::data::prepared::index::{About, Form as Items};
use crate::data::prepared::job::Job;
use crate::data::prepared::parting::{Parting, bytes, check_parts};
use crate::data::prepared::sampled::Reservoir;
use crate::data::prepared::shard::Item;
use crate::data::prepared::share::{Found, Kind, written};
use crate::data::prepared::writer::Writer;
use crate::data::tables::config::{Asked, Divided, MissingValues, RaggedRows, TableConfig, TableSplit};
use crate::data::tables::grid::{Expected, Form, Grid, form_of};
use crate::data::tables::layout::{TableLayout, find};
use crate::data::{DataError, Layout};

/// Rows of the sample, and about how many bytes of them.
const ROWS: usize = if cfg!(test) { 2000 } else { 100_000 };
const BYTES: usize = 24 << 20;
/// A column of so many different values has few.
const FEW: usize = 1024;
/// Texts of a column whose classes are kept.
const KEPT: usize = 10_000;

/// A file, and the part that it holds if it says so.
struct File {
    path: PathBuf,
    part: Option<u8>,
    limit: usize,
}

/// The files of a table.
struct Files<'a> {
    config: &'a TableConfig,
    files: Vec<File>,
    total: u64,
}

impl Files<'_> {
    /// Reads the rows of all files block by block: a grid, how many of its rows are taken, and their part. Returns how many
    /// had another length.
    fn each(
        &self,
        job: &mut Job<'_>,
        stage: &str,
        mut take: impl FnMut(&Grid, usize, Option<u8>) -> Result<(), DataError>,
    ) -> Result<u64, DataError> {
        let mut first: Option<(Form, usize, Option<Vec<String>>)> = None;
        let (mut before, mut ragged) = (0, 0);
        for file in &self.files {
            let form = first.as_ref().map_or(form_of(&head(&file.path)?), |(form, _, _)| *form);
            let cut = if let Form::Character(delimiter) = form { Cut::Rows(delimiter) } else { Cut::Lines };
            let mut blocks = Blocks::open(&file.path, cut)?;
            // Columns of Parquet have names.
            let named = magic(&file.path).is_ok_and(|magic| magic == b"PAR1").then_some(true);
            let (mut begun, mut left) = (false, file.limit);
            while let Some(block) = blocks.next()? {
                if block.text.trim().is_empty() {
                    continue;
                }
                let headless = first.as_ref().and_then(|(_, _, header)| header.is_none().then_some(false));
                let expected = Expected {
                    header: self.config.header.or(named).or(headless),
                    drop_ragged: self.config.ragged == RaggedRows::Drop,
                    like: first.as_ref().map(|(form, width, _)| (*form, *width)),
                    later: begun.then_some(block.line),
                };
                let mut grid = Grid::read(Source::of(&file.path, block.text.into_bytes()), expected)?;
                match &first {
                    Some((_, _, header)) if begun => grid.header.clone_from(header),
                    Some((_, _, header)) if grid.header.is_some() && grid.header != *header => {
                        return Err(grid.refuse(format!("its header is not that of {}", self.files[0].path.display())));
                    }
                    Some(_) => {}
                    None => first = Some((grid.form, grid.width, grid.header.clone())),
                }
                begun = true;
                ragged += grid.ragged;
                let rows = grid.rows().min(left);
                left -= rows;
                take(&grid, rows, file.part)?;
                job.tell(stage, before + blocks.read(), self.total)?;
                if left == 0 {
                    break;
                }
            }
            before += blocks.read();
        }
        Ok(ragged)
    }
}

/// A row of the sample.
struct Row {
    number: u64,
    line: u64,
    part: u8,
    text: String,
}

/// Rows that the dictionary is made from.
struct Sample {
    random: Reservoir<Row>,
    /// Rows that bring a new value.
    news: Vec<Row>,
    /// Hashes of the values of each column with few of them.
    values: Vec<HashSet<u64>>,
}

impl Sample {
    fn new(grid: &Grid, seed: u64) -> Self {
        let most = (BYTES / grid.row_bytes().max(1)).clamp(100, ROWS);
        Self { random: Reservoir::new(most, seed), news: Vec::new(), values: vec![HashSet::new(); grid.width] }
    }

    /// Adds a row, and its line.
    fn add(&mut self, grid: &Grid, (row, line): (usize, u64), number: u64, part: u8) {
        let make = || Row { number, line, part, text: grid.row_text(row) };
        let mut news = false;
        for (column, values) in self.values.iter_mut().enumerate() {
            if values.len() < FEW {
                news |= values.insert(bytes(grid.cell(row, column).bytes()));
            }
        }
        if news && self.news.len() < self.random.most() {
            self.news.push(make());
        }
        self.random.add(make);
    }

    /// All rows in the order of the file, each once, and whether they are all that there were.
    fn rows(self) -> (Vec<Row>, bool) {
        let whole = self.random.is_whole();
        let mut rows = self.random.kept();
        rows.extend(self.news);
        rows.sort_by_key(|row| row.number);
        rows.dedup_by_key(|row| row.number);
        (rows, whole)
    }
}

/// Number of rows with a value that the sample has not.
#[derive(Serialize, Deserialize)]
struct Unknown(u64);

impl Found for Unknown {
    fn add(&mut self, later: Self) {
        self.0 += later.0;
    }
}

/// Turns fields into classes.
struct Encoder<'a> {
    table: &'a TableLayout,
    /// The column of each site.
    places: Vec<usize>,
    /// Sites whose classes do not tell the numbers.
    binned: Vec<usize>,
    known: Vec<HashMap<String, Option<u32>>>,
    ids: Vec<u32>,
    numbers: Vec<f64>,
}

impl<'a> Encoder<'a> {
    fn new(table: &'a TableLayout) -> Self {
        let binned = table.sites().enumerate().filter(|(_, column)| column.has_bins()).map(|(site, _)| site);
        let (places, binned) = (table.places(), binned.collect());
        let known = vec![HashMap::new(); places.len()];
        Self { table, places, binned, known, ids: Vec::new(), numbers: Vec::new() }
    }

    /// Reads a row; false if a field has no class.
    fn read(&mut self, grid: &Grid, row: usize, part: u8) -> bool {
        self.ids.clear();
        self.numbers.clear();
        for (site, column) in self.table.sites().enumerate() {
            let field = grid.cell(row, self.places[site]);
            let known = &mut self.known[site];
            let class = match known.get(field.as_ref()) {
                Some(class) => *class,
                None => {
                    let class = column.nearest_class(&field, self.table.is_missing(&field), part > 0);
                    if known.len() < KEPT {
                        known.insert(field.clone().into_owned(), class);
                    }
                    class
                }
            };
            let Some(class) = class else { return false };
            self.ids.push(class);
            if self.binned.contains(&site) {
                self.numbers.push(self.table.number_of(site, &field).unwrap_or(f64::NAN));
            }
        }
        true
    }
}

impl TableConfig {
    pub(in crate::data) fn prepare(&self, folders: Folders<'_>, mut job: Job<'_>) -> Result<(), DataError> {
        if self.missing == MissingValues::Hole {
            let problem = "\"hole\" is for tables in memory; prepared ones have \"class\" or \"drop\"".into();
            return Err(DataError::Setting { key: "missing", problem });
        }
        let by_files = self.validation.is_some() || self.test.is_some();
        let path = files::existing("path", &self.path, folders.data)?;
        let limit = self.limit.unwrap_or(usize::MAX);
        let mut files = vec![File { path: path.clone(), part: by_files.then_some(0), limit }];
        for (key, part, path) in [("validation", 1, &self.validation), ("test", 2, &self.test)] {
            if let Some(path) = path {
                let path = files::existing(key, path, folders.data)?;
                files.push(File { path, part: Some(part), limit: usize::MAX });
            }
        }
        let of_labels = self.label.as_ref().map(|label| label.found_file(folders.data)).transpose()?.flatten();
        let all: Vec<&PathBuf> = files.iter().map(|file| &file.path).chain(&of_labels).collect();
        let (sha256, total) = sha256_stored(&all)?;
        let mut of_labels = of_labels.map(Source::read).transpose()?;
        let files = Files { config: self, files, total };
        let mut there = [self.validation.is_some(), self.test.is_some()];
        let by_column = if let TableSplit::Column(name) = &self.split { Some(name) } else { None };
        let part_column = |grid: &Grid| match by_column {
            None => Ok(None),
            Some(name) => {
                let header = grid.header.clone().unwrap_or_else(|| (1..=grid.width).map(|n| n.to_string()).collect());
                let header: Vec<&str> = header.iter().map(String::as_str).collect();
                let problem = |problem| DataError::Column { column: name.clone(), problem };
                find(&header, name).map(Some).map_err(problem)
            }
        };
        if by_column.is_some() {
            files.each(&mut job, "looking for parts", |grid, rows, _| {
                let column = part_column(grid)?.unwrap_or(0);
                for row in 0..rows {
                    if let Some(part @ 1..) = part_of(&grid.cell(row, column)) {
                        there[usize::from(part) - 1] = true;
                    }
                }
                Ok(())
            })?;
        }
        let given = by_files || by_column.is_some();
        let parting = if given { Parting::Given { validation: there[0], test: there[1] } } else { Parting::Drawn };
        // Rows of few columns are often equal; every one is drawn on its own.
        let part_of_row = |grid: &Grid, row: usize, of_file: Option<u8>, column: Option<usize>, number: u64| {
            let named = column.filter(|_| of_file.unwrap_or(0) == 0).map(|column| part_of(&grid.cell(row, column)));
            let given = named.unwrap_or(of_file);
            let none = named == Some(None);
            (!none).then(|| parting.part(given, || bytes(number.to_le_bytes()), self.split_seed))
        };

        let mut asked: Option<Asked> = None;
        let (mut sample, mut tally, mut number): (Option<Sample>, _, u64) = (None, Tally::sampled(), 0);
        let mut refused: BTreeMap<String, u64> = BTreeMap::new();
        let ragged = files.each(&mut job, "looking for values", |grid, rows, of_file| {
            let asked = match &mut asked {
                Some(asked) => asked,
                none => none.insert(self.what_is_asked(grid, of_labels.take())?),
            };
            let column = part_column(grid)?;
            let sample = sample.get_or_insert_with(|| Sample::new(grid, self.split_seed));
            let mut at = (0, if rows > 0 { grid.line(0) } else { 0 });
            for row in 0..rows {
                at = (row, grid.line_after(row, at));
                if let Some(reason) = self.refusal(grid, row, asked) {
                    *refused.entry(reason.to_owned()).or_default() += 1;
                    continue;
                }
                let Some(part) = part_of_row(grid, row, of_file, column, number) else {
                    let reason = format!("rows whose `{}` names no part", by_column.map_or("", String::as_str));
                    *refused.entry(reason).or_default() += 1;
                    continue;
                };
                if let (Some(label), Some(text)) = (&self.label, asked.label(grid, row)) {
                    tally.add(label, &text, part == 0)?;
                }
                sample.add(grid, at, number, part);
                number += 1;
            }
            Ok(())
        })?;
        let (Some(asked), Some(sample)) = (asked, sample) else {
            return Err(DataError::Rows { path, problem: "the file has no rows".into() });
        };
        let labels = self.label.as_ref().map(|label| label.of_tally(tally)).transpose()?;
        let width = asked.names.len();
        refused.extend((ragged > 0).then(|| (format!("rows that have not {width} fields"), ragged)));

        let (rows, whole) = sample.rows();
        let taken = rows.len();
        let grid = asked.first.sampled(rows.iter().map(|row| (row.line, row.text.as_str())))?;
        let mut parts: [Vec<(u32, u32)>; 3] = Default::default();
        rows.iter().zip(0..).for_each(|(row, place)| parts[usize::from(row.part)].push((0, place)));
        drop(rows);
        let divided = Divided { parts, refused: BTreeMap::new(), notes: vec![grid.about()] };
        // What a sample never has together, other rows may have.
        let structural_zeros = if whole { self.structural_zeros } else { 0.0 };
        let splits = Self { structural_zeros, ..self.clone() }.of_parts(
            std::slice::from_ref(&grid),
            &asked,
            divided,
            None,
            String::new(),
        )?;
        drop(grid);
        let (schema, mut notes) = (splits.schema().clone(), splits.notes.clone());
        drop(splits);
        let Layout::Columns(table) = &schema.layout else { unreachable!("it is that of a table") };
        if !whole {
            notes.push(format!("the values of columns, and their bins, are those of {taken} of {number} rows"));
        }
        notes.extend(parting.note("rows are drawn one by one"));

        let mut encoder = Encoder::new(table);
        let keep = &mut |part: u8, item: Item<'_>, writer: &mut Writer| writer.push(part, item);
        let kind = Kind { source: &sha256, classes: schema.classes, varies: false };
        let written = written(&mut job, &kind, keep, |job, sink| {
            let (mut at, mut unknown) = (0, 0);
            files.each(job, "writing", |grid, rows, of_file| {
                let column = part_column(grid)?;
                for row in (0..rows).filter(|&row| self.refusal(grid, row, &asked).is_none()) {
                    let Some(part) = part_of_row(grid, row, of_file, column, at) else { continue };
                    // Rows of other shares count, too.
                    at += 1;
                    if !sink.own() {
                        continue;
                    }
                    if !encoder.read(grid, row, part) {
                        unknown += 1;
                        continue;
                    }
                    let label = labels.as_ref().zip(asked.label(grid, row));
                    let label = label.and_then(|((labeller, _), text)| labeller.label(&text));
                    sink.push(part, Item { ids: &encoder.ids, label, numbers: &encoder.numbers, ..Item::default() })?;
                }
                Ok(())
            })?;
            Ok(Unknown(unknown))
        })?;
        let Some((writer, Unknown(unknown))) = written else { return Ok(()) };
        let reason = "rows with a value that the sample has not".to_owned();
        refused.extend((unknown > 0).then_some((reason, unknown)));
        check_parts(writer.counts()).map_err(|problem| DataError::Rows { path, problem })?;
        let label_names = labels.as_ref().map_or_else(Vec::new, |(_, names)| names.clone());
        let numbers = encoder.binned.clone();
        drop(encoder);
        writer.finish(About {
            of: job.of.clone(),
            name: "table".to_owned(),
            form: Items::Rows,
            sha256: parting.sha256(sha256, self.split_seed),
            labels: labels.map(|(_, names)| names.len()),
            label_names,
            refused: refused.into_iter().collect(),
            notes,
            numbers,
            schema,
        })
    }
}
