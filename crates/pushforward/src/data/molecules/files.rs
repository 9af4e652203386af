//! Sets of molecules from files of SMILES: QM9, ZINC250k, and any `.smi` or table.
//!
//! Each molecule is one example, a graph with kekulised bonds and implicit hydrogens. Molecules that such a graph
//! cannot represent, or that the settings exclude, are refused and counted by reason ([`Splits::refused`]).
//! Stereochemistry is dropped. Every accepted molecule has the same canonical SMILES as its text, because the reader
//! accepts no other (see [`chem::smiles`](crate::chem::smiles)).
//!
//! A graph has as many nodes as the largest accepted molecule. The examples are shuffled by `split_seed` and divided
//! into training, validation and test part ([`MoleculeSplit`]). Duplicates of the source are kept: they are part of its
//! distribution. Which column of a table is read, and why, is told in [`Splits::notes`].
//!
//! # Examples
//! ```
//! use pushforward::data::DataConfig;
//! let dir = tempfile::tempdir()?;
//! let alkanes: String = (1..=20).map(|n| "C".repeat(n) + "\n").collect();
//! std::fs::write(dir.path().join("alkanes.smi"), alkanes + "[Na+].[Cl-]\n")?;
//! let config: DataConfig = toml::from_str("set = 'molecules'\npath = 'alkanes.smi'")?;
//! let splits = config.load(dir.path(), 0)?;
//! assert_eq!([splits.train.len(), splits.validation.len(), splits.test.len()], [18, 1, 1]);
//! assert_eq!(splits.refused, [("not one component".to_owned(), 1)]);
//! assert_eq!(splits.refusals().as_deref(), Some("accepted 20 of 21; refused 1: not one component"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::chem::{Element, Molecule};
use crate::data::dataset::refusals;
use crate::data::files::{self, Folders, Source};
use crate::data::label_texts::LabelTexts;
use crate::data::molecules::charges::Charges;
use crate::data::molecules::column::{self, Texts};
use crate::data::molecules::known::{ANY, Known, QM9, ZINC250K};
use crate::data::molecules::labelling::MoleculeLabelling;
use crate::data::molecules::prepared::{self, Prepared};
use crate::data::molecules::rows::Packed;
use crate::data::molecules::set::{MoleculeParts, classes, splits};
use crate::data::molecules::split::MoleculeSplit;
use crate::data::parts::{self, Parts};
use crate::data::{DataError, OwnLabel, Splits};
use crate::hash::sha256;

/// Largest `max_atoms`.
const MOST_ATOMS: usize = 255;

/// Settings of `qm9` and `zinc250k`. Defaults are those of the published sets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MoleculeConfig {
    /// The file, or the folder that contains it. Default: the set's folder in the data folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// How molecules with formal charges are treated. Default: `drop` for `qm9`, `classes` otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub charges: Option<Charges>,
    /// Largest number of heavy atoms. Default: 9 for `qm9`, 38 for `zinc250k`, 64 otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_atoms: Option<usize>,
    /// Elements that molecules may have. Default: C N O F for `qm9`, C N O F P S Cl Br I for `zinc250k`, B C N O F Si
    /// P S Cl Br I otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub elements: Option<Vec<String>>,
    /// Number of training molecules. Default: 100,000 for the complete `qm9`, else nine in ten.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train: Option<usize>,
    /// Number of validation molecules; the rest is the test part. Default: 20,000 for the complete `qm9`, else one in
    /// twenty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<usize>,
    /// How molecules are divided into parts. Default: `molecules` for a new run, `items` for a recipe without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split: Option<MoleculeSplit>,
    /// Seed of the division into parts.
    pub split_seed: u64,
    /// Number of molecules to read from the start of the file. Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// How molecules are labelled, for conditional models. Default: no labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<MoleculeLabelling>,
}

