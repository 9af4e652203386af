//! Requests for samples, and their results.

use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use burn::tensor::Device;

use crate::flow_map::constraint::Constraint;
use crate::flow_map::interpolant::Noise;
use crate::flow_map::sample::labels::LabelChoice;
use crate::flow_map::sample::rules::Rules;
use crate::nn::SiteShape;
use crate::transport::time::{TimeGrid, TimeGridError};

/// A network with the noise, shape and device that sampling needs.
#[derive(Debug)]
pub struct Generator<'a, N> {
    /// The network.
    pub net: &'a N,
    /// The noise.
    pub noise: Noise,
    /// Shape of an item.
    pub sites: SiteShape,
    /// Device of the computation.
    pub device: &'a Device,
    /// What items have to be, if anything.
    pub rules: Option<Arc<dyn Rules>>,
    /// Factors of final points, `sites * classes` numbers; none if empty.
    factors: Vec<f32>,
}

impl<N> Clone for Generator<'_, N> {
    fn clone(&self) -> Self {
        Self { sites: self.sites.clone(), rules: self.rules.clone(), factors: self.factors.clone(), ..*self }
    }
}

impl<'a, N> Generator<'a, N> {
    /// A network with standard normal noise.
    pub fn new(net: &'a N, sites: SiteShape, device: &'a Device) -> Self {
        Self { net, noise: Noise::default(), sites, device, rules: None, factors: Vec::new() }
    }

    /// The same with other noise.
    #[must_use]
    pub fn with_noise(self, noise: Noise) -> Self {
        Self { noise, ..self }
    }

    /// The same whose last decision is [mended](Rules::mend) by the endpoint, so that these rules hold.
    #[must_use]
    pub fn with_rules(self, rules: Arc<dyn Rules>) -> Self {
        Self { rules: Some(rules), ..self }
    }

    /// The same whose last decision is by endpoints times these factors, site by site: see [`margins`](crate::flow_map::margins).
    ///
    /// # Panics
    /// If there are not factors of all sites, or more than a site has classes.
    #[must_use]
    pub(crate) fn with_factors(self, factors: &[Vec<f64>]) -> Self {
        let SiteShape { count, classes, .. } = self.sites;
        assert!(factors.len() == count, "factors of {} sites, and items have {count}", factors.len());
        let mut all = vec![1.0; count * classes];
        for (row, factors) in all.chunks_mut(classes).zip(factors) {
            assert!(factors.len() <= classes, "factors of {} classes, and a site has {classes}", factors.len());
            row.iter_mut().zip(factors).for_each(|(to, &factor)| *to = factor as f32);
        }
        Self { factors: all, ..self }
    }

    /// The factors of final points; `None` if there are none.
    pub(in crate::flow_map) fn factors(&self) -> Option<&[f32]> {
        (!self.factors.is_empty()).then_some(&self.factors)
    }
}

/// Temperatures of a request. Far below, logits overflow in float32 when they are divided; far above, the classes that
/// a constraint forbids would not be improbable any more.
pub const TEMPERATURE: RangeInclusive<f64> = 1e-30..=1e4;
/// Weights of guidance of a request; with others, masked logits would not stay below all the rest.
pub const GUIDANCE: RangeInclusive<f64> = 1e-3..=1e4;

/// What a model is told of an item: the classes of its sites, `None` for those that are generated.
pub type ObservedRow = Vec<Option<u32>>;

/// A part of a graph that items keep: nodes, and the pairs among them, that the constraint of the request fixes as the first ones.
///
/// A [trained model](crate::run::TrainedFlowMap) that is told any sites has the part at those nodes where it belongs, which are seldom
/// the first; for other models it stays there.
#[derive(Clone, Debug, PartialEq)]
pub struct GraphPart {
    /// Number of nodes of the part.
    pub nodes: usize,
    /// The constraint apart from the part.
    pub otherwise: Option<Constraint>,
}

impl GraphPart {
    /// Network evaluations that finding its places takes at most, where each of its nodes has up to two edges to the nodes before it.
    pub fn evaluations(&self) -> usize {
        3 * self.nodes * PLACES * PLACE_NOISES
    }
}

