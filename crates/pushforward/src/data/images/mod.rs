//! Images of 8-bit pixels: read from files, and used as class indices or as points of `[0, 1]^n`.
//!
//! # Examples
//! ```
//! use pushforward::data::images::{continuous::dequantize, grey::Pixels};
//! // A grey value as one of two classes, as one of eight, and as a point of [0, 1).
//! assert_eq!((Pixels::Threshold.classes(), Pixels::Levels(8).classes()), (2, 8));
//! assert_eq!(dequantize(200, 0.5), 200.5 / 256.0);
//! ```

pub mod cifar;
pub mod continuous;
#[cfg_attr(not(feature = "images"), path = "no_folder.rs")]
pub mod folder;
pub mod grey;
pub mod idx;
#[cfg(feature = "images")]
mod listing;
#[cfg(feature = "images")]
pub mod pictures;
pub(crate) mod raw;
