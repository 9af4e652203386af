//! The published graph network: activations, tangents, losses, parameter gradients and samplers.

use burn::module::Param;
use burn::tensor::Tensor;
use pushforward::dual::{Dual, softmax};
use pushforward::flow_map::interpolant::interpolate;
use pushforward::flow_map::losses::{self, EcldPreset, GradientPath};
use pushforward::flow_map::time::{TimeGrid, TimePairs, rate};
use pushforward::nn::Pass;
use pushforward::nn::graph::GraphShape;
use pushforward::nn::graph_pooling::Pooling;
use pushforward::nn::graph_transformer::{GraphNorm, GraphTime, GraphTransformer, GraphTransformerConfig, TimeEncoder};
use pushforward::nn::linear::Linear;
use pushforward::nn::two_layers::TwoLayers;
use pushforward::rng::{Purpose, stream};
use pushforward::tensor::{from_host, indices, to_host, vector};
use serde_json::Value;

use crate::support::{Golden, close, device, golden_and_config, tolerance};

const FILE: &str = "flow_map/graph_transformer_tiny";
const DEEP: &str = "flow_map/graph_transformer_deep";
/// Floor of `1 - s` and `1 - t` in the published codes.
const FLOOR: f64 = 0.05;
const EDGE_WEIGHT: f64 = 5.0;

/// The linear layer behind a reference name without its `.weight`; `None` for parts without a counterpart.
fn linear<'a>(net: &'a mut GraphTransformer, name: &str) -> Option<&'a mut Linear> {
    fn within<'a>(net: &'a mut TwoLayers, index: &str) -> &'a mut Linear {
        if index == "0" { &mut net.first } else { &mut net.second }
    }
    if let Some(rest) = name.strip_prefix("tf_layers.") {
        let (index, layer) = rest.split_once('.').expect("a layer has an index");
        let block = &mut net.layers[index.parse::<usize>().expect("an index is a number")];
        let attention = &mut block.attention;
        return Some(match layer {
            "linX1" => &mut block.nodes.first,
            "linX2" => &mut block.nodes.second,
            "linE1" => &mut block.edges.first,
            "linE2" => &mut block.edges.second,
            "lin_y1" => &mut block.graph.first,
            "lin_y2" => &mut block.graph.second,
            "self_attn.q" => &mut attention.q,
            "self_attn.k" => &mut attention.k,
            "self_attn.v" => &mut attention.v,
            "self_attn.e_add" => &mut attention.e_add,
            "self_attn.e_mul" => &mut attention.e_mul,
            "self_attn.y_e_add" => &mut attention.y_e_add,
            "self_attn.y_e_mul" => &mut attention.y_e_mul,
            "self_attn.y_x_add" => &mut attention.y_x_add,
            "self_attn.y_x_mul" => &mut attention.y_x_mul,
            "self_attn.y_y" => &mut attention.y_y,
            "self_attn.x_y.lin" => &mut attention.x_y,
            "self_attn.e_y.lin" => &mut attention.e_y,
            "self_attn.x_out" => &mut attention.x_out,
            "self_attn.e_out" => &mut attention.e_out,
            "self_attn.y_out.0" => &mut attention.y_out.first,
            "self_attn.y_out.2" => &mut attention.y_out.second,
            other => panic!("unknown layer {other}"),
        });
    }
    let (part, index) = name.rsplit_once('.').expect("a part has an index");
    Some(match part {
        "mlp_in_X" => within(&mut net.nodes_in, index),
        "mlp_in_E" => within(&mut net.edges_in, index),
        "mlp_out_X" => within(&mut net.nodes_out, index),
        "mlp_out_E" => within(&mut net.edges_out, index),
        "mlp_out_y" => return None, // computed and thrown away by the reference
        "y_encoder.mlp" => match &mut net.time {
            TimeEncoder::Concat(two) => within(two, index),
            TimeEncoder::Sum(_) => panic!("the reference concatenates"),
        },
        "y_encoder" => match &mut net.time {
            TimeEncoder::Sum(sum) => {
                if index == "proj_s" {
                    &mut sum.start
                } else {
                    &mut sum.length
                }
            }
            TimeEncoder::Concat(_) => panic!("the reference adds"),
        },
        other => panic!("unknown part {other}"),
    })
}

