//! Checkpoints from before version 0.1.0 load and give the same samples as then.

use std::path::{Path, PathBuf};

use pushforward::aef::model::DrawRequest;
use pushforward::burn::tensor::Device;
use pushforward::flow_map::config::OffDiagonal;
use pushforward::flow_map::network::NetworkConfig;
use pushforward::flow_map::sample::SampleRequest;
use pushforward::flow_map::times::TimeDistribution;
use pushforward::node_pairs::ABSENT;
use pushforward::run::{Loaded, Model, WeightSet, load};
use pushforward::train::checkpoint::Resume;
use pushforward::transport::map::Drawing;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/old_checkpoints").join(name)
}

fn loaded(name: &str) -> Loaded<Model> {
    let path = path(&format!("{name}.safetensors"));
    load::<NetworkConfig>(&path, WeightSet::Ema, &Device::flex()).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// Recorded outputs of the models.
fn expected() -> serde_json::Value {
    let text = std::fs::read_to_string(path("expected.json")).expect("a file of the repository");
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn flow_maps_draw_the_samples_of_then() {
    for (name, count, labels) in [("echo", 8, vec![]), ("molecules", 8, vec![]), ("glyphs", 2, vec![3])] {
        let model = loaded(name).flow_map("draw samples").expect("a flow map").model;
        let request = SampleRequest { labels: labels.into(), ..SampleRequest::map(count, 2, 0) };
        let found = model.sample(&request, &mut |_| true).expect("the request fits").ids;
        // Absent sites are written as null.
        let wanted: Vec<Option<u32>> = serde_json::from_value(expected()[name].clone()).expect("class indices");
        assert_eq!(found, wanted.into_iter().map(|id| id.unwrap_or(ABSENT)).collect::<Vec<_>>(), "{name}");
    }
}

#[test]
fn autoencoders_draw_the_images_of_then() {
    for name in ["aef", "center"] {
        let model = loaded(name).aef("draw images").expect("an autoencoder").model;
        let request = DrawRequest {
            count: 1,
            first: 0,
            temperature: 1.0,
            deviations: true,
            seed: 0,
            batch: 1,
            drawing: Drawing::default(),
            choices: 1,
        };
        let found = model.draw(&request, &mut |_| true).expect("it has a prior");
        let wanted: Vec<f32> = serde_json::from_value(expected()[name].clone()).expect("pixels");
        let worst = found.iter().zip(&wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(found.len() == wanted.len() && worst < 1e-4, "{name}: {worst}");
    }
}

#[test]
fn the_classifier_loads() {
    let model = loaded("classifier").classifier("classify").expect("a classifier").model;
    assert_eq!((model.net.labels(), model.net.grid()), (10, [16, 16]));
}

#[test]
fn old_names_mean_what_they_meant() {
    let loaded = loaded("echo").flow_map("be looked at").expect("a flow map");
    let config = &loaded.model.config;
    assert!(loaded.run.recipe.contains("law = \"logit-normal\""), "it is a recipe of then");
    assert_eq!(config.times.diagonal, TimeDistribution::LogitNormal { mean: 0.3, deviation: 1.0, uniform: 0.0 });
    assert!(matches!(config.objective.off_diagonal, OffDiagonal::Csd { .. }));
    let state = Resume::load(&path("echo-resume.safetensors")).expect("a state to go on from");
    assert!(state.recipe.contains("project_conflict = true"));
    assert_eq!((state.step, state.micro_batch), (20, 20));
    let recipe: pushforward::run::Recipe =
        pushforward::run::Recipe::parse(&state.recipe, "old", &[]).expect("old names are read");
    assert!(recipe.train.pcgrad);
}
