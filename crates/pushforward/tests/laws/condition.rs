//! Conditions and guidance: labels and known sites, in training and in sampling.

use std::ops::ControlFlow;

use burn::module::Module as _;
use burn::tensor::DType;
use pushforward::dual::Dual;
use pushforward::flow_map::backbone::EndpointNet;
use pushforward::flow_map::backbone::Parametrisation;
use pushforward::flow_map::conditioning::Condition;
use pushforward::flow_map::conditioning::Conditioning;
use pushforward::flow_map::config::{FlowMapConfig, ObjectiveConfig, OffDiagonal};
use pushforward::flow_map::interpolant::source_tensor;
use pushforward::flow_map::model::{FlowMapModel, FlowMapModelConfig, Skip};
use pushforward::flow_map::network::NetworkConfig;
use pushforward::flow_map::objective::{FlowMapObjective, IdBatch};
use pushforward::flow_map::sample::guidance::Guided;
use pushforward::flow_map::sample::{Generator, SampleRequest, Sampler, sample};
use pushforward::flow_map::subsets::Subsets;
use pushforward::nn::graph::GraphShape;
use pushforward::nn::mlp::MlpConfig;
use pushforward::nn::pair_transformer::PairTransformerConfig;
use pushforward::nn::{Pass, SiteShape};
use pushforward::rng::{Purpose, stream};
use pushforward::tensor::{cast_module, indices, to_host};
use pushforward::train::config::TrainConfig;
use pushforward::train::objective::{Objective, TrainStep};
use pushforward::train::{TrainRequest, train};

use super::distillation::networks;
use super::dual::randomise;
use super::objective::{config, from_the_start, mlp, objectives};
use crate::support::device;

const LABELS: usize = 3;

/// A model with random weights that takes labels.
fn model(network: &NetworkConfig, sites: SiteShape, parametrisation: Parametrisation) -> FlowMapModel {
    let config = FlowMapModelConfig {
        network: network.clone(),
        skip: Skip::None,
        parametrisation,
        learned_weight: false,
        labels: Some(LABELS),
        smoothing: 0.0,
        observed_length: 1.0,
    };
    let model = config.init(sites, &device().autodiff(), &mut stream(0, Purpose::Init, 0));
    cast_module(randomise(model), DType::F32)
}

/// Logits of two items at `(0.3, 0.8)`.
fn logits(net: &impl EndpointNet, sites: SiteShape, conditioning: &Conditioning) -> Vec<f64> {
    let like = source_tensor(
        stream(1, Purpose::Sample, 0).normals(2 * sites.count * sites.classes),
        [2, sites.count, sites.classes],
        &device(),
    );
    let time = |t: f64| Dual::from(pushforward::tensor::vector(&[t, t], &like));
    to_host(&net.logits(like.clone().into(), time(0.3), time(0.8), conditioning, &mut Pass::eval()).value)
}

fn labelled(labels: [u32; 2]) -> Conditioning {
    Conditioning { labels: Some(indices(&labels, [2], &device())), ..Conditioning::default() }
}

#[test]
fn every_network_hears_the_label_and_a_hidden_one_is_the_last() {
    let mut kinds = networks();
    let graph = GraphShape { nodes: 3, node_classes: 2, edge_classes: 3 };
    let small =
        PairTransformerConfig { width: 8, pair_width: 8, blocks: 1, heads: 2, ..PairTransformerConfig::default() };
    kinds.push(("pairs", NetworkConfig::PairTransformer(small), SiteShape::graph(graph)));
    for (kind, network, sites) in kinds {
        let net = model(&network, sites.clone(), Parametrisation::Endpoint).valid();
        assert_eq!(net.label_count(), Some(LABELS));
        let (a, b) = (logits(&net, sites.clone(), &labelled([0, 2])), logits(&net, sites.clone(), &labelled([1, 2])));
        let half = a.len() / 2;
        assert_ne!(a[..half], b[..half], "{kind}: the label of the first item");
        assert_eq!(a[half..], b[half..], "{kind}: the second item is another");
        assert_eq!(
            logits(&net, sites.clone(), &Conditioning::default()),
            logits(&net, sites, &labelled([LABELS as u32; 2])),
            "{kind}"
        );
    }
}

