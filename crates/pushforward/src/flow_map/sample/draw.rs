//! The sampling loop: batches of items, from noise to class indices.

use burn::tensor::{Device, Tensor};
use rayon::prelude::*;

use crate::flow_map::backbone::EndpointNet;
use crate::flow_map::map::FlowMap;
use crate::flow_map::sample::batch::SampleBatch;
use crate::flow_map::sample::request::{Generator, Item, SampleRequest, Sampler, Samples};
use crate::flow_map::sample::{dopri5, large_vocabulary};
use crate::kernels::{self, Precision};
use crate::tensor::to_host;

/// Draws a sample. `progress` is called with the number of finished items after every batch and stops the sampling by
/// returning false; the items finished by then are returned.
pub fn sample<N: EndpointNet>(
    generator: &Generator<'_, N>,
    request: &SampleRequest,
    progress: &mut dyn FnMut(usize) -> bool,
) -> Samples {
    let requests = std::slice::from_ref(request);
    sample_together(generator, requests, progress).pop().expect("a result for the request")
}

/// Draws the samples of several requests in common batches. Each result is that of the request alone, up to rounding,
/// since the noise of an item belongs to its seed and index. `progress` as in [`sample`], with the number of items of
/// all requests.
///
/// # Panics
/// If two requests [may not share a batch](SampleRequest::shares_a_batch_with).
pub fn sample_together<N: EndpointNet>(
    generator: &Generator<'_, N>,
    requests: &[SampleRequest],
    progress: &mut dyn FnMut(usize) -> bool,
) -> Vec<Samples> {
    let Generator { net, sites, device, .. } = generator.clone();
    let Some(first) = requests.first() else { return Vec::new() };
    assert!(
        requests.iter().all(|other| first.shares_a_batch_with(other)),
        "requests that share batches have equal settings"
    );
    let mut all = Samples { ids: Vec::new(), endpoints: Vec::new(), sites: sites.clone(), nfe: Vec::new() };
    let items: Vec<Item<'_>> = requests
        .iter()
        .flat_map(|request| request.items(request.first..request.first + request.count as u64))
        .collect();
    for some in items.chunks(first.batch.max(1)) {
        match net
            .factored()
            .filter(|_| large_vocabulary::serves(first) && generator.rules.is_none() && generator.factors().is_none())
        {
            Some(factored) => {
                let batch = SampleBatch::of(generator, first, some);
                let (ids, evaluations) = large_vocabulary::sample(&factored, first, batch, device);
                all.nfe.extend(vec![evaluations * net.passes(); some.len()]);
                all.ids.extend(ids);
            }
            None => {
                let precision = Precision::current();
                let part = |items: &[Item<'_>]| {
                    let _precision = precision.scope();
                    sample_points(net, first, SampleBatch::of(generator, first, items), device)
                };
                let parts: Vec<Samples> = some.par_chunks(part_length(some.len(), device)).map(part).collect();
                for part in parts {
                    all.nfe.extend(part.nfe);
                    all.ids.extend(part.ids);
                    all.endpoints.extend(part.endpoints);
                }
            }
        }
        if !progress(all.nfe.len()) {
            break;
        }
    }
    let mut start = 0;
    let share = |request: &SampleRequest| {
        let items = start..all.nfe.len().min(start + request.count);
        start = items.end;
        let rows = |width: usize, length: usize| (items.start * width).min(length)..(items.end * width).min(length);
        let points = rows(sites.count * sites.classes, all.endpoints.len());
        Samples {
            ids: all.ids[rows(sites.count, all.ids.len())].to_vec(),
            endpoints: all.endpoints[points].to_vec(),
            sites: sites.clone(),
            nfe: all.nfe[items].to_vec(),
        }
    };
    requests.iter().map(share).collect()
}

/// Least number of items that are worth a thread of their own.
const LEAST: usize = 32;

/// Number of items that one thread samples of a batch of `n`: on a processor, all threads have a share, since operations on a few
/// items alone do not keep them busy.
fn part_length(n: usize, device: &Device) -> usize {
    let threads = if kernels::is_cpu(device) { rayon::current_num_threads() } else { 1 };
    n.div_ceil(threads.min(n / LEAST).max(1)).max(1)
}

/// Samples items with their points in memory.
fn sample_points<N: EndpointNet>(net: &N, request: &SampleRequest, items: SampleBatch, device: &Device) -> Samples {
    let n = items.streams.len();
    let sites = items.sites.clone();
    let map = FlowMap::new(net).with_temperature(request.temperature).of(items.conditioning.clone());
    let (end, adaptive, mut items) = integrate(&map, request, items, device);
    let steps = |evaluations: Vec<u64>| evaluations.into_iter().map(|e| e * net.passes()).collect();
    let nfe = adaptive.map_or_else(|| vec![map.evaluations(); n], steps);
    let endpoints = if request.endpoints { to_host(&end).into_iter().map(|v| v as f32).collect() } else { Vec::new() };
    Samples { ids: items.classes(end, request.last), endpoints, sites, nfe }
}

/// The time u at which the noise of a point is so little that with `gamma (1 - t)` of fresh noise it has that of time t again:
/// `(1 - u) / u = sqrt(1 - gamma^2) (1 - t) / t`.
fn past(t: f64, gamma: f64) -> f64 {
    let kept = (1.0 - gamma * gamma).max(0.0).sqrt() * (1.0 - t);
    t / (t + kept)
}

/// The points at time 1, and the number of evaluations of every item if they differ.
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
            Sampler::Renoise { gamma } => {
                let ahead = past(t[0], gamma);
                let there = if ahead < 1.0 { map.jump(x, &s, &all(ahead)) } else { map.endpoint(&x, &s, &all(1.0)) };
                if t[0] >= 1.0 {
                    there
                } else {
                    there * (t[0] / ahead) + items.noise(device, true) * (gamma * (1.0 - t[0]))
                }
            }
            Sampler::Dopri5 { .. } => unreachable!("the adaptive method has returned"),
        };
    }
    (x, None, items)
}
