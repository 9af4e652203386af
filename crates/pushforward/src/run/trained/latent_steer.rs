//! Steering of autoencoders: the reward of decoded items tilts the law of the prior's base variable.
//!
//! ```text
//! target     N(z0; 0, I) p(x | z0) e^{r(x)} / Z
//! best-of, resample    of draws of the prior
//! gradient   z0 <- |z0| (z0 + a grad r(p(. | z0))) / |...|, then the best
//! smc        tempered: e^{(k/K)^p r} at step k of K, resampling, and one move z0' = sqrt(1-b^2) z0 + b xi, x' ~ p(. | z0'),
//!            which is taken with probability min(1, e^{(k/K)^p (r' - r)})
//! ```
//!
//! Each step costs a particle one draw: one evaluation of a flow map as the prior. The step `b` of a population is lengthened
//! where most moves are taken and shortened where few are. As particles grow, the samples of `smc` and `resample` follow the
//! target, whatever prior and decoder are.
//!
//! References: Del Moral, Doucet, Jasra 2006 (tempered sequential Monte Carlo); Cotter et al. 2013, arXiv:1202.0709 (the move,
//! which leaves the normal distribution as it is).

use std::ops::Range;

use crate::flow_map::sample::{SampleRequest, Sampler, Samples, TEMPERATURE};
use crate::flow_map::steer::weights::{effective_size, log_mean_exp, systematic};
use crate::flow_map::steer::{
    Kept, Method, Population, Reward, SmcSettings, SteerError, SteerRequest, Steered, check_counts, checked, distinct,
    in_populations, kept, pick,
};
use crate::nn::SiteShape;
use crate::ranks::Ranks;
use crate::rng::{Purpose, Stream, stream};
use crate::run::trained::RequestError;
use crate::transport::map::Drawing;
use crate::transport::time::TimeGrid;

/// First length of a move, and its factor after each.
const FIRST: f64 = 0.5;
const FACTOR: f64 = 1.5;
/// Shares of moves taken between which the length stays.
const TAKEN: [f64; 2] = [0.2, 0.4];
/// What an excluded item counts as before the last step.
const FLOOR: f64 = -1e4;

/// A particle's base variable, the size of its item, and its own random stream.
#[derive(Clone)]
pub(super) struct Start {
    pub(super) base: Vec<f32>,
    pub(super) size: Option<usize>,
    pub(super) random: Stream,
}

/// Rewards and their gradients at base variables, row by row.
pub(super) type Slope = (Vec<f64>, Vec<f32>);

/// An autoencoder as its base variables and the items decoded from them.
pub(super) trait Latents {
    /// Shape of an item.
    fn sites(&self) -> SiteShape;

    /// The item of this index of a sample, before it is decoded.
    fn start(&self, request: &SampleRequest, index: u64) -> Start;

    /// Decodes particles, whose latents the prior draws as asked for.
    fn decode(&self, request: &SampleRequest, drawing: Drawing, particles: &mut [Start]) -> Vec<u32>;

    /// Soft rewards and their gradients; `None` if the reward or the items have none.
    fn slope(
        &self,
        request: &SampleRequest,
        drawing: Drawing,
        particles: &[Start],
        reward: &dyn Reward,
    ) -> Option<Slope>;
}

/// How latents are drawn by a request that asks for nothing that only categorical flow maps have.
pub(super) fn drawing_of(request: &SampleRequest) -> Result<Drawing, RequestError> {
    let refuse = |problem: &str| Err(RequestError(format!("{problem}: only flow maps have that")));
    if request.constraint.is_some() || !request.observed.is_empty() {
        return refuse("constraints of sites");
    }
    if request.labels.is_told() || request.guidance != 1.0 {
        return refuse("labels and guidance");
    }
    if request.endpoints || request.diagonal_noise {
        return refuse("endpoints and noise of sites");
    }
    if request.grid != TimeGrid::uniform(request.grid.steps()) {
        return refuse("times of one's own");
    }
    if !TEMPERATURE.contains(&request.temperature) {
        let (low, high) = TEMPERATURE.into_inner();
        let problem = format!("the temperature must be from {low} to {high}, found {}", request.temperature);
        return Err(RequestError(problem));
    }
    if request.sizes.first().is_some_and(|&count| count > 0) {
        return Err(RequestError("an item has at least 1 node or letter, and one of size 0 is asked for".into()));
    }
    if request.batch == 0 {
        return Err(RequestError("`batch`, the number of items per pass, is at least 1".into()));
    }
    match request.sampler {
        Sampler::Map => Ok(Drawing::Jumps(request.grid.steps())),
        Sampler::Euler => Ok(Drawing::Euler(request.grid.steps())),
        _ => Err(RequestError("latents are drawn by the samplers map and euler".into())),
    }
}

