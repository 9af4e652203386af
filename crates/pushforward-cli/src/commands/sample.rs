//! `pushforward sample`

use std::path::{Path, PathBuf};

use pushforward::aef::model::DrawRequest;
use pushforward::data::tables::TableFile;
use pushforward::data::{Layout, Schema};
use pushforward::flow_map::backbone::EndpointNet as _;
use pushforward::flow_map::sample::{LabelChoice, LastStep, ObservedRow, SampleRequest};
use pushforward::flow_map::time::TimeGrid;
use pushforward::hash::sha256;
use pushforward::run::{
    Conditional, Loaded, Model, TrainedAef, TrainedCategoricalAef, TrainedFlowMap, drawn_together, own_items,
};

use super::{drawing, load_model, refuse, sampler};
use crate::args::{DeviceArgs, SampleArgs, SamplerArgs, SamplerName};
use crate::conditions::{conditioned, labels, say_fixed};
use crate::constraints::Constraints;
use crate::exit::{Failure, OrFail as _};
use crate::image_files::{IMAGES, Images, Target};
use crate::interrupt::interrupted;
use crate::memory::check_samples;
use crate::output::{self, Labelled};
use crate::printer::Printer;
use crate::progress::StageBar;
use crate::ranks::{join_pixels, team};
use crate::shards::{Part, hash_of, part};

pub(crate) fn run(args: &SampleArgs, printer: Printer) -> Result<(), Failure> {
    let loaded = load_model(&args.model, args.sampler.raw, &args.device, printer)?;
    let (Some(shard), Some(whole)) = (args.shard, &args.out) else { return draw(args, loaded, printer) };
    let file = shard.file(whole)?;
    let items = part(args.shard, args.count, args.sampler.batch)?;
    if args.constraints.wanted.is_some() {
        // Rows are drawn until enough fulfil the condition: which ones these are depends on all before them.
        return Err(Failure::request("--shard is not for rows under --where").hint("draw all of them at once"));
    }
    let part = Part {
        shard,
        model: loaded.run.sha256.clone(),
        settings: settings(args)?,
        count: args.count,
        items: items.clone(),
        heading: 0,
        sha256: String::new(),
    };
    let schema = loaded.run.schema.clone();
    let first = args.first + items.start as u64;
    let own = SampleArgs { count: items.len(), first, out: Some(file.clone()), ..args.clone() };
    draw(&own, loaded, printer)?;
    let bytes = std::fs::read(&file).map_err(|e| Failure::Run(anyhow::anyhow!("{}: {e}", file.display())))?;
    Part { heading: heading(&file, &schema, &bytes), sha256: sha256([bytes]), ..part }.save(&file)
}

/// What decides the items of a request, and not where and by how many threads they are drawn. Files count by their content.
fn settings(args: &SampleArgs) -> Result<String, Failure> {
    let mut settings = SampleArgs {
        shard: None,
        out: None,
        model: PathBuf::new(),
        device: DeviceArgs { threads: None, ..args.device.clone() },
        ..args.clone()
    };
    settings.where_file = settings.where_file.as_deref().map(hash_of).transpose()?;
    settings.constraints.mask = settings.constraints.mask.as_deref().map(hash_of).transpose()?;
    Ok(format!("{settings:?}"))
}

/// Bytes at the beginning of a file of items that name its columns.
fn heading(file: &Path, schema: &Schema, bytes: &[u8]) -> usize {
    let ending = file.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    match &schema.layout {
        Layout::Columns(table) if ["csv", "txt"].contains(&ending) => table.heading().map_or(0, |text| text.len() + 1),
        Layout::Columns(_) => 0,
        _ if ending == "csv" => bytes.iter().position(|&byte| byte == b'\n').map_or(bytes.len(), |at| at + 1),
        _ => 0,
    }
}

/// Draws the items of a request.
fn draw(args: &SampleArgs, loaded: Loaded, printer: Printer) -> Result<(), Failure> {
    match loaded.model {
        Model::Aef(_) => images(args, &loaded.aef("draw images").or_request()?, printer),
        Model::CategoricalAef(_) => decoded(args, &loaded.categorical_aef("draw samples").or_request()?, printer),
        _ => items(args, loaded.flow_map("draw samples").or_request()?, printer),
    }
}

