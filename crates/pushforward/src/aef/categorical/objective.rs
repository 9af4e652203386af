//! The training objective: the bound of `-log p(x)` in nats per item, and the map off its diagonal; in the second stage of a
//! coupling, `-log p(x | z0)` of its decoder alone.

use super::model::CategoricalModel;
use crate::aef::network::{DecoderNet, EncoderNet};
use crate::rng::{Purpose, stream};
use crate::train::objective::{LossParts, LossTerm, Objective, Observed, TrainStep};

/// A batch of items.
#[derive(Clone, Debug)]
pub struct ItemBatch {
    /// Class indices, item by item.
    pub ids: Vec<u32>,
}

/// The training objective of [`CategoricalModel`]s.
///
/// # Examples
/// Two terms with a flow map as the prior: the bound, and the loss off the diagonal.
/// ```
/// use pushforward::aef::categorical::{CategoricalConfig, CategoricalObjective, ItemBatch};
/// use pushforward::burn::tensor::Device;
/// use pushforward::nn::SiteShape;
/// use pushforward::rng::{Purpose, stream};
/// use pushforward::train::objective::{Objective, TrainStep};
///
/// let config: CategoricalConfig = toml::from_str("latent = 2\nprior = { kind = 'flow-map' }")?;
/// let device = Device::flex().autodiff();
/// let mut model = config.init(SiteShape::line(3, 4), &device, &mut stream(0, Purpose::Init, 0));
/// let ids = vec![0, 1, 2, 3, 3, 0];
/// model.initialise(&ids);
/// let step = TrainStep { model: &model, ema: &model, seed: 0, index: 0, step: 0, steps: 1 };
/// let objective = CategoricalObjective { warmup: 0.2, coupling: None };
/// assert_eq!(objective.loss(&step, &ItemBatch { ids }).terms.len(), 2);
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct CategoricalObjective {
    /// See [`CategoricalConfig::warmup`](super::CategoricalConfig::warmup).
    pub warmup: f64,
    /// Share of the training after which the coupling alone is trained; `None` without a coupling.
    pub coupling: Option<f64>,
}

impl<E: EncoderNet, D: DecoderNet> Objective<CategoricalModel<E, D>> for CategoricalObjective {
    type Batch = ItemBatch;

    fn loss(&self, step: &TrainStep<'_, CategoricalModel<E, D>>, batch: &ItemBatch) -> LossParts {
        let mut random = stream(step.seed, Purpose::Source, step.index);
        let rows = batch.ids.len() / step.model.sites().count;
        let noise = step.model.noise_of(std::slice::from_mut(&mut random), rows);
        let done = (step.step as f64 + 1.0) / step.steps.max(1) as f64;
        if self.coupling.is_some_and(|start| done > start) {
            return LossParts::mean("coupling_nats", step.model.coupled(&batch.ids, noise).neg(), Vec::new());
        }
        let share = if done < self.warmup { done / self.warmup } else { 1.0 };
        let (bound, likelihood, m) = step.model.bound(&batch.ids, noise, share);
        let mut parts = LossParts::mean("negative_elbo", bound.neg(), Vec::new());
        parts.observed.push(Observed::new("reconstruction_nats", likelihood.neg(), Vec::new()));
        for (name, values) in step.model.map.iter().flat_map(|map| map.losses(m.clone(), &mut random)) {
            let loss = values.clone().mean();
            parts.terms.push(LossTerm { loss, values: Observed::new(name, values, Vec::new()) });
        }
        parts
    }
}