/// Settings of `molecules`: any file of SMILES, plain or gzipped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SmilesFileConfig {
    /// The file.
    pub path: PathBuf,
    /// The column of a table, by its heading or its number from 1. Default: the one whose heading contains `smiles`, or
    /// whose fields read as molecules.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "heading_or_number")]
    pub column: Option<String>,
    /// As in [`MoleculeConfig`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub charges: Option<Charges>,
    /// As in [`MoleculeConfig`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_atoms: Option<usize>,
    /// As in [`MoleculeConfig`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elements: Option<Vec<String>>,
    /// As in [`MoleculeConfig`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train: Option<usize>,
    /// As in [`MoleculeConfig`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<usize>,
    /// As in [`MoleculeConfig`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<MoleculeSplit>,
    /// As in [`MoleculeConfig`].
    #[serde(default)]
    pub split_seed: u64,
    /// As in [`MoleculeConfig`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// As in [`MoleculeConfig`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<MoleculeLabelling>,
}

fn heading_or_number<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Column {
        Heading(String),
        Number(u64),
    }
    Ok(Some(match Column::deserialize(deserializer)? {
        Column::Heading(heading) => heading,
        Column::Number(number) => number.to_string(),
    }))
}

/// Everything besides the file that determines which molecules are in the set.
#[derive(Serialize)]
pub(super) struct Choice {
    charges: Charges,
    max_atoms: usize,
    elements: Vec<String>,
    pub(super) column: Option<String>,
    pub(super) part: Option<String>,
    /// The parts that have files of their own.
    pub(super) held_out: Vec<&'static str>,
    limit: Option<usize>,
    /// The column of labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) label: Option<OwnLabel>,
}

impl MoleculeConfig {
    pub(crate) fn load_qm9(&self, folders: Folders<'_>) -> Result<Splits, DataError> {
        self.load(&QM9, folders)
    }

    pub(crate) fn load_zinc250k(&self, folders: Folders<'_>) -> Result<Splits, DataError> {
        self.load(&ZINC250K, folders)
    }

    pub(crate) fn settle(&mut self) {
        self.split.get_or_insert(MoleculeSplit::Molecules);
    }

    pub(crate) fn paths_mut(&mut self) -> Vec<(&'static str, &mut PathBuf)> {
        let path = self.path.iter_mut().map(|path| ("path", path));
        path.chain(self.split.iter_mut().flat_map(MoleculeSplit::paths_mut))
            .chain(self.label.iter_mut().filter_map(MoleculeLabelling::path_mut))
            .collect()
    }

    /// The file named in the recipe, or else the one that `data fetch` stores; then those of held-out parts and of labels.
    pub(crate) fn files(&self, set: &str) -> Vec<PathBuf> {
        let known = if set == QM9.name { &QM9 } else { &ZINC250K };
        let fetched = || Path::new(known.folder).join(known.names[known.names.len() - 1]);
        let path = self.path.clone().unwrap_or_else(fetched);
        std::iter::once(path).chain(others(self.split.as_ref(), self.label.as_ref())).collect()
    }

    /// Whether a file of the set exists, under any of its names, in the searched folders.
    pub(crate) fn is_here(&self, set: &str, data_dir: &Path) -> bool {
        let known = if set == QM9.name { &QM9 } else { &ZINC250K };
        let dirs = files::folders(self.path.as_deref(), known.folder, data_dir);
        dirs.is_ok_and(|dirs| known.find(&dirs).is_ok())
    }

    /// The file of a published set.
    pub(super) fn file(&self, known: &Known, folders: Folders<'_>) -> Result<PathBuf, DataError> {
        let dirs = files::folders(self.path.as_deref(), known.folder, folders.data)?;
        match &dirs[..] {
            [file] if file.is_file() => Ok(file.clone()),
            dirs => known.find(dirs),
        }
    }

    fn load(&self, known: &Known, folders: Folders<'_>) -> Result<Splits, DataError> {
        self.read(known, None, self.file(known, folders)?, folders)
    }

