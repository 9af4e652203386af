//! Errors of checkpoint files.

use std::io;
use std::path::PathBuf;

use crate::params::ParamsError;
use crate::train::checkpoint::format::{FORMAT, MAX_HEADER_BYTES, METADATA_KEY};

/// Why a checkpoint could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// No such file.
    #[error("{}: no such checkpoint; give a run folder or a .safetensors file that `train` wrote", path.display())]
    NotFound {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be read.
    #[error("{}: cannot read the checkpoint: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The file cannot be written; an earlier file at the path is unchanged.
    #[error("{}: cannot write the checkpoint: {source}; an earlier file of that name is untouched", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The file is empty.
    #[error("{}: the file is empty; use another checkpoint of the run", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The file ends early.
    #[error("{}: the file is truncated: {found} bytes of {expected}; copy it again or use another checkpoint", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Length according to its header, in bytes.
        expected: u64,
        /// Actual length, in bytes.
        found: u64,
    },
    /// The header is longer than the file.
    #[error(
        "{}: the header at offset 8 should be {length} bytes long, but the file has only {found} bytes: truncated, or not a safetensors file",
        path.display()
    )]
    HeaderBeyondFile {
        /// The file.
        path: PathBuf,
        /// Length of the header that the file declares, in bytes.
        length: u64,
        /// Length of the file, in bytes.
        found: u64,
    },
    /// The header is longer than the format allows.
    #[error(
        "{}: the file declares a header of {length} bytes, the safetensors format allows {MAX_HEADER_BYTES}: not a safetensors file, or damaged",
        path.display()
    )]
    HeaderTooLarge {
        /// The file.
        path: PathBuf,
        /// Length of the header that the file declares, in bytes.
        length: u64,
    },
    /// The header is not JSON.
    #[error("{}: the header at offset 8 is not JSON ({reason}): not a safetensors file, or damaged", path.display())]
    NotJson {
        /// The file.
        path: PathBuf,
        /// Message of the parser.
        reason: String,
    },
    /// A safetensors file that another program wrote.
    #[error(
        "{}: a safetensors file, but its metadata has no `{METADATA_KEY}` entry with a format number: it was not written by pushforward",
        path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// Written by a later version.
    #[error(
        "{}: checkpoint format {format}, this version reads up to {FORMAT}; update pushforward to read it",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Format of the file.
        format: u64,
    },
    /// A resume file in place of weights, or weights in place of a resume file.
    #[error("{}: this is a {found} file, a {expected} file is needed here", path.display())]
    Kind {
        /// The file.
        path: PathBuf,
        /// Requested kind.
        expected: &'static str,
        /// Kind of the file.
        found: &'static str,
    },
    /// The header is inconsistent or violates the format.
    #[error("{}: the header is damaged: {reason}; use another checkpoint of the run", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A tensor is missing, superfluous, of the wrong shape or dtype, or not finite.
    #[error("{}: {source}", path.display())]
    Tensor {
        /// The file.
        path: PathBuf,
        /// Which tensor and what is wrong with it.
        source: ParamsError,
    },
}
