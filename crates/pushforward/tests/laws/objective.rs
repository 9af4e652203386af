//! The training objective: which parameters get gradients, which teacher it follows, and its weights.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Gradients, Tensor};
use pushforward::flow_map::conditioning::Condition;
use pushforward::flow_map::config::{
    FlowMapConfig, Mmd, ObjectiveConfig, OffDiagonal, OneStep, SplitPoint, Teacher, TeacherJump, Weighting,
};
use pushforward::flow_map::likelihood::{BoundRequest, bound};
use pushforward::flow_map::losses::{EcldPreset, GradientPath};
use pushforward::flow_map::map::FlowMap;
use pushforward::flow_map::model::{FlowMapModel, Skip};
use pushforward::flow_map::network::{Network, NetworkConfig};
use pushforward::flow_map::objective::{FlowMapObjective, IdBatch};
use pushforward::flow_map::sample::{Generator, LastStep, SampleRequest, Sampler, sample};
use pushforward::flow_map::time::TimeGrid;
use pushforward::flow_map::times::TimesConfig;
use pushforward::nn::SiteShape;
use pushforward::nn::mlp::MlpConfig;
use pushforward::rng::{Purpose, stream};
use pushforward::tensor::{cast_module, to_host};
use pushforward::train::objective::{LossParts, LossTerm, Objective, TrainStep};

use super::distillation::{model, moved, networks};
use super::dual::randomise;
use crate::support::{close, device, tracked};

/// Every off-diagonal objective, each with a setting of its own.
pub(crate) fn objectives() -> Vec<OffDiagonal> {
    vec![
        OffDiagonal::Csd { gradient: GradientPath::Published },
        OffDiagonal::Csd { gradient: GradientPath::Full },
        OffDiagonal::Lsd { floor: 0.05 },
        OffDiagonal::Ecld { weights: EcldPreset::Paper },
        OffDiagonal::Ecld { weights: EcldPreset::Text },
        OffDiagonal::Psd { split: SplitPoint::Mixed },
        OffDiagonal::Trajectory { steps: 3, by: TeacherJump::Euler, power: 1.0 },
        OffDiagonal::Trajectory { steps: 2, by: TeacherJump::Heun, power: 0.75 },
        OffDiagonal::LsdLogit { floor: 0.01, gradient: GradientPath::Published },
        OffDiagonal::LsdLogit { floor: 0.01, gradient: GradientPath::Full },
        OffDiagonal::EsdLogit { floor: 0.01 },
        OffDiagonal::Naive,
    ]
}

pub(crate) fn config(network: NetworkConfig, objective: ObjectiveConfig) -> FlowMapConfig {
    let times = TimesConfig { boundary: 0.25, ..TimesConfig::default() };
    FlowMapConfig { times, ..FlowMapConfig::new(network, objective) }
}

pub(crate) fn from_the_start(off_diagonal: OffDiagonal) -> ObjectiveConfig {
    ObjectiveConfig { off_diagonal, start: 0.0, ..ObjectiveConfig::default() }
}

/// Training runs in float32, the precision of its noise.
pub(crate) fn trained(network: &NetworkConfig, sites: SiteShape, learned: bool) -> FlowMapModel {
    cast_module(model(network, sites, Skip::None, learned), DType::F32)
}

pub(crate) fn mlp() -> (NetworkConfig, SiteShape) {
    let sites = SiteShape::line(2, 3);
    (NetworkConfig::Mlp(MlpConfig { width: 8, blocks: 1, time_width: 4, ..MlpConfig::default() }), sites)
}

pub(crate) fn batch(sites: SiteShape, n: usize) -> IdBatch {
    IdBatch { ids: (0..n * sites.count).map(|i| (i * 7 % 5 % sites.classes) as u32).collect(), labels: None }
}

