//! Evaluate a trained model by a metric of your own, beside those of its data set, as one report.
//! `cargo run --release -p pushforward --example own_metric`
#![allow(clippy::print_stdout, reason = "an example prints its results")]

use std::error::Error;
use std::ops::ControlFlow;
use std::path::Path;

use pushforward::metrics::interval;
use pushforward::metrics::report::Row;
use pushforward::prelude::*;
use pushforward::run::evaluate::{EvalRequest, SampleMetrics, evaluate, metrics_for};

const RECIPE: &str = "
    name = 'own-metric'
    data = { set = 'echo', letters = 2 }
    model = { family = 'flow-map', network = { kind = 'mlp', width = 48 } }
    train = { steps = 200, lr = 3e-3, warmup = 20, ema = { decay = 0.98, warmup = true } }
";

/// Share of the items that read the same in both directions.
struct Palindromes;

impl SampleMetrics for Palindromes {
    fn rows(&self, samples: &Samples, _labels: &[u32]) -> Vec<Row> {
        let found = samples.items().filter(|item| item.iter().eq(item.iter().rev())).count();
        vec![Row::estimate("palindromes", "fraction", interval::fraction(found, samples.items().count()))]
    }
}

#[cfg_attr(test, test)]
fn main() -> Result<(), Box<dyn Error>> {
    let recipe: Recipe = Recipe::parse(RECIPE, "own_metric.rs", &[])?;
    let splits = recipe.data.load(Path::new("this set is made, not read"), recipe.seed)?;
    let options = TrainOptions::new(Device::flex());
    let trained = train(&recipe, &splits.clone().into(), options, &mut |_| ControlFlow::Continue(()))?;
    let loaded = trained.loaded.flow_map("be evaluated")?;
    let of_the_set = metrics_for(&recipe.data, &splits, None, 6, &mut |_, _, _| true)?;
    let both: &[&dyn SampleMetrics] = &[of_the_set.as_ref(), &Palindromes];
    let sample = SampleRequest::map(200, 1, 0);
    let request = EvalRequest { sample, nfe: vec![1, 2], repeats: 1, bound_items: 0, bound_draws: 1 };
    let report = evaluate(&loaded, &splits, both, &request, &mut |_, _, _| true)?;
    println!("{}", report.table());
    assert_eq!(report.rows.iter().filter(|row| row.metric == "palindromes").count(), 2);
    Ok(())
}
