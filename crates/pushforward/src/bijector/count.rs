//! Numbers of parameters of flows, counted from the settings before anything is allocated.

use super::config::{FlowConfig, MafConfig, Mixing, RealNvpConfig, SplineConfig, TarFlowConfig};
use super::elementwise::Elementwise;
use crate::nn::count::{linear, norm};

/// A network from `inputs` numbers to the parameters of elementwise maps.
fn conditioner(inputs: usize, outputs: usize, hidden: usize, blocks: usize) -> u128 {
    linear(inputs, hidden) + 2 * blocks as u128 * linear(hidden, hidden) + linear(hidden, outputs)
}

fn coupling(features: usize, each: usize, hidden: usize, blocks: usize) -> u128 {
    let first = features / 2;
    conditioner(first.max(1), (features - first) * each, hidden, blocks)
}

/// A normalisation and a mixing of features.
fn between(features: usize, mixing: Mixing) -> u128 {
    let n = features as u128;
    match mixing {
        Mixing::Reverse | Mixing::Shuffle => 2 * n,
        Mixing::Linear => 2 * n + 2 * n * n + n,
    }
}

impl FlowConfig {
    /// Number of parameters of the flow on points with the given number of features.
    ///
    /// # Examples
    /// ```
    /// use pushforward::bijector::FlowConfig;
    /// let config: FlowConfig = toml::from_str("kind = 'maf'\nlayers = 2\nhidden = 4\nblocks = 0")?;
    /// // 3 x 4 and 4 x 6 weights with their biases, a shift and a scale.
    /// assert_eq!(config.parameters(3), 2 * (16 + 30 + 2));
    /// # Ok::<(), toml::de::Error>(())
    /// ```
    pub fn parameters(&self, features: usize) -> u128 {
        let n = features;
        match self {
            Self::None {} => 0,
            Self::Maf(MafConfig { layers, hidden, blocks, scale })
            | Self::Iaf(MafConfig { layers, hidden, blocks, scale }) => {
                let each = Elementwise::Affine(*scale).parameters();
                *layers as u128 * (conditioner(n, each * n, *hidden, *blocks) + 2)
            }
            Self::RealNvp(RealNvpConfig { layers, hidden, blocks, scale, mixing }) => {
                let each = Elementwise::Affine(*scale).parameters();
                *layers as u128 * (coupling(n, each, *hidden, *blocks) + between(n, *mixing))
            }
            Self::Spline(SplineConfig { layers, hidden, blocks, bins, bound, autoregressive, mixing }) => {
                let each = Elementwise::Spline { bins: *bins, bound: *bound }.parameters();
                let map = match autoregressive {
                    true => conditioner(n, each * n, *hidden, *blocks),
                    false => coupling(n, each, *hidden, *blocks),
                };
                *layers as u128 * (map + between(n, *mixing))
            }
            Self::TarFlow(TarFlowConfig { layers, token, width, blocks, .. }) => {
                let (w, token) = (*width, (*token).max(1));
                let positions = (n / token).saturating_sub(1) as u128 * w as u128;
                let block = 2 * norm(w) + linear(w, 3 * w) + linear(w, w) + linear(w, 4 * w) + linear(4 * w, w);
                *layers as u128 * (linear(token, w) + positions + *blocks as u128 * block + linear(w, 2 * token))
            }
        }
    }
}
