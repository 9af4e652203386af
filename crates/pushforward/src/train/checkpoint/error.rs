//! What can be wrong with a checkpoint file.

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
        /// What the system says.
        source: io::Error,
    },
    /// The file cannot be written; what was there before is untouched.
    #[error("{}: cannot write the checkpoint: {source}; an earlier file of that name is untouched", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file has no bytes.
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
        /// Length that its header announces.
        expected: u64,
        /// Its length.
        found: u64,
    },
    /// The announced header cannot fit.
    #[error(
        "{}: the header at offset 8 should be {length} bytes long, but the file has only {found} bytes: truncated, or not a safetensors file",
        path.display()
    )]
    HeaderBeyondFile {
        /// The file.
        path: PathBuf,
        /// Announced length of the header.
        length: u64,
        /// Length of the file.
        found: u64,
    },
    /// The announced header is larger than the format allows.
    #[error(
        "{}: the file announces a header of {length} bytes, the safetensors format allows {MAX_HEADER_BYTES}: not a safetensors file, or damaged",
        path.display()
    )]
    HeaderTooLarge {
        /// The file.
        path: PathBuf,
        /// Announced length of the header.
        length: u64,
    },
    /// The header is not JSON.
    #[error("{}: the header at offset 8 is not JSON ({reason}): not a safetensors file, or damaged", path.display())]
    NotJson {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        reason: String,
    },
    /// A safetensors file from somewhere else.
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
        /// Its format.
        format: u64,
    },
    /// A resume file where weights were asked for, or the other way round.
    #[error("{}: this is a {found} file, a {expected} file is needed here", path.display())]
    Kind {
        /// The file.
        path: PathBuf,
        /// What was asked for.
        expected: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// The header contradicts itself or the format.
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
