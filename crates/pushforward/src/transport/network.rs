//! The flow map of a network.
//!
//! ```text
//! pi_{s,t}(x) = a(s,t) x + b(s) F(x / sigma_s, s, t)                 sigma_t^2 = t^2 + (1-t)^2
//! a = 1 + 2 (1-s)(s+t-1) / (sigma_s (sigma_s + sigma_t))             b = (1-s) / sigma_s
//! ```
//!
//! F is a residual perceptron, or a transformer on tokens of `token` numbers each.
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
use crate::nn::dit::{Dit, DitConfig};
use crate::nn::mlp::{Mlp, MlpConfig};
use crate::nn::{Pass, SiteShape, TimeFeatures};
use crate::rng::Stream;
use crate::setting::{SettingError, WIDTH, require, size};
use crate::transport::map::Transport;

/// Settings of the network of a [`VectorMap`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VectorMapConfig {
    /// Width of the hidden layers.
    pub width: usize,
    /// Number of residual blocks, or of blocks of the transformer.
    pub blocks: usize,
    /// Numbers of a token of the transformer; 0 for a perceptron on the whole vector.
    pub token: usize,
    /// Attention heads of the transformer.
    pub heads: usize,
    /// Kind of time features.
    pub time: TimeFeatures,
    /// Number of time features.
    pub time_width: usize,
}

impl Default for VectorMapConfig {
    fn default() -> Self {
        Self { width: 128, blocks: 3, token: 0, heads: 4, time: TimeFeatures::Fourier, time_width: 32 }
    }
}

impl VectorMapConfig {
    fn perceptron(&self) -> MlpConfig {
        let Self { width, blocks, time, time_width, .. } = *self;
        MlpConfig { width, blocks, time, time_width, ..MlpConfig::default() }
    }

    fn transformer(&self) -> DitConfig {
        let Self { width, blocks, heads, time, time_width, .. } = *self;
        DitConfig { width, blocks, heads, cond: width, time, time_width, ..DitConfig::default() }
    }

    /// A vector of length `d` as sites and numbers of a site.
    fn sites(&self, d: usize) -> SiteShape {
        match d.checked_div(self.token) {
            None => SiteShape::line(1, d),
            Some(tokens) => SiteShape::line(tokens, self.token),
        }
    }

    /// A perceptron on vectors of length `d` with these settings.
    pub(super) fn perceptron_of(&self, d: usize, device: &Device, stream: &mut Stream) -> Mlp {
        self.perceptron().init(SiteShape::line(1, d), device, stream)
    }

    /// Checks the settings against their ranges.
    ///
    /// # Errors
    /// Names the key and its allowed values.
    pub fn validate(&self) -> Result<(), SettingError> {
        size("token", self.token, 0..=WIDTH)?;
        if self.token == 0 { self.perceptron().validate() } else { self.transformer().validate() }
    }

    /// The same for vectors of length `d`.
    ///
    /// # Errors
    /// Names the key and its allowed values.
    pub fn validate_for(&self, d: usize) -> Result<(), SettingError> {
        self.validate()?;
        let whole = self.token == 0 || d.is_multiple_of(self.token);
        require(whole, "token", format_args!("must divide the {d} numbers of the vector, found {}", self.token))?;
        if self.token == 0 { Ok(()) } else { self.transformer().check(self.sites(d)) }
    }

    /// Number of parameters of a map of vectors of length `d`.
    pub fn parameters(&self, d: usize) -> u128 {
        let sites = self.sites(d);
        if self.token == 0 { self.perceptron().parameters(sites) } else { self.transformer().parameters(sites) }
    }

    /// A map of vectors of length `d`, with random initial weights.
    ///
    /// # Panics
    /// If the settings do not fit, see [`Self::validate_for`].
    ///
    /// # Examples
    /// ```
    /// use pushforward::burn::tensor::Device;
    /// use pushforward::rng::{Purpose, stream};
    /// use pushforward::transport::VectorMapConfig;
    ///
    /// let config = VectorMapConfig { token: 2, width: 16, heads: 2, blocks: 1, ..VectorMapConfig::default() };
    /// assert!(config.validate_for(6).is_ok() && config.validate_for(7).is_err());
    /// assert_eq!(config.init(6, &Device::flex(), &mut stream(0, Purpose::Init, 0)).features(), 6);
    /// ```
    pub fn init(&self, d: usize, device: &Device, stream: &mut Stream) -> VectorMap {
        if let Err(problem) = self.validate_for(d) {
            panic!("{problem}");
        }
        let SiteShape { count, classes, .. } = self.sites(d);
        let (network, tokens) = match self.token {
            0 => (Some(self.perceptron_of(d, device, stream)), None),
            _ => (None, Some(self.transformer().init(self.sites(d), device, stream))),
        };
        VectorMap { network, tokens, shape: [count, classes] }
    }
}

/// The flow map of a network, made by [`VectorMapConfig::init`]: of a perceptron or of a transformer.
#[derive(Module, Debug)]
pub struct VectorMap {
    /// The perceptron; a vector is one site.
    pub network: Option<Mlp>,
    /// The transformer; a token is one site.
    pub tokens: Option<Dit>,
    /// Sites, and numbers of each.
    #[module(skip)]
    shape: [usize; 2],
}

impl VectorMap {
    /// Numbers of a vector.
    pub fn features(&self) -> usize {
        self.shape[0] * self.shape[1]
    }

    /// `F(x, s, t)`.
    fn network(&self, x: Dual<2>, s: Dual<1>, t: Dual<1>) -> Dual<2> {
        let ([batch, d], [sites, numbers]) = (x.dims(), self.shape);
        let point = x.linear(|v| v.reshape([batch, sites, numbers]));
        let f = match (&self.network, &self.tokens) {
            (Some(net), _) => net.forward(point, s, t, None),
            (None, Some(net)) => net.forward(point, s, t, None, &mut Pass::eval()),
            (None, None) => unreachable!("a map has one of the two networks"),
        };
        f.linear(|v| v.reshape([batch, d]))
    }
}

impl Transport for VectorMap {
    fn endpoint(&self, x: Dual<2>, s: Dual<1>, t: Dual<1>) -> Dual<2> {
        let [batch, _] = x.dims();
        let column = |time: Dual<1>| time.linear(|v| v.reshape([batch, 1]));
        let (from, to) = (column(s.clone()), column(t.clone()));
        let (sigma_s, sigma_t) = (deviation(from.clone()), deviation(to.clone()));
        let inverse = reciprocal(sigma_s.clone());
        let rest = from.clone().scale(-1.0).shift(1.0);
        let b = rest * inverse.clone();
        let a = b.clone() * (from + to).shift(-1.0).scale(2.0) * reciprocal(sigma_s + sigma_t);
        let f = self.network(x.clone() * inverse, s, t);
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
