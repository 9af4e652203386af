//! Cards of models: what a model is, how it was trained, how good it is, and what it is not for.

use std::fmt::Write as _;
use std::path::Path;

use pushforward::data::DataConfig;
use pushforward::flow_map::network::NetworkConfig;
use pushforward::metrics::report::{Report, Row};
use pushforward::run::{LoadError, ModelConfig, Role, Stored};
use pushforward::train::checkpoint::Checkpoint;

use crate::sources;

/// Provenance key of the report of an evaluation, as JSON.
pub(crate) const REPORT_KEY: &str = "report";
/// Provenance key of the licence of the data.
pub(crate) const LICENCE_KEY: &str = "data_licence";
/// Provenance key of the minutes of training.
pub(crate) const MINUTES_KEY: &str = "train_minutes";
/// Provenance key of the machine of the training.
pub(crate) const MACHINE_KEY: &str = "train_machine";

/// Metrics that a list shows, where a report has them.
const SHOWN: [&str; 15] = [
    "accuracy",
    "valid",
    "validity_strict",
    "well_formed",
    "correct",
    "class_balance_tv",
    "entropy_joint",
    "entropy_unigram",
    "label_accuracy",
    "frechet",
    TREES,
    "length_tv",
    "bits_per_letter_given_length",
    "perplexity",
    "reconstruction_mse",
];
/// Baselines have it, too, and no network evaluations.
const TREES: &str = "c2st_trees";

/// Provenance key of a description in the place of the recipe's.
pub(crate) const DESCRIPTION_KEY: &str = "description";

/// The licence of the data that a model was trained on, as commonly stated.
pub(crate) fn licence(data: &DataConfig) -> &'static str {
    let data = data.source();
    let name = data.name();
    match data {
        DataConfig::Glyphs(_)
        | DataConfig::Echo(_)
        | DataConfig::Sums(_)
        | DataConfig::Checker(_)
        | DataConfig::SmallMolecules(_) => "made by the program, no rights of others",
        _ => sources::find(name).map_or("files of the user: their own", |source| source.licence),
    }
}

/// What is known of a model from its file alone.
pub(crate) struct Card {
    name: String,
    bytes: u64,
    sha256: String,
    role: Role,
    objective: String,
    network: String,
    parameters: usize,
    recipe: String,
    step: u64,
    data: &'static str,
    licence: String,
    description: String,
    provenance: std::collections::BTreeMap<String, String>,
    report: Option<Report>,
}

impl Card {
    /// The card of a checkpoint; `path` names it in messages.
    pub(crate) fn of(
        name: &str,
        file: &Checkpoint,
        path: &Path,
        bytes: u64,
        sha256: String,
    ) -> Result<Self, LoadError> {
        let stored = Stored::<NetworkConfig>::of(file, path)?;
        let spelled = |value: Result<serde_json::Value, serde_json::Error>| {
            value.ok().and_then(|v| v["kind"].as_str().map(str::to_owned)).unwrap_or_default()
        };
        let (objective, network) = match &stored.recipe.model {
            ModelConfig::FlowMap(config) => (
                spelled(serde_json::to_value(config.objective.off_diagonal)),
                spelled(serde_json::to_value(&config.network)),
            ),
            ModelConfig::Aef(config) => {
                let variant = serde_json::to_value(config.variant).ok();
                let variant = variant.and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default();
                (format!("{variant}, latent of {}", config.latent), spelled(serde_json::to_value(&config.network)))
            }
            ModelConfig::CategoricalAef(config) => {
                (format!("bound, latent of {}", config.latent), spelled(serde_json::to_value(&config.network)))
            }
            ModelConfig::Classifier(_) => ("cross-entropy".into(), "convolutions".into()),
        };
        let data = &stored.recipe.data;
        Ok(Self {
            name: name.to_owned(),
            bytes,
            sha256,
            role: Role::of(&stored.recipe.model),
            objective,
            network,
            parameters: file.ema.values().map(|tensor| tensor.num_elements()).sum(),
            recipe: file.recipe.clone(),
            step: file.step,
            data: data.name(),
            licence: file.provenance.get(LICENCE_KEY).cloned().unwrap_or_else(|| licence(data).to_owned()),
            description: file.provenance.get(DESCRIPTION_KEY).unwrap_or(&stored.recipe.description).clone(),
            report: file.provenance.get(REPORT_KEY).and_then(|text| serde_json::from_str(text).ok()),
            provenance: file.provenance.clone(),
        })
    }

    /// A few lines for a list; `place` says where the model is.
    pub(crate) fn lines(&self, place: &str) -> String {
        let Self { name, role, objective, network, parameters, data, licence, .. } = self;
        let kilobytes = self.bytes.div_ceil(1000);
        let mut text = format!(
            "{name}  {}\n  {role}, {objective}, {network} of {parameters} parameters, {kilobytes} kB, {place}\n  \
             data: {data} ({licence}); sha256 {}",
            self.description,
            &self.sha256[..16]
        );
        for line in self.figures() {
            write!(text, "\n  {line}").expect("a string takes every line");
        }
        text
    }

