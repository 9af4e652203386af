//! Training of autoencoders of categorical data.

use crate::aef::categorical::{CategoricalConfig, CategoricalModel, CategoricalObjective, ItemBatch, log_densities};
use crate::aef::marginal::MarginalRequest;
use crate::data::{Batches, Schema, Splits};
use crate::flow_map::sample::SampleRequest;
use crate::run::check::site_shape;
use crate::run::held_out::items;
use crate::run::preview::Preview;
use crate::run::train::error::TrainRunError;
use crate::run::train::session::Session;
use crate::run::trained::TrainedCategoricalAef;
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
    let mut net = config.init(site_shape(splits.schema()), &device.clone().autodiff(), &mut session.init());
    if session.resume.is_none() {
        net.initialise(&items(splits.train.as_ref(), INITIAL_ITEMS));
    } else {
        net.assume_initialised();
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
        vec![("negative_elbo".to_owned(), -nats.iter().sum::<f64>() / nats.len().max(1) as f64)]
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
    session.fit(net, &CategoricalObjective { warmup: config.warmup }, &next, &validate, &preview)
}
