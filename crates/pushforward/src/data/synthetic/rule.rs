//! Data sets given by a function from `k` in `0..total` to an example, all `k` equally likely.

use std::sync::Arc;

use crate::data::{Dataset, ExampleKey, Schema, Splits};

/// Largest set that is enumerated; larger ones are sampled.
const ENUMERATED: u64 = 1_000_000;

/// Largest number of examples of validation and of test.
const HELD_OUT: u64 = 10_000;

/// A set of `total` equally likely examples. If there are at most [`ENUMERATED`], a training epoch has each once;
/// otherwise it has that many new draws. Validation and test have the same distribution: all examples if there are at
/// most [`HELD_OUT`], else that many fixed draws each.
struct RuleSet<F> {
    schema: Schema,
    total: u64,
    len: usize,
    /// Seed of the draws of a held-out part.
    fixed: Option<u64>,
    member: F,
}

/// The splits of the set whose example number `k` is written by `member(k, out)`.
pub(crate) fn splits<F>(name: &str, schema: Schema, total: u64, sha256: String, seed: u64, member: F) -> Splits
where
    F: Fn(u64, &mut [u32]) + Clone + Send + Sync + 'static,
{
    let part = |most: u64, fixed| -> Arc<dyn Dataset> {
        let (schema, member) = (schema.clone(), member.clone());
        Arc::new(RuleSet { schema, total, len: total.min(most) as usize, fixed, member })
    };
    // The held-out parts need different seeds; any function of the first will do for the second.
    let (validation, test) = (part(HELD_OUT, Some(seed)), part(HELD_OUT, Some(!seed)));
    Splits::new(name, [part(ENUMERATED, None), validation, test], sha256)
}

impl<F: Fn(u64, &mut [u32]) + Send + Sync> Dataset for RuleSet<F> {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn len(&self) -> usize {
        self.len
    }

    fn write(&self, key: ExampleKey, out: &mut [u32]) {
        assert!(key.index < self.len, "example {} of {}", key.index, self.len);
        let number = if self.len as u64 == self.total {
            key.index as u64
        } else {
            let key = self.fixed.map_or(key, |seed| ExampleKey::fixed(seed, key.index));
            key.stream().below(self.total as usize) as u64
        };
        (self.member)(number, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Layout;

    #[test]
    fn small_sets_are_enumerated_and_large_ones_drawn() {
        let schema = Schema { sites: 1, classes: 10, layout: Layout::Table };
        let make = |total| splits("t", schema.clone(), total, String::new(), 5, |k, out| out[0] = k as u32);
        let at = |set: &Arc<dyn Dataset>, epoch, index| {
            let mut out = [0];
            set.write(ExampleKey { seed: 0, epoch, index }, &mut out);
            out[0]
        };
        let small = make(10);
        assert!((0..10).all(|i| at(&small.train, 3, i) == i as u32 && at(&small.test, 3, i) == i as u32));
        let large = make(4_000_000_000);
        assert_eq!((large.train.len(), large.test.len()), (1_000_000, 10_000));
        assert_ne!(at(&large.train, 0, 0), at(&large.train, 1, 0));
        assert_eq!(at(&large.validation, 0, 0), at(&large.validation, 1, 0));
        assert_ne!(at(&large.validation, 0, 0), at(&large.test, 0, 0));
        let mean = (0..10_000).map(|i| f64::from(at(&large.train, 0, i)) / 4e9).sum::<f64>() / 1e4;
        assert!((mean - 0.5).abs() < 0.015, "{mean}");
    }
}
