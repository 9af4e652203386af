//! Drawings: positions of the lines and letters of a structural formula.
//!
//! Positions are those of the chemistry library's 2-D layout, in units in which a bond has length [`BOND`]; `x` points
//! to the right and `y` down. The result is plain lines and letters, independent of the picture format.
//!
//! # Examples
//! ```
//! use pushforward::chem::drawing::{BOND, draw};
//! use pushforward::chem::read;
//! let drawing = draw(&read("CC#N")?.molecule);
//! // A single and a triple bond; only the nitrogen has a letter.
//! assert_eq!(drawing.lines.len(), 1 + 3);
//! assert_eq!(drawing.labels.iter().map(|label| label.symbol).collect::<Vec<_>>(), ["N"]);
//! let ethane = draw(&read("CC")?.molecule);
//! let ([a, b], [c, d]) = (ethane.lines[0].from, ethane.lines[0].to);
//! assert!(((c - a).hypot(d - b) - BOND).abs() < 1e-6);
//! # Ok::<(), pushforward::chem::Refusal>(())
//! ```

use chematic::core as kit;
use chematic::depict::{Point, compute_layout};
use chematic::perception::find_sssr;

use super::molecule::Molecule;

/// Length of a bond.
pub const BOND: f64 = 40.0;
/// Height of a capital letter.
pub const LETTER: f64 = 14.0;
/// Space around the atoms.
const MARGIN: f64 = 18.0;
/// Distance between the end of a bond and the centre of a letter.
const CLEARANCE: f64 = 10.0;
/// Distance between the parallel lines of a bond.
const PARALLEL: f64 = 5.5;

/// A colour: red, green, blue, 0 to 255.
pub type Ink = [u8; 3];

/// A structural formula: lines and letters in a box.
#[derive(Clone, Debug, PartialEq)]
pub struct Drawing {
    /// Width and height of the box; its upper left corner is the origin.
    pub size: [f64; 2],
    /// Lines of the bonds; a double bond has two, a triple bond three.
    pub lines: Vec<Line>,
    /// Atoms drawn as letters: all but neutral carbons with neighbours.
    pub labels: Vec<Label>,
}

/// A straight line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// One end.
    pub from: [f64; 2],
    /// The other end.
    pub to: [f64; 2],
}

/// An atom drawn as a letter.
#[derive(Clone, Debug, PartialEq)]
pub struct Label {
    /// Centre of the symbol.
    pub at: [f64; 2],
    /// The element's symbol.
    pub symbol: &'static str,
    /// Number of implicit hydrogens.
    pub hydrogens: u8,
    /// Formal charge.
    pub charge: i8,
    /// Whether the hydrogens are written to the left, because the bonds go to the right.
    pub left: bool,
    /// Its colour.
    pub ink: Ink,
}

impl Label {
    /// The text before and after the symbol: hydrogens on the side without bonds, the charge always after.
    pub fn beside(&self) -> [String; 2] {
        let hydrogens = match self.hydrogens {
            0 => String::new(),
            1 => "H".to_owned(),
            n => format!("H{n}"),
        };
        let sign = if self.charge < 0 { "-" } else { "+" };
        let charge = match self.charge.unsigned_abs() {
            0 => String::new(),
            1 => sign.to_owned(),
            n => format!("{n}{sign}"),
        };
        if self.left { [hydrogens, charge] } else { [String::new(), hydrogens + &charge] }
    }
}

