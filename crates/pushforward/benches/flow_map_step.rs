//! Time of one training step under every objective, and of sampling, for a DiT of 6 blocks, width 256 and 8 heads on 128 sites
//! of 27 classes.
//!
//! ```text
//! cargo bench --bench flow_map_step -- [--rounds N] [--only NAME,...] [--json | --describe | --serve]
//! ```
//!
//! A training step is the training loop's: loss of 16 examples, gradient, joint norm, clipping, AdamW; all examples go to
//! the objective named. A sample is the library's, from noise to class indices. Every case is measured in a process of its
//! own, so that peak memory is the case's. `pytorch/compare.py` drives `--serve`: a name per line in, `NAME MILLISECONDS` out.
//!
//! The last column counts the matrix products alone (`2 m n k` each; a backward pass costs twice its forward pass, tangent
//! included). It compares with the machine's rate in plain matrix products: what is missing is spent elsewhere.

#![expect(clippy::print_stdout, reason = "a benchmark prints what it measures")]

use std::collections::HashMap;
use std::io::stdin;
use std::process::{Command, Stdio};
use std::time::Instant;

use burn::module::Module as _;
use burn::tensor::{Device, Tensor};
use pushforward::burn;
use pushforward::flow_map::config::{FlowMapConfig, ObjectiveConfig, OffDiagonal, Split, Teacher};
use pushforward::flow_map::interpolant::Source;
use pushforward::flow_map::losses::{EcldPreset, GradientPath};
use pushforward::flow_map::network::{FlowMapModel, NetworkConfig, Skip};
use pushforward::flow_map::objective::{FlowMapObjective, IdBatch};
use pushforward::flow_map::sample::{SampleRequest, sample};
use pushforward::flow_map::time::TimesConfig;
use pushforward::nn::SiteShape;
use pushforward::nn::dit::DitConfig;
use pushforward::objective::{Objective as _, Step};
use pushforward::params;
use pushforward::rng::{Purpose, stream};
use pushforward::tensor::scalar;
use pushforward::train::TrainConfig;
use pushforward::train::gradients::{Gradients, clip, grad_norm};
use pushforward::train::optim::AdamWOptimizer;
use serde_json::{Value, json};

/// The program's allocator: page faults cost a fifth of a step with the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SITES: SiteShape = SiteShape { count: 128, classes: 27, grid: None };
const BATCH: usize = 16;
const WIDTH: usize = 256;
const BLOCKS: usize = 6;
const COND: usize = 128;
const FEATURES: usize = 256;

/// What a case does.
#[derive(Clone, Copy)]
enum Work {
    Train(OffDiagonal),
    Sample { batch: usize, nfe: usize },
}

const CASES: [(&str, Work); 11] = [
    ("train/diagonal", Work::Train(OffDiagonal::None)),
    ("train/csd", Work::Train(OffDiagonal::Csd { gradient: GradientPath::Published })),
    ("train/ecld", Work::Train(OffDiagonal::Ecld { weights: EcldPreset::Paper })),
    ("train/lsd", Work::Train(OffDiagonal::Lsd { floor: 0.05 })),
    ("train/psd", Work::Train(OffDiagonal::Psd { split: Split::Uniform })),
    ("train/lsd-logit", Work::Train(OffDiagonal::LsdLogit { floor: 0.01, gradient: GradientPath::Published })),
    ("train/esd-logit", Work::Train(OffDiagonal::EsdLogit { floor: 0.01 })),
    ("sample/b1-nfe1", Work::Sample { batch: 1, nfe: 1 }),
    ("sample/b1-nfe4", Work::Sample { batch: 1, nfe: 4 }),
    ("sample/b64-nfe1", Work::Sample { batch: 64, nfe: 1 }),
    ("sample/b64-nfe4", Work::Sample { batch: 64, nfe: 4 }),
];

fn main() -> Result<(), String> {
    let (mut rounds, mut cases, mut mode) = (10, CASES.to_vec(), String::new());
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--rounds" => {
                rounds = args.next().and_then(|n| n.parse().ok()).filter(|&n| n > 0).ok_or("--rounds takes a number")?
            }
            "--only" => {
                cases = args.next().ok_or("--only takes names")?.split(',').map(find).collect::<Result<_, _>>()?
            }
            "--json" | "--describe" | "--serve" => mode = arg,
            "--bench" => {} // cargo adds it
            _ => return Err(format!("unknown argument {arg}: see the top of the source")),
        }
    }
    match mode.as_str() {
        "--describe" => describe(),
        "--serve" => serve()?,
        _ => table(&cases, rounds, mode == "--json")?,
    }
    Ok(())
}

