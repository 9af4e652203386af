//! Latent-variable models: AEF on an expansion, noise-AEF, VAE, VAE with inverse autoregressive flow, IWAE.
//!
//! ```text
//! generation    z0 ~ N(0, I),  z = f^-1(z0),  x ~ p(x | z)
//! expansion     w = W h + b + s xi,   w' = g(w),   z = mu(h) + sigma(h) w'
//! posterior     z = q^-1(mu(h) + sigma(h) xi)
//! ```
//!
//! with a prior flow f (data to base), noise `xi ~ N(0, I)`, a core flow g or a posterior flow q (latent to noise). The
//! generative model is the same in all of them; they differ in the recognition model and in the objective, which is
//! maximised:
//!
//! ```text
//! linear (s = 0)   L_ext = log p(x | z) + log p(z) + log |det dz/dw|          not a likelihood: unbounded above
//! noise (s > 0)    E [L_ext] + d/2 log(2 pi e s^2)  <= log p(x)
//! VAE              E [log p(x | z) + log p(z) - log q(z | x)]  <= log p(x)
//! IWAE             E log 1/K sum_k p(x, z_k) / q(z_k | x)  <= log p(x)
//! ```
//!
//! As s goes to 0, noise-AEF tends to the linear model, except for the constant `d/2 log(2 pi e s^2)`, which the latter
//! drops.
//!
//! References: Silvestri, Roos, Ambrogioni 2023, arXiv:2205.09546; Kingma, Welling 2014, arXiv:1312.6114; Kingma et al.
//! 2016, arXiv:1606.04934; Burda, Grosse, Salakhutdinov 2016, arXiv:1509.00519.
//!
//! # Examples
//! Decoding the code of an image with its deviations gives back the image.
//! ```
//! use pushforward::aef::config::AefConfig;
//! use pushforward::aef::{AefModel, ImageShape};
//! use pushforward::burn::tensor::{Device, Tensor};
//! use pushforward::rng::{Purpose, stream};
//! use pushforward::tensor::{scalar, to_host};
//!
//! let text = "variant = 'vae'\nlatent = 2\nnetwork = { kind = 'mlp', width = 8 }\nprior = { kind = 'none' }";
//! let config: AefConfig = toml::from_str(text)?;
//! let shape = ImageShape { channels: 1, height: 2, width: 2 };
//! let mut model = config.init(shape, &Device::flex(), &mut stream(0, Purpose::Init, 0));
//! model.assume_initialised();
//! let AefModel::Latent(vae) = &model else { unreachable!("a VAE has a latent") };
//! let x = Tensor::<2>::from_data([[0.2f32, 0.4, 0.6, 0.9]], &Device::flex());
//! let images = vae.preprocessing.forward(x.clone());
//! let z = vae.code(images.h.clone());
//! let deviations = vae.deviations(&images, z.clone());
//! assert!(to_host(&(vae.decode(z, deviations) - x)).iter().all(|error| error.abs() < 1e-4));
//!
//! // The bound from its parts, for one draw of the noise.
//! let xi = Tensor::<2>::from_data([[0.3f32, -1.2]], &Device::flex());
//! let draw = vae.draw(vae.latent_distribution(images.h.clone()), xi.clone(), vae.noise());
//! let joint = vae.decoder.forward(draw.z.clone()).log_density(&images) + vae.log_prior(draw.z.clone());
//! let bound = joint - vae.log_recognition(&draw, xi.clone(), vae.noise());
//! assert!((scalar(&vae.bound(&images, xi).value) - scalar(&bound)).abs() < 1e-4);
//! # Ok::<(), toml::de::Error>(())
//! ```

use burn::module::Module;
use burn::tensor::Tensor;

use super::encoder::Encoder;
use super::gaussian::{LN_2PI, log_standard, row_sum};
use super::network::{DecoderNet, EncoderNet};
use super::output::{Decoder, Output};
use super::preprocessing::{Prepared, Preprocessing};
use super::prior::LatentMap;
use super::rows::repeat_rows;
use crate::bijector::{Bijector, Flow};
use crate::nn::linear::Linear;
use crate::tensor::{to_host, vector};
use crate::transport::density::Density;

