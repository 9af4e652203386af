//! Published sets of molecules: the names of their files, and what their settings are unless a recipe says more.

use std::path::PathBuf;

use crate::data::DataError;
use crate::data::files;
use crate::data::molecules::charges::Charges;

/// A published set, with its defaults.
pub(super) struct Known {
    pub(super) name: &'static str,
    pub(super) folder: &'static str,
    /// Possible names of its file, the preferred one first; `data fetch` stores the last.
    pub(super) names: &'static [&'static str],
    pub(super) charges: Charges,
    pub(super) max_atoms: usize,
    pub(super) elements: &'static [&'static str],
    /// Numbers of training and validation molecules of the published split of the complete set.
    pub(super) split: Option<[usize; 2]>,
}

/// Small organic molecules (Ramakrishnan et al. 2014): 133,885 of up to 9 heavy atoms. Published splits have 100,000
/// and 20,000.
pub(super) const QM9: Known = Known {
    name: "qm9",
    folder: "qm9",
    names: &["qm9_smiles.txt", "qm9.csv"],
    charges: Charges::Drop,
    max_atoms: 9,
    elements: &["C", "N", "O", "F"],
    split: Some([100_000, 20_000]),
};

/// Drug-like molecules (Gomez-Bombarelli et al. 2018, from ZINC): 249,455 of up to 38 heavy atoms.
pub(super) const ZINC250K: Known = Known {
    name: "zinc250k",
    folder: "zinc250k",
    names: &["zinc.txt", "250k_rndm_zinc_drugs_clean_3.csv"],
    charges: Charges::Classes,
    max_atoms: 38,
    elements: &["C", "N", "O", "F", "P", "S", "Cl", "Br", "I"],
    split: None,
};

pub(super) const ANY: Known = Known {
    name: "molecules",
    folder: "",
    names: &[],
    charges: Charges::Classes,
    max_atoms: 64,
    elements: &["B", "C", "N", "O", "F", "Si", "P", "S", "Cl", "Br", "I"],
    split: None,
};

impl Known {
    /// The first file of the set that exists in one of the folders.
    pub(super) fn find(&self, dirs: &[PathBuf]) -> Result<PathBuf, DataError> {
        let found = self.names.iter().find_map(|name| files::find(self.name, name, dirs).ok());
        found.ok_or_else(|| DataError::NotFound {
            set: self.name.to_owned(),
            looked_for: self.names.iter().map(|name| format!("{name}[.gz]")).collect(),
            dirs: dirs.to_vec(),
        })
    }
}
