//! Weights as arrays, by name.

use std::collections::BTreeMap;

use pushforward::burn::module::Module;
use pushforward::burn::tensor::{DType, TensorData};
use pushforward::params::{StateDict, collect, load};
use pyo3::prelude::*;
use pyo3::types::PyByteArray;

use crate::{arrays, failure};

/// Name, shape, whether the numbers are float32 (else int64), and the numbers.
pub(crate) type Weight = (String, Vec<usize>, bool, Py<PyByteArray>);

/// The weights of a module.
pub(crate) fn listed<M: Module>(py: Python<'_>, module: &M) -> PyResult<Vec<Weight>> {
    let one = |(name, data): (String, TensorData)| {
        let (shape, single) = (data.shape().to_vec(), data.dtype() == DType::F32);
        let bytes = if single {
            arrays::singles(py, &data.iter::<f32>().collect::<Vec<_>>())?
        } else {
            arrays::integers(py, &data.iter::<i64>().collect::<Vec<_>>())?
        };
        Ok((name, shape, single, bytes))
    };
    collect(module).into_iter().map(one).collect()
}

/// A module with other weights, each with its name, shape and bytes: all of them, with the shapes that they have.
pub(crate) fn replaced<M: Module>(module: &M, weights: &[(String, Vec<usize>, Vec<u8>)]) -> PyResult<M> {
    let types: BTreeMap<String, DType> = collect(module).into_iter().map(|(name, data)| (name, data.dtype())).collect();
    let mut given = StateDict::new();
    for (name, shape, bytes) in weights {
        let data = match types.get(name) {
            Some(DType::F32) | None => TensorData::new(arrays::read_singles(bytes), shape.clone()),
            Some(other) => TensorData::new(arrays::read_integers(bytes), shape.clone()).convert_dtype(*other),
        };
        given.insert(name.clone(), data);
    }
    load(module.clone(), &given).map_err(failure::request)
}
