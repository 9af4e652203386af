//! Numbers of parameters, counted from the settings before anything is allocated.
//!
//! Every formula follows the constructor of its network; `tests/laws/count.rs` compares the two.
//!
//! # Examples
//! ```
//! use pushforward::nn::SiteShape;
//! use pushforward::nn::mlp::MlpConfig;
//!
//! let config = MlpConfig { width: 8, blocks: 0, time_width: 2, ..MlpConfig::default() };
//! // Input, output, normalisation, and two embeddings of times.
//! assert_eq!(config.parameters(SiteShape::line(2, 3)), (6 * 8 + 8) + (8 * 6 + 6) + 16 + 2 * (2 * 8 + 8 + 8 * 8 + 8));
//! ```

use super::dilated::DilatedConfig;
use super::dit::{DitConfig, InputMode};
use super::graph::GraphShape;
use super::graph_transformer::{GraphTime, GraphTransformerConfig, TIME_FEATURES};
use super::mlp::{MlpConfig, Straight};
use super::pair_transformer::PairTransformerConfig;
use super::unet::UnetConfig;
use super::{Arrangement, SiteShape};

/// A linear layer with bias.
pub(crate) fn linear(inputs: usize, outputs: usize) -> u128 {
    (inputs as u128 + 1) * outputs as u128
}

/// A convolution with a square kernel and bias.
pub(crate) fn conv(inputs: usize, outputs: usize, kernel: usize) -> u128 {
    (inputs as u128 * (kernel * kernel) as u128 + 1) * outputs as u128
}

/// A normalisation with weight and bias.
pub(crate) fn norm(features: usize) -> u128 {
    2 * features as u128
}

/// The embedding of a pair of times.
fn times(features: usize, width: usize) -> u128 {
    2 * (linear(features, width) + linear(width, width))
}

fn two_layers([inputs, hidden, outputs]: [usize; 3]) -> u128 {
    linear(inputs, hidden) + linear(hidden, outputs)
}

impl MlpConfig {
    /// Number of parameters for items of the given shape.
    pub fn parameters(&self, sites: SiteShape) -> u128 {
        let flat = match &sites.arrangement {
            Arrangement::Columns(classes) => classes.iter().sum(),
            _ => sites.count.saturating_mul(sites.classes),
        };
        let prior = sites.count.saturating_mul(sites.classes) as u128;
        let own =
            if self.posterior { prior + 2 * flat as u128 * self.width as u128 + Straight::parameters(flat) } else { 0 };
        let (w, skip) =
            (self.width, if self.skip { linear(self.width, 2 * sites.count) + Straight::parameters(flat) } else { 0 });
        let block = norm(w) + linear(w, 2 * w) + linear(2 * w, w) + linear(w, 3 * w);
        let round = linear(w, 2 * sites.count) + linear(w, flat) + Straight::parameters(flat);
        linear(flat, w)
            + times(self.time_width, w)
            + self.blocks as u128 * block
            + norm(w)
            + linear(w, flat)
            + skip
            + own
            + self.rounds as u128 * round
    }
}

impl DitConfig {
    /// Number of parameters for items of the given shape.
    pub fn parameters(&self, sites: SiteShape) -> u128 {
        let (w, cond, hidden) = (self.width, self.cond, self.expansion * self.width);
        let token = (self.patch * self.patch).saturating_mul(sites.classes);
        let refine = two_layers([w, 2 * w, w]) + 2 * linear(cond, w) + w as u128;
        let input = linear(token, w) + if self.input == InputMode::Rms { refine } else { 0 };
        let attention = 4 * w as u128 * w as u128;
        let block = 2 * norm(w) + attention + two_layers([w, hidden, w]) + linear(cond, 6 * w);
        let output = norm(w) + linear(cond, 2 * w) + linear(w, token);
        input + times(self.time_width, cond) + self.blocks as u128 * block + output
    }
}

impl DilatedConfig {
    /// Number of parameters for items of the given shape.
    pub fn parameters(&self, sites: SiteShape) -> u128 {
        let (w, cond) = (self.width, self.cond);
        let block = norm(w) + linear(self.kernel * w, w) + linear(w, w) + linear(cond, 3 * w);
        let places = sites.count as u128 * w as u128;
        let ends = linear(sites.classes, w) + norm(w) + linear(cond, 2 * w) + linear(w, sites.classes);
        let taps = linear(self.kernel.saturating_mul(sites.classes) + w, w);
        let round = linear(cond, 2) + taps + linear(w, sites.classes);
        let (blocks, rounds) = (self.blocks as u128 * block, self.rounds as u128 * round);
        ends + places + times(self.time_width, cond) + blocks + rounds
    }
}

impl UnetConfig {
    /// Number of parameters for images of the given shape.
    pub fn parameters(&self, sites: SiteShape) -> u128 {
        let (cond, classes) = (self.cond(), sites.classes);
        let block = |inputs: usize, outputs: usize| {
            let skip = if inputs == outputs { 0 } else { conv(inputs, outputs, 1) };
            let convolutions = conv(inputs, outputs, 3) + conv(outputs, outputs, 3);
            norm(inputs) + norm(outputs) + convolutions + linear(cond, 2 * outputs) + skip
        };
        let widths: Vec<usize> = self.multipliers.iter().map(|m| m * self.channels).collect();
        let (Some(&first), Some(&last)) = (widths.first(), widths.last()) else { return 0 };
        let blocks: u128 = widths.iter().map(|&w| block(w, w) + block(2 * w, w)).sum();
        let between: u128 = widths.windows(2).map(|w| conv(w[0], w[1], 3) + conv(w[1], w[0], 4)).sum();
        let ends = conv(classes, first, 3) + conv(first, classes, 3) + norm(first);
        times(self.time_width, cond) + blocks + block(last, last) + between + ends
    }
}

