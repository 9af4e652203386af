//! Fully connected networks, for images of any size.
//!
//! ```text
//! h = SiLU(W h + b)   `layers` times, then a linear map
//! ```

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::super::ImageShape;
use super::{DecoderNet, EncoderNet};
use crate::dual::Dual;
use crate::nn::linear::{Linear, LinearConfig};
use crate::rng::Stream;
use crate::setting::{DEPTH, SettingError, WIDTH, size};

/// Settings of the fully connected networks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MlpConfig {
    /// Width of the hidden layers.
    pub width: usize,
    /// Number of hidden layers.
    pub layers: usize,
}

impl Default for MlpConfig {
    fn default() -> Self {
        Self { width: 256, layers: 2 }
    }
}

impl MlpConfig {
    pub(super) fn validate(&self) -> Result<(), SettingError> {
        size("width", self.width, 1..=WIDTH)?;
        size("layers", self.layers, 0..=DEPTH)
    }

    fn layers(&self, inputs: usize, outputs: usize, device: &Device, stream: &mut Stream) -> Vec<Linear> {
        let widths: Vec<usize> =
            std::iter::once(inputs).chain(std::iter::repeat_n(self.width, self.layers)).chain([outputs]).collect();
        widths.windows(2).map(|w| LinearConfig::new(w[0], w[1]).init(device, stream)).collect()
    }

    pub(super) fn encoder(
        &self,
        shape: ImageShape,
        outputs: usize,
        device: &Device,
        stream: &mut Stream,
    ) -> MlpEncoder {
        MlpEncoder { layers: self.layers(shape.numel(), outputs, device, stream) }
    }

    pub(super) fn decoder(
        &self,
        latent: usize,
        maps: usize,
        shape: ImageShape,
        device: &Device,
        stream: &mut Stream,
    ) -> MlpDecoder {
        let ImageShape { height, width, .. } = shape;
        MlpDecoder { layers: self.layers(latent, maps * height * width, device, stream), end: [maps, height, width] }
    }
}

fn run(layers: &[Linear], x: Tensor<2>) -> Tensor<2> {
    let (last, hidden) = layers.split_last().expect("there is an output layer");
    let h = hidden.iter().fold(Dual::from(x), |h, layer| layer.forward(h).silu());
    last.forward(h).value
}

/// The encoder, made by [`MlpConfig`].
#[derive(Module, Debug)]
pub struct MlpEncoder {
    /// Hidden layers and the output.
    pub layers: Vec<Linear>,
}

impl EncoderNet for MlpEncoder {
    fn forward(&self, image: Tensor<4>) -> Tensor<2> {
        run(&self.layers, image.flatten::<2>(1, 3))
    }
}

/// The decoder, made by [`MlpConfig`].
#[derive(Module, Debug)]
pub struct MlpDecoder {
    /// Hidden layers and the output.
    pub layers: Vec<Linear>,
    #[module(skip)]
    end: [usize; 3],
}

impl DecoderNet for MlpDecoder {
    fn forward(&self, z: Tensor<2>) -> Tensor<4> {
        let [batch, _] = z.dims();
        let [maps, height, width] = self.end;
        run(&self.layers, z).reshape([batch, maps, height, width])
    }
}
