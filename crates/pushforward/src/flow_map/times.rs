//! Distributions of the times in training.
//!
//! # Examples
//! ```
//! use pushforward::flow_map::times::{TimeDistribution, TimesConfig};
//! use pushforward::rng::{Purpose, stream};
//!
//! let (config, mut random) = (TimesConfig::default(), stream(0, Purpose::Time, 0));
//! // Antithetic: the second half of the times mirrors the first.
//! let t = config.diagonal(6, 27, &mut random);
//! assert!((0..3).all(|i| (t[i] + t[i + 3] - 1.0).abs() < 1e-12));
//! let pairs = config.pairs(6, 27, &mut random);
//! assert!(pairs.s.iter().zip(&pairs.t).all(|(s, t)| 0.0 <= *s && s <= t && *t <= 1.0));
//! // Most times near the data: their median is 1 / (1 + e^-2) = 0.88.
//! let late = TimeDistribution::LogitNormal { mean: 2.0, deviation: 0.5, uniform: 0.0 };
//! let t = TimesConfig { diagonal: late, ..config }.diagonal(100, 27, &mut random);
//! assert_eq!(t.iter().filter(|t| **t > 0.8808).count(), 50);
//! ```

use serde::{Deserialize, Serialize};

use crate::flow_map::warp::TimeWarp;
use crate::rng::Stream;
use crate::setting::{SettingError, fraction, require};
use crate::transport::time::TimePairs;

/// Distribution of a single time, or of the two times of a pair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "distribution", rename_all = "kebab-case", deny_unknown_fields)]
pub enum TimeDistribution {
    /// Uniform on `[0, 1]`; pairs are two sorted draws, uniform on the triangle.
    #[default]
    Uniform,
    /// `t` uniform on `[0, 1]` and `s` uniform on `[0, t]`: short early jumps are more frequent.
    UniformStart,
    /// The logistic function of a normal variable; pairs are two sorted draws.
    LogitNormal {
        /// Mean of the normal.
        mean: f64,
        /// Standard deviation of the normal.
        deviation: f64,
        /// Share of the times that is uniform instead. Jumps that learn from the diagonal need it to be trained at all
        /// times: where it never is, the two drift away together.
        #[serde(default, skip_serializing_if = "is_zero")]
        uniform: f64,
    },
}

fn is_zero(share: &f64) -> bool {
    *share == 0.0
}

impl TimeDistribution {
    /// Checks every setting against its range.
    fn validate(self) -> Result<(), SettingError> {
        let Self::LogitNormal { mean, deviation, uniform } = self else { return Ok(()) };
        fraction("uniform", uniform)?;
        require(mean.abs() <= 100.0, "mean", format_args!("must lie in [-100, 100], found {mean}"))?;
        let problem = format_args!("must be positive and at most 100, found {deviation}");
        require((1e-6..=100.0).contains(&deviation), "deviation", problem)
    }

    /// The time that belongs to a uniform number `u` and a normal number `z`, of which the distribution needs one or both.
    fn at(self, u: f64, z: f64) -> f64 {
        match self {
            Self::Uniform | Self::UniformStart => u,
            Self::LogitNormal { uniform, .. } if u < uniform => u / uniform,
            Self::LogitNormal { mean, deviation, .. } => 1.0 / (1.0 + (-(mean + deviation * z)).exp()),
        }
    }

    /// `n` times. In antithetic mode the second half mirrors the first, `u -> 1 - u`.
    fn times(self, n: usize, antithetic: bool, stream: &mut Stream) -> Vec<f64> {
        let fresh = if antithetic { n.div_ceil(2) } else { n };
        let draws: Vec<(f64, f64)> = (0..fresh).map(|_| (stream.uniform(), stream.normal())).collect();
        let mirrored = draws.iter().map(|&(u, z)| (1.0 - u, -z));
        draws.iter().copied().chain(mirrored).take(n).map(|(u, z)| self.at(u, z)).collect()
    }
}

/// How training draws its times.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TimesConfig {
    /// Distribution of the times of the diagonal objective.
    pub diagonal: TimeDistribution,
    /// Distribution of the pairs `s <= t` of the off-diagonal objective.
    pub pairs: TimeDistribution,
    /// Share of the times of the diagonal objective that are 0. There the endpoint is the law of each site given what is told, which
    /// fills cells, scores by the chain rule and places parts of graphs; other distributions hardly train it.
    #[serde(skip_serializing_if = "is_zero")]
    pub start: f64,
    /// Share of the pairs that are set to `(0, 1)`, the one-step map. Leave it at zero for CSD and ECLD: their target
    /// has no information at that pair, and they then collapse to a single sample.
    pub boundary: f64,
    /// Largest end time of the other pairs; below 1 it excludes the end of the path from the off-diagonal objective.
    pub latest: f64,
    /// Antithetic times, `u` and `1 - u`: lower variance of the gradient at no cost.
    pub antithetic: bool,
    /// Reparametrisation of time for large vocabularies.
    pub warp: TimeWarp,
}

impl Default for TimesConfig {
    fn default() -> Self {
        Self {
            diagonal: TimeDistribution::Uniform,
            pairs: TimeDistribution::Uniform,
            start: 0.0,
            boundary: 0.0,
            latest: 1.0,
            antithetic: true,
            warp: TimeWarp::Identity,
        }
    }
}

