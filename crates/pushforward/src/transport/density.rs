//! Densities of the noised point `z = m + eps xi` under a flow map, by name.
//!
//! | name | what it is |
//! |---|---|
//! | `bound` | a lower bound of `E log p(m + eps xi)` under the stochastic paths of the diagonal, by sampling |
//! | `ode` | `log p(z)` of the differential equation of the diagonal, up to the tolerance of the solver |
//! | `map` | `log p(z)` of the jump, by its Jacobian: exact where the jump is one to one, else below the true value |
//!
//! ```text
//! bound    - int_0^{1/eps} r || m - pi_tt(x_t) ||^2 dr - d/2 log(2 pi e eps^2)
//! ode      d log t* + log N(x_0; 0, I) - int_0^{tau*} ( tr d pi_tt/dx - d ) dtau,    x_{tau*} = t* z
//! map      log N(e; 0, I) - log |det dG/de|,    G(e) = z
//! ```
//!
//! The three are densities of three laws, which agree where the endpoint is exact. The bound also holds for the density
//! of the model blurred once more, `int p(z) N(m; z, eps^2) dz`, at the point m itself.
//!
//! References: Chen et al. 2018, arXiv:1806.07366 (`ode`); Rehman et al. 2025, arXiv:2512.09914 (`map`); the bound as in
//! [`objective`](super::objective).
//!
//! # Examples
//! Before training the map is that of a standard normal `m`, and all agree.
//! ```
//! use pushforward::burn::tensor::{Device, Tensor};
//! use pushforward::rng::{Purpose, stream};
//! use pushforward::transport::VectorMapConfig;
//! use pushforward::transport::density::{Density, log_densities};
//!
//! let map = VectorMapConfig::default().init(2, &Device::flex(), &mut stream(0, Purpose::Init, 0));
//! let z = Tensor::<2>::from_data([[0.5f32, -1.0]], &Device::flex());
//! let variance = 1.0 + 0.5f64 * 0.5;
//! let exact = -(std::f64::consts::TAU * variance).ln() - 0.5 * 1.25 / variance;
//! for name in ["ode", "map"] {
//!     let density: Density = name.parse()?;
//!     let found = log_densities(&map, z.clone(), 0.5, density, 0, 0);
//!     assert!((found.values[0] - exact).abs() < 1e-2 && found.found == [true]);
//! }
//! let bound = log_densities(&map, z, 0.5, Density::Bound { draws: 2000 }, 0, 0);
//! // That of m = z in the mean over the noise: lower by the variance of the noise over twice that of z, per dimension.
//! assert!((bound.values[0] - (exact - 0.25 / variance)).abs() < 5.0 * bound.errors[0] + 0.02);
//! # Ok::<(), String>(())
//! ```

use std::str::FromStr;

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::rng::{Purpose, stream};
use crate::tensor::{from_f32, from_host, indices, to_host};
use crate::transport::change::{comes_back, invert, log_determinants, to_noise_and_traces, unit_vectors};
use crate::transport::map::{Transport, end_time};
use crate::transport::objective::{bound_integral, stratified};

/// `ln(2 pi)`.
const LN_2PI: f64 = 1.837_877_066_409_345_3;

/// A density of a flow map.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Density {
    /// The bound, with so many draws of noise and time for a point.
    Bound {
        /// Number of draws.
        draws: usize,
    },
    /// The differential equation.
    Ode {
        /// Largest change, in nats, when the number of steps is doubled; more by a part in 100 for every nat of the value.
        tolerance: f64,
        /// Number of random directions for the trace; 0 for the exact trace.
        probes: usize,
    },
    /// The jump.
    Map {
        /// Number of jumps.
        jumps: usize,
    },
}

impl Density {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bound { .. } => "bound",
            Self::Ode { .. } => "ode",
            Self::Map { .. } => "map",
        }
    }
}

impl Default for Density {
    /// The differential equation with the exact trace, to a hundredth of a nat.
    fn default() -> Self {
        Self::Ode { tolerance: 1e-2, probes: 0 }
    }
}

