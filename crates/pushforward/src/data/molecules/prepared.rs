//! Cache of the parsed molecules of a file, so that the chemistry library has to read them only once.
//!
//! The cache is a text file, `<set>-<key>.smi` in the folder for it: one line of JSON (format, number of molecules,
//! what was chosen and refused), then one line per molecule, its kekulised and its canonical SMILES, and the number of
//! its part and the text of its label if the source says them.
//! The key is a hash of the bytes of the source, the settings that select molecules, and the format, so an outdated
//! file is never read. A damaged file is replaced. It is not an error if the folder is not writable: the next load then
//! takes as long as this one.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::chem::smiles::read_kekulised;
use crate::chem::{Molecule, read};
use crate::data::molecules::column::{Text, Texts, short, without_extension};
use crate::data::part_names::part_of;
use crate::hash;

/// Version of the cache; incremented whenever its format or the reading of molecules changes.
const FORMAT: u32 = 2;

/// A molecule of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) molecule: Molecule,
    pub(super) canonical: String,
    kekulised: String,
    /// Its part, if the source says it.
    pub(super) part: Option<u8>,
    /// The text of its label, if the source says it.
    pub(super) label: Option<String>,
}

/// Accepted molecules, in order, and what was said of the source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Prepared {
    pub(super) items: Vec<Item>,
    pub(super) about: About,
}

impl Prepared {
    /// The texts of the labels of all molecules.
    pub(super) fn labels(&self) -> Vec<&str> {
        self.items.iter().map(|item| item.label.as_deref().unwrap_or_default()).collect()
    }
}

/// What was read and what was refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct About {
    /// The column and why it was chosen.
    pub(super) column: String,
    pub(super) notes: Vec<String>,
    /// Number of refused texts by reason.
    pub(super) refused: BTreeMap<String, u64>,
    /// The first refused text, with its line and the reason.
    pub(super) first: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Header {
    format: u32,
    molecules: usize,
    about: About,
    /// Hash of the lines that follow.
    sha256: String,
}

/// Path of the cache of a source in a folder.
pub(super) fn place(folder: &Path, set: &str, sha256: &str, settings: &impl Serialize) -> PathBuf {
    let settings = serde_json::to_string(settings).expect("settings can be serialised");
    let key = hash::sha256([format!("{FORMAT} {sha256} {settings}")]);
    folder.join(format!("{set}-{}.smi", &key[..16]))
}

/// Reads the molecules of `texts`; `refuse` returns a reason for those that the settings exclude.
pub(super) fn prepare(texts: Texts, refuse: impl Fn(&Molecule) -> Option<String> + Sync) -> Prepared {
    let read = |text: &Text| {
        let part = text.part.as_deref();
        let part = part.map(|name| part_of(name).ok_or(format!("part {:?} is not used", short(name)))).transpose()?;
        // A text that cannot be a label is empty.
        if text.label.as_ref().is_some_and(String::is_empty) {
            return Err("no label".to_owned());
        }
        let smiles = without_extension(&text.smiles).map_err(str::to_owned)?;
        let reading = read(smiles).map_err(|refusal| refusal.reason().to_owned())?;
        match refuse(&reading.molecule) {
            Some(reason) => Err(reason),
            None => Ok(Item {
                molecule: reading.molecule,
                canonical: reading.canonical,
                kekulised: reading.kekulised,
                part,
                label: text.label.clone(),
            }),
        }
    };
    let about = About { column: texts.column, notes: texts.notes, ..About::default() };
    let mut prepared = Prepared { about, items: Vec::new() };
    let results: Vec<Result<Item, String>> = texts.texts.par_iter().map(read).collect();
    for (text, result) in texts.texts.iter().zip(results) {
        match result {
            Ok(item) => prepared.items.push(item),
            Err(reason) => {
                let about = &mut prepared.about;
                let first = || format!("line {}, {:?}: {reason}", text.line, short(&text.smiles));
                about.first.get_or_insert_with(first);
                *about.refused.entry(reason).or_default() += 1;
            }
        }
    }
    prepared
}

