//! The training objective: minus what a model maximises, in nats per image; the squared error of the autoencoder.

use burn::tensor::Tensor;

use super::AefModel;
use super::model::normals;
use super::network::{DecoderNet, EncoderNet};
use super::preprocessing::Prepared;
use crate::rng::{Purpose, Stream, stream};
use crate::train::objective::{LossParts, LossTerm, Objective, Observed, TrainStep};

/// Dequantised images in `[0, 1]`, image by image.
#[derive(Clone, Debug)]
pub struct ImageBatch {
    /// `count * n` values.
    pub pixels: Vec<f32>,
    /// Number of images.
    pub count: usize,
}

/// What a model of latent size `latent` is trained by.
#[derive(Clone, Copy, Debug)]
pub struct AefObjective {
    /// Size of the latent.
    pub latent: usize,
}

/// Which objective a model is trained by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LossKind {
    /// Exact negative log-likelihood.
    Nll,
    /// A bound of it.
    NegativeElbo,
    /// The published objective of an expansion without noise: no likelihood, and unbounded below.
    ExtendedNll,
    /// Squared error of the reconstruction.
    SquaredError,
}

impl LossKind {
    /// The name in metrics files and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nll => "nll",
            Self::NegativeElbo => "negative_elbo",
            Self::ExtendedNll => "extended_nll",
            Self::SquaredError => "squared_error",
        }
    }
}

/// An objective with its figures.
#[derive(Clone, Debug)]
pub struct Loss {
    /// Which objective.
    pub kind: LossKind,
    /// What is minimised, per image, `[batch]`.
    pub values: Tensor<1>,
    /// Signs of health: the smallest scale of the decoder, and `log |det dz/dw|` of the recognition. Where the first falls to its
    /// floor or the second grows for ever, an unbounded objective is running away.
    pub health: Vec<(&'static str, Tensor<1>)>,
}

impl AefObjective {
    /// The objective of a batch; `noise` is read by models that draw.
    pub fn of<E: EncoderNet, D: DecoderNet>(
        &self,
        model: &AefModel<E, D>,
        images: &Prepared,
        noise: &mut Stream,
    ) -> Loss {
        let health = |smallest, volume| vec![("smallest_scale", smallest), ("log_volume", volume)];
        match model {
            AefModel::Partition(m) => {
                let e = m.encode(images);
                Loss {
                    kind: LossKind::Nll,
                    values: e.log_density.neg(),
                    health: health(e.smallest_scale, e.log_volume),
                }
            }
            AefModel::Latent(m) => {
                let rows = images.h.dims()[0] * m.draws();
                let bound = m.bound(images, normals(noise, [rows, self.latent], &images.h));
                let kind = if m.noise() > 0.0 { LossKind::NegativeElbo } else { LossKind::ExtendedNll };
                Loss { kind, values: bound.value.neg(), health: health(bound.smallest_scale, bound.log_volume) }
            }
            AefModel::Autoencoder(m) => {
                Loss { kind: LossKind::SquaredError, values: m.error(images), health: Vec::new() }
            }
            AefModel::Flow(m) => Loss { kind: LossKind::Nll, values: m.encode(images).1.neg(), health: Vec::new() },
        }
    }
}

impl<E: EncoderNet, D: DecoderNet> Objective<AefModel<E, D>> for AefObjective {
    type Batch = ImageBatch;

    fn loss(&self, step: &TrainStep<'_, AefModel<E, D>>, batch: &ImageBatch) -> LossParts {
        let mut noise = stream(step.seed, Purpose::Source, step.index);
        let images = step.model.prepare(step.model.images(&batch.pixels, batch.count));
        let loss = self.of(step.model, &images, &mut noise);
        let observe = |(name, values): (&'static str, Tensor<1>)| Observed {
            name,
            per_example: values.detach(),
            times: Vec::new(),
        };
        let values = observe((loss.kind.name(), loss.values.clone()));
        LossParts {
            terms: vec![LossTerm { loss: loss.values.mean(), values }],
            observed: loss.health.into_iter().map(observe).collect(),
        }
    }
}
