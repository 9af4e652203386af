//! Models that are told any subset of the sites, on a table whose law is enumerated.

use std::ops::ControlFlow;

use burn::module::Module as _;
use burn::tensor::DType;
use pushforward::data::{Layout, Schema};
use pushforward::flow_map::backbone::Parametrisation;
use pushforward::flow_map::conditioning::Condition;
use pushforward::flow_map::config::{FlowMapConfig, ObjectiveConfig, OffDiagonal};
use pushforward::flow_map::constraint::Constraint;
use pushforward::flow_map::likelihood::{BoundRequest, bound};
use pushforward::flow_map::losses::GradientPath;
use pushforward::flow_map::map::FlowMap;
use pushforward::flow_map::model::{FlowMapModel, FlowMapModelConfig, Skip};
use pushforward::flow_map::network::NetworkConfig;
use pushforward::flow_map::objective::{FlowMapObjective, IdBatch};
use pushforward::flow_map::sample::{Generator, ObservedRow, SampleRequest, Sampler, sample};
use pushforward::flow_map::subsets::Subsets;
use pushforward::nn::SiteShape;
use pushforward::nn::mlp::MlpConfig;
use pushforward::rng::{Purpose, Stream, stream};
use pushforward::run::TrainedFlowMap;
use pushforward::tensor::cast_module;
use pushforward::train::config::TrainConfig;
use pushforward::train::ema::EmaConfig;
use pushforward::train::{TrainRequest, train};

use super::dual::randomise;
use super::objective::{config, from_the_start};
use crate::support::device;

const CLASSES: [usize; 3] = [2, 3, 4];

/// Probability of a row: the first two columns are independent, and the third is most often their sum.
fn law(row: [usize; 3]) -> f64 {
    let [a, b, c] = row;
    let third = if c == a + b { 0.85 } else { 0.05 };
    [0.3, 0.7][a] * [0.5, 0.3, 0.2][b] * third
}

fn rows() -> impl Iterator<Item = [usize; 3]> {
    let [x, y, z] = CLASSES;
    (0..x).flat_map(move |a| (0..y).flat_map(move |b| (0..z).map(move |c| [a, b, c])))
}

fn draw(stream: &mut Stream) -> [usize; 3] {
    let mut left = stream.uniform();
    rows()
        .find(|&row| {
            left -= law(row);
            left < 0.0
        })
        .unwrap_or([1, 2, 3])
}

fn network() -> NetworkConfig {
    NetworkConfig::Mlp(MlpConfig { width: 64, blocks: 2, time_width: 32, ..MlpConfig::default() })
}

fn trained(settings: &FlowMapConfig<NetworkConfig>, sites: SiteShape) -> FlowMapModel {
    let model = settings.model(None).init(sites, &device().autodiff(), &mut stream(0, Purpose::Init, 0));
    let batch = |index: u64| {
        let mut items = stream(9, Purpose::Example, index);
        let ids = (0..256).flat_map(|_| draw(&mut items).map(|class| class as u32)).collect();
        IdBatch { ids, labels: None }
    };
    let ema = Some(EmaConfig { decay: 0.99, ..EmaConfig::default() });
    let objective = FlowMapObjective::new(settings.clone(), None);
    let config = TrainConfig { steps: 2500, lr: 4e-3, warmup: 10, ema, ..TrainConfig::default() };
    let request = TrainRequest { seed: 1, ..TrainRequest::new(model, &objective, &batch, config) };
    train(request, &mut |_| ControlFlow::Continue(())).expect("the run ends").ema
}

fn settings() -> FlowMapConfig<NetworkConfig> {
    FlowMapConfig {
        condition: Condition::Observed { dropout: 0.2, subsets: Subsets::Mixed, labels: false },
        skip: Skip::Evidence { cap: 64.0 },
        ..config(network(), ObjectiveConfig { share: 0.0, ..from_the_start(OffDiagonal::None) })
    }
}

#[test]
fn told_any_subset_a_model_draws_the_rest_from_its_conditional_law() {
    let (settings, sites, count) = (settings(), SiteShape::columns(&CLASSES), 1500);
    settings.validate().expect("a condition that fits");
    let net = trained(&settings, sites.clone());
    let device = device();
    for told in
        [[None; 3], [Some(0), None, None], [None, None, Some(2)], [Some(1), Some(1), None], [None, Some(2), Some(3)]]
    {
        let request = SampleRequest {
            sampler: Sampler::Euler,
            observed: vec![told.to_vec()],
            ..SampleRequest::map(count, 32, 4)
        };
        let drawn = sample(&Generator::new(&net, sites.clone(), &device), &request, &mut |_| true);
        let fits =
            |row: &[usize; 3]| row.iter().zip(&told).all(|(&class, told)| told.is_none_or(|t| t as usize == class));
        let total: f64 = rows().filter(fits).map(law).sum();
        let mut distance = 0.0;
        for row in rows() {
            let truth = if fits(&row) { law(row) / total } else { 0.0 };
            let same = |item: &&[u32]| item.iter().zip(&row).all(|(&class, &wanted)| class as usize == wanted);
            let found = drawn.items().filter(same).count() as f64 / count as f64;
            assert!(truth > 0.0 || found == 0.0, "{told:?}: {row:?} does not fit");
            distance += 0.5 * (found - truth).abs();
        }
        // The distance of a sample of this size from its own law is about 0.04 for all 24 rows.
        assert!(distance < 0.12, "{told:?}: {distance}");
    }
}

