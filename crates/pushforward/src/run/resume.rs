//! Resuming of interrupted runs.

use std::path::Path;

use crate::flow_map::backbone::BackboneConfig;
use crate::run::recipe::{Recipe, RecipeError};
use crate::train::checkpoint::{self, CheckpointError, RESUME, Resume};

/// Why a run cannot be resumed.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// The saved state cannot be read.
    #[error(transparent)]
    State(#[from] CheckpointError),
    /// The recipe or an override is invalid.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// An override changes more than the length of the run.
    #[error("a resumed run keeps its recipe; only train.steps and train.minutes may change")]
    Changed,
}

/// Reads the recipe and the saved state of a run folder. Overrides may change the length of the run and nothing else.
/// Pass the state to [`train`](crate::run::train) as [`TrainOptions::resume`](crate::run::TrainOptions::resume).
///
/// # Errors
/// See [`ResumeError`].
///
/// # Examples
/// ```
/// use std::{ops::ControlFlow, path::Path};
/// use pushforward::prelude::*;
/// use pushforward::run::resume;
///
/// let text = "
///     name = 'tiny'
///     data = { set = 'echo' }
///     model = { family = 'flow-map', network = { kind = 'mlp', width = 8 } }
/// ";
/// let recipe: Recipe = Recipe::parse(text, "tiny", &["train.steps=1".into()])?;
/// let data = Data::load(&recipe, Path::new("not read: this set is synthetic"))?;
/// let folder = tempfile::tempdir()?;
/// let options = TrainOptions { folder: Some(folder.path().into()), ..TrainOptions::new(Device::flex()) };
/// train(&recipe, &data, options, &mut |_| ControlFlow::Continue(()))?;
///
/// let (longer, state) = resume::<NetworkConfig>(folder.path(), &["train.steps=2".into()])?;
/// assert_eq!((longer.train.steps, state.step), (2, 1));
/// assert!(resume::<NetworkConfig>(folder.path(), &["train.lr=0.5".into()]).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn resume<C: BackboneConfig>(folder: &Path, overrides: &[String]) -> Result<(Recipe<C>, Resume), ResumeError> {
    let path = checkpoint::folder(folder).join(RESUME);
    let state = Resume::load(&path)?;
    let origin = format!("the recipe inside {}", path.display());
    let before: Recipe<C> = Recipe::parse(&state.recipe, &origin, &[])?;
    let recipe: Recipe<C> = Recipe::parse(&state.recipe, &origin, overrides)?;
    // With anything else changed, it would be a different run under the same name.
    let mut same = recipe.clone();
    (same.train.steps, same.train.minutes) = (before.train.steps, before.train.minutes);
    if same == before { Ok((recipe, state)) } else { Err(ResumeError::Changed) }
}
