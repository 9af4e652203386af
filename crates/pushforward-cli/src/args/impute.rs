//! Arguments of `impute`.

use std::path::PathBuf;

use clap::Args;

use super::{DeviceArgs, ranges};

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  pushforward impute runs/people holes.csv --out filled.csv\n  pushforward impute runs/people holes.csv --out filled.csv --likely --probabilities cells.jsonl"
)]
pub(crate) struct ImputeArgs {
    /// Run folder or checkpoint of a table.
    #[arg(value_name = "RUN|CHECKPOINT|NAME")]
    pub(crate) model: PathBuf,
    /// Rows with missing cells: columns of the training file in any order, others are kept as they are.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Where the filled rows go; only missing cells differ.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Number of fillings, drawn independently, each into a file of its own: OUT-1, OUT-2, ...
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = ranges::count(ranges::REPEATS))]
    pub(crate) draws: usize,
    /// Fill in the most probable value of a category and the mean of a number (by 20 evaluations a row) in place of a draw: nearest to the truth cell by
    /// cell, without the variety of the rows.
    #[arg(long)]
    pub(crate) likely: bool,
    /// Also write the probabilities of the values of every missing cell, one JSON object a cell.
    #[arg(long, value_name = "FILE.jsonl")]
    pub(crate) probabilities: Option<PathBuf>,
    /// Network evaluations per row.
    #[arg(long, default_value_t = 1, value_parser = ranges::count(ranges::STEPS))]
    pub(crate) nfe: usize,
    /// Seed of the draws.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
}
