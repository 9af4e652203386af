//! The training objective: minus what a model maximises, in nats per image; the squared error of the autoencoder.

use burn::tensor::Tensor;

use super::AefModel;
use super::model::normals;
use super::preprocessing::Prepared;
use crate::rng::{Purpose, Stream, stream};
use crate::tensor::from_host;
use crate::train::objective::{LossParts, LossTerm, Objective, Observed, TrainStep};

/// Dequantised images in `[0, 1]`, image by image.
#[derive(Clone, Debug)]
pub struct ImageBatch {
    /// `count * n` values.
    pub pixels: Vec<f32>,
    /// Number of images.
    pub count: usize,
}

impl ImageBatch {
    /// The images in the precision and on the device of `like`.
    ///
    /// # Shapes
    /// - output: `[count, n]`
    pub fn tensor<const L: usize>(&self, like: &Tensor<L>) -> Tensor<2> {
        let values: Vec<f64> = self.pixels.iter().map(|&v| f64::from(v)).collect();
        from_host(&values, [self.count, self.pixels.len() / self.count], like)
    }
}

/// What a model of latent size `latent` is trained by.
#[derive(Clone, Copy, Debug)]
pub struct AefObjective {
    /// Size of the latent.
    pub latent: usize,
}

/// An objective with its figures.
#[derive(Clone, Debug)]
pub struct Loss {
    /// Name of the objective.
    pub name: &'static str,
    /// What is minimised, per image, `[batch]`.
    pub values: Tensor<1>,
    /// Signs of health: the smallest scale of the decoder, and `log |det dz/dw|` of the recognition. Where the first falls to its
    /// floor or the second grows for ever, an unbounded objective is running away.
    pub health: Vec<(&'static str, Tensor<1>)>,
}

impl AefObjective {
    /// The objective of a batch; `noise` is read by models that draw.
    pub fn of(&self, model: &AefModel, images: &Prepared, noise: &mut Stream) -> Loss {
        let health = |smallest, volume| vec![("smallest_scale", smallest), ("log_volume", volume)];
        match model {
            AefModel::Partition(m) => {
                let e = m.encode(images);
                Loss { name: "nll", values: e.log_density.neg(), health: health(e.smallest_scale, e.log_volume) }
            }
            AefModel::Latent(m) => {
                let rows = images.h.dims()[0] * m.draws();
                let bound = m.bound(images, normals(noise, [rows, self.latent], &images.h));
                let name = if m.noise() > 0.0 { "negative_elbo" } else { "extended_nll" };
                Loss { name, values: bound.value.neg(), health: health(bound.smallest_scale, bound.log_volume) }
            }
            AefModel::Autoencoder(m) => Loss { name: "squared_error", values: m.error(images), health: Vec::new() },
            AefModel::Flow(m) => Loss { name: "nll", values: m.encode(images).1.neg(), health: Vec::new() },
        }
    }
}

impl Objective<AefModel> for AefObjective {
    type Batch = ImageBatch;

    fn loss(&self, step: &TrainStep<'_, AefModel>, batch: &ImageBatch) -> LossParts {
        let mut noise = stream(step.seed, Purpose::Source, step.index);
        let images = step.model.prepare(batch.tensor(&step.model.preprocessing().norm.shift.val()));
        let loss = self.of(step.model, &images, &mut noise);
        let observe = |(name, values): (&'static str, Tensor<1>)| Observed {
            name,
            per_example: values.detach(),
            times: Vec::new(),
        };
        let values = observe((loss.name, loss.values.clone()));
        LossParts {
            terms: vec![LossTerm { loss: loss.values.mean(), values }],
            observed: loss.health.into_iter().map(observe).collect(),
        }
    }
}
