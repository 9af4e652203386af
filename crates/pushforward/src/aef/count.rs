//! Numbers of parameters of the models, counted from the settings before anything is allocated.

use super::ImageShape;
use super::config::{AefConfig, Variant};
use super::network::{BLOCKS, ConvConfig, ImageNetworkConfig, MlpConfig, SmallConfig, resolutions};
use super::output::OutputConfig;
use crate::nn::count::{conv, linear, norm};

/// Fully connected layers.
fn layers(config: &MlpConfig, inputs: usize, outputs: usize) -> u128 {
    let MlpConfig { width, layers } = *config;
    match layers.checked_sub(1) {
        None => linear(inputs, outputs),
        Some(between) => linear(inputs, width) + between as u128 * linear(width, width) + linear(width, outputs),
    }
}

/// A residual bottleneck of the big networks.
fn bottleneck(width: usize, outputs: usize, resolution: usize) -> u128 {
    let (middle, kernel) = ((width / 4).max(1), if resolution > 2 { 3 } else { 1 });
    conv(width, middle, 1) + 2 * conv(middle, middle, kernel) + conv(middle, outputs, 1)
}

/// Blocks and changes of resolution of the residual convolutions; `change` is the kernel of the latter.
fn pyramid(config: &ConvConfig, change: usize) -> u128 {
    let blocks = |c: usize| config.blocks as u128 * 2 * (norm(c) + conv(c, c, 3));
    let level = |level: usize| {
        let c = config.channels << level;
        let change = if change == 3 { conv(c, 2 * c, 3) } else { conv(2 * c, c, change) };
        blocks(c) + change
    };
    (0..config.levels).map(level).sum::<u128>() + blocks(config.channels << config.levels)
}

impl ImageNetworkConfig {
    /// Number of parameters of an encoder with so many outputs.
    pub(super) fn encoder_parameters(&self, shape: ImageShape, outputs: usize) -> u128 {
        let ImageShape { channels, height, width } = shape;
        match self {
            Self::Small(SmallConfig { channels: c }) => {
                conv(channels, *c, 3) + conv(*c, 2 * c, 3) + linear(2 * c * (height / 4) * (width / 4), outputs)
            }
            Self::Mlp(config) => layers(config, shape.numel(), outputs),
            Self::Conv(config) => {
                let lowest = config.lowest(shape);
                let ends = conv(channels, config.channels, 3) + linear(lowest.iter().product(), outputs);
                ends + pyramid(config, 3) + norm(lowest[0])
            }
            Self::Big => {
                let (w, levels) = ((outputs / 2).max(1), resolutions(height));
                let blocks: u128 = levels.iter().map(|&r| (BLOCKS as u128 + 1) * bottleneck(w, w, r)).sum();
                let last = bottleneck(w, outputs, 1).saturating_sub(bottleneck(w, w, 1));
                conv(channels, w, 3) + blocks + last
            }
        }
    }

    /// Number of parameters of a decoder to so many maps.
    pub(super) fn decoder_parameters(&self, latent: usize, maps: usize, shape: ImageShape) -> u128 {
        let ImageShape { height, width, .. } = shape;
        match self {
            Self::Small(SmallConfig { channels: c }) => {
                linear(latent, 2 * c * (height / 4) * (width / 4)) + conv(2 * c, *c, 4) + conv(*c, maps, 4)
            }
            Self::Mlp(config) => layers(config, latent, maps * height * width),
            Self::Conv(config) => {
                let ends = linear(latent, config.lowest(shape).iter().product()) + conv(config.channels, maps, 3);
                ends + pyramid(config, 4) + norm(config.channels)
            }
            Self::Big => {
                let levels = resolutions(height);
                let blocks = |&r: &usize| (BLOCKS as u128 + u128::from(r > 1)) * bottleneck(latent, latent, r);
                levels.iter().map(blocks).sum::<u128>() + 2 * latent as u128 + conv(latent, maps, 1)
            }
        }
    }
}

impl AefConfig {
    /// Number of parameters of the model of images of the given shape.
    ///
    /// # Examples
    /// ```
    /// use pushforward::aef::{ImageShape, config::AefConfig};
    /// let config: AefConfig = toml::from_str("variant = 'flow'\nprior = { kind = 'none' }")?;
    /// // A shift and a scale of every channel.
    /// assert_eq!(config.parameters(ImageShape { channels: 3, height: 2, width: 2 }), 6);
    /// # Ok::<(), toml::de::Error>(())
    /// ```
    pub fn parameters(&self, shape: ImageShape) -> u128 {
        let (d, n) = (self.latent, shape.numel());
        let maps = self.output.maps() * shape.channels;
        let scales = if matches!(self.output, OutputConfig::Independent { .. }) { n as u128 } else { 0 };
        let nets =
            || self.network.encoder_parameters(shape, 2 * d) + self.network.decoder_parameters(d, maps, shape) + scales;
        let model = match self.variant {
            Variant::Center | Variant::Corner | Variant::HaarCore => {
                nets() + self.core.parameters(d) + self.prior.parameters(d)
            }
            Variant::LearnedCore => nets() + self.core.parameters(d) + self.prior.parameters(d) + d as u128 * n as u128,
            Variant::Linear | Variant::Noise => {
                nets() + linear(n, d) + self.core.parameters(d) + self.prior.parameters(d)
            }
            Variant::Vae => nets() + self.prior.parameters(d),
            Variant::VaeIaf | Variant::Iwae => nets() + self.posterior.parameters(d) + self.prior.parameters(d),
            Variant::Autoencoder => {
                self.network.encoder_parameters(shape, d) + self.network.decoder_parameters(d, shape.channels, shape)
            }
            Variant::Flow => self.prior.parameters(n),
        };
        model + norm(shape.channels)
    }
}
