//! The rows of a table as class indices.

use std::sync::Arc;

use crate::data::{Dataset, ExampleKey, Schema};

/// Class indices of all rows, in as few bytes as the largest needs.
pub(super) enum Packed {
    Bytes(Vec<u8>),
    Words(Vec<u16>),
    Whole(Vec<u32>),
}

impl Packed {
    pub(super) fn new(length: usize, classes: usize) -> Self {
        match classes {
            ..=256 => Self::Bytes(vec![0; length]),
            257..=65_536 => Self::Words(vec![0; length]),
            _ => Self::Whole(vec![0; length]),
        }
    }

    pub(super) fn set(&mut self, place: usize, class: u32) {
        match self {
            Self::Bytes(ids) => ids[place] = class as u8,
            Self::Words(ids) => ids[place] = class as u16,
            Self::Whole(ids) => ids[place] = class,
        }
    }

    pub(super) fn get(&self, place: usize) -> u32 {
        match self {
            Self::Bytes(ids) => u32::from(ids[place]),
            Self::Words(ids) => u32::from(ids[place]),
            Self::Whole(ids) => ids[place],
        }
    }

    fn write(&self, start: usize, out: &mut [u32]) {
        let end = start + out.len();
        match self {
            Self::Bytes(ids) => out.iter_mut().zip(&ids[start..end]).for_each(|(out, &id)| *out = u32::from(id)),
            Self::Words(ids) => out.iter_mut().zip(&ids[start..end]).for_each(|(out, &id)| *out = u32::from(id)),
            Self::Whole(ids) => out.copy_from_slice(&ids[start..end]),
        }
    }
}

/// A part of the rows.
pub(super) struct Part {
    pub(super) schema: Arc<Schema>,
    pub(super) ids: Arc<Packed>,
    /// The numbers of all rows, for sites whose classes do not tell them.
    pub(super) numbers: Arc<Vec<Vec<f64>>>,
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

    fn number(&self, index: usize, site: usize) -> Option<f64> {
        self.numbers[site].get(self.first + index).copied()
    }
}