fn find(name: &str) -> Result<(&'static str, Work), String> {
    let names = CASES.map(|(name, _)| name).join(", ");
    CASES.into_iter().find(|(known, _)| *known == name).ok_or_else(|| format!("unknown case {name}: there are {names}"))
}

fn describe() {
    let parameters = params::count(&model(&config(OffDiagonal::None), &Device::flex()));
    let gflop: HashMap<&str, f64> = CASES.iter().map(|(name, work)| (*name, work.gflop())).collect();
    let version = concat!("pushforward ", env!("CARGO_PKG_VERSION"));
    println!("{}", json!({ "version": version, "parameters": parameters, "gflop": gflop }));
}

/// Every request is answered by the time of a second run: the first refills caches, and pages given up while idle.
fn serve() -> Result<(), String> {
    let mut started: HashMap<&str, Box<dyn FnMut()>> = HashMap::new();
    for line in stdin().lines() {
        let (name, work) = find(line.map_err(|e| e.to_string())?.trim())?;
        let run = started.entry(name).or_insert_with(|| work.start());
        run();
        println!("{name} {:.3}", milliseconds(run));
    }
    Ok(())
}

/// One row per case, each from a child process that measures a single one.
fn table(cases: &[(&str, Work)], rounds: usize, as_json: bool) -> Result<(), String> {
    if let ([(name, work)], true) = (cases, as_json) {
        println!("{}", json!([measure(name, *work, rounds)]));
        return Ok(());
    }
    if !as_json {
        println!("{:16} {:>10} {:>10} {:>10} {:>10}", "", "median ms", "min ms", "peak MiB", "GFLOP/s");
    }
    let mut rows = Vec::new();
    for (name, _) in cases {
        let child = Command::new(std::env::current_exe().map_err(|e| e.to_string())?)
            .args(["--json", "--rounds", &rounds.to_string(), "--only", name])
            .stderr(Stdio::inherit())
            .output()
            .map_err(|e| e.to_string())?;
        let [row]: [Value; 1] = serde_json::from_slice(&child.stdout).map_err(|e| format!("{name} failed: {e}"))?;
        if !as_json {
            let number = |key: &str| row[key].as_f64().unwrap_or(f64::NAN);
            let [median, min, peak, rate] = ["median_ms", "min_ms", "peak_rss_mib", "gflop_per_second"].map(number);
            println!("{name:16} {median:10.1} {min:10.1} {peak:10.0} {rate:10.0}");
        }
        rows.push(row);
    }
    if as_json {
        println!("{}", json!(rows));
    }
    Ok(())
}

fn measure(name: &str, work: Work, rounds: usize) -> Value {
    let mut run = work.start();
    run();
    let mut times: Vec<f64> = (0..rounds).map(|_| milliseconds(&mut run)).collect();
    times.sort_by(f64::total_cmp);
    let median = (times[(rounds - 1) / 2] + times[rounds / 2]) / 2.0;
    json!({
        "case": name, "rounds": rounds, "median_ms": median, "min_ms": times[0],
        "peak_rss_mib": peak_mib(), "gflop_per_second": work.gflop() / median * 1e3,
    })
}

fn milliseconds(run: &mut dyn FnMut()) -> f64 {
    let start = Instant::now();
    run();
    start.elapsed().as_secs_f64() * 1e3
}

/// Peak resident memory of the process, where the system tells it.
fn peak_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok()? / 1024.0)
}

fn config(off_diagonal: OffDiagonal) -> FlowMapConfig {
    let network =
        DitConfig { width: WIDTH, blocks: BLOCKS, heads: 8, cond: COND, time_width: FEATURES, ..DitConfig::default() };
    // The network teaches itself instead of its average doing so: the same work without the average's update.
    let objective = ObjectiveConfig {
        off_diagonal,
        share: 1.0,
        start: 0.0,
        teacher: Teacher::Online,
        ..ObjectiveConfig::default()
    };
    FlowMapConfig {
        network: NetworkConfig::Dit(network),
        skip: Skip::None,
        source: Source::Gaussian,
        objective,
        times: TimesConfig::default(),
    }
}

fn model(config: &FlowMapConfig, device: &Device) -> FlowMapModel {
    config.model().init(SITES, device, &mut stream(0, Purpose::Init, 0))
}