/// The network of a group and its graphs. The widths are those of the weights; the number of heads and the kind of
/// normalisation are in the settings: `<group>.hidden_dims.n_head` and `<group>.norm_type`.
fn network(g: &Golden, group: &str, config: &Value) -> (GraphTransformer, GraphShape) {
    let name = |rest: &str| format!("{group}.{rest}");
    let settings = &config[group];
    let state = g.under(&name("state."));
    let [_, nodes, node_classes] = g.shape(&name("in.x_s"));
    let [_, _, _, edge_classes] = g.shape(&name("in.e_s"));
    let graph = GraphShape { nodes, node_classes, edge_classes };
    let outputs = |layer: &str| -> usize {
        let [o, _] = g.shape(&name(&format!("state.{layer}.weight")));
        o
    };
    let sum = state.iter().any(|n| n.contains("proj_s"));
    let attention = "tf_layers.0.self_attn";
    let network = GraphTransformerConfig {
        layers: state.iter().filter(|n| n.ends_with("linX1.weight")).count(),
        widths: [outputs("mlp_in_X.2"), outputs("mlp_in_E.2"), outputs(&format!("{attention}.y_y"))],
        feed_forward: ["linX1", "linE1", "lin_y1"].map(|l| outputs(&format!("tf_layers.0.{l}"))),
        // Times that are added have no hidden layer.
        outer: [outputs("mlp_in_X.0"), outputs("mlp_in_E.0"), if sum { 0 } else { outputs("y_encoder.mlp.0") }],
        heads: settings["hidden_dims"]["n_head"].as_u64().expect("the number of heads") as usize,
        dropout: 0.0,
        norm: match settings["norm_type"].as_str().expect("the kind of normalisation") {
            "rmsnorm" => GraphNorm::Rms,
            "layernorm" => GraphNorm::Layer,
            other => panic!("unknown normalisation {other}"),
        },
        time: if sum { GraphTime::Sum } else { GraphTime::Concat },
        pooling: Pooling::Padded,
    };
    let mut net = network.init(graph, &device().autodiff(), &mut stream(0, Purpose::Init, 0));
    for full in &state {
        let (layer, kind) = full.rsplit_once('.').expect("a parameter has a layer");
        if kind == "freqs" {
            continue; // a table that we compute
        }
        let key = name(&format!("state.{full}"));
        let Some(linear) = linear(&mut net, layer) else { continue };
        if kind == "weight" {
            // The reference stores [out, in].
            let weight: Tensor<2> = g.tensor::<2>(&key).inner().transpose();
            linear.weight = Param::from_tensor(Tensor::from_inner(weight));
        } else {
            assert!(linear.bias.is_some(), "{layer} has an offset in the reference");
            linear.bias = Some(Param::from_tensor(g.tensor(&key)));
        }
    }
    (net, graph)
}

/// A point of all sites from stored nodes and edge matrices.
fn point(g: &Golden, graph: GraphShape, nodes: &str, edges: &str) -> Tensor<3> {
    graph.join(g.tensor::<3>(nodes).into(), graph.upper(g.tensor::<4>(edges).into())).value
}

/// All groups of the fixture; empty if it is to be skipped.
fn cases() -> impl Iterator<Item = Case> {
    golden_and_config(FILE)
        .into_iter()
        .flat_map(|(g, config)| g.groups("in.x0").into_iter().map(move |group| Case::new(g.clone(), group, &config)))
}

struct Case {
    g: Golden,
    group: String,
    net: GraphTransformer,
    graph: GraphShape,
    pairs: TimePairs,
    node_mask: Tensor<2>,
    /// Weights of the sites of every graph: one over its nodes, and one over its pairs.
    weights: [Tensor<2>; 2],
    x0: Tensor<3>,
    x1: Tensor<3>,
    x_s: Tensor<3>,
}

