//! Adaptive modulation of normalised features by a conditioning vector (adaLN-zero).
//!
//! ```text
//! [shift, scale, gate, ...] = W cond + b      modulate(h) = h (1 + scale) + shift      gated(x, h) = x + gate h
//! ```
//!
//! `W` and `b` start at zero, so that every gated block starts as the identity.
//!
//! Reference: Peebles, Xie 2023 (arXiv:2212.09748).
//!
//! # Examples
//! ```
//! use pushforward::burn::tensor::{Device, Tensor};
//! use pushforward::nn::{Modulation, gated, modulate};
//! use pushforward::rng::{Purpose, stream};
//! use pushforward::tensor::to_host;
//!
//! let device = Device::flex();
//! let modulation = Modulation::init(4, 3, 2, &device, &mut stream(0, Purpose::Init, 0));
//! let [shift, scale, gate] = modulation.forward(Tensor::<2>::ones([1, 4], &device).into());
//! let x = Tensor::<3>::from_data([[[1.0f32, -2.0]]], &device);
//! assert_eq!(to_host(&modulate(x.clone().into(), shift, scale).value), to_host(&x));
//! assert_eq!(to_host(&gated(x.clone().into(), (x.clone() * 5.0).into(), gate).value), to_host(&x));
//! ```

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
    /// Makes the layer, with zero weights.
    pub fn init(cond: usize, parts: usize, features: usize, device: &Device, stream: &mut Stream) -> Self {
        let linear = LinearConfig::new(cond, parts * features).with_init(LinearInit::Zero).init(device, stream);
        Self { linear, parts }
    }

    /// The vectors `[shift, scale, ...]`, each of which broadcasts over positions.
    ///
    /// # Shapes
    /// - `cond`: `[batch, cond]`
    /// - output: `N` times `[batch, 1, features]`
    ///
    /// # Panics
    /// If `N` is not the number of parts that the layer was made with.
    pub fn forward<const N: usize>(&self, cond: Dual<2>) -> [Dual<3>; N] {
        assert_eq!(N, self.parts, "a modulation is applied with the number of parts it was made with");
        let [b, _] = cond.dims();
        let all = self.linear.forward(cond);
        if kernels::serve(&all.value) {
            let mut values = kernels::split(all.value, N).into_iter();
            let mut tangents = all.tangent.map(|tangent| kernels::split(tangent, N).into_iter());
            return std::array::from_fn(|_| Dual {
                value: values.next().expect("as many values as parts"),
                tangent: tangents.as_mut().map(|tangents| tangents.next().expect("as many tangents as parts")),
            });
        }
        let width = all.dims()[1] / N;
        std::array::from_fn(|i| all.clone().linear(|v| v.narrow(1, i * width, width).reshape([b, 1, width])))
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
