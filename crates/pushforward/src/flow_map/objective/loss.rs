//! The built-in training objective: a diagonal and an off-diagonal term, on two parts of every batch.

use burn::module::Module;
use burn::tensor::Tensor;

use crate::dual::divergence;
use crate::flow_map::backbone::{Backbone, BackboneConfig, EndpointNet};
use crate::flow_map::config::{FlowMapConfig, Mmd, ObjectiveConfig, OffDiagonal, Teacher, Weighting};
use crate::flow_map::losses;
use crate::flow_map::model::FlowMapModel;
use crate::flow_map::network::Network;
use crate::flow_map::objective::batch::{BatchConfig, IdBatch, NoisedBatch};
use crate::flow_map::objective::mmd::{likeliest, mmd};
use crate::flow_map::objective::off_diagonal::Distillation;
use crate::flow_map::objective::teacher::{TeacherView, logits};
use crate::flow_map::objective::trajectory::{Way, endpoint_of_jumps};
use crate::flow_map::times::TimesConfig;
use crate::nn::Pass;
use crate::rng::{Purpose, stream};
use crate::tensor::vector;
use crate::train::objective::{LossParts, LossTerm, Objective, Observed, TrainStep};
use crate::transport::time::TimePairs;

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
        let x_t = batch.at(&times);
        let t = vector(&times, &x_t);
        // The posterior itself is validated: with label smoothing the training loss has a floor above zero.
        let z = model.logits(x_t.into(), t.clone().into(), t.into(), &batch.conditioning, &mut Pass::eval()).value;
        let values = self.diagonal_loss(z, &batch, 0.0);
        Observed { name: "diagonal", per_example: values, times }
    }

    /// Per-example diagonal loss of the model in training, `[batch]`.
    fn diagonal(&self, model: &FlowMapModel<N>, batch: &NoisedBatch, times: &[f64], pass: &mut Pass<'_>) -> Tensor<1> {
        let z = logits(model, batch.at(times), times, times, &batch.conditioning, pass);
        self.diagonal_loss(z, batch, self.config.smoothing)
    }

    fn diagonal_loss(&self, z: Tensor<3>, batch: &NoisedBatch, smoothing: f64) -> Tensor<1> {
        let per_site = match self.config.off_diagonal {
            OffDiagonal::Naive => losses::naive_diagonal(z, batch.x0.clone(), batch.x1.clone()),
            _ => {
                let possible = batch.conditioning.possible_classes();
                losses::vfm(z, batch.ids.clone(), smoothing, possible.as_ref())
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

    /// The weighted per-example losses, to be averaged and differentiated.
    fn weighted(&self, model: &FlowMapModel<N>, loss: Tensor<1>, pairs: &TimePairs) -> Tensor<1> {
        match (self.config.weighting, &model.pair_weight) {
            (Weighting::Adaptive { power, floor }, _) => {
                let weight = (loss.clone().detach() + floor).powf_scalar(-power); // sg
                loss * weight
            }
            (Weighting::Learned, Some(pair_weight)) => {
                let w = pair_weight.forward(vector(&pairs.s, &loss), vector(&pairs.t, &loss));
                loss * w.clone().neg().exp() + w
            }
            _ => loss,
        }
    }
}

/// Numbers of off-diagonal items and of one-step items among them in micro-batch `index` of `n` items.
///
/// The items of a run are dealt over its micro-batches: after any number of them each count is that of its share,
/// rounded. With a share of one half and one item, every other micro-batch is on the diagonal.
fn deal(index: u64, n: usize, [share, one_step]: [f64; 2]) -> (usize, usize) {
    let off_before = |index: u64| (share * n as f64 * index as f64).round();
    let one_step_before = |index: u64| (one_step * off_before(index)).round();
    let off = off_before(index + 1) - off_before(index);
    ((off as usize).min(n), (one_step_before(index + 1) - one_step_before(index)).min(off) as usize)
}

/// The sum over the examples, divided by the number that a micro-batch has on average.
fn mean_of(values: Tensor<1>, expected: f64) -> Tensor<1> {
    let n = values.dims()[0] as f64;
    let mean = values.mean();
    if n == expected { mean } else { mean * (n / expected) }
}

impl<N: Backbone> Objective<FlowMapModel<N>> for FlowMapObjective<N> {
    type Batch = IdBatch;

    fn main_term(&self) -> Option<&'static str> {
        Some("diagonal")
    }

    fn keeps_average(&self, progress: f64) -> bool {
        self.config.teacher == Teacher::Kept && self.config.off_diagonal_at(progress)
    }

    fn loss(&self, step: &TrainStep<'_, FlowMapModel<N>>, batch: &IdBatch) -> LossParts {
        let (config, classes) = (&self.config, step.model.sites().classes);
        let open = |purpose| stream(step.seed, purpose, step.index);
        let (mut times, mut dropout) = (open(Purpose::Time), open(Purpose::Dropout));
        let mut hidden = open(Purpose::Condition);
        let batch = NoisedBatch::new(step.model, batch, &self.batch, &mut open(Purpose::Source), Some(&mut hidden));
        let progress = step.step as f64 / step.steps.max(1) as f64;
        let active = config.off_diagonal_at(progress);
        let (n, data) = (batch.len(), batch.x1.clone());
        let shares = [if active { config.share } else { 0.0 }, config.one_step.map_or(0.0, |o| o.share)];
        let (off, one_step_items) = deal(step.index, n, shares);
        let (on_diagonal, rest) = batch.split(off);
        let mut parts = LossParts { terms: Vec::new(), observed: Vec::new() };
        if !on_diagonal.is_empty() {
            let t = self.times.diagonal(on_diagonal.len(), classes, &mut times);
            let values = self.diagonal(step.model, &on_diagonal, &t, &mut Pass::train(&mut dropout));
            let loss = mean_of(values.clone(), n as f64 * (1.0 - shares[0]));
            parts.terms.push(LossTerm { loss, values: Observed::new("diagonal", values, t) });
        }
        if off == 0 {
            return parts;
        }
        let (teacher, expected) = (self.teacher(step), n as f64 * shares[0]);
        let view = |batch| TeacherView { model: &teacher, batch };
        let (off_diagonal, ends) = rest.split(one_step_items);
        if let Some(settings) = config.one_step.filter(|_| one_step_items > 0) {
            let whole = TimePairs { s: vec![0.0; one_step_items], t: vec![1.0; one_step_items] };
            let way = Way { jumps: settings.jumps, by: settings.by, power: settings.power };
            let target = endpoint_of_jumps(&view(&ends), ends.x0.clone(), &whole, way, &mut times);
            let mut pass = Pass::train(&mut dropout);
            let z = logits(step.model, ends.x0.clone(), &whole.s, &whole.t, &ends.conditioning, &mut pass);
            let values = ends.over_sites(divergence(target, z.clone()));
            let mut loss = mean_of(values.clone(), expected * shares[1]) * config.lambda;
            if let Some(Mmd { weight, scale }) = settings.mmd
                && let Some(distance) = mmd(ends.conditioning.mask(likeliest(z)), data, scale)
            {
                parts.observed.push(Observed::new("mmd", distance.clone(), Vec::new()));
                loss = loss + distance * weight;
            }
            parts.terms.push(LossTerm { loss, values: Observed::new("one_step", values, whole.t) });
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
            let weighted = self.weighted(step.model, values.clone(), &pairs);
            let loss = mean_of(weighted, expected * (1.0 - shares[1])) * config.lambda;
            parts.terms.push(LossTerm { loss, values: Observed::new("distillation", values, pairs.t.clone()) });
            parts.observed.extend(norm.map(|n| Observed { name: "derivative_norm", per_example: n, times: pairs.t }));
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::deal;

    #[test]
    fn shares_hold_over_micro_batches_of_any_size() {
        for n in [1, 2, 3, 7, 64] {
            for shares in [[0.5, 0.0], [0.25, 0.3], [0.1, 1.0], [1.0, 0.5], [0.0, 0.5], [0.6180339887, 0.25]] {
                let (mut off, mut one_step) = (0, 0);
                for index in 0..200u64 {
                    let found = deal(index, n, shares);
                    assert!(found.0 <= n && found.1 <= found.0, "{n} {shares:?} {index}: {found:?}");
                    (off, one_step) = (off + found.0, one_step + found.1);
                    let wanted = shares[0] * n as f64 * (index + 1) as f64;
                    assert!((off as f64 - wanted).abs() <= 0.5 + 1e-6, "{n} {shares:?} {index}: {off}");
                    assert!((one_step as f64 - shares[1] * wanted).abs() <= 1.0 + 1e-6, "{n} {shares:?}: {one_step}");
                }
            }
        }
        // Whole numbers are the same in every micro-batch.
        assert!((0..50).all(|index| deal(index, 512, [0.25, 0.5]) == (128, 64)));
    }
}