/// Steers a checked request by several ranks, each of which has some of the populations.
pub(super) fn steer(
    model: &dyn Latents,
    request: &SteerRequest,
    reward: &dyn Reward,
    ranks: &Ranks,
    progress: &mut dyn FnMut(usize) -> bool,
) -> Result<Steered, SteerError> {
    check_counts(request)?;
    if matches!(request.method, Method::Tilt { .. }) {
        let problem = "tilting follows the diffusion of a categorical flow map: steer an autoencoder by smc";
        return Err(SteerError::Request(problem.into()));
    }
    // A step of sequential Monte Carlo costs one draw, in which one evaluation is all of the prior; others draw once.
    let drawing = match request.method {
        Method::Smc(_) => Drawing::Jumps(1),
        _ => drawing_of(&request.sample).map_err(|e| SteerError::Request(e.to_string()))?,
    };
    let run = &mut |first: usize, count: usize| {
        let n = count * request.particles;
        let start = request.sample.first + (first * request.particles) as u64;
        let particles = (start..start + n as u64).map(|index| model.start(&request.sample, index)).collect();
        let cloud = Cloud { model, request, reward, drawing, particles };
        match request.method {
            Method::Smc(settings) => cloud.anneal(settings, first, count),
            Method::Gradient { step, rounds } => cloud.climb(step, rounds, first),
            _ => cloud.candidates(first, 1),
        }
    };
    in_populations(request, &model.sites(), ranks, run, progress)
}

/// The particles of some populations.
struct Cloud<'a> {
    model: &'a dyn Latents,
    request: &'a SteerRequest,
    reward: &'a dyn Reward,
    drawing: Drawing,
    particles: Vec<Start>,
}

