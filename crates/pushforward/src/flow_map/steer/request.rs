//! What to steer and how, and what comes of it.

use crate::flow_map::backbone::{EndpointNet, Parametrisation};
use crate::flow_map::interpolant::Source;
use crate::flow_map::sample::{Generator, SampleRequest, Sampler, Samples};
use crate::flow_map::steer::reward::RewardError;

/// How a reward is reached.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Method {
    /// The best of every population.
    BestOf,
    /// Samples drawn again in proportion to `e^r`; `Z` is the mean of `e^r`.
    Resample,
    /// Moves along the gradient of the soft reward at the predicted end before every jump, `x <- X_{s,t}(x + a grad_x
    /// r(pi_{s,1}(x)))`, and the best of every population. With one step and many rounds this is a search for good
    /// noise under the one-step map.
    Gradient {
        /// The factor `a`.
        step: f64,
        /// Moves before every jump, at least 1. Their root-mean-squares add up to at most `1 - s`, the scale of the
        /// noise.
        rounds: usize,
    },
    /// Sequential Monte Carlo over the re-noising sampler.
    Smc(SmcSettings),
    /// Sequential Monte Carlo over the diffusion along the flow, its noise moved up the gradient of the surrogate where
    /// the surrogate is soft. Gaussian source only.
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
    pub renoise: RenoiseTarget,
    /// Items drawn by [`Twist::Draws`], and from the last endpoint where the last classes are drawn; one is chosen by
    /// its reward. At least 1.
    pub draws: usize,
    /// The surrogate counts `t^power`, with `t` the end of the step.
    pub tempering: f64,
    /// Particles are resampled when the effective sample size falls below this share of them, 0 to 1.
    pub threshold: f64,
}

impl Default for SmcSettings {
    fn default() -> Self {
        Self { twist: Twist::Mode, renoise: RenoiseTarget::Mean, draws: 4, tempering: 1.0, threshold: 0.5 }
    }
}

/// What stands for the value `log E[e^r | x_t]` of an unfinished item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Twist {
    /// The reward of the most probable classes of the predicted end: of the sample, if it ended here.
    Mode,
    /// Log-mean-exp of the reward of items drawn from the predicted end. With [`RenoiseTarget::Drawn`] the sampler goes
    /// on with one of them, chosen by its reward.
    Draws,
    /// The soft reward of the predicted end.
    Soft,
}

/// Which predicted end is noised again: a choice of the law that is tilted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenoiseTarget {
    /// Classes drawn site by site, as training noises them. Exact where sites are independent or the endpoint is sharp;
    /// where it is neither, drawing tears sites apart.
    Drawn,
    /// The endpoint itself, as [`Sampler::Renoise`] does.
    Mean,
}

/// What to make.
#[derive(Clone, Debug)]
pub struct SteerRequest {
    /// Number of samples, their seed, times, batch and last step; the sampler of [`Method::BestOf`] and
    /// [`Method::Resample`].
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

/// Checks the ranges of a request, and that the network can do it.
pub(super) fn check<N: EndpointNet>(generator: &Generator<'_, N>, request: &SteerRequest) -> Result<(), SteerError> {
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
    let velocity = generator.net.parametrisation() == Parametrisation::Velocity;
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
        if generator.noise.source != Source::Gaussian {
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
