//! Layers and networks, each written once on [`Dual`](crate::dual::Dual).
//!
//! Every layer is a Config/Module pair: `XConfig::init(&device, &mut stream)` draws the weights from a [`Stream`]
//! and `X::forward` computes. A forward pass that needs randomness (dropout) or that must not have it gets it from [`Pass`].

pub mod attention;
pub mod conv;
pub mod dit;
pub mod dropout;
pub mod linear;
pub mod mlp;
pub mod modulation;
pub mod norm;
pub mod time_embedding;
pub mod unet;

use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};

use crate::rng::Stream;

/// What a network computes on: how many categorical variables, of how many classes, and whether they form an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SiteShape {
    /// Number of variables.
    pub count: usize,
    /// Classes of each.
    pub classes: usize,
    /// Height and width where the sites are the pixels of an image, row by row.
    pub grid: Option<[usize; 2]>,
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
