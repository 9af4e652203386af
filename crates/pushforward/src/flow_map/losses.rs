//! Loss formulas, one function each, on logits; no network is needed.
//!
//! ```text
//! gamma = (t-s)/(1-s)   C = (1-t) gamma   pi = softmax(z)   dpi = d pi / dt at fixed x_s, s
//! X = x_s + gamma (pi - x_s)              v_t(X) = (pi_tt(X) - X)/(1-t)              sg = stop-gradient
//! ```
//!
//! The teacher's logits `z_tt` at `(X, t, t)` are constants; the student's logits `z` carry their time derivative as
//! tangent. For the true map `pi = pi_tt - C dpi`, the residual of every Lagrangian objective (identity 7 of the
//! derivation: with `X` as above, `(1-t) dX/dt - (pi_tt - X) = pi - pi_tt + C dpi`; no division).
//!
//! References: Roos et al. 2026 (arXiv:2602.12233) for CSD and ECLD; Boffi et al. 2025 (arXiv:2505.18825) for LSD, PSD,
//! ESD; Discrete Flow Maps (arXiv:2604.09784) for the KL forms.
//!
//! # Shapes
//! All functions: logits and points `[batch, sites, classes]`; result `[batch, sites]`, in nats for cross-entropy and
//! KL.
//!
//! # Examples
//! A network that does not depend on time and a teacher that agrees with it: the Lagrangian residual is zero.
//! ```
//! use pushforward::burn::tensor::{Device, Tensor};
//! use pushforward::flow_map::losses::{GradientPath, csd};
//! use pushforward::flow_map::time::TimePairs;
//! use pushforward::tensor::to_host;
//!
//! let z = Tensor::<3>::from_data([[[0.3f32, -0.2, 0.1]]], &Device::flex());
//! let pairs = TimePairs { s: vec![0.2], t: vec![0.7] };
//! let loss = csd(z.clone().into(), z.clone(), z.zeros_like(), &pairs, GradientPath::Full);
//! assert_eq!(to_host(&loss), [0.0]);
//! let other = csd(z.clone().into(), z.zeros_like(), z.zeros_like(), &pairs, GradientPath::Full);
//! assert!(to_host(&other)[0] > 0.0);
//! ```
//!
//! So are the losses in logits and that of the unconstrained baseline.
//! ```
//! use pushforward::burn::tensor::{Device, Tensor};
//! use pushforward::flow_map::losses::{GradientPath, drift_weight, esd_logit, lsd_logit, naive, naive_diagonal};
//! use pushforward::flow_map::time::TimePairs;
//! use pushforward::tensor::to_host;
//!
//! let z = Tensor::<3>::from_data([[[0.3f32, -0.2, 0.1]]], &Device::flex());
//! let pairs = TimePairs { s: vec![0.2], t: vec![0.7] };
//! let nats = [
//!     lsd_logit(z.clone().into(), z.clone(), &pairs, 0.0, GradientPath::Published),
//!     esd_logit(z.clone().into(), z.clone(), &pairs, 0.0),
//! ];
//! assert!(nats.iter().all(|loss| to_host(loss)[0].abs() < 1e-6));
//! assert_eq!(to_host(&naive(z.clone().into(), z.clone(), &pairs)), [0.0]);
//! // The velocity of a straight line from `x_0 = -z` to `x_1 = z` is `2 z`.
//! assert_eq!(to_host(&naive_diagonal(z.clone() * 2.0, z.clone().neg(), z)), [0.0]);
//! // The one-step map learns nothing from the drift of the endpoint.
//! assert_eq!(drift_weight(0.0, 1.0), 0.0);
//! ```

use burn::tensor::{Int, Tensor};
use serde::{Deserialize, Serialize};

use crate::dual::{Dual, cross_entropy, divergence, entropy, log_softmax, softmax};
pub use crate::transport::jumps::{drift_weight, jump, second_share};
use crate::transport::time::{TimePairs, column, jump_weight, rate};

/// Where the gradient of a residual flows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GradientPath {
    /// As published: with a stop-gradient on the target.
    #[default]
    Published,
    /// Through every occurrence of the student.
    Full,
}

/// Sums the last axis: `[batch, sites, classes]` to `[batch, sites]`.
fn over_classes(x: Tensor<3>) -> Tensor<2> {
    x.sum_dim(2).squeeze_dim(2)
}

fn squared(x: Tensor<3>) -> Tensor<2> {
    over_classes(x.clone() * x)
}

