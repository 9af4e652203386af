//! An autoencoder within a flow on an encoder and a decoder of your own, trained by its bound.
//! `cargo run --release -p pushforward --example own_encoder`
#![allow(clippy::print_stdout, reason = "an example prints its results")]
use std::{error::Error, ops::ControlFlow, path::Path};

use pushforward::aef::{AefConfig, AefObjective, DecoderNet, EncoderNet, ImageBatch, ImageNetworks, ImageShape};
use pushforward::aef::{MarginalRequest, log_densities};
use pushforward::prelude::*;
use pushforward::train::train;

/// A linear map from an image of 16 x 16 pixels to numbers, or back.
#[derive(Module, Debug)]
struct Flat {
    layer: Linear,
}

impl EncoderNet for Flat {
    fn forward(&self, image: Tensor<4>) -> Tensor<2> {
        self.layer.forward(image.flatten::<2>(1, 3).into()).value
    }
}

impl DecoderNet for Flat {
    fn forward(&self, z: Tensor<2>) -> Tensor<4> {
        self.layer.forward(z.into()).value.reshape([0, -1, 16, 16])
    }
}

struct Linears;

impl ImageNetworks for Linears {
    type Encoder = Flat;
    type Decoder = Flat;
    fn encoder(&self, shape: ImageShape, outputs: usize, device: &Device, stream: &mut Stream) -> Flat {
        Flat { layer: LinearConfig::new(shape.numel(), outputs).init(device, stream) }
    }
    fn decoder(&self, latent: usize, maps: usize, _: ImageShape, device: &Device, stream: &mut Stream) -> Flat {
        Flat { layer: LinearConfig::new(latent, maps * 256).init(device, stream) }
    }
}

#[cfg_attr(test, test)]
fn main() -> Result<(), Box<dyn Error>> {
    let images = DataConfig::Glyphs(Default::default()).continuous(Path::new("this set is made, not read"), 0)?;
    let (config, shape) = (AefConfig::default(), ImageShape { channels: 1, height: 16, width: 16 });
    let mut model = config.init_with(&Linears, shape, &Device::flex().autodiff(), &mut stream(0, Purpose::Init, 0));
    let order = EpochSampler::new(images.train.len(), 128, 0);
    let next = |index| ImageBatch { pixels: images.train.batch(&order.keys(index)), count: 128 };
    model.initialise(model.images(&next(0).pixels, 128), config.latent, &mut stream(0, Purpose::Init, 1));
    let held_out = images.test.batch(&(0..32).map(|i| ExampleKey::fixed(0, i)).collect::<Vec<_>>());
    let settings = TrainConfig { steps: 150, warmup: 20, clip: Some(200.0), ..TrainConfig::default() };
    let request = TrainRequest::new(model, &AefObjective { latent: 8 }, &next, settings);
    let model = train(request, &mut |_| ControlFlow::Continue(()))?.ema;
    let found = log_densities(&model, model.images(&held_out, 32), 0, &MarginalRequest::default());
    let mean = found.expect("it has a density").values.iter().sum::<f64>() / 32.0;
    println!("log-density of held-out digits: {mean:.1} nats");
    assert!(mean > 400.0, "the model has not learned");
    Ok(())
}
