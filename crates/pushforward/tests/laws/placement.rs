//! Parts that graphs keep, at the nodes where a model that knows the order of nodes has seen them.

use std::ops::ControlFlow;

use pushforward::data::graph::{GraphLayout, NodeClass};
use pushforward::data::{Layout, Schema};
use pushforward::flow_map::conditioning::Condition;
use pushforward::flow_map::config::{FlowMapConfig, ObjectiveConfig, OffDiagonal};
use pushforward::flow_map::constraint::Constraint;
use pushforward::flow_map::network::NetworkConfig;
use pushforward::flow_map::objective::{FlowMapObjective, IdBatch};
use pushforward::flow_map::sample::{GraphPart, SampleRequest};
use pushforward::flow_map::subsets::Subsets;
use pushforward::nn::mlp::MlpConfig;
use pushforward::node_pairs::ABSENT;
use pushforward::rng::{Purpose, stream};
use pushforward::run::{TrainedFlowMap, site_shape};
use pushforward::train::config::TrainConfig;
use pushforward::train::ema::EmaConfig;
use pushforward::train::{TrainRequest, train};

use super::objective::{config, from_the_start};
use crate::support::device;

/// Three quarters are 0-1-0 with two edges, a quarter is 1 1 without; nodes first, then the pairs (0,1), (0,2), (1,2).
const GRAPHS: [[u32; 6]; 2] = [[0, 1, 0, 1, 0, 1], [1, 1, ABSENT, 0, ABSENT, ABSENT]];

fn trained() -> TrainedFlowMap {
    let carbon = NodeClass { element: "C".into(), charge: 0 };
    let oxygen = NodeClass { element: "O".into(), charge: 0 };
    let layout = GraphLayout { nodes: 3, node_classes: vec![carbon, oxygen], edge_classes: 2, sizes: vec![0, 0, 1, 3] };
    let schema = Schema { sites: 6, classes: 2, layout: Layout::Graph(layout) };
    let network = NetworkConfig::Mlp(MlpConfig { width: 48, blocks: 2, time_width: 16, ..MlpConfig::default() });
    let settings = FlowMapConfig {
        condition: Condition::Observed { dropout: 0.2, subsets: Subsets::Mixed, labels: false },
        ..config(network, ObjectiveConfig { share: 0.0, ..from_the_start(OffDiagonal::None) })
    };
    let sites = site_shape(&schema);
    let model = settings.model(None).init(sites, &device().autodiff(), &mut stream(0, Purpose::Init, 0));
    let batch = |index: u64| {
        let mut items = stream(9, Purpose::Example, index);
        let ids = (0..128).flat_map(|_| GRAPHS[usize::from(items.uniform() < 0.25)]).collect();
        IdBatch { ids, labels: None }
    };
    let ema = Some(EmaConfig { decay: 0.98, ..EmaConfig::default() });
    let objective = FlowMapObjective::new(settings.clone(), None);
    let config = TrainConfig { steps: 800, lr: 4e-3, warmup: 10, ema, ..TrainConfig::default() };
    let request = TrainRequest { seed: 1, ..TrainRequest::new(model, &objective, &batch, config) };
    let net = train(request, &mut |_| ControlFlow::Continue(())).expect("the run ends").ema;
    TrainedFlowMap::new(settings, net, schema, &device())
}

#[test]
fn a_part_is_kept_where_the_model_has_seen_it() {
    let model = trained();
    let free = Constraint::all(site_shape(&model.schema));
    let keep = |constraint: Constraint, nodes: usize| {
        let part = Some(GraphPart { nodes, otherwise: None });
        SampleRequest { part, constraint: Some(constraint), ..SampleRequest::map(2000, 4, 3) }
    };
    // One node of class 1: in the middle of the first graph, and both nodes of the second.
    let one = keep(free.clone().fix(0, 1).expect("a class"), 1);
    let placed = model.checked(&one).expect("the request fits");
    let share = |size: usize, node: usize| {
        let there = |(row, n): (&Vec<Option<u32>>, &usize)| *n == size && row[node] == Some(1);
        placed.observed.iter().zip(&placed.told_sizes).filter(|pair| there(*pair)).count() as f64
            / placed.observed.len() as f64
    };
    for (size, node, wanted) in [(3, 1, 0.6), (2, 0, 0.2), (2, 1, 0.2), (3, 0, 0.0), (3, 2, 0.0)] {
        assert!((share(size, node) - wanted).abs() < 0.1, "{size} {node}: {}", share(size, node));
    }
    let samples = model.sample(&one, &mut |_| true).expect("the request fits");
    let right = samples.items().filter(|item| GRAPHS.iter().any(|graph| graph == item)).count();
    assert!(right > 1800, "{right} of 2000 are graphs of the data");
    // Items do not depend on how many are asked for.
    let later = SampleRequest { first: 1200, count: 3, ..one };
    let later = model.sample(&later, &mut |_| true).expect("the request fits");
    assert_eq!(later.ids, samples.ids[1200 * 6..1203 * 6]);
    // Nodes 0 and 1 with an edge: at the first two nodes, or at the last two the other way round.
    let two = free.clone().fix(0, 0).and_then(|c| c.fix(1, 1)).and_then(|c| c.fix(3, 1)).expect("classes");
    let samples = model.sample(&keep(two, 2), &mut |_| true).expect("the request fits");
    let right = samples.items().filter(|item| *item == GRAPHS[0]).count();
    assert!(right > 1800, "{right} of 2000");
    let apart = free.fix(0, 1).expect("a class");
    assert!(model.checked(&keep(apart, 2)).is_err(), "its second node is not fixed");
}
