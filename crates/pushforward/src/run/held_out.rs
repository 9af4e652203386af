//! Evenly spaced items of a held-out set.

use crate::data::{Dataset, ExampleKey};

/// Maximum number of held-out items that samples are compared with.
pub(super) const REFERENCE_ITEMS: usize = 10_000;

/// Class indices of `n` evenly spaced items of a set, or of all if it has fewer: `[min(n, len), sites]`, row by row.
///
/// # Examples
/// ```
/// use std::path::Path;
/// use pushforward::data::DataConfig;
/// use pushforward::run::items;
///
/// let splits = DataConfig::Echo(Default::default()).load(Path::new("not read"), 0)?;
/// let ids = items(splits.test.as_ref(), 2);
/// assert_eq!(ids.len(), 2 * splits.schema().sites);
/// let (word, echo) = ids[..8].split_at(4);
/// assert_eq!(word, echo);
/// # Ok::<(), pushforward::data::DataError>(())
/// ```
pub fn items(set: &dyn Dataset, n: usize) -> Vec<u32> {
    let n = n.min(set.len());
    let sites = set.schema().sites;
    let mut out = vec![0; n * sites];
    for (i, item) in out.chunks_exact_mut(sites).enumerate() {
        set.write(ExampleKey::fixed(0, i * set.len() / n), item);
    }
    out
}

/// Labels of the items that [`items`] returns, in the same order.
///
/// # Panics
/// If the set has no labels.
pub(super) fn labels_of(set: &dyn Dataset, n: usize) -> Vec<u32> {
    let n = n.min(set.len());
    (0..n).map(|i| set.label(i * set.len() / n).expect("the set has labels")).collect()
}
