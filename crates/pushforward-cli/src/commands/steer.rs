//! `pushforward steer`

use std::path::Path;
use std::time::Duration;

use pushforward::burn::tensor::Tensor;
use pushforward::data::graph::ABSENT;
use pushforward::flow_map::sample::{LastStep, ObservedRow, SampleRequest, Sampler, Samples};
use pushforward::flow_map::steer::{
    Method, RenoiseTarget, Reward, RewardError, SmcSettings, SteerError, SteerRequest, Steered, Twist,
};
use pushforward::flow_map::time::TimeGrid;
use pushforward::kernels::Precision;
use pushforward::metrics::interval;
use pushforward::metrics::kneser_ney::KneserNey;
use pushforward::metrics::report::{Report, Row};
use pushforward::reward::{Context, Spec};
use pushforward::run::{Loaded, Model, SteerFailure, drawn_together, items};

use super::{load_classifier, load_data, load_model, refuse};
use crate::args::{AheadName, EndsName, MethodName, SteerArgs};
use crate::charts::{histogram, text_histogram, traces};
use crate::conditions::{conditioned, labels, say_fixed};
use crate::constraints::Constraints;
use crate::exit::{Failure, OrFail as _};
use crate::files::write_atomic;
use crate::interrupt::interrupted;
use crate::memory::check_samples;
use crate::output::{self, Labelled, Sketch};
use crate::printer::Printer;
use crate::program::Program;
use crate::progress::StageBar;
use crate::ranks::team;

/// The built-in reward and the user's program together, times the strength.
struct Total<'a> {
    spec: Option<Spec<'a>>,
    program: Option<Program>,
    strength: f64,
    loaded: &'a Loaded,
}

impl Total<'_> {
    /// Rewards without the strength.
    fn plain(&self, ids: &[u32]) -> Result<Vec<f64>, RewardError> {
        let n = ids.len() / self.loaded.run.schema.sites;
        let mut values = match &self.spec {
            Some(spec) => spec.score(ids)?,
            None => vec![0.0; n],
        };
        if let Some(program) = &self.program {
            let lines = output::objects(ids, &self.loaded.run.schema);
            values.iter_mut().zip(program.score(&lines)?).for_each(|(v, p)| *v += p);
        }
        Ok(values)
    }
}

impl Reward for Total<'_> {
    fn score(&self, ids: &[u32]) -> Result<Vec<f64>, RewardError> {
        Ok(self.plain(ids)?.into_iter().map(|v| v * self.strength).collect())
    }

    fn soft(&self, pi: Tensor<3>) -> Option<Tensor<1>> {
        // A program's reward has no gradient.
        self.program.is_none().then_some(())?;
        Some(self.spec.as_ref()?.soft(pi)? * self.strength)
    }
}

