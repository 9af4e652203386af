//! Interrupted runs, to go on with.

use std::path::Path;

use crate::flow_map::backbone::BackboneConfig;
use crate::run::recipe::{Recipe, RecipeError};
use crate::train::checkpoint::{self, CheckpointError, RESUME, Resume};

/// Why a run cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// Its state cannot be read.
    #[error(transparent)]
    State(#[from] CheckpointError),
    /// Its recipe, or an override, is wrong.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// An override changes more than the length of the run.
    #[error("a resumed run keeps its recipe; only train.steps and train.minutes may change")]
    Changed,
}

/// The recipe and the state of the run in a folder; overrides may change its length.
///
/// # Errors
/// See [`ResumeError`].
pub fn resume<C: BackboneConfig>(folder: &Path, overrides: &[String]) -> Result<(Recipe<C>, Resume), ResumeError> {
    let path = checkpoint::folder(folder).join(RESUME);
    let state = Resume::load(&path)?;
    let origin = format!("the recipe inside {}", path.display());
    let before: Recipe<C> = Recipe::parse(&state.recipe, &origin, &[])?;
    let recipe: Recipe<C> = Recipe::parse(&state.recipe, &origin, overrides)?;
    // Anything but the length of the run would make a different run of it under the same name.
    let mut same = recipe.clone();
    (same.train.steps, same.train.minutes) = (before.train.steps, before.train.minutes);
    if same == before { Ok((recipe, state)) } else { Err(ResumeError::Changed) }
}
