//! The commands for latents, for autoencoders of categorical data.

use std::path::Path;

use pushforward::flow_map::sample::{LabelChoice, Samples};
use pushforward::metrics::interval;
use pushforward::metrics::report::{Report, Row};
use pushforward::run::{Loaded, TrainedCategoricalAef, items, site_shape};
use pushforward::tensor::to_host;

use super::images::{TEST_ITEMS, in_batches};
use super::load_data;
use crate::args::{DecodeArgs, EncodeArgs, InterpolateArgs, ReconstructArgs, RunDataArgs, SourceArgs};
use crate::codes::{Codes, Origin};
use crate::exit::{Failure, OrFail as _};
use crate::image_files::{Format, Target};
use crate::item_files;
use crate::output::{self, Labelled};
use crate::printer::Printer;

type Autoencoder = Loaded<TrainedCategoricalAef>;

/// Items of a file, or of the test split with its name and hash.
struct Items {
    ids: Vec<u32>,
    names: Vec<String>,
    reference: Option<(String, String)>,
}

impl Items {
    fn of(loaded: &Autoencoder, source: &SourceArgs, printer: Printer) -> Result<Self, Failure> {
        if source.how.resize.is_some() {
            return Err(Failure::request("--resize is for autoencoders of images"));
        }
        match &source.images {
            Some(path) => {
                let ids = item_files::read(path, &loaded.run.schema, source.items.unwrap_or(usize::MAX))?;
                let count = ids.len() / loaded.run.schema.sites;
                Ok(Self { ids, names: (0..count).map(|i| format!("item-{i:05}")).collect(), reference: None })
            }
            None => Self::of_test(loaded, source.items.unwrap_or(TEST_ITEMS), &source.how.data, printer),
        }
    }

    fn of_test(loaded: &Autoencoder, most: usize, data: &RunDataArgs, printer: Printer) -> Result<Self, Failure> {
        let splits = load_data(&loaded.run, data, printer)?;
        let ids = items(splits.test.as_ref(), most);
        let names = (0..ids.len() / loaded.run.schema.sites).map(|i| format!("test-{i:05}")).collect();
        Ok(Self { ids, names, reference: Some((splits.name + "/test", splits.sha256)) })
    }
}

/// Samples that no network was evaluated for.
fn samples(loaded: &Autoencoder, ids: Vec<u32>) -> Samples {
    let sites = site_shape(&loaded.run.schema);
    Samples { nfe: vec![0; ids.len() / sites.count], ids, endpoints: Vec::new(), sites }
}

fn put(out: Option<&Path>, loaded: &Autoencoder, ids: Vec<u32>, printer: Printer) -> Result<(), Failure> {
    output::put(out, labelled(&samples(loaded, ids)), &loaded.run.schema, printer)
}

fn labelled(samples: &Samples) -> Labelled<'_> {
    Labelled { samples, labels: &LabelChoice::Hidden, names: &[], first: 0, seed: 0, condition: None, given: None }
}

fn whole(sizes: &[f32]) -> Vec<usize> {
    sizes.iter().map(|size| size.round().max(0.0) as usize).collect()
}

pub(super) fn encode(args: &EncodeArgs, loaded: &Autoencoder, printer: Printer) -> Result<(), Failure> {
    let target = Target::of(&args.out, &[Format::Safetensors, Format::Jsonl, Format::Stdout])?;
    let found = Items::of(loaded, &args.source, printer)?;
    let (model, sites) = (&loaded.model, loaded.run.schema.sites);
    let mut codes = Codes::default();
    in_batches(found.names.len(), args.source.how.batch, printer, |range| {
        let part = &found.ids[range.start * sites..range.end * sites];
        let (z, base) = model.encode(part).or_request()?;
        codes.z.extend(z);
        codes.z0.extend(base);
        codes.sizes.extend(model.sizes_of(part).into_iter().map(|size| size as f32));
        Ok(())
    })?;
    if codes.z.iter().chain(&codes.z0).any(|v| !v.is_finite()) {
        return Err(Failure::Run(anyhow::anyhow!("a code is not finite: the model has diverged")));
    }
    codes.origin = Origin { names: found.names, checkpoint_sha256: loaded.run.sha256.clone() };
    match target.format {
        Format::Safetensors => target.write(&codes.to_bytes()?, printer),
        Format::Stdout => {
            printer.result(codes.jsonl(false).trim_end());
            Ok(())
        }
        _ => target.write(codes.jsonl(false).as_bytes(), printer),
    }
}

