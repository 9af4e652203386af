//! Flow maps of vectors: from Gaussian noise to a latent in few jumps, with a density.
//!
//! ```text
//! path            x_t = t m + (1-t) xi        m: a point of the data, xi ~ N(0, I),  0 <= t <= t* < 1
//! endpoint        pi_{s,t}(x), without softmax; on the diagonal pi_{t,t}(x) = E[m | x_t = x]
//! flow map        X_{s,t}(x) = x + gamma (pi_{s,t}(x) - x)            gamma = (t-s)/(1-s)
//! noised point    z = m + eps xi = x_t* / t*                          t* = 1/(1+eps)
//! ```
//!
//! The path ends before the data, where noise of the scale `eps` is left. A model of `z` has three densities, each of
//! another law, which agree where the endpoint is exact ([`density`]): a bound without any integration, that of the
//! ordinary differential equation of the diagonal, and that of the jump.
//!
//! Times and the arithmetic of jumps are shared with the categorical maps of [`flow_map`](crate::flow_map). The latter
//! and [`aef`](crate::aef), whose prior such a map can be, build on this module.
//!
//! Reading order: `time`, `jumps`, `map`, `network`, `objective`, `density`, `change`, `volume`.
//!
//! References: Roos et al. 2026, arXiv:2602.12233; Boffi et al. 2025, arXiv:2505.18825; Kingma et al. 2021,
//! arXiv:2107.00630 (the bound).
//!
//! # Examples
//! A network before training is the exact map of a standard normal `m`: one jump gives what two do.
//! ```
//! use pushforward::burn::tensor::{Device, Tensor};
//! use pushforward::rng::{Purpose, stream};
//! use pushforward::tensor::to_host;
//! use pushforward::transport::VectorMapConfig;
//! use pushforward::transport::map::{draw, end_time};
//!
//! let map = VectorMapConfig::default().init(3, &Device::flex(), &mut stream(0, Purpose::Init, 0));
//! let noise = Tensor::<2>::from_data([[0.3f32, -1.0, 2.0]], &Device::flex());
//! let [one, two] = [1, 2].map(|jumps| to_host(&draw(&map, noise.clone(), end_time(0.25), jumps)));
//! assert!(one.iter().zip(&two).all(|(a, b)| (a - b).abs() < 1e-5));
//! // Its variance is that of the data and of the noise, 1 + 0.25^2.
//! assert!((one[0] - 0.3 * (1.0f64 + 0.0625).sqrt()).abs() < 1e-5);
//! ```

pub mod change;
pub mod density;
pub mod jumps;
pub mod map;
pub mod network;
pub mod objective;
pub mod time;
pub mod volume;

pub use self::map::Transport;
pub use self::network::{VectorMap, VectorMapConfig};
pub use self::objective::{MapObjective, MapObjectiveConfig};
pub use self::volume::VolumeHead;