/// A latent-variable model.
#[derive(Module, Debug)]
pub struct LatentModel<E: Module, D: Module> {
    /// Data to `h`.
    pub preprocessing: Preprocessing,
    /// `h` to mean and scale of the latent.
    pub encoder: Encoder<E>,
    /// Latent to the distribution of the image.
    pub decoder: Decoder<D>,
    /// Recognition model: latent given the image and noise.
    pub recognition: Recognition,
    /// Prior flow `f`, on the latent.
    pub prior: Flow,
    /// Flow map from noise to the base variable of `f`, if the prior is one.
    pub map: Option<LatentMap>,
    /// Number of draws in the training objective.
    #[module(skip)]
    draws: usize,
}

/// Recognition model: the distribution of the latent given the image.
#[derive(Module, Debug)]
pub enum Recognition {
    /// A linear core, with noise of a fixed scale or without noise.
    Expansion(Expansion),
    /// A Gaussian followed by the inverse of a posterior flow `q`.
    Posterior(Flow),
}

/// The linear core of an expansion.
#[derive(Module, Debug)]
pub struct Expansion {
    /// `[n, d]`
    pub map: Linear,
    /// Core flow `g`.
    pub core: Flow,
    /// Scale s of the noise; 0 for no noise.
    #[module(skip)]
    pub noise: f64,
}

/// The encoder's output for a batch, from which latents are drawn.
#[derive(Clone, Debug)]
pub struct LatentDistribution {
    pub(super) mean: Tensor<2>,
    pub(super) scale: Tensor<2>,
    /// `W h + b` of an expansion.
    pub(super) core: Option<Tensor<2>>,
}

impl LatentDistribution {
    /// Every row repeated `times` times, the copies of a row next to each other.
    #[must_use]
    pub fn repeat(self, times: usize) -> Self {
        let rows = |x| repeat_rows(x, times);
        Self { mean: rows(self.mean), scale: rows(self.scale), core: self.core.map(rows) }
    }
}

/// A draw of the latent.
#[derive(Clone, Debug)]
pub struct Draw {
    /// Latent, `[batch, d]`.
    pub z: Tensor<2>,
    /// `log |det dz/dw|` of an expansion and `log |det dz/dxi|` of a posterior, `[batch]`.
    pub log_volume: Tensor<1>,
}

/// The training objective of every example, and diagnostics.
#[derive(Clone, Debug)]
pub struct Bound {
    /// The objective, to be maximised, in nats, `[batch]`.
    pub value: Tensor<1>,
    /// See [`Draw::log_volume`]; of the first draw.
    pub log_volume: Tensor<1>,
    /// See [`Output::smallest_scale`]; of the first draw.
    pub smallest_scale: Tensor<1>,
}

impl<E: EncoderNet, D: DecoderNet> LatentModel<E, D> {
    /// A model of the given parts. `draws` is the number of draws in the training objective, above 1 for IWAE.
    ///
    /// # Panics
    /// If `draws` is 0, or above 1 for an expansion.
    pub fn new(
        preprocessing: Preprocessing,
        (encoder, decoder): (Encoder<E>, Decoder<D>),
        recognition: Recognition,
        prior: Flow,
        draws: usize,
    ) -> Self {
        assert!(draws > 0, "the objective has at least one draw");
        assert!(
            draws == 1 || matches!(recognition, Recognition::Posterior(_)),
            "an expansion has one draw, not {draws}"
        );
        Self { preprocessing, encoder, decoder, recognition, prior, map: None, draws }
    }

    /// The same with a flow map as the law of the base variable of the prior flow.
    pub(super) fn with_map(self, map: Option<LatentMap>) -> Self {
        Self { map, ..self }
    }

    /// All of `base` but the prior, without gradients, with the prior of this model.
    pub(super) fn built_on(self, base: Self) -> Self {
        Self { prior: self.prior, map: self.map, ..base }
    }

    /// The same without gradients of all but the prior.
    pub(super) fn frozen(self) -> Self {
        Self {
            preprocessing: self.preprocessing.no_grad(),
            encoder: self.encoder.no_grad(),
            decoder: self.decoder.no_grad(),
            recognition: self.recognition.no_grad(),
            ..self
        }
    }

