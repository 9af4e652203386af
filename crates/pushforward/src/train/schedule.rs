//! Learning-rate schedules.
//!
//! ```text
//! lr(k, p) = lr * min(1, (k + 1) / warmup) * shape(p)
//! cosine:  shape(p) = f + (1 - f) (1 + cos(pi p)) / 2        linear:  shape(p) = 1 - (1 - f) p
//! with a warm restart at `a`:  cosine(p / a) before it, and peak * cosine((p - a) / (1 - a)) from it on
//! ```
//!
//! `k` counts optimiser steps from 0, `p` is the completed fraction of the run and `f` the final fraction. The warm-up
//! is in steps; the shape depends on `p` only, so that it is the same for a length in steps and a length in minutes.
//!
//! # Examples
//! ```
//! use pushforward::train::schedule::LrSchedule;
//!
//! let cosine = LrSchedule::Cosine { final_fraction: 0.1, restart: None };
//! assert_eq!(cosine.factor(0, 4, 0.0), 0.25);
//! assert!((cosine.factor(1000, 4, 0.5) - 0.55).abs() < 1e-12);
//! assert!((cosine.factor(2000, 4, 1.0) - 0.1).abs() < 1e-12);
//! ```

use serde::{Deserialize, Serialize};

/// Decay of the learning rate over a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum LrSchedule {
    /// Constant after the warm-up.
    Constant {},
    /// Half a cosine period, down to `final_fraction` of the peak.
    Cosine {
        /// Learning rate at the end relative to its peak.
        #[serde(default)]
        final_fraction: f64,
        /// A second period.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        restart: Option<WarmRestart>,
    },
    /// Linear, down to `final_fraction` of the peak.
    Linear {
        /// Learning rate at the end relative to its peak.
        #[serde(default)]
        final_fraction: f64,
    },
}

/// Where a schedule begins anew, for what is trained in two phases.
///
/// Reference: SGDR, Stochastic Gradient Descent with Warm Restarts (Loshchilov and Hutter, 2017), arXiv:1608.03983, equation 5.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WarmRestart {
    /// Fraction of the run that lies before it, in (0, 1).
    pub at: f64,
    /// Learning rate with which it begins, relative to the first peak.
    #[serde(default = "one")]
    pub peak: f64,
}

fn one() -> f64 {
    1.0
}

impl LrSchedule {
    /// Learning rate relative to its peak at optimiser step `step`, after the fraction `progress` of the run.
    pub fn factor(&self, step: u64, warmup: u64, progress: f64) -> f64 {
        let warm = if step < warmup { (step + 1) as f64 / warmup as f64 } else { 1.0 };
        let p = progress.clamp(0.0, 1.0);
        let cosine = |f: f64, p: f64| f + (1.0 - f) * 0.5 * (1.0 + (std::f64::consts::PI * p).cos());
        let shape = match *self {
            Self::Constant {} => 1.0,
            Self::Cosine { final_fraction, restart: Some(WarmRestart { at, peak }) } if p >= at => {
                peak * cosine(final_fraction, (p - at) / (1.0 - at))
            }
            Self::Cosine { final_fraction, restart } => cosine(final_fraction, p / restart.map_or(1.0, |r| r.at)),
            Self::Linear { final_fraction: f } => 1.0 - (1.0 - f) * p,
        };
        warm * shape
    }

    /// Where the schedule begins anew.
    pub fn restart(&self) -> Option<WarmRestart> {
        match *self {
            Self::Cosine { restart, .. } => restart,
            Self::Constant {} | Self::Linear { .. } => None,
        }
    }

    /// Learning rate at the end relative to its peak.
    pub fn final_fraction(&self) -> f64 {
        match *self {
            Self::Constant {} => 1.0,
            Self::Cosine { final_fraction, .. } | Self::Linear { final_fraction } => final_fraction,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_forms() {
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
        let cosine = LrSchedule::Cosine { final_fraction: 0.1, restart: None };
        let linear = LrSchedule::Linear { final_fraction: 0.2 };
        for (p, expected) in [(0.0, 1.0), (1.0 / 3.0, 0.775), (0.5, 0.55), (1.0, 0.1), (1.5, 0.1)] {
            close(cosine.factor(9, 0, p), expected);
        }
        for (p, expected) in [(0.0, 1.0), (0.25, 0.8), (1.0, 0.2)] {
            close(linear.factor(9, 0, p), expected);
        }
        close(LrSchedule::Constant {}.factor(5, 0, 0.7), 1.0);
    }

    #[test]
    fn a_warm_restart_begins_a_second_period() {
        let restart = Some(WarmRestart { at: 0.25, peak: 0.5 });
        let schedule = LrSchedule::Cosine { final_fraction: 0.2, restart };
        for (p, expected) in [(0.0, 1.0), (0.125, 0.6), (0.249999999, 0.2), (0.25, 0.5), (0.625, 0.3), (1.0, 0.1)] {
            assert!((schedule.factor(9, 0, p) - expected).abs() < 1e-6, "{p}");
        }
    }

    #[test]
    fn warm_up_reaches_the_peak_at_its_last_step() {
        let factors: Vec<f64> = (0..6).map(|k| LrSchedule::Constant {}.factor(k, 4, 0.0)).collect();
        assert_eq!(factors, [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]);
        assert_eq!(LrSchedule::Linear { final_fraction: 0.0 }.factor(0, 4, 0.5), 0.125);
    }

    #[test]
    fn reads_from_toml_and_refuses_typos() {
        let parse = toml::from_str::<LrSchedule>;
        assert_eq!(
            parse("kind = \"cosine\"").expect("the default final fraction"),
            LrSchedule::Cosine { final_fraction: 0.0, restart: None }
        );
        assert!(parse("kind = \"cosine\"\nfinal_fracton = 0.1").is_err());
        assert!(parse("kind = \"constant\"\nfinal_fraction = 0.1").is_err());
    }
}
