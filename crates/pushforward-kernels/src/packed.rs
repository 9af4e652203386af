//! Cache of packed weights, invalidated on mutation.
//!
//! Packing a weight takes as long as many products with it, and the same weights are used in every pass of sampling and
//! in all passes of a training step. An entry is keyed by the memory of its weight and dropped after that memory is
//! freed.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};

use burn::backend::TensorMetadata;
use burn::tensor::Bytes;
use burn_flex::FlexTensor;

use super::gemm::Factor;
use super::matrix::Matrix;
use super::precision::Precision;
use super::slice;

/// Key of the cache: memory, shape, orientation and precision.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    /// Addresses of the owner, whose reuse the weak reference prevents, and of the first number.
    address: [usize; 2],
    shape: [usize; 2],
    transposed: bool,
    precision: Precision,
}

/// A packed weight and a weak reference to the weight's memory. burn mutates memory in place only if no other reference
/// exists, weak ones included; if only weak ones exist, it first moves the memory to another owner. So the numbers of
/// an owner that `owner` still reaches are those that were packed.
struct Entry {
    owner: Weak<Bytes>,
    factor: Arc<Factor<'static>>,
}

static KEPT: LazyLock<Mutex<HashMap<Key, Entry>>> = LazyLock::new(Mutex::default);

fn kept() -> MutexGuard<'static, HashMap<Key, Entry>> {
    // The map is consistent between any two calls, so a poisoned lock is harmless.
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A weight matrix, or its transpose, packed as the second factor of products; from the cache if possible.
pub(super) fn weights(weight: &FlexTensor, transposed: bool, precision: Precision) -> Arc<Factor<'static>> {
    let shape = [weight.shape()[0], weight.shape()[1]];
    let numbers = slice(weight);
    let owner = weight.data_arc();
    let key = Key { address: [Arc::as_ptr(&owner).addr(), numbers.as_ptr().addr()], shape, transposed, precision };
    if let Some(entry) = kept().get(&key) {
        return entry.factor.clone();
    }
    let [rows, columns] = shape;
    let matrix = Matrix::rows(numbers, columns);
    let factor = Arc::new(match transposed {
        false => Factor::packed(matrix, rows, columns, precision),
        true => Factor::packed(matrix.transposed(), columns, rows, precision),
    });
    let mut kept = kept();
    kept.retain(|_, entry| entry.owner.strong_count() > 0);
    kept.insert(key, Entry { owner: Arc::downgrade(&owner), factor: factor.clone() });
    factor
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, TensorData};

    use super::super::buffer::slots;
    use super::super::gemm::filled;
    use super::*;

    /// First row of the weight behind a packed factor.
    fn first_row(factor: &Factor<'_>) -> Vec<f32> {
        let mut out = slots(3);
        filled(&mut out, 1, Matrix::rows(&[1.0, 0.0], 2), factor).to_vec()
    }

    #[test]
    fn a_layout_is_used_again_until_its_weight_changes() {
        let data = TensorData::new(vec![1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0], [2, 3]);
        let mut weight = FlexTensor::from_data(data);
        assert_eq!(weight.dtype(), DType::F32);
        let packing = weights(&weight, false, Precision::F32);
        assert_eq!(first_row(&packing), [1.0, 2.0, 3.0]);
        assert!(Arc::ptr_eq(&packing, &weights(&weight.clone(), false, Precision::F32)), "a copy shares its memory");
        assert!(!Arc::ptr_eq(&packing, &weights(&weight, true, Precision::F32)), "the transpose is another matrix");
        // In place, as an optimiser does.
        weight.storage_mut::<f32>()[0] = 7.0;
        assert_eq!(first_row(&weights(&weight, false, Precision::F32)), [7.0, 2.0, 3.0]);
        let shared = weight.clone();
        weight.storage_mut::<f32>()[0] = 8.0;
        assert_eq!(first_row(&weights(&weight, false, Precision::F32)), [8.0, 2.0, 3.0]);
        assert_eq!(first_row(&weights(&shared, false, Precision::F32)), [7.0, 2.0, 3.0]);
    }
}
