//! Training of autoencoders.

use crate::aef::config::AefConfig;
use crate::aef::marginal::{self, MarginalRequest};
use crate::aef::{AefModel, AefObjective, ImageBatch, LossKind};
use crate::data::{ContinuousSplits, EpochSampler, ExampleKey};
use crate::rng::{Purpose, stream};
use crate::run::check::{image_schema, image_shape};
use crate::run::model::Model;
use crate::run::preview::Preview;
use crate::run::train::base::{load_base, other};
use crate::run::train::error::TrainRunError;
use crate::run::train::session::Session;
use crate::run::trained::aef::preview_request;
use crate::tensor::to_host;
use crate::train::Outcome;

/// Held-out images per validation.
const VALIDATION_ITEMS: usize = 512;
/// Importance samples of a log-density in a validation.
const VALIDATION_DRAWS: usize = 16;
/// Images that initial statistics and principal components are estimated from.
const INITIAL_ITEMS: usize = 512;

/// Trains an autoencoder; the resulting model has the averaged weights of the last step, without gradients.
pub(super) fn train(
    session: &mut Session<'_>,
    splits: &ContinuousSplits,
    config: &AefConfig,
) -> Result<Outcome<AefModel>, TrainRunError> {
    let (device, seed, batch) = (session.device.clone(), session.seed, session.config.batch);
    let shape = image_shape(&image_schema(splits.train.shape()))?;
    let tracked = device.clone().autodiff();
    let mut net = config.init(shape, &tracked, &mut session.init());
    if session.resume.is_none() {
        // A single batch is too small for statistics and principal components.
        let count = INITIAL_ITEMS.min(splits.train.len());
        let keys = EpochSampler::new(splits.train.len(), count, seed).keys(0);
        let x = net.images(&splits.train.batch(&keys), count);
        match &config.from {
            None => net.initialise(x, config.latent, &mut stream(seed, Purpose::Init, 1)),
            Some(path) => match load_base(path, &image_schema(splits.train.shape()), &tracked)? {
                Model::Aef(base) if config.shares_with(&base.config) => net = net.built_on(base.net, x, config.latent),
                _ => return Err(other(path, "all settings of the model but the prior")),
            },
        }
    } else {
        net.assume_initialised();
    }
    if config.from.is_some() {
        net = net.frozen();
    }
    let order = EpochSampler::new(splits.train.len(), batch, seed);
    let next = |index: u64| ImageBatch { pixels: splits.train.batch(&order.keys(index)), count: batch };
    let objective = AefObjective { latent: config.latent };
    let validate = |ema: &AefModel| {
        let (name, mean) = validation(ema, &objective, splits, batch, seed);
        vec![(name.to_owned(), mean)]
    };
    let preview = |ema: &AefModel| {
        let images = ema.generates().then(|| {
            let request = preview_request(seed, true);
            let pixels = ema.sample(shape, config.latent, &request, &device, &mut |_| true);
            Preview::Images { pixels, shape }
        });
        images.into_iter().collect()
    };
    session.fit(net, &objective, &next, &validate, &preview)
}

/// The validation loss and its name: the objective, or the negative log-likelihood if the objective is not a
/// likelihood.
fn validation(
    ema: &AefModel,
    objective: &AefObjective,
    splits: &ContinuousSplits,
    batch: usize,
    seed: u64,
) -> (&'static str, f64) {
    let held_out = splits.validation.len().min(VALIDATION_ITEMS);
    let (mut sum, mut name) = (0.0, "loss");
    for start in (0..held_out).step_by(batch) {
        let count = batch.min(held_out - start);
        let keys: Vec<ExampleKey> = (start..start + count).map(|i| ExampleKey::fixed(0, i)).collect();
        let x = ema.images(&splits.validation.batch(&keys), count);
        let mut noise = stream(seed, Purpose::Validation, start as u64);
        let loss = objective.of(ema, &ema.prepare(x.clone()), &mut noise);
        (name, sum) = if loss.kind == LossKind::ExtendedNll {
            // The published objective is unbounded, so models are selected by a likelihood instead.
            let request = MarginalRequest { draws: VALIDATION_DRAWS, seed, ..MarginalRequest::default() };
            let found = marginal::log_densities(ema, x, start as u64, &request).expect("an expansion has a density");
            (LossKind::Nll.name(), sum - found.values.iter().sum::<f64>())
        } else {
            (loss.kind.name(), sum + to_host(&loss.values).iter().sum::<f64>())
        };
    }
    (name, sum / held_out as f64)
}
