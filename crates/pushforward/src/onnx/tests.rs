//! Graphs of every network and of every autoencoder, and what cannot be a graph.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Tensor};
use prost::Message as _;

use super::proto::{Model, Size};
use super::record::record;
use super::tape::Tape;
use super::{
    Check, Exported, Numbers, OnnxError, Part, SamplerSettings, autoencoder, categorical_autoencoder, jump, sampler,
};
use crate::aef::ImageShape;
use crate::aef::categorical::CategoricalConfig;
use crate::aef::config::AefConfig;
use crate::data::graph::{GraphLayout, NodeClass};
use crate::data::{Layout, Schema};
use crate::flow_map::config::FlowMapConfig;
use crate::flow_map::network::NetworkConfig;
use crate::rng::{Purpose, Stream, stream};
use crate::run::{TrainedAef, TrainedCategoricalAef, TrainedFlowMap, site_shape};

/// Other weights than those of a new network, of which some are zero; by how much they are moved.
struct Random(Stream, f64);

impl ModuleMapper for Random {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|weight| {
            let numbers = self.0.normals(weight.shape().num_elements());
            let numbers = Tensor::<1>::from_floats(&numbers[..], &weight.device()).reshape(weight.shape());
            weight + numbers * self.1
        })
    }
}

fn random<M: Module>(net: M, scale: f64) -> M {
    net.map(&mut Random(stream(1, Purpose::Init, 0), scale))
}

/// The bytes of a file that another runtime agrees with.
fn file(exported: &Exported<'_>, numbers: Numbers, metadata: &[(&str, &str)]) -> Vec<u8> {
    let bytes = exported.to_bytes(numbers, metadata).unwrap();
    let check = exported.check(numbers, &bytes).unwrap();
    assert!(matches!(check, Check::Equal { .. }), "{metadata:?}: {check:?}");
    bytes
}

fn model(config: &str, schema: &Schema) -> TrainedFlowMap {
    let (device, config): (_, FlowMapConfig<NetworkConfig>) = (Device::flex(), toml::from_str(config).unwrap());
    let labels = config.condition.takes_labels().then_some(3);
    let net = config.model(labels).init(site_shape(schema), &device, &mut stream(0, Purpose::Init, 0));
    TrainedFlowMap::new(config, random(net, 0.1), schema.clone(), &device)
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
        let one = read(&file(&jump(&model).unwrap(), Numbers::F32, &[("recipe", &config)]));
        let (inputs, outputs) = ports(&one);
        assert_eq!(inputs, [vec!["x", "s", "t"], told.clone()].concat(), "{config}");
        assert_eq!(outputs, ["logits", "endpoint", "next"], "{config}");
        let x = one.graph.as_ref().unwrap().input[0].kind.clone().unwrap().tensor.unwrap().shape.unwrap();
        assert_eq!(x.dim[0].size, Some(Size::Name("batch".into())));
        assert!(one.metadata_props.iter().any(|entry| entry.key == "recipe" && entry.value == config));
        let two = read(&file(&sampler(&model, SamplerSettings::new(2)).unwrap(), Numbers::F16, &[("recipe", &config)]));
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
    let graph =
        |settings| read(&file(&sampler(&told, settings).unwrap(), Numbers::F32, &[])).graph.expect("it was read");
    let plain = graph(one);
    assert!(graph(SamplerSettings { guidance: 2.0, ..one }).node.len() > plain.node.len() * 3 / 2);
    let sharp = graph(SamplerSettings { temperature: 0.5, ..one });
    assert_eq!(sharp.node.len(), plain.node.len());
    assert_ne!(sharp.encode_to_vec(), plain.encode_to_vec());
}

#[test]
fn half_precision_halves_a_file() {
    let schema = Schema { sites: 6, classes: 4, layout: Layout::Table };
    let model = model("network = { kind = 'mlp', width = 128 }", &schema);
    let exported = jump(&model).unwrap();
    let [whole, half, mixed] =
        [Numbers::F32, Numbers::F16, Numbers::Mixed].map(|numbers| file(&exported, numbers, &[]));
    assert!(half.len() * 2 < whole.len() * 6 / 5, "{} {}", whole.len(), half.len());
    // Products of half precision are rounded, and nothing reads weights in float32 any more.
    let read = read(&mixed).graph.unwrap();
    let of = |op: &str| read.node.iter().filter(|node| node.op_type == op).collect::<Vec<_>>();
    let rounded = |name: &String| {
        let cast = of("Cast").into_iter().any(|cast| cast.output.contains(name) && cast.attribute[0].i == 10);
        cast || read.initializer.iter().any(|value| value.name == *name && value.data_type == 10)
    };
    assert!(!of("MatMul").is_empty() && of("MatMul").iter().all(|node| node.input.iter().all(rounded)));
    assert!(mixed.len() * 2 < whole.len() * 6 / 5);
}

#[test]
fn every_autoencoder_is_graphs() {
    let (shape, device) = (ImageShape { channels: 1, height: 4, width: 4 }, Device::flex());
    for variant in ["center", "learned-core", "noise", "vae-iaf", "autoencoder", "flow"] {
        let text = format!("variant = '{variant}'\nlatent = 2\nnetwork = {{ kind = 'mlp', width = 8 }}\n");
        let config: AefConfig = toml::from_str(&text).unwrap();
        let mut net = config.init(shape, &device, &mut stream(0, Purpose::Init, 0));
        net.assume_initialised();
        // Densities of models far from any data are huge, and their digits few.
        let net = random(net, 0.02);
        let model = TrainedAef { config, net, shape, device: device.clone() };
        for part in [Part::Encoder, Part::Decoder, Part::Prior] {
            let exported = autoencoder(&model, part);
            if part == Part::Prior && matches!(variant, "autoencoder" | "flow") {
                assert!(matches!(exported, Err(OnnxError::Missing(_))), "{variant}");
                continue;
            }
            let read = read(&file(&exported.unwrap(), Numbers::F32, &[("variant", variant)]));
            let exact = part == Part::Encoder && matches!(variant, "center" | "learned-core" | "flow");
            assert_eq!(ports(&read).1.contains(&"log_density"), exact, "{variant} {part:?}");
        }
    }
}

