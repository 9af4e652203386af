//! The training objective: a diagonal and an off-diagonal term on two parts of every batch.

use burn::module::Module;
use burn::tensor::{Int, Tensor};

use crate::dual::{Dual, divergence, softmax};
use crate::flow_map::config::{Condition, FlowMapConfig, OffDiagonal, SplitPoint, Teacher, Weighting};
use crate::flow_map::interpolant::{interpolate, source_tensor};
use crate::flow_map::losses;
use crate::flow_map::network::{Conditioning, EndpointNet, FlowMapModel, sizes};
use crate::flow_map::time::{TimePairs, column, jump_weight};
use crate::nn::Pass;
use crate::nn::graph::GraphShape;
use crate::node_pairs::{ABSENT, pair_count};
use crate::rng::{Purpose, Stream, stream};
use crate::tensor::{from_host, indices, one_hot, vector};
use crate::train::objective::{LossParts, LossTerm, Objective, Observed, TrainStep};

/// A batch of items as class indices, row by row.
#[derive(Clone, Debug)]
pub struct IdBatch {
    /// `batch * sites` indices; [`ABSENT`] where an item has no such site.
    pub ids: Vec<u32>,
    /// One label an item, for models with that condition.
    pub labels: Option<Vec<u32>>,
}

/// The objective of a recipe.
#[derive(Debug)]
pub struct FlowMapObjective {
    config: FlowMapConfig,
    frozen: Option<FlowMapModel>,
}

impl FlowMapObjective {
    /// The objective; `frozen` is the teacher of a two-stage run.
    ///
    /// # Panics
    /// If the recipe asks for a frozen teacher and none is given.
    pub fn new(config: FlowMapConfig, frozen: Option<FlowMapModel>) -> Self {
        let wants = matches!(config.objective.teacher, Teacher::Frozen { .. });
        assert!(!wants || frozen.is_some(), "a frozen teacher was asked for and not given");
        Self { config, frozen: frozen.map(|m| m.valid()) }
    }

    /// The diagonal's cross-entropy (squared error for the naive baseline) of a batch under fixed noise and times, in a
    /// deterministic pass: per example, mean over sites.
    ///
    /// # Shapes
    /// - output: values `[batch]`, with the times that were drawn
    pub fn validation(&self, model: &FlowMapModel, batch: &IdBatch, seed: u64, index: u64) -> Observed {
        let mut randomness = stream(seed, Purpose::Validation, index);
        // Nothing is hidden: what is validated is the model as told.
        let points = NoisedBatch::new(model, batch, &self.config, &mut randomness, None);
        let times = self.config.times.diagonal(points.len(), model.sites().classes, &mut randomness);
        let values = self.diagonal(model, &points, &times, &mut Pass::eval());
        Observed { name: "diagonal", per_example: values, times }
    }

    /// Per-example diagonal loss, `[batch]`.
    fn diagonal(&self, model: &FlowMapModel, points: &NoisedBatch, times: &[f64], pass: &mut Pass<'_>) -> Tensor<1> {
        let x_t = points.at(times);
        let t = vector(times, &x_t);
        let z = model.logits(x_t.into(), t.clone().into(), t.into(), &points.given, pass).value;
        let per_site = match self.config.objective.off_diagonal {
            OffDiagonal::Naive => losses::naive_diagonal(z, points.x0.clone(), points.x1.clone()),
            _ => losses::vfm(z, points.ids.clone(), self.config.objective.smoothing, points.given.open.as_ref()),
        };
        points.over_sites(per_site)
    }

    /// Whose predictions are the targets.
    fn teacher(&self, step: &TrainStep<'_, FlowMapModel>) -> FlowMapModel {
        match (&self.config.objective.teacher, &self.frozen) {
            (Teacher::Frozen { .. }, Some(frozen)) => frozen.clone(),
            (Teacher::Online, _) => step.model.valid(),
            _ => step.ema.clone(),
        }
    }

