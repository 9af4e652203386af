//! Invertible maps with the logarithm of their Jacobian determinant, and their composition: normalising flows.
//!
//! ```text
//! z = f(x)      log p(x) = log N(z; 0, I) + ladj(x)      ladj(x) = log |det df/dx|
//! ```
//!
//! `forward` goes from data to latent, `inverse` back; every map computes its value and its log-determinant together, and
//! `inverse_and_ladj` gives the log-determinant of the inverse, which is minus the forward one. Points are rows of
//! `[batch, features]`. Maps of images read their features as a row-major `[channels, height, width]`.
//!
//! A recipe spells a flow with [`FlowConfig`]; by hand, a [`Flow`] is a list of [`FlowStep`]s. Reading order: `affine`, `logit`, `act_norm`,
//! `permutation`; `elementwise` and `spline` (maps of single numbers), `conditioner` (the networks that choose them), `autoregressive`,
//! `coupling`; `tar_flow`; `lu_linear`, `orthogonal`, `haar`, `multi_scale`; `flow`, `config`.
//!
//! References: Rezende, Mohamed 2015 (arXiv:1505.05770); Papamakarios et al. 2021 (arXiv:1912.02762).

mod act_norm;
mod affine;
mod autoregressive;
mod conditioner;
mod config;
mod coupling;
mod elementwise;
mod flow;
mod haar;
mod logit;
mod lu_linear;
mod multi_scale;
mod orthogonal;
mod permutation;
mod spline;
mod tar_flow;
mod triangular;

use burn::module::Module;
use burn::tensor::Tensor;

pub use act_norm::ActNorm;
pub use affine::Affine;
pub use autoregressive::MaskedAutoregressive;
pub use conditioner::{Conditioner, ConditionerBlock, ConditionerConfig, MaskedLinear};
pub use config::{FlowConfig, MafConfig, Mixing, RealNvpConfig, SplineConfig, TarFlowConfig};
pub use coupling::Coupling;
pub use elementwise::{Elementwise, Scale};
pub use flow::{Flow, FlowStep};
pub use haar::Haar;
pub use logit::Logit;
pub use lu_linear::{LinearStart, LuLinear};
pub use multi_scale::{Leading, multi_scale};
pub use orthogonal::Orthogonal;
pub use permutation::Permutation;
pub use tar_flow::{CausalBlock, TarFlow, TarFlowLayerConfig};

use crate::tensor::from_host;

/// An invertible map of points with the logarithm of its Jacobian determinant.
pub trait Bijector {
    /// From data to latent: `z = f(x)` and `log |det dz/dx|`.
    ///
    /// # Shapes
    /// - `x`, first output: `[batch, features]`
    /// - second output: `[batch]`
    fn forward_and_ladj(&self, x: Tensor<2>) -> (Tensor<2>, Tensor<1>);

    /// From latent to data: the `x` with `f(x) = z` and `log |det dx/dz|`.
    ///
    /// # Shapes
    /// - `z`, first output: `[batch, features]`
    /// - second output: `[batch]`
    fn inverse_and_ladj(&self, z: Tensor<2>) -> (Tensor<2>, Tensor<1>);
}

/// Any of the invertible maps.
#[derive(Module, Debug)]
pub enum Transform {
    /// Fixed scale and shift.
    Affine(Affine),
    /// Unit interval to the line.
    Logit(Logit),
    /// Learned scale and shift, initialised by data.
    ActNorm(ActNorm),
    /// Reordering of features.
    Permutation(Permutation),
    /// Learned linear map, of features or of channels.
    LuLinear(LuLinear),
    /// Learned orthogonal map.
    Orthogonal(Orthogonal),
    /// Wavelet transform of images.
    Haar(Haar),
    /// Every feature given those before it.
    MaskedAutoregressive(MaskedAutoregressive),
    /// One half of the features given the other.
    Coupling(Coupling),
    /// Every token given those before it, by a transformer.
    TarFlow(TarFlow),
    /// A flow on the first features.
    Leading(Leading),
}

impl Bijector for Transform {
    fn forward_and_ladj(&self, x: Tensor<2>) -> (Tensor<2>, Tensor<1>) {
        match self {
            Self::Affine(map) => map.forward_and_ladj(x),
            Self::Logit(map) => map.forward_and_ladj(x),
            Self::ActNorm(map) => map.forward_and_ladj(x),
            Self::Permutation(map) => map.forward_and_ladj(x),
            Self::LuLinear(map) => map.forward_and_ladj(x),
            Self::Orthogonal(map) => map.forward_and_ladj(x),
            Self::Haar(map) => map.forward_and_ladj(x),
            Self::MaskedAutoregressive(map) => map.forward_and_ladj(x),
            Self::Coupling(map) => map.forward_and_ladj(x),
            Self::TarFlow(map) => map.forward_and_ladj(x),
            Self::Leading(map) => map.forward_and_ladj(x),
        }
    }

    fn inverse_and_ladj(&self, z: Tensor<2>) -> (Tensor<2>, Tensor<1>) {
        match self {
            Self::Affine(map) => map.inverse_and_ladj(z),
            Self::Logit(map) => map.inverse_and_ladj(z),
            Self::ActNorm(map) => map.inverse_and_ladj(z),
            Self::Permutation(map) => map.inverse_and_ladj(z),
            Self::LuLinear(map) => map.inverse_and_ladj(z),
            Self::Orthogonal(map) => map.inverse_and_ladj(z),
            Self::Haar(map) => map.inverse_and_ladj(z),
            Self::MaskedAutoregressive(map) => map.inverse_and_ladj(z),
            Self::Coupling(map) => map.inverse_and_ladj(z),
            Self::TarFlow(map) => map.inverse_and_ladj(z),
            Self::Leading(map) => map.inverse_and_ladj(z),
        }
    }
}

impl Transform {
    /// Initialises what data initialises from `x`, which arrives in the inverse direction if `inverted`, and maps `x` on.
    fn initialise(&mut self, x: Tensor<2>, inverted: bool) -> Tensor<2> {
        match self {
            Self::ActNorm(norm) => norm.initialise(&x, inverted),
            Self::Leading(part) => part.initialise(&x, inverted),
            _ => {}
        }
        let (y, _) = if inverted { self.inverse_and_ladj(x) } else { self.forward_and_ladj(x) };
        y.detach()
    }

    fn assume_initialised(&mut self) {
        match self {
            Self::ActNorm(norm) => norm.assume_initialised(),
            Self::Leading(part) => part.flow.assume_initialised(),
            _ => {}
        }
    }
}

/// The same number for every row of `like`: the log-determinant of a map whose Jacobian does not depend on the point.
fn constant_ladj(value: f64, like: &Tensor<2>) -> Tensor<1> {
    let [batch, _] = like.dims();
    from_host(&vec![value; batch], [batch], like)
}

/// Sum over the features of every row.
fn sum_features(ladj: Tensor<2>) -> Tensor<1> {
    let [batch, _] = ladj.dims();
    ladj.sum_dim(1).reshape([batch])
}

/// Panics unless points have the number of features a map was made for.
#[track_caller]
fn check_features(map: &str, x: &Tensor<2>, features: usize) {
    let [_, found] = x.dims();
    assert_eq!(found, features, "axis 1 of the input: {map} is for {features} features, found {found}");
}