/// Places of a part, which the items of a request take in turn.
pub(crate) const PLACES: usize = 256;
/// Noises over which the law of a site is averaged to find them.
pub(crate) const PLACE_NOISES: usize = 2;

/// What to sample, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct SampleRequest {
    /// The method.
    pub sampler: Sampler,
    /// Its time steps; not used by the adaptive method.
    pub grid: TimeGrid,
    /// Whether a model takes what it keeps for as many jumps of the map: [times](crate::flow_map::grids) in place of equal steps, and
    /// [margins](crate::flow_map::margins) of items that are told nothing.
    pub kept: bool,
    /// Number of items.
    pub count: usize,
    /// Index of the first item.
    pub first: u64,
    /// Number of items per batch.
    pub batch: usize,
    /// Seed of the noise.
    pub seed: u64,
    /// Divisor of the logits, in [`TEMPERATURE`]; values below 1 sharpen endpoints.
    pub temperature: f64,
    /// How the final point becomes class indices.
    pub last: LastStep,
    /// Whether the final points are kept: `sites * classes` numbers per item. Without them, [large
    /// vocabularies](crate::flow_map::sample::large_vocabulary) take little memory.
    pub endpoints: bool,
    /// Allowed classes of every site; all classes if absent. Not for the unconstrained baseline.
    pub constraint: Option<Constraint>,
    /// Labels, for models with label conditioning.
    pub labels: LabelChoice,
    /// Weight of guidance, in [`GUIDANCE`]; 1 for none. See [`guidance`](crate::flow_map::sample::guidance).
    pub guidance: f64,
    /// For models that are told sites ([`Condition::Prefix`](crate::flow_map::conditioning::Condition::Prefix) and
    /// [`Observed`](crate::flow_map::conditioning::Condition::Observed)), the classes of the sites, `None` for those that
    /// are generated; item i has `observed[i % observed.len()]`. Empty if no site is told.
    pub observed: Vec<ObservedRow>,
    /// For graphs, the part that every item keeps.
    pub part: Option<GraphPart>,
    /// Whether graphs that are no molecules are [made some](crate::data::molecules::Correction) by the likeliest changes.
    pub correct: bool,
    /// For graphs and records, the number of nodes or letters of item i, in turn; drawn by `sizes` if empty.
    pub told_sizes: Vec<usize>,
    /// For graphs and records, `sizes[n]` is the relative frequency of items with `n` nodes or letters; if empty, all items have the largest
    /// size.
    pub sizes: Vec<u64>,
    /// Noise on the diagonal of the edge matrix at time 0, as in the published sampler of graphs but not in its
    /// training. For comparison only, and for the published graph network only.
    pub diagonal_noise: bool,
}

impl SampleRequest {
    /// `count` items by `steps` jumps, of equal length where the model keeps no other times.
    pub fn map(count: usize, steps: usize, seed: u64) -> Self {
        Self {
            sampler: Sampler::Map,
            grid: TimeGrid::uniform(steps),
            kept: true,
            count,
            first: 0,
            batch: 256,
            seed,
            temperature: 1.0,
            last: LastStep::Argmax,
            endpoints: true,
            constraint: None,
            labels: LabelChoice::default(),
            observed: Vec::new(),
            guidance: 1.0,
            part: None,
            correct: false,
            told_sizes: Vec::new(),
            sizes: Vec::new(),
            diagonal_noise: false,
        }
    }
}

/// An item of a batch: its place in the random streams, and what it is told.
#[derive(Clone, Copy, Debug)]
pub(in crate::flow_map) struct Item<'a> {
    pub(in crate::flow_map) seed: u64,
    pub(in crate::flow_map) index: u64,
    pub(in crate::flow_map) label: Option<u32>,
    pub(in crate::flow_map) observed: Option<&'a ObservedRow>,
    pub(in crate::flow_map) size: Option<usize>,
}

