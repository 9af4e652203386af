//! The built-in training objective: a diagonal and an off-diagonal term, on two parts of every batch.

use burn::module::Module;
use burn::tensor::Tensor;

use crate::flow_map::backbone::{Backbone, BackboneConfig, EndpointNet};
use crate::flow_map::config::{FlowMapConfig, ObjectiveConfig, OffDiagonal, Teacher, Weighting};
use crate::flow_map::losses;
use crate::flow_map::model::FlowMapModel;
use crate::flow_map::network::Network;
use crate::flow_map::objective::batch::{BatchConfig, IdBatch, NoisedBatch};
use crate::flow_map::objective::off_diagonal::{Distillation, one_step};
use crate::flow_map::objective::teacher::TeacherView;
use crate::flow_map::time::TimePairs;
use crate::flow_map::times::TimesConfig;
use crate::nn::Pass;
use crate::rng::{Purpose, stream};
use crate::tensor::vector;
use crate::train::objective::{LossParts, LossTerm, Objective, Observed, TrainStep};

/// The objective that [`ObjectiveConfig`] describes, for models of any [`Backbone`].
///
/// # Examples
/// Before training every endpoint is uniform, so the validation loss is `ln K` per site.
/// ```
/// use pushforward::burn::tensor::Device;
/// use pushforward::flow_map::config::{FlowMapConfig, ObjectiveConfig};
/// use pushforward::flow_map::network::NetworkConfig;
/// use pushforward::flow_map::objective::{FlowMapObjective, IdBatch};
/// use pushforward::nn::{SiteShape, mlp::MlpConfig};
/// use pushforward::rng::{Purpose, stream};
/// use pushforward::tensor::to_host;
///
/// let config = FlowMapConfig::new(NetworkConfig::Mlp(MlpConfig::default()), ObjectiveConfig::default());
/// let model = config.model(None).init(SiteShape::line(2, 3), &Device::flex(), &mut stream(0, Purpose::Init, 0));
/// let objective = FlowMapObjective::new(config, None);
/// let batch = IdBatch { ids: vec![0, 2, 1, 1], labels: None };
/// let loss = to_host(&objective.validation(&model, &batch, 0, 0).per_example);
/// assert!(loss.len() == 2 && loss.iter().all(|nats| (nats - 3f64.ln()).abs() < 1e-5));
/// ```
#[derive(Debug)]
pub struct FlowMapObjective<N: Backbone = Network> {
    config: ObjectiveConfig,
    times: TimesConfig,
    batch: BatchConfig,
    frozen: Option<FlowMapModel<N>>,
}

impl<N: Backbone> FlowMapObjective<N> {
    /// The objective; `frozen` is the teacher of a two-stage run.
    ///
    /// # Panics
    /// If the settings have a frozen teacher and `frozen` is `None`.
    pub fn new<C: BackboneConfig<Network = N>>(config: FlowMapConfig<C>, frozen: Option<FlowMapModel<N>>) -> Self {
        let wants = matches!(config.objective.teacher, Teacher::Frozen { .. });
        assert!(!wants || frozen.is_some(), "teacher = frozen needs the frozen model");
        let batch = config.batch();
        Self { config: config.objective, times: config.times, batch, frozen: frozen.map(|m| m.valid()) }
    }

    /// The diagonal loss of a batch under fixed noise and times, in a deterministic pass: cross-entropy in nats
    /// (squared error for the naive baseline) per example, mean over sites.
    ///
    /// # Shapes
    /// - output: values `[batch]`, with the times that were drawn
    pub fn validation(&self, model: &FlowMapModel<N>, batch: &IdBatch, seed: u64, index: u64) -> Observed {
        let mut randomness = stream(seed, Purpose::Validation, index);
        // Without a stream for dropout of conditions: the conditional model is validated.
        let batch = NoisedBatch::new(model, batch, &self.batch, &mut randomness, None);
        let times = self.times.diagonal(batch.len(), model.sites().classes, &mut randomness);
        let values = self.diagonal(model, &batch, &times, &mut Pass::eval());
        Observed { name: "diagonal", per_example: values, times }
    }

    /// Per-example diagonal loss, `[batch]`.
    fn diagonal(&self, model: &FlowMapModel<N>, batch: &NoisedBatch, times: &[f64], pass: &mut Pass<'_>) -> Tensor<1> {
        let x_t = batch.at(times);
        let t = vector(times, &x_t);
        let z = model.logits(x_t.into(), t.clone().into(), t.into(), &batch.conditioning, pass).value;
        let per_site = match self.config.off_diagonal {
            OffDiagonal::Naive => losses::naive_diagonal(z, batch.x0.clone(), batch.x1.clone()),
            _ => {
                let class_mask = batch.conditioning.class_mask.as_ref();
                losses::vfm(z, batch.ids.clone(), self.config.smoothing, class_mask)
            }
        };
        batch.over_sites(per_site)
    }

