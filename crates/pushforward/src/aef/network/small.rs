//! The published networks for images of 28 x 28 pixels.
//!
//! ```text
//! encoder: conv 3x3 /2 (C -> c), ReLU, conv 3x3 /2 (c -> 2c), ReLU, linear to the outputs
//! decoder: linear to 2c H/4 W/4, transposed conv 4x4 *2 (2c -> c), ReLU, transposed conv 4x4 *2 (c -> maps)
//! ```
//!
//! Reference: Silvestri, Roos, Ambrogioni 2023, arXiv:2205.09546, with c = 64.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::super::ImageShape;
use super::{DecoderNet, EncoderNet};
use crate::nn::conv::{Conv2d, Conv2dConfig, ConvTranspose2d};
use crate::nn::linear::{Linear, LinearConfig};
use crate::rng::Stream;
use crate::setting::{SettingError, WIDTH, size};

/// Settings of the published small networks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SmallConfig {
    /// Channels of the first convolution; twice as many in the second.
    pub channels: usize,
}

impl Default for SmallConfig {
    fn default() -> Self {
        Self { channels: 64 }
    }
}

impl SmallConfig {
    pub(super) fn validate(&self) -> Result<(), SettingError> {
        size("channels", self.channels, 1..=WIDTH)
    }

    pub(super) fn encoder(
        &self,
        shape: ImageShape,
        outputs: usize,
        device: &Device,
        stream: &mut Stream,
    ) -> SmallEncoder {
        let c = self.channels;
        let halve = |inputs, outputs| Conv2dConfig { inputs, outputs, kernel: 3, stride: 2, padding: 1 };
        SmallEncoder {
            first: halve(shape.channels, c).init(device, stream),
            second: halve(c, 2 * c).init(device, stream),
            output: LinearConfig::new(2 * c * (shape.height / 4) * (shape.width / 4), outputs).init(device, stream),
        }
    }

    pub(super) fn decoder(
        &self,
        latent: usize,
        maps: usize,
        shape: ImageShape,
        device: &Device,
        stream: &mut Stream,
    ) -> SmallDecoder {
        let c = self.channels;
        let start = [2 * c, shape.height / 4, shape.width / 4];
        SmallDecoder {
            input: LinearConfig::new(latent, start.iter().product()).init(device, stream),
            first: ConvTranspose2d::init(2 * c, c, device, stream),
            second: ConvTranspose2d::init(c, maps, device, stream),
            start,
        }
    }
}

/// The encoder, made by [`SmallConfig`].
#[derive(Module, Debug)]
pub struct SmallEncoder {
    /// First convolution.
    pub first: Conv2d,
    /// Second convolution.
    pub second: Conv2d,
    /// `[2c H/4 W/4, outputs]`; the rows are a flattened `[2c, H/4, W/4]`.
    pub output: Linear,
}

impl EncoderNet for SmallEncoder {
    fn forward(&self, image: Tensor<4>) -> Tensor<2> {
        let h = self.first.forward(image.into()).relu();
        let h = self.second.forward(h).relu();
        self.output.forward(h.linear(|v| v.flatten::<2>(1, 3))).value
    }
}

/// The decoder, made by [`SmallConfig`].
#[derive(Module, Debug)]
pub struct SmallDecoder {
    /// `[latent, 2c H/4 W/4]`
    pub input: Linear,
    /// First transposed convolution.
    pub first: ConvTranspose2d,
    /// Second transposed convolution.
    pub second: ConvTranspose2d,
    #[module(skip)]
    start: [usize; 3],
}

impl DecoderNet for SmallDecoder {
    fn forward(&self, z: Tensor<2>) -> Tensor<4> {
        let [batch, _] = z.dims();
        let [c, h, w] = self.start;
        let h = self.input.forward(z.into()).value.reshape([batch, c, h, w]);
        self.second.forward(self.first.forward(h.into()).relu()).value
    }
}
