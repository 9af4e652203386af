//! What to measure, and why that may be impossible.

use crate::flow_map::sample::SampleRequest;
use crate::flow_map::time::TimeGridError;
use crate::metrics::kneser_ney::KneserNeyError;
use crate::run::evaluate::chemnet::ChemNet;
use crate::run::model::Loaded;
use crate::run::trained::RequestError;
use crate::run::trained::TrainedClassifier;

/// What to measure of a flow map.
#[derive(Clone, Debug)]
pub struct EvalRequest {
    /// How samples are drawn; its number of items is that of samples per number of evaluations. Its grid is not used.
    pub sample: SampleRequest,
    /// Numbers of network evaluations per item; the adaptive sampler takes its own and ignores them.
    pub nfe: Vec<usize>,
    /// How often samples are drawn and measured, with seeds one after the other; 0 counts as 1. Numbers on samples are then means, with
    /// Student's interval over repeats.
    pub repeats: usize,
    /// Held-out items for the likelihood bound; 0 for none.
    pub bound_items: usize,
    /// Draws per item of the bound.
    pub bound_draws: usize,
}

/// A network whose features of samples are compared with those of data.
#[derive(Debug)]
pub enum Features {
    /// A classifier of images of the same set.
    Classifier(Box<Loaded<TrainedClassifier>>),
    /// Of molecules.
    ChemNet(Box<ChemNet>),
}

impl Features {
    pub(super) fn classifier(&self) -> Result<&Loaded<TrainedClassifier>, EvalError> {
        match self {
            Self::Classifier(net) => Ok(net),
            Self::ChemNet(_) => Err(EvalError::Features("ChemNet".into())),
        }
    }

    pub(super) fn chemnet(&self) -> Result<&ChemNet, EvalError> {
        match self {
            Self::ChemNet(net) => Ok(net),
            Self::Classifier(net) => Err(EvalError::NotOfMolecules(net.run.path.display().to_string())),
        }
    }
}

/// Why an evaluation is not possible.
#[derive(Debug, thiserror::Error)]
pub enum EvalError {
    /// The model.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// A time grid.
    #[error(transparent)]
    Grid(#[from] TimeGridError),
    /// The n-gram scorer.
    #[error(transparent)]
    Scorer(#[from] KneserNeyError),
    /// The classifier.
    #[error("{0} is no classifier of these images: train one with the preset of the set's classifier")]
    Features(String),
    /// A classifier of images where ChemNet is meant.
    #[error("{0} knows no molecules: the Frechet distance of molecules takes ChemNet's weights")]
    NotOfMolecules(String),
    /// The caller asked to stop.
    #[error("interrupted")]
    Interrupted,
}

/// Told what is being done and how far it is; returns false to stop.
pub type Progress<'a> = dyn FnMut(&str, usize, usize) -> bool + 'a;
