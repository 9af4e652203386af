//! Steering a trained flow map towards a reward, without training it.
//!
//! With `p` the law of the map's samples and `r` a [`Reward`], the goal is the tilted law `p(x) e^{r(x)} / Z`.
//!
//! | method | law of its samples as particles grow | network evaluations a particle |
//! |---|---|---|
//! | [`Method::BestOf`] | the best of `P` samples of `p`: no tilted law, the most reward | those of the sampler |
//! | [`Method::Resample`] | tilted law of the sampler's own law `p` | those of the sampler |
//! | [`Method::Gradient`] | none that is known: a moved sample of `p` | `2 rounds + 1` a step, `rounds` of them backwards |
//! | [`Method::Smc`] | tilted law of the re-noising sampler | 1 a step |
//! | [`Method::Tilt`] | tilted law of the diffusion along the flow | 2 a step, 3 with a gradient |
//!
//! Samples come from independent populations of `P` particles; each gives `keep` of them. A population's particles start from
//! the streams of the items `g P .. (g+1) P` of an ordinary sample, so neither the batch nor other populations matter.
//!
//! The last classes are drawn or the most probable ones, as the request for the sample says; both are laws of the sampler.
//!
//! Whatever the surrogate of the value, the weights make the last law right; the surrogate decides how many particles that takes.
//! References: Del Moral, Doucet, Jasra 2006 (samplers of this kind, and that the estimate of Z is unbiased); Wu et al. 2023
//! (arXiv:2306.17775, twisting); Sabour et al. 2025 (arXiv:2511.22688, tilting along flow maps); Eyring et al. 2024
//! (arXiv:2406.04312, the noise of one-step generators moved up the gradient of a reward).

mod candidates;
mod gradient;
mod lookahead;
mod reward;
mod smc;
pub mod weights;

use burn::tensor::Device;

pub use self::reward::{Reward, RewardError};
use self::smc::Kernel;
use crate::flow_map::config::FlowMapConfig;
use crate::flow_map::interpolant::Source;
use crate::flow_map::map::Parametrisation;
use crate::flow_map::network::EndpointNet;
use crate::flow_map::sample::{SampleRequest, Sampler, Samples};
use crate::nn::SiteShape;

/// How a reward is reached.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Method {
    /// The best of every population.
    BestOf,
    /// Samples drawn again in proportion to `e^r`; `Z` is the mean of `e^r`.
    Resample,
    /// Moves along the gradient of the soft reward at the predicted end before every jump,
    /// `x <- X_{s,t}(x + a grad_x r(pi_{s,1}(x)))`, and the best of every population. With one step and many rounds this is a
    /// search for good noise under the one-step map.
    Gradient {
        /// The factor `a`.
        step: f64,
        /// Moves before every jump, at least 1. Their root-mean-squares add up to at most `1 - s`, the scale of the noise.
        rounds: usize,
    },
    /// Sequential Monte Carlo over the re-noising sampler.
    Smc(SmcSettings),
    /// Sequential Monte Carlo over the diffusion along the flow, its noise moved up the gradient of the surrogate where the
    /// surrogate is soft. Gaussian source only.
    Tilt {
        /// How fast the noise is drawn anew, above 0: a step leaves `((1-t) / (1-s))^churn` of its variance.
        churn: f64,
        /// Factor of the gradient in the drift; the weights correct for any.
        pull: f64,
        /// Everything else.
        settings: SmcSettings,
    },
}

impl Method {
    /// The name used in requests and reports.
    pub fn name(&self) -> &'static str {
        match self {
            Self::BestOf => "best-of",
            Self::Resample => "resample",
            Self::Gradient { .. } => "gradient",
            Self::Smc(_) => "smc",
            Self::Tilt { .. } => "tilt",
        }
    }
}

