//! Convolutions of images, and changes of resolution.
//!
//! # Examples
//! ```
//! use pushforward::burn::tensor::{Device, Tensor};
//! use pushforward::nn::conv::{Conv2dConfig, ConvTranspose2d};
//! use pushforward::rng::{Purpose, stream};
//! use pushforward::tensor::to_host;
//!
//! let (device, mut random) = (Device::flex(), stream(0, Purpose::Init, 0));
//! let image = Tensor::<4>::ones([1, 2, 4, 4], &device);
//! let halve = Conv2dConfig { inputs: 2, outputs: 3, kernel: 3, stride: 2, padding: 1 }.init(&device, &mut random);
//! let small = halve.forward(image.clone().into());
//! assert_eq!(small.dims(), [1, 3, 2, 2]);
//! assert_eq!(ConvTranspose2d::init(3, 2, &device, &mut random).forward(small).dims(), [1, 2, 4, 4]);
//! // The last layer of a residual branch, which is the zero map at first.
//! let last = Conv2dConfig::same(2, 2, 3).init_zero(&device, &mut random);
//! assert_eq!(to_host(&last.forward(image.into()).value), [0.0; 2 * 4 * 4]);
//! ```

use burn::module::{Module, Param};
use burn::tensor::ops::{ConvOptions, ConvTransposeOptions};
use burn::tensor::{Device, Tensor, module};

use super::{Fill, parameter};
use crate::dual::Dual;
use crate::kernels::{self, Stride};
use crate::rng::Stream;

/// Configuration of a [`Conv2d`] layer with square kernels.
#[derive(Clone, Copy, Debug)]
pub struct Conv2dConfig {
    /// Channels of the input.
    pub inputs: usize,
    /// Channels of the output.
    pub outputs: usize,
    /// Side of the kernel.
    pub kernel: usize,
    /// Stride.
    pub stride: usize,
    /// Zero padding on every side.
    pub padding: usize,
}

impl Conv2dConfig {
    /// A convolution that keeps the resolution, for odd kernels.
    pub fn same(inputs: usize, outputs: usize, kernel: usize) -> Self {
        Self { inputs, outputs, kernel, stride: 1, padding: kernel / 2 }
    }

    /// Makes the layer, with weights and biases uniform in `+-1/sqrt(inputs kernel^2)`.
    pub fn init(&self, device: &Device, stream: &mut Stream) -> Conv2d {
        let bound = Fill::Uniform(1.0 / ((self.inputs * self.kernel * self.kernel) as f64).sqrt());
        Conv2d {
            weight: parameter([self.outputs, self.inputs, self.kernel, self.kernel], bound, device, stream),
            bias: parameter([self.outputs], bound, device, stream),
            stride: self.stride,
            padding: self.padding,
        }
    }

    /// Makes the layer with all parameters zero, so that it starts as the zero map.
    pub fn init_zero(&self, device: &Device, stream: &mut Stream) -> Conv2d {
        let shape = [self.outputs, self.inputs, self.kernel, self.kernel];
        Conv2d {
            weight: parameter(shape, Fill::Constant(0.0), device, stream),
            bias: parameter([self.outputs], Fill::Constant(0.0), device, stream),
            stride: self.stride,
            padding: self.padding,
        }
    }
}

/// A convolution, made by [`Conv2dConfig::init`].
#[derive(Module, Debug)]
pub struct Conv2d {
    /// `[outputs, inputs, kernel, kernel]`
    pub weight: Param<Tensor<4>>,
    /// `[outputs]`
    pub bias: Param<Tensor<1>>,
    #[module(skip)]
    stride: usize,
    #[module(skip)]
    padding: usize,
}

impl Conv2d {
    /// Applies the convolution.
    ///
    /// # Shapes
    /// - `x`: `[batch, inputs, height, width]`
    /// - output: `[batch, outputs, (height + 2 padding - kernel) / stride + 1, ...]`
    pub fn forward(&self, x: Dual<4>) -> Dual<4> {
        let fused = kernels::serve(&x.value) && kernels::serve(&self.weight.val());
        let apply = |x: Tensor<4>, bias: Option<Tensor<1>>| {
            if fused {
                let stride = Stride { stride: self.stride, padding: self.padding };
                return kernels::conv2d(x, self.weight.val(), bias, stride);
            }
            let options = ConvOptions::new([self.stride; 2], [self.padding; 2], [1, 1], 1);
            module::conv2d(x, self.weight.val(), bias, options)
        };
        Dual { value: apply(x.value, Some(self.bias.val())), tangent: x.tangent.map(|t| apply(t, None)) }
    }
}

/// A transposed convolution that doubles the resolution: kernel 4, stride 2, padding 1.
#[derive(Module, Debug)]
pub struct ConvTranspose2d {
    /// `[inputs, outputs, 4, 4]`
    pub weight: Param<Tensor<4>>,
    /// `[outputs]`
    pub bias: Param<Tensor<1>>,
}

impl ConvTranspose2d {
    /// Makes the layer, with weights and biases uniform in `+-1/sqrt(16 outputs)`, as in PyTorch.
    pub fn init(inputs: usize, outputs: usize, device: &Device, stream: &mut Stream) -> Self {
        let bound = Fill::Uniform(0.25 / (outputs as f64).sqrt());
        Self {
            weight: parameter([inputs, outputs, 4, 4], bound, device, stream),
            bias: parameter([outputs], bound, device, stream),
        }
    }

    /// Applies the transposed convolution.
    ///
    /// # Shapes
    /// - `x`: `[batch, inputs, height, width]`
    /// - output: `[batch, outputs, 2 height, 2 width]`
    pub fn forward(&self, x: Dual<4>) -> Dual<4> {
        let fused = kernels::serve(&x.value) && kernels::serve(&self.weight.val());
        let apply = |x: Tensor<4>, bias: Option<Tensor<1>>| {
            if fused {
                return kernels::conv_transpose2d(x, self.weight.val(), bias, Stride { stride: 2, padding: 1 });
            }
            let options = ConvTransposeOptions::new([2, 2], [1, 1], [0, 0], [1, 1], 1);
            module::conv_transpose2d(x, self.weight.val(), bias, options)
        };
        Dual { value: apply(x.value, Some(self.bias.val())), tangent: x.tangent.map(|t| apply(t, None)) }
    }
}
