//! AEF on a partition of the image: exact maximum likelihood.
//!
//! ```text
//! r = rotation(h);  c, s = core and shell of r          c' = g(c)
//! z = mu_z(s) + sigma_z(s) c'                           z0 = f(z)
//! delta = (s - mu_d(z)) / sigma_d(z)
//! log p(x) = log N(z0; 0, I_d) + log N(delta; 0, I_{n-d}) + log |det|
//! log |det| = ladj g(c) + sum log sigma_z - sum log sigma_d + ladj f(z) + ladj of rotation and preprocessing
//! ```
//!
//! with the core flow g and the prior flow f, both data to base, and scales that include their epsilon. Every line is
//! invertible, so the model is a normalising flow: the encoder does not depend on the core, nor the decoder on the
//! shell (Silvestri, Roos, Ambrogioni 2023, arXiv:2205.09546). In the published models the rotation is the identity,
//! and core and shell are pixels; with a learned rotation or a wavelet transform, the core holds the directions of
//! largest variance, or the local averages.
//!
//! # Examples
//! The base variable and the deviations determine the latent and the image.
//! ```
//! use pushforward::aef::config::AefConfig;
//! use pushforward::aef::{AefModel, ImageShape};
//! use pushforward::bijector::Bijector;
//! use pushforward::burn::tensor::{Device, Tensor};
//! use pushforward::rng::{Purpose, stream};
//! use pushforward::tensor::to_host;
//!
//! let text = "variant = 'corner'\nlatent = 2\nnetwork = { kind = 'mlp', width = 8 }\n\
//!     core = { kind = 'none' }\nprior = { kind = 'maf', layers = 1, hidden = 8 }";
//! let config: AefConfig = toml::from_str(text)?;
//! let shape = ImageShape { channels: 1, height: 2, width: 3 };
//! let mut model = config.init(shape, &Device::flex(), &mut stream(0, Purpose::Init, 0));
//! model.assume_initialised();
//! let AefModel::Partition(aef) = &model else { unreachable!("a corner is a partition") };
//! let x = Tensor::<2>::from_data([[0.2f32, 0.4, 0.6, 0.9, 0.5, 0.3]], &Device::flex());
//! let encoding = aef.encode(&model.prepare(x.clone()));
//! assert_eq!(encoding.deviations.dims(), [1, 6 - 2]);
//! let z = aef.prior.inverse_and_ladj(encoding.z0).0;
//! assert!(to_host(&(aef.decode(z, Some(encoding.deviations)) - x)).iter().all(|error| error.abs() < 1e-3));
//! # Ok::<(), toml::de::Error>(())
//! ```

use burn::module::Module;
use burn::tensor::Tensor;

use super::encoder::Encoder;
use super::gaussian::{log_standard, row_sum};
use super::mask::CoreShell;
use super::network::{DecoderNet, EncoderNet};
use super::output::{Decoder, Output};
use super::preprocessing::{Prepared, Preprocessing};
use super::principal::principal_axes;
use super::prior::LatentMap;
use crate::bijector::{Bijector, Flow, FlowStep, Transform};
use crate::rng::{Purpose, stream};
use crate::tensor::{from_host, vector};
use crate::transport::density::Density;

/// Number of antithetic pairs of deviations over which a mean image is averaged.
const MEAN_PAIRS: u64 = 8;

/// AEF on a partition of the image.
#[derive(Module, Debug)]
pub struct PartitionModel<E: Module, D: Module> {
    /// Data to `h`.
    pub preprocessing: Preprocessing,
    /// `h` to the coordinates that are split into core and shell.
    pub rotation: Flow,
    /// Shell to mean and scale of the latent.
    pub encoder: Encoder<E>,
    /// Latent to mean and scale of the shell.
    pub decoder: Decoder<D>,
    /// Core flow `g`.
    pub core: Flow,
    /// Prior flow `f`, on the latent.
    pub prior: Flow,
    /// Flow map from noise to the base variable of `f`, if the prior is one.
    pub map: Option<LatentMap>,
    #[module(skip)]
    split: CoreShell,
}

