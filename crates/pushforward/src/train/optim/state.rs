//! What an optimiser keeps of a parameter.

use burn::tensor::Tensor;

/// State of one parameter, flattened.
pub(super) struct State {
    /// Number of updates.
    pub(super) time: usize,
    pub(super) first: Tensor<1>,
    /// `None` where Muon steps the parameter.
    pub(super) second: Option<Tensor<1>>,
}