pub(crate) fn run(args: &SteerArgs, printer: Printer) -> Result<(), Failure> {
    let loaded = load_model(&args.model, args.raw, &args.device, printer)?;
    args.out.as_deref().map_or(Ok(()), |path| output::check_target(path, &loaded.run.schema))?;
    let (loaded, observed) = told(args, loaded, printer)?;
    let Some(model) = loaded.model.steers() else {
        return Err(loaded.flow_map("be steered").map(|_| ()).or_request().expect_err("a classifier draws nothing"));
    };
    let classifier = args.classifier.as_ref().map(|path| load_classifier(path, &args.device, printer)).transpose()?;
    let second_classifier =
        args.judge_classifier.as_ref().map(|path| load_classifier(path, &args.device, printer)).transpose()?;
    let scorer = scorer(args, &loaded, printer)?;
    let context = Context {
        schema: &loaded.run.schema,
        data: &loaded.run.data,
        classifier: classifier.as_ref(),
        scorer: scorer.as_ref(),
    };
    let total = Total {
        spec: args.reward.as_deref().map(|text| Spec::new(text, context)).transpose().or_request()?,
        program: args.program.as_deref().map(|c| Program::new(c, Duration::from_secs_f64(args.timeout))),
        strength: args.strength,
        loaded: &loaded,
    };
    let second_context = Context { classifier: second_classifier.as_ref().or(classifier.as_ref()), ..context };
    let second_reward = args.judge.as_deref().map(|text| Spec::new(text, second_context)).transpose().or_request()?;
    let mut constraints = Constraints::of(&args.constraints, &loaded.run.schema)?;
    constraints.make_room(&observed, &loaded.run.schema)?;
    constraints.constraint = constraints.closed(&loaded.run.schema)?;
    if let Model::FlowMap(model) = &loaded.model {
        say_fixed(model, constraints.constraint.as_ref(), printer);
    }
    let labels = labels(&args.condition, &loaded.run)?;
    let mut request = request(args, constraints, observed, labels);
    request.sample.endpoints &= matches!(loaded.model, Model::FlowMap(_));
    // Every population is drawn whole; its particles are computed `--batch` at a time.
    let together = args.batch.max(args.particles);
    check_samples(args.count.max(together), together, true, &loaded.run.schema)?;
    let mut bar = StageBar::new(printer);
    let plain =
        SampleRequest { sampler: Sampler::Map, last: LastStep::Argmax, endpoints: false, ..request.sample.clone() };
    let team = team();
    let before = drawn_together(&team, &plain, |own| model.plain(own, &mut |_| !interrupted())).or_request()?;
    let before_rewards = total.plain(&before.ids).or_run()?;
    let steered = model.steered(&request, &total, &team, &mut |done| {
        bar.update("steered samples", done, args.count);
        !interrupted()
    });
    bar.finish();
    let steered = steered.map_err(failure)?;
    total.program.as_ref().map_or(Ok(()), Program::finish).or_run()?;
    let rewards: Vec<f64> = steered.rewards.iter().map(|r| r / args.strength).collect();
    let score_both = |spec: &Spec<'_>| Ok([spec.score(&before.ids)?, spec.score(&steered.samples.ids)?]);
    let second_rewards = second_reward
        .as_ref()
        .map(score_both)
        .transpose()
        .map_err(|e: RewardError| failure(SteerError::from(e).into()))?;
    let (labels, names) = (request.sample.labels.clone(), loaded.run.label_names());
    let result =
        Outcome { args, loaded: &loaded, labels, names, before, before_rewards, steered, rewards, second_rewards };
    if !team.is_first() {
        return Ok(());
    }
    result.print(&total, printer)?;
    let stopped = result.steered.stopped.clone();
    stopped.map_or(Ok(()), |error| {
        let done = result.rewards.len();
        Err(failure(error.into()).hint(format!("{done} of {} samples were finished and are kept", args.count)))
    })
}

/// A flow map with what it is told; of other models, nothing can be kept or told.
fn told(args: &SteerArgs, loaded: Loaded, printer: Printer) -> Result<(Loaded, Vec<ObservedRow>), Failure> {
    let Loaded { model: Model::FlowMap(model), run } = loaded else {
        let options = [
            ("what samples keep or are told", !args.constraints.is_empty() || !args.condition.is_empty()),
            ("--ends", args.ends != EndsName::Mean),
            ("--ahead", args.ahead != AheadName::Mode),
        ];
        refuse(&options, "flow maps", &loaded)?;
        return Ok((loaded, Vec::new()));
    };
    let (Loaded { model, run }, observed) = conditioned(&args.condition, Loaded { model, run }, printer)?;
    Ok((Loaded { model: Model::FlowMap(model), run }, observed))
}

fn failure(error: SteerFailure) -> Failure {
    match error {
        SteerFailure::Steer(
            SteerError::Reward(_) | SteerError::NoWeight | SteerError::Interrupted | SteerError::Ranks(_),
        ) => Failure::Run(error.into()),
        _ => Failure::Request(error.into()),
    }
}

/// The n-gram model of the training text, if the reward needs it.
fn scorer(args: &SteerArgs, loaded: &Loaded, printer: Printer) -> Result<Option<KneserNey>, Failure> {
    let specs = [&args.reward, &args.judge].into_iter().flatten();
    let wanted = specs.map(|text| Spec::asks_for(text, "ngram")).collect::<Result<Vec<bool>, _>>().or_request()?;
    if !wanted.contains(&true) {
        return Ok(None);
    }
    let splits = load_data(&loaded.run, &args.data, printer)?;
    let mut train = items(splits.train.as_ref(), usize::MAX);
    // Sequences of several lengths, one after the other.
    train.retain(|&id| id != ABSENT);
    let name = format!("{}/train", splits.name);
    KneserNey::train(&name, &train, splits.schema().classes, loaded.run.eval.ngram_order).map(Some).or_request()
}

