//! Sets of molecules from files of SMILES: QM9, ZINC250k, and any `.smi` or table.
//!
//! Each molecule is one example, a graph with kekulised bonds and implicit hydrogens. Molecules that such a graph
//! cannot represent, or that the settings exclude, are refused and counted by reason ([`Splits::refused`]).
//! Stereochemistry is dropped. Every accepted molecule has the same canonical SMILES as its text, because the reader
//! accepts no other (see [`chem::smiles`](crate::chem::smiles)).
//!
//! A graph has as many nodes as the largest accepted molecule. The examples are shuffled by `split_seed` and divided
//! into training, validation and test part. Duplicates of the source are kept: they are part of its distribution.
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
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::chem::{Element, Molecule};
use crate::data::files::{self, Source};
use crate::data::molecules::labels::MoleculeLabel;
use crate::data::molecules::rows::Packed;
use crate::data::molecules::set::{MoleculeParts, classes, splits};
use crate::data::molecules::{prepared, smiles_file};
use crate::data::{DataError, Splits};
use crate::hash::sha256;
use crate::rng::{Purpose, stream};

/// Largest `max_atoms` of a recipe.
const MOST_ATOMS: usize = 255;

/// How molecules with formal charges are treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Charges {
    /// They are refused.
    Drop,
    /// Every charged form of an element is a node class of its own.
    Classes,
}

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
    /// Seed of the division into parts.
    pub split_seed: u64,
    /// Number of molecules to read from the start of the file. Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// How molecules are labelled, for conditional models. Default: no labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<MoleculeLabel>,
}

/// Settings of `molecules`: any file of SMILES, plain or gzipped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SmilesFileConfig {
    /// The file.
    pub path: PathBuf,
    /// The column of a table. Default: `smiles`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
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
    #[serde(default)]
    pub split_seed: u64,
    /// As in [`MoleculeConfig`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// As in [`MoleculeConfig`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<MoleculeLabel>,
}

/// A published set, with its defaults.
struct Known {
    name: &'static str,
    folder: &'static str,
    /// Possible names of its file, the preferred one first; `data fetch` stores the last.
    names: &'static [&'static str],
    charges: Charges,
    max_atoms: usize,
    elements: &'static [&'static str],
    /// Numbers of training and validation molecules of the published split of the complete set.
    split: Option<[usize; 2]>,
}

/// Small organic molecules (Ramakrishnan et al. 2014): 133,885 of up to 9 heavy atoms. Published splits have 100,000
/// and 20,000.
const QM9: Known = Known {
    name: "qm9",
    folder: "qm9",
    names: &["qm9_smiles.txt", "qm9.csv"],
    charges: Charges::Drop,
    max_atoms: 9,
    elements: &["C", "N", "O", "F"],
    split: Some([100_000, 20_000]),
};

/// Drug-like molecules (Gomez-Bombarelli et al. 2018, from ZINC): 249,455 of up to 38 heavy atoms.
const ZINC250K: Known = Known {
    name: "zinc250k",
    folder: "zinc250k",
    names: &["zinc.txt", "250k_rndm_zinc_drugs_clean_3.csv"],
    charges: Charges::Classes,
    max_atoms: 38,
    elements: &["C", "N", "O", "F", "P", "S", "Cl", "Br", "I"],
    split: None,
};

const ANY: Known = Known {
    name: "molecules",
    folder: "",
    names: &[],
    charges: Charges::Classes,
    max_atoms: 64,
    elements: &["B", "C", "N", "O", "F", "Si", "P", "S", "Cl", "Br", "I"],
    split: None,
};

/// Everything besides the file that determines which molecules are in the set.
#[derive(Serialize)]
struct Choice {
    charges: Charges,
    max_atoms: usize,
    elements: Vec<String>,
    column: Option<String>,
    limit: Option<usize>,
}

impl MoleculeConfig {
    pub(crate) fn load_qm9(&self, data_dir: &Path) -> Result<Splits, DataError> {
        self.load(&QM9, data_dir)
    }

