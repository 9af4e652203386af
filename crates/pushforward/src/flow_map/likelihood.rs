//! A bound of the log-likelihood from the diagonal endpoints.
//!
//! With a Gaussian source the noised point carries the same information as `y = r x_1 + noise`, `r = t/(1-t)`, and
//!
//! ```text
//! -log p(x_1) <= int_0^inf r sum_d E || x_1d - pi_d(y, r) ||^2 dr
//! ```
//!
//! with equality on average for the exact posterior (the I-MMSE relation of Guo, Shamai, Verdu 2005, arXiv:cs/0412108;
//! the continuous-time limit of the variational bound of Kingma et al. 2021, arXiv:2107.00630). The integral is
//! estimated by importance sampling over r with density `q(r) = 2 r a^2 / (r^2 + a^2)^2`, `a = sqrt(2 ln K)`. Most
//! of its mass is where the true class becomes recognisable among K, and its tail is heavier than that of the integrand
//! of any predictor that is correct for large r. The draws of an item are stratified, so a few of them give a small
//! error.
//!
//! For graphs the bound is that of a graph given its number of nodes. A model that is told sites has a bound of the
//! other sites given these: the sum then goes over the other sites.
//!
//! The bound holds for any predictor. Above `r* = 2 sqrt(ln(10^5 K))` the evidence of a site alone determines its
//! class, and the predictor is the posterior under a uniform prior, `softmax(r y_d)`, instead of the network, whose
//! small errors would be multiplied by r. This part of the integral is below 10^-4 nats per site. Below, a trained model
//! is asked through `calibration.rs`, which makes the bound tighter.
//!
//! # Examples
//! With the evidence skip, a network of zero logits is the exact posterior of uniform data: the bound is `ln K` per
//! site.
//! ```
//! use pushforward::burn::tensor::Device;
//! use pushforward::flow_map::backbone::Parametrisation;
//! use pushforward::flow_map::likelihood::{BoundRequest, bound};
//! use pushforward::flow_map::map::FlowMap;
//! use pushforward::flow_map::model::{FlowMapModelConfig, Skip};
//! use pushforward::flow_map::network::NetworkConfig;
//! use pushforward::nn::{SiteShape, mlp::MlpConfig};
//! use pushforward::rng::{Purpose, stream};
//!
//! let (sites, device) = (SiteShape::line(1, 2), Device::flex());
//! let config = FlowMapModelConfig {
//!     network: NetworkConfig::Mlp(MlpConfig::default()),
//!     skip: Skip::Evidence { cap: 64.0 },
//!     parametrisation: Parametrisation::Endpoint,
//!     learned_weight: false,
//!     labels: None,
//!     smoothing: 0.0,
//!     observed_length: 1.0,
//! };
//! let model = config.init(sites.clone(), &device, &mut stream(0, Purpose::Init, 0));
//! let request = BoundRequest { draws: 256, ..BoundRequest::default() };
//! let nats = bound(&FlowMap::new(&model), sites.clone(), &[0, 1, 1, 0], 0, &request, &device).values;
//! assert!((nats.iter().sum::<f64>() / 4.0 - 2f64.ln()).abs() < 0.05);
//! ```

use std::ops::Range;

use burn::tensor::{Device, Int, Tensor, activation};

use crate::flow_map::backbone::EndpointNet;
use crate::flow_map::conditioning::Conditioning;
use crate::flow_map::interpolant::source_tensor;
use crate::flow_map::map::FlowMap;
use crate::hash::sha256;
use crate::nn::SiteShape;
use crate::node_pairs::ABSENT;
use crate::rng::{Purpose, Stream, stream};
use crate::tensor::{from_host, indices, mask, one_hot, to_host};
use crate::transport::time::column;

/// Settings of the estimate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundRequest {
    /// Draws of r per item.
    pub draws: usize,
    /// Seed of the noise.
    pub seed: u64,
    /// Number of points per network evaluation.
    pub batch: usize,
    /// What addresses the noise of an item, besides the seed.
    pub noise: ItemNoise,
    /// Sites that are told to the model, item by item as the class indices: the bound is then that of the other sites
    /// given these. Empty if no site is told.
    pub observed: Vec<bool>,
}

/// What addresses the noise of an item's estimate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ItemNoise {
    /// Its index, so that the estimates of a set are independent.
    #[default]
    Index,
    /// Its classes, so that an item has the same estimate wherever it stands. Equal items share their noise, and the
    /// standard error of a mean over such items is too small.
    Content,
}

