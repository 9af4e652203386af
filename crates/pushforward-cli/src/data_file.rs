//! A data file in the place of a recipe: what is in it decides the preset.

use std::path::{Path, PathBuf};

use pushforward::data::DataConfig;
use pushforward::data::images::pictures;
use pushforward::data::molecules::is_smiles_file;
use pushforward::data::sequences::is_sequence_file;
use pushforward::data::tables::is_table_file;

use crate::exit::{Failure, OrFail as _};

/// The set that reads a file.
pub(crate) struct Found {
    pub(crate) set: &'static str,
    /// Whether files of this name usually hold something else.
    pub(crate) unusual: bool,
    /// What the set reads: the file, or the folder that it belongs to.
    pub(crate) path: PathBuf,
}

/// The folder of a set of images in four IDX files, for the folder or one of its files, and the set.
fn of_idx(path: &Path) -> Option<(PathBuf, &'static str)> {
    let folder = if path.is_dir() {
        path.to_owned()
    } else {
        let name = path.file_name()?.to_string_lossy();
        let parent = path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
        name.contains("-ubyte").then(|| parent.to_owned())?
    };
    let there =
        ["train-images-idx3-ubyte", "train-images-idx3-ubyte.gz"].iter().any(|name| folder.join(name).is_file());
    let name = folder.canonicalize().ok()?.file_name().map_or_else(String::new, |n| n.to_string_lossy().to_lowercase());
    let set = [("fashion", "fashion-mnist"), ("kmnist", "kmnist"), ("kuzushiji", "kmnist")];
    let set = set.iter().find(|(part, _)| name.contains(part)).map_or("mnist", |(_, set)| set);
    there.then_some((folder, set))
}

/// The set that reads a file or a folder of pictures, found by its name and content; `None` for other folders, single
/// pictures and what does not exist.
pub(crate) fn set_of(path: &Path) -> Option<Found> {
    let name = path.to_string_lossy().to_lowercase();
    let plain = name.strip_suffix(".gz").unwrap_or(&name);
    let named = |endings: &[&str]| endings.iter().any(|ending| plain.ends_with(ending));
    if let Some((path, set)) = of_idx(path) {
        return Some(Found { set, unusual: false, path });
    }
    let found = |set: &'static str, unusual: bool| Found { set, unusual, path: path.to_owned() };
    if path.is_dir() && !matches!(DataConfig::prepared_in(path), Ok(None)) {
        return Some(found("prepared", false));
    }
    if path.is_dir() {
        return pictures::classes(path).is_ok().then(|| found("image-folder", false));
    }
    if !path.exists() || pictures::is_picture(path) {
        return None;
    }
    // A pipe can be read only once.
    let regular = path.is_file();
    Some(if named(&[".smi", ".smiles"]) || (regular && is_smiles_file(path)) {
        found("molecules", !named(&[".smi", ".smiles", ".csv"]))
    } else if named(&[".fa", ".fasta", ".fna", ".faa", ".ffn", ".fastq", ".fq"]) || (regular && is_sequence_file(path))
    {
        found("sequences", false)
    } else if regular && is_table_file(path) {
        found("table", !named(&[".csv", ".tsv", ".data", ".parquet"]))
    } else if named(&[".csv"]) {
        // Its error says what is wrong with the columns.
        found("molecules", false)
    } else {
        found("text", false)
    })
}

/// The overrides that put a file into the preset of its set, and what to say of it.
pub(crate) fn settings(path: &Path, set: &str, items: &str, preset: &str) -> (Vec<String>, String) {
    let file = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let stem: String = file.split('.').next().unwrap_or_default().chars().map(plain).collect();
    let quoted = toml::Value::String(path.to_string_lossy().into_owned()).to_string();
    let name = if stem.is_empty() { set.to_owned() } else { stem };
    let (what, how) = (describe(items), if set == "prepared" { "prepared " } else { "" });
    let said =
        format!("{file} is read as {how}{what} by the preset {preset}; another set is chosen by --set data.set=...");
    (vec![format!("data.set={set}"), format!("data.path={quoted}"), format!("name={name}")], said)
}

/// Largest side of pictures that a run takes without being told a size.
const SIDE: usize = 32;

/// The preset for a folder of pictures, and the overrides that fit it to them: grey ones become classes of grey levels,
/// conditioned on the folders they lie in; coloured ones are continuous images.
pub(crate) fn of_pictures(path: &Path) -> Result<(&'static str, Vec<String>), Failure> {
    let kinds = pictures::survey(path).or_request()?;
    let sides: Vec<usize> = kinds[0]
        .0
        .split(',')
        .next()
        .unwrap_or_default()
        .split('x')
        .filter_map(|side| side.trim().parse().ok())
        .collect();
    let [height, width] = sides[..] else { return Err(Failure::request("the size of the pictures is not known")) };
    // In whole patches of four.
    let side = |side: usize| side.min(SIDE).div_ceil(4) * 4;
    let grey = kinds.iter().all(|(kind, _)| kind.contains("grey"));
    if !grey {
        return Ok((
            "celebahq32-aef",
            vec![format!("data.size=[{SIDE},{SIDE}]"), "data.split={random={seed=0}}".into()],
        ));
    }
    let size = format!("data.size=[{},{}]", side(height), side(width));
    let mut settings = vec![size, "data.channels=1".into(), "data.pixels={levels=8}".into()];
    if pictures::classes(path).or_request()?.len() > 1 {
        settings.push("model.condition={kind=\"label\"}".into());
    }
    Ok(("fashion-quantised", settings))
}

/// What the items of a set of files are.
pub(crate) fn describe(set: &str) -> &'static str {
    match set {
        "molecules" => "molecules",
        "table" => "rows of a table",
        "sequences" => "sequences",
        "image-folder" | "mnist" | "fashion-mnist" | "kmnist" => "pictures",
        _ => "text",
    }
}

/// Characters of the name of a run.
fn plain(c: char) -> char {
    if c.is_alphanumeric() || matches!(c, '-' | '_') { c } else { '-' }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_four_files_is_found_by_its_folder_or_one_of_them() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("Fashion_mnist");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("t10k-labels-idx1-ubyte"), "").unwrap();
        assert!(set_of(&folder).is_none());
        std::fs::write(folder.join("train-images-idx3-ubyte.gz"), "").unwrap();
        for path in [folder.clone(), folder.join("t10k-labels-idx1-ubyte")] {
            let found = set_of(&path).unwrap();
            assert_eq!((found.set, found.path), ("fashion-mnist", folder.clone()));
        }
    }
}
