//! Names and limits of the file format.

use burn::tensor::DType;
use serde::{Deserialize, Serialize};

/// Version of the file format that this library writes, and the newest that it reads.
pub const FORMAT: u32 = 1;

/// File name of the latest weights.
pub const LAST: &str = "last.safetensors";
/// File name of the weights with the lowest validation loss.
pub const BEST: &str = "best.safetensors";
/// File name of the state to resume from.
pub const RESUME: &str = "resume.safetensors";

/// Key of the metadata entry that holds everything but the tensors.
pub(super) const METADATA_KEY: &str = "pushforward";
/// Limit of the safetensors format.
pub(super) const MAX_HEADER_BYTES: u64 = 100_000_000;

/// Type of the numbers of a small file.
///
/// # Examples
/// ```
/// use pushforward::train::checkpoint::Half;
/// assert_eq!(Half::default(), Half::Bf16);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Half {
    /// The exponent of a float32 and 8 binary digits; smaller files.
    #[default]
    Bf16,
    /// 11 binary digits; numbers of 65520 and more do not fit.
    F16,
}

impl Half {
    pub(super) fn dtype(self) -> DType {
        match self {
            Self::Bf16 => DType::BF16,
            Self::F16 => DType::F16,
        }
    }
}
