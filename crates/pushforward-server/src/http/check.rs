//! Requests as tasks: every field against its limit, before anything waits in the queue.

use pushforward::aef::model::DrawRequest;
use pushforward::flow_map::likelihood::BoundRequest;
use pushforward::flow_map::sample::{GUIDANCE, LabelChoice, LastStep, ObservedRow, SampleRequest, TEMPERATURE};
use pushforward::flow_map::steer::{Method as Steering, SmcSettings, SteerRequest};
use pushforward::flow_map::time::TimeGrid;
use pushforward::node_pairs::ABSENT;
use pushforward::reward::{Context, Spec};
use pushforward::run::without_missing;
use pushforward::transport::map::Drawing;

use super::About;
use super::answer::Failure;
use crate::body::{
    CodesBody, Constraints, ImagesBody, ImputeBody, Method, SampleBody, SamplerName, ScoreBody, SteerBody,
};
use crate::engine::Task;
use crate::items::{Constrained, Items, ToldRow};
use crate::settings::Limits;

/// Functions of rewards that read files or need another model.
const NOT_HERE: [&str; 2] = ["similar", "ngram"];
/// Images that an autoencoder draws between two looks at the clock.
const DRAWN: usize = 64;

fn within<T: PartialOrd + std::fmt::Display>(name: &str, value: T, least: T, most: T) -> Result<(), Failure> {
    if value >= least && value <= most {
        return Ok(());
    }
    Err(Failure::request(format!("`{name}` is {value}, and may be {least} to {most}")))
}

fn can(about: &About, what: &str) -> Result<(), Failure> {
    if about.info.can.iter().any(|known| known == what) {
        return Ok(());
    }
    let (name, can) = (&about.info.name, about.info.can.join(", "));
    Err(Failure::request(format!("the model {name} cannot {what}; it can {can}")))
}

fn text(name: &str, value: &str, limits: &Limits) -> Result<(), Failure> {
    within(&format!("length of {name}"), value.chars().count(), 0, limits.text)
}

fn labels(given: &[u32], about: &About, limits: &Limits) -> Result<(), Failure> {
    within("length of labels", given.len(), 0, limits.count)?;
    if let Some(label) = given.iter().find(|&&label| label as usize >= about.labels) {
        return Err(Failure::request(match about.labels {
            0 => format!("the model {} takes no labels", about.info.name),
            count => format!("the labels of the model {} are 0 to {}, found {label}", about.info.name, count - 1),
        }));
    }
    Ok(())
}

fn evaluations(total: usize, limits: &Limits) -> Result<(), Failure> {
    if total <= limits.evaluations {
        return Ok(());
    }
    let most = limits.evaluations;
    Err(Failure::request(format!("{total} network evaluations are asked for, and a request may take {most}")))
}

/// What samples keep, in the form of the library.
fn constrained(
    wanted: &Constraints,
    nodes: Option<usize>,
    about: &About,
    items: &dyn Items,
    limits: &Limits,
) -> Result<Constrained, Failure> {
    within("length of constraints.require", wanted.require.len(), 0, limits.count)?;
    let texts = [&wanted.infill, &wanted.prefix, &wanted.fix, &wanted.forbid];
    for value in texts.into_iter().flatten().chain(&wanted.require) {
        text("a constraint", value, limits)?;
    }
    if let Some(keep) = &wanted.keep {
        let (sites, classes) = (about.info.sites, about.info.classes);
        if keep.len() != sites {
            return Err(Failure::request(format!(
                "`constraints.keep` has {} sites, and items have {sites}",
                keep.len()
            )));
        }
        if let Some(class) = keep.iter().flatten().find(|&&class| class as usize >= classes) {
            return Err(Failure::request(format!("`constraints.keep` has class {class} of {classes} classes")));
        }
    }
    items.constraint(wanted, nodes, &about.schema).map_err(Failure::request)
}