/// Settings of sequential Monte Carlo.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SmcSettings {
    /// What stands for the value of an unfinished item.
    pub twist: Twist,
    /// What the re-noising sampler goes on with.
    pub ends: RenoiseTarget,
    /// Items drawn by [`Twist::Draws`], and from the last endpoint where the last classes are drawn; one is chosen by its
    /// reward. At least 1.
    pub draws: usize,
    /// The surrogate counts `t^power`, with `t` the end of the step.
    pub tempering: f64,
    /// Particles are resampled when the effective sample size falls below this share of them, 0 to 1.
    pub threshold: f64,
}

impl Default for SmcSettings {
    fn default() -> Self {
        Self { twist: Twist::Mode, ends: RenoiseTarget::Mean, draws: 4, tempering: 1.0, threshold: 0.5 }
    }
}

/// What stands for the value `log E[e^r | x_t]` of an unfinished item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Twist {
    /// The reward of the most probable classes of the predicted end: of the sample, if it ended here.
    Mode,
    /// Log-mean-exp of the reward of items drawn from the predicted end. With [`RenoiseTarget::Drawn`] the sampler goes on with one of
    /// them, chosen by its reward.
    Draws,
    /// The soft reward of the predicted end.
    Soft,
}

/// Which predicted end is noised again: a choice of the law that is tilted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenoiseTarget {
    /// Classes drawn site by site, as training noises them. Exact where sites are independent or the endpoint is sharp; where it
    /// is neither, drawing tears sites apart.
    Drawn,
    /// The endpoint itself, as [`Sampler::Renoise`] does.
    Mean,
}

/// What to make.
#[derive(Clone, Debug)]
pub struct SteerRequest {
    /// Number of samples, their seed, times, batch and last step; the sampler of [`Method::BestOf`] and [`Method::Resample`].
    pub sample: SampleRequest,
    /// How.
    pub method: Method,
    /// Particles of a population.
    pub particles: usize,
    /// Samples that a population gives, at most its particles.
    pub keep: usize,
}

/// What was made.
#[derive(Clone, Debug)]
pub struct Steered {
    /// The samples, with the network evaluations that each cost: those of all particles, shared among the samples kept.
    pub samples: Samples,
    /// Their rewards, of the finished items.
    pub rewards: Vec<f64>,
    /// The populations, in order.
    pub populations: Vec<Population>,
    /// Why it ended early, where it did; what was finished is here.
    pub stopped: Option<SteerError>,
}

/// What became of a population.
#[derive(Clone, Debug, PartialEq)]
pub struct Population {
    /// Effective sample size after every step, before resampling.
    pub ess: Vec<f64>,
    /// How often particles were resampled.
    pub resampled: usize,
    /// Estimate of `log Z`, where the method has one; minus infinity where no particle has weight.
    pub log_z: Option<f64>,
    /// Different particles among the samples kept, as a share of these.
    pub distinct: f64,
    /// Network evaluations a particle, backward passes included.
    pub nfe: u64,
}

/// Why steering is not possible.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SteerError {
    /// The reward.
    #[error(transparent)]
    Reward(#[from] RewardError),
    /// No soft reward.
    #[error("this reward has no gradient: use the method best-of, resample or smc, or a tilt without a soft surrogate")]
    NoGradient,
    /// Nothing has weight.
    #[error(
        "no particle of any population has weight: the reward of every item is minus infinity. Use more particles, or a reward that falls off instead of excluding"
    )]
    NoWeight,
    /// A setting is out of range, or does not fit the model.
    #[error("{0}")]
    Request(String),
    /// The caller asked to stop.
    #[error("interrupted")]
    Interrupted,
}

/// What all methods work with.
struct SteerContext<'a, N> {
    net: &'a N,
    config: &'a FlowMapConfig,
    sites: SiteShape,
    device: &'a Device,
    request: &'a SteerRequest,
    reward: &'a dyn Reward,
}

/// The particles kept of a population.
struct Kept {
    ids: Vec<u32>,
    endpoints: Vec<f32>,
    rewards: Vec<f64>,
    population: Population,
}

