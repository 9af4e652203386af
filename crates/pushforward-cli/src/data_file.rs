//! A data file in the place of a recipe: what is in it decides the preset.

use std::path::Path;

use pushforward::data::images::pictures;
use pushforward::data::molecules::is_smiles_file;
use pushforward::data::tables::is_table_file;

/// The set that reads a file.
pub(crate) struct Found {
    pub(crate) set: &'static str,
    /// Whether files of this name usually hold something else.
    pub(crate) unusual: bool,
}

/// The set that reads a file, found by its name and content; `None` for folders, pictures and what does not exist.
pub(crate) fn set_of(path: &Path) -> Option<Found> {
    let name = path.to_string_lossy().to_lowercase();
    let plain = name.strip_suffix(".gz").unwrap_or(&name);
    let named = |endings: &[&str]| endings.iter().any(|ending| plain.ends_with(ending));
    if path.is_dir() || !path.exists() || pictures::is_picture(path) {
        return None;
    }
    // A pipe can be read only once.
    let regular = path.is_file();
    Some(if named(&[".smi", ".smiles"]) || (regular && is_smiles_file(path)) {
        Found { set: "molecules", unusual: !named(&[".smi", ".smiles", ".csv"]) }
    } else if regular && is_table_file(path) {
        Found { set: "table", unusual: !named(&[".csv", ".tsv", ".data"]) }
    } else if named(&[".csv"]) {
        // Its error says what is wrong with the columns.
        Found { set: "molecules", unusual: false }
    } else {
        Found { set: "text", unusual: false }
    })
}

/// The overrides that put a file into the preset of its set, and what to say of it.
pub(crate) fn settings(path: &Path, set: &str, preset: &str) -> ([String; 3], String) {
    let file = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let stem: String = file.split('.').next().unwrap_or_default().chars().map(plain).collect();
    let quoted = toml::Value::String(path.to_string_lossy().into_owned()).to_string();
    let name = if stem.is_empty() { set.to_owned() } else { stem };
    let what = describe(set);
    let said = format!("{file} is read as {what} by the preset {preset}; another set is chosen by --set data.set=...");
    ([format!("data.set={set}"), format!("data.path={quoted}"), format!("name={name}")], said)
}

/// What the items of a set of files are.
pub(crate) fn describe(set: &str) -> &'static str {
    match set {
        "molecules" => "molecules",
        "table" => "rows of a table",
        _ => "text",
    }
}

/// Characters of the name of a run.
fn plain(c: char) -> char {
    if c.is_alphanumeric() || matches!(c, '-' | '_') { c } else { '-' }
}
