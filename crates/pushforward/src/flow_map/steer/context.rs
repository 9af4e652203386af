//! Data that the methods of steering share.

use crate::flow_map::sample::Generator;
use crate::flow_map::steer::request::{Population, SteerRequest};
use crate::flow_map::steer::reward::Reward;
use crate::ranks::Ranks;

/// Inputs of all methods.
pub(super) struct SteerContext<'a, N> {
    pub(super) generator: Generator<'a, N>,
    pub(super) request: &'a SteerRequest,
    pub(super) reward: &'a dyn Reward,
    /// The ranks that share the particles of every population.
    pub(super) ranks: &'a Ranks,
}

/// The particles kept of a population.
pub(crate) struct Kept {
    pub(crate) ids: Vec<u32>,
    pub(crate) endpoints: Vec<f32>,
    pub(crate) rewards: Vec<f64>,
    pub(crate) population: Population,
}