/// The loss of a batch of eight at optimiser step `step` of 10.
fn loss_at(config: &FlowMapConfig, model: &FlowMapModel, ema: &FlowMapModel, step: u64) -> LossParts {
    let objective = FlowMapObjective::new(config.clone(), None);
    let step = TrainStep { model, ema, seed: 5, index: step, step, steps: 10 };
    objective.loss(&step, &batch(model.sites(), 8))
}

fn loss(config: &FlowMapConfig, model: &FlowMapModel, ema: &FlowMapModel) -> LossParts {
    loss_at(config, model, ema, 3)
}

fn total(parts: &LossParts) -> Tensor<1> {
    parts.terms.iter().map(|t| t.loss.clone()).reduce(|a, b| a + b).expect("a loss has terms")
}

/// Largest entry of every parameter's gradient, 0 without a gradient.
fn sizes<M: Module>(module: &M, grads: &Gradients) -> Vec<f64> {
    struct Sizes<'a>(&'a Gradients, Vec<f64>);
    impl ModuleVisitor for Sizes<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let gradient = param.val().grad(self.0).map_or_else(Vec::new, |g| to_host(&g));
            assert!(gradient.iter().all(|v| v.is_finite()), "a gradient is not finite");
            self.1.push(gradient.iter().fold(0.0, |m, v| m.max(v.abs())));
        }
    }
    let mut visitor = Sizes(grads, Vec::new());
    module.visit(&mut visitor);
    visitor.1
}

#[test]
fn every_parameter_is_reached_by_every_objective() {
    for (kind, network, sites) in networks() {
        for off_diagonal in objectives() {
            let weighting = if off_diagonal == OffDiagonal::Naive { Weighting::Uniform } else { Weighting::Learned };
            let config = config(network.clone(), ObjectiveConfig { weighting, ..from_the_start(off_diagonal) });
            let model = trained(&network, sites.clone(), weighting == Weighting::Learned);
            let parts = loss(&config, &model, &model.valid());
            assert_eq!(parts.terms.len(), 2, "{kind}, {off_diagonal:?}");
            for term in &parts.terms {
                let values = to_host(&term.values.per_example);
                assert!(
                    values.len() == 4 && values.iter().all(|v| v.is_finite()),
                    "{kind}, {off_diagonal:?}: {values:?}"
                );
                assert_eq!(term.values.times.len(), 4);
            }
            let sizes = sizes(&model, &total(&parts).backward());
            let names: Vec<String> = pushforward::params::collect(&model).into_iter().map(|(name, _)| name).collect();
            for (size, name) in sizes.iter().zip(names) {
                assert!(*size > 0.0, "{kind}, {off_diagonal:?}: no gradient of {name}");
            }
        }
    }
}

#[test]
fn no_gradient_reaches_the_teacher() {
    let (network, sites) = mlp();
    let model = trained(&network, sites.clone(), false);
    // A teacher with gradient tracking.
    let teacher = cast_module(moved(model.clone(), 0.5, 1), DType::F32);
    for off_diagonal in objectives() {
        let with =
            |teacher: Teacher| config(network.clone(), ObjectiveConfig { teacher, ..from_the_start(off_diagonal) });
        let parts = loss(&with(Teacher::Ema), &model, &teacher);
        let value = to_host(&parts.terms[1].values.per_example);
        let grads = total(&parts).backward();
        let reached = sizes(&teacher, &grads);
        assert!(reached.iter().all(|v| *v == 0.0), "{off_diagonal:?}: {reached:?}");
        // The average is the teacher if configured, and only then.
        let online =
            |ema: &FlowMapModel| to_host(&loss(&with(Teacher::Online), &model, ema).terms[1].values.per_example);
        assert_eq!(online(&teacher), online(&model.valid()), "{off_diagonal:?}");
        assert_ne!(online(&teacher), value, "{off_diagonal:?}");
        assert_eq!(
            to_host(&loss(&with(Teacher::Ema), &model, &model.valid()).terms[1].values.per_example),
            online(&teacher)
        );
        // An online teacher is a constant: the gradient is that of an average which happens to be equal.
        let gradient = |teacher| sizes(&model, &total(&loss(&with(teacher), &model, &model.valid())).backward());
        close(&format!("{off_diagonal:?}"), &gradient(Teacher::Online), &gradient(Teacher::Ema), 1e-5);
    }
    let frozen = Teacher::Frozen { checkpoint: String::new(), initialise: false };
    let config = config(network.clone(), ObjectiveConfig { teacher: frozen, ..from_the_start(OffDiagonal::default()) });
    let objective = FlowMapObjective::new(config, Some(teacher.clone()));
    let step = TrainStep { model: &model, ema: &model.valid(), seed: 5, index: 3, step: 3, steps: 10 };
    let parts = objective.loss(&step, &batch(sites, 8));
    assert!(sizes(&teacher, &total(&parts).backward()).iter().all(|v| *v == 0.0));
}

