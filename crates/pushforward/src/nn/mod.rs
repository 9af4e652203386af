//! Layers and networks, each written once on [`Dual`](crate::dual::Dual).
//!
//! Most layers are a Config/Module pair: `XConfig::init(&device, &mut stream)` draws the initial weights from a
//! [`Stream`], and `X::forward` computes. [`Pass`] says whether dropout is active, and holds its stream.
//!
//! # Examples
//! A layer acts on a value and its tangent at once.
//! ```
//! use pushforward::burn::tensor::{Device, Tensor};
//! use pushforward::dual::Dual;
//! use pushforward::nn::LinearConfig;
//! use pushforward::rng::{Purpose, stream};
//! use pushforward::tensor::to_host;
//!
//! let device = Device::flex();
//! let layer = LinearConfig::new(2, 3).without_bias().init(&device, &mut stream(0, Purpose::Init, 0));
//! let x = Tensor::<2>::from_data([[1.0f32, -2.0]], &device);
//! // Along the direction x itself, the derivative of a linear map is its value.
//! let y = layer.forward(Dual::new(x.clone(), x));
//! assert_eq!(y.dims(), [1, 3]);
//! assert_eq!(to_host(&y.tangent_or_zeros()), to_host(&y.value));
//! ```

pub mod attention;
pub mod conv;
pub mod count;
pub mod dilated;
pub mod dit;
pub mod dropout;
pub mod edge_attention;
pub mod evidence;
pub mod graph;
pub mod graph_pooling;
pub mod graph_transformer;
pub mod linear;
pub mod mlp;
pub mod modulation;
pub mod norm;
mod packing;
pub mod pair_transformer;
pub mod time_embedding;
pub mod two_layers;
pub mod unet;

use std::sync::Arc;

use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};

use self::graph::GraphShape;
pub use self::linear::{Linear, LinearConfig};
pub use self::modulation::{Modulation, gated, modulate};
pub use self::norm::{GroupNorm, LayerNorm, RmsNorm};
pub use self::time_embedding::{PairEmbedding, TimeFeatures};
use crate::rng::Stream;
use crate::tensor::from_host;

/// Shape of an item: the number of categorical variables ("sites"), their classes, and their arrangement.
///
/// # Examples
/// ```
/// use pushforward::nn::{SiteShape, graph::GraphShape};
///
/// assert_eq!(SiteShape::image([4, 3], 2).count, 12);
/// // Four nodes and six unordered pairs; padded to the larger number of classes.
/// let graph = SiteShape::graph(GraphShape { nodes: 4, node_classes: 2, edge_classes: 3 });
/// assert_eq!((graph.count, graph.classes), (10, 3));
/// // A table: columns of two and of five classes.
/// let table = SiteShape::columns(&[2, 5]);
/// assert_eq!((table.count, table.classes, table.classes_of(0)), (2, 5, 2));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteShape {
    /// Number of sites.
    pub count: usize,
    /// Number of classes of a site; the largest number if sites differ.
    pub classes: usize,
    /// Arrangement of the sites.
    pub arrangement: Arrangement,
}

/// Arrangement of sites.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arrangement {
    /// A sequence.
    Line,
    /// A sequence of as many sites as the longest item; items may end before the last one.
    Record,
    /// The pixels of an image of the given height and width, in row-major order.
    Grid([usize; 2]),
    /// The nodes of a graph, then its unordered pairs of nodes.
    Graph(GraphShape),
    /// The columns of a table, each with its number of classes.
    Columns(Arc<[usize]>),
}

impl SiteShape {
    /// A sequence of sites.
    pub const fn line(count: usize, classes: usize) -> Self {
        Self { count, classes, arrangement: Arrangement::Line }
    }

    /// A sequence of which items may have the first sites only.
    pub const fn record(count: usize, classes: usize) -> Self {
        Self { count, classes, arrangement: Arrangement::Record }
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

    /// The columns of a table, each with its number of classes.
    pub fn columns(classes: &[usize]) -> Self {
        let largest = classes.iter().copied().max().unwrap_or(0);
        Self { count: classes.len(), classes: largest, arrangement: Arrangement::Columns(classes.into()) }
    }

    /// Number of classes of a site.
    pub fn classes_of(&self, site: usize) -> usize {
        match &self.arrangement {
            Arrangement::Line | Arrangement::Record | Arrangement::Grid(_) => self.classes,
            Arrangement::Graph(graph) if site < graph.nodes => graph.node_classes,
            Arrangement::Graph(graph) => graph.edge_classes,
            Arrangement::Columns(classes) => classes[site],
        }
    }

    /// Mask of the classes: one for every class that a site has, zero for the other entries; `None` if all sites have
    /// all classes.
    ///
    /// # Shapes
    /// - output: `[1, sites, classes]`
    pub(crate) fn class_mask<const D: usize>(&self, like: &Tensor<D>) -> Option<Tensor<3>> {
        if matches!(self.arrangement, Arrangement::Line | Arrangement::Record | Arrangement::Grid(_)) {
            return None;
        }
        let row = |site| (0..self.classes).map(move |class| f64::from(u8::from(class < self.classes_of(site))));
        let values: Vec<f64> = (0..self.count).flat_map(row).collect();
        Some(from_host(&values, [1, self.count, self.classes], like))
    }

    /// Number of sites that decide the size of an item, nodes of a graph or letters of a record; `None` if all items have
    /// all sites.
    pub(crate) fn largest_size(&self) -> Option<usize> {
        match self.arrangement {
            Arrangement::Graph(graph) => Some(graph.nodes),
            Arrangement::Record => Some(self.count),
            Arrangement::Line | Arrangement::Grid(_) | Arrangement::Columns(_) => None,
        }
    }

    /// One for every site that an item of a size has, zero for the others.
    pub(crate) fn sites_of(&self, size: usize) -> Vec<f64> {
        match self.arrangement {
            Arrangement::Graph(graph) => graph.sites_of(size).collect(),
            _ => (0..self.count).map(|site| f64::from(u8::from(site < size))).collect(),
        }
    }

    /// Height and width; `None` if the sites are not an image.
    pub fn grid(&self) -> Option<[usize; 2]> {
        if let Arrangement::Grid(grid) = self.arrangement { Some(grid) } else { None }
    }

    /// Shape of the graph; `None` if the sites are not a graph.
    pub(crate) fn as_graph(&self) -> Option<GraphShape> {
        if let Arrangement::Graph(graph) = self.arrangement { Some(graph) } else { None }
    }
}

/// Mode of a forward pass: with dropout drawn from a stream, or without.
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

/// Distribution of the entries of a new parameter.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fill {
    /// A constant.
    Constant(f64),
    /// Uniform in `[-bound, bound]`.
    Uniform(f64),
    /// Normal with this standard deviation.
    Normal(f64),
}

/// A new trainable parameter. The only source of random initial weights.
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
