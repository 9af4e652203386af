//! Trained classifiers.

use crate::classifier::{Classifier, ClassifierConfig, LabelledBatch, accuracy};
use crate::data::{Dataset, Splits};
use crate::run::check::site_shape;

/// A trained image classifier.
#[derive(Debug)]
pub struct TrainedClassifier {
    /// Configuration.
    pub config: ClassifierConfig,
    /// Network, without gradients.
    pub net: Classifier,
}

/// Maximum number of held-out images that accuracy is measured on.
const HELD_OUT: usize = 10_000;
/// Images computed together.
pub(crate) const BATCH: usize = 256;

impl TrainedClassifier {
    /// Accuracy on the test images (the first 10,000 if there are more), in `[0, 1]`.
    ///
    /// # Panics
    /// If the set has no labels, or its images are of another size.
    pub fn test_accuracy(&self, splits: &Splits) -> f64 {
        accuracy(&self.net, &held_out(splits.test.as_ref()), site_shape(splits.schema()), BATCH)
    }
}

/// Held-out images with their labels.
pub(crate) fn held_out(set: &dyn Dataset) -> LabelledBatch {
    LabelledBatch::held_out(set, 0..set.len().min(HELD_OUT))
}
