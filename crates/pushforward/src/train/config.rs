//! Settings of a training run.
//!
//! # Examples
//! ```
//! use pushforward::train::TrainConfig;
//!
//! let config: TrainConfig = toml::from_str("steps = 500\nema = { decay = 0.99 }").expect("other keys have defaults");
//! assert!(config.validate().is_ok() && config.ema.is_some());
//! let error = TrainConfig { batch: 0, ..config }.validate().expect_err("there must be examples");
//! assert!(error.to_string().starts_with("train.batch = 0 is out of range"));
//! ```

use serde::{Deserialize, Serialize};

use super::ema::EmaConfig;
use super::optim::{AdamWSettings, MuonSettings, OptimizerConfig};
use super::schedule::{LrSchedule, WarmRestart};
use crate::kernels::Precision;
use crate::setting::SettingError;

/// Settings of a training run; the table `train` of a recipe.
///
/// Every `*_every` is a number of optimiser steps; 0 means never.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Length of the run in optimiser steps; ignored if `minutes` is given.
    pub steps: u64,
    /// Length of the run in minutes of training, summed over all resumed parts. The learning rate then follows the
    /// clock, so two runs with the same seed differ; bit-for-bit reproduction needs a length in steps.
    pub minutes: Option<f64>,
    /// Optimiser steps a minute of the runs that the recipe's figures are from, so that a run of so many minutes on a slower or
    /// busier machine can be told from them; changes nothing else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usual_rate: Option<f64>,
    /// Examples per micro-batch.
    pub batch: usize,
    /// Micro-batches whose gradients are averaged for one optimiser step.
    pub accumulate: u64,
    /// Precision of matrix products on a CPU.
    pub precision: Precision,
    /// What steps the matrices of hidden layers; everything else is stepped by AdamW.
    pub optimizer: OptimizerConfig,
    /// Peak learning rate.
    pub lr: f64,
    /// Decay rates of AdamW's moments.
    pub betas: [f64; 2],
    /// Added to the square root of AdamW's second moment.
    pub eps: f64,
    /// Decoupled weight decay of parameters of rank 2 and higher.
    pub weight_decay: f64,
    /// Whether weight decay also applies to vectors (biases, gains).
    pub decay_vectors: bool,
    /// Optimiser steps over which the learning rate rises to its peak.
    pub warmup: u64,
    /// Decay of the learning rate after the warm-up.
    pub schedule: LrSchedule,
    /// Largest norm of the gradient over all parameters; larger gradients are scaled down. `None` or `inf` for no
    /// clipping.
    pub clip: Option<f64>,
    /// Exponential moving average of the weights, used to validate and sample; `None` for no average.
    pub ema: Option<EmaConfig>,
    /// Whether the gradients of all loss terms but the first are projected to remove conflicts with the first term's
    /// gradient (PCGrad, see [`pcgrad`](super::gradients::pcgrad)).
    ///
    /// Each term is then differentiated separately: terms may share parameters, but no intermediate results.
    #[serde(alias = "project_conflict")]
    pub pcgrad: bool,
    /// How often loss terms, time buckets and statistics are read back and logged.
    pub log_every: u64,
    /// How often to validate.
    pub validate_every: u64,
    /// How often to draw a sample, see [`Event::Sample`](super::Event::Sample).
    pub sample_every: u64,
    /// How often to write the latest weights and the resume file.
    pub checkpoint_every: u64,
    /// How often to write weights to a file of their own, which later checkpoints do not replace.
    pub keep_every: u64,
    /// Validations without a new lowest loss after which the run ends.
    pub patience: Option<u64>,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            steps: 2000,
            minutes: None,
            usual_rate: None,
            batch: 64,
            accumulate: 1,
            precision: Precision::High,
            optimizer: OptimizerConfig::AdamW {},
            lr: 1e-3,
            betas: [0.9, 0.999],
            eps: 1e-8,
            weight_decay: 0.0,
            decay_vectors: false,
            warmup: 100,
            schedule: LrSchedule::Cosine { final_fraction: 0.0, restart: None },
            clip: Some(1.0),
            ema: None,
            pcgrad: false,
            log_every: 50,
            validate_every: 500,
            sample_every: 0,
            checkpoint_every: 500,
            keep_every: 0,
            patience: None,
        }
    }
}

/// A setting outside its range.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("train.{key} = {found} is out of range: {allowed}")]
pub struct ConfigError {
    /// Path of the key inside the table `train`.
    pub key: &'static str,
    /// Value that was found.
    pub found: String,
    /// Allowed values.
    pub allowed: &'static str,
}

impl From<ConfigError> for SettingError {
    fn from(e: ConfigError) -> Self {
        Self::new(format!("train.{}", e.key), format!("= {} is out of range: {}", e.found, e.allowed))
    }
}

/// Most optimiser steps of a run.
pub(super) const MOST_STEPS: u64 = 1_000_000_000_000;
const POSITIVE: &str = "from 1e-30 to 1e30";

