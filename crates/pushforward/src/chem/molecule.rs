//! A molecule as a graph: elements with formal charges, and bonds of order 1 to 3.
//!
//! Hydrogens are implicit: each atom has as many as its valence allows, as RDKit adds them. Aromatic rings are
//! kekulised (alternating single and double bonds), and stereochemistry is not represented.
//!
//! # Examples
//! ```
//! use pushforward::chem::{Atom, Bond, Element, Molecule, canonical};
//! let carbon = Atom { element: Element::CARBON, charge: 0 };
//! let oxide = Atom { element: Element::from_symbol("O").unwrap(), charge: -1 };
//! let methoxide = Molecule::new(vec![carbon, oxide], vec![Bond { from: 0, to: 1, order: 1 }]);
//! assert_eq!(canonical(&methoxide)?, "C[O-]");
//! # Ok::<(), pushforward::chem::Refusal>(())
//! ```

use std::fmt;

use chematic::core as kit;

/// A chemical element.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Element(u8);

impl Element {
    /// Carbon.
    pub const CARBON: Self = Self(6);

    /// The element with that symbol, such as `Cl`; `None` if there is none.
    pub fn from_symbol(symbol: &str) -> Option<Self> {
        kit::Element::from_symbol(symbol).map(|element| Self(element.atomic_number()))
    }

    /// Its symbol.
    pub fn symbol(self) -> &'static str {
        self.foreign().symbol()
    }

    /// Its atomic number.
    pub fn number(self) -> u8 {
        self.0
    }

    /// The element with that atomic number; `None` if there is none.
    pub(crate) fn from_number(number: u8) -> Option<Self> {
        kit::Element::from_atomic_number(number).map(|_| Self(number))
    }

    fn foreign(self) -> kit::Element {
        kit::Element::from_atomic_number(self.0).expect("an `Element` has a valid atomic number")
    }
}

impl fmt::Debug for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.symbol())
    }
}

/// An atom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Atom {
    /// Its element.
    pub element: Element,
    /// Its formal charge.
    pub charge: i8,
}

/// A bond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bond {
    /// One end.
    pub from: usize,
    /// The other end.
    pub to: usize,
    /// 1 single, 2 double, 3 triple.
    pub order: u8,
}

/// A molecule: a graph of atoms and bonds.
///
/// # Examples
/// ```
/// use pushforward::chem::{Atom, Bond, Element, Molecule};
/// let atom = |symbol| Atom { element: Element::from_symbol(symbol).unwrap(), charge: 0 };
/// // C=O and a separate F.
/// let molecule = Molecule::new(vec![atom("C"), atom("O"), atom("F")], vec![Bond { from: 0, to: 1, order: 2 }]);
/// assert_eq!(molecule.valences(), [2, 2, 0]);
/// assert_eq!(molecule.components(), [vec![0, 1], vec![2]]);
/// assert_eq!(molecule.part(&[2]).atoms(), [atom("F")]);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Molecule {
    atoms: Vec<Atom>,
    bonds: Vec<Bond>,
}

impl Molecule {
    /// A molecule of these atoms and bonds.
    ///
    /// # Panics
    /// If a bond has an end that is not an atom, joins an atom to itself or a pair that is joined already, or has an
    /// order other than 1, 2 or 3.
    pub fn new(atoms: Vec<Atom>, bonds: Vec<Bond>) -> Self {
        let mut pairs: Vec<(usize, usize)> = bonds
            .iter()
            .map(|bond| {
                let (i, j) = (bond.from.min(bond.to), bond.from.max(bond.to));
                assert!(i < j && j < atoms.len(), "bond {i}-{j} is not between two different atoms of {}", atoms.len());
                assert!((1..=3).contains(&bond.order), "bond {i}-{j} has order {}, not 1 to 3", bond.order);
                (i, j)
            })
            .collect();
        pairs.sort_unstable();
        assert!(pairs.windows(2).all(|w| w[0] != w[1]), "two bonds join the same pair of atoms");
        Self { atoms, bonds }
    }

    /// Its atoms.
    pub fn atoms(&self) -> &[Atom] {
        &self.atoms
    }

    /// Its bonds.
    pub fn bonds(&self) -> &[Bond] {
        &self.bonds
    }

    /// Sum of the orders of each atom's bonds.
    pub fn valences(&self) -> Vec<u32> {
        let mut valences = vec![0; self.atoms.len()];
        for bond in &self.bonds {
            valences[bond.from] += u32::from(bond.order);
            valences[bond.to] += u32::from(bond.order);
        }
        valences
    }

