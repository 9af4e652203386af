//! The parameters of any module, by name.
//!
//! A name is the path of field names and indices from the root of the module, joined with `.`, such as
//! `blocks.0.attention.weight`. Names, unlike burn's random parameter ids, mean the same in every process, so
//! checkpoints, optimiser moments and error messages all use them.
//!
//! Float parameters keep their dtype; integer parameters travel as `i64` and boolean ones as `u8`, whatever the
//! backend stores, so that a file written on one device loads on another.
//!
//! # Examples
//! ```
//! use pushforward::burn::tensor::Device;
//! use pushforward::nn::linear::LinearConfig;
//! use pushforward::params::{StateDict, collect, count, load};
//! use pushforward::rng::{Purpose, stream};
//!
//! let layer = |seed| LinearConfig::new(3, 2).init(&Device::flex(), &mut stream(seed, Purpose::Init, 0));
//! let weights: StateDict = collect(&layer(0)).into_iter().collect();
//! assert!(weights.contains_key("weight") && weights.contains_key("bias"));
//! assert_eq!(count(&layer(0)), 3 * 2 + 2);
//! let copy = load(layer(1), &weights)?;
//! assert_eq!(collect(&copy).into_iter().collect::<StateDict>(), weights);
//! # Ok::<(), pushforward::params::ParamsError>(())
//! ```

use std::collections::{BTreeMap, HashSet};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Bool, DType, Int, Tensor, TensorData};

/// Named tensors on the host.
pub type StateDict = BTreeMap<String, TensorData>;

/// Why a set of named tensors does not fit a module.
#[derive(Debug, thiserror::Error)]
pub enum ParamsError {
    /// The module has a parameter that the set lacks.
    #[error(
        "tensor `{name}` is missing, the model has it with shape {expected:?}: the weights belong to another model"
    )]
    Missing {
        /// Name of the tensor.
        name: String,
        /// Shape in the module.
        expected: Vec<usize>,
    },
    /// The set has a tensor that the module lacks.
    #[error("tensor `{name}` of shape {found:?} is not part of the model: the weights belong to another model")]
    Extra {
        /// Name of the tensor.
        name: String,
        /// Shape in the set.
        found: Vec<usize>,
    },
    /// The shapes differ.
    #[error("tensor `{name}` has shape {found:?}, the model expects {expected:?}: the weights belong to another model")]
    Shape {
        /// Name of the tensor.
        name: String,
        /// Shape in the module.
        expected: Vec<usize>,
        /// Shape in the set.
        found: Vec<usize>,
    },
    /// The element types differ.
    #[error("tensor `{name}` holds {found:?}, the model expects {expected:?}")]
    Dtype {
        /// Name of the tensor.
        name: String,
        /// Element type in the module.
        expected: DType,
        /// Element type in the set.
        found: DType,
    },
    /// A value is infinite or NaN.
    #[error("tensor `{name}` holds {value} at element {index}: the weights are damaged, use an earlier checkpoint")]
    NonFinite {
        /// Name of the tensor.
        name: String,
        /// Row-major position of the first such element.
        index: usize,
        /// The element.
        value: f64,
    },
}

/// All parameters of a module with their names, in visiting order.
///
/// # Panics
/// If two parameters share a name, which no derived module does.
pub fn collect<M: Module>(module: &M) -> Vec<(String, TensorData)> {
    let mut collector = Collector::default();
    module.visit(&mut collector);
    let mut seen = HashSet::new();
    for (name, _) in &collector.found {
        assert!(seen.insert(name.as_str()), "two parameters of the module are named `{name}`");
    }
    collector.found
}

/// The module with its parameters replaced by those of `weights`; devices and gradient settings stay as they are.
///
/// # Errors
/// Unless names, shapes and dtypes match exactly and every value is finite.
pub fn load<M: Module>(module: M, weights: &StateDict) -> Result<M, ParamsError> {
    let mut loader = Loader { path: Path::default(), weights, used: 0, error: None };
    let module = module.map(&mut loader);
    if let Some(error) = loader.error {
        return Err(error);
    }
    if loader.used < weights.len() {
        let known: HashSet<String> = collect(&module).into_iter().map(|(name, _)| name).collect();
        if let Some((name, data)) = weights.iter().find(|(name, _)| !known.contains(*name)) {
            return Err(ParamsError::Extra { name: name.clone(), found: data.shape().to_vec() });
        }
    }
    Ok(module)
}

/// Number of float elements in the parameters.
pub fn count<M: Module>(module: &M) -> usize {
    flat(module).iter().map(|p| p.value.dims()[0]).sum()
}

