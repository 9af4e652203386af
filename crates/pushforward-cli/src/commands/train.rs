//! `pushforward train`

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Duration;

use pushforward::flow_map::backbone::EndpointNet as _;
use pushforward::flow_map::sample::SampleRequest;
use pushforward::metrics::report::{Report, Row};
use pushforward::ranks::Ranks;
use pushforward::run::evaluate::{Features, Generates, check_metrics};
use pushforward::run::{
    self, Data, Event, Loaded, Model, ModelConfig, Preview, Recipe, RunInfo, TrainOptions, Trained, TrainedAef,
    TrainedCategoricalAef, TrainedClassifier, TrainedFlowMap, preview_request,
};
use pushforward::train::{EndReason, Progress, Reduction};

use super::{
    eval_request, features, image_eval_request, measure, measure_images, open_device, sample_request, say_kept,
};
use crate::args::{RankArgs, TrainArgs, WireName};
use crate::dry_run::forecast;
use crate::exit::{Failure, OrFail as _};
use crate::figures::{Figure, evaluations, laws, of_images, save};
use crate::files::{RUN_RECIPE, create_run_dir, free_run_dir, write_atomic};
use crate::interrupt::interrupted;
use crate::lock::RunLock;
use crate::output::{self, Sketch};
use crate::printer::Printer;
use crate::progress::{Goal, TrainBar};
use crate::ranks;
use crate::report_page::page;
use crate::resume::{announce, announce_end, recipe};
use crate::run_log::RunLog;

pub(crate) fn run(args: &TrainArgs, printer: Printer) -> Result<(), Failure> {
    let device = open_device(&args.device)?;
    let team = ranks::team();
    let (mut recipe, resume, lock) = recipe(args, printer)?;
    if resume.is_none() && team.size() > 1 {
        // The recipe says what is trained, wherever it is trained: later, another number of processes may go on.
        let own = recipe.train.accumulate;
        recipe.train.accumulate *= team.size() as u64;
        let all = recipe.train.accumulate;
        printer.note(&format!("each of {} processes has {own} of {all} micro-batches (train.accumulate)", team.size()));
    }
    recipe.train.precision.set();
    // Loaded before the training, so that a wrong path is reported at once.
    let path = recipe.eval.features.as_ref().filter(|_| !args.no_eval && team.is_first());
    let features = features(path, &recipe.data, &device, printer)?;
    let data = Data::load(&recipe, &args.data.folders()).or_request()?;
    data.notes().iter().for_each(|note| printer.note(note));
    if let Data::Categorical(splits) = &data {
        say_kept(splits, printer);
    }
    if !args.no_eval
        && team.is_first()
        && matches!(recipe.model, ModelConfig::FlowMap(_) | ModelConfig::CategoricalAef(_))
    {
        let (schema, order) = (data.schema(), recipe.eval.ngram_order);
        check_metrics(&recipe.data, &schema, features.as_ref(), order).or_request().map_err(|e| {
            e.hint("the evaluation after the training would fail: set eval.ngram_order or eval.features")
        })?;
    }
    let folder = args.resume.clone().or_else(|| args.out.clone()).unwrap_or_else(|| free_run_dir(&recipe.name));
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    // A GPU parallelises by itself.
    let workers = if pushforward::device::is_cpu(&device) { args.device.threads.unwrap_or(cores) } else { 1 };
    let options = TrainOptions {
        device_name: args.device.device.clone(),
        folder: Some(folder.clone()),
        resume,
        max_minutes: args.max_minutes,
        memory: crate::memory::available(),
        workers,
        ranks: team,
        reduction: reduction(&args.ranks),
        ..TrainOptions::new(device)
    };
    if args.ranks.dry_run {
        if ranks::several() {
            return Err(Failure::request("--dry-run measures one process and computes what several need")
                .hint("start it without a launcher, with --ranks N"));
        }
        return forecast(&args.ranks, &recipe, &data, options, printer);
    }
    let run = Run { recipe, data, folder, features, printer };
    let trained = run.train(options, lock)?;
    if args.no_eval || trained.reason == EndReason::Stopped {
        return Ok(());
    }
    ranks::on_first(|| match trained.loaded.model {
        Model::FlowMap(model) => run.finish_flow_map(&Loaded { model, run: trained.loaded.run }),
        Model::Aef(model) => run.finish_aef(&Loaded { model, run: trained.loaded.run }),
        Model::CategoricalAef(model) => run.finish_categorical_aef(&Loaded { model, run: trained.loaded.run }),
        Model::Classifier(model) => run.finish_classifier(&Loaded { model, run: trained.loaded.run }),
    })
}