/// The request of a flow map, or of an autoencoder.
pub(super) fn sample(body: &SampleBody, about: &About, items: &dyn Items, limits: &Limits) -> Result<Task, Failure> {
    can(about, "sample")?;
    within("count", body.count, 1, limits.count)?;
    within("first", body.first, 0, limits.first)?;
    within("nfe", body.nfe, 1, limits.nfe)?;
    if about.shape.is_some() {
        let theirs = [
            ("nfe", body.nfe != 1 && !about.mapped),
            ("labels", body.labels.is_some()),
            ("guidance", body.guidance != 1.0),
            ("gamma", body.gamma != 1.0),
            ("draw", body.draw),
            ("correct", body.correct),
            ("nodes", body.nodes.is_some()),
            ("constraints", body.constraints != Constraints::default()),
        ];
        if let Some((name, _)) = theirs.iter().find(|(_, given)| *given) {
            return Err(Failure::request(format!(
                "`{name}` is for flow maps, and {} is an autoencoder",
                about.info.name
            )));
        }
        within("temperature", body.temperature, 0.0, *TEMPERATURE.end())?;
        evaluations(body.count * body.nfe, limits)?;
        let drawing = match body.sampler {
            SamplerName::Map => Drawing::Jumps(body.nfe),
            SamplerName::Euler => Drawing::Euler(body.nfe),
            _ => return Err(Failure::request("latents are drawn by the samplers map and euler")),
        };
        return Ok(Task::Draw(DrawRequest {
            count: body.count,
            first: body.first,
            temperature: body.temperature,
            deviations: !body.mean,
            seed: body.seed,
            batch: limits.count.min(DRAWN),
            drawing,
            choices: 1,
        }));
    }
    if body.mean {
        return Err(Failure::request("`mean` is for autoencoders"));
    }
    within("temperature", body.temperature, *TEMPERATURE.start(), *TEMPERATURE.end())?;
    within("guidance", body.guidance, *GUIDANCE.start(), *GUIDANCE.end())?;
    labels(body.labels.as_deref().unwrap_or_default(), about, limits)?;
    let passes = if body.guidance == 1.0 { 1 } else { 2 };
    evaluations(body.count * body.nfe * passes, limits)?;
    within("gamma", body.gamma, 0.0, 1.0)?;
    if body.gamma != 1.0 && body.sampler != SamplerName::Renoise {
        return Err(Failure::request("`gamma` is for the sampler renoise"));
    }
    let sampler = body.sampler.with(body.gamma);
    let kept = constrained(&body.constraints, body.nodes, about, items, limits)?;
    if let Some(part) = kept.part.as_ref().filter(|_| about.info.told) {
        evaluations(body.count * body.nfe * passes + part.evaluations(), limits)?;
    }
    let request = SampleRequest {
        sampler,
        grid: sampler.grid(body.nfe).map_err(|error| Failure::request(error.to_string()))?,
        count: body.count,
        first: body.first,
        temperature: body.temperature,
        last: if body.draw { LastStep::Draw } else { LastStep::Argmax },
        endpoints: false,
        correct: body.correct,
        constraint: kept.constraint,
        part: kept.part,
        labels: body.labels.clone().map_or(LabelChoice::AsTrained, LabelChoice::InTurn),
        guidance: body.guidance,
        observed: kept.observed,
        sizes: kept.sizes,
        ..SampleRequest::map(0, 1, body.seed)
    };
    Ok(Task::Sample(Box::new(request.with_label_counts(&about.label_counts))))
}

pub(super) fn steer(body: &SteerBody, about: &About, items: &dyn Items, limits: &Limits) -> Result<Task, Failure> {
    can(about, "steer")?;
    within("count", body.count, 1, limits.count)?;
    within("particles", body.particles, 1, limits.particles)?;
    within("nfe", body.nfe, 1, limits.nfe)?;
    within("temperature", body.temperature, *TEMPERATURE.start(), *TEMPERATURE.end())?;
    within("strength", body.strength, 1e-6, 1e6)?;
    labels(&body.labels, about, limits)?;
    evaluations(body.count.saturating_mul(body.particles).saturating_mul(body.nfe), limits)?;
    text("reward", &body.reward, limits)?;
    for name in NOT_HERE {
        if Spec::asks_for(&body.reward, name).map_err(|error| Failure::request(error.to_string()))? {
            return Err(Failure::request(format!("the reward `{name}` is not available in the server")));
        }
    }
    let context = Context { schema: &about.schema, data: &about.data, classifier: None, scorer: None };
    Spec::new(&body.reward, context).map_err(|error| Failure::request(error.to_string()))?;
    let kept = constrained(&body.constraints, None, about, items, limits)?;
    let method = match body.method {
        Method::BestOf => Steering::BestOf,
        Method::Resample => Steering::Resample,
        Method::Smc => Steering::Smc(SmcSettings::default()),
    };
    let sample = SampleRequest {
        grid: TimeGrid::uniform(body.nfe),
        count: body.count,
        temperature: body.temperature,
        endpoints: false,
        constraint: kept.constraint,
        labels: body.labels.clone().into(),
        observed: kept.observed,
        sizes: kept.sizes,
        correct: body.correct,
        // One population between two looks at the clock.
        batch: body.particles,
        ..SampleRequest::map(0, 1, body.seed)
    };
    let request = SteerRequest { sample, method, particles: body.particles, keep: 1, part: None };
    Ok(Task::Steer(Box::new(request), body.reward.clone(), body.strength))
}