/// Diagonal objective, variational flow matching: cross-entropy of `softmax(z)` to the data.
///
/// With label smoothing the target is `(1 - smoothing) onehot(x_1) + smoothing / K`. If sites have different numbers of
/// classes, `open` is one for the classes that a site can have, `[1 or batch, sites, classes]`, and `K` is their
/// number; other classes have the logits of masked ones.
///
/// # Shapes
/// - `z`: `[batch, sites, classes]`
/// - `x1`, output: `[batch, sites]`
///
/// # Examples
/// A uniform prediction has loss `ln K`, for any smoothing.
/// ```
/// use pushforward::burn::tensor::{Device, Tensor};
/// use pushforward::flow_map::losses::vfm;
/// use pushforward::tensor::{indices, to_host};
///
/// let device = Device::flex();
/// let loss = vfm(Tensor::zeros([1, 2, 3], &device), indices(&[0, 2], [1, 2], &device), 0.1, None);
/// assert!(to_host(&loss).iter().all(|nats| (nats - 3f64.ln()).abs() < 1e-6));
/// ```
pub fn vfm(z: Tensor<3>, x1: Tensor<2, Int>, smoothing: f64, open: Option<&Tensor<3>>) -> Tensor<2> {
    let hit = cross_entropy(x1, z.clone());
    if smoothing == 0.0 {
        return hit;
    }
    let log_pi = log_softmax(z);
    let mean = match open {
        Some(open) => over_classes(log_pi * (open.clone() / open.clone().sum_dim(2))),
        None => log_pi.mean_dim(2).squeeze_dim(2),
    };
    hit * (1.0 - smoothing) - mean * smoothing
}

/// Categorical self-distillation, the time-scaled Lagrangian residual.
///
/// ```text
/// || (1-t) dX - (pi_tt - sg X) ||^2       with (1-t) dX = (1-gamma)(pi - x_s) + C dpi
/// ```
///
/// As published, the gradient flows through `dX` only: to pi with the factor `1 - gamma` and to dpi with `C`. Both are
/// zero at `t = 1`, so the one-step map gets no direct gradient. [`GradientPath::Full`] has the same value, written as
/// `|| pi - pi_tt + C dpi ||^2`.
pub fn csd(z: Dual<3>, z_tt: Tensor<3>, x_s: Tensor<3>, pairs: &TimePairs, path: GradientPath) -> Tensor<2> {
    let (pi, dpi) = endpoint(z);
    let (gamma, c) = (pairs.column(&x_s, jump_weight), pairs.column(&x_s, drift_weight));
    let pi_tt = softmax(z_tt);
    let residual = match path {
        GradientPath::Full => pi - pi_tt + dpi * c,
        GradientPath::Published => {
            let stopped = pi_tt - jump(x_s.clone(), pi.clone().detach(), gamma.clone()); // sg
            (pi - x_s) * (gamma.neg() + 1.0) + dpi * c - stopped
        }
    };
    squared(residual)
}

/// Lagrangian self-distillation without time scaling: `|| dX - (pi_tt - sg X) / max(1-t, floor) ||^2`.
///
/// With `floor = 0` the loss is that of [`csd`] divided by `(1-t)^2`; examples with `t = 1`, where it is undefined,
/// give 0.
pub fn lsd(z: Dual<3>, z_tt: Tensor<3>, x_s: Tensor<3>, pairs: &TimePairs, floor: f64) -> Tensor<2> {
    let (pi, dpi) = endpoint(z);
    let gamma = pairs.column(&x_s, jump_weight);
    let stopped = softmax(z_tt) - jump(x_s.clone(), pi.clone().detach(), gamma.clone()); // sg
    let slope = (pi - x_s.clone()) * pairs.column(&x_s, |s, _| rate(s)) + dpi * gamma;
    let residual = slope - stopped * pairs.column(&x_s, |_, t| floored_rate(t, floor));
    let counted = column(&pairs.map(|_, t| f64::from(floor > 0.0 || t < 1.0)), &x_s);
    squared(residual * counted)
}

/// The weights of an ECLD loss.
///
/// ```text
/// endpoint w_t D(sg pi_tt || pi) + drift g ||dpi||^2        D: cross-entropy or KL (same gradient)
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EcldWeights {
    /// Factor of the endpoint term.
    pub endpoint: f64,
    /// Lower bound of `1 - t` in `w_t = (1-t)^-2`; `None` for `w_t = 1`.
    pub time_floor: Option<f64>,
    /// Factor of the drift term.
    pub drift: f64,
    /// Power of gamma in the drift term, `g = gamma^power`.
    pub gamma_power: i32,
    /// Lower bound of `1 - s` in the gamma of the drift term; zero for the exact gamma.
    pub gamma_floor: f64,
    /// Whether the drift term is summed over sites although the endpoint term is a mean: its weight is then multiplied
    /// by the number of sites.
    pub drift_sums_sites: bool,
}

