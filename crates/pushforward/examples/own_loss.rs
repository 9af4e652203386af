//! Train by a loss of your own, made of the public parts: the focal loss on the diagonal, which gives easy sites less weight.
//! `cargo run --release -p pushforward --example own_loss`
#![allow(clippy::print_stdout, reason = "an example prints its results")]

use std::path::Path;
use std::{error::Error, ops::ControlFlow};

use pushforward::data::synthetic::echo::is_echo;
use pushforward::dual::cross_entropy;
use pushforward::flow_map::objective::{BatchConfig, logits};
use pushforward::flow_map::times::TimesConfig;
use pushforward::nn::mlp::MlpConfig;
use pushforward::prelude::*;
use pushforward::train::train;

/// `(1 - p)^gamma * -log p`, with `p` the probability of the true class.
struct Focal {
    gamma: f64,
}

impl<N: Backbone> Objective<FlowMapModel<N>> for Focal {
    type Batch = IdBatch;

    fn loss(&self, step: &TrainStep<'_, FlowMapModel<N>>, batch: &IdBatch) -> LossParts {
        let open = |purpose| stream(step.seed, purpose, step.index);
        let batch = NoisedBatch::new(step.model, batch, &BatchConfig::default(), &mut open(Purpose::Source), None);
        let classes = step.model.sites().classes;
        let times = TimesConfig::default().diagonal(batch.len(), classes, &mut open(Purpose::Time));
        let z = logits(step.model, batch.at(&times), &times, &times, &batch.conditioning, &mut Pass::eval());
        let nats = cross_entropy(batch.ids.clone(), z);
        let missing = nats.clone().detach().neg().exp().neg() + 1.0;
        LossParts::mean("focal", batch.over_sites(missing.powf_scalar(self.gamma) * nats), times)
    }
}

#[cfg_attr(test, test)]
fn main() -> Result<(), Box<dyn Error>> {
    // Two letters, written twice.
    let data: DataConfig = serde_json::from_str(r#"{ "set": "echo", "letters": 2 }"#)?;
    let splits = data.load(Path::new("this set is made, not read"), 0)?;
    let (sites, device) = (SiteShape::line(splits.schema().sites, splits.schema().classes), Device::flex());
    let network = MlpConfig { width: 64, ..MlpConfig::default() };
    let network = network.init(sites.clone(), &device.clone().autodiff(), &mut stream(0, Purpose::Init, 0));
    let batches = Batches::new(splits.train.clone(), 64, 0);
    let next = |index| IdBatch { ids: batches.at(index), labels: None };
    let config = TrainConfig { steps: 500, lr: 3e-3, warmup: 20, ..TrainConfig::default() };
    let request = TrainRequest::new(FlowMapModel::new(network, sites.clone()), &Focal { gamma: 1.0 }, &next, config);
    let model = train(request, &mut |_| ControlFlow::Continue(()))?.ema;
    let request = SampleRequest { sampler: Sampler::Euler, ..SampleRequest::map(200, 16, 0) };
    let samples = sample(&Generator::new(&model, sites, &device), &request, &mut |_| true);
    let echoes = samples.items().filter(|item| is_echo(item)).count();
    println!("{echoes} of 200 samples are echoes; by chance it would be 3");
    assert!(echoes > 100, "the loss does not train");
    Ok(())
}
