//! Loss formulas, one function each, with no network in sight: logits in, one number per variable out.
//!
//! ```text
//! gamma = (t-s)/(1-s)   C = (1-t) gamma   pi = softmax(z)   dpi = d pi / dt at fixed x_s, s
//! X = x_s + gamma (pi - x_s)              v_t(X) = (pi_tt(X) - X)/(1-t)              sg = stop-gradient
//! ```
//!
//! The teacher's logits `z_tt` at `(X, t, t)` are constants; the student's logits `z` carry their time derivative as tangent.
//! For the true map `pi = pi_tt - C dpi`, the residual of every Lagrangian objective (identity 7 of the derivation: with
//! `X` as above, `(1-t) dX/dt - (pi_tt - X) = pi - pi_tt + C dpi`; no division).
//!
//! References: Roos et al. 2026 (arXiv:2602.12233) for CSD and ECLD; Boffi et al. 2025 (arXiv:2505.18825) for LSD, PSD, ESD;
//! Discrete Flow Maps (arXiv:2604.09784) for the KL forms.
//!
//! # Shapes
//! All functions: logits and points `[batch, sites, classes]`; result `[batch, sites]`.

use burn::tensor::{Int, Tensor};
use serde::{Deserialize, Serialize};

use crate::dual::{Dual, cross_entropy, divergence, entropy, log_softmax, softmax};
use crate::flow_map::time::{TimePairs, column, jump_weight, rate};

/// Which parts of a residual the gradient flows through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GradientPath {
    /// As published: the target is stopped.
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

/// Diagonal objective, variational flow matching: cross-entropy of `softmax(z)` to the data, optionally with label
/// smoothing, target `(1 - smoothing) onehot(x_1) + smoothing / K`. Where not all sites have all classes, `open` is one for the
/// classes that a site has, `[1, sites, classes]`, and `K` their number.
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
/// Only `dX` carries gradient as published, so pi is reached with the factor `1 - gamma` and dpi with `C`: both vanish at
/// `t = 1`, and the one-step map gets no direct gradient. [`GradientPath::Full`] is the same value written
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
/// With `floor = 0` the residual is [`csd`]'s over `(1-t)^2`, and rows with `t = 1`, where it is undefined, count zero.
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
    /// Floor of `1 - t` in `w_t = (1-t)^-2`; `None` for `w_t = 1`.
    pub time_floor: Option<f64>,
    /// Factor of the drift term.
    pub drift: f64,
    /// Power of gamma in the drift term.
    pub gamma_power: i32,
    /// Floor of `1 - s` inside the drift term's gamma; zero for the exact one.
    pub gamma_floor: f64,
    /// Whether the drift is summed over sites while the endpoint term is a mean, which overweights it by their number.
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
    /// The weights behind the name.
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

/// The two terms of endpoint-consistent Lagrangian distillation, endpoint (as KL) and drift, weights included.
///
/// An upper bound of `||dX - v||^2` up to its weights (Pinsker). Its minimiser is biased: the true map leaves both terms
/// positive. The published codes report cross-entropy, larger by the teacher's entropy and of the same gradient;
/// see [`teacher_entropy`].
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

/// Entropy of `softmax(z_tt)` per variable: what separates a cross-entropy to the teacher from the KL.
pub fn teacher_entropy(z_tt: Tensor<3>) -> Tensor<2> {
    entropy(softmax(z_tt))
}

/// Progressive (semigroup) self-distillation: `KL( a pi_su + b pi_ut || pi )`, no derivative.
///
/// ```text
/// u = s + r (t-s)    b = (1-r)(1-s)/(1-u) = (1-r)/(1-r gamma)    a = 1 - b
/// ```
///
/// `pi_su` at `(x_s, s, u)` and `pi_ut` at `(X_{s,u}(x_s), u, t)` are the teacher's, as logits.
pub fn psd(z: Tensor<3>, z_su: Tensor<3>, z_ut: Tensor<3>, pairs: &TimePairs, r: &[f64]) -> Tensor<2> {
    let b: Vec<f64> = pairs.map(jump_weight).iter().zip(r).map(|(&gamma, &r)| second_share(gamma, r)).collect();
    let b = column(&b, &z);
    let target = softmax(z_su) * (b.clone().neg() + 1.0) + softmax(z_ut) * b;
    divergence(target, z)
}

/// The share of the second of two jumps in the endpoint of both, `(1-r)/(1-r gamma)`.
pub fn second_share(gamma: f64, r: f64) -> f64 {
    if r >= 1.0 { 0.0 } else { (1.0 - r) / (1.0 - r * gamma) }
}

/// Lagrangian self-distillation in logits: `KL( softmax(z_tt - log max(1 + C (dz - <pi, dz>), floor)) || pi )`.
///
/// As published nothing flows through the derivative, so `z` may come from one forward pass without tangent and the tangent
/// from another one without gradient. A floor makes the loss non-zero at the true map for unlikely classes.
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
/// The target is the semigroup's for an infinitesimal first jump. `z` carries `Dz` as tangent, taken along `(1-s, pi_ss - x)`
/// on `(s, x)` with `t` fixed; it needs no gradient.
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

/// The unconstrained baseline's diagonal: `|| z - (x_1 - x_0) ||^2`, `z` read as a velocity.
pub fn naive_diagonal(z: Tensor<3>, x0: Tensor<3>, x1: Tensor<3>) -> Tensor<2> {
    squared(z - (x1 - x0))
}

/// The unconstrained baseline off the diagonal, `X = x + (t-s) z`: `|| z + (t-s) dz - sg z_tt ||^2`, logits read as velocities.
pub fn naive(z: Dual<3>, z_tt: Tensor<3>, pairs: &TimePairs) -> Tensor<2> {
    let dz = z.tangent_or_zeros();
    let length = pairs.column(&z.value, |s, t| t - s);
    squared(z.value + dz * length - z_tt)
}

/// Endpoint and its derivative from logits with their derivative.
pub fn endpoint(z: Dual<3>) -> (Tensor<3>, Tensor<3>) {
    let tangent = z.tangent_or_zeros();
    let pi = Dual::new(z.value, tangent).softmax();
    let dpi = pi.tangent_or_zeros();
    (pi.value, dpi)
}

/// The jump `X = x + gamma (pi - x)`.
pub fn jump(x: Tensor<3>, pi: Tensor<3>, gamma: Tensor<3>) -> Tensor<3> {
    x.clone() + (pi - x) * gamma
}

/// `C = (1-t) gamma`, the weight of the endpoint's drift.
pub fn drift_weight(s: f64, t: f64) -> f64 {
    (1.0 - t) * jump_weight(s, t)
}

/// `1 / max(1 - t, floor)`, zero where that is undefined.
fn floored_rate(t: f64, floor: f64) -> f64 {
    rate(t.min(1.0 - floor))
}
