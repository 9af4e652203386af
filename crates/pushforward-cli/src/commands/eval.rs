//! `pushforward eval`

use pushforward::data::{DataConfig, Splits};
use pushforward::flow_map::backbone::EndpointNet as _;
use pushforward::flow_map::sample::SampleRequest;
use pushforward::metrics::report::Report;
use pushforward::run::evaluate::{EvalRequest, Features, Generates};
use pushforward::run::{Loaded, Model, RunInfo, TrainedAef, TrainedCategoricalAef, TrainedFlowMap, image_shape};

use super::{
    drawing, eval_request, features, image_eval_request, load_data, load_images, load_model, measure, measure_images,
    refuse, sample_request, sampler,
};
use crate::args::{EvalArgs, SamplerArgs};
use crate::conditions::{conditioned, labels};
use crate::exit::{Failure, OrFail as _};
use crate::figures::{Figure, has_laws, laws, of_images, samples, save};
use crate::files::write_atomic;
use crate::given_samples::Given;
use crate::printer::Printer;
use crate::ranks::{on_first, team};
use crate::report_page::page;

pub(crate) fn run(args: &EvalArgs, printer: Printer) -> Result<(), Failure> {
    let loaded = load_model(&args.model, args.sampler.raw, &args.device, printer)?;
    if args.pictures.is_some() && !has_laws(&loaded.run.schema.layout) {
        return Err(Failure::request("--pictures is for models of sequences and tables")
            .hint("--html FILE has pictures of any samples"));
    }
    let path = args.features.as_ref().or(loaded.run.eval.features.as_ref());
    let features = features(path, &loaded.run.data, &super::open_device(&args.device)?, printer)?;
    if features.is_none() && classifiable(&loaded) {
        printer.note(
            "no Fr\u{e9}chet distance without a classifier of these images (--features); `pushforward presets` has some",
        );
    }
    let features = features.as_ref();
    let (report, run, figures) = match loaded.model {
        Model::Aef(_) => images(args, loaded.aef("be evaluated on images").or_request()?, features, printer)?,
        Model::CategoricalAef(_) => {
            decoded(args, loaded.categorical_aef("be evaluated").or_request()?, features, printer)?
        }
        _ => items(args, loaded.flow_map("be evaluated").or_request()?, features, printer)?,
    };
    if !team().is_first() {
        return Ok(());
    }
    if let Some(path) = &args.html {
        write_atomic(path, page(&run, &report, &figures).as_bytes()).or_run()?;
    }
    if let Some(path) = &args.report {
        write_atomic(path, report.to_json().as_bytes()).or_run()?;
    }
    printer.report(&report, || printer.table(&report));
    Ok(())
}

/// Whether a classifier could describe samples of the model: those of grey images whose set has no checks of its own.
fn classifiable(loaded: &Loaded) -> bool {
    let own = matches!(loaded.run.data, DataConfig::Glyphs(_)) && !matches!(loaded.model, Model::Aef(_));
    let grey = image_shape(&loaded.run.schema).is_ok_and(|shape| shape.channels == 1);
    grey && !own
}

/// A report with the model that it is of, and pictures for its page.
type Measured = (Report, RunInfo, Vec<Figure>);

fn images(
    args: &EvalArgs,
    loaded: Loaded<TrainedAef>,
    features: Option<&Features>,
    printer: Printer,
) -> Result<Measured, Failure> {
    let SamplerArgs { sampler, diagonal_noise, correct, temperature, tolerance, gamma, .. } = &args.sampler;
    let mapped = loaded.model.net.prior_map().is_some();
    let options = [
        ("--nfe", args.nfe.is_some() && !mapped),
        ("--density", args.density.is_some() && !mapped),
        ("--bound-items", args.bound_items.is_some()),
        ("--pictures", args.pictures.is_some()),
        ("--samples", args.samples.is_some()),
        ("--repeats", args.repeats.is_some()),
        ("--sampler", sampler.is_some() && !mapped),
        ("--diagonal-noise", *diagonal_noise),
        ("--correct", *correct),
        ("--temperature", temperature.is_some()),
        ("--tolerance", tolerance.is_some()),
        ("--gamma", gamma.is_some()),
        ("what samples are told", !args.condition.is_empty()),
    ];
    refuse(&options, "flow maps and for flow maps as the prior", &loaded)?;
    let mut request = image_eval_request(&loaded.run.eval, args.sampler.seed, args.sampler.batch);
    request.samples = args.count.unwrap_or(request.samples);
    request.images = args.images.unwrap_or(request.images);
    request.draws = args.draws.unwrap_or(request.draws);
    request.density = args.density.unwrap_or(request.density);
    let nfe = args.nfe.as_ref().unwrap_or(&loaded.run.eval.nfe);
    request.drawings = nfe.iter().map(|&nfe| drawing(*sampler, nfe)).collect::<Result<_, _>>()?;
    let splits = load_images(&loaded.run, &args.data, printer)?;
    let report = measure_images(&loaded, &splits, features, &request, printer)?;
    let drawn = if args.html.is_some() { of_images(&loaded, request.seed)? } else { Vec::new() };
    Ok((report, loaded.run, drawn.iter().map(|(sketch, title)| Figure::of(sketch, title)).collect()))
}

