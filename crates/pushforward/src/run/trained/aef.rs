//! Trained autoencoders: asked for images and log-densities.

use burn::tensor::Device;

use crate::aef::config::AefConfig;
use crate::aef::marginal::{self, LogDensities, MarginalRequest};
use crate::aef::model::DrawRequest;
use crate::aef::{AefModel, ImageShape};
use crate::run::trained::{PREVIEW_COUNT, RequestError};

/// A trained autoencoder within flows, or one of its baselines.
#[derive(Debug)]
pub struct TrainedAef {
    /// Its settings.
    pub config: AefConfig,
    /// Its weights, without gradients.
    pub net: AefModel,
    /// Its images.
    pub shape: ImageShape,
    /// Where it lies.
    pub device: Device,
}

impl TrainedAef {
    /// Draws images in data space, `count * n` values; see [`AefModel::sample`].
    ///
    /// # Errors
    /// If the model draws no images, or the request is out of range.
    pub fn draw(
        &self,
        request: &DrawRequest,
        progress: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Vec<f32>, RequestError> {
        if !self.net.generates() {
            return Err(RequestError(
                "a deterministic autoencoder has no prior to draw from: use a model with one".into(),
            ));
        }
        if !(request.temperature.is_finite() && request.temperature >= 0.0) {
            return Err(RequestError(format!("the temperature is not negative, found {}", request.temperature)));
        }
        Ok(self.net.sample(self.shape, self.config.latent, request, &self.device, progress))
    }

    /// Log-densities of dequantised images, `[0, 1]^n` image by image; see [`marginal::log_densities`]. `first` is the index of the
    /// first image, which addresses its draws.
    ///
    /// # Errors
    /// If the model has no density, or the images are not of its size.
    pub fn log_densities(
        &self,
        pixels: &[f32],
        first: u64,
        request: &MarginalRequest,
    ) -> Result<LogDensities, RequestError> {
        let n = self.shape.numel();
        if pixels.is_empty() || !pixels.len().is_multiple_of(n) {
            let (shape, found) = (self.shape, pixels.len());
            return Err(RequestError(format!("images have {shape} values, and {found} are given")));
        }
        let x = self.net.images(pixels, pixels.len() / n);
        marginal::log_densities(&self.net, x, first, request)
            .ok_or_else(|| RequestError("a deterministic autoencoder has no density: use a model with one".into()))
    }
}

/// A request for a few images to look at, with deviations or without.
pub fn preview_request(seed: u64, deviations: bool) -> DrawRequest {
    let count = PREVIEW_COUNT;
    DrawRequest { count, first: 0, temperature: 1.0, deviations, seed, batch: count }
}
