//! Autoencoders within flows (AEF): autoencoders built as normalising flows, and their baselines.
//!
//! ```text
//! data x -- preprocessing --> h -- encoder, core flow --> latent z -- prior flow --> z0 ~ N(0, I)
//!                                                  \-- decoder --> deviations ~ N(0, I)
//! ```
//!
//! There are two kinds of AEF (Silvestri, Roos, Ambrogioni 2023, arXiv:2205.09546). In a [`PartitionModel`], some
//! coordinates of the image, the core, become the latent, and the rest, the shell, becomes the deviations: the model is
//! an invertible map, trained by exact maximum likelihood. In an expansion, the core is an additional linear function
//! of the image; this gives an ordinary [`LatentModel`] with a special recognition model. The baselines are a VAE, a
//! VAE with inverse autoregressive flow and IWAE on the same networks, a deterministic [`Autoencoder`], and a flow on
//! pixels ([`PixelFlow`]).
//!
//! Images are rows `[batch, n]`, `n = channels * height * width`, in data space `[0, 1]`; every log-density is of the
//! dequantised image in `[0, 1]^n`, in nats.
//!
//! Reading order: `preprocessing`, `mask`, `network`, `encoder`, `output`, `prior`, `partition`, `latent`, `path`,
//! `baseline`, `model`, `marginal`, `objective`, `config`; [`categorical`] for data in classes.
//!
//! # Examples
//! On a partition of the image, latent and deviations together determine the image.
//! ```
//! use pushforward::aef::ImageShape;
//! use pushforward::aef::config::AefConfig;
//! use pushforward::burn::tensor::Device;
//! use pushforward::rng::{Purpose, stream};
//! use pushforward::tensor::to_host;
//!
//! let text = "variant = 'center'\nlatent = 2\nnetwork = { kind = 'mlp', width = 8 }\n\
//!     core = { kind = 'none' }\nprior = { kind = 'maf', layers = 1, hidden = 8 }";
//! let config: AefConfig = toml::from_str(text)?;
//! let shape = ImageShape { channels: 1, height: 4, width: 4 };
//! let mut model = config.init(shape, &Device::flex(), &mut stream(0, Purpose::Init, 0));
//! let pixels: Vec<f32> = (0..32).map(|i| 0.1 + 0.8 * (i as f32).sin().abs()).collect();
//! let x = model.images(&pixels, 2);
//! model.initialise(x.clone(), config.latent, &mut stream(0, Purpose::Source, 0));
//! let code = model.encode(x.clone());
//! let back = model.decode(code.z, code.deviations);
//! assert!(to_host(&(back - x)).iter().all(|error| error.abs() < 1e-3));
//! # Ok::<(), toml::de::Error>(())
//! ```

pub mod baseline;
pub mod categorical;
pub mod config;
mod count;
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
pub mod path;
pub mod preprocessing;
pub mod principal;
pub mod prior;
mod rows;
mod weights;

pub use self::baseline::{Autoencoder, PixelFlow};
pub use self::config::AefConfig;
pub use self::latent::LatentModel;
pub use self::marginal::{MarginalRequest, log_densities};
pub use self::model::{AefModel, Code};
pub use self::network::{DecoderNet, EncoderNet, ImageNetworks};
pub use self::objective::{AefObjective, ImageBatch, LossKind};
pub use self::partition::PartitionModel;
pub use self::prior::PriorConfig;

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
