//! A bound of the log-likelihood from the diagonal alone.
//!
//! With Gaussian source the noised point carries the same information as `y = r x_1 + noise`, `r = t/(1-t)`, and
//!
//! ```text
//! -log p(x_1) <= int_0^inf r sum_d E || x_1d - pi_d(y, r) ||^2 dr
//! ```
//!
//! with equality on average for the exact posterior (the I-MMSE relation of Guo, Shamai, Verdu 2005, arXiv:cs/0412108; the
//! continuous-time limit of the variational bound of Kingma et al. 2021, arXiv:2107.00630). The integral is estimated by
//! importance sampling over r with density `q(r) = 2 r a^2 / (r^2 + a^2)^2`, `a = sqrt(2 ln K)`, whose mass sits where one
//! class starts to stand out of K and whose tail outweighs that of any prediction that is right in the end. The draws of an
//! item are stratified, so a few give a small error.
//!
//! For graphs the bound is that of a graph given its number of nodes.
//!
//! The bound holds for any predictor. Above `r* = 2 sqrt(ln(10^5 K))` the evidence of a site alone decides its class, and the
//! predictor is the posterior under a uniform prior, `softmax(r y_d)`: its share of the integral is below 10^-4 nats a site,
//! where a network's small errors would be weighted by r.

use burn::tensor::{Device, Int, Tensor, activation};

use crate::flow_map::backbone::EndpointNet;
use crate::flow_map::conditioning::Conditioning;
use crate::flow_map::interpolant::source_tensor;
use crate::flow_map::map::FlowMap;
use crate::flow_map::time::column;
use crate::nn::SiteShape;
use crate::node_pairs::ABSENT;
use crate::rng::{Purpose, stream};
use crate::tensor::{indices, mask, one_hot, to_host};

/// How the bound is estimated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BoundRequest {
    /// Draws of r per item.
    pub draws: usize,
    /// Seed of the noise.
    pub seed: u64,
    /// Network inputs that are computed together.
    pub batch: usize,
}

impl Default for BoundRequest {
    fn default() -> Self {
        Self { draws: 16, seed: 0, batch: 256 }
    }
}

/// Estimates of the bound in nats, one per item; unbiased, and independent over items, so their mean has the usual interval.
///
/// `first` is the index of the first item, which addresses its noise. The source must be Gaussian and the output an endpoint.
///
/// # Panics
/// If `ids` does not hold whole items.
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
    let scale = proposal_scale(sites.classes);
    let (mut noise, mut r) = (Vec::new(), Vec::new());
    for item in 0..items {
        let mut randomness = stream(request.seed, Purpose::Likelihood, first + item as u64);
        r.extend((0..draws).map(|i| scale * odds((i as f64 + randomness.uniform()) / draws as f64).sqrt()));
        noise.extend(randomness.normals(draws * sites.count * sites.classes));
    }
    let rows = items * draws;
    let noise = source_tensor(noise, [rows, sites.count, sites.classes], device);
    let repeated: Vec<u32> = ids.chunks(sites.count).flat_map(|item| item.repeat(draws)).collect();
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
    let decided: Vec<bool> = r.iter().map(|&r| r > decisive(sites.classes)).collect();
    let decided = mask(&decided, [rows, 1, 1], device).expand([rows, sites.count, sites.classes]);
    // r y = r x_t / (1-t) = x_t r (1+r)
    let evidence: Vec<f64> = r.iter().map(|r| r * (1.0 + r)).collect();
    let evidence = x_t.clone() * column(&evidence, &x_t);
    let certain = activation::softmax(conditioning.mask_logits(evidence), 2);
    let miss = conditioning.mask(x1 - map.endpoint(&x_t, &t, &t).mask_where(decided, certain));
    let error = to_host(&(miss.clone() * miss).sum_dim(2).sum_dim(1));
    let integrand: Vec<f64> =
        error.iter().zip(&r).map(|(e, r)| e * (r * r + scale * scale).powi(2) / (2.0 * scale * scale)).collect();
    integrand.chunks(draws).map(|d| d.iter().sum::<f64>() / draws as f64).collect()
}

/// The scale `a` of the proposal.
fn proposal_scale(classes: usize) -> f64 {
    (2.0 * (classes as f64).ln()).sqrt().max(1.0)
}

/// The ratio `r*` from which on the evidence of a site decides its class: the probability that another class looks likelier
/// is below `(K-1) Q(r / sqrt 2) < 10^-5`.
fn decisive(classes: usize) -> f64 {
    2.0 * (1e5 * classes as f64).ln().sqrt()
}

fn odds(u: f64) -> f64 {
    u / (1.0 - u)
}