impl Case {
    fn new(g: Golden, group: String, config: &Value) -> Self {
        let name = |rest: &str| format!("{group}.{rest}");
        let (net, graph) = network(&g, &group, config);
        let [batch, nodes, _] = g.shape(&name("in.x0"));
        let pairs = TimePairs { s: g.values(&name("in.s")), t: g.values(&name("in.t")) };
        let point = |x: &str, e: &str| point(&g, graph, &name(x), &name(e));
        let (x0, x1, x_s) = (point("in.x0", "in.e0"), point("in.x1", "in.e1"), point("in.x_s", "in.e_s"));
        let node_mask: Tensor<2> = g.tensor(&name("in.node_mask"));
        let sizes: Vec<usize> = to_host(&node_mask).chunks(nodes).map(|row| row.iter().sum::<f64>() as usize).collect();
        let weights = [true, false].map(|of_nodes| {
            let values: Vec<f64> = sizes
                .iter()
                .flat_map(|&n| {
                    // A graph of one node has no pairs, and no weight there.
                    let count = if of_nodes { n } else { (n * (n - 1) / 2).max(1) } as f64;
                    graph
                        .sites_of(n)
                        .enumerate()
                        .map(move |(i, there)| if (i < nodes) == of_nodes { there / count } else { 0.0 })
                })
                .collect();
            from_host(&values, [batch, nodes + graph.pairs()], &x0)
        });
        Self { g, group, net, graph, pairs, node_mask, weights, x0, x1, x_s }
    }

    fn check(&self, name: &str, found: &[f64], relative: f64) {
        let wanted = self.g.values(&format!("{}.{name}", self.group));
        close(&format!("{} {name}", self.group), found, &wanted, tolerance(relative));
    }

    /// Compares a point with stored nodes and edge matrices, at unmasked nodes and pairs.
    fn check_point(&self, nodes: &str, edges: &str, found: Dual<3>, relative: f64) {
        let (x, e) = self.graph.split(found);
        let mask: Tensor<3> = self.node_mask.clone().unsqueeze_dim(2);
        let there = mask.clone().unsqueeze_dim::<4>(2) * mask.clone().unsqueeze_dim::<4>(1);
        let stored = |name: &str| format!("{}.{name}", self.group);
        let wanted = self.g.tensor::<3>(&stored(nodes)) * mask.clone();
        close(nodes, &to_host(&(x.value * mask)), &to_host(&wanted), tolerance(relative));
        let wanted = self.g.tensor::<4>(&stored(edges)) * there.clone();
        let found = self.graph.matrix(e).value * there;
        close(edges, &to_host(&found), &to_host(&wanted), tolerance(relative));
    }

    fn at(&self, x: &Tensor<3>, s: &[f64], t: Dual<1>, diagonal: Option<&Tensor<3>>) -> Dual<3> {
        let s = vector(s, x).into();
        self.net.forward(x.clone().into(), s, t, Some(&self.node_mask), diagonal, &mut Pass::eval())
    }

    fn plain(&self, x: &Tensor<3>, s: &[f64], t: &[f64]) -> Tensor<3> {
        self.at(x, s, vector(t, x).into(), None).value
    }

    fn student(&self) -> Dual<3> {
        let t = vector(&self.pairs.t, &self.x_s);
        self.at(&self.x_s, &self.pairs.s, Dual::new(t.clone(), t.ones_like()), None)
    }

    /// The published jump: `1 - s` does not fall below the floor.
    fn jump(&self, x: Tensor<3>, pi: Tensor<3>, s: &[f64], t: &[f64]) -> Tensor<3> {
        let gamma: Vec<f64> = s.iter().zip(t).map(|(s, t)| (t - s) * rate(s.min(1.0 - FLOOR))).collect();
        let gamma = from_host(&gamma, [gamma.len(), 1, 1], &x);
        losses::jump(x, pi, gamma)
    }

    fn teacher(&self, z: &Dual<3>) -> Tensor<3> {
        let pi = softmax(z.value.clone().detach());
        let x_t = self.jump(self.x_s.clone(), pi, &self.pairs.s, &self.pairs.t);
        self.plain(&x_t, &self.pairs.t, &self.pairs.t).detach()
    }

    /// The Lagrangian residual of the published jump, which differs from ours after the floor.
    fn floored_lagrangian(&self, scaled: bool) -> Tensor<2> {
        let z = self.student();
        let z_tt = self.teacher(&z);
        let TimePairs { s, t } = &self.pairs;
        let (pi, dpi) = losses::endpoint(z);
        let column = |f: &dyn Fn(f64, f64) -> f64| self.pairs.column(&self.x_s, f);
        let rates = column(&|s, _| rate(s.min(1.0 - FLOOR)));
        let gamma = column(&|s, t| (t - s) * rate(s.min(1.0 - FLOOR)));
        let slope = (pi.clone() - self.x_s.clone()) * rates + dpi * gamma;
        let target = softmax(z_tt) - self.jump(self.x_s.clone(), pi.detach(), s, t);
        let residual = if scaled {
            slope * column(&|_, t| 1.0 - t) - target
        } else {
            slope - target * column(&|_, t| rate(t.min(1.0 - FLOOR)))
        };
        (residual.clone() * residual).sum_dim(2).squeeze_dim(2)
    }