impl FromStr for Density {
    type Err = String;

    /// One of `bound`, `ode`, `map` with its default settings.
    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "bound" => Ok(Self::Bound { draws: 64 }),
            "ode" => Ok(Self::default()),
            "map" => Ok(Self::Map { jumps: 1 }),
            _ => Err(format!("a density is one of bound, ode, map, found `{name}`")),
        }
    }
}

/// Log-densities of points, in nats.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PointDensities {
    /// Log-density of every point; minus infinity where the jump has no inverse.
    pub values: Vec<f64>,
    /// Error of every value: that of sampling, and that of the solver, from the last doubling of its steps.
    pub errors: Vec<f64>,
    /// Whether every value was found: for `map` whether the jump was inverted, for `ode` whether the tolerance was reached.
    pub found: Vec<bool>,
}

/// Log-densities of points `[batch, d]`; `bound` takes them as `m`. Random numbers of row i have the index `first + i`.
///
/// # Panics
/// If there are no draws or jumps, or `eps` is not positive.
pub fn log_densities(
    map: &impl Transport,
    z: Tensor<2>,
    eps: f64,
    density: Density,
    seed: u64,
    first: u64,
) -> PointDensities {
    assert!(eps > 0.0, "a path ends with noise, found a scale of {eps}");
    match density {
        Density::Bound { draws } => bound(map, &z, eps, draws, seed, first),
        Density::Ode { tolerance, probes } => ode(map, &z, end_time(eps), tolerance, probes, seed, first),
        Density::Map { jumps } => {
            let (noise, found) = invert(map, &z, end_time(eps), jumps);
            let volumes = log_determinants(map, &noise, end_time(eps), jumps);
            let value = |((base, volume), &found): ((f64, f64), &bool)| {
                if found { base - volume } else { f64::NEG_INFINITY }
            };
            let values = log_standard(&noise).into_iter().zip(volumes).zip(&found).map(value).collect();
            PointDensities { values, errors: vec![0.0; found.len()], found }
        }
    }
}

/// Share of draws of the jump that come back, see [`comes_back`]; the density of `map` is exact where it is 1.
///
/// # Examples
/// ```
/// use pushforward::burn::tensor::{Device, Tensor};
/// use pushforward::rng::{Purpose, stream};
/// use pushforward::transport::VectorMapConfig;
/// use pushforward::transport::density::returning_share;
///
/// let map = VectorMapConfig::default().init(2, &Device::flex(), &mut stream(0, Purpose::Init, 0));
/// let like = Tensor::<1>::zeros([1], &Device::flex());
/// assert_eq!(returning_share(&map, 2, &like, 0.3, 1, 16, 0), 1.0);
/// ```
pub fn returning_share(
    map: &impl Transport,
    d: usize,
    like: &Tensor<1>,
    eps: f64,
    jumps: usize,
    draws: usize,
    seed: u64,
) -> f64 {
    let noise = stream(seed, Purpose::Sample, 0).normals(draws * d);
    let back = comes_back(map, &from_f32(&noise, [draws, d], like), end_time(eps), jumps);
    back.iter().filter(|&&back| back).count() as f64 / draws as f64
}

fn log_standard(x: &Tensor<2>) -> Vec<f64> {
    let d = x.dims()[1];
    let square = |row: &[f64]| row.iter().map(|v| v * v).sum::<f64>();
    to_host(x).chunks(d).map(|row| -0.5 * (square(row) + d as f64 * LN_2PI)).collect()
}

/// Mean of numbers, and its standard error; NaN of a single one.
pub(crate) fn mean_and_error(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
    (mean, if values.len() > 1 { (variance / n).sqrt() } else { f64::NAN })
}