    /// The model that predicts the targets.
    fn teacher(&self, step: &TrainStep<'_, FlowMapModel<N>>) -> FlowMapModel<N> {
        match (&self.config.teacher, &self.frozen) {
            (Teacher::Frozen { .. }, Some(frozen)) => frozen.clone(),
            (Teacher::Online, _) => step.model.valid(),
            _ => step.ema.clone(),
        }
    }

    /// The weighted mean of per-example losses: the scalar to differentiate.
    fn weighted(&self, model: &FlowMapModel<N>, loss: Tensor<1>, pairs: &TimePairs) -> Tensor<1> {
        match (self.config.weighting, &model.pair_weight) {
            (Weighting::Adaptive { power, floor }, _) => {
                let weight = (loss.clone().detach() + floor).powf_scalar(-power); // sg
                (loss * weight).mean()
            }
            (Weighting::Learned, Some(pair_weight)) => {
                let w = pair_weight.forward(vector(&pairs.s, &loss), vector(&pairs.t, &loss));
                (loss * w.clone().neg().exp() + w).mean()
            }
            _ => loss.mean(),
        }
    }
}

impl<N: Backbone> Objective<FlowMapModel<N>> for FlowMapObjective<N> {
    type Batch = IdBatch;

    fn loss(&self, step: &TrainStep<'_, FlowMapModel<N>>, batch: &IdBatch) -> LossParts {
        let (config, classes) = (&self.config, step.model.sites().classes);
        let open = |purpose| stream(step.seed, purpose, step.index);
        let (mut times, mut dropout) = (open(Purpose::Time), open(Purpose::Dropout));
        let mut hidden = open(Purpose::Condition);
        let batch = NoisedBatch::new(step.model, batch, &self.batch, &mut open(Purpose::Source), Some(&mut hidden));
        let progress = step.step as f64 / step.steps.max(1) as f64;
        let active = config.off_diagonal != OffDiagonal::None && config.share > 0.0 && progress >= config.start;
        let off = if active { ((config.share * batch.len() as f64).round() as usize).min(batch.len()) } else { 0 };
        let (share, jumps) = config.one_step.map_or((0.0, 0), |one_step| (one_step.share, one_step.jumps));
        let one_step_items = (share * off as f64).round() as usize;
        let (on_diagonal, rest) = batch.split(off);
        let mut parts = LossParts { terms: Vec::new(), observed: Vec::new() };
        if !on_diagonal.is_empty() {
            let t = self.times.diagonal(on_diagonal.len(), classes, &mut times);
            let values = self.diagonal(step.model, &on_diagonal, &t, &mut Pass::train(&mut dropout));
            parts.terms.push(LossTerm { loss: values.clone().mean(), values: Observed::new("diagonal", values, t) });
        }
        if off == 0 {
            return parts;
        }
        let teacher = self.teacher(step);
        let view = |batch| TeacherView { model: &teacher, batch, smoothing: config.smoothing };
        let (off_diagonal, ends) = rest.split(one_step_items);
        if one_step_items > 0 {
            let mut pass = Pass::train(&mut dropout);
            let values = one_step(step.model, &view(&ends), jumps, &mut pass, &mut times);
            let loss = values.clone().mean() * config.lambda;
            parts.terms.push(LossTerm { loss, values: Observed::new("one_step", values, vec![1.0; one_step_items]) });
        }
        if off > one_step_items {
            let pairs = self.times.pairs(off - one_step_items, classes, &mut times);
            let distillation = Distillation {
                student: step.model,
                teacher: view(&off_diagonal),
                x_s: off_diagonal.at(&pairs.s),
                batch: &off_diagonal,
                pairs: &pairs,
                temperature: config.temperature,
            };
            let mut pass = Pass::train(&mut dropout);
            let (values, norm) = distillation.loss(config.off_diagonal, &mut pass, &mut times);
            let loss = self.weighted(step.model, values.clone(), &pairs) * config.lambda;
            parts.terms.push(LossTerm { loss, values: Observed::new("distillation", values, pairs.t.clone()) });
            parts.observed.extend(norm.map(|n| Observed { name: "derivative_norm", per_example: n, times: pairs.t }));
        }
        parts
    }
}