/// A perceptron with the given constant logits, trained with label smoothing.
fn constant(z: &[f64], sites: SiteShape, network: &NetworkConfig, smoothing: f64) -> FlowMapModel {
    let config = config(network.clone(), ObjectiveConfig { smoothing, ..from_the_start(OffDiagonal::default()) });
    let model = config.model(None).init(sites.clone(), &device().autodiff(), &mut stream(0, Purpose::Init, 0));
    let mut model = cast_module(randomise(model), DType::F32);
    let Network::Mlp(mlp) = &mut model.network else { panic!("the network is a perceptron") };
    let weight = mlp.output.weight.val().detach().zeros_like();
    mlp.output.weight = Param::from_tensor(weight);
    let bias: Tensor<1> = tracked(&z.repeat(sites.count), [z.len() * sites.count]);
    mlp.output.bias = Some(Param::from_tensor(bias.cast(DType::F32).detach()));
    model
}

const EPS: f64 = 0.1;

/// Logits that a perfect diagonal has after training with label smoothing.
fn smoothed(q: [f64; 3]) -> [f64; 3] {
    q.map(|q| ((1.0 - EPS) * q + EPS / 3.0).ln())
}

#[test]
fn label_smoothing_is_undone_in_the_teacher() {
    let (network, sites) = mlp();
    let q = [0.7, 0.25, 0.05];
    let student = constant(&q.map(f64::ln), sites.clone(), &network, EPS);
    let distance = |smoothing: f64| {
        let config = config(network.clone(), ObjectiveConfig { smoothing, ..from_the_start(OffDiagonal::default()) });
        let teacher = constant(&smoothed(q), sites.clone(), &network, smoothing);
        to_host(&loss(&config, &student, &teacher.valid()).terms[1].values.per_example)
    };
    assert!(distance(EPS).iter().all(|v| v.abs() < 1e-6), "{:?}", distance(EPS));
    assert!(distance(0.0).iter().all(|v| *v > 1e-3), "{:?}", distance(0.0));
}

/// The bound, validation and draws of a perfect model are those of a perfect model without smoothing.
#[test]
fn label_smoothing_is_undone_for_whoever_asks() {
    let (network, sites) = mlp();
    let q = [0.7, 0.299, 0.001];
    let (with, without) = (
        constant(&smoothed(q), sites.clone(), &network, EPS).valid(),
        constant(&q.map(f64::ln), sites.clone(), &network, 0.0).valid(),
    );
    let items = batch(sites.clone(), 8);
    let [a, b] = [(&with, EPS), (&without, 0.0)].map(|(model, smoothing)| {
        let config = config(network.clone(), ObjectiveConfig { smoothing, ..from_the_start(OffDiagonal::default()) });
        let validation = FlowMapObjective::new(config, None).validation(model, &items, 0, 0);
        let bound =
            bound(&FlowMap::new(model), sites.clone(), &items.ids, 0, &BoundRequest::default(), &device()).values;
        let request = SampleRequest {
            sampler: Sampler::Euler,
            grid: TimeGrid::uniform(4),
            last: LastStep::Draw,
            ..SampleRequest::map(500, 4, 0)
        };
        let samples = sample(&Generator::new(model, sites.clone(), &device()), &request, &mut |_| true);
        (to_host(&validation.per_example), bound, samples.ids)
    });
    let off = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).abs() / b).fold(0.0, f64::max);
    assert!(off(&a.0, &b.0) < 1e-3 && off(&a.1, &b.1) < 1e-4, "{a:?} {b:?}");
    let rare = a.2.iter().filter(|&&id| id == 2).count();
    assert!(rare < 10, "of 1000 sites, {rare} have a class of probability 0.001");
}

