//! The model: codes, laws of the sites, and the bound.

use burn::module::Module;
use burn::tensor::Tensor;

use super::network::{ItemDecoder, ItemEncoder, shape};
use crate::aef::ImageShape;
use crate::aef::gaussian::{LN_2PI, log_standard};
use crate::aef::model::to_base;
use crate::aef::network::{DecoderNet, EncoderNet};
use crate::aef::prior::{LatentMap, PathNoise};
use crate::aef::rows::normals;
use crate::bijector::{ActNorm, Bijector, Flow};
use crate::dual::log_softmax;
use crate::nn::{Linear, SiteShape};
use crate::rng::Stream;
use crate::tensor::{indices, one_hot};
use crate::transport::map::Drawing;

/// Logit of a class that a site does not have.
const CLOSED: f64 = 1e9;

/// An autoencoder of categorical data.
///
/// Items are class indices, `[batch, sites]` row by row; [`ABSENT`](crate::node_pairs::ABSENT) for sites that an item does
/// not have, which count for nothing.
#[derive(Module, Debug)]
pub struct CategoricalModel<E: Module = ItemEncoder, D: Module = ItemDecoder> {
    /// Maps of the classes to the code.
    pub encoder: E,
    /// Classes to the code, added to it: a deep network alone hardly tells items apart before training, and its output,
    /// standardised, would change from step to step.
    pub direct: Linear,
    /// Shift and scale of the code, with which it has mean 0 and variance 1 at first.
    pub standard: ActNorm,
    /// Latent to maps of logits.
    pub decoder: D,
    /// Prior flow, on the latent; the identity if the prior is a flow map.
    pub prior: Flow,
    /// The flow map, if the prior is one.
    pub map: Option<LatentMap>,
    /// Base variable to maps of logits, if there is a coupling: a decoder of one step.
    pub coupling: Option<D>,
    #[module(skip)]
    sites: SiteShape,
    #[module(skip)]
    noise: f64,
}

/// Noise of the bound.
pub(super) struct Noise {
    latent: Tensor<2>,
    path: Option<PathNoise>,
}

impl<E: EncoderNet, D: DecoderNet> CategoricalModel<E, D> {
    /// A model of the given parts.
    pub fn new(
        (encoder, direct): (E, Linear),
        standard: ActNorm,
        decoder: D,
        (prior, map): (Flow, Option<LatentMap>),
        sites: SiteShape,
        noise: f64,
    ) -> Self {
        Self { encoder, direct, standard, decoder, prior, map, coupling: None, sites, noise }
    }

    /// The same with a decoder of base variables.
    #[must_use]
    pub(super) fn with_coupling(self, coupling: Option<D>) -> Self {
        Self { coupling, ..self }
    }

    /// Encoder and decoder of `base`, and its prior if `prior`, with what else this model has.
    #[must_use]
    pub fn built_on(self, base: Self, prior: bool) -> Self {
        if prior {
            return base.with_coupling(self.coupling);
        }
        Self { prior: self.prior, map: self.map, coupling: self.coupling, ..base }
    }

    /// The same without gradients of encoder and decoder, and of the prior if `prior`.
    #[must_use]
    pub fn frozen(self, prior: bool) -> Self {
        let (flow, map) = if prior { (self.prior.no_grad(), self.map.no_grad()) } else { (self.prior, self.map) };
        Self {
            encoder: self.encoder.no_grad(),
            direct: self.direct.no_grad(),
            standard: self.standard.no_grad(),
            decoder: self.decoder.no_grad(),
            prior: flow,
            map,
            ..self
        }
    }

    /// Shape of an item.
    pub fn sites(&self) -> &SiteShape {
        &self.sites
    }

    /// Scale s of the noise on the latent.
    pub fn noise(&self) -> f64 {
        self.noise
    }