/// Fails on the first infinite or NaN value of a float tensor.
pub(crate) fn check_finite(name: &str, data: &TensorData) -> Result<(), ParamsError> {
    if !data.dtype().is_float() {
        return Ok(());
    }
    match data.iter::<f64>().enumerate().find(|(_, value)| !value.is_finite()) {
        Some((index, value)) => Err(ParamsError::NonFinite { name: name.into(), index, value }),
        None => Ok(()),
    }
}

/// One float parameter as a vector without gradient.
pub(crate) struct Flat {
    pub(crate) name: String,
    /// Shape of the parameter before it was flattened.
    pub(crate) shape: Vec<usize>,
    pub(crate) value: Tensor<1>,
}

/// The float parameters as vectors without gradient, in visiting order.
///
/// Flattening removes the rank from the type, so that optimiser, average and gradient arithmetic are plain loops; it
/// copies nothing, since parameters are contiguous.
pub(crate) fn flat<M: Module>(module: &M) -> Vec<Flat> {
    let mut flattener = Flattener::default();
    module.visit(&mut flattener);
    flattener.found
}

/// Replaces every float parameter by `f` of its position in [`flat`] and its value as a vector without gradient.
///
/// Shape, gradient setting and checkpointing strategy of every parameter stay as they are; `f` must keep the length.
pub(crate) fn map_flat<M: Module>(module: M, f: impl FnMut(usize, Tensor<1>) -> Tensor<1>) -> M {
    module.map(&mut FlatMapper { f, next: 0 })
}

#[derive(Default)]
struct Path(Vec<String>);

impl Path {
    fn enter(&mut self, name: &str) {
        self.0.push(name.to_owned());
    }

    fn exit(&mut self) {
        self.0.pop();
    }

    fn name(&self) -> String {
        self.0.join(".")
    }
}

#[derive(Default)]
struct Collector {
    path: Path,
    found: Vec<(String, TensorData)>,
}

impl ModuleVisitor for Collector {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.found.push((self.path.name(), param.val().without_autodiff().into_data()));
    }

    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        self.found.push((self.path.name(), param.val().into_data().convert::<i64>()));
    }

    fn visit_bool<const D: usize>(&mut self, param: &Param<Tensor<D, Bool>>) {
        self.found.push((self.path.name(), param.val().into_data().convert::<u8>()));
    }
}

struct Loader<'a> {
    path: Path,
    weights: &'a StateDict,
    used: usize,
    error: Option<ParamsError>,
}

impl Loader<'_> {
    /// The data for the parameter being visited; records the first mismatch and returns `None` from there on.
    fn take(&mut self, expected: &[usize], dtype: DType) -> Option<TensorData> {
        if self.error.is_some() {
            return None;
        }
        let name = self.path.name();
        let checked = match self.weights.get(&name) {
            None => Err(ParamsError::Missing { name, expected: expected.to_vec() }),
            Some(data) if data.shape().as_slice() != expected => {
                Err(ParamsError::Shape { name, expected: expected.to_vec(), found: data.shape().to_vec() })
            }
            Some(data) if data.dtype() != dtype => {
                Err(ParamsError::Dtype { name, expected: dtype, found: data.dtype() })
            }
            Some(data) => check_finite(&name, data).map(|()| data.clone()),
        };
        match checked {
            Ok(data) => {
                self.used += 1;
                Some(data)
            }
            Err(error) => {
                self.error = Some(error);
                None
            }
        }
    }
}

impl ModuleMapper for Loader<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let old = param.val();
        match self.take(&old.dims(), old.dtype()) {
            // Made on the device of the old value without autodiff; `restore` puts back what the parameter had.
            Some(data) => {
                let device = old.clone().without_autodiff().device();
                let dtype = old.dtype();
                param.map(|old| restore(&old, Tensor::from_data(data, (&device, dtype))))
            }
            None => param,
        }
    }

    fn map_int<const D: usize>(&mut self, param: Param<Tensor<D, Int>>) -> Param<Tensor<D, Int>> {
        match self.take(&param.val().dims(), DType::I64) {
            Some(data) => param.map(|old| Tensor::from_data(data, (&old.device(), old.dtype()))),
            None => param,
        }
    }

    fn map_bool<const D: usize>(&mut self, param: Param<Tensor<D, Bool>>) -> Param<Tensor<D, Bool>> {
        match self.take(&param.val().dims(), DType::U8) {
            Some(data) => param.map(|old| Tensor::from_data(data.convert::<bool>(), &old.device())),
            None => param,
        }
    }
}

#[derive(Default)]
struct Flattener {
    path: Path,
    found: Vec<Flat>,
}

impl ModuleVisitor for Flattener {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.enter(name);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val().without_autodiff();
        self.found.push(Flat { name: self.path.name(), shape: value.dims().into(), value: value.flatten(0, D - 1) });
    }
}

