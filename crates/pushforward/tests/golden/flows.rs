//! Masked and inverse autoregressive flows, and the preprocessing of pixels, against published code.

use burn::module::Param;
use burn::tensor::Tensor;
use pushforward::bijector::{ActNorm, Affine, Bijector, Flow, FlowConfig, Logit, MafConfig, MaskedLinear, Transform};
use pushforward::rng::{Purpose, stream};
use pushforward::tensor::{cast_module, to_host};

use crate::support::{Golden, close, device, golden, precision, tolerance, tracked};

const TOLERANCE: f64 = 1e-9;

/// Whether a group is an inverse flow: its steps have no wrapper.
fn is_inverse(g: &Golden, group: &str) -> bool {
    g.has(&format!("{group}.state._transforms.1.autoregressive_net.initial_layer.weight"))
}

/// Copies a masked layer; the reference stores `[outputs, inputs]`.
fn copy(g: &Golden, name: &str, layer: &mut MaskedLinear) {
    let weight: Tensor<2> = g.tensor::<2>(&format!("{name}.weight")).inner().transpose();
    layer.linear.weight = Param::from_tensor(Tensor::from_inner(weight));
    layer.linear.bias = Some(Param::from_tensor(g.tensor(&format!("{name}.bias"))));
}

/// The masked networks of the fixture, without the statistics of its normalisations.
fn flow(g: &Golden, group: &str) -> Flow {
    let inverse = is_inverse(g, group);
    let state = format!("{group}.state.{}", if inverse { "_transforms" } else { "_transform._transforms" });
    let [_, features] = g.shape(&format!("{group}.x"));
    let network = |layer: usize| format!("{state}.{}.autoregressive_net", 3 * layer + 1);
    let [hidden, _] = g.shape(&format!("{}.initial_layer.weight", network(0)));
    let layers = (0..).take_while(|&layer| g.has(&format!("{}.initial_layer.weight", network(layer)))).count();
    let block = |block: &usize| g.has(&format!("{}.blocks.{block}.linear_layers.0.weight", network(0)));
    let blocks = (0..).take_while(block).count();
    let config = MafConfig { layers, hidden, blocks, ..MafConfig::default() };
    let config = if inverse { FlowConfig::Iaf(config) } else { FlowConfig::Maf(config) };
    let flow = config.init(features, &device().autodiff(), &mut stream(0, Purpose::Init, 0));
    let mut flow = cast_module(flow, precision(&device()));
    let mut networks: Vec<_> = flow
        .steps
        .iter_mut()
        .filter_map(|step| match &mut step.transform {
            Transform::MaskedAutoregressive(map) => Some(&mut map.network),
            _ => None,
        })
        .collect();
    if inverse {
        networks.reverse();
    }
    for (layer, made) in networks.into_iter().enumerate() {
        let name = network(layer);
        copy(g, &format!("{name}.initial_layer"), &mut made.input);
        for (i, block) in made.blocks.iter_mut().enumerate() {
            copy(g, &format!("{name}.blocks.{i}.linear_layers.0"), &mut block.first);
            copy(g, &format!("{name}.blocks.{i}.linear_layers.1"), &mut block.second);
        }
        copy(g, &format!("{name}.final_layer"), &mut made.output);
    }
    flow
}

/// The normalisations of a flow, in the order of the reference.
fn norms(flow: &Flow, inverse: bool) -> Vec<&ActNorm> {
    let mut norms: Vec<_> = flow
        .steps
        .iter()
        .filter_map(|step| match &step.transform {
            Transform::ActNorm(norm) => Some(norm),
            _ => None,
        })
        .collect();
    if inverse {
        norms.reverse();
    }
    norms
}

#[test]
fn masked_and_inverse_autoregressive_flows() {
    let Some(g) = golden("aef/flows_tiny") else { return };
    for group in g.groups("x_init") {
        let inverse = is_inverse(&g, &group);
        let mut flow = flow(&g, &group);
        let first = g.tensor(&format!("{group}.x_init"));
        if inverse {
            flow.initialise_inverse(first)
        } else {
            flow.initialise(first)
        };
        let prefix = if inverse { "_transforms" } else { "_transform._transforms" };
        for (layer, norm) in norms(&flow, inverse).into_iter().enumerate() {
            let inner = if inverse { "" } else { "._transform" };
            let name = |what: &str| format!("{group}.state.{prefix}.{}{inner}.{what}", 3 * layer + 2);
            let check = |what: &str, found: Tensor<1>| {
                close(&name(what), &to_host(&found), &g.values(&name(what)), tolerance(TOLERANCE));
            };
            check("log_scale", norm.log_scale.val());
            check("shift", norm.shift.val());
        }
        let check = |what: &str, (point, ladj): (Tensor<2>, Tensor<1>)| {
            let wanted = |rest: &str| g.values(&format!("{group}.{what}{rest}"));
            close(&format!("{group}.{what}"), &to_host(&point), &wanted(""), tolerance(TOLERANCE));
            close(&format!("{group}.{what}_logdet"), &to_host(&ladj), &wanted("_logdet"), tolerance(TOLERANCE));
        };
        let x: Tensor<2> = g.tensor(&format!("{group}.x"));
        // The reference calls base to data forward.
        check("forward", flow.inverse_and_ladj(x.clone()));
        check("inverse", flow.forward_and_ladj(x));
    }
}

#[test]
fn preprocessing_of_pixels() {
    let Some(g) = golden("aef/preprocessing") else { return };
    let pixels = g.values("x");
    let column = |values: &[f64]| -> Tensor<2> { tracked(values, [values.len(), 1]) };
    let x = || column(&pixels);
    for group in g.groups("affine") {
        let alpha: f64 = group.trim_start_matches("alpha").parse().expect("a group's name ends in its alpha");
        let wanted = |what: &str| g.values(&format!("{group}.{what}"));
        let check = |what: &str, (y, ladj): (Tensor<2>, Tensor<1>), log_det: &[f64]| -> Tensor<2> {
            close(&format!("{group}.{what}"), &to_host(&y), &wanted(what), tolerance(TOLERANCE));
            close(&format!("{group}.{what}_logdet"), &to_host(&ladj), log_det, tolerance(TOLERANCE));
            y
        };
        let affine = Affine::new(1.0 - 2.0 * alpha, alpha);
        let a = check("affine", affine.forward_and_ladj(x()), &wanted("affine_logdet"));
        let y = check("logit", Logit::new(0.0).forward_and_ladj(a), &wanted("logit_logdet"));
        let mut norm = cast_module(ActNorm::init(1, &device().autodiff()), precision(&device()));
        // The first pixel determines the normalisation, the others check that it is the same everywhere.
        let scale = (-wanted("actnorm_logdet")[0]).exp();
        let shift = wanted("logit")[0] - scale * wanted("actnorm")[0];
        norm.log_scale = Param::from_tensor(tracked(&[(scale - 1e-5).ln()], [1]));
        norm.shift = Param::from_tensor(tracked(&[shift], [1]));
        norm.assume_initialised();
        let h = check("actnorm", norm.forward_and_ladj(y), &wanted("actnorm_logdet"));
        // The same as one map, and its inverse.
        let sum: Vec<f64> = wanted("affine_logdet").iter().zip(wanted("logit_logdet")).map(|(a, b)| a + b).collect();
        check("logit", Logit::new(alpha).forward_and_ladj(x()), &sum);
        let back = Logit::new(alpha).inverse_and_ladj(norm.inverse_and_ladj(h).0).0;
        close(&format!("{group}.back"), &to_host(&back), &wanted("back"), tolerance(TOLERANCE));
    }
}
