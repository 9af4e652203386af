//! Graphs of every network and of every autoencoder, and what cannot be a graph.

use burn::tensor::{Device, Tensor};
use prost::Message as _;

use super::proto::{Model, Size};
use super::record::record;
use super::{Numbers, OnnxError, Part, SamplerSettings, autoencoder, jump, sampler};
use crate::aef::ImageShape;
use crate::aef::config::AefConfig;
use crate::data::graph::{GraphLayout, NodeClass};
use crate::data::{Layout, Schema};
use crate::flow_map::config::FlowMapConfig;
use crate::flow_map::network::NetworkConfig;
use crate::rng::{Purpose, stream};
use crate::run::{TrainedAef, TrainedFlowMap, site_shape};

fn model(config: &str, schema: &Schema) -> TrainedFlowMap {
    let (device, config): (_, FlowMapConfig<NetworkConfig>) = (Device::flex(), toml::from_str(config).unwrap());
    let labels = config.condition.takes_labels().then_some(3);
    let net = config.model(labels).init(site_shape(schema), &device, &mut stream(0, Purpose::Init, 0));
    TrainedFlowMap::new(config, net, schema.clone(), &device)
}

fn read(bytes: &[u8]) -> Model {
    let model = Model::decode(bytes).unwrap();
    let graph = model.graph.as_ref().unwrap();
    // Every input of a node is known before it, and every output of the graph is computed.
    let known = graph.input.iter().map(|port| &port.name).chain(graph.initializer.iter().map(|value| &value.name));
    let mut known: std::collections::HashSet<&String> = known.collect();
    for node in &graph.node {
        assert!(node.input.iter().all(|name| known.contains(name)), "{node:?}");
        known.extend(&node.output);
    }
    assert!(graph.output.iter().all(|port| known.contains(&port.name)));
    model
}

fn ports(model: &Model) -> (Vec<&str>, Vec<&str>) {
    let graph = model.graph.as_ref().unwrap();
    let names = |ports: &'static str| -> Vec<&str> {
        let ports = if ports == "in" { &graph.input } else { &graph.output };
        ports.iter().map(|port| port.name.as_str()).collect()
    };
    (names("in"), names("out"))
}

#[test]
fn every_network_is_a_graph_for_any_batch() {
    let line = Schema { sites: 6, classes: 4, layout: Layout::Table };
    let image = Schema { sites: 64, classes: 2, layout: Layout::Image { height: 8, width: 8 } };
    let node_classes = ["C", "O"].map(|element| NodeClass { element: element.into(), charge: 0 }).to_vec();
    let layout = GraphLayout { nodes: 3, node_classes, edge_classes: 4, sizes: vec![0, 0, 1, 1] };
    let graph = Schema { sites: 6, classes: 4, layout: Layout::Graph(layout) };
    let small = "width = 8, blocks = 1, time_width = 8";
    let cases = [
        (&line, format!("network = {{ kind = 'mlp', {small}, posterior = true, skip = true, rounds = 2 }}"), vec![]),
        (&line, format!("network = {{ kind = 'mlp', {small} }}\nskip = {{ kind = 'evidence', cap = 64.0 }}"), vec![]),
        (
            &line,
            format!("network = {{ kind = 'dit', heads = 2, cond = 8, {small} }}\ncondition = {{ kind = 'observed' }}"),
            vec!["observed"],
        ),
        (
            &line,
            format!(
                "network = {{ kind = 'dit', heads = 2, cond = 8, input = 'rms', {small} }}\ncondition = {{ kind = 'label' }}"
            ),
            vec!["label"],
        ),
        (&line, format!("network = {{ kind = 'dilated', cond = 8, {small} }}"), vec![]),
        (&image, "network = { kind = 'unet', channels = 4, groups = 2, time_width = 8 }".into(), vec![]),
        (&image, format!("network = {{ kind = 'dit', heads = 2, cond = 8, patch = 2, {small} }}"), vec![]),
        (
            &graph,
            format!(
                "network = {{ kind = 'pair-transformer', pair_width = 8, heads = 2, cond = 8, walk = 2, positions = true, {small} }}"
            ),
            vec!["size"],
        ),
        (&graph, "network = { kind = 'graph-transformer', layers = 1 }".into(), vec!["size"]),
    ];
    for (schema, config, told) in cases {
        let model = model(&config, schema);
        let one = read(&jump(&model).unwrap().to_bytes(Numbers::F32, &[("recipe", &config)]).unwrap());
        let (inputs, outputs) = ports(&one);
        assert_eq!(inputs, [vec!["x", "s", "t"], told.clone()].concat(), "{config}");
        assert_eq!(outputs, ["logits", "endpoint", "next"], "{config}");
        let x = one.graph.as_ref().unwrap().input[0].kind.clone().unwrap().tensor.unwrap().shape.unwrap();
        assert_eq!(x.dim[0].size, Some(Size::Name("batch".into())));
        assert!(one.metadata_props.iter().any(|entry| entry.key == "recipe" && entry.value == config));
        let two = read(&sampler(&model, SamplerSettings::new(2)).unwrap().to_bytes(Numbers::F16, &[]).unwrap());
        assert_eq!(ports(&two), ([vec!["noise"], told].concat(), vec!["classes", "endpoint"]), "{config}");
        // Weights have their names.
        let names: Vec<&str> = one.graph.as_ref().unwrap().initializer.iter().map(|v| v.name.as_str()).collect();
        assert!(names.iter().any(|name| name.starts_with("network.") && name.ends_with(".weight")), "{names:?}");
    }
    let plain = model("network = { kind = 'mlp' }", &line);
    let one = SamplerSettings::new(1);
    for wrong in
        [SamplerSettings::new(0), SamplerSettings { temperature: 0.0, ..one }, SamplerSettings { guidance: 2.0, ..one }]
    {
        assert!(matches!(sampler(&plain, wrong), Err(OnnxError::Missing(_))), "{wrong:?}");
    }
    // Guidance evaluates the network twice; temperature is the divisor of the logits.
    let told = model("network = { kind = 'mlp', width = 8 }\ncondition = { kind = 'label' }", &line);
    let graph = |settings| {
        read(&sampler(&told, settings).unwrap().to_bytes(Numbers::F32, &[]).unwrap()).graph.expect("it was read")
    };
    let plain = graph(one);
    assert!(graph(SamplerSettings { guidance: 2.0, ..one }).node.len() > plain.node.len() * 3 / 2);
    let sharp = graph(SamplerSettings { temperature: 0.5, ..one });
    assert_eq!(sharp.node.len(), plain.node.len());
    assert_ne!(sharp.encode_to_vec(), plain.encode_to_vec());
}