/// With the evidence skip, zero logits are the exact posterior of independent uniform columns.
#[test]
fn the_bound_of_the_rest_leaves_out_what_is_told() {
    let (sites, device) = (SiteShape::columns(&[2, 2, 2]), device());
    let config = FlowMapModelConfig {
        network: network(),
        skip: Skip::Evidence { cap: 64.0 },
        parametrisation: Parametrisation::Endpoint,
        learned_weight: false,
        labels: None,
        smoothing: 0.0,
        observed_length: 4.0,
    };
    let net = config.init(sites.clone(), &device, &mut stream(0, Purpose::Init, 0));
    let items: Vec<u32> = (0..3 * 64).map(|i| i % 2).collect();
    for told in [[false, false, false], [true, false, false], [false, true, true], [true; 3]] {
        let request = BoundRequest { draws: 64, observed: told.repeat(64), ..BoundRequest::default() };
        let nats = bound(&FlowMap::new(&net), sites.clone(), &items, 0, &request, &device).values;
        let hidden = told.iter().filter(|told| !**told).count() as f64;
        let mean = nats.iter().sum::<f64>() / 64.0;
        assert!((mean - hidden * 2f64.ln()).abs() < 0.06, "{told:?}: {mean}");
    }
}

/// The same law on three columns of four classes, some of which never occur.
#[test]
fn laws_of_sites_multiply_to_a_density_and_conditions_are_kept_by_rejection() {
    let (settings, device) = (settings(), device());
    let schema = Schema { sites: 3, classes: 4, layout: Layout::Table };
    let net = trained(&settings, SiteShape::line(3, 4));
    let model = TrainedFlowMap::new(settings, net, schema, &device);
    let told: [ObservedRow; 2] = [vec![None; 3], vec![Some(1), None, Some(2)]];
    let laws = model.marginals(&told, 8, 0).expect("the rows fit");
    let truth = |fits: &dyn Fn(&[usize; 3]) -> bool, site: usize, class: usize| {
        let all: f64 = rows().filter(|row| fits(row)).map(law).sum();
        rows().filter(|row| fits(row) && row[site] == class).map(law).sum::<f64>() / all
    };
    for (place, p) in laws.iter().enumerate() {
        let (row, site, class) = (place / 12, place / 4 % 3, place % 4);
        let wanted = match row {
            0 => truth(&|_| true, site, class),
            _ => truth(&|row| row[0] == 1 && row[2] == 2, site, class),
        };
        assert!((p - wanted).abs() < 0.06, "{row} {site} {class}: {p} and not {wanted}");
    }
    // The chain rule gives a density over all rows, near the law.
    let every: Vec<u32> = (0..64).flat_map(|i| [i / 16, i / 4 % 4, i % 4]).collect();
    let chain = model.chain(&every, 4, 0).expect("the rows fit");
    let density: Vec<f64> = chain.chunks(3).map(|row| (-row.iter().sum::<f64>()).exp()).collect();
    assert!((density.iter().sum::<f64>() - 1.0).abs() < 0.02, "{}", density.iter().sum::<f64>());
    // Given its last column, the rest of a row has a law of its own, near that of the data.
    let given = model.chain_given(&every, &[false, false, true], 4, 0).expect("the rows fit");
    let p = |row: [usize; 3]| (-given[3 * (16 * row[0] + 4 * row[1] + row[2])..][..3].iter().sum::<f64>()).exp();
    for c in 0..4 {
        let mass: f64 = (0..16).map(|i| p([i / 4, i % 4, c])).sum();
        let all: f64 = rows().filter(|row| row[2] == c).map(law).sum();
        let off: f64 = rows().filter(|row| row[2] == c).map(|row| (p(row) - law(row) / all).abs()).sum();
        assert!((mass - 1.0).abs() < 0.04 && off < 0.25, "{c}: {mass} {off}");
    }
    assert!(given.chunks(3).all(|nats| nats[2] == 0.0));
    assert!(model.chain_given(&every, &[true], 4, 0).is_err());
    let off: f64 = rows().map(|row| (density[16 * row[0] + 4 * row[1] + row[2]] - law(row)).abs()).sum();
    assert!(off < 0.15, "{off}");
    // A third column that does not fit the others surprises.
    let surprise = model.surprise(&[1, 1, 2, 1, 1, 0], 4, 0).expect("the rows fit");
    assert!(surprise[5] > surprise[2] + 1.0, "{surprise:?}");

    // a = 1, told; c in {2, 3} with c = 3 half as welcome: by rejection.
    let weights = [Some(vec![0.0, 1.0, 0.0, 0.0]), None, Some(vec![0.0, 0.0, 1.0, 0.5])];
    let request = SampleRequest { sampler: Sampler::Euler, ..SampleRequest::map(1200, 16, 5) };
    let found = model.sample_given(&request, &weights, &mut |_| true).expect("the request fits");
    assert!(found.samples.nfe.len() == 1200 && found.drawn > 1400 && found.closed == 0, "{}", found.drawn);
    let weight = |row: &[usize; 3]| if row[0] == 1 { [0.0, 0.0, 1.0, 0.5][row[2]] * law(*row) } else { 0.0 };
    let all: f64 = rows().map(|row| weight(&row)).sum();
    let mut distance = 0.0;
    for row in rows() {
        let same = |item: &&[u32]| item.iter().zip(&row).all(|(&class, &wanted)| class as usize == wanted);
        let share = found.samples.items().filter(same).count() as f64 / 1200.0;
        assert!(share == 0.0 || weight(&row) > 0.0, "{row:?}");
        distance += 0.5 * (share - weight(&row) / all).abs();
    }
    assert!(distance < 0.12, "{distance}");
    // The same items in other batches, and from a later one on.
    let same = model.sample_given(&SampleRequest { batch: 7, count: 30, ..request.clone() }, &weights, &mut |_| true);
    assert_eq!(same.expect("the request fits").samples.ids, found.samples.ids[..90]);
    let later = SampleRequest { first: 10, count: 20, ..request };
    let later = model.sample_given(&later, &weights, &mut |_| true).expect("the request fits");
    assert_eq!(later.samples.ids, found.samples.ids[30..90]);
}

