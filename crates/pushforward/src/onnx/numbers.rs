//! How exact the numbers of a file are.

/// Numbers of a file. Inputs and outputs are float32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Numbers {
    /// float32.
    #[default]
    F32,
    /// Weights are stored as float16, half as large, and become float32 when the file is loaded: computations are in float32.
    F16,
    /// Weights are stored as float16, and matrices are multiplied and images convolved in float16, for devices that are
    /// fast at it. Norms, softmax, times and the jump itself stay float32, whose range and digits they need.
    Mixed,
}
