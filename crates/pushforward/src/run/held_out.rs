//! Held-out items, spread evenly over a set.

use crate::data::{Dataset, ExampleKey};

/// Most held-out items that samples are compared with.
pub(super) const REFERENCE_ITEMS: usize = 10_000;

/// Class indices of `n` held-out items spread evenly over a set (all of them, where it has fewer).
pub fn items(set: &dyn Dataset, n: usize) -> Vec<u32> {
    let n = n.min(set.len());
    let sites = set.schema().sites;
    let mut out = vec![0; n * sites];
    for (i, item) in out.chunks_exact_mut(sites).enumerate() {
        set.write(ExampleKey::fixed(0, i * set.len() / n), item);
    }
    out
}

/// The labels of the items that [`items`] gives.
///
/// # Panics
/// If the set has no labels.
pub fn labels_of(set: &dyn Dataset, n: usize) -> Vec<u32> {
    let n = n.min(set.len());
    (0..n).map(|i| set.label(i * set.len() / n).expect("the set has labels")).collect()
}
