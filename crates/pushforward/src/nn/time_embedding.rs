//! Embeddings of a time in `[0, 1]`.
//!
//! ```text
//! sinusoidal: [cos(a f_k), sin(a f_k)],  f_k = max_period^(-k/half)            (Vaswani et al. 2017)
//! Fourier:    sqrt(2) cos(2 pi (f_k a + p_k)),  f_k ~ N(0,1), p_k ~ U(0,1)      (Karras et al. 2024, arXiv:2312.02696)
//! ```
//!
//! # Examples
//! Sinusoidal features are pairs of a cosine and a sine, so their squares add up to half of their number.
//! ```
//! use pushforward::burn::tensor::{Device, Tensor};
//! use pushforward::nn::TimeFeatures;
//! use pushforward::tensor::to_host;
//!
//! let times = Tensor::<1>::from_data([0.0f32, 0.4, 1.0], &Device::flex());
//! let features = to_host(&TimeFeatures::Sinusoidal.features(times.into(), 8).value);
//! assert!(features.chunks(8).all(|row| (row.iter().map(|v| v * v).sum::<f64>() - 4.0).abs() < 1e-5));
//! ```

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::linear::{Linear, LinearConfig};
use crate::dual::Dual;
use crate::rng::{Purpose, Stream, stream};
use crate::tensor::from_host;

/// Kind of time features, the input of a [`TimeEmbedding`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimeFeatures {
    /// Cosines and sines of frequencies from 1 down to 1e-4 in geometric progression, of the unscaled time, as in the
    /// published text networks. Most of them are almost constant on `[0, 1]`.
    #[default]
    Sinusoidal,
    /// Random frequencies of unit scale; they depend on the width only, so they need not be stored.
    Fourier,
}

impl TimeFeatures {
    /// The features of every time.
    ///
    /// # Shapes
    /// - `a`: `[batch]`
    /// - output: `[batch, width]`
    ///
    /// # Panics
    /// If `width` is odd.
    pub fn features(self, a: Dual<1>, width: usize) -> Dual<2> {
        assert!(width.is_multiple_of(2), "time features come in pairs: width {width} is odd");
        let half = width / 2;
        let [b] = a.dims();
        let (frequencies, phases) = match self {
            Self::Sinusoidal => {
                let f: Vec<f64> = (0..half).map(|k| 10_000f64.powf(-(k as f64) / half as f64)).collect();
                // sin(x) = cos(x - pi/2): one formula serves both halves.
                let phase = (0..width).map(|k| if k < half { 0.0 } else { -std::f64::consts::FRAC_PI_2 }).collect();
                ([f.clone(), f].concat(), phase)
            }
            Self::Fourier => {
                let mut s = stream(0, Purpose::Init, width as u64);
                let f: Vec<f64> = (0..width).map(|_| std::f64::consts::TAU * s.normal()).collect();
                (f, (0..width).map(|_| std::f64::consts::TAU * s.uniform()).collect::<Vec<_>>())
            }
        };
        let amplitude = if self == Self::Fourier { std::f64::consts::SQRT_2 } else { 1.0 };
        let f: Tensor<2> = from_host(&frequencies, [1, width], &a.value);
        let p: Tensor<2> = from_host(&phases, [1, width], &a.value);
        let angle = a.linear(|v| v.reshape([b, 1]) * f.clone());
        Dual { value: angle.value + p, tangent: angle.tangent }
            .elementwise(Tensor::cos, |x| x.sin().neg())
            .scale(amplitude)
    }
}

/// A two-layer network on time features: `Linear, SiLU, Linear`.
#[derive(Module, Debug)]
pub struct TimeEmbedding {
    /// `[features, width]`
    pub first: Linear,
    /// `[width, width]`
    pub second: Linear,
    #[module(skip)]
    kind: TimeFeatures,
}

impl TimeEmbedding {
    /// Makes the embedding into `width` numbers, from `features` time features.
    pub fn init(kind: TimeFeatures, features: usize, width: usize, device: &Device, stream: &mut Stream) -> Self {
        Self {
            first: LinearConfig::new(features, width).init(device, stream),
            second: LinearConfig::new(width, width).init(device, stream),
            kind,
        }
    }

    /// Embeds every time.
    ///
    /// # Shapes
    /// - `a`: `[batch]`
    /// - output: `[batch, width]`
    pub fn forward(&self, a: Dual<1>) -> Dual<2> {
        let width = self.first.weight.dims()[0];
        self.second.forward(self.first.forward_silu(self.kind.features(a, width)))
    }
}

/// Embedding of a pair of times: `SiLU(emb_s(s)) + SiLU(emb_dt(t - s))`.
///
/// # Examples
/// With the embedding of a label, as in [`Inputs::label`](crate::flow_map::backbone::Inputs::label).
/// ```
/// use pushforward::burn::tensor::{Device, Tensor};
/// use pushforward::nn::{PairEmbedding, TimeFeatures};
/// use pushforward::rng::{Purpose, stream};
/// use pushforward::tensor::to_host;
///
/// let device = Device::flex();
/// let times = PairEmbedding::init(TimeFeatures::Fourier, 8, 4, &device, &mut stream(0, Purpose::Init, 0));
/// let at = |time| Tensor::<1>::full([1], time, &device);
/// let label = Tensor::<2>::ones([1, 4], &device);
/// let both = times.forward_with(at(0.2).into(), at(0.7).into(), Some(label)).value;
/// let alone = times.forward(at(0.2).into(), at(0.7).into()).value;
/// assert!(to_host(&(both - alone)).iter().all(|label| (label - 1.0).abs() < 1e-6));
/// ```
#[derive(Module, Debug)]
pub struct PairEmbedding {
    /// Embedding of the start time.
    pub start: TimeEmbedding,
    /// Embedding of the length of the jump.
    pub length: TimeEmbedding,
}

impl PairEmbedding {
    /// Makes both embeddings, of the same kind and size.
    pub fn init(kind: TimeFeatures, features: usize, width: usize, device: &Device, stream: &mut Stream) -> Self {
        Self {
            start: TimeEmbedding::init(kind, features, width, device, stream),
            length: TimeEmbedding::init(kind, features, width, device, stream),
        }
    }

    /// Width of the embedding.
    pub fn width(&self) -> usize {
        self.start.second.weight.dims()[1]
    }

    /// Embeds every pair of times.
    ///
    /// # Shapes
    /// - `s`, `t`: `[batch]`
    /// - output: `[batch, width]`
    pub fn forward(&self, s: Dual<1>, t: Dual<1>) -> Dual<2> {
        let length = t + s.clone().scale(-1.0);
        self.start.forward(s).silu() + self.length.forward(length).silu()
    }

    /// The same plus another conditioning vector, such as the label embedding of every item.
    ///
    /// # Shapes
    /// - `s`, `t`: `[batch]`
    /// - `more`, output: `[batch, width]`
    pub fn forward_with(&self, s: Dual<1>, t: Dual<1>, more: Option<Tensor<2>>) -> Dual<2> {
        let times = self.forward(s, t);
        match more {
            Some(more) => times + more.into(),
            None => times,
        }
    }
}
