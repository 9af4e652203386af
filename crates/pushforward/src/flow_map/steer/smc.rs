//! Twisted sequential Monte Carlo over two samplers. The target is the tilted distribution of the sampler.
//!
//! ```text
//! renoise   x' = (1-t) noise + t end,   end = onehot(a), a ~ pi_{s,1}(x) class by class, or end = pi_{s,1}(x)
//! diffuse   x' = X(x) + (1-t) ((sqrt(1-c) - 1) e + sqrt(c) noise),   e = (x - s pi_{s,s}(x)) / (1-s),
//!           X(x) = x + gamma(s,t) (pi_{s,s}(x) - x),   1 - c = (1 - gamma(s,t))^churn
//! ```
//!
//! For small steps the second sampler is the diffusion of drift `v + e_t score` and noise `sqrt(2 e_t)`, with
//! `e_t = churn (1-t) / 2`; it has the marginals of the flow.
//!
//! Let `V` be the twist. A step multiplies the weight of a particle by `e^{V(x') - C(x)}`, where `C` is the log-twist
//! that its weight includes from the previous step. At the end `V = r`, and the product over all steps is `e^r`: the
//! result is correct for any twist.
//!
//! With `m` draws `a_j` of the predicted endpoint and the tempering `b`, `V = log( (1/m) sum_j e^{b r(a_j)} )`. The
//! particle continues with one of the draws, chosen with probability proportional to `e^{b r(a_j)}`, and then `C = b
//! r(a_j)`: the choice is importance sampling of the plain draw, with weight `e^V / e^{b r(a_j)}`. Before the end,
//! rewards are bounded below by [`FLOOR`], so that a particle that can still reach a good end keeps some weight.
//!
//! If the twist has a gradient, the diffusion shifts its noise by `d = pull sigma^2 grad V`; the weight is the ratio of
//! the two Gaussian densities. It is exact for steps of any length.

use burn::tensor::{Int, Tensor};

use super::candidates::distinct;
use super::context::{Kept, SteerContext};
use super::lookahead::{Soft, bounded};
use super::particles::{Rows, kept_of_all, of_all};
use super::request::{Population, RenoiseTarget, SmcSettings, SteerError, Twist};
use super::reward::checked;
use super::weights::{choose, effective_size, log_mean_exp, systematic};
use crate::flow_map::backbone::EndpointNet;
use crate::flow_map::interpolant::interpolate;
use crate::flow_map::losses::jump;
use crate::flow_map::sample::batch::SampleBatch;
use crate::flow_map::sample::request::Item;
use crate::flow_map::sample::{LastStep, Samples};
use crate::node_pairs::ABSENT;
use crate::rng::{Purpose, Stream, stream};
use crate::tensor::{indices, one_hot, to_host};
use crate::transport::time::{column, jump_weight, rate};

/// Lower bound of rewards before the end, in nats.
pub(super) const FLOOR: f64 = -50.0;

/// The sampler whose distribution is tilted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kernel {
    Renoise,
    Diffuse { churn: f64, pull: f64 },
}

/// The particles of several populations, concatenated; of several ranks, those of this one.
struct Particles {
    items: SampleBatch,
    /// The items whose conditioning the particles have, by index.
    origins: Vec<u64>,
    x: Tensor<3>,
    /// Log-weights since the last resampling.
    weights: Vec<f64>,
    /// Those of all ranks, population by population.
    all_weights: Vec<f64>,
    /// The log-twist that the weights include.
    log_twist: Vec<f64>,
    populations: Vec<(Population, Stream)>,
}

/// The look-ahead of all particles in one step.
struct Ahead {
    pi: Tensor<3>,
    value: Vec<f64>,
    gradient: Option<Tensor<3>>,
    /// Drawn items, the same number for every particle, and their tempered rewards.
    drawn: Vec<u32>,
    rewards: Vec<f64>,
}

