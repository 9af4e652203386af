//! `pushforward score`

use std::ops::Range;
use std::path::PathBuf;

use pushforward::aef::AefModel;
use pushforward::aef::marginal::MarginalRequest;
use pushforward::data::{Layout, Schema};
use pushforward::flow_map::likelihood::{BoundRequest, ItemNoise};
use pushforward::hash::sha256;
use pushforward::metrics::{bits_per_dim, interval};
use pushforward::node_pairs::ABSENT;
use pushforward::run::{Loaded, Model, RunInfo, TrainedAef, TrainedCategoricalAef, TrainedFlowMap, items};
use pushforward::transport::density::Density;

use super::estimators::{estimator, of_the_prior};
use super::images::{Images, TEST_ITEMS, Wanted, in_batches_of, pixels};
use super::score_rows::score_rows;
use super::{load_data, load_model, refuse};
use crate::args::{DeviceArgs, ScoreArgs};
use crate::conditions::told_sites;
use crate::exit::{Failure, OrFail as _};
use crate::image_files::{Format, Target};
use crate::item_files;
use crate::output;
use crate::printer::Printer;
use crate::ranks::{join_numbers, team};
use crate::shards::{Part, hash_of, part};

/// Items scored together.
const BATCH: usize = 32;
/// Intensity levels of a pixel.
const LEVELS: usize = 256;

/// Results for every item of the request, or of a part of it.
pub(super) struct Scores {
    /// The items, of so many.
    pub(super) items: Range<usize>,
    pub(super) of: usize,
    pub(super) names: Vec<String>,
    /// `-log p`, or a bound of it.
    pub(super) nats: Vec<f64>,
    /// Standard errors of an estimate; `None` where the draws do not tell it.
    pub(super) errors: Option<Vec<Option<f64>>>,
    pub(super) estimator: String,
    /// Description of the numbers for the user.
    pub(super) meaning: String,
    pub(super) unit: &'static str,
    /// Number of dimensions or characters of every item.
    pub(super) sizes: Vec<usize>,
    /// Of rows of a table, bits of every column given all others.
    pub(super) columns: Option<Columns>,
    /// Converts nats of a number of dimensions or characters to the unit.
    pub(super) convert: fn(f64, usize) -> f64,
}

/// How little the columns of rows fit the rest of their row.
pub(super) struct Columns {
    pub(super) names: Vec<String>,
    /// Bits of every column given all others, row by row.
    pub(super) bits: Vec<f64>,
}

/// Columns of a row that are shown.
const SHOWN: usize = 3;

impl Columns {
    fn of(&self, row: usize) -> impl Iterator<Item = (&str, f64)> {
        let bits = &self.bits[row * self.names.len()..(row + 1) * self.names.len()];
        self.names.iter().map(String::as_str).zip(bits.iter().copied())
    }

    /// The columns that fit a row least.
    fn least_likely(&self, row: usize) -> String {
        let mut columns: Vec<(&str, f64)> = self.of(row).collect();
        columns.sort_by(|a, b| b.1.total_cmp(&a.1));
        let shown = columns.iter().take(SHOWN).map(|(name, bits)| format!("{name} {bits:.1}"));
        shown.collect::<Vec<_>>().join(", ")
    }
}

