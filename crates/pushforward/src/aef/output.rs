//! The decoder's output distribution: a Gaussian in the space of the model, or a mixture of discretised logistics on
//! pixel values.
//!
//! ```text
//! Gaussian     p(h | z) = prod_i N(h_i; mu_i(z), s_i),   s_i = max(scale, floor) + eps
//! logistics    P(v | z) = prod_i sum_m pi_im [ sigma((x+ - mu_im) / s_im) - sigma((x- - mu_im) / s_im) ]
//!              x+- = (v_i +- 1/2)/255
//! ```
//!
//! The outer bins of the mixture extend to infinity. Pixels are independent given z. Logistics: Salimans et al. 2017,
//! arXiv:1701.05517, without the dependence between channels.
//!
//! # Examples
//! ```
//! use pushforward::aef::gaussian::LN_2PI;
//! use pushforward::aef::output::Output;
//! use pushforward::aef::preprocessing::Prepared;
//! use pushforward::burn::tensor::{Device, Tensor};
//! use pushforward::tensor::scalar;
//!
//! let row = |value| Tensor::<2>::full([1, 2], value, &Device::flex());
//! let images = Prepared { x: row(0.5), h: row(1.0), ladj: Tensor::full([1], 0.25, &Device::flex()) };
//! let output = Output::Gaussian { mean: row(1.0), scale: row(1.0) };
//! assert!((scalar(&output.log_density(&images)) - (0.25 - LN_2PI)).abs() < 1e-6);
//! assert_eq!(scalar(&output.smallest_scale()), 1.0);
//! ```

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, activation};
use serde::{Deserialize, Serialize};

use super::ImageShape;
use super::gaussian::{log_normal, row_sum};
use super::network::DecoderNet;
use super::preprocessing::Prepared;
use crate::setting::{DEPTH, SettingError, not_negative, positive, size};
use crate::tensor::vector;

/// Output distribution, and parametrisation of its scale.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum OutputConfig {
    /// Gaussian with a fixed scale.
    Fixed {
        /// The scale.
        #[serde(default = "one")]
        scale: f64,
    },
    /// Gaussian with a trained scale for every pixel.
    Independent {
        /// Lowest scale.
        #[serde(default)]
        floor: f64,
    },
    /// Gaussian with a scale that depends on the latent.
    Dependent {
        /// Lowest scale.
        #[serde(default)]
        floor: f64,
    },
    /// Mixture of discretised logistics, for models without deviations.
    Logistics {
        /// Number of logistics in a mixture.
        #[serde(default = "five")]
        components: usize,
    },
}

fn one() -> f64 {
    1.0
}

fn five() -> usize {
    5
}

impl Default for OutputConfig {
    fn default() -> Self {
        Self::Independent { floor: 0.0 }
    }
}

impl OutputConfig {
    /// Number of network output maps per channel of the image.
    pub fn maps(&self) -> usize {
        match self {
            Self::Fixed { .. } | Self::Independent { .. } => 1,
            Self::Dependent { .. } => 2,
            Self::Logistics { components } => 3 * components,
        }
    }

    /// Checks every setting against its range.
    ///
    /// # Errors
    /// Names the setting that is out of range.
    pub fn validate(&self) -> Result<(), SettingError> {
        match *self {
            Self::Fixed { scale } => positive("scale", scale),
            Self::Independent { floor } | Self::Dependent { floor } => not_negative("floor", floor),
            Self::Logistics { components } => size("components", components, 1..=DEPTH),
        }
    }
}

/// A network from latents to images with its output distribution.
#[derive(Module, Debug)]
pub struct Decoder<D: Module> {
    /// The network.
    pub net: D,
    /// Trained scale of every pixel before softplus, `[n]`.
    pub pre_scale: Option<Param<Tensor<1>>>,
    #[module(skip)]
    config: OutputConfig,
    #[module(skip)]
    epsilon: f64,
}

/// The distribution of one batch of images given their latents.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "one value per batch")]
pub enum Output {
    /// Gaussian in the space of the model.
    Gaussian {
        /// `[batch, n]`
        mean: Tensor<2>,
        /// `[batch, n]`
        scale: Tensor<2>,
    },
    /// Mixture of discretised logistics on pixel values.
    Logistics(Logistics),
}

impl<D: DecoderNet> Decoder<D> {
    /// A decoder with a network of [`OutputConfig::maps`] output maps per channel. `pre_scale` is the initial value of
    /// a trained scale before softplus; `epsilon` is added to every scale.
    pub fn new(
        net: D,
        config: &OutputConfig,
        pre_scale: f64,
        epsilon: f64,
        shape: ImageShape,
        device: &Device,
    ) -> Self {
        let independent = matches!(config, OutputConfig::Independent { .. });
        Self {
            net,
            pre_scale: independent.then(|| Param::from_tensor(Tensor::full([shape.numel()], pre_scale, device))),
            config: config.clone(),
            epsilon,
        }
    }

