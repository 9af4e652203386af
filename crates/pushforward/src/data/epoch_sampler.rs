//! The order of examples: a function of `(seed, epoch)`.
//!
//! Batch number `index`, counted over the whole run, takes the positions `index * batch + j`. Position `p` lies in
//! epoch `p / len` at place `p % len` of that epoch's permutation. Batches therefore cross the ends of epochs, no
//! remainder is dropped, and a resumed run needs only its step number.
//!
//! The permutation is a list up to 2^24 examples, which takes 64 MiB, and computed place by place beyond.

use std::sync::{Arc, Mutex, PoisonError};

use crate::data::permutation::Permutation;
use crate::data::{Dataset, ExampleKey};
use crate::rng::{Purpose, stream};

/// Most examples whose order is a list.
const LISTED: usize = 1 << 24;

/// The examples of every batch, addressed by the number of the batch. An epoch is a permutation of the examples.
///
/// # Examples
/// ```
/// use pushforward::data::EpochSampler;
/// let sampler = EpochSampler::new(10, 5, 0);
/// // Two batches of five are one epoch of ten.
/// let mut seen: Vec<usize> = [0, 1].iter().flat_map(|&batch| sampler.keys(batch)).map(|key| key.index).collect();
/// seen.sort();
/// assert_eq!(seen, (0..10).collect::<Vec<_>>());
/// ```
pub struct EpochSampler {
    len: usize,
    batch: usize,
    seed: u64,
    /// Cache: the permutation of the epoch that was used last.
    current: Mutex<Option<(u64, Order)>>,
}

/// The order of an epoch.
#[derive(Clone)]
enum Order {
    Listed(Arc<Vec<u32>>),
    Computed(Permutation),
}

impl Order {
    fn new(len: usize, seed: u64, epoch: u64) -> Self {
        let mut random = stream(seed, Purpose::Order, epoch);
        if len > LISTED {
            return Self::Computed(Permutation::new(len as u64, random));
        }
        let mut order: Vec<u32> = (0..len as u32).collect();
        random.shuffle(&mut order);
        Self::Listed(order.into())
    }

    fn at(&self, place: u64) -> usize {
        match self {
            Self::Listed(order) => order[place as usize] as usize,
            Self::Computed(order) => order.at(place) as usize,
        }
    }
}

impl EpochSampler {
    /// Batches of `batch` out of `len` examples, in the order that `seed` gives.
    ///
    /// # Panics
    /// If there are no examples or the batch is empty, or an epoch has 2^32 examples or more.
    pub fn new(len: usize, batch: usize, seed: u64) -> Self {
        assert!(batch > 0, "a batch holds at least one example");
        assert!(len > 0, "the data set is empty");
        assert!(u32::try_from(len).is_ok(), "an epoch has {len} examples, more than 2^32 - 1");
        Self { len, batch, seed, current: Mutex::new(None) }
    }

    /// The examples of batch number `index`.
    pub fn keys(&self, index: u64) -> Vec<ExampleKey> {
        let len = self.len as u64;
        let first = index * self.batch as u64;
        let mut order = self.permutation(first / len);
        let mut epoch = first / len;
        (first..first + self.batch as u64)
            .map(|position| {
                if position / len != epoch {
                    epoch = position / len;
                    order = self.permutation(epoch);
                }
                ExampleKey { seed: self.seed, epoch, index: order.at(position % len) }
            })
            .collect()
    }

    fn permutation(&self, epoch: u64) -> Order {
        // Safe if the lock is poisoned: the value is replaced in one assignment, so it is never half-written.
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((held, order)) = &*current
            && *held == epoch
        {
            return order.clone();
        }
        let order = Order::new(self.len, self.seed, epoch);
        *current = Some((epoch, order.clone()));
        order
    }
}

/// Shuffled batches of a data set, addressed by their number.
///
/// # Examples
/// ```
/// use std::path::Path;
/// use pushforward::data::{Batches, DataConfig};
/// let splits = DataConfig::Glyphs(Default::default()).load(Path::new("unused"), 0)?;
/// let batches = Batches::new(splits.train, 3, 0);
/// let (pixels, labels) = batches.with_labels(5);
/// assert_eq!((pixels.len(), labels.map(|labels| labels.len())), (3 * 16 * 16, Some(3)));
/// assert_eq!(batches.at(5), pixels);
/// # Ok::<(), pushforward::data::DataError>(())
/// ```
pub struct Batches {
    dataset: Arc<dyn Dataset>,
    order: EpochSampler,
}

