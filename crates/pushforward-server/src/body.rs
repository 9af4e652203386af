//! Bodies of requests and answers. Unknown fields are refused.

use pushforward::flow_map::sample::Sampler;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Sampling methods of flow maps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SamplerName {
    /// Jumps of the flow map.
    #[default]
    Map,
    /// Euler steps along the velocity.
    Euler,
    /// Heun steps along the velocity (odd `nfe`).
    Heun,
    /// Jumps to the end, or past the next time, with fresh noise in between (`gamma`).
    Renoise,
}

impl SamplerName {
    /// The sampler, with the share of fresh noise of [`Self::Renoise`].
    pub(crate) fn with(self, gamma: f64) -> Sampler {
        match self {
            Self::Map => Sampler::Map,
            Self::Euler => Sampler::Euler,
            Self::Heun => Sampler::Heun,
            Self::Renoise => Sampler::Renoise { gamma },
        }
    }
}

/// What samples of a flow map keep or never have.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Constraints {
    /// The class of every site that is kept, `null` for sites that are filled in.
    pub keep: Option<Vec<Option<u32>>>,
    /// Text whose blanks `_` are filled in and whose other symbols are kept.
    pub infill: Option<String>,
    /// Text that every item of a model trained with prefixes begins with.
    pub prefix: Option<String>,
    /// Part of a molecule that is kept, as SMILES.
    pub fix: Option<String>,
    /// Classes that no site takes, as on the command line.
    pub forbid: Option<String>,
    /// Classes that single sites may take, `SITE:CLASSES` each.
    pub require: Vec<String>,
}

/// A request for samples.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SampleBody {
    /// Name of the model.
    #[schema(example = "glyphs")]
    pub(crate) model: String,
    /// Number of items.
    #[serde(default = "sixteen")]
    #[schema(minimum = 1, default = 16)]
    pub(crate) count: usize,
    /// Index of the first item: 20 with a count of 10 gives items 20 to 29 of a larger sample.
    #[serde(default)]
    pub(crate) first: u64,
    /// Seed of the noise.
    #[serde(default)]
    pub(crate) seed: u64,
    /// Network evaluations per item of a flow map, also as the prior of an autoencoder.
    #[serde(default = "one")]
    #[schema(minimum = 1, default = 1)]
    pub(crate) nfe: usize,
    /// Sampling method.
    #[serde(default)]
    pub(crate) sampler: SamplerName,
    /// How much of the noise `renoise` draws anew, from 0 (the map) to 1 (all of it).
    #[serde(default = "unit")]
    #[schema(minimum = 0, maximum = 1, default = 1)]
    pub(crate) gamma: f64,
    /// Divides the logits of a flow map, scales the base variable of an autoencoder.
    #[serde(default = "unit")]
    pub(crate) temperature: f64,
    /// Weight of classifier-free guidance; 1 for none.
    #[serde(default = "unit")]
    pub(crate) guidance: f64,
    /// Labels, in turn over the items; none at all if the list is empty. If absent, they are drawn as often as the training data have
    /// them, where nothing is kept.
    #[serde(default)]
    pub(crate) labels: Option<Vec<u32>>,
    /// Draw the last classes in place of the most probable ones.
    #[serde(default)]
    pub(crate) draw: bool,
    /// Make molecules of samples that are none by the likeliest changes.
    #[serde(default)]
    pub(crate) correct: bool,
    /// Nodes of every graph.
    #[serde(default)]
    pub(crate) nodes: Option<usize>,
    /// Mean images of an autoencoder, without deviations.
    #[serde(default)]
    pub(crate) mean: bool,
    /// What samples keep.
    #[serde(default)]
    pub(crate) constraints: Constraints,
}

/// How a reward is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// The best of every population.
    BestOf,
    /// Samples drawn again in proportion to exp(reward).
    Resample,
    /// Sequential Monte Carlo over the re-noising sampler.
    #[default]
    Smc,
}

