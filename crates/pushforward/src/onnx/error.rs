//! Why a model has no ONNX file.

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
    /// Another runtime computes something else from the file.
    #[error("ONNX export: the file computes something else than the model: {0}")]
    Differs(String),
    /// The format holds less than 2 GiB.
    #[error("ONNX export: the file would have {0} bytes, and the format ends at 2 GiB: use float16")]
    Large(usize),
}
