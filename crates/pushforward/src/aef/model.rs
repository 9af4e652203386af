//! The models of the family as one type: encoding, decoding and sampling.
//!
//! # Examples
//! An item of a sample does not depend on the batch that it is computed in.
//! ```
//! use pushforward::aef::ImageShape;
//! use pushforward::aef::config::AefConfig;
//! use pushforward::aef::model::DrawRequest;
//! use pushforward::burn::tensor::Device;
//! use pushforward::rng::{Purpose, stream};
//! use pushforward::transport::map::Drawing;
//!
//! let text = "variant = 'vae'\nlatent = 2\nnetwork = { kind = 'mlp', width = 8 }\nprior = { kind = 'none' }";
//! let config: AefConfig = toml::from_str(text)?;
//! let (shape, device) = (ImageShape { channels: 1, height: 3, width: 3 }, Device::flex());
//! let mut model = config.init(shape, &device, &mut stream(0, Purpose::Init, 0));
//! model.assume_initialised();
//! let drawing = Drawing::default(); // read by a flow map as the prior only
//! let request =
//!     DrawRequest { count: 3, first: 0, temperature: 1.0, deviations: true, seed: 0, batch: 3, drawing, choices: 1 };
//! let whole = model.sample(shape, 2, &request, &device, &mut |_| true);
//! let last = model.sample(shape, 2, &DrawRequest { count: 1, first: 2, ..request }, &device, &mut |_| true);
//! assert!(whole[2 * 9..].iter().zip(&last).all(|(a, b)| (a - b).abs() < 1e-5));
//! # Ok::<(), toml::de::Error>(())
//! ```

use burn::module::Module;
use burn::tensor::{DType, Device, Tensor};

use super::network::{DecoderNet, EncoderNet, ImageDecoder, ImageEncoder};
use super::preprocessing::{Prepared, Preprocessing};
use super::prior::LatentMap;
use super::rows::normals;
use super::{Autoencoder, ImageShape, LatentModel, PartitionModel, PixelFlow};
use crate::bijector::{Bijector, Flow};
use crate::rng::{Purpose, Stream, stream};
use crate::tensor::from_f32;
use crate::transport::map::Drawing;

/// A model of the family, on the built-in networks or your own.
#[derive(Module, Debug)]
pub enum AefModel<E: Module + EncoderNet = ImageEncoder, D: Module + DecoderNet = ImageDecoder> {
    /// AEF on a partition of the image.
    Partition(PartitionModel<E, D>),
    /// AEF on an expansion, and the VAE family.
    Latent(LatentModel<E, D>),
    /// Deterministic autoencoder.
    Autoencoder(Autoencoder<E, D>),
    /// Flow on pixels.
    Flow(PixelFlow),
}

/// Encoded images.
#[derive(Clone, Debug)]
pub struct Code {
    /// Latent, `[batch, d]`; of a flow on pixels the base variable.
    pub z: Tensor<2>,
    /// The part of the image that the latent does not determine, as standard normal numbers, `[batch, m]`; `None` for
    /// models without deviations.
    pub deviations: Option<Tensor<2>>,
}

impl<E: EncoderNet, D: DecoderNet> AefModel<E, D> {
    /// Pixels in data space as a tensor, with the dtype and device of the model.
    ///
    /// # Shapes
    /// - `pixels`: `count * n` values, image by image
    /// - output: `[count, n]`
    ///
    /// # Panics
    /// If the number of pixels is not a multiple of `count`, or `count` is 0.
    pub fn images(&self, pixels: &[f32], count: usize) -> Tensor<2> {
        assert!(count > 0, "axis 0 of the images: {} pixels are of at least 1 image, not of 0", pixels.len());
        let n = pixels.len() / count;
        assert_eq!(pixels.len(), count * n, "{count} images of one size have a multiple of {count} pixels");
        from_f32(pixels, [count, n], &self.preprocessing().norm.shift.val())
    }

