//! Stand-in for molecules in a build without the feature `chem`: the settings of their sets have no values, and reading
//! some from a recipe is an error.

use std::path::{Path, PathBuf};

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::data::prepared::LabelOf;
use crate::data::prepared::job::Job;
use crate::data::{DataError, Folders, Splits};

macro_rules! without_values {
    ($($name:ident)*) => {$(
        /// Settings of molecules, which need the feature `chem`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(try_from = "IgnoredAny")]
        pub enum $name {}

        impl TryFrom<IgnoredAny> for $name {
            type Error = &'static str;

            fn try_from(_: IgnoredAny) -> Result<Self, &'static str> {
                Err("this build leaves out molecules; build the library with its feature `chem`")
            }
        }
    )*};
}

without_values!(MoleculeConfig SmallMoleculeConfig SmilesFileConfig);

impl MoleculeConfig {
    pub(crate) fn paths_mut(&mut self) -> Vec<(&'static str, &mut PathBuf)> {
        match *self {}
    }

    pub(crate) fn files(&self, _: &str) -> Vec<PathBuf> {
        match *self {}
    }

    pub(crate) fn is_here(&self, _: &str, _: &Path) -> bool {
        match *self {}
    }

    pub(crate) fn settle(&mut self) {
        match *self {}
    }

    pub(crate) fn load_qm9(&self, _: Folders<'_>) -> Result<Splits, DataError> {
        match *self {}
    }

    pub(crate) fn load_zinc250k(&self, _: Folders<'_>) -> Result<Splits, DataError> {
        match *self {}
    }

    pub(in crate::data) fn prepare_qm9(&self, _: Folders<'_>, _: Job<'_>) -> Result<(), DataError> {
        match *self {}
    }

    pub(in crate::data) fn prepare_zinc250k(&self, _: Folders<'_>, _: Job<'_>) -> Result<(), DataError> {
        match *self {}
    }
}

impl SmallMoleculeConfig {
    pub(crate) fn load(&self, _: u64) -> Result<Splits, DataError> {
        match *self {}
    }
}

impl SmilesFileConfig {
    pub(crate) fn paths_mut(&mut self) -> Vec<(&'static str, &mut PathBuf)> {
        match *self {}
    }

    pub(crate) fn files(&self) -> Vec<PathBuf> {
        match *self {}
    }

    pub(crate) fn settle(&mut self) {
        match *self {}
    }

    pub(crate) fn load(&self, _: Folders<'_>) -> Result<Splits, DataError> {
        match *self {}
    }
}

impl SmilesFileConfig {
    pub(in crate::data) fn prepare(&self, _: Folders<'_>, _: Job<'_>) -> Result<(), DataError> {
        match *self {}
    }
}

/// Without the feature, nothing labels molecules.
pub(in crate::data) fn label_of(_: &Value) -> Option<LabelOf> {
    None
}

/// Without the feature, no file is one of molecules.
pub fn is_smiles_file(_: &Path) -> bool {
    false
}
