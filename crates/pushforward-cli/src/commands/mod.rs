//! One file per command. Commands never import each other; shared helpers are here.

pub(crate) mod calibrate;
pub(crate) mod completions;
pub(crate) mod data;
pub(crate) mod decode;
pub(crate) mod denoise;
pub(crate) mod encode;
mod estimators;
pub(crate) mod eval;
pub(crate) mod export;
mod images;
pub(crate) mod impute;
pub(crate) mod inspect;
pub(crate) mod interpolate;
mod latents;
pub(crate) mod man;
pub(crate) mod merge;
pub(crate) mod models;
pub(crate) mod presets;
pub(crate) mod reconstruct;
pub(crate) mod sample;
pub(crate) mod score;
mod score_rows;
pub(crate) mod serve;
pub(crate) mod steer;
pub(crate) mod train;

use std::path::{Path, PathBuf};

use pushforward::burn::tensor::Device;
use pushforward::data::{ContinuousSplits, DataConfig, Splits};
use pushforward::flow_map::sample::{SampleRequest, Sampler};
use pushforward::kernels::Precision;
use pushforward::metrics::report::Report;
use pushforward::ranks::Ranks;
use pushforward::run::evaluate::chemnet::ChemNet;
use pushforward::run::evaluate::{
    EvalError, EvalRequest, Features, Generates, ImageEvalRequest, evaluate, evaluate_images, metrics_for,
};
use pushforward::run::{
    Data, EvalConfig, Loaded, OtherData, RunInfo, Spread, TrainedAef, TrainedClassifier, WeightSet,
};
use pushforward::transport::density::Density;
use pushforward::transport::map::Drawing;

use crate::args::{DeviceArgs, RunDataArgs, SamplerArgs, SamplerName};
use crate::exit::{Failure, OrFail as _};
use crate::interrupt::interrupted;
use crate::memory::check_samples;
use crate::models::ModelFile;
use crate::printer::Printer;

/// Opens the device of a request and sets the precision of all following computations.
fn open_device(args: &DeviceArgs) -> Result<Device, Failure> {
    args.precision.map_or(Precision::High, Precision::from).set();
    pushforward::device::open(&args.device).or_request()
}

/// Loads a model of any family: a run folder, a checkpoint or a model by its name.
fn load_model(path: &Path, raw: bool, device: &DeviceArgs, printer: Printer) -> Result<Loaded, Failure> {
    let weights = if raw { WeightSet::Raw } else { WeightSet::Ema };
    ModelFile::find(path, printer)?.load(weights, &open_device(device)?).or_request()
}

/// Loads a classifier.
fn load_classifier(path: &Path, device: &DeviceArgs, printer: Printer) -> Result<Loaded<TrainedClassifier>, Failure> {
    let loaded = load_model(path, false, device, printer)?;
    loaded.classifier("describe images").map_err(|_| EvalError::Features(path.display().to_string())).or_request()
}

/// Loads the data of a run for a model of categorical variables.
fn load_data(run: &RunInfo, args: &RunDataArgs, printer: Printer) -> Result<Splits, Failure> {
    let splits = run.data.load(&args.place.folders(), run.seed).or_request()?;
    let data = Data::from(splits);
    same_data(run, &data, args, printer)?;
    let Data::Categorical(splits) = data else { unreachable!("made of such data") };
    say_kept(&splits, printer);
    Ok(splits)
}

/// Says where molecules that were read are kept.
fn say_kept(splits: &Splits, printer: Printer) {
    if let Some(kept) = &splits.kept {
        printer.note(&format!("the molecules are kept for the next time in {} (--no-cache: nowhere)", kept.display()));
    }
}

/// Loads the data of a run for a model of continuous images.
fn load_images(run: &RunInfo, args: &RunDataArgs, printer: Printer) -> Result<ContinuousSplits, Failure> {
    let splits = run.data.continuous(&args.place.folder(), run.seed).or_request()?;
    let data = Data::from(splits);
    same_data(run, &data, args, printer)?;
    let Data::Continuous(splits) = data else { unreachable!("made of such data") };
    Ok(splits)
}

/// Refuses data of another schema, and changed files unless the user goes on with them.
fn same_data(run: &RunInfo, data: &Data, args: &RunDataArgs, printer: Printer) -> Result<(), Failure> {
    match run.same_data(data) {
        Ok(()) => Ok(()),
        Err(changed @ OtherData::Hash { .. }) if args.other_data => {
            printer.warn(&changed.to_string());
            Ok(())
        }
        Err(changed @ OtherData::Hash { .. }) => {
            Err(Failure::Request(changed.into()).hint("--other-data goes on with the changed data"))
        }
        Err(other) => Err(Failure::Request(other.into())),
    }
}

/// Refuses options that do not apply to this kind of model. `theirs` names the kind that they apply to.
fn refuse<M>(given: &[(&str, bool)], theirs: &str, loaded: &Loaded<M>) -> Result<(), Failure> {
    let names: Vec<&str> = given.iter().filter(|(_, given)| *given).map(|(name, _)| *name).collect();
    if names.is_empty() {
        return Ok(());
    }
    let path = loaded.run.path.display();
    Err(Failure::request(format!("{}: only for {theirs}, and {path} holds another model", names.join(", ")))
        .hint("leave it out"))
}

