//! Images or sequences with their labels.

use std::ops::Range;

use crate::data::{Batches, Dataset, ExampleKey};

/// A batch of items, as class indices of their sites, with their labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelledBatch {
    /// `batch * sites` indices, item by item.
    pub ids: Vec<u32>,
    /// `batch` labels.
    pub labels: Vec<u32>,
}

impl LabelledBatch {
    /// Batch number `index` of a run, a pure function of `batches` and `index`.
    ///
    /// # Panics
    /// If the set has no labels; see [`Dataset::label_count`].
    pub fn at(batches: &Batches, index: u64) -> Self {
        let (ids, labels) = batches.with_labels(index);
        Self { ids, labels: labels.expect("a classifier needs a labelled set") }
    }

    /// The examples `range` of a held-out part, in order. Random choices inside an example are the same in every call.
    ///
    /// # Panics
    /// If the range is not inside the set, or the set has no labels.
    pub fn held_out(dataset: &dyn Dataset, range: Range<usize>) -> Self {
        let sites = dataset.schema().sites;
        let mut ids = vec![0; range.len() * sites];
        for (index, image) in range.clone().zip(ids.chunks_exact_mut(sites)) {
            dataset.write(ExampleKey::fixed(0, index), image);
        }
        Self { ids, labels: range.map(|index| label(dataset, index)).collect() }
    }
}

fn label(dataset: &dyn Dataset, index: usize) -> u32 {
    dataset.label(index).unwrap_or_else(|| panic!("example {index} has no label: a classifier needs a labelled set"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::DataConfig;
    use std::path::Path;

    #[test]
    fn labels_belong_to_their_images() {
        let config: DataConfig = toml::from_str("set = 'glyphs'\nexamples = 50").expect("a recipe");
        let splits = config.load(Path::new("unused"), 0).expect("a synthetic set");
        let whole = LabelledBatch::held_out(splits.train.as_ref(), 0..50);
        assert_eq!(splits.train.label_count(), Some(10));
        let batches = Batches::new(splits.train.clone(), 16, 3);
        let sites = splits.schema().sites;
        for index in [0, 2, 5] {
            let batch = LabelledBatch::at(&batches, index);
            assert_eq!(batch, LabelledBatch::at(&Batches::new(splits.train.clone(), 16, 3), index));
            for (image, label) in batch.ids.chunks_exact(sites).zip(&batch.labels) {
                let place = whole.ids.chunks_exact(sites).position(|other| other == image).expect("it is in the set");
                assert_eq!(whole.labels[place], *label);
            }
        }
    }

    #[test]
    fn a_set_without_labels_has_no_count() {
        let config: DataConfig = toml::from_str("set = 'checker'").expect("a recipe");
        let splits = config.load(Path::new("unused"), 0).expect("a synthetic set");
        assert_eq!(splits.train.label_count(), None);
    }
}