    fn read(
        &self,
        known: &Known,
        column: Option<&str>,
        file: PathBuf,
        folders: Folders<'_>,
    ) -> Result<Splits, DataError> {
        let (choice, elements) = self.choice(known, column)?;
        let mut sources = vec![Source::read(file)?];
        for path in held_out(self.split.as_ref()) {
            sources.push(Source::read(files::existing("split.files", &path, folders.data)?)?);
        }
        let own = self.label.as_ref().and_then(MoleculeLabelling::own);
        let of_labels = own.map(|label| label.found_file(folders.data)).transpose()?.flatten();
        let of_labels = of_labels.map(Source::read).transpose()?;
        let sha256 = sha256(sources.iter().chain(&of_labels));
        let kept = folders.cache.map(|folder| prepared::place(folder, known.name, &sha256, &choice));
        let (prepared, stored) = match kept.as_deref().and_then(prepared::load) {
            Some(prepared) => (prepared, true),
            None => {
                let texts = self.texts(&sources, of_labels, &choice)?;
                let prepared = prepared::prepare(texts, |molecule| refusal(molecule, &choice, &elements));
                // If it cannot be stored, the next load reads the file again.
                let stored = kept.as_deref().is_some_and(|kept| prepared::store(&prepared, kept).is_ok());
                (prepared, stored)
            }
        };
        let (parts, copies) = self.parts(known, &prepared, sources[0].path())?;
        let classes = classes(prepared.items.iter().map(|item| &item.molecule), &elements);
        let mut packed = Packed::default();
        for item in &prepared.items {
            packed.push(&item.molecule, &item.canonical, &classes);
        }
        let nodes = (0..packed.len()).map(|index| packed.size(index)).max().unwrap_or(0);
        let labelled = choice.label.as_ref().map(|label| label.of_parts(&prepared.labels(), &parts)).transpose()?;
        let (own, label_names) = labelled.map(|(labels, names)| ((labels, names.len()), names)).unzip();
        let about = prepared.about;
        let mut splits = splits(MoleculeParts {
            name: known.name,
            packed,
            classes: &classes,
            nodes,
            parts: [&parts[0], &parts[1], &parts[2]],
            label: self.label.as_ref().and_then(MoleculeLabelling::property),
            own,
            sha256,
            refused: about.refused,
        })?;
        splits.notes = vec![format!("SMILES: {}", about.column)];
        splits.notes.extend(about.notes);
        splits.notes.extend(about.first.map(|first| format!("first refused: {first}")));
        splits.notes.extend(copies);
        splits.label_names = label_names.unwrap_or_default();
        splits.kept = kept.filter(|_| stored);
        Ok(splits)
    }

    /// The settings that select molecules, and the elements.
    pub(super) fn choice(&self, known: &Known, column: Option<&str>) -> Result<(Choice, Vec<Element>), DataError> {
        let setting = |key, problem| Err(DataError::Setting { key, problem });
        let max_atoms = self.max_atoms.unwrap_or(known.max_atoms);
        if !(1..=MOST_ATOMS).contains(&max_atoms) {
            return setting("max_atoms", format!("{max_atoms}; 1 to {MOST_ATOMS} are possible"));
        }
        let symbols = self.elements.clone().unwrap_or_else(|| known.elements.iter().map(|&e| e.to_owned()).collect());
        let mut elements = Vec::new();
        for symbol in &symbols {
            match Element::from_symbol(symbol) {
                Some(element) if symbol != "H" && !elements.contains(&element) => elements.push(element),
                _ => {
                    return setting(
                        "elements",
                        format!("`{symbol}` is unknown, hydrogen or listed twice; write symbols as in \"Cl\""),
                    );
                }
            }
        }
        let choice = Choice {
            charges: self.charges.unwrap_or(known.charges),
            max_atoms,
            elements: symbols,
            column: column.map(Into::into),
            part: self.split.as_ref().and_then(MoleculeSplit::column).map(Into::into),
            held_out: self.split.iter().flat_map(MoleculeSplit::files).map(|(part, _)| part).collect(),
            limit: self.limit,
            label: self.label.as_ref().and_then(MoleculeLabelling::own).cloned(),
        };
        Ok((choice, elements))
    }

