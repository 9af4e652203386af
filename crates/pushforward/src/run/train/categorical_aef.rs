//! Training of autoencoders of categorical data.

use crate::aef::categorical::{CategoricalConfig, CategoricalModel, CategoricalObjective, ItemBatch, log_densities};
use crate::aef::marginal::MarginalRequest;
use crate::data::{Batches, Schema, Splits};
use crate::flow_map::sample::SampleRequest;
use crate::run::check::site_shape;
use crate::run::held_out::items;
use crate::run::model::Model;
use crate::run::preview::Preview;
use crate::run::train::base::{load_base, other};
use crate::run::train::error::TrainRunError;
use crate::run::train::session::Session;
use crate::run::trained::TrainedCategoricalAef;
use crate::tensor::to_host;
use crate::train::Outcome;
use crate::transport::density::Density;

/// Held-out items per validation.
const VALIDATION_ITEMS: usize = 512;
/// Draws of an item in a validation.
const VALIDATION_DRAWS: usize = 4;
/// Items that initial statistics are estimated from.
const INITIAL_ITEMS: usize = 512;

/// Trains an autoencoder; the resulting model has the averaged weights of the last step, without gradients.
pub(super) fn train(
    session: &mut Session<'_>,
    splits: &Splits,
    config: &CategoricalConfig,
) -> Result<Outcome<CategoricalModel>, TrainRunError> {
    let (device, seed, batch) = (session.device.clone(), session.seed, session.config.batch);
    let tracked = device.clone().autodiff();
    let mut net = config.init(site_shape(splits.schema()), &tracked, &mut session.init());
    // A coupling keeps the prior too.
    let coupled = config.coupling.is_some();
    if session.resume.is_some() {
        net.assume_initialised();
    } else {
        if let Some(path) = &config.from {
            let base = match load_base(path, splits.schema(), &tracked)? {
                Model::CategoricalAef(base) if config.shares_with(&base.config, coupled) => base.net,
                _ if coupled => return Err(other(path, "latent, noise, network and prior of the model")),
                _ => return Err(other(path, "latent, noise and network of the model")),
            };
            net = net.built_on(base, coupled);
        }
        net.initialise(&items(splits.train.as_ref(), INITIAL_ITEMS));
    }
    if config.from.is_some() {
        net = net.frozen(coupled);
    }
    let batches = Batches::new(splits.train.clone(), batch, seed);
    let next = |index| ItemBatch { ids: batches.with_labels(index).0 };
    let held_out = items(splits.validation.as_ref(), VALIDATION_ITEMS);
    let validate = |ema: &CategoricalModel| {
        let density = Density::Bound { draws: VALIDATION_DRAWS };
        let request = MarginalRequest { draws: VALIDATION_DRAWS, seed, density, ..MarginalRequest::default() };
        let mut nats = Vec::new();
        for part in held_out.chunks(batch * splits.schema().sites) {
            nats.extend(log_densities(ema, part, nats.len() as u64, &request).values);
        }
        let mean = |nats: &[f64]| -nats.iter().sum::<f64>() / nats.len().max(1) as f64;
        let mut values = vec![("negative_elbo".to_owned(), mean(&nats))];
        if coupled {
            nats.clear();
            for part in held_out.chunks(batch * splits.schema().sites) {
                nats.extend(to_host(&ema.one_step_log_likelihood(ema.to_base(ema.code(part)), part)));
            }
            let coupling = mean(&nats);
            // The first value chooses the best weights: it has to fall as what is trained gets better.
            if config.from.is_none() {
                values.insert(0, ("loss".to_owned(), values[0].1 + coupling));
                values.push(("coupling_nats".to_owned(), coupling));
            } else {
                values.insert(0, ("coupling_nats".to_owned(), coupling));
            }
        }
        values
    };
    let (nfes, schema) = (session.preview_nfe.clone(), splits.schema().clone());
    let preview = |ema: &CategoricalModel| {
        let (config, net, device) = (config.clone(), ema.clone(), device.clone());
        let model = TrainedCategoricalAef { config, net, schema: Schema::clone(&schema), device };
        let one = |&nfe: &usize| {
            let request = SampleRequest { endpoints: false, ..SampleRequest::map(Preview::COUNT, nfe, seed) };
            let samples = model.sample(&request, &mut |_| true).expect("a plain request");
            Preview::Items { nfe, ids: samples.ids }
        };
        nfes.iter().take(2).map(one).collect()
    };
    let start = config.coupling.as_ref().map(|coupling| if config.from.is_some() { 0.0 } else { coupling.start });
    session.fit(net, &CategoricalObjective { warmup: config.warmup, coupling: start }, &next, &validate, &preview)
}
