//! Molecules as a data set.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use rayon::prelude::*;

use crate::chem::{Atom, Element, Molecule};
use crate::data::graph::{GraphLayout, NodeClass};
use crate::data::molecules::labels::{Labeller, MoleculeLabel};
use crate::data::molecules::rows::Packed;
use crate::data::{DataError, Dataset, ExampleKey, Layout, Schema, Splits};

/// The node classes that occur.
pub(super) fn classes<'a>(molecules: impl Iterator<Item = &'a Molecule>, elements: &[Element]) -> Vec<Atom> {
    let mut classes: Vec<Atom> = Vec::new();
    for atom in molecules.flat_map(Molecule::atoms) {
        if !classes.contains(atom) {
            classes.push(*atom);
        }
    }
    sorted(classes, elements)
}

/// Node classes in order: neutral atoms in the order of the elements, then charged ones.
pub(super) fn sorted(mut classes: Vec<Atom>, elements: &[Element]) -> Vec<Atom> {
    let place = |atom: &Atom| elements.iter().position(|e| *e == atom.element);
    classes.sort_by_key(|atom| (atom.charge != 0, place(atom), atom.charge));
    classes
}

/// The parts of a set of molecules.
pub(super) struct MoleculeParts<'a> {
    pub(super) name: &'a str,
    pub(super) packed: Packed,
    /// The node classes that occur.
    pub(super) classes: &'a [Atom],
    /// Largest number of atoms of a molecule.
    pub(super) nodes: usize,
    /// Indices of the packed molecules of the training, validation and test part.
    pub(super) parts: [&'a [u32]; 3],
    pub(super) label: Option<&'a MoleculeLabel>,
    /// Labels of all packed molecules that their table says, and their number.
    pub(super) own: Option<(Vec<u32>, usize)>,
    pub(super) sha256: String,
    /// Number of refused molecules, by reason.
    pub(super) refused: BTreeMap<String, u64>,
}

/// The three parts of a set.
pub(super) fn splits(set: MoleculeParts<'_>) -> Result<Splits, DataError> {
    let MoleculeParts { name, packed, classes, nodes, parts, label, own, sha256, refused } = set;
    let mut sizes = vec![0; nodes + 1];
    parts[0].iter().for_each(|&i| sizes[packed.size(i as usize)] += 1);
    let node_classes = classes.iter().map(|&atom| NodeClass::of(atom)).collect();
    let layout = GraphLayout { nodes, node_classes, edge_classes: 4, sizes };
    let schema = Schema { sites: layout.sites(), classes: layout.classes(), layout: Layout::Graph(layout) };
    let smiles = |i: &u32| packed.smiles(*i as usize);
    let labels = label.map(|label| label.labeller(&parts[0].iter().map(smiles).collect::<Vec<_>>())).transpose()?;
    let labels = labels.map(|labeller| {
        let all: Vec<u32> = (0..packed.len() as u32).collect();
        let label = |i: &u32| labeller.label(smiles(i)).expect("a canonical SMILES can be parsed");
        let labels: Vec<u32> = all.par_iter().map(label).collect();
        Labels { count: labeller.count(), labels, labeller: Some(labeller) }
    });
    let own = own.map(|(labels, count)| Labels { count, labels, labeller: None });
    let labels = labels.or(own).map(Arc::new);
    let packed = Arc::new(packed);
    let part = |members: &[u32]| -> Arc<dyn Dataset> {
        Arc::new(MoleculeSet {
            schema: schema.clone(),
            nodes,
            packed: packed.clone(),
            labels: labels.clone(),
            members: members.to_vec(),
        })
    };
    Ok(Splits { refused: refused.into_iter().collect(), ..Splits::new(name, parts.map(part), sha256) })
}

/// Labels of all packed molecules.
struct Labels {
    labels: Vec<u32>,
    count: usize,
    /// What labels any molecule; `None` if the table says the labels.
    labeller: Option<Labeller>,
}

struct MoleculeSet {
    schema: Schema,
    nodes: usize,
    packed: Arc<Packed>,
    labels: Option<Arc<Labels>>,
    /// Indices of the packed molecules of this part.
    members: Vec<u32>,
}

impl Dataset for MoleculeSet {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn len(&self) -> usize {
        self.members.len()
    }

    fn write(&self, key: ExampleKey, out: &mut [u32]) {
        assert!(key.index < self.len(), "molecule {} of {}", key.index, self.len());
        assert_eq!(out.len(), self.schema.sites, "an example has {} sites", self.schema.sites);
        self.packed.write(self.members[key.index] as usize, self.nodes, out);
    }

    fn label(&self, index: usize) -> Option<u32> {
        self.labels.as_ref().map(|labels| labels.labels[self.members[index] as usize])
    }

    fn label_count(&self) -> Option<usize> {
        self.labels.as_ref().map(|labels| labels.count)
    }

    fn label_of(&self, smiles: &str) -> Option<u32> {
        self.labels.as_ref()?.labeller.as_ref()?.label(smiles)
    }

    fn smiles(&self, index: usize) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(self.packed.smiles(self.members[index] as usize)))
    }
}
