//! Metrics from a classifier of the same set, of categorical images and of sequences: Fréchet distance of features,
//! balance and entropy of classes.

use crate::classifier::{self, Classifier};
use crate::data::{Schema, Splits};
use crate::flow_map::sample::Samples;
use crate::metrics::balance::Balance;
use crate::metrics::frechet::{Moments, frechet, too_few};
use crate::metrics::report::Row;
use crate::nn::SiteShape;
use crate::run::check::site_shape;
use crate::run::evaluate::metrics::{SampleMetrics, label_row};
use crate::run::evaluate::request::EvalError;
use crate::run::held_out::{REFERENCE_ITEMS, items};
use crate::run::model::Loaded;
use crate::run::trained::TrainedClassifier;

/// Classifier and reference statistics.
pub(super) struct ClassifiedMetrics<'a> {
    net: &'a Classifier,
    name: String,
    sha256: String,
    /// Name and hash of the held-out items.
    set: (String, String),
    /// Features of held-out items.
    reference: Moments,
    /// Shares of the predicted classes among them.
    shares: Vec<f64>,
}

impl<'a> ClassifiedMetrics<'a> {
    pub(super) fn new(features: &'a Loaded<TrainedClassifier>, splits: &Splits) -> Result<Self, EvalError> {
        check(features, splits.schema())?;
        let (net, sites) = (&features.model.net, site_shape(splits.schema()));
        let ids = items(splits.test.as_ref(), REFERENCE_ITEMS);
        let (rows, labels) = describe(net, &ids, sites);
        let reference = Moments::of(&rows, net.width());
        let shares = Balance::new(labels, net.labels()).shares();
        let name = format!("{} step {}", features.run.name, features.run.step);
        let set = (format!("{}/test", splits.name), splits.sha256.clone());
        Ok(Self { net, name, sha256: features.run.sha256.clone(), set, reference, shares })
    }
}

impl SampleMetrics for ClassifiedMetrics<'_> {
    fn rows(&self, samples: &Samples, asked: &[u32]) -> Vec<Row> {
        let (rows, labels) = describe(self.net, &samples.ids, samples.sites.clone());
        let drawn = Moments::of(&rows, self.net.width());
        let (name, unit) = ("frechet", "squared feature distance");
        let distance = match too_few(drawn.n(), self.reference.n()) {
            Some(reason) => Row::without_value(name, unit, reason),
            None => Row::new(name, unit, frechet(&drawn, &self.reference)),
        };
        let accuracy = label_row(labels.iter().copied(), asked);
        let balance = Balance::new(labels, self.net.labels());
        let finish = |row: Row| row.scorer(&self.name, &self.sha256).reference(&self.set.0, &self.set.1);
        let rows = vec![
            distance,
            Row::new("class_balance_tv", "fraction", balance.total_variation(&self.shares)),
            Row::new("class_entropy", "nats", balance.entropy()),
        ];
        rows.into_iter().chain(accuracy).map(finish).collect()
    }
}

/// Checks that a classifier is one of items of this shape, and of the same letters.
pub(super) fn check(features: &Loaded<TrainedClassifier>, schema: &Schema) -> Result<(), EvalError> {
    if features.model.describes(&features.run.schema, schema) {
        return Ok(());
    }
    Err(EvalError::Features(features.run.path.display().to_string()))
}

/// Features and predicted classes of items.
fn describe(net: &Classifier, ids: &[u32], sites: SiteShape) -> (Vec<f64>, Vec<usize>) {
    let labels = classifier::predict(net, ids, sites.clone(), 256).into_iter().map(|c| c as usize).collect();
    (classifier::features(net, ids, sites, 256), labels)
}