impl GraphTransformerConfig {
    /// Number of parameters for graphs of the given shape.
    pub fn parameters(&self, graph: GraphShape) -> u128 {
        let ([dx, de, dy], [fx, fe, fy], [hx, he, hy]) = (self.widths, self.feed_forward, self.outer);
        let time = match self.time {
            GraphTime::Concat => two_layers([2 * TIME_FEATURES, hy, dy]),
            GraphTime::Sum => 2 * (TIME_FEATURES * dy) as u128,
        };
        let (nodes, edges) = (graph.node_classes, graph.edge_classes);
        let ends = two_layers([nodes, hx, dx])
            + two_layers([dx, hx, nodes])
            + two_layers([edges, he, de])
            + two_layers([de, he, edges]);
        let attention = 4 * linear(dx, dx) + 2 * linear(de, dx) + 4 * linear(dy, dx) + linear(dy, dy);
        let pooled = linear(4 * dx, dy) + linear(4 * de, dy) + linear(dx, de) + two_layers([dy, dy, dy]);
        let feed_forward = two_layers([dx, fx, dx]) + two_layers([de, fe, de]) + two_layers([dy, fy, dy]);
        time + ends + self.layers as u128 * (attention + pooled + feed_forward)
    }
}

impl PairTransformerConfig {
    /// Number of parameters for graphs of the given shape.
    pub fn parameters(&self, graph: GraphShape) -> u128 {
        let (w, p, cond) = (self.width, self.pair_width, self.cond);
        let (hidden, pair_hidden) = (self.expansion * w, self.expansion * p);
        let attention = linear(p, self.heads) + linear(w + p, w) + 3 * w as u128 * w as u128;
        let feed_forward = two_layers([w, hidden, w]) + two_layers([p, pair_hidden, p]) + (w * pair_hidden) as u128;
        let conditioned = linear(cond, 6 * w) + linear(cond, 3 * p);
        let block = 2 * norm(w) + 2 * norm(p) + attention + feed_forward + conditioned;
        let ends = linear(graph.node_classes + self.walk, w)
            + linear(graph.edge_classes + self.walk, p)
            + linear(w, graph.node_classes)
            + linear(p, graph.edge_classes);
        let last = norm(w) + norm(p) + linear(cond, 2 * w) + linear(cond, 2 * p);
        let places = graph.nodes as u128 * w as u128 + graph.pairs() as u128 * p as u128;
        let places = if self.positions { places } else { 0 };
        ends + times(self.time_width, cond) + linear(1, cond) + self.blocks as u128 * block + last + places
    }
}

/// Numbers that one item keeps in memory until the gradient is taken, at least: the inputs of the large products.
///
/// Padded sites and the second of two terms are not counted, so that what is refused could not have been computed.
pub(crate) trait Kept {
    /// The number for an item of the given shape.
    fn kept(&self, sites: SiteShape) -> u128;
}

impl Kept for MlpConfig {
    fn kept(&self, _: SiteShape) -> u128 {
        self.blocks as u128 * 3 * self.width as u128
    }
}

impl Kept for DitConfig {
    fn kept(&self, sites: SiteShape) -> u128 {
        let tokens = sites.count / (self.patch * self.patch).max(1);
        let block = (4 + self.expansion as u128) * self.width as u128;
        self.blocks as u128 * tokens as u128 * block
    }
}

impl Kept for DilatedConfig {
    fn kept(&self, sites: SiteShape) -> u128 {
        let block = (self.kernel as u128 + 2) * self.width as u128;
        let round = (self.kernel * sites.classes + 2 * self.width) as u128;
        sites.count as u128 * (self.blocks as u128 * block + self.rounds as u128 * round)
    }
}

impl Kept for UnetConfig {
    fn kept(&self, sites: SiteShape) -> u128 {
        let level = |(i, m): (usize, &usize)| ((m * self.channels) as u128 * 6 * sites.count as u128) >> (2 * i);
        self.multipliers.iter().enumerate().map(level).sum()
    }
}

impl Kept for GraphTransformerConfig {
    fn kept(&self, sites: SiteShape) -> u128 {
        let nodes = sites.as_graph().map_or(0, |graph| graph.nodes) as u128;
        let (edge, node) = (self.widths[1] + self.feed_forward[1], 4 * self.widths[0] + self.feed_forward[0]);
        self.layers as u128 * nodes * (nodes * edge as u128 + node as u128)
    }
}

impl Kept for PairTransformerConfig {
    fn kept(&self, sites: SiteShape) -> u128 {
        let Some(graph) = sites.as_graph() else { return 0 };
        let stream = |count: usize, width: usize| count as u128 * (2 + self.expansion as u128) * width as u128;
        self.blocks as u128 * (stream(graph.nodes, self.width) + stream(graph.pairs(), self.pair_width))
    }
}
