//! Records: sequences that end before their last site.

use burn::module::Module as _;
use burn::tensor::DType;
use pushforward::data::sequences::{Alphabet, SequenceLayout};
use pushforward::data::{Layout, Schema};
use pushforward::dual::Dual;
use pushforward::flow_map::backbone::EndpointNet as _;
use pushforward::flow_map::conditioning::{Condition, Conditioning};
use pushforward::flow_map::config::{FlowMapConfig, ObjectiveConfig, OffDiagonal};
use pushforward::flow_map::interpolant::source_tensor;
use pushforward::flow_map::likelihood::{BoundRequest, bound};
use pushforward::flow_map::map::FlowMap;
use pushforward::flow_map::model::{FlowMapModel, FlowMapModelConfig, Skip};
use pushforward::flow_map::network::NetworkConfig;
use pushforward::flow_map::objective::{FlowMapObjective, IdBatch};
use pushforward::flow_map::sample::{Generator, LastStep, SampleRequest, Sampler, sample};
use pushforward::flow_map::subsets::Subsets;
use pushforward::nn::dilated::DilatedConfig;
use pushforward::nn::dit::DitConfig;
use pushforward::nn::mlp::MlpConfig;
use pushforward::nn::{Pass, SiteShape};
use pushforward::node_pairs::ABSENT;
use pushforward::rng::{Purpose, stream};
use pushforward::run::{TrainedFlowMap, site_shape};
use pushforward::tensor::{cast_module, to_host, vector};
use pushforward::train::objective::{Objective as _, TrainStep};

use super::dual::randomise;
use super::objective::config;
use crate::support::device;

const SITES: SiteShape = SiteShape::record(5, 4);

fn networks() -> [NetworkConfig; 3] {
    let dit = DitConfig { width: 16, blocks: 1, heads: 2, cond: 8, time_width: 8, ..DitConfig::default() };
    let dilated = DilatedConfig {
        width: 16,
        blocks: 2,
        kernel: 3,
        dilations: vec![1, 2],
        cond: 8,
        time_width: 8,
        rounds: 1,
        ..Default::default()
    };
    let mlp = MlpConfig { width: 16, blocks: 1, time_width: 8, ..MlpConfig::default() };
    [NetworkConfig::Dit(dit), NetworkConfig::Dilated(dilated), NetworkConfig::Mlp(mlp)]
}

fn model(network: NetworkConfig, sites: SiteShape) -> FlowMapModel {
    let model = FlowMapModelConfig {
        network,
        skip: Skip::None,
        parametrisation: Default::default(),
        learned_weight: false,
        labels: None,
        smoothing: 0.0,
        observed_length: 4.0,
    };
    let model = randomise(model.init(sites, &device().autodiff(), &mut stream(0, Purpose::Init, 0)));
    cast_module(model.valid(), DType::F32)
}

#[test]
fn what_stands_after_the_end_is_not_seen_and_the_end_is() {
    for network in networks() {
        let net = model(network.clone(), SITES);
        let logits = |sizes: [usize; 2], filled: f32| {
            let mut values = stream(1, Purpose::Sample, 0).normals(2 * 5 * 4);
            values[3 * 4..5 * 4].fill(filled);
            let x = source_tensor(values, [2, 5, 4], &device());
            let conditioning = Conditioning::of_sizes(&SITES, &sizes, &x);
            let time = |t: f64| Dual::from(vector(&[t, t], &x));
            to_host(&net.logits(x.clone().into(), time(0.3), time(0.8), &conditioning, &mut Pass::eval()).value)
        };
        // The first item has three letters.
        let (a, b) = (logits([3, 5], 0.7), logits([3, 5], -9.0));
        assert_eq!(a[..3 * 4], b[..3 * 4], "{network:?}");
        assert_ne!(a[..3 * 4], logits([5, 5], 0.7)[..3 * 4], "{network:?}");
    }
}

#[test]
fn samples_have_the_lengths_that_are_asked_for_whatever_the_batch() {
    for (network, sampler) in networks().into_iter().zip([Sampler::Map, Sampler::Euler, Sampler::RENOISE]) {
        let net = model(network, SITES);
        let device = device();
        let generator = Generator::new(&net, SITES, &device);
        let request = SampleRequest {
            sampler,
            last: LastStep::Draw,
            sizes: vec![0, 0, 1, 0, 3, 0],
            batch: 7,
            ..SampleRequest::map(60, 2, 3)
        };
        let all = sample(&generator, &request, &mut |_| true);
        let mut counts = [0; 6];
        for item in all.items() {
            let n = item.iter().take_while(|&&class| class != ABSENT).count();
            assert!(
                item[..n].iter().all(|&class| class < 4) && item[n..].iter().all(|&class| class == ABSENT),
                "{item:?}"
            );
            counts[n] += 1;
        }
        assert!(counts[2] + counts[4] == 60 && (5..30).contains(&counts[2]), "{counts:?}");
        let part = sample(&generator, &SampleRequest { first: 50, count: 4, batch: 256, ..request }, &mut |_| true);
        assert_eq!(part.ids, all.ids[50 * 5..54 * 5]);
    }
}