/// Lays out the structural formula of a molecule.
///
/// # Examples
/// ```
/// use pushforward::chem::{drawing::draw, read};
/// let methane = draw(&read("C")?.molecule);
/// assert!(methane.lines.is_empty());
/// assert_eq!(methane.labels[0].beside(), ["", "H4"]);
/// # Ok::<(), pushforward::chem::Refusal>(())
/// ```
pub fn draw(molecule: &Molecule) -> Drawing {
    let foreign = molecule.foreign();
    let layout = compute_layout(&foreign);
    let (left, top, right, bottom) = layout.bounding_box();
    let place = |p: Point| [p.x - left + MARGIN, p.y - top + MARGIN];
    let at: Vec<[f64; 2]> = layout.coords.iter().map(|&p| place(p)).collect();
    let mut neighbours = vec![Vec::new(); at.len()];
    for bond in molecule.bonds() {
        neighbours[bond.from].push(bond.to);
        neighbours[bond.to].push(bond.from);
    }
    let labels: Vec<Option<Label>> = molecule
        .atoms()
        .iter()
        .enumerate()
        .map(|(i, atom)| {
            let symbol = atom.element.symbol();
            if symbol == "C" && atom.charge == 0 && !neighbours[i].is_empty() {
                return None;
            }
            let lean: f64 = neighbours[i].iter().map(|&j| at[j][0] - at[i][0]).sum();
            let hydrogens = kit::implicit_hcount(&foreign, kit::AtomIdx(i as u32));
            Some(Label { at: at[i], symbol, hydrogens, charge: atom.charge, left: lean > 1.0, ink: ink(symbol) })
        })
        .collect();
    let rings: Vec<Vec<usize>> =
        find_sssr(&foreign).rings().iter().map(|ring| ring.iter().map(|a| a.0 as usize).collect()).collect();
    let mut lines = Vec::new();
    for bond in molecule.bonds() {
        let (i, j) = (bond.from, bond.to);
        let (mut a, mut b) = (at[i], at[j]);
        let length = (b[0] - a[0]).hypot(b[1] - a[1]).max(1e-9);
        let unit = [(b[0] - a[0]) / length, (b[1] - a[1]) / length];
        let normal = [-unit[1], unit[0]];
        let along = |p: [f64; 2], by: f64| [p[0] + by * unit[0], p[1] + by * unit[1]];
        if labels[i].is_some() {
            a = along(a, CLEARANCE.min(0.4 * length));
        }
        if labels[j].is_some() {
            b = along(b, -CLEARANCE.min(0.4 * length));
        }
        let mut line = |by: f64, trim: f64| {
            let aside = |p: [f64; 2]| [p[0] + by * normal[0], p[1] + by * normal[1]];
            lines.push(Line { from: aside(along(a, trim)), to: aside(along(b, -trim)) });
        };
        let ring = rings.iter().filter(|r| r.contains(&i) && r.contains(&j)).min_by_key(|r| r.len());
        match (bond.order, ring) {
            (2, Some(ring)) => {
                let mean = |axis: usize| ring.iter().map(|&k| at[k][axis]).sum::<f64>() / ring.len() as f64;
                let side = (mean(0) - at[i][0]) * normal[0] + (mean(1) - at[i][1]) * normal[1];
                line(0.0, 0.0);
                line(PARALLEL * side.signum(), 0.12 * length);
            }
            (2, None) => [-0.5, 0.5].into_iter().for_each(|by| line(by * PARALLEL, 0.0)),
            (3, _) => [-1.0, 0.0, 1.0].into_iter().for_each(|by| line(by * 0.8 * PARALLEL, 0.0)),
            _ => line(0.0, 0.0),
        }
    }
    Drawing {
        size: [right - left + 2.0 * MARGIN, bottom - top + 2.0 * MARGIN],
        lines,
        labels: labels.into_iter().flatten().collect(),
    }
}

fn ink(symbol: &str) -> Ink {
    match symbol {
        "N" => [38, 70, 200],
        "O" => [205, 30, 30],
        "F" | "Cl" => [30, 130, 50],
        "S" => [150, 120, 0],
        "P" => [190, 95, 0],
        "Br" | "I" => [130, 40, 90],
        _ => [30, 30, 30],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chem::read;

    fn of(smiles: &str) -> Drawing {
        draw(&read(smiles).unwrap().molecule)
    }

    #[test]
    fn bonds_are_lines_and_heteroatoms_letters() {
        let acetamide = of("CC(=O)N");
        assert_eq!(acetamide.lines.len(), 4);
        let mut found: Vec<String> = acetamide.labels.iter().map(|l| format!("{}{}", l.symbol, l.hydrogens)).collect();
        found.sort();
        assert_eq!(found, ["N2", "O0"]);
        assert_eq!(of("c1ccccc1").lines.len(), 9);
        assert_eq!(of("C#N").lines.len(), 3);
        assert_eq!(of("C").labels[0].beside(), ["", "H4"]);
        let ammonium = of("C[NH3+]").labels[0].clone();
        assert_eq!(Label { left: false, ..ammonium.clone() }.beside(), ["", "H3+"]);
        assert_eq!(Label { left: true, ..ammonium }.beside(), ["H3", "+"]);
    }

    #[test]
    fn everything_lies_inside_the_box() {
        for smiles in ["CC(=O)Oc1ccccc1C(=O)O", "C1CC2CCC1C2", "C[N+](=O)[O-]", "N"] {
            let drawing = of(smiles);
            let points = drawing.lines.iter().flat_map(|l| [l.from, l.to]).chain(drawing.labels.iter().map(|l| l.at));
            for [x, y] in points {
                let inside = x > 0.0 && y > 0.0 && x < drawing.size[0] && y < drawing.size[1];
                assert!(inside, "{smiles}: {x} {y} of {:?}", drawing.size);
            }
        }
    }
}
