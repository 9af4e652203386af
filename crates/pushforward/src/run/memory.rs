//! What a recipe asks for in memory, counted before it is asked for.

use crate::data::{DataConfig, Schema};
use crate::flow_map::backbone::BackboneConfig;
use crate::flow_map::config::Teacher;
use crate::run::check::{image_shape, site_shape};
use crate::run::recipe::{ModelConfig, Recipe};

/// Bytes of a number of a network.
const BYTES: u128 = 4;
/// Bytes of an example of the glyphs.
const GLYPH: u128 = 256;

/// Least memory of a training run.
///
/// # Examples
/// ```
/// use pushforward::data::{Layout, Schema};
/// use pushforward::run::{Need, Recipe};
///
/// let text = "name = 'x'\ndata = { set = 'echo' }\nmodel = { family = 'flow-map', network = { kind = 'mlp' } }";
/// let need = |overrides: &[&str]| {
///     let overrides: Vec<String> = overrides.iter().map(|&text| text.to_owned()).collect();
///     let recipe: Recipe = Recipe::parse(text, "here", &overrides)?;
///     let schema = Schema { sites: 8, classes: 27, layout: Layout::Table };
///     Ok::<_, pushforward::run::RecipeError>(Need::of(&recipe, &schema, None, 1))
/// };
/// let (small, large) = (need(&[])?, need(&["model.network.width=60000", "model.network.blocks=1000"])?);
/// assert!(small.check(1 << 30).is_ok());
/// let message = large.check(1 << 30).unwrap_err().to_string();
/// assert!(message.contains("and 1.0 GiB are free"), "{message}");
/// # Ok::<(), pushforward::run::RecipeError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// Parameters of the model; 0 if they are not known.
    pub parameters: u128,
    /// Bytes of weights, gradients, moments and averages.
    pub weights: u128,
    /// Bytes of the points of one micro-batch per worker, and of what it keeps for the gradient.
    pub batches: u128,
    /// Bytes of the examples of a set that is made.
    pub examples: u128,
}

/// A recipe asks for more memory than there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the run needs at least {} of memory, and {} are free: {} for {} parameters with gradients and moments, {} for the \
     micro-batches, {} for examples; lower the sizes of model.network, train.batch or train.accumulate",
    bytes(need.total()), bytes(u128::from(*available)), bytes(need.weights), need.parameters, bytes(need.batches),
    bytes(need.examples)
)]
pub struct NotEnoughMemory {
    /// What the run needs.
    pub need: Need,
    /// Bytes that are free.
    pub available: u64,
}

/// Number of parameters of a model; `None` if that of its network is not known.
pub(super) fn parameters<C: BackboneConfig>(
    model: &ModelConfig<C>,
    schema: &Schema,
    labels: Option<usize>,
) -> Option<u128> {
    let sites = site_shape(schema);
    match model {
        ModelConfig::FlowMap(config) => {
            let labelled = config.condition.takes_labels();
            config.model(if labelled { Some(labels?) } else { None }).parameters(sites)
        }
        ModelConfig::Aef(config) => Some(config.parameters(image_shape(schema).ok()?)),
        ModelConfig::CategoricalAef(config) => Some(config.parameters(&sites)),
        ModelConfig::Classifier(config) => config.parameters(&sites, labels?),
    }
}

impl Need {
    /// What training a checked recipe on data of this schema needs, with so many workers.
    pub fn of<C: BackboneConfig>(recipe: &Recipe<C>, schema: &Schema, labels: Option<usize>, workers: usize) -> Self {
        let parameters = parameters(&recipe.model, schema, labels).unwrap_or(0);
        let train = &recipe.train;
        let parallel = u128::from(train.accumulate).min(workers.max(1) as u128);
        // Weights and two moments, the average and one that is kept, a gradient of every micro-batch of a step, and a copy per worker.
        let kept = matches!(&recipe.model, ModelConfig::FlowMap(config) if config.objective.teacher == Teacher::Kept);
        let average = u128::from(train.ema.is_some()) + u128::from(kept);
        let copies = 3 + average + u128::from(train.accumulate) + if parallel > 1 { parallel } else { 0 };
        let sites = site_shape(schema);
        let point = sites.count as u128 * sites.classes as u128;
        let item = match &recipe.model {
            // Noise, the noised point, logits and their gradient.
            ModelConfig::FlowMap(config) => 4 * point + config.network.kept(sites),
            ModelConfig::Aef(_) => 4 * sites.count as u128,
            // One-hot vectors and logits.
            ModelConfig::CategoricalAef(_) => 2 * point,
            ModelConfig::Classifier(_) => point,
        };
        let examples = match &recipe.data {
            DataConfig::Glyphs(config) => config.examples as u128 * GLYPH,
            _ => 0,
        };
        Self {
            parameters,
            weights: BYTES * parameters * copies,
            batches: BYTES * train.batch as u128 * item * parallel,
            examples,
        }
    }

    /// Bytes altogether.
    pub fn total(&self) -> u128 {
        self.weights + self.batches + self.examples
    }

    /// Compares with the memory that is free.
    ///
    /// # Errors
    /// If it does not suffice.
    pub fn check(self, available: u64) -> Result<(), NotEnoughMemory> {
        if self.total() <= u128::from(available) { Ok(()) } else { Err(NotEnoughMemory { need: self, available }) }
    }
}

/// A number of bytes for people.
fn bytes(count: u128) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let power = (1..units.len()).rev().find(|&power| count >> (10 * (power + 1)) > 0).unwrap_or(0);
    format!("{:.1} {}", count as f64 / 1024f64.powi(power as i32 + 1), units[power])
}
