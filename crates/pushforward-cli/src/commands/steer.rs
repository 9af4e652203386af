//! `pushforward steer`

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pushforward::burn::tensor::{Device, Tensor};
use pushforward::data::graph::ABSENT;
use pushforward::flow_map::sample::{LabelChoice, LastStep, ObservedRow, SampleRequest, Sampler, Samples};
use pushforward::flow_map::steer::{
    Method, RenoiseTarget, Reward, RewardError, SmcSettings, SteerError, SteerRequest, Twist,
};
use pushforward::flow_map::time::TimeGrid;
use pushforward::hash::sha256;
use pushforward::kernels::Precision;
use pushforward::metrics::kneser_ney::KneserNey;
use pushforward::reward::{Context, Spec};
use pushforward::run::{Loaded, Model, SteerFailure, drawn_together, items, site_shape};

use super::{load_classifier, load_data, load_model, refuse};
use crate::args::{AheadName, DataDirArgs, DeviceArgs, EndsName, MethodName, RunDataArgs, SteerArgs};
use crate::conditions::{conditioned, labels, say_fixed};
use crate::constraints::Constraints;
use crate::exit::{Failure, OrFail as _};
use crate::files::write_atomic;
use crate::interrupt::interrupted;
use crate::memory::check_samples;
use crate::output;
use crate::printer::Printer;
use crate::program::Program;
use crate::progress::StageBar;
use crate::ranks::team;
use crate::shards::{Part, Shard, hash_of};
use crate::steered::{Asked, Outcome, STEER, has_endpoints};

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
        if n == 0 {
            return Ok(Vec::new());
        }
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
    if args.shard.is_some() && args.out.as_deref() == Some(Path::new("-")) {
        return Err(Failure::request("a part is a file: name the file of all samples by --out"));
    }
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
    // A part keeps them if the file of all samples will have them.
    request.sample.endpoints &= args.shard.is_none() || args.out.as_deref().is_some_and(has_endpoints);
    // Every population is drawn whole; its particles are computed `--batch` at a time.
    let together = args.batch.max(args.particles);
    check_samples(args.count.max(together), together, true, &loaded.run.schema)?;
    request.part = args.shard.map(|shard| populations(&request, shard)).transpose()?;
    let mut bar = StageBar::new(printer);
    let own = args.shard.map_or(0..args.count, |shard| shard.range(args.count, args.batch));
    let plain = SampleRequest {
        sampler: Sampler::Map,
        last: LastStep::Argmax,
        endpoints: false,
        first: own.start as u64,
        count: own.len(),
        ..request.sample.clone()
    };
    let team = team();
    let before = if own.is_empty() {
        let sites = site_shape(&loaded.run.schema);
        Samples { ids: Vec::new(), endpoints: Vec::new(), sites, nfe: Vec::new() }
    } else {
        drawn_together(&team, &plain, |own| model.plain(own, &mut |_| !interrupted())).or_request()?
    };
    let before_rewards = total.plain(&before.ids).or_run()?;
    let steered = model.steered(&request, &total, &team, &mut |done| {
        bar.update("steered samples", done, args.count);
        !interrupted()
    });
    bar.finish();
    let steered = steered.map_err(failure)?;
    total.program.as_ref().map_or(Ok(()), Program::finish).or_run()?;
    let score = |spec: &Spec<'_>, ids: &[u32]| if ids.is_empty() { Ok(Vec::new()) } else { spec.score(ids) };
    let score_both = |spec: &Spec<'_>| Ok([score(spec, &before.ids)?, score(spec, &steered.samples.ids)?]);
    let second_rewards = second_reward
        .as_ref()
        .map(score_both)
        .transpose()
        .map_err(|e: RewardError| failure(SteerError::from(e).into()))?;
    let asked = asked(args, &loaded, model.device(), request.sample.labels.clone());
    let unanswered = total.program.as_ref().map_or((0, String::new()), Program::unanswered);
    let result = Outcome { asked, before, before_rewards, steered, second_rewards, unanswered };
    if !team.is_first() {
        return Ok(());
    }
    let stopped = result.steered.stopped.clone();
    if let Some((shard, out)) = args.shard.zip(args.out.as_deref()) {
        if let Some(error) = stopped {
            return Err(failure(error.into()).hint("the part is not whole, and not written"));
        }
        let classifiers = [&classifier, &second_classifier].map(|found| found.as_ref().map(|c| c.run.sha256.as_str()));
        let (file, bytes) = (shard.named(out, STEER), result.encode());
        write_atomic(&file, &bytes).or_run()?;
        printer.result(&file.display().to_string());
        let part = Part {
            shard,
            model: loaded.run.sha256.clone(),
            settings: settings(args, classifiers)?,
            count: request.populations(),
            items: request.part.clone().unwrap_or_default(),
            heading: 0,
            sha256: sha256([bytes]),
        };
        return part.save(&file);
    }
    result.print(args.out.as_deref(), args.pictures.as_deref(), printer)?;
    stopped.map_or(Ok(()), |error| {
        let done = result.steered.rewards.len();
        Err(failure(error.into()).hint(format!("{done} of {} samples were finished and are kept", args.count)))
    })
}

