//! Requests and errors of evaluations.

use crate::flow_map::sample::SampleRequest;
use crate::metrics::kneser_ney::KneserNeyError;
use crate::run::evaluate::chemnet::ChemNet;
use crate::run::model::Loaded;
use crate::run::trained::RequestError;
use crate::run::trained::TrainedClassifier;
use crate::transport::time::TimeGridError;

/// Settings of an evaluation of a flow map.
#[derive(Clone, Debug)]
pub struct EvalRequest {
    /// How samples are drawn; `count` is the number of samples for each entry of `nfe`. The grid is not used.
    pub sample: SampleRequest,
    /// Numbers of network evaluations per item; ignored by the adaptive sampler, which chooses its own.
    pub nfe: Vec<usize>,
    /// Number of independent sets of samples, with consecutive seeds; 0 counts as 1. With several, metrics of samples
    /// are means with Student's interval over repeats.
    pub repeats: usize,
    /// Held-out items for the likelihood bound; 0 for none.
    pub bound_items: usize,
    /// Draws per item of the bound.
    pub bound_draws: usize,
}

/// A network whose features of samples are compared with those of data.
#[derive(Debug)]
pub enum Features {
    /// A classifier of images or sequences of the same set.
    Classifier(Box<Loaded<TrainedClassifier>>),
    /// ChemNet, for molecules.
    ChemNet(Box<ChemNet>),
}

impl Features {
    pub(super) fn classifier(&self) -> Result<&Loaded<TrainedClassifier>, EvalError> {
        match self {
            Self::Classifier(net) => Ok(net),
            Self::ChemNet(_) => Err(EvalError::Features("ChemNet".into())),
        }
    }

    #[cfg(feature = "chem")]
    pub(super) fn chemnet(&self) -> Result<&ChemNet, EvalError> {
        match self {
            Self::ChemNet(net) => Ok(net),
            Self::Classifier(net) => Err(EvalError::NotOfMolecules(net.run.path.display().to_string())),
        }
    }
}

/// Why an evaluation failed.
#[derive(Debug, thiserror::Error)]
pub enum EvalError {
    /// The request does not fit the model.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// A number of network evaluations gives no time grid.
    #[error(transparent)]
    Grid(#[from] TimeGridError),
    /// The n-gram model cannot be trained.
    #[error(transparent)]
    Scorer(#[from] KneserNeyError),
    /// The feature network is not a classifier of these items.
    #[error("{0} is no classifier of these items: train one on the same set, as the presets of classifiers do")]
    Features(String),
    /// A classifier was given for molecules.
    #[error("{0} is not a network of molecules: the Frechet distance of molecules takes ChemNet's weights")]
    NotOfMolecules(String),
    /// The progress function returned false.
    #[error("interrupted")]
    Interrupted,
}

/// Progress function of an evaluation: called with the stage, the number of items done and their total; returns false
/// to stop.
pub type Progress<'a> = dyn FnMut(&str, usize, usize) -> bool + 'a;
