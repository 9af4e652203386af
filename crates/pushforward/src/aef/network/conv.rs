//! Residual convolutions at every resolution, with a width that does not depend on the latent.
//!
//! ```text
//! block:   h = h + conv(SiLU(GroupNorm(conv(SiLU(GroupNorm(h))))))
//! encoder: conv, `levels` times (blocks, conv 3x3 /2 that doubles the channels), blocks, linear
//! decoder: linear, blocks, `levels` times (transposed conv *2 that halves the channels, blocks), conv 3x3
//! ```
//!
//! The second convolution of a block starts at zero, so a block starts as the identity (He et al. 2016,
//! arXiv:1603.05027).

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::super::ImageShape;
use super::{DecoderNet, EncoderNet};
use crate::dual::Dual;
use crate::nn::conv::{Conv2d, Conv2dConfig, ConvTranspose2d};
use crate::nn::linear::{Linear, LinearConfig};
use crate::nn::norm::GroupNorm;
use crate::rng::Stream;
use crate::setting::{DEPTH, SettingError, WIDTH, size};

/// Groups of the normalisations.
const GROUPS: usize = 4;

/// Settings of the residual convolutions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConvConfig {
    /// Channels at the resolution of the image, a multiple of 4; twice as many after every halving.
    pub channels: usize,
    /// Residual blocks at every resolution.
    pub blocks: usize,
    /// Number of times the resolution is halved.
    pub levels: usize,
}

impl Default for ConvConfig {
    fn default() -> Self {
        Self { channels: 32, blocks: 1, levels: 2 }
    }
}

impl ConvConfig {
    pub(super) fn validate(&self) -> Result<(), SettingError> {
        size("channels", self.channels, 1..=WIDTH)?;
        size("blocks", self.blocks, 0..=DEPTH)?;
        if !self.channels.is_multiple_of(GROUPS) {
            return Err(SettingError::new(
                "channels",
                format!("must be a positive multiple of {GROUPS}, found {}", self.channels),
            ));
        }
        if self.levels > 8 {
            return Err(SettingError::new("levels", format!("must be at most 8, found {}", self.levels)));
        }
        Ok(())
    }

    /// Channels, height and width at the lowest resolution.
    pub(in crate::aef) fn lowest(&self, shape: ImageShape) -> [usize; 3] {
        let factor = 1 << self.levels;
        [self.channels * factor, shape.height / factor, shape.width / factor]
    }

    fn blocks(&self, channels: usize, device: &Device, stream: &mut Stream) -> Vec<Block> {
        (0..self.blocks).map(|_| Block::init(channels, device, stream)).collect()
    }

    pub(super) fn encoder(
        &self,
        shape: ImageShape,
        outputs: usize,
        device: &Device,
        stream: &mut Stream,
    ) -> ConvEncoder {
        let levels = (0..self.levels).map(|level| {
            let c = self.channels << level;
            let halve = Conv2dConfig { inputs: c, outputs: 2 * c, kernel: 3, stride: 2, padding: 1 };
            Down { blocks: self.blocks(c, device, stream), halve: halve.init(device, stream) }
        });
        let levels = levels.collect();
        let lowest = self.lowest(shape);
        ConvEncoder {
            input: Conv2dConfig::same(shape.channels, self.channels, 3).init(device, stream),
            levels,
            lowest: self.blocks(lowest[0], device, stream),
            norm: GroupNorm::init(GROUPS, lowest[0], device, stream),
            output: LinearConfig::new(lowest.iter().product(), outputs).init(device, stream),
        }
    }

    pub(super) fn decoder(
        &self,
        latent: usize,
        maps: usize,
        shape: ImageShape,
        device: &Device,
        stream: &mut Stream,
    ) -> ConvDecoder {
        let lowest = self.lowest(shape);
        let levels = (0..self.levels).rev().map(|level| {
            let c = self.channels << level;
            Up { double: ConvTranspose2d::init(2 * c, c, device, stream), blocks: self.blocks(c, device, stream) }
        });
        let levels = levels.collect();
        ConvDecoder {
            input: LinearConfig::new(latent, lowest.iter().product()).init(device, stream),
            lowest: self.blocks(lowest[0], device, stream),
            levels,
            norm: GroupNorm::init(GROUPS, self.channels, device, stream),
            output: Conv2dConfig::same(self.channels, maps, 3).init(device, stream),
            start: lowest,
        }
    }
}

