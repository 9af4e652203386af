//! `pushforward presets`

use pushforward::run::Recipe;

use crate::args::PresetsArgs;
use crate::exit::{Failure, OrFail as _};
use crate::presets::{PRESETS, text_of};
use crate::printer::Printer;

pub(crate) fn run(args: &PresetsArgs, printer: Printer) -> Result<(), Failure> {
    if let Some(name) = &args.name {
        printer.result(text_of(name)?.0.trim_end());
        return Ok(());
    }
    for (name, text) in PRESETS {
        let recipe: Recipe = Recipe::parse(text, name, &[]).or_run()?;
        printer.result(&format!("{name:<20}{}", recipe.description));
    }
    Ok(())
}