/// A request for samples of high reward.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SteerBody {
    /// Name of the model.
    #[schema(example = "glyphs")]
    pub(crate) model: String,
    /// What is wanted, such as `8*class(3)`; the rewards are those of the command `steer`, without files and programs.
    pub(crate) reward: String,
    /// Factor of the reward.
    #[serde(default = "unit")]
    pub(crate) strength: f64,
    /// How the reward is reached.
    #[serde(default)]
    pub(crate) method: Method,
    /// Number of samples.
    #[serde(default = "four")]
    #[schema(minimum = 1, default = 4)]
    pub(crate) count: usize,
    /// Particles of a population.
    #[serde(default = "sixteen")]
    #[schema(minimum = 1, default = 16)]
    pub(crate) particles: usize,
    /// Steps of every particle.
    #[serde(default = "four")]
    #[schema(minimum = 1, default = 4)]
    pub(crate) nfe: usize,
    /// Seed of the noise.
    #[serde(default)]
    pub(crate) seed: u64,
    /// Divides the logits.
    #[serde(default = "unit")]
    pub(crate) temperature: f64,
    /// Labels, in turn over the items.
    #[serde(default)]
    pub(crate) labels: Vec<u32>,
    /// Make molecules of samples that are none by the likeliest changes; rewards are of what they become.
    #[serde(default)]
    pub(crate) correct: bool,
    /// What samples keep.
    #[serde(default)]
    pub(crate) constraints: Constraints,
}

/// A request for likelihoods.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScoreBody {
    /// Name of the model.
    #[schema(example = "echo")]
    pub(crate) model: String,
    /// Items as class indices, `null` for sites that an item does not have; of an autoencoder, images as levels 0 to 255.
    #[serde(default)]
    pub(crate) items: Vec<Vec<Option<u32>>>,
    /// Items of a model of text by characters or of sequences, in place of `items`.
    #[serde(default)]
    pub(crate) texts: Vec<String>,
    /// Draws per item; more draws, smaller error.
    #[serde(default = "sixteen")]
    #[schema(minimum = 1, default = 16)]
    pub(crate) draws: usize,
    /// Seed of the draws.
    #[serde(default)]
    pub(crate) seed: u64,
}

/// A request to fill in missing sites by draws of a model that is told any subset of the sites: `items`, or the `rows` of a
/// table.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ImputeBody {
    /// Name of the model.
    #[schema(example = "glyphs")]
    pub(crate) model: String,
    /// Items as class indices, `null` for missing sites.
    #[serde(default)]
    pub(crate) items: Vec<Vec<Option<u32>>>,
    /// Rows of a table by the names of its columns; a value is missing that is not there, `null`, or written as missing
    /// values are in the table. Given values stay as they are.
    #[serde(default)]
    #[schema(value_type = Vec<Object>)]
    pub(crate) rows: Vec<serde_json::Map<String, serde_json::Value>>,
    /// Network evaluations per item.
    #[serde(default = "one")]
    #[schema(minimum = 1, default = 1)]
    pub(crate) nfe: usize,
    /// Seed of the noise.
    #[serde(default)]
    pub(crate) seed: u64,
}

/// A request with images or items of an autoencoder.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ImagesBody {
    /// Name of the model.
    pub(crate) model: String,
    /// Images as levels 0 to 255, channel by channel and row by row.
    #[serde(default)]
    pub(crate) images: Vec<Vec<u8>>,
    /// Items of a model of data in classes, in place of images: class indices, `null` for sites that an item does not have.
    #[serde(default)]
    pub(crate) items: Vec<Vec<Option<u32>>>,
    /// Items of a model of text by characters or of sequences.
    #[serde(default)]
    pub(crate) texts: Vec<String>,
}

