//! Best-of-n, and importance resampling of finished samples by their reward.

use super::context::{Kept, SteerContext};
use super::request::{Method, Population, SteerError, SteerRequest};
use super::reward::checked;
use super::weights::{effective_size, log_mean_exp, systematic};
use crate::flow_map::backbone::EndpointNet;
use crate::flow_map::sample::{SampleRequest, Samples, sample};
use crate::rng::{Purpose, stream};

/// Runs `count` populations, numbered from `first`, and returns their kept particles.
pub(super) fn run<N: EndpointNet>(
    context: &SteerContext<'_, N>,
    first: usize,
    count: usize,
) -> Result<Vec<Kept>, SteerError> {
    let (base, particles) = (&context.request.sample, context.request.particles);
    let request =
        SampleRequest { count: count * particles, first: base.first + (first * particles) as u64, ..base.clone() };
    let samples = sample(&context.generator, &request, &mut |_| true);
    let rewards = checked(context.reward, &samples.ids, context.generator.sites.count)?;
    Ok(pick(context.request, &samples, &rewards, first))
}

/// The kept particles of populations of finished particles: the best, or draws by reward if the method resamples.
pub(crate) fn pick(request: &SteerRequest, samples: &Samples, rewards: &[f64], first: usize) -> Vec<Kept> {
    let (particles, keep) = (request.particles, request.keep);
    let resamples = request.method == Method::Resample;
    let one = |(g, rewards): (usize, &[f64])| {
        let chosen = if resamples {
            let uniform = stream(request.sample.seed, Purpose::Resample, (first + g) as u64).uniform();
            systematic(rewards, keep, uniform)
        } else {
            best(rewards, keep)
        };
        let population = Population {
            ess: vec![effective_size(rewards)],
            resampled: usize::from(resamples),
            log_z: resamples.then(|| log_mean_exp(rewards)),
            distinct: distinct(&chosen),
            nfe: samples.nfe[g * particles..(g + 1) * particles].iter().sum::<u64>().div_ceil(particles as u64),
        };
        kept(samples, rewards, g * particles, &chosen, population)
    };
    rewards.chunks(particles).enumerate().map(one).collect()
}

/// The particles of highest reward, best first, without those of reward minus infinity.
fn best(rewards: &[f64], keep: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..rewards.len()).filter(|&i| rewards[i] > f64::NEG_INFINITY).collect();
    order.sort_by(|&a, &b| rewards[b].total_cmp(&rewards[a]));
    order.truncate(keep);
    order
}

/// Share of distinct particles among the chosen ones.
pub(crate) fn distinct(chosen: &[usize]) -> f64 {
    let different: std::collections::BTreeSet<_> = chosen.iter().collect();
    different.len() as f64 / chosen.len().max(1) as f64
}

/// The chosen particles of the population whose first particle has index `start`.
pub(crate) fn kept(samples: &Samples, rewards: &[f64], start: usize, chosen: &[usize], population: Population) -> Kept {
    let (sites, per_item) = (samples.sites.count, samples.sites.count * samples.sites.classes);
    let ids = chosen.iter().flat_map(|&i| samples.ids[(start + i) * sites..(start + i + 1) * sites].iter().copied());
    let ends = |i: usize| samples.endpoints.get((start + i) * per_item..(start + i + 1) * per_item).unwrap_or_default();
    Kept {
        ids: ids.collect(),
        endpoints: chosen.iter().flat_map(|&i| ends(i)).copied().collect(),
        rewards: chosen.iter().map(|&i| rewards[i]).collect(),
        population,
    }
}
