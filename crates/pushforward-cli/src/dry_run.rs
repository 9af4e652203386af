//! `train --dry-run`: what a run by several processes would need, and how long a step would take.

use std::ops::ControlFlow;

use pushforward::run::{self, Data, Event, Need, Recipe, TrainOptions};
use pushforward::train::{Link, Progress};

use crate::args::RankArgs;
use crate::exit::Failure;
use crate::printer::Printer;

/// Steps that are measured; the fastest one counts.
const STEPS: u64 = 5;
/// Bytes of a mebibyte.
const MEBIBYTE: f64 = 1_048_576.0;

/// Measures a micro-batch and prints the forecast.
pub(crate) fn forecast(
    args: &RankArgs,
    recipe: &Recipe,
    data: &Data,
    options: TrainOptions,
    printer: Printer,
) -> Result<(), Failure> {
    let (schema, labels, workers) = (data.schema(), data.label_count(), options.workers);
    let reduction = options.reduction;
    let (parameters, measured) = measure(recipe, data, options, if args.seconds.is_some() { 1 } else { STEPS })?;
    let seconds = args.seconds.unwrap_or(measured);
    let k = recipe.train.accumulate;
    // Workers compute as many micro-batches at once.
    let own = Need::of(recipe, &schema, labels, workers);
    let link = Link { bytes_per_second: args.link * 1e9 / 8.0, latency: args.latency * 1e-6 };
    printer.result(&format!(
        "{}: {parameters} parameters; each process has {k} micro-batches of {} a step, {:.4} s each, {}",
        recipe.name,
        recipe.train.batch,
        seconds,
        if args.seconds.is_some() { "as said" } else { "measured here" }
    ));
    printer.result(&format!("at least {:.1} MiB of memory a process", own.total() as f64 / MEBIBYTE));
    printer.result(&format!(
        "gradients as {}{} over {} Gbit/s with {} us of latency",
        if reduction.half { "bfloat16" } else { "float32" },
        if reduction.reproducible { " in the order of one process" } else { "" },
        args.link,
        args.latency
    ));
    printer.result("  processes   MiB sent a step   s a step   examples a second   efficiency");
    let all = args.ranks.map_or_else(|| (1..=10).map(|power| 1 << power).collect(), |ranks| vec![ranks]);
    for ranks in all {
        let sent = reduction.bytes(parameters.into(), ranks, k.into()) as f64 / MEBIBYTE;
        let step = link.step_seconds(&reduction, ranks, parameters, k, seconds);
        let rate = ranks as f64 * k as f64 * recipe.train.batch as f64 / step;
        let efficiency = 100.0 * k as f64 * seconds / step;
        printer.result(&format!("{ranks:11}   {sent:15.2}   {step:8.4}   {rate:17.1}   {efficiency:8.1} %"));
    }
    Ok(())
}

/// Parameters of the model, and seconds of a step of one micro-batch, the fastest of some.
fn measure(recipe: &Recipe, data: &Data, options: TrainOptions, steps: u64) -> Result<(u64, f64), Failure> {
    let mut short = recipe.clone();
    let train = &mut short.train;
    (train.steps, train.minutes, train.accumulate, train.log_every) = (steps, None, 1, 1);
    (train.validate_every, train.sample_every, train.patience) = (0, 0, None);
    let (mut parameters, mut fastest) = (0, f64::INFINITY);
    let options = TrainOptions { folder: None, ..options };
    run::train(&short, data, options, &mut |event| {
        match event {
            Event::Start { parameters: count, .. } => parameters = count as u64,
            Event::Progress(Progress::Step(report)) => {
                fastest = fastest.min(short.train.batch as f64 / report.examples_per_second);
            }
            _ => {}
        }
        ControlFlow::Continue(())
    })?;
    Ok((parameters, fastest))
}