    /// A loss of every site.
    fn loss(&self, name: &str) -> Tensor<2> {
        let TimePairs { s, t } = &self.pairs;
        let [b, sites, _] = self.x1.dims();
        let classes: Vec<u32> = self.x1.clone().argmax(2).to_data().iter::<i64>().map(|i| i as u32).collect();
        let ids = || indices(&classes, [b, sites], &device());
        let at_t = || self.plain(&interpolate(self.x0.clone(), self.x1.clone(), t), t, t);
        match name {
            "vfm" => losses::vfm(at_t(), ids(), 0.0, None),
            "vfm_ls01" => losses::vfm(at_t(), ids(), 0.1, None),
            "vfm_mse" => losses::naive_diagonal(at_t(), self.x0.clone(), self.x1.clone()),
            "csd" | "csd_unscaled" if s.iter().any(|s| *s > 1.0 - FLOOR) => self.floored_lagrangian(name == "csd"),
            "csd" => {
                let z = self.student();
                let z_tt = self.teacher(&z);
                losses::csd(z, z_tt, self.x_s.clone(), &self.pairs, GradientPath::Published)
            }
            "csd_unscaled" => {
                let z = self.student();
                let z_tt = self.teacher(&z);
                losses::lsd(z, z_tt, self.x_s.clone(), &self.pairs, FLOOR)
            }
            "ecld" => {
                let z = self.student();
                let z_tt = self.teacher(&z);
                let (endpoint, drift) = losses::ecld(z, z_tt.clone(), &self.pairs, &EcldPreset::Graph.weights());
                endpoint + losses::teacher_entropy(z_tt) * 4.0 + drift
            }
            "naive_mse" => {
                let z = self.student();
                let length = self.pairs.column(&self.x_s, |s, t| t - s);
                let x_t = self.x_s.clone() + z.value.clone().detach() * length;
                let z_tt = self.plain(&x_t, t, t).detach();
                losses::naive(z, z_tt, &self.pairs)
            }
            other => panic!("the fixture has a loss that this test does not know: {other}"),
        }
    }
}

#[test]
fn logits_and_tangents() {
    for case in cases() {
        let TimePairs { s, t } = &case.pairs;
        case.check_point("out.logits_X", "out.logits_E", case.plain(&case.x_s, s, t).into(), 1e-9);
        let z = case.student();
        case.check_point("out.logits_X", "out.logits_E", z.value.clone().into(), 1e-9);
        let tangent = z.tangent.clone().expect("a tangent in t");
        case.check_point("out.dlogits_X_dt", "out.dlogits_E_dt", tangent.into(), 1e-8);
        let x_t = case.jump(case.x_s.clone(), softmax(z.value), s, t);
        case.check_point("out.X_st", "out.E_st", x_t.clone().into(), 1e-9);
        case.check_point("out.logits_tt_X", "out.logits_tt_E", case.plain(&x_t, t, t).into(), 1e-8);
    }
}

#[test]
fn losses_and_parameter_gradients() {
    for mut case in cases() {
        let group = case.group.clone();
        let names = case.g.under(&format!("{group}.loss."));
        let names: std::collections::BTreeSet<String> =
            names.iter().filter_map(|n| n.split('.').next().map(str::to_owned)).collect();
        assert!(!names.is_empty(), "{group} has losses");
        for name in names {
            let per_site = case.loss(&name);
            let [nodes, edges] =
                case.weights.each_ref().map(|w| (per_site.clone() * w.clone()).sum_dim(1).squeeze_dim::<1>(1));
            case.check(&format!("loss.{name}.node"), &to_host(&nodes), 1e-8);
            case.check(&format!("loss.{name}.edge"), &to_host(&edges), 1e-8);
            let loss = nodes.mean() + edges.mean() * EDGE_WEIGHT;
            case.check(&format!("loss.{name}.total"), &to_host(&loss), 1e-8);
            let grads = loss.backward();
            let parameters = case.g.under(&format!("{group}.grad.{name}."));
            assert!(!parameters.is_empty(), "gradients of {name}");
            for parameter in parameters {
                let layer = parameter.strip_suffix(".weight").expect("gradients of weights are stored");
                let weight = linear(&mut case.net, layer).expect("a layer that counts").weight.val();
                let gradient =
                    weight.grad(&grads).unwrap_or_else(|| panic!("{group} {name}: no gradient of {parameter}"));
                case.check(&format!("grad.{name}.{parameter}"), &to_host(&gradient.transpose()), 1e-6);
            }
        }
    }
}

