//! Samples of molecules as files: SMILES, tables with properties, drawings; and as lines for a terminal.

use std::fmt::Write as _;

use pushforward::chem::drawing::draw;
use pushforward::chem::{Molecule, Perceived, Properties, Refusal, Verdict, check};
use pushforward::data::graph::GraphLayout;
use pushforward::data::{Layout, Schema};

use crate::molecule_pictures::{Formulas, MOST};

/// Molecules with their verdicts.
pub(crate) struct CheckedMolecules(Vec<(Molecule, Verdict)>);

/// The layout of a schema if its items are molecules.
pub(crate) fn molecular(schema: &Schema) -> Option<&GraphLayout> {
    match &schema.layout {
        Layout::Graph(layout) if layout.is_molecular() => Some(layout),
        _ => None,
    }
}

impl CheckedMolecules {
    /// Checks the validity of items; `None` if they are not molecules.
    pub(crate) fn new(ids: &[u32], schema: &Schema) -> Option<Self> {
        let layout = molecular(schema)?;
        let checked = |row: &[u32]| {
            let molecule = layout.molecule(row);
            let verdict = check(&molecule);
            (molecule, verdict)
        };
        Some(Self(ids.chunks(schema.sites).map(checked).collect()))
    }

    /// One line per item: its canonical SMILES, or its verdict if it is not valid.
    pub(crate) fn lines(&self) -> Vec<String> {
        let line = |(_, verdict): &(Molecule, Verdict)| match verdict {
            Verdict::Valid(smiles) => smiles.clone(),
            Verdict::Fragments(smiles) => format!("(fragments; the largest is {smiles})"),
            Verdict::Invalid(refusal) => format!("(invalid: {refusal})"),
        };
        self.0.iter().map(line).collect()
    }

    /// Verdict and SMILES of each item, for JSON.
    pub(crate) fn verdicts(&self) -> impl Iterator<Item = (&'static str, Option<&str>)> {
        self.0.iter().map(|(_, verdict)| (word(verdict), verdict.largest_fragment()))
    }

    /// Number of strictly valid items, as a note.
    pub(crate) fn summary(&self) -> String {
        let valid = self.0.iter().filter(|(_, v)| v.strict().is_some()).count();
        format!("{valid} of {} are valid molecules", self.0.len())
    }

    /// A `.smi` file: the strictly valid items with their numbers as names, from `first`. Other programs read every line as
    /// a molecule, so the others are not in it.
    pub(crate) fn smi(&self, first: u64) -> String {
        let valid = self.0.iter().enumerate().filter_map(|(i, (_, v))| v.strict().map(|smiles| (i, smiles)));
        valid.map(|(i, smiles)| format!("{smiles} sample-{:05}\n", first + i as u64)).collect()
    }

    /// A table of all items, numbered from `first`, with their labels if there are any: verdict, canonical SMILES (of the largest fragment if there are several), properties,
    /// and the reason if invalid.
    pub(crate) fn csv(&self, first: u64, label: impl Fn(usize) -> Option<u32>) -> String {
        let last = if label(0).is_some() { ",label" } else { "" };
        let mut out = format!("sample,verdict,smiles,{},problem{last}\n", Properties::NAMES.join(","));
        for (i, (_, verdict)) in self.0.iter().enumerate() {
            let smiles = verdict.largest_fragment().unwrap_or_default();
            let properties = match verdict.largest_fragment().map(Perceived::of) {
                Some(Ok(perceived)) => perceived.properties().values().map(|v| format!("{v:.4}")),
                _ => Default::default(),
            };
            let problem = match verdict {
                Verdict::Invalid(Refusal::Components(0)) => "no atoms".to_owned(),
                Verdict::Invalid(refusal) => quoted(&refusal.to_string()),
                Verdict::Valid(_) | Verdict::Fragments(_) => String::new(),
            };
            let label = label(i).map_or_else(String::new, |label| format!(",{label}"));
            let number = first + i as u64;
            writeln!(out, "{number},{},{smiles},{},{problem}{label}", word(verdict), properties.join(","))
                .expect("a string takes every line");
        }
        out
    }

    /// The strictly valid items, each as a drawing of its own, with their numbers.
    pub(crate) fn each_formula(&self) -> impl Iterator<Item = (usize, Formulas)> {
        self.0.iter().enumerate().filter_map(|(i, (molecule, verdict))| {
            let smiles = verdict.strict()?;
            Some((i, Formulas::new(&[(draw(molecule), smiles.to_owned())])))
        })
    }

    /// Drawings of the strictly valid items, up to [`MOST`]; `None` if there are none.
    pub(crate) fn formulas(&self) -> Option<Formulas> {
        let valid = self.0.iter().filter_map(|(molecule, v)| v.strict().map(|smiles| (molecule, smiles)));
        let drawings: Vec<_> = valid.take(MOST).map(|(molecule, smiles)| (draw(molecule), smiles.to_owned())).collect();
        (!drawings.is_empty()).then(|| Formulas::new(&drawings))
    }
}

fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Valid(_) => "valid",
        Verdict::Fragments(_) => "fragments",
        Verdict::Invalid(_) => "invalid",
    }
}

fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use pushforward::data::graph::{ABSENT, NodeClass};

    use super::*;

    fn molecules() -> CheckedMolecules {
        let node_classes = ["C", "F"].map(|e| NodeClass { element: e.into(), charge: 0 }).to_vec();
        let layout = GraphLayout { nodes: 2, node_classes, edge_classes: 4, sizes: vec![0; 3] };
        let schema = Schema { sites: 3, classes: 4, layout: Layout::Graph(layout) };
        let absent = ABSENT;
        let ids = [[0, 1, 1], [1, 1, 2], [0, 1, 0], [absent, absent, absent], [0, absent, absent]];
        CheckedMolecules::new(ids.as_flattened(), &schema).unwrap()
    }

    #[test]
    fn every_item_is_accounted_for() {
        let molecules = molecules();
        assert_eq!(molecules.smi(0), "CF sample-00000\nC sample-00004\n");
        assert_eq!(molecules.smi(100_000), "CF sample-100000\nC sample-100004\n");
        assert_eq!(molecules.summary(), "2 of 5 are valid molecules");
        let csv = molecules.csv(0, |_| None);
        let rows: Vec<&str> = csv.lines().collect();
        assert_eq!(rows[0], "sample,verdict,smiles,weight,logp,tpsa,qed,rings,problem");
        assert!(rows[1].starts_with("0,valid,CF,34.0330,"), "{}", rows[1]);
        assert_eq!(rows[2], "1,invalid,,,,,,,does not sanitise: F with valence 2");
        assert!(rows[3].starts_with("2,fragments,C,16.0430,"), "{}", rows[3]);
        assert_eq!(rows[4], "3,invalid,,,,,,,no atoms");
        assert!(rows.iter().all(|row| row.matches(',').count() == 8));
        assert_eq!(molecules.lines()[2], "(fragments; the largest is C)");
        assert!(molecules.formulas().unwrap().svg().matches("<title>").count() == 2);
        assert_eq!(quoted("a, \"b\""), "\"a, \"\"b\"\"\"");
    }
}
