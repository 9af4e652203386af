//! Reading and writing checkpoint files: atomic writes, and reads that check everything.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use burn::tensor::{DType, TensorData};
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use crate::params::{ParamsError, StateDict, check_finite};
use crate::train::checkpoint::error::CheckpointError;
use crate::train::checkpoint::format::{FORMAT, Half, MAX_HEADER_BYTES, METADATA_KEY};

const LENGTH_BYTES: usize = 8;

#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Weights,
    Resume,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Weights => "weights",
            Self::Resume => "resume",
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    pub(super) format: u32,
    pub(super) kind: Kind,
    pub(super) step: u64,
    pub(super) recipe: String,
    pub(super) provenance: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) counters: Option<Counters>,
    /// Type of the numbers of a small file, see [`crate::train::checkpoint::packed`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) packed: Option<Half>,
}

/// Real numbers are stored as strings: a JSON parser may change the last bit of a number, and a resumed run needs every
/// bit.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Counters {
    pub(super) seed: u64,
    #[serde(alias = "micro_step")]
    pub(super) micro_batch: u64,
    pub(super) ema: bool,
    pub(super) ema_updates: u64,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) kept: bool,
    pub(super) best_validation: Option<String>,
    pub(super) stale_validations: u64,
    pub(super) elapsed_seconds: String,
    pub(super) optimizer_steps: BTreeMap<String, u64>,
}

/// One tensor to be written.
struct Entry<'a> {
    dtype: Dtype,
    data: &'a TensorData,
}

impl safetensors::View for Entry<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        self.data.shape().as_slice()
    }

    fn data(&self) -> std::borrow::Cow<'_, [u8]> {
        self.data.as_bytes().into()
    }

    fn data_len(&self) -> usize {
        self.data.as_bytes().len()
    }
}

const DTYPES: [(DType, Dtype); 6] = [
    (DType::F32, Dtype::F32),
    (DType::F64, Dtype::F64),
    (DType::F16, Dtype::F16),
    (DType::BF16, Dtype::BF16),
    (DType::I64, Dtype::I64),
    (DType::U8, Dtype::U8),
];

pub(super) fn write(path: &Path, header: &Header, sets: &[(&str, &StateDict)]) -> Result<(), CheckpointError> {
    let bytes = serialize(path, header, sets)?;
    replace(path, &bytes).map_err(|source| CheckpointError::Write { path: path.into(), source })
}

/// The bytes of a file; `path` names it in messages.
pub(super) fn serialize(path: &Path, header: &Header, sets: &[(&str, &StateDict)]) -> Result<Vec<u8>, CheckpointError> {
    let failed = |source| CheckpointError::Write { path: path.into(), source };
    let mut entries = Vec::new();
    for (prefix, set) in sets {
        for (name, data) in *set {
            let name = format!("{prefix}.{name}");
            check_finite(&name, data).map_err(|source| CheckpointError::Tensor { path: path.into(), source })?;
            let dtype = DTYPES.iter().find(|(ours, _)| *ours == data.dtype()).map(|(_, theirs)| *theirs);
            let dtype = dtype.ok_or_else(|| {
                failed(io::Error::other(format!("tensor `{name}` holds {:?}, a type the format lacks", data.dtype())))
            })?;
            entries.push((name, Entry { dtype, data }));
        }
    }
    let json = serde_json::to_string(header).expect("a header of numbers and strings is valid JSON");
    let metadata = HashMap::from([(METADATA_KEY.to_owned(), json)]);
    safetensors::serialize(entries, Some(metadata)).map_err(|e| failed(io::Error::other(e)))
}

