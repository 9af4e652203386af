//! Trained autoencoders: sampling and log-densities.

use burn::tensor::Device;

use crate::aef::config::AefConfig;
use crate::aef::marginal::{self, LogDensities, MarginalRequest};
use crate::aef::model::DrawRequest;
use crate::aef::{AefModel, ImageShape};
use crate::flow_map::sample::TEMPERATURE;
use crate::run::preview::Preview;
use crate::run::trained::RequestError;
use crate::transport::map::Drawing;

/// A trained autoencoder within flows, or one of its baselines.
///
/// # Examples
/// The log-density of an image does not depend on the batch (here of an untrained model).
/// ```
/// use pushforward::aef::{ImageShape, config::AefConfig, marginal::MarginalRequest};
/// use pushforward::burn::tensor::Device;
/// use pushforward::rng::{Purpose, stream};
/// use pushforward::run::TrainedAef;
///
/// let text = "variant = 'center'\nlatent = 4\nnetwork = { kind = 'mlp', width = 8 }\n";
/// let (config, device): (AefConfig, _) = (toml::from_str(text)?, Device::flex());
/// let shape = ImageShape { channels: 1, height: 4, width: 4 };
/// let mut net = config.init(shape, &device, &mut stream(0, Purpose::Init, 0));
/// let pixels: Vec<f32> = (0..32).map(|i| (i as f32 + 0.5) / 32.0).collect();
/// let x = net.images(&pixels, 2);
/// net.initialise(x, config.latent, &mut stream(0, Purpose::Init, 1));
/// let model = TrainedAef { config, net, shape, device };
/// let both = model.log_densities(&pixels, 0, &MarginalRequest::default())?.values;
/// let second = model.log_densities(&pixels[16..], 1, &MarginalRequest::default())?.values;
/// assert!((both[1] - second[0]).abs() < 1e-3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct TrainedAef {
    /// Configuration.
    pub config: AefConfig,
    /// Network, without gradients.
    pub net: AefModel,
    /// Shape of the images.
    pub shape: ImageShape,
    /// Device of the weights.
    pub device: Device,
}

impl TrainedAef {
    /// Draws images in data space, `count * n` values; see [`AefModel::sample`].
    ///
    /// # Errors
    /// If the model has no prior, the temperature is negative or not finite, or `batch` or the number of evaluations is 0.
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
        let (_, most) = TEMPERATURE.into_inner();
        if !(0.0..=most).contains(&request.temperature) {
            return Err(RequestError(format!("the temperature lies in [0, {most}], found {}", request.temperature)));
        }
        if request.batch == 0 {
            return Err(RequestError("`batch`, the number of images per pass, is at least 1".into()));
        }
        if request.drawing.evaluations() == 0 {
            return Err(RequestError("a draw takes at least one network evaluation".into()));
        }
        Ok(self.net.sample(self.shape, self.config.latent, request, &self.device, progress))
    }

    /// Log-densities, in nats, of dequantised images in `[0, 1]^n`, image by image; see [`marginal::log_densities`].
    /// `first` is the index of the first image: an image's importance samples depend on its index and not on the batch.
    ///
    /// # Errors
    /// If the model has no density, or the images are not of its shape.
    pub fn log_densities(
        &self,
        pixels: &[f32],
        first: u64,
        request: &MarginalRequest,
    ) -> Result<LogDensities, RequestError> {
        let n = self.shape.numel();
        if request.draws == 0 {
            return Err(RequestError("`draws`, the number of importance samples per image, is at least 1".into()));
        }
        if pixels.is_empty() || !pixels.len().is_multiple_of(n) {
            let (shape, found) = (self.shape, pixels.len());
            return Err(RequestError(format!("images have {shape} values, and {found} are given")));
        }
        let x = self.net.images(pixels, pixels.len() / n);
        marginal::log_densities(&self.net, x, first, request)
            .ok_or_else(|| RequestError("a deterministic autoencoder has no density: use a model with one".into()))
    }
}

/// A request for a few preview images, with deviations or without.
pub fn preview_request(seed: u64, deviations: bool) -> DrawRequest {
    let count = Preview::COUNT;
    DrawRequest { count, first: 0, temperature: 1.0, deviations, seed, batch: count, drawing: Drawing::default() }
}
