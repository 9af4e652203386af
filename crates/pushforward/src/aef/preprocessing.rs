//! Preprocessing: from pixels to the space of the model, and back.
//!
//! ```text
//! a = alpha + (1 - 2 alpha) x      y = log a - log(1 - a)      h = (y - shift_c) / (exp(log_scale_c) + 1e-5)
//! ```
//!
//! with one shift and scale per channel, set from the first batch (Silvestri, Roos, Ambrogioni 2023, arXiv:2205.09546;
//! for the logit, Dinh, Sohl-Dickstein, Bengio 2017, arXiv:1605.08803).
//!
//! # Examples
//! ```
//! use pushforward::aef::ImageShape;
//! use pushforward::aef::preprocessing::Preprocessing;
//! use pushforward::burn::tensor::{Device, Tensor};
//! use pushforward::tensor::{scalar, to_host};
//!
//! let shape = ImageShape { channels: 1, height: 1, width: 3 };
//! let x = Tensor::<2>::from_data([[0.1f32, 0.5, 0.7]], &Device::flex());
//! let mut preprocessing = Preprocessing::init(1e-6, shape, &Device::flex());
//! let h = preprocessing.initialise(x.clone());
//! assert!(scalar(&h.clone().mean()).abs() < 1e-5);
//! assert!(to_host(&(preprocessing.inverse(h) - x)).iter().all(|error| error.abs() < 1e-5));
//! ```

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::ImageShape;
use crate::bijector::{ActNorm, Bijector, Logit};

/// The preprocessing maps.
#[derive(Module, Debug)]
pub struct Preprocessing {
    /// Logit of the shrunk unit interval.
    pub logit: Logit,
    /// Shift and scale of every channel.
    pub norm: ActNorm,
}

/// Images in data space and in the space of the model.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// Images in data space, `[batch, n]`.
    pub x: Tensor<2>,
    /// Images in the space of the model, `[batch, n]`.
    pub h: Tensor<2>,
    /// `log |det dh/dx|`, `[batch]`.
    pub ladj: Tensor<1>,
}

impl Preprocessing {
    /// Preprocessing that is to be [initialised](Self::initialise) with a batch; `alpha` as in [`Logit::new`].
    ///
    /// # Panics
    /// If `alpha` is not in `[0, 0.5)`, or the images have no channels.
    pub fn init(alpha: f64, shape: ImageShape, device: &Device) -> Self {
        Self { logit: Logit::new(alpha), norm: ActNorm::init(shape.channels, device) }
    }

    /// Sets shift and scale so that `h` has mean 0 and standard deviation 1 on this batch in every channel; returns
    /// `h`.
    pub fn initialise(&mut self, x: Tensor<2>) -> Tensor<2> {
        let y = self.logit.forward_and_ladj(x).0;
        self.norm.initialise_from(&y, false);
        self.norm.forward_and_ladj(y).0.detach()
    }

    /// Marks shift and scale as initialised, after they were loaded.
    pub fn assume_initialised(&mut self) {
        self.norm.assume_initialised();
    }

    /// Data space to the space of the model.
    pub fn forward(&self, x: Tensor<2>) -> Prepared {
        let (y, squeezed) = self.logit.forward_and_ladj(x.clone());
        let (h, scaled) = self.norm.forward_and_ladj(y);
        Prepared { x, h, ladj: squeezed + scaled }
    }

    /// Space of the model to data space.
    pub fn inverse(&self, h: Tensor<2>) -> Tensor<2> {
        self.logit.inverse_and_ladj(self.norm.inverse_and_ladj(h).0).0
    }
}
