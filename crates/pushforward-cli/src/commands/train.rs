//! `pushforward train`

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::ValueEnum as _;
use pushforward::aef::config::AefConfig;
use pushforward::aef::marginal::{MarginalRequest, log_densities};
use pushforward::aef::model::DrawRequest;
use pushforward::aef::{AefModel, AefObjective, ImageBatch};
use pushforward::burn::module::Module;
use pushforward::burn::tensor::Device;
use pushforward::classifier::{Classifier, ClassifierObjective, LabelledBatch, accuracy};
use pushforward::data::{Batches, ContinuousSplits, Dataset, EpochSampler, ExampleKey, Schema, Splits};
use pushforward::flow_map::config::{Condition, FlowMapConfig, Teacher};
use pushforward::flow_map::network::FlowMapModel;
use pushforward::flow_map::objective::{FlowMapObjective, IdBatch};
use pushforward::flow_map::sample::{SampleRequest, Sampler, sample};
use pushforward::metrics::report::Report;
use pushforward::params;
use pushforward::rng::{Purpose, stream};
use pushforward::run::evaluate::{Features, items, labels_of};
use pushforward::run::load::{
    self, LABELS_KEY, Model, SCHEMA_KEY, WeightSet, check_compatibility, image_schema, image_shape, site_shape,
};
use pushforward::run::recipe::{ModelConfig, Recipe};
use pushforward::tensor::to_host;
use pushforward::train::checkpoint::{self, RESUME, Resume};
use pushforward::train::metrics::MetricsFile;
use pushforward::train::objective::Objective;
use pushforward::train::{EndReason, Event, Outcome, RunFolder, TrainError, TrainRequest, Validate, train};

use super::{eval_request, features, image_eval_request, load_data, load_images, measure, measure_images, open_device};
use crate::args::TrainArgs;
use crate::exit::{Failure, OrFail as _};
use crate::files::{RUN_RECIPE, create_run_dir, open_run_dir, write_atomic};
use crate::interrupt::interrupted;
use crate::output::{self, Sketch};
use crate::presets::text_of;
use crate::printer::Printer;
use crate::progress::{Goal, TrainBar, human_duration};
use crate::tensorboard::EventWriter;

/// Items of the pictures and texts that a run leaves.
const SAMPLE_ITEMS: usize = 64;
/// Held-out items that a validation looks at.
const VALIDATION_ITEMS: usize = 512;
/// Draws of an estimated log-density in a validation.
const VALIDATION_DRAWS: usize = 16;
/// Images that statistics and principal components are taken from before a run.
const INITIAL_ITEMS: usize = 512;

/// The data of a run.
enum Parts {
    /// Of categorical variables.
    Categorical(Splits),
    /// Images in `[0, 1]^n`.
    Continuous(ContinuousSplits),
}

impl Parts {
    fn schema(&self) -> Schema {
        match self {
            Self::Categorical(splits) => splits.schema().clone(),
            Self::Continuous(splits) => image_schema(splits.train.shape()),
        }
    }

    /// Name, hash and number of training items.
    fn facts(&self) -> (&str, &str, usize) {
        match self {
            Self::Categorical(splits) => (&splits.name, &splits.sha256, splits.train.len()),
            Self::Continuous(splits) => (&splits.name, &splits.sha256, splits.train.len()),
        }
    }
}

/// A run, ready to start.
struct Run<'a> {
    recipe: Recipe,
    folder: PathBuf,
    device: Device,
    schema: Schema,
    /// Number of training items.
    items: usize,
    provenance: BTreeMap<String, String>,
    resume: Option<Resume>,
    max_minutes: Option<f64>,
    /// What the evaluation at the end measures distances with.
    features: Option<Features>,
    printer: Printer,
    args: &'a TrainArgs,
}