    pub(crate) fn load_zinc250k(&self, data_dir: &Path) -> Result<Splits, DataError> {
        self.load(&ZINC250K, data_dir)
    }

    /// The file named in the recipe, or else the one that `data fetch` stores.
    pub(crate) fn paths_mut(&mut self) -> Vec<(&'static str, &mut PathBuf)> {
        self.path.iter_mut().map(|path| ("path", path)).collect()
    }

    pub(crate) fn files(&self, set: &str) -> Vec<PathBuf> {
        let known = if set == QM9.name { &QM9 } else { &ZINC250K };
        let fetched = || Path::new(known.folder).join(known.names[known.names.len() - 1]);
        vec![self.path.clone().unwrap_or_else(fetched)]
    }

    /// Whether a file of the set exists, under any of its names, in the searched folders.
    pub(crate) fn is_here(&self, set: &str, data_dir: &Path) -> bool {
        let known = if set == QM9.name { &QM9 } else { &ZINC250K };
        let dirs = files::folders(self.path.as_deref(), known.folder, data_dir);
        dirs.is_ok_and(|dirs| known.find(&dirs).is_ok())
    }

    fn load(&self, known: &Known, data_dir: &Path) -> Result<Splits, DataError> {
        let dirs = files::folders(self.path.as_deref(), known.folder, data_dir)?;
        let file = match &dirs[..] {
            [file] if file.is_file() => file.clone(),
            dirs => known.find(dirs)?,
        };
        self.read(known, None, file, data_dir)
    }

    fn read(&self, known: &Known, column: Option<&str>, file: PathBuf, data_dir: &Path) -> Result<Splits, DataError> {
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
        let charges = self.charges.unwrap_or(known.charges);
        let source = Source::read(file)?;
        let sha256 = sha256([&source]);
        let choice =
            Choice { charges, max_atoms, elements: symbols, column: column.map(Into::into), limit: self.limit };
        let kept = prepared::place(data_dir, known.name, &sha256, &choice);
        let prepared = match prepared::load(&kept) {
            Some(prepared) => prepared,
            None => {
                let mut texts = smiles_file::smiles(&source.utf8()?, column)?;
                texts.truncate(self.limit.unwrap_or(usize::MAX));
                let refuse = |molecule: &Molecule| refusal(molecule, charges, max_atoms, &elements);
                let prepared = prepared::prepare(&texts, refuse);
                // If this fails, the next load parses the file again.
                let _ = prepared::store(&prepared, &kept);
                prepared
            }
        };
        let count = prepared.items.len();
        let [train, validation] = self.split(known, count)?;
        let mut order: Vec<u32> = (0..count as u32).collect();
        stream(self.split_seed, Purpose::Split, 0).shuffle(&mut order);
        let classes = classes(prepared.items.iter().map(|item| &item.molecule), &elements);
        let mut packed = Packed::default();
        for item in &prepared.items {
            packed.push(&item.molecule, &item.canonical, &classes);
        }
        let [first, second] = [train, train + validation];
        let parts = [&order[..first], &order[first..second], &order[second..]];
        let nodes = (0..count).map(|index| packed.size(index)).max().unwrap_or(0);
        splits(MoleculeParts {
            name: known.name,
            packed,
            classes: &classes,
            nodes,
            parts,
            label: self.label.as_ref(),
            sha256,
            refused: prepared.refused,
        })
    }

    /// Numbers of training and validation molecules.
    fn split(&self, known: &Known, count: usize) -> Result<[usize; 2], DataError> {
        let shares = [count * 9 / 10, count / 20];
        let published = known.split.filter(|[train, validation]| train + validation < count);
        let [train, validation] = published.filter(|_| self.limit.is_none()).unwrap_or(shares);
        let [train, validation] = [self.train.unwrap_or(train), self.validation.unwrap_or(validation)];
        if train == 0 || validation == 0 || train + validation >= count {
            let problem = format!(
                "{train} molecules to train and {validation} to validate leave none of the {count} accepted to test; each part \
                 needs one"
            );
            return Err(DataError::Setting { key: "train", problem });
        }
        Ok([train, validation])
    }
}