#[test]
fn guidance_extrapolates_from_the_hidden_condition_or_from_a_weaker_model() {
    let (network, sites) = mlp();
    let net = model(&network, sites.clone(), Parametrisation::Endpoint).valid();
    let weak = cast_module(randomise(moved(&network, sites.clone())), DType::F32).valid();
    let (with, without) =
        (logits(&net, sites.clone(), &labelled([0, 1])), logits(&net, sites.clone(), &Conditioning::default()));
    let theirs = logits(&weak, sites.clone(), &labelled([0, 1]));
    for w in [0.4, 1.0, 3.0] {
        for (weaker, from) in [(None, &without), (Some(&weak), &theirs)] {
            let guided = Guided::new(&net, weaker, w);
            assert_eq!(guided.passes(), 2);
            let found = logits(&guided, sites.clone(), &labelled([0, 1]));
            for ((f, s), b) in found.iter().zip(&with).zip(from) {
                assert!((f - (b + w * (s - b))).abs() < 1e-5, "{w}");
            }
        }
    }
    let request = SampleRequest { labels: vec![0].into(), ..SampleRequest::map(3, 2, 0) };
    let settings = settings(&network, Condition::Label { dropout: 0.1 }, OffDiagonal::default());
    let guided = Guided::new(&net, None, 2.0);
    for (sampler, cost) in [(Sampler::Map, 4), (Sampler::Euler, 4)] {
        let request = SampleRequest { sampler, ..request.clone() };
        assert_eq!(
            sample(
                &Generator::new(&guided, sites.clone(), &device()).with_noise(settings.noise()),
                &request,
                &mut |_| true
            )
            .nfe,
            [cost; 3]
        );
    }
    let adaptive = SampleRequest { sampler: Sampler::Dopri5 { tolerance: 1e-2 }, ..request };
    let alone = sample(
        &Generator::new(&Guided::new(&net, Some(&net), 1.0), sites.clone(), &device()).with_noise(settings.noise()),
        &adaptive,
        &mut |_| true,
    );
    let plain = sample(&Generator::new(&net, sites, &device()).with_noise(settings.noise()), &adaptive, &mut |_| true);
    assert!(
        alone.nfe.iter().zip(&plain.nfe).all(|(a, b)| *a >= 2 * b - 24 && *a > *b),
        "{:?} {:?}",
        alone.nfe,
        plain.nfe
    );
}

/// Another model of the same kind.
fn moved(network: &NetworkConfig, sites: SiteShape) -> FlowMapModel {
    super::distillation::moved(model(network, sites, Parametrisation::Endpoint), 0.5, 3)
}

fn settings(network: &NetworkConfig, condition: Condition, off_diagonal: OffDiagonal) -> FlowMapConfig {
    FlowMapConfig { condition, ..config(network.clone(), from_the_start(off_diagonal)) }
}

#[test]
fn items_take_their_labels_in_turn_whatever_the_batch() {
    let (network, sites) = mlp();
    let net = model(&network, sites.clone(), Parametrisation::Endpoint).valid();
    let settings = settings(&network, Condition::Label { dropout: 0.1 }, OffDiagonal::default());
    let run = |request: &SampleRequest| {
        sample(&Generator::new(&net, sites.clone(), &device()).with_noise(settings.noise()), request, &mut |_| true)
            .endpoints
    };
    let all = SampleRequest { labels: vec![2, 0].into(), ..SampleRequest::map(7, 2, 4) };
    let whole = run(&all);
    let close = |a: &[f32], b: &[f32]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5);
    assert!(close(&run(&SampleRequest { batch: 3, ..all.clone() }), &whole));
    let later = run(&SampleRequest { first: 3, count: 4, ..all.clone() });
    assert!(close(&later, &whole[3 * sites.count * sites.classes..]));
    assert!(!close(&run(&SampleRequest { labels: vec![0, 2].into(), ..all }), &whole));
}

