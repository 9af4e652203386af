//! Properties of the networks for graphs: tangents, permutation equivariance, independence of padding, and valid
//! samples.

use burn::module::Module;
use burn::tensor::{DType, Device, Tensor};
use pushforward::dual::Dual;
use pushforward::flow_map::backbone::EndpointNet;
use pushforward::flow_map::conditioning::Conditioning;
use pushforward::flow_map::config::{FlowMapConfig, ObjectiveConfig, OffDiagonal};
use pushforward::flow_map::likelihood::{BoundRequest, bound};
use pushforward::flow_map::losses::{EcldPreset, GradientPath};
use pushforward::flow_map::map::FlowMap;
use pushforward::flow_map::model::FlowMapModel;
use pushforward::flow_map::network::NetworkConfig;
use pushforward::flow_map::objective::{FlowMapObjective, IdBatch};
use pushforward::flow_map::sample::{Generator, LastStep, SampleRequest, Sampler, sample};
use pushforward::nn::graph::GraphShape;
use pushforward::nn::graph_pooling::Pooling;
use pushforward::nn::graph_transformer::GraphTransformerConfig;
use pushforward::nn::mlp::MlpConfig;
use pushforward::nn::pair_transformer::PairTransformerConfig;
use pushforward::nn::{Pass, SiteShape};
use pushforward::node_pairs::{ABSENT, in_order, pair_index};
use pushforward::rng::{Purpose, stream};
use pushforward::tensor::{cast_module, from_host, scalar, to_host, vector};
use pushforward::train::objective::{Objective, TrainStep};

use super::dual::{check_tangent, randomise};
use crate::support::{close, device, numbers, precision, tolerance};

pub(crate) const GRAPH: GraphShape = GraphShape { nodes: 5, node_classes: 3, edge_classes: 4 };

fn published() -> GraphTransformerConfig {
    GraphTransformerConfig {
        layers: 2,
        widths: [8, 6, 4],
        feed_forward: [8, 6, 4],
        outer: [8, 6, 4],
        heads: 2,
        dropout: 0.0,
        ..GraphTransformerConfig::default()
    }
}

fn own(walk: usize) -> PairTransformerConfig {
    PairTransformerConfig {
        width: 8,
        pair_width: 6,
        blocks: 2,
        heads: 2,
        cond: 8,
        expansion: 2,
        time_width: 8,
        walk,
        ..PairTransformerConfig::default()
    }
}

fn with_places() -> PairTransformerConfig {
    PairTransformerConfig { positions: true, ..own(0) }
}

pub(crate) fn networks() -> Vec<(&'static str, NetworkConfig)> {
    vec![
        ("published", NetworkConfig::GraphTransformer(published())),
        ("own", NetworkConfig::PairTransformer(own(0))),
        ("own with walks", NetworkConfig::PairTransformer(own(3))),
        ("own with places", NetworkConfig::PairTransformer(with_places())),
        ("perceptron", NetworkConfig::Mlp(MlpConfig { width: 8, blocks: 1, time_width: 8, ..MlpConfig::default() })),
    ]
}

fn config(network: NetworkConfig, off_diagonal: OffDiagonal) -> FlowMapConfig {
    let objective = ObjectiveConfig { off_diagonal, start: 0.0, ..ObjectiveConfig::default() };
    FlowMapConfig::new(network, objective)
}

/// A model with random weights everywhere.
fn model(graph: GraphShape, network: NetworkConfig, off_diagonal: OffDiagonal) -> FlowMapModel {
    let device = device().autodiff();
    let init = config(network, off_diagonal).model(None).init(
        SiteShape::graph(graph),
        &device,
        &mut stream(0, Purpose::Init, 0),
    );
    randomise(init)
}

fn like() -> Tensor<1> {
    Tensor::zeros([1], (&device(), precision(&device())))
}

/// Random points of graphs of the given sizes.
fn points(graph: GraphShape, sizes: &[usize]) -> (Tensor<3>, Conditioning) {
    let sites = SiteShape::graph(graph);
    let shape = [sizes.len(), sites.count, sites.classes];
    let conditioning = Conditioning::of_sizes(&sites, sizes, &like());
    (conditioning.mask(from_host(&numbers(shape.iter().product(), 3), shape, &like())), conditioning)
}

fn logits(model: &FlowMapModel, x: &Tensor<3>, conditioning: &Conditioning) -> Tensor<3> {
    let b = x.dims()[0];
    let (s, t) = (vector(&vec![0.3; b], x), vector(&vec![0.7; b], x));
    model.logits(x.clone().into(), s.into(), t.into(), conditioning, &mut Pass::eval()).value.inner()
}

