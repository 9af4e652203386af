//! The flow map of a network.
//!
//! ```text
//! pi_{s,t}(x) = a(s,t) x + b(s) F(x / sigma_s, s, t)                 sigma_t^2 = t^2 + (1-t)^2
//! a = 1 + 2 (1-s)(s+t-1) / (sigma_s (sigma_s + sigma_t))             b = (1-s) / sigma_s
//! ```
//!
//! With the network F equal to zero, as it is before training, this is the exact flow map of standard normal data; on
//! the diagonal `b` is then the deviation of `m` given `x`, so that F is of the order of 1 at every time (as for
//! denoisers in Karras et al. 2022, arXiv:2206.00364, section 5).
//!
//! # Examples
//! ```
//! use pushforward::burn::tensor::{Device, Tensor};
//! use pushforward::rng::{Purpose, stream};
//! use pushforward::tensor::{to_host, vector};
//! use pushforward::transport::{Transport, VectorMapConfig};
//!
//! let config = VectorMapConfig { width: 16, blocks: 1, ..VectorMapConfig::default() };
//! let map = config.init(2, &Device::flex(), &mut stream(0, Purpose::Init, 0));
//! let (x, t) = (Tensor::<2>::ones([1, 2], &Device::flex()), vector(&[0.5], &Tensor::<1>::zeros([1], &Device::flex())));
//! // The best guess of a standard normal m from (m + xi)/2 = 1 is 1.
//! assert!(to_host(&map.endpoint(x.into(), t.clone().into(), t.into()).value).iter().all(|m| (m - 1.0).abs() < 1e-6));
//! ```

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::dual::Dual;
use crate::nn::SiteShape;
use crate::nn::TimeFeatures;
use crate::nn::mlp::{Mlp, MlpConfig};
use crate::rng::Stream;
use crate::setting::SettingError;
use crate::transport::map::Transport;

/// Settings of the residual perceptron of a [`VectorMap`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VectorMapConfig {
    /// Width of the hidden layers.
    pub width: usize,
    /// Number of residual blocks.
    pub blocks: usize,
    /// Kind of time features.
    pub time: TimeFeatures,
    /// Number of time features.
    pub time_width: usize,
}

impl Default for VectorMapConfig {
    fn default() -> Self {
        Self { width: 128, blocks: 3, time: TimeFeatures::Fourier, time_width: 32 }
    }
}

impl VectorMapConfig {
    fn perceptron(&self) -> MlpConfig {
        let Self { width, blocks, time, time_width } = *self;
        MlpConfig { width, blocks, time, time_width, ..MlpConfig::default() }
    }

    /// Checks the settings against their ranges.
    ///
    /// # Errors
    /// Names the key and its allowed values.
    pub fn validate(&self) -> Result<(), SettingError> {
        self.perceptron().validate()
    }

    /// Number of parameters of a map of vectors of length `d`.
    pub fn parameters(&self, d: usize) -> u128 {
        self.perceptron().parameters(SiteShape::line(1, d))
    }

    /// A map of vectors of length `d`, with random initial weights.
    pub fn init(&self, d: usize, device: &Device, stream: &mut Stream) -> VectorMap {
        VectorMap { network: self.perceptron().init(SiteShape::line(1, d), device, stream) }
    }
}

/// The flow map of a residual perceptron, made by [`VectorMapConfig::init`].
#[derive(Module, Debug)]
pub struct VectorMap {
    /// The network F; a vector is one site.
    pub network: Mlp,
}

impl Transport for VectorMap {
    fn endpoint(&self, x: Dual<2>, s: Dual<1>, t: Dual<1>) -> Dual<2> {
        let [batch, d] = x.dims();
        let column = |time: Dual<1>| time.linear(|v| v.reshape([batch, 1]));
        let (from, to) = (column(s.clone()), column(t.clone()));
        let (sigma_s, sigma_t) = (deviation(from.clone()), deviation(to.clone()));
        let inverse = reciprocal(sigma_s.clone());
        let rest = from.clone().scale(-1.0).shift(1.0);
        let b = rest * inverse.clone();
        let a = b.clone() * (from + to).shift(-1.0).scale(2.0) * reciprocal(sigma_s + sigma_t);
        let point = (x.clone() * inverse).linear(|v| v.reshape([batch, 1, d]));
        let f = self.network.forward(point, s, t, None).linear(|v| v.reshape([batch, d]));
        x * a.shift(1.0) + f * b
    }
}

/// `sigma = sqrt(t^2 + (1-t)^2)`.
fn deviation(t: Dual<2>) -> Dual<2> {
    let value = |t: Tensor<2>| (t.clone() * t.clone() + (t.clone().neg() + 1.0) * (t.neg() + 1.0)).sqrt();
    t.elementwise(value, |t| (t.clone() * 2.0 - 1.0) / value(t))
}

fn reciprocal(x: Dual<2>) -> Dual<2> {
    x.elementwise(Tensor::recip, |x| (x.clone() * x).recip().neg())
}
