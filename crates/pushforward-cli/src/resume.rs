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

/// A run with less than this share of the usual steps in its minutes is not the one that figures are from.
const FEW: f64 = 0.6;

/// Warns of a run by the clock that took far fewer steps than the recipe's figures are from.
fn few_steps(config: &TrainConfig, steps: u64) -> Option<String> {
    let (minutes, rate) = (config.minutes?, config.usual_rate?);
    let usual = minutes * rate;
    ((steps as f64) < FEW * usual).then(|| {
        format!(
            "the run took {steps} steps in {minutes} minutes, and the figures of its recipe are from about {usual:.0}: unless the \
             network or the batch is another one, train longer (--set train.minutes={:.1}) or while nothing else computes",
            minutes * usual / steps.max(1) as f64
        )
    })
}

/// Says why a run ended, and how to go on.
pub(crate) fn announce_end(trained: &Trained, config: &TrainConfig, folder: &Path, printer: Printer) {
    let time = human_duration(Duration::from_secs_f64(trained.seconds));
    let (folder, step) = (folder.display(), trained.steps);
    match trained.reason {
        EndReason::Finished => {
            printer.note(&format!("trained {step} steps in {time}"));
            if let Some(warning) = few_steps(config, step) {
                printer.warn(&warning);
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_of_few_steps_says_so() {
        let config = TrainConfig { minutes: Some(2.0), usual_rate: Some(1000.0), ..TrainConfig::default() };
        assert!(few_steps(&config, 1300).is_none());
        let warning = few_steps(&config, 1000).expect("half of the steps");
        assert!(warning.contains("about 2000") && warning.contains("train.minutes=4.0"), "{warning}");
        // A length in steps is kept whatever the machine.
        assert!(few_steps(&TrainConfig { minutes: None, ..config.clone() }, 10).is_none());
        assert!(few_steps(&TrainConfig { usual_rate: None, ..config }, 10).is_none());
    }
}