impl TimesConfig {
    /// Checks every setting against its range.
    ///
    /// # Errors
    /// Names the key and its allowed values.
    pub fn validate(&self) -> Result<(), SettingError> {
        self.diagonal.validate().map_err(|e| e.within("diagonal"))?;
        self.pairs.validate().map_err(|e| e.within("pairs"))?;
        fraction("start", self.start)?;
        fraction("boundary", self.boundary)?;
        fraction("latest", self.latest)?;
        require(self.latest > 0.0, "latest", "is positive, found 0")
    }

    /// Draws `n` times on the diagonal; `classes` determines the warp.
    pub fn diagonal(&self, n: usize, classes: usize, stream: &mut Stream) -> Vec<f64> {
        let warp = self.warp.table(classes);
        let mut times: Vec<f64> =
            self.diagonal.times(n, self.antithetic, stream).into_iter().map(|u| warp.time(u)).collect();
        if self.start > 0.0 {
            let first = (self.start * n as f64 + stream.uniform()).floor() as usize;
            times[n - first.min(n)..].fill(0.0);
        }
        times
    }

    /// Draws `n` pairs off the diagonal; `classes` determines the warp.
    pub fn pairs(&self, n: usize, classes: usize, stream: &mut Stream) -> TimePairs {
        let warp = self.warp.table(classes);
        let first = self.pairs.times(n, self.antithetic, stream);
        let second = self.pairs.times(n, self.antithetic, stream);
        // The boundary pairs replace the last pairs, so that their choice does not depend on the mirrored draws.
        let forced = (self.boundary * n as f64 + stream.uniform()).floor() as usize;
        let (s, t) = first
            .into_iter()
            .zip(second)
            .enumerate()
            .map(|(i, (a, b))| {
                if i + forced.min(n) >= n {
                    return (0.0, 1.0);
                }
                let (s, t) = match self.pairs {
                    TimeDistribution::UniformStart => (a * b, b),
                    TimeDistribution::Uniform | TimeDistribution::LogitNormal { .. } => (a.min(b), a.max(b)),
                };
                (warp.time(s * self.latest), warp.time(t * self.latest))
            })
            .unzip();
        TimePairs { s, t }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Purpose, stream};

    #[test]
    fn pair_laws() {
        let n = 40_000;
        let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
        for (law, s_mean, t_mean) in [
            (TimeDistribution::Uniform, 1.0 / 3.0, 2.0 / 3.0),
            (TimeDistribution::UniformStart, 0.25, 0.5),
            // Two sorted draws average to one draw; by symmetry of the logistic about a zero mean that is one half.
            (TimeDistribution::LogitNormal { mean: 0.0, deviation: 1.0, uniform: 0.0 }, 0.3835, 0.6165),
            // All times at 1/2 but a third, which is uniform: E min = (4/9) 1/2 + (4/9) 3/8 + (1/9) 1/3.
            (TimeDistribution::LogitNormal { mean: 0.0, deviation: 1e-6, uniform: 1.0 / 3.0 }, 0.4259, 0.5741),
        ] {
            for antithetic in [false, true] {
                let config = TimesConfig { pairs: law, antithetic, ..TimesConfig::default() };
                let pairs = config.pairs(n, 4, &mut stream(1, Purpose::Time, 0));
                assert!(pairs.s.iter().zip(&pairs.t).all(|(s, t)| 0.0 <= *s && s <= t && *t <= 1.0));
                let found = (mean(&pairs.s), mean(&pairs.t));
                assert!((found.0 - s_mean).abs() < 0.01 && (found.1 - t_mean).abs() < 0.01, "{law:?}: {found:?}");
            }
        }
    }

    #[test]
    fn boundary_share_and_latest_time() {
        let config = TimesConfig { boundary: 0.25, latest: 0.9, ..TimesConfig::default() };
        let pairs = config.pairs(1000, 4, &mut stream(1, Purpose::Time, 0));
        let forced = pairs.s.iter().zip(&pairs.t).filter(|(s, t)| **s == 0.0 && **t == 1.0).count();
        assert!((249..=251).contains(&forced), "{forced}");
        assert!(pairs.t.iter().all(|&t| t == 1.0 || t <= 0.9));
    }

    #[test]
    fn a_share_of_the_diagonal_is_at_the_start() {
        let config = TimesConfig { start: 0.125, ..TimesConfig::default() };
        let of = |n: usize, index: u64| config.diagonal(n, 4, &mut stream(1, Purpose::Time, index));
        assert_eq!(of(80, 0).iter().filter(|t| **t == 0.0).count(), 10);
        // A batch of a few has them as often in the long run.
        let few: usize = (0..4000).map(|index| of(2, index).iter().filter(|t| **t == 0.0).count()).sum();
        assert!((900..1100).contains(&few), "{few}");
    }

    #[test]
    fn antithetic_times_mirror() {
        let times = TimesConfig::default().diagonal(10, 4, &mut stream(1, Purpose::Time, 0));
        assert!((0..5).all(|i| (times[i] + times[i + 5] - 1.0).abs() < 1e-12));
    }
}