/// Makes samples of high reward. `progress` is told the number of finished samples and may stop the work by returning false.
///
/// An error after some samples are finished comes with these, in [`Steered::stopped`].
///
/// # Errors
/// See [`SteerError`].
pub fn steer<N: EndpointNet>(
    net: &N,
    config: &FlowMapConfig,
    sites: SiteShape,
    device: &Device,
    request: &SteerRequest,
    reward: &dyn Reward,
    progress: &mut dyn FnMut(usize) -> bool,
) -> Result<Steered, SteerError> {
    check(config, request)?;
    let context = SteerContext { net, config, sites, device, request, reward };
    let samples = Samples { ids: Vec::new(), endpoints: Vec::new(), sites, nfe: Vec::new() };
    let mut out = Steered { samples, rewards: Vec::new(), populations: Vec::new(), stopped: None };
    let (particles, keep) = (request.particles, request.keep);
    let populations = request.sample.count.div_ceil(keep);
    let together = (request.sample.batch / particles).max(1);
    for first in (0..populations).step_by(together) {
        let count = together.min(populations - first);
        let kept = match request.method {
            Method::BestOf | Method::Resample => candidates::run(&context, first, count),
            Method::Gradient { step, rounds } => gradient::run(&context, step, rounds, first, count),
            Method::Smc(settings) => smc::run(&context, settings, Kernel::Renoise, first, count),
            Method::Tilt { churn, pull, settings } => {
                smc::run(&context, settings, Kernel::Diffuse { churn, pull }, first, count)
            }
        };
        match kept {
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
        let sites = self.samples.sites;
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

fn check(config: &FlowMapConfig, request: &SteerRequest) -> Result<(), SteerError> {
    let refuse = |what: String| Err(SteerError::Request(what));
    let (particles, keep) = (request.particles, request.keep);
    if particles == 0 || keep == 0 || request.sample.count == 0 {
        return refuse("steering takes at least one sample, one particle, and one sample kept of a population".into());
    }
    if keep > particles {
        return refuse(format!("a population of {particles} particles cannot give {keep} samples: use more particles"));
    }
    if request.sample.labels.len() > 1 {
        return refuse("steered samples take one label: steer once for each".into());
    }
    let velocity = config.objective.off_diagonal.parametrisation() == Parametrisation::Velocity;
    if velocity && !matches!(request.method, Method::BestOf | Method::Resample) {
        return refuse("the naive baseline has no probabilities: steer it by best-of or resample".into());
    }
    let settings = match request.method {
        Method::Smc(settings) | Method::Tilt { settings, .. } => settings,
        Method::Gradient { step, rounds } if !(step.is_finite() && step >= 0.0) || rounds == 0 => {
            return refuse(format!(
                "the step along the gradient is not negative, and there is at least one round, found {step} and {rounds}"
            ));
        }
        _ => SmcSettings::default(),
    };
    if settings.draws == 0 {
        return refuse("at least one item is drawn from an endpoint".into());
    }
    let tempering = settings.tempering;
    if !((0.0..=1.0).contains(&settings.threshold) && tempering.is_finite() && tempering >= 0.0) {
        return refuse("the threshold of resampling lies in [0, 1], and the power of tempering is not negative".into());
    }
    if let Method::Tilt { churn, pull, .. } = request.method {
        if config.source != Source::Gaussian {
            return refuse("tilting needs the Gaussian source: use smc".into());
        }
        if !(churn > 0.0 && churn.is_finite() && pull.is_finite() && pull >= 0.0) {
            return refuse("the churn is positive, and the pull is not negative".into());
        }
    }
    if matches!(request.method, Method::Smc(_) | Method::Gradient { .. } | Method::Tilt { .. })
        && request.sample.diagonal_noise
    {
        return refuse("noise on the diagonal is for plain samples only".into());
    }
    if matches!(request.method, Method::Smc(_)) && !matches!(request.sample.sampler, Sampler::Renoise | Sampler::Map) {
        return refuse("smc has a sampler of its own, re-noising: leave the sampler out".into());
    }
    Ok(())
}