#[test]
fn what_is_told_is_kept_by_every_sampler_and_seen_clean() {
    let prefix = Condition::Prefix { dropout: 0.1, longest: None };
    let observed = Condition::Observed { dropout: 0.1, subsets: Subsets::Mixed, labels: false };
    for ((kind, network, sites), condition) in networks().into_iter().flat_map(|n| [(n.clone(), prefix), (n, observed)])
    {
        let net = model(&network, sites.clone(), Parametrisation::Endpoint).valid();
        let settings = settings(&network, condition, OffDiagonal::default());
        let mut told = vec![None; sites.count];
        (told[0], told[1]) = (Some(2), Some(1));
        for sampler in
            [Sampler::Map, Sampler::Euler, Sampler::Heun, Sampler::RENOISE, Sampler::Dopri5 { tolerance: 1e-2 }]
        {
            let grid = sampler.grid(3).expect("three evaluations");
            let request = SampleRequest { sampler, grid, observed: vec![told.clone()], ..SampleRequest::map(5, 1, 3) };
            let ids = sample(
                &Generator::new(&net, sites.clone(), &device()).with_noise(settings.noise()),
                &request,
                &mut |_| true,
            )
            .ids;
            assert!(ids.chunks(sites.count).all(|item| item[..2] == [2, 1]), "{kind}, {sampler:?}");
        }
        // The point at a known site has no influence.
        let like =
            source_tensor(vec![0.0f32; 2 * sites.count * sites.classes], [2, sites.count, sites.classes], &device());
        let conditioning = Conditioning::default().with_observed(&sites, [&told[..]], &like);
        let time = Dual::from(pushforward::tensor::vector(&[0.4, 0.4], &like));
        let at = |level: f64| {
            let x = like.clone().slice_fill([0..2, 0..2], level);
            to_host(&net.logits(x.into(), time.clone(), time.clone(), &conditioning, &mut Pass::eval()).value)
        };
        assert_eq!(at(0.0), at(5.0), "{kind}");
        assert_ne!(logits(&net, sites.clone(), &conditioning), logits(&net, sites, &Conditioning::default()), "{kind}");
    }
}

fn batch(sites: SiteShape, n: usize) -> IdBatch {
    let ids = (0..n * sites.count).map(|i| (i * 7 % 5 % sites.classes) as u32).collect();
    IdBatch { ids, labels: Some((0..n as u32).map(|i| i % LABELS as u32).collect()) }
}

#[test]
fn every_objective_trains_under_every_condition() {
    let (network, sites) = mlp();
    for off_diagonal in objectives() {
        let observed = Condition::Observed { dropout: 0.3, subsets: Subsets::Mixed, labels: true };
        let prefix = Condition::Prefix { dropout: 0.3, longest: None };
        for condition in [Condition::Label { dropout: 0.3 }, prefix, observed] {
            let naive = off_diagonal == OffDiagonal::Naive;
            let settings = settings(&network, condition, off_diagonal);
            if naive && condition != (Condition::Label { dropout: 0.3 }) {
                assert!(settings.validate().unwrap_err().to_string().contains("prefix"));
                continue;
            }
            settings.validate().expect("a condition that fits");
            let model = model(&network, sites.clone(), off_diagonal.parametrisation());
            let objective = FlowMapObjective::new(settings, None);
            let ema = model.valid();
            let step = TrainStep { model: &model, ema: &ema, seed: 5, index: 3, step: 3, steps: 10 };
            let parts = objective.loss(&step, &batch(sites.clone(), 16));
            let loss = parts.terms.iter().map(|t| t.loss.clone()).reduce(|a, b| a + b).expect("a loss has terms");
            let grads = loss.backward();
            let table = model.labels.as_ref().expect("the model has labels").val();
            let slope = to_host(&table.grad(&grads).expect("labels are labelled or hidden"));
            assert!(slope.iter().all(|v| v.is_finite()), "{off_diagonal:?}");
            let rows = slope.chunks(slope.len() / (LABELS + 1)).map(|row| row.iter().any(|v| *v != 0.0));
            let reached: Vec<bool> = rows.collect();
            let wanted = condition.takes_labels();
            assert_eq!(reached, [wanted, wanted, wanted, true], "{off_diagonal:?}, {condition:?}");
        }
    }
}