/// Runs `count` populations, numbered from `first`, and returns their kept particles.
pub(super) fn run<N: EndpointNet>(
    context: &SteerContext<'_, N>,
    settings: SmcSettings,
    kernel: Kernel,
    first: usize,
    count: usize,
) -> Result<Vec<Kept>, SteerError> {
    let base = &context.request.sample;
    let mut all = Particles::new(context, first, count);
    for (s, t) in base.grid.intervals() {
        let last = t >= 1.0;
        let ahead = all.look_ahead(context, settings, kernel, s, t);
        let mut ahead = all.measure(context, ahead)?;
        if last {
            return all.finish(context, &ahead);
        }
        all.resample(context, settings, &mut ahead)?;
        match kernel {
            Kernel::Renoise => all.renoise(context, settings, &ahead, t),
            Kernel::Diffuse { churn, pull } => all.diffuse(context, ahead, churn, pull, s, t),
        }
    }
    unreachable!("a time grid ends at 1")
}

impl Particles {
    fn new<N: EndpointNet>(context: &SteerContext<'_, N>, first: usize, count: usize) -> Self {
        let (base, particles) = (&context.request.sample, context.request.particles);
        let own = context.ranks.share(particles);
        let index = |g: usize, i: usize| base.first + ((first + g) * particles + i) as u64;
        let origins: Vec<u64> = (0..count).flat_map(|g| own.clone().map(move |i| index(g, i))).collect();
        let n = origins.len();
        let mut items = items_at(context, &origins);
        let x = items.noise(context.generator.device, false);
        let empty = || Population { ess: Vec::new(), resampled: 0, log_z: Some(0.0), distinct: 0.0, nfe: 0 };
        let opened = |g| (empty(), stream(base.seed, Purpose::Resample, (first + g) as u64));
        let populations = (0..count).map(opened).collect();
        let (weights, log_twist, all_weights) = (vec![0.0; n], vec![0.0; n], Vec::new());
        Self { items, origins, x, weights, all_weights, log_twist, populations }
    }

    fn look_ahead<N: EndpointNet>(
        &mut self,
        context: &SteerContext<'_, N>,
        settings: SmcSettings,
        kernel: Kernel,
        s: f64,
        t: f64,
    ) -> Result<Ahead, SteerError> {
        let (last, tempering) = (t >= 1.0, t.powf(settings.tempering));
        if settings.twist == Twist::Soft && !last {
            let with_gradient = matches!(kernel, Kernel::Diffuse { pull, .. } if pull > 0.0);
            let Soft { pi, value, gradient } = context.soft(&self.x, &self.items.conditioning, s, with_gradient)?;
            self.spend(context, 1 + u64::from(with_gradient));
            let value = value.into_iter().map(|v| tempering * v.max(FLOOR)).collect();
            let gradient = gradient.map(|g| g * tempering);
            return Ok(Ahead { pi, value, gradient, drawn: Vec::new(), rewards: Vec::new() });
        }
        let pi = context.endpoints(&self.x, &self.items.conditioning, s, 1.0);
        self.spend(context, 1);
        let draws = if last { context.request.sample.last == LastStep::Draw } else { settings.twist == Twist::Draws };
        let drawn =
            if draws { self.items.draw(&pi, settings.draws) } else { self.items.classes(pi.clone(), LastStep::Argmax) };
        let mut rewards = checked(context.reward, &drawn, context.generator.sites.count)?;
        if !last {
            rewards.iter_mut().for_each(|r| *r = tempering * r.max(FLOOR));
        }
        let value = rewards.chunks(rewards.len() / self.weights.len()).map(log_mean_exp).collect();
        Ok(Ahead { pi, value, gradient: None, drawn, rewards })
    }

    fn spend<N: EndpointNet>(&mut self, context: &SteerContext<'_, N>, evaluations: u64) {
        self.populations.iter_mut().for_each(|(p, _)| p.nfe += evaluations * context.generator.net.passes());
    }

