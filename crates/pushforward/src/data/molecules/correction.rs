//! Valency correction: graphs that are no molecules become some by the likeliest changes.
//!
//! A generator that decides many atoms and bonds at once may give an atom more bonds than it can have, or leave a molecule in parts. Both are
//! counted,
//!
//! ```text
//! c = sum over atoms of max(0, sum of its bonds' orders - largest valence)  +  3 (components - 1)
//! ```
//!
//! and one atom or bond is changed at a time until `c = 0`: of all single changes that make `c` less, the one whose loss of log-probability,
//! `log law[old] - log law[new]`, is least for what it takes from `c`. Where all atoms of two components are full, a bond between them still makes
//! `c` less, since a component counts as much as the largest order of a bond. Where no single change does, a bond that holds the graph
//! together moves from a full atom to another place.
//!
//! With it all samples that are left to the model become one molecule each, so that validity says nothing of the model any more; it is a tool for those
//! who need molecules. The literature reports validity with and without such a correction.
//!
//! References: Zang and Wang 2020 (MoFlow, valency correction), arXiv:2006.10137; Jo et al. 2022 (GDSS, validity without
//! correction), arXiv:2202.02514.

use crate::chem::{Atom, Bond, Element, Molecule, check};
use crate::data::graph::{ABSENT, GraphLayout, NodeClass, pair_index};

/// Least probability of a class, so that no ratio of two is infinite.
const LEAST: f64 = 1e-12;
/// What a component more than one counts, and the largest order of a bond.
const COMPONENT: isize = 3;
/// Most bonds of an atom that are tried.
const MOST: usize = 8;

/// The correction of graphs of one layout.
///
/// # Examples
/// ```
/// use pushforward::data::graph::{GraphLayout, NodeClass};
/// use pushforward::data::molecules::Correction;
///
/// let node_classes = ["C", "O"].map(|element| NodeClass { element: element.into(), charge: 0 }).to_vec();
/// let layout = GraphLayout { nodes: 2, node_classes, edge_classes: 4, sizes: vec![0, 0, 1] };
/// let correction = Correction::new(&layout);
/// // An oxygen with a triple bond, by a law that would rather have it double than make a carbon of the oxygen.
/// let mut row = [0, 1, 3];
/// assert!(!correction.holds(&row));
/// let law = [0.9, 0.1, 0.0, 0.0, 0.2, 0.8, 0.0, 0.0, 0.0, 0.1, 0.4, 0.5];
/// assert!(correction.mend(&mut row, &law, &|_, _| true));
/// assert_eq!(row, [0, 1, 2]);
/// ```
#[derive(Clone, Debug)]
pub struct Correction {
    layout: GraphLayout,
    /// Largest valence of each class of nodes.
    valences: Vec<usize>,
}

impl Correction {
    /// Of graphs of a layout.
    ///
    /// # Panics
    /// If they are not [molecules](GraphLayout::is_molecular).
    pub fn new(layout: &GraphLayout) -> Self {
        assert!(layout.is_molecular(), "the layout is not molecular");
        let valence = |class: &NodeClass| largest_valence(class.atom().expect("an element"));
        Self { valences: layout.node_classes.iter().map(valence).collect(), layout: layout.clone() }
    }

    /// Whether a row is one molecule. What the chemistry library repairs, such as nitro groups, holds, too.
    pub fn holds(&self, row: &[u32]) -> bool {
        Graph::of(self, row).cost() == 0 || check(&self.layout.molecule(row)).strict().is_some()
    }

    /// Makes one molecule of a row by the likeliest changes, where `law` has the probabilities of all classes, site by site, and
    /// only classes that are `open` are taken. Returns whether it is one; it may not be where much is kept.
    ///
    /// # Panics
    /// If row and law are not those of the layout.
    pub fn mend(&self, row: &mut [u32], law: &[f64], open: &dyn Fn(usize, usize) -> bool) -> bool {
        let mut graph = Graph::of(self, row);
        let classes = self.layout.classes();
        assert_eq!(law.len(), row.len() * classes, "probabilities of {classes} classes at {} sites", row.len());
        let log = |site: usize, class: usize| law[site * classes + class].max(LEAST).ln();
        let loss = |graph: &Graph<'_>, change: Change| {
            let (site, from, to) = graph.sites(change, self.layout.nodes);
            open(site, to).then(|| log(site, from) - log(site, to))
        };
        while graph.cost() > 0 {
            let steps = match graph.best(0, &loss) {
                Some((_, change)) => vec![change],
                None => graph.best_two(&loss),
            };
            if steps.is_empty() {
                break;
            }
            for change in steps {
                let (site, _, to) = graph.sites(change, self.layout.nodes);
                row[site] = to as u32;
                graph.make(change);
            }
        }
        graph.cost() == 0
    }
}

