//! Steer samples of a trained model towards a reward of your own.
//! `cargo run --release -p pushforward --example own_reward`
#![allow(clippy::print_stdout, reason = "an example prints its results")]

use std::error::Error;
use std::ops::ControlFlow;
use std::path::Path;

use pushforward::prelude::*;

const RECIPE: &str = "
    name = 'own-reward'
    data = { set = 'echo', letters = 3 }
    model = { family = 'flow-map', network = { kind = 'mlp', width = 48 } }
    train = { steps = 300, lr = 3e-3, warmup = 20, ema = { decay = 0.98, warmup = true } }
";

/// Three nats for every site of class 0, in words the letter a.
struct CountOfA {
    sites: usize,
}

impl Reward for CountOfA {
    fn score(&self, ids: &[u32]) -> Result<Vec<f64>, RewardError> {
        let count = |item: &[u32]| 3.0 * item.iter().filter(|&&class| class == 0).count() as f64;
        Ok(ids.chunks(self.sites).map(count).collect())
    }
}

#[cfg_attr(test, test)]
fn main() -> Result<(), Box<dyn Error>> {
    let recipe: Recipe = Recipe::parse(RECIPE, "own_reward.rs", &[])?;
    let data = Data::load(&recipe, Path::new("this set is made, not read"))?;
    let trained = train(&recipe, &data, TrainOptions::new(Device::flex()), &mut |_| ControlFlow::Continue(()))?;
    let model = trained.loaded.flow_map("be steered")?.model;
    let reward = CountOfA { sites: model.schema.sites };
    let sample = SampleRequest::map(32, 2, 0);
    let plain = reward.score(&model.sample(&sample, &mut |_| true)?.ids)?;
    let request = SteerRequest { sample, method: Method::Resample, particles: 16, keep: 4, part: None };
    let steered = model.steer(&request, &reward, &mut |_| true)?.rewards;
    let [plain, steered] = [plain, steered].map(|rewards| rewards.iter().sum::<f64>() / rewards.len() as f64);
    println!("mean reward: {plain:.2} nats without steering, {steered:.2} with");
    assert!(steered > plain + 2.0);
    Ok(())
}
