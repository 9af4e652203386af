//! Settings of the family: the table `model` of a recipe.
//!
//! # Examples
//! ```
//! use pushforward::flow_map::config::{FlowMapConfig, ObjectiveConfig, OffDiagonal, SplitPoint};
//! use pushforward::flow_map::interpolant::Source;
//! use pushforward::flow_map::model::Skip;
//! use pushforward::flow_map::network::NetworkConfig;
//! use pushforward::nn::mlp::MlpConfig;
//!
//! let off_diagonal = OffDiagonal::Psd { split: SplitPoint::Midpoint };
//! let objective = ObjectiveConfig { off_diagonal, ..ObjectiveConfig::default() };
//! let mut config = FlowMapConfig::new(NetworkConfig::Mlp(MlpConfig::default()), objective);
//! assert!(config.validate().is_ok());
//! // The evidence skip is exact for Gaussian noise only.
//! config.source = Source::Dirichlet { concentration: 1.0 };
//! config.skip = Skip::Evidence { cap: 64.0 };
//! assert_eq!(config.validate().unwrap_err().key, "skip");
//! ```

use serde::{Deserialize, Serialize};

use crate::flow_map::backbone::{BackboneConfig, Parametrisation};
use crate::flow_map::conditioning::Condition;
use crate::flow_map::interpolant::{Noise, Source};
use crate::flow_map::losses::{EcldPreset, GradientPath};
use crate::flow_map::model::{FlowMapModelConfig, Skip};
use crate::flow_map::network::NetworkConfig;
use crate::flow_map::objective::BatchConfig;
pub use crate::flow_map::one_step::{Mmd, OneStep, TeacherJump};
use crate::flow_map::one_step::{is_one, one, power_of_times};
use crate::flow_map::times::TimesConfig;
use crate::nn::SiteShape;
use crate::setting::{STEPS, SettingError, fraction, not_negative, open_fraction, positive, require, size};

/// Configuration of a categorical flow map and its training objective.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[serde(bound = "C: BackboneConfig")]
pub struct FlowMapConfig<C = NetworkConfig> {
    /// The network.
    pub network: C,
    /// Term that is added to the logits of the network.
    #[serde(default)]
    pub skip: Skip,
    /// Distribution of the noise.
    #[serde(default)]
    pub source: Source,
    /// For graphs, scale of the noise of pairs of nodes. The published scale is `sqrt(1/2)`, the standard deviation of
    /// the mean of two standard normal numbers, one for each order of the pair.
    #[serde(default = "one")]
    pub edge_noise: f64,
    /// The objective.
    #[serde(default)]
    pub objective: ObjectiveConfig,
    /// Distributions of the times in training.
    #[serde(default)]
    pub times: TimesConfig,
    /// What the model is conditioned on.
    #[serde(default)]
    pub condition: Condition,
}

/// The training objective: variational flow matching on the diagonal, and self-distillation off it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ObjectiveConfig {
    /// Label smoothing of the diagonal's cross-entropy, in [0, 1). Only this loss sees it: everywhere else the
    /// model gives the posterior without it.
    pub smoothing: f64,
    /// The off-diagonal objective.
    pub off_diagonal: OffDiagonal,
    /// Share of every batch for the off-diagonal objective once it has started, in [0, 1).
    pub share: f64,
    /// Weight of the off-diagonal objective.
    pub lambda: f64,
    /// Fraction of the run, from its beginning, in which only the diagonal is trained.
    pub start: f64,
    /// The model that predicts the targets.
    pub teacher: Teacher,
    /// Divisor of the logits of the teacher's diagonal, whose velocity the jumps follow. Below 1, samples with few
    /// evaluations are sharper than the data distribution, like those of many evaluations at a low temperature. For the
    /// Lagrangian objectives only: `csd`, `lsd`, `ecld` and `lsd-logit`.
    #[serde(skip_serializing_if = "is_one")]
    pub temperature: f64,
    /// Weights of off-diagonal examples.
    pub weighting: Weighting,
    /// Direct training of the one-step map on some examples; `None` for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub one_step: Option<OneStep>,
    /// For graphs, weight of the mean loss over pairs of nodes, relative to the mean loss over nodes.
    pub edge_weight: f64,
}

