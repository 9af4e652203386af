//! Training from a recipe.

mod aef;
mod base;
mod categorical_aef;
mod classifier;
mod error;
mod flow_map;
mod session;

use std::collections::BTreeMap;
use std::ops::{ControlFlow, RangeInclusive};
use std::path::{Path, PathBuf};

pub use self::error::TrainRunError;
use self::session::Session;
pub use self::session::{Event, TrainOptions};
use crate::data::{Layout, reading};
use crate::flow_map::backbone::BackboneConfig;
use crate::flow_map::margins::MOST_STEPS;
use crate::flow_map::network::NetworkConfig;
use crate::hash;
use crate::run::calibrate::keep_calibration;
use crate::run::check::{check, image_shape};
use crate::run::data::Data;
use crate::run::grids::keep_grids;
use crate::run::margins::keep_margins;
use crate::run::memory::Need;
use crate::run::model::{Loaded, Model, RunInfo};
use crate::run::recipe::{ModelConfig, Recipe};
use crate::run::role::Role;
use crate::run::same_data::same_data;
use crate::run::stored::{DATA_KEY, HASH_KEY, LABEL_COUNTS_KEY, LABEL_NAMES_KEY, LABELS_KEY, ROLE_KEY, SCHEMA_KEY};
use crate::run::trained::{TrainedAef, TrainedCategoricalAef, TrainedClassifier, TrainedFlowMap};
use crate::train::checkpoint::{CheckpointError, chosen_file};
use crate::train::{EndReason, Outcome, RunFolder, TrainError};

/// Result of a training run.
#[derive(Debug)]
pub struct Trained<C: BackboneConfig = NetworkConfig> {
    /// The model, with the averaged weights: those of the lowest validation loss if the run may stop early
    /// (`train.patience`), of the last step otherwise. `loaded.run.step` says which.
    pub loaded: Loaded<Model<C>>,
    /// Optimiser steps taken.
    pub steps: u64,
    /// Why the run ended.
    pub reason: EndReason,
    /// Lowest validation loss.
    pub best_validation: Option<f64>,
    /// Seconds of training, interrupted and resumed parts included.
    pub seconds: f64,
}

/// Numbers of jumps of tables whose times are chosen at the end, and rows that choose them. A search costs the square of the number.
const CHOSEN: RangeInclusive<usize> = 2..=8;
const GRID_ITEMS: usize = 256;

/// Trains the model of a recipe on its data.
///
/// Everything is checked before the first [`Event`], so that a caller can create its files on [`Event::Start`]. The
/// precision of matrix products is that of the recipe.
///
/// # Errors
/// See [`TrainRunError`]. After an error in a step, the run folder holds the last checkpoint written.
///
/// # Examples
/// ```
/// use std::{ops::ControlFlow, path::Path};
/// use pushforward::burn::tensor::Device;
/// use pushforward::flow_map::sample::SampleRequest;
/// use pushforward::run::{Data, Recipe, TrainOptions, train};
///
/// let text = "
///     name = 'tiny'
///     data = { set = 'echo' }
///     model = { family = 'flow-map', network = { kind = 'mlp', width = 8 } }
/// ";
/// let recipe: Recipe = Recipe::parse(text, "tiny", &["train.steps=2".into()])?;
/// let data = Data::load(&recipe, Path::new("not read: this set is synthetic"))?;
/// let trained = train(&recipe, &data, TrainOptions::new(Device::flex()), &mut |_| ControlFlow::Continue(()))?;
/// let samples = trained.loaded.flow_map("sample")?.model.sample(&SampleRequest::map(3, 1, 0), &mut |_| true)?;
/// assert_eq!(samples.items().count(), 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn train<C: BackboneConfig>(
    recipe: &Recipe<C>,
    data: &Data,
    options: TrainOptions,
    on_event: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
) -> Result<Trained<C>, TrainRunError> {
    reading(|| checked(recipe, data, options, on_event))?
}

