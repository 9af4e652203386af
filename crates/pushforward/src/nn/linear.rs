//! Affine map over the last axis.
//!
//! ```text
//! y = x W + b        W: [inputs, outputs]
//! ```
//!
//! # Examples
//! ```
//! use pushforward::burn::tensor::{Device, Tensor};
//! use pushforward::nn::linear::{LinearConfig, LinearInit};
//! use pushforward::rng::{Purpose, stream};
//! use pushforward::tensor::to_host;
//!
//! let (device, mut random) = (Device::flex(), stream(0, Purpose::Init, 0));
//! let x = Tensor::<2>::ones([4, 3], &device);
//! let zero = LinearConfig::new(3, 2).with_init(LinearInit::Zero).init(&device, &mut random);
//! assert_eq!(to_host(&zero.forward(x.clone().into()).value), [0.0; 4 * 2]);
//! // Default weights are within 1/sqrt(inputs), so three of them add up to at most sqrt(3).
//! let y = LinearConfig::new(3, 2).without_bias().init(&device, &mut random).forward(x.into());
//! assert!(to_host(&y.value).iter().all(|v| v.abs() <= 3f64.sqrt()));
//! ```

use burn::module::{Module, Param};
use burn::tensor::module::linear;
use burn::tensor::{Device, Tensor};

use super::{Fill, parameter};
use crate::dual::Dual;
use crate::kernels::{self, Activation, Precision};
use crate::rng::Stream;

/// Configuration of a [`Linear`] layer.
#[derive(Clone, Copy, Debug)]
pub struct LinearConfig {
    /// Width of the input.
    pub inputs: usize,
    /// Width of the output.
    pub outputs: usize,
    /// Whether a bias is added.
    pub bias: bool,
    /// Initial weights.
    pub init: LinearInit,
}

/// Initial weights of a [`Linear`] layer; biases start at zero except for [`LinearInit::Default`].
#[derive(Clone, Copy, Debug)]
pub enum LinearInit {
    /// Weights and biases uniform in `+-1/sqrt(inputs)`.
    Default,
    /// Weights uniform in `+-sqrt(6/(inputs + outputs))` (Glorot and Bengio 2010).
    Glorot,
    /// Normal weights of the given standard deviation.
    Normal(f64),
    /// Zero weights: the layer starts as the zero map.
    Zero,
}

impl LinearConfig {
    /// A layer with bias and default initialisation.
    pub fn new(inputs: usize, outputs: usize) -> Self {
        Self { inputs, outputs, bias: true, init: LinearInit::Default }
    }

    /// The same without bias.
    pub fn without_bias(mut self) -> Self {
        self.bias = false;
        self
    }

    /// The same with other initial weights.
    pub fn with_init(mut self, init: LinearInit) -> Self {
        self.init = init;
        self
    }

    /// Makes the layer with random initial weights.
    pub fn init(&self, device: &Device, stream: &mut Stream) -> Linear {
        let bound = 1.0 / (self.inputs as f64).sqrt();
        let (weight, bias) = match self.init {
            LinearInit::Default => (Fill::Uniform(bound), Fill::Uniform(bound)),
            LinearInit::Glorot => {
                (Fill::Uniform((6.0 / (self.inputs + self.outputs) as f64).sqrt()), Fill::Constant(0.0))
            }
            LinearInit::Normal(deviation) => (Fill::Normal(deviation), Fill::Constant(0.0)),
            LinearInit::Zero => (Fill::Constant(0.0), Fill::Constant(0.0)),
        };
        Linear {
            weight: parameter([self.inputs, self.outputs], weight, device, stream),
            bias: self.bias.then(|| parameter([self.outputs], bias, device, stream)),
        }
    }
}

/// `x W` in float32, whatever the precision of networks: for bijectors, whose inverse must undo them.
///
/// A row of the result does not depend on the number of rows.
///
/// # Shapes
/// - `x`: `[rows, inputs]`
/// - `weight`: `[inputs, outputs]`
/// - output: `[rows, outputs]`
pub(crate) fn exact_product(x: Tensor<2>, weight: Tensor<2>) -> Tensor<2> {
    if kernels::serve(&x) && kernels::serve(&weight) {
        let _precision = Precision::F32.scope();
        return kernels::linear((x, None), weight, None, None).0;
    }
    x.matmul(weight)
}

