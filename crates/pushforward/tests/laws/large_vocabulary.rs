//! The sampler without points gives the same samples as the one with points.

use burn::module::Module as _;
use burn::tensor::DType;
use pushforward::dual::Dual;
use pushforward::flow_map::backbone::{EndpointNet, FactoredNet, Parametrisation};
use pushforward::flow_map::conditioning::Conditioning;
use pushforward::flow_map::config::{FlowMapConfig, OffDiagonal};
use pushforward::flow_map::constraint::Constraint;
use pushforward::flow_map::model::{FlowMapModel, FlowMapModelConfig, Skip};
use pushforward::flow_map::network::NetworkConfig;
use pushforward::flow_map::sample::{Generator, LastStep, SampleRequest, Sampler, sample};
use pushforward::nn::dit::{DitConfig, InputMode};
use pushforward::nn::{Pass, SiteShape};
use pushforward::rng::{Purpose, stream};
use pushforward::tensor::cast_module;

use super::dual::randomise;
use super::sampler::config;
use crate::support::device;

const SITES: SiteShape = SiteShape::line(6, 41);

/// A network that panics if it is evaluated at a point.
struct Cut(FlowMapModel);

impl EndpointNet for Cut {
    fn logits(&self, _: Dual<3>, _: Dual<1>, _: Dual<1>, _: &Conditioning, _: &mut Pass<'_>) -> Dual<3> {
        panic!("points were made for the network");
    }

    fn factored(&self) -> Option<FactoredNet<'_>> {
        self.0.factored()
    }
}

fn network(input: InputMode, width: usize) -> NetworkConfig {
    NetworkConfig::Dit(DitConfig { input, width, blocks: 1, heads: 2, cond: 8, time_width: 8, ..DitConfig::default() })
}

fn model(network: NetworkConfig, skip: Skip, sites: SiteShape) -> FlowMapModel {
    let parametrisation = Parametrisation::Endpoint;
    let model = FlowMapModelConfig {
        network,
        skip,
        parametrisation,
        learned_weight: false,
        labels: Some(3),
        smoothing: 0.0,
        observed_length: 1.0,
    };
    let model = randomise(model.init(sites, &device().autodiff(), &mut stream(0, Purpose::Init, 0)));
    cast_module(model.valid(), DType::F32)
}

#[test]
fn samples_without_points_are_those_with_points() {
    for input in [InputMode::Naive, InputMode::Rms] {
        let network = network(input, 16);
        let net = model(network.clone(), Skip::None, SITES);
        let config = FlowMapConfig { network, ..config(OffDiagonal::default()) };
        let allowed = Constraint::all(SITES).fix(4, 2).and_then(|a| a.forbid(3, 7)).expect("it can be kept");
        let mut told = vec![None; SITES.count];
        (told[0], told[1]) = (Some(3), Some(40));
        for sampler in [Sampler::Map, Sampler::Euler, Sampler::RENOISE] {
            for nfe in [1, 3] {
                for last in [LastStep::Argmax, LastStep::Draw] {
                    for (allowed, observed) in
                        [(None, vec![]), (Some(allowed.clone()), vec![]), (None, vec![told.clone()])]
                    {
                        let what = format!("{input:?}, {sampler:?}, {nfe}, {last:?}, {observed:?}");
                        let grid = sampler.grid(nfe).expect("any number");
                        let (temperature, labels) = (0.8, vec![2, 0, 1]);
                        let request = SampleRequest {
                            temperature,
                            labels: labels.into(),
                            grid,
                            sampler,
                            last,
                            constraint: allowed,
                            observed,
                            batch: 5,
                            first: 2,
                            ..SampleRequest::map(12, 1, 3)
                        };
                        let whole = sample(
                            &Generator::new(&net, SITES, &device()).with_noise(config.noise()),
                            &request,
                            &mut |_| true,
                        );
                        let request = SampleRequest { endpoints: false, ..request };
                        let cut = Cut(net.clone());
                        let found = sample(
                            &Generator::new(&cut, SITES, &device()).with_noise(config.noise()),
                            &request,
                            &mut |_| true,
                        );
                        assert_eq!(found.nfe, whole.nfe, "{what}");
                        assert!(found.endpoints.is_empty() && found.ids.len() == whole.ids.len(), "{what}");
                        let differ = found.ids.iter().zip(&whole.ids).filter(|(a, b)| a != b).count();
                        // A draw close to a boundary may fall on the other side.
                        assert!(differ <= 1, "{what}: {differ} of {} ids", whole.ids.len());
                        let other = SampleRequest { seed: 4, last: LastStep::Draw, ..request };
                        let other = sample(
                            &Generator::new(&cut, SITES, &device()).with_noise(config.noise()),
                            &other,
                            &mut |_| true,
                        );
                        assert_ne!(other.ids, found.ids, "{what}: the noise decides");
                    }
                }
            }
        }
    }
}

#[test]
fn items_that_do_not_fit_together_come_one_after_the_other() {
    // Two of these at a time.
    let sites = SiteShape::line(6, 300_000);
    let network = network(InputMode::Naive, 8);
    let net = model(network.clone(), Skip::None, sites.clone());
    let config = FlowMapConfig { network, ..config(OffDiagonal::default()) };
    let request = SampleRequest { endpoints: false, ..SampleRequest::map(3, 2, 3) };
    let found = sample(
        &Generator::new(&Cut(net.clone()), sites.clone(), &device()).with_noise(config.noise()),
        &request,
        &mut |_| true,
    );
    let whole = sample(
        &Generator::new(&net, sites, &device()).with_noise(config.noise()),
        &SampleRequest { endpoints: true, ..request },
        &mut |_| true,
    );
    let differ = found.ids.iter().zip(&whole.ids).filter(|(a, b)| a != b).count();
    assert!(found.ids.len() == 18 && differ <= 1, "{differ} of {:?}", whole.ids);
    assert!(found.ids.iter().any(|id| *id != found.ids[0]), "{:?}", found.ids);
}

#[test]
fn only_networks_with_linear_ends_are_cut() {
    assert!(model(network(InputMode::Rms, 16), Skip::None, SITES).factored().is_some());
    assert!(model(network(InputMode::Rms, 64), Skip::None, SITES).factored().is_none(), "more features than classes");
    assert!(
        model(network(InputMode::Rms, 16), Skip::Evidence { cap: 4.0 }, SITES).factored().is_none(),
        "the skip needs points"
    );
}