/// Whether every row is an item of the model; `absent` allows sites that an item does not have.
fn whole(rows: &[Vec<Option<u32>>], about: &About, most: u32, limits: &Limits) -> Result<(), Failure> {
    within("number of items", rows.len(), 1, limits.count)?;
    let sites = about.info.sites;
    if let Some(row) = rows.iter().find(|row| row.len() != sites) {
        return Err(Failure::request(format!("an item has {} sites, and those of the model have {sites}", row.len())));
    }
    match rows.iter().flatten().flatten().find(|&&class| class > most) {
        Some(class) => Err(Failure::request(format!("a site has {class}, and may have 0 to {most}"))),
        None => Ok(()),
    }
}

/// Items of a request, as rows of class indices.
fn read(
    rows: &[Vec<Option<u32>>],
    texts: &[String],
    about: &About,
    items: &dyn Items,
    limits: &Limits,
) -> Result<Vec<Vec<Option<u32>>>, Failure> {
    let mut rows = rows.to_vec();
    for value in texts {
        text("a text", value, limits)?;
        let ids = items.read(value, &about.schema).map_err(Failure::request)?;
        rows.push(ids.into_iter().map(|class| Some(class).filter(|&class| class != ABSENT)).collect());
    }
    Ok(rows)
}

/// Whole items as class indices.
fn classes(rows: Vec<Vec<Option<u32>>>, about: &About, limits: &Limits) -> Result<Vec<u32>, Failure> {
    whole(&rows, about, about.info.classes as u32 - 1, limits)?;
    let differ = ["molecule", "graph", "sequence"].contains(&about.info.kind.as_str());
    if !differ && rows.iter().flatten().any(Option::is_none) {
        return Err(Failure::request("items of this model have a class at every site"));
    }
    let broken =
        |row: &Vec<Option<u32>>| row[0].is_none() || row.windows(2).any(|two| two[0].is_none() && two[1].is_some());
    if about.info.kind == "sequence" && rows.iter().any(broken) {
        return Err(Failure::request("a sequence has a letter at the first site, and none after the first `null`"));
    }
    Ok(rows.into_iter().flatten().map(|class| class.unwrap_or(ABSENT)).collect())
}

pub(super) fn score(body: &ScoreBody, about: &About, items: &dyn Items, limits: &Limits) -> Result<Task, Failure> {
    can(about, "score")?;
    within("draws", body.draws, 1, limits.draws)?;
    if body.items.is_empty() == body.texts.is_empty() {
        return Err(Failure::request("give `items` or `texts`, one of the two"));
    }
    let rows = read(&body.items, &body.texts, about, items, limits)?;
    evaluations(rows.len().saturating_mul(body.draws), limits)?;
    if about.shape.is_some() {
        whole(&rows, about, 255, limits)?;
        let levels = rows.iter().flatten().map(|level| level.and_then(|level| u8::try_from(level).ok()));
        let levels: Option<Vec<u8>> = levels.collect();
        let levels = levels.ok_or_else(|| Failure::request("images have a level at every site"))?;
        return Ok(Task::Densities(levels, body.draws, body.seed));
    }
    let ids = classes(rows, about, limits)?;
    Ok(Task::Bound(ids, BoundRequest { draws: body.draws, seed: body.seed, ..BoundRequest::default() }))
}

