//! Time of one training step of autoencoders within flows, of scoring images, and of sampling: 28 x 28 pixels, the small
//! networks, and masked autoregressive flows of 4 layers, all as published.
//!
//! ```text
//! cargo bench --bench aef_step -- [--rounds N] [--only NAME,...] [--json | --describe | --serve]
//! ```
//!
//! `train/VARIANT-D` is the training loop's step at latent size D: loss of 128 images, gradient, joint norm, clipping at 200,
//! Adam. `score/k128` is the log-density of 16 images at latent size 8 by 128 draws each from the mixture that the decoder and
//! the prior shape. `sample/b64` draws 64 images with their deviations at latent size 32, its prior inverted feature by
//! feature. `common` says what else it does. In the operations a backward pass costs twice its forward pass, and masked
//! weights count like others.

mod common;

use pushforward::aef::config::{AefConfig, Variant};
use pushforward::aef::marginal::{MarginalRequest, log_densities};
use pushforward::aef::model::DrawRequest;
use pushforward::aef::{AefModel, AefObjective, ImageBatch, ImageShape};
use pushforward::burn::tensor::Device;
use pushforward::params;
use pushforward::rng::{Purpose, stream};
use pushforward::transport::map::Drawing;

use crate::common::product;

const SHAPE: ImageShape = ImageShape { channels: 1, height: 28, width: 28 };
const BATCH: usize = 128;

/// Operation of a case.
#[derive(Clone, Copy)]
enum Work {
    Train { variant: Variant, latent: usize },
    Score { images: usize, draws: usize, latent: usize },
    Sample { images: usize, latent: usize },
}

const CASES: [(&str, Work); 6] = [
    ("train/linear-2", Work::Train { variant: Variant::Linear, latent: 2 }),
    ("train/linear-32", Work::Train { variant: Variant::Linear, latent: 32 }),
    ("train/vae-iaf-32", Work::Train { variant: Variant::VaeIaf, latent: 32 }),
    ("train/center-32", Work::Train { variant: Variant::Center, latent: 32 }),
    ("score/k128", Work::Score { images: 16, draws: 128, latent: 8 }),
    ("sample/b64", Work::Sample { images: 64, latent: 32 }),
];

fn main() -> Result<(), String> {
    common::run(&CASES)
}

/// Uniform pixels: the time of a step does not depend on the images.
fn images(count: usize) -> ImageBatch {
    let mut data = stream(0, Purpose::Synthesis, 0);
    ImageBatch { pixels: (0..count * SHAPE.numel()).map(|_| data.uniform() as f32).collect(), count }
}

impl Work {
    fn config(self) -> AefConfig {
        let (variant, latent) = match self {
            Self::Train { variant, latent } => (variant, latent),
            Self::Score { latent, .. } | Self::Sample { latent, .. } => (Variant::Linear, latent),
        };
        AefConfig { variant, latent, ..AefConfig::default() }
    }

    /// A model initialised by its first batch.
    fn model(self, device: &Device) -> AefModel {
        let config = self.config();
        let mut model = config.init(SHAPE, device, &mut stream(0, Purpose::Init, 0));
        let x = model.images(&images(BATCH).pixels, BATCH);
        model.initialise(x, config.latent, &mut stream(0, Purpose::Init, 1));
        model
    }
}

impl common::Work for Work {
    fn start(self) -> Box<dyn FnMut()> {
        let device = Device::flex();
        match self {
            Self::Train { latent, .. } => {
                common::training(self.model(&device.autodiff()), AefObjective { latent }, images(BATCH), 1e-3, 200.0)
            }
            Self::Score { images: count, draws, .. } => {
                let (model, batch) = (self.model(&device), images(count));
                let request = MarginalRequest { draws, ..MarginalRequest::default() };
                Box::new(move || {
                    let x = model.images(&batch.pixels, count);
                    let found = log_densities(&model, x, 0, &request).expect("an expansion has a density");
                    assert!(found.values.len() == count && found.values.iter().all(|v| v.is_finite()));
                })
            }
            Self::Sample { images: count, latent } => {
                let model = self.model(&device);
                let request = DrawRequest {
                    count,
                    first: 0,
                    temperature: 1.0,
                    deviations: true,
                    seed: 0,
                    batch: count,
                    drawing: Drawing::default(),
                    choices: 1,
                };
                Box::new(move || {
                    let pixels = model.sample(SHAPE, latent, &request, &device, &mut |_| true);
                    assert!(pixels.len() == count * SHAPE.numel() && pixels.iter().all(|v| v.is_finite()));
                })
            }
        }
    }

    fn parameters(self) -> usize {
        params::count(&self.model(&Device::flex()))
    }

    fn gflop(self) -> f64 {
        let d = self.config().latent;
        let n = SHAPE.numel();
        let flop = match self {
            Self::Train { variant, .. } => {
                let core = if variant == Variant::Linear { product(BATCH, n, d) } else { 0.0 };
                3.0 * (encoder(BATCH, d) + decoder(BATCH, d) + 2.0 * flow(BATCH, d) + core)
            }
            Self::Score { images, draws, .. } => {
                let code = encoder(images, d) + product(images, n, d) + flow(images, d);
                // The image at the code and two to the sides of it along every coordinate; then the draws.
                let sides = 2 * d * images;
                let decoded = decoder(images + sides + draws * images, d);
                let shape = images as f64 * (product(d, d, n) + product(d, d, d));
                code + decoded + flow(sides + draws * images, d) + shape
            }
            Self::Sample { images, .. } => d as f64 * flow(images, d) + decoder(images, d),
        };
        flop * 1e-9
    }
}

/// Operations of the encoder on a batch: 3 x 3 kernels to 64 maps of 14 x 14 and 128 of 7 x 7, then a linear layer.
fn encoder(batch: usize, d: usize) -> f64 {
    let (first, second) = (product(batch * 14 * 14, 64, 9), product(batch * 7 * 7, 128, 9 * 64));
    first + second + product(batch, 2 * d, 128 * 7 * 7)
}

/// Operations of the decoder on a batch: a linear layer, then 4 x 4 kernels from 7 x 7 and from 14 x 14 pixels.
fn decoder(batch: usize, d: usize) -> f64 {
    let (first, second) = (product(batch * 7 * 7, 16 * 64, 128), product(batch * 14 * 14, 16, 64));
    product(batch, 128 * 7 * 7, d) + first + second
}

/// Operations of a masked autoregressive flow on a batch, data to base.
fn flow(batch: usize, d: usize) -> f64 {
    4.0 * (product(batch, 256, d) + 4.0 * product(batch, 256, 256) + product(batch, 2 * d, 256))
}
