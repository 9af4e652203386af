//! Invertible maps with the logarithm of their Jacobian determinant, and their composition: normalising flows.
//!
//! ```text
//! z = f(x)      log p(x) = log N(z; 0, I) + ladj(x)      ladj(x) = log |det df/dx|
//! ```
//!
//! `forward` goes from data to latent, `inverse` back; every map computes its value and its log-determinant together,
//! and `inverse_and_ladj` gives the log-determinant of the inverse, which is minus the forward one. Points are rows of
//! `[batch, features]`. Maps of images read their features as a row-major `[channels, height, width]`.
//!
//! A recipe describes a flow by a [`FlowConfig`]; in code, a [`Flow`] is a list of [`FlowStep`]s. Reading order:
//! `affine`, `logit`, `act_norm`, `permutation`; `elementwise` and `spline` (scalar maps), `conditioner` (the networks
//! that compute their parameters), `autoregressive`, `coupling`; `tar_flow`; `lu_linear`, `orthogonal`, `haar`,
//! `multi_scale`; `flow`, `config`.
//!
//! References: Rezende, Mohamed 2015 (arXiv:1505.05770); Papamakarios et al. 2021 (arXiv:1912.02762).
//!
//! # Examples
//! `inverse` undoes `forward`, with the opposite log-determinant.
//! ```
//! use pushforward::bijector::{Bijector, FlowConfig, RealNvpConfig};
//! use pushforward::burn::tensor::{Device, Tensor};
//! use pushforward::rng::{Purpose, stream};
//! use pushforward::tensor::to_host;
//!
//! let device = Device::flex();
//! let config = FlowConfig::RealNvp(RealNvpConfig { layers: 2, hidden: 8, ..RealNvpConfig::default() });
//! let mut flow = config.init(4, &device, &mut stream(0, Purpose::Init, 0));
//! let x = Tensor::<2>::from_data([[0.2f32, -1.0, 0.5, 2.0], [1.0, 0.0, -0.3, 0.4]], &device);
//! flow.initialise(x.clone());
//! let (z, ladj) = flow.forward_and_ladj(x.clone());
//! let (back, inverse_ladj) = flow.inverse_and_ladj(z);
//! assert!(to_host(&(back - x)).iter().all(|error| error.abs() < 1e-4));
//! assert!(to_host(&(ladj + inverse_ladj)).iter().all(|sum| sum.abs() < 1e-4));
//! ```

mod act_norm;
mod affine;
mod autoregressive;
mod conditioner;
mod config;
mod count;
mod coupling;
mod elementwise;
mod flow;
mod haar;
pub(crate) mod logit;
mod lu_linear;
mod map;
mod multi_scale;
mod orthogonal;
mod permutation;
mod spline;
mod tar_flow;
mod triangular;

pub use self::act_norm::ActNorm;
pub use self::affine::Affine;
pub use self::autoregressive::MaskedAutoregressive;
pub use self::conditioner::{Conditioner, ConditionerBlock, ConditionerConfig, MaskedLinear};
pub use self::config::{FlowConfig, MafConfig, Mixing, RealNvpConfig, SplineConfig, TarFlowConfig};
pub use self::coupling::Coupling;
pub use self::elementwise::{Elementwise, Scale};
pub use self::flow::{Flow, FlowStep, Leading, Transform};
pub use self::haar::Haar;
pub use self::logit::Logit;
pub use self::lu_linear::{LinearStart, LuLinear};
pub use self::map::Bijector;
pub use self::multi_scale::multi_scale;
pub use self::orthogonal::Orthogonal;
pub use self::permutation::Permutation;
pub use self::tar_flow::{CausalBlock, TarFlow, TarFlowLayerConfig};
