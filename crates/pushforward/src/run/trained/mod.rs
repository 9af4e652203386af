//! Trained models of every family, for inference (no gradients).

pub(crate) mod aef;
pub(crate) mod categorical_aef;
pub(crate) mod classifier;
pub(crate) mod conditional;
pub(crate) mod flow_map;
mod latent_steer;
mod placement;
pub(in crate::run) mod rules;
mod steers;

pub use self::aef::{TrainedAef, preview_request};
pub use self::categorical_aef::TrainedCategoricalAef;
pub use self::classifier::TrainedClassifier;
pub use self::conditional::{Conditional, without_missing};
pub use self::flow_map::TrainedFlowMap;
pub use self::steers::{SteerFailure, Steers};

/// Why a model cannot serve a request, with what to do instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RequestError(pub String);
