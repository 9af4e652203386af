//! What a model is for.

use std::fmt;

use crate::flow_map::backbone::BackboneConfig;
use crate::flow_map::config::OffDiagonal;
use crate::run::recipe::ModelConfig;

/// What a model is for; it follows from its recipe, and stands in the provenance of checkpoints under
/// [`ROLE_KEY`](crate::run::ROLE_KEY).
///
/// # Examples
/// ```
/// use pushforward::run::{Recipe, Role};
/// let text = "name = 'x'\ndata = { set = 'echo' }\nmodel = { family = 'flow-map', network = { kind = 'mlp' } }";
/// let recipe: Recipe = Recipe::parse(text, "here", &[])?;
/// assert_eq!(Role::of(&recipe.model).to_string(), "map");
/// # Ok::<(), pushforward::run::RecipeError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A flow that was trained on the diagonal only: its velocity is good, its jumps are not trained.
    Base,
    /// A flow map with trained jumps.
    Map,
    /// An autoencoder within flows, or one of its baselines.
    Autoencoder,
    /// A classifier: features and labels of items, no samples.
    Classifier,
}

impl Role {
    /// The role of a model.
    pub fn of<C: BackboneConfig>(model: &ModelConfig<C>) -> Self {
        match model {
            ModelConfig::FlowMap(config) if config.objective.off_diagonal == OffDiagonal::None => Self::Base,
            ModelConfig::FlowMap(_) => Self::Map,
            ModelConfig::Aef(_) | ModelConfig::CategoricalAef(_) => Self::Autoencoder,
            ModelConfig::Classifier(_) => Self::Classifier,
        }
    }

    /// Its name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Map => "map",
            Self::Autoencoder => "autoencoder",
            Self::Classifier => "classifier",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}
