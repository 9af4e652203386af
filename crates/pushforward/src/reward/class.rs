//! The reward of a label, by a trained classifier.

use burn::tensor::{Tensor, activation};

use super::error::SpecError;
use super::leaf::{Context, Items, Leaf, argument_error};
use crate::classifier::Classifier;
use crate::data::Layout;
use crate::nn::Pass;
use crate::tensor::to_host;

/// Items that the classifier computes together.
const BATCH: usize = 256;

/// `class(K)`: the log-probability of a label.
pub(super) fn classified<'a>(label: u64, context: Context<'a>) -> Result<Box<dyn Leaf + 'a>, SpecError> {
    let refuse = |problem: String| Err(argument_error("class", problem));
    let Some(loaded) = context.classifier else {
        return refuse("a classifier of these items is needed: train one and give it".into());
    };
    let net = &loaded.model.net;
    if !loaded.model.describes(&loaded.run.schema, context.schema) {
        let (name, grid) = (&loaded.run.name, net.grid());
        return refuse(format!("the classifier {name} is for other items: images of {grid:?}, or other sequences"));
    }
    let label = label as usize;
    if label >= net.labels() {
        return refuse(format!("the labels are 0 to {}", net.labels() - 1));
    }
    let soft = !matches!(&context.schema.layout, Layout::Sequence(layout) if layout.varies());
    Ok(Box::new(Class { net, label, classes: context.schema.classes, soft }))
}

struct Class<'a> {
    net: &'a Classifier,
    label: usize,
    classes: usize,
    /// Points tell what an item is; those of sequences that differ in length do not tell which letters they have.
    soft: bool,
}

impl Class<'_> {
    fn of(&self, features: Tensor<2>) -> Tensor<1> {
        let logits = self.net.logits(features, &mut Pass::eval());
        let log_p = activation::log_softmax(logits, 1);
        log_p.slice_dim(1, self.label..self.label + 1).squeeze_dim(1)
    }
}

impl Leaf for Class<'_> {
    fn score(&self, items: &Items<'_>) -> Vec<f64> {
        let parts = items.ids.chunks(BATCH * items.sites);
        parts.flat_map(|ids| to_host(&self.of(self.net.features(self.net.planes_of(ids, self.classes))))).collect()
    }

    fn soft(&self, pi: &Tensor<3>) -> Option<Tensor<1>> {
        self.soft.then(|| self.of(self.net.features(self.net.planes(pi.clone()))))
    }
}
