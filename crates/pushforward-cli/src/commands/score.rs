//! `pushforward score`

use std::path::Path;

use pushforward::aef::AefModel;
use pushforward::aef::latent::Recognition;
use pushforward::aef::marginal::{MarginalRequest, Proposal, is_exact};
use pushforward::data::images::idx::Idx;
use pushforward::data::{Layout, Schema};
use pushforward::flow_map::likelihood::BoundRequest;
use pushforward::metrics::{bits_per_dim, interval};
use pushforward::run::{Loaded, Model, RunInfo, TrainedAef, TrainedFlowMap, items};

use super::images::{Images, TEST_ITEMS, Wanted, in_batches, pixels};
use super::{load_data, load_model, refuse};
use crate::args::{EstimatorName, ScoreArgs};
use crate::exit::{Failure, OrFail as _};
use crate::image_files::{Format, Target};
use crate::output;
use crate::printer::Printer;

/// Items scored together.
const BATCH: usize = 32;
/// Intensity levels of a pixel.
const LEVELS: usize = 256;

/// Results for every item.
struct Scores {
    names: Vec<String>,
    /// `-log p`, or a bound of it.
    nats: Vec<f64>,
    /// Standard errors of an estimate.
    errors: Option<Vec<f64>>,
    estimator: String,
    /// Description of the numbers for the user.
    meaning: String,
    unit: &'static str,
    /// Converts nats to the unit.
    convert: Box<dyn Fn(f64) -> f64>,
}

pub(crate) fn run(args: &ScoreArgs, printer: Printer) -> Result<(), Failure> {
    let target = args.out.as_deref().map(|path| Target::of(path, &[Format::Jsonl])).transpose()?;
    let loaded = load_model(&args.model, false, &args.device)?;
    let (scores, run) = if matches!(loaded.model, Model::Aef(_)) {
        let loaded = loaded.aef("score images").or_request()?;
        (score_images(args, &loaded, printer)?, loaded.run)
    } else {
        let loaded = loaded.flow_map("score items").or_request()?;
        (score_items(args, &loaded, printer)?, loaded.run)
    };
    report(args, &run, &scores, target, printer)
}

/// Writes and prints the results.
fn report(
    args: &ScoreArgs,
    run: &RunInfo,
    scores: &Scores,
    target: Option<Target>,
    printer: Printer,
) -> Result<(), Failure> {
    let mut order: Vec<usize> = (0..scores.nats.len()).collect();
    if args.sort {
        order.sort_by(|&a, &b| scores.nats[b].total_cmp(&scores.nats[a]));
    }
    let items: Vec<serde_json::Value> = order.iter().map(|&i| scores.item(i)).collect();
    if let Some(target) = target {
        let lines: String = items.iter().map(|item| format!("{item}\n")).collect();
        target.write(lines.as_bytes(), printer)?;
    }
    let mean = interval::mean(&scores.nats);
    let value = mean.map(|v| (scores.convert)(v));
    let unit = scores.unit;
    let report = serde_json::json!({
        "model": run.identity(),
        "estimator": scores.estimator,
        "meaning": scores.meaning,
        "seed": args.seed,
        "mean": {"nats": mean.value, "nats_ci95": mean.ci95, "value": value.value, "ci95": value.ci95, "unit": unit},
        "items": items,
    });
    let unknown = (0..scores.nats.len()).filter(|&i| scores.errors.is_some() && scores.error(i).is_none()).count();
    if unknown > 0 {
        printer.warn(&format!(
            "{unknown} of {} items have no standard error, because one draw outweighs all others: take more --draws",
            scores.nats.len()
        ));
    }
    printer.report(&report, || {
        let mut text = String::new();
        for &i in &order {
            let nats = scores.nats[i];
            let error = match (&scores.errors, scores.error(i)) {
                (None, _) => String::new(),
                (Some(_), Some(error)) => format!(" +- {error:<8.3}"),
                (Some(_), None) => format!(" +- {:<8}", "-"),
            };
            text += &format!("{nats:10.3}{error} nats {:8.4} {unit}  {}\n", (scores.convert)(nats), scores.names[i]);
        }
        let interval = value.ci95.filter(|ends| ends.iter().all(|end| end.is_finite()));
        let interval = interval.map_or("-".to_owned(), |[low, high]| format!("[{low:.4}, {high:.4}]"));
        let (meaning, n) = (&scores.meaning, scores.nats.len());
        text + &format!("mean over {n} items: {:.4} nats, {:.4} {unit} {interval}: {meaning}", mean.value, value.value)
    });
    Ok(())
}

