//! Evaluation of models of continuous images: likelihood, reconstruction error and distances of samples.
//!
//! Bits per dim are those of uniformly dequantised 8-bit images, exact or importance-sampled as the estimator of the
//! row says, and in expectation never below the true value. The published objective of the expansion is reported beside
//! them under its own name, because it is not a likelihood.

use crate::aef::marginal::{MarginalRequest, estimator, is_exact};
use crate::aef::model::DrawRequest;
use crate::aef::{AefModel, AefObjective, LossKind};
use crate::classifier::{self, Classifier};
use crate::data::images::continuous::quantize;
use crate::data::{ContinuousImages, ContinuousSplits, ExampleKey};
use crate::metrics::bits_per_dim::bits_per_dim_dequantised;
use crate::metrics::frechet::{Moments, frechet, kid, too_few};
use crate::metrics::interval::{self, Estimate};
use crate::metrics::report::{Report, Row};
use crate::nn::SiteShape;
use crate::rng::{Purpose, stream};
use crate::run::evaluate::flow_map::dtype;
use crate::run::evaluate::request::{EvalError, Features, Progress};
use crate::run::evaluate::volume;
use crate::run::held_out::REFERENCE_ITEMS;
use crate::run::model::Loaded;
use crate::run::trained::RequestError;
use crate::run::trained::TrainedAef;
use crate::run::trained::TrainedClassifier;
use crate::tensor::to_host;
use crate::transport::density::Density;
use crate::transport::map::Drawing;

/// Intensity levels of a pixel.
const LEVELS: usize = 256;

/// Settings of an evaluation of images.
#[derive(Clone, Debug)]
pub struct ImageEvalRequest {
    /// Number of held-out images whose log-density and reconstruction error are measured.
    pub images: usize,
    /// Importance samples per image, for models without an exact log-density.
    pub draws: usize,
    /// Number of samples that are compared with held-out images.
    pub samples: usize,
    /// Seed of everything random.
    pub seed: u64,
    /// Images computed together.
    pub batch: usize,
    /// How latents are drawn from a flow map as the prior, one set of samples each; other priors have one way.
    pub drawings: Vec<Drawing>,
    /// Density of a flow map as the prior.
    pub density: Density,
}

/// Evaluates a model of continuous images on the test split. `features`, a classifier of the same images, adds Fréchet
/// and kernel distances of samples.
///
/// # Errors
/// See [`EvalError`].
pub fn evaluate_images(
    loaded: &Loaded<TrainedAef>,
    splits: &ContinuousSplits,
    features: Option<&Features>,
    request: &ImageEvalRequest,
    progress: &mut Progress<'_>,
) -> Result<Report, EvalError> {
    let TrainedAef { net, shape, .. } = &loaded.model;
    if splits.test.shape() != [shape.channels, shape.height, shape.width] {
        let problem = format!("the model is of {shape} images and the data are {:?}", splits.test.shape());
        return Err(RequestError(problem).into());
    }
    if request.batch == 0 {
        return Err(RequestError("`batch`, the number of images computed together, is at least 1".into()).into());
    }
    let mut report = Report::new(loaded.run.identity());
    let measured = measure(loaded, splits, request, progress)?;
    measured.rows(loaded, splits, request).into_iter().for_each(|row| report.push(row));
    volume::rows(net.prior_map(), request.seed).into_iter().for_each(|row| report.push(row));
    if let Some(features) = features
        && net.generates()
        && request.samples > 0
    {
        for row in distances(loaded, splits, features.classifier()?, request, progress)? {
            report.push(row);
        }
    }
    Ok(report)
}

/// Measurements of held-out images, image by image; empty where the model has none.
#[derive(Default)]
struct Measured {
    /// Negative log-densities, nats.
    nll: Vec<f64>,
    /// Standard errors of importance-sampled log-densities, nats.
    log_density_errors: Vec<f64>,
    /// Mean squared errors of reconstructions.
    squared_errors: Vec<f64>,
    /// The published objective of the expansion, nats.
    extended_nll: Vec<f64>,
    /// The objective of a model with a flow map as the prior, nats.
    negative_elbo: Vec<f64>,
}

impl ImageEvalRequest {
    fn marginal(&self) -> MarginalRequest {
        MarginalRequest { draws: self.draws, seed: self.seed, density: self.density, ..MarginalRequest::default() }
    }
}