/// Known sites have one class, to which the smoothed share goes, too.
#[test]
fn label_smoothing_spares_known_sites() {
    let (network, sites) = mlp();
    let objective = ObjectiveConfig { smoothing: EPS, ..from_the_start(OffDiagonal::None) };
    let mut config = config(network.clone(), objective);
    config.condition = Condition::Prefix { dropout: 0.0, longest: Some(1) };
    let model = constant(&[0.0; 3], sites, &network, EPS);
    let found = to_host(&loss(&config, &model, &model.valid()).terms[0].values.per_example);
    // One of the two sites is known; the other has ln 3.
    assert!(found.iter().all(|nats| (nats - 3f64.ln() / 2.0).abs() < 1e-5), "{found:?}");
}

#[test]
fn single_examples_are_dealt_to_all_terms() {
    let (network, sites) = mlp();
    let one_step = Some(OneStep { share: 0.5, jumps: 2, by: TeacherJump::Map, power: 1.0, mmd: None });
    let objective = ObjectiveConfig { share: 0.5, one_step, ..from_the_start(OffDiagonal::default()) };
    let objective = FlowMapObjective::new(config(network.clone(), objective), None);
    let model = trained(&network, sites.clone(), false);
    let names = (0..8).map(|index| {
        let step = TrainStep { model: &model, ema: &model.valid(), seed: 5, index, step: 3, steps: 10 };
        let mut terms = objective.loss(&step, &batch(sites.clone(), 1)).terms;
        assert_eq!(terms.len(), 1);
        let LossTerm { loss, values } = terms.remove(0);
        // Over the run every term has the weight that it has in a batch with examples of all.
        let expected = if values.name == "diagonal" { 2.0 } else { 4.0 };
        let (loss, value) = (to_host(&loss)[0], to_host(&values.per_example)[0]);
        assert!((loss / value - expected).abs() < 1e-5, "{}: {loss} {value}", values.name);
        values.name
    });
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    assert_eq!(
        names,
        ["diagonal", "diagonal", "diagonal", "diagonal", "distillation", "distillation", "one_step", "one_step"]
    );
}

#[test]
fn the_one_step_map_follows_jumps_of_the_teacher() {
    let (network, sites) = mlp();
    let (p, q) = ([0.7, 0.25, 0.05], [0.2, 0.3, 0.5]);
    let (student, teacher) =
        (constant(&q.map(f64::ln), sites.clone(), &network, 0.0), constant(&p.map(f64::ln), sites, &network, 0.0));
    let parts = |share: f64| {
        let one_step = Some(OneStep { share, jumps: 3, by: TeacherJump::Map, power: 1.0, mmd: None });
        let csd = OffDiagonal::Csd { gradient: GradientPath::Full };
        let config = config(network.clone(), ObjectiveConfig { one_step, ..from_the_start(csd) });
        loss(&config, &student, &teacher.valid()).terms
    };
    let names = |share: f64| -> Vec<(&str, usize)> {
        parts(share).iter().map(|t| (t.values.name, t.values.per_example.dims()[0])).collect()
    };
    assert_eq!(names(0.0), [("diagonal", 4), ("distillation", 4)]);
    assert_eq!(names(0.25), [("diagonal", 4), ("one_step", 1), ("distillation", 3)]);
    assert_eq!(names(1.0), [("diagonal", 4), ("one_step", 4)]);
    // With constant logits, a jump to the end arrives at their distribution, whatever the noise and the times.
    let wanted: f64 = p.iter().zip(q).map(|(p, q)| p * (p / q).ln()).sum();
    let found = parts(1.0).pop().expect("a term").values;
    assert!(to_host(&found.per_example).iter().all(|v| (v - wanted).abs() < 1e-5), "not {wanted}");
    assert_eq!(found.times, [1.0; 4]);
}