pub(crate) fn run(args: &ScoreArgs, printer: Printer) -> Result<(), Failure> {
    let file = match (args.shard, &args.out) {
        (Some(shard), Some(whole)) => Some(shard.file(whole)?),
        _ => args.out.clone(),
    };
    let target = file.as_deref().map(|path| Target::of(path, &[Format::Jsonl])).transpose()?;
    let loaded = load_model(&args.model, false, &args.device, printer)?;
    let (scores, run) = match loaded.model {
        Model::Aef(_) => {
            let loaded = loaded.aef("score images").or_request()?;
            (score_images(args, &loaded, printer)?, loaded.run)
        }
        Model::CategoricalAef(_) => {
            let loaded = loaded.categorical_aef("score items").or_request()?;
            (score_decoded(args, &loaded, printer)?, loaded.run)
        }
        _ => {
            let loaded = loaded.flow_map("score items").or_request()?;
            (score_items(args, &loaded, printer)?, loaded.run)
        }
    };
    if !team().is_first() {
        return Ok(());
    }
    report(args, &run, &scores, target, printer)?;
    let (Some(shard), Some(file)) = (args.shard, file) else { return Ok(()) };
    let bytes = std::fs::read(&file).map_err(|e| Failure::Run(anyhow::anyhow!("{}: {e}", file.display())))?;
    let (model, settings, items) = (run.sha256.clone(), settings(args)?, scores.items);
    Part { shard, model, settings, count: scores.of, items, heading: 0, sha256: sha256([bytes]) }.save(&file)
}

/// What decides the scores of a request, and not where and by how many threads they are computed. A file counts by its content.
fn settings(args: &ScoreArgs) -> Result<String, Failure> {
    let device = DeviceArgs { threads: None, ..args.device.clone() };
    let mut settings = ScoreArgs { shard: None, out: None, json: false, model: PathBuf::new(), device, ..args.clone() };
    if let Some(path) = args.file.as_deref().filter(|path| path.is_file()) {
        settings.file = Some(hash_of(path)?);
    }
    Ok(format!("score {settings:?}"))
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
    // The rate of all items together: of texts that differ in length, longer ones count more.
    let sizes: Vec<f64> = scores.sizes.iter().map(|&size| size as f64).collect();
    let value = interval::ratio_of_sums(&scores.nats, &sizes).map(|rate| (scores.convert)(rate, 1));
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
            let columns = scores.columns.as_ref().map_or(String::new(), |of| format!("  [{}]", of.least_likely(i)));
            text += &format!("{nats:10.3}{error} nats {:8.4} {unit}  {}{columns}\n", scores.value(i), scores.names[i]);
        }
        let interval = value.ci95.filter(|ends| ends.iter().all(|end| end.is_finite()));
        let interval = interval.map_or("-".to_owned(), |[low, high]| format!("[{low:.4}, {high:.4}]"));
        let (meaning, n) = (&scores.meaning, scores.nats.len());
        text + &format!("mean over {n} items: {:.4} nats, {:.4} {unit} {interval}: {meaning}", mean.value, value.value)
    });
    Ok(())
}

/// Standard errors of importance-sampled densities from here on are saturated: where one draw outweighs all others, the estimate of the error is 1
/// whatever the error is.
const SATURATED: f64 = 0.99;

impl Scores {
    /// An item's number in the unit of the scores.
    fn value(&self, i: usize) -> f64 {
        // Of an item whose letters are all told nothing is left.
        if self.sizes[i] == 0 { 0.0 } else { (self.convert)(self.nats[i], self.sizes[i]) }
    }

    /// The standard error of an item; `None` if the draws do not tell it.
    fn error(&self, i: usize) -> Option<f64> {
        self.errors.as_ref().and_then(|errors| errors[i])
    }

