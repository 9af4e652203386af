//! Samples that are corrected are molecules, whatever the model knows.

use std::path::Path;

use pushforward::aef::categorical::CategoricalConfig;
use pushforward::burn::tensor::Device;
use pushforward::chem::check;
use pushforward::data::graph::GraphLayout;
use pushforward::data::{DataConfig, ExampleKey, Layout, Schema, Splits};
use pushforward::flow_map::config::FlowMapConfig;
use pushforward::flow_map::constraint::Constraint;
use pushforward::flow_map::network::NetworkConfig;
use pushforward::flow_map::sample::{LastStep, SampleRequest, Sampler, Samples};
use pushforward::flow_map::steer::{Method, Reward, RewardError, SmcSettings, SteerRequest};
use pushforward::ranks::Ranks;
use pushforward::rng::{Purpose, stream};
use pushforward::run::{Steers, TrainedCategoricalAef, TrainedFlowMap, site_shape};

fn molecules() -> Splits {
    let config: DataConfig = toml::from_str("set = 'small-molecules'\natoms = 4").unwrap();
    config.load(Path::new("unused"), 0).unwrap()
}

fn layout(schema: &Schema) -> &GraphLayout {
    let Layout::Graph(layout) = &schema.layout else { unreachable!("molecules are graphs") };
    layout
}

/// A network that knows nothing.
fn untrained(schema: Schema) -> TrainedFlowMap {
    let device = Device::flex();
    let config: FlowMapConfig<NetworkConfig> = toml::from_str("network = { kind = 'mlp', width = 8 }").unwrap();
    let net = config.model(None).init(site_shape(&schema), &device, &mut stream(0, Purpose::Init, 0));
    TrainedFlowMap::new(config, net, schema, &device)
}

fn valid(samples: &Samples, schema: &Schema) -> usize {
    samples.items().filter(|row| check(&layout(schema).molecule(row)).strict().is_some()).count()
}

#[test]
fn of_every_sampler_and_last_step() {
    let model = untrained(molecules().train.schema().clone());
    for (sampler, last) in [
        (Sampler::Map, LastStep::Argmax),
        (Sampler::Map, LastStep::Draw),
        (Sampler::Euler, LastStep::Draw),
        (Sampler::RENOISE, LastStep::Argmax),
    ] {
        let request = SampleRequest { sampler, last, ..SampleRequest::map(200, 2, 0) };
        let [as_drawn, corrected] = [false, true]
            .map(|correct| model.sample(&SampleRequest { correct, ..request.clone() }, &mut |_| true).unwrap());
        assert!(valid(&as_drawn, &model.schema) < 150, "{sampler:?} {last:?}");
        assert_eq!(valid(&corrected, &model.schema), 200, "{sampler:?} {last:?}");
        // Molecules stay as they are drawn.
        for (before, after) in as_drawn.items().zip(corrected.items()) {
            let valid = check(&layout(&model.schema).molecule(before)).strict().is_some();
            assert!(!valid || before == after, "{sampler:?} {last:?}");
        }
    }
}

#[test]
fn what_is_kept_stays() {
    let model = untrained(molecules().train.schema().clone());
    let sites = site_shape(&model.schema);
    // The first atom is a carbon that has a double bond to the second, an oxygen.
    let oxygen = layout(&model.schema).node_classes.iter().position(|class| class.element == "O").unwrap() as u32;
    let kept = [(0, 0), (1, oxygen), (4, 2)];
    let constraint = kept.iter().fold(Constraint::all(sites), |all, &(site, class)| all.only(site, &[class]).unwrap());
    let request = SampleRequest { correct: true, constraint: Some(constraint), ..SampleRequest::map(100, 1, 0) };
    let request = SampleRequest { sizes: vec![0, 0, 1, 2, 4], ..request };
    let samples = model.sample(&request, &mut |_| true).unwrap();
    assert!(samples.items().all(|row| kept.iter().all(|&(site, class)| row[site] == class)));
    assert_eq!(valid(&samples, &model.schema), 100);
}

struct Atoms;

impl Reward for Atoms {
    fn score(&self, ids: &[u32]) -> Result<Vec<f64>, RewardError> {
        Ok(ids.chunks(10).map(|row| row[..4].iter().filter(|&&id| id == 0).count() as f64).collect())
    }
}

#[test]
fn of_steered_samples_and_of_autoencoders() {
    let splits = molecules();
    let schema = splits.train.schema().clone();
    let sample = SampleRequest { correct: true, endpoints: false, ..SampleRequest::map(20, 2, 0) };
    let request = SteerRequest {
        sample: sample.clone(),
        method: Method::Smc(SmcSettings::default()),
        particles: 4,
        keep: 1,
        part: None,
    };
    let found = untrained(schema.clone()).steered(&request, &Atoms, &Ranks::alone(), &mut |_| true).unwrap();
    assert_eq!(valid(&found.samples, &schema), 20);

    let config: CategoricalConfig = toml::from_str("latent = 2\nprior = { kind = 'flow-map' }").unwrap();
    let device = Device::flex();
    let mut net = config.init(site_shape(&schema), &device, &mut stream(0, Purpose::Init, 0));
    let mut rows = vec![0; 10 * schema.sites];
    for (index, row) in (0..).zip(rows.chunks_mut(schema.sites)) {
        splits.train.write(ExampleKey { seed: 0, epoch: 0, index }, row);
    }
    net.initialise(&rows);
    let model = TrainedCategoricalAef { config, net, schema: schema.clone(), device };
    let drawn = SampleRequest { last: LastStep::Draw, ..sample };
    assert_eq!(valid(&model.sample(&drawn, &mut |_| true).unwrap(), &schema), 20);
    let as_drawn = model.sample(&SampleRequest { correct: false, ..drawn }, &mut |_| true).unwrap();
    assert!(valid(&as_drawn, &schema) < 20);
}

#[test]
fn other_data_have_no_valences() {
    let model = untrained(Schema { sites: 3, classes: 4, layout: Layout::Table });
    let request = SampleRequest { correct: true, ..SampleRequest::map(2, 1, 0) };
    let error = model.sample(&request, &mut |_| true).unwrap_err();
    assert!(error.0.contains("models of molecules only"), "{error}");
}
