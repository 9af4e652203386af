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
//! For graphs the bound is that of a graph given its number of nodes.
//!
//! The bound holds for any predictor. Above `r* = 2 sqrt(ln(10^5 K))` the evidence of a site alone determines its
//! class, and the predictor is the posterior under a uniform prior, `softmax(r y_d)`, instead of the network, whose
//! small errors would be multiplied by r. This part of the integral is below 10^-4 nats per site.
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
//! };
//! let model = config.init(sites, &device, &mut stream(0, Purpose::Init, 0));
//! let request = BoundRequest { draws: 256, ..BoundRequest::default() };
//! let nats = bound(&FlowMap::new(&model), sites, &[0, 1, 1, 0], 0, &request, &device);
//! assert!((nats.iter().sum::<f64>() / 4.0 - 2f64.ln()).abs() < 0.05);
//! ```

use std::ops::Range;

use burn::tensor::{Device, Int, Tensor, activation};

use crate::flow_map::backbone::EndpointNet;
use crate::flow_map::conditioning::Conditioning;
use crate::flow_map::interpolant::source_tensor;
use crate::flow_map::map::FlowMap;
use crate::flow_map::time::column;
use crate::nn::SiteShape;
use crate::node_pairs::ABSENT;
use crate::rng::{Purpose, Stream, stream};
use crate::tensor::{indices, mask, one_hot, to_host};

/// Settings of the estimate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BoundRequest {
    /// Draws of r per item.
    pub draws: usize,
    /// Seed of the noise.
    pub seed: u64,
    /// Number of points per network evaluation; bounds the memory, whatever the number of draws.
    pub batch: usize,
}

impl Default for BoundRequest {
    fn default() -> Self {
        Self { draws: 16, seed: 0, batch: 256 }
    }
}

/// Estimates of the bound in nats, one per item. They are unbiased and independent, so the standard error of their mean
/// is the usual one.
///
/// `first` is the index of the first item: the noise of an item depends on the seed and its index only. The source must
/// be Gaussian, and the output of the network an endpoint.
///
/// # Panics
/// If the length of `ids` is not a multiple of the number of sites.
pub fn bound<N: EndpointNet>(
    map: &FlowMap<'_, N>,
    sites: SiteShape,
    ids: &[u32],
    first: u64,
    request: &BoundRequest,
    device: &Device,
) -> Vec<f64> {
    assert!(ids.len().is_multiple_of(sites.count), "the ids hold whole items of {} sites", sites.count);
    let per_batch = (request.batch / request.draws).max(1);
    ids.chunks(per_batch * sites.count)
        .enumerate()
        .flat_map(|(i, part)| batch_bound(map, sites, part, first + (i * per_batch) as u64, request, device))
        .collect()
}

fn batch_bound<N: EndpointNet>(
    map: &FlowMap<'_, N>,
    sites: SiteShape,
    ids: &[u32],
    first: u64,
    request: &BoundRequest,
    device: &Device,
) -> Vec<f64> {
    let (items, draws) = (ids.len() / sites.count, request.draws);
    let mut streams: Vec<Draws> = (0..items as u64).map(|item| Draws::of(request, first + item)).collect();
    let mut sums = vec![0.0; items];
    // Several items have few draws each; the many draws of a single item are computed in parts.
    let most = request.batch.max(1).min(draws);
    for start in (0..draws).step_by(most) {
        let count = most.min(draws - start);
        let (mut noise, mut r) = (Vec::new(), Vec::new());
        for stream in &mut streams {
            r.extend(stream.ratios(start..start + count, draws, sites.classes));
            noise.extend(stream.noise.normals(count * sites.count * sites.classes));
        }
        let integrand = integrand(map, sites, ids, &r, noise, device);
        for (sum, part) in sums.iter_mut().zip(integrand.chunks(count)) {
            *sum = part.iter().fold(*sum, |sum, value| sum + value);
        }
    }
    sums.into_iter().map(|sum| sum / draws as f64).collect()
}

/// The random numbers of an item: first those of all ratios r, then the noise. Two copies of the stream read them
/// side by side, so that the draws need not be in memory together.
struct Draws {
    strata: Stream,
    noise: Stream,
}

