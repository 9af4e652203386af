//! The encoder: from an image to mean and scale of the latent.

use burn::module::Module;
use burn::tensor::{Tensor, activation};
use serde::{Deserialize, Serialize};

use super::ImageShape;
use super::network::EncoderNet;
use crate::setting::SettingError;

/// How the encoder's scale comes from the network's output `a`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum ScaleConfig {
    /// `softplus(a) + eps`, as published; nothing keeps it from growing.
    #[default]
    Softplus,
    /// `exp(m tanh(a / m))`, between `e^-m` and `e^m`.
    Bounded {
        /// The bound `m` of its logarithm.
        #[serde(default = "three")]
        limit: f64,
    },
}

fn three() -> f64 {
    3.0
}

impl ScaleConfig {
    /// Checks the bound.
    ///
    /// # Errors
    /// Names the setting.
    pub fn validate(&self) -> Result<(), SettingError> {
        match *self {
            Self::Bounded { limit } if !(limit.is_finite() && limit > 0.0) => {
                Err(SettingError::new("limit", format!("is positive, found {limit}")))
            }
            _ => Ok(()),
        }
    }
}

/// A network from images to the mean and scale of the latent.
#[derive(Module, Debug)]
pub struct Encoder<E: Module> {
    /// Puts out `2 d` numbers: means, then scales before they are made positive.
    pub net: E,
    #[module(skip)]
    scale: ScaleConfig,
    #[module(skip)]
    epsilon: f64,
    #[module(skip)]
    shape: ImageShape,
}

impl<E: EncoderNet> Encoder<E> {
    /// An encoder around a network of `2 d` outputs.
    pub fn new(net: E, scale: ScaleConfig, epsilon: f64, shape: ImageShape) -> Self {
        Self { net, scale, epsilon, shape }
    }

    /// Mean and scale.
    ///
    /// # Shapes
    /// - `h`: `[batch, n]`
    /// - output: twice `[batch, d]`
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
