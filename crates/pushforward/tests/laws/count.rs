//! Numbers of parameters that are counted from settings are those of the models.

use pushforward::aef::ImageShape;
use pushforward::aef::categorical::CategoricalConfig;
use pushforward::aef::config::AefConfig;
use pushforward::burn::tensor::Device;
use pushforward::classifier::ClassifierConfig;
use pushforward::flow_map::config::FlowMapConfig;
use pushforward::nn::SiteShape;
use pushforward::nn::graph::GraphShape;
use pushforward::params;
use pushforward::rng::{Purpose, stream};

#[test]
fn of_flow_maps() {
    let graph = SiteShape::graph(GraphShape { nodes: 4, node_classes: 3, edge_classes: 2 });
    let image = SiteShape::image([8, 12], 5);
    for (network, sites) in [
        ("kind = 'mlp'\nwidth = 6\nblocks = 2\ntime_width = 4", SiteShape::line(3, 7)),
        ("kind = 'mlp'\nwidth = 6\nblocks = 0", graph.clone()),
        ("kind = 'mlp'\nwidth = 6\nskip = true\nposterior = true", SiteShape::columns(&[2, 7, 3])),
        ("kind = 'mlp'\nwidth = 6\nskip = true\nposterior = true", SiteShape::columns(&[900, 300])),
        (
            "kind = 'dit'\nwidth = 8\nblocks = 2\nheads = 2\ncond = 5\nexpansion = 3\ntime_width = 4",
            SiteShape::line(3, 7),
        ),
        (
            "kind = 'dilated'\nwidth = 8\nblocks = 3\nkernel = 5\ndilations = [1, 2]\ncond = 5\ntime_width = 4\nrounds = 2",
            SiteShape::record(6, 7),
        ),
        ("kind = 'dit'\nwidth = 8\nheads = 2\ninput = 'rms'\npatch = 2", image.clone()),
        ("kind = 'unet'\nchannels = 4\ngroups = 2\nmultipliers = [1, 3, 2]\ntime_width = 6", image.clone()),
        ("kind = 'unet'\nchannels = 8\ngroups = 4\nmultipliers = [2]", image),
        (
            "kind = 'graph-transformer'\nlayers = 2\nwidths = [8, 4, 6]\nfeed_forward = [5, 7, 9]\nouter = [3, 5, 7]",
            graph.clone(),
        ),
        ("kind = 'graph-transformer'\nlayers = 1\ntime = 'sum'", graph.clone()),
        (
            "kind = 'pair-transformer'\nwidth = 8\npair_width = 6\nblocks = 2\nheads = 4\nwalk = 3\npositions = true",
            graph.clone(),
        ),
        ("kind = 'pair-transformer'\ncond = 10\nexpansion = 2", graph),
    ] {
        let text = format!("[network]\n{network}\n[objective]\nweighting = {{ kind = 'learned' }}");
        let mut config: FlowMapConfig = toml::from_str(&text).expect("the types are right");
        let labels = !network.contains("graph-transformer");
        if labels {
            config.condition = toml::from_str("kind = 'label'").expect("a condition");
        }
        let model = config.model(labels.then_some(3));
        let net = model.init(sites.clone(), &Device::flex(), &mut stream(0, Purpose::Init, 0));
        assert_eq!(model.parameters(sites), Some(params::count(&net) as u128), "{network}");
    }
}

