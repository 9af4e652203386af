//! Small files of models, see [`Checkpoint::pack`].

use std::collections::BTreeMap;
use std::path::Path;

use crate::flow_map::backbone::BackboneConfig;
use crate::hash;
use crate::run::load::checkpoint_file;
use crate::run::role::Role;
use crate::run::stored::{LoadError, ROLE_KEY, Stored};
use crate::train::checkpoint::{Checkpoint, CheckpointError, Half};

/// Provenance key of the SHA-256 of the checkpoint that a small file was made from.
const PACKED_FROM: &str = "packed_from_sha256";

/// The bytes of a small file of a run folder or checkpoint, with the role of the model and `about` added to its
/// provenance. Its averaged weights are those of the checkpoint, rounded; its recipe names files without their folders.
///
/// # Errors
/// If the checkpoint cannot be loaded, or a weight is too large for the type.
///
/// # Examples
/// ```
/// use std::{collections::BTreeMap, ops::ControlFlow, path::Path};
/// use pushforward::prelude::*;
/// use pushforward::run::{ROLE_KEY, WeightSet, load_bytes, pack};
/// use pushforward::train::checkpoint::Half;
///
/// let text = "name = 'tiny'\ndata = { set = 'echo' }\nmodel = { family = 'flow-map', network = { kind = 'mlp', width = 8 } }";
/// let recipe: Recipe = Recipe::parse(text, "tiny", &["train.steps=1".into()])?;
/// let (folder, device) = (tempfile::tempdir()?, Device::flex());
/// let options = TrainOptions { folder: Some(folder.path().into()), ..TrainOptions::new(device.clone()) };
/// train(&recipe, &Data::load(&recipe, Path::new("made"))?, options, &mut |_| ControlFlow::Continue(()))?;
///
/// let about = BTreeMap::from([("data_licence".to_owned(), "made by the program".to_owned())]);
/// let small = pack::<NetworkConfig>(folder.path(), Half::F16, about)?;
/// let loaded = load_bytes::<NetworkConfig>(&small, Path::new("tiny"), WeightSet::Ema, &device)?;
/// assert_eq!(loaded.run.provenance[ROLE_KEY], "map");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn pack<C: BackboneConfig>(
    path: &Path,
    numbers: Half,
    about: BTreeMap<String, String>,
) -> Result<Vec<u8>, LoadError> {
    let path = checkpoint_file(path);
    let mut file = Checkpoint::load(&path)?;
    let Stored { mut recipe, .. } = Stored::<C>::of(&file, &path)?;
    if recipe.drop_folders() {
        file.recipe = recipe.to_toml();
    }
    // A small file that is packed again keeps the checkpoint that it was made from.
    if !file.raw.is_empty() {
        let sha256 = hash::sha256_file(&path).map_err(|source| CheckpointError::Read { path: path.clone(), source })?;
        file.provenance.insert(PACKED_FROM.into(), sha256);
    }
    file.provenance.insert(ROLE_KEY.into(), Role::of(&recipe.model).name().into());
    file.provenance.extend(about);
    Ok(file.pack(numbers)?)
}
