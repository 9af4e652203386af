//! Constraints hold exactly: for every sampler, every last step and every kind of network.

use burn::module::Module as _;
use burn::tensor::DType;
use pushforward::dual::Dual;
use pushforward::flow_map::backbone::EndpointNet;
use pushforward::flow_map::backbone::Parametrisation;
use pushforward::flow_map::conditioning::Conditioning;
use pushforward::flow_map::config::{FlowMapConfig, OffDiagonal};
use pushforward::flow_map::constraint::Constraint;
use pushforward::flow_map::interpolant::{interpolate, source_tensor};
use pushforward::flow_map::map::FlowMap;
use pushforward::flow_map::model::{FlowMapModelConfig, Skip};
use pushforward::flow_map::network::NetworkConfig;
use pushforward::flow_map::sample::{Generator, LastStep, SampleRequest, Sampler, sample};
use pushforward::nn::dit::DitConfig;
use pushforward::nn::graph::GraphShape;
use pushforward::nn::graph_transformer::GraphTransformerConfig;
use pushforward::nn::mlp::MlpConfig;
use pushforward::nn::pair_transformer::PairTransformerConfig;
use pushforward::nn::unet::UnetConfig;
use pushforward::nn::{Pass, SiteShape};
use pushforward::node_pairs::ABSENT;
use pushforward::rng::{Purpose, stream};
use pushforward::tensor::{cast_module, from_host, to_host};

use super::dual::randomise;
use super::sampler::config;
use crate::support::device;

const GRAPH: GraphShape = GraphShape { nodes: 4, node_classes: 3, edge_classes: 4 };

/// A network of every kind with its shape of sites.
fn kinds() -> Vec<(NetworkConfig, SiteShape)> {
    let grid = SiteShape::image([4, 4], 3);
    let dit = DitConfig { width: 16, blocks: 1, heads: 2, cond: 8, time_width: 8, ..DitConfig::default() };
    let unet = UnetConfig { channels: 8, multipliers: vec![1, 2], groups: 4, ..UnetConfig::default() };
    vec![
        (NetworkConfig::Dit(dit), SiteShape::line(5, 4)),
        (NetworkConfig::Mlp(MlpConfig { width: 16, blocks: 1, ..MlpConfig::default() }), SiteShape::line(5, 4)),
        (NetworkConfig::Unet(unet), grid),
        (NetworkConfig::PairTransformer(PairTransformerConfig::default()), SiteShape::graph(GRAPH)),
        (NetworkConfig::GraphTransformer(GraphTransformerConfig::default()), SiteShape::graph(GRAPH)),
    ]
}

#[test]
fn fixed_sites_and_forbidden_classes_hold_for_every_sampler_and_network() {
    for (network, sites) in kinds() {
        let model = FlowMapModelConfig {
            network: network.clone(),
            skip: Skip::None,
            parametrisation: Parametrisation::Endpoint,
            learned_weight: false,
            labels: None,
            smoothing: 0.0,
            observed_length: 1.0,
        };
        let model = randomise(model.init(sites.clone(), &device().autodiff(), &mut stream(0, Purpose::Init, 0)));
        let net = cast_module(model.valid(), DType::F32);
        let constraint =
            Constraint::all(sites.clone()).fix(0, 2).and_then(|a| a.fix(4, 1)).and_then(|a| a.forbid(2, 0));
        let constraint = constraint.expect("a constraint that can be kept");
        let config = FlowMapConfig { network, ..config(OffDiagonal::default()) };
        for sampler in
            [Sampler::Map, Sampler::Euler, Sampler::Heun, Sampler::RENOISE, Sampler::Dopri5 { tolerance: 1e-2 }]
        {
            for last in [LastStep::Argmax, LastStep::Draw] {
                let grid = sampler.grid(3).expect("three evaluations");
                let request = SampleRequest { sampler, grid, last, ..SampleRequest::map(12, 1, 3) };
                let bound = SampleRequest { constraint: Some(constraint.clone()), ..request.clone() };
                let kept = |request| {
                    sample(
                        &Generator::new(&net, sites.clone(), &device()).with_noise(config.noise()),
                        &request,
                        &mut |_| true,
                    )
                    .ids
                };
                let breaks = |ids: &[u32]| {
                    let wrong = |i: &[u32]| (i[0] != 2) || (i[4] != 1 && i[4] != ABSENT) || i[2] == 0;
                    ids.chunks(sites.count).filter(|item| wrong(item)).count()
                };
                assert_eq!(breaks(&kept(bound)), 0, "{sampler:?}, {last:?}, {:?}", config.network);
                assert!(breaks(&kept(request)) > 0, "{sampler:?}: a free sample breaks the constraint");
            }
        }
    }
}

/// A network with constant output.
struct Flat;

impl EndpointNet for Flat {
    fn logits(&self, x: Dual<3>, _: Dual<1>, _: Dual<1>, conditioning: &Conditioning, _: &mut Pass<'_>) -> Dual<3> {
        conditioning.mask_logits(x.value.zeros_like()).into()
    }
}

#[test]
fn a_fixed_site_moves_along_its_interpolant_and_its_noise_is_that_of_a_free_one() {
    let sites = SiteShape::line(2, 3);
    let constraint = Constraint::all(sites).fix(0, 1).expect("a class that exists");
    let noise = |i| source_tensor(stream(5, Purpose::Sample, i).normals(6), [1, 2, 3], &device());
    let conditioning = Conditioning::default().with_constraint(Some(&constraint), &noise(0));
    assert_eq!(to_host(&conditioning.mask(noise(0))), to_host(&noise(0)));
    let map = FlowMap::new(&Flat).of(conditioning);
    let hot = from_host(&[0.0, 1.0, 0.0], [1, 1, 3], &noise(0));
    for (s, t) in [(0.0, 0.4), (0.4, 0.7), (0.2, 1.0)] {
        let first = |x: pushforward::burn::tensor::Tensor<3>| x.slice_dim(1, 0..1);
        let start = interpolate(first(noise(1)), hot.clone(), &[s]);
        let x = pushforward::burn::tensor::Tensor::cat(vec![start, noise(1).slice_dim(1, 1..2)], 1);
        let found = first(map.jump(x, &[s], &[t]));
        let wanted = interpolate(first(noise(1)), hot.clone(), &[t]);
        for (a, b) in to_host(&found).iter().zip(to_host(&wanted)) {
            assert!((a - b).abs() < 1e-6, "{a} {b}");
        }
    }
}
