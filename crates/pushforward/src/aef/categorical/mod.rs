//! Autoencoders of categorical data: images of few levels, text, columns of tables, molecules.
//!
//! ```text
//! m = standardised(encoder(x) + W x)        z = m + s xi        p(x | z) = prod_sites softmax(decoder(z))_{x_site}
//! -log p(x) <= E[ -log p(x | z) - log p(z) ] - d/2 log(2 pi e s^2)
//! ```
//!
//! with the fixed noise s of [`noise`](CategoricalConfig::noise): the posterior has one scale, so that neither side can run
//! away, and a flow map as the prior is trained by its bound. Everything is in nats of an item,
//! as the bound of a categorical flow map is: the two can be compared. Of graphs and of sequences, whose items have sites
//! that others lack, both are given the size of the item.
//!
//! The encoder reads one map per class, the decoder writes one: [networks](ItemNetworkConfig) of images for data on a grid,
//! fully connected ones, or those of flow maps for what they are for.
//!
//! A *coupling* is a second decoder, from the base variable of the prior to the classes, trained by its cross-entropy on the
//! base variables of the finished autoencoder, so that an item takes one evaluation whatever the prior:
//!
//! ```text
//! z0 = f(z)        p(x | z0) = prod_sites softmax(coupling(z0))_{x_site}        x ~ p(. | z0),  z0 ~ N(0, I)
//! ```
//!
//! References: Kingma, Welling 2014, arXiv:1312.6114; Burda, Grosse, Salakhutdinov 2016, arXiv:1509.00519 (the marginal);
//! Peng et al. 2026, arXiv:2605.07193 (couplings).
//!
//! # Examples
//! An untrained model of three letters out of four.
//! ```
//! use pushforward::aef::categorical::{CategoricalConfig, log_densities};
//! use pushforward::aef::marginal::MarginalRequest;
//! use pushforward::burn::tensor::Device;
//! use pushforward::nn::SiteShape;
//! use pushforward::rng::{Purpose, stream};
//! use pushforward::tensor::to_host;
//! use pushforward::transport::map::Drawing;
//!
//! let text = "latent = 2\nnetwork = { kind = 'mlp', width = 8 }\nprior = { kind = 'flow-map' }";
//! let config: CategoricalConfig = toml::from_str(text)?;
//! let mut model = config.init(SiteShape::line(3, 4), &Device::flex(), &mut stream(0, Purpose::Init, 0));
//! let ids = [0, 1, 2, 3, 3, 0];
//! model.initialise(&ids);
//! let z = model.code(&ids);
//! assert_eq!((z.dims(), model.logits(z.clone()).dims()), ([2, 2], [2, 3, 4]));
//! let laws = model.log_likelihood(z.clone(), &ids);
//! assert!(to_host(&laws).iter().all(|nats| *nats < 0.0));
//! let found = log_densities(&model, &ids, 0, &MarginalRequest { draws: 8, ..MarginalRequest::default() });
//! assert!(found.values.iter().all(|nats| nats.is_finite() && *nats < 0.0));
//! assert_eq!(model.draw_latents(z, Drawing::Jumps(1)).dims(), [2, 2]);
//! # Ok::<(), toml::de::Error>(())
//! ```
//!
//! A coupling on a finished autoencoder, which is kept.
//! ```
//! use pushforward::aef::categorical::{CategoricalConfig, CouplingConfig, one_step_log_densities};
//! use pushforward::aef::marginal::MarginalRequest;
//! use pushforward::burn::tensor::Device;
//! use pushforward::nn::SiteShape;
//! use pushforward::rng::{Purpose, stream};
//! use pushforward::tensor::to_host;
//!
//! let (device, mut weights) = (Device::flex(), stream(0, Purpose::Init, 0));
//! let first: CategoricalConfig = toml::from_str("latent = 2\nnetwork = { kind = 'mlp', width = 8 }")?;
//! let mut base = first.init(SiteShape::line(3, 4), &device, &mut weights);
//! let ids = [0, 1, 2, 3, 3, 0];
//! base.initialise(&ids);
//! let second = CategoricalConfig { coupling: Some(CouplingConfig::default()), ..first.clone() };
//! assert!(second.shares_with(&first, true));
//! let model = second.init(SiteShape::line(3, 4), &device, &mut weights).built_on(base, true).frozen(true);
//! let z0 = model.to_base(model.code(&ids));
//! assert_eq!(model.one_step_logits(z0.clone()).dims(), [2, 3, 4]);
//! assert!(to_host(&model.one_step_log_likelihood(z0.clone(), &ids)).iter().all(|nats| *nats < 0.0));
//! assert!(to_host(&(model.from_base(z0) - model.code(&ids))).iter().all(|error| error.abs() < 1e-3));
//! let found = one_step_log_densities(&model, &ids, 0, &MarginalRequest { draws: 8, ..MarginalRequest::default() });
//! assert!(found.values.iter().all(|nats| nats.is_finite()));
//! # Ok::<(), toml::de::Error>(())
//! ```

mod config;
mod marginal;
mod model;
mod network;
mod objective;

pub use self::config::{CategoricalConfig, CouplingConfig};
pub use self::marginal::{log_densities, one_step_log_densities};
pub use self::model::CategoricalModel;
pub use self::network::{
    ItemDecoder, ItemEncoder, ItemNetworkConfig, SiteDecoder, SiteEncoder, SiteNet, SiteNetworkConfig,
};
pub use self::objective::{CategoricalObjective, ItemBatch};
