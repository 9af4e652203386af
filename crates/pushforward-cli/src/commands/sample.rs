//! `pushforward sample`

use std::path::Path;

use pushforward::flow_map::sample::{LastStep, SampleRequest, Sampler};
use pushforward::flow_map::time::TimeGrid;

use super::{load_model, sampler};
use crate::args::SampleArgs;
use crate::exit::{Failure, OrFail as _};
use crate::interrupt::interrupted;
use crate::output;
use crate::printer::Printer;
use crate::progress::StageBar;

pub(crate) fn run(args: &SampleArgs, printer: Printer) -> Result<(), Failure> {
    let method = sampler(&args.sampler)?;
    let grid = match &args.grid {
        Some(times) => TimeGrid::new(times.clone()),
        None => method.grid(args.nfe),
    };
    let grid = grid.map_err(Failure::request)?;
    if args.count == 0 || args.sampler.batch == 0 {
        return Err(Failure::request("-n and --batch are at least 1"));
    }
    let loaded = load_model(&args.model, args.sampler.raw, &args.device)?;
    let request = SampleRequest {
        sampler: method,
        grid,
        count: args.count,
        first: args.first,
        batch: args.sampler.batch,
        seed: args.sampler.seed,
        temperature: args.sampler.temperature,
        last: if args.draw { LastStep::Draw } else { LastStep::Argmax },
    };
    let mut bar = StageBar::new(printer);
    let samples = loaded.sample(&request, &mut |done| {
        bar.update("samples", done, args.count);
        !interrupted()
    });
    bar.finish();
    let samples = samples.or_request()?;
    if samples.nfe.len() < args.count {
        return Err(Failure::Run(anyhow::anyhow!("interrupted after {} of {} items", samples.nfe.len(), args.count)));
    }
    match &args.out {
        Some(path) if path == Path::new("-") => printer.result(output::jsonl(&samples, &loaded.schema).trim_end()),
        Some(path) => {
            output::save(&samples, &loaded.schema, path)?;
            printer.result(&path.display().to_string());
        }
        None => printer.result(&output::sketch(&samples.ids, &loaded.schema)),
    }
    let adaptive = if matches!(method, Sampler::Dopri5 { .. }) { " on average" } else { "" };
    printer.note(&format!(
        "{} items, {} network evaluations each{adaptive}, seed {}",
        samples.nfe.len(),
        (samples.mean_nfe() * 10.0).round() / 10.0,
        request.seed
    ));
    Ok(())
}