    /// Per-example loss of the one-step map against `jumps` jumps of the teacher's from the same noise, `[batch]`.
    fn one_step(
        &self,
        step: &TrainStep<'_, FlowMapModel>,
        points: &NoisedBatch,
        jumps: usize,
        pass: &mut Pass<'_>,
        randomness: &mut Stream,
    ) -> Tensor<1> {
        let n = points.len();
        let teacher = self.teacher(step);
        let teacher = TeacherView { model: &teacher, points, smoothing: self.config.objective.smoothing };
        let grids: Vec<Vec<f64>> = (0..n).map(|_| random_grid(jumps, randomness)).collect();
        let time = |k: usize| -> Vec<f64> { grids.iter().map(|grid| grid[k]).collect() };
        let (mut x, mut target) = (points.x0.clone(), None);
        for k in 0..jumps {
            let jump = TimePairs { s: time(k), t: time(k + 1) };
            let pi = softmax(teacher.logits(x.clone(), &jump.s, &jump.t));
            x = losses::jump(x.clone(), pi.clone(), jump.column(&x, jump_weight));
            target = Some(pi);
        }
        let target = target.expect("at least one jump");
        let z = evaluate(step.model, points.x0.clone(), &vec![0.0; n], &vec![1.0; n], &points.given, pass);
        points.over_sites(divergence(target, z))
    }

    /// Per-example off-diagonal loss, `[batch]`, and the derivative's norm where the objective has one.
    fn off_diagonal(
        &self,
        step: &TrainStep<'_, FlowMapModel>,
        points: &NoisedBatch,
        pairs: &TimePairs,
        pass: &mut Pass<'_>,
        randomness: &mut Stream,
    ) -> (Tensor<1>, Option<Tensor<1>>) {
        let online = || step.model.valid();
        let teacher = self.teacher(step);
        let teacher = TeacherView { model: &teacher, points, smoothing: self.config.objective.smoothing };
        let given = &points.given;
        let over_sites = |per_site| points.over_sites(per_site);
        let drift_norm = |z: &Dual<3>| drift_norm(z, points);
        let x_s = points.at(&pairs.s);
        let student = |pass: &mut Pass<'_>| evaluate(step.model, x_s.clone(), &pairs.s, &pairs.t, given, pass);
        let student_dual = |pass: &mut Pass<'_>| along_t(step.model, x_s.clone(), pairs, given, pass);
        let at_end = |z: &Tensor<3>| {
            let pi = softmax(z.clone().detach());
            let x_t = losses::jump(x_s.clone(), pi, pairs.column(&x_s, jump_weight));
            teacher.logits(x_t, &pairs.t, &pairs.t) / self.config.objective.temperature
        };
        match self.config.objective.off_diagonal {
            OffDiagonal::None => unreachable!("the diagonal alone has no off-diagonal part"),
            OffDiagonal::Csd { gradient } => {
                let z = student_dual(pass);
                let (z_tt, norm) = (at_end(&z.value), drift_norm(&z));
                (over_sites(losses::csd(z, z_tt, x_s.clone(), pairs, gradient)), norm)
            }
            OffDiagonal::Lsd { floor } => {
                let z = student_dual(pass);
                let (z_tt, norm) = (at_end(&z.value), drift_norm(&z));
                (over_sites(losses::lsd(z, z_tt, x_s.clone(), pairs, floor)), norm)
            }
            OffDiagonal::Ecld { weights } => {
                let z = student_dual(pass);
                let (z_tt, norm) = (at_end(&z.value), drift_norm(&z));
                let (endpoint, drift) = losses::ecld(z, z_tt, pairs, &weights.weights());
                (over_sites(endpoint + drift), norm)
            }
            OffDiagonal::Psd { split } => {
                let r = split.draw(pairs.s.len(), randomness);
                let u: Vec<f64> = (0..r.len()).map(|i| pairs.s[i] + r[i] * (pairs.t[i] - pairs.s[i])).collect();
                let z_su = teacher.logits(x_s.clone(), &pairs.s, &u);
                let to_u: Vec<f64> = (0..r.len()).map(|i| jump_weight(pairs.s[i], u[i])).collect();
                let x_u = losses::jump(x_s.clone(), softmax(z_su.clone()), column(&to_u, &x_s));
                let z_ut = teacher.logits(x_u, &u, &pairs.t);
                (over_sites(losses::psd(student(pass), z_su, z_ut, pairs, &r)), None)
            }
            OffDiagonal::LsdLogit { floor, gradient } => {
                let z = match gradient {
                    losses::GradientPath::Full => student_dual(pass),
                    // The derivative needs no gradient: a pass without a graph gives it.
                    losses::GradientPath::Published => {
                        let dz = along_t(&online(), x_s.clone(), pairs, given, &mut Pass::eval()).tangent;
                        Dual { value: student(pass), tangent: dz }
                    }
                };
                let (z_tt, norm) = (at_end(&z.value), drift_norm(&z));
                (over_sites(losses::lsd_logit(z, z_tt, pairs, floor, gradient)), norm)
            }
            OffDiagonal::EsdLogit { floor } => {
                let z_ss = teacher.logits(x_s.clone(), &pairs.s, &pairs.s);
                let direction = softmax(z_ss.clone()) - x_s.clone();
                let dz = along_flow(&online(), x_s.clone(), direction, pairs, given).tangent;
                let z = Dual { value: student(pass), tangent: dz };
                let norm = drift_norm(&z);
                (over_sites(losses::esd_logit(z, z_ss, pairs, floor)), norm)
            }
            OffDiagonal::Naive => {
                let z = student_dual(pass);
                let length = pairs.column(&x_s, |s, t| t - s);
                let x_t = x_s.clone() + z.value.clone().detach() * length;
                let z_tt = teacher.logits(x_t, &pairs.t, &pairs.t);
                (over_sites(losses::naive(z, z_tt, pairs)), None)
            }
        }
    }