/// Images of an autoencoder.
fn images(args: &SampleArgs, loaded: &Loaded<TrainedAef>, printer: Printer) -> Result<(), Failure> {
    let SamplerArgs { sampler, temperature, tolerance, gamma, seed, batch, diagonal_noise, correct, .. } = args.sampler;
    let mapped = loaded.model.net.prior_map().is_some();
    let options = [
        ("--nfe", args.nfe.is_some() && !mapped),
        ("--grid", args.grid.is_some()),
        ("--draw", args.draw),
        ("--nodes", args.nodes.is_some()),
        ("--length", args.length.is_some()),
        ("--diagonal-noise", diagonal_noise),
        ("--correct", correct),
        ("--sampler", sampler.is_some() && !mapped),
        ("--gamma", gamma.is_some()),
        ("--tolerance", tolerance.is_some()),
        ("what samples keep or are told", !args.constraints.is_empty() || !args.condition.is_empty()),
    ];
    refuse(&options, "flow maps", loaded)?;
    let target = args.out.as_deref().map(|path| Target::of(path, IMAGES)).transpose()?;
    let shape = loaded.model.shape;
    let request = DrawRequest {
        count: args.count,
        first: args.first,
        temperature: temperature.unwrap_or(1.0),
        deviations: !args.mean,
        seed,
        batch,
        drawing: drawing(sampler, args.nfe.unwrap_or(1))?,
        choices: args.likeliest.unwrap_or(1),
    };
    check_samples(args.count, batch, false, &loaded.run.schema)?;
    let mut bar = StageBar::new(printer);
    let own = own_items(&team(), args.count, batch);
    let own = DrawRequest { count: own.len(), first: args.first + own.start as u64, ..request };
    let mut progress = |done| {
        bar.update("images", done, own.count);
        !interrupted()
    };
    let pixels = join_pixels(|| loaded.model.draw(&own, &mut progress).or_request());
    bar.finish();
    let pixels = pixels?;
    let drawn = pixels.len() / shape.numel();
    if drawn < args.count {
        return Err(Failure::Run(anyhow::anyhow!("interrupted after {drawn} of {} images", args.count)));
    }
    if !team().is_first() {
        return Ok(());
    }
    let names: Vec<String> = (args.first..).take(drawn).map(|i| format!("sample-{i:05}")).collect();
    Images { pixels: &pixels, shape, names: &names, sequence: false }.put(target, printer)?;
    let kind = if args.mean { "mean images, without deviations" } else { "images with deviations" };
    printer.note(&format!("{drawn} {kind}, temperature {}, seed {seed}", request.temperature));
    Ok(())
}

/// The rows of a file as what the model is told.
fn given_rows(path: &Path, loaded: &Loaded<TrainedFlowMap>) -> Result<(TableFile, Vec<ObservedRow>), Failure> {
    let Layout::Columns(table) = &loaded.run.schema.layout else {
        return Err(Failure::request("--where-file is for models of tables"));
    };
    if !loaded.model.config.condition.takes_any_subset() {
        return Err(Failure::request("--where-file is for models that are told any columns")
            .hint("train with model.condition.kind = observed, or give one condition by --where"));
    }
    let file = TableFile::read(path, table).or_request()?;
    let told: Result<Vec<ObservedRow>, _> = (0..file.rows()).map(|row| file.encode(row, table)).collect();
    let told = told.or_request()?;
    Ok((file, told))
}

/// Says how many rows were drawn to keep those that fulfil the conditions.
fn say_conditional(found: &Conditional, printer: Printer) {
    let (kept, drawn, closed) = (found.samples.nfe.len(), found.drawn, found.closed);
    if drawn > kept {
        printer.note(&format!("{kept} of {drawn} drawn rows fulfil the conditions"));
    }
    if closed > 0 {
        printer.note(&format!(
            "{closed} of them by closing classes, since hardly any row fulfils the conditions: their other columns follow the \
             model's law only in part"
        ));
    }
}

/// Items of an autoencoder of categorical data.
fn decoded(args: &SampleArgs, loaded: &Loaded<TrainedCategoricalAef>, printer: Printer) -> Result<(), Failure> {
    let SamplerArgs { tolerance, diagonal_noise, .. } = args.sampler;
    let theirs = [
        ("--mean", args.mean),
        ("--grid", args.grid.is_some()),
        ("--nodes", args.nodes.is_some()),
        ("--length", args.length.is_some()),
        ("--where-file", args.where_file.is_some()),
        ("--diagonal-noise", diagonal_noise),
        ("--tolerance", tolerance.is_some()),
        ("what samples keep or are told", !args.constraints.is_empty() || !args.condition.is_empty()),
    ];
    refuse(&theirs, "other models", loaded)?;
    let schema = &loaded.run.schema;
    args.out.as_deref().map_or(Ok(()), |path| output::check_target(path, schema))?;
    let request = SampleRequest {
        sampler: sampler(&args.sampler)?,
        first: args.first,
        batch: args.sampler.batch,
        temperature: args.sampler.temperature.unwrap_or(1.0),
        endpoints: false,
        correct: args.sampler.correct,
        last: if args.draw { LastStep::Draw } else { LastStep::Argmax },
        ..SampleRequest::map(args.count, args.nfe.unwrap_or(1), args.sampler.seed)
    };
    check_samples(args.count, args.sampler.batch, true, schema)?;
    let mut bar = StageBar::new(printer);
    let samples = drawn_together(&team(), &request, |own| {
        loaded.model.sample_likeliest(own, args.likeliest.unwrap_or(1), &mut |done| {
            bar.update("samples", done, own.count);
            !interrupted()
        })
    });
    bar.finish();
    let samples = samples.or_request()?;
    let names = loaded.run.label_names();
    let labelled = Labelled {
        samples: &samples,
        labels: &LabelChoice::Hidden,
        names: &names,
        first: request.first,
        seed: request.seed,
        condition: None,
        given: None,
    };
    put(args, labelled, schema, printer)
}