/// The request, and of a table the rows that were given.
pub(super) fn impute(
    body: &ImputeBody,
    about: &About,
    items: &dyn Items,
    limits: &Limits,
) -> Result<(Task, Vec<ToldRow>), Failure> {
    can(about, "impute")?;
    within("nfe", body.nfe, 1, limits.nfe)?;
    if body.items.is_empty() == body.rows.is_empty() {
        return Err(Failure::request("give `items` or `rows`, one of the two"));
    }
    let count = body.items.len() + body.rows.len();
    evaluations(count.saturating_mul(body.nfe), limits)?;
    let request = SampleRequest { endpoints: false, ..SampleRequest::map(count, body.nfe, body.seed) };
    if body.rows.is_empty() {
        whole(&body.items, about, about.info.classes as u32 - 1, limits)?;
        // Missing sites are drawn, so that several fillings of one item differ.
        let request = SampleRequest { observed: body.items.clone(), last: LastStep::Draw, ..request };
        return Ok((Task::Sample(Box::new(request)), Vec::new()));
    }
    within("number of rows", count, 1, limits.count)?;
    let rows = body.rows.iter().map(|row| items.row(row, &about.schema)).collect::<Result<Vec<_>, _>>();
    let rows = rows.map_err(Failure::request)?;
    let constraint = without_missing(&about.schema).map_err(|error| Failure::request(error.to_string()))?;
    let observed: Vec<ObservedRow> = rows.iter().map(|row| row.classes.clone()).collect();
    Ok((Task::Sample(Box::new(SampleRequest { observed, constraint: Some(constraint), ..request })), rows))
}

fn levels(body: &ImagesBody, about: &About, limits: &Limits) -> Result<Vec<u8>, Failure> {
    if !body.items.is_empty() || !body.texts.is_empty() {
        return Err(Failure::request("this model takes `images`"));
    }
    within("number of images", body.images.len(), 1, limits.count)?;
    let sites = about.info.sites;
    if let Some(image) = body.images.iter().find(|image| image.len() != sites) {
        return Err(Failure::request(format!(
            "an image has {} numbers, and those of the model have {sites}",
            image.len()
        )));
    }
    Ok(body.images.concat())
}

/// Items of a model of categorical data; images are for others.
fn of_items(body: &ImagesBody, about: &About, items: &dyn Items, limits: &Limits) -> Result<Vec<u32>, Failure> {
    if !body.images.is_empty() || body.items.is_empty() == body.texts.is_empty() {
        return Err(Failure::request("give `items` or `texts`, one of the two: this model is not of grey levels"));
    }
    classes(read(&body.items, &body.texts, about, items, limits)?, about, limits)
}

pub(super) fn encode(body: &ImagesBody, about: &About, items: &dyn Items, limits: &Limits) -> Result<Task, Failure> {
    can(about, "encode")?;
    match about.shape {
        Some(_) => Ok(Task::Encode(levels(body, about, limits)?)),
        None => Ok(Task::EncodeItems(of_items(body, about, items, limits)?)),
    }
}

pub(super) fn reconstruct(
    body: &ImagesBody,
    about: &About,
    items: &dyn Items,
    limits: &Limits,
) -> Result<Task, Failure> {
    can(about, "reconstruct")?;
    match about.shape {
        Some(_) => Ok(Task::Reconstruct(levels(body, about, limits)?)),
        None => Ok(Task::ReconstructItems(of_items(body, about, items, limits)?)),
    }
}

pub(super) fn decode(body: &CodesBody, about: &About, limits: &Limits) -> Result<Task, Failure> {
    can(about, "decode")?;
    within("number of codes", body.codes.len(), 1, limits.count)?;
    let width = about.info.latent.unwrap_or_default();
    if let Some(code) = body.codes.iter().find(|code| code.len() != width) {
        return Err(Failure::request(format!(
            "a code has {} numbers, and those of the model have {width}",
            code.len()
        )));
    }
    if body.codes.iter().flatten().any(|value| !value.is_finite() || value.abs() > 1e6) {
        return Err(Failure::request("numbers of codes lie within -1e6 and 1e6"));
    }
    match about.shape {
        Some(_) if !body.sizes.is_empty() => Err(Failure::request("`sizes` are for items that differ in size")),
        Some(_) => Ok(Task::Decode(body.codes.concat(), body.base)),
        None => Ok(Task::DecodeItems(body.codes.concat(), body.base, body.sizes.clone())),
    }
}