#[test]
fn laws_by_jumps_are_those_of_one_step_samples_and_of_the_diagonal() {
    let schema = Schema { sites: 3, classes: 4, layout: Layout::Table };
    let model = |off_diagonal| {
        let objective = ObjectiveConfig { off_diagonal, ..settings().objective };
        let settings = FlowMapConfig { objective, ..settings() };
        let net =
            settings.model(None).init(SiteShape::line(3, 4), &device().autodiff(), &mut stream(0, Purpose::Init, 0));
        let net = cast_module(randomise(net), DType::F32).valid();
        TrainedFlowMap::new(settings, net, schema.clone(), &device())
    };
    let told: Vec<ObservedRow> = vec![vec![None; 3], vec![Some(1), None, Some(2)]];
    let jumps = model(OffDiagonal::Csd { gradient: GradientPath::Full });
    let diagonal = jumps.marginals(&told, 1, 7).expect("the rows fit");
    let request = SampleRequest { observed: told.clone(), ..SampleRequest::map(2, 1, 7) };
    assert_eq!(jumps.marginals_by_jumps(&told, 1, 7).expect("the rows fit"), diagonal);
    // The noise of a row is that of the sample with its index, of which each kind takes the first.
    let drawn = jumps.sample(&request, &mut |_| true).expect("the request fits").endpoints;
    let both = jumps.marginals_by_jumps(&told, 2, 7).expect("the rows fit");
    for ((both, diagonal), drawn) in both.iter().zip(&diagonal).zip(&drawn) {
        assert!((both - 0.5 * (diagonal + f64::from(*drawn))).abs() < 1e-6, "{both} {diagonal} {drawn}");
    }
    assert!(both.iter().zip(&diagonal).any(|(a, b)| (a - b).abs() > 1e-3));
    // Nothing is to be had from jumps that were never learned.
    let none = model(OffDiagonal::None);
    assert_eq!(none.marginals_by_jumps(&told, 5, 7), none.marginals(&told, 5, 7));
    assert!(none.marginals_by_jumps(&[vec![None; 2]], 5, 7).is_err());
}

#[test]
fn samples_are_guided_to_what_a_constraint_fixes() {
    let schema = Schema { sites: 3, classes: 4, layout: Layout::Table };
    let net = settings().model(None).init(SiteShape::line(3, 4), &device(), &mut stream(0, Purpose::Init, 0));
    let model = TrainedFlowMap::new(settings(), net, schema, &device());
    let fixed = Constraint::all(SiteShape::line(3, 4)).only(0, &[1]).expect("a class of the site");
    let request = SampleRequest { constraint: Some(fixed), guidance: 2.0, ..SampleRequest::map(20, 1, 3) };
    let found = model.sample(&request, &mut |_| true).expect("a site is told");
    assert!(found.nfe.iter().all(|&nfe| nfe == 2) && found.items().all(|item| item[0] == 1));
    let told = SampleRequest { observed: vec![vec![Some(1), None, None]], ..request.clone() };
    assert_eq!(model.sample(&told, &mut |_| true).expect("a site is told").endpoints, found.endpoints);
    let nothing = SampleRequest { constraint: None, ..request };
    assert!(model.sample(&nothing, &mut |_| true).expect_err("nothing is told").0.contains("guidance needs"));
}