impl Default for ObjectiveConfig {
    fn default() -> Self {
        Self {
            smoothing: 0.0,
            off_diagonal: OffDiagonal::default(),
            share: 0.5,
            lambda: 1.0,
            start: 0.1,
            teacher: Teacher::Ema,
            temperature: 1.0,
            weighting: Weighting::Uniform,
            one_step: None,
            edge_weight: 5.0,
        }
    }
}

fn euler() -> TeacherJump {
    TeacherJump::Euler
}

/// The off-diagonal objectives. The formulas are in [`losses`](crate::flow_map::losses).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum OffDiagonal {
    /// None: plain variational flow matching.
    None,
    /// Categorical self-distillation: the Lagrangian residual scaled by `1-t`.
    Csd {
        /// Where the gradient flows.
        #[serde(default)]
        gradient: GradientPath,
    },
    /// The unscaled Lagrangian residual.
    Lsd {
        /// Lower bound of the divisor `1-t`.
        #[serde(default = "lsd_floor")]
        floor: f64,
    },
    /// Endpoint-consistent Lagrangian distillation.
    Ecld {
        /// One of the published weightings.
        #[serde(default)]
        weights: EcldPreset,
    },
    /// Progressive self-distillation with KL: the semigroup identity.
    Psd {
        /// Where the long jump is split into two.
        #[serde(default)]
        split: SplitPoint,
    },
    /// Distillation of the teacher's trajectories with KL: every jump arrives where `steps` Euler steps along the
    /// teacher's diagonal do. Errors of the map so far do not add up, at the price of that many evaluations.
    Trajectory {
        /// Number of steps, of random lengths.
        #[serde(default = "eight")]
        steps: usize,
        /// How the teacher steps.
        #[serde(default = "euler", skip_serializing_if = "TeacherJump::is_euler")]
        by: TeacherJump,
        /// As in [`OneStep`]: the times of the steps are `u^power` for equal steps of u.
        #[serde(default = "one", skip_serializing_if = "is_one")]
        power: f64,
    },
    /// Lagrangian self-distillation in logits with KL.
    LsdLogit {
        /// Lower bound of the argument of the logarithm.
        #[serde(default = "logit_floor")]
        floor: f64,
        /// Where the gradient flows.
        #[serde(default)]
        gradient: GradientPath,
    },
    /// Eulerian self-distillation in logits with KL.
    EsdLogit {
        /// Lower bound of the correction factor.
        #[serde(default = "logit_floor")]
        floor: f64,
    },
    /// The unconstrained baseline: the network's output is a velocity, trained by squared error on and off the
    /// diagonal.
    Naive,
}

fn lsd_floor() -> f64 {
    0.05
}

fn eight() -> usize {
    8
}

fn logit_floor() -> f64 {
    0.01
}

impl Default for OffDiagonal {
    /// ECLD with the paper's weights: the best few-step samples per minute on `echo` (see the log). Its minimiser is
    /// biased; where calibrated probabilities matter more than sharp samples, take CSD with full gradient, or PSD.
    fn default() -> Self {
        Self::Ecld { weights: EcldPreset::default() }
    }
}

/// Highest temperature of a teacher; masked logits are still the lowest there.
const HOTTEST: f64 = 1e4;

impl OffDiagonal {
    fn validate(self) -> Result<(), SettingError> {
        match self {
            Self::Lsd { floor } | Self::LsdLogit { floor, .. } | Self::EsdLogit { floor } => positive("floor", floor),
            Self::Trajectory { steps, power, .. } => {
                size("steps", steps, 1..=STEPS).and_then(|()| power_of_times("power", power))
            }
            Self::None | Self::Csd { .. } | Self::Ecld { .. } | Self::Psd { .. } | Self::Naive => Ok(()),
        }
    }