/// A residual block.
#[derive(Module, Debug)]
pub struct Block {
    /// Normalisation before the first convolution.
    pub first_norm: GroupNorm,
    /// First convolution.
    pub first: Conv2d,
    /// Normalisation before the second convolution.
    pub second_norm: GroupNorm,
    /// Second convolution, zero at the start.
    pub second: Conv2d,
}

impl Block {
    fn init(channels: usize, device: &Device, stream: &mut Stream) -> Self {
        let same = Conv2dConfig::same(channels, channels, 3);
        Self {
            first_norm: GroupNorm::init(GROUPS, channels, device, stream),
            first: same.init(device, stream),
            second_norm: GroupNorm::init(GROUPS, channels, device, stream),
            second: same.init_zero(device, stream),
        }
    }

    fn forward(&self, x: Dual<4>) -> Dual<4> {
        let h = self.first.forward(self.first_norm.forward(x.clone()).silu());
        x + self.second.forward(self.second_norm.forward(h).silu())
    }
}

fn through(blocks: &[Block], x: Dual<4>) -> Dual<4> {
    blocks.iter().fold(x, |h, block| block.forward(h))
}

/// Blocks, then half the resolution.
#[derive(Module, Debug)]
pub struct Down {
    /// At the higher resolution.
    pub blocks: Vec<Block>,
    /// Doubles the channels.
    pub halve: Conv2d,
}

/// Twice the resolution, then blocks.
#[derive(Module, Debug)]
pub struct Up {
    /// Halves the channels.
    pub double: ConvTranspose2d,
    /// At the higher resolution.
    pub blocks: Vec<Block>,
}

/// The encoder, made by [`ConvConfig`].
#[derive(Module, Debug)]
pub struct ConvEncoder {
    /// From the channels of the image to the first width.
    pub input: Conv2d,
    /// From high to low resolution.
    pub levels: Vec<Down>,
    /// Blocks at the lowest resolution.
    pub lowest: Vec<Block>,
    /// Normalisation before the output.
    pub norm: GroupNorm,
    /// From the lowest resolution to the outputs.
    pub output: Linear,
}

impl EncoderNet for ConvEncoder {
    fn forward(&self, image: Tensor<4>) -> Tensor<2> {
        let h = self.input.forward(image.into());
        let h = self.levels.iter().fold(h, |h, level| level.halve.forward(through(&level.blocks, h)));
        let h = self.norm.forward(through(&self.lowest, h)).silu();
        self.output.forward(h.linear(|v| v.flatten::<2>(1, 3))).value
    }
}

/// The decoder, made by [`ConvConfig`].
#[derive(Module, Debug)]
pub struct ConvDecoder {
    /// From the latent to the lowest resolution.
    pub input: Linear,
    /// Blocks at the lowest resolution.
    pub lowest: Vec<Block>,
    /// From low to high resolution.
    pub levels: Vec<Up>,
    /// Normalisation before the output.
    pub norm: GroupNorm,
    /// From the last width to the output maps.
    pub output: Conv2d,
    #[module(skip)]
    start: [usize; 3],
}

impl DecoderNet for ConvDecoder {
    fn forward(&self, z: Tensor<2>) -> Tensor<4> {
        let [batch, _] = z.dims();
        let [c, h, w] = self.start;
        let h = self.input.forward(z.into()).linear(|v| v.reshape([batch, c, h, w]));
        let h = through(&self.lowest, h);
        let h = self.levels.iter().fold(h, |h, level| through(&level.blocks, level.double.forward(h)));
        self.output.forward(self.norm.forward(h).silu()).value
    }
}
