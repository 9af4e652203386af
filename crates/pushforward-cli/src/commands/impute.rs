//! `pushforward impute`

use std::path::{Path, PathBuf};

use pushforward::data::tables::{TableFile, TableLayout};
use pushforward::data::{Layout, Schema};
use pushforward::flow_map::sample::{ObservedRow, SampleRequest, Sampler};
use pushforward::rng::{Purpose, stream};
use pushforward::run::{TrainedFlowMap, without_missing};

use super::load_model;
use crate::args::ImputeArgs;
use crate::exit::{Failure, OrFail as _};
use crate::files::write_atomic;
use crate::interrupt::interrupted;
use crate::printer::Printer;
use crate::progress::StageBar;

/// Values of a cell whose probabilities are written.
const LISTED: usize = 20;
/// Noises over which probabilities are averaged, one network evaluation each.
const DRAWS: usize = 20;

/// A file with the rows that have missing cells.
struct Holes {
    file: TableFile,
    rows: Vec<usize>,
    /// What the model is told of each of these rows.
    told: Vec<ObservedRow>,
    /// The cells to fill, as place among `rows` and site.
    cells: Vec<(usize, usize)>,
}

pub(crate) fn run(args: &ImputeArgs, printer: Printer) -> Result<(), Failure> {
    let model =
        load_model(&args.model, false, &args.device, printer)?.flow_map("fill in missing cells").or_request()?.model;
    let Layout::Columns(table) = &model.schema.layout else {
        return Err(Failure::request("impute fills the cells of tables, and this model is not of one"));
    };
    if !model.config.condition.takes_any_subset() {
        return Err(Failure::request("this model was not trained to be told any columns")
            .hint("train with model.condition.kind = observed, as the preset `table` does"));
    }
    if args.likely && args.draws > 1 {
        return Err(Failure::request("--likely gives one value to a cell: leave --draws out"));
    }
    if args.out.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("parquet")) {
        return Err(Failure::request("impute writes the rows as text, with nothing changed but the missing cells")
            .hint("give --out a name that ends in .csv"));
    }
    let holes = Holes::read(&args.file, table, &model.schema, printer)?;
    if let Some(path) = &args.probabilities {
        let lines = holes.probabilities(&model, table, args.seed)?;
        write_atomic(path, lines.as_bytes()).or_run()?;
        printer.result(&path.display().to_string());
    }
    let fills = if args.likely { 1 } else { args.draws };
    for fill in 0..fills {
        let cells = if args.likely {
            holes.likely(&model, table, args.seed)?
        } else {
            holes.drawn(&model, table, args, args.seed.wrapping_add(fill as u64), printer)?
        };
        let text = holes.file.with_cells(&cells).or_run()?;
        let path = if fills == 1 { args.out.clone() } else { numbered(&args.out, fill + 1) };
        write_atomic(&path, text.as_bytes()).or_run()?;
        printer.result(&path.display().to_string());
    }
    let (cells, rows, all) = (holes.cells.len(), holes.rows.len(), holes.file.rows());
    printer.note(&format!("filled {cells} cells in {rows} of {all} rows"));
    Ok(())
}

/// `a.csv` as `a-2.csv`.
fn numbered(path: &Path, number: usize) -> PathBuf {
    let stem = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    let ending = path.extension().map_or_else(String::new, |ending| format!(".{}", ending.to_string_lossy()));
    path.with_file_name(format!("{stem}-{number}{ending}"))
}

impl Holes {
    fn read(path: &Path, table: &TableLayout, schema: &Schema, printer: Printer) -> Result<Self, Failure> {
        let file = TableFile::read(path, table).or_request()?;
        let (mut holes, mut unknown) =
            (Self { file, rows: Vec::new(), told: Vec::new(), cells: Vec::new() }, Vec::new());
        for row in 0..holes.file.rows() {
            let missing = |site: &usize| holes.file.field(row, *site).is_some_and(|field| table.is_missing(&field));
            let empty: Vec<usize> = (0..schema.sites).filter(missing).collect();
            if empty.is_empty() {
                continue;
            }
            let mut told = Vec::with_capacity(schema.sites);
            for site in 0..schema.sites {
                told.push(match holes.file.encode_field(row, site, table) {
                    Ok(class) => class,
                    Err(error) => {
                        unknown.push(error.to_string());
                        None
                    }
                });
            }
            holes.cells.extend(empty.into_iter().map(|site| (holes.rows.len(), site)));
            holes.rows.push(row);
            holes.told.push(told);
        }
        if let Some(first) = unknown.first() {
            printer.warn(&format!(
                "{} values that the training rows do not have are kept, and not told to the model; the first: {first}",
                unknown.len()
            ));
        }
        Ok(holes)
    }

