//! An item does not depend on how many others are computed with it: every network and flow, at every precision, bit for
//! bit.

use burn::module::Module;
use burn::tensor::{DType, Device, Tensor};
use pushforward::bijector::{Bijector, FlowConfig};
use pushforward::flow_map::backbone::EndpointNet;
use pushforward::flow_map::conditioning::Conditioning;
use pushforward::flow_map::model::Skip;
use pushforward::flow_map::network::NetworkConfig;
use pushforward::kernels::Precision;
use pushforward::nn::{Pass, SiteShape};
use pushforward::rng::{Purpose, stream};
use pushforward::tensor::{cast_module, from_host, to_host, vector};

use super::distillation::{model, networks};
use super::dual::randomise;
use super::graph;
use crate::support::numbers;

const ITEMS: usize = 200;

/// Calls `f` with precisions, batch sizes and the rows of the batches that begin and end the items.
fn every_batch(mut f: impl FnMut(Precision, usize, std::ops::Range<usize>)) {
    for precision in [Precision::F32, Precision::High, Precision::Bf16] {
        let _scope = precision.scope();
        for size in [1, 3, 7, 64, ITEMS] {
            f(precision, size, 0..size);
            f(precision, size, ITEMS - size..ITEMS);
        }
    }
}

fn check_network(name: &str, network: &NetworkConfig, sites: SiteShape, nodes: Option<usize>) {
    let device = Device::flex();
    let net = cast_module(model(network, sites.clone(), Skip::None, false).valid(), DType::F32);
    let like = Tensor::<1>::zeros([1], &device);
    let sizes = nodes.map(|nodes| (0..ITEMS).map(|i| 2 + i % (nodes - 1)).collect::<Vec<usize>>());
    let conditioning = Conditioning::of_sizes(&sites, &sizes.unwrap_or_default(), &like);
    let shape = [ITEMS, sites.count, sites.classes];
    let x: Tensor<3> = conditioning.mask(from_host(&numbers(shape.iter().product(), 3), shape, &like));
    let of = |rows: std::ops::Range<usize>| {
        let n = rows.len();
        let (s, t) = (vector(&vec![0.3; n], &x), vector(&vec![0.7; n], &x));
        let x = x.clone().slice_dim(0, rows.clone());
        let z = net.logits(x.into(), s.into(), t.into(), &conditioning.slice(rows), &mut Pass::eval());
        to_host(&z.value)
    };
    let (row, mut all) = (sites.count * sites.classes, Vec::new());
    every_batch(|precision, size, rows| {
        if size == 1 && rows.start == 0 {
            all = of(0..ITEMS);
        }
        let found = of(rows.clone());
        let same = found == all[rows.start * row..rows.end * row];
        assert!(same, "{name} in {precision:?}: the logits of items {rows:?} change in a batch of {size}");
    });
}

#[test]
fn logits_of_every_network() {
    for (name, network, sites) in networks() {
        check_network(name, &network, sites, None);
    }
    for (name, network) in graph::networks() {
        check_network(name, &network, SiteShape::graph(graph::GRAPH), Some(graph::GRAPH.nodes));
    }
}

#[test]
fn both_directions_of_every_flow() {
    let device = Device::flex();
    for text in [
        "kind = 'maf'\nlayers = 2\nhidden = 32",
        "kind = 'real-nvp'\nlayers = 2\nhidden = 32\nmixing = 'linear'",
        "kind = 'spline'\nlayers = 2\nhidden = 32",
        "kind = 'tar-flow'\nlayers = 2\nwidth = 16\nheads = 2\ntoken = 2",
    ] {
        const FEATURES: usize = 12;
        let config: FlowConfig = toml::from_str(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        let mut flow = randomise(config.init(FEATURES, &device, &mut stream(0, Purpose::Init, 0)));
        flow.assume_initialised();
        let flow = cast_module(flow, DType::F32);
        let x: Tensor<2> =
            from_host(&numbers(ITEMS * FEATURES, 5), [ITEMS, FEATURES], &Tensor::<1>::zeros([1], &device));
        let of = |rows: std::ops::Range<usize>| {
            let x = x.clone().slice_dim(0, rows);
            [flow.forward_and_ladj(x.clone()), flow.inverse_and_ladj(x)].map(|(y, ladj)| (to_host(&y), to_host(&ladj)))
        };
        let mut all = Default::default();
        every_batch(|precision, size, rows| {
            if size == 1 && rows.start == 0 {
                all = of(0..ITEMS);
            }
            for (found, all) in of(rows.clone()).iter().zip(&all) {
                let same =
                    found.0 == all.0[rows.start * FEATURES..rows.end * FEATURES] && found.1 == all.1[rows.clone()];
                assert!(same, "{text} in {precision:?}: items {rows:?} change in a batch of {size}");
            }
        });
    }
}
