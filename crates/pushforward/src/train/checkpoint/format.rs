//! Names and limits of the file format.

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