/// The largest valence of an atom whose bonds are all single.
fn largest_valence(centre: Atom) -> usize {
    let star = |arms: usize| {
        let carbon = Atom { element: Element::CARBON, charge: 0 };
        let atoms = std::iter::once(centre).chain(std::iter::repeat_n(carbon, arms)).collect();
        Molecule::new(atoms, (1..=arms).map(|to| Bond { from: 0, to, order: 1 }).collect())
    };
    (0..=MOST).rev().find(|&arms| check(&star(arms)).strict().is_some()).unwrap_or(0)
}

/// Another class of an atom, or another order of a bond, each between its places in the graph.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Change {
    Atom { at: usize, to: usize },
    Bond { ends: [usize; 2], to: usize },
}

/// The atoms and bonds that a row has.
#[derive(Clone)]
struct Graph<'a> {
    valences: &'a [usize],
    orders: usize,
    /// Nodes of the row that are there, and their classes.
    nodes: Vec<usize>,
    classes: Vec<usize>,
    /// Orders of bonds, both ways.
    bonds: Vec<usize>,
    /// Sum of the orders of each atom's bonds, and the component that it is in.
    sums: Vec<usize>,
    component: Vec<usize>,
    components: usize,
}

impl<'a> Graph<'a> {
    fn of(correction: &'a Correction, row: &[u32]) -> Self {
        let layout = &correction.layout;
        assert_eq!(row.len(), layout.sites(), "a row has {} sites", layout.sites());
        let nodes: Vec<usize> = (0..layout.nodes).filter(|&node| row[node] != ABSENT).collect();
        let n = nodes.len();
        let order = |at: usize| {
            let (i, j) = (nodes[at / n], nodes[at % n]);
            if i == j {
                return 0;
            }
            match row[layout.nodes + pair_index(i.min(j), i.max(j), layout.nodes)] {
                ABSENT => 0,
                order => order as usize,
            }
        };
        let bonds: Vec<usize> = (0..n * n).map(order).collect();
        let mut graph = Self {
            valences: &correction.valences,
            orders: layout.edge_classes,
            classes: nodes.iter().map(|&node| row[node] as usize).collect(),
            sums: bonds.chunks(n.max(1)).map(|row| row.iter().sum()).collect(),
            component: vec![0; n],
            components: 0,
            nodes,
            bonds,
        };
        graph.find_components();
        graph
    }

    fn bond(&self, i: usize, j: usize) -> usize {
        self.bonds[i * self.nodes.len() + j]
    }

    fn find_components(&mut self) {
        let n = self.nodes.len();
        self.component = vec![usize::MAX; n];
        self.components = 0;
        for start in 0..n {
            if self.component[start] == usize::MAX {
                for at in self.reached(start, None) {
                    self.component[at] = self.components;
                }
                self.components += 1;
            }
        }
    }

    /// The atoms that bonds lead to from one, itself first, without those of a bond between two ends.
    fn reached(&self, start: usize, without: Option<[usize; 2]>) -> Vec<usize> {
        let n = self.nodes.len();
        let mut seen = vec![false; n];
        let mut found = vec![start];
        seen[start] = true;
        let mut next = 0;
        while let Some(&i) = found.get(next) {
            next += 1;
            for (j, seen) in seen.iter_mut().enumerate() {
                let cut = without.is_some_and(|ends| ends == [i, j] || ends == [j, i]);
                if self.bond(i, j) > 0 && !*seen && !cut {
                    *seen = true;
                    found.push(j);
                }
            }
        }
        found
    }

    fn excess(&self, class: usize, sum: usize) -> isize {
        sum.saturating_sub(self.valences[class]) as isize
    }

    fn cost(&self) -> isize {
        let excess: isize = self.classes.iter().zip(&self.sums).map(|(&class, &sum)| self.excess(class, sum)).sum();
        excess + COMPONENT * (self.components as isize - 1).max(0)
    }

