//! Validity of a molecular graph.
//!
//! Two definitions are in use, and both are reported under their own names:
//!
//! - *strict*: one connected component that sanitises;
//! - *largest fragment*, as in the graph generation literature (Vignac et al. 2023, arXiv 2209.14734, and the code of
//!   most papers since): the whole graph sanitises, with any number of components, and is represented by its largest
//!   component.
//!
//! Sanitisation is that of RDKit: valences, kekulisation, and RDKit's repairs (nitro groups with five-valent nitrogen
//! are accepted). No charge is added that the graph does not have.
//!
//! # Examples
//! ```
//! use pushforward::chem::{Molecule, check, smiles::read_kekulised};
//! let ethanol_and_methane = read_kekulised("CCO.C")?;
//! let verdict = check(&ethanol_and_methane);
//! assert_eq!((verdict.strict(), verdict.largest_fragment()), (None, Some("CCO")));
//! assert_eq!(check(&Molecule::default()).largest_fragment(), None);
//! # Ok::<(), pushforward::chem::Refusal>(())
//! ```

use super::molecule::{Atom, Molecule};
use super::smiles::{Refusal, canonical};

/// The result of [`check`].
///
/// # Examples
/// ```
/// use pushforward::chem::{Refusal, Verdict};
/// let fragments = Verdict::Fragments("CCO".to_owned());
/// assert_eq!((fragments.strict(), fragments.largest_fragment()), (None, Some("CCO")));
/// assert_eq!(Verdict::Invalid(Refusal::Bond).largest_fragment(), None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// One component that sanitises: its canonical SMILES.
    Valid(String),
    /// Several components that sanitise: the canonical SMILES of the largest, the first of equals.
    Fragments(String),
    /// Not a molecule, and why.
    Invalid(Refusal),
}

impl Verdict {
    /// The canonical SMILES of a strictly valid graph, else `None`.
    pub fn strict(&self) -> Option<&str> {
        match self {
            Self::Valid(smiles) => Some(smiles),
            Self::Fragments(_) | Self::Invalid(_) => None,
        }
    }

    /// The canonical SMILES of the largest fragment if the whole graph sanitises, else `None`.
    pub fn largest_fragment(&self) -> Option<&str> {
        match self {
            Self::Valid(smiles) | Self::Fragments(smiles) => Some(smiles),
            Self::Invalid(_) => None,
        }
    }
}

/// Checks whether a graph is a molecule.
pub fn check(molecule: &Molecule) -> Verdict {
    if let Some((index, valence)) = overfull(molecule) {
        let atom = molecule.atoms()[index];
        return Verdict::Invalid(Refusal::Unsound(format!("{} with valence {valence}", atom.element.symbol())));
    }
    let components = molecule.components();
    let Some(largest) = components.iter().rev().max_by_key(|c| c.len()) else {
        return Verdict::Invalid(Refusal::Components(0));
    };
    match canonical(molecule) {
        Err(refusal) => Verdict::Invalid(refusal),
        Ok(smiles) if components.len() == 1 => Verdict::Valid(smiles),
        Ok(_) => canonical(&molecule.part(largest)).map_or_else(Verdict::Invalid, Verdict::Fragments),
    }
}

/// Largest valence of an atom, `None` where there is no simple rule. More bonds never sanitise; fewer are still subject
/// to the full check. A neutral nitrogen may have 5 here, because RDKit repairs some of these.
fn most(atom: Atom) -> Option<u32> {
    Some(match (atom.element.symbol(), atom.charge) {
        ("C", 0) => 4,
        ("C", 1 | -1) => 3,
        ("N", 0) => 5,
        ("N", 1) => 4,
        ("N", -1) => 2,
        ("O", 0) => 2,
        ("O", 1) => 3,
        ("O", -1) => 1,
        ("F", 0) => 1,
        _ => return None,
    })
}