/// Writes or prints items.
fn put(args: &SampleArgs, labelled: Labelled<'_>, schema: &Schema, printer: Printer) -> Result<(), Failure> {
    let Labelled { samples, seed, .. } = labelled;
    if samples.nfe.len() < args.count {
        return Err(Failure::Run(anyhow::anyhow!("interrupted after {} of {} items", samples.nfe.len(), args.count)));
    }
    if !team().is_first() {
        return Ok(());
    }
    output::put(args.out.as_deref(), labelled, schema, printer)?;
    let adaptive = if args.sampler.sampler == Some(SamplerName::Dopri5) { " on average" } else { "" };
    printer.note(&format!(
        "{} items, {} network evaluations each{adaptive}, seed {seed}",
        samples.nfe.len(),
        (samples.mean_nfe() * 10.0).round() / 10.0,
    ));
    Ok(())
}

/// Items of a flow map.
fn items(args: &SampleArgs, loaded: Loaded<TrainedFlowMap>, printer: Printer) -> Result<(), Failure> {
    refuse(&[("--mean", args.mean), ("--likeliest", args.likeliest.is_some())], "autoencoders", &loaded)?;
    args.out.as_deref().map_or(Ok(()), |path| output::check_target(path, &loaded.run.schema))?;
    let method = sampler(&args.sampler)?;
    let grid = match &args.grid {
        Some(times) => TimeGrid::new(times.clone()),
        None => method.grid(args.nfe.unwrap_or(1)),
    };
    let grid = grid.map_err(Failure::request)?;
    let (loaded, mut observed) = conditioned(&args.condition, loaded, printer)?;
    let given = args.where_file.as_deref().map(|path| given_rows(path, &loaded)).transpose()?;
    if let Some((_, told)) = &given {
        observed.clone_from(told);
    }
    let mut constraints = Constraints::of(&args.constraints, &loaded.run.schema)?;
    constraints.make_room(&observed, &loaded.run.schema)?;
    say_fixed(&loaded.model, constraints.closed(&loaded.run.schema)?.as_ref(), printer);
    let sizes = constraints.sizes_with(args.nodes, args.length, &loaded.run.schema)?;
    let request = SampleRequest {
        sampler: method,
        grid,
        kept: args.grid.is_none(),
        count: args.count,
        first: args.first,
        batch: args.sampler.batch,
        seed: args.sampler.seed,
        temperature: args.sampler.temperature.unwrap_or(1.0),
        constraint: constraints.constraint,
        part: constraints.part,
        correct: args.sampler.correct,
        told_sizes: Vec::new(),
        labels: labels(&args.condition, &loaded.run)?,
        observed,
        guidance: args.condition.guidance,
        endpoints: args
            .out
            .as_ref()
            .is_some_and(|path| path.extension().is_some_and(|e| e.eq_ignore_ascii_case("safetensors"))),
        last: if args.draw { LastStep::Draw } else { LastStep::Argmax },
        sizes,
        diagonal_noise: args.sampler.diagonal_noise,
    };
    // A condition on rows leaves out some of the items, and with them their labels.
    let request = if constraints.wanted.is_some() { request } else { loaded.model.checked(&request).or_request()? };
    if matches!(request.labels, LabelChoice::Drawn(_)) {
        printer.note("labels are drawn as often as the training data have them (--label none hides them)");
    }
    let points = request.endpoints || loaded.model.net.factored().is_none();
    let together = if request.endpoints { args.count } else { args.sampler.batch };
    check_samples(args.count, together, points, &loaded.run.schema)?;
    let mut bar = StageBar::new(printer);
    let mut progress = |done| {
        bar.update("samples", done, args.count);
        !interrupted()
    };
    let samples = match &constraints.wanted {
        Some(wanted) => loaded.model.sample_given(&request, &wanted.weights, &mut progress).map(|found| {
            say_conditional(&found, printer);
            found.samples
        }),
        None => drawn_together(&team(), &request, |own| loaded.model.sample(own, &mut progress)),
    };
    bar.finish();
    let samples = samples.or_request()?;
    let condition = constraints.wanted.as_ref().map(|wanted| &wanted.condition);
    let given = given.as_ref().map(|(file, _)| file);
    let names = loaded.run.label_names();
    let labelled = Labelled {
        samples: &samples,
        labels: &request.labels,
        names: &names,
        first: request.first,
        seed: request.seed,
        condition,
        given,
    };
    put(args, labelled, &loaded.run.schema, printer)
}
