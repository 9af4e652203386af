//! Errors of training runs.

use std::path::PathBuf;

use crate::data::DataError;
use crate::params::ParamsError;
use crate::run::memory::NotEnoughMemory;
use crate::run::same_data::OtherData;
use crate::run::stored::LoadError;
use crate::setting::SettingError;
use crate::train::TrainError;

/// Why a run failed or could not start.
#[derive(Debug, thiserror::Error)]
pub enum TrainRunError {
    /// The run needs more memory than the caller allows.
    #[error(transparent)]
    Memory(#[from] NotEnoughMemory),
    /// The model configuration does not fit the data.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// The data of a resumed run have changed.
    #[error("the run cannot be resumed: {0}")]
    OtherData(#[from] OtherData),
    /// The data are not in the form that the model family takes.
    #[error("{name} was opened for another family: open it with `Data::load` and the recipe")]
    DataForm {
        /// Name of the set.
        name: String,
    },
    /// The model is conditioned on labels, and the data have none.
    #[error("model.condition.kind = label needs labels, and {0} has none")]
    NoLabels(String),
    /// Classifiers need labels, and the data have none.
    #[error("a classifier needs a set of labelled images")]
    NoClasses,
    /// The frozen teacher cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The frozen teacher was trained on other data.
    #[error("the teacher {0} was trained on other data")]
    TeacherData(PathBuf),
    /// The labels of the frozen teacher mean something else.
    #[error("the labels of the teacher {0} mean something else: a frozen teacher has the recipe's data.label")]
    TeacherLabels(PathBuf),
    /// The frozen teacher's configuration differs from the recipe's.
    #[error(
        "the teacher {0} has another network, skip, source or condition than the recipe: a frozen teacher must match"
    )]
    TeacherModel(PathBuf),
    /// A second stage is built on a run of other data.
    #[error("model.from: {0} was trained on other data")]
    BaseData(PathBuf),
    /// A second stage is built on a run of other settings.
    #[error("model.from: {path} is another model: {what} must be those of the recipe")]
    BaseModel {
        /// The run.
        path: PathBuf,
        /// The settings.
        what: &'static str,
    },
    /// Items of a prepared set cannot be read any more.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The frozen teacher's weights have other names or shapes.
    #[error(transparent)]
    Weights(#[from] ParamsError),
    /// The caller returned `Break` from [`Event::Start`](crate::run::Event::Start).
    #[error("stopped before the first step")]
    Refused,
    /// A step or a checkpoint failed.
    #[error(transparent)]
    Train(#[from] TrainError),
}