impl Draws {
    fn of(request: &BoundRequest, item: u64) -> Self {
        let strata = stream(request.seed, Purpose::Likelihood, item);
        let mut noise = strata.clone();
        for _ in 0..request.draws {
            noise.uniform();
        }
        Self { strata, noise }
    }

    /// The ratios of a range of draws, one in each stratum.
    fn ratios(&mut self, range: Range<usize>, draws: usize, classes: usize) -> Vec<f64> {
        let scale = proposal_scale(classes);
        range.map(|i| scale * odds((i as f64 + self.strata.uniform()) / draws as f64).sqrt()).collect()
    }
}

/// The integrand over its density at the given ratios, as many of them for every item.
fn integrand<N: EndpointNet>(
    map: &FlowMap<'_, N>,
    sites: SiteShape,
    ids: &[u32],
    r: &[f64],
    noise: Vec<f32>,
    device: &Device,
) -> Vec<f64> {
    let (rows, scale) = (r.len(), proposal_scale(sites.classes));
    let each = rows * sites.count / ids.len();
    let noise = source_tensor(noise, [rows, sites.count, sites.classes], device);
    let repeated: Vec<u32> = ids.chunks(sites.count).flat_map(|item| item.repeat(each)).collect();
    let conditioning = Conditioning::of_items(sites, &repeated, &noise);
    let map = map.of(conditioning.clone());
    let noise = conditioning.mask(noise);
    let repeated: Vec<u32> = repeated.into_iter().map(|id| if id == ABSENT { 0 } else { id }).collect();
    let x1: Tensor<2, Int> = indices(&repeated, [rows, sites.count], device);
    let x1 = conditioning.mask(one_hot(x1, sites.classes, &noise));
    // t = r/(1+r), and x_t = (1-t) noise + t x_1.
    let t: Vec<f64> = r.iter().map(|r| r / (1.0 + r)).collect();
    let weight = column(&t, &noise);
    let x_t = noise.clone() + (x1.clone() - noise) * weight;
    let decided: Vec<bool> = r.iter().map(|&r| r > decisive_ratio(sites.classes)).collect();
    let decided = mask(&decided, [rows, 1, 1], device).expand([rows, sites.count, sites.classes]);
    // r y = r x_t / (1-t) = x_t r (1+r)
    let evidence: Vec<f64> = r.iter().map(|r| r * (1.0 + r)).collect();
    let evidence = x_t.clone() * column(&evidence, &x_t);
    let certain = activation::softmax(conditioning.mask_logits(evidence), 2);
    let miss = conditioning.mask(x1 - map.endpoint(&x_t, &t, &t).mask_where(decided, certain));
    let error = to_host(&(miss.clone() * miss).sum_dim(2).sum_dim(1));
    error.iter().zip(r).map(|(e, r)| e * (r * r + scale * scale).powi(2) / (2.0 * scale * scale)).collect()
}

/// The scale `a` of the proposal.
fn proposal_scale(classes: usize) -> f64 {
    (2.0 * (classes as f64).ln()).sqrt().max(1.0)
}

/// The ratio `r*` above which the evidence of a site determines its class: the probability that another class has more
/// evidence is at most `(K-1) Q(r / sqrt 2) < 10^-5`.
fn decisive_ratio(classes: usize) -> f64 {
    2.0 * (1e5 * classes as f64).ln().sqrt()
}

fn odds(u: f64) -> f64 {
    u / (1.0 - u)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dual::Dual;
    use crate::nn::Pass;

    /// Logits that depend on the point.
    struct Scaled;

    impl EndpointNet for Scaled {
        fn logits(&self, x: Dual<3>, _: Dual<1>, _: Dual<1>, _: &Conditioning, _: &mut Pass<'_>) -> Dual<3> {
            x.scale(3.0)
        }
    }

    #[test]
    fn draws_in_parts_are_the_draws_at_once() {
        let (sites, device) = (SiteShape::line(2, 3), Device::flex());
        let nats = |batch| {
            let request = BoundRequest { draws: 100, seed: 4, batch };
            bound(&FlowMap::new(&Scaled), sites, &[0, 1, 2, 2], 7, &request, &device)
        };
        let whole = nats(1000);
        for batch in [200, 100, 37, 1] {
            let parts = nats(batch);
            assert!(whole.iter().zip(&parts).all(|(a, b)| (a / b - 1.0).abs() < 1e-5), "{batch}: {whole:?} {parts:?}");
        }
    }
}
