//! Substructure search with SMARTS patterns.
//!
//! # Examples
//! ```
//! use pushforward::chem::{Perceived, substructure::Pattern};
//! let carboxylic_acid = Pattern::of("C(=O)[OX2H1]")?;
//! let contains = |smiles| Perceived::of(smiles).map(|molecule| molecule.contains(&carboxylic_acid));
//! assert_eq!(contains("CC(=O)O"), Ok(true));
//! assert_eq!(contains("CC(=O)OC"), Ok(false));
//! assert!(Pattern::of("[").is_err());
//! # Ok::<(), String>(())
//! ```

use chematic::smarts as kit;

use super::properties::Perceived;
use super::smiles::LONGEST;

/// A compiled SMARTS pattern.
pub struct Pattern(kit::QueryMolecule);

impl Pattern {
    /// Parses a SMARTS pattern.
    ///
    /// # Errors
    /// A description of what is wrong if the text is not a SMARTS pattern.
    pub fn of(smarts: &str) -> Result<Self, String> {
        if smarts.len() > LONGEST {
            return Err(format!("a SMARTS of {} characters: the longest that is read has {LONGEST}", smarts.len()));
        }
        kit::parse_smarts(smarts).map(Self).map_err(|e| format!("{smarts:?} is not a SMARTS: {e}"))
    }
}

impl Perceived {
    /// Whether the pattern occurs in the molecule.
    pub fn contains(&self, pattern: &Pattern) -> bool {
        !kit::find_matches(&pattern.0, self.foreign()).is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_a_chemist_reads_them() {
        for (smiles, smarts, expected) in [
            ("CC(=O)Oc1ccccc1C(=O)O", "c1ccccc1", true),
            ("CC(=O)Oc1ccccc1C(=O)O", "C(=O)[OX2H1]", true),
            ("CC(=O)Oc1ccccc1C(=O)OC", "C(=O)[OX2H1]", false),
            ("CCO", "[#7]", false),
            ("C1CCCCC1", "c1ccccc1", false),
            ("CC#N", "C#N", true),
        ] {
            let pattern = Pattern::of(smarts).unwrap();
            assert_eq!(Perceived::of(smiles).unwrap().contains(&pattern), expected, "{smiles} {smarts}");
        }
        assert!(Pattern::of("c1ccc").is_err() || Pattern::of("[").is_err());
        assert!(Pattern::of(&"!".repeat(100_000)).is_err_and(|problem| problem.contains("100000 characters")));
        assert!(Pattern::of("[").err().unwrap().contains("is not a SMARTS"));
    }
}
