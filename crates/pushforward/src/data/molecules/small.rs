//! All molecules of a few atoms: a synthetic set whose members are known completely.
//!
//! Members are the connected graphs of up to `atoms` heavy atoms with bonds of order 1 to 3 in which no atom has more
//! bonds than its valence (C 4, N 3, O 2, F 1), hydrogens filling the rest, that RDKit sanitises; graphs with the same
//! canonical SMILES count once. The rules are those of valence only; many members cannot be synthesised.
//!
//! They are enumerated by growth: every connected graph has a node whose removal leaves it connected, so every graph of
//! `n + 1` atoms is a graph of `n` atoms and one more atom, bonded to some of them in a way that valences allow.
//!
//! With all four elements there are 5,452 members of up to 5 atoms, made in a tenth of a second, and 47,519 of up to 6.
//! Graphs that the chemistry library cannot write are left out and counted: of five atoms there is one, five carbons
//! each bonded to all others. A tenth of the members is the validation part and a tenth the test part, chosen by the
//! seed, so that the novelty of samples is meaningful; coverage is relative to all members.
//!
//! # Examples
//! ```
//! use std::path::Path;
//! use pushforward::data::DataConfig;
//! let config: DataConfig = toml::from_str("set = 'small-molecules'\natoms = 3")?;
//! let splits = config.load(Path::new("unused"), 0)?;
//! let parts = [&splits.train, &splits.validation, &splits.test];
//! // Ethanol is in exactly one part.
//! let hits = |smiles| parts.iter().flat_map(|p| (0..p.len()).filter(|&i| p.smiles(i).as_deref() == Some(smiles))).count();
//! assert_eq!((hits("CCO"), hits("CCCC")), (1, 0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::chem::{Atom, Bond, Element, Molecule, Verdict, check, read};
use crate::data::molecules::labels::MoleculeLabel;
use crate::data::molecules::rows::Packed;
use crate::data::molecules::set::{MoleculeParts, classes, splits};
use crate::data::{DataError, Splits, files};
use crate::rng::{Purpose, stream};

/// Largest number of atoms of a recipe.
const MOST: usize = 6;
/// Elements that are possible in a recipe, with their valences.
const VALENCES: [(&str, u8); 4] = [("C", 4), ("N", 3), ("O", 2), ("F", 1)];

/// Settings of `small-molecules`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SmallMoleculeConfig {
    /// Largest number of heavy atoms, 2 to 6. Default 5.
    pub atoms: usize,
    /// Elements, some of C N O F. Default: all.
    pub elements: Vec<String>,
    /// How molecules are labelled, for conditional models. Default: no labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<MoleculeLabel>,
}

impl Default for SmallMoleculeConfig {
    fn default() -> Self {
        Self { atoms: 5, elements: VALENCES.map(|(symbol, _)| symbol.to_owned()).to_vec(), label: None }
    }
}

impl SmallMoleculeConfig {
    pub(crate) fn load(&self, seed: u64) -> Result<Splits, DataError> {
        let setting = |key, problem| Err(DataError::Setting { key, problem });
        if !(2..=MOST).contains(&self.atoms) {
            return setting("atoms", format!("{}; 2 to {MOST} are possible", self.atoms));
        }
        let mut kinds: Vec<Kind> = Vec::new();
        for symbol in &self.elements {
            let known = VALENCES.iter().find(|(s, _)| s == symbol);
            match known.zip(Element::from_symbol(symbol)) {
                Some(((_, valence), element)) if kinds.iter().all(|k| k.element != element) => {
                    kinds.push(Kind { element, valence: *valence });
                }
                _ => return setting("elements", format!("`{symbol}`; each of C, N, O and F is possible, once")),
            }
        }
        let (molecules, refused) = members(self.atoms, &kinds);
        let count = molecules.len();
        if count < 20 {
            return setting("elements", format!("only {count} molecules are possible, too few for three parts"));
        }
        let elements: Vec<Element> = kinds.iter().map(|k| k.element).collect();
        let classes = classes(molecules.iter().map(|(_, molecule)| molecule), &elements);
        let mut packed = Packed::default();
        for (smiles, molecule) in &molecules {
            packed.push(molecule, smiles, &classes);
        }
        let mut order: Vec<u32> = (0..count as u32).collect();
        stream(seed, Purpose::Split, 0).shuffle(&mut order);
        let (first, second) = (count - 2 * (count / 10), count - count / 10);
        let parts = [&order[..first], &order[first..second], &order[second..]];
        let sha256 = files::sha256_made("small-molecules in the order of SMILES", self, seed);
        splits(MoleculeParts {
            name: "small-molecules",
            packed,
            classes: &classes,
            nodes: self.atoms,
            parts,
            label: self.label.as_ref(),
            own: None,
            sha256,
            refused,
        })
    }
}

