//! Objectives of flow maps of vectors: a bound of the likelihood on the diagonal, self-distillation off it.
//!
//! ```text
//! diagonal     int_0^{1/eps} r || m - pi_tt(x_t) ||^2 dr,   r = t/(1-t)
//! off it       1/b^2 || residual ||^2,   b = (1-s)/sigma_s:    psd    pi - sg[ (1-beta) pi_su + beta pi_ut ]
//!                                                              csd    pi - sg[ pi_tt(X) ] + C dpi/dt
//!                                                              esd    pi - sg[ gamma (pi + D pi) + (1-gamma) pi_ss ]
//!              || dX/dt - sg[ v_t(X) ] ||^2:                   lsd    (the residual of csd over 1-t)
//! ```
//!
//! with `beta` of [`second_share`], `C` of [`drift_weight`] and `D = (1-s) d/ds + (pi_ss - x) d/dx`. The integral is the
//! relative entropy of the noised paths of `m` and those of the model: an upper bound of
//! `E[-log p(m + eps xi)] - d/2 log(2 pi e eps^2)`, with equality where the endpoint is `E[m | x_t]` (Kingma et al. 2021,
//! arXiv:2107.00630, ended at `r = 1/eps` as in Heek et al. 2026, arXiv:2602.17270). Its time is drawn uniformly in
//! `log(1 + r^2)`, for which the integrand of standard normal data is constant.
//!
//! The losses off the diagonal are those of the categorical maps without softmax: Boffi et al. 2025, arXiv:2505.18825;
//! Roos et al. 2026, arXiv:2602.12233.
//!
//! # Examples
//! For a standard normal `m` the mean of the bound is `1/2 log(1 + 1/eps^2)` a dimension, whatever the time.
//! ```
//! use pushforward::burn::tensor::{Device, Tensor};
//! use pushforward::rng::{Purpose, stream};
//! use pushforward::tensor::{from_f32, to_host};
//! use pushforward::transport::VectorMapConfig;
//! use pushforward::transport::objective::{bound_integral, stratified};
//!
//! let mut random = stream(0, Purpose::Init, 0);
//! let map = VectorMapConfig::default().init(1, &Device::flex(), &mut random);
//! let rows = |random: &mut pushforward::rng::Stream| {
//!     from_f32(&random.normals(4000), [4000, 1], &Tensor::<1>::zeros([1], &Device::flex()))
//! };
//! let (m, xi, shares) = (rows(&mut random), rows(&mut random), stratified(4000, 1, &mut random));
//! let nats = to_host(&bound_integral(&map, m, xi, &shares, 0.5)).iter().sum::<f64>() / 4000.0;
//! assert!((nats - 0.5 * 5f64.ln()).abs() < 0.05);
//! ```

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::dual::Dual;
use crate::rng::Stream;
use crate::setting::{SettingError, fraction, not_negative, size};
use crate::tensor::vector;
use crate::transport::jumps::{drift_weight, jump, second_share};
use crate::transport::map::{Transport, end_time};
use crate::transport::time::{TimePairs, column, jump_weight, rate};

/// Most draws of noise and time for a vector.
const MOST_DRAWS: usize = 4096;

/// Objectives off the diagonal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MapObjective {
    /// None: the diagonal alone, sampled along its differential equation.
    None,
    /// Progressive self-distillation, the semigroup identity; needs no derivative.
    #[default]
    Psd,
    /// The Lagrangian residual scaled by `1-t`.
    Csd,
    /// The unscaled Lagrangian residual.
    Lsd,
    /// The Eulerian residual.
    Esd,
}

/// Settings of the training of a flow map of vectors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MapObjectiveConfig {
    /// Draws of noise and time for every vector, on the diagonal.
    pub draws: usize,
    /// The objective off the diagonal.
    pub off_diagonal: MapObjective,
    /// Its weight.
    pub weight: f64,
    /// Share of the pairs of times that are set to the jump over the whole path.
    pub boundary: f64,
}

