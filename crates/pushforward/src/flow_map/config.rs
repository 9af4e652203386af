//! Settings of the family, as a recipe spells them.

use serde::{Deserialize, Serialize};

use crate::flow_map::backbone::{BackboneConfig, Parametrisation};
use crate::flow_map::conditioning::Condition;
use crate::flow_map::interpolant::{Noise, Source};
use crate::flow_map::losses::{EcldPreset, GradientPath};
use crate::flow_map::model::{FlowMapModelConfig, Skip};
use crate::flow_map::network::NetworkConfig;
use crate::flow_map::objective::BatchConfig;
use crate::flow_map::times::TimesConfig;
use crate::nn::SiteShape;
use crate::setting::{SettingError, fraction, not_negative, open_fraction, positive, require};

/// A categorical flow map and how it is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[serde(bound = "C: BackboneConfig")]
pub struct FlowMapConfig<C = NetworkConfig> {
    /// The network.
    pub network: C,
    /// What the last layer adds to the logits.
    #[serde(default)]
    pub skip: Skip,
    /// Distribution of the noise.
    #[serde(default)]
    pub source: Source,
    /// Scale of the noise of pairs of nodes, for graphs. The published one is the root of one half: the mean of two standard
    /// normal numbers, one for each order of the pair.
    #[serde(default = "one")]
    pub edge_noise: f64,
    /// The objective.
    #[serde(default)]
    pub objective: ObjectiveConfig,
    /// The times that training visits.
    #[serde(default)]
    pub times: TimesConfig,
    /// What the model is told of an item.
    #[serde(default)]
    pub condition: Condition,
}

fn one() -> f64 {
    1.0
}

fn is_one(value: &f64) -> bool {
    *value == 1.0
}

/// The training objective: variational flow matching on the diagonal, and self-distillation off it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ObjectiveConfig {
    /// Label smoothing of the diagonal's cross-entropy; undone in the teacher.
    pub smoothing: f64,
    /// The off-diagonal objective.
    pub off_diagonal: OffDiagonal,
    /// Share of every batch that goes to the off-diagonal objective once it has started.
    pub share: f64,
    /// Factor of the off-diagonal objective.
    pub lambda: f64,
    /// Fraction of the run in which the diagonal is trained alone.
    pub start: f64,
    /// Whose predictions are the targets.
    pub teacher: Teacher,
    /// Divides the logits of the teacher's diagonal, whose velocity the jumps follow: below 1, few evaluations give sharper samples than
    /// the data's law is, as low temperatures do for many. For the Lagrangian objectives: `csd`, `lsd`, `ecld` and `lsd-logit`.
    #[serde(skip_serializing_if = "is_one")]
    pub temperature: f64,
    /// How off-diagonal examples are weighted.
    pub weighting: Weighting,
    /// Whether some examples learn the one-step map directly.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub one_step: Option<OneStep>,
    /// Factor of the mean over the pairs of a graph beside the mean over its nodes; for graphs only.
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

/// Examples that learn the one-step map directly: their pair of times is (0, 1), and their target is where several jumps of the teacher's
/// from the same noise end, as `KL(pi_{u,1}(X_{0,u}) || pi_{0,1})` (the semigroup identity for any number of jumps; at time 1 a jump ends in its
/// endpoint). Lagrangian targets say nothing there, because a sample at time 1 is its own.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OneStep {
    /// Share of the off-diagonal examples.
    pub share: f64,
    /// Jumps of the teacher, over steps of random lengths; at least 2.
    #[serde(default = "two")]
    pub jumps: usize,
}

fn two() -> usize {
    2
}

/// The off-diagonal objectives. The formulas are in [`losses`](crate::flow_map::losses).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum OffDiagonal {
    /// None: plain variational flow matching.
    None,
    /// Categorical self-distillation: the Lagrangian residual scaled by `1-t`.
    Csd {
        /// Which parts carry gradient.
        #[serde(default)]
        gradient: GradientPath,
    },
    /// The unscaled Lagrangian residual.
    Lsd {
        /// Floor of `1-t`.
        #[serde(default = "lsd_floor")]
        floor: f64,
    },
    /// Endpoint-consistent Lagrangian distillation.
    Ecld {
        /// Its published weights.
        #[serde(default)]
        weights: EcldPreset,
    },
    /// Progressive self-distillation with KL: the semigroup identity.
    Psd {
        /// Where the big jump is split.
        #[serde(default)]
        split: SplitPoint,
    },
    /// Lagrangian self-distillation in logits with KL.
    LsdLogit {
        /// Floor of the logarithm's argument.
        #[serde(default = "logit_floor")]
        floor: f64,
        /// Which parts carry gradient.
        #[serde(default)]
        gradient: GradientPath,
    },
    /// Eulerian self-distillation in logits with KL.
    EsdLogit {
        /// Floor of the correction factor.
        #[serde(default = "logit_floor")]
        floor: f64,
    },
    /// The unconstrained baseline: the network's output is a velocity, trained by squared error on and off the diagonal.
    Naive,
}

fn lsd_floor() -> f64 {
    0.05
}

fn logit_floor() -> f64 {
    0.01
}

impl Default for OffDiagonal {
    /// ECLD with the paper's weights: the best few-step samples per minute on `echo` (see the log). Its minimiser is biased;
    /// where calibrated probabilities matter more than sharp samples, take CSD with full gradient, or PSD.
    fn default() -> Self {
        Self::Ecld { weights: EcldPreset::default() }
    }
}

impl OffDiagonal {
    /// Whether the targets are endpoints of the diagonal, on the simplex, where a jump ends.
    fn is_lagrangian(self) -> bool {
        matches!(self, Self::Csd { .. } | Self::Lsd { .. } | Self::Ecld { .. } | Self::LsdLogit { .. })
    }

