//! Models as ONNX files, for other people's runtimes.
//!
//! A graph is recorded, not written network by network: a model runs once on a device of burn that keeps operations
//! instead of computing them, and each operation becomes one or a few of ONNX (opset 17). Every network of the library
//! and every network of your own is exported in the same way.
//!
//! The batch is the first axis of every input and output, and free. Weights have their names from the checkpoint. The
//! metadata of a file holds the schema of the data and the recipe, and what the graph computes. [`Exported::check`] runs a
//! file by another runtime and compares what it computes with the model.
//!
//! # Examples
//! ```
//! use pushforward::burn::tensor::Device;
//! use pushforward::data::{Layout, Schema};
//! use pushforward::flow_map::{config::FlowMapConfig, network::NetworkConfig};
//! use pushforward::onnx::{Check, Numbers, SamplerSettings, jump, sampler};
//! use pushforward::rng::{Purpose, stream};
//! use pushforward::run::{TrainedFlowMap, site_shape};
//!
//! let (schema, device) = (Schema { sites: 3, classes: 5, layout: Layout::Table }, Device::flex());
//! let config: FlowMapConfig<NetworkConfig> = toml::from_str("network = { kind = 'mlp', width = 8 }")?;
//! let net = config.model(None).init(site_shape(&schema), &device, &mut stream(0, Purpose::Init, 0));
//! let model = TrainedFlowMap::new(config, net, schema, &device);
//! let one = jump(&model)?.to_bytes(Numbers::F32, &[])?;
//! assert!(matches!(jump(&model)?.check(Numbers::F32, &one)?, Check::Equal { .. }));
//! let settings = SamplerSettings { temperature: 0.8, ..SamplerSettings::new(4) };
//! let four = sampler(&model, settings)?.to_bytes(Numbers::F16, &[("description", "four jumps")])?;
//! assert!(one.len() > 1000 && four.len() > one.len());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod autoencoder;
mod builder;
mod categorical;
mod check;
mod error;
mod exported;
mod flow_map;
mod lower;
mod numbers;
mod proto;
mod record;
mod tape;
#[cfg(test)]
mod tests;

pub use self::autoencoder::{Part, autoencoder};
pub use self::categorical::categorical_autoencoder;
pub use self::check::Check;
pub use self::error::OnnxError;
pub use self::exported::Exported;
pub use self::flow_map::{SamplerSettings, jump, sampler};
pub use self::numbers::Numbers;