impl SmilesFileConfig {
    pub(crate) fn paths_mut(&mut self) -> Vec<(&'static str, &mut PathBuf)> {
        vec![("path", &mut self.path)]
    }

    pub(crate) fn files(&self) -> Vec<PathBuf> {
        vec![self.path.clone()]
    }

    pub(crate) fn load(&self, data_dir: &Path) -> Result<Splits, DataError> {
        let file = files::existing("path", &self.path, data_dir)?;
        let config = MoleculeConfig {
            path: None,
            charges: self.charges,
            max_atoms: self.max_atoms,
            elements: self.elements.clone(),
            train: self.train,
            validation: self.validation,
            split_seed: self.split_seed,
            limit: self.limit,
            label: self.label.clone(),
        };
        config.read(&ANY, self.column.as_deref(), file, data_dir)
    }
}

impl Known {
    /// The first file of the set that exists in one of the folders.
    fn find(&self, dirs: &[PathBuf]) -> Result<PathBuf, DataError> {
        let found = self.names.iter().find_map(|name| files::find(self.name, name, dirs).ok());
        found.ok_or_else(|| DataError::NotFound {
            set: self.name.to_owned(),
            looked_for: self.names.iter().map(|name| format!("{name}[.gz]")).collect(),
            dirs: dirs.to_vec(),
        })
    }
}

