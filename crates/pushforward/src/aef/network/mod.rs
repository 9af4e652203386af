//! Encoder networks, image to code, and decoder networks, code to image. Every kind of network has both.
//!
//! The models are generic over [`EncoderNet`] and [`DecoderNet`], so your own networks can replace these.
//!
//! # Examples
//! ```
//! use pushforward::aef::ImageShape;
//! use pushforward::aef::network::{ConvConfig, DecoderNet, EncoderNet, ImageNetworkConfig, ImageNetworks};
//! use pushforward::burn::tensor::{Device, Tensor};
//! use pushforward::rng::{Purpose, stream};
//!
//! let (device, mut weights) = (Device::flex(), stream(0, Purpose::Init, 0));
//! let shape = ImageShape { channels: 3, height: 8, width: 8 };
//! let config = ImageNetworkConfig::Conv(ConvConfig { channels: 4, ..ConvConfig::default() });
//! let encoder = config.encoder(shape, 2, &device, &mut weights);
//! let decoder = config.decoder(2, 3, shape, &device, &mut weights);
//! let code = encoder.forward(Tensor::zeros([5, 3, 8, 8], &device));
//! assert_eq!(code.dims(), [5, 2]);
//! assert_eq!(decoder.forward(code).dims(), [5, 3, 8, 8]);
//! ```

mod big;
mod conv;
mod mlp;
mod small;

use burn::module::{Module, ModuleDisplay};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

pub(super) use self::big::{BLOCKS, resolutions};
pub use self::big::{BigDecoder, BigEncoder};
pub use self::conv::{ConvConfig, ConvDecoder, ConvEncoder};
pub use self::mlp::{MlpConfig, MlpDecoder, MlpEncoder};
pub use self::small::{SmallConfig, SmallDecoder, SmallEncoder};
use super::ImageShape;
use crate::rng::Stream;
use crate::setting::SettingError;

/// A network from images to vectors.
pub trait EncoderNet: Module + ModuleDisplay {
    /// Evaluates the network.
    ///
    /// # Shapes
    /// - `image`: `[batch, channels, height, width]`
    /// - output: `[batch, outputs]`
    fn forward(&self, image: Tensor<4>) -> Tensor<2>;
}

/// A network from vectors to images, possibly with several output maps per channel.
pub trait DecoderNet: Module + ModuleDisplay {
    /// Evaluates the network.
    ///
    /// # Shapes
    /// - `z`: `[batch, latent]`
    /// - output: `[batch, maps, height, width]`
    fn forward(&self, z: Tensor<2>) -> Tensor<4>;
}

/// What makes the encoder and the decoder of a model of images.
pub trait ImageNetworks {
    /// From images to vectors.
    type Encoder: EncoderNet;
    /// From vectors to images.
    type Decoder: DecoderNet;

    /// Draws the weights of an encoder to `outputs` numbers.
    fn encoder(&self, shape: ImageShape, outputs: usize, device: &Device, stream: &mut Stream) -> Self::Encoder;

    /// Draws the weights of a decoder from `latent` numbers to `maps` maps of the image's size.
    fn decoder(
        &self,
        latent: usize,
        maps: usize,
        shape: ImageShape,
        device: &Device,
        stream: &mut Stream,
    ) -> Self::Decoder;

    /// The initial trained scale of every pixel, before softplus, for outputs that have one.
    fn pre_scale(&self) -> f64 {
        0.0
    }
}

/// Configuration of an encoder and a decoder network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum ImageNetworkConfig {
    /// Two strided convolutions, and two transposed ones in the decoder, as published for 28 x 28 pixels.
    Small(SmallConfig),
    /// Residual bottlenecks at every resolution, as wide as the latent, as published for 32 and 64 pixels.
    Big,
    /// Fully connected layers.
    Mlp(MlpConfig),
    /// Residual convolutions whose width does not depend on the latent.
    Conv(ConvConfig),
}

impl Default for ImageNetworkConfig {
    fn default() -> Self {
        Self::Small(SmallConfig::default())
    }
}

impl ImageNetworkConfig {
    /// Checks the settings and, if given, the shape of the images.
    ///
    /// # Errors
    /// Names the key that is out of range or does not fit the images.
    pub fn validate(&self, shape: Option<ImageShape>) -> Result<(), SettingError> {
        let divisible = |factor: usize, name: &str| match shape {
            Some(s) if !s.height.is_multiple_of(factor) || !s.width.is_multiple_of(factor) => Err(SettingError::new(
                "kind",
                format!(
                    "= {name} needs sides that are multiples of {factor}, found {} x {}; use mlp",
                    s.height, s.width
                ),
            )),
            _ => Ok(()),
        };
        match self {
            Self::Small(config) => config.validate().and_then(|()| divisible(4, "small")),
            Self::Mlp(config) => config.validate(),
            Self::Conv(config) => config.validate().and_then(|()| divisible(1 << config.levels, "conv")),
            Self::Big => match shape {
                Some(s) if s.height != s.width || !s.height.is_power_of_two() || s.height < 8 => {
                    Err(SettingError::new(
                        "kind",
                        format!(
                            "= big needs squares whose side is a power of two from 8 on, found {} x {}; use conv",
                            s.height, s.width
                        ),
                    ))
                }
                _ => Ok(()),
            },
        }
    }
}