pub(super) fn decode(args: &DecodeArgs, loaded: &Autoencoder, printer: Printer) -> Result<(), Failure> {
    args.out.as_deref().map_or(Ok(()), |path| output::check_target(path, &loaded.run.schema))?;
    let d = loaded.model.config.latent;
    let codes = Codes::read(&args.codes, d, 0)?;
    let (values, base) = if codes.z.is_empty() { (&codes.z0, true) } else { (&codes.z, false) };
    let (sizes, mut ids) = (whole(&codes.sizes), Vec::new());
    in_batches(values.len() / d, args.batch, printer, |range| {
        let sizes = if sizes.is_empty() { &[][..] } else { &sizes[range.clone()] };
        ids.extend(loaded.model.decode(&values[range.start * d..range.end * d], base, sizes).or_request()?);
        Ok(())
    })?;
    put(args.out.as_deref(), loaded, ids, printer)
}

pub(super) fn reconstruct(args: &ReconstructArgs, loaded: &Autoencoder, printer: Printer) -> Result<(), Failure> {
    if args.out.as_deref() == Some(Path::new("-")) {
        return Err(Failure::request("--out - : the report goes to stdout").hint("name a file for the items"));
    }
    args.out.as_deref().map_or(Ok(()), |path| output::check_target(path, &loaded.run.schema))?;
    let found = Items::of(loaded, &args.source, printer)?;
    let (model, sites) = (&loaded.model, loaded.run.schema.sites);
    let (mut both, mut nats, mut wrong, mut same) = (Vec::new(), Vec::new(), Vec::new(), 0);
    in_batches(found.names.len(), args.source.how.batch, printer, |range| {
        let part = &found.ids[range.start * sites..range.end * sites];
        let (z, _) = model.encode(part).or_request()?;
        let again = model.decode(&z, false, &model.sizes_of(part)).or_request()?;
        nats.extend(to_host(&model.net.log_likelihood(model.net.code(part), part)).into_iter().map(|nats| -nats));
        for (item, again) in part.chunks(sites).zip(again.chunks(sites)) {
            let differ = item.iter().zip(again).filter(|(a, b)| a != b).count();
            wrong.push(differ as f64 / sites as f64);
            same += usize::from(differ == 0);
            both.extend_from_slice(item);
            both.extend_from_slice(again);
        }
        Ok(())
    })?;
    let mut report = Report::new(loaded.run.identity());
    let count = found.names.len();
    for row in [
        Row::estimate("reconstruction_nats", "nats", interval::mean(&nats)),
        Row::estimate("wrong_sites", "fraction", interval::mean(&wrong)),
        Row::estimate("same_items", "fraction", interval::fraction(same, count)),
    ] {
        report.push(match &found.reference {
            Some((name, sha256)) => row.reference(name, sha256),
            None => row,
        });
    }
    if let Some(path) = &args.out {
        let samples = samples(loaded, both);
        output::save(labelled(&samples), &loaded.run.schema, path)?;
        printer.note(&format!("{}: items and reconstructions, in turn", path.display()));
    }
    printer.report(&report, || printer.table(&report));
    Ok(())
}

pub(super) fn interpolate(args: &InterpolateArgs, loaded: &Autoencoder, printer: Printer) -> Result<(), Failure> {
    args.out.as_deref().map_or(Ok(()), |path| output::check_target(path, &loaded.run.schema))?;
    if args.deviations {
        return Err(Failure::request("this model keeps no deviations; leave --deviations out"));
    }
    let ends = [end(&args.from, loaded, args, printer)?, end(&args.to, loaded, args, printer)?].concat();
    let (_, base) = loaded.model.encode(&ends).or_request()?;
    let sizes: Vec<f32> = loaded.model.sizes_of(&ends).into_iter().map(|size| size as f32).collect();
    let between = |ends: &[f32]| -> Vec<f32> {
        let (from, to) = ends.split_at(ends.len() / 2);
        let at = |step: usize| {
            let t = step as f32 / (args.steps - 1) as f32;
            from.iter().zip(to).map(move |(a, b)| (1.0 - t) * a + t * b)
        };
        (0..args.steps).flat_map(at).collect()
    };
    let ids = loaded.model.decode(&between(&base), true, &whole(&between(&sizes))).or_request()?;
    put(args.out.as_deref(), loaded, ids, printer)
}

/// One end: the number of an item of the test split, or a file with one item.
fn end(text: &str, loaded: &Autoencoder, args: &InterpolateArgs, printer: Printer) -> Result<Vec<u32>, Failure> {
    let (path, sites) = (Path::new(text), loaded.run.schema.sites);
    if path.exists() {
        let ids = item_files::read(path, &loaded.run.schema, 2)?;
        let one = ids.len() == sites;
        return if one { Ok(ids) } else { Err(Failure::request(format!("{text} holds more than one item"))) };
    }
    let Ok(index) = text.parse::<usize>() else {
        return Err(Failure::request(format!("{text} is neither a file nor the number of an item")));
    };
    let Items { ids, names, .. } = Items::of_test(loaded, usize::MAX, &args.images.data, printer)?;
    if index >= names.len() {
        return Err(Failure::request(format!("there is no item {index} in a test split of {}", names.len())));
    }
    Ok(ids[index * sites..(index + 1) * sites].to_vec())
}