#[test]
fn every_autoencoder_of_classes_is_graphs() {
    let line = Schema { sites: 6, classes: 4, layout: Layout::Table };
    let image = Schema { sites: 64, classes: 2, layout: Layout::Image { height: 8, width: 8 } };
    let node_classes = ["C", "O"].map(|element| NodeClass { element: element.into(), charge: 0 }).to_vec();
    let layout = GraphLayout { nodes: 3, node_classes, edge_classes: 4, sizes: vec![0, 0, 1, 1] };
    let graph = Schema { sites: 6, classes: 4, layout: Layout::Graph(layout) };
    let map = "prior = { kind = 'flow-map', network = { width = 8, blocks = 1 } }";
    let cases = [
        (&line, format!("network = {{ kind = 'mlp', width = 8 }}\n{map}"), false),
        (
            &line,
            "network = { kind = 'mlp', width = 8 }\nprior = { kind = 'maf', layers = 2, hidden = 8 }".into(),
            false,
        ),
        (&image, format!("network = {{ kind = 'small', channels = 4 }}\n{map}\ncoupling = {{}}"), true),
        (&graph, format!("network = {{ kind = 'mlp', width = 8 }}\n{map}"), false),
    ];
    for (schema, text, coupled) in cases {
        let device = Device::flex();
        let config: CategoricalConfig = toml::from_str(&format!("latent = 2\n{text}")).unwrap();
        let mut net = config.init(site_shape(schema), &device, &mut stream(0, Purpose::Init, 0));
        net.assume_initialised();
        let net = random(net, 0.05);
        let model = TrainedCategoricalAef { config, net, schema: schema.clone(), device };
        let sized = matches!(schema.layout, Layout::Graph(_));
        for part in [Part::Encoder, Part::Decoder, Part::Prior, Part::Coupling] {
            let exported = categorical_autoencoder(&model, part);
            if part == Part::Coupling && !coupled {
                assert!(matches!(exported, Err(OnnxError::Missing(_))), "{text}");
                continue;
            }
            let read = read(&file(&exported.unwrap(), Numbers::F32, &[("recipe", &text)]));
            let with_size = |name| if sized { vec![name, "size"] } else { vec![name] };
            let expected = match part {
                Part::Encoder => (vec!["items"], vec!["latent", "base"]),
                Part::Decoder => (with_size("latent"), vec!["logits", "classes"]),
                Part::Prior => (vec!["base"], vec!["latent"]),
                Part::Coupling => (with_size("base"), vec!["logits", "classes"]),
            };
            assert_eq!(ports(&read), expected, "{text}");
        }
    }
}

#[test]
fn what_depends_on_the_batch_or_has_no_translation_is_refused() {
    let mean = record(&|tape: &mut Tape<'_>| {
        let x = tape.input("x", [tape.batch, 2], Stream::normal);
        tape.output("y", &(x * (1.0 / tape.batch as f64)));
    });
    assert!(matches!(mean, Err(OnnxError::Batch(_))), "{mean:?}");
    let rows = record(&|tape: &mut Tape<'_>| {
        let x = tape.input("x", [tape.batch, 2], Stream::normal);
        let values: Vec<f32> = (0..tape.batch).map(|i| i as f32).collect();
        tape.output("y", &(x + Tensor::<1>::from_floats(&values[..], tape.device).reshape([tape.batch, 1])));
    });
    assert!(matches!(rows, Err(OnnxError::Batch(_))), "{rows:?}");
    let sinh = |tape: &mut Tape<'_>| {
        let x = tape.input("x", [tape.batch, 2], Stream::normal);
        tape.output("y", &x.sinh());
    };
    let unknown = Exported::of(sinh, []);
    let error = unknown.unwrap().to_bytes(Numbers::F32, &[]).unwrap_err();
    assert!(error.to_string().contains("Sinh"), "{error}");
}

#[test]
fn another_runtime_finds_what_is_wrong_in_a_file() {
    let schema = Schema { sites: 6, classes: 4, layout: Layout::Table };
    let model = model("network = { kind = 'mlp', width = 8 }", &schema);
    let exported = jump(&model).unwrap();
    let bytes = file(&exported, Numbers::F32, &[]);
    let mut broken = Model::decode(&bytes[..]).unwrap();
    let graph = broken.graph.as_mut().unwrap();
    let weight = graph.initializer.iter_mut().find(|value| value.name.ends_with(".weight")).unwrap();
    let first = f32::from_le_bytes(weight.raw_data[..4].try_into().unwrap());
    weight.raw_data[..4].copy_from_slice(&(first + 0.1).to_le_bytes());
    let found = exported.check(Numbers::F32, &broken.encode_to_vec());
    assert!(matches!(&found, Err(OnnxError::Differs(what)) if what.contains("\"logits\"")), "{found:?}");
    // What it cannot run is no difference.
    let mut unknown = Model::decode(&bytes[..]).unwrap();
    unknown.graph.as_mut().unwrap().node[0].op_type = "Sinhc".into();
    let found = exported.check(Numbers::F32, &unknown.encode_to_vec());
    assert!(matches!(&found, Ok(Check::NotRun(why)) if why.contains("Sinhc")), "{found:?}");
}