    /// Images `[batch, n]` of data space, in data space and in the space of the model.
    pub fn prepare(&self, x: Tensor<2>) -> Prepared {
        self.preprocessing().forward(x)
    }

    /// The preprocessing, from data space to the space of the model.
    pub fn preprocessing(&self) -> &Preprocessing {
        match self {
            Self::Partition(m) => &m.preprocessing,
            Self::Latent(m) => &m.preprocessing,
            Self::Autoencoder(m) => &m.preprocessing,
            Self::Flow(m) => &m.preprocessing,
        }
    }

    /// Encodes images. The code of a latent-variable model is the latent at noise zero.
    ///
    /// # Shapes
    /// - `x`: `[batch, n]`
    pub fn encode(&self, x: Tensor<2>) -> Code {
        let images = self.prepare(x);
        match self {
            Self::Partition(m) => {
                let encoding = m.encode(&images);
                Code { z: encoding.z, deviations: Some(encoding.deviations) }
            }
            Self::Latent(m) => {
                let z = m.code(images.h.clone());
                Code { deviations: m.deviations(&images, z.clone()), z }
            }
            Self::Autoencoder(m) => Code { z: m.encode(&images), deviations: None },
            Self::Flow(m) => Code { z: m.encode(&images).0, deviations: None },
        }
    }

    /// Decodes images; without deviations, a representative image of every latent (see the `decode` of each model).
    ///
    /// # Shapes
    /// - `z`: `[batch, d]`
    /// - `deviations`: `[batch, m]`, with `m` from [`Self::deviations`]
    /// - output: `[batch, n]`, in data space
    pub fn decode(&self, z: Tensor<2>, deviations: Option<Tensor<2>>) -> Tensor<2> {
        match self {
            Self::Partition(m) => m.decode(z, deviations),
            Self::Latent(m) => m.decode(z, deviations),
            Self::Autoencoder(m) => m.decode(z),
            Self::Flow(m) => m.decode(z),
        }
    }