/// How gradients are added over several processes.
fn reduction(args: &RankArgs) -> Reduction {
    Reduction {
        reproducible: args.reproducible,
        half: args.wire == WireName::Bf16,
        bucket: args.bucket << 18,
        overlap: !args.no_overlap,
        check_every: args.check_every as u64,
    }
}

/// A run with its outputs.
struct Run {
    recipe: Recipe,
    data: Data,
    folder: PathBuf,
    /// Feature network of the final evaluation.
    features: Option<Features>,
    printer: Printer,
}

impl Run {
    /// Trains, reporting progress and writing the files of the run.
    fn train(&self, options: TrainOptions, mut lock: Option<RunLock>) -> Result<Trained, Failure> {
        let (config, printer, schema) = (&self.recipe.train, self.printer, self.data.schema());
        let resumed_at = options.resume.as_ref().map(|resume| resume.step);
        if let Some(resume) = &options.resume {
            announce(resume, &self.recipe, printer);
        }
        let goal = match config.minutes {
            Some(minutes) => Goal::Time(Duration::from_secs_f64(60.0 * minutes)),
            None => Goal::Steps(config.steps),
        };
        let per_step = (config.batch as u64 * config.accumulate) as f64;
        let (mut bar, mut log, mut error) = (None, None, None);
        let writes = options.ranks.is_first();
        let trained = run::train(&self.recipe, &self.data, options, &mut |event| {
            let reported = match event {
                _ if !writes => Ok(()),
                Event::Start { parameters, examples } => {
                    self.start(resumed_at, parameters, examples, &mut lock).map(|opened| {
                        bar = Some(TrainBar::new(goal, printer));
                        log = Some(opened);
                    })
                }
                other => {
                    let (bar, log) = (bar.as_mut().expect("the run has started"), log.as_mut().expect("likewise"));
                    self.report(other, bar, log, per_step, &schema)
                }
            };
            match reported {
                Ok(()) if !interrupted() => ControlFlow::Continue(()),
                Ok(()) => ControlFlow::Break(()),
                Err(failure) => {
                    error = Some(failure);
                    ControlFlow::Break(())
                }
            }
        });
        if let Some(bar) = bar {
            bar.finish();
        }
        if let Some(failure) = error {
            return Err(failure);
        }
        let trained = trained?;
        announce_end(&trained, config, &self.folder, printer);
        Ok(trained)
    }

    /// Creates and locks the folder of a new run, and opens its log files.
    fn start(
        &self,
        resumed_at: Option<u64>,
        parameters: usize,
        examples: usize,
        lock: &mut Option<RunLock>,
    ) -> Result<RunLog, Failure> {
        if resumed_at.is_none() {
            *lock = Some(create_run_dir(&self.folder).or_request()?);
            write_atomic(&self.folder.join(RUN_RECIPE), self.recipe.to_toml().as_bytes()).or_run()?;
        }
        let (name, folder) = (&self.recipe.name, self.folder.display());
        self.printer.note(&format!("{name} in {folder}: {parameters} parameters, {examples} training items"));
        RunLog::open(&self.folder, resumed_at.unwrap_or(0))
    }

    /// Passes an event on to the progress bar, the log and the folder of the run.
    fn report(
        &self,
        event: Event<'_>,
        bar: &mut TrainBar,
        log: &mut RunLog,
        per_step: f64,
        schema: &pushforward::data::Schema,
    ) -> Result<(), Failure> {
        match event {
            Event::Progress(Progress::Step(report)) => {
                bar.update(report.step, report.loss, report.examples_per_second / per_step);
                let Some(details) = &report.details else { return Ok(()) };
                bar.watch(report.step, details);
                log.step(report)
            }
            Event::Progress(Progress::Validation { step, values, best }) => {
                let list: Vec<String> = values.iter().map(|(name, v)| format!("{name} {v:.4}")).collect();
                let mark = if best { " (best)" } else { "" };
                bar.note(&format!("step {step}: validation {}{mark}", list.join(", ")));
                log.validation(step, values)
            }
            Event::Preview { step, preview } => {
                let sketch = match preview {
                    Preview::Items { nfe, ids } => Sketch::new(&format!("step-{step:08}-nfe{nfe}"), ids, schema),
                    Preview::Images { pixels, shape } => {
                        Sketch::of_images(&format!("step-{step:08}-samples"), pixels, *shape)
                    }
                };
                sketch.save(&self.folder)?;
                log.sketch(step, &sketch)
            }
            Event::Start { .. } | Event::Progress(Progress::Checkpoint { .. }) => Ok(()),
        }
    }