/// Writes `bytes` to `path` atomically: a reader, or a crash, finds the old file or the new one, never a part.
///
/// The temporary name is fixed, so that the next write overwrites the remains of a killed process.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    fs::create_dir_all(folder)?;
    let temporary = temporary(path);
    let written = File::create(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    if let Err(error) = written.and_then(|()| fs::rename(&temporary, path)) {
        // An error of the clean-up would hide the one that matters.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    // Makes the rename itself durable. Not every system can open a folder; the file is complete either way.
    if let Ok(folder) = File::open(folder) {
        let _ = folder.sync_all();
    }
    Ok(())
}

pub(super) fn temporary(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.partial"))
}

/// Opens a regular file: a device or a pipe may never end.
fn open(path: &Path) -> Result<File, CheckpointError> {
    let unread = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => CheckpointError::NotFound { path: path.to_path_buf() },
        _ => CheckpointError::Read { path: path.to_path_buf(), source },
    };
    if !fs::metadata(path).map_err(unread)?.is_file() {
        return Err(unread(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file")));
    }
    File::open(path).map_err(unread)
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, CheckpointError> {
    let mut bytes = Vec::new();
    let unread = |source| CheckpointError::Read { path: path.to_path_buf(), source };
    open(path)?.read_to_end(&mut bytes).map_err(unread)?;
    Ok(bytes)
}

/// Header and tensors of the bytes of a file; `path` names it in messages.
pub(super) fn parse(bytes: &[u8], path: &Path, kind: Kind) -> Result<(Header, StateDict), CheckpointError> {
    let owned = || path.to_path_buf();
    let table = header_json(path, bytes)?;
    let header = own_header(path, &table, kind)?;

    let damaged = |reason: String| CheckpointError::Header { path: owned(), reason };
    let header_length = u64::from_le_bytes(bytes[..LENGTH_BYTES].try_into().expect("the length was checked"));
    let ends =
        table.iter().filter(|(name, _)| *name != "__metadata__").filter_map(|(_, t)| t["data_offsets"][1].as_u64());
    let expected = (LENGTH_BYTES as u64 + header_length).saturating_add(ends.max().unwrap_or(0));
    if (bytes.len() as u64) < expected {
        return Err(CheckpointError::Truncated { path: owned(), expected, found: bytes.len() as u64 });
    }
    let file = SafeTensors::deserialize(bytes).map_err(|error| damaged(error.to_string()))?;
    let mut tensors = StateDict::new();
    for (name, view) in file.tensors() {
        let dtype = DTYPES.iter().find(|(_, theirs)| *theirs == view.dtype()).map(|(ours, _)| *ours);
        let dtype = dtype.ok_or_else(|| damaged(format!("tensor `{name}` has the unknown type {:?}", view.dtype())))?;
        let data = TensorData::try_from_bytes_vec(view.data().to_vec(), view.shape().to_vec(), dtype)
            .map_err(|error| damaged(format!("tensor `{name}`: {error}")))?;
        check_finite(&name, &data).map_err(|source| CheckpointError::Tensor { path: owned(), source })?;
        tensors.insert(name, data);
    }
    Ok((header, tensors))
}

/// The recipe inside a file of weights, without reading its tensors.
pub(super) fn read_recipe(path: &Path) -> Result<String, CheckpointError> {
    let unread = |source| CheckpointError::Read { path: path.to_path_buf(), source };
    let mut file = open(path)?;
    let mut bytes = Vec::new();
    (&mut file).take(LENGTH_BYTES as u64).read_to_end(&mut bytes).map_err(unread)?;
    if let Some(length) = bytes.first_chunk::<LENGTH_BYTES>() {
        let length = u64::from_le_bytes(*length).min(MAX_HEADER_BYTES);
        file.take(length).read_to_end(&mut bytes).map_err(unread)?;
    }
    Ok(own_header(path, &header_json(path, &bytes)?, Kind::Weights)?.recipe)
}

/// The JSON object at the start of a safetensors file.
fn header_json(path: &Path, bytes: &[u8]) -> Result<serde_json::Map<String, serde_json::Value>, CheckpointError> {
    let (path, found) = (path.to_path_buf(), bytes.len() as u64);
    if bytes.is_empty() {
        return Err(CheckpointError::Empty { path });
    }
    let Some((length, rest)) = bytes.split_first_chunk::<LENGTH_BYTES>() else {
        return Err(CheckpointError::Truncated { path, expected: LENGTH_BYTES as u64, found });
    };
    let length = u64::from_le_bytes(*length);
    if length > MAX_HEADER_BYTES {
        return Err(CheckpointError::HeaderTooLarge { path, length });
    }
    let Some(json) = rest.get(..length as usize) else {
        return Err(CheckpointError::HeaderBeyondFile { path, length, found });
    };
    serde_json::from_slice(json).map_err(|error| CheckpointError::NotJson { path, reason: error.to_string() })
}

/// The metadata that this library wrote. The format version is checked first, since a later one may differ in
/// everything else.
fn own_header(
    path: &Path,
    table: &serde_json::Map<String, serde_json::Value>,
    kind: Kind,
) -> Result<Header, CheckpointError> {
    let path = || path.to_path_buf();
    let text = table.get("__metadata__").and_then(|m| m.get(METADATA_KEY)).and_then(|m| m.as_str());
    let value: Option<serde_json::Value> = text.and_then(|text| serde_json::from_str(text).ok());
    let Some((value, format)) = value.and_then(|v| v["format"].as_u64().map(|format| (v, format))) else {
        return Err(CheckpointError::Foreign { path: path() });
    };
    if format > u64::from(FORMAT) {
        return Err(CheckpointError::Newer { path: path(), format });
    }
    let header: Header = serde_json::from_value(value)
        .map_err(|error| CheckpointError::Header { path: path(), reason: error.to_string() })?;
    if header.kind != kind {
        return Err(CheckpointError::Kind { path: path(), expected: kind.name(), found: header.kind.name() });
    }
    Ok(header)
}

/// Sorts tensors by the first part of their names.
pub(super) fn split<const N: usize>(
    path: &Path,
    tensors: StateDict,
    prefixes: [&str; N],
) -> Result<[StateDict; N], CheckpointError> {
    let mut sets = [const { StateDict::new() }; N];
    for (name, data) in tensors {
        let place = name.split_once('.').and_then(|(prefix, rest)| {
            prefixes.iter().position(|p| *p == prefix).map(|index| (index, rest.to_owned()))
        });
        let Some((index, rest)) = place else {
            let source = ParamsError::Extra { name, found: data.shape().to_vec() };
            return Err(CheckpointError::Tensor { path: path.into(), source });
        };
        sets[index].insert(rest, data);
    }
    Ok(sets)
}

/// Fails unless every tensor of `set` is also in `other`, whose names start with `prefix` in the file.
pub(super) fn same_tensors(set: &StateDict, other: &StateDict, prefix: &str, shapes: bool) -> Result<(), ParamsError> {
    for (name, data) in set {
        let (full, expected) = (format!("{prefix}.{name}"), data.shape().to_vec());
        match other.get(name) {
            None => return Err(ParamsError::Missing { name: full, expected }),
            Some(found) if shapes && found.shape() != data.shape() => {
                return Err(ParamsError::Shape { name: full, expected, found: found.shape().to_vec() });
            }
            Some(found) if found.dtype() != data.dtype() => {
                return Err(ParamsError::Dtype { name: full, expected: data.dtype(), found: found.dtype() });
            }
            Some(_) => {}
        }
    }
    Ok(())
}