#[test]
fn tangents() {
    let (device, mut s) = (device().autodiff(), stream(0, Purpose::Init, 0));
    let sites = SiteShape::graph(GRAPH);
    let (_, conditioning) = points(GRAPH, &[5, 3]);
    let site_mask: Tensor<2> = conditioning.site_mask.expect("a graph has sizes").slice_dim(1, 0..GRAPH.nodes);
    for pooling in [Pooling::Masked, Pooling::Padded] {
        let net = randomise(GraphTransformerConfig { pooling, ..published() }.init(GRAPH, &device, &mut s));
        let open = Conditioning::of_sizes(&sites, &[1], &like()).class_mask.expect("nodes and pairs differ");
        check_tangent("published", sites.clone(), &|x, s, t| {
            let x = x.linear(|x| x * open.clone());
            net.forward(x, s, t, Some(&site_mask), None, &mut Pass::eval())
        });
    }
    for config in [own(0), own(3), with_places()] {
        let net = randomise(config.init(GRAPH, &device, &mut s));
        check_tangent("own", sites.clone(), &|x, s, t| net.forward(x, s, t, None, Some(&site_mask), &mut Pass::eval()));
    }
}

#[test]
fn the_order_of_nodes_matters_where_places_do() {
    let order = [3usize, 0, 4, 1, 2];
    let mut sites: Vec<usize> = order.to_vec();
    for (i, j) in in_order(GRAPH.nodes) {
        let (a, b) = (order[i], order[j]);
        sites.push(GRAPH.nodes + pair_index(a.min(b), a.max(b), GRAPH.nodes));
    }
    let permute =
        |x: &Tensor<3>| Tensor::cat(sites.iter().map(|&site| x.clone().slice_dim(1, site..site + 1)).collect(), 1);
    for (name, network) in networks() {
        let model = model(GRAPH, network, OffDiagonal::None);
        let (x, conditioning) = points(GRAPH, &[5, 5]);
        let (there, here) = (logits(&model, &permute(&x), &conditioning), permute(&logits(&model, &x, &conditioning)));
        let (there, here) = (to_host(&there), to_host(&here));
        if ["own with places", "perceptron"].contains(&name) {
            let apart = there.iter().zip(&here).fold(0.0, |most: f64, (a, b)| most.max((a - b).abs()));
            assert!(apart > 1e-2, "{name}: another order changes logits by {apart} only");
        } else {
            close(name, &there, &here, tolerance(1e-9));
        }
    }
}

#[test]
fn padding_does_not_matter() {
    let wide = GraphShape { nodes: 7, ..GRAPH };
    for (name, network) in networks() {
        let (narrow_model, wide_model) =
            (model(GRAPH, network.clone(), OffDiagonal::None), model(wide, network, OffDiagonal::None));
        if name != "published" {
            continue; // ours are told the share of nodes that are there, or how many there can be: see below
        }
        let (x, conditioning) = points(GRAPH, &[3, 5]);
        let place = |i: usize| if i < GRAPH.nodes { i } else { 0 };
        let mut wide_sites: Vec<Option<usize>> = (0..wide.nodes).map(|i| (i < GRAPH.nodes).then(|| place(i))).collect();
        for (i, j) in in_order(wide.nodes) {
            wide_sites.push((j < GRAPH.nodes).then(|| GRAPH.nodes + pair_index(i, j, GRAPH.nodes)));
        }
        let padded = Tensor::cat(
            wide_sites
                .iter()
                .map(|site| match site {
                    Some(site) => x.clone().slice_dim(1, *site..site + 1),
                    None => x.clone().slice_dim(1, 0..1).zeros_like(),
                })
                .collect(),
            1,
        );
        let (_, wide_given) = points(wide, &[3, 5]);
        let found = wide_given.mask(logits(&wide_model, &padded, &wide_given));
        let narrow = conditioning.mask(logits(&narrow_model, &x, &conditioning));
        for (wide_site, site) in wide_sites.iter().enumerate() {
            let Some(site) = site else { continue };
            let at = |x: &Tensor<3>, i: usize| to_host(&x.clone().slice_dim(1, i..i + 1));
            close(name, &at(&found, wide_site), &at(&narrow, *site), tolerance(1e-9));
        }
    }
}