    /// Atoms of each connected component; components are in the order of their first atoms.
    pub fn components(&self) -> Vec<Vec<usize>> {
        let mut root: Vec<usize> = (0..self.atoms.len()).collect();
        fn find(root: &mut [usize], mut i: usize) -> usize {
            while root[i] != i {
                root[i] = root[root[i]];
                i = root[i];
            }
            i
        }
        for bond in &self.bonds {
            let (a, b) = (find(&mut root, bond.from), find(&mut root, bond.to));
            // The smaller index stays the root, so that a component is found at its first atom.
            root[a.max(b)] = a.min(b);
        }
        let mut place = vec![usize::MAX; self.atoms.len()];
        let mut components: Vec<Vec<usize>> = Vec::new();
        for atom in 0..self.atoms.len() {
            let top = find(&mut root, atom);
            if place[top] == usize::MAX {
                place[top] = components.len();
                components.push(Vec::new());
            }
            components[place[top]].push(atom);
        }
        components
    }

    /// The subgraph induced by some of its atoms, in the order given.
    ///
    /// # Panics
    /// If an index is out of range or occurs twice.
    pub fn part(&self, atoms: &[usize]) -> Self {
        let mut place = vec![usize::MAX; self.atoms.len()];
        for (new, &old) in atoms.iter().enumerate() {
            assert!(place[old] == usize::MAX, "atom {old} is listed twice");
            place[old] = new;
        }
        let inside = self.bonds.iter().filter(|b| place[b.from] != usize::MAX && place[b.to] != usize::MAX);
        let bonds = inside.map(|b| Bond { from: place[b.from], to: place[b.to], order: b.order }).collect();
        Self { atoms: atoms.iter().map(|&a| self.atoms[a]).collect(), bonds }
    }

    /// The molecule in the form of the chemistry library, hydrogens left to its valence rules.
    pub(super) fn foreign(&self) -> kit::Molecule {
        let mut builder = kit::MoleculeBuilder::with_capacity(self.atoms.len(), self.bonds.len());
        for atom in &self.atoms {
            let mut made = kit::Atom::organic(atom.element.foreign());
            made.charge = atom.charge;
            builder.add_atom(made);
        }
        for bond in &self.bonds {
            let order = match bond.order {
                1 => kit::BondOrder::Single,
                2 => kit::BondOrder::Double,
                _ => kit::BondOrder::Triple,
            };
            builder
                .add_bond(kit::AtomIdx(bond.from as u32), kit::AtomIdx(bond.to as u32), order)
                .expect("a molecule's bonds join different pairs of its atoms");
        }
        builder.build()
    }

    /// The atoms and bonds of a kekulised molecule of the chemistry library; `None` if a bond is not single, double or
    /// triple.
    pub(super) fn of_foreign(molecule: &kit::Molecule) -> Option<Self> {
        let atom = |a: &kit::Atom| Atom { element: Element(a.element.atomic_number()), charge: a.charge };
        let atoms = molecule.atoms().map(|(_, a)| atom(a)).collect();
        let mut bonds = Vec::with_capacity(molecule.bond_count());
        for (_, bond) in molecule.bonds() {
            let order = match bond.order {
                kit::BondOrder::Single | kit::BondOrder::Up | kit::BondOrder::Down => 1,
                kit::BondOrder::Double => 2,
                kit::BondOrder::Triple => 3,
                _ => return None,
            };
            bonds.push(Bond { from: bond.atom1.0 as usize, to: bond.atom2.0 as usize, order });
        }
        Some(Self { atoms, bonds })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(symbols: &str, bonds: &[(usize, usize, u8)]) -> Molecule {
        let atom = |c: char| Atom { element: Element::from_symbol(&c.to_string()).unwrap(), charge: 0 };
        let bond = |&(from, to, order): &(usize, usize, u8)| Bond { from, to, order };
        Molecule::new(symbols.chars().map(atom).collect(), bonds.iter().map(bond).collect())
    }

    #[test]
    fn components_come_in_order_of_their_first_atoms() {
        let molecule = chain("CNOCF", &[(4, 1, 1), (3, 0, 1)]);
        assert_eq!(molecule.components(), [vec![0, 3], vec![1, 4], vec![2]]);
        assert_eq!(molecule.part(&[4, 1]), chain("FN", &[(0, 1, 1)]));
        assert_eq!(chain("CO", &[(0, 1, 2)]).valences(), [2, 2]);
        assert!(Molecule::default().components().is_empty());
    }

    #[test]
    fn the_library_s_form_comes_back() {
        let molecule = chain("CNC", &[(0, 1, 1), (1, 2, 2)]);
        assert_eq!(Molecule::of_foreign(&molecule.foreign()), Some(molecule));
        assert_eq!(Element::from_symbol("Cl").map(|e| (e.number(), e.symbol())), Some((17, "Cl")));
        assert_eq!(Element::from_symbol("Xx"), None);
    }

    #[test]
    #[should_panic(expected = "same pair")]
    fn a_pair_is_joined_once() {
        chain("CC", &[(0, 1, 1), (1, 0, 2)]);
    }
}
