//! The published networks for images of 32 and 64 pixels: residual bottlenecks as wide as the latent.
//!
//! ```text
//! block:   h = h + conv1x1(GELU(conv3x3(GELU(conv3x3(GELU(conv1x1(GELU(h))))))))      width d, bottleneck max(1, d/4)
//! encoder: conv3x3 (C -> d), four blocks and one that ends in an average pool, at S, S/2, ..., 8 and 4 pixels (to 1);
//!          four blocks at 1 pixel, then one without residual to the outputs
//! decoder: four blocks at 1 pixel, then nearest upsampling and five blocks at each of 4, 8, ..., S pixels; gain and
//!          offset of every channel; conv1x1 to the maps
//! ```
//!
//! Below 3 pixels the 3x3 convolutions are 1x1. The initial weights of the last convolution of every block are
//! multiplied by `sqrt(1 / blocks)`; biases start at zero. The capacity grows with the size of the latent: mind this
//! when comparing latent sizes.
//!
//! References: Silvestri, Roos, Ambrogioni 2023, arXiv:2205.09546; the architecture is that of Child 2021,
//! arXiv:2011.10650.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};

use super::super::ImageShape;
use super::{DecoderNet, EncoderNet};
use crate::dual::Dual;
use crate::nn::conv::{Conv2d, Conv2dConfig};
use crate::rng::Stream;

/// Number of blocks at every resolution, not counting the one that changes the resolution.
pub(in crate::aef) const BLOCKS: usize = 4;

/// Resolutions from the image down to one pixel: `S, S/2, ..., 4, 1`.
pub(in crate::aef) fn resolutions(side: usize) -> Vec<usize> {
    let mut found: Vec<usize> = std::iter::successors(Some(side), |s| Some(s / 2)).take_while(|&s| s >= 4).collect();
    found.push(1);
    found
}

/// A residual bottleneck block.
#[derive(Module, Debug)]
pub struct Bottleneck {
    /// The four convolutions.
    pub layers: Vec<Conv2d>,
    #[module(skip)]
    residual: bool,
    /// Factor of the average pooling at the end.
    #[module(skip)]
    pool: usize,
}

struct BottleneckConfig {
    width: usize,
    outputs: usize,
    resolution: usize,
    pool: usize,
    residual: bool,
    /// Factor of the last convolution's initial weights.
    last: f64,
}

impl BottleneckConfig {
    fn init(&self, device: &Device, stream: &mut Stream) -> Bottleneck {
        let middle = (self.width / 4).max(1);
        let kernel = if self.resolution > 2 { 3 } else { 1 };
        let mut conv = |inputs, outputs, kernel, scale: f64| {
            let mut conv = Conv2dConfig::same(inputs, outputs, kernel).init(device, stream);
            conv.bias = Param::from_tensor(conv.bias.val().zeros_like());
            conv.weight = Param::from_tensor(conv.weight.val().detach() * scale);
            conv
        };
        Bottleneck {
            layers: vec![
                conv(self.width, middle, 1, 1.0),
                conv(middle, middle, kernel, 1.0),
                conv(middle, middle, kernel, 1.0),
                conv(middle, self.outputs, 1, self.last),
            ],
            residual: self.residual,
            pool: self.pool,
        }
    }
}

impl Bottleneck {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let h = self.layers.iter().fold(Dual::from(x.clone()), |h, conv| conv.forward(h.gelu())).value;
        let h = if self.residual { x + h } else { h };
        if self.pool > 1 { average(h, self.pool) } else { h }
    }
}

/// The encoder of residual bottlenecks.
#[derive(Module, Debug)]
pub struct BigEncoder {
    /// From the channels of the image to the width.
    pub input: Conv2d,
    /// All blocks in order.
    pub blocks: Vec<Bottleneck>,
}