    /// One-hot vectors of items, `[batch, sites, classes]`; zeros for absent sites.
    fn vectors(&self, ids: &[u32]) -> Tensor<3> {
        let (n, like) = (self.sites.count, self.standard.shift.val());
        let ids = indices(ids, [ids.len() / n, n], &like.device());
        one_hot(ids, self.sites.classes, &like)
    }

    /// The encoder's output before it is standardised, of one-hot vectors.
    fn raw_code(&self, x: Tensor<3>) -> Tensor<2> {
        let ([batch, sites, classes], ImageShape { channels, height, width }) = (x.dims(), shape(&self.sites));
        let direct = self.direct.forward(x.clone().reshape([batch, sites * classes]).into()).value;
        self.encoder.forward(x.swap_dims(1, 2).reshape([batch, channels, height, width])) + direct
    }

    /// Codes m of items.
    ///
    /// # Shapes
    /// - `ids`: `[batch, sites]`, row by row
    /// - output: `[batch, d]`
    pub fn code(&self, ids: &[u32]) -> Tensor<2> {
        self.code_of(self.vectors(ids))
    }

    /// Codes m of one-hot vectors, zeros for sites that an item does not have.
    ///
    /// # Shapes
    /// - `x`: `[batch, sites, classes]`
    /// - output: `[batch, d]`
    pub(crate) fn code_of(&self, x: Tensor<3>) -> Tensor<2> {
        self.standard.forward_and_ladj(self.raw_code(x)).0
    }

    /// Logits of the classes of every site.
    ///
    /// # Shapes
    /// - `z`: `[batch, d]`
    /// - output: `[batch, sites, classes]`
    pub fn logits(&self, z: Tensor<2>) -> Tensor<3> {
        self.logits_by(&self.decoder, z)
    }

    /// Logits of the classes of every site given base variables, by the coupling.
    ///
    /// # Shapes
    /// - `z0`: `[batch, d]`
    /// - output: `[batch, sites, classes]`
    ///
    /// # Panics
    /// If the model has no coupling.
    pub fn one_step_logits(&self, z0: Tensor<2>) -> Tensor<3> {
        self.logits_by(self.coupling.as_ref().expect("the model has a coupling"), z0)
    }

    fn logits_by(&self, decoder: &D, z: Tensor<2>) -> Tensor<3> {
        let [batch, _] = z.dims();
        let maps = decoder.forward(z).reshape([batch, self.sites.classes, self.sites.count]);
        let logits = maps.swap_dims(1, 2);
        match self.sites.class_mask(&logits) {
            Some(open) => logits + (open - 1.0) * CLOSED,
            None => logits,
        }
    }

    /// `log p(x | z)` in nats.
    ///
    /// # Shapes
    /// - `z`: `[batch, d]`
    /// - `ids`: `[batch, sites]`, row by row
    /// - output: `[batch]`
    pub fn log_likelihood(&self, z: Tensor<2>, ids: &[u32]) -> Tensor<1> {
        self.log_probability(self.logits(z), ids)
    }

    /// `log p(x | z0)` in nats by the coupling, see [`Self::one_step_logits`].
    ///
    /// # Shapes
    /// - `z0`: `[batch, d]`
    /// - `ids`: `[batch, sites]`, row by row
    /// - output: `[batch]`
    ///
    /// # Panics
    /// If the model has no coupling.
    pub fn one_step_log_likelihood(&self, z0: Tensor<2>, ids: &[u32]) -> Tensor<1> {
        self.log_probability(self.one_step_logits(z0), ids)
    }

    fn log_probability(&self, logits: Tensor<3>, ids: &[u32]) -> Tensor<1> {
        let batch = logits.dims()[0];
        let laws = log_softmax(logits) * self.vectors(ids);
        laws.sum_dim(2).sum_dim(1).reshape([batch])
    }

    /// Latents to their base variables, standard normal under the prior; of a flow map those of the differential equation of
    /// its diagonal.
    ///
    /// # Shapes
    /// - `z`, output: `[batch, d]`
    pub fn to_base(&self, z: Tensor<2>) -> Tensor<2> {
        to_base(&self.prior, self.map.as_ref(), z)
    }

