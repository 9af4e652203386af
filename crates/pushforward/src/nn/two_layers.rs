//! Two linear layers with ReLU, as in the graph transformer.
//!
//! # Examples
//! ```
//! use pushforward::burn::tensor::Device;
//! use pushforward::nn::{graph::GraphShape, graph_transformer::GraphTransformerConfig};
//! use pushforward::rng::{Purpose, stream};
//!
//! let config = GraphTransformerConfig { layers: 1, widths: [8; 3], outer: [6; 3], heads: 2, ..Default::default() };
//! let graph = GraphShape { nodes: 2, node_classes: 3, edge_classes: 2 };
//! let net = config.init(graph, &Device::flex(), &mut stream(0, Purpose::Init, 0));
//! // From 3 classes of a node through 6 hidden features to 8.
//! assert_eq!(net.nodes_in.first.weight.dims(), [3, 6]);
//! assert_eq!(net.nodes_in.second.weight.dims(), [6, 8]);
//! ```

use burn::module::Module;
use burn::tensor::Device;

use super::linear::{Linear, LinearConfig};
use crate::dual::Dual;
use crate::rng::Stream;

/// `W_2 relu(W_1 x + b_1) + b_2`.
#[derive(Module, Debug)]
pub struct TwoLayers {
    /// First layer.
    pub first: Linear,
    /// Second layer.
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

    /// The same with a ReLU after the second layer.
    pub(super) fn forward_relu<const D: usize>(&self, x: Dual<D>) -> Dual<D> {
        self.second.forward_relu(self.first.forward_relu(x))
    }
}
