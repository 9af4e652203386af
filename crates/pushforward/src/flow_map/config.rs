//! Settings of the family, as a recipe spells them.

use serde::{Deserialize, Serialize};

use crate::flow_map::interpolant::Source;
use crate::flow_map::losses::{EcldPreset, GradientPath};
use crate::flow_map::map::Parametrisation;
use crate::flow_map::network::{FlowMapModelConfig, NetworkConfig, Skip};
use crate::flow_map::time::TimesConfig;
use crate::nn::graph_transformer::GraphTransformerConfig;
use crate::nn::pair_transformer::PairTransformerConfig;

/// A categorical flow map and how it is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowMapConfig {
    /// The network.
    pub network: NetworkConfig,
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

/// What a model is told of an item beside its noised point.
///
/// It is hidden from a share of the examples, so that the model also knows the law of all items: samples need not name a
/// condition, and guidance has something to compare with (Ho and Salimans 2022, arXiv:2207.12598).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Condition {
    /// Nothing.
    #[default]
    None,
    /// The label that the data set gives it.
    Label {
        /// Share of the examples whose label is hidden.
        #[serde(default = "tenth")]
        dropout: f64,
    },
    /// Its first sites, as many as a uniform draw from 1 to `longest` says; the network sees them as they are in the end.
    Prefix {
        /// Share of the examples of which nothing is told.
        #[serde(default = "tenth")]
        dropout: f64,
        /// Most sites that are told; all but one, if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        longest: Option<usize>,
    },
}

fn tenth() -> f64 {
    0.1
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

impl FlowMapConfig {
    /// A network and an objective, and everything else as a recipe that is silent on it has it.
    pub fn new(network: NetworkConfig, objective: ObjectiveConfig) -> Self {
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
    /// If the model is to be told of labels and there are none.
    pub fn model(&self, labels: Option<usize>) -> FlowMapModelConfig {
        let told = matches!(self.condition, Condition::Label { .. });
        assert!(!told || labels.is_some(), "the condition is a label, and the data have none");
        FlowMapModelConfig {
            network: self.network.clone(),
            skip: self.skip,
            parametrisation: self.objective.off_diagonal.parametrisation(),
            learned_weight: self.objective.weighting == Weighting::Learned,
            labels: labels.filter(|_| told),
        }
    }

    /// Checks what types cannot express.
    ///
    /// # Errors
    /// The key, what it may be and what was found.
    pub fn validate(&self) -> Result<(), String> {
        let unit = |key: &str, value: f64, top_open: bool| {
            let fits = (0.0..=1.0).contains(&value) && !(top_open && value == 1.0);
            let range = if top_open { "[0, 1)" } else { "[0, 1]" };
            if fits { Ok(()) } else { Err(format!("model.{key} lies in {range}, found {value}")) }
        };
        let o = &self.objective;
        unit("objective.smoothing", o.smoothing, true)?;
        unit("objective.share", o.share, true)?;
        unit("objective.start", o.start, false)?;
        if let Some(OneStep { share, jumps }) = o.one_step {
            unit("objective.one_step.share", share, false)?;
            if jumps < 2 {
                return Err(format!("model.objective.one_step.jumps is at least 2, found {jumps}"));
            }
            if o.off_diagonal == OffDiagonal::Naive {
                return Err(
                    "model.objective.one_step compares probabilities, and the naive objective has none: remove it"
                        .into(),
                );
            }
        }
        unit("times.boundary", self.times.boundary, false)?;
        unit("times.latest", self.times.latest, false)?;
        if self.times.latest == 0.0 {
            return Err("model.times.latest is positive, found 0".into());
        }
        if !(o.lambda.is_finite() && o.lambda >= 0.0) {
            return Err(format!("model.objective.lambda is not negative, found {}", o.lambda));
        }
        if !(o.temperature.is_finite() && o.temperature > 0.0) {
            return Err(format!("model.objective.temperature is positive, found {}", o.temperature));
        }
        if o.temperature != 1.0 && !o.off_diagonal.is_lagrangian() {
            return Err(
                "model.objective.temperature is for csd, lsd, ecld and lsd-logit, which follow the velocity of a \
                        teacher's diagonal: remove it"
                    .into(),
            );
        }
        if !(o.edge_weight.is_finite() && o.edge_weight >= 0.0) {
            return Err(format!("model.objective.edge_weight is not negative, found {}", o.edge_weight));
        }
        if !(self.edge_noise.is_finite() && self.edge_noise > 0.0) {
            return Err(format!("model.edge_noise is positive, found {}", self.edge_noise));
        }
        if let Source::Dirichlet { concentration } = self.source {
            if !(concentration.is_finite() && concentration > 0.0) {
                return Err(format!("model.source.concentration is positive, found {concentration}"));
            }
            if self.skip != Skip::None {
                return Err("model.skip = evidence belongs to the Gaussian source: remove one of the two".into());
            }
        }
        if o.off_diagonal == OffDiagonal::Naive && self.skip != Skip::None {
            return Err(
                "model.skip = evidence adds to logits, and the naive objective has none: remove one of the two".into(),
            );
        }
        match self.condition {
            Condition::None => {}
            Condition::Label { dropout } => {
                unit("condition.dropout", dropout, false)?;
                if self.network.condition_width().is_none() {
                    return Err("model.condition.kind = label is not for the published graph network: take \
                                model.network.kind = pair-transformer"
                        .into());
                }
            }
            Condition::Prefix { dropout, longest } => {
                unit("condition.dropout", dropout, false)?;
                if longest == Some(0) {
                    return Err("model.condition.longest is at least 1, found 0".into());
                }
                if o.off_diagonal == OffDiagonal::Naive {
                    return Err(
                        "model.condition.kind = prefix needs probabilities, and the naive objective has none".into()
                    );
                }
            }
        }
        if let NetworkConfig::Dit(dit) = &self.network
            && (dit.heads == 0 || !dit.width.is_multiple_of(dit.heads) || !(dit.width / dit.heads).is_multiple_of(2))
        {
            return Err(format!(
                "model.network.heads must divide model.network.width into even parts: {} heads, width {}",
                dit.heads, dit.width
            ));
        }
        match &self.network {
            NetworkConfig::GraphTransformer(GraphTransformerConfig { heads, widths: [width, ..], .. })
            | NetworkConfig::PairTransformer(PairTransformerConfig { heads, width, .. })
                if *heads == 0 || !width.is_multiple_of(*heads) =>
            {
                Err(format!("model.network.heads must divide the width of nodes: {heads} heads, width {width}"))
            }
            _ => Ok(()),
        }
    }
}
