//! Weights laid out for products, remembered for as long as nobody changes them.
//!
//! Laying a weight out takes as long as many products with it: sampling uses the same weights in every pass, and in training the
//! passes of a step do. A layout belongs to the memory of its weight and is forgotten with it.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};

use burn::backend::TensorMetadata;
use burn::tensor::Bytes;
use burn_flex::FlexTensor;

use super::gemm::Factor;
use super::matrix::Matrix;
use super::precision::Precision;
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

static KEPT: LazyLock<Mutex<HashMap<Key, Entry>>> = LazyLock::new(Mutex::default);

fn kept() -> MutexGuard<'static, HashMap<Key, Entry>> {
    // What is kept is whole between any two calls.
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A matrix of weights, or its transpose, as the second factor of products.
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

    /// The first row of the weight that a layout is of.
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