pub(crate) fn run(args: &TrainArgs, printer: Printer) -> Result<(), Failure> {
    if args.max_minutes.is_some_and(|m| !(m.is_finite() && m > 0.0)) {
        return Err(Failure::request("--max-minutes is positive"));
    }
    let device = open_device(&args.device)?;
    let mut overrides = args.overrides.clone();
    if let Some(precision) = args.device.precision.and_then(|name| name.to_possible_value()) {
        overrides.push(format!("train.precision={}", precision.get_name()));
    }
    let (recipe, resume) = match &args.resume {
        Some(folder) => resumed(folder, &overrides)?,
        None => {
            let (text, origin) = text_of(&args.recipe)?;
            (Recipe::parse(&text, &origin, &overrides).or_request()?, None)
        }
    };
    recipe.train.precision.set();
    // A wrong path is better found now than after the training that the network is to judge.
    let path = recipe.eval.features.as_ref().filter(|_| !args.no_eval);
    let features = features(path, &recipe.data, &device)?;
    let data_dir = args.data.folder();
    let parts = match recipe.model {
        ModelConfig::Aef(_) => Parts::Continuous(load_images(&recipe.data, &data_dir, recipe.seed)?),
        ModelConfig::FlowMap(_) | ModelConfig::Classifier(_) => {
            Parts::Categorical(load_data(&recipe.data, &data_dir, recipe.seed)?)
        }
    };
    let (schema, (data, sha256, _)) = (parts.schema(), parts.facts());
    check_compatibility(&recipe.model, &schema).map_err(Failure::request)?;
    let folder = match (&args.resume, &args.out) {
        (Some(folder), _) => folder.clone(),
        (None, Some(folder)) => folder.clone(),
        (None, None) => free_folder(&recipe.name),
    };
    let mut provenance = BTreeMap::from([
        ("version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ("device".to_owned(), args.device.device.clone()),
        ("dtype".to_owned(), "f32".to_owned()),
        ("data".to_owned(), data.to_owned()),
        ("data_sha256".to_owned(), sha256.to_owned()),
        (SCHEMA_KEY.to_owned(), serde_json::to_string(&schema).or_run()?),
    ]);
    let labels = match &parts {
        Parts::Categorical(splits) => splits.train.label_count(),
        Parts::Continuous(_) => None,
    };
    if let Some(labels) = labels {
        provenance.insert(LABELS_KEY.to_owned(), labels.to_string());
    }
    let max_minutes = args.max_minutes;
    let items = parts.facts().2;
    let run = Run { recipe, folder, device, schema, items, provenance, resume, max_minutes, features, printer, args };
    match (run.recipe.model.clone(), parts) {
        (ModelConfig::FlowMap(config), Parts::Categorical(splits)) => train_flow_map(run, &splits, &config, labels),
        (ModelConfig::Classifier(config), Parts::Categorical(splits)) => {
            let labels = labels.ok_or_else(|| Failure::request("a classifier needs a set of labelled images"))?;
            let net = config.init(site_shape(&run.schema), labels, &run.device.clone().autodiff(), &mut run.init());
            train_classifier(run, &splits, net)
        }
        (ModelConfig::Aef(config), Parts::Continuous(splits)) => train_aef(run, &splits, &config),
        _ => unreachable!("the data were loaded for the family"),
    }
}

/// The recipe and state of an interrupted run.
fn resumed(folder: &Path, overrides: &[String]) -> Result<(Recipe, Option<Resume>), Failure> {
    open_run_dir(folder).or_request()?;
    let path = folder.join(RUN_RECIPE);
    let text = std::fs::read_to_string(&path).map_err(|e| Failure::request(format!("{}: {e}", path.display())))?;
    let origin = path.display().to_string();
    let before = Recipe::parse(&text, &origin, &[]).or_request()?;
    let recipe = Recipe::parse(&text, &origin, overrides).or_request()?;
    // Anything but the length of the run would make a different run of it under the same name.
    let mut same = recipe.clone();
    (same.train.steps, same.train.minutes) = (before.train.steps, before.train.minutes);
    if same != before {
        return Err(Failure::request("a resumed run keeps its recipe; only train.steps and train.minutes may change")
            .hint("start a new run with another --out for other settings"));
    }
    let state = Resume::load(&checkpoint::folder(folder).join(RESUME)).or_request()?;
    Ok((recipe, Some(state)))
}

/// `runs/NAME`, or the first free `runs/NAME-N`.
fn free_folder(name: &str) -> PathBuf {
    let base = Path::new("runs").join(name);
    let numbered = (2..).map(|i| Path::new("runs").join(format!("{name}-{i}")));
    std::iter::once(base).chain(numbered).find(|path| !path.exists()).expect("there are endless numbers")
}

impl Run<'_> {
    fn init(&self) -> pushforward::rng::Stream {
        stream(self.recipe.seed, Purpose::Init, 0)
    }

    /// Threads for micro-steps: all cores of a CPU; a GPU has its own parallelism.
    fn workers(&self) -> usize {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        if pushforward::device::is_cpu(&self.device) { self.args.threads.unwrap_or(cores) } else { 1 }
    }

    fn batches(&self, splits: &Splits) -> Batches {
        Batches::new(splits.train.clone(), self.recipe.train.batch, self.recipe.seed)
    }

    /// Trains, with everything that is told and written meanwhile.
    fn train<M: Module, O: Objective<M> + Sync>(
        &mut self,
        model: M,
        objective: &O,
        batch: &(dyn Fn(u64) -> O::Batch + Sync),
        validate: &Validate<'_, M>,
        sketches: &dyn Fn(u64, &M) -> Vec<Sketch>,
    ) -> Result<Outcome<M>, Failure> {
        let resumed_at = self.resume.as_ref().map_or(0, |r| r.step);
        if self.args.resume.is_none() {
            create_run_dir(&self.folder).or_request()?;
            write_atomic(&self.folder.join(RUN_RECIPE), self.recipe.to_toml().as_bytes()).or_run()?;
        }
        let printer = self.printer;
        printer.note(&format!(
            "{} in {}: {} parameters, {} training items",
            self.recipe.name,
            self.folder.display(),
            params::count(&model),
            self.items
        ));
        let mut log = Log::open(&self.folder, resumed_at)?;
        let config = self.recipe.train.clone();
        let goal = match config.minutes {
            Some(minutes) => Goal::Time(Duration::from_secs_f64(60.0 * minutes)),
            None => Goal::Steps(config.steps),
        };
        let per_step = (config.batch as u64 * config.accumulate) as f64;
        let mut bar = TrainBar::new(goal, printer);
        let mut trouble = None;
        let request = TrainRequest {
            model,
            objective,
            batch,
            validate: Some(validate),
            seed: self.recipe.seed,
            config,
            run: Some(RunFolder {
                path: self.folder.clone(),
                recipe: self.recipe.to_toml(),
                provenance: self.provenance.clone(),
            }),
            resume: self.resume.take(),
            max_minutes: self.max_minutes,
            workers: self.workers(),
        };
        let outcome = train(request, &mut |event| {
            let told = match event {
                Event::Step(report) => {
                    bar.update(report.step, report.loss, report.examples_per_second / per_step);
                    if report.details.is_some() { log.step(report) } else { Ok(()) }
                }
                Event::Validation { step, values, best } => {
                    let list: Vec<String> = values.iter().map(|(name, v)| format!("{name} {v:.4}")).collect();
                    bar.note(&format!(
                        "step {step}: validation {}{}",
                        list.join(", "),
                        if best { " (best)" } else { "" }
                    ));
                    log.validation(step, values)
                }
                Event::Sample { step, ema } => sketches(step, ema).iter().try_for_each(|sketch| {
                    sketch.save(&self.folder)?;
                    log.sketch(step, sketch)
                }),
                Event::Checkpoint { .. } => Ok(()),
            };
            match told {
                Ok(()) if !interrupted() => ControlFlow::Continue(()),
                Ok(()) => ControlFlow::Break(()),
                Err(failure) => {
                    trouble = Some(failure);
                    ControlFlow::Break(())
                }
            }
        });
        bar.finish();
        if let Some(failure) = trouble {
            return Err(failure);
        }
        let outcome = outcome.map_err(|error| match error {
            TrainError::Config(_) | TrainError::Seed { .. } | TrainError::EmaMismatch | TrainError::Resume(_) => {
                Failure::Request(error.into())
            }
            TrainError::Checkpoint(_) | TrainError::NonFinite { .. } => Failure::Run(error.into()),
        })?;
        let time = human_duration(Duration::from_secs_f64(outcome.seconds));
        let folder = self.folder.display();
        match outcome.reason {
            EndReason::Finished => printer.note(&format!("trained {} steps in {time}", outcome.step)),
            EndReason::Patience => {
                printer.note(&format!(
                    "stopped early after {} steps and {time}: validation no longer falls",
                    outcome.step
                ));
            }
            EndReason::Stopped | EndReason::TimeLimit => printer.note(&format!(
                "stopped after {} steps and {time}; go on with: pushforward train --resume {folder}",
                outcome.step
            )),
        }
        Ok(outcome)
    }
}

