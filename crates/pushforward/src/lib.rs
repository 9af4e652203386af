//! Generative models that push a simple distribution forward through a learned map.
//!
//! - [`flow_map`]: categorical flow maps (Roos et al. 2026, arXiv:2602.12233), few-step generation of text, images and other
//!   categorical data. Its module page holds the equations and a reading order.
//! - [`aef`]: autoencoders within flows (Silvestri, Roos, Ambrogioni 2023, arXiv:2205.09546) and their baselines, with honest
//!   likelihoods; [`bijector`]: the normalising flows they are made of.
//!
//! ```text
//! Recipe -> Data -> run::train -> checkpoint -> run::load -> sample | steer | bound -> evaluate -> Report
//! ```
//!
//! A recipe ([`run::Recipe`]) names a whole run of built-in parts; every function of the mathematics is public and needs none. Data,
//! networks, losses, bijectors, encoders, rewards and metrics of your own go through the same functions: the `examples` of the crate
//! show one each. The [`prelude`] has the names that most programs need.
//!
//! The library never prints, reads the environment or downloads, and has no global random state.
//!
//! # Examples
//! Train the smallest model, and draw a sample with one network evaluation.
//! ```
//! use std::{ops::ControlFlow, path::Path};
//! use pushforward::prelude::*;
//!
//! let text = "name = 'tiny'\n[data]\nset = 'echo'\n[model]\nfamily = 'flow-map'\nnetwork = { kind = 'mlp', width = 8 }\n";
//! let recipe: Recipe = Recipe::parse(text, "tiny", &["train.steps=2".into()])?;
//! let data = Data::load(&recipe, Path::new("this set is made, not read"))?;
//! let trained = train(&recipe, &data, TrainOptions::new(Device::flex()), &mut |_| ControlFlow::Continue(()))?;
//! let model = trained.loaded.flow_map("draw samples")?.model;
//! let samples = model.sample(&SampleRequest::map(3, 1, 0), &mut |_| true)?;
//! assert_eq!(samples.items().count(), 3);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub use burn;
pub use pushforward_kernels as kernels;

pub mod aef;
pub mod bijector;
#[cfg(feature = "chem")]
pub mod chem;
pub mod classifier;
pub mod data;
pub mod device;
pub mod dual;
pub mod flow_map;
pub mod hash;
pub mod metrics;
pub mod nn;
pub mod node_pairs;
#[cfg(feature = "onnx")]
pub mod onnx;
pub mod params;
pub mod prelude;
pub mod ranks;
pub mod reward;
pub mod rng;
pub mod run;
pub mod setting;
pub mod structural_zeros;
pub mod tensor;
pub mod train;
pub mod transport;
