//! A fast estimate of the volume of jumps by a network beside the map: for proposals and guidance, never a density.
//!
//! ```text
//! L_{s,t}(x) ~ log |det dX_{s,t}/dx| = d log(sigma_t/sigma_s) + (tau_t - tau_s) sum_i H_i(x / sigma_s, s, t)
//! diagonal     ( dL/dtau - v.(J - 1) v )^2 / d                          v: random signs,  J = d pi_tt/dx
//! off it       ( L_st(x) - sg[ L_su(x) + L_ut(X_su(x)) ] )^2 / d (tau_t - tau_s)^2
//! log p(z) ~ log N(e; 0, I) - L_{0,t*}(e) + d log t*                    z = X_{0,t*}(e) / t*,  tau = -log(1-t)
//! ```
//!
//! with `sigma_t^2 = t^2 + (1-t)^2`: the network H equal to zero, as before training, has the volume of standard normal data. One
//! evaluation of H tells how likely a draw is, before it is drawn, where `ode` takes d passes at every step of a solver. What it
//! tells is learned, so that its integral is not one: numbers below those of `ode` are errors and no better densities.
//!
//! Reference: Ai et al. 2025, arXiv:2512.02636 (there with the mean divergence along the jump).
//!
//! # Examples
//! Before training it agrees with the exact density of the map before training.
//! ```
//! use pushforward::burn::tensor::{Device, Tensor};
//! use pushforward::rng::{Purpose, stream};
//! use pushforward::transport::density::{Density, log_densities};
//! use pushforward::transport::map::{draw, end_time};
//! use pushforward::transport::{VectorMapConfig, VolumeHead};
//!
//! let (config, mut weights) = (VectorMapConfig { width: 8, blocks: 1, ..VectorMapConfig::default() }, stream(0, Purpose::Init, 0));
//! let map = config.init(2, &Device::flex(), &mut weights);
//! let head = VolumeHead::init(&config, 2, &Device::flex(), &mut weights);
//! let noise = Tensor::<2>::from_data([[0.7f32, -1.2]], &Device::flex());
//! let z = draw(&map, noise.clone(), end_time(0.5), 1);
//! let exact = log_densities(&map, z, 0.5, Density::default(), 0, 0).values;
//! assert!((head.log_densities(noise, 0.5)[0] - exact[0]).abs() < 2e-2);
//! ```

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use crate::dual::Dual;
use crate::nn::mlp::Mlp;
use crate::rng::Stream;
use crate::tensor::{from_host, to_host, vector};
use crate::transport::map::{Transport, end_time};
use crate::transport::network::VectorMapConfig;
use crate::transport::objective::{pairs, stratified, time_of};
use crate::transport::time::{TimePairs, column, jump_weight};

/// `ln(2 pi)`.
const LN_2PI: f64 = 1.837_877_066_409_345_3;

/// The network H.
#[derive(Module, Debug)]
pub struct VolumeHead {
    /// A vector is one site; the outputs of its numbers are added.
    pub network: Mlp,
}

/// `-log(1-t)`.
fn tau(t: f64) -> f64 {
    -(-t).ln_1p()
}

/// `log sigma_t`.
fn log_deviation(t: f64) -> f64 {
    0.5 * (t * t + (1.0 - t) * (1.0 - t)).ln()
}

impl VolumeHead {
    /// A head for vectors of length `d`, with random initial weights.
    pub fn init(config: &VectorMapConfig, d: usize, device: &Device, stream: &mut Stream) -> Self {
        Self { network: config.perceptron_of(d, device, stream) }
    }

    /// `sum_i H_i`, one value per row.
    fn rates(&self, x: &Tensor<2>, times: &TimePairs) -> Tensor<1> {
        let [batch, d] = x.dims();
        let scale = times.column(x, |s, _| (-log_deviation(s)).exp());
        let point = (x.clone() * scale).reshape([batch, 1, d]);
        let [s, t] = [&times.s, &times.t].map(|values| Dual::from(vector(values, x)));
        self.network.forward(point.into(), s, t, None).value.sum_dim(2).reshape([batch])
    }

