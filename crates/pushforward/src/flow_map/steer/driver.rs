//! Runs populations, several at a time, by any of the methods.

use crate::flow_map::backbone::EndpointNet;
use crate::flow_map::sample::{Generator, Samples};
use crate::flow_map::steer::context::{Kept, SteerContext};
use crate::flow_map::steer::request::{Method, SteerError, SteerRequest, Steered, check};
use crate::flow_map::steer::reward::Reward;
use crate::flow_map::steer::smc::Kernel;
use crate::flow_map::steer::{candidates, gradient, smc};
use crate::nn::SiteShape;

/// Draws samples of high reward. `progress` is called with the number of finished samples and stops the work by
/// returning false.
///
/// If an error occurs after some samples are finished, these are returned, with the error in [`Steered::stopped`].
///
/// # Errors
/// See [`SteerError`].
pub fn steer<N: EndpointNet>(
    generator: &Generator<'_, N>,
    request: &SteerRequest,
    reward: &dyn Reward,
    progress: &mut dyn FnMut(usize) -> bool,
) -> Result<Steered, SteerError> {
    check(generator, request)?;
    let context = SteerContext { generator: generator.clone(), request, reward };
    let run = &mut |first: usize, count: usize| match request.method {
        Method::BestOf | Method::Resample => candidates::run(&context, first, count),
        Method::Gradient { step, rounds } => gradient::run(&context, step, rounds, first, count),
        Method::Smc(settings) => smc::run(&context, settings, Kernel::Renoise, first, count),
        Method::Tilt { churn, pull, settings } => {
            smc::run(&context, settings, Kernel::Diffuse { churn, pull }, first, count)
        }
    };
    in_populations(request, &generator.sites, run, progress)
}

/// Collects the samples of all populations; `run` gives those of some, by the number of the first and their count.
pub(crate) fn in_populations(
    request: &SteerRequest,
    sites: &SiteShape,
    run: &mut dyn FnMut(usize, usize) -> Result<Vec<Kept>, SteerError>,
    progress: &mut dyn FnMut(usize) -> bool,
) -> Result<Steered, SteerError> {
    let samples = Samples { ids: Vec::new(), endpoints: Vec::new(), sites: sites.clone(), nfe: Vec::new() };
    let mut out = Steered { samples, rewards: Vec::new(), populations: Vec::new(), stopped: None };
    let (particles, keep) = (request.particles, request.keep);
    let populations = request.sample.count.div_ceil(keep);
    let together = (request.sample.batch / particles).max(1);
    for first in (0..populations).step_by(together) {
        let count = together.min(populations - first);
        match run(first, count) {
            Ok(kept) => kept.into_iter().for_each(|k| out.take(k, request)),
            Err(error) if out.rewards.is_empty() => return Err(error),
            Err(error) => out.stopped = Some(error),
        }
        if out.stopped.is_none() && !progress(out.rewards.len()) {
            out.stopped = Some(SteerError::Interrupted);
        }
        if out.stopped.is_some() {
            break;
        }
    }
    if out.rewards.is_empty() { Err(SteerError::NoWeight) } else { Ok(out) }
}

impl Steered {
    fn take(&mut self, mut kept: Kept, request: &SteerRequest) {
        let room = request.sample.count - self.rewards.len();
        let n = kept.rewards.len().min(room);
        let sites = self.samples.sites.clone();
        kept.ids.truncate(n * sites.count);
        kept.endpoints.truncate(n * sites.count * sites.classes);
        kept.rewards.truncate(n);
        let cost = kept.population.nfe * request.particles as u64;
        self.samples.nfe.extend(vec![cost.div_ceil(request.keep as u64); n]);
        self.samples.ids.extend(kept.ids);
        self.samples.endpoints.extend(kept.endpoints);
        self.rewards.extend(kept.rewards);
        self.populations.push(kept.population);
    }
}
