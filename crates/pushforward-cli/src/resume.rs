//! The recipe of a run, new or resumed, and what is said of its beginning and its end.

use std::path::Path;
use std::time::Duration;

use clap::ValueEnum as _;
use pushforward::flow_map::network::NetworkConfig;
use pushforward::run::{self, Recipe, Trained};
use pushforward::train::checkpoint::Resume;
use pushforward::train::{EndReason, TrainConfig};

use crate::args::TrainArgs;
use crate::exit::{Failure, OrFail as _};
use crate::files::open_run_dir;
use crate::lock::RunLock;
use crate::presets::{starting_point, text_of};
use crate::printer::Printer;
use crate::progress::human_duration;
use crate::ranks::team;

/// The recipe, and the state of an interrupted run with the lock of its folder.
pub(crate) fn recipe(args: &TrainArgs, printer: Printer) -> Result<(Recipe, Option<Resume>, Option<RunLock>), Failure> {
    let mut overrides = args.overrides.clone();
    if let Some(precision) = args.device.precision.and_then(|name| name.to_possible_value()) {
        overrides.push(format!("train.precision={}", precision.get_name()));
    }
    if let Some(minutes) = args.minutes {
        overrides.push(format!("train.minutes={minutes:?}"));
    }
    let Some(folder) = &args.resume else {
        let (start, said) = starting_point(args.recipe.as_deref(), &mut overrides)?;
        said.into_iter().for_each(|said| printer.note(&said));
        let (text, origin) = text_of(&start)?;
        let mut recipe = Recipe::parse(&text, &origin, &overrides).or_request()?;
        recipe.data.settle();
        // The run works from any folder.
        recipe.make_paths_absolute(&args.data.folder()).or_request()?;
        return Ok((recipe, None, None));
    };
    // The first of several processes locks the folder for all.
    let lock = team().is_first().then(|| open_run_dir(folder)).transpose().or_request()?;
    let (recipe, resume) = run::resume(folder, &overrides).map_err(|error| match error {
        run::ResumeError::Changed => {
            Failure::Request(error.into()).hint("start a new run with another --out for other settings")
        }
        _ => Failure::Request(error.into()),
    })?;
    Ok((recipe, Some(resume), lock))
}

/// Says what resuming does to a run that had reached its end.
pub(crate) fn announce(resume: &Resume, recipe: &Recipe, printer: Printer) {
    let share = |config: &TrainConfig| match config.minutes {
        Some(minutes) => resume.elapsed_seconds / (60.0 * minutes),
        None => resume.step as f64 / config.steps as f64,
    };
    let config = &recipe.train;
    if share(config) >= 1.0 {
        let step = resume.step;
        printer.note(&format!(
            "this run was finished after {step} steps; to go on, make it longer: --set train.steps={} or \
             --set train.minutes=M",
            2 * step
        ));
        return;
    }
    let Ok(before) = Recipe::<NetworkConfig>::parse(&resume.recipe, "the run", &[]) else { return };
    let rate = |share: f64| config.lr * config.schedule.factor(resume.step, config.warmup, share.min(1.0));
    let (was, is) = (rate(share(&before.train)), rate(share(config)));
    if is > 1.5 * was {
        printer.warn(&format!(
            "the schedule now extends to the new length, so that the learning rate goes up from {was:.1e} to {is:.1e}"
        ));
    }
}

/// Says why a run ended, and how to go on.
pub(crate) fn announce_end(trained: &Trained, folder: &Path, printer: Printer) {
    let time = human_duration(Duration::from_secs_f64(trained.seconds));
    let (folder, step) = (folder.display(), trained.steps);
    match trained.reason {
        EndReason::Finished => printer.note(&format!("trained {step} steps in {time}")),
        EndReason::Patience => {
            let best = trained.loaded.run.step;
            printer.note(&format!(
                "stopped early after {step} steps and {time}: validation no longer falls; the model is that of \
                 step {best}, the best one"
            ))
        }
        EndReason::Stopped | EndReason::TimeLimit => printer
            .note(&format!("stopped after {step} steps and {time}; go on with: pushforward train --resume {folder}")),
    }
}
