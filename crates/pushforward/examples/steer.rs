//! Samples of a trained flow map that are rich in a reward:
//!
//! ```sh
//! cargo run --release -p pushforward --example steer -- runs/glyphs '8*class(3)'
//! ```
#![allow(clippy::print_stdout, reason = "an example prints its results")]

use std::path::Path;

use pushforward::flow_map::network::NetworkConfig;
use pushforward::flow_map::sample::SampleRequest;
use pushforward::flow_map::steer::{Method, SmcSettings, SteerRequest};
use pushforward::reward::{Context, Spec};
use pushforward::run::{Steers, WeightSet, load};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [run, spec] = arguments.as_slice() else { return Err("give a run folder and a reward".into()) };
    let loaded = load::<NetworkConfig>(Path::new(run), WeightSet::Ema, &pushforward::device::open("auto")?)?;
    let loaded = loaded.flow_map("be steered")?;
    let context = Context { schema: &loaded.run.schema, data: &loaded.run.data, classifier: None, scorer: None };
    let reward = Spec::new(spec, context)?;
    let sample = SampleRequest::map(8, 4, 0);
    let request =
        SteerRequest { sample, method: Method::Smc(SmcSettings::default()), particles: 16, keep: 1, part: None };
    let steered = loaded.model.steer(&request, &reward, &mut |_| true)?;
    for (item, reward) in steered.samples.items().zip(&steered.rewards) {
        println!("{reward:.3} {item:?}");
    }
    Ok(())
}