/// Why the settings exclude a molecule; `None` if they do not.
fn refusal(molecule: &Molecule, charges: Charges, max_atoms: usize, elements: &[Element]) -> Option<String> {
    if molecule.atoms().len() > max_atoms {
        return Some(format!("more than {max_atoms} heavy atoms"));
    }
    if let Some(atom) = molecule.atoms().iter().find(|a| !elements.contains(&a.element)) {
        return Some(format!("element {}", atom.element.symbol()));
    }
    let charged = charges == Charges::Drop && molecule.atoms().iter().any(|a| a.charge != 0);
    charged.then(|| "formal charge".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chem::canonical;
    use crate::data::{DataConfig, ExampleKey, Layout};

    /// Alkanes, alcohols, amines and fluorides of one to eight carbons, and what QM9 refuses.
    fn texts() -> String {
        let chain = |n: usize, end: &str| format!("{}{end}\n", "C".repeat(n));
        let mut text = "SMILES\n".to_owned();
        for n in 1..=8 {
            ["", "O", "N", "F", "=O", "#N"].iter().for_each(|end| text += &chain(n, end));
        }
        text + "CCS\nC[NH3+]\nCCCCCCCCCC\nCC(C)(C)(C)C\n[Na+].[Cl-]\nC[CH2]\n[O-][N+](=O)C\nC#[O]x\n"
    }

    fn load(config: &str, dir: &Path) -> Result<Splits, DataError> {
        let config = toml::from_str::<DataConfig>(config);
        config.map_err(|e| DataError::Setting { key: "set", problem: e.to_string() })?.load(dir, 0)
    }

    #[test]
    fn labels_are_those_of_the_molecules_themselves() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("qm9")).unwrap();
        std::fs::write(dir.path().join("qm9/qm9_smiles.txt"), texts()).unwrap();
        let splits = load("set = 'qm9'\nlabel = { by = 'weight', edges = [40, 90, 1000] }", dir.path()).unwrap();
        assert_eq!(splits.train.label_count(), Some(4), "a bin without members is a label");
        for part in [&splits.train, &splits.validation, &splits.test] {
            for index in 0..part.len() {
                let smiles = part.smiles(index).unwrap();
                let weight = crate::chem::Perceived::of(smiles).unwrap().properties().weight;
                let label = u32::from(weight >= 40.0) + u32::from(weight >= 90.0);
                assert_eq!((part.label(index), part.label_of(smiles)), (Some(label), Some(label)), "{smiles}");
            }
        }
        assert_eq!(load("set = 'qm9'", dir.path()).unwrap().train.label_count(), None);
        assert!(MoleculeConfig::default().is_here("qm9", dir.path()));
        assert!(!MoleculeConfig::default().is_here("zinc250k", dir.path()));
        assert!(load("set = 'qm9'\nlabel = { by = 'colour' }", dir.path()).is_err());
    }

    #[test]
    fn accepted_molecules_come_back_and_refused_ones_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("qm9")).unwrap();
        std::fs::write(dir.path().join("qm9/qm9_smiles.txt"), texts()).unwrap();
        let splits = load("set = 'qm9'", dir.path()).unwrap();
        let parts = [&splits.train, &splits.validation, &splits.test];
        assert_eq!(parts.map(|p| p.len()), [43, 2, 3]);
        let refused: Vec<(&str, u64)> = splits.refused.iter().map(|(r, n)| (r.as_str(), *n)).collect();
        let expected = [
            ("does not sanitise", 1),
            ("element S", 1),
            ("formal charge", 2),
            ("hydrogens that valence does not imply", 1),
            ("more than 9 heavy atoms", 1),
            ("not a SMILES", 1),
            ("not one component", 1),
        ];
        assert_eq!(refused, expected);
        let Layout::Graph(layout) = &splits.schema().layout else { panic!("molecules are graphs") };
        let elements: Vec<&str> = layout.node_classes.iter().map(|c| c.element.as_str()).collect();
        assert_eq!((elements, layout.nodes, splits.schema().sites), (vec!["C", "N", "O", "F"], 9, 45));
        assert_eq!(layout.sizes.iter().sum::<u64>(), 43);
        let mut row = vec![0; 45];
        let mut seen = Vec::new();
        for part in parts {
            for index in 0..part.len() {
                part.write(ExampleKey { seed: 0, epoch: 0, index }, &mut row);
                let smiles = part.smiles(index).unwrap();
                assert_eq!(canonical(&layout.molecule(&row)).unwrap(), smiles);
                seen.push(smiles.to_owned());
            }
        }
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 48);
        // What is kept gives the same set, and another seed another split.
        assert_eq!(std::fs::read_dir(dir.path().join("prepared")).unwrap().count(), 1);
        let again = load("set = 'qm9'", dir.path()).unwrap();
        assert!((0..43).all(|i| again.train.smiles(i) == splits.train.smiles(i)));
        assert_eq!((again.refused, again.sha256), (splits.refused.clone(), splits.sha256.clone()));
        let other = load("set = 'qm9'\nsplit_seed = 1", dir.path()).unwrap();
        assert!((0..43).any(|i| other.train.smiles(i) != splits.train.smiles(i)));
    }

    #[test]
    fn charges_become_classes_and_settings_are_checked() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("m.smi"), texts()).unwrap();
        let splits = load("set = 'molecules'\npath = 'm.smi'", dir.path()).unwrap();
        let Layout::Graph(layout) = &splits.schema().layout else { panic!("molecules are graphs") };
        let classes: Vec<(&str, i8)> = layout.node_classes.iter().map(|c| (c.element.as_str(), c.charge)).collect();
        assert_eq!(classes, [("C", 0), ("N", 0), ("O", 0), ("F", 0), ("S", 0), ("N", 1), ("O", -1)]);
        assert_eq!(splits.train.len() + splits.validation.len() + splits.test.len(), 52);
        for (setting, part) in [
            ("max_atoms = 0", "1 to 255"),
            ("elements = ['Xx']", "`Xx`"),
            ("elements = ['C', 'C']", "`C`"),
            ("train = 50\nvalidation = 2", "leave none of the 52"),
            ("column = 'smi'", "`smi` is not a column"),
        ] {
            let config = format!("set = 'molecules'\npath = 'm.smi'\n{setting}");
            let message = load(&config, dir.path()).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
        let message = load("set = 'zinc250k'", dir.path()).unwrap_err().to_string();
        assert!(message.contains("zinc.txt[.gz]") && message.contains("data fetch zinc250k"), "{message}");
    }
}
