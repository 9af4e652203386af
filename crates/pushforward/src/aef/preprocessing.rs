//! From pixels to the space of the model and back.
//!
//! ```text
//! a = alpha + (1 - 2 alpha) x      y = log a - log(1 - a)      h = (y - shift_c) / (exp(log_scale_c) + 1e-5)
//! ```
//!
//! with one shift and scale a channel, set by the first batch (Silvestri, Roos, Ambrogioni 2023, arXiv 2205.09546; Dinh,
//! Sohl-Dickstein, Bengio 2017, arXiv 1605.08803 for the logit).

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::ImageShape;
use crate::bijector::{ActNorm, Bijector, Logit};

/// The stack, data to model.
#[derive(Module, Debug)]
pub struct Preprocessing {
    /// Squeezed logit.
    pub logit: Logit,
    /// Shift and scale of every channel.
    pub norm: ActNorm,
}

/// Images in both spaces.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// In data space, `[batch, n]`.
    pub x: Tensor<2>,
    /// In the space of the model, `[batch, n]`.
    pub h: Tensor<2>,
    /// `log |det dh/dx|`, `[batch]`.
    pub ladj: Tensor<1>,
}

impl Preprocessing {
    /// Preprocessing that has to be [initialised](Self::initialise) with a batch.
    pub fn init(alpha: f64, shape: ImageShape, device: &Device) -> Self {
        Self { logit: Logit::new(alpha), norm: ActNorm::init(shape.channels, device) }
    }

    /// Sets shift and scale so that `h` has mean 0 and deviation 1 on this batch in every channel; returns `h`.
    pub fn initialise(&mut self, x: Tensor<2>) -> Tensor<2> {
        let y = self.logit.forward_and_ladj(x).0;
        self.norm.initialise_from(&y, false);
        self.norm.forward_and_ladj(y).0.detach()
    }

    /// Takes loaded parameters for initialised ones.
    pub fn assume_initialised(&mut self) {
        self.norm.assume_initialised();
    }

    /// Data to model.
    pub fn forward(&self, x: Tensor<2>) -> Prepared {
        let (y, squeezed) = self.logit.forward_and_ladj(x.clone());
        let (h, scaled) = self.norm.forward_and_ladj(y);
        Prepared { x, h, ladj: squeezed + scaled }
    }

    /// Model to data.
    pub fn inverse(&self, h: Tensor<2>) -> Tensor<2> {
        self.logit.inverse_and_ladj(self.norm.inverse_and_ladj(h).0).0
    }
}