    /// The inverse of [`Self::to_base`].
    ///
    /// # Shapes
    /// - `z0`, output: `[batch, d]`
    pub fn from_base(&self, z0: Tensor<2>) -> Tensor<2> {
        match &self.map {
            Some(map) => map.from_base(z0),
            None => self.prior.inverse_and_ladj(z0).0,
        }
    }

    /// Latents of standard normal numbers; of a flow map as the prior with the given number of evaluations.
    ///
    /// # Shapes
    /// - `z0`, output: `[batch, d]`
    pub fn draw_latents(&self, z0: Tensor<2>, drawing: Drawing) -> Tensor<2> {
        match &self.map {
            Some(map) => map.draw(z0, drawing),
            None => self.prior.inverse_and_ladj(z0).0,
        }
    }

    /// Noise for `rows` items of each stream.
    pub(super) fn noise_of(&self, streams: &mut [Stream], rows: usize) -> Noise {
        let like = self.standard.shift.val();
        let d = like.dims()[0];
        let latent = streams.iter_mut().map(|stream| normals(stream, [rows, d], &like)).collect();
        let latent: Tensor<2> = Tensor::cat(latent, 0);
        let path = self.map.as_ref().map(|map| PathNoise::draw(streams, rows, map, d, &latent));
        Noise { latent, path }
    }

    /// Noised codes, and the entropy of the noise in nats.
    pub(super) fn noised(&self, ids: &[u32], noise: Noise) -> (Tensor<2>, f64) {
        let z = self.code(ids) + noise.latent * self.noise;
        let entropy = 0.5 * z.dims()[1] as f64 * (LN_2PI + 1.0 + 2.0 * self.noise.ln());
        (z, entropy)
    }

    /// `log p(x | z0)` by the coupling at the base variables of noised codes. Gradients reach the coupling alone.
    pub(super) fn coupled(&self, ids: &[u32], noise: Noise) -> Tensor<1> {
        let still = self.valid();
        let (z, _) = still.noised(ids, Noise { latent: noise.latent.inner(), path: None });
        let z0 = match &still.map {
            Some(map) => map.to_base_coarsely(z),
            None => still.to_base(z),
        };
        self.one_step_log_likelihood(Tensor::from_inner(z0), ids)
    }

    /// A lower bound of `log p(x)` for every item, `log p(x | z)`, and the codes. The gradient of the prior's term reaches
    /// the encoder with the factor `share`; all values are those of 1.
    pub(super) fn bound(&self, ids: &[u32], noise: Noise, share: f64) -> (Tensor<1>, Tensor<1>, Tensor<2>) {
        let m = self.code(ids);
        let z = m.clone() + noise.latent * self.noise;
        let in_part = |x: &Tensor<2>| match share < 1.0 {
            true => x.clone() * share + x.clone().detach() * (1.0 - share),
            false => x.clone(),
        };
        let prior = match (&self.map, noise.path) {
            (Some(map), Some(path)) => map.bound(&in_part(&m), path),
            _ => {
                let (z0, ladj) = self.prior.forward_and_ladj(in_part(&z));
                log_standard(z0) + ladj
            }
        };
        let entropy = 0.5 * m.dims()[1] as f64 * (LN_2PI + 1.0 + 2.0 * self.noise.ln());
        let likelihood = self.log_likelihood(z, ids);
        (likelihood.clone() + prior + entropy, likelihood, m)
    }

    /// Sets all data-dependent initial parameters from a batch of items.
    pub fn initialise(&mut self, ids: &[u32]) {
        let code = self.raw_code(self.vectors(ids));
        // What is initialised already stays as it is.
        self.standard.initialise_from(&code, false);
        let m = self.standard.forward_and_ladj(code).0;
        self.prior.initialise(m);
    }

    /// Marks data-dependent parameters as initialised, after they were loaded.
    pub fn assume_initialised(&mut self) {
        self.standard.assume_initialised();
        self.prior.assume_initialised();
    }
}
