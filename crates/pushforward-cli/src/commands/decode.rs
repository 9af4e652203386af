//! `pushforward decode`

use pushforward::aef::AefModel;
use pushforward::burn::tensor::Tensor;
use pushforward::run::{Model, TrainedAef};

use super::images::{in_batches, numbers, tensor};
use super::{latents, load_model};
use crate::args::DecodeArgs;
use crate::codes::Codes;
use crate::exit::{Failure, OrFail as _};
use crate::image_files::{IMAGES, Images, Target};
use crate::printer::Printer;

pub(crate) fn run(args: &DecodeArgs, printer: Printer) -> Result<(), Failure> {
    let loaded = load_model(&args.model, args.raw, &args.device, printer)?;
    if matches!(loaded.model, Model::CategoricalAef(_)) {
        return latents::decode(args, &loaded.categorical_aef("decode items").or_request()?, printer);
    }
    let loaded = loaded.aef("decode images").or_request()?;
    let target = args.out.as_deref().map(|path| Target::of(path, IMAGES)).transpose()?;
    let TrainedAef { config, net, shape, .. } = &loaded.model;
    let shape = *shape;
    let d = if matches!(net, AefModel::Flow(_)) { shape.numel() } else { config.latent };
    let m = net.deviations(shape.numel(), d);
    let codes = Codes::read(&args.codes, d, m)?;
    let made_by = &codes.origin.checkpoint_sha256;
    if !made_by.is_empty() && *made_by != loaded.run.sha256 {
        printer.warn(&format!(
            "{} was encoded by another checkpoint: these are not the images it came from",
            args.codes.display()
        ));
    }
    let exact = !args.no_deviations && !codes.deviations.is_empty();
    let mut out = Vec::new();
    in_batches(codes.origin.names.len(), args.batch, printer, |range| {
        let rows = |values: &[f32], width: usize| -> Tensor<2> {
            tensor(net, values[range.start * width..range.end * width].to_vec(), width)
        };
        let z = if codes.z.is_empty() { net.from_base(rows(&codes.z0, d)) } else { rows(&codes.z, d) };
        out.extend(numbers(&net.decode(z, exact.then(|| rows(&codes.deviations, m)))));
        Ok(())
    })?;
    Images { pixels: &out, shape, names: &codes.origin.names, sequence: false }.put(target, printer)?;
    printer.note(&format!(
        "{} images {} deviations",
        codes.origin.names.len(),
        if exact { "with their" } else { "without" }
    ));
    Ok(())
}
