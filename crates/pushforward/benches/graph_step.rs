//! Time of one training step of graphs, and of sampling them in one step: the published graph transformer and our own on pairs,
//! at the sizes of QM9 and ZINC.
//!
//! ```text
//! cargo bench --bench graph_step -- [--rounds N] [--only NAME,...] [--json | --describe | --serve]
//! ```
//!
//! A training step is the training loop's: loss of 128 graphs, gradient, joint norm, clipping, AdamW; all examples go
//! to the objective named. At ZINC's size the published network has 16, because a step on 128 takes a CPU many seconds.
//! A sample is the library's, from noise to class indices. All graphs have the maximum number of nodes; the time does
//! not depend on the classes. `common` says what else it does. In the operations a backward pass costs twice its
//! forward pass, tangent included, and once where one factor is constant.

mod common;

use std::ops::{Add, Mul};

use pushforward::burn::tensor::Device;
use pushforward::flow_map::config::{FlowMapConfig, ObjectiveConfig, OffDiagonal, Teacher};
use pushforward::flow_map::losses::{EcldPreset, GradientPath};
use pushforward::flow_map::model::FlowMapModel;
use pushforward::flow_map::network::NetworkConfig;
use pushforward::flow_map::objective::{FlowMapObjective, IdBatch};
use pushforward::flow_map::sample::{Generator, SampleRequest, sample};
use pushforward::nn::SiteShape;
use pushforward::nn::graph::GraphShape;
use pushforward::nn::graph_transformer::GraphTransformerConfig;
use pushforward::nn::pair_transformer::PairTransformerConfig;
use pushforward::params;
use pushforward::rng::{Purpose, stream};

use crate::common::product;

const QM9: GraphShape = GraphShape { nodes: 9, node_classes: 4, edge_classes: 4 };
const ZINC: GraphShape = GraphShape { nodes: 38, node_classes: 9, edge_classes: 4 };

/// Features of each of the two times in the published network.
const TIME_FEATURES: usize = 128;

/// Network of a case.
#[derive(Clone, Copy)]
enum Net {
    /// The published one, with this many layers.
    Published(usize),
    /// Our own.
    TimePairs,
}

/// Operation of a case.
#[derive(Clone, Copy)]
enum Task {
    Train(OffDiagonal),
    /// A sample in one step.
    Sample,
}

/// A case of the benchmark.
#[derive(Clone, Copy)]
struct Work {
    net: Net,
    graph: GraphShape,
    batch: usize,
    task: Task,
}

const DIAGONAL: Task = Task::Train(OffDiagonal::None);
const CSD: Task = Task::Train(OffDiagonal::Csd { gradient: GradientPath::Published });
const ECLD: Task = Task::Train(OffDiagonal::Ecld { weights: EcldPreset::Paper });

const fn qm9(net: Net, task: Task) -> Work {
    Work { net, graph: QM9, batch: 128, task }
}

const CASES: [(&str, Work); 9] = [
    ("train/qm9-diagonal", qm9(Net::Published(9), DIAGONAL)),
    ("train/qm9-csd", qm9(Net::Published(9), CSD)),
    ("train/qm9-ecld", qm9(Net::Published(9), ECLD)),
    ("train/qm9-pair-diagonal", qm9(Net::TimePairs, DIAGONAL)),
    ("train/qm9-pair-ecld", qm9(Net::TimePairs, ECLD)),
    ("train/zinc-diagonal", Work { net: Net::Published(12), graph: ZINC, batch: 16, task: DIAGONAL }),
    ("train/zinc-pair-diagonal", Work { net: Net::TimePairs, graph: ZINC, batch: 128, task: DIAGONAL }),
    ("sample/qm9-b128-nfe1", qm9(Net::Published(9), Task::Sample)),
    ("sample/qm9-pair-b128-nfe1", qm9(Net::TimePairs, Task::Sample)),
];

fn main() -> Result<(), String> {
    common::run(&CASES)
}

impl Work {
    fn sites(self) -> SiteShape {
        SiteShape::graph(self.graph)
    }