/// An affine map over the last axis, made by [`LinearConfig::init`].
///
/// # Examples
/// The hidden layers of a network with their activation, in one pass over memory on the CPU.
/// ```
/// use pushforward::burn::tensor::{Device, Tensor};
/// use pushforward::nn::LinearConfig;
/// use pushforward::rng::{Purpose, stream};
/// use pushforward::tensor::to_host;
///
/// let layer = LinearConfig::new(3, 4).init(&Device::flex(), &mut stream(0, Purpose::Init, 0));
/// let x = Tensor::<2>::ones([2, 3], &Device::flex());
/// let linear = layer.forward(x.clone().into());
/// let relu = layer.forward_relu(x.clone().into()).value - linear.clone().relu().value;
/// let gelu = layer.forward_gelu(x.into()).value - linear.gelu().value;
/// assert!(to_host(&(relu.abs() + gelu.abs())).iter().all(|difference| *difference < 1e-6));
/// ```
#[derive(Module, Debug)]
pub struct Linear {
    /// `[inputs, outputs]`
    pub weight: Param<Tensor<2>>,
    /// `[outputs]`
    pub bias: Option<Param<Tensor<1>>>,
}

impl Linear {
    /// Applies the map.
    ///
    /// # Shapes
    /// - `x`: `[..., inputs]`
    /// - output: `[..., outputs]`
    pub fn forward<const D: usize>(&self, x: Dual<D>) -> Dual<D> {
        if self.served(&x) { self.fused(x, self.offset(), None) } else { self.composed(x, self.offset()) }
    }

    /// `x W`, without the bias.
    pub fn product<const D: usize>(&self, x: Dual<D>) -> Dual<D> {
        if self.served(&x) { self.fused(x, None, None) } else { self.composed(x, None) }
    }

    /// [`forward`](Self::forward) followed by [`gelu`](Dual::gelu).
    pub fn forward_gelu<const D: usize>(&self, x: Dual<D>) -> Dual<D> {
        if self.served(&x) {
            self.fused(x, self.offset(), Some(Activation::Gelu))
        } else {
            self.composed(x, self.offset()).gelu()
        }
    }

    /// [`forward`](Self::forward) followed by [`silu`](Dual::silu).
    pub fn forward_silu<const D: usize>(&self, x: Dual<D>) -> Dual<D> {
        if self.served(&x) {
            self.fused(x, self.offset(), Some(Activation::Silu))
        } else {
            self.composed(x, self.offset()).silu()
        }
    }

    /// [`forward`](Self::forward) followed by [`relu`](Dual::relu).
    pub fn forward_relu<const D: usize>(&self, x: Dual<D>) -> Dual<D> {
        if self.served(&x) {
            self.fused(x, self.offset(), Some(Activation::Relu))
        } else {
            self.composed(x, self.offset()).relu()
        }
    }

    fn served<const D: usize>(&self, x: &Dual<D>) -> bool {
        kernels::serve(&x.value) && kernels::serve(&self.weight.val())
    }

    fn offset(&self) -> Option<Tensor<1>> {
        self.bias.as_ref().map(Param::val)
    }

    fn fused<const D: usize>(&self, x: Dual<D>, bias: Option<Tensor<1>>, activation: Option<Activation>) -> Dual<D> {
        kernels::linear(x.into(), self.weight.val(), bias, activation).into()
    }

    fn composed<const D: usize>(&self, x: Dual<D>, bias: Option<Tensor<1>>) -> Dual<D> {
        let mut dims = x.dims();
        let inputs = dims[D - 1];
        let rows = dims[..D - 1].iter().product::<usize>();
        dims[D - 1] = self.weight.dims()[1];
        // One matrix product over all rows: a batched one computes a weight gradient for every batch entry and adds
        // them.
        let apply = |v: Tensor<D>, bias: Option<Tensor<1>>| {
            linear(v.reshape([rows, inputs]), self.weight.val(), bias).reshape(dims)
        };
        let value = apply(x.value, bias);
        Dual { value, tangent: x.tangent.map(|t| apply(t, None)) }
    }
}