/// A request with codes of an autoencoder.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CodesBody {
    /// Name of the model.
    pub(crate) model: String,
    /// Latent codes.
    pub(crate) codes: Vec<Vec<f32>>,
    /// Whether the codes are base variables of the prior, which are Gaussian, in place of latents.
    #[serde(default)]
    pub(crate) base: bool,
    /// Nodes or letters of every item, where items differ in that; without them the largest.
    #[serde(default)]
    pub(crate) sizes: Vec<usize>,
}

/// Samples, or items that were filled in.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Items {
    /// Name of the model.
    pub(crate) model: String,
    /// Seed of the noise.
    pub(crate) seed: u64,
    /// The items: `ids` are class indices, `text`, `smiles`, `row` and so on what they stand for, `nfe` the evaluations;
    /// `not_told` are columns of a row whose values the model does not know, and which it was not told.
    #[schema(value_type = Vec<Object>)]
    pub(crate) items: Vec<serde_json::Value>,
}

/// Samples of high reward.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Steered {
    /// Name of the model.
    pub(crate) model: String,
    /// Seed of the noise.
    pub(crate) seed: u64,
    /// Samples of the plain model with the same noise, with their `reward`.
    #[schema(value_type = Vec<Object>)]
    pub(crate) before: Vec<serde_json::Value>,
    /// The steered samples, with their `reward`.
    #[schema(value_type = Vec<Object>)]
    pub(crate) items: Vec<serde_json::Value>,
}

/// Scores.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Scores {
    /// Name of the model.
    pub(crate) model: String,
    /// What the numbers are: an upper bound of `-log p`, or an estimate of it.
    pub(crate) estimator: String,
    /// Nats of every item.
    pub(crate) nats: Vec<Option<f64>>,
    /// Standard errors in nats; `null` where there is none.
    pub(crate) errors: Vec<Option<f64>>,
}

/// Codes of images.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Codes {
    /// Name of the model.
    pub(crate) model: String,
    /// Latent codes.
    pub(crate) codes: Vec<Vec<f32>>,
    /// Their base variables under the prior.
    pub(crate) base: Vec<Vec<f32>>,
    /// Nodes or letters of every item, where items differ in that.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) sizes: Vec<usize>,
}

/// Images of an autoencoder.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Pictures {
    /// Name of the model.
    pub(crate) model: String,
    /// Images as levels 0 to 255, channel by channel and row by row.
    pub(crate) images: Vec<Vec<u8>>,
    /// Mean squared error of every reconstruction, of pixels in [0, 1]; empty for images that have no original.
    pub(crate) errors: Vec<f64>,
}

/// Why there is no answer.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// What was wrong and what to do.
    pub(crate) error: String,
}

/// A model of the server.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct ModelInfo {
    /// Its name.
    pub(crate) name: String,
    /// One line on what it is.
    pub(crate) description: String,
    /// `base`, `map` or `autoencoder`.
    pub(crate) role: String,
    /// What items are: `image`, `text`, `molecule`, `graph`, `table`, `sequence` or `sites`.
    pub(crate) kind: String,
    /// What can be asked of it: `sample`, `steer`, `score`, `impute`, `encode`, `decode`, `reconstruct`.
    pub(crate) can: Vec<String>,
    /// Sites of an item, or numbers of an image.
    pub(crate) sites: usize,
    /// Classes of a site.
    pub(crate) classes: usize,
    /// Height and width of an image.
    pub(crate) size: Option<[usize; 2]>,
    /// Numbers of a latent code.
    pub(crate) latent: Option<usize>,
    /// Whether samples can take more network evaluations than one.
    pub(crate) evaluations: bool,
    /// Names of the labels; empty if it takes none.
    pub(crate) labels: Vec<String>,
    /// Whether it is told any subset of the sites.
    pub(crate) told: bool,
    /// SHA-256 of the file.
    pub(crate) sha256: String,
}

/// The models of the server.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Models {
    /// The models.
    pub(crate) models: Vec<ModelInfo>,
}

fn one() -> usize {
    1
}

fn four() -> usize {
    4
}

fn sixteen() -> usize {
    16
}

fn unit() -> f64 {
    1.0
}
