//! Applying the classifier to items of class indices: features, predictions and accuracy.

use burn::tensor::Tensor;

use super::{Classifier, LabelledBatch};
use crate::nn::{Pass, SiteShape};
use crate::tensor::{argmax, to_host};

/// Features of items, row-major, computed `batch` of them at a time. The classifier should be without gradients
/// (`module.valid()`).
///
/// The number of classes of a pixel may differ from that of the training images.
///
/// # Shapes
/// - `ids`: `n * sites.count` class indices, item by item
/// - output: `[n, width]`
///
/// # Panics
/// If `batch` is zero, the items are not of the classifier's size, `ids` is not a whole number of them, or an index is
/// not below `sites.classes`.
pub fn features(classifier: &Classifier, ids: &[u32], sites: SiteShape, batch: usize) -> Vec<f64> {
    chunks(classifier, ids, sites, batch, |features| to_host(&features))
}

/// The most probable label of every item; arguments as in [`features`].
///
/// # Panics
/// As [`features`].
pub fn predict(classifier: &Classifier, ids: &[u32], sites: SiteShape, batch: usize) -> Vec<u32> {
    chunks(classifier, ids, sites, batch, |features| {
        argmax(classifier.logits(features, &mut Pass::eval()).unsqueeze_dim(1))
    })
}

/// Fraction of the items whose label is predicted correctly, in `[0, 1]`; NaN without images.
///
/// # Panics
/// As [`features`].
pub fn accuracy(classifier: &Classifier, images: &LabelledBatch, sites: SiteShape, batch: usize) -> f64 {
    let predicted = predict(classifier, &images.ids, sites, batch);
    let right = predicted.iter().zip(&images.labels).filter(|(a, b)| a == b).count();
    right as f64 / images.labels.len() as f64
}

fn chunks<T>(
    classifier: &Classifier,
    ids: &[u32],
    sites: SiteShape,
    batch: usize,
    f: impl Fn(Tensor<2>) -> Vec<T>,
) -> Vec<T> {
    assert!(classifier.fits(&sites), "items of {sites:?} and a classifier of {:?}", classifier.grid());
    ids.chunks(batch * sites.count)
        .flat_map(|items| f(classifier.features(classifier.planes_of(items, sites.classes))))
        .collect()
}