    fn config(self) -> FlowMapConfig {
        let network = match self.net {
            Net::Published(layers) => NetworkConfig::GraphTransformer(published(layers)),
            Net::TimePairs => NetworkConfig::PairTransformer(PairTransformerConfig::default()),
        };
        let off_diagonal = match self.task {
            Task::Train(off_diagonal) => off_diagonal,
            Task::Sample => OffDiagonal::None,
        };
        // An online teacher instead of the average: the same work without the average's update.
        let objective = ObjectiveConfig {
            off_diagonal,
            share: 1.0,
            start: 0.0,
            teacher: Teacher::Online,
            ..ObjectiveConfig::default()
        };
        FlowMapConfig::new(network, objective)
    }

    fn model(self, device: &Device) -> FlowMapModel {
        self.config().model(None).init(self.sites(), device, &mut stream(0, Purpose::Init, 0))
    }

    /// Graphs with the maximum number of nodes and random classes.
    fn items(self) -> IdBatch {
        let mut data = stream(0, Purpose::Synthesis, 0);
        let GraphShape { nodes, node_classes, edge_classes } = self.graph;
        let sites = self.sites().count;
        let classes = |site: usize| if site < nodes { node_classes } else { edge_classes };
        IdBatch {
            ids: (0..self.batch * sites).map(|place| data.below(classes(place % sites)) as u32).collect(),
            labels: None,
        }
    }

    fn pass(self) -> Pass {
        match self.net {
            Net::Published(layers) => published_pass(&published(layers), self.graph, self.batch),
            Net::TimePairs => pairs_pass(&PairTransformerConfig::default(), self.graph, self.batch),
        }
    }
}

/// The sizes of the published results. No dropout: PyTorch would draw other masks.
fn published(layers: usize) -> GraphTransformerConfig {
    GraphTransformerConfig { layers, dropout: 0.0, ..GraphTransformerConfig::default() }
}

impl common::Work for Work {
    fn start(self) -> Box<dyn FnMut()> {
        let (config, sites, device) = (self.config(), self.sites(), Device::flex());
        match self.task {
            Task::Train(_) => {
                let model = self.model(&device.autodiff());
                common::training(model, FlowMapObjective::new(config, None), self.items(), 1e-4, 1.0)
            }
            Task::Sample => {
                let model = self.model(&device);
                let request = SampleRequest { batch: self.batch, ..SampleRequest::map(self.batch, 1, 0) };
                Box::new(move || {
                    let samples = sample(
                        &Generator::new(&model, sites.clone(), &device).with_noise(config.noise()),
                        &request,
                        &mut |_| true,
                    );
                    assert_eq!(samples.ids.len(), request.count * sites.count);
                })
            }
        }
    }

    fn parameters(self) -> usize {
        params::count(&self.model(&Device::flex()))
    }

    fn gflop(self) -> f64 {
        let Pass { value, along_t } = self.pass();
        let flop = match self.task {
            Task::Train(OffDiagonal::None) => value.both_ways(),
            // A student with tangent and its backward pass; a teacher at the end of the jump.
            Task::Train(_) => (value + along_t).both_ways() + value.forward(),
            Task::Sample => value.forward(),
        };
        flop * 1e-9
    }
}

/// Operations in matrix products.
#[derive(Clone, Copy)]
struct Products {
    /// With factors that both have a gradient.
    learned: f64,
    /// With a constant, such as which pairs touch which nodes.
    fixed: f64,
}

impl Products {
    fn forward(self) -> f64 {
        self.learned + self.fixed
    }

    fn both_ways(self) -> f64 {
        3.0 * self.learned + 2.0 * self.fixed
    }
}

impl Add for Products {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self { learned: self.learned + other.learned, fixed: self.fixed + other.fixed }
    }
}

impl Mul<f64> for Products {
    type Output = Self;
    fn mul(self, factor: f64) -> Self {
        Self { learned: self.learned * factor, fixed: self.fixed * factor }
    }
}