impl SampleRequest {
    /// The items of these indices.
    pub(in crate::flow_map) fn items(&self, indices: Range<u64>) -> impl Iterator<Item = Item<'_>> {
        let one = |index: u64| {
            let turn = |n: usize| index.checked_rem(n as u64).map(|place| place as usize);
            let observed = turn(self.observed.len()).map(|place| &self.observed[place]);
            let size = turn(self.told_sizes.len()).map(|place| self.told_sizes[place]);
            Item { seed: self.seed, index, label: self.labels.of(self.seed, index), observed, size }
        };
        indices.map(one)
    }

    /// The request with labels drawn by `counts`, how often the data of a model have each, where it asks for that: nothing
    /// else is told of its items, since a label of its own may not fit what is.
    #[must_use]
    pub fn with_label_counts(mut self, counts: &[u64]) -> Self {
        if self.labels == LabelChoice::AsTrained {
            let told = !self.observed.is_empty() || self.constraint.is_some();
            let known = counts.iter().any(|&count| count > 0);
            self.labels = if told || !known { LabelChoice::Hidden } else { LabelChoice::Drawn(counts.to_vec()) };
        }
        self
    }

    /// The labels that its items are told; empty if they are told none.
    pub fn told_labels(&self) -> Vec<u32> {
        let indices = self.first..self.first + self.count as u64;
        indices.filter_map(|index| self.labels.of(self.seed, index)).collect()
    }

    /// Whether items of the two requests may share a batch: everything but the items themselves (seed, indices, label,
    /// observed sites) and the number computed together is equal.
    pub fn shares_a_batch_with(&self, other: &Self) -> bool {
        let settings = |r: &Self| {
            let told = [r.labels.is_told(), r.observed.is_empty()];
            (r.sampler, r.kept, r.temperature, r.last, r.endpoints, r.guidance, r.diagonal_noise, r.correct, told)
        };
        settings(self) == settings(other)
            && self.grid == other.grid
            && self.sizes == other.sizes
            && self.constraint == other.constraint
    }
}

/// Sampling methods.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sampler {
    /// Jumps of the flow map.
    Map,
    /// Euler steps along the velocity.
    Euler,
    /// Heun steps along the velocity.
    Heun,
    /// Adaptive Dormand-Prince steps along the velocity; the error is controlled separately for every item.
    Dopri5 {
        /// Bound of the root-mean-square error of a step.
        tolerance: f64,
    },
    /// Jumps past the next time, each followed by fresh noise back to it.
    Renoise {
        /// How much of the noise at the next time is fresh, from 0, jumps of the map alone, to 1, jumps to time 1 and fresh noise
        /// alone. Between them the law of the noise is kept for Gaussian sources only.
        gamma: f64,
    },
}

impl Sampler {
    /// Jumps to time 1, each followed by fresh noise alone.
    pub const RENOISE: Self = Self::Renoise { gamma: 1.0 };

    /// The name used in requests and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Map => "map",
            Self::Euler => "euler",
            Self::Heun => "heun",
            Self::Dopri5 { .. } => "dopri5",
            Self::Renoise { .. } => "renoise",
        }
    }

    /// The uniform grid that takes the given number of network evaluations per item; the adaptive method ignores the
    /// grid.
    ///
    /// # Errors
    /// If no grid takes exactly that many.
    pub fn grid(self, nfe: usize) -> Result<TimeGrid, TimeGridError> {
        match self {
            _ if nfe == 0 => Err(TimeGridError::NoEvaluation),
            Self::Heun if nfe.is_multiple_of(2) => Err(TimeGridError::EvenEvaluations(nfe)),
            Self::Heun => Ok(TimeGrid::uniform(nfe.div_ceil(2))),
            Self::Map | Self::Euler | Self::Renoise { .. } | Self::Dopri5 { .. } => Ok(TimeGrid::uniform(nfe)),
        }
    }
}

/// How the final endpoint becomes class indices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LastStep {
    /// The most probable class of every site.
    #[default]
    Argmax,
    /// A draw from the endpoint of every site, from the item's own stream. Not for the unconstrained baseline.
    Draw,
}

/// A finished sample.
#[derive(Clone, Debug)]
pub struct Samples {
    /// Class indices, item by item; [`ABSENT`](crate::node_pairs::ABSENT) for sites that an item does not have.
    pub ids: Vec<u32>,
    /// Final points, item by item, `classes` numbers per site; on the simplex for the endpoint parametrisation. Empty
    /// if they were not requested.
    pub endpoints: Vec<f32>,
    /// Shape of an item.
    pub sites: SiteShape,
    /// Number of network evaluations (NFE) of every item.
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
