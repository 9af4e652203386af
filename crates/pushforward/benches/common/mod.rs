//! Shared parts of the benchmarks: arguments, the table, and the protocol of `pytorch/compare.py`.
//!
//! ```text
//! cargo bench --bench NAME -- [--rounds N] [--only CASE,...] [--precision f32|high|bf16] [--json | --describe | --serve]
//! ```
//!
//! Every case is measured in a process of its own, so that peak memory is the case's. `--describe` prints the
//! parameters and the operations of every case; `--serve` reads a case per line and answers `CASE MILLISECONDS`.
//!
//! The last column of the table counts the matrix products alone (`2 m n k` each). It compares with the machine's rate
//! in plain matrix products: the difference is time spent elsewhere.

#![expect(clippy::print_stdout, reason = "a benchmark prints what it measures")]

use std::collections::HashMap;
use std::io::stdin;
use std::process::{Command, Stdio};
use std::time::Instant;

use pushforward::burn::module::Module;
use pushforward::burn::tensor::Tensor;
use pushforward::kernels::Precision;
use pushforward::tensor::scalar;
use pushforward::train::TrainConfig;
use pushforward::train::gradients::{Gradients, clip, grad_norm};
use pushforward::train::objective::{Objective, TrainStep};
use pushforward::train::optim::{Optimizer, OptimizerConfig};
use serde_json::{Value, json};

#[path = "../../../pushforward-cli/src/process.rs"]
mod process;

/// A case of a benchmark.
pub(crate) trait Work: Copy {
    /// Builds the model and returns what is timed.
    fn start(self) -> Box<dyn FnMut()>;

    /// Parameters of the model.
    fn parameters(self) -> usize;

    /// Work in the matrix products, in units of 10^9 operations.
    fn gflop(self) -> f64;
}

/// Operations in the product of an `[m, k]` and a `[k, n]` matrix.
pub(crate) fn product(m: usize, n: usize, k: usize) -> f64 {
    2.0 * (m * n * k) as f64
}

/// One optimiser step per call, as the training loop takes it.
pub(crate) fn training<M, O>(mut model: M, objective: O, batch: O::Batch, lr: f64, limit: f64) -> Box<dyn FnMut()>
where
    M: Module + 'static,
    O: Objective<M> + 'static,
    O::Batch: 'static,
{
    let (mut optimizer, mut index) = (Optimizer::new(TrainConfig::default().adamw(), OptimizerConfig::AdamW {}), 0);
    Box::new(move || {
        let ema = model.valid();
        let step = TrainStep { model: &model, ema: &ema, seed: 0, index, step: index, steps: u64::MAX };
        let parts = objective.loss(&step, &batch);
        let total = parts.terms.into_iter().map(|term| term.loss).reduce(Tensor::add).expect("an objective has terms");
        let gradients = Gradients::of(&total, &model);
        let norm = grad_norm(&gradients);
        assert!(scalar(&total).is_finite() && norm.is_finite(), "step {index} diverged");
        model = optimizer.step(lr, model.clone(), clip(gradients, norm, limit));
        index += 1;
    })
}

/// Runs the benchmark according to the arguments.
pub(crate) fn run<W: Work>(all: &[(&'static str, W)]) -> Result<(), String> {
    process::prepare(None);
    let (mut rounds, mut cases, mut mode, mut precision) = (10, all.to_vec(), String::new(), "high".to_owned());
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--rounds" => {
                rounds = args.next().and_then(|n| n.parse().ok()).filter(|&n| n > 0).ok_or("--rounds takes a number")?
            }
            "--only" => {
                let names = args.next().ok_or("--only takes names")?;
                cases = names.split(',').map(|name| find(all, name)).collect::<Result<_, _>>()?
            }
            "--precision" => precision = args.next().ok_or("--precision takes a name")?,
            "--json" | "--describe" | "--serve" => mode = arg,
            "--bench" => {} // cargo adds it
            _ => return Err(format!("unknown argument {arg}: see the top of the source")),
        }
    }
    serde_json::from_value::<Precision>(json!(precision)).map_err(|e| e.to_string())?.set();
    match mode.as_str() {
        "--describe" => describe(all),
        "--serve" => serve(all)?,
        _ => table(&cases, rounds, &precision, mode == "--json")?,
    }
    Ok(())
}

