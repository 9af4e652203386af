//! What `steer` has found: how it is printed and written, and how a part of it is kept in a file until `merge` has all of them.

use std::path::{Path, PathBuf};

use pushforward::data::Schema;
use pushforward::flow_map::sample::{LabelChoice, Samples};
use pushforward::flow_map::steer::{Population, Steered};
use pushforward::metrics::interval;
use pushforward::metrics::report::{Report, Row};
use pushforward::ranks::RankError;
use pushforward::ranks::codec::{Reader, Writer};
use pushforward::run::site_shape;
use serde::{Deserialize, Serialize};

use crate::charts::{histogram, text_histogram, traces};
use crate::exit::{Failure, OrFail as _};
use crate::files::write_atomic;
use crate::output::{self, Labelled, Sketch};
use crate::printer::Printer;

/// What was asked, of which model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Asked {
    /// What identifies the model in reports.
    pub(crate) model: serde_json::Value,
    pub(crate) schema: Schema,
    pub(crate) precision: String,
    pub(crate) method: String,
    pub(crate) reward: Option<String>,
    pub(crate) program: Option<String>,
    pub(crate) strength: f64,
    pub(crate) count: usize,
    pub(crate) particles: usize,
    pub(crate) keep: usize,
    pub(crate) seed: u64,
    pub(crate) target: Option<f64>,
    pub(crate) judge_target: Option<f64>,
    /// Whether endpoints are kept.
    pub(crate) endpoints: bool,
    /// Labels that samples were drawn for, and what they stand for.
    pub(crate) labels: LabelChoice,
    pub(crate) names: Vec<String>,
}

/// Results to report.
pub(crate) struct Outcome {
    pub(crate) asked: Asked,
    pub(crate) before: Samples,
    pub(crate) before_rewards: Vec<f64>,
    pub(crate) steered: Steered,
    /// Rewards of the second opinion (`--judge`), before and after.
    pub(crate) second_rewards: Option<[Vec<f64>; 2]>,
    /// Items that the program left without a number, and the last problem.
    pub(crate) unanswered: (usize, String),
}

/// Whether a file of samples has their endpoints.
pub(crate) fn has_endpoints(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("safetensors"))
}

/// The ending of the file of a part.
pub(crate) const STEER: &str = "steer";
/// What the file of a part says it is.
const FORMAT: &str = "pushforward steered part 2";

