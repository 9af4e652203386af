//! SMILES to molecules and back.
//!
//! Reading sanitises as RDKit does, writes the kekulised form and takes atoms and bonds from that, so that RDKit's
//! repairs apply (nitro groups written with five-valent nitrogen). A molecule is accepted only if writing the graph
//! gives the canonical SMILES of the text without stereochemistry: what a graph of elements, charges and bonds cannot
//! represent (radicals, hydrogens that valence does not imply) is refused, not silently dropped.
//! Canonical SMILES are those of RDKit 2026.03 (Weininger 1988 for the language; Schneider, Sahnoun, Landrum 2015 for
//! the order of the atoms).
//!
//! # Examples
//! ```
//! use pushforward::chem::smiles::{canonical, read, read_kekulised};
//! let reading = read("C1=CC=CC=C1O")?;
//! assert_eq!(reading.canonical, "Oc1ccccc1");
//! assert_eq!(canonical(&reading.molecule)?, reading.canonical);
//! assert_eq!(read_kekulised(&reading.kekulised)?, reading.molecule);
//! assert_eq!(read("[Na+].[Cl-]").unwrap_err().reason(), "not one component");
//! # Ok::<(), pushforward::chem::Refusal>(())
//! ```

use chematic::smiles as kit;
use chematic::smiles::{RdkitSmilesError, RdkitSmilesParams};

use super::molecule::Molecule;

/// Longest SMILES or SMARTS that is read, in bytes: the time for canonical names grows with the cube of the number of
/// atoms, and the parsers of the chemistry library recurse.
pub(super) const LONGEST: usize = 2048;

/// Why a text or a graph is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The text has more than 2048 bytes.
    #[error("{0} characters: the longest SMILES that is read has {LONGEST}")]
    TooLong(usize),
    /// The text is not a SMILES.
    #[error("not a SMILES: {0}")]
    Unparsable(String),
    /// Impossible valences, or aromatic rings that cannot be kekulised.
    #[error("does not sanitise: {0}")]
    Unsound(String),
    /// Not supported by the chemistry library.
    #[error("not supported: {0}")]
    Unsupported(String),
    /// Not exactly one connected component: salts, mixtures, or no atom.
    #[error("{0} components instead of one")]
    Components(usize),
    /// An atom with a specified isotope.
    #[error("an isotope")]
    Isotope,
    /// A wildcard atom `*`.
    #[error("an atom of no element")]
    Wildcard,
    /// A bond that is not single, double or triple.
    #[error("a bond that is not single, double or triple")]
    Bond,
    /// Hydrogen counts that valence does not imply, such as those of radicals.
    #[error("hydrogens that valence does not imply")]
    Hydrogens,
}

impl Refusal {
    /// The reason without details, for counting.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::TooLong(_) => "too long",
            Self::Unparsable(_) => "not a SMILES",
            Self::Unsound(_) => "does not sanitise",
            Self::Unsupported(_) => "not supported",
            Self::Components(_) => "not one component",
            Self::Isotope => "isotope",
            Self::Wildcard => "atom of no element",
            Self::Bond => "bond that is not single, double or triple",
            Self::Hydrogens => "hydrogens that valence does not imply",
        }
    }
}

impl From<RdkitSmilesError> for Refusal {
    fn from(error: RdkitSmilesError) -> Self {
        match error {
            RdkitSmilesError::Sanitization(what) => Self::Unsound(what),
            RdkitSmilesError::Unsupported(what) => Self::Unsupported(what),
        }
    }
}

/// A molecule that was read, with its canonical and its kekulised SMILES.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The graph.
    pub molecule: Molecule,
    /// Its canonical SMILES.
    pub canonical: String,
    /// A kekulised SMILES of the same molecule, for [`read_kekulised`].
    pub kekulised: String,
}

/// Reads one molecule from a SMILES. Stereochemistry is dropped.
///
/// # Errors
/// If the text is not a SMILES, does not sanitise, or cannot be represented as one connected graph of elements, charges
/// and bonds; see [`Refusal`].
///
/// # Examples
/// ```
/// use pushforward::chem::{Refusal, read};
/// // Different texts of one molecule; a nitro group is repaired; a radical is refused.
/// assert_eq!(read("OCC")?.canonical, read("[CH3][CH2][OH]")?.canonical);
/// assert_eq!(read("CN(=O)=O")?.canonical, "C[N+](=O)[O-]");
/// assert_eq!(read("[CH2]C"), Err(Refusal::Hydrogens));
/// # Ok::<(), Refusal>(())
/// ```
pub fn read(text: &str) -> Result<Reading, Refusal> {
    let parsed = parse(text)?;
    if parsed.atoms().any(|(_, a)| a.wildcard) {
        return Err(Refusal::Wildcard);
    }
    if parsed.atoms().any(|(_, a)| a.isotope.is_some()) {
        return Err(Refusal::Isotope);
    }
    let flat = RdkitSmilesParams { isomeric: false, ..RdkitSmilesParams::default() };
    let kekulised = kit::rdkit_smiles(&parsed, &RdkitSmilesParams { kekule: true, ..flat })?;
    let molecule = read_kekulised(&kekulised)?;
    let components = molecule.components().len();
    if components != 1 {
        return Err(Refusal::Components(components));
    }
    let canonical = canonical(&molecule)?;
    if canonical != kit::rdkit_smiles(&parsed, &flat)? {
        return Err(Refusal::Hydrogens);
    }
    Ok(Reading { molecule, canonical, kekulised })
}

/// Reads a SMILES without aromatic atoms, without checking its chemistry: for [`Reading::kekulised`].
///
/// # Errors
/// If the text is not a SMILES, or has bonds other than single, double and triple ones.
pub fn read_kekulised(text: &str) -> Result<Molecule, Refusal> {
    Molecule::of_foreign(&parse(text)?).ok_or(Refusal::Bond)
}

