//! Sampling: from noise to class indices, by the flow map or by integrating its velocity.
//!
//! ```text
//! map      x <- x + gamma(s,t) (pi_{s,t}(x) - x)                       1 evaluation per step
//! euler    x <- x + gamma(s,t) (pi_{s,s}(x) - x)                       1   (the map's step with the diagonal's endpoint)
//! heun     mean of the slopes at both ends; the last step is Euler's   2 per step, less 1
//! dopri5   adaptive, in tau = -log(1-t): dx/dtau = pi_{t,t}(x) - x     7 per trial step and item, less the shared ones
//! renoise  x_hat = pi_{s,1}(x);  x <- (1-t) x_0' + t x_hat             1 per step, fresh noise x_0'
//! ```
//!
//! Graphs draw their number of nodes first, from `(seed, Size, i)`.
//!
//! Item i of a sample starts from the stream `(seed, Sample, i)` and is renoised from `(seed, Renoise, i)`, so it does not
//! depend on the batch it is computed in.

pub(in crate::flow_map) mod batch;
mod dopri5;
mod draw;
pub mod guidance;
pub mod large_vocabulary;
mod request;

pub use self::draw::sample;
pub use self::request::{Generator, LastStep, SampleRequest, Sampler, Samples};
