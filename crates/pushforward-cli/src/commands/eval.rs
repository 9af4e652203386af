//! `pushforward eval`

use pushforward::eval::report::Report;
use pushforward::model::Model;

use super::{eval_request, image_eval_request, load_data, load_images, load_model, measure, measure_images, sampler};
use crate::args::EvalArgs;
use crate::exit::{Failure, OrFail as _};
use crate::files::write_atomic;
use crate::printer::Printer;

pub(crate) fn run(args: &EvalArgs, printer: Printer) -> Result<(), Failure> {
    let method = sampler(&args.sampler)?;
    let loaded = load_model(&args.model, args.sampler.raw, &args.device)?;
    let seed = args.sampler.seed;
    let features = args.features.as_ref().or(loaded.recipe.eval.features.as_ref());
    let features = features.map(|path| load_model(path, false, &args.device)).transpose()?;
    if matches!(loaded.model, Model::Aef { .. }) {
        let mut request = image_eval_request(&loaded.recipe, seed, args.sampler.batch.max(1));
        request.samples = args.count.unwrap_or(request.samples);
        request.images = args.images.unwrap_or(request.images);
        request.draws = args.draws.unwrap_or(request.draws).max(1);
        let splits = load_images(&loaded.recipe.data, &args.data.folder(), loaded.recipe.seed)?;
        return finish(args, &measure_images(&loaded, &splits, features.as_ref(), &request, printer)?, printer);
    }
    let mut request = eval_request(&loaded.recipe, method, args.sampler.temperature, seed, args.sampler.batch.max(1));
    if let Some(nfe) = &args.nfe {
        request.nfe.clone_from(nfe);
    }
    request.samples = args.count.unwrap_or(request.samples);
    request.bound_items = args.bound_items.unwrap_or(request.bound_items);
    let splits = load_data(&loaded.recipe.data, &args.data.folder(), loaded.recipe.seed)?;
    finish(args, &measure(&loaded, &splits, features.as_ref(), &request, printer)?, printer)
}

fn finish(args: &EvalArgs, report: &Report, printer: Printer) -> Result<(), Failure> {
    if let Some(path) = &args.report {
        write_atomic(path, report.to_json().as_bytes()).or_run()?;
    }
    printer.report(report, || report.table());
    Ok(())
}