    /// What the network's output means under this objective.
    pub fn parametrisation(self) -> Parametrisation {
        if self == Self::Naive { Parametrisation::Velocity } else { Parametrisation::Endpoint }
    }
}

/// Where PSD splits a jump from s to t, as the fraction `r` of the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SplitPoint {
    /// `r` uniform on (0, 1).
    #[default]
    Uniform,
    /// `r = 1/2`.
    Midpoint,
    /// A third each of uniform, one half, and close to the start (`r = 10^(-2 u)`).
    Mixed,
}

/// Whose predictions are the targets of self-distillation. Teachers never use dropout.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Teacher {
    /// The network as it is.
    Online,
    /// Its running average.
    #[default]
    Ema,
    /// The average stored in a checkpoint, frozen: the second of two stages. Its network must be the recipe's.
    Frozen {
        /// Path of the checkpoint or run folder; relative paths are taken from the working directory.
        checkpoint: String,
        /// Whether training also starts from those weights.
        #[serde(default = "yes")]
        initialise: bool,
    },
}

fn yes() -> bool {
    true
}

/// How off-diagonal examples are weighted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Weighting {
    /// Equally.
    #[default]
    Uniform,
    /// By `(L + floor)^-power`, without gradient.
    Adaptive {
        /// Power of the weight.
        power: f64,
        /// Keeps the weight bounded.
        floor: f64,
    },
    /// By a learned function of the pair of times, `exp(-w) L + w`.
    Learned,
}

impl ObjectiveConfig {
    /// Checks every setting against its range, and what goes together.
    ///
    /// # Errors
    /// The key and what it may be.
    pub fn validate(&self) -> Result<(), SettingError> {
        open_fraction("smoothing", self.smoothing)?;
        open_fraction("share", self.share)?;
        fraction("start", self.start)?;
        not_negative("lambda", self.lambda)?;
        positive("temperature", self.temperature)?;
        not_negative("edge_weight", self.edge_weight)?;
        if let Some(OneStep { share, jumps }) = self.one_step {
            fraction("one_step.share", share)?;
            require(jumps >= 2, "one_step.jumps", format_args!("is at least 2, found {jumps}"))?;
            let problem = "compares probabilities, and the naive objective has none: remove it";
            require(self.off_diagonal != OffDiagonal::Naive, "one_step", problem)?;
        }
        let follows = self.temperature == 1.0 || self.off_diagonal.is_lagrangian();
        let problem =
            "is for csd, lsd, ecld and lsd-logit, which follow the velocity of a teacher's diagonal: remove it";
        require(follows, "temperature", problem)
    }
}

impl<C: BackboneConfig> FlowMapConfig<C> {
    /// A network and an objective, and everything else as a recipe that is silent on it has it.
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

    /// The trainable model behind these settings, for data with this number of labels.
    ///
    /// # Panics
    /// If the model takes labels and there are none.
    pub fn model(&self, labels: Option<usize>) -> FlowMapModelConfig<C> {
        let labelled = matches!(self.condition, Condition::Label { .. });
        assert!(!labelled || labels.is_some(), "the condition is a label, and the data have none");
        FlowMapModelConfig {
            network: self.network.clone(),
            skip: self.skip,
            parametrisation: self.objective.off_diagonal.parametrisation(),
            learned_weight: self.objective.weighting == Weighting::Learned,
            labels: labels.filter(|_| labelled),
        }
    }

    /// The noise of training and samples.
    pub fn noise(&self) -> Noise {
        Noise { source: self.source, edge_scale: self.edge_noise }
    }

    /// How items become points in training.
    pub fn batch(&self) -> BatchConfig {
        BatchConfig { noise: self.noise(), condition: self.condition, edge_weight: self.objective.edge_weight }
    }

    /// Checks what types cannot express; keys are those of the table `model`.
    ///
    /// # Errors
    /// The key, what it may be and what was found.
    pub fn validate(&self) -> Result<(), SettingError> {
        self.network.validate().map_err(|e| e.within("network"))?;
        self.objective.validate().map_err(|e| e.within("objective"))?;
        self.times.validate().map_err(|e| e.within("times"))?;
        self.condition.validate().map_err(|e| e.within("condition"))?;
        self.source.validate().map_err(|e| e.within("source"))?;
        positive("edge_noise", self.edge_noise)?;
        let naive = self.objective.off_diagonal == OffDiagonal::Naive;
        if self.skip != Skip::None {
            let gaussian = self.source == Source::Gaussian;
            require(gaussian, "skip", "= evidence belongs to the Gaussian source: remove one of the two")?;
            require(
                !naive,
                "skip",
                "= evidence adds to logits, and the naive objective has none: remove one of the two",
            )?;
        }
        match self.condition {
            Condition::Label { .. } => {
                let problem =
                    "= label is not for this network: the published graph network takes none; use pair-transformer";
                require(self.network.takes_labels(), "condition.kind", problem)
            }
            Condition::Prefix { .. } => {
                require(!naive, "condition.kind", "= prefix needs probabilities, and the naive objective has none")
            }
            Condition::None => Ok(()),
        }
    }

    /// Checks that the model can be of such items, so that making it cannot panic; keys are those of the table `model`.
    ///
    /// # Errors
    /// The key, what it may be and what was found.
    pub fn check(&self, sites: SiteShape) -> Result<(), SettingError> {
        self.network.check(sites).map_err(|e| e.within("network"))?;
        let line = sites.as_graph().is_none() && sites.count >= 2;
        let prefix = matches!(self.condition, Condition::Prefix { .. });
        require(line || !prefix, "condition.kind", "= prefix is for text, tables and images of several sites")
    }
}