    /// `L_{s,t}(x)` of every row.
    ///
    /// # Shapes
    /// - `x`: `[batch, d]`
    /// - output: `[batch]`
    fn log_volumes(&self, x: &Tensor<2>, times: &TimePairs) -> Tensor<1> {
        let d = x.dims()[1] as f64;
        let normal = vector(&times.map(|s, t| d * (log_deviation(t) - log_deviation(s))), x);
        normal + self.rates(x, times) * vector(&times.map(|s, t| tau(t) - tau(s)), x)
    }

    /// Estimates of `log p(G(e))` at the draws `G(e)` of one jump from noise `e`, in nats, whatever the map is.
    ///
    /// # Shapes
    /// - `noise`: `[batch, d]`
    pub fn log_densities(&self, noise: Tensor<2>, eps: f64) -> Vec<f64> {
        let ([batch, d], end) = (noise.dims(), end_time(eps));
        let times = TimePairs { s: vec![0.0; batch], t: vec![end; batch] };
        let volumes = to_host(&self.log_volumes(&noise, &times));
        let square = |row: &[f64]| row.iter().map(|v| v * v).sum::<f64>();
        let base = to_host(&noise).chunks(d).map(|row| -0.5 * (square(row) + d as f64 * LN_2PI)).collect::<Vec<_>>();
        base.into_iter().zip(volumes).map(|(base, volume)| base - volume + d as f64 * end.ln()).collect()
    }

    /// The loss of every row: half of the rows on the diagonal, half off it. Gradients reach this head alone.
    ///
    /// # Shapes
    /// - `m`, `xi`: `[rows, d]`, without gradients
    /// - output: `[rows]`
    pub fn loss(
        &self,
        map: &impl Transport,
        (m, xi): (Tensor<2>, Tensor<2>),
        eps: f64,
        boundary: f64,
        random: &mut Stream,
    ) -> Tensor<1> {
        let ([rows, d], still) = (m.dims(), self.valid());
        let half = rows / 2;
        let part = |x: &Tensor<2>, from: usize, to: usize| x.clone().narrow(0, from, to - from);
        let noised = |from: usize, to: usize, t: &[f64]| {
            let t = column(t, &m);
            t.clone() * part(&m, from, to) + (t.neg() + 1.0) * part(&xi, from, to)
        };
        let mut parts = Vec::new();
        if half > 0 {
            let t: Vec<f64> = stratified(half, 1, random).into_iter().map(|share| time_of(share, eps)).collect();
            let x = noised(0, half, &t);
            let signs: Vec<f64> = (0..half * d).map(|_| if random.below(2) == 0 { -1.0 } else { 1.0 }).collect();
            let v = from_host(&signs, [half, d], &x);
            let time = || Dual::from(vector(&t, &x));
            let pi = map.endpoint(Dual::new(x.clone(), v.clone()), time(), time());
            let trace = (v.clone() * (pi.tangent_or_zeros() - v)).sum_dim(1).reshape([half]);
            let normal: Vec<f64> =
                t.iter().map(|t| d as f64 * (1.0 - t) * (2.0 * t - 1.0) * (-2.0 * log_deviation(*t)).exp()).collect();
            let rest = self.rates(&x, &TimePairs::diagonal(t.clone())) + vector(&normal, &x) - trace;
            parts.push(rest.clone() * rest / d as f64);
        }
        let n = rows - half;
        let times = pairs(n, eps, boundary, random);
        let x = noised(half, rows, &times.s);
        let at = |random: &mut Stream| random.uniform().clamp(1e-3, 1.0 - 1e-3);
        let u: Vec<f64> = times.s.iter().zip(&times.t).map(|(s, t)| s + at(random) * (t - s)).collect();
        let (to_u, from_u) =
            (TimePairs { s: times.s.clone(), t: u.clone() }, TimePairs { s: u.clone(), t: times.t.clone() });
        let [s, middle] = [&times.s, &u].map(|values| Dual::from(vector(values, &x)));
        let pi = map.endpoint(x.clone().into(), s, middle).value;
        let gamma = to_u.column(&x, jump_weight);
        let arrived = x.clone() + (pi - x.clone()) * gamma;
        let target = still.log_volumes(&x, &to_u) + still.log_volumes(&arrived, &from_u);
        let length = vector(&times.map(|s, t| (tau(t) - tau(s)).max(1e-3)), &x);
        let rest = (self.log_volumes(&x, &times) - target) / length;
        parts.push(rest.clone() * rest / d as f64);
        Tensor::cat(parts, 0)
    }
}
