//! Trained autoencoders: sampling and log-densities.

use burn::tensor::Device;

use crate::aef::config::AefConfig;
use crate::aef::marginal::{self, LogDensities, MarginalRequest};
use crate::aef::model::DrawRequest;
use crate::aef::prior::LatentMap;
use crate::aef::{AefModel, ImageShape};
use crate::data::Schema;
use crate::data::images::continuous::quantize;
use crate::flow_map::sample::{LastStep, SampleRequest, Samples, TEMPERATURE};
use crate::flow_map::steer::{Reward, SteerRequest, Steered};
use crate::nn::SiteShape;
use crate::ranks::Ranks;
use crate::rng::{Purpose, stream};
use crate::run::check::{image_schema, site_shape};
use crate::run::preview::Preview;
use crate::run::trained::latent_steer::{self, Latents, Slope, Start, drawing_of};
use crate::run::trained::rules::check_correction;
use crate::run::trained::{RequestError, SteerFailure, Steers};
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
        check_choices(request.choices, self.net.prior_map())?;
        if request.drawing.evaluations() == 0 {
            return Err(RequestError("a draw takes at least one network evaluation".into()));
        }
        Ok(self.net.sample(self.shape, self.config.latent, request, &self.device, progress))
    }

    /// Draws images as the 256 levels of their pixels, items of a [schema of images](crate::run::image_schema): mean images,
    /// or with deviations if the last step of the request draws. The grid and the sampler are those of a flow map as the prior.
    ///
    /// # Errors
    /// As [`Self::draw`], or if the request has something that only flow maps have.
    pub fn levels(
        &self,
        request: &SampleRequest,
        progress: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Samples, RequestError> {
        let drawing = drawing_of(request)?;
        check_correction(&self.schema(), request)?;
        let SampleRequest { count, first, temperature, seed, batch, last, .. } = *request;
        let deviations = last == LastStep::Draw;
        let wanted = DrawRequest { count, first, temperature, deviations, seed, batch, drawing, choices: 1 };
        let pixels = self.draw(&wanted, progress)?;
        let nfe = vec![drawing.evaluations() as u64; pixels.len() / self.shape.numel()];
        Ok(Samples { ids: levels(&pixels), endpoints: Vec::new(), sites: Latents::sites(self), nfe })
    }

    fn latent(&self) -> usize {
        if matches!(self.net, AefModel::Flow(_)) { self.shape.numel() } else { self.config.latent }
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

impl Steers for TrainedAef {
    fn plain(&self, request: &SampleRequest, progress: &mut dyn FnMut(usize) -> bool) -> Result<Samples, RequestError> {
        self.levels(request, progress)
    }

    /// Draws images of high reward: the reward of their levels tilts the law of the prior's base variable. The methods are
    /// best-of, resample and smc, which is tempered over the steps of the request.
    ///
    /// # Errors
    /// As [`Self::levels`], or if the reward fails before any sample is finished.
    ///
    /// # Examples
    /// Bright images (of an untrained model).
    /// ```
    /// use pushforward::aef::{ImageShape, config::AefConfig};
    /// use pushforward::burn::tensor::Device;
    /// use pushforward::flow_map::sample::SampleRequest;
    /// use pushforward::flow_map::steer::{Method, Reward, RewardError, SmcSettings, SteerRequest};
    /// use pushforward::rng::{Purpose, stream};
    /// use pushforward::run::{Steers, TrainedAef};
    ///
    /// struct Bright;
    /// impl Reward for Bright {
    ///     fn score(&self, ids: &[u32]) -> Result<Vec<f64>, RewardError> {
    ///         Ok(ids.chunks(16).map(|image| image.iter().map(|&level| f64::from(level) / 16.0).sum()).collect())
    ///     }
    /// }
    /// let text = "variant = 'noise'\nlatent = 2\nnetwork = { kind = 'mlp', width = 8 }\n";
    /// let (config, device): (AefConfig, _) = (toml::from_str(text)?, Device::flex());
    /// let shape = ImageShape { channels: 1, height: 4, width: 4 };
    /// let mut net = config.init(shape, &device, &mut stream(0, Purpose::Init, 0));
    /// net.assume_initialised();
    /// let model = TrainedAef { config, net, shape, device };
    /// let sample = SampleRequest { endpoints: false, ..SampleRequest::map(4, 3, 0) };
    /// let before = Bright.score(&model.levels(&sample, &mut |_| true)?.ids)?;
    /// let request = SteerRequest { sample, method: Method::Smc(SmcSettings::default()), particles: 16, keep: 1, part: None };
    /// let after = model.steer(&request, &Bright, &mut |_| true)?.rewards;
    /// assert!(after.iter().sum::<f64>() > before.iter().sum());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn steered(
        &self,
        request: &SteerRequest,
        reward: &dyn Reward,
        ranks: &Ranks,
        progress: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Steered, SteerFailure> {
        drawing_of(&request.sample)?;
        check_correction(&self.schema(), &request.sample)?;
        if !self.net.generates() {
            return Err(RequestError("a deterministic autoencoder has no prior to draw from".into()).into());
        }
        Ok(latent_steer::steer(self, request, reward, ranks, progress)?)
    }

    fn device(&self) -> &Device {
        &self.device
    }
}

/// Checks that the likeliest of several draws can be told.
pub(super) fn check_choices(choices: usize, map: Option<&LatentMap>) -> Result<(), RequestError> {
    if choices == 0 {
        return Err(RequestError("the likeliest of at least 1 draw is taken".into()));
    }
    if choices > 1 && map.is_none_or(|map| map.volume.is_none()) {
        let problem = "the likeliest of several draws needs an estimate of their density: model.prior.volume = {} with a flow \
                       map as the prior";
        return Err(RequestError(problem.into()));
    }
    Ok(())
}

impl TrainedAef {
    fn schema(&self) -> Schema {
        let ImageShape { channels, height, width } = self.shape;
        image_schema([channels, height, width])
    }
}

/// Levels of pixels.
fn levels(pixels: &[f32]) -> Vec<u32> {
    pixels.iter().map(|&x| u32::from(quantize(x))).collect()
}

impl Latents for TrainedAef {
    fn sites(&self) -> SiteShape {
        site_shape(&self.schema())
    }

    fn start(&self, request: &SampleRequest, index: u64) -> Start {
        let mut random = stream(request.seed, Purpose::Sample, index);
        let scaled = |v: f32| (f64::from(v) * request.temperature) as f32;
        Start { base: random.normals(self.latent()).into_iter().map(scaled).collect(), size: None, random }
    }

    fn decode(&self, request: &SampleRequest, drawing: Drawing, particles: &mut [Start]) -> Vec<u32> {
        let (d, n) = (self.latent(), self.shape.numel());
        let m = if request.last == LastStep::Draw { self.net.deviations(n, d) } else { 0 };
        let decode = |part: &mut [Start]| {
            let base: Vec<f32> = part.iter().flat_map(|particle| particle.base.iter().copied()).collect();
            let rest: Vec<f32> = part.iter_mut().flat_map(|particle| particle.random.normals(m)).collect();
            let z = self.net.draw_latents(self.net.images(&base, part.len()), drawing);
            let pixels = self.net.decode(z, (m > 0).then(|| self.net.images(&rest, part.len())));
            levels(&pixels.to_data().iter::<f32>().collect::<Vec<f32>>())
        };
        particles.chunks_mut(request.batch.max(1)).flat_map(decode).collect()
    }

    /// Levels are no classes with probabilities.
    fn slope(&self, _: &SampleRequest, _: Drawing, _: &[Start], _: &dyn Reward) -> Option<Slope> {
        None
    }
}

/// A request for a few preview images, with deviations or without.
pub fn preview_request(seed: u64, deviations: bool) -> DrawRequest {
    let count = Preview::COUNT;
    DrawRequest {
        count,
        first: 0,
        temperature: 1.0,
        deviations,
        seed,
        batch: count,
        drawing: Drawing::default(),
        choices: 1,
    }
}
