//! The training objective: the negative of a log-likelihood or its bound, in nats per image; for the autoencoder, the
//! squared error.
//!
//! # Examples
//! ```
//! use pushforward::aef::config::AefConfig;
//! use pushforward::aef::{AefObjective, ImageShape, LossKind};
//! use pushforward::burn::tensor::{Device, Tensor};
//! use pushforward::rng::{Purpose, stream};
//!
//! let config: AefConfig = toml::from_str("variant = 'flow'\nprior = { kind = 'none' }")?;
//! let shape = ImageShape { channels: 1, height: 2, width: 2 };
//! let mut model = config.init(shape, &Device::flex(), &mut stream(0, Purpose::Init, 0));
//! model.assume_initialised();
//! let images = model.prepare(Tensor::full([3, 4], 0.5, &Device::flex()));
//! let loss = AefObjective { latent: config.latent }.of(&model, &images, &mut stream(0, Purpose::Source, 0));
//! assert_eq!((loss.kind, loss.values.dims()), (LossKind::Nll, [3]));
//! # Ok::<(), toml::de::Error>(())
//! ```

use burn::tensor::Tensor;

use super::AefModel;
use super::latent::Bound;
use super::network::{DecoderNet, EncoderNet};
use super::path::BoundNoise;
use super::preprocessing::Prepared;
use super::rows::normals;
use crate::rng::{Purpose, Stream, stream};
use crate::train::objective::{LossParts, LossTerm, Objective, Observed, TrainStep};

/// A batch of dequantised images in `[0, 1]`.
#[derive(Clone, Debug)]
pub struct ImageBatch {
    /// `count * n` values, image by image.
    pub pixels: Vec<f32>,
    /// Number of images.
    pub count: usize,
}

/// The training objective of [`AefModel`]s.
#[derive(Clone, Copy, Debug)]
pub struct AefObjective {
    /// Size of the latent.
    pub latent: usize,
}

/// Kinds of training objectives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LossKind {
    /// Exact negative log-likelihood.
    Nll,
    /// Upper bound of the negative log-likelihood.
    NegativeElbo,
    /// The published objective of an expansion without noise: not a likelihood, and unbounded below.
    ExtendedNll,
    /// Mean squared reconstruction error.
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

/// Values of the objective, and diagnostics.
#[derive(Clone, Debug)]
pub struct Loss {
    /// Kind of the objective.
    pub kind: LossKind,
    /// Loss of every image, to be minimised, `[batch]`.
    pub values: Tensor<1>,
    /// Diagnostics: the smallest scale of the decoder, and `log |det dz/dw|` of the recognition model. If the first
    /// falls to its floor or the second grows without bound, the training of an unbounded objective diverges.
    pub health: Vec<(&'static str, Tensor<1>)>,
    /// Points on which a flow map as the prior is trained off the diagonal, `[batch, d]`, without gradients.
    points: Option<Tensor<2>>,
}

impl Loss {
    fn new(kind: LossKind, value: Tensor<1>) -> Self {
        Self { kind, values: value, health: Vec::new(), points: None }
    }

    fn of_bound(kind: LossKind, bound: Bound) -> Self {
        let health = vec![("smallest_scale", bound.smallest_scale), ("log_volume", bound.log_volume)];
        Self { health, ..Self::new(kind, bound.value.neg()) }
    }
}

impl AefObjective {
    /// The objective of a batch; `noise` is used by latent-variable models only.
    pub fn of<E: EncoderNet, D: DecoderNet>(
        &self,
        model: &AefModel<E, D>,
        images: &Prepared,
        noise: &mut Stream,
    ) -> Loss {
        if let Some(map) = model.prior_map() {
            let noise = BoundNoise::draw(std::slice::from_mut(noise), images.h.dims()[0], map, self.latent, &images.h);
            let (bound, m) = match model {
                AefModel::Partition(m) => m.path_bound(map, images, noise),
                AefModel::Latent(m) => m.path_bound(map, images, noise),
                AefModel::Autoencoder(_) | AefModel::Flow(_) => unreachable!("these have no flow map"),
            };
            return Loss { points: Some(m.detach()), ..Loss::of_bound(LossKind::NegativeElbo, bound) };
        }
        match model {
            AefModel::Partition(m) => {
                let e = m.encode(images);
                let (value, log_volume, smallest_scale) = (e.log_density, e.log_volume, e.smallest_scale);
                Loss::of_bound(LossKind::Nll, Bound { value, log_volume, smallest_scale })
            }
            AefModel::Latent(m) => {
                let rows = images.h.dims()[0] * m.draws();
                let bound = m.bound(images, normals(noise, [rows, self.latent], &images.h));
                let kind = if m.noise() > 0.0 { LossKind::NegativeElbo } else { LossKind::ExtendedNll };
                Loss::of_bound(kind, bound)
            }
            AefModel::Autoencoder(m) => Loss::new(LossKind::SquaredError, m.error(images)),
            AefModel::Flow(m) => Loss::new(LossKind::Nll, m.encode(images).1.neg()),
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
        let mut terms = vec![LossTerm { loss: loss.values.mean(), values }];
        if let (Some(points), Some(map)) = (loss.points, step.model.prior_map()) {
            let more = map.losses(points, &mut noise).into_iter();
            terms.extend(
                more.map(|(name, values)| LossTerm { loss: values.clone().mean(), values: observe((name, values)) }),
            );
        }
        LossParts { terms, observed: loss.health.into_iter().map(observe).collect() }
    }
}