    /// The output distribution given latents.
    ///
    /// # Shapes
    /// - `z`: `[batch, latent]`
    pub fn forward(&self, z: Tensor<2>) -> Output {
        let [batch, _] = z.dims();
        let maps = self.net.forward(z);
        let [_, m, h, w] = maps.dims();
        let per_channel = self.config.maps();
        let n = m / per_channel * h * w;
        let maps = maps.reshape([batch, per_channel, n]);
        let map = |i: usize| maps.clone().narrow(1, i, 1).reshape([batch, n]);
        let lifted = |scale: Tensor<2>, floor: f64| {
            let scale = if floor > 0.0 { scale.clamp_min(floor) } else { scale };
            scale + self.epsilon
        };
        match self.config {
            OutputConfig::Fixed { scale } => {
                let mean = map(0);
                let scale = Tensor::full([batch, n], scale, (&mean.device(), mean.dtype()));
                Output::Gaussian { mean, scale: scale + self.epsilon }
            }
            OutputConfig::Independent { floor } => {
                let pre = self.pre_scale.as_ref().expect("an independent scale is a parameter").val();
                let scale = activation::softplus(pre, 1.0).reshape([1, n]).expand([batch, n]);
                Output::Gaussian { mean: map(0), scale: lifted(scale, floor) }
            }
            OutputConfig::Dependent { floor } => {
                Output::Gaussian { mean: map(0), scale: lifted(activation::softplus(map(1), 1.0), floor) }
            }
            OutputConfig::Logistics { components } => Output::Logistics(Logistics::new(maps, components)),
        }
    }
}

impl Output {
    /// `log p(x | z)` of the dequantised images in `[0, 1]^n`, in nats.
    ///
    /// # Shapes
    /// - output: `[batch]`
    pub fn log_density(&self, images: &Prepared) -> Tensor<1> {
        match self {
            Self::Gaussian { mean, scale } => {
                log_normal(images.h.clone(), mean.clone(), scale.clone()) + images.ladj.clone()
            }
            Self::Logistics(mixture) => mixture.log_density(&images.x),
        }
    }

    /// Smallest scale of every image, `[batch]`, as a diagnostic: a scale near its floor means that the decoder copies
    /// a pixel. In units of the model's space, or of pixel values for the mixture.
    pub fn smallest_scale(&self) -> Tensor<1> {
        match self {
            Self::Gaussian { scale, .. } => scale.clone().min_dim(1).squeeze_dim(1),
            Self::Logistics(mixture) => mixture.log_scale.clone().exp().flatten::<2>(1, 2).min_dim(1).squeeze_dim(1),
        }
    }
}

/// A mixture of logistics for every pixel, all `[batch, components, n]`, on values from 0 to 1.
#[derive(Clone, Debug)]
pub struct Logistics {
    log_weight: Tensor<3>,
    mean: Tensor<3>,
    log_scale: Tensor<3>,
}

/// Smallest logarithm of a scale: a 40th of a bin, below which the probabilities of the bins hardly change.
const LEAST_LOG_SCALE: f64 = -9.2;
/// Initial logarithm of a scale, about a tenth of the range.
const LOG_SCALE_OFFSET: f64 = -2.3;

impl Logistics {
    /// From network outputs, `[batch, 3 components, n]`: logits of weights, means relative to the initial ones,
    /// logarithms of scales.
    fn new(raw: Tensor<3>, components: usize) -> Self {
        let part = |i: usize| raw.clone().narrow(1, i * components, components);
        // The initial means are spread over the range, so that the components differ from the start.
        let spread: Vec<f64> = (0..components).map(|m| (m as f64 + 0.5) / components as f64).collect();
        let spread = vector(&spread, &raw).reshape([1, components, 1]);
        Self {
            log_weight: activation::log_softmax(part(0), 1),
            mean: part(1) * 0.5 + spread,
            log_scale: (part(2) + LOG_SCALE_OFFSET).clamp_min(LEAST_LOG_SCALE),
        }
    }

    /// `log P(v) + n ln 256`: the log-density of a uniformly dequantised image whose bins have these probabilities.
    fn log_density(&self, x: &Tensor<2>) -> Tensor<1> {
        let [batch, n] = x.dims();
        // x = (v + u)/256 with u in [0, 1)
        let value = (x.clone() * 256.0).floor().clamp(0.0, 255.0).reshape([batch, 1, n]);
        let inverse = self.log_scale.clone().neg().exp();
        let centred = value.clone() * (1.0 / 255.0) - self.mean.clone();
        let upper = (centred.clone() + 0.5 / 255.0) * inverse.clone();
        let lower = (centred.clone() - 0.5 / 255.0) * inverse.clone();
        // log(sigma(a) - sigma(b)) = log sigma(a) + log sigma(-b) + log(1 - e^(b-a)): no cancellation in the tails.
        let width = inverse * (1.0 / 255.0);
        let inner = activation::log_sigmoid(upper.clone())
            + activation::log_sigmoid(lower.clone().neg())
            + (width.neg().exp().neg() + 1.0).clamp_min(1e-30).log();
        let first = value.clone().lower_elem(0.5).expand(inner.dims());
        let last = value.greater_elem(254.5).expand(inner.dims());
        let log_bin = inner
            .mask_where(first, activation::log_sigmoid(upper))
            .mask_where(last, activation::log_sigmoid(lower.neg()));
        row_sum(log_sum_exp(log_bin + self.log_weight.clone())) + n as f64 * 256f64.ln()
    }

