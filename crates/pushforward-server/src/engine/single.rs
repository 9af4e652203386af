//! Requests that are computed by themselves: steering, scores, images and codes.

use pushforward::aef::AefModel;
use pushforward::aef::marginal::{MarginalRequest, is_exact};
use pushforward::burn::tensor::Tensor;
use pushforward::data::{Layout, Schema};
use pushforward::flow_map::sample::SampleRequest;
use pushforward::flow_map::steer::{Reward as _, SteerRequest};
use pushforward::ranks::Ranks;
use pushforward::reward::{Context, Spec};
use pushforward::run::{Loaded, Model, RequestError, RunInfo, Steers, TrainedAef};
use pushforward::tensor::to_host;

use super::job::{Event, Job, Refusal, Task};

/// Items whose score is computed between two looks at the client.
const TOGETHER: usize = 8;

/// Computes a request and sends its parts.
pub(super) fn compute(loaded: &Loaded, job: &Job) -> Result<(), Refusal> {
    match (&loaded.model, &job.task) {
        (model, Task::Steer(request, reward, strength)) if let Some(model) = model.steers() => {
            steer(model, &loaded.run, request, (reward, *strength), job)
        }
        (Model::CategoricalAef(model), Task::Sample(request)) => {
            let samples = model.sample(request, &mut |_| goes_on(job)).map_err(refused)?;
            if samples.nfe.len() < request.count {
                return Err(Refusal::Late);
            }
            job.send(Event::Items { ids: samples.ids, nfe: samples.nfe });
            Ok(())
        }
        (Model::CategoricalAef(model), Task::Bound(ids, request)) => {
            let request = MarginalRequest { draws: request.draws, seed: request.seed, ..MarginalRequest::default() };
            let estimator = "-log p, importance-sampled: an upper bound in expectation";
            scores(ids, &model.schema, estimator, job, |part, first| {
                let found = model.log_densities(part, first, &request)?;
                Ok((found.values.into_iter().map(|value| -value).collect(), found.errors))
            })
        }
        (Model::CategoricalAef(model), Task::EncodeItems(ids)) => {
            let (z, base) = model.encode(ids).map_err(refused)?;
            let sizes = model.sizes_of(ids);
            job.send(Event::Codes { z: finite(z)?, base: finite(base)?, width: model.config.latent, sizes });
            Ok(())
        }
        (Model::CategoricalAef(model), Task::DecodeItems(codes, base, sizes)) => {
            let ids = model.decode(codes, *base, sizes).map_err(refused)?;
            job.send(Event::Items { nfe: vec![0; ids.len() / model.schema.sites], ids });
            Ok(())
        }
        (Model::CategoricalAef(model), Task::ReconstructItems(ids)) => {
            let (z, _) = model.encode(ids).map_err(refused)?;
            let ids = model.decode(&z, false, &model.sizes_of(ids)).map_err(refused)?;
            job.send(Event::Items { nfe: vec![0; ids.len() / model.schema.sites], ids });
            Ok(())
        }
        (Model::FlowMap(model), Task::Bound(ids, request)) => {
            scores(ids, &model.schema, "upper bound of -log p", job, |part, first| {
                let found = model.bound(part, first, request)?;
                Ok((found.values, found.errors))
            })
        }
        (Model::Aef(model), Task::Draw(request)) => {
            let pixels = model.draw(request, &mut |_| goes_on(job)).map_err(refused)?;
            if pixels.len() < request.count * model.shape.numel() {
                return Err(Refusal::Late);
            }
            job.send(Event::Pixels { pixels, errors: Vec::new() });
            Ok(())
        }
        (Model::Aef(model), Task::Densities(levels, draws, seed)) => densities(model, levels, (*draws, *seed), job),
        (Model::Aef(model), Task::Encode(levels)) => {
            let z = model.net.encode(images(model, levels)).z;
            let width = z.dims()[1];
            let base = numbers(&model.net.to_base(z.clone()))?;
            job.send(Event::Codes { z: numbers(&z)?, base, width, sizes: Vec::new() });
            Ok(())
        }
        (Model::Aef(model), Task::Decode(codes, base)) => {
            let z = model.net.images(codes, codes.len() / latent(model));
            let z = if *base { model.net.from_base(z) } else { z };
            job.send(Event::Pixels { pixels: numbers(&model.net.decode(z, None))?, errors: Vec::new() });
            Ok(())
        }
        (Model::Aef(model), Task::Reconstruct(levels)) => {
            let z = model.net.encode(images(model, levels)).z;
            let pixels = numbers(&model.net.decode(z, None))?;
            let (n, originals) = (model.shape.numel(), pixels_of(levels));
            let error = |(a, b): (&[f32], &[f32])| {
                a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>() / n as f64
            };
            let errors = pixels.chunks(n).zip(originals.chunks(n)).map(error).collect();
            job.send(Event::Pixels { pixels, errors });
            Ok(())
        }
        _ => Err(Refusal::Request("this model cannot do that".into())),
    }
}

