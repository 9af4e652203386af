//! Layers and networks, each written once on [`Dual`](crate::dual::Dual).
//!
//! Every layer is a Config/Module pair: `XConfig::init(&device, &mut stream)` draws the weights from a [`Stream`] and
//! `X::forward` computes. A forward pass that needs randomness (dropout) or that must not have it gets it from
//! [`Pass`].

pub mod attention;
pub mod conv;
pub mod dit;
pub mod dropout;
pub mod edge_attention;
pub mod graph;
pub mod graph_pooling;
pub mod graph_transformer;
pub mod linear;
pub mod mlp;
pub mod modulation;
pub mod norm;
pub mod pair_transformer;
pub mod time_embedding;
pub mod two_layers;
pub mod unet;

use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};

use self::graph::GraphShape;
pub use self::linear::{Linear, LinearConfig};
pub use self::modulation::{Modulation, gated, modulate};
pub use self::norm::{GroupNorm, LayerNorm, RmsNorm};
pub use self::time_embedding::{PairEmbedding, TimeFeatures};
use crate::rng::Stream;

/// What a network computes on: how many categorical variables, of how many classes, and how they lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SiteShape {
    /// Number of variables.
    pub count: usize,
    /// Classes of each; of those with the most, where they differ.
    pub classes: usize,
    /// How they lie.
    pub arrangement: Arrangement,
}

/// How sites lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrangement {
    /// One after the other.
    Line,
    /// The pixels of an image of this height and width, row by row.
    Grid([usize; 2]),
    /// The nodes of a graph, then its unordered pairs of nodes.
    Graph(GraphShape),
}

impl SiteShape {
    /// Sites one after the other.
    pub const fn line(count: usize, classes: usize) -> Self {
        Self { count, classes, arrangement: Arrangement::Line }
    }

    /// The pixels of an image of `height` and `width`.
    pub const fn image([height, width]: [usize; 2], classes: usize) -> Self {
        Self { count: height * width, classes, arrangement: Arrangement::Grid([height, width]) }
    }

    /// The nodes and pairs of a graph.
    pub fn graph(graph: GraphShape) -> Self {
        let classes = graph.node_classes.max(graph.edge_classes);
        Self { count: graph.nodes + graph.pairs(), classes, arrangement: Arrangement::Graph(graph) }
    }

    /// Height and width, for images.
    pub fn grid(&self) -> Option<[usize; 2]> {
        if let Arrangement::Grid(grid) = self.arrangement { Some(grid) } else { None }
    }

    /// The graph, for graphs.
    pub fn as_graph(&self) -> Option<GraphShape> {
        if let Arrangement::Graph(graph) = self.arrangement { Some(graph) } else { None }
    }
}

/// How a forward pass is meant: with dropout drawn from a stream, or without.
#[derive(Debug)]
pub struct Pass<'a> {
    stream: Option<&'a mut Stream>,
}

impl<'a> Pass<'a> {
    /// A pass in which dropout is active; its masks come from `stream`.
    pub fn train(stream: &'a mut Stream) -> Self {
        Self { stream: Some(stream) }
    }

    /// A deterministic pass: dropout is off.
    pub fn eval() -> Self {
        Self { stream: None }
    }
}

/// How the entries of a new parameter are drawn.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fill {
    /// All equal.
    Constant(f64),
    /// Uniform in `[-bound, bound]`.
    Uniform(f64),
    /// Normal with this standard deviation.
    Normal(f64),
}

/// A new trainable parameter. All randomness of initial weights passes through here.
pub(crate) fn parameter<const D: usize>(
    shape: [usize; D],
    fill: Fill,
    device: &Device,
    stream: &mut Stream,
) -> Param<Tensor<D>> {
    let n = shape.iter().product();
    let values: Vec<f32> = match fill {
        Fill::Constant(value) => vec![value as f32; n],
        Fill::Uniform(bound) => (0..n).map(|_| ((2.0 * stream.uniform() - 1.0) * bound) as f32).collect(),
        Fill::Normal(deviation) => (0..n).map(|_| (stream.normal() * deviation) as f32).collect(),
    };
    Param::from_data(TensorData::new(values, shape), device)
}
