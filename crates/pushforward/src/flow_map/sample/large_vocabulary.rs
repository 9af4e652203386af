//! Sampling without points, for vocabularies so large that `[batch, sites, classes]` numbers do not fit into memory.
//!
//! A network with a linear first and last layer, `h = f(x W, s, t)`, depends on a point through `x W` only. Jumps are
//! convex, so they can be made on these products:
//!
//! ```text
//! X W = x W + gamma(s,t) (pi W - x W)        renoised: (1-t) x_0' W + t pi W
//! ```
//!
//! Noise, logits and endpoints are in memory for a few items at a time, the products for the whole batch. The samples
//! equal those of the same request with points, up to rounding.
//!
//! [`sample`](crate::flow_map::sample::sample) takes this path by itself for networks that are
//! [factored](crate::flow_map::backbone::Backbone::factored), if the request does not ask for endpoints.
//!
//! # Examples
//! The same classes with and without points in memory.
//! ```
//! use pushforward::burn::tensor::Device;
//! use pushforward::flow_map::backbone::EndpointNet;
//! use pushforward::flow_map::model::FlowMapModel;
//! use pushforward::flow_map::network::{Network, NetworkConfig};
//! use pushforward::flow_map::sample::{Generator, LastStep, SampleRequest, sample};
//! use pushforward::nn::{SiteShape, dit::DitConfig};
//! use pushforward::rng::{Purpose, stream};
//!
//! let (sites, device) = (SiteShape::line(3, 20), Device::flex());
//! let config = DitConfig { width: 8, blocks: 1, heads: 2, cond: 8, time_width: 8, ..DitConfig::default() };
//! let network = config.init(sites.clone(), &device, &mut stream(0, Purpose::Init, 0));
//! let model = FlowMapModel::new(Network::Dit(network), sites.clone());
//! assert!(model.factored().is_some()); // 20 classes, 8 features
//! let generator = Generator::new(&model, sites.clone(), &device);
//! let points = SampleRequest { last: LastStep::Draw, ..SampleRequest::map(4, 2, 0) };
//! let without = SampleRequest { endpoints: false, ..points.clone() };
//! let ids = |request: &SampleRequest| sample(&generator, request, &mut |_| true).ids;
//! assert_eq!(ids(&without), ids(&points));
//! ```

use burn::tensor::{Device, Tensor};

use crate::dual::softmax;
use crate::flow_map::backbone::FactoredNet;
use crate::flow_map::interpolant::interpolate;
use crate::flow_map::losses::jump;
use crate::flow_map::sample::batch::SampleBatch;
use crate::flow_map::sample::request::{SampleRequest, Sampler};
use crate::tensor::vector;
use crate::transport::time::{column, jump_weight};

/// Maximum number of entries of points in memory at a time; at least one item.
const NUMBERS: usize = 1 << 22;

/// Whether a request can be sampled without points: endpoints are not requested, and all steps are convex.
pub(in crate::flow_map) fn serves(request: &SampleRequest) -> bool {
    !request.endpoints
        && (matches!(request.sampler, Sampler::Map | Sampler::Euler) || request.sampler == Sampler::RENOISE)
}

/// Class indices of the items of a batch, and the number of evaluations.
pub(in crate::flow_map) fn sample(
    net: &FactoredNet<'_>,
    request: &SampleRequest,
    mut items: SampleBatch,
    device: &Device,
) -> (Vec<u32>, u64) {
    assert!(request.temperature > 0.0, "the temperature must be positive, found {}", request.temperature);
    let n = items.streams.len();
    let group = (NUMBERS / (items.sites.count * items.sites.classes)).max(1);
    let groups = || (0..n).step_by(group).map(|first| first..n.min(first + group));
    let noise = |items: &mut SampleBatch, fresh: bool| {
        Tensor::cat(groups().map(|some| net.embed(items.noise_of(some, device, fresh))).collect(), 0)
    };
    let open = items.draw_mask(request.last);
    let mut x = noise(&mut items, false);
    // The network gets observed sites as they are at time 1.
    let known =
        items.conditioning.observed.clone().map(|known| (known.clone().sum_dim(2).neg() + 1.0, net.embed(known)));
    let (mut ids, mut evaluations) = (Vec::new(), 0);
    for (s, t) in request.grid.intervals() {
        let target = match request.sampler {
            Sampler::Euler => s,
            Sampler::Renoise { .. } => 1.0,
            _ => t,
        };
        let seen = match &known {
            Some((free, read)) => x.clone() * free.clone() + read.clone(),
            None => x.clone(),
        };
        // Points are zero at sites that an item does not have, and so are their products.
        let seen = match &items.conditioning.site_mask {
            Some(mask) => seen * mask.clone().unsqueeze_dim(2),
            None => seen,
        };
        let times = |t: f64| vector(&vec![t; n], &x);
        let features = net.trunk(seen, times(s), times(target), &items.conditioning);
        evaluations += 1;
        let mut ends = Vec::new();
        for some in groups() {
            let conditioning = items.conditioning.slice(some.clone());
            let logits = net.unembed(features.clone().slice_dim(0, some.clone()), &conditioning);
            let pi = softmax(logits / request.temperature);
            if t >= 1.0 {
                ids.extend(items.classes_of(some, pi, request.last, open.as_deref()));
            } else {
                ends.push(net.embed(pi));
            }
        }
        if t >= 1.0 {
            break;
        }
        let end = Tensor::cat(ends, 0);
        x = match request.sampler {
            Sampler::Renoise { .. } => interpolate(noise(&mut items, true), end, &vec![t; n]),
            _ => {
                let gamma = column(&vec![jump_weight(s, t); n], &x);
                jump(x, end, gamma)
            }
        };
    }
    items.mark_absent(&mut ids, 1);
    (ids, evaluations)
}