fn goes_on(job: &Job) -> bool {
    job.wanted() && !job.late()
}

fn refused(error: impl std::fmt::Display) -> Refusal {
    Refusal::Request(error.to_string())
}

fn steer(
    model: &dyn Steers,
    run: &RunInfo,
    request: &SteerRequest,
    (reward, strength): (&str, f64),
    job: &Job,
) -> Result<(), Refusal> {
    let context = Context { schema: &run.schema, data: &run.data, classifier: None, scorer: None };
    let plain = Spec::new(reward, context).map_err(refused)?;
    let spec = Spec::new(reward, context).map_err(refused)?.times(strength);
    let before = SampleRequest { endpoints: false, ..request.sample.clone() };
    let before = model.plain(&before, &mut |_| goes_on(job)).map_err(refused)?;
    let steered = model.steered(request, &spec, &Ranks::alone(), &mut |done| {
        job.send(Event::Progress(done));
        goes_on(job)
    });
    if !goes_on(job) {
        return Err(Refusal::Late);
    }
    let steered = steered.map_err(refused)?;
    if let Some(error) = &steered.stopped {
        return Err(refused(error));
    }
    let rewards = |ids: &[u32]| plain.score(ids).map_err(refused);
    let before = (before.ids.clone(), rewards(&before.ids)?);
    let after = (steered.samples.ids.clone(), rewards(&steered.samples.ids)?, steered.samples.nfe);
    job.send(Event::Steered { before, after });
    Ok(())
}

/// Scores of items in parts; `of` has the nats and errors of one, given the index of its first item. Those of sequences are
/// given their lengths, whose own are added.
fn scores(
    ids: &[u32],
    schema: &Schema,
    estimator: &str,
    job: &Job,
    of: impl Fn(&[u32], u64) -> Result<(Vec<f64>, Vec<f64>), RequestError>,
) -> Result<(), Refusal> {
    let (mut nats, mut errors, sites) = (Vec::new(), Vec::new(), schema.sites);
    for (part, first) in ids.chunks(TOGETHER * sites).zip((0..).step_by(TOGETHER)) {
        if !goes_on(job) {
            return Err(Refusal::Late);
        }
        let found = of(part, first).map_err(refused)?;
        nats.extend(found.0);
        errors.extend(found.1);
        job.send(Event::Progress(nats.len()));
    }
    if let Layout::Sequence(layout) = &schema.layout {
        for (nats, item) in nats.iter_mut().zip(ids.chunks(sites)) {
            *nats += layout.length_nats(layout.length_of(item));
        }
    }
    job.send(Event::Scores { nats, errors, estimator: estimator.into() });
    Ok(())
}

fn densities(model: &TrainedAef, levels: &[u8], (draws, seed): (usize, u64), job: &Job) -> Result<(), Refusal> {
    let (mut nats, mut errors) = (Vec::new(), Vec::new());
    let pixels = pixels_of(levels);
    let request = MarginalRequest { draws, seed, ..MarginalRequest::default() };
    for (part, first) in pixels.chunks(TOGETHER * model.shape.numel()).zip((0..).step_by(TOGETHER)) {
        if !goes_on(job) {
            return Err(Refusal::Late);
        }
        let found = model.log_densities(part, first, &request).map_err(refused)?;
        nats.extend(found.values.iter().map(|value| -value));
        errors.extend(found.errors);
        job.send(Event::Progress(nats.len()));
    }
    let how = if is_exact(&model.net) { "exact" } else { "importance-sampled" };
    let estimator = format!("-log p of dequantised pixels in [0, 1], {how}");
    job.send(Event::Scores { nats, errors, estimator });
    Ok(())
}

/// Levels as the middles of their intervals.
fn pixels_of(levels: &[u8]) -> Vec<f32> {
    levels.iter().map(|&level| (f32::from(level) + 0.5) / 256.0).collect()
}

fn images(model: &TrainedAef, levels: &[u8]) -> Tensor<2> {
    model.net.images(&pixels_of(levels), levels.len() / model.shape.numel())
}

/// Numbers of a code.
pub(crate) fn latent(model: &TrainedAef) -> usize {
    if matches!(model.net, AefModel::Flow(_)) { model.shape.numel() } else { model.config.latent }
}

fn numbers(tensor: &Tensor<2>) -> Result<Vec<f32>, Refusal> {
    finite(to_host(tensor).into_iter().map(|value| value as f32).collect())
}

fn finite(values: Vec<f32>) -> Result<Vec<f32>, Refusal> {
    match values.iter().all(|value| value.is_finite()) {
        true => Ok(values),
        false => Err(Refusal::Request("the result is not finite: the input is too far from the data".into())),
    }
}
