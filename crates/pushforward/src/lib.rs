//! Models that push a simple distribution forward through a learned map.
//!
//! - [`flow_map`]: categorical flow maps (Roos et al. 2026, arXiv:2602.12233), few-step generation of text, images and other
//!   categorical data. Its module page holds the equations and a reading order.
//! - [`aef`]: autoencoders within flows (Silvestri, Roos, Ambrogioni 2023, arXiv:2205.09546) and their baselines, with honest
//!   likelihoods; [`bijector`]: the normalising flows they are made of.
//!
//! ```text
//! data -> Batches -> Objective::loss -> train -> checkpoint -> model::load -> sample | bound -> evaluation -> Report
//! ```
//!
//! Every function of the mathematics is public and needs no recipe; a recipe ([`config::Recipe`]) names a whole run.
//! The library never prints, reads the environment or downloads, and has no global random state.
//!
//! ```
//! use pushforward::flow_map::time::jump_weight;
//! // A jump from s to t covers (t-s)/(1-s) of the way to the endpoint.
//! assert_eq!(jump_weight(0.5, 0.75), 0.5);
//! ```

pub use burn;
pub use pushforward_kernels as kernels;

pub mod aef;
pub mod bijector;
pub mod chem;
pub mod classifier;
pub mod data;
pub mod device;
pub mod dual;
pub mod flow_map;
pub mod metrics;
pub mod nn;
pub mod node_pairs;
pub mod params;
pub mod reward;
pub mod rng;
pub mod run;
pub mod tensor;
pub mod train;