#[test]
fn the_law_of_one_step_samples_is_compared_with_that_of_the_data() {
    let (network, sites) = mlp();
    let of = |weight: Option<f64>| {
        let mmd = weight.map(|weight| Mmd { weight, scale: 2.0 });
        let one_step = Some(OneStep { share: 0.5, jumps: 2, by: TeacherJump::Map, power: 1.0, mmd });
        let csd = OffDiagonal::Csd { gradient: GradientPath::Full };
        let config = config(network.clone(), ObjectiveConfig { one_step, ..from_the_start(csd) });
        // Every sample is (0, 0).
        let student = constant(&[0.6f64.ln(), 0.3f64.ln(), 0.1f64.ln()], sites.clone(), &network, 0.0);
        loss(&config, &student, &student.valid())
    };
    let (without, with) = (of(None), of(Some(3.0)));
    let observed = with.observed.iter().find(|observed| observed.name == "mmd").expect("it is logged");
    let found = to_host(&observed.per_example)[0];
    let ids = batch(sites.clone(), 8).ids;
    let rows: Vec<&[u32]> = ids.chunks(2).collect();
    let k = |a: &[u32], b: &[u32]| (2.0 * (a.iter().zip(b).filter(|(a, b)| a == b).count() as f64 / 2.0 - 1.0)).exp();
    let data: f64 = (0..64).filter(|i| i / 8 != i % 8).map(|i| k(rows[i / 8], rows[i % 8])).sum::<f64>() / 56.0;
    // The two samples belong to the last two rows, with which they are not compared.
    let near: Vec<f64> = rows.iter().map(|row| k(&[0, 0], row)).collect();
    let cross = (2.0 * near.iter().sum::<f64>() - near[6] - near[7]) / 14.0;
    let wanted = (1.0 - 2.0 * cross + data) / data;
    assert!((found - wanted).abs() < 1e-5, "{found} {wanted}");
    let more = to_host(&total(&with))[0] - to_host(&total(&without))[0];
    assert!((more - 3.0 * wanted).abs() < 1e-5, "{more}");
    let names = |parts: &LossParts| parts.terms.iter().map(|term| term.values.name).collect::<Vec<_>>();
    assert_eq!(names(&with), names(&without));
}

#[test]
fn holes_of_rows_do_not_count() {
    let (network, sites) = mlp();
    let objective = FlowMapObjective::new(config(network.clone(), from_the_start(OffDiagonal::None)), None);
    let absent = u32::MAX;
    let values = |model: &FlowMapModel, ids: &[u32]| {
        let batch = IdBatch { ids: ids.to_vec(), labels: None };
        to_host(&objective.validation(model, &batch, 0, 0).per_example)
    };
    let law = [0.6f64, 0.3, 0.1];
    let still = constant(&law.map(f64::ln), sites.clone(), &network, 0.0);
    let found = values(&still, &[0, 1, absent, 1, 2, absent, absent, absent]);
    let nats = law.map(|p| -p.ln() / 2.0);
    for (found, wanted) in found.into_iter().zip([nats[0] + nats[1], nats[1], nats[2], 0.0]) {
        assert!((found - wanted).abs() < 1e-5, "{found} {wanted}");
    }
    // Other rows do not see them.
    let trained = trained(&network, sites, false);
    let [whole, holes] = [[0, 1, 1, 2], [0, 1, absent, 2]].map(|ids| values(&trained, &ids));
    assert!(whole[0] == holes[0] && whole[1] > holes[1], "{whole:?} {holes:?}");
}

