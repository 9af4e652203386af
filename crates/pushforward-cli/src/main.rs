//! The program `pushforward`: trains, samples and evaluates categorical flow maps and autoencoders within flows.

mod archive;
mod args;
mod charts;
mod codes;
mod commands;
mod conditions;
mod constraints;
mod data_file;
mod download;
mod dry_run;
mod escapes;
mod exit;
mod fetch;
mod figures;
mod files;
mod given_samples;
mod image_files;
mod interrupt;
mod item_files;
mod letters;
mod lock;
mod memory;
mod model_card;
mod models;
mod molecule_files;
mod molecule_pictures;
#[cfg(feature = "mpi")]
mod mpi;
mod output;
mod panics;
mod picture;
mod presets;
mod preview;
mod printer;
mod process;
mod program;
mod progress;
mod ranks;
mod report_page;
mod resume;
mod run_log;
mod sequence_files;
mod sequence_pictures;
mod served_items;
mod shards;
mod sources;
mod steered;
mod svg;
mod table_files;
mod table_pictures;
mod tensorboard;
#[cfg(test)]
mod test_server;
mod watch;
#[cfg(feature = "onnx")]
mod web_folder;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use pushforward::data::reading;

use crate::args::{Cli, Command};
use crate::exit::{Failure, OrFail as _};
use crate::printer::Printer;

fn main() -> ExitCode {
    panics::hide_caught();
    let cli = Cli::parse();
    process::prepare(cli.threads());
    let mut printer = Printer { quiet: cli.quiet, json: cli.json(), rank: 0 };
    let code = match run(&cli, &mut printer) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if printer.rank > 0 && failure.code() == 2 {
                // The first rank refuses the same, and the launcher ends the others meanwhile.
                std::thread::sleep(Duration::from_secs(1));
            }
            failure.print(&printer);
            if ranks::several() {
                // Without taking leave, so that the launcher ends the other processes.
                std::process::exit(failure.code().into());
            }
            failure.code().into()
        }
    };
    // What was stopped is not finished: `train && eval` does not go on.
    interrupt::exit_code().map_or(code, ExitCode::from)
}

fn run(cli: &Cli, printer: &mut Printer) -> Result<(), Failure> {
    *printer = ranks::join(&cli.command, *printer)?;
    interrupt::install(*printer)?;
    reading(|| command(cli, *printer)).or_run()??;
    ranks::leave()
}

fn command(cli: &Cli, printer: Printer) -> Result<(), Failure> {
    match &cli.command {
        Command::Train(args) => commands::train::run(args, printer),
        Command::Sample(args) => commands::sample::run(args, printer),
        Command::Steer(args) => commands::steer::run(args, printer),
        Command::Eval(args) => commands::eval::run(args, printer),
        Command::Calibrate(args) => commands::calibrate::run(args, printer),
        Command::Score(args) => commands::score::run(args, printer),
        Command::Impute(args) => commands::impute::run(args, printer),
        Command::Encode(args) => commands::encode::run(args, printer),
        Command::Decode(args) => commands::decode::run(args, printer),
        Command::Reconstruct(args) => commands::reconstruct::run(args, printer),
        Command::Denoise(args) => commands::denoise::run(args, printer),
        Command::Interpolate(args) => commands::interpolate::run(args, printer),
        Command::Merge(args) => commands::merge::run(args, printer),
        Command::Data(args) => commands::data::run(args, printer),
        Command::Models(args) => commands::models::run(args, printer),
        Command::Presets(args) => commands::presets::run(args, printer),
        Command::Serve(args) => commands::serve::run(args, printer),
        Command::Inspect(args) => commands::inspect::run(args, printer),
        Command::Export(args) => commands::export::run(args, printer),
        Command::Completions(args) => commands::completions::run(args, printer),
        Command::Man(args) => commands::man::run(args, printer),
    }
}
