//! Trained models of every family, without gradients.

pub(crate) mod aef;
pub(crate) mod classifier;
pub(crate) mod flow_map;

pub use self::aef::{TrainedAef, preview_request};
pub use self::classifier::TrainedClassifier;
pub use self::flow_map::{SteerFailure, TrainedFlowMap};

/// Items of a preview.
pub(super) const PREVIEW_COUNT: usize = 64;

/// Why a model cannot do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RequestError(pub String);
