//! A small classifier of images and sequences: the feature network of Fréchet distances, also used to measure class
//! balance and as a reward.
//!
//! ```text
//! grey g = sum_k x_k k / (K-1)   ->   strided convolutions   ->   features f, [width]   ->   logits = W f + b
//! ```
//!
//! The input of images is one grey channel from 0 to 1, whatever the number of grey levels, so that one classifier serves
//! every quantisation of a data set; that of sequences a channel for every letter. It is trained with [`train`](crate::train) and stored in an ordinary checkpoint, whose
//! hash identifies it in reports: a distance is only comparable for the same classifier.
//!
//! Reading order: `network`, `objective`, `batch`, `apply`.
//!
//! # Examples
//! ```
//! use pushforward::burn::tensor::Device;
//! use pushforward::classifier::{ClassifierConfig, LabelledBatch, accuracy, features, predict};
//! use pushforward::nn::SiteShape;
//! use pushforward::rng::{Purpose, stream};
//!
//! let sites = SiteShape::image([4, 4], 2);
//! let config = ClassifierConfig { channels: 4, width: 8, dropout: 0.0 };
//! let classifier = config.init(sites.clone(), 10, &Device::flex(), &mut stream(0, Purpose::Init, 0));
//! let ids: Vec<u32> = (0..3 * 16).map(|pixel| pixel % 3 % 2).collect();
//! assert_eq!(features(&classifier, &ids, sites.clone(), 2).len(), 3 * 8);
//! let labels = predict(&classifier, &ids, sites.clone(), 2);
//! assert_eq!(accuracy(&classifier, &LabelledBatch { ids, labels }, sites.clone(), 3), 1.0);
//! ```

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