#[test]
fn what_is_not_there_does_not_matter() {
    for (name, network) in networks() {
        let model = model(GRAPH, network, OffDiagonal::None);
        let (x, conditioning) = points(GRAPH, &[3, 4]);
        let present = conditioning.site_mask.clone().expect("sizes").unsqueeze_dim::<3>(2);
        // Arbitrary values at padding.
        let other = x.clone() + (present.neg() + 1.0) * conditioning.class_mask.clone().expect("classes") * 7.0;
        let there = |x: &Tensor<3>| to_host(&conditioning.mask(logits(&model, x, &conditioning)));
        close(name, &there(&other), &there(&x), tolerance(1e-9));
    }
}

#[test]
fn classes_that_a_site_has_not_get_nothing() {
    for (name, network) in networks() {
        let model = model(GRAPH, network, OffDiagonal::None);
        let (x, conditioning) = points(GRAPH, &[5, 2]);
        let pi = burn::tensor::activation::softmax(logits(&model, &x, &conditioning), 2);
        let outside = (conditioning.class_mask.clone().expect("classes").neg() + 1.0) * pi.clone();
        assert_eq!(scalar(&outside.max()), 0.0, "{name}");
        close(name, &to_host(&pi.sum_dim(2)), &vec![1.0; 2 * 15], tolerance(1e-12));
    }
}

/// Class indices of graphs of the given sizes.
fn items(sizes: &[usize]) -> Vec<u32> {
    let mut ids = Vec::new();
    for (item, &n) in sizes.iter().enumerate() {
        let class = |i: usize, classes: usize| ((i * 7 + item * 3) % classes) as u32;
        for (i, there) in GRAPH.sites_of(n).enumerate() {
            let classes = if i < GRAPH.nodes { GRAPH.node_classes } else { GRAPH.edge_classes };
            ids.push(if there > 0.0 { class(i, classes) } else { ABSENT });
        }
    }
    ids
}

#[test]
fn every_objective_is_finite_and_reaches_every_parameter() {
    let objectives = [
        OffDiagonal::Csd { gradient: GradientPath::Full },
        OffDiagonal::Ecld { weights: EcldPreset::Graph },
        OffDiagonal::Psd { split: Default::default() },
        OffDiagonal::LsdLogit { floor: 0.01, gradient: GradientPath::Published },
        OffDiagonal::EsdLogit { floor: 0.01 },
        OffDiagonal::Naive,
    ];
    for (name, network) in networks() {
        for off_diagonal in objectives {
            let mut config = config(network.clone(), off_diagonal);
            if off_diagonal != OffDiagonal::Naive {
                config.objective.smoothing = 0.1;
            }
            let model = cast_module(model(GRAPH, network.clone(), off_diagonal), DType::F32);
            let (ema, batch) = (model.valid(), IdBatch { ids: items(&[5, 1, 2, 4, 3, 5]), labels: None });
            let step = TrainStep { model: &model, ema: &ema, seed: 0, index: 0, step: 5, steps: 10 };
            let parts = FlowMapObjective::new(config, None).loss(&step, &batch);
            assert_eq!(parts.terms.len(), 2);
            let total = parts.terms.into_iter().map(|t| t.loss).reduce(Tensor::add).expect("terms");
            assert!(scalar(&total.clone().inner()).is_finite(), "{name} {off_diagonal:?}");
            let gradients = total.backward();
            for (parameter, gradient) in crate::support::gradients_by_name(&model, &gradients) {
                // The published network's last layer updates a graph feature that is not used.
                let unread = ["y_y", "x_y", "e_y", "y_out", "layers.1.graph."];
                if parameter.contains("layers.1.") && unread.iter().any(|part| parameter.contains(part)) {
                    continue;
                }
                let gradient =
                    gradient.unwrap_or_else(|| panic!("{name} {off_diagonal:?}: no gradient of {parameter}"));
                assert!(gradient.iter().all(|g| g.is_finite()), "{name} {off_diagonal:?}: {parameter}");
            }
        }
    }
}