/// Published weightings of ECLD, by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EcldPreset {
    /// The bound with `w_t = 1`, which the authors report as the most stable: `4 D + 2 gamma^2 ||dpi||^2`.
    #[default]
    Paper,
    /// The bound as derived, `4 D / max(1-t, 0.05)^2 + 2 gamma^2 ||dpi||^2`.
    PaperTime,
    /// The graph code: `4 D + 2 g ||dpi||^2`, `g = (t-s)/max(1-s, 0.05)` and not squared.
    Graph,
    /// The same with the exact gamma.
    GraphExact,
    /// The text code: both factors 1, and the drift summed over sites.
    Text,
}

impl EcldPreset {
    /// The weights that the name stands for.
    pub fn weights(self) -> EcldWeights {
        let paper = EcldWeights {
            endpoint: 4.0,
            time_floor: None,
            drift: 2.0,
            gamma_power: 2,
            gamma_floor: 0.0,
            drift_sums_sites: false,
        };
        match self {
            Self::Paper => paper,
            Self::PaperTime => EcldWeights { time_floor: Some(0.05), ..paper },
            Self::Graph => EcldWeights { gamma_power: 1, gamma_floor: 0.05, ..paper },
            Self::GraphExact => EcldWeights { gamma_power: 1, ..paper },
            Self::Text => EcldWeights { endpoint: 1.0, drift: 1.0, drift_sums_sites: true, ..paper },
        }
    }
}

/// The two terms of endpoint-consistent Lagrangian distillation, endpoint (as KL) and drift, each with its weight.
///
/// Up to the weights, their sum is an upper bound of `||dX - v||^2` (Pinsker's inequality). Its minimiser is biased:
/// both terms are positive at the true map. The published codes report a cross-entropy instead of the KL; it is larger
/// by the teacher's entropy ([`teacher_entropy`]) and has the same gradient.
///
/// # Examples
/// The cross-entropy of any teacher to a uniform student is `ln K`.
/// ```
/// use pushforward::burn::tensor::{Device, Tensor};
/// use pushforward::flow_map::losses::{EcldPreset, EcldWeights, ecld, teacher_entropy};
/// use pushforward::flow_map::time::TimePairs;
/// use pushforward::tensor::to_host;
///
/// let z_tt = Tensor::<3>::from_data([[[2.0f32, -1.0, 0.5]]], &Device::flex());
/// let pairs = TimePairs { s: vec![0.2], t: vec![0.7] };
/// let weights = EcldWeights { endpoint: 1.0, ..EcldPreset::Paper.weights() };
/// let (kl, drift) = ecld(z_tt.zeros_like().into(), z_tt.clone(), &pairs, &weights);
/// assert!((to_host(&(kl + teacher_entropy(z_tt)))[0] - 3f64.ln()).abs() < 1e-6);
/// assert_eq!(to_host(&drift), [0.0]); // the student does not depend on time
/// ```
pub fn ecld(z: Dual<3>, z_tt: Tensor<3>, pairs: &TimePairs, weights: &EcldWeights) -> (Tensor<2>, Tensor<2>) {
    let logits = z.value.clone();
    let (_, dpi) = endpoint(z);
    let sites = if weights.drift_sums_sites { logits.dims()[1] as f64 } else { 1.0 };
    let w_t = pairs.column(&logits, |_, t| weights.time_floor.map_or(1.0, |floor| (1.0 - t).max(floor).powi(-2)));
    let g = pairs.column(&logits, |s, t| {
        let gamma =
            if weights.gamma_floor > 0.0 { (t - s) * floored_rate(s, weights.gamma_floor) } else { jump_weight(s, t) };
        gamma.powi(weights.gamma_power)
    });
    let distance = divergence(softmax(z_tt), logits) * w_t.squeeze_dim(2) * weights.endpoint;
    (distance, squared(dpi) * g.squeeze_dim(2) * (weights.drift * sites))
}

/// Entropy of `softmax(z_tt)` per variable, in nats: the difference between the cross-entropy to the teacher and the
/// KL.
pub fn teacher_entropy(z_tt: Tensor<3>) -> Tensor<2> {
    entropy(softmax(z_tt))
}

