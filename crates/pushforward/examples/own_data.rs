//! Train on data of your own: rows of a table that the program has made itself, sampled with one network evaluation.
//! `cargo run --release -p pushforward --example own_data`
#![allow(clippy::print_stdout, reason = "an example prints its results")]

use std::error::Error;
use std::ops::ControlFlow;

use pushforward::data::InMemory;
use pushforward::prelude::*;

/// Nothing here names the data: they are handed over.
const RECIPE: &str = "
    name = 'own-data'
    data = { set = 'external', name = 'weather' }
    model = { family = 'flow-map', network = { kind = 'mlp', width = 32 } }
    train = { steps = 300, lr = 3e-3, warmup = 20, ema = { decay = 0.98, warmup = true } }
";

/// Days as sky (clear, cloudy), rain (no, yes) and umbrella (no, yes): it never rains from a clear sky, and an umbrella means rain.
fn days() -> Result<Splits, Box<dyn Error>> {
    let schema = Schema { sites: 3, classes: 2, layout: Layout::Table };
    let day = [[0, 0, 0], [1, 0, 0], [1, 1, 1], [0, 0, 0]];
    Ok(InMemory::new(schema, day.repeat(500).concat())?.split("weather", 0)?)
}

#[cfg_attr(test, test)]
fn main() -> Result<(), Box<dyn Error>> {
    let recipe: Recipe = Recipe::parse(RECIPE, "own_data.rs", &[])?;
    let options = TrainOptions::new(Device::flex());
    let trained = train(&recipe, &days()?.into(), options, &mut |_| ControlFlow::Continue(()))?;
    let model = trained.loaded.flow_map("draw samples")?.model;
    let samples = model.sample(&SampleRequest::map(200, 1, 0), &mut |_| true)?;
    let possible = samples.items().filter(|day| day[1] == day[2] && day[1] <= day[0]).count();
    println!("{possible} of 200 generated days are possible");
    assert!(possible > 160);
    Ok(())
}