/// An element and its valence.
struct Kind {
    element: Element,
    valence: u8,
}

/// A graph under construction: the kinds of its atoms and the bond order of every pair.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Growing {
    kinds: Vec<u8>,
    bonds: [[u8; MOST]; MOST],
}

/// All members sorted by size, then by canonical SMILES; and the number of refused graphs by reason.
fn members(most: usize, kinds: &[Kind]) -> (Vec<(String, Molecule)>, BTreeMap<String, u64>) {
    let single = |kind: usize| Growing { kinds: vec![kind as u8], bonds: [[0; MOST]; MOST] };
    let mut layer: BTreeSet<Growing> = (0..kinds.len()).map(single).collect();
    let (mut found, mut refused) = (Vec::new(), BTreeMap::new());
    for size in 1..=most {
        let graphs: Vec<&Growing> = layer.iter().collect();
        let checked: Vec<(Molecule, Verdict)> = graphs
            .par_iter()
            .map(|graph| {
                let molecule = graph.molecule(kinds);
                let verdict = check(&molecule);
                (molecule, verdict)
            })
            .collect();
        let mut named = BTreeMap::new();
        for (molecule, verdict) in checked {
            match verdict {
                Verdict::Valid(smiles) => {
                    // The two Kekule forms of an aromatic ring are one molecule; the first is kept.
                    named.entry(smiles).or_insert(molecule);
                }
                Verdict::Fragments(_) => unreachable!("growth keeps graphs connected"),
                Verdict::Invalid(refusal) => *refused.entry(refusal.reason().to_owned()).or_default() += 1,
            }
        }
        // Atoms in the order of the SMILES, as in sets read from files.
        let named: Vec<(String, Molecule)> = named.into_iter().collect();
        found.par_extend(named.into_par_iter().map(|(smiles, molecule)| {
            let ordered = read(&smiles).map_or(molecule, |reading| reading.molecule);
            (smiles, ordered)
        }));
        if size < most {
            let grown: Vec<BTreeSet<Growing>> = graphs.par_iter().map(|graph| graph.grown(kinds)).collect();
            layer = grown.into_iter().flatten().collect();
        }
    }
    (found, refused)
}

impl Growing {
    fn molecule(&self, kinds: &[Kind]) -> Molecule {
        let atom = |&kind: &u8| Atom { element: kinds[usize::from(kind)].element, charge: 0 };
        let n = self.kinds.len();
        let pairs = (0..n).flat_map(|from| (from + 1..n).map(move |to| (from, to)));
        let bonds = pairs.map(|(from, to)| Bond { from, to, order: self.bonds[from][to] }).filter(|b| b.order > 0);
        Molecule::new(self.kinds.iter().map(atom).collect(), bonds.collect())
    }

    /// Free valence of an atom.
    fn free(&self, atom: usize, kinds: &[Kind]) -> u8 {
        kinds[usize::from(self.kinds[atom])].valence - self.bonds[atom].iter().sum::<u8>()
    }

