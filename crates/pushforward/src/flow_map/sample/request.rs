//! What to sample, and what comes of it.

use burn::tensor::Device;

use crate::flow_map::constraint::Constraint;
use crate::flow_map::interpolant::Noise;
use crate::flow_map::time::{TimeGrid, TimeGridError};
use crate::nn::SiteShape;

/// A network with all that samples start from.
#[derive(Debug)]
pub struct Generator<'a, N> {
    /// The network.
    pub net: &'a N,
    /// The noise.
    pub noise: Noise,
    /// Shape of an item.
    pub sites: SiteShape,
    /// Where to compute.
    pub device: &'a Device,
}

impl<N> Clone for Generator<'_, N> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<N> Copy for Generator<'_, N> {}

impl<'a, N> Generator<'a, N> {
    /// A network with standard normal noise.
    pub fn new(net: &'a N, sites: SiteShape, device: &'a Device) -> Self {
        Self { net, noise: Noise::default(), sites, device }
    }

    /// The same with noise of another kind.
    #[must_use]
    pub fn with_noise(self, noise: Noise) -> Self {
        Self { noise, ..self }
    }
}

/// How a sample is made.
#[derive(Clone, Debug, PartialEq)]
pub struct SampleRequest {
    /// The method.
    pub sampler: Sampler,
    /// Its steps; not used by the adaptive method.
    pub grid: TimeGrid,
    /// Number of items.
    pub count: usize,
    /// Index of the first item.
    pub first: u64,
    /// Items that are computed together.
    pub batch: usize,
    /// Seed of the noise.
    pub seed: u64,
    /// Divides the logits; below 1 it sharpens endpoints.
    pub temperature: f64,
    /// How the last point becomes class indices.
    pub last: LastStep,
    /// Whether the final points are kept: `sites * classes` numbers an item. Without them, [large
    /// vocabularies](crate::flow_map::sample::large_vocabulary) take little memory.
    pub endpoints: bool,
    /// Which classes the items may take; all, if absent. Not for the unconstrained baseline.
    pub constraint: Option<Constraint>,
    /// Labels of the items of a model with that condition, over and over: item i has `labels[i % labels.len()]`. Hidden, if
    /// empty.
    pub labels: Vec<u32>,
    /// Weight of guidance; 1 for none. See [`guidance`](crate::flow_map::sample::guidance).
    pub guidance: f64,
    /// How the items of a model trained on prefixes begin, as class indices.
    pub prefix: Vec<u32>,
    /// For graphs, how often an item has `n` nodes, for `n` from 0; empty for as many as there can be.
    pub sizes: Vec<u64>,
    /// Leaves noise on the diagonal of the edge matrix at time 0, as the published sampler of graphs does and its training never
    /// does; for comparison only, and for the published graph network only.
    pub diagonal_noise: bool,
}

impl SampleRequest {
    /// `count` items by the flow map in `steps` equal steps.
    pub fn map(count: usize, steps: usize, seed: u64) -> Self {
        Self {
            sampler: Sampler::Map,
            grid: TimeGrid::uniform(steps),
            count,
            first: 0,
            batch: 256,
            seed,
            temperature: 1.0,
            last: LastStep::Argmax,
            endpoints: true,
            constraint: None,
            labels: Vec::new(),
            prefix: Vec::new(),
            guidance: 1.0,
            sizes: Vec::new(),
            diagonal_noise: false,
        }
    }
}

/// The methods.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sampler {
    /// Jumps of the flow map.
    Map,
    /// Euler steps along the velocity.
    Euler,
    /// Heun steps along the velocity.
    Heun,
    /// Dormand-Prince steps of adaptive size along the velocity; the error is controlled for every item by itself.
    Dopri5 {
        /// Bound of the root-mean-square error of a step.
        tolerance: f64,
    },
    /// Jumps to the end and fresh noise back to the next time.
    Renoise,
}

impl Sampler {
    /// The name used in requests and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Map => "map",
            Self::Euler => "euler",
            Self::Heun => "heun",
            Self::Dopri5 { .. } => "dopri5",
            Self::Renoise => "renoise",
        }
    }

    /// The grid that spends a given number of network evaluations per item; for the adaptive method any grid.
    ///
    /// # Errors
    /// If the method cannot spend exactly that many.
    pub fn grid(self, nfe: usize) -> Result<TimeGrid, TimeGridError> {
        match self {
            _ if nfe == 0 => Err(TimeGridError::NoEvaluation),
            Self::Heun if nfe.is_multiple_of(2) => Err(TimeGridError::EvenEvaluations(nfe)),
            Self::Heun => Ok(TimeGrid::uniform(nfe.div_ceil(2))),
            Self::Map | Self::Euler | Self::Renoise | Self::Dopri5 { .. } => Ok(TimeGrid::uniform(nfe)),
        }
    }
}

/// How the last endpoint becomes class indices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LastStep {
    /// The most probable class of every site.
    #[default]
    Argmax,
    /// A draw from the endpoint of every site (the item's own stream decides). Not for the unconstrained baseline.
    Draw,
}

/// A finished sample.
#[derive(Clone, Debug)]
pub struct Samples {
    /// Class indices, item by item; [`ABSENT`](crate::node_pairs::ABSENT) where an item has no such site.
    pub ids: Vec<u32>,
    /// Final points, item by item, `classes` numbers per site; on the simplex for the endpoint parametrisation. Empty where they
    /// were not asked for.
    pub endpoints: Vec<f32>,
    /// Shape of an item.
    pub sites: SiteShape,
    /// Network evaluations of every item, counted.
    pub nfe: Vec<u64>,
}

impl Samples {
    /// The items as slices of class indices.
    pub fn items(&self) -> impl Iterator<Item = &[u32]> {
        self.ids.chunks(self.sites.count)
    }

    /// Mean number of network evaluations per item.
    pub fn mean_nfe(&self) -> f64 {
        self.nfe.iter().sum::<u64>() as f64 / self.nfe.len().max(1) as f64
    }
}