    /// Whether the target is the teacher's diagonal endpoint at the end of the jump.
    fn is_lagrangian(self) -> bool {
        matches!(self, Self::Csd { .. } | Self::Lsd { .. } | Self::Ecld { .. } | Self::LsdLogit { .. })
    }

    /// Meaning of the network's output under this objective.
    pub fn parametrisation(self) -> Parametrisation {
        if self == Self::Naive { Parametrisation::Velocity } else { Parametrisation::Endpoint }
    }
}

/// Where PSD splits a jump from s to t: at `u = s + r (t-s)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SplitPoint {
    /// `r` uniform on (0, 1).
    #[default]
    Uniform,
    /// `r = 1/2`.
    Midpoint,
    /// With probability 1/3 each: uniform, one half, or close to the start (`r = 10^(-2 v)`, `v` uniform on (0, 1)).
    Mixed,
}

/// The model that predicts the targets of self-distillation. Teachers never use dropout.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Teacher {
    /// The current weights.
    Online,
    /// The exponential moving average of the weights.
    #[default]
    Ema,
    /// The moving average as it is when the off-diagonal objective starts, kept from then on: jumps cannot damage the diagonal that they
    /// learn from.
    Kept,
    /// The averaged weights of a checkpoint, frozen: the second stage of two-stage training. The network must be the
    /// recipe's.
    Frozen {
        /// Path of the checkpoint or run folder; relative paths start at the working directory.
        checkpoint: String,
        /// Whether training also starts from these weights.
        #[serde(default = "yes")]
        initialise: bool,
    },
}

fn yes() -> bool {
    true
}

/// Weights of off-diagonal examples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Weighting {
    /// Equal weights.
    #[default]
    Uniform,
    /// `(L + floor)^-power`, held constant in the gradient.
    Adaptive {
        /// Power of the weight.
        power: f64,
        /// Bounds the weight where `L` is small.
        floor: f64,
    },
    /// `exp(-w) L + w` with a learned function `w` of the pair of times.
    Learned,
}

impl ObjectiveConfig {
    /// Whether the off-diagonal objective is trained after this part of the run.
    pub(crate) fn off_diagonal_at(&self, progress: f64) -> bool {
        self.off_diagonal != OffDiagonal::None && self.share > 0.0 && progress >= self.start
    }

    /// Checks every setting against its range, and combinations of settings.
    ///
    /// # Errors
    /// Names the key and its allowed values.
    pub fn validate(&self) -> Result<(), SettingError> {
        open_fraction("smoothing", self.smoothing)?;
        open_fraction("share", self.share)?;
        fraction("start", self.start)?;
        not_negative("lambda", self.lambda)?;
        positive("temperature", self.temperature)?;
        require(
            self.temperature <= HOTTEST,
            "temperature",
            format_args!("is at most {HOTTEST}, found {}", self.temperature),
        )?;
        not_negative("edge_weight", self.edge_weight)?;
        self.off_diagonal.validate().map_err(|e| e.within("off_diagonal"))?;
        if let Weighting::Adaptive { power, floor } = self.weighting {
            not_negative("weighting.power", power)?;
            positive("weighting.floor", floor)?;
        }
        if let Some(one_step) = self.one_step {
            one_step.validate().map_err(|e| e.within("one_step"))?;
            let problem = "compares probabilities, and the naive objective has none: remove it";
            require(self.off_diagonal != OffDiagonal::Naive, "one_step", problem)?;
        }
        let psd = matches!(self.off_diagonal, OffDiagonal::Psd { .. });
        let problem = "never learns jumps, from which psd takes its targets: take kind = \"ema\"";
        require(!psd || self.teacher != Teacher::Kept, "teacher.kind = \"kept\"", problem)?;
        let follows = self.temperature == 1.0 || self.off_diagonal.is_lagrangian();
        let problem =
            "is for csd, lsd, ecld and lsd-logit, which follow the velocity of a teacher's diagonal: remove it";
        require(follows, "temperature", problem)
    }
}

