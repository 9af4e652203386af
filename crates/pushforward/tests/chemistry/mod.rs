//! Verdicts and canonical SMILES of graphs against RDKit's, on generated molecules of which a third is deliberately
//! invalid.
//!
//! `cases.tsv` is written by `experiments/molecules_against_rdkit.py table`: a graph (atoms, a bar, bonds as
//! `from-to-order`), RDKit's verdict, and its canonical SMILES of the largest fragment.

use pushforward::chem::{Atom, Bond, Element, Molecule, Verdict, canonical, check, read};

const CASES: &str = include_str!("cases.tsv");

fn graph(text: &str) -> Molecule {
    let (atoms, bonds) = text.split_once('|').expect("atoms and bonds");
    let atom = |text: &str| {
        let end = text.find(['+', '-']).unwrap_or(text.len());
        let charge = if end == text.len() { 0 } else { text[end..].parse().expect("a charge") };
        Atom { element: Element::from_symbol(&text[..end]).expect("an element"), charge }
    };
    let bond = |text: &str| {
        let numbers: Vec<usize> = text.split('-').map(|n| n.parse().expect("a number")).collect();
        Bond { from: numbers[0], to: numbers[1], order: numbers[2] as u8 }
    };
    Molecule::new(atoms.split_whitespace().map(atom).collect(), bonds.split_whitespace().map(bond).collect())
}

/// Graph, verdict and SMILES of every case.
fn cases() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    CASES.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let mut fields = line.split('\t');
        let mut next = || fields.next().expect("three fields");
        (next(), next(), next())
    })
}

#[test]
fn verdicts_and_canonical_smiles_are_those_of_rdkit() {
    let mut counts = [0; 3];
    for (case, verdict, smiles) in cases() {
        let found = check(&graph(case));
        let (word, kind) = match &found {
            Verdict::Valid(_) => ("valid", 0),
            Verdict::Fragments(_) => ("fragments", 1),
            Verdict::Invalid(_) => ("invalid", 2),
        };
        assert_eq!((word, found.largest_fragment().unwrap_or_default()), (verdict, smiles), "{case}: {found:?}");
        counts[kind] += 1;
    }
    assert!(counts[0] > 200 && counts[1] > 5 && counts[2] > 100, "{counts:?}");
}

#[test]
fn what_is_valid_is_read_back_from_its_text() {
    for (case, _, smiles) in cases().filter(|case| case.1 == "valid") {
        // Graphs represent molecules that texts of radicals and the like do not, but never vice versa.
        let reading = read(smiles).unwrap_or_else(|refusal| panic!("{case} {smiles}: {refusal}"));
        assert_eq!((reading.canonical.as_str(), canonical(&reading.molecule)), (smiles, Ok(smiles.to_owned())));
    }
}
