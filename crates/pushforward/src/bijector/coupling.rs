//! Couplings: half of the features determine the map of the other half.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::conditioner::{Conditioner, ConditionerConfig};
use super::elementwise::Elementwise;
use super::map::{Bijector, check_features, constant_ladj, sum_features};
use crate::rng::Stream;

/// `z_1 = x_1`, `z_2 = g(x_2; theta(x_1))` with an increasing scalar map `g`, a network `theta`, and the two halves of
/// the features; the second half is the larger one if their number is odd.
///
/// ```text
/// ladj = sum_i log g'(x_2i; theta_i(x_1))
/// ```
///
/// Starts as the identity if `g` is the identity at zero parameters. A single feature has no first half; its parameters
/// are then learned constants. Both directions cost one evaluation of the network.
///
/// Reference: Dinh, Sohl-Dickstein, Bengio 2017 (arXiv:1605.08803).
///
/// # Examples
/// ```
/// use pushforward::bijector::{Bijector, Coupling, Elementwise, Scale};
/// use pushforward::burn::tensor::{Device, Tensor};
/// use pushforward::rng::{Purpose, stream};
/// use pushforward::tensor::to_host;
///
/// let device = Device::flex();
/// let map = Elementwise::Affine(Scale::Bounded { m: 2.0 });
/// let layer = Coupling::init(map, 4, 8, 1, &device, &mut stream(0, Purpose::Init, 0));
/// let x = Tensor::<2>::from_data([[0.5f32, -1.0, 2.0, 0.25]], &device);
/// let (z, ladj) = layer.forward_and_ladj(x);
/// assert_eq!(to_host(&z), [0.5, -1.0, 2.0, 0.25]); // the identity at the start
/// assert_eq!(to_host(&ladj), [0.0]);
/// ```
#[derive(Module, Debug)]
pub struct Coupling {
    /// The network.
    pub network: Conditioner,
    #[module(skip)]
    map: Elementwise,
    features: usize,
}

impl Coupling {
    /// Draws the weights of a network with `blocks` residual blocks of width `hidden`.
    pub fn init(
        map: Elementwise,
        features: usize,
        hidden: usize,
        blocks: usize,
        device: &Device,
        stream: &mut Stream,
    ) -> Self {
        let first = features / 2;
        let config = ConditionerConfig { parameters: map.parameters(), hidden, blocks };
        // Without a first half the input of the network is a single zero.
        let network = config.dense(first.max(1), features - first, device, stream);
        Self { network, map, features }
    }

    fn apply(
        &self,
        x: Tensor<2>,
        map: impl FnOnce(Tensor<2>, Tensor<3>) -> (Tensor<2>, Tensor<2>),
    ) -> (Tensor<2>, Tensor<1>) {
        check_features("a coupling", &x, self.features);
        let ([batch, d], half) = (x.dims(), self.features / 2);
        if half == 0 {
            let nothing = constant_ladj(0.0, &x).reshape([batch, 1]);
            let (y, ladj) = map(x, self.network.forward(nothing));
            return (y, sum_features(ladj));
        }
        let (first, second) = (x.clone().narrow(1, 0, half), x.narrow(1, half, d - half));
        let (second, ladj) = map(second, self.network.forward(first.clone()));
        (Tensor::cat(vec![first, second], 1), sum_features(ladj))
    }
}

impl Bijector for Coupling {
    fn forward_and_ladj(&self, x: Tensor<2>) -> (Tensor<2>, Tensor<1>) {
        self.apply(x, |x, parameters| self.map.forward(x, parameters))
    }

    fn inverse_and_ladj(&self, z: Tensor<2>) -> (Tensor<2>, Tensor<1>) {
        self.apply(z, |z, parameters| self.map.inverse(z, parameters))
    }
}
