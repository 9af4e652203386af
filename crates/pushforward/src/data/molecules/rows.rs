//! Conversion between molecules and rows of class indices.

use crate::chem::{Atom, Bond, Element, Molecule};
use crate::data::graph::{ABSENT, GraphLayout, NodeClass, pair_count, pair_index};

impl NodeClass {
    /// The node class of an atom.
    pub fn of(atom: Atom) -> Self {
        Self { element: atom.element.symbol().to_owned(), charge: atom.charge }
    }

    /// The atom of this class; `None` for an unknown element.
    pub fn atom(&self) -> Option<Atom> {
        Element::from_symbol(&self.element).map(|element| Atom { element, charge: self.charge })
    }
}

impl GraphLayout {
    /// Whether graphs of this layout are molecules: all nodes are elements, and pairs have 4 classes, which are no,
    /// single, double and triple bond.
    pub fn is_molecular(&self) -> bool {
        self.edge_classes == 4 && self.node_classes.iter().all(|class| class.atom().is_some())
    }

    /// The molecule of a row. Absent nodes and their pairs are skipped, at any position; charges are those of the node
    /// classes.
    ///
    /// # Panics
    /// If the layout is not molecular ([`GraphLayout::is_molecular`]), or the row has another length or a class out of
    /// range.
    pub fn molecule(&self, row: &[u32]) -> Molecule {
        assert_eq!(row.len(), self.sites(), "a row has {} sites", self.sites());
        assert!(self.is_molecular(), "the layout is not molecular");
        let (nodes, edges) = row.split_at(self.nodes);
        let mut place = vec![usize::MAX; self.nodes];
        let mut atoms = Vec::new();
        for (node, &class) in nodes.iter().enumerate().filter(|(_, class)| **class != ABSENT) {
            place[node] = atoms.len();
            atoms.extend(self.node_classes[class as usize].atom());
        }
        let mut bonds = Vec::new();
        for i in 0..self.nodes {
            for j in i + 1..self.nodes {
                let order = edges[pair_index(i, j, self.nodes)];
                if order != 0 && order != ABSENT && place[i] != usize::MAX && place[j] != usize::MAX {
                    assert!((order as usize) < self.edge_classes, "class {order} of the pair {i}, {j}");
                    bonds.push(Bond { from: place[i], to: place[j], order: order as u8 });
                }
            }
        }
        Molecule::new(atoms, bonds)
    }
}

/// Molecules packed into bytes; 250,000 take about 40 MB.
#[derive(Debug, Default)]
pub(super) struct Packed {
    /// Node classes of all molecules, concatenated.
    nodes: Vec<u8>,
    /// Bonds of all molecules, concatenated: ends `i < j` and order.
    bonds: Vec<[u8; 3]>,
    /// Canonical SMILES of all molecules, concatenated.
    smiles: String,
    /// End of each molecule in the three.
    ends: Vec<[u32; 3]>,
}

impl Packed {
    /// Adds a molecule whose atoms all belong to the given classes.
    ///
    /// # Panics
    /// If an atom belongs to no class, or there are more than 255 atoms or classes.
    pub(super) fn push(&mut self, molecule: &Molecule, smiles: &str, classes: &[Atom]) {
        let byte = |n: usize| u8::try_from(n).expect("at most 255 atoms and classes");
        let class = |atom| classes.iter().position(|c| c == atom).expect("the atom's class is listed");
        self.nodes.extend(molecule.atoms().iter().map(|atom| byte(class(atom))));
        let bond = |b: &Bond| [byte(b.from.min(b.to)), byte(b.from.max(b.to)), b.order];
        self.bonds.extend(molecule.bonds().iter().map(bond));
        self.smiles.push_str(smiles);
        let end = |n: usize| u32::try_from(n).expect("fewer than 2^32 bytes");
        self.ends.push([end(self.nodes.len()), end(self.bonds.len()), end(self.smiles.len())]);
    }

    /// Number of molecules.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    fn range(&self, index: usize, part: usize) -> std::ops::Range<usize> {
        let start = if index == 0 { 0 } else { self.ends[index - 1][part] };
        start as usize..self.ends[index][part] as usize
    }

    /// Number of atoms of a molecule.
    pub(super) fn size(&self, index: usize) -> usize {
        self.range(index, 0).len()
    }

    /// Canonical SMILES of a molecule.
    pub(super) fn smiles(&self, index: usize) -> &str {
        &self.smiles[self.range(index, 2)]
    }

    /// Writes a molecule as a row for graphs of up to `most` nodes.
    pub(super) fn write(&self, index: usize, most: usize, out: &mut [u32]) {
        let nodes = &self.nodes[self.range(index, 0)];
        let (head, edges) = out.split_at_mut(most);
        debug_assert_eq!(edges.len(), pair_count(most), "pairs of {most} nodes");
        head.fill(ABSENT);
        edges.fill(ABSENT);
        head.iter_mut().zip(nodes).for_each(|(out, &class)| *out = u32::from(class));
        for i in 0..nodes.len() {
            let first = pair_index(i, i + 1, most.max(i + 2));
            if i + 1 < nodes.len() {
                edges[first..first + nodes.len() - i - 1].fill(0);
            }
        }
        for &[i, j, order] in &self.bonds[self.range(index, 1)] {
            edges[pair_index(usize::from(i), usize::from(j), most)] = u32::from(order);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chem::{canonical, read};

    fn layout(nodes: usize) -> GraphLayout {
        let class = |(element, charge): (&str, i8)| NodeClass { element: element.into(), charge };
        let node_classes = [("C", 0), ("N", 0), ("O", 0), ("N", 1), ("O", -1)].map(class).to_vec();
        GraphLayout { nodes, node_classes, edge_classes: 4, sizes: vec![0; nodes + 1] }
    }

    #[test]
    fn molecules_come_back_from_their_rows() {
        let layout = layout(9);
        let classes: Vec<Atom> = layout.node_classes.iter().map(|c| c.atom().unwrap()).collect();
        let mut packed = Packed::default();
        let texts = ["C", "CCO", "c1ccccc1", "C[N+](=O)[O-]", "N#CC1CC1", "C1C2CC1CC2NC=O"];
        for text in texts {
            let reading = read(text).unwrap();
            packed.push(&reading.molecule, &reading.canonical, &classes);
        }
        assert_eq!(packed.len(), texts.len());
        for (index, text) in texts.iter().enumerate() {
            let mut row = vec![7; layout.sites()];
            packed.write(index, layout.nodes, &mut row);
            let n = packed.size(index);
            assert_eq!(row[..9].iter().filter(|&&c| c != ABSENT).count(), n);
            assert_eq!(row[9..].iter().filter(|&&c| c != ABSENT).count(), pair_count(n), "{text}");
            assert_eq!(canonical(&layout.molecule(&row)).unwrap(), read(text).unwrap().canonical);
            assert_eq!(packed.smiles(index), read(text).unwrap().canonical);
        }
    }

    #[test]
    fn absent_nodes_are_passed_over_wherever_they_are() {
        let layout = layout(3);
        // Pairs (0,1) (0,2) (1,2); a bond to an absent node is ignored.
        let molecule = layout.molecule(&[0, ABSENT, 2, 1, 2, ABSENT]);
        assert_eq!(canonical(&molecule).unwrap(), "C=O");
        assert!(layout.molecule(&[ABSENT; 6]).atoms().is_empty());
    }
}