#[test]
fn of_autoencoders_with_every_network_and_flow() {
    let shape = ImageShape { channels: 2, height: 8, width: 8 };
    let flows = [
        "{ kind = 'maf', layers = 2, hidden = 5 }",
        "{ kind = 'iaf', layers = 1, hidden = 4, blocks = 0 }",
        "{ kind = 'real-nvp', layers = 2, hidden = 4, mixing = 'linear' }",
        "{ kind = 'spline', layers = 1, hidden = 4, bins = 3 }",
        "{ kind = 'spline', layers = 1, hidden = 4, autoregressive = true, mixing = 'shuffle' }",
        "{ kind = 'tar-flow', layers = 2, width = 8, heads = 2, token = 2 }",
        "{ kind = 'none' }",
    ];
    let networks = [
        "{ kind = 'small', channels = 3 }",
        "{ kind = 'big' }",
        "{ kind = 'mlp', width = 6, layers = 2 }",
        "{ kind = 'mlp', width = 6, layers = 0 }",
        "{ kind = 'conv', channels = 4, blocks = 2, levels = 2 }",
    ];
    let variants = [
        "center",
        "corner",
        "learned-core",
        "haar-core",
        "linear",
        "noise",
        "vae",
        "vae-iaf",
        "iwae",
        "autoencoder",
        "flow",
    ];
    let outputs = ["{ kind = 'independent' }", "{ kind = 'dependent' }", "{ kind = 'fixed' }"];
    for (i, variant) in variants.iter().enumerate() {
        for (j, network) in networks.iter().enumerate() {
            let flow = |k: usize| flows[(i + j + k) % flows.len()];
            let text = format!(
                "variant = '{variant}'\nlatent = 6\nnetwork = {network}\noutput = {}\ncore = {}\nposterior = {}\nprior = {}",
                outputs[(i + j) % outputs.len()],
                flow(0),
                flow(1),
                flow(2)
            );
            let config: AefConfig = toml::from_str(&text).expect("the types are right");
            let net = config.init(shape, &Device::flex(), &mut stream(0, Purpose::Init, 0));
            assert_eq!(config.parameters(shape), params::count(&net) as u128, "{text}");
        }
    }
    for variant in ["noise", "vae", "learned-core"] {
        let network = "{ width = 8, blocks = 2, time_width = 4, token = 2, heads = 2 }";
        let volume = "{ width = 7, blocks = 2, time_width = 4 }";
        let prior = format!("{{ kind = 'flow-map', network = {network}, volume = {volume} }}");
        let text = format!("variant = '{variant}'\nlatent = 6\nprior = {prior}");
        let config: AefConfig = toml::from_str(&text).expect("the types are right");
        let net = config.init(shape, &Device::flex(), &mut stream(0, Purpose::Init, 0));
        assert_eq!(config.parameters(shape), params::count(&net) as u128, "{text}");
    }
}

#[test]
fn of_autoencoders_of_categorical_data() {
    let map = "{ kind = 'flow-map', network = { width = 7, blocks = 2, time_width = 4 } }";
    for (network, sites) in [
        ("{ kind = 'small', channels = 3 }", SiteShape::image([8, 12], 2)),
        ("{ kind = 'conv', channels = 4, blocks = 1, levels = 1 }", SiteShape::image([8, 8], 5)),
        ("{ kind = 'mlp', width = 6, layers = 2 }", SiteShape::line(9, 4)),
        ("{ kind = 'mlp', width = 6, layers = 2 }", SiteShape::columns(&[2, 5, 3])),
        ("{ kind = 'dit', width = 8, blocks = 1, heads = 2, cond = 4, time_width = 4 }", SiteShape::line(9, 4)),
        (
            "{ kind = 'dilated', width = 8, blocks = 1, kernel = 3, dilations = [1], cond = 4, time_width = 4 }",
            SiteShape::line(9, 4),
        ),
        (
            "{ kind = 'unet', channels = 8, groups = 4, multipliers = [1, 2], time_width = 4 }",
            SiteShape::image([8, 8], 2),
        ),
        (
            "{ kind = 'pair-transformer', width = 8, pair_width = 8, blocks = 1, heads = 2, cond = 4, time_width = 4 }",
            SiteShape::graph(GraphShape { nodes: 4, node_classes: 3, edge_classes: 2 }),
        ),
        (
            "{ kind = 'graph-transformer', layers = 1 }",
            SiteShape::graph(GraphShape { nodes: 4, node_classes: 3, edge_classes: 2 }),
        ),
    ] {
        for prior in [map, "{ kind = 'maf', layers = 1, hidden = 5 }", "{ kind = 'none' }"] {
            let text = format!("latent = 6\nnetwork = {network}\nprior = {prior}\ncoupling = {{}}");
            let config: CategoricalConfig = toml::from_str(&text).expect("the types are right");
            let net = config.init(sites.clone(), &Device::flex(), &mut stream(0, Purpose::Init, 0));
            assert_eq!(config.parameters(&sites), params::count(&net) as u128, "{text}");
        }
    }
}

#[test]
fn of_classifiers() {
    let config = ClassifierConfig { channels: 8, width: 5, dropout: 0.0 };
    for sites in [SiteShape::image([12, 20], 2), SiteShape::record(30, 4)] {
        let net = config.init(sites.clone(), 7, &Device::flex(), &mut stream(0, Purpose::Init, 0));
        assert_eq!(config.parameters(&sites, 7), Some(params::count(&net) as u128));
    }
    assert_eq!(config.parameters(&SiteShape::line(30, 4), 7), None);
}