    /// Weighs all particles by what was found ahead. If a rank has found nothing, all stop.
    fn measure<N>(
        &mut self,
        context: &SteerContext<'_, N>,
        ahead: Result<Ahead, SteerError>,
    ) -> Result<Ahead, SteerError> {
        let particles = context.request.particles;
        for (i, value) in ahead.iter().flat_map(|ahead| &ahead.value).enumerate() {
            self.weights[i] += value - self.log_twist[i];
        }
        let weights = ahead.as_ref().map(|_| &self.weights[..]).map_err(Clone::clone);
        self.all_weights = of_all(context.ranks, weights, particles)?;
        for ((population, _), weights) in self.populations.iter_mut().zip(self.all_weights.chunks(particles)) {
            population.ess.push(effective_size(weights));
        }
        ahead
    }

    /// Resamples the populations whose effective sample size is below the threshold: points, look-ahead and
    /// conditioning. Streams stay with their position, so that copies of a particle diverge.
    fn resample<N: EndpointNet>(
        &mut self,
        context: &SteerContext<'_, N>,
        settings: SmcSettings,
        ahead: &mut Ahead,
    ) -> Result<(), SteerError> {
        let (particles, own) = (context.request.particles, context.ranks.share(context.request.particles).len());
        let mut order: Vec<usize> = (0..self.all_weights.len()).collect();
        let mut moved = false;
        for (g, (population, randomness)) in self.populations.iter_mut().enumerate() {
            let range = g * particles..(g + 1) * particles;
            let weights = &self.all_weights[range.clone()];
            let size = population.ess.last().expect("the size was measured");
            if *size >= settings.threshold * particles as f64 {
                continue;
            }
            let chosen = systematic(weights, particles, randomness.uniform());
            chosen.iter().zip(&mut order[range.clone()]).for_each(|(&i, o)| *o = range.start + i);
            population.log_z = population.log_z.map(|z| z + log_mean_exp(weights));
            population.resampled += 1;
            self.weights[g * own..(g + 1) * own].fill(0.0);
            moved = true;
        }
        if !moved {
            return Ok(());
        }
        if context.ranks.size() > 1 {
            let rows = Rows {
                tensors: [Some(&mut self.x), Some(&mut ahead.pi), ahead.gradient.as_mut()],
                numbers: [&mut ahead.value, &mut ahead.rewards],
                classes: &mut ahead.drawn,
                origins: &mut self.origins,
            };
            rows.fetch(context.ranks, &order, particles)?;
            self.items.conditioning = items_at(context, &self.origins).conditioning;
            return Ok(());
        }
        let order: Vec<u32> = order.into_iter().map(|i| i as u32).collect();
        let device = self.x.device();
        let pick = || -> Tensor<1, Int> { indices(&order, [order.len()], &device) };
        self.x = self.x.clone().select(0, pick());
        ahead.pi = ahead.pi.clone().select(0, pick());
        ahead.gradient = ahead.gradient.take().map(|g| g.select(0, pick()));
        self.items.conditioning = self.items.conditioning.select(&order);
        let rows = |length: usize| order.iter().flat_map(move |&i| i as usize * length..(i as usize + 1) * length);
        ahead.value = rows(1).map(|i| ahead.value[i]).collect();
        ahead.drawn = rows(ahead.drawn.len() / order.len()).map(|i| ahead.drawn[i]).collect();
        ahead.rewards = rows(ahead.rewards.len() / order.len()).map(|i| ahead.rewards[i]).collect();
        Ok(())
    }

    /// Chooses one of the drawn items of every particle by its reward, and sets the log-twist to that reward.
    fn choose(&mut self, ahead: &Ahead, sites: usize) -> Vec<u32> {
        let m = ahead.rewards.len() / self.weights.len();
        let mut chosen = Vec::with_capacity(self.weights.len() * sites);
        for (i, rewards) in ahead.rewards.chunks(m).enumerate() {
            let j = choose(rewards, self.items.streams[i].1.uniform()).unwrap_or(0);
            self.log_twist[i] = rewards[j];
            chosen.extend_from_slice(&ahead.drawn[(i * m + j) * sites..(i * m + j + 1) * sites]);
        }
        chosen
    }

