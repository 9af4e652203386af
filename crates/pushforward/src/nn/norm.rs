//! Normalisations over features: LayerNorm, RMSNorm and GroupNorm.
//!
//! ```text
//! c = x - mean(x)   r = sqrt(mean(c^2) + eps)   n = c / r   y = w n + b
//! dn = (dc - n mean(n dc)) / r                  (RMSNorm: c = x, no bias)
//! ```
//!
//! References: Ba, Kiros, Hinton 2016 (arXiv:1607.06450); Zhang, Sennrich 2019 (arXiv:1910.07467); Wu, He 2018
//! (arXiv:1803.08494).
//!
//! # Examples
//! ```
//! use pushforward::burn::tensor::{Device, Tensor};
//! use pushforward::nn::{LayerNorm, RmsNorm};
//! use pushforward::rng::{Purpose, stream};
//! use pushforward::tensor::to_host;
//!
//! let (device, mut random) = (Device::flex(), stream(0, Purpose::Init, 0));
//! let x = Tensor::<2>::from_data([[1.0f32, 7.0]], &device);
//! let y = to_host(&LayerNorm::init(2, &device, &mut random).forward(x.clone().into()).value);
//! assert!((y[0] + 1.0).abs() < 1e-4 && (y[1] - 1.0).abs() < 1e-4);
//! // The root mean square of 1 and 7 is 5.
//! let y = to_host(&RmsNorm::init(2, 0.0, &device, &mut random).forward(x.into()).value);
//! assert!((y[0] - 0.2).abs() < 1e-6 && (y[1] - 1.4).abs() < 1e-6);
//! ```

use burn::module::{Module, Param};
use burn::tensor::module::layer_norm;
use burn::tensor::{Device, Tensor};

use super::modulation::modulate;
use super::{Fill, parameter};
use crate::dual::Dual;
use crate::kernels::{self, Affine, ValueTangent};
use crate::rng::Stream;

/// Divides by the root mean square over the last axis. For LayerNorm, `x` is centred by the caller.
fn normalise<const D: usize>(x: Dual<D>, eps: f64) -> Dual<D> {
    let r = ((x.value.clone() * x.value.clone()).mean_dim(D - 1) + eps).sqrt();
    let n = x.value / r.clone();
    let tangent = x.tangent.map(|t| {
        let along = (n.clone() * t.clone()).mean_dim(D - 1);
        (t - n.clone() * along) / r
    });
    Dual { value: n, tangent }
}

/// Subtracts the mean over the last axis, of value and tangent alike.
fn centre<const D: usize>(x: Dual<D>) -> Dual<D> {
    x.linear(|v| v.clone() - v.mean_dim(D - 1))
}

/// Normalisation over the last axis without learned weights: LayerNorm if `centred`, else RMSNorm.
pub(super) fn normalised<const D: usize>(x: Dual<D>, centred: bool, eps: f64) -> Dual<D> {
    if kernels::serve(&x.value) {
        return kernels::norm(x.into(), Affine::default(), centred, eps).into();
    }
    normalise(if centred { centre(x) } else { x }, eps)
}

/// Layer normalisation over the last axis with learned weight and bias.
#[derive(Module, Debug)]
pub struct LayerNorm {
    /// `[features]`
    pub weight: Param<Tensor<1>>,
    /// `[features]`
    pub bias: Param<Tensor<1>>,
    #[module(skip)]
    eps: f64,
}

impl LayerNorm {
    /// Makes the layer: weight one, bias zero, `eps = 1e-5`.
    pub fn init(features: usize, device: &Device, stream: &mut Stream) -> Self {
        Self {
            weight: parameter([features], Fill::Constant(1.0), device, stream),
            bias: parameter([features], Fill::Constant(0.0), device, stream),
            eps: 1e-5,
        }
    }

    /// Normalises the last axis. Shapes are kept.
    pub fn forward<const D: usize>(&self, x: Dual<D>) -> Dual<D> {
        if self.served(&x) {
            return kernels::norm(x.into(), self.affine(None), true, self.eps).into();
        }
        if x.tangent.is_none() {
            return layer_norm(x.value, self.weight.val(), Some(self.bias.val()), self.eps).into();
        }
        let n = normalise(centre(x), self.eps).linear(|v| v * self.weight.val().unsqueeze());
        Dual { value: n.value + self.bias.val().unsqueeze(), tangent: n.tangent }
    }