#[test]
fn large_alphabets_are_sampled_without_points_as_with_them() {
    let sites = SiteShape::record(5, 40);
    let [dit, ..] = networks();
    let net = model(dit, sites.clone());
    assert!(net.factored().is_some());
    let device = device();
    let generator = Generator::new(&net, sites, &device);
    let request = SampleRequest { sizes: vec![0, 1, 1, 1, 1, 1], ..SampleRequest::map(9, 3, 0) };
    let ids = |endpoints| sample(&generator, &SampleRequest { endpoints, ..request.clone() }, &mut |_| true).ids;
    assert_eq!(ids(true), ids(false));
}

/// The loss and the bound of an item know its letters only, and are those of a line if it has all sites.
#[test]
fn a_record_with_all_letters_is_a_line() {
    for network in networks() {
        let line = SiteShape::line(5, 4);
        let (record, whole) = (model(network.clone(), SITES), model(network, line.clone()));
        let ids = [0, 1, 2, 3, 0];
        let request = BoundRequest { draws: 8, ..BoundRequest::default() };
        let of = |net: &FlowMapModel, sites: SiteShape, ids: &[u32]| {
            bound(&FlowMap::new(net), sites, ids, 0, &request, &device()).values[0]
        };
        let (a, b) = (of(&record, SITES, &ids), of(&whole, line, &ids));
        assert!((a - b).abs() < 1e-3 * b.abs(), "{a} {b}");
        // The same letters in front: the sites behind cost nothing.
        assert!(of(&record, SITES, &[0, 1, ABSENT, ABSENT, ABSENT]) < a);
    }
}

#[test]
fn absent_letters_have_no_loss_and_are_never_observed() {
    let [dit, ..] = networks();
    let settings = FlowMapConfig {
        condition: Condition::Observed { dropout: 0.0, subsets: Subsets::Mixed, labels: false },
        ..config(dit, ObjectiveConfig { off_diagonal: OffDiagonal::None, ..ObjectiveConfig::default() })
    };
    let objective = FlowMapObjective::new(settings.clone(), None);
    let net = settings.model(None).init(SITES, &device().autodiff(), &mut stream(0, Purpose::Init, 0));
    let net = cast_module(net, DType::F32);
    let ema = net.valid();
    let losses = |ids: Vec<u32>| {
        let step = TrainStep { model: &net, ema: &ema, seed: 5, index: 3, step: 3, steps: 10 };
        to_host(&objective.loss(&step, &IdBatch { ids, labels: None }).terms[0].values.per_example)
    };
    // Before training, a letter that is not shown costs ln 4, and every letter has the same weight, a fifth.
    let letter = 4f64.ln() / 5.0;
    let one = losses([vec![0], vec![ABSENT; 4]].concat().repeat(30));
    assert!(one.iter().all(|loss| (loss - letter).abs() < 1e-5), "{one:?}");
    for (n, loss) in (1..=5)
        .flat_map(|n| losses([vec![1; n], vec![ABSENT; 5 - n]].concat().repeat(30)).into_iter().map(move |l| (n, l)))
    {
        let hidden = loss / letter;
        assert!(
            (hidden - hidden.round()).abs() < 1e-4 && (1.0..=n as f64 + 0.5).contains(&hidden.round()),
            "{n} {hidden}"
        );
    }
}

#[test]
fn requests_for_lengths_that_there_are_not_are_refused() {
    let schema = |lengths: Vec<u64>| {
        let letters: Vec<char> = "ACGT".chars().collect();
        Schema { sites: 5, classes: 4, layout: Layout::Sequence(SequenceLayout::new(Alphabet::Dna, letters, lengths)) }
    };
    let [_, dilated, _] = networks();
    let of = |lengths: Vec<u64>| {
        let (schema, config) = (schema(lengths), config(dilated.clone(), ObjectiveConfig::default()));
        let net = model(dilated.clone(), site_shape(&schema));
        TrainedFlowMap::new(config, net, schema, &device())
    };
    let (varied, fixed) = (of(vec![0, 0, 1, 1, 0, 2]), of(vec![0, 0, 0, 0, 0, 2]));
    let draw = |model: &TrainedFlowMap, sizes: Vec<u64>| {
        let request = SampleRequest { sizes, ..SampleRequest::map(20, 1, 0) };
        model.sample(&request, &mut |_| true).map(|samples| {
            let length = |item: &[u32]| item.iter().filter(|&&class| class != ABSENT).count();
            samples.items().map(length).collect::<std::collections::BTreeSet<usize>>().into_iter().collect::<Vec<_>>()
        })
    };
    assert_eq!(draw(&varied, vec![]).unwrap(), [2, 3, 5], "as in training");
    assert_eq!((draw(&varied, vec![0, 0, 0, 0, 1]).unwrap(), draw(&fixed, vec![]).unwrap()), (vec![4], vec![5]));
    for (model, sizes, part) in [
        (&varied, vec![1, 1], "1 to 5 letters"),
        (&varied, vec![0; 7], "1 to 5 letters"),
        (&fixed, vec![0, 0, 0, 1], "all sequences of this model have 5 letters"),
    ] {
        let message = draw(model, sizes).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    }
    // Absent letters are a part of items here, and of no others.
    let request = BoundRequest { draws: 1, ..BoundRequest::default() };
    assert!(varied.bound(&[0, 1, ABSENT, ABSENT, ABSENT], 0, &request).is_ok());
    assert!(fixed.bound(&[0, 1, ABSENT, ABSENT, ABSENT], 0, &request).is_err());
}
