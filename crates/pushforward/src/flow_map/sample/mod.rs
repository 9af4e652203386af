//! Sampling: from noise to class indices, by the flow map or by integrating its velocity.
//!
//! ```text
//! map      x <- x + gamma(s,t) (pi_{s,t}(x) - x)                       1 evaluation per step
//! euler    x <- x + gamma(s,t) (pi_{s,s}(x) - x)                       1   (the map's step with the diagonal's endpoint)
//! heun     mean of the slopes at both ends; the last step is Euler's   2 per step, less 1
//! dopri5   adaptive, in tau = -log(1-t): dx/dtau = pi_{t,t}(x) - x     7 per trial step and item, less the shared ones
//! renoise  x_hat = pi_{s,1}(x);  x <- (1-t) x_0' + t x_hat             1 per step, fresh noise x_0'
//! ```
//!
//! Graphs draw their number of nodes first, from `(seed, Size, i)`.
//!
//! Item i of a sample starts from the stream `(seed, Sample, i)` and is renoised from `(seed, Renoise, i)`, so it does not
//! depend on the batch it is computed in.

pub(crate) mod batch;
mod dopri5;
pub mod guidance;
pub mod large_vocabulary;

use burn::tensor::{Device, Tensor};

use crate::flow_map::config::FlowMapConfig;
use crate::flow_map::constraint::Constraint;
use crate::flow_map::interpolant::interpolate;
use crate::flow_map::map::FlowMap;
use crate::flow_map::network::EndpointNet;
use crate::flow_map::sample::batch::SampleBatch;
use crate::flow_map::time::TimeGrid;
use crate::nn::SiteShape;
use crate::tensor::to_host;

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
    pub allowed: Option<Constraint>,
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
            allowed: None,
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
    pub fn grid(self, nfe: usize) -> Result<TimeGrid, String> {
        match self {
            _ if nfe == 0 => Err("a sample takes at least one network evaluation".into()),
            Self::Heun if nfe.is_multiple_of(2) => {
                Err(format!("heun spends an odd number of evaluations (2 per step, less 1), found {nfe}"))
            }
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

/// Draws a sample. `progress` is told the number of finished items and may stop the work by returning false; the items finished
/// by then are returned.
pub fn sample<N: EndpointNet>(
    net: &N,
    config: &FlowMapConfig,
    sites: SiteShape,
    device: &Device,
    request: &SampleRequest,
    progress: &mut dyn FnMut(usize) -> bool,
) -> Samples {
    let mut out = Samples { ids: Vec::new(), endpoints: Vec::new(), sites, nfe: Vec::new() };
    for start in (0..request.count).step_by(request.batch.max(1)) {
        let n = request.batch.max(1).min(request.count - start);
        let items = SampleBatch::new(config, sites, request, request.first + start as u64, n, device);
        match net.ends().filter(|_| large_vocabulary::serves(request)) {
            Some(ends) => {
                let (ids, evaluations) = large_vocabulary::sample(ends, request, items, device);
                out.nfe.extend(vec![evaluations * net.passes(); n]);
                out.ids.extend(ids);
            }
            None => sample_points(net, config, request, items, device, &mut out),
        }
        if !progress(start + n) {
            break;
        }
    }
    out
}

/// Adds the items of a batch to the sample.
fn sample_points<N: EndpointNet>(
    net: &N,
    config: &FlowMapConfig,
    request: &SampleRequest,
    items: SampleBatch,
    device: &Device,
    out: &mut Samples,
) {
    let n = items.streams.len();
    let map = FlowMap::new(net, config.objective.off_diagonal.parametrisation())
        .with_temperature(request.temperature)
        .of(items.given.clone());
    let (end, adaptive, mut items) = integrate(&map, request, items, device);
    let steps = |evaluations: Vec<u64>| evaluations.into_iter().map(|e| e * net.passes()).collect();
    out.nfe.extend(adaptive.map_or_else(|| vec![map.evaluations(); n], steps));
    if request.endpoints {
        out.endpoints.extend(to_host(&end).into_iter().map(|v| v as f32));
    }
    out.ids.extend(items.classes(end, request.last));
}

/// The points at time 1, and the evaluations of every item where they differ.
fn integrate<N: EndpointNet>(
    map: &FlowMap<'_, N>,
    request: &SampleRequest,
    mut items: SampleBatch,
    device: &Device,
) -> (Tensor<3>, Option<Vec<u64>>, SampleBatch) {
    let mut x = items.noise(device, false);
    let n = x.dims()[0];
    let all = |t: f64| vec![t; n];
    if let Sampler::Dopri5 { tolerance } = request.sampler {
        let (x, evaluations) = dopri5::integrate(map, x, tolerance);
        return (x, Some(evaluations), items);
    }
    for (s, t) in request.grid.intervals() {
        let (s, t) = (all(s), all(t));
        x = match request.sampler {
            Sampler::Map => map.jump(x, &s, &t),
            Sampler::Euler => {
                let pi = map.endpoint(&x, &s, &s);
                map.towards(x, pi, &s, &t)
            }
            Sampler::Heun => {
                let pi = map.endpoint(&x, &s, &s);
                let guess = map.towards(x.clone(), pi, &s, &t);
                if t[0] >= 1.0 {
                    guess // the velocity is not defined at the end
                } else {
                    // Euler's increment is h v_s; the corrected one averages it with h v_t.
                    let slope = map.velocity(&guess, &t) * (t[0] - s[0]);
                    (x + guess + slope) * 0.5
                }
            }
            Sampler::Renoise => {
                let end = map.endpoint(&x, &s, &all(1.0));
                if t[0] >= 1.0 { end } else { interpolate(items.noise(device, true), end, &t) }
            }
            Sampler::Dopri5 { .. } => unreachable!("the adaptive method has returned"),
        };
    }
    (x, None, items)
}