    /// One line for each number of network evaluations.
    fn figures(&self) -> Vec<String> {
        let Some(report) = &self.report else { return Vec::new() };
        let mut evaluations: Vec<Option<u32>> = report.rows.iter().map(|row| row.nfe).collect();
        evaluations.sort_unstable();
        evaluations.dedup();
        let line = |nfe: &Option<u32>| {
            let of = |metric: &&str| {
                // Rows without evaluations are of the model itself, or of data that it is compared with.
                let own = |row: &&Row| row.nfe == *nfe && (nfe.is_some() || row.sampler.is_none());
                report.rows.iter().filter(own).find(|row| row.metric == *metric)
            };
            let values: Vec<String> = SHOWN
                .iter()
                .filter(|metric| nfe.is_some() || **metric != TREES)
                .filter_map(of)
                .filter(|row| row.value.is_finite())
                .map(|row| format!("{} {:.3}", row.metric, row.value))
                .collect();
            let heading = nfe.map_or_else(String::new, |nfe| format!("NFE {nfe}: "));
            (!values.is_empty()).then(|| heading + &values.join(", "))
        };
        evaluations.iter().filter_map(line).collect()
    }

    /// The card as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "name": self.name,
            "description": self.description,
            "bytes": self.bytes,
            "sha256": self.sha256,
            "role": self.role.name(),
            "objective": self.objective,
            "network": self.network,
            "parameters": self.parameters,
            "step": self.step,
            "data": self.data,
            "data_licence": self.licence,
            "report": self.report,
            "here": true,
        })
    }

    /// The card as Markdown.
    pub(crate) fn markdown(&self) -> String {
        let said = |key: &str| self.provenance.get(key).map(String::as_str);
        let put = "a string takes every line";
        let mut out = format!("# {}\n\n{}\n\n", self.name, self.description);
        let mut row = |name: &str, value: &str| {
            if !value.is_empty() {
                writeln!(out, "- **{name}**: {value}").expect(put);
            }
        };
        row("kind", &format!("{}, {}", self.role, self.objective));
        row("network", &format!("{}, {} parameters", self.network, self.parameters));
        row("file", &format!("{} bytes, sha256 {}", self.bytes, self.sha256));
        row("data", &format!("{}, sha256 {}", self.data, said("data_sha256").unwrap_or("not known")));
        row("licence of the data", &self.licence);
        let minutes = said(MINUTES_KEY).map_or_else(String::new, |minutes| format!(", {minutes} minutes"));
        let machine = said(MACHINE_KEY).map_or_else(String::new, |machine| format!(" on {machine}"));
        row("training", &format!("{} steps{minutes}{machine}", self.step));
        row("device and precision", &[said("device"), said("dtype")].map(Option::unwrap_or_default).join(", "));
        row("version", said("version").unwrap_or_default());
        out += "\n## Figures\n\n";
        match &self.report {
            Some(report) => {
                out +=
                    "Of the averaged weights of the run, before their rounding to half precision; 95 % intervals.\n\n";
                write!(out, "```text\n{}```\n", report.table_within(120)).expect(put);
                for remark in &report.remarks {
                    write!(out, "\n{remark}\n").expect(put);
                }
            }
            None => out += "Not in this file: `pushforward eval` measures them.\n",
        }
        write!(out, "\n## Limits\n\n{}\n", self.limits()).expect(put);
        write!(out, "\n## Recipe\n\n```toml\n{}\n```\n", self.recipe.trim_end()).expect(put);
        out
    }

    /// What the model is not for.
    fn limits(&self) -> &'static str {
        match self.data {
            "glyphs" | "echo" | "sums" | "checker" => {
                "A demonstration on data that a program draws: it knows nothing of handwriting, language or arithmetic outside \
                 its set, and must not be used as if it did. Few evaluations give some wrong items; the table says how many."
            }
            "small-molecules" | "qm9" | "zinc250k" | "molecules" => {
                "Graphs of atoms and bonds without stereochemistry, charges beyond those of the data, or any knowledge of \
                 synthesis, toxicity or activity. Some samples are invalid; the table says how many. Not for choosing \
                 substances to make or to give to anyone without the judgement of a chemist."
            }
            "mnist" | "fashion-mnist" | "kmnist" | "cifar10" | "image-folder" => {
                "Pictures like those of its data set and no others. Labels, where it takes them, are those of the set. Not for \
                 recognising anything, and not as evidence of what was photographed."
            }
            "table" => {
                "Rows like those of its table, with its mistakes and its imbalances. Samples are not anonymous by \
                 themselves: rare values and combinations may be those of a person. Not for decisions about people."
            }
            _ => {
                "Text or items like those of its data, without any knowledge of truth. Not for statements that anyone relies \
                 on."
            }
        }
    }
}