/// Encoded images, and their log-densities.
#[derive(Clone, Debug)]
pub struct Encoding {
    /// Latent, `[batch, d]`.
    pub z: Tensor<2>,
    /// Base variable of the latent, `[batch, d]`.
    pub z0: Tensor<2>,
    /// Standardised residuals of the shell, `[batch, n - d]`.
    pub deviations: Tensor<2>,
    /// `log p(x)` in nats, `[batch]`.
    pub log_density: Tensor<1>,
    /// `log |det dz/dc|`, `[batch]`.
    pub log_volume: Tensor<1>,
    /// Smallest scale of the decoder, `[batch]`.
    pub smallest_scale: Tensor<1>,
}

/// What is left of images once the law of `u = f(z)` is known.
pub(super) struct Parts {
    pub(super) z: Tensor<2>,
    /// Base variable of the prior flow.
    pub(super) u: Tensor<2>,
    pub(super) deviations: Tensor<2>,
    /// `log p(x) - log p(u)`, `[batch]`.
    pub(super) rest: Tensor<1>,
    pub(super) log_volume: Tensor<1>,
    pub(super) smallest_scale: Tensor<1>,
}

impl<E: EncoderNet, D: DecoderNet> PartitionModel<E, D> {
    /// A model of the given parts. The decoder must have a Gaussian output; the model panics in use otherwise.
    pub fn new(
        preprocessing: Preprocessing,
        rotation: Flow,
        split: CoreShell,
        (encoder, decoder): (Encoder<E>, Decoder<D>),
        core: Flow,
        prior: Flow,
    ) -> Self {
        Self { preprocessing, rotation, encoder, decoder, core, prior, map: None, split }
    }

    /// The same with a flow map as the law of the base variable of the prior flow.
    pub(super) fn with_map(self, map: Option<LatentMap>) -> Self {
        Self { map, ..self }
    }

    /// All of `base` but the prior, with the prior of this model.
    pub(super) fn built_on(self, base: Self) -> Self {
        Self { prior: self.prior, map: self.map, ..base }
    }

    /// The same without gradients of all but the prior.
    pub(super) fn frozen(self) -> Self {
        Self {
            preprocessing: self.preprocessing.no_grad(),
            rotation: self.rotation.no_grad(),
            encoder: self.encoder.no_grad(),
            decoder: self.decoder.no_grad(),
            core: self.core.no_grad(),
            ..self
        }
    }

    /// The split into core and shell, in the coordinates after the rotation.
    pub fn split(&self) -> &CoreShell {
        &self.split
    }

    /// Data to base; with a flow map as the prior by [`Density::default`], without gradients.
    pub fn encode(&self, images: &Prepared) -> Encoding {
        let Parts { z, u, deviations, rest, log_volume, smallest_scale } = self.parts(images);
        let (z0, log_density) = match &self.map {
            None => (u.clone(), rest + log_standard(u)),
            Some(map) => {
                let found = map.log_densities(u.clone(), Density::default(), 0, 0);
                (map.to_base(u), rest.clone() + vector(&found.values, &rest))
            }
        };
        Encoding { z, z0, deviations, log_density, log_volume, smallest_scale }
    }

    /// Data to the base variable of the prior flow.
    pub(super) fn parts(&self, images: &Prepared) -> Parts {
        let (shell, z, rotated, log_volume) = self.latent(images.h.clone());
        let (u, prior_ladj) = self.prior.forward_and_ladj(z.clone());
        let (mean, scale) = self.decode_shell(z.clone());
        let deviations = (shell - mean) / scale.clone();
        let rest = log_standard(deviations.clone()) + log_volume.clone() - row_sum(scale.clone().log())
            + prior_ladj
            + rotated
            + images.ladj.clone();
        let smallest_scale = scale.min_dim(1).squeeze_dim(1);
        Parts { z, u, deviations, rest, log_volume, smallest_scale }
    }