impl Work {
    /// Builds the model and returns what is timed.
    fn start(self) -> Box<dyn FnMut()> {
        match self {
            Self::Train(off_diagonal) => Box::new(train(off_diagonal)),
            Self::Sample { batch, nfe } => {
                let (config, device) = (config(OffDiagonal::None), Device::flex());
                let model = model(&config, &device);
                let request = SampleRequest { batch, ..SampleRequest::map(batch, nfe, 0) };
                Box::new(move || {
                    let samples = sample(&model, &config, SITES, &device, &request, &mut |_| true);
                    assert_eq!(samples.ids.len(), batch * SITES.count);
                })
            }
        }
    }

    /// Work in the matrix products, in units of 10^9 operations.
    fn gflop(self) -> f64 {
        let pass = Pass::of(BATCH);
        let flop = match self {
            Self::Train(kind) => match kind {
                OffDiagonal::None => 3.0 * pass.value,
                // A student with tangent and its backward pass; a teacher at the end of the jump.
                OffDiagonal::Csd { .. } | OffDiagonal::Ecld { .. } | OffDiagonal::Lsd { .. } | OffDiagonal::Naive => {
                    3.0 * (pass.value + pass.along_t) + pass.value
                }
                // Two teachers; a student and its backward pass.
                OffDiagonal::Psd { .. } => 2.0 * pass.value + 3.0 * pass.value,
                // The derivative without gradient; a student and its backward pass; a teacher.
                OffDiagonal::LsdLogit { .. } => pass.value + pass.along_t + 3.0 * pass.value + pass.value,
                OffDiagonal::EsdLogit { .. } => pass.value + pass.along_flow + 3.0 * pass.value + pass.value,
            },
            Self::Sample { batch, nfe } => nfe as f64 * Pass::of(batch).value,
        };
        flop * 1e-9
    }
}

/// One optimiser step per call, as the training loop takes it.
fn train(off_diagonal: OffDiagonal) -> impl FnMut() {
    let config = config(off_diagonal);
    let mut model = model(&config, &Device::flex().autodiff());
    let mut optimizer = AdamWOptimizer::new(TrainConfig::default().adamw());
    let objective = FlowMapObjective::new(config, None);
    let mut data = stream(0, Purpose::Synthesis, 0);
    let ids = (0..BATCH * SITES.count).map(|_| data.below(SITES.classes) as u32).collect();
    let (batch, mut index) = (IdBatch { ids }, 0);
    move || {
        let ema = model.valid();
        let step = Step { model: &model, ema: &ema, seed: 0, index, step: index, steps: u64::MAX };
        let parts = objective.loss(&step, &batch);
        let total = parts.terms.into_iter().map(|term| term.loss).reduce(Tensor::add).expect("an objective has terms");
        let gradients = Gradients::of(&total, &model);
        let norm = grad_norm(&gradients);
        assert!(scalar(&total).is_finite() && norm.is_finite(), "step {index} diverged");
        model = optimizer.step(1e-4, model.clone(), clip(gradients, norm, 1.0));
        index += 1;
    }
}

/// Operations in the matrix products of one pass over a batch.
struct Pass {
    value: f64,
    /// The derivative in t: nothing depends on it before the first modulation.
    along_t: f64,
    /// The derivative along the flow, in x and s.
    along_flow: f64,
}

impl Pass {
    fn of(batch: usize) -> Self {
        let product = |m: usize, n: usize, k: usize| 2.0 * (m * n * k) as f64;
        let (rows, blocks) = (batch * SITES.count, BLOCKS as f64);
        let input = product(rows, WIDTH, SITES.classes);
        let time = product(batch, COND, FEATURES) + product(batch, COND, COND); // one of the two
        // qkv, attention output and two feed-forward layers: 3 + 1 + 4 + 4 times the width.
        let block = product(rows, 12 * WIDTH, WIDTH) + product(batch, 6 * WIDTH, COND);
        let trunk = blocks * block + product(batch, 2 * WIDTH, COND) + product(rows, SITES.classes, WIDTH);
        let attention = blocks * 2.0 * product(rows, SITES.count, WIDTH); // its derivative is two such products
        Self {
            value: input + 2.0 * time + trunk + attention,
            along_t: time + trunk + 2.0 * attention,
            along_flow: input + 2.0 * time + trunk + 2.0 * attention,
        }
    }
}
