//! Autoencoders within flows: variational-style autoencoders made of invertible layers, and their baselines.
//!
//! ```text
//! data x -- preprocessing --> h -- encoder, core flow --> latent z -- prior flow --> z0 ~ N(0, I)
//!                                                  \-- decoder --> deviations ~ N(0, I)
//! ```
//!
//! Two families (Silvestri, Roos, Ambrogioni 2023, arXiv 2205.09546). In a [`PartitionModel`] some coordinates of the image,
//! the core, become the latent and the rest, the shell, the deviations: the whole is an invertible map, trained by exact maximum
//! likelihood. In an expansion the core is an additional linear function of the image; what is left is an ordinary
//! [`LatentModel`] with an unusual recognition part, next to which stand VAE, VAE with inverse autoregressive flow and IWAE on the
//! same networks. A deterministic [`Autoencoder`] and a flow on pixels ([`PixelFlow`]) complete the baselines.
//!
//! Images are rows `[batch, n]`, `n = channels * height * width`, in data space `[0, 1]`; every log-density is of the dequantised
//! image in `[0, 1]^n`, in nats.
//!
//! Reading order: `preprocessing`, `mask`, `network`, `output`, `partition`, `latent`, `baseline`, `model`, `marginal`,
//! `objective`, `config`.

pub mod baseline;
pub mod config;
pub mod encoder;
pub mod gaussian;
pub mod latent;
pub mod marginal;
pub mod mask;
pub mod model;
pub mod network;
pub mod objective;
pub mod output;
pub mod partition;
pub mod preprocessing;
pub mod principal;

pub use self::baseline::{Autoencoder, PixelFlow};
pub use self::config::AefConfig;
pub use self::latent::LatentModel;
pub use self::marginal::{MarginalRequest, log_densities};
pub use self::model::{AefModel, Code};
pub use self::network::{DecoderNet, EncoderNet, ImageNetworks};
pub use self::objective::{AefObjective, ImageBatch, LossKind};
pub use self::partition::PartitionModel;

/// Channels, height and width of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageShape {
    /// Values per pixel.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl ImageShape {
    /// Number of values of an image.
    pub fn numel(&self) -> usize {
        self.channels * self.height * self.width
    }
}

impl std::fmt::Display for ImageShape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} x {} x {}", self.channels, self.height, self.width)
    }
}