/// The files that grow during a run.
struct Log {
    metrics: MetricsFile,
    metrics_path: PathBuf,
    events: EventWriter,
}

impl Log {
    fn open(folder: &Path, resumed_at: u64) -> Result<Self, Failure> {
        let metrics_path = folder.join("metrics.jsonl");
        let metrics = MetricsFile::open(&metrics_path, resumed_at)
            .map_err(|e| Failure::Run(anyhow::anyhow!("{}: {e}", metrics_path.display())))?;
        let mut events = EventWriter::create(&folder.join("tensorboard"), SystemTime::now()).or_run()?;
        if resumed_at > 0 {
            events.restart(resumed_at).or_run()?;
        }
        Ok(Self { metrics, metrics_path, events })
    }

    fn step(&mut self, report: &pushforward::train::StepReport) -> Result<(), Failure> {
        self.metrics.step(report).map_err(|e| Failure::Run(anyhow::anyhow!("{}: {e}", self.metrics_path.display())))?;
        let fixed = [("loss", report.loss), ("lr", report.lr), ("grad_norm", report.grad_norm)];
        let details = report.details.iter().flat_map(|d| d.terms.iter().chain(&d.buckets).chain(&d.stats));
        let all = fixed.into_iter().chain(details.map(|(name, v)| (name.as_str(), *v)));
        for (name, value) in all {
            self.events.scalar(report.step, &format!("train/{name}"), value as f32).or_run()?;
        }
        self.events.flush().or_run()
    }

