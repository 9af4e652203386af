//! A recorded computation as a file.

use std::collections::HashSet;

use prost::Message as _;

use super::builder::Builder;
use super::error::OnnxError;
use super::lower::lower;
use super::proto::{Entry, Graph, IR_VERSION, Model, OPSET, OperatorSet};
use super::record::{Border, Recording};

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
    pub(super) fn new(recording: Recording, about: Vec<(String, String)>) -> Self {
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
            lower(&mut builder, operation)?;
        }
        let ports = |border: &[Border]| border.iter().map(|b| builder.port(b)).collect::<Result<_, _>>();
        let (input, output) = (ports(&recording.inputs)?, ports(&recording.outputs)?);
        let initializer = builder.constants.into_values().collect();
        let graph = Graph { node: builder.nodes, name: "pushforward".into(), initializer, input, output };
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