    /// [`forward`](Self::forward) followed by [`modulate`].
    ///
    /// # Shapes
    /// - `x`, output: `[batch, positions, features]`
    /// - `shift`, `scale`: `[batch, 1, features]`
    pub fn forward_modulated(&self, x: Dual<3>, shift: Dual<3>, scale: Dual<3>) -> Dual<3> {
        if self.served(&x) && kernels::serve(&shift.value) && kernels::serve(&scale.value) {
            let affine = self.affine(Some([shift.into(), scale.into()]));
            return kernels::norm(x.into(), affine, true, self.eps).into();
        }
        modulate(self.forward(x), shift, scale)
    }

    fn served<const D: usize>(&self, x: &Dual<D>) -> bool {
        kernels::serve(&x.value) && kernels::serve(&self.weight.val())
    }

    fn affine(&self, modulation: Option<[ValueTangent<3>; 2]>) -> Affine {
        Affine { weight: Some(self.weight.val()), bias: Some(self.bias.val()), modulation }
    }
}

/// Root-mean-square normalisation over the last axis with a learned weight.
#[derive(Module, Debug)]
pub struct RmsNorm {
    /// `[features]`
    pub weight: Param<Tensor<1>>,
    #[module(skip)]
    eps: f64,
}

impl RmsNorm {
    /// Makes the layer: weight one.
    pub fn init(features: usize, eps: f64, device: &Device, stream: &mut Stream) -> Self {
        Self { weight: parameter([features], Fill::Constant(1.0), device, stream), eps }
    }

    /// Normalises the last axis. Shapes are kept.
    pub fn forward<const D: usize>(&self, x: Dual<D>) -> Dual<D> {
        if kernels::serve(&x.value) && kernels::serve(&self.weight.val()) {
            let affine = Affine { weight: Some(self.weight.val()), ..Affine::default() };
            return kernels::norm(x.into(), affine, false, self.eps).into();
        }
        normalise(x, self.eps).linear(|v| v * self.weight.val().unsqueeze())
    }
}

/// Group normalisation of images with learned weight and bias per channel.
#[derive(Module, Debug)]
pub struct GroupNorm {
    /// `[channels]`
    pub weight: Param<Tensor<1>>,
    /// `[channels]`
    pub bias: Param<Tensor<1>>,
    #[module(skip)]
    groups: usize,
    #[module(skip)]
    eps: f64,
}

impl GroupNorm {
    /// Makes the layer: weight one, bias zero, `eps = 1e-5`.
    ///
    /// # Panics
    /// If `groups` does not divide `channels`.
    pub fn init(groups: usize, channels: usize, device: &Device, stream: &mut Stream) -> Self {
        assert!(
            groups > 0 && channels.is_multiple_of(groups),
            "groups must divide channels: {groups} groups, {channels} channels"
        );
        Self {
            weight: parameter([channels], Fill::Constant(1.0), device, stream),
            bias: parameter([channels], Fill::Constant(0.0), device, stream),
            groups,
            eps: 1e-5,
        }
    }

    /// Normalises every group of channels over its channels and positions.
    ///
    /// # Shapes
    /// - `x`, output: `[batch, channels, height, width]`
    pub fn forward(&self, x: Dual<4>) -> Dual<4> {
        let [b, c, h, w] = x.dims();
        if kernels::serve(&x.value) && kernels::serve(&self.weight.val()) {
            // Every group of an image becomes a row; weights and biases per channel are passed as a modulation.
            let row = [b * self.groups, 1, c / self.groups * h * w];
            let spread = |v: Tensor<1>| v.reshape([1, c, 1]).expand([b, c, h * w]).reshape(row);
            let modulation = Some([(spread(self.bias.val()), None), (spread(self.weight.val() - 1.0), None)]);
            let n = kernels::norm(
                x.linear(|v| v.reshape(row)).into(),
                Affine { modulation, ..Affine::default() },
                true,
                self.eps,
            );
            return Dual::from(n).linear(|v| v.reshape([b, c, h, w]));
        }
        let rows = x.linear(|v| v.reshape([b, self.groups, c / self.groups * h * w]));
        let n = normalise(centre(rows), self.eps)
            .linear(|v| v.reshape([b, c, h, w]) * self.weight.val().reshape([1, c, 1, 1]));
        Dual { value: n.value + self.bias.val().reshape([1, c, 1, 1]), tangent: n.tangent }
    }
}
