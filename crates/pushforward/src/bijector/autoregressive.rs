//! Autoregressive maps with a masked network.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::conditioner::{Conditioner, ConditionerConfig};
use super::elementwise::Elementwise;
use super::map::{Bijector, check_features, sum_features};
use crate::rng::Stream;
use crate::tensor::from_host;

/// `z_i = g(x_i; theta_i(x_1, ..., x_{i-1}))` with an increasing scalar map `g` and a masked network `theta`.
///
/// ```text
/// ladj = sum_i log g'(x_i; theta_i)
/// ```
///
/// `forward` costs one evaluation of the network; `inverse` costs one per feature and is meant to run without an
/// autodiff graph (`module.valid()`). A masked autoregressive flow uses this map as it is, for fast densities
/// (Papamakarios, Pavlakou, Murray 2017, arXiv:1705.07057); an inverse autoregressive flow uses its inverse, for fast
/// samples (Kingma et al. 2016, arXiv:1606.04934).
///
/// # Examples
/// The first output does not depend on later inputs.
/// ```
/// use pushforward::bijector::{Bijector, Elementwise, MaskedAutoregressive, Scale};
/// use pushforward::burn::tensor::{Device, Tensor};
/// use pushforward::rng::{Purpose, stream};
/// use pushforward::tensor::to_host;
///
/// let device = Device::flex();
/// let map = Elementwise::Affine(Scale::Softplus {});
/// let layer = MaskedAutoregressive::init(map, 3, 8, 1, &device, &mut stream(0, Purpose::Init, 0));
/// let x = Tensor::<2>::from_data([[0.5f32, 1.0, 2.0], [0.5, -3.0, 0.0]], &device);
/// let z = layer.forward_and_ladj(x.clone()).0;
/// assert!((to_host(&z)[0] - to_host(&z)[3]).abs() < 1e-6);
/// let back = layer.inverse_and_ladj(z).0;
/// assert!(to_host(&(back - x)).iter().all(|error| error.abs() < 1e-4));
/// ```
#[derive(Module, Debug)]
pub struct MaskedAutoregressive {
    /// The network.
    pub network: Conditioner,
    #[module(skip)]
    map: Elementwise,
    features: usize,
}

impl MaskedAutoregressive {
    /// Draws the weights of a network with `blocks` residual blocks of width `hidden`.
    pub fn init(
        map: Elementwise,
        features: usize,
        hidden: usize,
        blocks: usize,
        device: &Device,
        stream: &mut Stream,
    ) -> Self {
        let config = ConditionerConfig { parameters: map.parameters(), hidden, blocks };
        Self { network: config.masked(features, device, stream), map, features }
    }
}

impl Bijector for MaskedAutoregressive {
    fn forward_and_ladj(&self, x: Tensor<2>) -> (Tensor<2>, Tensor<1>) {
        let parameters = self.network.forward(x.clone());
        let (z, ladj) = self.map.forward(x, parameters);
        (z, sum_features(ladj))
    }

    fn inverse_and_ladj(&self, z: Tensor<2>) -> (Tensor<2>, Tensor<1>) {
        check_features("an autoregressive map", &z, self.features);
        let ([batch, d], one) = (z.dims(), |t: &Tensor<2>, i| t.clone().narrow(1, i, 1));
        let (mut known, mut ladj) = (Vec::with_capacity(d), Vec::with_capacity(d));
        for i in 0..d {
            // The later features are set to zero: any other value could overflow, and infinity times a masked weight is
            // NaN.
            let rest = from_host(&vec![0.0; batch * (d - i)], [batch, d - i], &z);
            let x = Tensor::cat(known.iter().cloned().chain([rest]).collect(), 1);
            let parameters = self.network.forward(x).narrow(1, i, 1);
            let (x_i, ladj_i) = self.map.inverse(one(&z, i), parameters);
            known.push(x_i);
            ladj.push(ladj_i);
        }
        (Tensor::cat(known, 1), sum_features(Tensor::cat(ladj, 1)))
    }
}
