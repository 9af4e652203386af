//! A data file in the place of a recipe: what is in it decides the preset.

use std::path::Path;

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
}

/// The set that reads a file or a folder of pictures, found by its name and content; `None` for other folders, single
/// pictures and what does not exist.
pub(crate) fn set_of(path: &Path) -> Option<Found> {
    let name = path.to_string_lossy().to_lowercase();
    let plain = name.strip_suffix(".gz").unwrap_or(&name);
    let named = |endings: &[&str]| endings.iter().any(|ending| plain.ends_with(ending));
    if path.is_dir() {
        return pictures::classes(path).is_ok().then_some(Found { set: "image-folder", unusual: false });
    }
    if !path.exists() || pictures::is_picture(path) {
        return None;
    }
    // A pipe can be read only once.
    let regular = path.is_file();
    Some(if named(&[".smi", ".smiles"]) || (regular && is_smiles_file(path)) {
        Found { set: "molecules", unusual: !named(&[".smi", ".smiles", ".csv"]) }
    } else if named(&[".fa", ".fasta", ".fna", ".faa", ".ffn", ".fastq", ".fq"]) || (regular && is_sequence_file(path))
    {
        Found { set: "sequences", unusual: false }
    } else if regular && is_table_file(path) {
        Found { set: "table", unusual: !named(&[".csv", ".tsv", ".data", ".parquet"]) }
    } else if named(&[".csv"]) {
        // Its error says what is wrong with the columns.
        Found { set: "molecules", unusual: false }
    } else {
        Found { set: "text", unusual: false }
    })
}

/// The overrides that put a file into the preset of its set, and what to say of it.
pub(crate) fn settings(path: &Path, set: &str, preset: &str) -> (Vec<String>, String) {
    let file = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let stem: String = file.split('.').next().unwrap_or_default().chars().map(plain).collect();
    let quoted = toml::Value::String(path.to_string_lossy().into_owned()).to_string();
    let name = if stem.is_empty() { set.to_owned() } else { stem };
    let what = describe(set);
    let said = format!("{file} is read as {what} by the preset {preset}; another set is chosen by --set data.set=...");
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
        "image-folder" => "pictures",
        _ => "text",
    }
}

/// Characters of the name of a run.
fn plain(c: char) -> char {
    if c.is_alphanumeric() || matches!(c, '-' | '_') { c } else { '-' }
}
