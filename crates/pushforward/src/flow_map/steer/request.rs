//! Requests for steered samples, and their results.

use std::ops::Range;

use crate::flow_map::backbone::{EndpointNet, Parametrisation};
use crate::flow_map::interpolant::Source;
use crate::flow_map::sample::{Generator, LabelChoice, SampleRequest, Sampler, Samples};
use crate::flow_map::steer::reward::RewardError;
use crate::ranks::RankError;

/// Methods of steering.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Method {
    /// The best of every population of finished samples.
    BestOf,
    /// Importance resampling: finished samples are resampled in proportion to `e^r`; the estimate of `Z` is the mean of
    /// `e^r`.
    Resample,
    /// Gradient ascent on the soft reward of the predicted endpoint before every jump, `x <- X_{s,t}(x + a grad_x
    /// r(pi_{s,1}(x)))`, then the best of every population. With one step and many rounds this optimises the noise of
    /// the one-step map.
    Gradient {
        /// The step size `a`, not negative.
        step: f64,
        /// Moves before every jump, at least 1. Their root-mean-squares add up to at most `1 - s`, the scale of the
        /// noise.
        rounds: usize,
    },
    /// Sequential Monte Carlo over the re-noising sampler.
    Smc(SmcSettings),
    /// Sequential Monte Carlo over the diffusion along the flow. With [`Twist::Soft`] its noise is shifted along the
    /// gradient of the twist. Gaussian source only.
    Tilt {
        /// Rate at which noise is replaced, above 0: a step keeps the share `((1-t) / (1-s))^churn` of its variance.
        churn: f64,
        /// Factor of the gradient in the shift, not negative; the weights are correct for any value.
        pull: f64,
        /// The other settings.
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
    /// Estimate of the value of an unfinished item.
    pub twist: Twist,
    /// The point that the re-noising sampler noises again.
    pub renoise: RenoiseTarget,
    /// Number of items drawn by [`Twist::Draws`], and from the final endpoint if the final classes are drawn; one is
    /// chosen by its reward. At least 1.
    pub draws: usize,
    /// The twist is multiplied by `t^tempering`, where `t` is the end of the step; not negative.
    pub tempering: f64,
    /// Particles are resampled when the effective sample size falls below this share of their number, in [0, 1].
    pub threshold: f64,
}

impl Default for SmcSettings {
    fn default() -> Self {
        Self { twist: Twist::Mode, renoise: RenoiseTarget::Mean, draws: 4, tempering: 1.0, threshold: 0.5 }
    }
}

/// Estimate of the value `log E[e^r | x_t]` of an unfinished item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Twist {
    /// The reward of the most probable classes of the predicted endpoint.
    Mode,
    /// Log-mean-exp of the rewards of items drawn from the predicted endpoint. With [`RenoiseTarget::Drawn`] one of
    /// these items, chosen by its reward, is noised again.
    Draws,
    /// The soft reward of the predicted endpoint.
    Soft,
}

/// The point that the re-noising sampler noises again. It determines the distribution that is tilted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenoiseTarget {
    /// Classes drawn from the endpoint site by site, as in training. Exact if sites are independent or the endpoint is
    /// almost one-hot; otherwise the draws lose the dependence between sites.
    Drawn,
    /// The endpoint itself, as in [`Sampler::RENOISE`].
    Mean,
}

/// A request for steered samples.
#[derive(Clone, Debug)]
pub struct SteerRequest {
    /// Number of samples, seed, times, batch and last step; also the sampler of [`Method::BestOf`] and
    /// [`Method::Resample`].
    pub sample: SampleRequest,
    /// The method.
    pub method: Method,
    /// Number of particles of a population.
    pub particles: usize,
    /// Number of samples that a population gives, at most `particles`.
    pub keep: usize,
    /// The populations that are computed, of [`Self::populations`]; `None` for all. Those of a part give all their samples, or none if their
    /// weights are zero: [`Steered::joined`] makes the whole.
    pub part: Option<Range<usize>>,
}

impl SteerRequest {
    /// Number of populations, each of which gives [`Self::keep`] samples.
    ///
    /// # Panics
    /// If it gives none.
    ///
    /// # Examples
    /// See [`Steered::joined`].
    pub fn populations(&self) -> usize {
        self.sample.count.div_ceil(self.keep)
    }

    /// Populations computed at once, at least one. Parts begin at multiples of it, so that they are computed as the whole is.
    ///
    /// # Panics
    /// If they have no particles.
    ///
    /// # Examples
    /// See [`Steered::joined`].
    pub fn together(&self) -> usize {
        (self.sample.batch / self.particles).max(1)
    }
}