impl<C: BackboneConfig> FlowMapConfig<C> {
    /// A network and an objective, with the defaults of a recipe for everything else.
    pub fn new(network: C, objective: ObjectiveConfig) -> Self {
        Self {
            network,
            skip: Skip::default(),
            source: Source::default(),
            edge_noise: one(),
            objective,
            times: TimesConfig::default(),
            condition: Condition::default(),
        }
    }

    /// Configuration of the trainable model, for data with this number of labels.
    ///
    /// # Panics
    /// If the condition is a label and `labels` is `None`.
    pub fn model(&self, labels: Option<usize>) -> FlowMapModelConfig<C> {
        let labelled = self.condition.takes_labels();
        assert!(!labelled || labels.is_some(), "the condition is a label, and the data have none");
        FlowMapModelConfig {
            network: self.network.clone(),
            skip: self.skip,
            parametrisation: self.objective.off_diagonal.parametrisation(),
            learned_weight: self.objective.weighting == Weighting::Learned,
            labels: labels.filter(|_| labelled),
            smoothing: self.objective.smoothing,
            observed_length: self.condition.observed_length(),
        }
    }

    /// The noise, for training and sampling.
    pub fn noise(&self) -> Noise {
        Noise { source: self.source, edge_scale: self.edge_noise }
    }

    /// How items become noised points in training.
    pub fn batch(&self) -> BatchConfig {
        BatchConfig { noise: self.noise(), condition: self.condition, edge_weight: self.objective.edge_weight }
    }

    /// Checks every setting against its range, and combinations of settings.
    ///
    /// # Errors
    /// Names the key, relative to the table `model`, its allowed values and the value found.
    pub fn validate(&self) -> Result<(), SettingError> {
        self.network.validate().map_err(|e| e.within("network"))?;
        self.objective.validate().map_err(|e| e.within("objective"))?;
        self.times.validate().map_err(|e| e.within("times"))?;
        self.condition.validate().map_err(|e| e.within("condition"))?;
        self.source.validate().map_err(|e| e.within("source"))?;
        positive("edge_noise", self.edge_noise)?;
        let simplex = matches!(self.source, Source::Dirichlet { .. });
        let problem = format_args!(
            "must be 1 for a Dirichlet source, whose points lie on the simplex, found {}",
            self.edge_noise
        );
        require(!simplex || self.edge_noise == 1.0, "edge_noise", problem)?;
        let naive = self.objective.off_diagonal == OffDiagonal::Naive;
        if let Skip::Evidence { cap } = self.skip {
            positive("skip.cap", cap)?;
            require(cap <= 1e6, "skip.cap", format_args!("is at most 1e6, found {cap}"))?;
            let gaussian = self.source == Source::Gaussian;
            require(gaussian, "skip", "= evidence belongs to the Gaussian source: remove one of the two")?;
            require(
                !naive,
                "skip",
                "= evidence adds to logits, and the naive objective has none: remove one of the two",
            )?;
        }
        let problem =
            "has labels, which are not for this network: the published graph network takes none; use pair-transformer";
        require(!self.condition.takes_labels() || self.network.takes_labels(), "condition", problem)?;
        let shown = matches!(self.condition, Condition::Prefix { .. } | Condition::Observed { .. });
        let problem = "= prefix and observed need probabilities, and the naive objective has none";
        require(!(shown && naive), "condition.kind", problem)
    }

    /// Checks that the model supports this shape of data; making the model does not panic afterwards.
    ///
    /// # Errors
    /// Names the key, relative to the table `model`, its allowed values and the value found.
    pub fn check(&self, sites: SiteShape) -> Result<(), SettingError> {
        self.network.check(sites.clone()).map_err(|e| e.within("network"))?;
        let line = sites.as_graph().is_none() && sites.count >= 2;
        if let Condition::Observed { subsets, .. } = self.condition {
            require(sites.count >= 2, "condition.kind", "= observed is for items of several sites")?;
            return subsets.check(&sites).map_err(|e| e.within("condition"));
        }
        let prefix = matches!(self.condition, Condition::Prefix { .. });
        require(line || !prefix, "condition.kind", "= prefix is for text, tables and images of several sites")
    }
}