    /// Latents to their base variables, standard normal under the model; of a flow map as the prior, those of the
    /// differential equation of its diagonal.
    pub fn to_base(&self, z: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Partition(m) => to_base(&m.prior, m.map.as_ref(), z),
            Self::Latent(m) => to_base(&m.prior, m.map.as_ref(), z),
            Self::Autoencoder(_) | Self::Flow(_) => z,
        }
    }

    /// The flow map of the prior, if the prior is one.
    pub fn prior_map(&self) -> Option<&LatentMap> {
        match self {
            Self::Partition(m) => m.map.as_ref(),
            Self::Latent(m) => m.map.as_ref(),
            Self::Autoencoder(_) | Self::Flow(_) => None,
        }
    }

    /// Base variables to latents, the inverse of [`Self::to_base`]. The model should be without gradients
    /// (`module.valid()`): an autoregressive prior takes one pass per coordinate of the latent.
    pub fn from_base(&self, z0: Tensor<2>) -> Tensor<2> {
        self.latents(z0, LatentMap::from_base)
    }

    /// Latents of standard normal numbers; of a flow map as the prior with the given number of evaluations, otherwise as
    /// [`Self::from_base`].
    pub fn draw_latents(&self, z0: Tensor<2>, drawing: Drawing) -> Tensor<2> {
        self.latents(z0, |map, z0| map.draw(z0, drawing))
    }

    fn latents(&self, z0: Tensor<2>, through: impl Fn(&LatentMap, Tensor<2>) -> Tensor<2>) -> Tensor<2> {
        let base = match self.prior_map() {
            Some(map) => through(map, z0),
            None => z0,
        };
        match self {
            Self::Partition(m) => m.prior.inverse_and_ladj(base).0,
            Self::Latent(m) => m.prior.inverse_and_ladj(base).0,
            Self::Autoencoder(_) | Self::Flow(_) => base,
        }
    }

    /// Number of deviations of an image of `n` values with a latent of size `d`.
    pub fn deviations(&self, n: usize, d: usize) -> usize {
        match self {
            Self::Partition(_) => n - d,
            Self::Latent(_) => n,
            Self::Autoencoder(_) | Self::Flow(_) => 0,
        }
    }

    /// Whether images can be sampled: all models but the autoencoder have a prior.
    pub fn generates(&self) -> bool {
        !matches!(self, Self::Autoencoder(_))
    }

    /// Sets all data-dependent initial parameters from one batch of images `[batch, n]`, with noise for their latents
    /// from the stream.
    pub fn initialise(&mut self, x: Tensor<2>, latent: usize, noise: &mut Stream) {
        let [batch, _] = x.dims();
        match self {
            Self::Partition(m) => m.initialise(x),
            Self::Latent(m) => {
                let xi = normals(noise, [batch, latent], &x);
                m.initialise(x, xi);
            }
            Self::Autoencoder(m) => {
                m.preprocessing.initialise(x);
            }
            Self::Flow(m) => {
                let h = m.preprocessing.initialise(x);
                m.flow.initialise(h);
            }
        }
    }

    /// All of `base`, a model of the same settings, but its prior, with the prior of this model; the latter gets its
    /// data-dependent initial parameters from a batch of images `[batch, n]`.
    ///
    /// # Panics
    /// If the models differ in kind, or have no prior beside the rest.
    ///
    /// # Examples
    /// A flow map as the prior of a finished autoencoder.
    /// ```
    /// use pushforward::aef::ImageShape;
    /// use pushforward::aef::config::AefConfig;
    /// use pushforward::burn::tensor::Device;
    /// use pushforward::rng::{Purpose, stream};
    /// use pushforward::tensor::to_host;
    ///
    /// let text = "latent = 2\nnetwork = { kind = 'mlp', width = 8 }\nprior = { kind = ";
    /// let [first, second]: [AefConfig; 2] =
    ///     [toml::from_str(&format!("{text}'maf', hidden = 8 }}"))?, toml::from_str(&format!("{text}'flow-map' }}"))?];
    /// assert!(first.shares_with(&second));
    /// let (shape, device) = (ImageShape { channels: 1, height: 2, width: 2 }, Device::flex());
    /// let mut base = first.init(shape, &device, &mut stream(0, Purpose::Init, 0));
    /// let x = base.images(&[0.1, 0.5, 0.3, 0.8, 0.7, 0.2, 0.6, 0.4], 2);
    /// base.initialise(x.clone(), 2, &mut stream(0, Purpose::Init, 1));
    /// let code = base.encode(x.clone()).z;
    /// let model = second.init(shape, &device, &mut stream(1, Purpose::Init, 0)).built_on(base, x.clone(), 2).frozen();
    /// assert!(model.prior_map().is_some());
    /// // The code is the same but for the noise, which is now that of the path.
    /// assert!(to_host(&(model.encode(x).z - code)).iter().all(|error| error.abs() < 1e-4));
    /// # Ok::<(), toml::de::Error>(())
    /// ```
    #[must_use]
    pub fn built_on(self, base: Self, x: Tensor<2>, latent: usize) -> Self {
        match (self, base) {
            (Self::Partition(own), Self::Partition(base)) => {
                let mut model = own.built_on(base);
                model.initialise_prior(x);
                Self::Partition(model)
            }
            (Self::Latent(own), Self::Latent(base)) => {
                let mut model = own.built_on(base);
                let xi = Tensor::zeros([x.dims()[0], latent], (&x.device(), x.dtype()));
                // Everything else is initialised, and stays.
                model.initialise(x, xi);
                Self::Latent(model)
            }
            _ => panic!("an autoencoder is built on one of the same kind"),
        }
    }

    /// The same without gradients of all but the prior.
    #[must_use]
    pub fn frozen(self) -> Self {
        match self {
            Self::Partition(m) => Self::Partition(m.frozen()),
            Self::Latent(m) => Self::Latent(m.frozen()),
            other => other,
        }
    }

    /// Marks data-dependent parameters as initialised, after they were loaded.
    pub fn assume_initialised(&mut self) {
        match self {
            Self::Partition(m) => m.assume_initialised(),
            Self::Latent(m) => m.assume_initialised(),
            Self::Autoencoder(m) => m.preprocessing.assume_initialised(),
            Self::Flow(m) => {
                m.preprocessing.assume_initialised();
                m.flow.assume_initialised();
            }
        }
    }
}