    /// One joint draw for each row.
    fn drawn(
        &self,
        model: &TrainedFlowMap,
        table: &TableLayout,
        args: &ImputeArgs,
        seed: u64,
        printer: Printer,
    ) -> Result<Vec<(usize, usize, String)>, Failure> {
        let (sites, count) = (model.schema.sites, self.rows.len());
        if count == 0 {
            return Ok(Vec::new());
        }
        let request = SampleRequest {
            grid: Sampler::Map.grid(args.nfe).or_request()?,
            observed: self.told.clone(),
            constraint: Some(without_missing(&model.schema).or_request()?),
            endpoints: false,
            ..SampleRequest::map(count, args.nfe, seed)
        };
        let mut bar = StageBar::new(printer);
        let samples = model.sample(&request, &mut |done| {
            bar.update("rows", done, count);
            !interrupted()
        });
        bar.finish();
        let samples = samples.or_request()?;
        if samples.nfe.len() < count {
            return Err(Failure::Run(anyhow::anyhow!("interrupted after {} of {count} rows", samples.nfe.len())));
        }
        let fields: Vec<Vec<String>> = (0..)
            .zip(samples.ids.chunks(sites))
            .map(|(i, item)| table.decode_sites(item, &mut stream(seed, Purpose::Decode, i)))
            .collect();
        Ok(self.cells.iter().map(|&(at, site)| (self.rows[at], site, fields[at][site].clone())).collect())
    }

    /// The law of each cell given the cells of its row that are not missing, without the class of what is missing.
    fn laws(&self, model: &TrainedFlowMap, table: &TableLayout, seed: u64) -> Result<Vec<Vec<f64>>, Failure> {
        let (sites, classes) = (model.schema.sites, model.schema.classes);
        let all = model.marginals_by_jumps(&self.told, DRAWS, seed).or_request()?;
        let counts = table.class_counts();
        let missing: Vec<Option<u32>> = table.sites().map(|column| column.missing_class()).collect();
        let law = |&(at, site): &(usize, usize)| {
            let start = (at * sites + site) * classes;
            let mut law = all[start..start + counts[site]].to_vec();
            if let Some(class) = missing[site] {
                law[class as usize] = 0.0;
            }
            let sum: f64 = law.iter().sum();
            law.iter_mut().for_each(|p| *p /= sum.max(f64::MIN_POSITIVE));
            law
        };
        Ok(self.cells.iter().map(law).collect())
    }

    /// The most probable value of a category, the mean of a number.
    fn likely(
        &self,
        model: &TrainedFlowMap,
        table: &TableLayout,
        seed: u64,
    ) -> Result<Vec<(usize, usize, String)>, Failure> {
        let laws = self.laws(model, table, seed)?;
        let cell = |(&(at, site), law): (&(usize, usize), &Vec<f64>)| (self.rows[at], site, table.expected(site, law));
        Ok(self.cells.iter().zip(&laws).map(cell).collect())
    }

    /// One JSON object for each cell, with its most probable values.
    fn probabilities(&self, model: &TrainedFlowMap, table: &TableLayout, seed: u64) -> Result<String, Failure> {
        let laws = self.laws(model, table, seed)?;
        let columns: Vec<_> = table.sites().collect();
        let line = |(&(at, site), law): (&(usize, usize), &Vec<f64>)| {
            let mut values: Vec<(f64, String)> =
                law.iter().zip(0..).map(|(&p, class)| (p, table.class_name(site, class))).collect();
            values.sort_by(|a, b| b.0.total_cmp(&a.0));
            let listed: Vec<serde_json::Value> = values
                .into_iter()
                .take(LISTED)
                .filter(|(p, _)| *p > 0.0)
                .map(|(p, value)| serde_json::json!({"value": value, "p": p}))
                .collect();
            let (line, column) = (self.file.line(self.rows[at]), columns[site].name());
            format!("{}\n", serde_json::json!({"line": line, "column": column, "values": listed}))
        };
        Ok(self.cells.iter().zip(&laws).map(line).collect())
    }
}
