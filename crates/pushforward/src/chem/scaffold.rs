//! Murcko scaffolds: the rings of a molecule, their linkers and the atoms doubly bonded to either, as RDKit extracts
//! them. Bemis and Murcko, The properties of known drugs, 1996.
//!
//! # Examples
//! ```
//! use pushforward::chem::Perceived;
//! assert_eq!(Perceived::of("CC1CCC(=O)C1")?.scaffold(), "O=C1CCCC1");
//! assert_eq!(Perceived::of("CCCC")?.scaffold(), "");
//! # Ok::<(), pushforward::chem::Refusal>(())
//! ```

use chematic::smiles as kit;

use super::properties::Perceived;

impl Perceived {
    /// Canonical SMILES of the Murcko scaffold; empty for a molecule without rings.
    pub fn scaffold(&self) -> String {
        kit::rdkit_murcko_scaffold(self.foreign()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn side_chains_go_and_linkers_stay() {
        for (smiles, scaffold) in [
            ("CCc1ccc(CC(=O)NC2CCCC2)cc1", "O=C(Cc1ccccc1)NC1CCCC1"),
            ("CC1CCC(=O)C1", "O=C1CCCC1"),
            ("Cn1cccc1", "c1cc[nH]c1"),
            ("CCCC", ""),
        ] {
            assert_eq!(Perceived::of(smiles).unwrap().scaffold(), scaffold);
        }
    }
}