    /// Number of noise rows per image that [`Self::bound`] takes.
    pub fn draws(&self) -> usize {
        self.draws
    }

    /// Scale of the noise of the recognition model: s of an expansion, 1 of a posterior.
    pub fn noise(&self) -> f64 {
        match &self.recognition {
            Recognition::Expansion(expansion) => expansion.noise,
            Recognition::Posterior(_) => 1.0,
        }
    }

    /// The encoder's output.
    pub fn latent_distribution(&self, h: Tensor<2>) -> LatentDistribution {
        let core = match &self.recognition {
            Recognition::Expansion(expansion) => Some(expansion.map.forward(h.clone().into()).value),
            Recognition::Posterior(_) => None,
        };
        let (mean, scale) = self.encoder.forward(h);
        LatentDistribution { mean, scale, core }
    }

    /// The latent for noise `xi` times the scale `noise`.
    ///
    /// # Shapes
    /// - `xi`: `[batch, d]`
    pub fn draw(&self, distribution: LatentDistribution, xi: Tensor<2>, noise: f64) -> Draw {
        if let Some(map) = &self.map {
            return self.noised(map, distribution, xi, noise);
        }
        let LatentDistribution { mean, scale, core } = distribution;
        let affine = row_sum(scale.clone().log());
        match &self.recognition {
            Recognition::Expansion(expansion) => {
                let w = core.expect("the distribution of an expansion has a core") + xi * noise;
                let (w, ladj) = expansion.core.forward_and_ladj(w);
                Draw { z: mean + scale * w, log_volume: ladj + affine }
            }
            Recognition::Posterior(flow) => {
                let (z, ladj) = flow.inverse_and_ladj(mean + scale * xi * noise);
                Draw { z, log_volume: ladj + affine }
            }
        }
    }

    /// `log q(z | x)` of a draw with noise of scale `noise`, in nats.
    pub fn log_recognition(&self, draw: &Draw, xi: Tensor<2>, noise: f64) -> Tensor<1> {
        let d = xi.dims()[1] as f64;
        log_standard(xi) - draw.log_volume.clone() - d * noise.ln()
    }

    /// The code of an image: the latent at noise zero.
    pub fn code(&self, h: Tensor<2>) -> Tensor<2> {
        let distribution = self.latent_distribution(h);
        let xi = distribution.mean.zeros_like();
        self.draw(distribution, xi, 0.0).z
    }

    /// `log p(z)` in nats; of a flow map as the prior that of [`Density::default`], without gradients.
    pub fn log_prior(&self, z: Tensor<2>) -> Tensor<1> {
        if self.map.is_some() {
            return vector(&self.log_priors(z.clone(), Density::default(), 0), &z);
        }
        let (z0, ladj) = self.prior.forward_and_ladj(z);
        log_standard(z0) + ladj
    }

    /// `log p(z)` on the host; `density` is read by a flow map as the prior.
    pub(super) fn log_priors(&self, z: Tensor<2>, density: Density, seed: u64) -> Vec<f64> {
        let Some(map) = &self.map else { return to_host(&self.log_prior(z)) };
        let (u, ladj) = self.prior.forward_and_ladj(z);
        let prior = map.log_densities(u, density, seed, 0).values;
        to_host(&ladj).into_iter().zip(prior).map(|(ladj, prior)| ladj + prior).collect()
    }

    /// The objective, one value per image, unless the prior is a flow map, see [`path`](super::path).
    ///
    /// # Shapes
    /// - `xi`: `[batch * draws, d]`, the draws of an image next to each other; its values have no effect without noise
    ///
    /// # Panics
    /// If the prior is a flow map.
    pub fn bound(&self, images: &Prepared, xi: Tensor<2>) -> Bound {
        assert!(self.map.is_none(), "a flow map as the prior has no density to train by: use `AefObjective`");
        let (k, noise) = (self.draws, self.noise());
        let [batch, d] = [images.h.dims()[0], xi.dims()[1]];
        let draw = self.draw(self.latent_distribution(images.h.clone()).repeat(k), xi.clone(), noise);
        let output = self.decoder.forward(draw.z.clone());
        let joint = output.log_density(&repeat_images(images, k)) + self.log_prior(draw.z.clone());
        let value = match &self.recognition {
            // The entropy of the noise in closed form, in place of a Monte Carlo estimate.
            Recognition::Expansion(_) if noise > 0.0 => {
                joint + draw.log_volume.clone() + 0.5 * d as f64 * (LN_2PI + 1.0 + 2.0 * noise.ln())
            }
            Recognition::Expansion(_) => joint + draw.log_volume.clone(),
            Recognition::Posterior(_) => joint - self.log_recognition(&draw, xi, noise),
        };
        let first = |x: Tensor<1>| x.reshape([batch, k]).narrow(1, 0, 1).reshape([batch]);
        Bound {
            value: log_mean_exp(value.reshape([batch, k])),
            log_volume: first(draw.log_volume),
            smallest_scale: first(output.smallest_scale()),
        }
    }