impl BigEncoder {
    /// An encoder with random initial weights; its width is half the number of outputs, at least 1.
    ///
    /// That is the size of the latent where the outputs are means and scales, as published. A deterministic
    /// autoencoder, which was not published with this network, has no scales, and an encoder of half that width:
    /// its checkpoints depend on it.
    pub fn init(shape: ImageShape, outputs: usize, device: &Device, stream: &mut Stream) -> Self {
        let width = (outputs / 2).max(1);
        let levels = resolutions(shape.height);
        let count = levels.len() * (BLOCKS + 1);
        let last = (1.0 / count as f64).sqrt();
        let input = Conv2dConfig::same(shape.channels, width, 3).init(device, stream);
        let mut blocks = Vec::with_capacity(count);
        for (i, &resolution) in levels.iter().enumerate() {
            let block = BottleneckConfig { width, outputs: width, resolution, pool: 1, residual: true, last };
            blocks.extend((0..BLOCKS).map(|_| block.init(device, stream)));
            let end = match levels.get(i + 1) {
                Some(lower) => BottleneckConfig { pool: resolution / lower, ..block },
                None => BottleneckConfig { outputs, residual: false, ..block },
            };
            blocks.push(end.init(device, stream));
        }
        Self { input, blocks }
    }
}

impl EncoderNet for BigEncoder {
    fn forward(&self, image: Tensor<4>) -> Tensor<2> {
        let h = self.input.forward(image.into()).value;
        self.blocks.iter().fold(h, |h, block| block.forward(h)).flatten::<2>(1, 3)
    }
}

/// The decoder of residual bottlenecks.
#[derive(Module, Debug)]
pub struct BigDecoder {
    /// All blocks, resolution by resolution.
    pub blocks: Vec<Bottleneck>,
    /// Gain of every channel, `[1, width, 1, 1]`.
    pub gain: Param<Tensor<4>>,
    /// Offset of every channel, `[1, width, 1, 1]`.
    pub offset: Param<Tensor<4>>,
    /// From the width to the output maps.
    pub output: Conv2d,
    /// Factor of upsampling before every block.
    #[module(skip)]
    factors: Vec<usize>,
}

impl BigDecoder {
    /// A decoder with random initial weights; its width is the size of the latent.
    pub fn init(latent: usize, maps: usize, shape: ImageShape, device: &Device, stream: &mut Stream) -> Self {
        let mut levels = resolutions(shape.height);
        levels.reverse();
        let counts: Vec<usize> = (0..levels.len()).map(|i| if i == 0 { BLOCKS } else { BLOCKS + 1 }).collect();
        let last = (1.0 / counts.iter().sum::<usize>() as f64).sqrt();
        let (mut blocks, mut factors) = (Vec::new(), Vec::new());
        for (i, &resolution) in levels.iter().enumerate() {
            let block = BottleneckConfig { width: latent, outputs: latent, resolution, pool: 1, residual: true, last };
            for k in 0..counts[i] {
                factors.push(if i > 0 && k == 0 { resolution / levels[i - 1] } else { 1 });
                blocks.push(block.init(device, stream));
            }
        }
        Self {
            blocks,
            gain: Param::from_tensor(Tensor::ones([1, latent, 1, 1], device)),
            offset: Param::from_tensor(Tensor::zeros([1, latent, 1, 1], device)),
            output: Conv2dConfig::same(latent, maps, 1).init(device, stream),
            factors,
        }
    }
}

impl DecoderNet for BigDecoder {
    fn forward(&self, z: Tensor<2>) -> Tensor<4> {
        let [batch, d] = z.dims();
        let h = z.reshape([batch, d, 1, 1]);
        let h = self.blocks.iter().zip(&self.factors).fold(h, |h, (block, &factor)| block.forward(nearest(h, factor)));
        self.output.forward((h * self.gain.val() + self.offset.val()).into()).value
    }
}

/// Every pixel repeated `factor` times along both sides.
fn nearest(x: Tensor<4>, factor: usize) -> Tensor<4> {
    if factor == 1 {
        return x;
    }
    let [b, c, h, w] = x.dims();
    x.reshape([b, c, h, 1, w, 1]).expand([b, c, h, factor, w, factor]).reshape([b, c, h * factor, w * factor])
}

/// The mean of every square of `factor` times `factor` pixels.
fn average(x: Tensor<4>, factor: usize) -> Tensor<4> {
    let [b, c, h, w] = x.dims();
    let (h, w) = (h / factor, w / factor);
    x.reshape([b, c, h, factor, w, factor]).mean_dim(5).mean_dim(3).reshape([b, c, h, w])
}