#[test]
fn half_precision_halves_a_file() {
    let schema = Schema { sites: 6, classes: 4, layout: Layout::Table };
    let exported = jump(&model("network = { kind = 'mlp', width = 128 }", &schema)).unwrap();
    let [whole, half] = [Numbers::F32, Numbers::F16].map(|numbers| exported.to_bytes(numbers, &[]).unwrap().len());
    assert!(half * 2 < whole + whole / 5, "{whole} {half}");
}

#[test]
fn every_autoencoder_is_graphs() {
    let (shape, device) = (ImageShape { channels: 1, height: 4, width: 4 }, Device::flex());
    for variant in ["center", "learned-core", "noise", "vae-iaf", "autoencoder", "flow"] {
        let text = format!("variant = '{variant}'\nlatent = 2\nnetwork = {{ kind = 'mlp', width = 8 }}\n");
        let config: AefConfig = toml::from_str(&text).unwrap();
        let mut net = config.init(shape, &device, &mut stream(0, Purpose::Init, 0));
        net.assume_initialised();
        let model = TrainedAef { config, net, shape, device: device.clone() };
        for part in [Part::Encoder, Part::Decoder, Part::Prior] {
            let exported = autoencoder(&model, part);
            if part == Part::Prior && matches!(variant, "autoencoder" | "flow") {
                assert!(matches!(exported, Err(OnnxError::Missing(_))), "{variant}");
                continue;
            }
            let read = read(&exported.unwrap().to_bytes(Numbers::F32, &[]).unwrap());
            let exact = part == Part::Encoder && matches!(variant, "center" | "learned-core" | "flow");
            assert_eq!(ports(&read).1.contains(&"log_density"), exact, "{variant} {part:?}");
        }
    }
}

#[test]
fn what_depends_on_the_batch_or_has_no_translation_is_refused() {
    let mean = record(|tape| {
        let x = tape.input("x", [tape.batch, 2]);
        tape.output("y", &(x * (1.0 / tape.batch as f64)));
    });
    assert!(matches!(mean, Err(OnnxError::Batch(_))), "{mean:?}");
    let rows = record(|tape| {
        let x = tape.input("x", [tape.batch, 2]);
        let values: Vec<f32> = (0..tape.batch).map(|i| i as f32).collect();
        tape.output("y", &(x + Tensor::<1>::from_floats(&values[..], tape.device).reshape([tape.batch, 1])));
    });
    assert!(matches!(rows, Err(OnnxError::Batch(_))), "{rows:?}");
    let unknown = record(|tape| {
        let x = tape.input("x", [tape.batch, 2]);
        tape.output("y", &x.sinh());
    });
    let error = super::Exported::new(unknown.unwrap(), Vec::new()).to_bytes(Numbers::F32, &[]).unwrap_err();
    assert!(error.to_string().contains("Sinh"), "{error}");
}
