//! Reads molecules from the standard input, one a line, and prints a verdict and canonical SMILES for each, separated
//! by a tab.
//!
//! A line is a SMILES, or a graph: atoms (`C`, `N+1`, `O-1`), a bar, and bonds (`0-1-2` joins atoms 0 and 1 doubly), as
//! in `C C O|0-1-1 1-2-1`. For a SMILES the verdicts are two, with stereochemistry as RDKit keeps it and as a graph
//! that goes there and back; for a graph it is one. With the argument `properties`, a SMILES gets those of its graph
//! instead: weight, logP, TPSA, QED, rings, scaffold, and which bits of its fingerprint are set.
//!
//! ```sh
//! printf 'OCC\nC N O|0-1-3\n' | cargo run --release -p pushforward --example canonicalise
//! ```
#![allow(clippy::print_stdout, reason = "an example prints its results")]

use std::io::{BufRead as _, stdin};

use pushforward::chem::smiles::canonical_text;
use pushforward::chem::{Atom, Bond, Element, Molecule, Perceived, Refusal, Verdict, check, read};

fn main() -> std::io::Result<()> {
    let properties = std::env::args().nth(1).is_some_and(|argument| argument == "properties");
    for line in stdin().lock().lines() {
        let line = line?;
        let answers = match graph(&line) {
            None if properties => describe(&line).unwrap_or_else(|refusal| vec![refusal.to_string()]),
            Some(molecule) => match check(&molecule) {
                Verdict::Valid(smiles) => vec!["valid".to_owned(), smiles],
                Verdict::Fragments(smiles) => vec!["fragments".to_owned(), smiles],
                Verdict::Invalid(refusal) => vec!["invalid".to_owned(), refusal.to_string()],
            },
            None => {
                let whole = canonical_text(&line).unwrap_or_else(|refusal| format!("invalid: {refusal}"));
                let flat = read(&line).map_or_else(|r| format!("refused: {}", r.reason()), |r| r.canonical);
                vec![whole, flat]
            }
        };
        println!("{}", answers.join("\t"));
    }
    Ok(())
}

/// Properties, scaffold and fingerprint of a SMILES.
fn describe(line: &str) -> Result<Vec<String>, Refusal> {
    let perceived = Perceived::of(&read(line)?.canonical)?;
    let mut answers: Vec<String> = perceived.properties().values().iter().map(f64::to_string).collect();
    answers.push(perceived.scaffold());
    let words = perceived.fingerprint();
    let set = (0..64 * words.len()).filter(|bit| words[bit / 64] >> (bit % 64) & 1 == 1);
    answers.push(set.map(|bit| bit.to_string()).collect::<Vec<_>>().join(" "));
    Ok(answers)
}

/// The graph that a line with a bar describes.
fn graph(line: &str) -> Option<Molecule> {
    let (atoms, bonds) = line.split_once('|')?;
    let atom = |text: &str| {
        let end = text.find(['+', '-']).unwrap_or(text.len());
        let charge = if end == text.len() { 0 } else { text[end..].parse().expect("a charge as in N+1") };
        Atom { element: Element::from_symbol(&text[..end]).expect("a symbol of an element"), charge }
    };
    let bond = |text: &str| {
        let numbers: Vec<usize> = text.split('-').map(|n| n.parse().expect("a bond as in 0-1-2")).collect();
        Bond { from: numbers[0], to: numbers[1], order: numbers[2] as u8 }
    };
    Some(Molecule::new(atoms.split_whitespace().map(atom).collect(), bonds.split_whitespace().map(bond).collect()))
}