fn learned(operations: f64) -> Products {
    Products { learned: operations, fixed: 0.0 }
}

/// Operations in the matrix products of one pass over a batch; scores per feature are not matrix products.
struct Pass {
    value: Products,
    /// The derivative in t: nodes and edges do not depend on it before the first layer's updates.
    along_t: Products,
}

/// Operations of two layers on this many rows.
fn two_layers(rows: usize, [inputs, hidden, outputs]: [usize; 3]) -> f64 {
    product(rows, hidden, inputs) + product(rows, outputs, hidden)
}

fn published_pass(config: &GraphTransformerConfig, graph: GraphShape, batch: usize) -> Pass {
    let ([dx, de, dy], [fx, fe, fy], [hx, he, hy]) = (config.widths, config.feed_forward, config.outer);
    let (rows, cells) = (batch * graph.nodes, batch * graph.nodes * graph.nodes);
    let time = two_layers(batch, [2 * TIME_FEATURES, hy, dy]);
    let input = two_layers(rows, [graph.node_classes, hx, dx]) + two_layers(cells, [graph.edge_classes, he, de]);
    let output = two_layers(rows, [dx, hx, graph.node_classes]) + two_layers(cells, [de, he, graph.edge_classes]);
    // Queries, keys and values, modulation of the scores by edges, and both poolings.
    let seen = product(rows, 3 * dx, dx) + product(cells, 2 * dx, de) + product(batch, dy, 4 * dx + 4 * de);
    let graph_terms = product(batch, 4 * dx, dy) + product(batch, dy, dy) + two_layers(batch, [dy, dy, dy]);
    let outputs = product(rows, dx, dx) + product(cells, de, dx);
    let forward = two_layers(rows, [dx, fx, dx]) + two_layers(cells, [de, fe, de]) + two_layers(batch, [dy, fy, dy]);
    let layers = config.layers as f64 * (seen + graph_terms + outputs + forward);
    Pass { value: learned(time + input + layers + output), along_t: learned(time + layers - seen + output) }
}

fn pairs_pass(config: &PairTransformerConfig, graph: GraphShape, batch: usize) -> Pass {
    let PairTransformerConfig { width, pair_width, heads, cond, expansion, time_width, .. } = *config;
    let (nodes, pairs) = (graph.nodes, graph.pairs());
    let (rows, pair_rows, pair_hidden) = (batch * nodes, batch * pairs, expansion * pair_width);
    let time = two_layers(batch, [time_width, cond, cond]); // one of the two
    let input = product(rows, width, graph.node_classes) + product(pair_rows, pair_width, graph.edge_classes);
    let output = product(rows, graph.node_classes, width) + product(pair_rows, graph.edge_classes, pair_width);
    let modulation = |parts: usize, pair_parts: usize| product(batch, parts * width + pair_parts * pair_width, cond);
    // Pairs in attention, their sums over the pairs of a node included.
    let seen = Products {
        learned: product(pair_rows, heads, pair_width),
        fixed: product(batch * heads, nodes * nodes, pairs) + product(rows, pair_width, pairs),
    };
    let on_nodes = product(rows, 3 * width, width)
        + product(rows, width, width + pair_width)
        + two_layers(rows, [width, expansion * width, width])
        + product(rows, pair_hidden, width);
    let on_pairs = two_layers(pair_rows, [pair_width, pair_hidden, pair_width]);
    let spread = Products { learned: 0.0, fixed: product(pair_rows, pair_hidden, nodes) };
    let block = seen + spread + learned(on_nodes + on_pairs + modulation(6, 3));
    let attention = learned(2.0 * product(rows, nodes, width)); // its derivative is two such products
    let blocks = config.blocks as f64;
    let rest = learned(modulation(2, 2) + output);
    Pass {
        value: (block + attention) * blocks + rest + learned(input + 2.0 * time + product(batch, cond, 1)),
        along_t: (block + attention * 2.0) * blocks + seen * -1.0 + rest + learned(time),
    }
}