struct FlatMapper<F> {
    f: F,
    next: usize,
}

impl<F: FnMut(usize, Tensor<1>) -> Tensor<1>> ModuleMapper for FlatMapper<F> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let index = self.next;
        self.next += 1;
        param.map(|old| {
            let new = (self.f)(index, old.clone().without_autodiff().flatten(0, D - 1));
            restore(&old, new.reshape(old.dims()))
        })
    }
}

/// `new`, which has no gradient, with the gradient setting and checkpointing strategy of `old`.
fn restore<const D: usize>(old: &Tensor<D>, new: Tensor<D>) -> Tensor<D> {
    if !old.is_autodiff() {
        return new;
    }
    let mut tensor = Tensor::from_inner(new);
    // Left at the default, a parameter would meet inputs under another strategy, which autodiff refuses.
    if let Some(strategy) = old.gradient_checkpointing_strategy() {
        tensor = tensor.with_gradient_checkpointing_strategy(strategy);
    }
    tensor.set_require_grad(old.is_require_grad())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::toy;
    use burn::tensor::Device;

    #[derive(Module, Debug)]
    struct Mixed {
        scale: Param<Tensor<1>>,
        steps: Param<Tensor<1, Int>>,
        mask: Param<Tensor<1, Bool>>,
    }

    fn mixed(step: i64, flag: bool) -> Mixed {
        let device = Device::flex().autodiff();
        Mixed {
            scale: Param::from_data([0.5f32, 2.0], &device),
            steps: Param::initialized(burn::module::ParamId::new(), Tensor::from_data([step, 3], &device)),
            mask: Param::initialized(burn::module::ParamId::new(), Tensor::from_data([flag, true], &device)),
        }
    }

    fn weights<M: Module>(module: &M) -> StateDict {
        collect(module).into_iter().collect()
    }

    #[test]
    fn names_are_paths_in_visiting_order() {
        let names: Vec<String> = collect(&toy::mlp(0)).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias"]);
        assert_eq!(count(&toy::mlp(0)), 2 * 8 + 8 + 8 + 1);
    }

    #[test]
    fn load_copies_values_and_keeps_gradient_settings() {
        let source = weights(&toy::mlp(1));
        for module in [toy::mlp(2), toy::mlp(2).valid(), toy::mlp(2).no_grad()] {
            let before = module.clone().layers[0].weight.val();
            let loaded = load(module, &source).expect("the same architecture");
            let after = loaded.layers[0].weight.val();
            assert_eq!(weights(&loaded), source);
            assert_eq!(
                (after.is_autodiff(), after.is_require_grad()),
                (before.is_autodiff(), before.is_require_grad())
            );
            assert_eq!(after.device(), before.device());
        }
        // A validation copy that goes back to training carries gradients again.
        let again = load(toy::mlp(2).valid(), &source).expect("the same architecture").train();
        assert!(again.layers[0].weight.val().is_require_grad());
    }

    #[test]
    fn integers_and_booleans_travel_too() {
        let loaded = load(mixed(1, false), &weights(&mixed(7, true))).expect("the same architecture");
        assert_eq!(weights(&loaded), weights(&mixed(7, true)));
        assert_ne!(weights(&loaded), weights(&mixed(1, false)));
    }

    #[test]
    fn every_misfit_has_its_error() {
        let good = weights(&toy::mlp(0));
        let fails = |edit: &dyn Fn(&mut StateDict)| {
            let mut bad = good.clone();
            edit(&mut bad);
            load(toy::mlp(3), &bad).expect_err("the set was damaged").to_string()
        };
        let name = "layers.0.bias";
        let missing = fails(&|w| drop(w.remove(name)));
        assert!(missing.contains("`layers.0.bias` is missing") && missing.contains("[8]"), "{missing}");
        let extra = fails(&|w| drop(w.insert("head".into(), TensorData::zeros::<f32, _>([3, 2]))));
        assert!(extra.contains("`head` of shape [3, 2] is not part"), "{extra}");
        let shape = fails(&|w| drop(w.insert(name.into(), TensorData::zeros::<f32, _>([4, 2]))));
        assert!(shape.contains("[4, 2]") && shape.contains("[8]") && shape.contains(name), "{shape}");
        let dtype = fails(&|w| drop(w.insert(name.into(), TensorData::zeros::<f64, _>([8]))));
        assert!(dtype.contains("F64") && dtype.contains("F32") && dtype.contains(name), "{dtype}");
        let mut values = vec![0.0f32; 8];
        values[5] = f32::NAN;
        let nan = fails(&|w| drop(w.insert(name.into(), TensorData::new(values.clone(), [8]))));
        assert!(nan.contains("NaN at element 5") && nan.contains(name), "{nan}");
    }
}
