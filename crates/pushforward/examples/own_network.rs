//! Train a network of your own on `checker`, save it and load it again: a recipe spells its settings, and the checkpoint holds them.
//! `cargo run --release -p pushforward --example own_network -- train.steps=3000`
#![allow(clippy::print_stdout, reason = "an example prints its results")]
use std::{error::Error, ops::ControlFlow, path::Path};

use pushforward::data::synthetic::checker::{empirical, table};
use pushforward::metrics::divergence::kl;
use pushforward::nn::{LayerNorm, Modulation, PairEmbedding, TimeFeatures, gated};
use pushforward::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct PerceptronConfig {
    width: usize,
}

#[derive(Module, Debug)]
struct Perceptron {
    time: PairEmbedding,
    modulation: Modulation,
    norm: LayerNorm,
    layers: Vec<Linear>,
}

impl BackboneConfig for PerceptronConfig {
    type Network = Perceptron;
    fn init(&self, sites: SiteShape, device: &Device, stream: &mut Stream) -> Perceptron {
        let (n, w) = (sites.count * sites.classes, self.width);
        let time = PairEmbedding::init(TimeFeatures::Fourier, 64, w, device, stream);
        let modulation = Modulation::init(w, 3, w, device, stream);
        let layers = [[n, w], [w, 2 * w], [2 * w, w], [w, n]];
        let layers = layers.map(|[i, o]| LinearConfig::new(i, o).init(device, stream)).into();
        Perceptron { time, modulation, norm: LayerNorm::init(w, device, stream), layers }
    }
}

impl Backbone for Perceptron {
    fn forward(&self, x: Dual<3>, s: Dual<1>, t: Dual<1>, _: &Inputs<'_>, _: &mut Pass<'_>) -> Dual<3> {
        let [batch, sites, classes] = x.dims();
        let [shift, scale, gate] = self.modulation.forward(self.time.forward(s, t));
        let h = self.layers[0].forward(x.scale(0.25).linear(|x| x.reshape([batch, 1, sites * classes])));
        let m = self.layers[1].forward_silu(self.norm.forward_modulated(h.clone(), shift, scale));
        let h = self.norm.forward(gated(h, self.layers[2].forward(m), gate));
        self.layers[3].forward(h).linear(|z| z.reshape([batch, sites, classes]))
    }
}

#[cfg_attr(test, test)]
fn main() -> Result<(), Box<dyn Error>> {
    let (text, folder) = (include_str!("own_network.toml"), tempfile::tempdir()?);
    let overrides: Vec<String> = std::env::args().filter(|argument| argument.contains('=')).collect();
    let recipe: Recipe<PerceptronConfig> = Recipe::parse(text, "own_network.toml", &overrides)?;
    let options = TrainOptions { folder: Some(folder.path().into()), ..TrainOptions::new(Device::flex()) };
    train(&recipe, &Data::load(&recipe, Path::new(""))?, options, &mut |_| ControlFlow::Continue(()))?;
    let model = load::<PerceptronConfig>(folder.path(), WeightSet::Ema, &Device::flex())?.flow_map("draw")?.model;
    let kl = kl(&empirical(&model.sample(&SampleRequest::map(20_000, 4, 0), &mut |_| true)?.ids, 0.0), &table());
    println!("KL(samples || truth) at four evaluations: {kl:.4} nats");
    assert!(kl < 0.7, "a network that has learned nothing has 1 and more");
    Ok(())
}