/// Measures the first held-out images.
fn measure(
    loaded: &Loaded<TrainedAef>,
    splits: &ContinuousSplits,
    request: &ImageEvalRequest,
    progress: &mut Progress<'_>,
) -> Result<Measured, EvalError> {
    let TrainedAef { config, net, .. } = &loaded.model;
    let count = request.images.min(splits.test.len());
    let marginal = request.marginal();
    let mut measured = Measured::default();
    for start in (0..count).step_by(request.batch) {
        let items = request.batch.min(count - start);
        let pixels = held_out(&splits.test, start, items);
        if has_density(net) {
            let found = loaded.model.log_densities(&pixels, start as u64, &marginal)?;
            measured.nll.extend(found.values.iter().map(|v| -v));
            measured.log_density_errors.extend(found.errors);
        }
        let x = net.images(&pixels, items);
        let images = net.prepare(x.clone());
        let mut noise = stream(request.seed, Purpose::Validation, start as u64);
        let loss = AefObjective { latent: config.latent }.of(net, &images, &mut noise);
        if loss.kind == LossKind::ExtendedNll {
            measured.extended_nll.extend(to_host(&loss.values));
        }
        if net.prior_map().is_some() {
            measured.negative_elbo.extend(to_host(&loss.values));
        }
        if !matches!(net, AefModel::Flow(_)) {
            let miss = net.decode(net.encode(x.clone()).z, None) - x;
            measured.squared_errors.extend(to_host(&(miss.clone() * miss).mean_dim(1).squeeze_dim::<1>(1)));
        }
        if !progress("likelihood", start + items, count) {
            return Err(EvalError::Interrupted);
        }
    }
    Ok(measured)
}

/// A deterministic autoencoder has none.
fn has_density(net: &AefModel) -> bool {
    !matches!(net, AefModel::Autoencoder(_))
}

impl Measured {
    /// The rows of a report.
    fn rows(&self, loaded: &Loaded<TrainedAef>, splits: &ContinuousSplits, request: &ImageEvalRequest) -> Vec<Row> {
        let net = &loaded.model.net;
        let reference = format!("{}/test", splits.name);
        let row = |name: &str, unit: &str, estimate: Estimate| {
            Row::estimate(name, unit, estimate).reference(&reference, &splits.sha256)
        };
        let mut rows = Vec::new();
        if has_density(net) {
            let estimator = estimator(net, &request.marginal());
            let nll = interval::mean(&self.nll);
            let bits = nll.map(|nats| bits_per_dim_dequantised(nats, loaded.model.shape.numel(), LEVELS));
            for row in [row("bits_per_dim", "bits/dim", bits), row("nll", "nats", nll)] {
                rows.push(row.seed(request.seed).dtype(dtype(&loaded.model.device)).estimator(&estimator));
            }
            if !is_exact(net) {
                let error = interval::mean(&self.log_density_errors);
                rows.push(row("log_density_error", "nats", error).estimator(&estimator));
            }
        }
        for (name, unit, values) in [
            ("extended_nll", "nats", &self.extended_nll),
            ("negative_elbo", "nats", &self.negative_elbo),
            ("reconstruction_mse", "squared", &self.squared_errors),
        ] {
            if !values.is_empty() {
                rows.push(row(name, unit, interval::mean(values)));
            }
        }
        rows
    }
}

/// Held-out images `start..start + items`, dequantised.
fn held_out(images: &ContinuousImages, start: usize, items: usize) -> Vec<f32> {
    images.batch(&(start..start + items).map(|i| ExampleKey::fixed(0, i)).collect::<Vec<_>>())
}