/// The canonical SMILES of a graph, with hydrogens by valence.
///
/// # Errors
/// If the graph does not sanitise.
pub fn canonical(molecule: &Molecule) -> Result<String, Refusal> {
    Ok(kit::rdkit_canonical_smiles(&molecule.foreign())?)
}

/// The canonical SMILES of a SMILES, stereochemistry included, as RDKit reads and writes it.
///
/// # Errors
/// If the text is not a SMILES or does not sanitise.
///
/// # Examples
/// ```
/// use pushforward::chem::smiles::{canonical_text, read};
/// assert_eq!(canonical_text("F/C=C/F")?, "F/C=C/F");
/// assert_eq!(read("F/C=C/F")?.canonical, "FC=CF");
/// # Ok::<(), pushforward::chem::Refusal>(())
/// ```
pub fn canonical_text(text: &str) -> Result<String, Refusal> {
    Ok(kit::rdkit_canonical_smiles(&parse(text)?)?)
}

pub(super) fn parse(text: &str) -> Result<chematic::core::Molecule, Refusal> {
    if text.len() > LONGEST {
        return Err(Refusal::TooLong(text.len()));
    }
    if let Some(place) = loose_bond(text) {
        return Err(Refusal::Unparsable(format!("the bond at position {place} is not followed by an atom")));
    }
    kit::parse(text).map_err(|error| Refusal::Unparsable(error.to_string()))
}

/// Position of the first bond that is followed by a parenthesis, as in `C-(N)` and `C(=)N`. RDKit refuses it; the
/// parser would ignore it.
fn loose_bond(text: &str) -> Option<usize> {
    let mut bracket = false;
    text.bytes().zip(text.bytes().skip(1)).position(|(here, next)| {
        bracket = here == b'[' || (bracket && here != b']');
        !bracket && b"-=#$:/\\~".contains(&here) && matches!(next, b'(' | b')')
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::chem::molecule::Bond;

    #[test]
    fn texts_of_one_molecule_have_one_canonical_form() {
        for (texts, expected) in [
            (["OCC", "C(O)C", "[CH3][CH2][OH]"], "CCO"),
            (["C1=CC=CC=C1", "c1ccccc1", "C1C=CC=CC=1"], "c1ccccc1"),
            (["c1cc[nH]c1", "N1C=CC=C1", "C1=CNC=C1"], "c1cc[nH]c1"),
            (["CN(=O)=O", "C[N+](=O)[O-]", "[O-][N+](=O)C"], "C[N+](=O)[O-]"),
            (["C[C@H](N)C(=O)O", "C[C@@H](N)C(=O)O", "CC(N)C(O)=O"], "CC(N)C(=O)O"),
            (["F/C=C/F", "F/C=C\\F", "FC=CF"], "FC=CF"),
            (["CC(-N)=O", "C-C(=O)-N", "NC(C)=O"], "CC(N)=O"),
            (["C[NH3+]", "[NH3+]C", "[H][N+]([H])([H])C"], "C[NH3+]"),
        ] {
            for text in texts {
                let reading = read(text).unwrap_or_else(|e| panic!("{text}: {e}"));
                assert_eq!(reading.canonical, expected, "{text}");
                assert_eq!(canonical(&reading.molecule).unwrap(), expected, "{text}");
                let again = read_kekulised(&reading.kekulised).unwrap();
                assert_eq!(again, reading.molecule, "{text}");
            }
        }
    }

    #[test]
    fn refusals_name_their_reason() {
        for (text, reason) in [
            ("C".repeat(LONGEST + 1).as_str(), "too long"),
            ("C1CC", "not a SMILES"),
            ("Qq", "not a SMILES"),
            ("C-(N)C", "not a SMILES"),
            ("C(=)N", "not a SMILES"),
            ("CC(C)(C)(C)C", "does not sanitise"),
            ("c1cccc1", "does not sanitise"),
            ("[Na+].[Cl-]", "not one component"),
            ("[13CH4]", "isotope"),
            ("C*", "atom of no element"),
            ("[CH2]C", "hydrogens that valence does not imply"),
        ] {
            let refusal = read(text).unwrap_err();
            assert_eq!(refusal.reason(), reason, "{text}: {refusal}");
        }
    }

    proptest! {
        #[test]
        fn the_order_of_atoms_and_bonds_does_not_matter(
            which in 0usize..6, swaps in proptest::collection::vec((0usize..64, 0usize..64), 0..40),
        ) {
            let texts = [
                "CC(=O)Nc1ccc(O)cc1", "Cn1cnc2c1c(=O)n(C)c(=O)n2C", "C1CC2CCC1C2", "[O-][N+](=O)c1ccsc1", "N#CC1(C=O)CC1",
                "CS(=O)(=O)N1CCOCC1",
            ];
            let reading = read(texts[which]).unwrap();
            let atoms = reading.molecule.atoms().len();
            let mut order: Vec<usize> = (0..atoms).collect();
            swaps.iter().for_each(|&(a, b)| order.swap(a % atoms, b % atoms));
            let moved = reading.molecule.part(&order);
            let mut bonds: Vec<Bond> = moved.bonds().to_vec();
            let count = bonds.len();
            for &(a, b) in &swaps {
                bonds.swap(a % count, b % count);
                let bond = &mut bonds[a % count];
                (bond.from, bond.to) = (bond.to, bond.from);
            }
            let moved = Molecule::new(moved.atoms().to_vec(), bonds);
            prop_assert_eq!(canonical(&moved).unwrap(), reading.canonical);
        }
    }
}