#[test]
fn known_sites_have_no_loss() {
    let (network, sites) = mlp();
    let objective = |longest| {
        let diagonal = ObjectiveConfig { share: 0.0, ..ObjectiveConfig::default() };
        let condition = Condition::Prefix { dropout: 0.0, longest: Some(longest) };
        FlowMapObjective::new(FlowMapConfig { condition, ..config(network.clone(), diagonal) }, None)
    };
    let model = model(&network, sites.clone(), Parametrisation::Endpoint);
    let ema = model.valid();
    let step = TrainStep { model: &model, ema: &ema, seed: 5, index: 3, step: 3, steps: 10 };
    // Every site of some items is known: nothing is left to predict there.
    let values = to_host(&objective(sites.count).loss(&step, &batch(sites.clone(), 32)).terms[0].values.per_example);
    let free = values.iter().filter(|v| **v > 1e-6).count();
    assert!((1..32).contains(&free), "{values:?}");
    let one = to_host(&objective(1).loss(&step, &batch(sites, 32)).terms[0].values.per_example);
    assert!(one.iter().all(|v| *v > 1e-6));
}

#[test]
fn a_model_learns_what_its_labels_mean_and_what_hidden_ones_do_not_say() {
    let sites = SiteShape::line(2, LABELS);
    let network = NetworkConfig::Mlp(MlpConfig { width: 32, blocks: 1, time_width: 16, ..MlpConfig::default() });
    let settings = settings(&network, Condition::Label { dropout: 0.5 }, OffDiagonal::None);
    let device = device().autodiff();
    let model = settings.model(Some(LABELS)).init(sites.clone(), &device, &mut stream(0, Purpose::Init, 0));
    let objective = FlowMapObjective::new(settings.clone(), None);
    // Label y stands for the pair (y, y).
    let batch = |index: u64| {
        let labels: Vec<u32> = (0..64).map(|i| ((index as u32).wrapping_mul(5) + i) % LABELS as u32).collect();
        IdBatch { ids: labels.iter().flat_map(|&y| [y, y]).collect(), labels: Some(labels) }
    };
    let config = TrainConfig { steps: 300, lr: 5e-3, warmup: 10, ..TrainConfig::default() };
    let request = TrainRequest { seed: 1, ..TrainRequest::new(model, &objective, &batch, config) };
    let net = train(request, &mut |_| ControlFlow::Continue(())).expect("the run ends").model.valid();
    let run = |labels: Vec<u32>| {
        let request = SampleRequest { sampler: Sampler::Euler, labels: labels.into(), ..SampleRequest::map(60, 16, 2) };
        sample(
            &Generator::new(&net, sites.clone(), &crate::support::device()).with_noise(settings.noise()),
            &request,
            &mut |_| true,
        )
        .ids
    };
    for label in 0..LABELS as u32 {
        let right = run(vec![label]).chunks(2).filter(|pair| *pair == [label; 2]).count();
        assert!(right >= 57, "label {label}: {right} of 60");
    }
    let free = run(Vec::new());
    for label in 0..LABELS as u32 {
        assert!(free.chunks(2).filter(|pair| pair[0] == label).count() >= 5, "without a label all occur: {free:?}");
    }
}
