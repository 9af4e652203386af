//! Tests of the classifier: it learns, every parameter has a gradient, and features do not depend on the batch.

use std::ops::ControlFlow;
use std::path::Path;

use burn::module::Module;
use burn::tensor::Device;

use super::*;
use crate::data::{Batches, DataConfig, Splits};
use crate::nn::SiteShape;
use crate::rng::{Purpose, stream};
use crate::tensor::to_host;
use crate::train::gradients::Gradients;
use crate::train::objective::{Objective, TrainStep};
use crate::train::{TrainConfig, TrainRequest, train};

const SITES: SiteShape = SiteShape::image([16, 16], 2);

fn glyphs() -> Splits {
    let config: DataConfig = toml::from_str("set = 'glyphs'").expect("a recipe");
    config.load(Path::new("unused"), 0).expect("a synthetic set")
}

fn classifier(config: &ClassifierConfig) -> Classifier {
    config.init(SITES, 10, &Device::flex().autodiff(), &mut stream(0, Purpose::Init, 0))
}

/// Accuracy on held-out items after a training of some steps.
fn learned(splits: &Splits, sites: &SiteShape, labels: usize, steps: u64) -> f64 {
    let device = Device::flex().autodiff();
    let model = ClassifierConfig { channels: 8, ..ClassifierConfig::default() };
    let config = TrainConfig { steps, batch: 32, lr: 5e-3, warmup: 5, ..TrainConfig::default() };
    let batches = Batches::new(splits.train.clone(), config.batch, 0);
    let objective = ClassifierObjective { classes: sites.classes };
    let net = model.init(sites.clone(), labels, &device, &mut stream(0, Purpose::Init, 0));
    let next = |index| LabelledBatch::at(&batches, index);
    let request = TrainRequest::new(net, &objective, &next, config);
    let outcome = train(request, &mut |_| ControlFlow::Continue(())).expect("nothing can go wrong here");
    let held_out = LabelledBatch::held_out(splits.test.as_ref(), 0..splits.test.len().min(500));
    accuracy(&outcome.ema, &held_out, sites.clone(), 250)
}

#[test]
fn learns_glyphs() {
    let share = learned(&glyphs(), &SITES, 10, 80);
    assert!(share > 0.95, "{share}");
}

#[test]
fn learns_which_of_two_words_a_sequence_has() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut random = stream(0, Purpose::Synthesis, 0);
    let mut one = |i: usize| {
        let letters = (0..14 + random.below(10)).map(|_| ["A", "C", "G", "T"][random.below(4)]).collect::<String>();
        let (start, end) = letters.split_at(random.below(10));
        format!(">{} {i}\n{start}{}{end}\n", ["plus", "minus"][i % 2], ["GATTACA", "CCGTAGG"][i % 2])
    };
    std::fs::write(folder.path().join("s.fasta"), (0..800).map(&mut one).collect::<String>()).expect("a file");
    let text = "set = 'sequences'\npath = 's.fasta'\nlabel = { by = { header = '^(\\w+)' } }";
    let config: DataConfig = toml::from_str(text).expect("a recipe");
    let splits = config.load(folder.path(), 0).expect("a set");
    let sites = SiteShape::record(splits.schema().sites, splits.schema().classes);
    let share = learned(&splits, &sites, 2, 120);
    assert!(share > 0.9, "{share}");
}

#[test]
fn every_parameter_gets_a_gradient() {
    let model = classifier(&ClassifierConfig::default());
    let valid = model.valid();
    let step = TrainStep { model: &model, ema: &valid, seed: 0, index: 0, step: 0, steps: 1 };
    let batch = LabelledBatch::held_out(glyphs().train.as_ref(), 0..16);
    let loss = ClassifierObjective { classes: 2 }.loss(&step, &batch);
    let [term] = loss.terms.as_slice() else { panic!("one term") };
    assert_eq!((term.values.name, term.values.per_example.dims()), ("cross_entropy", [16]));
    let gradients = Gradients::of(&term.loss, &model);
    assert_eq!(gradients.0.len(), 4 * 4 + 2 + 2 + 2);
    for gradient in &gradients.0 {
        let gradient = gradient.as_ref().expect("the loss depends on every parameter");
        assert!(to_host(gradient).iter().any(|value| *value != 0.0));
    }
}

#[test]
fn features_are_those_of_the_image_alone() {
    let model = classifier(&ClassifierConfig::default()).valid();
    let images = LabelledBatch::held_out(glyphs().test.as_ref(), 0..12);
    let rows = features(&model, &images.ids, SITES, 12);
    assert_eq!(rows.len(), 12 * model.width());
    assert_eq!(rows, features(&model, &images.ids, SITES, 12), "a feature pass draws nothing");
    let reversed: Vec<u32> = images.ids.chunks(256).rev().flatten().copied().collect();
    for (other, name) in [
        (features(&model, &reversed, SITES, 12), "reversed"),
        (features(&model, &reversed, SITES, 5), "reversed, in batches of 5"),
    ] {
        let back = other.chunks(model.width()).rev().flatten();
        let worst = rows.iter().zip(back).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(worst < 1e-5, "{name}: {worst}");
    }
    // Different images have different features.
    assert!(rows[..model.width()].iter().zip(&rows[model.width()..]).any(|(a, b)| (a - b).abs() > 1e-2));
}

#[test]
fn accuracy_counts_what_predict_says() {
    let model = classifier(&ClassifierConfig::default()).valid();
    let mut images = LabelledBatch::held_out(glyphs().test.as_ref(), 0..8);
    images.labels = predict(&model, &images.ids, SITES, 3);
    assert_eq!(accuracy(&model, &images, SITES, 8), 1.0);
    images.labels[5] = (images.labels[5] + 1) % 10;
    assert_eq!(accuracy(&model, &images, SITES, 8), 7.0 / 8.0);
}