    /// The graphs with one more atom, with their atoms in canonical order.
    fn grown(&self, kinds: &[Kind]) -> BTreeSet<Self> {
        let mut found = BTreeSet::new();
        for (kind, Kind { valence, .. }) in kinds.iter().enumerate() {
            let mut next = self.clone();
            next.kinds.push(kind as u8);
            next.attach(0, *valence, kinds, &mut found);
        }
        found
    }

    /// Bonds the last atom to the atoms from `at` on in every possible way; `left` is its free valence.
    fn attach(&mut self, at: usize, left: u8, kinds: &[Kind], found: &mut BTreeSet<Self>) {
        let new = self.kinds.len() - 1;
        if at == new {
            if self.bonds[new].iter().any(|&order| order > 0) {
                found.insert(self.canonical());
            }
            return;
        }
        for order in 0..=self.free(at, kinds).min(left).min(3) {
            (self.bonds[at][new], self.bonds[new][at]) = (order, order);
            self.attach(at + 1, left - order, kinds, found);
            (self.bonds[at][new], self.bonds[new][at]) = (0, 0);
        }
    }

    /// Canonical form: the least relabelling of the graph among the orders of atoms that respect a colour refinement
    /// (three rounds of hashing each atom with its neighbours).
    fn canonical(&self) -> Self {
        let n = self.kinds.len();
        let mut colours: Vec<u64> = self.kinds.iter().map(|&k| u64::from(k) + 1).collect();
        for _ in 0..3 {
            colours = (0..n)
                .map(|i| {
                    let mut around: Vec<u64> = (0..n)
                        .filter(|&j| self.bonds[i][j] > 0)
                        .map(|j| colours[j].wrapping_mul(4).wrapping_add(u64::from(self.bonds[i][j])))
                        .collect();
                    around.sort_unstable();
                    around
                        .into_iter()
                        .fold(colours[i], |hash, c| (hash.rotate_left(23) ^ c).wrapping_mul(0x9e37_79b9_7f4a_7c15))
                })
                .collect();
        }
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by_key(|&i| (self.kinds[i], colours[i]));
        let mut best = None;
        self.least(&mut order, 0, &colours, &mut best);
        best.expect("there is at least one order")
    }