    fn item(&self, i: usize) -> serde_json::Value {
        let nats = self.nats[i];
        let mut item = serde_json::json!({"name": self.names[i], "nats": nats, "value": self.value(i)});
        if self.errors.is_some() {
            item["standard_error"] = self.error(i).into();
        }
        if let Some(columns) = &self.columns {
            item["bits"] = columns.of(i).map(|(name, bits)| (name.to_owned(), serde_json::Value::from(bits))).collect();
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
    refuse(&[("--given", args.given.is_some())], "flow maps", loaded)?;
    let (request, estimator, how) = estimator(args, loaded, net)?;
    let (path, items, resize) = (args.file.as_deref(), args.items, args.resize);
    let images = Images::load(loaded, shape, &Wanted { path, items, resize, data: &args.data }, printer)?;
    let (mut nats, mut errors) = (Vec::with_capacity(images.len()), Vec::with_capacity(images.len()));
    // The error of a bound is that of a mean, and can be of any size.
    let bound = loaded.model.net.prior_map().is_some() && matches!(request.density, Density::Bound { .. });
    let largest = if bound { f64::INFINITY } else { SATURATED };
    let (items, of) = (part(args.shard, images.len(), BATCH)?, images.len());
    in_batches_of(items.clone(), BATCH, printer, |range| {
        let first = range.start as u64;
        let found = loaded.model.log_densities(&pixels(&images.set, range), first, &request).or_request()?;
        nats.extend(found.values.iter().map(|v| -v));
        errors.extend(found.errors);
        Ok(())
    })?;
    join_numbers(&mut nats)?;
    join_numbers(&mut errors)?;
    let (n, count) = (shape.numel(), items.len());
    Ok(Scores {
        names: images.names[items.clone()].to_vec(),
        items,
        of,
        nats,
        errors: Some(errors.into_iter().map(|error| Some(error).filter(|error| *error < largest)).collect()),
        meaning: format!("-log p of uniformly dequantised images, {how}"),
        estimator,
        unit: "bits/dim",
        sizes: vec![n; count],
        columns: None,
        convert: |nats, n| bits_per_dim::bits_per_dim_dequantised(nats, n, LEVELS),
    })
}

/// Fewest and most draws of an item that are chosen without --draws.
const DRAWS: [usize; 2] = [32, 512];
/// Items that tell how many draws are needed.
const PILOT: usize = 16;
/// Largest standard error of an item, relative to the deviation between items, that is aimed at.
const DECIDED: f64 = 0.25;

/// The sites of an item that are told, none of them without `--given`.
pub(super) fn told(args: &ScoreArgs, loaded: &Loaded<TrainedFlowMap>) -> Result<Vec<bool>, Failure> {
    let Some(text) = &args.given else { return Ok(Vec::new()) };
    if !loaded.model.config.condition.takes_any_subset() {
        return Err(Failure::request("--given is for models that are told any sites")
            .hint("train with model.condition.kind = observed"));
    }
    told_sites(text, &loaded.run.schema)
}

/// The request of the bound. The number of draws is the same for all items: a number that followed the errors of each
/// would make the mean too low, because an item whose rare large terms were not drawn seems certain.
fn bound_request(
    args: &ScoreArgs,
    loaded: &Loaded<TrainedFlowMap>,
    ids: &[u32],
    told: &[bool],
) -> Result<BoundRequest, Failure> {
    let [fewest, most] = DRAWS;
    let draws = args.draws.unwrap_or(fewest);
    let request = BoundRequest { draws, seed: args.seed, noise: ItemNoise::Content, ..BoundRequest::default() };
    let sites = loaded.run.schema.sites;
    let pilot = &ids[..ids.len().min(PILOT * sites)];
    if args.draws.is_some() || pilot.len() < 2 * sites {
        return Ok(request);
    }
    let of_pilot = BoundRequest { observed: told.repeat(pilot.len() / sites), ..request.clone() };
    let found = loaded.model.bound(pilot, 0, &of_pilot).or_request()?;
    let mean = |values: &[f64]| interval::mean(values).value;
    let (variance, centre) = (mean(&found.errors.iter().map(|e| e * e).collect::<Vec<_>>()), mean(&found.values));
    let between = mean(&found.values.iter().map(|v| (v - centre).powi(2)).collect::<Vec<_>>()) - variance;
    // The variance of an estimate falls with the number of draws.
    let factor = if between > 0.0 { variance / (DECIDED * DECIDED * between) } else { f64::INFINITY };
    let wanted = (draws as f64 * factor).min(most as f64) as usize;
    Ok(BoundRequest { draws: wanted.next_power_of_two().clamp(fewest, most), ..request })
}

/// Share of neighbours in the order of the values that differ by less than the standard error of their difference.
fn undecided(values: &[f64], errors: &[f64]) -> f64 {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
    let close =
        order.windows(2).filter(|pair| values[pair[0]] - values[pair[1]] < errors[pair[0]].hypot(errors[pair[1]]));
    close.count() as f64 / (values.len().max(2) - 1) as f64
}

fn score_items(args: &ScoreArgs, loaded: &Loaded<TrainedFlowMap>, printer: Printer) -> Result<Scores, Failure> {
    let given = [
        ("--estimator", args.estimator.is_some()),
        ("--noise-scale", args.noise_scale.is_some()),
        ("--resize", args.resize.is_some()),
        ("--density", args.density.is_some()),
    ];
    refuse(&given, "autoencoders", loaded)?;
    let schema = &loaded.run.schema;
    if let Layout::Columns(table) = &schema.layout
        && loaded.model.config.condition.takes_any_subset()
    {
        return score_rows(args, loaded, table, printer);
    }
    let ids = match &args.file {
        Some(path) => item_files::read(path, schema, args.items.unwrap_or(usize::MAX))?,
        None => {
            let splits = load_data(&loaded.run, &args.data, printer)?;
            items(splits.test.as_ref(), args.items.unwrap_or(TEST_ITEMS))
        }
    };
    let told = told(args, loaded)?;
    let request = bound_request(args, loaded, &ids, &told)?;
    let (mut nats, mut errors, sites) = (Vec::new(), Vec::new(), schema.sites);
    let of = ids.len() / sites;
    let items = part(args.shard, of, BATCH)?;
    in_batches_of(items.clone(), BATCH, printer, |range| {
        let part = &ids[range.start * sites..range.end * sites];
        let request = BoundRequest { observed: told.repeat(range.len()), ..request.clone() };
        let found = loaded.model.bound(part, range.start as u64, &request).or_request()?;
        nats.extend(found.values);
        errors.extend(found.errors);
        Ok(())
    })?;
    join_numbers(&mut nats)?;
    join_numbers(&mut errors)?;
    let undecided = undecided(&nats, &errors);
    if args.sort && undecided > 0.1 {
        printer.warn(&format!(
            "{:.0} % of neighbours in this order differ by less than the standard error of their difference: raise \
             --draws (now {}) for an order that does not depend on the seed",
            100.0 * undecided,
            request.draws
        ));
    }
    let estimator = format!("importance-r-{}", request.draws);
    if told.is_empty() {
        return Ok(of_items((&ids, items, of), schema, (nats, errors), estimator, "upper bound of -log p".into()));
    }
    // Of sequences, the length is given too.
    let length_nats: Vec<f64> = match &schema.layout {
        Layout::Sequence(sequence) => {
            ids.chunks(sites).skip(items.start).map(|item| sequence.length_nats(sequence.length_of(item))).collect()
        }
        _ => Vec::new(),
    };
    nats.iter_mut().zip(length_nats).for_each(|(nats, of_length)| *nats -= of_length);
    let meaning = "upper bound of -log p of the other sites given those that are told".to_owned();
    let left = |item: &[u32]| {
        let open = item.iter().zip(&told).filter(|(_, told)| !**told).map(|(id, _)| *id);
        match &schema.layout {
            Layout::Text { vocabulary } => vocabulary.characters_of(&open.collect::<Vec<u32>>()),
            Layout::Sequence(_) => open.filter(|id| *id != ABSENT).count(),
            _ => open.count(),
        }
    };
    let sizes = ids[items.start * sites..items.end * sites].chunks(sites).map(left).collect();
    Ok(Scores { sizes, ..of_items((&ids, items, of), schema, (nats, errors), estimator, meaning) })
}

/// Items of an autoencoder of categorical data.
fn score_decoded(
    args: &ScoreArgs,
    loaded: &Loaded<TrainedCategoricalAef>,
    printer: Printer,
) -> Result<Scores, Failure> {
    let mapped = loaded.model.net.map.is_some();
    let theirs = [
        ("--estimator", args.estimator.is_some()),
        ("--noise-scale", args.noise_scale.is_some()),
        ("--resize", args.resize.is_some()),
    ];
    refuse(&theirs, "autoencoders of images", loaded)?;
    refuse(&[("--given", args.given.is_some())], "flow maps", loaded)?;
    let (schema, draws) = (&loaded.run.schema, args.draws.unwrap_or(loaded.run.eval.draws));
    let density = args.density.unwrap_or_default();
    let request = MarginalRequest { draws, density, seed: args.seed, ..MarginalRequest::default() };
    let ids = match &args.file {
        Some(path) => item_files::read(path, schema, args.items.unwrap_or(usize::MAX))?,
        None => items(load_data(&loaded.run, &args.data, printer)?.test.as_ref(), args.items.unwrap_or(TEST_ITEMS)),
    };
    let (mut nats, mut errors, sites) = (Vec::new(), Vec::new(), schema.sites);
    let of = ids.len() / sites;
    let items = part(args.shard, of, BATCH)?;
    in_batches_of(items.clone(), BATCH, printer, |range| {
        let part = &ids[range.start * sites..range.end * sites];
        let found = loaded.model.log_densities(part, range.start as u64, &request).or_request()?;
        nats.extend(found.values.iter().map(|v| -v));
        errors.extend(found.errors);
        Ok(())
    })?;
    join_numbers(&mut nats)?;
    join_numbers(&mut errors)?;
    let (estimator, meaning) = match density {
        Density::Bound { .. } => (format!("elbo-{draws}"), "upper bound of -log p".to_owned()),
        _ => {
            let prior = loaded.model.net.map.as_ref().map(|map| of_the_prior(map, density, draws));
            let suffix = if mapped { format!("-{}", density.name()) } else { String::new() };
            let prior = prior.map_or(String::new(), |prior| format!("; prior: {prior}"));
            let meaning = format!("-log p by {draws} draws, in expectation an upper bound{prior}");
            (format!("importance-{draws}{suffix}"), meaning)
        }
    };
    Ok(of_items((&ids, items, of), schema, (nats, errors), estimator, meaning))
}

/// Scores of items in the unit of their kind.
fn of_items(
    (ids, items, of): (&[u32], Range<usize>, usize),
    schema: &Schema,
    (mut nats, errors): (Vec<f64>, Vec<f64>),
    estimator: String,
    meaning: String,
) -> Scores {
    let sites = schema.sites;
    let ids = &ids[items.start * sites..items.end * sites];
    let (unit, sizes) = match &schema.layout {
        Layout::Text { vocabulary } => {
            ("bits/char", ids.chunks(sites).map(|item| vocabulary.characters_of(item)).collect())
        }
        Layout::Sequence(sequence) => {
            let lengths: Vec<usize> = ids.chunks(sites).map(|item| sequence.length_of(item)).collect();
            nats.iter_mut().zip(&lengths).for_each(|(nats, &n)| *nats += sequence.length_nats(n));
            ("bits/letter", lengths)
        }
        Layout::Image { .. } | Layout::Table | Layout::Columns(_) | Layout::Graph(_) => {
            ("bits/dim", vec![sites; nats.len()])
        }
    };
    let names = match schema.layout {
        Layout::Image { .. } => items.clone().map(|i| format!("item {i}")).collect(),
        Layout::Text { .. } | Layout::Table | Layout::Columns(_) | Layout::Graph(_) | Layout::Sequence(_) => {
            output::lines(ids, schema)
        }
    };
    Scores {
        items,
        of,
        names,
        nats,
        errors: Some(errors.into_iter().map(|error| Some(error).filter(|error| error.is_finite())).collect()),
        estimator,
        meaning,
        unit,
        sizes,
        columns: None,
        convert: bits_per_dim::bits_per_dim,
    }
}
