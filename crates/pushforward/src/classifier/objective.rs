//! The training objective: cross-entropy of the labels, in nats.
//!
//! ```text
//! loss = - log softmax(logits)_label
//! ```
//!
//! # Examples
//! With equal logits, the cross-entropy of 10 labels is `ln 10`.
//! ```
//! use burn::module::{Module, Param};
//! use burn::tensor::Device;
//! use pushforward::burn;
//! use pushforward::classifier::{ClassifierConfig, ClassifierObjective, LabelledBatch};
//! use pushforward::nn::SiteShape;
//! use pushforward::rng::{Purpose, stream};
//! use pushforward::tensor::scalar;
//! use pushforward::train::objective::{Objective, TrainStep};
//!
//! let (sites, device) = (SiteShape::image([2, 2], 2), Device::flex().autodiff());
//! let mut model = ClassifierConfig::default().init(sites, 10, &device, &mut stream(0, Purpose::Init, 0));
//! model.output.weight = Param::from_tensor(model.output.weight.val().zeros_like());
//! model.output.bias = None;
//! let ema = model.valid();
//! let step = TrainStep { model: &model, ema: &ema, seed: 0, index: 0, step: 0, steps: 1 };
//! let batch = LabelledBatch { ids: vec![0, 1, 1, 0], labels: vec![7] };
//! let loss = ClassifierObjective { classes: 2 }.loss(&step, &batch);
//! assert!((scalar(&loss.terms[0].loss) - 10f64.ln()).abs() < 1e-5);
//! ```

use burn::tensor::activation;

use super::{Classifier, LabelledBatch};
use crate::nn::Pass;
use crate::rng::{Purpose, stream};
use crate::tensor::indices;
use crate::train::objective::{LossParts, LossTerm, Objective, Observed, TrainStep};

/// Cross-entropy of the labels of items whose sites have `classes` classes.
#[derive(Clone, Copy, Debug)]
pub struct ClassifierObjective {
    /// Number of grey levels of a pixel, or of letters.
    pub classes: usize,
}

impl Objective<Classifier> for ClassifierObjective {
    type Batch = LabelledBatch;

    fn loss(&self, step: &TrainStep<'_, Classifier>, batch: &LabelledBatch) -> LossParts {
        let mut randomness = stream(step.seed, Purpose::Dropout, step.index);
        let features = step.model.features(step.model.planes_of(&batch.ids, self.classes));
        let logits = step.model.logits(features, &mut Pass::train(&mut randomness));
        let labels = indices(&batch.labels, [batch.labels.len(), 1], &logits.device());
        let values = activation::log_softmax(logits, 1).gather(1, labels).neg().squeeze_dim::<1>(1);
        let per_example = values.clone().detach();
        let values_of = Observed { name: "cross_entropy", per_example, times: Vec::new() };
        LossParts { terms: vec![LossTerm { loss: values.mean(), values: values_of }], observed: Vec::new() }
    }
}
