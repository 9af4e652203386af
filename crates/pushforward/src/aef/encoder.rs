//! The encoder: from an image to the mean and scale of its latent.
//!
//! # Examples
//! ```
//! use pushforward::aef::ImageShape;
//! use pushforward::aef::config::AEF_EPSILON;
//! use pushforward::aef::encoder::{Encoder, ScaleConfig};
//! use pushforward::aef::network::{ImageNetworkConfig, ImageNetworks, MlpConfig};
//! use pushforward::burn::tensor::{Device, Tensor};
//! use pushforward::rng::{Purpose, stream};
//! use pushforward::tensor::to_host;
//!
//! let (shape, device) = (ImageShape { channels: 1, height: 3, width: 3 }, Device::flex());
//! let config = ImageNetworkConfig::Mlp(MlpConfig { width: 8, layers: 1 });
//! let net = config.encoder(shape, 2 * 2, &device, &mut stream(0, Purpose::Init, 0));
//! let encoder = Encoder::new(net, ScaleConfig::Bounded { limit: 0.5 }, AEF_EPSILON, shape);
//! let (mean, scale) = encoder.forward(Tensor::full([1, 9], 100.0, &device));
//! assert_eq!((mean.dims(), scale.dims()), ([1, 2], [1, 2]));
//! assert!(to_host(&scale).iter().all(|s| s.ln().abs() <= 0.5 + 1e-6));
//! ```

use burn::module::Module;
use burn::tensor::{Tensor, activation};
use serde::{Deserialize, Serialize};

use super::ImageShape;
use super::network::EncoderNet;
use crate::setting::{SettingError, positive};

/// Parametrisation of the encoder's scale by the network's output `a`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum ScaleConfig {
    /// `softplus(a) + eps`, as published; unbounded.
    #[default]
    Softplus,
    /// `exp(m tanh(a / m))`, between `e^-m` and `e^m`.
    Bounded {
        /// Largest absolute logarithm of the scale, `m`.
        #[serde(default = "three")]
        limit: f64,
    },
}

fn three() -> f64 {
    3.0
}

impl ScaleConfig {
    /// Checks the setting.
    ///
    /// # Errors
    /// Names the setting if it is out of range.
    pub fn validate(&self) -> Result<(), SettingError> {
        match *self {
            Self::Bounded { limit } => positive("limit", limit),
            Self::Softplus => Ok(()),
        }
    }
}

/// A network from images to the mean and scale of the latent.
#[derive(Module, Debug)]
pub struct Encoder<E: Module> {
    /// Network with `2 d` outputs: means, then the numbers `a` of the scales.
    pub net: E,
    #[module(skip)]
    scale: ScaleConfig,
    #[module(skip)]
    epsilon: f64,
    #[module(skip)]
    shape: ImageShape,
}

impl<E: EncoderNet> Encoder<E> {
    /// An encoder with a network of `2 d` outputs.
    pub fn new(net: E, scale: ScaleConfig, epsilon: f64, shape: ImageShape) -> Self {
        Self { net, scale, epsilon, shape }
    }

    /// Mean and scale of the latent.
    ///
    /// # Shapes
    /// - `h`: `[batch, n]`
    /// - outputs: `[batch, d]`
    pub fn forward(&self, h: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        let ImageShape { channels, height, width } = self.shape;
        let [batch, _] = h.dims();
        let out = self.net.forward(h.reshape([batch, channels, height, width]));
        let d = out.dims()[1] / 2;
        let raw = out.clone().narrow(1, d, d);
        let scale = match self.scale {
            ScaleConfig::Softplus => activation::softplus(raw, 1.0) + self.epsilon,
            ScaleConfig::Bounded { limit } => ((raw * (1.0 / limit)).tanh() * limit).exp(),
        };
        (out.narrow(1, 0, d), scale)
    }
}