    fn sketch(&mut self, step: u64, sketch: &Sketch) -> Result<(), Failure> {
        let tag = sketch.name.split('-').next_back().unwrap_or_default();
        match sketch.size {
            Some(size) => self.events.picture(step, tag, size, &sketch.bytes).or_run()?,
            None => self.events.text(step, tag, &String::from_utf8_lossy(&sketch.bytes)).or_run()?,
        }
        self.events.flush().or_run()
    }

    fn validation(&mut self, step: u64, values: &[(String, f64)]) -> Result<(), Failure> {
        self.metrics
            .validation(step, values)
            .map_err(|e| Failure::Run(anyhow::anyhow!("{}: {e}", self.metrics_path.display())))?;
        for (name, value) in values {
            self.events.scalar(step, &format!("validation/{name}"), *value as f32).or_run()?;
        }
        self.events.flush().or_run()
    }
}

fn train_flow_map(
    mut run: Run<'_>,
    splits: &Splits,
    config: &FlowMapConfig,
    labels: Option<usize>,
) -> Result<(), Failure> {
    let sites = site_shape(&run.schema);
    let device = run.device.clone();
    let labelled = matches!(config.condition, Condition::Label { .. });
    if labelled && labels.is_none() {
        return Err(Failure::request(format!(
            "model.condition.kind = label needs labels, and {} has none",
            splits.name
        )));
    }
    let mut net = config.model(labels).init(sites, &device.clone().autodiff(), &mut run.init());
    let mut frozen = None;
    if let Teacher::Frozen { checkpoint, initialise } = &config.objective.teacher {
        let teacher = teacher(Path::new(checkpoint), &run)?;
        if *initialise {
            // The teacher has no learned loss weight unless it was trained with one; only the network is taken over.
            let weights = params::collect(&teacher.network).into_iter().collect();
            net.network = params::load(net.network, &weights).or_request()?;
        }
        frozen = Some(teacher);
    }
    let objective = FlowMapObjective::new(config.clone(), frozen);
    let batches = run.batches(splits);
    let validation = splits.validation.as_ref();
    let held_out = items(validation, VALIDATION_ITEMS);
    let held_out_labels = labelled.then(|| labels_of(validation, held_out.len() / sites.count));
    let (seed, schema) = (run.recipe.seed, run.schema.clone());
    let batch_size = run.recipe.train.batch;
    let validate = |ema: &FlowMapModel| {
        let (mut sum, mut n) = (0.0, 0);
        for (index, part) in (0u64..).zip(held_out.chunks(batch_size * sites.count)) {
            let told = held_out_labels.as_ref().map(|l| l[n..n + part.len() / sites.count].to_vec());
            let values = objective.validation(ema, &IdBatch { ids: part.to_vec(), labels: told }, seed, index);
            let values = to_host(&values.per_example);
            sum += values.iter().sum::<f64>();
            n += values.len();
        }
        vec![("diagonal".to_owned(), sum / n.max(1) as f64)]
    };
    let nfes = run.recipe.eval.nfe.clone();
    let sketches = |step: u64, ema: &FlowMapModel| {
        let sketch = |&nfe: &usize| {
            let request =
                SampleRequest { labels: shown(ema), endpoints: false, ..SampleRequest::map(SAMPLE_ITEMS, nfe, seed) };
            let samples = sample(ema, config, sites, &device, &request, &mut |_| true);
            Sketch::new(&format!("step-{step:08}-nfe{nfe}"), &samples.ids, &schema)
        };
        nfes.iter().take(2).map(sketch).collect()
    };
    let batch =
        |index| IdBatch { ids: batches.at(index), labels: labelled.then(|| batches.labels_at(index)).flatten() };
    let outcome = run.train(net, &objective, &batch, &validate, &sketches)?;
    let unfinished = matches!(outcome.reason, EndReason::Stopped);
    drop(outcome);
    if unfinished || run.args.no_eval {
        return Ok(());
    }
    finish_flow_map(&run, splits)
}

