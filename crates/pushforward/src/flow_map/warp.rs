//! Reparametrisation of time for large vocabularies.
//!
//! With K classes and Gaussian noise, the probability that the largest entry of `x_t` is the true class stays near
//! `1/K` and then rises within a short interval of t; the larger K, the later and shorter is the interval. With uniform
//! times, most of training is spent outside of it. The warp makes the probability rise linearly in the warped time `u`;
//! a mixture with the identity keeps every time in the training distribution.
//!
//! ```text
//! p(t) = E_z[ Phi(z + t/(1-t))^(K-1) ]      u(t) = (1 - mix) t + mix (p(t) - 1/K) / (1 - 1/K)
//! ```
//!
//! References: time warps in FMLM (arXiv:2602.16813) and Discrete Flow Maps (arXiv:2604.09784).
//!
//! # Examples
//! ```
//! use pushforward::flow_map::warp::TimeWarp;
//!
//! let warp = TimeWarp::Decoding { mix: 0.9 }.table(27);
//! assert!(warp.time(0.0) < 1e-6 && warp.time(1.0) == 1.0);
//! // More than half of the warped time lies in the second half of the path.
//! assert!(warp.time(0.5) > 0.5);
//! assert_eq!(TimeWarp::Identity.table(27).time(0.3), 0.3);
//! ```

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use serde::{Deserialize, Serialize};

use crate::transport::time::rate;

/// Reparametrisation of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum TimeWarp {
    /// None.
    #[default]
    Identity,
    /// The probability that the noised point decodes to the true class rises linearly.
    Decoding {
        /// Weight of that warp; the rest is the identity.
        mix: f64,
    },
}

/// Tables by `mix` (its bits) and number of classes.
type Tables = HashMap<(u64, usize), Arc<WarpTable>>;

/// Number of intervals of a table.
const NODES: usize = 2048;

impl TimeWarp {
    /// Table of the warp for variables of `classes` classes; computed once per process.
    pub fn table(self, classes: usize) -> Arc<WarpTable> {
        let TimeWarp::Decoding { mix } = self else { return Arc::new(WarpTable(Vec::new())) };
        static TABLES: OnceLock<Mutex<Tables>> = OnceLock::new();
        let mut tables = TABLES.get_or_init(Mutex::default).lock().expect("no thread panics while it holds the tables");
        let table = tables.entry((mix.to_bits(), classes)).or_insert_with(|| {
            let chance = 1.0 / classes as f64;
            let nodes = (0..=NODES).map(|i| {
                let t = i as f64 / NODES as f64;
                let decoded = (decoding_chance(t, classes) - chance) / (1.0 - chance);
                (1.0 - mix) * t + mix * decoded
            });
            Arc::new(WarpTable(nodes.collect()))
        });
        Arc::clone(table)
    }
}

/// Warped times at equally spaced times; empty for the identity.
#[derive(Debug)]
pub struct WarpTable(Vec<f64>);

impl WarpTable {
    /// The inverse of the warp: the time `t` with `u(t) = u`.
    pub fn time(&self, u: f64) -> f64 {
        if self.0.is_empty() {
            return u;
        }
        let right = self.0.partition_point(|&v| v < u).clamp(1, NODES);
        let (a, b) = (self.0[right - 1], self.0[right]);
        let inside = if b > a { ((u - a) / (b - a)).clamp(0.0, 1.0) } else { 0.0 };
        (right as f64 - 1.0 + inside) / NODES as f64
    }
}

/// Probability `p(t)` that the true class has the largest entry of `x_t`, by the trapezoidal rule.
fn decoding_chance(t: f64, classes: usize) -> f64 {
    if t >= 1.0 {
        return 1.0;
    }
    let r = t * rate(t);
    let (low, high, n) = (-8.0f64, 8.0f64, 400);
    let h = (high - low) / n as f64;
    (0..=n)
        .map(|i| {
            let z = low + h * i as f64;
            let density = (-0.5 * z * z).exp() / std::f64::consts::TAU.sqrt();
            h * density * normal_cdf(z + r).powi(classes as i32 - 1)
        })
        .sum()
}

/// Cumulative distribution function of the standard normal, by its power series.
fn normal_cdf(x: f64) -> f64 {
    // Phi(x) = 1/2 + phi(x) (x + x^3/3 + x^5/15 + ...), which converges for every x; beyond 8 it is 0 or 1 to rounding.
    if x.abs() > 8.0 {
        return if x > 0.0 { 1.0 } else { 0.0 };
    }
    let (mut sum, mut term, mut k) = (x, x, 1.0);
    while term.abs() > 1e-17 * sum.abs() {
        k += 2.0;
        term *= x * x / k;
        sum += term;
    }
    0.5 + sum * (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_classes_have_a_closed_form() {
        // With two classes the difference of the entries is N(t, 2 (1-t)^2): the probability is Phi(r / sqrt 2).
        for t in [0.0, 0.2, 0.5, 0.8] {
            let wanted = normal_cdf(t / (1.0 - t) / std::f64::consts::SQRT_2);
            assert!((decoding_chance(t, 2) - wanted).abs() < 1e-9, "{t}");
        }
        assert!((normal_cdf(1.0) - 0.841_344_746_068_543).abs() < 1e-12);
    }

    #[test]
    fn warp_is_inverted_and_covers_the_interval() {
        let table = TimeWarp::Decoding { mix: 0.9 }.table(50_000);
        assert!(table.time(0.0) < 1e-9 && table.time(1.0) == 1.0);
        for u in [0.1, 0.37, 0.5, 0.93] {
            let t = table.time(u);
            let p = (decoding_chance(t, 50_000) - 2e-5) / (1.0 - 2e-5);
            assert!((0.1 * t + 0.9 * p - u).abs() < 2e-3, "u {u}, t {t}");
        }
        // Large vocabularies decode late: the middle of the warped time lies beyond one half.
        assert!(table.time(0.5) > 0.7);
        assert_eq!(TimeWarp::Identity.table(7).time(0.3), 0.3);
    }
}