impl Outcome {
    /// The file of a part.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let asked = serde_json::to_string(&self.asked).expect("names and numbers");
        let mut file = Writer::default().text(FORMAT).text(&asked);
        for samples in [&self.before, &self.steered.samples] {
            file = file.u32s(&samples.ids).f32s(&samples.endpoints).u64s(samples.nfe.iter().copied());
        }
        file = file.f64s(&self.before_rewards).f64s(&self.steered.rewards);
        file = file.u64s([u64::from(self.second_rewards.is_some())]);
        for rewards in self.second_rewards.iter().flatten() {
            file = file.f64s(rewards);
        }
        file = file.u64s([self.unanswered.0 as u64]).text(&self.unanswered.1);
        for Population { ess, resampled, log_z, distinct, nfe } in &self.steered.populations {
            let log_z: Vec<f64> = log_z.iter().copied().collect();
            file = file.f64s(ess).f64s(&log_z).f64s(&[*distinct]).u64s([*resampled as u64, *nfe]);
        }
        file.bytes()
    }

    /// Reads the file of a part.
    fn decode(bytes: &[u8], path: &Path) -> Result<Self, Failure> {
        let refuse = |problem: &str| Failure::request(format!("{}: {problem}", path.display()));
        let damaged = |_: RankError| refuse("it ends too early");
        let mut file = Reader::new(bytes);
        if file.text().ok().as_deref() != Some(FORMAT) {
            return Err(refuse("it is no part that `steer --shard I/N` of this version has written"));
        }
        let asked = file.text().map_err(damaged)?;
        let asked: Asked = serde_json::from_str(&asked).map_err(|error| refuse(&error.to_string()))?;
        let outcome = (|| -> Result<Self, RankError> {
            let sites = site_shape(&asked.schema);
            let mut samples = || -> Result<Samples, RankError> {
                Ok(Samples { ids: file.u32s()?, endpoints: file.f32s()?, sites: sites.clone(), nfe: file.u64s()? })
            };
            let (before, samples) = (samples()?, samples()?);
            let (before_rewards, rewards) = (file.f64s()?, file.f64s()?);
            let judged = file.u64s()?.first() == Some(&1);
            let second_rewards = if judged { Some([file.f64s()?, file.f64s()?]) } else { None };
            let unanswered = (file.u64s()?.first().map_or(0, |&count| count as usize), file.text()?);
            let mut populations = Vec::new();
            while !file.is_at_end() {
                let (ess, log_z, distinct, counts) = (file.f64s()?, file.f64s()?, file.f64s()?, file.u64s()?);
                let ([distinct], [resampled, nfe]) = (&distinct[..], &counts[..]) else {
                    return Err(RankError::Failed("numbers of a population".into()));
                };
                let (resampled, log_z) = (*resampled as usize, log_z.first().copied());
                populations.push(Population { ess, resampled, log_z, distinct: *distinct, nfe: *nfe });
            }
            let steered = Steered { samples, rewards, populations, stopped: None };
            Ok(Self { asked: asked.clone(), before, before_rewards, steered, second_rewards, unanswered })
        })();
        outcome.map_err(damaged)
    }

    /// The whole of all parts, in order.
    ///
    /// # Errors
    /// If they are damaged, or not parts of one request.
    pub(crate) fn joined(parts: &[(PathBuf, impl Sized, Vec<u8>)]) -> Result<Self, Failure> {
        let parts: Result<Vec<Self>, _> = parts.iter().map(|(path, _, bytes)| Self::decode(bytes, path)).collect();
        let mut parts = parts?.into_iter();
        let mut whole = parts.next().ok_or_else(|| Failure::request("there are no parts"))?;
        let mut steered = Vec::new();
        for part in parts {
            if part.asked != whole.asked {
                return Err(Failure::request("the parts are not of one request: what was asked differs"));
            }
            whole.before.ids.extend(part.before.ids);
            whole.before.nfe.extend(part.before.nfe);
            whole.before_rewards.extend(part.before_rewards);
            for (all, more) in whole.second_rewards.iter_mut().flatten().zip(part.second_rewards.into_iter().flatten())
            {
                all.extend(more);
            }
            whole.unanswered.0 += part.unanswered.0;
            if !part.unanswered.1.is_empty() {
                whole.unanswered.1 = part.unanswered.1;
            }
            steered.push(part.steered);
        }
        let count = whole.asked.count;
        whole.steered = Steered::joined(std::iter::once(whole.steered).chain(steered), count).or_run()?;
        let kept = whole.steered.rewards.len();
        whole.second_rewards.iter_mut().for_each(|[_, after]| after.truncate(kept));
        Ok(whole)
    }

    /// Writes the files that were asked for and prints the results.
    pub(crate) fn print(&self, out: Option<&Path>, pictures: Option<&Path>, printer: Printer) -> Result<(), Failure> {
        let schema = &self.asked.schema;
        if let Some(path) = out.filter(|path| *path != Path::new("-")) {
            output::save(self.labelled(), schema, path)?;
            printer.note(&format!("samples: {}", path.display()));
        }
        if let Some(folder) = pictures {
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
        let (unanswered, problem) = &self.unanswered;
        if *unanswered > 0 {
            printer.warn(&format!("the program left {unanswered} items without a number, which counts as minus infinity; the last time {problem}"));
        }
        let report = self.report();
        if out == Some(Path::new("-")) {
            printer.result(output::jsonl(self.labelled(), schema)?.trim_end());
            return Ok(());
        }
        printer.report(&self.json(&report), || {
            let sketches = [&self.before.ids, &self.steered.samples.ids].map(|ids| output::sketch(ids, schema));
            let bars = text_histogram(&self.before_rewards, &self.rewards());
            format!(
                "before\n{}\n\nafter\n{}\n\n{bars}\n\n{}",
                sketches[0].trim_end(),
                sketches[1].trim_end(),
                printer.table(&report)
            )
        });
        Ok(())
    }

    /// Rewards of the steered samples, without the strength.
    fn rewards(&self) -> Vec<f64> {
        self.steered.rewards.iter().map(|reward| reward / self.asked.strength).collect()
    }

    fn labelled(&self) -> Labelled<'_> {
        Labelled {
            samples: &self.steered.samples,
            labels: &self.asked.labels,
            names: &self.asked.names,
            first: 0,
            seed: self.asked.seed,
            condition: None,
            given: None,
        }
    }

    fn pictures(&self, folder: &Path, printer: Printer) -> Result<(), Failure> {
        let schema = &self.asked.schema;
        let mut files: Vec<(String, Vec<u8>)> = Vec::new();
        for (name, ids) in [("before", &self.before.ids), ("after", &self.steered.samples.ids)] {
            let sketch = Sketch::new(name, ids, schema);
            files.push((sketch.name, sketch.bytes));
        }
        let chart = histogram("rewards", [("before", &self.before_rewards), ("after", &self.rewards())]);
        files.push(("rewards.svg".into(), chart.into_bytes()));
        let lines: Vec<Vec<f64>> = self.steered.populations.iter().map(|p| p.ess.clone()).collect();
        let chart = traces("effective sample size of every population", &lines, self.asked.particles as f64);
        files.push(("ess.svg".into(), chart.into_bytes()));
        for (name, bytes) in files {
            let path = folder.join(name);
            write_atomic(&path, &bytes).or_run()?;
            printer.note(&path.display().to_string());
        }
        Ok(())
    }

    fn report(&self) -> Report {
        let (asked, populations) = (&self.asked, &self.steered.populations);
        let (method, precision) = (asked.method.as_str(), asked.precision.as_str());
        let cost = self.steered.samples.mean_nfe().round() as u32;
        let mut report = Report::new(asked.model.clone());
        let finite = |v: &[f64]| v.iter().copied().filter(|v| v.is_finite()).collect::<Vec<_>>();
        let samplers = [("map", self.before.mean_nfe().round() as u32), (method, cost)];
        let mut sides = |names: [&str; 2], values: [&[f64]; 2], target: Option<f64>| {
            for (rewards, (sampler, nfe)) in values.into_iter().zip(samplers) {
                let done = |row: Row| row.sampled(sampler, nfe).seed(asked.seed).dtype(precision);
                report.push(done(Row::estimate(names[0], "reward", interval::mean(&finite(rewards)))));
                if let Some(target) = target {
                    let hits = rewards.iter().filter(|r| **r >= target).count();
                    report.push(done(Row::estimate(names[1], "fraction", interval::fraction(hits, rewards.len()))));
                }
            }
        };
        sides(["reward_mean", "satisfied"], [&self.before_rewards, &self.rewards()], asked.target);
        if let Some([before, after]) = &self.second_rewards {
            sides(["judge_mean", "judge_satisfied"], [before, after], asked.judge_target);
        }
        let rows = [
            ("ess", "particles", mean(populations.iter().filter_map(|p| p.ess.last().copied()))),
            ("distinct_kept", "fraction", mean(populations.iter().map(|p| p.distinct))),
            ("resampled", "times", mean(populations.iter().map(|p| p.resampled as f64))),
            ("nfe_per_particle", "evaluations", mean(populations.iter().map(|p| p.nfe as f64))),
        ];
        for (name, unit, value) in rows {
            let row = Row::new(name, unit, value).n(populations.len()).seed(asked.seed);
            report.push(row.sampled(method, cost));
        }
        // Estimates of Z are unbiased, those of its logarithm are not: hence the mean before the logarithm.
        let z: Vec<f64> = populations.iter().filter_map(|p| p.log_z).collect();
        if !z.is_empty() {
            let top = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let value = top + mean(z.iter().map(|z| (z - top).exp())).ln();
            report.push(Row::new("log_z", "nats", value).n(z.len()).seed(asked.seed).sampled(method, cost));
        }
        report
    }

    fn json(&self, report: &Report) -> serde_json::Value {
        let number = |v: f64| v.is_finite().then_some(v);
        let schema = &self.asked.schema;
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
        let population = |p: &Population| {
            serde_json::json!({
                "ess": p.ess, "resampled": p.resampled, "log_z": p.log_z.and_then(number), "distinct": p.distinct,
                "nfe_per_particle": p.nfe,
            })
        };
        serde_json::json!({
            "model": report.model,
            "rows": report.rows,
            "method": self.asked.method,
            "reward": self.asked.reward,
            "program": self.asked.program,
            "strength": self.asked.strength,
            "particles": self.asked.particles,
            "keep": self.asked.keep,
            "items": side(&self.steered.samples.ids, &self.rewards(), &self.steered.samples.nfe),
            "before": side(&self.before.ids, &self.before_rewards, &self.before.nfe),
            "populations": self.steered.populations.iter().map(population).collect::<Vec<_>>(),
            "unanswered": self.unanswered.0,
            "stopped": self.steered.stopped.as_ref().map(ToString::to_string),
        })
    }
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let values: Vec<f64> = values.collect();
    values.iter().sum::<f64>() / values.len() as f64
}
