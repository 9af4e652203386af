//! A data set in memory: items that the caller has already turned into class indices.

use std::sync::Arc;

use super::dataset::{Dataset, ExampleKey, Splits};
use super::error::DataError;
use super::schema::Schema;
use crate::hash::sha256;
use crate::node_pairs::ABSENT;
use crate::rng::{Purpose, stream};

/// Items of categorical variables in memory, with labels or without.
///
/// # Examples
/// ```
/// use pushforward::data::{Dataset, InMemory, Layout, Schema};
///
/// let schema = Schema { sites: 2, classes: 3, layout: Layout::Table };
/// let rows = InMemory::new(schema.clone(), vec![0, 1, 2, 2])?;
/// assert_eq!(rows.len(), 2);
/// // Class 3 does not exist.
/// assert!(InMemory::new(schema, vec![0, 3]).is_err());
/// # Ok::<(), pushforward::data::DataError>(())
/// ```
#[derive(Clone, Debug)]
pub struct InMemory {
    schema: Schema,
    ids: Vec<u32>,
    labels: Option<Vec<u32>>,
}

impl InMemory {
    /// Items as class indices, item by item.
    ///
    /// # Errors
    /// If they are not whole items, or hold a class that the schema does not have.
    pub fn new(schema: Schema, ids: Vec<u32>) -> Result<Self, DataError> {
        let refuse = |problem| Err(DataError::Setting { key: "items", problem });
        if schema.sites == 0 || !ids.len().is_multiple_of(schema.sites) {
            return refuse(format!("{} class indices are not whole items of {} sites", ids.len(), schema.sites));
        }
        let absent = schema.may_lack_sites();
        let known = |id: u32| (id as usize) < schema.classes || (absent && id == ABSENT);
        if let Some(place) = ids.iter().position(|&id| !known(id)) {
            let (item, site) = (place / schema.sites, place % schema.sites);
            return refuse(format!(
                "item {item} has class {} at site {site}, and the classes are 0 to {}",
                ids[place],
                schema.classes - 1
            ));
        }
        Ok(Self { schema, ids, labels: None })
    }

    /// The same with a label for every item.
    ///
    /// # Errors
    /// If there are not as many labels as items.
    pub fn with_labels(self, labels: Vec<u32>) -> Result<Self, DataError> {
        if labels.len() != self.len() {
            let problem = format!("{} labels for {} items", labels.len(), self.len());
            return Err(DataError::Setting { key: "labels", problem });
        }
        Ok(Self { labels: Some(labels), ..self })
    }

    /// The items in a random order, 90 % of them to train, 5 % to validate and 5 % to test; the order depends on `seed` alone.
    ///
    /// # Errors
    /// If a part would be empty.
    pub fn split(&self, name: &str, seed: u64) -> Result<Splits, DataError> {
        let n = self.len();
        if n < 3 {
            let problem = format!("{n} items cannot be split into three parts");
            return Err(DataError::Setting { key: "items", problem });
        }
        let mut order: Vec<u32> = (0..n as u32).collect();
        stream(seed, Purpose::Split, 0).shuffle(&mut order);
        let held_out = (n / 20).max(1);
        let (train, rest) = order.split_at(n - 2 * held_out);
        let (validation, test) = rest.split_at(held_out);
        let bytes: Vec<u8> = self.ids.iter().flat_map(|id| id.to_le_bytes()).collect();
        let part = |items: &[u32]| -> Arc<dyn Dataset> { Arc::new(self.select(items)) };
        Ok(Splits::new(name, [train, validation, test].map(part), sha256([bytes])))
    }

    fn select(&self, items: &[u32]) -> Self {
        let sites = self.schema.sites;
        let ids =
            items.iter().flat_map(|&i| &self.ids[i as usize * sites..(i as usize + 1) * sites]).copied().collect();
        let labels = self.labels.as_ref().map(|labels| items.iter().map(|&i| labels[i as usize]).collect());
        Self { schema: self.schema.clone(), ids, labels }
    }
}

impl Dataset for InMemory {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn len(&self) -> usize {
        self.ids.len() / self.schema.sites
    }

    fn write(&self, key: ExampleKey, out: &mut [u32]) {
        let sites = self.schema.sites;
        out.copy_from_slice(&self.ids[key.index * sites..(key.index + 1) * sites]);
    }

    fn label(&self, index: usize) -> Option<u32> {
        self.labels.as_ref().map(|labels| labels[index])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Layout;

    fn items(n: u32) -> InMemory {
        let schema = Schema { sites: 2, classes: 100, layout: Layout::Table };
        let rows = InMemory::new(schema, (0..n).flat_map(|i| [i, i + 1]).collect()).unwrap();
        rows.with_labels((0..n).map(|i| i % 3).collect()).unwrap()
    }

    #[test]
    fn every_item_is_in_one_part_with_its_label() {
        let splits = items(60).split("rows", 7).unwrap();
        let mut seen = Vec::new();
        for part in [&splits.train, &splits.validation, &splits.test] {
            for index in 0..part.len() {
                let mut row = [0; 2];
                part.write(ExampleKey::fixed(0, index), &mut row);
                assert_eq!((row[1], part.label(index)), (row[0] + 1, Some(row[0] % 3)));
                seen.push(row[0]);
            }
        }
        assert_eq!([splits.validation.len(), splits.test.len()], [3, 3]);
        seen.sort_unstable();
        assert_eq!(seen, (0..60).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_not_a_set_is_refused() {
        let schema = Schema { sites: 2, classes: 2, layout: Layout::Table };
        let error_of = |ids: Vec<u32>| InMemory::new(schema.clone(), ids).unwrap_err().to_string();
        assert!(error_of(vec![0, 1, 1]).contains("3 class indices are not whole items of 2 sites"));
        assert!(error_of(vec![0, 1, 1, 2]).contains("item 1 has class 2 at site 1"));
        assert!(items(5).with_labels(vec![0]).unwrap_err().to_string().contains("1 labels for 5 items"));
        assert!(items(2).split("rows", 0).is_err());
    }
}