    /// Samples and measurements of an autoencoder of categorical data.
    fn finish_categorical_aef(&self, loaded: &Loaded<TrainedCategoricalAef>) -> Result<(), Failure> {
        let request =
            |nfe| SampleRequest { endpoints: false, ..SampleRequest::map(Preview::COUNT, nfe, self.recipe.seed) };
        self.finish_items(loaded, true, request)
    }

    /// Samples, pictures and measurements of a flow map.
    fn finish_flow_map(&self, loaded: &Loaded<TrainedFlowMap>) -> Result<(), Failure> {
        let points = loaded.model.net.factored().is_none();
        self.finish_items(loaded, points, |nfe| loaded.model.preview_request(Preview::COUNT, nfe, self.recipe.seed))
    }

    /// Samples, pictures and measurements of a model of categorical data; `points` as in `measure`.
    fn finish_items<G: Generates>(
        &self,
        loaded: &Loaded<G>,
        points: bool,
        request: impl Fn(usize) -> SampleRequest,
    ) -> Result<(), Failure> {
        let (printer, schema) = (self.printer, &loaded.run.schema);
        let (mut written, mut figures) = (Vec::new(), Vec::new());
        let Data::Categorical(splits) = &self.data else { unreachable!("it was trained on such data") };
        let held_out = pushforward::run::items(splits.test.as_ref(), Preview::COUNT);
        figures.push(Figure::of(&Sketch::new("data", &held_out, schema), "held-out data"));
        for &nfe in &self.recipe.eval.nfe {
            let ids = loaded.model.generate(&request(nfe), &mut |_| true).or_run()?.ids;
            let sketch = Sketch::new(&format!("final-nfe{nfe}"), &ids, schema);
            let title = format!("samples with {}", evaluations(nfe));
            printer.result(&format!("{title}:"));
            printer.result(&output::sketch(&ids, schema));
            printer.result("");
            figures.push(Figure::of(&sketch, &title));
            written.push(sketch.save(&self.folder)?);
        }
        let request = eval_request(&self.recipe.eval, sample_request(self.recipe.seed));
        // The other processes have done their part.
        let alone = Ranks::alone();
        let report = measure(&alone, loaded, points, splits, self.features.as_ref(), &request, printer)?;
        let drawn = laws(loaded, splits, &request)?;
        written.extend(save(&drawn, &self.folder.join("samples"))?);
        figures.extend(drawn);
        self.close(&report, written, &loaded.run, &figures)
    }

    /// Images and measurements of an autoencoder.
    fn finish_aef(&self, loaded: &Loaded<TrainedAef>) -> Result<(), Failure> {
        let (printer, seed) = (self.printer, self.recipe.seed);
        let (mut written, mut figures) = (Vec::new(), Vec::new());
        for (sketch, title) in of_images(loaded, seed)? {
            written.push(sketch.save(&self.folder)?);
            figures.push(Figure::of(&sketch, title));
        }
        if loaded.model.net.generates() {
            let pixels = loaded.model.draw(&preview_request(seed, true), &mut |_| true).or_run()?;
            printer.result("samples:");
            printer.result(&output::sketch_images(&pixels, loaded.model.shape));
            printer.result("");
        }
        let Data::Continuous(splits) = &self.data else { unreachable!("an autoencoder was trained on such data") };
        let request = image_eval_request(&self.recipe.eval, seed, 256);
        let report = measure_images(loaded, splits, self.features.as_ref(), &request, printer)?;
        self.close(&report, written, &loaded.run, &figures)
    }

    /// Accuracy of a classifier.
    fn finish_classifier(&self, loaded: &Loaded<TrainedClassifier>) -> Result<(), Failure> {
        let Data::Categorical(splits) = &self.data else { unreachable!("a classifier was trained on such data") };
        let mut report = Report::new(loaded.run.identity());
        report.push(Row::estimate("accuracy", "fraction", loaded.model.test_accuracy(splits)));
        self.close(&report, Vec::new(), &loaded.run, &[])
    }

    /// Writes and prints the report, then the paths of all files written.
    fn close(&self, report: &Report, written: Vec<PathBuf>, run: &RunInfo, figures: &[Figure]) -> Result<(), Failure> {
        let [path, html] = ["report.json", "report.html"].map(|name| self.folder.join(name));
        write_atomic(&path, report.to_json().as_bytes()).or_run()?;
        write_atomic(&html, page(run, report, figures).as_bytes()).or_run()?;
        self.printer.result(self.printer.table(report).trim_end());
        self.printer.result("");
        for path in written.into_iter().chain([run.path.clone(), path, html]) {
            self.printer.result(&path.display().to_string());
        }
        Ok(())
    }
}
