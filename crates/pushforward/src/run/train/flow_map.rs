//! Training of flow maps.

use std::path::Path;

use crate::data::{Batches, Schema, Splits};
use crate::flow_map::backbone::BackboneConfig;
use crate::flow_map::config::{FlowMapConfig, Teacher};
use crate::flow_map::model::FlowMapModel;
use crate::flow_map::objective::{FlowMapObjective, IdBatch};
use crate::flow_map::sample::{self, Generator};
use crate::nn::SiteShape;
use crate::params;
use crate::run::check::site_shape;
use crate::run::held_out::{items, labels_of};
use crate::run::load::{WeightSet, load};
use crate::run::model::{Model, RunInfo};
use crate::run::preview::Preview;
use crate::run::same_data::same_labels;
use crate::run::train::error::TrainRunError;
use crate::run::train::session::Session;
use crate::run::trained::flow_map::{TrainedFlowMap, preview_request};
use crate::tensor::to_host;
use crate::train::Outcome;

/// Held-out items per validation.
const VALIDATION_ITEMS: usize = 512;

/// Trains a flow map; the resulting model has the averaged weights of the last step, without gradients.
pub(super) fn train<C: BackboneConfig>(
    session: &mut Session<'_>,
    splits: &Splits,
    config: &FlowMapConfig<C>,
    labels: Option<usize>,
) -> Result<Outcome<FlowMapModel<C::Network>>, TrainRunError> {
    let (sites, device) = (site_shape(splits.schema()), session.device.clone());
    let labelled = config.condition.takes_labels();
    if labelled && labels.is_none() {
        return Err(TrainRunError::NoLabels(splits.name.clone()));
    }
    let mut net = config.model(labels).init(sites.clone(), &device.clone().autodiff(), &mut session.init());
    let mut frozen = None;
    if let Teacher::Frozen { checkpoint, initialise } = &config.objective.teacher {
        let teacher = teacher(Path::new(checkpoint), session, config, splits.schema())?;
        if *initialise {
            // Only the network is copied: the teacher may have been trained without a learned loss weight.
            let weights = params::collect(&teacher.network).into_iter().collect();
            net.network = params::load(net.network, &weights)?;
        }
        frozen = Some(teacher);
    }
    let objective = FlowMapObjective::new(config.clone(), frozen);
    let (seed, batch) = (session.seed, session.config.batch);
    let validation = Validation::new(splits, sites.clone(), labelled, batch);
    let batches = Batches::new(splits.train.clone(), batch, seed);
    let next = |index| {
        let (ids, labels) = batches.with_labels(index);
        IdBatch { ids, labels: labels.filter(|_| labelled) }
    };
    let validate = |ema: &FlowMapModel<C::Network>| {
        vec![(
            "diagonal".to_owned(),
            validation.mean(&|batch, index| to_host(&objective.validation(ema, batch, seed, index).per_example)),
        )]
    };
    let (nfes, noise) = (session.preview_nfe.clone(), config.noise());
    let preview = |ema: &FlowMapModel<C::Network>| {
        let generator = Generator::new(ema, sites.clone(), &device).with_noise(noise);
        let one = |&nfe: &usize| {
            let request = preview_request(ema, Preview::COUNT, nfe, seed);
            Preview::Items { nfe, ids: sample::sample(&generator, &request, &mut |_| true).ids }
        };
        nfes.iter().take(2).map(one).collect()
    };
    session.fit(net, &objective, &next, &validate, &preview)
}

/// Held-out items in batches, for validations.
struct Validation {
    batches: Vec<IdBatch>,
}

impl Validation {
    fn new(splits: &Splits, sites: SiteShape, labelled: bool, batch: usize) -> Self {
        let set = splits.validation.as_ref();
        let ids = items(set, VALIDATION_ITEMS);
        let labels = labelled.then(|| labels_of(set, ids.len() / sites.count));
        let parts = ids.chunks(batch * sites.count).enumerate();
        let batches = parts.map(|(i, part)| {
            let (first, n) = (i * batch, part.len() / sites.count);
            IdBatch { ids: part.to_vec(), labels: labels.as_ref().map(|l| l[first..first + n].to_vec()) }
        });
        Self { batches: batches.collect() }
    }

    /// The mean of a loss over all items.
    fn mean(&self, loss: &dyn Fn(&IdBatch, u64) -> Vec<f64>) -> f64 {
        let (mut sum, mut n) = (0.0, 0);
        for (index, batch) in (0..).zip(&self.batches) {
            let values = loss(batch, index);
            sum += values.iter().sum::<f64>();
            n += values.len();
        }
        sum / n.max(1) as f64
    }
}

/// Loads the frozen teacher, a model trained beforehand on the same data with the same network.
fn teacher<C: BackboneConfig>(
    path: &Path,
    session: &Session<'_>,
    ours: &FlowMapConfig<C>,
    schema: &Schema,
) -> Result<FlowMapModel<C::Network>, TrainRunError> {
    let loaded = load::<C>(path, WeightSet::Ema, &session.device)?;
    let RunInfo { path, data, provenance, schema: theirs, .. } = loaded.run;
    if theirs != *schema {
        return Err(TrainRunError::TeacherData(path));
    }
    let labelled = ours.condition.takes_labels();
    if labelled && !same_labels((&data, &provenance), (&session.data, &session.provenance)) {
        return Err(TrainRunError::TeacherLabels(path));
    }
    match loaded.model {
        Model::FlowMap(TrainedFlowMap { config, net, .. })
            if config.network == ours.network
                && config.skip == ours.skip
                && config.source == ours.source
                && config.condition == ours.condition =>
        {
            Ok(net)
        }
        _ => Err(TrainRunError::TeacherModel(path)),
    }
}