    /// The scalar to differentiate from per-example losses.
    fn weighted(&self, model: &FlowMapModel, loss: Tensor<1>, pairs: &TimePairs) -> Tensor<1> {
        match (self.config.objective.weighting, &model.pair_weight) {
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

impl Objective<FlowMapModel> for FlowMapObjective {
    type Batch = IdBatch;

    fn loss(&self, step: &TrainStep<'_, FlowMapModel>, batch: &IdBatch) -> LossParts {
        let config = &self.config.objective;
        let open = |purpose| stream(step.seed, purpose, step.index);
        let (mut times, mut dropout) = (open(Purpose::Time), open(Purpose::Dropout));
        let mut hidden = open(Purpose::Condition);
        let points = NoisedBatch::new(step.model, batch, &self.config, &mut open(Purpose::Source), Some(&mut hidden));
        let classes = step.model.sites().classes;
        let progress = step.step as f64 / step.steps.max(1) as f64;
        let active = config.off_diagonal != OffDiagonal::None && config.share > 0.0 && progress >= config.start;
        let off = if active { ((config.share * points.len() as f64).round() as usize).min(points.len()) } else { 0 };
        let (on_points, off_points) = points.split(off);
        let mut parts = LossParts { terms: Vec::new(), observed: Vec::new() };
        if on_points.len() > 0 {
            let t = self.config.times.diagonal(on_points.len(), classes, &mut times);
            let values = self.diagonal(step.model, &on_points, &t, &mut Pass::train(&mut dropout));
            let observed = Observed { name: "diagonal", per_example: values.clone().detach().inner(), times: t };
            parts.terms.push(LossTerm { loss: values.mean(), values: observed });
        }
        let (share, jumps) = config.one_step.map_or((0.0, 0), |one_step| (one_step.share, one_step.jumps));
        let one_step = (share * off as f64).round() as usize;
        if one_step > 0 {
            let (_, ends) = off_points.clone().split(one_step);
            let values = self.one_step(step, &ends, jumps, &mut Pass::train(&mut dropout), &mut times);
            let per_example = values.clone().detach().inner();
            let observed = Observed { name: "one_step", per_example, times: vec![1.0; one_step] };
            parts.terms.push(LossTerm { loss: values.mean() * config.lambda, values: observed });
        }
        let off = off - one_step;
        if off > 0 {
            let (off_points, _) = off_points.split(one_step);
            let pairs = self.config.times.pairs(off, classes, &mut times);
            let mut pass = Pass::train(&mut dropout);
            let (values, norm) = self.off_diagonal(step, &off_points, &pairs, &mut pass, &mut times);
            let observed =
                Observed { name: "distillation", per_example: values.clone().detach().inner(), times: pairs.t.clone() };
            let loss = self.weighted(step.model, values, &pairs) * config.lambda;
            parts.terms.push(LossTerm { loss, values: observed });
            parts.observed.extend(norm.map(|n| Observed { name: "derivative_norm", per_example: n, times: pairs.t }));
        }
        parts
    }
}

/// The endpoints of the paths of a batch.
#[derive(Clone)]
struct NoisedBatch {
    x0: Tensor<3>,
    x1: Tensor<3>,
    ids: Tensor<2, Int>,
    given: Conditioning,
    /// Weights of the sites in an item's mean, `[batch, sites]`; equal ones where there are none.
    weights: Option<Tensor<2>>,
}

impl NoisedBatch {
    /// The batch with its noise. What `hidden` draws is not told; without it labels are, and prefixes are not.
    fn new(
        model: &FlowMapModel,
        batch: &IdBatch,
        config: &FlowMapConfig,
        randomness: &mut Stream,
        hidden: Option<&mut Stream>,
    ) -> Self {
        let sites = model.sites();
        let n = batch.ids.len() / sites.count;
        assert_eq!(batch.ids.len(), n * sites.count, "a batch holds whole items of {} sites", sites.count);
        let device = model.devices().into_iter().next().expect("a model has parameters, and they lie on a device");
        let noise = config.source.draw(n * sites.count, sites.classes, randomness);
        let x0 = source_tensor(noise, [n, sites.count, sites.classes], &device);
        let mut given = Conditioning::of_items(sites, &batch.ids, &x0);
        let ids: Vec<u32> = batch.ids.iter().map(|&id| if id == ABSENT { 0 } else { id }).collect();
        let ids = indices(&ids, [n, sites.count], &device);
        let x1 = given.keep(one_hot(ids.clone(), sites.classes, &x0));
        match (config.condition, hidden) {
            (Condition::Label { dropout }, hidden) => {
                let labels = told(model, batch, n, dropout, hidden);
                given.labels = Some(indices(&labels, [n], &device));
            }
            (Condition::Prefix { dropout, longest }, Some(hidden)) => {
                let longest = longest.unwrap_or(sites.count - 1).min(sites.count);
                let mask = prefixes(n, sites.count, longest, dropout, hidden);
                given.known = Some(x1.clone() * from_host(&mask, [n, sites.count, 1], &x1));
            }
            (Condition::None | Condition::Prefix { .. }, _) => {}
        }
        let weights = sites.as_graph().map(|graph| {
            let weights = site_weights(graph, &sizes(sites, &batch.ids), config.objective.edge_weight);
            from_host(&weights, [n, sites.count], &x0)
        });
        Self { x1, x0: given.noise(x0, sites, config.edge_noise), ids, given, weights }
    }

    fn len(&self) -> usize {
        self.x0.dims()[0]
    }

    /// All but the last `n` items, and the last `n`.
    fn split(self, n: usize) -> (Self, Self) {
        let first = self.len() - n;
        let part = |start: usize, length: usize| Self {
            x0: self.x0.clone().slice_dim(0, start..start + length),
            x1: self.x1.clone().slice_dim(0, start..start + length),
            ids: self.ids.clone().slice_dim(0, start..start + length),
            given: self.given.slice(start..start + length),
            weights: self.weights.clone().map(|w| w.slice_dim(0, start..start + length)),
        };
        if n == 0 { (self.clone(), self) } else { (part(0, first), part(first, n)) }
    }

    fn at(&self, times: &[f64]) -> Tensor<3> {
        interpolate(self.x0.clone(), self.x1.clone(), times)
    }

    /// The mean over the sites of every item: `[batch, sites]` to `[batch]`.
    fn over_sites(&self, per_site: Tensor<2>) -> Tensor<1> {
        match &self.weights {
            Some(weights) => (per_site * weights.clone()).sum_dim(1).squeeze_dim(1),
            None => per_site.mean_dim(1).squeeze_dim(1),
        }
    }
}

/// The labels of a batch, some of them hidden.
fn told(model: &FlowMapModel, batch: &IdBatch, n: usize, dropout: f64, hidden: Option<&mut Stream>) -> Vec<u32> {
    let count = model.label_count().expect("a model whose condition is a label has labels") as u32;
    let labels = batch.labels.clone().expect("a batch for a model whose condition is a label has labels");
    assert_eq!(labels.len(), n, "a batch of {n} items has as many labels");
    assert!(labels.iter().all(|&label| label < count), "labels are below {count}");
    match hidden {
        Some(hidden) => {
            labels.into_iter().map(|label| if hidden.uniform() < dropout { count } else { label }).collect()
        }
        None => labels,
    }
}

/// One for the sites that items are known to begin with, zero for the others.
fn prefixes(n: usize, sites: usize, longest: usize, dropout: f64, hidden: &mut Stream) -> Vec<f64> {
    let mut item = || {
        let (told, length) = (hidden.uniform() >= dropout, 1 + hidden.below(longest));
        (0..sites).map(move |i| f64::from(u8::from(told && i < length)))
    };
    (0..n).flat_map(|_| item()).collect()
}

/// Weights of the sites of graphs: the mean over the nodes and `edge_weight` times the mean over the pairs that are there.
fn site_weights(graph: GraphShape, sizes: &[usize], edge_weight: f64) -> Vec<f64> {
    let row = |&n: &usize| {
        let (node, pair) = (1.0 / n.max(1) as f64, edge_weight / pair_count(n).max(1) as f64);
        graph.sites_of(n).enumerate().map(move |(i, there)| there * if i < graph.nodes { node } else { pair })
    };
    sizes.iter().flat_map(row).collect()
}

/// Times from 0 to 1 with `jumps` steps between them, each even step moved by less than half of its length.
fn random_grid(jumps: usize, randomness: &mut Stream) -> Vec<f64> {
    let inner = (1..jumps).map(|k| (k as f64 + 0.8 * (randomness.uniform() - 0.5)) / jumps as f64);
    std::iter::once(0.0).chain(inner).chain(std::iter::once(1.0)).collect()
}

impl SplitPoint {
    /// Fractions of the way, in (0, 1).
    fn draw(self, n: usize, randomness: &mut Stream) -> Vec<f64> {
        let mut one = || match self {
            Self::Uniform => randomness.uniform(),
            Self::Midpoint => 0.5,
            Self::Mixed => match randomness.below(3) {
                0 => randomness.uniform(),
                1 => 0.5,
                _ => 10f64.powf(-2.0 * randomness.uniform()),
            },
        };
        (0..n).map(|_| one().clamp(1e-3, 1.0 - 1e-3)).collect()
    }
}

/// A teacher: deterministic, without a graph, with label smoothing undone.
struct TeacherView<'a> {
    model: &'a FlowMapModel,
    points: &'a NoisedBatch,
    smoothing: f64,
}

impl TeacherView<'_> {
    fn logits(&self, x: Tensor<3>, s: &[f64], t: &[f64]) -> Tensor<3> {
        let z = evaluate(self.model, x.inner(), s, t, &self.points.given, &mut Pass::eval());
        unsmooth(z.inner(), self.smoothing, self.points.given.open.as_ref()) // weights that track gradients must not make the target follow the student
    }
}

/// Logits of the distribution that a prediction trained on smoothed labels stands for: `(pi - eps/K) / (1 - eps)`.
fn unsmooth(z: Tensor<3>, smoothing: f64, open: Option<&Tensor<3>>) -> Tensor<3> {
    if smoothing == 0.0 {
        return z;
    }
    let pi = match open {
        Some(open) => softmax(z) - open.clone() / open.clone().sum_dim(2) * smoothing,
        None => {
            let classes = z.dims()[2] as f64;
            softmax(z) - smoothing / classes
        }
    };
    (pi / (1.0 - smoothing)).clamp_min(1e-12).log()
}

/// Logits without tangent.
fn evaluate(
    model: &FlowMapModel,
    x: Tensor<3>,
    s: &[f64],
    t: &[f64],
    given: &Conditioning,
    pass: &mut Pass<'_>,
) -> Tensor<3> {
    let (s, t) = (vector(s, &x), vector(t, &x));
    model.logits(x.into(), s.into(), t.into(), given, pass).value
}

/// Logits with their derivative in t at fixed x and s.
fn along_t(
    model: &FlowMapModel,
    x: Tensor<3>,
    pairs: &TimePairs,
    given: &Conditioning,
    pass: &mut Pass<'_>,
) -> Dual<3> {
    let (s, t) = (vector(&pairs.s, &x), vector(&pairs.t, &x));
    let t = Dual::new(t.clone(), t.ones_like());
    model.logits(x.into(), s.into(), t, given, pass)
}

/// Logits with their derivative along `(1-s, pi_ss - x)` on `(s, x)`, `1-s` times the flow's own direction.
fn along_flow(
    model: &FlowMapModel,
    x: Tensor<3>,
    direction: Tensor<3>,
    pairs: &TimePairs,
    given: &Conditioning,
) -> Dual<3> {
    let (s, t) = (vector(&pairs.s, &x), vector(&pairs.t, &x));
    let ds = s.clone().neg() + 1.0;
    model.logits(Dual::new(x, direction), Dual::new(s, ds), t.into(), given, &mut Pass::eval())
}

/// `||d pi||`, root of the mean square over sites, per example and without gradient.
fn drift_norm(z: &Dual<3>, points: &NoisedBatch) -> Option<Tensor<1>> {
    let tangent = z.tangent.clone()?.detach().inner();
    let (_, dpi) = losses::endpoint(Dual::new(z.value.clone().detach().inner(), tangent));
    Some(points.over_sites((dpi.clone() * dpi).sum_dim(2).squeeze_dim(2)).sqrt())
}