#[test]
fn the_teacher_of_the_one_step_map_may_follow_its_diagonal() {
    let (network, sites) = mlp();
    let values = |model: &FlowMapModel, by: TeacherJump| {
        let one_step = Some(OneStep { share: 1.0, jumps: 3, by, power: 1.0, mmd: None });
        let csd = OffDiagonal::Csd { gradient: GradientPath::Full };
        let config = config(network.clone(), ObjectiveConfig { one_step, ..from_the_start(csd) });
        to_host(&loss(&config, model, &model.valid()).terms[1].values.per_example)
    };
    // The two agree where the endpoint does not depend on the times, and differ elsewhere.
    let [map, euler] = [TeacherJump::Map, TeacherJump::Euler];
    let mut still = trained(&network, sites, false);
    assert_ne!(values(&still, map), values(&still, euler));
    let Network::Mlp(mlp) = &mut still.network else { panic!("the network is a perceptron") };
    mlp.time = mlp.time.clone().map(&mut Constant(0.0));
    assert_eq!(values(&still, map), values(&still, euler));
    assert!(values(&still, map).iter().any(|v| *v > 1e-4), "nothing to learn");
}

#[test]
fn share_start_and_factor_shape_the_loss() {
    let (network, sites) = mlp();
    let model = trained(&network, sites, false);
    let ema = moved(model.clone(), 0.5, 1).valid();
    let parts = |objective: ObjectiveConfig, step| loss_at(&config(network.clone(), objective), &model, &ema, step);
    let late = ObjectiveConfig { start: 0.5, ..ObjectiveConfig::default() };
    assert_eq!(parts(late.clone(), 4).terms.len(), 1);
    assert_eq!(parts(late.clone(), 4).terms[0].values.times.len(), 8);
    assert_eq!(parts(late, 5).terms.len(), 2);
    assert_eq!(parts(from_the_start(OffDiagonal::None), 9).terms.len(), 1);
    let quarter = parts(ObjectiveConfig { share: 0.25, lambda: 3.0, ..from_the_start(OffDiagonal::default()) }, 9);
    let values = |i: usize| to_host(&quarter.terms[i].values.per_example);
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    assert_eq!((values(0).len(), values(1).len()), (6, 2));
    close("diagonal", &to_host(&quarter.terms[0].loss), &[mean(&values(0))], 1e-5);
    close("distillation", &to_host(&quarter.terms[1].loss), &[3.0 * mean(&values(1))], 1e-5);
}

#[test]
fn adaptive_and_learned_weights() {
    let (network, sites) = mlp();
    let ema = moved(trained(&network, sites.clone(), false), 0.5, 1).valid();
    let run = |weighting: Weighting, constant: Option<f64>| {
        let mut model = trained(&network, sites.clone(), constant.is_some());
        model.pair_weight = model.pair_weight.map(|w| w.map(&mut Constant(constant.unwrap_or(0.0))));
        let objective = ObjectiveConfig { weighting, share: 0.125, ..from_the_start(OffDiagonal::default()) };
        let parts = loss(&config(network.clone(), objective), &model, &ema);
        let value = to_host(&parts.terms[1].values.per_example)[0];
        let scalar = to_host(&parts.terms[1].loss)[0];
        let grads = parts.terms[1].loss.clone().backward();
        (value, scalar, sizes(&model.network, &grads), sizes(&model.pair_weight, &grads))
    };
    let (value, plain, gradient, _) = run(Weighting::Uniform, None);
    assert!(value > 1e-2 && (plain - value).abs() < 1e-6, "one example: {value} {plain}");
    // The weight is a constant: it scales the gradient as it scales the loss.
    let (power, floor) = (0.75, 0.01);
    let factor = (value + floor).powf(-power);
    let (_, scalar, adaptive, _) = run(Weighting::Adaptive { power, floor }, None);
    close("adaptive loss", &[scalar], &[factor * value], 1e-4);
    close("adaptive gradient", &adaptive, &gradient.iter().map(|g| g * factor).collect::<Vec<_>>(), 1e-4);
    for w in [0.0, 0.8, -1.5f64] {
        let (_, scalar, learned, own) = run(Weighting::Learned, Some(w));
        close("learned loss", &[scalar], &[(-w).exp() * value + w], 1e-4);
        close("learned gradient", &learned, &gradient.iter().map(|g| g * (-w).exp()).collect::<Vec<_>>(), 1e-4);
        // d/dw = 1 - exp(-w) L: the last parameter is the bias.
        close("offset", &own[own.len() - 1..], &[(1.0 - (-w).exp() * value).abs()], 1e-4);
    }
}