/// Progressive (semigroup) self-distillation: `KL( a pi_su + b pi_ut || pi )`; needs no derivative.
///
/// ```text
/// u = s + r (t-s)    b = (1-r)(1-s)/(1-u) = (1-r)/(1-r gamma)    a = 1 - b
/// ```
///
/// The teacher's logits `z_su` at `(x_s, s, u)` and `z_ut` at `(X_{s,u}(x_s), u, t)` give `pi_su` and `pi_ut`; `r` has
/// one value per example.
///
/// # Examples
/// If both short jumps have the endpoint of the long one, the loss is zero.
/// ```
/// use pushforward::burn::tensor::{Device, Tensor};
/// use pushforward::flow_map::losses::psd;
/// use pushforward::flow_map::time::TimePairs;
/// use pushforward::tensor::to_host;
///
/// let z = Tensor::<3>::from_data([[[0.3f32, -0.2, 0.1]]], &Device::flex());
/// let pairs = TimePairs { s: vec![0.2], t: vec![0.7] };
/// assert!(to_host(&psd(z.clone(), z.clone(), z, &pairs, &[0.5]))[0].abs() < 1e-6);
/// ```
pub fn psd(z: Tensor<3>, z_su: Tensor<3>, z_ut: Tensor<3>, pairs: &TimePairs, r: &[f64]) -> Tensor<2> {
    let b: Vec<f64> = pairs.map(jump_weight).iter().zip(r).map(|(&gamma, &r)| second_share(gamma, r)).collect();
    let b = column(&b, &z);
    let target = softmax(z_su) * (b.clone().neg() + 1.0) + softmax(z_ut) * b;
    divergence(target, z)
}

/// Lagrangian self-distillation in logits: `KL( softmax(z_tt - log max(1 + C (dz - <pi, dz>), floor)) || pi )`.
///
/// As published, no gradient flows through the derivative, so the value of `z` may come from a forward pass without
/// tangent and the tangent from another pass without gradient. A positive `floor` makes the loss non-zero at the true
/// map for unlikely classes.
pub fn lsd_logit(z: Dual<3>, z_tt: Tensor<3>, pairs: &TimePairs, floor: f64, path: GradientPath) -> Tensor<2> {
    let logits = z.value.clone();
    let dz = z.tangent_or_zeros();
    let pi = softmax(logits.clone());
    let mean = (pi * dz.clone()).sum_dim(2);
    let argument = (dz - mean) * pairs.column(&logits, drift_weight) + 1.0;
    let target = softmax(z_tt - argument.clamp_min(floor).log());
    let target = if path == GradientPath::Published { target.detach() } else { target }; // sg
    divergence(target, logits)
}

/// Eulerian self-distillation in logits.
///
/// ```text
/// D = (1-s) (d/ds + v_s . d/dx)          the derivative along (1-s, pi_ss - x): no division
/// (1-gamma)(pi - pi_ss) = gamma D pi     for the true map
/// KL( sg[ gamma pi max(1 + Dz - <pi, Dz>, floor) + (1-gamma) pi_ss ] / norm || pi )
/// ```
///
/// The target is that of [`psd`] for an infinitesimal first jump. The tangent of `z` is `Dz`, the derivative along
/// `(1-s, pi_ss - x)` in `(s, x)` with `t` fixed; it needs no gradient.
pub fn esd_logit(z: Dual<3>, z_ss: Tensor<3>, pairs: &TimePairs, floor: f64) -> Tensor<2> {
    let logits = z.value.clone();
    let dz = z.tangent_or_zeros().detach();
    let pi = softmax(logits.clone().detach());
    let mean = (pi.clone() * dz.clone()).sum_dim(2);
    let gamma = pairs.column(&logits, jump_weight);
    let moved = pi * (dz - mean + 1.0).clamp_min(floor);
    let target = moved * gamma.clone() + softmax(z_ss) * (gamma.neg() + 1.0);
    let norm = target.clone().sum_dim(2);
    divergence(target / norm, logits) // sg: nothing in the target is tracked
}

/// Diagonal objective of the unconstrained baseline: `|| z - (x_1 - x_0) ||^2`, where `z` is a velocity.
pub fn naive_diagonal(z: Tensor<3>, x0: Tensor<3>, x1: Tensor<3>) -> Tensor<2> {
    squared(z - (x1 - x0))
}

/// The unconstrained baseline off the diagonal, `X = x + (t-s) z`: `|| z + (t-s) dz - sg z_tt ||^2`, logits read as
/// velocities.
pub fn naive(z: Dual<3>, z_tt: Tensor<3>, pairs: &TimePairs) -> Tensor<2> {
    let dz = z.tangent_or_zeros();
    let length = pairs.column(&z.value, |s, t| t - s);
    squared(z.value + dz * length - z_tt)
}

/// The endpoint `pi = softmax(z)` and its derivative `dpi`, from logits with their derivative as tangent.
pub fn endpoint(z: Dual<3>) -> (Tensor<3>, Tensor<3>) {
    let tangent = z.tangent_or_zeros();
    let pi = Dual::new(z.value, tangent).softmax();
    let dpi = pi.tangent_or_zeros();
    (pi.value, dpi)
}

/// `1 / max(1 - t, floor)`; zero where it is undefined.
fn floored_rate(t: f64, floor: f64) -> f64 {
    rate(t.min(1.0 - floor))
}
