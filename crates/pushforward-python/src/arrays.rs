//! Arrays as bytes, in the order of rows: Python makes arrays of them without another copy.
//!
//! The crate `numpy` is not used: with it, the CPU backend is compiled a second time, with other features.

use pyo3::prelude::*;
use pyo3::types::PyByteArray;

/// Numbers as bytes that Python owns.
fn bytes<const N: usize, T: Copy>(
    py: Python<'_>,
    values: &[T],
    convert: impl Fn(T) -> [u8; N],
) -> PyResult<Py<PyByteArray>> {
    let made = PyByteArray::new_with(py, values.len() * N, |out| {
        for (place, &value) in out.as_chunks_mut::<N>().0.iter_mut().zip(values) {
            *place = convert(value);
        }
        Ok(())
    })?;
    Ok(made.unbind())
}

/// float32.
pub(crate) fn singles(py: Python<'_>, values: &[f32]) -> PyResult<Py<PyByteArray>> {
    bytes(py, values, f32::to_ne_bytes)
}

/// float64.
pub(crate) fn doubles(py: Python<'_>, values: &[f64]) -> PyResult<Py<PyByteArray>> {
    bytes(py, values, f64::to_ne_bytes)
}

/// int64.
pub(crate) fn integers(py: Python<'_>, values: &[i64]) -> PyResult<Py<PyByteArray>> {
    bytes(py, values, i64::to_ne_bytes)
}

/// The numbers of an array of float32.
pub(crate) fn read_singles(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|&value| f32::from_ne_bytes(value)).collect()
}

/// The numbers of an array of int64.
pub(crate) fn read_integers(bytes: &[u8]) -> Vec<i64> {
    bytes.as_chunks().0.iter().map(|&value| i64::from_ne_bytes(value)).collect()
}