fn bound(map: &impl Transport, m: &Tensor<2>, eps: f64, draws: usize, seed: u64, first: u64) -> PointDensities {
    assert!(draws > 0, "a bound takes at least one draw");
    let [batch, d] = m.dims();
    let (mut xi, mut shares) = (Vec::new(), Vec::new());
    for i in 0..batch as u64 {
        let mut random = stream(seed, Purpose::Likelihood, first + i);
        shares.extend(stratified(1, draws, &mut random));
        xi.extend(random.normals(draws * d));
    }
    let rows = m.clone().reshape([batch, 1, d]).expand([batch, draws, d]).reshape([batch * draws, d]);
    let xi = from_f32(&xi, [batch * draws, d], m);
    let nats = to_host(&bound_integral(map, rows, xi, &shares, eps));
    let entropy = 0.5 * d as f64 * (LN_2PI + 1.0 + 2.0 * eps.ln());
    let (values, errors) = nats.chunks(draws).map(mean_and_error).map(|(mean, error)| (-mean - entropy, error)).unzip();
    PointDensities { values, errors, found: vec![true; batch] }
}

/// Fewest steps of the solver, and for how many numbers of steps it is run at most.
const LEAST: usize = 8;
const DOUBLINGS: u32 = 7;
/// Size of a log-density in nats at which the tolerance is doubled: far away it is one of digits.
const DIGITS: f64 = 100.0;

fn ode(
    map: &impl Transport,
    z: &Tensor<2>,
    end: f64,
    tolerance: f64,
    probes: usize,
    seed: u64,
    first: u64,
) -> PointDensities {
    let [batch, d] = z.dims();
    let directions = if probes == 0 { unit_vectors(z) } else { signs(z, probes, seed, first) };
    // Values and sampling errors of some rows.
    let value = |rows: &[usize], steps: usize| -> Vec<(f64, f64)> {
        let only = |x: &Tensor<2>| {
            let rows: Vec<u32> = rows.iter().map(|&row| row as u32).collect();
            x.clone().select(0, indices(&rows, [rows.len()], &x.device()))
        };
        let directions: Vec<_> = directions.iter().map(only).collect();
        let (noise, traces) = to_noise_and_traces(map, only(z), end, steps, &directions);
        let change = |row: &[f64]| if probes == 0 { (row.iter().sum(), 0.0) } else { mean_and_error(row) };
        let base = log_standard(&noise)
            .into_iter()
            .zip(to_host(&traces).chunks(directions.len()).map(change).collect::<Vec<_>>());
        base.map(|(base, (change, error))| (d as f64 * end.ln() + base - change, error)).collect()
    };
    let mut found =
        PointDensities { values: vec![f64::NAN; batch], errors: vec![f64::INFINITY; batch], found: vec![false; batch] };
    let mut open: Vec<usize> = (0..batch).collect();
    for doubling in 0..DOUBLINGS {
        // Points that are done are not computed again; those at which the solver diverges have no density.
        let now = value(&open, LEAST << doubling);
        open = open
            .into_iter()
            .zip(now)
            .filter_map(|(row, (value, error))| {
                let moved = (value - found.values[row]).abs();
                found.values[row] = if value.is_finite() { value } else { f64::NEG_INFINITY };
                found.errors[row] = moved.hypot(error);
                found.found[row] = moved <= tolerance * (1.0 + value.abs() / DIGITS);
                (value.is_finite() && !found.found[row]).then_some(row)
            })
            .collect();
        if open.is_empty() {
            break;
        }
    }
    found
}

/// Random signs: directions whose `v . J v` is the trace in the mean.
fn signs(like: &Tensor<2>, probes: usize, seed: u64, first: u64) -> Vec<Tensor<2>> {
    let [batch, d] = like.dims();
    let mut random: Vec<_> = (0..batch as u64).map(|i| stream(seed, Purpose::Likelihood, first + i)).collect();
    (0..probes)
        .map(|_| {
            let sign = |bit: usize| if bit == 0 { -1.0 } else { 1.0 };
            let values: Vec<f64> =
                random.iter_mut().flat_map(|s| (0..d).map(|_| sign(s.below(2))).collect::<Vec<_>>()).collect();
            from_host(&values, [batch, d], like)
        })
        .collect()
}