    /// The texts of the file, and of those of held-out parts, with the texts of their labels.
    fn texts(&self, sources: &[Source], of_labels: Option<Source>, choice: &Choice) -> Result<Texts, DataError> {
        let column = choice.column.as_deref();
        let plain = sources[0].text()?;
        let label = self.label.as_ref().map(MoleculeLabelling::column).transpose()?.flatten();
        let mut texts = column::texts(&plain.text, sources[0].path(), column, choice.part.as_deref(), label)?;
        texts.texts.truncate(self.limit.unwrap_or(usize::MAX));
        texts.notes.splice(..0, plain.notes);
        let held_out = self.split.iter().flat_map(MoleculeSplit::files);
        for ((part, _), source) in held_out.zip(&sources[1..]) {
            let more = column::texts(&source.text()?.text, source.path(), column, None, label)?;
            texts.notes.push(format!("{part}: {}, {}", source.path().display(), more.column));
            // Those of the first file have no part yet.
            for text in texts.texts.iter_mut().filter(|text| text.part.is_none()) {
                text.part = Some("train".to_owned());
            }
            texts.texts.extend(more.texts.into_iter().map(|text| column::Text { part: Some(part.to_owned()), ..text }));
        }
        if let Some(label) = &choice.label {
            let labels = LabelTexts::new(label, of_labels)?;
            labels.mismatch(texts.texts.iter().filter_map(|text| text.label.as_deref()))?;
            texts.resolve_labels(&labels);
        }
        Ok(texts)
    }

    /// The members of each part, and a remark on copies.
    fn parts(&self, known: &Known, prepared: &Prepared, path: &Path) -> Result<(Parts, Option<String>), DataError> {
        let count = prepared.items.len();
        let names: Vec<&str> = prepared.items.iter().map(|item| item.canonical.as_str()).collect();
        let split = self.split.as_ref().unwrap_or(&MoleculeSplit::Items);
        let parts = match split {
            MoleculeSplit::Items | MoleculeSplit::Molecules => {
                let sizes = self.sizes(known, prepared, path)?;
                let of_names = || parts::by_names(&names, sizes, self.split_seed);
                match split {
                    MoleculeSplit::Molecules => of_names().ok_or_else(|| {
                        let problem = "all accepted molecules are copies of one or two, which cannot be three parts";
                        DataError::Rows { path: path.to_owned(), problem: explained(problem.to_owned(), prepared) }
                    })?,
                    _ => parts::by_items(count, sizes, self.split_seed),
                }
            }
            MoleculeSplit::Column(_) | MoleculeSplit::Files(_) => {
                let given: Vec<u8> = prepared.items.iter().map(|item| item.part.unwrap_or(0)).collect();
                let parts = parts::given(&names, &given, self.validation, self.split_seed);
                if parts.iter().any(Vec::is_empty) {
                    let [train, validation, test] = [&parts[0], &parts[1], &parts[2]].map(|part| part.len());
                    let problem = format!(
                        "the split gives {train} molecules to train, {validation} to validate and {test} to test; each \
                         part needs one (parts are called train, validation or valid, and test)"
                    );
                    return Err(DataError::Rows { path: path.to_owned(), problem: explained(problem, prepared) });
                }
                parts
            }
        };
        let (copies, several) = parts::copies(&names, &parts);
        let remark = match several {
            0 => "all in the part of the first".to_owned(),
            _ => format!("{several} molecules stand in more than one part"),
        };
        let said = format!("{copies} of {count} molecules are copies or stereoisomers of another line: {remark}");
        Ok((parts, (copies > 0).then_some(said)))
    }

