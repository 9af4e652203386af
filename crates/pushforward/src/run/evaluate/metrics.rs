//! The trait of metrics of samples.

use crate::flow_map::sample::Samples;
use crate::metrics::interval;
use crate::metrics::report::Row;

/// Metrics of samples. A value holds the reference statistics and serves all numbers of network evaluations.
///
/// # Examples
/// ```
/// use pushforward::flow_map::sample::Samples;
/// use pushforward::metrics::{interval, report::Row};
/// use pushforward::run::evaluate::SampleMetrics;
///
/// /// Share of the items whose first two variables are equal.
/// struct FirstTwoEqual;
///
/// impl SampleMetrics for FirstTwoEqual {
///     fn rows(&self, samples: &Samples, _labels: &[u32]) -> Vec<Row> {
///         let equal = samples.items().filter(|item| item[0] == item[1]).count();
///         vec![Row::estimate("first_two_equal", "fraction", interval::fraction(equal, samples.items().count()))]
///     }
/// }
///
/// let sites = pushforward::nn::SiteShape::line(3, 4);
/// let samples = Samples { ids: vec![1, 1, 0, 2, 3, 3], endpoints: Vec::new(), sites, nfe: vec![1; 2] };
/// assert_eq!(FirstTwoEqual.rows(&samples, &[])[0].value, 0.5);
/// ```
pub trait SampleMetrics {
    /// Metrics of samples. Sample i was conditioned on `labels[i % labels.len()]`; `labels` is empty if there was no
    /// such condition.
    fn rows(&self, samples: &Samples, labels: &[u32]) -> Vec<Row>;

    /// The same metrics of up to `n` held-out items: the values that a perfect generator would reach. Empty if they are
    /// not informative.
    fn held_out(&self, _n: usize) -> Vec<Row> {
        Vec::new()
    }
}

/// Several metrics, one after the other.
impl SampleMetrics for [&dyn SampleMetrics] {
    fn rows(&self, samples: &Samples, labels: &[u32]) -> Vec<Row> {
        self.iter().flat_map(|metrics| metrics.rows(samples, labels)).collect()
    }

    fn held_out(&self, n: usize) -> Vec<Row> {
        self.iter().flat_map(|metrics| metrics.held_out(n)).collect()
    }
}

/// Fraction of the samples that are of the class they were conditioned on; `None` without labels.
pub(super) fn label_row(found: impl ExactSizeIterator<Item = usize>, labels: &[u32]) -> Option<Row> {
    let n = found.len();
    let right = found.zip(labels.iter().cycle()).filter(|(found, label)| *found == **label as usize).count();
    (!labels.is_empty()).then(|| Row::estimate("label_accuracy", "fraction", interval::fraction(right, n)))
}
