//! Why a run failed.

use std::path::PathBuf;

use crate::params::ParamsError;
use crate::run::load::LoadError;
use crate::setting::SettingError;
use crate::train::TrainError;

/// Why a run failed, or could not begin.
#[derive(Debug, thiserror::Error)]
pub enum TrainRunError {
    /// The model cannot be of these data.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// The data are of another form than the family takes.
    #[error("{name} was opened for another family: open it with `Data::load` and the recipe")]
    DataForm {
        /// Name of the set.
        name: String,
    },
    /// The model takes labels and the data have none.
    #[error("model.condition.kind = label needs labels, and {0} has none")]
    NoLabels(String),
    /// A classifier of data without labels.
    #[error("a classifier needs a set of labelled images")]
    NoClasses,
    /// The frozen teacher cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The frozen teacher is of other data.
    #[error("the teacher {0} was trained on other data")]
    TeacherData(PathBuf),
    /// The frozen teacher is another model.
    #[error(
        "the teacher {0} has another network, skip, source or condition than the recipe: a frozen teacher must match"
    )]
    TeacherModel(PathBuf),
    /// The frozen teacher's weights do not fit.
    #[error(transparent)]
    Weights(#[from] ParamsError),
    /// The caller broke off before the first step.
    #[error("stopped before the first step")]
    Refused,
    /// Training itself.
    #[error(transparent)]
    Train(#[from] TrainError),
}
