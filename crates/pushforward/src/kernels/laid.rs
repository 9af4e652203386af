//! Weights laid out for products, remembered for as long as nobody changes them.
//!
//! Laying a weight out takes as long as many products with it: sampling uses the same weights in every pass, and in training the
//! passes of a step do. A layout belongs to the memory of its weight: it is used while that memory lives and is shared, which
//! is what keeps it from being changed, and is forgotten after that.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};

use burn::backend::TensorMetadata;
use burn::tensor::Bytes;
use burn_flex::FlexTensor;

use super::precision::Precision;
use super::product::{Factor, Matrix};
use super::slice;

/// Which layout of which memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    /// Of the owner, which a weak reference keeps from being used again, and of the first number.
    address: [usize; 2],
    shape: [usize; 2],
    transposed: bool,
    precision: Precision,
}

/// A layout, and the memory that it is of. Burn changes memory in place only where there is no other reference to it, weak ones
/// included; where there is none but weak ones it first moves the memory to another owner. So the numbers under an owner that
/// can be reached through this are those that were laid out.
struct Entry {
    owner: Weak<Bytes>,
    factor: Arc<Factor<'static>>,
}

#[derive(Default)]
struct Kept {
    entries: HashMap<Key, Entry>,
    /// Entries at which those whose weight is gone are dropped.
    limit: usize,
}

static KEPT: LazyLock<Mutex<Kept>> = LazyLock::new(Mutex::default);

/// Fewest entries at which they are looked through.
const LIMIT: usize = 64;

fn kept() -> MutexGuard<'static, Kept> {
    // What is kept is whole between any two calls.
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A matrix of weights, or its transpose, as the second factor of products.
pub(super) fn weights(weight: &FlexTensor, transposed: bool, precision: Precision) -> Arc<Factor<'static>> {
    let shape = [weight.shape()[0], weight.shape()[1]];
    let numbers = slice(weight);
    let owner = weight.data_arc();
    let key = Key { address: [Arc::as_ptr(&owner).addr(), numbers.as_ptr().addr()], shape, transposed, precision };
    if let Some(entry) = kept().entries.get(&key).filter(|entry| entry.owner.strong_count() > 0) {
        return entry.factor.clone();
    }
    let [rows, columns] = shape;
    let matrix = Matrix::rows(numbers, columns);
    let factor = Arc::new(match transposed {
        false => Factor::packed(matrix, rows, columns, precision),
        true => Factor::packed(matrix.transposed(), columns, rows, precision),
    });
    let mut kept = kept();
    if kept.entries.len() >= kept.limit {
        kept.entries.retain(|_, entry| entry.owner.strong_count() > 0);
        kept.limit = LIMIT.max(2 * kept.entries.len());
    }
    kept.entries.insert(key, Entry { owner: Arc::downgrade(&owner), factor: factor.clone() });
    factor
}