impl Default for MapObjectiveConfig {
    fn default() -> Self {
        Self { draws: 4, off_diagonal: MapObjective::default(), weight: 1.0, boundary: 0.25 }
    }
}

impl MapObjectiveConfig {
    /// Checks the settings against their ranges.
    ///
    /// # Errors
    /// Names the key and its allowed values.
    pub fn validate(&self) -> Result<(), SettingError> {
        size("draws", self.draws, 1..=MOST_DRAWS)?;
        not_negative("weight", self.weight)?;
        fraction("boundary", self.boundary)
    }
}

/// The ratio `r = t/(1-t)` of signal to noise at a share of `log(1 + r^2)`.
fn ratio(share: f64, eps: f64) -> f64 {
    (share * (1.0 / (eps * eps)).ln_1p()).exp_m1().sqrt()
}

/// The time at a share of `log(1 + r^2)`.
pub(super) fn time_of(share: f64, eps: f64) -> f64 {
    let r = ratio(share, eps);
    r / (1.0 + r)
}

/// Shares in `[0, 1)` for `draws` draws of each of `items` vectors, the draws of a vector next to each other: one in every
/// `1/draws` of the interval, and evenly spread over the vectors.
pub fn stratified(items: usize, draws: usize, stream: &mut Stream) -> Vec<f64> {
    let offset = stream.uniform();
    let share = |i: usize, k: usize| (k as f64 + (offset + i as f64 / items as f64).fract()) / draws as f64;
    (0..items).flat_map(|i| (0..draws).map(move |k| share(i, k))).collect()
}

/// An estimate of the integral `int_0^{1/eps} r || m - pi_tt(x_t) ||^2 dr` for every row, in nats, without bias if the shares
/// are uniform.
///
/// # Shapes
/// - `m`, `xi`: `[rows, d]`
/// - `shares`: one share of `log(1 + r^2)` per row, in `[0, 1]`
/// - output: `[rows]`
pub fn bound_integral(map: &impl Transport, m: Tensor<2>, xi: Tensor<2>, shares: &[f64], eps: f64) -> Tensor<1> {
    let t: Vec<f64> = shares.iter().map(|&share| time_of(share, eps)).collect();
    let x = column(&t, &m) * m.clone() + (column(&t, &m).neg() + 1.0) * xi;
    let time = vector(&t, &m);
    let pi = map.endpoint(x.into(), time.clone().into(), time.into()).value;
    let length = 0.5 * (1.0 / (eps * eps)).ln_1p();
    let weight: Vec<f64> = shares.iter().map(|&share| length * (1.0 + ratio(share, eps).powi(2))).collect();
    squared(m.clone() - pi) * vector(&weight, &m)
}

/// Pairs of times `s <= t <= t*`, uniform in `log(1 + r^2)`; a share of them is `(0, t*)`.
pub fn pairs(n: usize, eps: f64, boundary: f64, stream: &mut Stream) -> TimePairs {
    let whole = (boundary * n as f64 + stream.uniform()).floor() as usize;
    let (s, t) = (0..n)
        .map(|i| {
            let (a, b) = (stream.uniform(), stream.uniform());
            if i < whole { (0.0, end_time(eps)) } else { (time_of(a.min(b), eps), time_of(a.max(b), eps)) }
        })
        .unzip();
    TimePairs { s, t }
}

