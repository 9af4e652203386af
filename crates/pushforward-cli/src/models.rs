//! Models by name: those that the program contains, and larger ones that it fetches.

mod embedded;
mod fetched;

use std::path::{Path, PathBuf};

use pushforward::burn::tensor::Device;
use pushforward::flow_map::network::NetworkConfig;
use pushforward::run::{self, LoadError, Loaded, WeightSet, checkpoint_file};
use pushforward::train::checkpoint::{Checkpoint, CheckpointError};

pub(crate) use self::embedded::{EMBEDDED, Embedded};
pub(crate) use self::fetched::FETCHED;
use crate::exit::Failure;
use crate::fetch::is_present;
use crate::printer::Printer;
use crate::sources::Source;

/// What the argument of a command names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ModelFile {
    /// A checkpoint, or a run folder with one.
    Path(PathBuf),
    /// A model inside the program.
    Embedded(&'static str, &'static [u8]),
}

impl ModelFile {
    /// The model that an argument names: a run folder or a file first, then a model by its name.
    ///
    /// # Errors
    /// If there is neither.
    pub(crate) fn find(argument: &Path, printer: Printer) -> Result<Self, Failure> {
        find(argument, Known { embedded: EMBEDDED, fetched: FETCHED, folder: folder() }, printer)
    }

    /// Loads the model.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub(crate) fn load(&self, weights: WeightSet, device: &Device) -> Result<Loaded, LoadError> {
        match self {
            Self::Path(path) => run::load::<NetworkConfig>(path, weights, device),
            Self::Embedded(name, bytes) => run::load_bytes::<NetworkConfig>(bytes, Path::new(name), weights, device),
        }
    }

    /// The checkpoint and where it is, without building the model.
    ///
    /// # Errors
    /// See [`CheckpointError`].
    pub(crate) fn checkpoint(&self) -> Result<(Checkpoint, PathBuf), CheckpointError> {
        match self {
            Self::Path(path) => {
                let path = checkpoint_file(path);
                Ok((Checkpoint::load(&path)?, path))
            }
            Self::Embedded(name, bytes) => Ok((Checkpoint::from_bytes(bytes, Path::new(name))?, name.into())),
        }
    }

    /// The bytes of the file.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn bytes(&self) -> std::io::Result<Vec<u8>> {
        match self {
            Self::Path(path) => std::fs::read(checkpoint_file(path)),
            Self::Embedded(_, bytes) => Ok(bytes.to_vec()),
        }
    }
}

/// The models that have a name.
struct Known {
    embedded: &'static [Embedded],
    fetched: &'static [Source],
    folder: PathBuf,
}

fn find(argument: &Path, known: Known, printer: Printer) -> Result<ModelFile, Failure> {
    let name = argument.to_str().unwrap_or_default();
    let embedded = known.embedded.iter().find(|model| model.name == name);
    let fetched = known.fetched.iter().find(|model| model.name == name);
    if argument.exists() {
        if embedded.is_some() || fetched.is_some() {
            printer.note(&format!(
                "{name}: the run folder or file of that name here, not the model `{name}` (rename it to use the model)"
            ));
        }
        return Ok(ModelFile::Path(argument.into()));
    }
    match (embedded, fetched) {
        (Some(model), _) => Ok(ModelFile::Embedded(model.name, model.bytes)),
        (None, Some(source)) if is_present(source, &known.folder) => {
            Ok(ModelFile::Path(file_of(source, &known.folder)))
        }
        (None, Some(_)) => Err(Failure::request(format!("the model `{name}` is not on this machine"))
            .hint(format!("pushforward models fetch {name}"))),
        (None, None) => {
            let known = known.embedded.iter().map(|m| m.name).chain(known.fetched.iter().map(|m| m.name));
            let names: Vec<&str> = known.collect();
            let models =
                if names.is_empty() { String::new() } else { format!("; the models are {}", names.join(", ")) };
            Err(Failure::request(format!("{}: there is no such run folder, checkpoint or model", argument.display()))
                .hint(format!("give a run folder or a file that `train` wrote, or the name of a model{models}")))
        }
    }
}

/// The folder above that of fetched models: the user's cache folder, or the working directory without one.
pub(crate) fn folder() -> PathBuf {
    dirs::cache_dir().map_or_else(PathBuf::new, |cache| cache.join("pushforward"))
}

/// Where the file of a fetched model lies.
pub(crate) fn file_of(source: &Source, folder: &Path) -> PathBuf {
    folder.join(source.folder).join(source.files[0].name)
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use pushforward::hash;

    use super::*;
    use crate::fetch::fetch;
    use crate::sources::{Content, Kind, RemoteFile};
    use crate::test_server::{Reply, Server, connection};

    fn remote(name: &'static str, bytes: u64, sha256: &'static str) -> RemoteFile {
        RemoteFile { name, bytes: Some(bytes), sha256: Some(sha256), kind: Kind::Data(Content::Any) }
    }

    const QUIET: Printer = Printer { quiet: true, json: false, rank: 0 };

    #[test]
    fn names_of_the_tables_are_unique_and_embedded_files_load() {
        let names: Vec<&str> = EMBEDDED.iter().map(|m| m.name).chain(FETCHED.iter().map(|m| m.name)).collect();
        let unique: std::collections::HashSet<&&str> = names.iter().collect();
        assert_eq!(unique.len(), names.len());
        for model in EMBEDDED {
            ModelFile::Embedded(model.name, model.bytes).load(WeightSet::Ema, &Device::flex()).unwrap();
        }
        for source in FETCHED {
            assert!(source.files.len() == 1 && source.files[0].sha256.is_some(), "{}", source.name);
        }
    }

    #[test]
    fn files_come_first_then_embedded_models_then_fetched_ones() {
        let dir = tempfile::tempdir().unwrap();
        let content = b"a small file".as_slice();
        // The connection breaks in the middle; the rest is asked for.
        let server = Server::start(vec![Reply::Cut(content.to_vec(), 5), Reply::File(content.to_vec())]);
        let sha256: &'static str = hash::sha256([content]).leak();
        let mirrors: &'static [&'static str] = vec![&*server.base.clone().leak()].leak();
        let files: &'static [RemoteFile] = vec![remote("far.safetensors.gz", content.len() as u64, sha256)].leak();
        let source = Source { name: "far", folder: "models", title: "", licence: "", mirrors, files };
        let fetched: &'static [Source] = vec![source].leak();
        let known =
            || Known { embedded: &[Embedded { name: "near", bytes: b"bytes" }], fetched, folder: dir.path().into() };
        assert_eq!(find(Path::new("near"), known(), QUIET).unwrap(), ModelFile::Embedded("near", b"bytes"));
        let message = find(Path::new("far"), known(), QUIET).unwrap_err().text();
        assert!(message.contains("pushforward models fetch far"), "{message}");
        fetch(&fetched[0], dir.path(), &connection(), &mut |_| ControlFlow::Continue(())).unwrap();
        assert_eq!(server.requests(), ["/far.safetensors.gz all", "/far.safetensors.gz 5"]);
        let path = dir.path().join("models/far.safetensors.gz");
        assert_eq!(find(Path::new("far"), known(), QUIET).unwrap(), ModelFile::Path(path));
        let message = find(Path::new("nobody"), known(), QUIET).unwrap_err().text();
        assert!(message.contains("the models are near, far"), "{message}");
        let own = dir.path().join("own");
        std::fs::create_dir(&own).unwrap();
        assert_eq!(find(&own, known(), QUIET).unwrap(), ModelFile::Path(own.clone()));
    }
}
