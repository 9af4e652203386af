//! A small image classifier: the named feature network of Frechet distances, and the judge of class balance.
//!
//! ```text
//! grey g = sum_k x_k k / (K-1)   ->   strided convolutions   ->   features f, [width]   ->   logits = W f + b
//! ```
//!
//! It sees one grey channel, in which an image of two levels and one of 256 mean the same, so that one classifier serves
//! every quantisation of a set. It trains with the loop of [`train`](crate::train) and lives in an ordinary
//! checkpoint, whose hash names it in reports: a distance means nothing without that name.
//!
//! Reading order: `network`, `objective`, `batch`, `apply`.

mod apply;
mod batch;
pub mod config;
pub mod network;
pub mod objective;

#[cfg(test)]
mod tests;

pub use self::apply::{accuracy, features, predict};
pub use self::batch::LabelledBatch;
pub use self::config::ClassifierConfig;
pub use self::network::Classifier;
pub use self::objective::ClassifierObjective;