impl TrainConfig {
    /// Checks every setting against its range.
    ///
    /// # Errors
    /// Names the first setting that is out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let check = |ok: bool, key: &'static str, found: f64, allowed: &'static str| {
            if ok { Ok(()) } else { Err(ConfigError { key, found: found.to_string(), allowed }) }
        };
        let positive = |x: f64| (1e-30..=1e30).contains(&x);
        let fraction = |x: f64| (0.0..1.0).contains(&x);
        check((1..=MOST_STEPS).contains(&self.steps), "steps", self.steps as f64, "at least 1 and at most 10^12")?;
        let minutes = self.minutes.unwrap_or(1.0);
        check(positive(minutes) && minutes <= 1e7, "minutes", minutes, "above 0 and at most 10^7")?;
        let rate = self.usual_rate.unwrap_or(1.0);
        check(positive(rate), "usual_rate", rate, POSITIVE)?;
        check((1..=1_000_000).contains(&self.batch), "batch", self.batch as f64, "at least 1 and at most 10^6")?;
        check(
            (1..=100_000).contains(&self.accumulate),
            "accumulate",
            self.accumulate as f64,
            "at least 1 and at most 10^5",
        )?;
        check(positive(self.lr), "lr", self.lr, POSITIVE)?;
        if let OptimizerConfig::Muon(MuonSettings { momentum, iterations }) = self.optimizer {
            check(fraction(momentum), "optimizer.momentum", momentum, "at least 0 and below 1")?;
            check((1..=20).contains(&iterations), "optimizer.iterations", iterations as f64, "from 1 to 20")?;
        }
        for beta in self.betas {
            check(fraction(beta), "betas", beta, "each at least 0 and below 1")?;
        }
        check(positive(self.eps), "eps", self.eps, POSITIVE)?;
        let decay = self.weight_decay;
        check(decay == 0.0 || positive(decay), "weight_decay", decay, "0, or from 1e-30 to 1e30")?;
        let last = self.schedule.final_fraction();
        check((0.0..=1.0).contains(&last), "schedule.final_fraction", last, "from 0 to 1")?;
        if let Some(WarmRestart { at, peak }) = self.schedule.restart() {
            check(at > 0.0 && at < 1.0, "schedule.restart.at", at, "between 0 and 1")?;
            check(positive(peak), "schedule.restart.peak", peak, POSITIVE)?;
        }
        let clip = self.clip.unwrap_or(1.0);
        check(clip == f64::INFINITY || positive(clip), "clip", clip, "from 1e-30 to 1e30, inf for none")?;
        let decay = self.ema.map_or(0.0, |ema| ema.decay);
        check(fraction(decay), "ema.decay", decay, "at least 0 and below 1")?;
        let patience = self.patience.unwrap_or(1);
        check(patience >= 1, "patience", patience as f64, "at least 1; leave it out to never stop early")
    }

    /// Settings of AdamW.
    pub fn adamw(&self) -> AdamWSettings {
        AdamWSettings {
            betas: self.betas,
            eps: self.eps,
            weight_decay: self.weight_decay,
            decay_vectors: self.decay_vectors,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid_and_survive_toml() {
        let config = TrainConfig { ema: Some(EmaConfig::default()), patience: Some(3), ..TrainConfig::default() };
        config.validate().expect("the defaults are valid");
        let text = toml::to_string(&config).expect("plain values");
        assert_eq!(toml::from_str::<TrainConfig>(&text).expect("what was just written"), config);
        assert_eq!(toml::from_str::<TrainConfig>("").expect("everything has a default"), TrainConfig::default());
    }

    #[test]
    fn typos_and_values_out_of_range_are_named() {
        let typo = toml::from_str::<TrainConfig>("step = 5").expect_err("no such key").to_string();
        assert!(typo.contains("step"), "{typo}");
        let foreign = toml::from_str::<TrainConfig>("optimizer = { kind = 'adamw', momentum = 0.9 }");
        assert!(foreign.expect_err("a setting of muon").to_string().contains("momentum"));
        for (text, key) in [
            ("steps = 0", "train.steps = 0"),
            ("minutes = 0.0", "train.minutes"),
            ("minutes = 1e300", "train.minutes"),
            ("steps = 9223372036854775807", "train.steps"),
            ("batch = 1000000000", "train.batch"),
            ("accumulate = 1000000000000", "train.accumulate"),
            ("lr = 1e300", "train.lr"),
            ("eps = 1e-300", "train.eps"),
            ("usual_rate = 0.0", "train.usual_rate"),
            ("batch = 0", "train.batch"),
            ("accumulate = 0", "train.accumulate"),
            ("lr = -1.0", "train.lr = -1"),
            ("optimizer = { kind = 'muon', momentum = 1.0 }", "train.optimizer.momentum = 1"),
            ("optimizer = { kind = 'muon', iterations = 21 }", "train.optimizer.iterations = 21"),
            ("optimizer = { kind = 'muon', iterations = 0 }", "train.optimizer.iterations = 0"),
            ("lr = nan", "train.lr = NaN"),
            ("betas = [0.9, 1.0]", "train.betas = 1"),
            ("eps = 0.0", "train.eps"),
            ("weight_decay = -0.1", "train.weight_decay"),
            ("schedule = { kind = 'cosine', final_fraction = 2.0 }", "train.schedule.final_fraction = 2"),
            ("schedule = { kind = 'cosine', restart = { at = 1.0 } }", "train.schedule.restart.at = 1"),
            ("schedule = { kind = 'cosine', restart = { at = 0.5, peak = 0.0 } }", "train.schedule.restart.peak = 0"),
            ("clip = 0.0", "train.clip"),
            ("ema = { decay = 1.0 }", "train.ema.decay"),
            ("patience = 0", "train.patience"),
        ] {
            let config: TrainConfig = toml::from_str(text).expect("the types are right");
            let error = config.validate().expect_err(text).to_string();
            assert!(error.starts_with(key) && error.contains("out of range: "), "{error}");
        }
        toml::from_str::<TrainConfig>("clip = inf").expect("a number").validate().expect("no clipping");
    }
}
