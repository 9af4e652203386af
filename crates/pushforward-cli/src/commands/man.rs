//! `pushforward man`

use clap::CommandFactory as _;

use crate::args::{Cli, ManArgs};
use crate::exit::{Failure, OrFail as _};
use crate::files::write_atomic;
use crate::printer::Printer;

pub(crate) fn run(args: &ManArgs, printer: Printer) -> Result<(), Failure> {
    let mut program = Cli::command();
    program.build();
    let mut open = vec![program];
    while let Some(command) = open.pop() {
        let mut page = Vec::new();
        clap_mangen::Man::new(command.clone()).render(&mut page).or_run()?;
        let name = command.get_display_name().unwrap_or_else(|| command.get_name());
        let path = args.out.join(format!("{name}.1"));
        write_atomic(&path, &page).or_run()?;
        printer.result(&path.display().to_string());
        open.extend(command.get_subcommands().filter(|sub| sub.get_name() != "help").cloned());
    }
    Ok(())
}
