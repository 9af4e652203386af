//! Tensor helpers shared by layers and losses: host data to tensors of a given precision, and back.
//!
//! # Examples
//! ```
//! use pushforward::burn::tensor::{Device, Tensor};
//! use pushforward::tensor::{argmax, indices, one_hot, to_host};
//!
//! let (device, ids) = (Device::flex(), [2, 0, 1, 2]);
//! let hot = one_hot(indices(&ids, [2, 2], &device), 3, &Tensor::<1>::zeros([1], &device));
//! assert_eq!(to_host(&hot)[..3], [0.0, 0.0, 1.0]);
//! assert_eq!(argmax(hot), ids);
//! ```
//!
//! A layer in double precision, for derivatives by finite differences.
//! ```
//! use pushforward::burn::tensor::{DType, Device};
//! use pushforward::nn::linear::LinearConfig;
//! use pushforward::rng::{Purpose, stream};
//! use pushforward::tensor::{cast_module, scalar, vector};
//!
//! let layer = LinearConfig::new(1, 1).init(&Device::flex(), &mut stream(0, Purpose::Init, 0));
//! let layer = cast_module(layer, DType::F64);
//! let x = vector(&[1.0 / 3.0], &layer.weight.val());
//! assert_eq!(scalar(&x), 1.0 / 3.0);
//! assert_eq!(layer.forward(x.into()).value.dtype(), DType::F64);
//! ```

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Bool, DType, Device, Int, Tensor, TensorData};

/// Single-precision host numbers as a tensor of the given shape, with the dtype and device of `like`, outside any
/// autodiff graph.
///
/// # Panics
/// If `values` does not fill the shape.
pub fn from_f32<const D: usize, const L: usize>(values: &[f32], shape: [usize; D], like: &Tensor<L>) -> Tensor<D> {
    let data = TensorData::new(values.to_vec(), shape).convert_dtype(like.dtype());
    Tensor::from_data(data, (&like.device().without_autodiff(), like.dtype()))
}

/// Host numbers as a vector with the dtype and device of `like`, outside any autodiff graph.
///
/// # Shapes
/// - output: `[values.len()]`
pub fn vector<const D: usize>(values: &[f64], like: &Tensor<D>) -> Tensor<1> {
    from_host(values, [values.len()], like)
}

/// Host numbers as a tensor of the given shape, with the dtype and device of `like`, outside any autodiff graph.
///
/// # Panics
/// If `values` does not fill `shape`.
pub fn from_host<const D: usize, const L: usize>(values: &[f64], shape: [usize; D], like: &Tensor<L>) -> Tensor<D> {
    let dtype = like.dtype();
    let data = match dtype {
        DType::F64 => TensorData::new(values.to_vec(), shape),
        _ => TensorData::new(values.iter().map(|&v| v as f32).collect::<Vec<_>>(), shape),
    };
    Tensor::from_data(data, (&like.device().without_autodiff(), dtype))
}

/// Class indices as a tensor.
///
/// # Panics
/// If `ids` does not fill `shape`.
pub fn indices<const D: usize>(ids: &[u32], shape: [usize; D], device: &Device) -> Tensor<D, Int> {
    let data = TensorData::new(ids.iter().map(|&i| i as i32).collect::<Vec<_>>(), shape);
    Tensor::from_data(data, &device.clone().without_autodiff())
}

/// One-hot vectors of class indices, in the dtype of `like`; an index not below `classes` gives zeros.
///
/// # Shapes
/// - `ids`: `[batch, sites]`
/// - output: `[batch, sites, classes]`
pub fn one_hot<const L: usize>(ids: Tensor<2, Int>, classes: usize, like: &Tensor<L>) -> Tensor<3> {
    let device = ids.device();
    let arange = Tensor::<1, Int>::arange(0..classes as i64, &device).reshape([1, 1, classes]);
    ids.unsqueeze_dim::<3>(2).equal(arange).float().cast(like.dtype())
}

/// All values of a tensor in row-major order, as `f64`.
pub fn to_host<const D: usize>(tensor: &Tensor<D>) -> Vec<f64> {
    tensor.to_data().iter::<f64>().collect()
}

/// The single value of a one-element tensor.
pub fn scalar(tensor: &Tensor<1>) -> f64 {
    to_host(tensor)[0]
}

/// The index of the largest entry along the last axis.
///
/// # Shapes
/// - `x`: `[batch, sites, classes]`
/// - output: `batch * sites` indices, row-major
pub fn argmax(x: Tensor<3>) -> Vec<u32> {
    x.argmax(2).to_data().iter::<i64>().map(|i| i as u32).collect()
}

/// A boolean tensor from host values.
///
/// # Panics
/// If `values` does not fill `shape`.
pub fn mask<const D: usize>(values: &[bool], shape: [usize; D], device: &Device) -> Tensor<D, Bool> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), &device.clone().without_autodiff())
}

/// The module with every float parameter in the given precision.
pub fn cast_module<M: Module>(module: M, dtype: DType) -> M {
    struct Caster(DType);
    impl ModuleMapper for Caster {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let (id, value, mapper) = param.consume();
            let requires = value.is_require_grad();
            // Cast before detach: `detach` keeps `require_grad`, so a cast after it would be a node of the graph and
            // not a leaf.
            let value = value.cast(self.0).detach().set_require_grad(requires);
            Param::from_mapped_value(id, value, mapper)
        }
    }
    module.map(&mut Caster(dtype))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_numbers_become_rows_in_either_precision() {
        let values = [0.1f32, 0.2, 0.3, 0.4, 0.5, 0.6];
        for dtype in [DType::F32, DType::F64] {
            let like = Tensor::<1>::zeros([1], (&Device::flex(), dtype));
            let rows: Tensor<2> = from_f32(&values, [2, 3], &like);
            assert_eq!((rows.dims(), rows.dtype()), ([2, 3], dtype));
            let wide: Vec<f64> = values.iter().map(|&v| f64::from(v)).collect();
            assert_eq!(to_host(&rows), wide);
            assert_eq!(to_host(&from_host(&wide, [2, 3], &like)), wide);
        }
    }
}