/// The cache at `path`; `None` if it does not exist or is damaged.
pub(super) fn load(path: &Path) -> Option<Prepared> {
    let text = fs::read_to_string(path).ok()?;
    let (header, body) = text.split_once('\n')?;
    let header: Header = serde_json::from_str(header).ok()?;
    if header.format != FORMAT || header.sha256 != hash::sha256([body]) {
        return None;
    }
    let item = |line: &str| {
        let mut fields = line.split('\t');
        let (kekulised, canonical) = (fields.next()?, fields.next()?);
        let part = fields.next().filter(|part| !part.is_empty()).map(str::parse).transpose().ok()?;
        let part = part.filter(|&part: &u8| part < 3);
        let label = fields.next().map(serde_json::from_str::<String>).transpose().ok()?;
        let molecule = read_kekulised(kekulised).ok()?;
        Some(Item { molecule, canonical: canonical.to_owned(), kekulised: kekulised.to_owned(), part, label })
    };
    let lines: Vec<&str> = body.lines().collect();
    let items = lines.par_iter().map(|line| item(line)).collect::<Option<Vec<Item>>>()?;
    (items.len() == header.molecules).then_some(Prepared { items, about: header.about })
}

/// Writes the cache to `path`, by renaming a temporary file in the same folder.
///
/// # Errors
/// The error of the operating system; no partial file is left.
pub(super) fn store(prepared: &Prepared, path: &Path) -> std::io::Result<()> {
    let part = |item: &Item| {
        let part = item.part.map_or(String::new(), |part| part.to_string());
        match &item.label {
            // As JSON, which has neither tabs nor line breaks.
            Some(label) => format!("\t{part}\t{}", serde_json::Value::from(label.as_str())),
            None if part.is_empty() => part,
            None => format!("\t{part}"),
        }
    };
    let line = |item: &Item| format!("{}\t{}{}\n", item.kekulised, item.canonical, part(item));
    let body: String = prepared.items.iter().map(line).collect();
    let header = Header {
        format: FORMAT,
        molecules: prepared.items.len(),
        about: prepared.about.clone(),
        sha256: hash::sha256([&body]),
    };
    let header = serde_json::to_string(&header).expect("a header can be serialised");
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let temporary = path.with_extension(format!("part-{}", std::process::id()));
    let written = fs::write(&temporary, format!("{header}\n{body}")).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_comes_back_and_damage_is_noticed() {
        let lines = ["CCO", "c1cc[nH]c1", "CC(C)(C)(C)C", "C[N+](=O)[O-] name", "CF", "[Na+].[Cl-]", "CC"];
        let part = |line| Some(if line < 6 { "valid" } else { "unused" }.to_owned());
        let label = |line| Some(if line == 0 { "a\tb\n" } else { "c" }.to_owned());
        let text = |(line, smiles): (u64, &str)| Text {
            line,
            smiles: smiles.to_owned(),
            part: part(line),
            label: label(line),
        };
        let texts = Texts { texts: (0..).zip(lines).map(text).collect(), ..Texts::default() };
        let no_fluorine =
            |m: &Molecule| m.atoms().iter().any(|a| a.element.symbol() == "F").then(|| "fluorine".to_owned());
        let prepared = prepare(texts, no_fluorine);
        let canonical: Vec<&str> = prepared.items.iter().map(|i| i.canonical.as_str()).collect();
        assert_eq!(canonical, ["CCO", "c1cc[nH]c1", "C[N+](=O)[O-]"]);
        let refused: Vec<(&str, u64)> = prepared.about.refused.iter().map(|(r, &n)| (r.as_str(), n)).collect();
        let expected =
            [("does not sanitise", 1), ("fluorine", 1), ("not one component", 1), ("part \"unused\" is not used", 1)];
        assert_eq!(refused, expected);
        assert_eq!(prepared.about.first.as_deref(), Some("line 2, \"CC(C)(C)(C)C\": does not sanitise"));
        assert!(prepared.items.iter().all(|item| item.part == Some(1)));

        let dir = tempfile::tempdir().unwrap();
        let path = place(dir.path(), "set", "00", &(1, 2));
        assert_ne!(path, place(dir.path(), "set", "00", &(1, 3)));
        assert_ne!(path, place(dir.path(), "set", "01", &(1, 2)));
        assert_eq!(load(&path), None);
        store(&prepared, &path).unwrap();
        assert_eq!(load(&path).as_ref(), Some(&prepared));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing temporary is left");
        let text = fs::read_to_string(&path).unwrap();
        for damaged in [
            text.replace("CCO", "CCN"),
            text[..text.len() - 4].to_owned(),
            text.replacen("\"format\":2", "\"format\":0", 1),
        ] {
            fs::write(&path, damaged).unwrap();
            assert_eq!(load(&path), None);
        }
        // A folder that cannot be created is an error, which the caller ignores.
        assert!(store(&prepared, &path.join("below/a/file")).is_err());
    }
}