/// Standard errors from here on are saturated: where one draw outweighs all others, the estimate of the error is 1
/// whatever the error is.
const SATURATED: f64 = 0.99;

impl Scores {
    /// The standard error of an item; `None` if the draws do not tell it.
    fn error(&self, i: usize) -> Option<f64> {
        self.errors.as_ref().map(|errors| errors[i]).filter(|error| *error < SATURATED)
    }

    fn item(&self, i: usize) -> serde_json::Value {
        let nats = self.nats[i];
        let mut item = serde_json::json!({"name": self.names[i], "nats": nats, "value": (self.convert)(nats)});
        if self.errors.is_some() {
            item["standard_error"] = self.error(i).into();
        }
        item
    }
}

fn score_images(args: &ScoreArgs, loaded: &Loaded<TrainedAef>, printer: Printer) -> Result<Scores, Failure> {
    let TrainedAef { net, shape, .. } = &loaded.model;
    let shape = *shape;
    if matches!(net, AefModel::Autoencoder(_)) {
        return Err(Failure::request("a deterministic autoencoder has no density: use a model with one"));
    }
    let (request, estimator, how) = estimator(args, loaded, net)?;
    let (path, items, resize) = (args.file.as_deref(), args.items, args.resize);
    let images = Images::load(loaded, shape, &Wanted { path, items, resize, data_dir: &args.data.folder() })?;
    let (mut nats, mut errors) = (Vec::with_capacity(images.len()), Vec::with_capacity(images.len()));
    in_batches(images.len(), BATCH, printer, |range| {
        let first = range.start as u64;
        let found = loaded.model.log_densities(&pixels(&images.set, range), first, &request).or_request()?;
        nats.extend(found.values.iter().map(|v| -v));
        errors.extend(found.errors);
        Ok(())
    })?;
    let n = shape.numel();
    Ok(Scores {
        names: images.names,
        nats,
        errors: Some(errors),
        meaning: format!("-log p of uniformly dequantised images, {how}"),
        estimator,
        unit: "bits/dim",
        convert: Box::new(move |nats| bits_per_dim::bits_per_dim_dequantised(nats, n, LEVELS)),
    })
}

/// The requested estimator, its name, and its description.
fn estimator(
    args: &ScoreArgs,
    loaded: &Loaded<TrainedAef>,
    net: &AefModel,
) -> Result<(MarginalRequest, String, String), Failure> {
    let draws = args.draws.unwrap_or(loaded.run.eval.draws);
    let mut request = MarginalRequest { draws, seed: args.seed, ..MarginalRequest::default() };
    let given = [
        ("--estimator", args.estimator.is_some()),
        ("--noise-scale", args.noise_scale.is_some()),
        ("--draws", args.draws.is_some()),
    ];
    let AefModel::Latent(model) = net else {
        assert!(is_exact(net), "models without a density were refused");
        refuse(&given, "models without an exact density", loaded)?;
        return Ok((request, "exact".into(), "exact".into()));
    };
    let name = args.estimator.unwrap_or(EstimatorName::GaussNewton);
    if name == EstimatorName::GaussNewton && args.noise_scale.is_some() {
        return Err(Failure::request("--noise-scale is for the estimators recognition and published"));
    }
    if name == EstimatorName::Published && !matches!(model.recognition, Recognition::Expansion(_)) {
        return Err(Failure::request("the published estimator without -ln K is that of AEF-linear")
            .hint("use --estimator recognition, which a VAE was published with"));
    }
    if name != EstimatorName::GaussNewton {
        if args.noise_scale.is_none() && model.noise() == 0.0 {
            return Err(Failure::request("a model without noise recognises a single latent: give --noise-scale")
                .hint("published for 28 x 28 images, latent 2 to 32: 2, 0.1, 0.01, 0.005, 0.0005"));
        }
        request.proposal = Proposal::Recognition { noise: args.noise_scale };
        request.without_ln_k = name == EstimatorName::Published;
    }
    let (label, how) = match name {
        EstimatorName::GaussNewton => ("gauss-newton", "in expectation an upper bound"),
        EstimatorName::Recognition => ("recognition", "in expectation an upper bound"),
        EstimatorName::Published => ("published", "too low by ln K, as published"),
    };
    let how = format!("importance-sampled with {draws} draws ({label}), {how}");
    Ok((request, format!("importance-{draws}-{label}"), how))
}