/// What the report says of the request.
fn asked(args: &SteerArgs, loaded: &Loaded, device: &Device, labels: LabelChoice) -> Asked {
    let method = match args.method {
        MethodName::BestOf => "best-of",
        MethodName::Resample => "resample",
        MethodName::Gradient => "gradient",
        MethodName::Smc => "smc",
        MethodName::Tilt => "tilt",
    };
    Asked {
        model: loaded.run.identity(),
        schema: loaded.run.schema.clone(),
        precision: Precision::current().on(device).name().to_owned(),
        method: method.to_owned(),
        reward: args.reward.clone(),
        program: args.program.clone(),
        strength: args.strength,
        count: args.count,
        particles: args.particles,
        keep: args.keep,
        seed: args.seed,
        target: args.target,
        judge_target: args.judge_target,
        endpoints: args.out.as_deref().is_some_and(has_endpoints),
        labels,
        names: loaded.run.label_names(),
    }
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

fn request(
    args: &SteerArgs,
    constraints: Constraints,
    observed: Vec<ObservedRow>,
    labels: LabelChoice,
) -> SteerRequest {
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
        correct: args.correct,
        constraint: constraints.constraint,
        sizes: constraints.sizes,
        labels,
        observed,
        guidance: args.condition.guidance,
        ..SampleRequest::map(args.count, 1, args.seed)
    };
    SteerRequest { sample, method, particles: args.particles, keep: args.keep, part: None }
}

/// What decides the samples of a request and their report, and not where and by how many threads they are drawn. Files and
/// classifiers count by their content.
fn settings(args: &SteerArgs, classifiers: [Option<&str>; 2]) -> Result<String, Failure> {
    let [classifier, judge_classifier] = classifiers.map(|sha256| sha256.map(PathBuf::from));
    let mut settings = SteerArgs {
        shard: None,
        out: None,
        model: PathBuf::new(),
        classifier,
        judge_classifier,
        device: DeviceArgs { threads: None, ..args.device.clone() },
        data: RunDataArgs { place: DataDirArgs::default(), ..args.data.clone() },
        ..args.clone()
    };
    settings.constraints.mask = settings.constraints.mask.as_deref().map(hash_of).transpose()?;
    Ok(format!("steer {settings:?}"))
}

/// The populations of a part, in groups that are computed at once.
fn populations(request: &SteerRequest, shard: Shard) -> Result<Range<usize>, Failure> {
    let (count, together) = (request.populations(), request.together());
    let own = shard.range(count, together);
    if !own.is_empty() {
        return Ok(own);
    }
    let (samples, keep) = (request.sample.count, request.keep);
    let ways = if count < shard.of {
        "take fewer parts, or more populations (a larger -n, or a smaller --keep); or share the particles of each population, which \
         parts cannot: mpirun -n N, with the feature mpi"
    } else {
        "take fewer parts, or a smaller --batch"
    };
    Err(Failure::request(format!(
        "part {shard} has no populations: {samples} samples are of {count} (--keep {keep}), and {together} at once are computed \
         together (--batch, --particles)"
    ))
    .hint(ways))
}
