//! Stand-in for folders of image files in a build without the feature `images`: their settings have no values, and
//! reading some from a recipe is an error.

use std::path::{Path, PathBuf};

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::data::images::grey::Pixels;
use crate::data::{DataError, RawSplits};

/// Settings of folders of image files, which need the feature `images`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "IgnoredAny")]
pub enum FolderConfig {}

impl TryFrom<IgnoredAny> for FolderConfig {
    type Error = &'static str;

    fn try_from(_: IgnoredAny) -> Result<Self, &'static str> {
        Err("this build leaves out folders of image files; build the library with its feature `images`")
    }
}

impl FolderConfig {
    pub(crate) fn paths_mut(&mut self) -> Vec<(&'static str, &mut PathBuf)> {
        match *self {}
    }

    pub(crate) fn files(&self) -> Vec<PathBuf> {
        match *self {}
    }

    pub(crate) fn channels(&self) -> usize {
        match *self {}
    }

    pub(crate) fn pixels(&self) -> Pixels {
        match *self {}
    }

    pub(crate) fn flip_and_noise(&self) -> (bool, f64) {
        match *self {}
    }

    pub(crate) fn read(&self, _: &Path) -> Result<RawSplits, DataError> {
        match *self {}
    }
}