    /// Numbers of training and validation molecules.
    fn sizes(&self, known: &Known, prepared: &Prepared, path: &Path) -> Result<[usize; 2], DataError> {
        let count = prepared.items.len();
        let shares = [count * 9 / 10, count / 20];
        let published = known.split.filter(|[train, validation]| train + validation < count);
        let [train, validation] = published.filter(|_| self.limit.is_none()).unwrap_or(shares);
        let [train, validation] = [self.train.unwrap_or(train), self.validation.unwrap_or(validation)];
        if count == 0 {
            let problem = explained("no text was accepted as a molecule".to_owned(), prepared);
            return Err(DataError::Rows { path: path.to_owned(), problem });
        }
        if train == 0 || validation == 0 || train.saturating_add(validation) >= count {
            let problem = format!(
                "{count} accepted molecules do not make three parts: {train} to train and {validation} to validate \
                 leave none to test, or none is left for one of these"
            );
            return Err(DataError::Rows { path: path.to_owned(), problem: explained(problem, prepared) });
        }
        Ok([train, validation])
    }
}

/// A problem of the accepted molecules, with what was read, refused and why.
fn explained(problem: String, prepared: &Prepared) -> String {
    let about = &prepared.about;
    let counts = refusals(prepared.items.len() as u64, about.refused.iter().map(|(why, &n)| (why.as_str(), n)));
    let first = about.first.as_ref().map_or(String::new(), |first| format!("\n  first refused: {first}"));
    let notes: String = about.notes.iter().map(|note| format!("\n  {note}")).collect();
    let counts = if about.refused.is_empty() { "none were refused".to_owned() } else { counts };
    format!("{problem}\n  read: {}\n  {counts}{first}{notes}", about.column)
}

/// Files of held-out parts, and the one of labels.
fn others(split: Option<&MoleculeSplit>, label: Option<&MoleculeLabelling>) -> Vec<PathBuf> {
    let labels = label.and_then(MoleculeLabelling::own).and_then(OwnLabel::file).cloned();
    held_out(split).into_iter().chain(labels).collect()
}

/// Files of held-out parts.
fn held_out(split: Option<&MoleculeSplit>) -> Vec<PathBuf> {
    split.iter().flat_map(|split| split.files()).map(|(_, path)| path.clone()).collect()
}

impl SmilesFileConfig {
    pub(crate) fn paths_mut(&mut self) -> Vec<(&'static str, &mut PathBuf)> {
        std::iter::once(("path", &mut self.path))
            .chain(self.split.iter_mut().flat_map(MoleculeSplit::paths_mut))
            .chain(self.label.iter_mut().filter_map(MoleculeLabelling::path_mut))
            .collect()
    }

    pub(crate) fn files(&self) -> Vec<PathBuf> {
        std::iter::once(self.path.clone()).chain(others(self.split.as_ref(), self.label.as_ref())).collect()
    }

    pub(crate) fn settle(&mut self) {
        self.split.get_or_insert(MoleculeSplit::Molecules);
    }

    pub(crate) fn load(&self, folders: Folders<'_>) -> Result<Splits, DataError> {
        let file = files::existing("path", &self.path, folders.data)?;
        self.plain().read(&ANY, self.column.as_deref(), file, folders)
    }

    /// The settings that published sets have too.
    pub(super) fn plain(&self) -> MoleculeConfig {
        MoleculeConfig {
            path: None,
            charges: self.charges,
            max_atoms: self.max_atoms,
            elements: self.elements.clone(),
            train: self.train,
            validation: self.validation,
            split: self.split.clone(),
            split_seed: self.split_seed,
            limit: self.limit,
            label: self.label.clone(),
        }
    }
}

/// Why the settings exclude a molecule; `None` if they do not.
pub(super) fn refusal(molecule: &Molecule, choice: &Choice, elements: &[Element]) -> Option<String> {
    if molecule.atoms().len() > choice.max_atoms {
        return Some(format!("more than {} heavy atoms", choice.max_atoms));
    }
    if let Some(atom) = molecule.atoms().iter().find(|a| !elements.contains(&a.element)) {
        return Some(format!("element {}", atom.element.symbol()));
    }
    let charged = choice.charges == Charges::Drop && molecule.atoms().iter().any(|a| a.charge != 0);
    charged.then(|| "formal charge".to_owned())
}

#[cfg(test)]
mod tests;