/// Every label in turn, for the pictures of a model that can be told of them.
fn shown(net: &FlowMapModel) -> Vec<u32> {
    (0..net.label_count().unwrap_or(0) as u32).collect()
}

/// The network of a finished first stage.
fn teacher(path: &Path, run: &Run<'_>) -> Result<FlowMapModel, Failure> {
    let loaded = load::load(path, WeightSet::Ema, &run.device).or_request()?;
    if loaded.schema != run.schema {
        return Err(Failure::request(format!("the teacher {} was trained on other data", loaded.path.display())));
    }
    match (loaded.model, &run.recipe.model) {
        (Model::FlowMap { config, net }, ModelConfig::FlowMap(ours))
            if config.network == ours.network
                && config.skip == ours.skip
                && config.source == ours.source
                && config.condition == ours.condition =>
        {
            Ok(net)
        }
        _ => Err(Failure::request(format!(
            "the teacher {} has another network, skip, source or condition than the recipe: a frozen teacher must match",
            loaded.path.display()
        ))),
    }
}

/// Samples, pictures and measurements of a finished run.
fn finish_flow_map(run: &Run<'_>, splits: &Splits) -> Result<(), Failure> {
    let printer = run.printer;
    let device = run.device.clone();
    let loaded = load::load(&run.folder, WeightSet::Ema, &device).or_run()?;
    let mut written = Vec::new();
    for &nfe in &run.recipe.eval.nfe {
        let labels = match &loaded.model {
            Model::FlowMap { net, .. } => shown(net),
            _ => Vec::new(),
        };
        let request =
            SampleRequest { labels, endpoints: false, ..SampleRequest::map(SAMPLE_ITEMS, nfe, run.recipe.seed) };
        let samples = loaded.sample(&request, &mut |_| true).or_run()?;
        written.push(Sketch::new(&format!("final-nfe{nfe}"), &samples.ids, &loaded.schema).save(&run.folder)?);
        printer.result(&format!("samples with {nfe} network evaluation{}:", if nfe == 1 { "" } else { "s" }));
        printer.result(&output::sketch(&samples.ids, &loaded.schema));
        printer.result("");
    }
    let request = eval_request(&run.recipe, Sampler::Map, 1.0, run.recipe.seed, 256);
    let report = measure(&loaded, splits, run.features.as_ref(), &request, printer)?;
    written.push(loaded.path.clone());
    close(run, &report, written)
}

/// Writes and prints the report, then the paths of all that was written.
fn close(run: &Run<'_>, report: &Report, written: Vec<PathBuf>) -> Result<(), Failure> {
    let path = run.folder.join("report.json");
    write_atomic(&path, report.to_json().as_bytes()).or_run()?;
    run.printer.result(report.table().trim_end());
    run.printer.result("");
    for path in written.into_iter().chain([path]) {
        run.printer.result(&path.display().to_string());
    }
    Ok(())
}

