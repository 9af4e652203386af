//! Two baselines: the deterministic autoencoder, which has no density, and a flow on pixels, which has no
//! lower-dimensional latent.
//!
//! ```text
//! autoencoder   loss = | x - decode(encode(x)) |^2 / n, in data space
//! pixel flow    log p(x) = log N(f(h); 0, I) + ladj f(h) + ladj of preprocessing
//! ```
//!
//! # Examples
//! With the identity as its flow, pixels are logistic: at 1/2 the slope of the logit is 4.
//! ```
//! use pushforward::aef::gaussian::LN_2PI;
//! use pushforward::aef::preprocessing::Preprocessing;
//! use pushforward::aef::{ImageShape, PixelFlow};
//! use pushforward::bijector::{Flow, Transform};
//! use pushforward::burn::tensor::{Device, Tensor};
//! use pushforward::tensor::scalar;
//!
//! let shape = ImageShape { channels: 1, height: 1, width: 1 };
//! let mut model = PixelFlow {
//!     preprocessing: Preprocessing::init(1e-6, shape, &Device::flex()),
//!     flow: Flow::<Transform>::default(),
//! };
//! model.preprocessing.assume_initialised();
//! let images = model.preprocessing.forward(Tensor::full([1, 1], 0.5, &Device::flex()));
//! let log_density = scalar(&model.encode(&images).1);
//! assert!((log_density - (4f64.ln() - 0.5 * LN_2PI)).abs() < 1e-4);
//! ```

use burn::module::Module;
use burn::tensor::Tensor;

use super::ImageShape;
use super::gaussian::log_standard;
use super::network::{DecoderNet, EncoderNet};
use super::preprocessing::{Prepared, Preprocessing};
use crate::bijector::{Bijector, Flow, Transform};

/// The deterministic autoencoder.
#[derive(Module, Debug)]
pub struct Autoencoder<E: Module, D: Module> {
    /// Data to `h`.
    pub preprocessing: Preprocessing,
    /// `h` to the code.
    pub encoder: E,
    /// Code to `h`.
    pub decoder: D,
    #[module(skip)]
    shape: ImageShape,
}

impl<E: EncoderNet, D: DecoderNet> Autoencoder<E, D> {
    /// An autoencoder of the given parts.
    pub fn new(preprocessing: Preprocessing, encoder: E, decoder: D, shape: ImageShape) -> Self {
        Self { preprocessing, encoder, decoder, shape }
    }

    /// Codes of images.
    ///
    /// # Shapes
    /// - `images`: `[batch, n]`
    /// - output: `[batch, d]`
    pub fn encode(&self, images: &Prepared) -> Tensor<2> {
        let ImageShape { channels, height, width } = self.shape;
        let [batch, _] = images.h.dims();
        self.encoder.forward(images.h.clone().reshape([batch, channels, height, width]))
    }

    /// Images of codes.
    ///
    /// # Shapes
    /// - `z`: `[batch, d]`
    /// - output: `[batch, n]`, in data space
    pub fn decode(&self, z: Tensor<2>) -> Tensor<2> {
        self.preprocessing.inverse(self.decoder.forward(z).flatten::<2>(1, 3))
    }

    /// Mean squared reconstruction error of every image, in squared units of data space, `[batch]`.
    pub fn error(&self, images: &Prepared) -> Tensor<1> {
        let miss = self.decode(self.encode(images)) - images.x.clone();
        (miss.clone() * miss).mean_dim(1).squeeze_dim(1)
    }
}

/// A flow on pixels.
#[derive(Module, Debug)]
pub struct PixelFlow<T: Module = Transform> {
    /// Data to `h`.
    pub preprocessing: Preprocessing,
    /// `h` to base.
    pub flow: Flow<T>,
}

impl<T: Bijector> PixelFlow<T> {
    /// Base variable, `[batch, n]`, and `log p(x)` in nats, `[batch]`.
    pub fn encode(&self, images: &Prepared) -> (Tensor<2>, Tensor<1>) {
        let (z0, ladj) = self.flow.forward_and_ladj(images.h.clone());
        let log_density = log_standard(z0.clone()) + ladj + images.ladj.clone();
        (z0, log_density)
    }

    /// Base to data.
    pub fn decode(&self, z0: Tensor<2>) -> Tensor<2> {
        self.preprocessing.inverse(self.flow.inverse_and_ladj(z0).0)
    }
}
