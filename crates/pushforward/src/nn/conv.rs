//! Convolution of images, and changes of resolution.

use burn::module::{Module, Param};
use burn::tensor::ops::{ConvOptions, ConvTransposeOptions};
use burn::tensor::{Device, Tensor, module};

use super::{Fill, parameter};
use crate::dual::Dual;
use crate::kernels::{self, Patches};
use crate::rng::Stream;

/// Most numbers of a batch of unfolded patches, 128 MiB: they are kept for the derivative, so beyond this burn's own convolution,
/// which unfolds piece by piece, takes over.
const MOST_UNFOLDED: usize = 1 << 25;

/// Configuration of a [`Conv2d`] layer with square kernels.
#[derive(Clone, Copy, Debug)]
pub struct Conv2dConfig {
    /// Channels of the input.
    pub inputs: usize,
    /// Channels of the output.
    pub outputs: usize,
    /// Side of the kernel.
    pub kernel: usize,
    /// Step between applications.
    pub stride: usize,
    /// Zeros added on every side.
    pub padding: usize,
}

impl Conv2dConfig {
    /// A convolution that keeps the resolution (odd kernels).
    pub fn same(inputs: usize, outputs: usize, kernel: usize) -> Self {
        Self { inputs, outputs, kernel, stride: 1, padding: kernel / 2 }
    }

    /// Weights and offsets uniform in `+-1/sqrt(inputs kernel^2)`.
    pub fn init(&self, device: &Device, stream: &mut Stream) -> Conv2d {
        let bound = Fill::Uniform(1.0 / ((self.inputs * self.kernel * self.kernel) as f64).sqrt());
        Conv2d {
            weight: parameter([self.outputs, self.inputs, self.kernel, self.kernel], bound, device, stream),
            bias: parameter([self.outputs], bound, device, stream),
            stride: self.stride,
            padding: self.padding,
        }
    }

    /// The same with everything zero: the layer starts as the zero map.
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
    /// # Shapes
    /// - `x`: `[batch, inputs, height, width]`
    /// - output: `[batch, outputs, (height + 2 padding - kernel) / stride + 1, ...]`
    pub fn forward(&self, x: Dual<4>) -> Dual<4> {
        let (image, [outputs, _, kernel, _]) = (x.dims(), self.weight.dims());
        let patches = Patches { image, kernel, stride: self.stride, padding: self.padding };
        let [rows, columns] = patches.rows();
        if kernels::serve(&x.value) && rows * columns <= MOST_UNFOLDED {
            let weight = self.weight.val().reshape([outputs, columns]).transpose();
            let unfold = |v| kernels::unfold(v, patches);
            let x = (unfold(x.value), x.tangent.map(unfold));
            let (value, tangent) = kernels::linear(x, weight, Some(self.bias.val()), false);
            let [down, right] = patches.grid();
            let image = |rows: Tensor<2>| {
                rows.reshape([image[0], down * right, outputs])
                    .swap_dims(1, 2)
                    .reshape([image[0], outputs, down, right])
            };
            return Dual { value: image(value), tangent: tangent.map(image) };
        }
        let options = || ConvOptions::new([self.stride; 2], [self.padding; 2], [1, 1], 1);
        let value = module::conv2d(x.value, self.weight.val(), Some(self.bias.val()), options());
        let tangent = x.tangent.map(|t| module::conv2d(t, self.weight.val(), None, options()));
        Dual { value, tangent }
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
    /// Weights and offsets uniform in `+-1/sqrt(16 inputs)`.
    pub fn init(inputs: usize, outputs: usize, device: &Device, stream: &mut Stream) -> Self {
        let bound = Fill::Uniform(0.25 / (inputs as f64).sqrt());
        Self {
            weight: parameter([inputs, outputs, 4, 4], bound, device, stream),
            bias: parameter([outputs], bound, device, stream),
        }
    }

    /// # Shapes
    /// - `x`: `[batch, inputs, height, width]`
    /// - output: `[batch, outputs, 2 height, 2 width]`
    pub fn forward(&self, x: Dual<4>) -> Dual<4> {
        let ([batch, inputs, height, width], [_, outputs, kernel, _]) = (x.dims(), self.weight.dims());
        let patches = Patches { image: [batch, outputs, 2 * height, 2 * width], kernel, stride: 2, padding: 1 };
        let [rows, columns] = patches.rows();
        if kernels::serve(&x.value) && rows * columns <= MOST_UNFOLDED {
            let weight = self.weight.val().reshape([inputs, columns]);
            let pixels =
                |v: Tensor<4>| v.reshape([batch, inputs, height * width]).swap_dims(1, 2).reshape([rows, inputs]);
            let x = (pixels(x.value), x.tangent.map(pixels));
            let (value, tangent) = kernels::linear(x, weight, None, false);
            let fold = |rows| kernels::fold(rows, patches);
            let bias = self.bias.val().reshape([1, outputs, 1, 1]);
            return Dual { value: fold(value) + bias, tangent: tangent.map(fold) };
        }
        let options = || ConvTransposeOptions::new([2, 2], [1, 1], [0, 0], [1, 1], 1);
        let value = module::conv_transpose2d(x.value, self.weight.val(), Some(self.bias.val()), options());
        let tangent = x.tangent.map(|t| module::conv_transpose2d(t, self.weight.val(), None, options()));
        Dual { value, tangent }
    }
}