    /// Images of latents and deviations; without deviations, the images at the mean of the output distribution.
    ///
    /// # Shapes
    /// - `z`: `[batch, d]`
    /// - `deviations`: `[batch, n]`, standard normal numbers
    /// - output: `[batch, n]`
    pub fn decode(&self, z: Tensor<2>, deviations: Option<Tensor<2>>) -> Tensor<2> {
        match (self.decoder.forward(z), deviations) {
            (Output::Gaussian { mean, scale }, Some(d)) => self.preprocessing.inverse(mean + scale * d),
            (Output::Gaussian { mean, .. }, None) => self.preprocessing.inverse(mean),
            (Output::Logistics(mixture), None) => mixture.mean(),
            (Output::Logistics(mixture), Some(d)) => {
                // Standard normal numbers to uniform ones.
                mixture.quantile(((d * std::f64::consts::FRAC_1_SQRT_2).erf() + 1.0) * 0.5)
            }
        }
    }

    /// Standardised residuals of images given their latents; `None` for a mixture of logistics.
    pub fn deviations(&self, images: &Prepared, z: Tensor<2>) -> Option<Tensor<2>> {
        match self.decoder.forward(z) {
            Output::Gaussian { mean, scale } => Some((images.h.clone() - mean) / scale),
            Output::Logistics(_) => None,
        }
    }

    /// Sets all data-dependent initial parameters from a batch `x`, `[batch, n]`, with noise `xi`, `[batch, d]`.
    pub fn initialise(&mut self, x: Tensor<2>, xi: Tensor<2>) {
        let h = self.preprocessing.initialise(x);
        let LatentDistribution { mean, scale, core } = self.latent_distribution(h);
        let z = match &mut self.recognition {
            Recognition::Expansion(expansion) => {
                let noise = if self.map.is_some() { 0.0 } else { expansion.noise };
                let w = core.expect("the distribution of an expansion has a core") + xi * noise;
                mean + scale * expansion.core.initialise(w)
            }
            Recognition::Posterior(flow) => flow.initialise_inverse(mean + scale * xi),
        };
        self.prior.initialise(z);
    }

    /// Marks data-dependent parameters as initialised, after they were loaded.
    pub fn assume_initialised(&mut self) {
        self.preprocessing.assume_initialised();
        self.prior.assume_initialised();
        match &mut self.recognition {
            Recognition::Expansion(expansion) => expansion.core.assume_initialised(),
            Recognition::Posterior(flow) => flow.assume_initialised(),
        }
    }
}

/// Every image repeated `times` times, the copies of an image next to each other.
pub(super) fn repeat_images(images: &Prepared, times: usize) -> Prepared {
    let batch = images.ladj.dims()[0];
    let ladj = repeat_rows(images.ladj.clone().reshape([batch, 1]), times);
    Prepared {
        x: repeat_rows(images.x.clone(), times),
        h: repeat_rows(images.h.clone(), times),
        ladj: ladj.reshape([batch * times]),
    }
}

/// `log 1/K sum_k e^(x_k)` of every row.
fn log_mean_exp(x: Tensor<2>) -> Tensor<1> {
    let k = x.dims()[1];
    if k == 1 {
        return x.squeeze_dim(1);
    }
    let top = x.clone().detach().max_dim(1);
    ((x - top.clone()).exp().mean_dim(1).log() + top).squeeze_dim(1)
}
