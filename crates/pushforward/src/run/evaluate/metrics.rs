//! What samples of a flow map are measured by.

use crate::flow_map::sample::Samples;
use crate::metrics::interval;
use crate::metrics::report::Row;

/// Metrics of samples; made once for all numbers of evaluations.
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
/// ```
pub trait SampleMetrics {
    /// Rows on samples that were asked to have these labels, in turn; of no labels where there are none.
    fn rows(&self, samples: &Samples, labels: &[u32]) -> Vec<Row>;

    /// The same on about `n` held-out items: the floor that a perfect generator reaches. Empty where that tells nothing.
    fn held_out(&self, _n: usize) -> Vec<Row> {
        Vec::new()
    }
}

/// Several metrics as one.
impl SampleMetrics for [&dyn SampleMetrics] {
    fn rows(&self, samples: &Samples, labels: &[u32]) -> Vec<Row> {
        self.iter().flat_map(|metrics| metrics.rows(samples, labels)).collect()
    }

    fn held_out(&self, n: usize) -> Vec<Row> {
        self.iter().flat_map(|metrics| metrics.held_out(n)).collect()
    }
}

/// How many samples are of the class that they were told to be; `None` without labels.
pub(super) fn label_row(found: impl ExactSizeIterator<Item = usize>, labels: &[u32]) -> Option<Row> {
    let n = found.len();
    let right = found.zip(labels.iter().cycle()).filter(|(found, label)| *found == **label as usize).count();
    (!labels.is_empty()).then(|| Row::estimate("label_accuracy", "fraction", interval::fraction(right, n)))
}