/// The first atom with more bonds than its element and charge allow, and its valence. A cheap test that finds most
/// failures of a poor generator.
///
/// # Examples
/// ```
/// use pushforward::chem::{smiles::read_kekulised, validity::overfull};
/// assert_eq!(overfull(&read_kekulised("CCO")?), None);
/// // A carbon with five bonds.
/// assert_eq!(overfull(&read_kekulised("FC(F)(F)(F)F")?), Some((1, 5)));
/// # Ok::<(), pushforward::chem::Refusal>(())
/// ```
pub fn overfull(molecule: &Molecule) -> Option<(usize, u32)> {
    let valences = molecule.valences().into_iter().enumerate();
    valences.into_iter().find(|&(i, valence)| most(molecule.atoms()[i]).is_some_and(|most| valence > most))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chem::molecule::{Bond, Element};

    fn graph(symbols: &[(&str, i8)], bonds: &[(usize, usize, u8)]) -> Molecule {
        let atoms = symbols.iter().map(|&(s, charge)| Atom { element: Element::from_symbol(s).unwrap(), charge });
        let bonds = bonds.iter().map(|&(from, to, order)| Bond { from, to, order });
        Molecule::new(atoms.collect(), bonds.collect())
    }

    #[test]
    fn strict_and_largest_fragment() {
        let ethanol_and_methane = graph(&[("C", 0), ("C", 0), ("C", 0), ("O", 0)], &[(1, 2, 1), (2, 3, 1)]);
        let verdict = check(&ethanol_and_methane);
        assert_eq!((verdict.strict(), verdict.largest_fragment()), (None, Some("CCO")));
        assert_eq!(check(&graph(&[("C", 0)], &[])).strict(), Some("C"));
        assert_eq!(check(&Molecule::default()), Verdict::Invalid(Refusal::Components(0)));
        // One bad fragment spoils the whole, however small.
        let spoilt = graph(&[("C", 0), ("C", 0), ("O", 0), ("F", 0)], &[(0, 1, 1), (2, 3, 2)]);
        assert_eq!(check(&spoilt).largest_fragment(), None);
    }

    #[test]
    fn charges_come_only_from_the_graph() {
        let star = |symbol, charge, arms: usize| {
            let atoms: Vec<(&str, i8)> = std::iter::once((symbol, charge)).chain((0..arms).map(|_| ("C", 0))).collect();
            graph(&atoms, &(1..=arms).map(|arm| (0, arm, 1)).collect::<Vec<_>>())
        };
        assert_eq!(check(&star("N", 0, 4)).strict(), None);
        assert_eq!(check(&star("N", 1, 4)).strict(), Some("C[N+](C)(C)C"));
        assert_eq!(check(&star("O", -1, 1)).strict(), Some("C[O-]"));
        assert_eq!(check(&star("N", 1, 1)).strict(), Some("C[NH3+]"));
        assert_eq!(check(&star("C", 0, 5)).strict(), None);
        assert_eq!(check(&star("S", 0, 6)).strict(), Some("CS(C)(C)(C)(C)C"));
    }

    #[test]
    fn rdkit_repairs_nitro_groups() {
        let nitromethane = graph(&[("C", 0), ("N", 0), ("O", 0), ("O", 0)], &[(0, 1, 1), (1, 2, 2), (1, 3, 2)]);
        assert_eq!(check(&nitromethane).strict(), Some("C[N+](=O)[O-]"));
    }

    #[test]
    fn the_cheap_test_never_contradicts_the_full_one() {
        // Every star of up to four arms around every kind of centre: what the table refuses, the full check refuses.
        let mut refused = 0;
        for symbol in ["C", "N", "O", "F"] {
            for charge in -1..=1 {
                for arms in 0..=4 {
                    for orders in 0..3usize.pow(arms) {
                        let order = |arm: u32| 1 + (orders / 3usize.pow(arm) % 3) as u8;
                        let atoms: Vec<(&str, i8)> =
                            std::iter::once((symbol, charge)).chain((0..arms).map(|_| ("C", 0))).collect();
                        let bonds: Vec<_> = (0..arms).map(|arm| (0, arm as usize + 1, order(arm))).collect();
                        let molecule = graph(&atoms, &bonds);
                        if overfull(&molecule).is_some() {
                            refused += 1;
                            assert!(canonical(&molecule).is_err(), "{symbol} {charge} {bonds:?}");
                        }
                    }
                }
            }
        }
        assert!(refused > 100, "{refused}");
    }
}
