//! `pushforward completions`

use clap::CommandFactory as _;

use crate::args::{Cli, CompletionsArgs};
use crate::exit::Failure;
use crate::printer::Printer;

pub(crate) fn run(args: &CompletionsArgs, printer: Printer) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "pushforward", &mut script);
    printer.result(String::from_utf8_lossy(&script).trim_end());
    Ok(())
}