#[test]
fn published_samplers_with_and_without_noise_on_the_diagonal() {
    for case in cases() {
        let group = &case.group;
        let n = case.x0.dims()[0];
        let noisy: Tensor<4> = case.g.tensor(&format!("{group}.sample.e0_noisy_diag"));
        let eye = Tensor::<2>::eye(case.graph.nodes, &noisy.device()).cast(noisy.dtype()).unsqueeze_dim::<3>(0);
        let diagonal: Tensor<3> = (noisy.clone() * eye.unsqueeze_dim::<4>(3)).sum_dim(2).squeeze_dim(2);
        for clean in [true, false] {
            let kind = if clean { "clean_diag" } else { "noisy_diag" };
            let names = case.g.under(&format!("{group}.sample.{kind}."));
            let steps: std::collections::BTreeSet<usize> =
                names.iter().filter_map(|n| n.strip_prefix("map")?.split('.').next()?.parse().ok()).collect();
            assert!(!steps.is_empty(), "{names:?}");
            for steps in steps {
                let mut x = case.x0.clone();
                for (s, t) in TimeGrid::uniform(steps).intervals() {
                    let (s, t) = (vec![s; n], vec![t; n]);
                    let diagonal = (!clean && s[0] == 0.0).then_some(&diagonal);
                    let z = case.at(&x, &s, vector(&t, &x).into(), diagonal).value;
                    x = case.jump(x, softmax(z), &s, &t);
                }
                let name = |field: &str| format!("sample.{kind}.map{steps}.{field}");
                case.check_point(&name("x"), &name("e"), x.into(), 1e-8);
            }
        }
    }
}

/// Layers after the second, which pool what the first ones left in the padding.
#[test]
fn deep_networks_on_padded_graphs() {
    let Some((g, config)) = golden_and_config(DEEP) else { return };
    for group in g.groups("in.x_s") {
        let name = |rest: &str| format!("{group}.{rest}");
        let (net, graph) = network(&g, &group, &config);
        let x_s = point(&g, graph, &name("in.x_s"), &name("in.e_s"));
        let node_mask: Tensor<2> = g.tensor(&name("in.node_mask"));
        let (s, t) = (vector(&g.values(&name("in.s")), &x_s), vector(&g.values(&name("in.t")), &x_s));
        let t = Dual::new(t.clone(), t.ones_like());
        let z = net.forward(x_s.into(), s.into(), t, Some(&node_mask), None, &mut Pass::eval());
        assert!(to_host(&node_mask).contains(&0.0), "{group} has a padded graph");
        let nodes: Tensor<3> = node_mask.unsqueeze_dim(2);
        let pairs = nodes.clone().unsqueeze_dim::<4>(2) * nodes.clone().unsqueeze_dim::<4>(1);
        let tangent = z.tangent.clone().expect("a tangent in t");
        for (found, kind, relative) in [(z.value, "logits", 1e-9), (tangent, "dlogits", 1e-6)] {
            let (x, e) = graph.split(found.into());
            let (on_nodes, on_edges) = (name(&format!("out.{kind}_X")), name(&format!("out.{kind}_E")));
            let wanted = to_host(&(g.tensor::<3>(&on_nodes) * nodes.clone()));
            close(&on_nodes, &to_host(&(x.value * nodes.clone())), &wanted, tolerance(relative));
            let wanted = to_host(&(g.tensor::<4>(&on_edges) * pairs.clone()));
            close(&on_edges, &to_host(&(graph.matrix(e).value * pairs.clone())), &wanted, tolerance(relative));
        }
    }
}