/// Steered samples.
#[derive(Clone, Debug)]
pub struct Steered {
    /// The samples. The NFE of each is that of all particles of its population, divided by the number of samples kept.
    pub samples: Samples,
    /// Rewards of the samples, evaluated on the finished items.
    pub rewards: Vec<f64>,
    /// Statistics of the populations, in order.
    pub populations: Vec<Population>,
    /// The error that ended the work early, if any.
    pub stopped: Option<SteerError>,
}

/// Statistics of a population.
#[derive(Clone, Debug, PartialEq)]
pub struct Population {
    /// Effective sample size after every step, before resampling.
    pub ess: Vec<f64>,
    /// Number of resampling steps.
    pub resampled: usize,
    /// Estimate of `log Z`, if the method has one; minus infinity if all weights are zero.
    pub log_z: Option<f64>,
    /// Share of distinct particles among the samples kept.
    pub distinct: f64,
    /// Network evaluations per particle, including backward passes.
    pub nfe: u64,
}

/// Why steering is not possible.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SteerError {
    /// The reward failed.
    #[error(transparent)]
    Reward(#[from] RewardError),
    /// The reward has no soft version.
    #[error("this reward has no gradient: use the method best-of, resample or smc, or a tilt without a soft twist")]
    NoGradient,
    /// All weights are zero.
    #[error(
        "all weights are zero: the reward of every item is minus infinity. Use more particles, or a reward with finite values instead of minus infinity"
    )]
    NoWeight,
    /// A setting is out of range, or not possible with this model.
    #[error("{0}")]
    Request(String),
    /// The ranks cannot go on together.
    #[error(transparent)]
    Ranks(#[from] RankError),
    /// The caller asked to stop.
    #[error("interrupted")]
    Interrupted,
}

/// Checks the ranges of the numbers of a request.
pub(crate) fn check_counts(request: &SteerRequest) -> Result<(), SteerError> {
    let refuse = |what: String| Err(SteerError::Request(what));
    let (particles, keep) = (request.particles, request.keep);
    if particles == 0 || keep == 0 || request.sample.count == 0 {
        return refuse("the numbers of samples, of particles and of samples kept must be at least 1".into());
    }
    if request.part.as_ref().is_some_and(|part| part.is_empty() || part.end > request.populations()) {
        let (part, count) = (request.part.clone().unwrap_or_default(), request.populations());
        return refuse(format!(
            "populations {} to {} are not some of the {count} of the request",
            part.start, part.end
        ));
    }
    if keep > particles {
        return refuse(format!("a population of {particles} particles cannot give {keep} samples: use more particles"));
    }
    let settings = match request.method {
        Method::Smc(settings) | Method::Tilt { settings, .. } => settings,
        Method::Gradient { step, rounds } if !(step.is_finite() && step >= 0.0) || rounds == 0 => {
            return refuse(format!(
                "the gradient step must not be negative and the rounds must be at least 1, found {step} and {rounds}"
            ));
        }
        _ => SmcSettings::default(),
    };
    if settings.draws == 0 {
        return refuse("the number of draws must be at least 1".into());
    }
    let tempering = settings.tempering;
    if !((0.0..=1.0).contains(&settings.threshold) && tempering.is_finite() && tempering >= 0.0) {
        return refuse("the resampling threshold must lie in [0, 1], and the tempering must not be negative".into());
    }
    Ok(())
}

/// Checks the ranges of a request, and that the method is possible with the network.
pub(super) fn check<N: EndpointNet>(generator: &Generator<'_, N>, request: &SteerRequest) -> Result<(), SteerError> {
    let refuse = |what: String| Err(SteerError::Request(what));
    check_counts(request)?;
    // A label that is drawn belongs to its particle, as its noise does, so that the reward tilts the law of labels, too.
    if matches!(&request.sample.labels, LabelChoice::InTurn(labels) if labels.len() > 1) {
        return refuse("steered samples take one label: steer once for each".into());
    }
    let velocity = generator.net.parametrisation() == Parametrisation::Velocity;
    if velocity && !matches!(request.method, Method::BestOf | Method::Resample) {
        return refuse("the naive baseline has no probabilities: steer it by best-of or resample".into());
    }
    if let Method::Tilt { churn, pull, .. } = request.method {
        if generator.noise.source != Source::Gaussian {
            return refuse("tilting needs the Gaussian source: use smc".into());
        }
        if !(churn > 0.0 && churn.is_finite() && pull.is_finite() && pull >= 0.0) {
            return refuse("the churn must be positive, and the pull must not be negative".into());
        }
    }
    if matches!(request.method, Method::Smc(_) | Method::Gradient { .. } | Method::Tilt { .. })
        && request.sample.diagonal_noise
    {
        return refuse("noise on the diagonal is for plain samples only".into());
    }
    if matches!(request.method, Method::Smc(_)) && !matches!(request.sample.sampler, Sampler::RENOISE | Sampler::Map) {
        return refuse("smc always draws all of the noise anew: remove the sampler from the request".into());
    }
    Ok(())
}