/// Sets matrices to zero and vectors to a number.
struct Constant(f64);

impl ModuleMapper for Constant {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, value, mapper) = param.consume();
        let fill = if D == 1 { self.0 } else { 0.0 };
        Param::from_mapped_value(id, (value.detach().zeros_like() + fill).detach().require_grad(), mapper)
    }
}

#[test]
fn published_csd_says_nothing_about_the_last_jump() {
    let (network, sites) = mlp();
    let model = trained(&network, sites, false);
    let ema = moved(model.clone(), 0.5, 1).valid();
    let gradient = |off_diagonal| {
        let mut config = config(network.clone(), from_the_start(off_diagonal));
        config.times.boundary = 1.0;
        sizes(&model, &loss(&config, &model, &ema).terms.remove(1).loss.backward()).into_iter().fold(0.0, f64::max)
    };
    assert!(gradient(OffDiagonal::Csd { gradient: GradientPath::Published }) < 1e-9);
    assert!(gradient(OffDiagonal::Csd { gradient: GradientPath::Full }) > 1e-3);
    assert!(gradient(OffDiagonal::default()) > 1e-3);
}

#[test]
fn a_temperature_is_that_of_the_teachers_diagonal() {
    let (network, sites) = mlp();
    let model = trained(&network, sites, false);
    let teacher = cast_module(moved(model.clone(), 0.5, 1), DType::F32).valid();
    // Half the temperature is twice the last layer.
    let mut sharp = teacher.clone();
    let Network::Mlp(net) = &mut sharp.network else { unreachable!("it is a perceptron") };
    net.output.weight = net.output.weight.clone().map(|w| w * 2.0);
    net.output.bias = net.output.bias.clone().map(|bias| bias.map(|b| b * 2.0));
    for off_diagonal in objectives() {
        let with =
            |temperature: f64| config(network.clone(), ObjectiveConfig { temperature, ..from_the_start(off_diagonal) });
        let lagrangian = matches!(
            off_diagonal,
            OffDiagonal::Csd { .. } | OffDiagonal::Lsd { .. } | OffDiagonal::Ecld { .. } | OffDiagonal::LsdLogit { .. }
        );
        assert_eq!(with(0.5).validate().is_ok(), lagrangian, "{off_diagonal:?}");
        if lagrangian {
            let values = |config: &FlowMapConfig, ema: &FlowMapModel| {
                loss(config, &model, ema).terms.iter().map(|t| to_host(&t.values.per_example)).collect::<Vec<_>>()
            };
            let (half, sharp, whole) =
                (values(&with(0.5), &teacher), values(&with(1.0), &sharp), values(&with(1.0), &teacher));
            close("half the temperature", &half[1], &sharp[1], 1e-5);
            assert_eq!(half[0], whole[0], "{off_diagonal:?}: the diagonal has the data's law");
            assert_ne!(half[1], whole[1], "{off_diagonal:?}");
        }
    }
}
