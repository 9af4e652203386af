//! Trained classifiers.

use crate::classifier::{Classifier, ClassifierConfig, LabelledBatch, accuracy};
use crate::data::{Dataset, Layout, Schema, Splits};
use crate::metrics::interval::{self, Estimate};
use crate::run::check::site_shape;

/// A trained classifier.
#[derive(Debug)]
pub struct TrainedClassifier {
    /// Configuration.
    pub config: ClassifierConfig,
    /// Network, without gradients.
    pub net: Classifier,
}

/// Maximum number of held-out items that accuracy is measured on.
const HELD_OUT: usize = 10_000;
/// Items computed together.
pub(crate) const BATCH: usize = 256;

impl TrainedClassifier {
    /// Whether a classifier that was trained on items of the schema `own` describes those of another one: images of the
    /// same size at any number of grey levels, or sequences of the same length and letters.
    pub(crate) fn describes(&self, own: &Schema, other: &Schema) -> bool {
        let letters = match (&own.layout, &other.layout) {
            (Layout::Sequence(own), Layout::Sequence(other)) => own.letters() == other.letters(),
            _ => true,
        };
        letters && self.net.fits(&site_shape(other))
    }

    /// Accuracy on the test items (the first 10,000 if there are more), in `[0, 1]`, with its interval.
    ///
    /// # Panics
    /// If the set has no labels, or its items are of another shape.
    pub fn test_accuracy(&self, splits: &Splits) -> Estimate {
        let items = held_out(splits.test.as_ref());
        let n = items.labels.len();
        let share = accuracy(&self.net, &items, site_shape(splits.schema()), BATCH);
        interval::fraction((share * n as f64).round() as usize, n)
    }
}

/// Held-out items with their labels.
pub(crate) fn held_out(set: &dyn Dataset) -> LabelledBatch {
    LabelledBatch::held_out(set, 0..set.len().min(HELD_OUT))
}
