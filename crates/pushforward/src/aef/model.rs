//! Models of the family behind one door: codes, images, samples, and what can be said of a density.

use burn::module::Module;
use burn::tensor::{DType, Device, Tensor};

use super::network::{DecoderNet, EncoderNet, ImageDecoder, ImageEncoder};
use super::preprocessing::{Prepared, Preprocessing};
use super::{Autoencoder, ImageShape, LatentModel, PartitionModel, PixelFlow};
use crate::bijector::Bijector;
use crate::rng::{Purpose, Stream, stream};
use crate::tensor::from_f32;

/// A model of the family, on the built-in networks or others.
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

/// Images taken apart.
#[derive(Clone, Debug)]
pub struct Code {
    /// Latent, `[batch, d]`; of a flow on pixels the base variable.
    pub z: Tensor<2>,
    /// What the image has beyond its latent, as standard normal numbers, `[batch, m]`; absent where the model keeps nothing of it.
    pub deviations: Option<Tensor<2>>,
}

impl<E: EncoderNet, D: DecoderNet> AefModel<E, D> {
    /// Pixels in data space, image by image, in the precision and on the device of the model.
    ///
    /// # Shapes
    /// - `pixels`: `count * n` values
    /// - output: `[count, n]`
    ///
    /// # Panics
    /// If the pixels are not those of `count` images.
    pub fn images(&self, pixels: &[f32], count: usize) -> Tensor<2> {
        let n = pixels.len() / count;
        assert_eq!(pixels.len(), count * n, "{count} images of one size have a multiple of {count} pixels");
        from_f32(pixels, [count, n], &self.preprocessing().norm.shift.val())
    }

    /// Images in data space, `[batch, n]`, in both spaces of the model.
    pub fn prepare(&self, x: Tensor<2>) -> Prepared {
        self.preprocessing().forward(x)
    }

    /// The stack from pixels to the space of the model.
    pub fn preprocessing(&self) -> &Preprocessing {
        match self {
            Self::Partition(m) => &m.preprocessing,
            Self::Latent(m) => &m.preprocessing,
            Self::Autoencoder(m) => &m.preprocessing,
            Self::Flow(m) => &m.preprocessing,
        }
    }

    /// Takes images apart. A latent model answers with its code at noise zero.
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

    /// Puts images together; without deviations, the images at deviation zero.
    ///
    /// # Shapes
    /// - `z`: `[batch, d]`
    /// - `deviations`: `[batch, m]`, `m` as [`Self::deviations`] says
    /// - output: `[batch, n]`, in data space
    pub fn decode(&self, z: Tensor<2>, deviations: Option<Tensor<2>>) -> Tensor<2> {
        match self {
            Self::Partition(m) => m.decode(z, deviations),
            Self::Latent(m) => m.decode(z, deviations),
            Self::Autoencoder(m) => m.decode(z),
            Self::Flow(m) => m.decode(z),
        }
    }

    /// Latents to their base variables, standard normal under the model.
    pub fn to_base(&self, z: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Partition(m) => m.prior.forward_and_ladj(z).0,
            Self::Latent(m) => m.prior.forward_and_ladj(z).0,
            Self::Autoencoder(_) | Self::Flow(_) => z,
        }
    }

    /// Base variables to latents. Give the model without gradients: an autoregressive prior takes as many passes as the latent has
    /// coordinates.
    pub fn from_base(&self, z0: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Partition(m) => m.prior.inverse_and_ladj(z0).0,
            Self::Latent(m) => m.prior.inverse_and_ladj(z0).0,
            Self::Autoencoder(_) | Self::Flow(_) => z0,
        }
    }

    /// Numbers in the deviations of an image of `n` values and a latent of `d`.
    pub fn deviations(&self, n: usize, d: usize) -> usize {
        match self {
            Self::Partition(_) => n - d,
            Self::Latent(_) => n,
            Self::Autoencoder(_) | Self::Flow(_) => 0,
        }
    }

    /// Whether images can be drawn: all models but the autoencoder have a prior.
    pub fn generates(&self) -> bool {
        !matches!(self, Self::Autoencoder(_))
    }

    /// Sets everything that depends on data, by one batch of images `[batch, n]` and noise for its latents from the stream.
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

    /// Takes loaded parameters for initialised ones.
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

/// What to draw.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DrawRequest {
    /// Number of images.
    pub count: usize,
    /// Index of the first one; an image is the same in whatever batch it is drawn.
    pub first: u64,
    /// Scale of the base variable; 1 is the model's own law.
    pub temperature: f64,
    /// Whether deviations are drawn, as the model's law has them; mean images otherwise.
    pub deviations: bool,
    /// Seed of the noise.
    pub seed: u64,
    /// Images computed together.
    pub batch: usize,
}

impl<E: EncoderNet, D: DecoderNet> AefModel<E, D> {
    /// Draws images, `count * n` values in data space. `progress` is told the number done and answers whether to go on.
    ///
    /// # Panics
    /// If the model is an autoencoder: it has no prior.
    pub fn sample(
        &self,
        shape: ImageShape,
        latent: usize,
        request: &DrawRequest,
        device: &Device,
        progress: &mut dyn FnMut(usize) -> bool,
    ) -> Vec<f32> {
        assert!(self.generates(), "an autoencoder has no prior to draw from");
        let n = shape.numel();
        let d = if matches!(self, Self::Flow(_)) { n } else { latent };
        let m = if request.deviations { self.deviations(n, d) } else { 0 };
        let mut out = Vec::with_capacity(request.count * n);
        for start in (0..request.count).step_by(request.batch) {
            let items = request.batch.min(request.count - start);
            let (mut base, mut rest) = (Vec::with_capacity(items * d), Vec::with_capacity(items * m));
            for item in 0..items as u64 {
                let mut noise = stream(request.seed, Purpose::Sample, request.first + start as u64 + item);
                base.extend(noise.normals(d).iter().map(|&v| (f64::from(v) * request.temperature) as f32));
                rest.extend(noise.normals(m));
            }
            let like = Tensor::<1>::zeros([1], (device, DType::F32));
            let z = self.from_base(from_f32(&base, [items, d], &like));
            let deviations = (m > 0).then(|| from_f32(&rest, [items, m], &like));
            out.extend(self.decode(z, deviations).to_data().iter::<f32>());
            if !progress(start + items) {
                break;
            }
        }
        out
    }
}

/// Standard normal numbers in the precision and on the device of `like`.
pub(super) fn normals<const D: usize, const L: usize>(
    noise: &mut Stream,
    shape: [usize; D],
    like: &Tensor<L>,
) -> Tensor<D> {
    from_f32(&noise.normals(shape.iter().product()), shape, like)
}
