//! Categorical flow maps (Roos et al. 2026, arXiv:2602.12233): few-step generation of categorical data.
//!
//! An item is `D` variables ("sites") of `K` classes each; `x_1` is the item as one-hot vectors, `x_0` is noise drawn
//! from a source distribution.
//!
//! ```text
//! interpolant     x_t = (1-t) x_0 + t x_1                         interpolant.rs
//! endpoint        pi_{s,t}(x) = softmax(z(x, s, t))               network.rs   (a point of the simplex per site)
//! jump weight     gamma(s,t) = (t-s) / (1-s)                      transport/time.rs (the only division by 1-s)
//! flow map        X_{s,t}(x) = x + gamma (pi_{s,t}(x) - x)        map.rs       X_{s,s} = id, X_{s,1} = pi_{s,1}
//! velocity        v_t(x) = (pi_{t,t}(x) - x) / (1-t)              map.rs
//! ```
//!
//! On the diagonal `s = t` the endpoint is trained to the posterior `E[x_1 | x_t]` by cross-entropy (variational flow
//! matching, Eijkelboom et al. 2024); off the diagonal it is trained by self-distillation: one long jump must equal
//! many short ones. Each off-diagonal objective is one variant of [`OffDiagonal`](config::OffDiagonal) and one function
//! of [`losses`], which works on logits and needs no network. Sampling is in [`sample`], the likelihood bound in
//! [`likelihood`], with a network [calibrated](calibration) for it.
//!
//! A sample can be constrained ([`constraint`]) and steered towards a reward ([`steer`]) without any training.
//!
//! Reading order: `time`, `interpolant`, `losses`, `map`, `objective`, `sample`, `likelihood`, `steer`.
//!
//! # Examples
//! A network before training predicts a uniform endpoint everywhere. That is an exact flow map: two jumps equal one.
//! ```
//! use pushforward::burn::tensor::{Device, Tensor};
//! use pushforward::flow_map::{map::FlowMap, model::FlowMapModel};
//! use pushforward::nn::{SiteShape, mlp::MlpConfig};
//! use pushforward::rng::{Purpose, stream};
//! use pushforward::tensor::to_host;
//!
//! let (sites, device) = (SiteShape::line(1, 2), Device::flex());
//! let network = MlpConfig::default().init(sites.clone(), &device, &mut stream(0, Purpose::Init, 0));
//! let model = FlowMapModel::new(network, sites.clone());
//! let map = FlowMap::new(&model);
//! let x = Tensor::<3>::from_data([[[3.0f32, -1.0]]], &device);
//! let two = map.jump(map.jump(x.clone(), &[0.2], &[0.6]), &[0.6], &[0.8]);
//! let one = map.jump(x, &[0.2], &[0.8]);
//! assert!(to_host(&(one - two)).iter().all(|d| d.abs() < 1e-6));
//! ```

pub mod backbone;
pub mod calibration;
pub mod conditioning;
pub mod config;
pub mod constraint;
pub mod grids;
pub mod interpolant;
pub mod likelihood;
pub mod losses;
pub mod map;
pub mod margins;
pub mod model;
pub mod network;
pub mod objective;
mod one_step;
pub mod sample;
mod smoothing;
pub mod steer;
pub mod subsets;
pub mod times;
pub mod warp;

pub use crate::transport::time;
