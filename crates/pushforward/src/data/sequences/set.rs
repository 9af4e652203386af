//! Sequences as a data set.

use std::sync::Arc;

use crate::data::packed::Packed;
use crate::data::{Dataset, ExampleKey, Schema};
use crate::node_pairs::ABSENT;

/// The classes of all sequences, one after the other.
pub(super) struct Sequences {
    pub(super) ids: Packed,
    /// Where each sequence begins, and the last one ends.
    pub(super) starts: Vec<usize>,
}

impl Sequences {
    pub(super) fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// The classes of a sequence.
    pub(super) fn classes(&self, item: usize) -> impl Iterator<Item = u32> + '_ {
        (self.starts[item]..self.starts[item + 1]).map(|place| self.ids.get(place))
    }
}

/// A part of the sequences.
pub(super) struct Part {
    pub(super) schema: Arc<Schema>,
    pub(super) set: Arc<Sequences>,
    /// Labels of all sequences.
    pub(super) labels: Option<Arc<Vec<u32>>>,
    pub(super) label_count: usize,
    pub(super) members: Vec<u32>,
}

impl Dataset for Part {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn len(&self) -> usize {
        self.members.len()
    }

    fn write(&self, key: ExampleKey, out: &mut [u32]) {
        assert!(key.index < self.len(), "sequence {} of {}", key.index, self.len());
        assert_eq!(out.len(), self.schema.sites, "an example has {} sites", self.schema.sites);
        let item = self.members[key.index] as usize;
        let (start, end) = (self.set.starts[item], self.set.starts[item + 1]);
        let (letters, absent) = out.split_at_mut(end - start);
        self.set.ids.write(start, letters);
        absent.fill(ABSENT);
    }

    fn label(&self, index: usize) -> Option<u32> {
        Some(self.labels.as_ref()?[self.members[index] as usize])
    }

    fn label_count(&self) -> Option<usize> {
        self.labels.as_ref().map(|_| self.label_count)
    }
}
