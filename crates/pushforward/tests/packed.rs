//! Small files of models give the samples of the models, but for the rounding of the weights.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use pushforward::aef::model::DrawRequest;
use pushforward::burn::tensor::{DType, Device};
use pushforward::flow_map::network::NetworkConfig;
use pushforward::flow_map::sample::SampleRequest;
use pushforward::run::{
    Data, LoadError, Loaded, Model, ROLE_KEY, Recipe, TrainOptions, WeightSet, load, load_bytes, pack, train,
};
use pushforward::train::checkpoint::{Checkpoint, Half};
use pushforward::transport::map::Drawing;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/old_checkpoints").join(format!("{name}.safetensors"))
}

/// The model of a whole file, of a small file, and of a whole file whose weights were rounded.
fn three(name: &str, numbers: Half) -> [Loaded<Model>; 3] {
    let (path, device) = (path(name), Device::flex());
    let small = pack::<NetworkConfig>(&path, numbers, BTreeMap::new()).expect("it can be packed");
    let mut rounded = Checkpoint::load(&path).expect("a file of the repository");
    let dtype = if numbers == Half::Bf16 { DType::BF16 } else { DType::F16 };
    for data in rounded.ema.values_mut().filter(|data| data.dtype() == DType::F32) {
        *data = data.clone().convert_dtype(dtype).convert_dtype(DType::F32);
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let beside = folder.path().join("rounded.safetensors");
    rounded.save(&beside).expect("the folder is writable");
    assert!(small.len() * 3 < std::fs::metadata(&path).expect("it is there").len() as usize, "{name}");
    [
        load(&path, WeightSet::Ema, &device).expect("it loads"),
        load_bytes(&small, Path::new(name), WeightSet::Ema, &device).expect("it loads"),
        load(&beside, WeightSet::Ema, &device).expect("it loads"),
    ]
}

#[test]
fn samples_are_those_of_the_rounded_weights_and_close_to_the_originals() {
    for numbers in [Half::Bf16, Half::F16] {
        for (name, labels) in [("echo", vec![]), ("molecules", vec![]), ("glyphs", vec![3])] {
            let [whole, small, rounded] =
                three(name, numbers).map(|loaded| loaded.flow_map("draw").expect("a flow map"));
            assert_eq!(small.run.schema, whole.run.schema);
            assert_eq!((&small.run.recipe, small.run.step), (&whole.run.recipe, whole.run.step));
            assert_eq!(small.run.provenance[ROLE_KEY], "map");
            let request = SampleRequest { labels: labels.into(), ..SampleRequest::map(8, 2, 0) };
            let [whole, small, rounded] =
                [whole, small, rounded].map(|m| m.model.sample(&request, &mut |_| true).expect("the request fits"));
            assert_eq!((&small.ids, &small.endpoints), (&rounded.ids, &rounded.endpoints), "{name} {numbers:?}");
            let worst = small.endpoints.iter().zip(&whole.endpoints).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            let most = if numbers == Half::Bf16 { 0.1 } else { 0.0125 };
            assert!(worst > 0.0 && worst < most, "{name} {numbers:?}: {worst}");
        }
        let [whole, small, rounded] =
            three("center", numbers).map(|loaded| loaded.aef("draw").expect("an autoencoder"));
        let request = DrawRequest {
            count: 4,
            first: 0,
            temperature: 1.0,
            deviations: true,
            seed: 0,
            batch: 4,
            drawing: Drawing::default(),
            choices: 1,
        };
        let [whole, small, rounded] =
            [whole, small, rounded].map(|m| m.model.draw(&request, &mut |_| true).expect("it has a prior"));
        assert_eq!(small, rounded);
        let worst = small.iter().zip(&whole).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst > 0.0 && worst < 0.2, "{numbers:?}: {worst}");
    }
}

#[test]
fn a_small_file_does_not_say_where_its_data_were() {
    let (folder, device) = (tempfile::tempdir().unwrap(), Device::flex());
    let place = folder.path().display().to_string();
    std::fs::write(folder.path().join("told.txt"), "ab".repeat(400)).unwrap();
    let text = format!(
        "name = 'told'\ndata = {{ set = 'text', path = '{place}/told.txt', length = 8 }}\nmodel = {{ family = 'flow-map', network = \
         {{ kind = 'mlp', width = 8 }} }}"
    );
    let recipe: Recipe = Recipe::parse(&text, "told", &["train.steps=1".into()]).unwrap();
    let options = TrainOptions { folder: Some(folder.path().join("run")), ..TrainOptions::new(device.clone()) };
    let data = Data::load(&recipe, folder.path()).unwrap();
    train(&recipe, &data, options, &mut |_| ControlFlow::Continue(())).unwrap();
    let whole = load::<NetworkConfig>(&folder.path().join("run"), WeightSet::Ema, &device).unwrap();
    assert!(whole.run.recipe.contains(&place), "the run itself says where they are");
    let small = pack::<NetworkConfig>(&folder.path().join("run"), Half::Bf16, BTreeMap::new()).unwrap();
    let small = load_bytes::<NetworkConfig>(&small, Path::new("told"), WeightSet::Ema, &device).unwrap();
    assert!(small.run.recipe.contains("told.txt") && !small.run.recipe.contains(&place), "{}", small.run.recipe);
    assert!(small.run.provenance.values().all(|value| !value.contains(&place)), "{:?}", small.run.provenance);
}

#[test]
fn what_a_small_file_does_not_have_and_a_wrong_role_are_refused() {
    let device = Device::flex();
    let small = pack::<NetworkConfig>(&path("echo"), Half::Bf16, BTreeMap::new()).expect("it can be packed");
    let error = load_bytes::<NetworkConfig>(&small, Path::new("echo"), WeightSet::Raw, &device).unwrap_err();
    assert!(matches!(error, LoadError::AveragedOnly { .. }), "{error}");
    let about = BTreeMap::from([(ROLE_KEY.to_owned(), "classifier".to_owned())]);
    let wrong = pack::<NetworkConfig>(&path("echo"), Half::Bf16, about).expect("it can be packed");
    let error = load_bytes::<NetworkConfig>(&wrong, Path::new("echo"), WeightSet::Ema, &device).unwrap_err();
    assert!(error.to_string().contains("calls its model a classifier, and the recipe inside is of a map"), "{error}");
    let classifier = pack::<NetworkConfig>(&path("classifier"), Half::F16, BTreeMap::new()).expect("it can be packed");
    let loaded = load_bytes::<NetworkConfig>(&classifier, Path::new("x"), WeightSet::Ema, &device).expect("it loads");
    assert!(loaded.flow_map("draw samples").is_err());
}
