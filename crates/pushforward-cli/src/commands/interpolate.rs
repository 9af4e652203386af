//! `pushforward interpolate`

use std::path::Path;

use pushforward::aef::ImageShape;
use pushforward::run::{Loaded, Model, TrainedAef};

use super::images::{Images, Wanted, in_batches, numbers, pixels, tensor};
use super::{latents, load_model};
use crate::args::{ImageArgs, InterpolateArgs};
use crate::exit::{Failure, OrFail as _};
use crate::image_files::{self, IMAGES, Target};
use crate::printer::Printer;

pub(crate) fn run(args: &InterpolateArgs, printer: Printer) -> Result<(), Failure> {
    let loaded = load_model(&args.model, args.images.raw, &args.images.device, printer)?;
    if matches!(loaded.model, Model::CategoricalAef(_)) {
        return latents::interpolate(args, &loaded.categorical_aef("interpolate between items").or_request()?, printer);
    }
    let loaded = loaded.aef("interpolate between images").or_request()?;
    let target = args.out.as_deref().map(|path| Target::of(path, IMAGES)).transpose()?;
    let TrainedAef { net, shape, .. } = &loaded.model;
    let shape = *shape;
    let mut both = end(&args.from, &loaded, shape, args, printer)?;
    both.extend(end(&args.to, &loaded, shape, args, printer)?);
    let code = net.encode(tensor(net, both, shape.numel()));
    if args.deviations && code.deviations.is_none() {
        return Err(Failure::request("this model keeps no deviations; leave --deviations out"));
    }
    let base = numbers(&net.to_base(code.z));
    let deviations = code.deviations.filter(|_| args.deviations).map(|d| numbers(&d));
    let mut out = Vec::new();
    in_batches(args.steps, args.images.batch, printer, |range| {
        let between = |ends: &[f32]| {
            let (from, to) = ends.split_at(ends.len() / 2);
            let at = |step: usize| {
                let t = step as f32 / (args.steps - 1) as f32;
                from.iter().zip(to).map(move |(a, b)| (1.0 - t) * a + t * b)
            };
            tensor(net, range.clone().flat_map(at).collect(), from.len())
        };
        out.extend(numbers(&net.decode(net.from_base(between(&base)), deviations.as_deref().map(between))));
        Ok(())
    })?;
    let names: Vec<String> = (0..args.steps).map(|step| format!("step-{step:02}")).collect();
    image_files::Images { pixels: &out, shape, names: &names, sequence: true }.put(target, printer)
}

/// Image and name of one end.
fn end(
    text: &str,
    loaded: &Loaded<TrainedAef>,
    shape: ImageShape,
    args: &InterpolateArgs,
    printer: Printer,
) -> Result<Vec<f32>, Failure> {
    let ImageArgs { resize, data, .. } = &args.images;
    let wanted = Wanted { path: None, items: Some(usize::MAX), resize: *resize, data };
    let path = Path::new(text);
    if path.exists() {
        let images = Images::load(loaded, shape, &Wanted { path: Some(path), ..wanted }, printer)?;
        if images.len() != 1 {
            return Err(Failure::request(format!("{text} holds {} images, and one is wanted", images.len()))
                .hint("name one picture"));
        }
        return Ok(pixels(&images.set, 0..1));
    }
    let Ok(index) = text.parse::<usize>() else {
        return Err(Failure::request(format!("{text} is neither a picture nor the number of an image")));
    };
    let images = Images::load(loaded, shape, &wanted, printer)?;
    if index >= images.len() {
        return Err(Failure::request(format!("there is no image {index} in a test split of {}", images.len())));
    }
    Ok(pixels(&images.set, index..index + 1))
}