impl Batches {
    /// Batches of `batch` examples in the order that `seed` gives.
    ///
    /// # Panics
    /// As [`EpochSampler::new`].
    pub fn new(dataset: Arc<dyn Dataset>, batch: usize, seed: u64) -> Self {
        let order = EpochSampler::new(dataset.len(), batch, seed);
        Self { dataset, order }
    }

    /// Batch number `index` of the run.
    ///
    /// # Shapes
    /// `batch * sites` class indices, example by example.
    pub fn at(&self, index: u64) -> Vec<u32> {
        self.write(self.keys(index))
    }

    fn write(&self, keys: Vec<ExampleKey>) -> Vec<u32> {
        let sites = self.dataset.schema().sites;
        let mut out = vec![0; keys.len() * sites];
        for (key, example) in keys.into_iter().zip(out.chunks_exact_mut(sites)) {
            self.dataset.write(key, example);
        }
        out
    }

    /// Batch number `index` of the run with the labels of its examples, `None` if the set has no labels.
    ///
    /// # Shapes
    /// `batch * sites` class indices, example by example, and `batch` labels.
    pub fn with_labels(&self, index: u64) -> (Vec<u32>, Option<Vec<u32>>) {
        let keys = self.keys(index);
        let labels = keys.iter().map(|key| self.dataset.label(key.index)).collect();
        (self.write(keys), labels)
    }

    /// The examples of batch number `index`.
    pub fn keys(&self, index: u64) -> Vec<ExampleKey> {
        self.order.keys(index)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::data::{Layout, Schema};

    struct Counting(Schema, usize);

    impl Dataset for Counting {
        fn schema(&self) -> &Schema {
            &self.0
        }
        fn len(&self) -> usize {
            self.1
        }
        fn write(&self, key: ExampleKey, out: &mut [u32]) {
            out[0] = key.index as u32;
            out[1] = key.epoch as u32;
        }
    }

    fn counting(len: usize) -> Arc<dyn Dataset> {
        Arc::new(Counting(Schema { sites: 2, classes: len, layout: Layout::Table }, len))
    }

    proptest! {
        #[test]
        fn every_epoch_visits_every_example_once(len in 1usize..40, batch in 1usize..50, seed: u64) {
            let batches = Batches::new(counting(len), batch, seed);
            let epochs = 3;
            let count = (len * epochs).div_ceil(batch) as u64;
            let all: Vec<u32> = (0..count).flat_map(|index| batches.at(index)).collect();
            for (epoch, keys) in all[..2 * len * epochs].chunks(2 * len).enumerate() {
                let mut seen: Vec<u32> = keys.iter().step_by(2).copied().collect();
                seen.sort_unstable();
                prop_assert_eq!(seen, (0..len as u32).collect::<Vec<_>>());
                prop_assert!(keys.iter().skip(1).step_by(2).all(|&e| e as usize == epoch));
            }
        }

        #[test]
        fn a_batch_depends_on_its_number_alone(len in 1usize..40, batch in 1usize..50, seed: u64, index in 0u64..100) {
            let used = Batches::new(counting(len), batch, seed);
            (0..5).for_each(|other| drop(used.at(other)));
            prop_assert_eq!(used.at(index), Batches::new(counting(len), batch, seed).at(index));
        }
    }

    #[test]
    fn an_order_too_long_for_a_list_is_computed() {
        let len = LISTED + 5;
        let sampler = EpochSampler::new(len, 1000, 0);
        let keys = sampler.keys(0);
        assert!(matches!(*sampler.current.lock().unwrap(), Some((0, Order::Computed(_)))));
        let different: std::collections::HashSet<usize> = keys.iter().map(|key| key.index).collect();
        assert_eq!(different.len(), 1000);
        let mean = keys.iter().map(|key| key.index as f64).sum::<f64>() / 1000.0 / len as f64;
        assert!((mean - 0.5).abs() < 0.05, "{mean}");
        // Batch 16777 ends in the next epoch, whose order is another one.
        let crossing = sampler.keys(LISTED as u64 / 1000);
        assert!(crossing[0].epoch == 0 && crossing[999].epoch == 1);
        assert_ne!(sampler.keys(0)[0].index, EpochSampler::new(len, 1000, 1).keys(0)[0].index);
    }

    #[test]
    fn epochs_and_seeds_differ_in_order() {
        let order = |seed, index| {
            Batches::new(counting(100), 100, seed).keys(index).iter().map(|v| v.index).collect::<Vec<_>>()
        };
        assert_ne!(order(0, 0), order(0, 1));
        assert_ne!(order(0, 0), order(1, 0));
    }
}
