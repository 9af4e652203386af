//! Stand-ins for settings of data sets that this build leaves out: they have no values, and reading one from a recipe
//! is an error that names the missing feature.

use std::path::{Path, PathBuf};

use serde::de::{Deserialize, Deserializer, Error};
use serde::{Serialize, Serializer};

use crate::data::DataError;

macro_rules! absent {
    ($name:ident, $what:literal, $feature:literal) => {
        #[doc = concat!("Settings of ", $what, ", which need the feature `", $feature, "`.")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {}

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                match *self {}
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
                Err(D::Error::custom(concat!(
                    "this build leaves out ",
                    $what,
                    "; build the library with its feature `",
                    $feature,
                    "`"
                )))
            }
        }
    };
}

#[cfg(not(feature = "images"))]
pub(crate) use self::images::FolderConfig;
#[cfg(not(feature = "chem"))]
pub(crate) use self::molecules::{MoleculeConfig, SmallMoleculeConfig, SmilesFileConfig};

#[cfg(not(feature = "images"))]
mod images {
    use super::*;
    use crate::data::RawSplits;
    use crate::data::images::grey::Pixels;

    absent!(FolderConfig, "folders of image files", "images");

    impl FolderConfig {
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
}

#[cfg(not(feature = "chem"))]
mod molecules {
    use super::*;

    absent!(MoleculeConfig, "molecules", "chem");
    absent!(SmallMoleculeConfig, "molecules", "chem");
    absent!(SmilesFileConfig, "molecules", "chem");

    impl MoleculeConfig {
        pub(crate) fn files(&self, _: &str) -> Vec<PathBuf> {
            match *self {}
        }
        pub(crate) fn is_here(&self, _: &str, _: &Path) -> bool {
            match *self {}
        }
        pub(crate) fn load_qm9(&self, _: &Path) -> Result<crate::data::Splits, DataError> {
            match *self {}
        }
        pub(crate) fn load_zinc250k(&self, _: &Path) -> Result<crate::data::Splits, DataError> {
            match *self {}
        }
    }

    impl SmallMoleculeConfig {
        pub(crate) fn load(&self, _: u64) -> Result<crate::data::Splits, DataError> {
            match *self {}
        }
    }

    impl SmilesFileConfig {
        pub(crate) fn files(&self) -> Vec<PathBuf> {
            match *self {}
        }
        pub(crate) fn load(&self, _: &Path) -> Result<crate::data::Splits, DataError> {
            match *self {}
        }
    }
}