impl Cloud<'_> {
    fn decode(&mut self) -> Result<(Vec<u32>, Vec<f64>), SteerError> {
        let ids = self.model.decode(&self.request.sample, self.drawing, &mut self.particles);
        let rewards = checked(self.reward, &ids, self.model.sites().count)?;
        Ok((ids, rewards))
    }

    /// Network evaluations of a draw.
    fn evaluations(&self) -> u64 {
        self.drawing.evaluations() as u64
    }

    fn samples(&self, ids: Vec<u32>, nfe: u64) -> Samples {
        let nfe = vec![nfe * self.evaluations(); self.particles.len()];
        Samples { ids, endpoints: Vec::new(), sites: self.model.sites(), nfe }
    }

    /// The best, or draws by reward.
    fn candidates(mut self, first: usize, nfe: u64) -> Result<Vec<Kept>, SteerError> {
        let (ids, rewards) = self.decode()?;
        Ok(pick(self.request, &self.samples(ids, nfe), &rewards, first))
    }

    /// Moves along the gradient of the soft reward on the sphere of the base variable.
    fn climb(mut self, step: f64, rounds: usize, first: usize) -> Result<Vec<Kept>, SteerError> {
        for _ in 0..rounds {
            let found = self.model.slope(&self.request.sample, self.drawing, &self.particles, self.reward);
            let (_, slopes) = found.ok_or(SteerError::NoGradient)?;
            let d = slopes.len() / self.particles.len();
            for (particle, slope) in self.particles.iter_mut().zip(slopes.chunks(d)) {
                let length = |x: &[f32]| x.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
                // A round moves by at most its share of the way across.
                let (size, radius) = (length(slope), length(&particle.base));
                let factor = step.min(radius / (size.max(1e-12) * rounds as f64));
                let moved: Vec<f64> =
                    particle.base.iter().zip(slope).map(|(z, g)| f64::from(*z) + factor * f64::from(*g)).collect();
                let now = moved.iter().map(|v| v * v).sum::<f64>().sqrt().max(1e-12);
                particle.base = moved.into_iter().map(|v| (v * radius / now) as f32).collect();
            }
        }
        self.candidates(first, 2 * rounds as u64 + 1)
    }

    /// Tempered sequential Monte Carlo.
    fn anneal(mut self, settings: SmcSettings, first: usize, count: usize) -> Result<Vec<Kept>, SteerError> {
        let (request, sites) = (self.request, self.model.sites().count);
        let (particles, steps) = (request.particles, request.sample.grid.steps());
        let power = |k: usize| if k == 0 { 0.0 } else { (k as f64 / steps as f64).powf(settings.tempering) };
        // The exponent of an item at a step.
        let level = |k: usize, reward: f64| match k {
            0 => 0.0,
            _ if k == steps => reward,
            _ => power(k) * reward.max(FLOOR),
        };
        let (mut ids, mut rewards) = self.decode()?;
        let mut weights = vec![0.0; self.particles.len()];
        let mut lengths = vec![FIRST; count];
        let mut populations: Vec<(Population, Stream)> = (first..first + count)
            .map(|g| {
                let empty = Population { ess: Vec::new(), resampled: 0, log_z: Some(0.0), distinct: 0.0, nfe: 0 };
                (empty, stream(request.sample.seed, Purpose::Resample, g as u64))
            })
            .collect();
        for k in 1..=steps {
            for (weight, &reward) in weights.iter_mut().zip(&rewards) {
                *weight += level(k, reward) - level(k - 1, reward);
            }
            for ((population, _), weights) in populations.iter_mut().zip(weights.chunks(particles)) {
                population.ess.push(effective_size(weights));
                population.nfe += self.evaluations();
            }
            if k == steps {
                break;
            }
            for (g, (population, random)) in populations.iter_mut().enumerate() {
                let range = g * particles..(g + 1) * particles;
                if *population.ess.last().expect("it was measured") < settings.threshold * particles as f64 {
                    let chosen = systematic(&weights[range.clone()], particles, random.uniform());
                    population.log_z = population.log_z.map(|z| z + log_mean_exp(&weights[range.clone()]));
                    population.resampled += 1;
                    weights[range.clone()].fill(0.0);
                    self.copy(range, &chosen, &mut ids, &mut rewards);
                }
            }
            self.step(&mut lengths, &|reward| level(k, reward), &mut ids, &mut rewards, sites)?;
        }
        let samples = self.samples(ids, steps as u64);
        let one = |(g, ((mut population, mut random), weights)): (usize, ((Population, Stream), &[f64]))| {
            population.log_z = population.log_z.map(|z| z + log_mean_exp(weights));
            let chosen = systematic(weights, request.keep, random.uniform());
            population.distinct = distinct(&chosen);
            let start = g * particles;
            kept(&samples, &rewards[start..start + particles], start, &chosen, population)
        };
        Ok(populations.into_iter().zip(weights.chunks(particles)).enumerate().map(one).collect())
    }

    /// Replaces the particles of a population by chosen ones; random streams stay with their place.
    fn copy(&mut self, range: Range<usize>, chosen: &[usize], ids: &mut [u32], rewards: &mut [f64]) {
        let (sites, start) = (self.model.sites().count, range.start);
        let (old, old_ids, old_rewards) = (self.particles[range.clone()].to_vec(), ids.to_vec(), rewards.to_vec());
        for (place, &from) in range.zip(chosen) {
            let random = self.particles[place].random.clone();
            self.particles[place] = Start { random, ..old[from].clone() };
            let from = start + from;
            ids[place * sites..(place + 1) * sites].copy_from_slice(&old_ids[from * sites..(from + 1) * sites]);
            rewards[place] = old_rewards[from];
        }
    }

    /// One move of every particle, and the lengths of the next.
    fn step(
        &mut self,
        lengths: &mut [f64],
        level: &dyn Fn(f64) -> f64,
        ids: &mut [u32],
        rewards: &mut [f64],
        sites: usize,
    ) -> Result<(), SteerError> {
        let (particles, scale) = (self.request.particles, self.request.sample.temperature);
        let before: Vec<Vec<f32>> = self.particles.iter().map(|particle| particle.base.clone()).collect();
        for (i, particle) in self.particles.iter_mut().enumerate() {
            let b = lengths[i / particles];
            let keep = (1.0 - b * b).sqrt();
            for z in &mut particle.base {
                *z = (keep * f64::from(*z) + b * scale * particle.random.normal()) as f32;
            }
        }
        let (new_ids, new_rewards) = self.decode()?;
        let mut taken = vec![0usize; lengths.len()];
        for (i, particle) in self.particles.iter_mut().enumerate() {
            let ratio = level(new_rewards[i]) - level(rewards[i]);
            if particle.random.uniform().ln() < ratio {
                taken[i / particles] += 1;
                rewards[i] = new_rewards[i];
                ids[i * sites..(i + 1) * sites].copy_from_slice(&new_ids[i * sites..(i + 1) * sites]);
            } else {
                particle.base.clone_from(&before[i]);
            }
        }
        for (length, taken) in lengths.iter_mut().zip(taken) {
            let share = taken as f64 / particles as f64;
            if share > TAKEN[1] {
                *length = (*length * FACTOR).min(1.0);
            } else if share < TAKEN[0] {
                *length /= FACTOR;
            }
        }
        Ok(())
    }
}