impl ImageNetworks for ImageNetworkConfig {
    type Encoder = ImageEncoder;
    type Decoder = ImageDecoder;

    fn encoder(&self, shape: ImageShape, outputs: usize, device: &Device, stream: &mut Stream) -> ImageEncoder {
        match self {
            Self::Small(config) => ImageEncoder::Small(config.encoder(shape, outputs, device, stream)),
            Self::Big => ImageEncoder::Big(BigEncoder::init(shape, outputs, device, stream)),
            Self::Mlp(config) => ImageEncoder::Mlp(config.encoder(shape, outputs, device, stream)),
            Self::Conv(config) => ImageEncoder::Conv(config.encoder(shape, outputs, device, stream)),
        }
    }

    fn decoder(
        &self,
        latent: usize,
        maps: usize,
        shape: ImageShape,
        device: &Device,
        stream: &mut Stream,
    ) -> ImageDecoder {
        match self {
            Self::Small(config) => ImageDecoder::Small(config.decoder(latent, maps, shape, device, stream)),
            Self::Big => ImageDecoder::Big(BigDecoder::init(latent, maps, shape, device, stream)),
            Self::Mlp(config) => ImageDecoder::Mlp(config.decoder(latent, maps, shape, device, stream)),
            Self::Conv(config) => ImageDecoder::Conv(config.decoder(latent, maps, shape, device, stream)),
        }
    }

    /// The published initial scales: softplus(0) of the small networks, softplus(1) of the big ones.
    fn pre_scale(&self) -> f64 {
        if matches!(self, Self::Big) { 1.0 } else { 0.0 }
    }
}

/// Any of the built-in encoders.
#[derive(Module, Debug)]
pub enum ImageEncoder {
    /// See [`SmallEncoder`].
    Small(SmallEncoder),
    /// See [`BigEncoder`].
    Big(BigEncoder),
    /// See [`MlpEncoder`].
    Mlp(MlpEncoder),
    /// See [`ConvEncoder`].
    Conv(ConvEncoder),
}

impl EncoderNet for ImageEncoder {
    fn forward(&self, image: Tensor<4>) -> Tensor<2> {
        match self {
            Self::Small(net) => net.forward(image),
            Self::Big(net) => net.forward(image),
            Self::Mlp(net) => net.forward(image),
            Self::Conv(net) => net.forward(image),
        }
    }
}

/// Any of the built-in decoders.
#[derive(Module, Debug)]
pub enum ImageDecoder {
    /// See [`SmallDecoder`].
    Small(SmallDecoder),
    /// See [`BigDecoder`].
    Big(BigDecoder),
    /// See [`MlpDecoder`].
    Mlp(MlpDecoder),
    /// See [`ConvDecoder`].
    Conv(ConvDecoder),
}

impl DecoderNet for ImageDecoder {
    fn forward(&self, z: Tensor<2>) -> Tensor<4> {
        match self {
            Self::Small(net) => net.forward(z),
            Self::Big(net) => net.forward(z),
            Self::Mlp(net) => net.forward(z),
            Self::Conv(net) => net.forward(z),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Purpose, stream};

    #[test]
    fn every_network_maps_images_to_codes_and_back() {
        let device = Device::flex();
        let shapes = [(1, 28, 28), (3, 16, 16), (2, 8, 8), (1, 3, 5)];
        let kinds = [
            ImageNetworkConfig::Small(SmallConfig { channels: 4 }),
            ImageNetworkConfig::Big,
            ImageNetworkConfig::Mlp(MlpConfig { width: 8, layers: 2 }),
            ImageNetworkConfig::Conv(ConvConfig { channels: 8, ..ConvConfig::default() }),
        ];
        let mut passed = 0;
        for (channels, height, width) in shapes {
            let shape = ImageShape { channels, height, width };
            for kind in &kinds {
                if kind.validate(Some(shape)).is_err() {
                    continue;
                }
                let mut weights = stream(0, Purpose::Init, 0);
                let encoder = kind.encoder(shape, 6, &device, &mut weights);
                let decoder = kind.decoder(3, 2 * channels, shape, &device, &mut weights);
                let image = Tensor::ones([2, channels, height, width], &device);
                assert_eq!(encoder.forward(image).dims(), [2, 6], "{kind:?} of {shape}");
                let z = Tensor::ones([2, 3], &device);
                assert_eq!(decoder.forward(z).dims(), [2, 2 * channels, height, width], "{kind:?} of {shape}");
                passed += 1;
            }
        }
        assert_eq!(passed, 12, "all but big at 28 x 28 and all but mlp at 3 x 5");
    }

    #[test]
    fn misfits_name_the_key() {
        let shape = ImageShape { channels: 1, height: 28, width: 28 };
        let problem = ImageNetworkConfig::Big.validate(Some(shape)).expect_err("28 is no power of two").to_string();
        assert!(problem.starts_with("kind = big"), "{problem}");
        let config = ImageNetworkConfig::Conv(ConvConfig { levels: 3, ..ConvConfig::default() });
        assert!(
            config.validate(Some(shape)).expect_err("28 is halved twice only").to_string().contains("multiples of 8")
        );
    }
}