fn find<W: Work>(all: &[(&'static str, W)], name: &str) -> Result<(&'static str, W), String> {
    let names = || all.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let found = all.iter().find(|(known, _)| *known == name).copied();
    found.ok_or_else(|| format!("unknown case {name}: there are {}", names()))
}

fn describe<W: Work>(all: &[(&'static str, W)]) {
    let parameters: HashMap<&str, usize> = all.iter().map(|(name, work)| (*name, work.parameters())).collect();
    let gflop: HashMap<&str, f64> = all.iter().map(|(name, work)| (*name, work.gflop())).collect();
    let version = concat!("pushforward ", env!("CARGO_PKG_VERSION"));
    println!("{}", json!({ "version": version, "parameters": parameters, "gflop": gflop }));
}

/// Every answer is the time of a second run: the first refills caches, and pages released while idle.
fn serve<W: Work>(all: &[(&'static str, W)]) -> Result<(), String> {
    let mut started: HashMap<&str, Box<dyn FnMut()>> = HashMap::new();
    for line in stdin().lines() {
        let (name, work) = find(all, line.map_err(|e| e.to_string())?.trim())?;
        let run = started.entry(name).or_insert_with(|| work.start());
        run();
        println!("{name} {:.3}", milliseconds(run));
    }
    Ok(())
}

/// One row per case, each from a child process that measures a single one.
fn table<W: Work>(cases: &[(&'static str, W)], rounds: usize, precision: &str, as_json: bool) -> Result<(), String> {
    if let ([(name, work)], true) = (cases, as_json) {
        println!("{}", json!([measure(name, *work, rounds)]));
        return Ok(());
    }
    if !as_json {
        println!("{:26} {:>10} {:>10} {:>10} {:>10}", "", "median ms", "min ms", "peak MiB", "GFLOP/s");
    }
    let mut rows = Vec::new();
    for (name, _) in cases {
        let child = Command::new(std::env::current_exe().map_err(|e| e.to_string())?)
            .args(["--json", "--rounds", &rounds.to_string(), "--only", name, "--precision", precision])
            .stderr(Stdio::inherit())
            .output()
            .map_err(|e| e.to_string())?;
        let [row]: [Value; 1] = serde_json::from_slice(&child.stdout).map_err(|e| format!("{name} failed: {e}"))?;
        if !as_json {
            let number = |key: &str| row[key].as_f64().unwrap_or(f64::NAN);
            let [median, min, peak, rate] = ["median_ms", "min_ms", "peak_rss_mib", "gflop_per_second"].map(number);
            println!("{name:26} {median:10.1} {min:10.1} {peak:10.0} {rate:10.0}");
        }
        rows.push(row);
    }
    if as_json {
        println!("{}", json!(rows));
    }
    Ok(())
}

fn measure<W: Work>(name: &str, work: W, rounds: usize) -> Value {
    let before = status_mib("VmRSS:");
    let mut run = work.start();
    run();
    let mut times: Vec<f64> = (0..rounds).map(|_| milliseconds(&mut run)).collect();
    times.sort_by(f64::total_cmp);
    let median = (times[(rounds - 1) / 2] + times[rounds / 2]) / 2.0;
    let peak = status_mib("VmHWM:");
    json!({
        "case": name, "rounds": rounds, "median_ms": median, "min_ms": times[0],
        "peak_rss_mib": peak, "peak_rise_mib": peak.zip(before).map(|(peak, before)| peak - before),
        "gflop_per_second": work.gflop() / median * 1e3,
    })
}

fn milliseconds(run: &mut dyn FnMut()) -> f64 {
    let start = Instant::now();
    run();
    start.elapsed().as_secs_f64() * 1e3
}

/// Resident memory of the process, now (`VmRSS:`) or at its peak (`VmHWM:`), if the system reports it.
fn status_mib(what: &str) -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(what))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok()? / 1024.0)
}
