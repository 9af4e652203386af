//! Two linear layers with a rectifier after each, as the graph transformer has them around its blocks.

use burn::module::Module;
use burn::tensor::Device;

use super::linear::{Linear, LinearConfig};
use crate::dual::Dual;
use crate::rng::Stream;

/// `W_2 relu(W_1 x)`.
#[derive(Module, Debug)]
pub struct TwoLayers {
    /// First map.
    pub first: Linear,
    /// Second map.
    pub second: Linear,
}

impl TwoLayers {
    pub(super) fn init([inputs, hidden, outputs]: [usize; 3], device: &Device, stream: &mut Stream) -> Self {
        Self {
            first: LinearConfig::new(inputs, hidden).init(device, stream),
            second: LinearConfig::new(hidden, outputs).init(device, stream),
        }
    }

    pub(super) fn forward<const D: usize>(&self, x: Dual<D>) -> Dual<D> {
        self.second.forward(self.first.forward_relu(x))
    }

    /// The same with a rectifier behind the second layer.
    pub(super) fn forward_relu<const D: usize>(&self, x: Dual<D>) -> Dual<D> {
        self.second.forward_relu(self.first.forward_relu(x))
    }
}