/// The sampler of a request.
fn sampler(args: &SamplerArgs) -> Result<Sampler, Failure> {
    let tolerance = args.tolerance.unwrap_or(1e-3);
    if args.gamma.is_some() && args.sampler != Some(SamplerName::Renoise) {
        return Err(Failure::request("--gamma: only for --sampler renoise"));
    }
    Ok(match args.sampler.unwrap_or(SamplerName::Map) {
        SamplerName::Map => Sampler::Map,
        SamplerName::Euler => Sampler::Euler,
        SamplerName::Heun => Sampler::Heun,
        SamplerName::Renoise => Sampler::Renoise { gamma: args.gamma.unwrap_or(1.0) },
        SamplerName::Dopri5 => Sampler::Dopri5 { tolerance },
    })
}

/// Default request of samples.
fn sample_request(seed: u64) -> SampleRequest {
    SampleRequest { endpoints: false, ..SampleRequest::map(0, 1, seed) }
}

/// The recipe's evaluation of samples drawn by a given request.
fn eval_request(eval: &EvalConfig, sample: SampleRequest) -> EvalRequest {
    EvalRequest {
        sample: SampleRequest { count: eval.samples, ..sample },
        nfe: eval.nfe.clone(),
        repeats: 1,
        bound_items: eval.bound_items,
        bound_draws: eval.bound_draws,
    }
}

/// Loads the feature network of Fréchet distances: ChemNet's weights for molecules, a classifier otherwise.
fn features(
    path: Option<&PathBuf>,
    data: &DataConfig,
    device: &Device,
    printer: Printer,
) -> Result<Option<Features>, Failure> {
    let Some(path) = path else { return Ok(None) };
    Ok(Some(if data.is_molecules() {
        Features::ChemNet(Box::new(ChemNet::open(path).or_request()?))
    } else {
        let loaded = ModelFile::find(path, printer)?.load(WeightSet::Ema, device).or_request()?;
        let refused = |_| EvalError::Features(path.display().to_string());
        Features::Classifier(Box::new(loaded.classifier("describe images").map_err(refused).or_request()?))
    }))
}

/// Runs an evaluation by some ranks, with its progress on stderr; `points` as in [`check_samples`].
fn measure<G: Generates>(
    ranks: &Ranks,
    loaded: &Loaded<G>,
    points: bool,
    splits: &Splits,
    features: Option<&Features>,
    request: &EvalRequest,
    printer: Printer,
) -> Result<Report, Failure> {
    check_samples(request.sample.count, request.sample.batch, points, splits.schema())?;
    if loaded.run.data.is_molecules() && features.is_none() {
        printer.note("no Fr\u{e9}chet ChemNet distance without ChemNet's weights; `pushforward eval --help` says where they come from (--features)");
    }
    let mut bar = crate::progress::StageBar::new(printer);
    let mut progress = |stage: &str, done: usize, total: usize| {
        bar.update(stage, done, total);
        !interrupted()
    };
    let order = loaded.run.eval.ngram_order;
    let spread = Loaded { model: Spread { model: &loaded.model, ranks }, run: loaded.run.clone() };
    let result = metrics_for(&loaded.run.data, splits, features, order, &mut progress)
        .and_then(|metrics| evaluate(&spread, splits, metrics.as_ref(), request, &mut progress));
    bar.finish();
    let mut report = result.map_err(eval_failure)?;
    report.remarks.iter().for_each(|remark| printer.warn(remark));
    report.remarks.extend(splits.refusals().map(|refusals| format!("data: {refusals}")));
    Ok(report)
}

fn eval_failure(error: EvalError) -> Failure {
    match error {
        EvalError::Interrupted => Failure::Run(error.into()),
        _ => Failure::Request(error.into()),
    }
}

/// The recipe's evaluation of a model of images.
fn image_eval_request(eval: &EvalConfig, seed: u64, batch: usize) -> ImageEvalRequest {
    let (images, draws, samples) = (eval.images, eval.draws, eval.samples);
    let drawings = eval.nfe.iter().map(|&nfe| Drawing::Jumps(nfe)).collect();
    ImageEvalRequest { images, draws, samples, seed, batch, drawings, density: Density::default() }
}

/// How latents are drawn from a flow map.
fn drawing(sampler: Option<SamplerName>, nfe: usize) -> Result<Drawing, Failure> {
    match sampler {
        None | Some(SamplerName::Map) => Ok(Drawing::Jumps(nfe)),
        Some(SamplerName::Euler) => Ok(Drawing::Euler(nfe)),
        Some(_) => Err(Failure::request("latents are drawn with --sampler map or euler")),
    }
}

/// Runs an evaluation of a model of images with its progress on stderr.
fn measure_images(
    loaded: &Loaded<TrainedAef>,
    splits: &ContinuousSplits,
    features: Option<&Features>,
    request: &ImageEvalRequest,
    printer: Printer,
) -> Result<Report, Failure> {
    check_samples(request.samples, request.batch, false, &loaded.run.schema)?;
    let mut bar = crate::progress::StageBar::new(printer);
    let result = evaluate_images(loaded, splits, features, request, &mut |stage, done, total| {
        bar.update(stage, done, total);
        !interrupted()
    });
    bar.finish();
    result.map_err(eval_failure)
}