/// Estimates of the bound in nats, one per item.
///
/// The standard error is that of collapsed strata: with `x_1, ..., x_n` the draws in the order of their strata,
/// `se^2 = sum (x_{i+1} - x_i)^2 / (2 n (n - 1))` (Cochran 1977, Sampling techniques, section 5A.12; Wolter 2007,
/// Introduction to variance estimation, equation 8.2.1). It is NaN for a single draw.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bounds {
    /// The estimates.
    pub values: Vec<f64>,
    /// Their standard errors.
    pub errors: Vec<f64>,
}

impl Default for BoundRequest {
    fn default() -> Self {
        Self { draws: 16, seed: 0, batch: 256, noise: ItemNoise::Index, observed: Vec::new() }
    }
}

/// Estimates the bound of every item. The estimates are unbiased and, with [`ItemNoise::Index`], independent, so the
/// standard error of their mean is the usual one. At most `request.batch` points are in memory at a time.
///
/// `first` is the index of the first item: the noise of an item depends on the seed and its index only. The source must
/// be Gaussian, and the output of the network an endpoint.
///
/// # Panics
/// If the length of `ids` is not a multiple of the number of sites, or no draws are requested.
pub fn bound<N: EndpointNet>(
    map: &FlowMap<'_, N>,
    sites: SiteShape,
    ids: &[u32],
    first: u64,
    request: &BoundRequest,
    device: &Device,
) -> Bounds {
    assert!(ids.len().is_multiple_of(sites.count), "the ids hold whole items of {} sites", sites.count);
    assert!(request.draws > 0, "the bound of an item needs at least one draw");
    let told = &request.observed;
    assert!(told.is_empty() || told.len() == ids.len(), "{} sites are told or not, of {}", told.len(), ids.len());
    // Whole items where they fit, else a part of the draws of one.
    let items = (request.batch / request.draws).max(1);
    let draws = request.draws.min(request.batch.max(1));
    let mut bounds = Bounds::default();
    for (part, number) in ids.chunks(items * sites.count).zip((first..).step_by(items)) {
        let mut integrands = vec![Vec::with_capacity(request.draws); part.len() / sites.count];
        let mut points: Vec<ItemPoints> =
            part.chunks(sites.count).zip(number..).map(|(item, i)| ItemPoints::new(item, i, &sites, request)).collect();
        if !told.is_empty() {
            let place = (number - first) as usize * sites.count;
            points.iter_mut().zip(told[place..].chunks(sites.count)).for_each(|(item, told)| item.observed = told);
        }
        for start in (0..request.draws).step_by(draws) {
            let range = start..(start + draws).min(request.draws);
            let found = integrand(map, &sites, &mut points, range.clone(), device);
            integrands.iter_mut().zip(found.chunks(range.len())).for_each(|(all, part)| all.extend(part));
        }
        for draws in integrands {
            let (n, steps) = (draws.len() as f64, draws.windows(2).map(|x: &[f64]| (x[1] - x[0]).powi(2)).sum::<f64>());
            bounds.values.push(draws.iter().sum::<f64>() / n);
            bounds.errors.push((steps / (2.0 * n * (n - 1.0))).sqrt());
        }
    }
    bounds
}

/// The draws of r of an item, and the stream of its noise.
struct ItemPoints<'a> {
    ids: &'a [u32],
    /// Whether each of its sites is told; empty if none is.
    observed: &'a [bool],
    r: Vec<f64>,
    noise: Stream,
}

impl<'a> ItemPoints<'a> {
    fn new(ids: &'a [u32], number: u64, sites: &SiteShape, request: &BoundRequest) -> Self {
        let number = match request.noise {
            ItemNoise::Index => number,
            ItemNoise::Content => {
                let bytes: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
                u64::from_str_radix(&sha256([bytes])[..16], 16).expect("hexadecimal digits")
            }
        };
        let mut noise = stream(request.seed, Purpose::Likelihood, number);
        let (scale, draws) = (proposal_scale(sites.classes), request.draws);
        let r = (0..draws).map(|i| scale * odds((i as f64 + noise.uniform()) / draws as f64).sqrt()).collect();
        Self { ids, observed: &[], r, noise }
    }
}

