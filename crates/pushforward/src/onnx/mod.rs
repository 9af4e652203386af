//! Models as ONNX files, for other people's runtimes.
//!
//! A graph is recorded, not written network by network: a model runs once on a device of burn that keeps operations
//! instead of computing them, and each operation becomes one or a few of ONNX (opset 17). Every network of the library
//! and every network of your own is exported in the same way.
//!
//! The batch is the first axis of every input and output, and free. Weights have their names from the checkpoint. The
//! metadata of a file holds the schema of the data and the recipe, and what the graph computes.
//!
//! # Examples
//! ```
//! use pushforward::burn::tensor::Device;
//! use pushforward::data::{Layout, Schema};
//! use pushforward::flow_map::{config::FlowMapConfig, network::NetworkConfig};
//! use pushforward::onnx::{Numbers, jump, sampler};
//! use pushforward::rng::{Purpose, stream};
//! use pushforward::run::{TrainedFlowMap, site_shape};
//!
//! let (schema, device) = (Schema { sites: 3, classes: 5, layout: Layout::Table }, Device::flex());
//! let config: FlowMapConfig<NetworkConfig> = toml::from_str("network = { kind = 'mlp', width = 8 }")?;
//! let net = config.model(None).init(site_shape(&schema), &device, &mut stream(0, Purpose::Init, 0));
//! let model = TrainedFlowMap::new(config, net, schema, &device);
//! let one = jump(&model)?.to_bytes(Numbers::F32, &[])?;
//! let four = sampler(&model, 4)?.to_bytes(Numbers::F16, &[("description", "four jumps")])?;
//! assert!(one.len() > 1000 && four.len() > one.len());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod autoencoder;
mod builder;
mod flow_map;
mod lower;
mod proto;
mod record;

use std::collections::HashSet;

use prost::Message as _;

pub use self::autoencoder::{Part, autoencoder};
use self::builder::Builder;
pub use self::flow_map::{jump, sampler};
use self::proto::{Entry, IR_VERSION, Model, OPSET, OperatorSet};
use self::record::Recording;

/// Why a model has no ONNX file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OnnxError {
    /// An operation without a translation.
    #[error("ONNX export: {0} has no translation yet")]
    Unsupported(String),
    /// The computation depends on the batch in another way than by sizes.
    #[error("ONNX export: the computation depends on the batch: {0}")]
    Batch(String),
    /// The computation could not be recorded.
    #[error("ONNX export: the computation could not be recorded: {0}")]
    Recording(String),
    /// The model does not have what is asked for.
    #[error("ONNX export: {0}")]
    Missing(String),
    /// The format holds less than 2 GiB.
    #[error("ONNX export: the file would have {0} bytes, and the format ends at 2 GiB: use float16")]
    Large(usize),
}

/// How weights are stored. Computations are in float32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Numbers {
    /// As float32.
    #[default]
    F32,
    /// As float16, half as large; they become float32 when the file is loaded.
    F16,
}

/// A recorded computation, ready to be written.
#[derive(Debug)]
pub struct Exported {
    recording: Recording,
    about: Vec<(String, String)>,
}

impl Exported {
    fn new(recording: Recording, about: Vec<(String, String)>) -> Self {
        Self { recording, about }
    }

    /// The bytes of the file, with further pairs of metadata.
    ///
    /// # Errors
    /// If an operation has no translation, or the file would be too large.
    pub fn to_bytes(&self, numbers: Numbers, metadata: &[(&str, &str)]) -> Result<Vec<u8>, OnnxError> {
        let recording = &self.recording;
        let mut wanted: HashSet<_> = recording.outputs.iter().map(|output| output.id).collect();
        let mut needed = Vec::new();
        for operation in recording.operations.iter().rev() {
            if operation.outputs().any(|out| wanted.contains(&out.id)) {
                wanted.extend(operation.inputs().map(|input| input.id));
                needed.push(operation);
            }
        }
        let mut builder = Builder::new(recording, numbers == Numbers::F16);
        for operation in needed.into_iter().rev() {
            lower::lower(&mut builder, operation)?;
        }
        let ports = |border: &[record::Border]| border.iter().map(|b| builder.port(b)).collect::<Result<_, _>>();
        let (input, output) = (ports(&recording.inputs)?, ports(&recording.outputs)?);
        let initializer = builder.constants.into_values().collect();
        let graph = proto::Graph { node: builder.nodes, name: "pushforward".into(), initializer, input, output };
        let about = self.about.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let entry = |(key, value): (&str, &str)| Entry { key: key.into(), value: value.into() };
        let model = Model {
            ir_version: IR_VERSION,
            producer_name: "pushforward".into(),
            producer_version: env!("CARGO_PKG_VERSION").into(),
            graph: Some(graph),
            opset_import: vec![OperatorSet { domain: String::new(), version: OPSET }],
            metadata_props: about.chain(metadata.iter().copied()).map(entry).collect(),
        };
        let bytes = model.encoded_len();
        if bytes > i32::MAX as usize { Err(OnnxError::Large(bytes)) } else { Ok(model.encode_to_vec()) }
    }
}