/// A request for samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DrawRequest {
    /// Number of images.
    pub count: usize,
    /// Index of the first image; an image depends on its index and the seed, not on its batch.
    pub first: u64,
    /// Scale of the base variable; 1 for the model's distribution.
    pub temperature: f64,
    /// Whether to draw deviations, as in the model's distribution; otherwise images are decoded without deviations.
    pub deviations: bool,
    /// Seed of the noise.
    pub seed: u64,
    /// Number of images per pass, at least 1.
    pub batch: usize,
    /// How latents are drawn from a flow map; other priors have one way.
    pub drawing: Drawing,
    /// Every image is from the likeliest of so many draws of the latent's noise, by the head of a flow map as the prior (see
    /// [`LatentMap::likeliest`]); 1 for the model's distribution.
    pub choices: usize,
}

impl<E: EncoderNet, D: DecoderNet> AefModel<E, D> {
    /// Samples images: `count * n` values in data space, fewer if stopped early. After every pass, `progress` receives
    /// the number of images done and returns whether to continue.
    ///
    /// # Panics
    /// If the model is an autoencoder, which has no prior, `request.batch` is 0, or there are choices without a head.
    pub fn sample(
        &self,
        shape: ImageShape,
        latent: usize,
        request: &DrawRequest,
        device: &Device,
        progress: &mut dyn FnMut(usize) -> bool,
    ) -> Vec<f32> {
        assert!(self.generates(), "an autoencoder has no prior to draw from");
        assert!(request.batch > 0, "`batch`, the number of images per pass, is at least 1, found 0");
        let n = shape.numel();
        let d = if matches!(self, Self::Flow(_)) { n } else { latent };
        let m = if request.deviations { self.deviations(n, d) } else { 0 };
        let mut out = Vec::with_capacity(request.count * n);
        for start in (0..request.count).step_by(request.batch) {
            let items = request.batch.min(request.count - start);
            let (mut base, mut rest) = (Vec::with_capacity(items * d), Vec::with_capacity(items * m));
            for item in 0..items as u64 {
                let mut noise = stream(request.seed, Purpose::Sample, request.first + start as u64 + item);
                base.extend(
                    noise.normals(d * request.choices).iter().map(|&v| (f64::from(v) * request.temperature) as f32),
                );
                rest.extend(noise.normals(m));
            }
            let like = Tensor::<1>::zeros([1], (device, DType::F32));
            let base = from_f32(&base, [items * request.choices, d], &like);
            let base = match self.prior_map() {
                Some(map) if request.choices > 1 => map.likeliest(base, request.choices).expect("the prior has a head"),
                _ => base,
            };
            let z = self.draw_latents(base, request.drawing);
            let deviations = (m > 0).then(|| from_f32(&rest, [items, m], &like));
            out.extend(self.decode(z, deviations).to_data().iter::<f32>());
            if !progress(start + items) {
                break;
            }
        }
        out
    }
}

/// Latents to base variables through a prior flow and, if there is one, a flow map.
pub(super) fn to_base(prior: &Flow, map: Option<&LatentMap>, z: Tensor<2>) -> Tensor<2> {
    let base = prior.forward_and_ladj(z).0;
    map.map_or(base.clone(), |map| map.to_base(base))
}