/// Fréchet and kernel distances between samples and held-out images, with deviations and without.
fn distances(
    loaded: &Loaded<TrainedAef>,
    splits: &ContinuousSplits,
    features: &Loaded<TrainedClassifier>,
    request: &ImageEvalRequest,
    progress: &mut Progress<'_>,
) -> Result<Vec<Row>, EvalError> {
    let shape = loaded.model.shape;
    let refuse = || EvalError::Features(features.run.path.display().to_string());
    let net = &features.model.net;
    if net.grid() != [shape.height, shape.width] || shape.channels != 1 {
        return Err(refuse());
    }
    let sites = SiteShape::image([shape.height, shape.width], LEVELS);
    let describe = |net: &Classifier, ids: &[u32]| classifier::features(net, ids, sites.clone(), request.batch);
    let count = splits.test.len().min(REFERENCE_ITEMS);
    let truth: Vec<u32> = (0..count).flat_map(|i| splits.test.raw().image(i).iter().map(|&p| u32::from(p))).collect();
    let truth = describe(net, &truth);
    let moments = Moments::of(&truth, net.width());
    let mut rows = Vec::new();
    let drawings = if loaded.model.net.prior_map().is_some() { &request.drawings[..] } else { &[Drawing::default()] };
    let sets = drawings.iter().flat_map(|&drawing| [(drawing, true, "samples"), (drawing, false, "mean images")]);
    for (drawing, deviations, name) in sets {
        let draw = DrawRequest {
            count: request.samples,
            first: 0,
            temperature: 1.0,
            deviations,
            seed: request.seed,
            batch: request.batch,
            drawing,
            choices: 1,
        };
        let pixels = loaded.model.draw(&draw, &mut |done| progress(name, done, request.samples))?;
        if pixels.len() < request.samples * shape.numel() {
            return Err(EvalError::Interrupted);
        }
        // NaN pixels, which a model that has diverged draws, count as black.
        let ids: Vec<u32> = pixels.iter().map(|&x| u32::from(quantize(x))).collect();
        let drawn = describe(net, &ids);
        let sampler = match drawing {
            Drawing::Euler(_) => format!("{name} (euler)"),
            Drawing::Jumps(_) => name.to_owned(),
        };
        let nfe = loaded.model.net.prior_map().map(|_| drawing.evaluations() as u32);
        let few = too_few(request.samples, count);
        let distance = |of: &dyn Fn() -> f64, metric: &str| match &few {
            Some(reason) => Row::without_value(metric, "squared", reason.clone()),
            None => Row::new(metric, "squared", of()),
        };
        let frechet = || frechet(&Moments::of(&drawn, net.width()), &moments);
        let kid = || kid(&drawn, &truth, net.width());
        let scorer = format!("{} step {}", features.run.name, features.run.step);
        let reference = (format!("{}/test", splits.name), splits.sha256.as_str());
        for row in [distance(&frechet, "frechet"), distance(&kid, "kid")] {
            let row = row.n(request.samples).seed(request.seed).dtype(dtype(&loaded.model.device));
            rows.push(
                Row { sampler: Some(sampler.clone()), nfe, ..row }
                    .scorer(&scorer, &features.run.sha256)
                    .reference(&reference.0, reference.1),
            );
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;
    use std::path::Path;

    use burn::tensor::Device;

    use super::*;
    use crate::run::{Data, Recipe, TrainOptions, train};

    #[test]
    fn no_images_computed_together_are_an_error() {
        let text = "name = 'tiny'\ndata = { set = 'glyphs' }\n[model]\nfamily = 'aef'\nvariant = 'center'\nlatent = 2\n\
                    network = { kind = 'mlp', width = 4 }";
        let recipe: Recipe = Recipe::parse(text, "tiny", &["train.steps=1".into()]).unwrap();
        let data = Data::load(&recipe, Path::new("unused")).unwrap();
        let options = TrainOptions::new(Device::flex());
        let trained = train(&recipe, &data, options, &mut |_| ControlFlow::Continue(())).unwrap();
        let loaded = trained.loaded.aef("evaluate").unwrap();
        let Data::Continuous(splits) = &data else { panic!("an autoencoder is trained on continuous images") };
        let (drawings, density) = (vec![Drawing::default()], Density::default());
        let request = ImageEvalRequest { images: 3, draws: 1, samples: 0, seed: 0, batch: 2, drawings, density };
        let names = |request: &ImageEvalRequest| {
            let report = evaluate_images(&loaded, splits, None, request, &mut |_, _, _| true)?;
            Ok::<_, EvalError>(report.rows.into_iter().map(|row| row.metric).collect::<Vec<_>>())
        };
        assert_eq!(names(&request).unwrap(), ["bits_per_dim", "nll", "reconstruction_mse"]);
        let error = names(&ImageEvalRequest { batch: 0, ..request }).unwrap_err().to_string();
        assert!(error.contains("`batch`, the number of images computed together, is at least 1"), "{error}");
    }
}