fn train_aef(mut run: Run<'_>, splits: &ContinuousSplits, config: &AefConfig) -> Result<(), Failure> {
    let (device, seed, batch) = (run.device.clone(), run.recipe.seed, run.recipe.train.batch);
    let shape = image_shape(&run.schema).map_err(Failure::request)?;
    let mut net = config.init(shape, &device.clone().autodiff(), &mut run.init());
    let order = EpochSampler::new(splits.train.len(), batch, seed);
    let images = |index: u64| ImageBatch { pixels: splits.train.batch(&order.keys(index)), count: batch };
    if run.resume.is_none() {
        // Statistics and principal components come from more than one batch.
        let count = INITIAL_ITEMS.min(splits.train.len());
        let keys = EpochSampler::new(splits.train.len(), count, seed).keys(0);
        let first = ImageBatch { pixels: splits.train.batch(&keys), count };
        let x = first.tensor(&net.preprocessing().norm.shift.val());
        net.initialise(x, config.latent, &mut stream(seed, Purpose::Init, 1));
    } else {
        net.assume_initialised();
    }
    let held_out = splits.validation.len().min(VALIDATION_ITEMS);
    let objective = AefObjective { latent: config.latent };
    let validate = |ema: &AefModel| {
        let (mut sum, mut name) = (0.0, "loss");
        for start in (0..held_out).step_by(batch) {
            let count = batch.min(held_out - start);
            let keys: Vec<ExampleKey> = (start..start + count).map(|i| ExampleKey::fixed(0, i)).collect();
            let part = ImageBatch { pixels: splits.validation.batch(&keys), count };
            let x = part.tensor(&ema.preprocessing().norm.shift.val());
            let loss = objective.of(ema, &ema.prepare(x.clone()), &mut stream(seed, Purpose::Validation, start as u64));
            (name, sum) = if loss.name == "extended_nll" {
                // The published objective is unbounded: what is selected by must be a likelihood.
                let request = MarginalRequest { draws: VALIDATION_DRAWS, seed, ..MarginalRequest::default() };
                let found = log_densities(ema, x, start as u64, &request).expect("an expansion has a density");
                ("nll", sum - found.values.iter().sum::<f64>())
            } else {
                (loss.name, sum + to_host(&loss.values).iter().sum::<f64>())
            };
        }
        vec![(name.to_owned(), sum / held_out as f64)]
    };
    let sketches = |step: u64, ema: &AefModel| {
        let name = format!("step-{step:08}");
        let generated = ema.generates().then(|| {
            let request = image_draws(seed, true);
            Sketch::of_images(
                &format!("{name}-samples"),
                &ema.sample(shape, config.latent, &request, &device, &mut |_| true),
                shape,
            )
        });
        generated.into_iter().collect()
    };
    let outcome = run.train(net, &objective, &images, &validate, &sketches)?;
    let unfinished = matches!(outcome.reason, EndReason::Stopped);
    drop(outcome);
    if unfinished || run.args.no_eval {
        return Ok(());
    }
    let loaded = load::load(&run.folder, WeightSet::Ema, &device).or_run()?;
    let mut written = Vec::new();
    if matches!(&loaded.model, Model::Aef { net, .. } if net.generates()) {
        for (name, deviations) in [("final-samples", true), ("final-means", false)] {
            let pixels = loaded.draw_images(&image_draws(seed, deviations), &mut |_| true).or_run()?;
            written.push(Sketch::of_images(name, &pixels, shape).save(&run.folder)?);
            if deviations {
                run.printer.result("samples:");
                run.printer.result(&output::sketch_images(&pixels, shape));
                run.printer.result("");
            }
        }
    }
    let request = image_eval_request(&run.recipe, seed, 256);
    let report = measure_images(&loaded, splits, run.features.as_ref(), &request, run.printer)?;
    written.push(loaded.path.clone());
    close(&run, &report, written)
}

fn image_draws(seed: u64, deviations: bool) -> DrawRequest {
    DrawRequest { count: SAMPLE_ITEMS, first: 0, temperature: 1.0, deviations, seed, batch: SAMPLE_ITEMS }
}

fn train_classifier(mut run: Run<'_>, splits: &Splits, net: Classifier) -> Result<(), Failure> {
    let sites = site_shape(&run.schema);
    let batches = run.batches(splits);
    let held_out = |set: &dyn Dataset| LabelledBatch::held_out(set, 0..set.len().min(10_000));
    let (validation, test) = (held_out(splits.validation.as_ref()), held_out(splits.test.as_ref()));
    let validate = |ema: &Classifier| vec![("error".to_owned(), 1.0 - accuracy(ema, &validation, sites, 256))];
    let outcome = run.train(
        net,
        &ClassifierObjective { classes: sites.classes },
        &|index| LabelledBatch::at(&batches, index),
        &validate,
        &|_, _| Vec::new(),
    )?;
    if run.args.no_eval || outcome.reason == EndReason::Stopped {
        return Ok(());
    }
    run.printer
        .result(&format!("accuracy on the test set: {:.2} %", 100.0 * accuracy(&outcome.ema, &test, sites, 256)));
    run.printer.result(&load::checkpoint_file(&run.folder).display().to_string());
    Ok(())
}
