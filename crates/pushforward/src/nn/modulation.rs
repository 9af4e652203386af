//! Adaptive modulation of normalised features by a conditioning vector (adaLN-zero).
//!
//! ```text
//! [shift, scale, gate, ...] = W cond + b      modulate(h) = h (1 + scale) + shift      gated(x, h) = x + gate h
//! ```
//!
//! With `W = b = 0` at the start every block is the identity. Reference: Peebles, Xie 2023 (arXiv:2212.09748).

use burn::module::Module;
use burn::tensor::Device;

use super::linear::{Linear, LinearConfig, LinearInit};
use crate::dual::Dual;
use crate::kernels;
use crate::rng::Stream;

/// Maps a conditioning vector to `parts` vectors of width `features`.
#[derive(Module, Debug)]
pub struct Modulation {
    /// `[cond, parts * features]`
    pub linear: Linear,
    #[module(skip)]
    parts: usize,
}

impl Modulation {
    /// Starts as zero.
    pub fn init(cond: usize, parts: usize, features: usize, device: &Device, stream: &mut Stream) -> Self {
        let linear = LinearConfig::new(cond, parts * features).with_init(LinearInit::Zero).init(device, stream);
        Self { linear, parts }
    }

    /// The vectors, each broadcast over positions.
    ///
    /// # Shapes
    /// - `cond`: `[batch, cond]`
    /// - output: `parts` times `[batch, 1, features]`
    pub fn forward(&self, cond: Dual<2>) -> Vec<Dual<3>> {
        let [b, _] = cond.dims();
        let all = self.linear.forward(cond);
        if kernels::serve(&all.value) {
            let values = kernels::split(all.value, self.parts);
            let Some(tangent) = all.tangent else { return values.into_iter().map(Dual::from).collect() };
            let tangents = kernels::split(tangent, self.parts);
            return values.into_iter().zip(tangents).map(|(value, t)| Dual::new(value, t)).collect();
        }
        let width = all.dims()[1] / self.parts;
        (0..self.parts).map(|i| all.clone().linear(|v| v.narrow(1, i * width, width).reshape([b, 1, width]))).collect()
    }
}

/// `h (1 + scale) + shift`.
///
/// # Shapes
/// - `h`, output: `[batch, positions, features]`
/// - `shift`, `scale`: `[batch, 1, features]`
pub fn modulate(h: Dual<3>, shift: Dual<3>, scale: Dual<3>) -> Dual<3> {
    gated(shift, h, scale.shift(1.0))
}

/// `x + gate h`.
///
/// # Shapes
/// - `h`, output: `[batch, positions, features]`
/// - `x`: the same or `[batch, 1, features]`
/// - `gate`: `[batch, 1, features]`
pub fn gated(x: Dual<3>, h: Dual<3>, gate: Dual<3>) -> Dual<3> {
    if kernels::serve(&x.value) && kernels::serve(&h.value) && kernels::serve(&gate.value) {
        return kernels::gated(x.into(), h.into(), gate.into()).into();
    }
    x + h * gate
}