fn request(args: &SteerArgs, constraints: Constraints, observed: Vec<ObservedRow>, labels: Vec<u32>) -> SteerRequest {
    let settings = SmcSettings {
        twist: match args.ahead {
            AheadName::Mode => Twist::Mode,
            AheadName::Draws => Twist::Draws,
            AheadName::Soft => Twist::Soft,
        },
        renoise: match args.ends {
            EndsName::Drawn => RenoiseTarget::Drawn,
            EndsName::Mean => RenoiseTarget::Mean,
        },
        draws: args.draws,
        tempering: args.tempering,
        threshold: args.threshold,
    };
    let method = match args.method {
        MethodName::BestOf => Method::BestOf,
        MethodName::Resample => Method::Resample,
        MethodName::Gradient => Method::Gradient { step: args.step, rounds: args.rounds },
        MethodName::Smc => Method::Smc(settings),
        MethodName::Tilt => {
            Method::Tilt { churn: args.churn, pull: f64::from(u8::from(args.ahead == AheadName::Soft)), settings }
        }
    };
    let sample = SampleRequest {
        grid: TimeGrid::uniform(args.nfe),
        batch: args.batch,
        temperature: args.temperature,
        last: if args.draw { LastStep::Draw } else { LastStep::Argmax },
        constraint: constraints.constraint,
        sizes: constraints.sizes,
        labels,
        observed,
        guidance: args.condition.guidance,
        ..SampleRequest::map(args.count, 1, args.seed)
    };
    SteerRequest { sample, method, particles: args.particles, keep: args.keep }
}

/// Results to report.
struct Outcome<'a> {
    args: &'a SteerArgs,
    loaded: &'a Loaded,
    before: Samples,
    before_rewards: Vec<f64>,
    steered: Steered,
    rewards: Vec<f64>,
    /// Labels that samples were drawn for, and what they stand for.
    labels: Vec<u32>,
    names: Vec<String>,
    /// Rewards of the second opinion (`--judge`), before and after.
    second_rewards: Option<[Vec<f64>; 2]>,
}

