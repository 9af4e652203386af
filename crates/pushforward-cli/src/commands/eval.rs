//! `pushforward eval`

use pushforward::metrics::report::Report;
use pushforward::run::load::Model;

use super::{
    eval_request, features, image_eval_request, load_data, load_images, load_model, measure, measure_images, refuse,
    sampler,
};
use crate::args::{EvalArgs, SamplerArgs};
use crate::conditions::told;
use crate::exit::{Failure, OrFail as _};
use crate::files::write_atomic;
use crate::printer::Printer;

pub(crate) fn run(args: &EvalArgs, printer: Printer) -> Result<(), Failure> {
    let loaded = load_model(&args.model, args.sampler.raw, &args.device)?;
    let seed = args.sampler.seed;
    let path = args.features.as_ref().or(loaded.recipe.eval.features.as_ref());
    let features = features(path, &loaded.recipe.data, &loaded.device)?;
    if matches!(loaded.model, Model::Aef { .. }) {
        let SamplerArgs { sampler, diagonal_noise, temperature, tolerance, .. } = &args.sampler;
        let options = [
            ("--nfe", args.nfe.is_some()),
            ("--bound-items", args.bound_items.is_some()),
            ("--repeats", args.repeats.is_some()),
            ("--sampler", sampler.is_some()),
            ("--diagonal-noise", *diagonal_noise),
            ("--temperature", temperature.is_some()),
            ("--tolerance", tolerance.is_some()),
            ("what samples are told", !args.condition.is_empty()),
        ];
        refuse(&options, "flow maps", &loaded)?;
        let mut request = image_eval_request(&loaded.recipe, seed, args.sampler.batch.max(1));
        request.samples = args.count.unwrap_or(request.samples);
        request.images = args.images.unwrap_or(request.images);
        request.draws = args.draws.unwrap_or(request.draws).max(1);
        let splits = load_images(&loaded.recipe.data, &args.data.folder(), loaded.recipe.seed)?;
        return finish(args, &measure_images(&loaded, &splits, features.as_ref(), &request, printer)?, printer);
    }
    refuse(&[("--images", args.images.is_some()), ("--draws", args.draws.is_some())], "autoencoders", &loaded)?;
    let (loaded, prefix) = told(&args.condition, loaded)?;
    let (method, temperature) = (sampler(&args.sampler)?, args.sampler.temperature.unwrap_or(1.0));
    let mut request = eval_request(&loaded.recipe, method, temperature, seed, args.sampler.batch.max(1));
    request.diagonal_noise = args.sampler.diagonal_noise;
    (request.labels, request.prefix) = (args.condition.labels.clone(), prefix);
    request.guidance = args.condition.guidance;
    if let Some(nfe) = &args.nfe {
        request.nfe.clone_from(nfe);
    }
    request.samples = args.count.unwrap_or(request.samples);
    request.repeats = args.repeats.unwrap_or(1);
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