    /// Shell, latent, `log |det|` of the rotation, and `log |det dz/dc|`.
    fn latent(&self, h: Tensor<2>) -> (Tensor<2>, Tensor<2>, Tensor<1>, Tensor<1>) {
        let (r, rotated) = self.rotation.forward_and_ladj(h);
        let (core, shell) = (self.split.core(r.clone()), self.split.shell(r));
        let (core, core_ladj) = self.core.forward_and_ladj(core);
        let (mean, scale) = self.encode_shell(shell.clone());
        let z = mean + scale.clone() * core;
        (shell, z, rotated, core_ladj + row_sum(scale.log()))
    }

    /// Sets the data-dependent initial parameters of the prior from one batch `[batch, n]`.
    pub(super) fn initialise_prior(&mut self, x: Tensor<2>) {
        let z = self.latent(self.preprocessing.forward(x).h).1;
        self.prior.initialise(z);
    }

    /// Images of latents and deviations. Without deviations: if there is no rotation, the image at `delta = 0`; with a
    /// rotation, an estimate of the mean image `E[x | z]` over a fixed set of deviations.
    ///
    /// The image at `delta = 0` is not useful after a rotation: the core is a large part of the image, and the encoder
    /// was not trained on shells without deviations.
    ///
    /// # Shapes
    /// - `z`: `[batch, d]`
    /// - `deviations`: `[batch, n - d]`
    /// - output: `[batch, n]`
    pub fn decode(&self, z: Tensor<2>, deviations: Option<Tensor<2>>) -> Tensor<2> {
        let (mean, scale) = self.decode_shell(z.clone());
        let image = |shell: Tensor<2>| {
            let (mean, scale) = self.encode_shell(shell.clone());
            let core = self.core.inverse_and_ladj((z.clone() - mean) / scale).0;
            self.preprocessing.inverse(self.unrotate(self.split.join(core, shell)))
        };
        if let Some(deviations) = deviations {
            return image(mean + scale * deviations);
        }
        if self.rotation.steps.is_empty() {
            return image(mean);
        }
        let [_, n] = mean.dims();
        (0..MEAN_PAIRS)
            .map(|pair| {
                let mut noise = stream(0, Purpose::Deviation, pair);
                let deviations: Vec<f64> = (0..n).map(|_| noise.normal()).collect();
                let moved = scale.clone() * from_host(&deviations, [1, n], &mean);
                image(mean.clone() + moved.clone()) + image(mean.clone() - moved)
            })
            .reduce(Tensor::add)
            .expect("there are pairs")
            / (2 * MEAN_PAIRS) as f64
    }

    /// Sets all data-dependent initial parameters from one batch `[batch, n]`; a learned rotation is set to its
    /// principal components.
    pub fn initialise(&mut self, x: Tensor<2>) {
        let h = self.preprocessing.initialise(x);
        if let [FlowStep { transform: Transform::Orthogonal(rotation), .. }] = self.rotation.steps.as_mut_slice() {
            let reflections = rotation.vectors.dims()[0];
            rotation.align(&principal_axes(&h, reflections));
        }
        let r = self.rotation.initialise(h);
        let (core, shell) = (self.split.core(r.clone()), self.split.shell(r));
        let core = self.core.initialise(core);
        let (mean, scale) = self.encode_shell(shell);
        self.prior.initialise(mean + scale * core);
    }

    /// Marks data-dependent parameters as initialised, after they were loaded.
    pub fn assume_initialised(&mut self) {
        self.preprocessing.assume_initialised();
        for flow in [&mut self.rotation, &mut self.core, &mut self.prior] {
            flow.assume_initialised();
        }
    }

    fn encode_shell(&self, shell: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        self.encoder.forward(self.unrotate(self.split.embed(shell)))
    }

    fn decode_shell(&self, z: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        let Output::Gaussian { mean, scale } = self.decoder.forward(z) else {
            panic!("a partition needs a Gaussian output: mixtures have no deviations");
        };
        // The decoder's mean is an image before the rotation; its scales are those of the coordinates after the
        // rotation.
        let mean = if self.rotation.steps.is_empty() { mean } else { self.rotation.forward_and_ladj(mean).0 };
        (self.split.shell(mean), self.split.shell(scale))
    }

    fn unrotate(&self, r: Tensor<2>) -> Tensor<2> {
        if self.rotation.steps.is_empty() { r } else { self.rotation.inverse_and_ladj(r).0 }
    }
}