impl Outcome<'_> {
    /// Writes the files that were asked for and prints the results.
    fn print(&self, total: &Total<'_>, printer: Printer) -> Result<(), Failure> {
        let (args, schema) = (self.args, &self.loaded.run.schema);
        if let Some(path) = args.out.as_deref().filter(|path| *path != Path::new("-")) {
            output::save(self.labelled(), schema, path)?;
            printer.note(&format!("samples: {}", path.display()));
        }
        if let Some(folder) = &args.pictures {
            self.pictures(folder, printer)?;
        }
        let weightless = self.steered.populations.iter().filter(|p| p.log_z == Some(f64::NEG_INFINITY)).count();
        if weightless > 0 {
            printer.warn(&format!(
                "{weightless} of {} populations gave no samples: the reward of every particle was minus infinity; take \
                 more --particles or a smaller --strength, or give bad samples a finite reward",
                self.steered.populations.len()
            ));
        }
        let (unanswered, problem) = total.program.as_ref().map_or((0, String::new()), Program::unanswered);
        if unanswered > 0 {
            printer.warn(&format!("the program left {unanswered} items without a number, which counts as minus infinity; the last time {problem}"));
        }
        let report = self.report();
        if args.out.as_deref() == Some(Path::new("-")) {
            printer.result(output::jsonl(self.labelled(), schema)?.trim_end());
            return Ok(());
        }
        printer.report(&self.json(&report, unanswered), || {
            let sketches = [&self.before.ids, &self.steered.samples.ids].map(|ids| output::sketch(ids, schema));
            let bars = text_histogram(&self.before_rewards, &self.rewards);
            format!(
                "before\n{}\n\nafter\n{}\n\n{bars}\n\n{}",
                sketches[0].trim_end(),
                sketches[1].trim_end(),
                printer.table(&report)
            )
        });
        Ok(())
    }

    fn labelled(&self) -> Labelled<'_> {
        Labelled {
            samples: &self.steered.samples,
            labels: &self.labels,
            names: &self.names,
            first: 0,
            seed: self.args.seed,
            condition: None,
            given: None,
        }
    }

    fn pictures(&self, folder: &Path, printer: Printer) -> Result<(), Failure> {
        let schema = &self.loaded.run.schema;
        let mut files: Vec<(String, Vec<u8>)> = Vec::new();
        for (name, ids) in [("before", &self.before.ids), ("after", &self.steered.samples.ids)] {
            let sketch = Sketch::new(name, ids, schema);
            files.push((sketch.name, sketch.bytes));
        }
        let chart = histogram("rewards", [("before", &self.before_rewards), ("after", &self.rewards)]);
        files.push(("rewards.svg".into(), chart.into_bytes()));
        let lines: Vec<Vec<f64>> = self.steered.populations.iter().map(|p| p.ess.clone()).collect();
        let chart = traces("effective sample size of every population", &lines, self.args.particles as f64);
        files.push(("ess.svg".into(), chart.into_bytes()));
        for (name, bytes) in files {
            let path = folder.join(name);
            write_atomic(&path, &bytes).or_run()?;
            printer.note(&path.display().to_string());
        }
        Ok(())
    }

    fn report(&self) -> Report {
        let (args, populations) = (self.args, &self.steered.populations);
        let method = self.steered_by();
        let device = self.loaded.model.steers().expect("it was steered").device();
        let precision = Precision::current().on(device).name();
        let cost = self.steered.samples.mean_nfe().round() as u32;
        let mut report = Report::new(self.loaded.run.identity());
        let finite = |v: &[f64]| v.iter().copied().filter(|v| v.is_finite()).collect::<Vec<_>>();
        let samplers = [("map", self.before.mean_nfe().round() as u32), (method, cost)];
        let mut sides = |names: [&str; 2], values: [&[f64]; 2], target: Option<f64>| {
            for (rewards, (sampler, nfe)) in values.into_iter().zip(samplers) {
                let done = |row: Row| row.sampled(sampler, nfe).seed(args.seed).dtype(precision);
                report.push(done(Row::estimate(names[0], "reward", interval::mean(&finite(rewards)))));
                if let Some(target) = target {
                    let hits = rewards.iter().filter(|r| **r >= target).count();
                    report.push(done(Row::estimate(names[1], "fraction", interval::fraction(hits, rewards.len()))));
                }
            }
        };
        sides(["reward_mean", "satisfied"], [&self.before_rewards, &self.rewards], args.target);
        if let Some([before, after]) = &self.second_rewards {
            sides(["judge_mean", "judge_satisfied"], [before, after], args.judge_target);
        }
        let rows = [
            ("ess", "particles", mean(populations.iter().filter_map(|p| p.ess.last().copied()))),
            ("distinct_kept", "fraction", mean(populations.iter().map(|p| p.distinct))),
            ("resampled", "times", mean(populations.iter().map(|p| p.resampled as f64))),
            ("nfe_per_particle", "evaluations", mean(populations.iter().map(|p| p.nfe as f64))),
        ];
        for (name, unit, value) in rows {
            let row = Row::new(name, unit, value).n(populations.len()).seed(args.seed);
            report.push(row.sampled(method, cost));
        }
        // Estimates of Z are unbiased, those of its logarithm are not: hence the mean before the logarithm.
        let z: Vec<f64> = populations.iter().filter_map(|p| p.log_z).collect();
        if !z.is_empty() {
            let top = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let value = top + mean(z.iter().map(|z| (z - top).exp())).ln();
            report.push(Row::new("log_z", "nats", value).n(z.len()).seed(args.seed).sampled(method, cost));
        }
        report
    }

    fn steered_by(&self) -> &'static str {
        match self.args.method {
            MethodName::BestOf => "best-of",
            MethodName::Resample => "resample",
            MethodName::Gradient => "gradient",
            MethodName::Smc => "smc",
            MethodName::Tilt => "tilt",
        }
    }

    fn json(&self, report: &Report, unanswered: usize) -> serde_json::Value {
        let number = |v: f64| v.is_finite().then_some(v);
        let schema = &self.loaded.run.schema;
        let side = |ids: &[u32], rewards: &[f64], nfe: &[u64]| -> Vec<serde_json::Value> {
            let objects = output::objects(ids, schema);
            let parsed = objects.iter().map(|o| serde_json::from_str(o).expect("it was written as JSON"));
            let with = |((mut object, reward), nfe): ((serde_json::Value, &f64), &u64)| {
                object["reward"] = number(*reward).into();
                object["nfe"] = (*nfe).into();
                object
            };
            parsed.zip(rewards).zip(nfe).map(with).collect()
        };
        let population = |p: &pushforward::flow_map::steer::Population| {
            serde_json::json!({
                "ess": p.ess, "resampled": p.resampled, "log_z": p.log_z.and_then(number), "distinct": p.distinct,
                "nfe_per_particle": p.nfe,
            })
        };
        serde_json::json!({
            "model": report.model,
            "rows": report.rows,
            "method": self.steered_by(),
            "reward": self.args.reward,
            "program": self.args.program,
            "strength": self.args.strength,
            "particles": self.args.particles,
            "keep": self.args.keep,
            "items": side(&self.steered.samples.ids, &self.rewards, &self.steered.samples.nfe),
            "before": side(&self.before.ids, &self.before_rewards, &self.before.nfe),
            "populations": self.steered.populations.iter().map(population).collect::<Vec<_>>(),
            "unanswered": unanswered,
            "stopped": self.steered.stopped.as_ref().map(ToString::to_string),
        })
    }
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let values: Vec<f64> = values.collect();
    values.iter().sum::<f64>() / values.len() as f64
}
