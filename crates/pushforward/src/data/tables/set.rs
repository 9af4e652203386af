//! The rows of a table as class indices.

use std::sync::Arc;

use crate::data::packed::Packed;
use crate::data::{Dataset, ExampleKey, Schema};

/// A part of the rows.
pub(super) struct Part {
    pub(super) schema: Arc<Schema>,
    pub(super) ids: Arc<Packed>,
    /// The numbers of all rows, for sites whose classes do not tell them.
    pub(super) numbers: Arc<Vec<Vec<f64>>>,
    /// The labels of all rows, and the number of different ones.
    pub(super) labels: Option<Arc<(Vec<u32>, usize)>>,
    pub(super) first: usize,
    pub(super) count: usize,
}

impl Dataset for Part {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn len(&self) -> usize {
        self.count
    }

    fn write(&self, key: ExampleKey, out: &mut [u32]) {
        assert!(key.index < self.count, "row {} of {}", key.index, self.count);
        self.ids.write((self.first + key.index) * self.schema.sites, out);
    }

    fn label(&self, index: usize) -> Option<u32> {
        self.labels.as_ref().map(|labels| labels.0[self.first + index])
    }

    fn label_count(&self) -> Option<usize> {
        self.labels.as_ref().map(|labels| labels.1)
    }

    fn number(&self, index: usize, site: usize) -> Option<f64> {
        self.numbers[site].get(self.first + index).copied()
    }
}