/// An autoencoder of categorical data.
fn decoded(
    args: &EvalArgs,
    loaded: Loaded<TrainedCategoricalAef>,
    features: Option<&Features>,
    printer: Printer,
) -> Result<Measured, Failure> {
    let theirs = [
        ("--images", args.images.is_some()),
        ("--density", args.density.is_some()),
        ("--diagonal-noise", args.sampler.diagonal_noise),
        ("--tolerance", args.sampler.tolerance.is_some()),
        ("what samples are told", !args.condition.is_empty()),
    ];
    refuse(&theirs, "other models", &loaded)?;
    let sample = sampled(args)?;
    measured(args, loaded, true, sample, features, printer)
}

/// How samples are drawn, as the arguments say.
fn sampled(args: &EvalArgs) -> Result<SampleRequest, Failure> {
    Ok(SampleRequest {
        sampler: sampler(&args.sampler)?,
        temperature: args.sampler.temperature.unwrap_or(1.0),
        batch: args.sampler.batch,
        correct: args.sampler.correct,
        ..sample_request(args.sampler.seed)
    })
}

/// The report of a model of categorical data; `points` as in `measure`.
fn measured<G: Generates>(
    args: &EvalArgs,
    loaded: Loaded<G>,
    points: bool,
    sample: SampleRequest,
    features: Option<&Features>,
    printer: Printer,
) -> Result<Measured, Failure> {
    let mut request = eval_request(&loaded.run.eval, sample);
    if let Some(nfe) = &args.nfe {
        request.nfe.clone_from(nfe);
    }
    request.sample.count = args.count.unwrap_or(request.sample.count);
    request.repeats = args.repeats.unwrap_or(1);
    request.bound_items = args.bound_items.unwrap_or(request.bound_items);
    request.bound_draws = args.draws.unwrap_or(request.bound_draws);
    let splits = load_data(&loaded.run, &args.data, printer)?;
    let Some(path) = &args.samples else {
        let report = measure(&team(), &loaded, points, &splits, features, &request, printer)?;
        let mut figures = Vec::new();
        on_first(|| {
            figures = pictures(args, &loaded, &splits, &request, printer)?;
            Ok(())
        })?;
        return Ok((report, loaded.run, figures));
    };
    let given = Given::read(path, &loaded.model, &loaded.run.schema, &request)?;
    request.sample.count = given.count();
    let given = Loaded { model: given, run: loaded.run.clone() };
    let report = measure(&team(), &given, points, &splits, features, &request, printer)?;
    let mut figures = Vec::new();
    on_first(|| {
        figures = pictures(args, &given, &splits, &request, printer)?;
        Ok(())
    })?;
    Ok((report, loaded.run, figures))
}

/// Pictures for the page, and those of laws in a folder, if they are asked for.
fn pictures<G: Generates>(
    args: &EvalArgs,
    loaded: &Loaded<G>,
    splits: &Splits,
    request: &EvalRequest,
    printer: Printer,
) -> Result<Vec<Figure>, Failure> {
    if args.pictures.is_none() && args.html.is_none() {
        return Ok(Vec::new());
    }
    let mut figures = if args.html.is_some() { samples(loaded, splits, request)? } else { Vec::new() };
    let drawn = laws(loaded, splits, request)?;
    if let Some(folder) = &args.pictures {
        // The figures are there; a picture that fails takes nothing from them.
        match save(&drawn, folder) {
            Ok(written) => written.iter().for_each(|path| printer.note(&path.display().to_string())),
            Err(failure) => printer.warn(&format!("no pictures: {}", failure.text())),
        }
    }
    figures.extend(drawn);
    Ok(figures)
}

fn items(
    args: &EvalArgs,
    loaded: Loaded<TrainedFlowMap>,
    features: Option<&Features>,
    printer: Printer,
) -> Result<Measured, Failure> {
    let theirs =
        [("--images", args.images.is_some()), ("--draws", args.draws.is_some()), ("--density", args.density.is_some())];
    refuse(&theirs, "autoencoders", &loaded)?;
    let (loaded, observed) = conditioned(&args.condition, loaded, printer)?;
    let sample = SampleRequest {
        diagonal_noise: args.sampler.diagonal_noise,
        labels: labels(&args.condition, &loaded.run)?,
        observed,
        guidance: args.condition.guidance,
        ..sampled(args)?
    };
    let points = loaded.model.net.factored().is_none();
    measured(args, loaded, points, sample, features, printer)
}
