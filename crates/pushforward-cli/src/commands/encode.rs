//! `pushforward encode`

use pushforward::run::{Model, TrainedAef};

use super::images::{Images, in_batches, numbers, pixels, tensor};
use super::{latents, load_model};
use crate::args::EncodeArgs;
use crate::codes::{Codes, Origin};
use crate::exit::{Failure, OrFail as _};
use crate::image_files::{Format, Target};
use crate::printer::Printer;

pub(crate) fn run(args: &EncodeArgs, printer: Printer) -> Result<(), Failure> {
    let how = &args.source.how;
    let loaded = load_model(&args.model, how.raw, &how.device, printer)?;
    if matches!(loaded.model, Model::CategoricalAef(_)) {
        return latents::encode(args, &loaded.categorical_aef("encode items").or_request()?, printer);
    }
    let loaded = loaded.aef("encode images").or_request()?;
    let target = Target::of(&args.out, &[Format::Safetensors, Format::Jsonl, Format::Stdout])?;
    let TrainedAef { net, shape, .. } = &loaded.model;
    let shape = *shape;
    let images = Images::of(&loaded, shape, &args.source, printer)?;
    let mut codes = Codes::default();
    in_batches(images.len(), how.batch, printer, |range| {
        let start = range.start;
        let code = net.encode(tensor(net, pixels(&images.set, range), shape.numel()));
        let z = numbers(&code.z);
        if let Some(at) = z.iter().position(|v| !v.is_finite()) {
            let name = &images.names[start + at / code.z.dims()[1]];
            return Err(Failure::Run(anyhow::anyhow!("the code of {name} is not finite: the model has diverged")));
        }
        codes.z.extend(z);
        codes.deviations.extend(code.deviations.iter().flat_map(numbers));
        codes.z0.extend(numbers(&net.to_base(code.z)));
        Ok(())
    })?;
    codes.origin = Origin { names: images.names, checkpoint_sha256: loaded.run.sha256.clone() };
    match target.format {
        Format::Safetensors => target.write(&codes.to_bytes()?, printer),
        Format::Stdout => {
            printer.result(codes.jsonl(args.deviations).trim_end());
            Ok(())
        }
        _ => target.write(codes.jsonl(args.deviations).as_bytes(), printer),
    }
}
