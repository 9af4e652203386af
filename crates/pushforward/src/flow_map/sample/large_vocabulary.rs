//! Sampling without points: for vocabularies so large that `[batch, sites, classes]` numbers are not to be held.
//!
//! A network that reads points through a linear map, `h = f(x W, s, t)`, and ends in one, asks of a point for nothing but `x W`. Jumps are
//! convex, so they can be made there:
//!
//! ```text
//! X W = x W + gamma(s,t) (pi W - x W)        renoised: (1-t) x_0' W + t pi W
//! ```
//!
//! Noise, logits and endpoints stand in memory for some items at a time, the products for all. The samples are those of the same request
//! with points, up to rounding.

use burn::tensor::{Device, Tensor};

use crate::dual::softmax;
use crate::flow_map::backbone::FactoredNet;
use crate::flow_map::interpolant::interpolate;
use crate::flow_map::losses::jump;
use crate::flow_map::sample::batch::SampleBatch;
use crate::flow_map::sample::request::{SampleRequest, Sampler};
use crate::flow_map::time::{column, jump_weight};
use crate::tensor::vector;

/// Numbers of points that stand in memory at a time, or one item.
const NUMBERS: usize = 1 << 22;

/// Whether a request can be met without points: they are not asked for, and steps are convex.
pub(in crate::flow_map) fn serves(request: &SampleRequest) -> bool {
    !request.endpoints && matches!(request.sampler, Sampler::Map | Sampler::Euler | Sampler::Renoise)
}

/// Class indices of the items of a batch, and the number of evaluations.
pub(in crate::flow_map) fn sample(
    net: &FactoredNet<'_>,
    request: &SampleRequest,
    mut items: SampleBatch,
    device: &Device,
) -> (Vec<u32>, u64) {
    assert!(request.temperature > 0.0, "a temperature is positive, found {}", request.temperature);
    let n = items.streams.len();
    let group = (NUMBERS / (items.sites.count * items.sites.classes)).max(1);
    let groups = || (0..n).step_by(group).map(|first| first..n.min(first + group));
    let noise = |items: &mut SampleBatch, fresh: bool| {
        Tensor::cat(groups().map(|some| net.embed(items.noise_of(some, device, fresh))).collect(), 0)
    };
    let open = items.draw_mask(request.last);
    let mut x = noise(&mut items, false);
    // Known sites are seen as they will be in the end.
    let known =
        items.conditioning.observed.clone().map(|known| (known.clone().sum_dim(2).neg() + 1.0, net.embed(known)));
    let (mut ids, mut evaluations) = (Vec::new(), 0);
    for (s, t) in request.grid.intervals() {
        let target = match request.sampler {
            Sampler::Euler => s,
            Sampler::Renoise => 1.0,
            _ => t,
        };
        let seen = match &known {
            Some((free, read)) => x.clone() * free.clone() + read.clone(),
            None => x.clone(),
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
            Sampler::Renoise => interpolate(noise(&mut items, true), end, &vec![t; n]),
            _ => {
                let gamma = column(&vec![jump_weight(s, t); n], &x);
                jump(x, end, gamma)
            }
        };
    }
    items.mark_absent(&mut ids, 1);
    (ids, evaluations)
}