/// [`train`], which ends without a result if items cannot be read any more.
fn checked<C: BackboneConfig>(
    recipe: &Recipe<C>,
    data: &Data,
    options: TrainOptions,
    on_event: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
) -> Result<Trained<C>, TrainRunError> {
    let (schema, labels) = (data.schema(), data.label_count());
    check(&recipe.model, &schema)?;
    if let Some(resume) = &options.resume {
        let known = resume.provenance.get(SCHEMA_KEY).and_then(|text| serde_json::from_str(text).ok());
        same_data(known.as_ref().unwrap_or(&schema), &resume.provenance, data)?;
    }
    if let Some(available) = options.memory {
        Need::of(&of_a_rank(recipe, options.ranks.size()), &schema, labels, options.workers).check(available)?;
    }
    let mut provenance = BTreeMap::from([
        ("version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ("device".to_owned(), options.device_name),
        ("dtype".to_owned(), recipe.train.precision.on(&options.device).name().to_owned()),
        (DATA_KEY.to_owned(), data.name().to_owned()),
        (HASH_KEY.to_owned(), data.sha256().to_owned()),
        (SCHEMA_KEY.to_owned(), serde_json::to_string(&schema).expect("a schema holds names and numbers")),
        (ROLE_KEY.to_owned(), Role::of(&recipe.model).name().to_owned()),
    ]);
    // What was read of the source, and what was refused.
    if let Data::Categorical(splits) = data {
        provenance.extend((!splits.notes.is_empty()).then(|| ("data_notes".to_owned(), splits.notes.join("; "))));
        let names = (!splits.label_names.is_empty()).then_some(&splits.label_names);
        let names = names.map(|names| serde_json::to_string(names).expect("names are text"));
        provenance.extend(names.map(|names| (LABEL_NAMES_KEY.to_owned(), names)));
        provenance.extend(splits.refusals().map(|line| ("data_refused".to_owned(), line)));
    }
    provenance.extend(labels.map(|labels| (LABELS_KEY.to_owned(), labels.to_string())));
    let told = matches!(&recipe.model, ModelConfig::FlowMap(config) if config.condition.takes_labels());
    let label_counts = if told { data.label_counts() } else { Vec::new() };
    if told {
        let text = serde_json::to_string(&label_counts).expect("counts are numbers");
        provenance.insert(LABEL_COUNTS_KEY.into(), text);
    }
    let text = recipe.to_toml();
    let folder = options.folder.filter(|_| options.ranks.is_first());
    let mut session = Session {
        seed: recipe.seed,
        config: recipe.train.clone(),
        device: options.device.clone(),
        data: recipe.data.clone(),
        provenance: provenance.clone(),
        preview_nfe: recipe.eval.nfe.clone(),
        examples: data.train_len(),
        folder: folder.clone().map(|path| RunFolder { path, recipe: text.clone(), provenance: provenance.clone() }),
        resume: options.resume,
        max_minutes: options.max_minutes,
        workers: options.workers,
        ranks: options.ranks,
        reduction: options.reduction,
        on_event,
    };
    let device = options.device;
    let (model, end) = match (&recipe.model, data) {
        (ModelConfig::FlowMap(config), Data::Categorical(splits)) => {
            let (net, end) = split(flow_map::train(&mut session, splits, config, labels)?);
            let mut model = TrainedFlowMap::new(config.clone(), net, schema.clone(), &device);
            model.label_counts = label_counts;
            if end.reason != EndReason::Stopped {
                model.calibrate(splits.validation.as_ref(), recipe.seed);
            }
            if let (Some(calibration), Some(folder)) = (&model.calibration, &folder) {
                keep_calibration(calibration, &chosen_file(folder))?;
            }
            // Other than a calibration, they change samples, which a run that is not over may still draw as they are.
            if end.reason != EndReason::Stopped && matches!(schema.layout, Layout::Columns(_)) {
                let steps: Vec<usize> =
                    recipe.eval.nfe.iter().copied().filter(|&nfe| (1..=MOST_STEPS).contains(&nfe)).collect();
                let jumps: Vec<usize> = steps.iter().copied().filter(|steps| CHOSEN.contains(steps)).collect();
                let fitted = model.fit_grids(&jumps, GRID_ITEMS, recipe.seed, &mut |_| true);
                let fitted = fitted.and_then(|_| model.fit_margins(None, &steps, recipe.seed, &mut |_| true));
                if let (Ok(_), Some(folder)) = (fitted, &folder) {
                    keep_grids(&model.grids, &chosen_file(folder))?;
                    keep_margins(&model.margins, &chosen_file(folder))?;
                }
            }
            (Model::FlowMap(model), end)
        }
        (ModelConfig::Classifier(config), Data::Categorical(splits)) => {
            let (net, end) = split(classifier::train(&mut session, splits, config, labels)?);
            (Model::Classifier(TrainedClassifier { config: config.clone(), net }), end)
        }
        (ModelConfig::CategoricalAef(config), Data::Categorical(splits)) => {
            let (net, end) = split(categorical_aef::train(&mut session, splits, config)?);
            let (config, schema) = (config.clone(), schema.clone());
            (Model::CategoricalAef(TrainedCategoricalAef { config, net, schema, device }), end)
        }
        (ModelConfig::Aef(config), Data::Continuous(splits)) => {
            let (net, end) = split(aef::train(&mut session, splits, config)?);
            (Model::Aef(TrainedAef { config: config.clone(), net, shape: image_shape(&schema)?, device }), end)
        }
        _ => return Err(TrainRunError::DataForm { name: data.name().to_owned() }),
    };
    let (path, sha256) = checkpoint_of(folder.as_deref())?;
    let run = RunInfo { step: end.ema_step, path, sha256, ..RunInfo::unsaved(recipe, text, schema, provenance) };
    let loaded = Loaded { model, run };
    let End { step: steps, reason, best_validation, seconds, .. } = end;
    Ok(Trained { loaded, steps, reason, best_validation, seconds })
}

/// The recipe with the micro-batches of one of several ranks.
fn of_a_rank<C: BackboneConfig>(recipe: &Recipe<C>, ranks: usize) -> Recipe<C> {
    let mut own = recipe.clone();
    own.train.accumulate = own.train.accumulate.div_ceil(ranks as u64);
    own
}

/// How a run ended: the part of [`Outcome`] that does not depend on the model.
struct End {
    ema_step: u64,
    step: u64,
    reason: EndReason,
    best_validation: Option<f64>,
    seconds: f64,
}

fn split<M>(outcome: Outcome<M>) -> (M, End) {
    let Outcome { ema, ema_step, step, reason, best_validation, seconds, .. } = outcome;
    (ema, End { ema_step, step, reason, best_validation, seconds })
}

/// Path and SHA-256 of the checkpoint of a run folder; both empty without a folder.
fn checkpoint_of(folder: Option<&Path>) -> Result<(PathBuf, String), TrainRunError> {
    let Some(folder) = folder else { return Ok((PathBuf::new(), String::new())) };
    let path = chosen_file(folder);
    match hash::sha256_file(&path) {
        Ok(sha256) => Ok((path, sha256)),
        Err(source) => Err(TrainError::from(CheckpointError::Read { path, source }).into()),
    }
}
