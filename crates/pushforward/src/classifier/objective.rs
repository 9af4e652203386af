//! The training objective: cross-entropy of the labels, in nats.
//!
//! ```text
//! loss = - log softmax(logits)_label
//! ```

use burn::tensor::activation;

use super::{Classifier, LabelledBatch};
use crate::nn::Pass;
use crate::rng::{Purpose, stream};
use crate::tensor::indices;
use crate::train::objective::{LossParts, LossTerm, Objective, Observed, TrainStep};

/// Cross-entropy of labelled images whose pixels have `classes` levels.
#[derive(Clone, Copy, Debug)]
pub struct ClassifierObjective {
    /// Classes of a pixel.
    pub classes: usize,
}

impl Objective<Classifier> for ClassifierObjective {
    type Batch = LabelledBatch;

    fn loss(&self, step: &TrainStep<'_, Classifier>, batch: &LabelledBatch) -> LossParts {
        let mut randomness = stream(step.seed, Purpose::Dropout, step.index);
        let features = step.model.features(step.model.grey_of(&batch.ids, self.classes));
        let logits = step.model.logits(features, &mut Pass::train(&mut randomness));
        let labels = indices(&batch.labels, [batch.labels.len(), 1], &logits.device());
        let values = activation::log_softmax(logits, 1).gather(1, labels).neg().squeeze_dim::<1>(1);
        let per_example = values.clone().detach();
        let values_of = Observed { name: "cross_entropy", per_example, times: Vec::new() };
        LossParts { terms: vec![LossTerm { loss: values.mean(), values: values_of }], observed: Vec::new() }
    }
}