    fn changes(&self) -> impl Iterator<Item = Change> + '_ {
        let n = self.nodes.len();
        let other = |own: usize, count: usize| (0..count).filter(move |&to| to != own);
        let atoms = (0..n)
            .flat_map(move |at| other(self.classes[at], self.valences.len()).map(move |to| Change::Atom { at, to }));
        let pairs = (0..n).flat_map(move |i| (i + 1..n).map(move |j| [i, j]));
        let bonds = pairs.flat_map(move |ends| {
            other(self.bond(ends[0], ends[1]), self.orders).map(move |to| Change::Bond { ends, to })
        });
        atoms.chain(bonds)
    }

    /// The site of a change in a row of so many nodes, its class, and the class that it gets.
    fn sites(&self, change: Change, nodes: usize) -> (usize, usize, usize) {
        match change {
            Change::Atom { at, to } => (self.nodes[at], self.classes[at], to),
            Change::Bond { ends: [i, j], to } => {
                (nodes + pair_index(self.nodes[i], self.nodes[j], nodes), self.bond(i, j), to)
            }
        }
    }

    /// What a change adds to the cost.
    fn gained(&self, change: Change) -> isize {
        match change {
            Change::Atom { at, to } => self.excess(to, self.sums[at]) - self.excess(self.classes[at], self.sums[at]),
            Change::Bond { ends: [i, j], to } => {
                let own = self.bond(i, j);
                let end = |at: usize| {
                    self.excess(self.classes[at], self.sums[at] + to - own)
                        - self.excess(self.classes[at], self.sums[at])
                };
                let gained = end(i) + end(j);
                let joins = own == 0 && self.component[i] != self.component[j];
                // Whether a bond holds the graph together is asked only where it matters.
                let parts = || own > 0 && to == 0 && !self.reached(i, Some([i, j])).contains(&j);
                match gained {
                    _ if joins => gained - COMPONENT,
                    ..0 if parts() => gained + COMPONENT,
                    _ => gained,
                }
            }
        }
    }

    /// Of the changes that take more than `spent` from the cost, the one with the least loss for what it takes, and its loss.
    fn best(&self, spent: isize, loss: &dyn Fn(&Self, Change) -> Option<f64>) -> Option<(f64, Change)> {
        let mut best: Option<(f64, f64, Change)> = None;
        for change in self.changes() {
            let Some(loss) = loss(self, change) else { continue };
            let taken = -self.gained(change) - spent;
            let each = loss / taken as f64;
            if taken > 0 && best.is_none_or(|(least, ..)| each < least) {
                best = Some((each, loss, change));
            }
        }
        best.map(|(_, loss, change)| (loss, change))
    }

    /// Two changes that make the cost less where no single one does: a bond of a full atom that holds the graph together goes
    /// elsewhere. Empty if there are none.
    fn best_two(&self, loss: &dyn Fn(&Self, Change) -> Option<f64>) -> Vec<Change> {
        let mut best: Option<(f64, [Change; 2])> = None;
        let full = |at: usize| self.excess(self.classes[at], self.sums[at]) > 0;
        for first in self.changes() {
            let Change::Bond { ends: [i, j], to: 0 } = first else { continue };
            if !(full(i) || full(j)) {
                continue;
            }
            let Some(cut) = loss(self, first) else { continue };
            let mut after = self.clone();
            after.make(first);
            if let Some((join, second)) = after.best(self.gained(first), loss)
                && best.is_none_or(|(least, _)| cut + join < least)
            {
                best = Some((cut + join, [first, second]));
            }
        }
        best.map_or_else(Vec::new, |(_, two)| two.to_vec())
    }

    fn make(&mut self, change: Change) {
        match change {
            Change::Atom { at, to } => self.classes[at] = to,
            Change::Bond { ends: [i, j], to } => {
                let (own, n) = (self.bond(i, j), self.nodes.len());
                for at in [i, j] {
                    self.sums[at] = self.sums[at] + to - own;
                }
                (self.bonds[i * n + j], self.bonds[j * n + i]) = (to, to);
                self.find_components();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::chem::canonical;

    fn layout(nodes: usize) -> GraphLayout {
        let class = |(element, charge): (&str, i8)| NodeClass { element: element.into(), charge };
        let node_classes = [("C", 0), ("N", 0), ("O", 0), ("F", 0), ("S", 0), ("N", 1), ("O", -1)].map(class).to_vec();
        GraphLayout { nodes, node_classes, edge_classes: 4, sizes: Vec::new() }
    }

    /// A law that has its own class by a share, and all others alike but for some.
    fn law(row: &[u32], own: f64, other: &[(usize, usize, f64)]) -> Vec<f64> {
        let mut law: Vec<f64> =
            row.iter().flat_map(|&id| (0..7).map(move |class| if class == id { own } else { 0.001 })).collect();
        other.iter().for_each(|&(site, class, share)| law[site * 7 + class] = share);
        law
    }

    #[test]
    fn valences_are_those_of_the_chemistry_library() {
        assert_eq!(Correction::new(&layout(1)).valences, [4, 3, 2, 1, 6, 4, 1]);
    }

    #[test]
    fn the_likeliest_change_is_made() {
        let layout = layout(3);
        let correction = Correction::new(&layout);
        // C-O=C: the bond is made single, or a nitrogen or carbon of the oxygen, whatever is likelier.
        let row = [0, 2, 0, 1, 0, 2];
        let mended = |other: &[(usize, usize, f64)]| {
            let mut row = row;
            let law = law(&row, 0.9, other);
            assert!(correction.mend(&mut row, &law, &|_, _| true));
            canonical(&layout.molecule(&row)).unwrap()
        };
        assert_eq!(mended(&[(5, 1, 0.3)]), "COC");
        assert_eq!(mended(&[(1, 1, 0.3), (5, 1, 0.2)]), "C=NC");
        // One bond less would leave two parts, which costs more than it gains.
        assert_eq!(mended(&[(3, 0, 0.8), (1, 0, 0.1)]), "C=CC");
        // Two parts become one at the likeliest pair.
        let mut parts = [0, 2, 0, 1, 0, 0];
        assert!(!correction.holds(&parts));
        let of_parts = law(&parts, 0.9, &[(4, 2, 0.3), (5, 1, 0.2)]);
        assert!(correction.mend(&mut parts, &of_parts, &|_, _| true));
        assert_eq!(canonical(&layout.molecule(&parts)).unwrap(), "C=CO");
        // Where the likeliest is closed, the next one; where all is kept, nothing.
        let mut told = row;
        assert!(correction.mend(&mut told, &law(&row, 0.9, &[(5, 1, 0.3)]), &|site, _| site != 5));
        assert_eq!(told[5], 2);
        let mut kept = row;
        assert!(!correction.mend(&mut kept, &law(&row, 0.9, &[]), &|_, _| false));
        assert_eq!(kept, row);
    }

    #[test]
    fn what_the_library_repairs_stays() {
        // CN(=O)=O, whose nitrogen has five bonds, and an atom less than the layout has.
        let layout = layout(5);
        let mut row = vec![0, 1, 2, 2, ABSENT, 1, 0, 0, ABSENT, 2, 2, ABSENT, 0, ABSENT, ABSENT];
        let correction = Correction::new(&layout);
        assert!(correction.holds(&row));
        row[2] = 3;
        assert!(!correction.holds(&row));
    }

    #[test]
    fn a_bond_moves_where_none_can_go() {
        // A carbon with five methyls.
        let layout = layout(6);
        let mut row = vec![0; layout.sites()];
        (1..6).for_each(|j| row[6 + pair_index(0, j, 6)] = 1);
        let (cut, joined) = (6 + pair_index(0, 2, 6), 6 + pair_index(2, 4, 6));
        let law = law(&row, 0.9, &[(cut, 0, 0.2), (joined, 1, 0.1)]);
        let before = row.clone();
        // It stays a carbon.
        assert!(Correction::new(&layout).mend(&mut row, &law, &|site, _| site != 0));
        let changed: Vec<usize> = (0..row.len()).filter(|&site| row[site] != before[site]).collect();
        assert_eq!(changed, [cut, joined]);
        assert_eq!(canonical(&layout.molecule(&row)).unwrap(), "CCC(C)(C)C");
    }

    #[test]
    fn full_parts_are_joined_too() {
        // O=C=O and O=C=O.
        let layout = layout(6);
        let mut row = vec![0; layout.sites()];
        for node in [1, 2, 4, 5] {
            row[node] = 2;
        }
        for (i, j) in [(0, 1), (0, 2), (3, 4), (3, 5)] {
            row[6 + pair_index(i, j, 6)] = 2;
        }
        let law = law(&row, 0.9, &[]);
        assert!(Correction::new(&layout).mend(&mut row, &law, &|_, _| true));
        assert!(check(&layout.molecule(&row)).strict().is_some(), "{row:?}");
    }

    proptest! {
        #[test]
        fn a_mended_graph_is_a_molecule_of_the_same_nodes(
            atoms in prop::collection::vec(0u32..7, 1..7), bonds in prop::collection::vec(0u32..8, 21), law in prop::collection::vec(0.0f64..1.0, 7 * 28),
        ) {
            let layout = layout(7);
            let correction = Correction::new(&layout);
            let mut row = vec![ABSENT; layout.sites()];
            row[..atoms.len()].copy_from_slice(&atoms);
            for j in 1..atoms.len() {
                for i in 0..j {
                    row[7 + pair_index(i, j, 7)] = bonds[pair_index(i, j, 7)].saturating_sub(4);
                }
            }
            let before = row.clone();
            let held = Graph::of(&correction, &row).cost() == 0;
            prop_assert!(correction.mend(&mut row, &law, &|_, _| true));
            prop_assert!(check(&layout.molecule(&row)).strict().is_some() && correction.holds(&row), "{before:?} {row:?}");
            prop_assert_eq!(held, row == before);
            let absent = |ids: &[u32]| ids.iter().map(|&id| id == ABSENT).collect::<Vec<_>>();
            prop_assert_eq!(absent(&row), absent(&before));
        }
    }
}