    /// Tries all permutations of atoms of equal colour from `at` on.
    fn least(&self, order: &mut [usize], at: usize, colours: &[u64], best: &mut Option<Self>) {
        if at == order.len() {
            let mut moved = Self { kinds: order.iter().map(|&i| self.kinds[i]).collect(), bonds: [[0; MOST]; MOST] };
            for (i, &from) in order.iter().enumerate() {
                for (j, &to) in order.iter().enumerate() {
                    moved.bonds[i][j] = self.bonds[from][to];
                }
            }
            if best.as_ref().is_none_or(|best| moved < *best) {
                *best = Some(moved);
            }
            return;
        }
        for other in at..order.len() {
            if colours[order[other]] == colours[order[at]] {
                order.swap(at, other);
                self.least(order, at + 1, colours, best);
                order.swap(at, other);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{ExampleKey, Layout};

    fn names(most: usize, elements: &[&str]) -> Vec<String> {
        let kinds: Vec<Kind> = VALENCES
            .iter()
            .filter(|(s, _)| elements.contains(s))
            .map(|&(s, valence)| Kind { element: Element::from_symbol(s).unwrap(), valence })
            .collect();
        let (molecules, refused) = members(most, &kinds);
        assert!(refused.is_empty(), "{refused:?}");
        molecules.into_iter().map(|(smiles, _)| smiles).collect()
    }

    #[test]
    fn the_first_members_by_hand() {
        let expected = [
            "C", "N", "O", "C#C", "C#N", "C=C", "C=N", "C=O", "CC", "CN", "CO", "N#N", "N=N", "N=O", "NN", "NO", "O=O",
            "OO",
        ];
        let mut found = names(2, &["C", "N", "O"]);
        found[3..].sort();
        let mut expected = expected.to_vec();
        expected[3..].sort();
        assert_eq!(found, expected);
        assert_eq!(names(4, &["F"]), ["F", "FF"]);
        assert_eq!(names(3, &["O"]), ["O", "O=O", "OO", "OOO", "o1oo1"].map(String::from).to_vec());
    }

    #[test]
    fn growth_finds_every_graph() {
        // All labelled graphs of up to four atoms of carbon and oxygen, by brute force.
        let kinds = ["C", "O"].map(|s| Element::from_symbol(s).unwrap());
        let mut expected = BTreeSet::new();
        for n in 1..=4usize {
            let pairs: Vec<(usize, usize)> = (0..n).flat_map(|i| (i + 1..n).map(move |j| (i, j))).collect();
            for which in 0..2usize.pow(n as u32) {
                for orders in 0..4usize.pow(pairs.len() as u32) {
                    let bonds = pairs.iter().enumerate().map(|(p, &(from, to))| Bond {
                        from,
                        to,
                        order: (orders / 4usize.pow(p as u32) % 4) as u8,
                    });
                    let atoms = (0..n).map(|i| Atom { element: kinds[which >> i & 1], charge: 0 }).collect();
                    let molecule = Molecule::new(atoms, bonds.filter(|b| b.order > 0).collect());
                    if molecule.components().len() == 1 {
                        expected.extend(check(&molecule).strict().map(str::to_owned));
                    }
                }
            }
        }
        let mut found = names(4, &["C", "O"]);
        found.sort();
        assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn the_seed_decides_the_parts_and_nothing_else() {
        let config = SmallMoleculeConfig { atoms: 4, ..SmallMoleculeConfig::default() };
        let all = |seed| {
            let splits = config.load(seed).unwrap();
            let parts = [&splits.train, &splits.validation, &splits.test];
            let smiles = parts.map(|p| (0..p.len()).map(|i| p.smiles(i).unwrap().into_owned()).collect::<Vec<_>>());
            let mut all = smiles.concat();
            all.sort();
            (smiles, all, splits)
        };
        let (first, members, splits) = all(0);
        let (second, again, _) = all(1);
        assert_eq!(members, again);
        assert_ne!(first[2], second[2]);
        assert_eq!(members.iter().collect::<BTreeSet<_>>().len(), members.len(), "no molecule is in two parts");
        assert_eq!((first[1].len(), first[2].len()), (members.len() / 10, members.len() / 10));
        let Layout::Graph(layout) = &splits.schema().layout else { panic!("molecules are graphs") };
        assert_eq!(layout.sizes.iter().sum::<u64>() as usize, splits.train.len());
        let mut row = vec![0; splits.schema().sites];
        splits.train.write(ExampleKey { seed: 0, epoch: 0, index: 5 }, &mut row);
        assert_eq!(check(&layout.molecule(&row)).strict(), splits.train.smiles(5).as_deref());
    }

    #[test]
    fn the_set_is_as_large_as_its_description_says() {
        let splits = SmallMoleculeConfig::default().load(0).unwrap();
        assert_eq!([&splits.train, &splits.validation, &splits.test].map(|p| p.len()), [4362, 545, 545]);
        assert_eq!(splits.refused, [("not supported".to_owned(), 1)]);
    }

    #[test]
    fn settings_are_checked() {
        let message = |config: SmallMoleculeConfig| config.load(0).unwrap_err().to_string();
        let elements = |list: &[&str]| list.iter().map(|&e| e.to_owned()).collect();
        assert!(message(SmallMoleculeConfig { atoms: 7, ..Default::default() }).contains("2 to 6"));
        assert!(message(SmallMoleculeConfig { elements: elements(&["S"]), ..Default::default() }).contains("`S`"));
        assert!(message(SmallMoleculeConfig { elements: elements(&["F"]), ..Default::default() }).contains("only 2"));
    }
}
