//! Data that the methods of steering share.

use crate::flow_map::sample::Generator;
use crate::flow_map::steer::request::{Population, SteerRequest};
use crate::flow_map::steer::reward::Reward;

/// Inputs of all methods.
pub(super) struct SteerContext<'a, N> {
    pub(super) generator: Generator<'a, N>,
    pub(super) request: &'a SteerRequest,
    pub(super) reward: &'a dyn Reward,
}

/// The particles kept of a population.
pub(crate) struct Kept {
    pub(crate) ids: Vec<u32>,
    pub(crate) endpoints: Vec<f32>,
    pub(crate) rewards: Vec<f64>,
    pub(crate) population: Population,
}
