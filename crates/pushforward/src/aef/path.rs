//! Bounds of models whose prior is a flow map: the noise that they add to the latent, and the objective.
//!
//! ```text
//! u = m + s xi,   z = f^-1(u),   m = c + spread xi'        q(u | x) = N(c, tau^2),  tau^2 = spread^2 + s^2
//! -log p(x) <= E[ -log p(x | z) ] + int_0^{1/s} r || m - pi_tt(x_t) ||^2 dr - sum log tau/s
//! ```
//!
//! with the flow map's endpoint `pi_tt` (see [`objective`](crate::transport::objective)) and the centre `c`: the code of an
//! expansion, with spread 0, or the mean of a posterior, with its scale as the spread. Nothing is integrated along a path,
//! so encoder, decoder and prior are trained together. In a partition, `m = u` and the reconstruction is exact.
//!
//! Reference: Heek et al. 2026, arXiv:2602.17270.

use burn::tensor::Tensor;

use super::gaussian::{LN_2PI, row_sum};
use super::latent::{Bound, Draw, LatentDistribution, Recognition};
use super::network::{DecoderNet, EncoderNet};
use super::partition::Parts;
use super::preprocessing::Prepared;
use super::prior::{LatentMap, PathNoise};
use super::rows::normals;
use super::{LatentModel, PartitionModel};
use crate::bijector::Bijector;
use crate::rng::Stream;

/// Noise of a bound, for a batch of images.
pub(super) struct BoundNoise {
    spread: Tensor<2>,
    latent: Tensor<2>,
    path: PathNoise,
}

impl BoundNoise {
    /// Noise for `rows` images of each stream.
    pub(super) fn draw(streams: &mut [Stream], rows: usize, map: &LatentMap, d: usize, like: &Tensor<2>) -> Self {
        let mut each = || streams.iter_mut().map(|stream| normals(stream, [rows, d], like)).collect();
        let (spread, latent) = (Tensor::cat(each(), 0), Tensor::cat(each(), 0));
        Self { spread, latent, path: PathNoise::draw(streams, rows, map, d, like) }
    }
}

impl<E: EncoderNet, D: DecoderNet> LatentModel<E, D> {
    /// Centre and spread of `m`; no spread for an expansion.
    fn centre(&self, distribution: LatentDistribution) -> (Tensor<2>, Option<Tensor<2>>) {
        let LatentDistribution { mean, scale, core } = distribution;
        match &self.recognition {
            Recognition::Expansion(expansion) => {
                let core = core.expect("the distribution of an expansion has a core");
                let z = mean + scale * expansion.core.forward_and_ladj(core).0;
                (self.prior.forward_and_ladj(z).0, None)
            }
            Recognition::Posterior(_) => {
                // The flow is a shift and a scale per feature.
                let centre = self.prior.forward_and_ladj(mean.clone()).0;
                let above = self.prior.forward_and_ladj(mean + scale).0;
                (centre.clone(), Some(above - centre))
            }
        }
    }

    /// A draw of the latent with noise in the space of u.
    pub(super) fn noised(&self, map: &LatentMap, distribution: LatentDistribution, xi: Tensor<2>, noise: f64) -> Draw {
        let (centre, spread) = self.centre(distribution);
        match spread {
            None => {
                let (z, log_volume) = self.prior.inverse_and_ladj(centre + xi * noise);
                Draw { z, log_volume }
            }
            Some(spread) => {
                let tau = (spread.clone() * spread + map.noise * map.noise).sqrt();
                let (z, ladj) = self.prior.inverse_and_ladj(centre + xi * noise * tau.clone());
                Draw { z, log_volume: ladj + row_sum(tau.log()) }
            }
        }
    }

    /// The objective of a model whose prior is a flow map, one value per image, and the points `m`.
    pub(super) fn path_bound(&self, map: &LatentMap, images: &Prepared, noise: BoundNoise) -> (Bound, Tensor<2>) {
        let (centre, spread) = self.centre(self.latent_distribution(images.h.clone()));
        let d = centre.dims()[1] as f64;
        let (m, entropy) = match spread {
            None => (centre.clone(), images.ladj.zeros_like()),
            Some(spread) => {
                let ratio = spread.clone() / map.noise;
                (centre + noise.spread * spread, row_sum((ratio.clone() * ratio + 1.0).log()) * 0.5)
            }
        };
        let entropy = entropy + 0.5 * d * (LN_2PI + 1.0 + 2.0 * map.noise.ln());
        let (z, log_volume) = self.prior.inverse_and_ladj(m.clone() + noise.latent * map.noise);
        let output = self.decoder.forward(z);
        let value = output.log_density(images) + map.bound(&m, noise.path) + entropy;
        (Bound { value, log_volume, smallest_scale: output.smallest_scale() }, m)
    }
}

impl<E: EncoderNet, D: DecoderNet> PartitionModel<E, D> {
    /// The same for a partition.
    pub(super) fn path_bound(&self, map: &LatentMap, images: &Prepared, noise: BoundNoise) -> (Bound, Tensor<2>) {
        let Parts { u, rest, log_volume, smallest_scale, .. } = self.parts(images);
        (Bound { value: rest + map.bound(&u, noise.path), log_volume, smallest_scale }, u)
    }
}
