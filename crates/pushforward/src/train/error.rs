//! Errors of a training run.

use std::path::PathBuf;

use super::checkpoint::CheckpointError;
use super::config::ConfigError;
use super::report::NonFinite;
use crate::params::ParamsError;
use crate::ranks::RankError;

/// Why a training run failed.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// A setting is out of range.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The state to resume from belongs to another seed.
    #[error("the run to resume has seed {found}, the request says {expected}: resume with the recipe of the run")]
    Seed {
        /// Seed of the request.
        expected: u64,
        /// Seed of the saved state.
        found: u64,
    },
    /// Only one of the saved state and the request has averaged weights.
    #[error("the run to resume and the request differ in train.ema: resume with the recipe of the run")]
    EmaMismatch,
    /// The tensors of the state to resume from do not match the model.
    #[error("the run cannot be resumed with this model: {0}")]
    Resume(#[from] ParamsError),
    /// There are more ranks than micro-batches.
    #[error(
        "{ranks} ranks share the {accumulate} micro-batches of a step: start at most {accumulate}, or a new run with a larger \
         train.accumulate"
    )]
    Idle {
        /// Number of ranks.
        ranks: usize,
        /// Micro-batches of a step.
        accumulate: u64,
    },
    /// The ranks cannot go on together.
    #[error("{error}; {}", good(checkpoint))]
    Ranks {
        /// Why.
        error: RankError,
        /// The last checkpoint written.
        checkpoint: Option<PathBuf>,
    },
    /// A checkpoint cannot be written.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The loss or the gradient is infinite or NaN. The weights were not updated.
    #[error("training stopped in step {step}: {place}; {}; try a lower train.lr or train.clip", good(checkpoint))]
    NonFinite {
        /// The failed optimiser step, counted from 1.
        step: u64,
        /// Where the first such value appeared.
        place: NonFinite,
        /// The last checkpoint written.
        checkpoint: Option<PathBuf>,
    },
}

/// Where to go on.
fn good(checkpoint: &Option<PathBuf>) -> String {
    match checkpoint {
        Some(path) => format!("the last good checkpoint is {}", path.display()),
        None => "no checkpoint was written yet".into(),
    }
}