#[test]
fn samples_have_the_sizes_they_should_and_do_not_depend_on_the_batch() {
    let sites = SiteShape::graph(GRAPH);
    for (name, network) in networks() {
        let config = config(network.clone(), OffDiagonal::Csd { gradient: GradientPath::Full });
        let model = model(GRAPH, network, OffDiagonal::Csd { gradient: GradientPath::Full }).valid();
        let model = cast_module(model, DType::F32);
        let run = |request: &SampleRequest| {
            sample(
                &Generator::new(&model, sites.clone(), &Device::flex()).with_noise(config.noise()),
                request,
                &mut |_| true,
            )
        };
        for sampler in
            [Sampler::Map, Sampler::Euler, Sampler::Heun, Sampler::RENOISE, Sampler::Dopri5 { tolerance: 1e-2 }]
        {
            let request = SampleRequest {
                sampler,
                grid: sampler.grid(3).expect("three evaluations"),
                sizes: vec![0, 0, 1, 0, 3],
                ..SampleRequest::map(40, 1, 5)
            };
            let whole = run(&request);
            let mut counts = [0; 6];
            for item in whole.items() {
                let nodes = item[..GRAPH.nodes].iter().filter(|id| **id != ABSENT).count();
                counts[nodes] += 1;
                for (site, (id, there)) in item.iter().zip(GRAPH.sites_of(nodes)).enumerate() {
                    let classes = if site < GRAPH.nodes { GRAPH.node_classes } else { GRAPH.edge_classes } as u32;
                    assert!(if there > 0.0 { *id < classes } else { *id == ABSENT }, "{name}: site {site} is {id}");
                }
            }
            assert!(counts[2] > 2 && counts[4] > 20 && counts[2] + counts[4] == 40, "{name}: {counts:?}");
            assert_eq!(run(&SampleRequest { batch: 7, ..request.clone() }).ids, whole.ids, "{name}");
            let one = run(&SampleRequest { first: 11, count: 1, last: LastStep::Argmax, ..request });
            assert_eq!(one.ids, whole.ids[11 * sites.count..12 * sites.count], "{name}");
        }
    }
}

/// The exact posterior of independent sites.
struct Independent {
    nodes: [f64; 3],
    edges: [f64; 4],
}

impl EndpointNet for Independent {
    fn logits(&self, x: Dual<3>, _: Dual<1>, t: Dual<1>, conditioning: &Conditioning, _: &mut Pass<'_>) -> Dual<3> {
        let [b, sites, k] = x.dims();
        let row = |site: usize| -> Vec<f64> {
            let p: &[f64] = if site < GRAPH.nodes { &self.nodes } else { &self.edges };
            (0..k).map(|c| p.get(c).map_or(0.0, |p| p.ln())).collect()
        };
        let prior = from_host(&(0..sites).flat_map(row).collect::<Vec<_>>(), [1, sites, k], &x.value);
        let t = t.value.reshape([b, 1, 1]);
        let rest = (t.clone().neg() + 1.0).clamp_min(1e-6);
        conditioning.mask_logits(prior + x.value * (t / (rest.clone() * rest))).into()
    }
}

#[test]
fn the_bound_is_the_entropy_of_what_is_there() {
    let net = Independent { nodes: [0.5, 0.3, 0.2], edges: [0.6, 0.2, 0.15, 0.05] };
    let sites = SiteShape::graph(GRAPH);
    let mut randomness = stream(3, Purpose::Metric, 0);
    let mut draw = |p: &[f64]| {
        let mut left = randomness.uniform();
        p.iter()
            .position(|p| {
                left -= p;
                left < 0.0
            })
            .unwrap_or(0) as u32
    };
    let (mut ids, mut exact) = (Vec::new(), 0.0);
    let count = 400;
    for item in 0..count {
        for (site, there) in GRAPH.sites_of(2 + item % 4).enumerate() {
            let p: &[f64] = if site < GRAPH.nodes { &net.nodes } else { &net.edges };
            let id = draw(p);
            if there > 0.0 {
                exact -= p[id as usize].ln() / count as f64;
            }
            ids.push(if there > 0.0 { id } else { ABSENT });
        }
    }
    let map = FlowMap::new(&net);
    let request = BoundRequest { draws: 32, seed: 0, batch: 512, ..BoundRequest::default() };
    let values = bound(&map, sites.clone(), &ids, 0, &request, &device()).values;
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    assert!((mean - exact).abs() < 0.02 * exact, "bound {mean}, exact {exact}");
    // Standard errors are those of repeated estimates, and do not depend on the number of points in memory.
    let item = &ids[..sites.count];
    let estimate = |seed: u64, batch: usize| {
        let found = bound(&map, sites.clone(), item, 0, &BoundRequest { seed, batch, ..request.clone() }, &device());
        (found.values[0], found.errors[0])
    };
    let repeated: Vec<(f64, f64)> = (0..300).map(|seed| estimate(seed, 512)).collect();
    let mean = repeated.iter().map(|(value, _)| value).sum::<f64>() / 300.0;
    let variance = repeated.iter().map(|(value, _)| (value - mean).powi(2)).sum::<f64>() / 299.0;
    let told = repeated.iter().map(|(_, error)| error * error).sum::<f64>() / 300.0;
    assert!((0.7..2.0).contains(&(told / variance)), "variance {variance}, by the standard errors {told}");
    assert!((estimate(5, 512).0 - estimate(5, 7).0).abs() < 1e-9);
}
