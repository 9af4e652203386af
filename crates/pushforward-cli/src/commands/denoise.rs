//! `pushforward denoise`

use pushforward::aef::ImageShape;
use pushforward::classifier::{Classifier, features};
use pushforward::data::images::continuous::quantize;
use pushforward::metrics::interval;
use pushforward::metrics::report::{Report, Row};
use pushforward::nn::SiteShape;
use pushforward::run::evaluate::EvalError;
use pushforward::run::{Loaded, TrainedAef, TrainedClassifier};

use super::images::{Images, check_reconstructs, in_batches, pixels, reconstructions, squared_errors};
use super::{load_classifier, load_model};
use crate::args::DenoiseArgs;
use crate::exit::{Failure, OrFail as _};
use crate::image_files::{ROWS, Rows, Target};
use crate::printer::Printer;

/// Intensity levels of a pixel.
const LEVELS: usize = 256;

/// A metric and its value for every image.
type Measure = (&'static str, Vec<f64>);

pub(crate) fn run(args: &DenoiseArgs, printer: Printer) -> Result<(), Failure> {
    if args.noise == 0.0 && args.features.is_some() {
        return Err(Failure::request("--features compares with clean images, and with --noise 0 there are none"));
    }
    let target = args.out.as_deref().map(|path| Target::of(path, ROWS)).transpose()?;
    let how = &args.source.how;
    let loaded = load_model(&args.model, how.raw, &how.device, printer)?.aef("denoise images").or_request()?;
    let TrainedAef { net, shape, .. } = &loaded.model;
    let shape = *shape;
    check_reconstructs(net)?;
    let scorer = args.features.as_ref().map(|path| load_classifier(path, &how.device, printer)).transpose()?;
    let describer = scorer.as_ref().map(|loaded| Describer::new(loaded, shape)).transpose()?;
    let images = Images::of(&loaded, shape, &args.source, printer)?;
    let n = shape.numel();
    let (measures, rows) = if args.noise == 0.0 {
        // Without added noise there is no clean image to compare with.
        let mut rows = Rows::new(target, shape, &["given", "denoised"]);
        let mut lost = Vec::new();
        in_batches(images.len(), how.batch, printer, |range| {
            let given = pixels(&images.set, range);
            let denoised = reconstructions(net, &given, n);
            lost.extend(squared_errors(&given, &denoised, n));
            rows.extend(&[&given, &denoised]);
            Ok(())
        })?;
        (vec![("reconstruction_mse", lost)], rows)
    } else {
        let (clean, noisy) = images.clean_and_noisy(args.noise, args.seed);
        let mut rows = Rows::new(target, shape, &["clean", "noisy", "denoised"]);
        let names = ["mse_noisy", "mse_denoised", "reconstruction_mse", "feature_mse_noisy", "feature_mse_denoised"];
        let mut measures: Vec<Measure> = names.iter().map(|name| (*name, Vec::new())).collect();
        in_batches(images.len(), how.batch, printer, |range| {
            let (clean, noisy) = (pixels(&clean, range.clone()), pixels(&noisy, range));
            let denoised = reconstructions(net, &noisy, n);
            measures[0].1.extend(squared_errors(&noisy, &clean, n));
            measures[1].1.extend(squared_errors(&denoised, &clean, n));
            measures[2].1.extend(squared_errors(&reconstructions(net, &clean, n), &clean, n));
            if let Some(describer) = &describer {
                let (truth, width) = (describer.features(&clean), describer.net.width());
                measures[3].1.extend(squared_errors(&describer.features(&noisy), &truth, width));
                measures[4].1.extend(squared_errors(&describer.features(&denoised), &truth, width));
            }
            rows.extend(&[&clean, &noisy, &denoised]);
            Ok(())
        })?;
        (measures, rows)
    };
    rows.put(printer)?;
    let mut report = Report::new(loaded.run.identity());
    for (metric, values) in measures.iter().filter(|(_, values)| !values.is_empty()) {
        let row = Row::estimate(metric, "squared", interval::mean(values)).seed(args.seed);
        let row = match &scorer {
            Some(f) if metric.starts_with("feature") => {
                row.scorer(&format!("{} step {}", f.run.name, f.run.step), &f.run.sha256)
            }
            _ => row,
        };
        report.push(images.reference(row));
    }
    printer.report(&report, || printer.table(&report));
    Ok(())
}

/// A classifier as a feature extractor.
struct Describer<'a> {
    net: &'a Classifier,
    sites: SiteShape,
}

impl<'a> Describer<'a> {
    fn new(loaded: &'a Loaded<TrainedClassifier>, shape: ImageShape) -> Result<Self, Failure> {
        let grid = [shape.height, shape.width];
        let net = &loaded.model.net;
        if net.grid() == grid && shape.channels == 1 {
            return Ok(Self { net, sites: SiteShape::image(grid, LEVELS) });
        }
        Err(EvalError::Features(loaded.run.path.display().to_string())).or_request()
    }

    /// Features of images in data space, image by image.
    fn features(&self, pixels: &[f32]) -> Vec<f32> {
        let ids: Vec<u32> = pixels.iter().map(|&x| u32::from(quantize(x))).collect();
        features(self.net, &ids, self.sites.clone(), LEVELS).into_iter().map(|v| v as f32).collect()
    }
}
