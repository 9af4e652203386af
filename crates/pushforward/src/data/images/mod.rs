//! Images of 8-bit pixels: read from files, and seen as class indices or as points of `[0, 1]^n`.

pub mod cifar;
pub mod continuous;
#[cfg(feature = "images")]
pub mod folder;
pub mod grey;
pub mod idx;
#[cfg(feature = "images")]
pub mod pictures;
pub(crate) mod raw;
