//! `pushforward reconstruct`

use pushforward::metrics::interval;
use pushforward::metrics::report::{Report, Row};
use pushforward::run::{Model, TrainedAef};

use super::images::{Images, check_reconstructs, in_batches, pixels, reconstructions, squared_errors};
use super::{latents, load_model};
use crate::args::ReconstructArgs;
use crate::exit::{Failure, OrFail as _};
use crate::image_files::{ROWS, Rows, Target};
use crate::printer::Printer;

pub(crate) fn run(args: &ReconstructArgs, printer: Printer) -> Result<(), Failure> {
    let how = &args.source.how;
    let loaded = load_model(&args.model, how.raw, &how.device, printer)?;
    if matches!(loaded.model, Model::CategoricalAef(_)) {
        return latents::reconstruct(args, &loaded.categorical_aef("reconstruct items").or_request()?, printer);
    }
    let loaded = loaded.aef("reconstruct images").or_request()?;
    let target = args.out.as_deref().map(|path| Target::of(path, ROWS)).transpose()?;
    let TrainedAef { net, shape, .. } = &loaded.model;
    let shape = *shape;
    check_reconstructs(net)?;
    let images = Images::of(&loaded, shape, &args.source, printer)?;
    let n = shape.numel();
    let mut rows = Rows::new(target, shape, &["originals", "reconstructions"]);
    let mut errors = Vec::with_capacity(images.len());
    in_batches(images.len(), how.batch, printer, |range| {
        let originals = pixels(&images.set, range);
        let reconstructed = reconstructions(net, &originals, n);
        errors.extend(squared_errors(&originals, &reconstructed, n));
        rows.extend(&[&originals, &reconstructed]);
        Ok(())
    })?;
    let mut report = Report::new(loaded.run.identity());
    report.push(images.reference(Row::estimate("reconstruction_mse", "squared", interval::mean(&errors))));
    rows.put(printer)?;
    printer.report(&report, || printer.table(&report));
    Ok(())
}
