//! A recorded computation as a file.

use std::collections::HashSet;
use std::fmt;

use prost::Message as _;

use super::builder::Builder;
use super::check::{Check, check};
use super::error::OnnxError;
use super::lower::lower;
use super::numbers::Numbers;
use super::proto::{Entry, Graph, IR_VERSION, Model, OPSET, OperatorSet};
use super::record::{Recording, record};
use super::tape::{Border, Tape, trial};

/// A recorded computation of a model, ready to be written.
pub struct Exported<'a> {
    compute: Box<dyn Fn(&mut Tape<'_>) + 'a>,
    recording: Recording,
    about: Vec<(String, String)>,
}

impl fmt::Debug for Exported<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exported")
            .field("recording", &self.recording)
            .field("about", &self.about)
            .finish_non_exhaustive()
    }
}

impl<'a> Exported<'a> {
    /// Records `compute`.
    pub(super) fn of(
        compute: impl Fn(&mut Tape<'_>) + 'a,
        about: impl IntoIterator<Item = (&'static str, String)>,
    ) -> Result<Self, OnnxError> {
        let recording = record(&compute)?;
        let about = about.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        Ok(Self { compute: Box::new(compute), recording, about })
    }

    /// Runs a file of [`Self::to_bytes`] by another runtime, `tract`, on a few inputs of a fixed seed, and compares its
    /// outputs with the model's own: numbers to `1e-4 max(1, |number|)`, integers exactly. With weights of half
    /// precision, those of the model are rounded as well; where products are of half precision, nine numbers of ten are
    /// within `0.02 max(1, |number|)`.
    ///
    /// # Errors
    /// If an output differs. What `tract` cannot run is [`Check::NotRun`].
    pub fn check(&self, numbers: Numbers, bytes: &[u8]) -> Result<Check, OnnxError> {
        check(bytes, numbers, &trial(&self.compute, numbers != Numbers::F32))
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
        let mut builder = Builder::new(recording, numbers);
        for operation in needed.into_iter().rev() {
            lower(&mut builder, operation)?;
        }
        let ports = |border: &[Border]| border.iter().map(|b| builder.port(b)).collect::<Result<_, _>>();
        let (input, output) = (ports(&recording.inputs)?, ports(&recording.outputs)?);
        let (node, constants) = builder.finish();
        let initializer = constants.into_values().collect();
        let graph = Graph { node, name: "pushforward".into(), initializer, input, output };
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