    /// Mean pixel values, `[batch, n]`.
    pub fn mean(&self) -> Tensor<2> {
        let mean = (self.log_weight.clone().exp() * self.mean.clone()).sum_dim(1).squeeze_dim::<2>(1);
        mean.clamp(0.0, 1.0)
    }

    /// Mean and variance of the mixture on the whole real line, without the limits 0 and 1, each `[batch, n]`.
    pub fn moments(&self) -> (Tensor<2>, Tensor<2>) {
        let weight = self.log_weight.clone().exp();
        let mean = (weight.clone() * self.mean.clone()).sum_dim(1);
        // A logistic of scale s has variance (pi s)^2 / 3.
        let within = (self.log_scale.clone() * 2.0).exp() * (std::f64::consts::PI.powi(2) / 3.0);
        let apart = self.mean.clone() - mean.clone();
        let variance = (weight * (within + apart.clone() * apart)).sum_dim(1).squeeze_dim(1);
        (mean.squeeze_dim(1), variance)
    }

    /// Quantile function of the mixture, clipped to `[0, 1]`: the value with the cumulative probability `u`, by
    /// bisection.
    ///
    /// # Shapes
    /// - `u`, output: `[batch, n]`
    pub(super) fn quantile(&self, u: Tensor<2>) -> Tensor<2> {
        let [batch, n] = u.dims();
        let (mut low, mut high) = (u.zeros_like(), u.ones_like());
        // 2^-20 is less than a thousandth of a bin.
        for _ in 0..20 {
            let middle = (low.clone() + high.clone()) * 0.5;
            let at = middle.clone().reshape([batch, 1, n]) - self.mean.clone();
            let cdf = activation::sigmoid(at * self.log_scale.clone().neg().exp()) * self.log_weight.clone().exp();
            let below = cdf.sum_dim(1).squeeze_dim::<2>(1).lower(u.clone());
            low = low.mask_where(below.clone(), middle.clone());
            high = middle.mask_where(below, high);
        }
        high
    }
}

/// `log sum_m e^(x_m)` over the second axis.
fn log_sum_exp(x: Tensor<3>) -> Tensor<2> {
    let top = x.clone().detach().max_dim(1);
    ((x - top.clone()).exp().sum_dim(1).log() + top).squeeze_dim(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Purpose, stream};
    use crate::tensor::{from_host, to_host};
    use burn::tensor::TensorData;

    fn mixture(components: usize) -> Logistics {
        let mut numbers = stream(0, Purpose::Metric, 0);
        let values: Vec<f64> = numbers.normals(3 * components).iter().map(|&v| f64::from(v)).collect();
        let like = Tensor::<1>::zeros([1], &Device::flex());
        Logistics::new(from_host(&values, [1, 3 * components, 1], &like), components)
    }

    #[test]
    fn probabilities_of_all_values_sum_to_one() {
        for components in [1, 4] {
            let mixture = mixture(components);
            let at = |v: f32| {
                let x = Tensor::from_data(TensorData::new(vec![(v + 0.3) / 256.0], [1, 1]), &Device::flex());
                (to_host(&mixture.log_density(&x))[0] - 256f64.ln()).exp()
            };
            let total: f64 = (0..256).map(|v| at(v as f32)).sum();
            assert!((total - 1.0).abs() < 1e-4, "{components} components: {total}");
        }
    }

    #[test]
    fn quantiles_invert_the_distribution_and_moments_fit() {
        let mixture = mixture(3);
        let repeat = |x: &Tensor<3>, n: usize| x.clone().expand([1, 3, n]);
        let n = 4000;
        let wide = Logistics {
            log_weight: repeat(&mixture.log_weight, n),
            // Moved inside, so that the limits 0 and 1 do not matter.
            mean: repeat(&(mixture.mean.clone() * 0.1 + 0.45), n),
            log_scale: repeat(&(mixture.log_scale.clone() * 0.0 - 4.5), n),
        };
        let u: Vec<f64> = (0..n).map(|i| (i as f64 + 0.5) / n as f64).collect();
        let like = Tensor::<1>::zeros([1], &Device::flex());
        let x = to_host(&wide.quantile(from_host(&u, [1, n], &like)));
        assert!(x.windows(2).all(|w| w[0] <= w[1]), "quantiles increase");
        let mean = x.iter().sum::<f64>() / n as f64;
        let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n as f64;
        let (wanted_mean, wanted_variance) = wide.moments();
        let (wanted_mean, wanted_variance) = (to_host(&wanted_mean)[0], to_host(&wanted_variance)[0]);
        assert!((mean - wanted_mean).abs() < 1e-4, "{mean} {wanted_mean}");
        assert!((variance / wanted_variance - 1.0).abs() < 0.02, "{variance} {wanted_variance}");
    }
}