    fn renoise<N: EndpointNet>(&mut self, context: &SteerContext<'_, N>, settings: SmcSettings, ahead: &Ahead, t: f64) {
        let (n, sites) = (self.weights.len(), context.generator.sites.count);
        let end = if settings.renoise == RenoiseTarget::Mean {
            self.log_twist.clone_from(&ahead.value);
            ahead.pi.clone()
        } else {
            let drawn = if settings.twist != Twist::Draws {
                self.log_twist.clone_from(&ahead.value);
                self.items.draw(&ahead.pi, 1)
            } else {
                self.choose(ahead, sites)
            };
            let observed: Vec<u32> = drawn.into_iter().map(|id| if id == ABSENT { 0 } else { id }).collect();
            one_hot(indices(&observed, [n, sites], &self.x.device()), context.generator.sites.classes, &self.x)
        };
        let noise = self.items.noise(context.generator.device, true);
        self.x = interpolate(noise, self.items.conditioning.mask(end), &vec![t; n]);
    }

    fn diffuse<N: EndpointNet>(
        &mut self,
        context: &SteerContext<'_, N>,
        ahead: Ahead,
        churn: f64,
        pull: f64,
        s: f64,
        t: f64,
    ) {
        let n = self.weights.len();
        let posterior = context.endpoints(&self.x, &self.items.conditioning, s, s);
        self.spend(context, 1);
        let noise = (self.x.clone() - posterior.clone() * s) * rate(s);
        let gamma = jump_weight(s, t);
        let along = jump(self.x.clone(), posterior, column(&vec![gamma; n], &self.x));
        let kept = (1.0 - gamma).powf(churn);
        let sigma = (1.0 - t) * (1.0 - kept).sqrt();
        let fresh = self.items.noise(context.generator.device, true) * sigma;
        self.x = along + noise * ((1.0 - t) * (kept.sqrt() - 1.0)) + fresh.clone();
        self.log_twist = ahead.value;
        let Some(slope) = ahead.gradient else { return };
        // With S the covariance of the noise, d = S k, and the weight is exp(-k (d + 2 fresh) / 2).
        let k = bounded(slope * (pull * sigma), &self.items.conditioning, 1.0) / sigma;
        let scaled = self.items.scaled(self.items.scaled(k.clone()));
        let moved = scaled * (sigma * sigma);
        let ratio = (k * (moved.clone() + fresh * 2.0)).sum_dim(2).sum_dim(1) * -0.5;
        self.x = self.x.clone() + moved;
        self.log_twist.iter_mut().zip(to_host(&ratio)).for_each(|(c, r)| *c -= r);
    }

    /// The kept particles of all populations.
    fn finish<N: EndpointNet>(mut self, context: &SteerContext<'_, N>, ahead: &Ahead) -> Result<Vec<Kept>, SteerError> {
        let (particles, keep) = (context.request.particles, context.request.keep);
        let ids = self.choose(ahead, context.generator.sites.count);
        let rewards = std::mem::take(&mut self.log_twist);
        let endpoints = to_host(&ahead.pi).into_iter().map(|v| v as f32).collect();
        let samples = Samples { ids, endpoints, sites: context.generator.sites.clone(), nfe: Vec::new() };
        let one = |((mut population, mut randomness), weights): ((Population, Stream), &[f64])| {
            population.log_z = population.log_z.map(|z| z + log_mean_exp(weights));
            let chosen = systematic(weights, keep, randomness.uniform());
            population.distinct = distinct(&chosen);
            (population, chosen)
        };
        let chosen = self.populations.into_iter().zip(self.all_weights.chunks(particles)).map(one).collect();
        Ok(kept_of_all(context.ranks, &samples, &rewards, particles, chosen)?)
    }
}

/// Items by index.
fn items_at<N: EndpointNet>(context: &SteerContext<'_, N>, indices: &[u64]) -> SampleBatch {
    let base = &context.request.sample;
    let items: Vec<Item<'_>> = indices.iter().flat_map(|&index| base.items(index..index + 1)).collect();
    SampleBatch::of(&context.generator, base, &items)
}
