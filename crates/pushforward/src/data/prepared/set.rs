//! A part of a prepared set, read item by item.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use crate::data::graph::write_graph;
use crate::data::prepared::index::{About, Form};
use crate::data::prepared::shard::{Shard, damaged};
use crate::data::prepared::unread::or_unwind;
use crate::data::text::corpus::window_start;
use crate::data::{DataError, Dataset, ExampleKey, Layout, Schema};
use crate::node_pairs::ABSENT;

/// What labels a molecule that is not in the set.
pub(in crate::data) type LabelOf = Arc<dyn Fn(&str) -> Option<u32> + Send + Sync>;

/// The shards of a part, one after the other.
pub(super) struct Shards {
    shards: Vec<Shard>,
    /// The first item, and the first symbol, of each shard, and how many there are.
    items: Vec<u64>,
    symbols: Vec<u64>,
}

impl Shards {
    pub(super) fn new(shards: Vec<Shard>) -> Self {
        let sums = |counts: &mut dyn Iterator<Item = u64>| {
            let mut sums = vec![0];
            counts.for_each(|count| sums.push(sums[sums.len() - 1] + count));
            sums
        };
        let items = sums(&mut shards.iter().map(|shard| shard.items));
        let symbols = sums(&mut shards.iter().map(|shard| shard.symbols));
        Self { shards, items, symbols }
    }

    pub(super) fn items(&self) -> u64 {
        self.items[self.items.len() - 1]
    }

    pub(super) fn symbols(&self) -> u64 {
        self.symbols[self.symbols.len() - 1]
    }

    /// The shard of an item, and the item's number there.
    fn of_item(&self, item: usize) -> (&Shard, u64) {
        let item = item as u64;
        let shard = self.items.partition_point(|&first| first <= item) - 1;
        (&self.shards[shard], item - self.items[shard])
    }

    /// Writes symbols of the stream, wherever its shards begin and end.
    fn stream(&self, first: u64, mut out: &mut [u32], classes: usize) -> Result<(), DataError> {
        let mut at = first;
        while !out.is_empty() {
            let shard = self.symbols.partition_point(|&first| first <= at) - 1;
            let here = out.len().min((self.symbols[shard + 1] - at) as usize);
            let (now, later) = out.split_at_mut(here);
            self.shards[shard].classes(at - self.symbols[shard], now, classes)?;
            (at, out) = (at + here as u64, later);
        }
        Ok(())
    }
}

/// A part.
pub(super) struct Part {
    pub(super) about: Arc<About>,
    pub(super) schema: Arc<Schema>,
    pub(super) shards: Arc<Shards>,
    /// Of a stream, the part's symbols.
    pub(super) range: Range<u64>,
    /// Whether the windows of a stream begin elsewhere in every epoch.
    pub(super) drawn: bool,
    pub(super) label_of: Option<LabelOf>,
}

impl Part {
    fn read(&self, key: ExampleKey, out: &mut [u32]) -> Result<(), DataError> {
        let Schema { sites, classes, layout } = &*self.schema;
        if let Form::Windows { .. } = self.about.form {
            let symbols = (self.range.end - self.range.start) as usize;
            let first = self.range.start + window_start(symbols, *sites, self.drawn, key) as u64;
            return self.shards.stream(first, out, *classes);
        }
        let (shard, item) = self.shards.of_item(key.index);
        let places = shard.places(item)?;
        let length = (places.end - places.start) as usize;
        let refuse = |problem: String| Err(damaged(shard.path(), &problem));
        match &self.about.form {
            Form::Graphs { classes: known } => {
                let mut ids = vec![0; length];
                shard.classes(places.start, &mut ids, 256)?;
                let Layout::Graph(graph) = layout else { return refuse("its items are no graphs".into()) };
                if write_graph(&ids, known, graph, out).is_none() {
                    return refuse(format!("item {item} is no graph of up to {} nodes", graph.nodes));
                }
                Ok(())
            }
            _ if length > out.len() => refuse(format!("item {item} has {length} classes, and items have {sites}")),
            _ => {
                let (present, absent) = out.split_at_mut(length);
                absent.fill(ABSENT);
                shard.classes(places.start, present, *classes)
            }
        }
    }
}

impl Dataset for Part {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn len(&self) -> usize {
        match self.about.form {
            Form::Windows { .. } => (self.range.end - self.range.start) as usize / self.schema.sites,
            _ => self.shards.items() as usize,
        }
    }

    fn write(&self, key: ExampleKey, out: &mut [u32]) {
        assert!(key.index < self.len(), "item {} of {}", key.index, self.len());
        assert_eq!(out.len(), self.schema.sites, "an example has {} sites", self.schema.sites);
        or_unwind(self.read(key, out));
    }

    fn label(&self, index: usize) -> Option<u32> {
        let count = self.about.labels?;
        let (shard, item) = self.shards.of_item(index);
        or_unwind(shard.label(item, count))
    }

    fn label_count(&self) -> Option<usize> {
        self.about.labels
    }

    fn label_of(&self, smiles: &str) -> Option<u32> {
        (self.label_of.as_ref()?)(smiles)
    }

    fn number(&self, index: usize, site: usize) -> Option<f64> {
        let place = self.about.numbers.iter().position(|&of| of == site)?;
        let (shard, item) = self.shards.of_item(index);
        or_unwind(shard.number(item, place as u64))
    }

    fn smiles(&self, index: usize) -> Option<Cow<'_, str>> {
        if !matches!(self.about.form, Form::Graphs { .. }) {
            return None;
        }
        let (shard, item) = self.shards.of_item(index);
        or_unwind(shard.text(item)).map(Cow::Owned)
    }

    fn is_stored(&self) -> bool {
        true
    }
}