/// The integrand, divided by the density of the proposal, at a range of the draws of every item.
fn integrand<N: EndpointNet>(
    map: &FlowMap<'_, N>,
    sites: &SiteShape,
    points: &mut [ItemPoints<'_>],
    range: Range<usize>,
    device: &Device,
) -> Vec<f64> {
    let (draws, scale) = (range.len(), proposal_scale(sites.classes));
    let r: Vec<f64> = points.iter().flat_map(|item| item.r[range.clone()].to_vec()).collect();
    let noise = points.iter_mut().flat_map(|item| item.noise.normals(draws * sites.count * sites.classes)).collect();
    let repeated: Vec<u32> = points.iter().flat_map(|item| item.ids.repeat(draws)).collect();
    let mut noised = Noised::new(sites, &repeated, noise, &r, device);
    let rows = r.len();
    let told: Vec<f64> = points.iter().flat_map(|item| item.observed.repeat(draws)).map(f64::from).collect();
    if !told.is_empty() {
        let told = from_host(&told, [rows, sites.count, 1], &noised.x1);
        noised.conditioning.observed = Some(noised.x1.clone() * told);
    }
    let map = map.of(noised.conditioning.clone());
    let decided: Vec<bool> = r.iter().map(|&r| r > decisive_ratio(sites.classes)).collect();
    let decided = mask(&decided, [rows, 1, 1], device).expand([rows, sites.count, sites.classes]);
    let certain = activation::softmax(noised.conditioning.mask_logits(noised.evidence()), 2);
    let endpoint = map.endpoint(&noised.x_t, &noised.t, &noised.t).mask_where(decided, certain);
    let miss = noised.conditioning.mask(noised.x1 - endpoint);
    let error = to_host(&(miss.clone() * miss).sum_dim(2).sum_dim(1));
    error.iter().zip(&r).map(|(e, r)| e * (r * r + scale * scale).powi(2) / (2.0 * scale * scale)).collect()
}

/// Items at their noise levels.
pub(super) struct Noised {
    /// Which sites and classes the items have.
    pub(super) conditioning: Conditioning,
    /// The items as one-hot vectors, `[rows, sites, classes]`.
    pub(super) x1: Tensor<3>,
    /// The points `x_t = (1-t) noise + t x_1`.
    pub(super) x_t: Tensor<3>,
    /// The times `t = r/(1+r)`.
    pub(super) t: Vec<f64>,
    r: Vec<f64>,
}

impl Noised {
    /// Items as class indices, with a normal number for every class of every site, and a ratio r for each item.
    pub(super) fn new(sites: &SiteShape, ids: &[u32], noise: Vec<f32>, r: &[f64], device: &Device) -> Self {
        let rows = r.len();
        let noise = source_tensor(noise, [rows, sites.count, sites.classes], device);
        let conditioning = Conditioning::of_items(sites, ids, &noise);
        let noise = conditioning.mask(noise);
        let present: Vec<u32> = ids.iter().map(|&id| if id == ABSENT { 0 } else { id }).collect();
        let x1: Tensor<2, Int> = indices(&present, [rows, sites.count], device);
        let x1 = conditioning.mask(one_hot(x1, sites.classes, &noise));
        let t: Vec<f64> = r.iter().map(|r| r / (1.0 + r)).collect();
        let weight = column(&t, &noise);
        let x_t = noise.clone() + (x1.clone() - noise) * weight;
        Self { conditioning, x1, x_t, t, r: r.to_vec() }
    }

    /// What each site says of its own class, `r y = r x_t / (1-t) = x_t r (1+r)`, as logits.
    pub(super) fn evidence(&self) -> Tensor<3> {
        let factor: Vec<f64> = self.r.iter().map(|r| r * (1.0 + r)).collect();
        self.x_t.clone() * column(&factor, &self.x_t)
    }
}

/// The scale `a` of the proposal.
fn proposal_scale(classes: usize) -> f64 {
    (2.0 * (classes as f64).ln()).sqrt().max(1.0)
}

/// The ratio `r*` above which the evidence of a site determines its class: the probability that another class has more
/// evidence is at most `(K-1) Q(r / sqrt 2) < 10^-5`.
pub(super) fn decisive_ratio(classes: usize) -> f64 {
    2.0 * (1e5 * classes as f64).ln().sqrt()
}

fn odds(u: f64) -> f64 {
    u / (1.0 - u)
}