/// The loss off the diagonal for every row; `teacher` is the map without gradients.
///
/// # Shapes
/// - `m`, `xi`: `[rows, d]`, without gradients
/// - output: `[rows]`
///
/// # Examples
/// The exact map of a standard normal `m` has no loss.
/// ```
/// use pushforward::burn::tensor::{Device, Tensor};
/// use pushforward::rng::{Purpose, stream};
/// use pushforward::tensor::to_host;
/// use pushforward::transport::objective::{off_diagonal, pairs};
/// use pushforward::transport::{MapObjective, VectorMapConfig};
///
/// let mut random = stream(0, Purpose::Init, 0);
/// let map = VectorMapConfig::default().init(2, &Device::flex(), &mut random);
/// let (m, xi) = (Tensor::ones([3, 2], &Device::flex()), Tensor::zeros([3, 2], &Device::flex()));
/// let times = pairs(3, 0.2, 0.4, &mut random);
/// for objective in [MapObjective::Psd, MapObjective::Csd, MapObjective::Lsd, MapObjective::Esd] {
///     let loss = off_diagonal(&map, &map, m.clone(), xi.clone(), &times, objective, &mut random);
///     assert!(to_host(&loss).iter().all(|loss| *loss < 1e-6), "{objective:?}");
/// }
/// ```
pub fn off_diagonal<S: Transport, T: Transport>(
    student: &S,
    teacher: &T,
    m: Tensor<2>,
    xi: Tensor<2>,
    pairs: &TimePairs,
    objective: MapObjective,
    stream: &mut Stream,
) -> Tensor<1> {
    let TimePairs { s, t } = pairs;
    let m = m.inner();
    let x = pairs.column(&m, |s, _| s) * m.clone() + pairs.column(&m, |s, _| 1.0 - s) * xi.inner();
    let times = |values: &[f64]| Dual::from(vector(values, &x));
    let taught = |x: Tensor<2>, s: &[f64], t: &[f64]| teacher.endpoint(x.into(), times(s), times(t)).value.inner();
    // One over the variance of the endpoint of standard normal data.
    let precision = pairs.map(|s, _| (s * s + (1.0 - s) * (1.0 - s)) * rate(s).powi(2));
    let gamma = pairs.column(&x, jump_weight);
    let value = || student.endpoint(x.clone().into(), times(s), times(t)).value;
    match objective {
        MapObjective::None => vector(&vec![0.0; s.len()], &x),
        MapObjective::Psd => {
            let r: Vec<f64> = s.iter().map(|_| stream.uniform().clamp(1e-3, 1.0 - 1e-3)).collect();
            let u: Vec<f64> = (0..r.len()).map(|i| s[i] + r[i] * (t[i] - s[i])).collect();
            let first = taught(x.clone(), s, &u);
            let to_u: Vec<f64> = s.iter().zip(&u).map(|(&s, &u)| jump_weight(s, u)).collect();
            let second = taught(jump(x.clone(), first.clone(), column(&to_u, &x)), &u, t);
            let beta: Vec<f64> = pairs.map(jump_weight).iter().zip(&r).map(|(&g, &r)| second_share(g, r)).collect();
            let target = jump(first, second, column(&beta, &x));
            squared(value() - target) * vector(&precision, &x)
        }
        MapObjective::Csd | MapObjective::Lsd => {
            let t_dual = Dual::new(vector(t, &x), vector(&vec![1.0; t.len()], &x));
            let pi = student.endpoint(x.clone().into(), times(s), t_dual);
            let arrived = jump(x.clone(), pi.value.clone().detach().inner(), gamma);
            let residual =
                pi.value.clone() - taught(arrived, t, t) + pi.tangent_or_zeros() * pairs.column(&x, drift_weight);
            let weight = if objective == MapObjective::Csd { precision } else { pairs.map(|_, t| rate(t).powi(2)) };
            squared(residual) * vector(&weight, &x)
        }
        MapObjective::Esd => {
            let still = taught(x.clone(), s, s);
            let ds = Dual::new(vector(s, &x), vector(&pairs.map(|s, _| 1.0 - s), &x));
            let along = teacher.endpoint(Dual::new(x.clone(), still.clone() - x.clone()), ds, times(t));
            let moved = (along.value.clone() + along.tangent_or_zeros()).inner();
            let target = jump(still, moved, gamma);
            squared(value() - target) * vector(&precision, &x)
        }
    }
}

/// `|| x ||^2` of every row.
fn squared(x: Tensor<2>) -> Tensor<1> {
    let [rows, _] = x.dims();
    (x.clone() * x).sum_dim(1).reshape([rows])
}