fn score_items(args: &ScoreArgs, loaded: &Loaded<TrainedFlowMap>, printer: Printer) -> Result<Scores, Failure> {
    let given = [
        ("--estimator", args.estimator.is_some()),
        ("--noise-scale", args.noise_scale.is_some()),
        ("--resize", args.resize.is_some()),
    ];
    refuse(&given, "autoencoders", loaded)?;
    let schema = &loaded.run.schema;
    let ids = match &args.file {
        Some(path) => read(path, schema, args.items.unwrap_or(usize::MAX))?,
        None => {
            let splits = load_data(&loaded.run.data, &args.data.folder(), loaded.run.seed)?;
            items(splits.test.as_ref(), args.items.unwrap_or(TEST_ITEMS))
        }
    };
    let draws = args.draws.unwrap_or(32);
    let request = BoundRequest { draws, seed: args.seed, batch: 256 };
    let (mut nats, sites) = (Vec::new(), schema.sites);
    in_batches(ids.len() / sites, BATCH, printer, |range| {
        let part = &ids[range.start * sites..range.end * sites];
        nats.extend(loaded.model.bound(part, range.start as u64, &request).or_request()?);
        Ok(())
    })?;
    let (unit, per_site): (_, fn(f64, usize) -> f64) = match schema.layout {
        Layout::Text { .. } => ("bits/char", bits_per_dim::bits_per_character),
        Layout::Image { .. } | Layout::Table | Layout::Graph(_) => ("bits/dim", bits_per_dim::bits_per_dim),
    };
    let names = match schema.layout {
        Layout::Image { .. } => (0..nats.len()).map(|i| format!("item {i}")).collect(),
        Layout::Text { .. } | Layout::Table | Layout::Graph(_) => output::lines(&ids, schema),
    };
    Ok(Scores {
        names,
        nats,
        errors: None,
        estimator: format!("importance-r-{draws}"),
        meaning: "upper bound of -log p".into(),
        unit,
        convert: Box::new(move |nats| per_site(nats, sites)),
    })
}

/// Reads items from a file of the user.
fn read(path: &Path, schema: &Schema, most: usize) -> Result<Vec<u32>, Failure> {
    match &schema.layout {
        Layout::Text { vocabulary } => {
            let text =
                std::fs::read_to_string(path).map_err(|e| Failure::request(format!("{}: {e}", path.display())))?;
            let mut ids = Vec::new();
            // Blank lines are no items, and count as lines.
            for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty()).take(most) {
                let item = vocabulary
                    .encode(line)
                    .map_err(|e| Failure::request(format!("{}, line {}: {e}", path.display(), number + 1)))?;
                if item.len() != schema.sites {
                    return Err(Failure::request(format!(
                        "{}, line {}: {} symbols, the model has {}",
                        path.display(),
                        number + 1,
                        item.len(),
                        schema.sites
                    )));
                }
                ids.extend(item);
            }
            if ids.is_empty() {
                return Err(Failure::request(format!("{} holds no items", path.display())));
            }
            Ok(ids)
        }
        Layout::Image { height, width } => {
            let file = Idx::read(path).or_request()?;
            let found = file.dims.get(1..).unwrap_or_default();
            if found != [*height, *width] {
                return Err(Failure::request(format!(
                    "{} holds images of shape {found:?}, the model has {height} x {width}",
                    path.display()
                )));
            }
            let levels = schema.classes as u32;
            let pixels = file.data.iter().take(most.saturating_mul(height * width));
            Ok(pixels.map(|&v| (u32::from(v) * levels / 256).min(levels - 1)).collect())
        }
        Layout::Table | Layout::Graph(_) => {
            Err(Failure::request("items of a table or graph are scored from the test split: leave DATA out"))
        }
    }
}
