//! Grids of structural formulas, as SVG and as PNG. Both draw the same strokes; letters are strokes too.

use std::fmt::Write as _;

use pushforward::chem::drawing::{Drawing, Ink, LETTER, Label};
use tiny_skia::{Color, LineCap, LineJoin, Paint, PathBuilder, Pixmap, Stroke, Transform};

use crate::letters::glyph;

/// Maximum number of formulas in a grid.
pub(crate) const MOST: usize = 400;
/// Pixels of a PNG for each unit of a drawing.
const SCALE: f32 = 1.5;
/// Width of bonds and letters.
const WIDTH: f32 = 1.6;
/// Colour of bonds.
const BLACK: Ink = [30, 30, 30];
/// Space between letters.
const GAP: f64 = 2.5;

/// A chain of points in one colour.
type Chain = (Vec<[f64; 2]>, Ink);

/// Formulas in a nearly square grid, each with a title.
pub(crate) struct Formulas {
    cells: Vec<(Vec<Chain>, String)>,
    columns: usize,
    cell: [f64; 2],
}

impl Formulas {
    /// A grid of drawings with their titles.
    ///
    /// # Panics
    /// If there are no drawings.
    pub(crate) fn new(drawings: &[(Drawing, String)]) -> Self {
        assert!(!drawings.is_empty(), "a grid shows at least one formula");
        let side = |axis: usize| drawings.iter().map(|(d, _)| d.size[axis]).fold(80.0, f64::max);
        let cell = [side(0), side(1)];
        let centred = |(drawing, title): &(Drawing, String)| {
            let shift = [0, 1].map(|axis| (cell[axis] - drawing.size[axis]) / 2.0);
            let mut chains = chains(drawing);
            chains.iter_mut().flat_map(|(points, _)| points).for_each(|p| *p = [p[0] + shift[0], p[1] + shift[1]]);
            (chains, title.clone())
        };
        let columns = (drawings.len() as f64).sqrt().ceil() as usize;
        Self { cells: drawings.iter().map(centred).collect(), columns, cell }
    }

    fn size(&self) -> [f64; 2] {
        let rows = self.cells.len().div_ceil(self.columns);
        [self.columns as f64 * self.cell[0], rows as f64 * self.cell[1]]
    }

    fn origin(&self, index: usize) -> [f64; 2] {
        [(index % self.columns) as f64 * self.cell[0], (index / self.columns) as f64 * self.cell[1]]
    }

    /// The grid as SVG; titles are tooltips.
    pub(crate) fn svg(&self) -> String {
        let [width, height] = self.size();
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
             viewBox=\"0 0 {width:.1} {height:.1}\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
             <g fill=\"none\" stroke-width=\"{WIDTH}\" stroke-linecap=\"round\" stroke-linejoin=\"round\">\n"
        );
        for (index, (chains, title)) in self.cells.iter().enumerate() {
            let [x, y] = self.origin(index);
            let title = title.replace('&', "&amp;").replace('<', "&lt;");
            let [w, h] = self.cell;
            let put = "a string takes every line";
            writeln!(out, "<g transform=\"translate({x:.1} {y:.1})\"><title>{title}</title>").expect(put);
            // An area for the tooltip: without it, the mouse would have to be on a line.
            writeln!(out, "<rect width=\"{w:.1}\" height=\"{h:.1}\" fill=\"white\" stroke=\"none\"/>").expect(put);
            for (points, [r, g, b]) in chains {
                let points: Vec<String> = points.iter().map(|[x, y]| format!("{x:.1},{y:.1}")).collect();
                let points = points.join(" ");
                writeln!(out, "<polyline points=\"{points}\" stroke=\"#{r:02x}{g:02x}{b:02x}\"/>").expect(put);
            }
            out += "</g>\n";
        }
        out + "</g>\n</svg>\n"
    }

    /// Height and width of the PNG in pixels.
    pub(crate) fn pixels(&self) -> (u32, u32) {
        let [width, height] = self.size().map(|side| (side as f32 * SCALE).ceil() as u32);
        (height, width)
    }

    /// The grid as PNG; `None` if it is too large for a picture.
    pub(crate) fn png(&self) -> Option<Vec<u8>> {
        let (height, width) = self.pixels();
        let mut picture = Pixmap::new(width, height)?;
        picture.fill(Color::WHITE);
        let stroke = Stroke { width: WIDTH, line_cap: LineCap::Round, line_join: LineJoin::Round, ..Stroke::default() };
        for (index, (chains, _)) in self.cells.iter().enumerate() {
            let [x, y] = self.origin(index).map(|v| v as f32 * SCALE);
            let place = Transform::from_row(SCALE, 0.0, 0.0, SCALE, x, y);
            for (points, [r, g, b]) in chains {
                let mut path = PathBuilder::new();
                for (i, [x, y]) in points.iter().enumerate() {
                    let draw = if i == 0 { PathBuilder::move_to } else { PathBuilder::line_to };
                    draw(&mut path, *x as f32, *y as f32);
                }
                let mut paint = Paint { anti_alias: true, ..Paint::default() };
                paint.set_color_rgba8(*r, *g, *b, 255);
                if let Some(path) = path.finish() {
                    picture.stroke_path(&path, &paint, &stroke, place, None);
                }
            }
        }
        picture.encode_png().ok()
    }
}

/// All strokes of a drawing.
fn chains(drawing: &Drawing) -> Vec<Chain> {
    let lines = drawing.lines.iter().map(|line| (vec![line.from, line.to], BLACK));
    lines.chain(drawing.labels.iter().flat_map(spell)).collect()
}

/// The strokes of an atom's letters, the symbol centred on the atom.
fn spell(label: &Label) -> Vec<Chain> {
    let [before, after] = label.beside();
    let wide = |text: &str| text.chars().map(advance).sum::<f64>();
    let symbol = wide(label.symbol) - GAP;
    let start = label.at[0] - symbol / 2.0;
    let mut chains = Vec::new();
    let mut x = start - wide(&before);
    for character in before.chars().chain(label.symbol.chars()).chain(after.chars()) {
        let (height, drop) = place(character);
        let top = label.at[1] - LETTER / 2.0 + drop;
        let point = |&[px, py]: &[f64; 2]| [x + px * height, top + py * height];
        let strokes = glyph(character).strokes.iter().map(|stroke| stroke.iter().map(point).collect());
        chains.extend(strokes.map(|points: Vec<[f64; 2]>| (points, label.ink)));
        x += advance(character);
    }
    chains
}

/// Height of a character, and distance of its top below that of a capital: digits are subscripts, signs superscripts.
fn place(character: char) -> (f64, f64) {
    match character {
        '0'..='9' => (0.6 * LETTER, 0.6 * LETTER),
        '+' | '-' => (0.6 * LETTER, -0.3 * LETTER),
        _ => (LETTER, 0.0),
    }
}

fn advance(character: char) -> f64 {
    glyph(character).width * place(character).0 + GAP
}

#[cfg(test)]
mod tests {
    use pushforward::chem::drawing::draw;
    use pushforward::chem::read;

    use super::*;

    fn grid(smiles: &[&str]) -> Formulas {
        let drawing = |s: &&str| (draw(&read(s).unwrap().molecule), format!("{s} & <"));
        Formulas::new(&smiles.iter().map(drawing).collect::<Vec<_>>())
    }

    #[test]
    fn svg_is_well_formed_and_shows_every_formula() {
        let svg = grid(&["CCO", "c1ccccc1", "C[NH3+]", "ClC=O", "C"]).svg();
        assert_eq!(svg.matches("<title>").count(), 5);
        assert!(svg.contains("CCO &amp; &lt;") && svg.ends_with("</svg>\n"));
        assert_eq!(svg.matches("<g").count(), svg.matches("</g>").count());
        assert!(!svg.contains("NaN"));
    }

    #[test]
    fn png_has_ink_in_every_cell() {
        let grid = grid(&["CCO", "c1ccccc1", "CN"]);
        let bytes = grid.png().unwrap();
        let picture = Pixmap::decode_png(&bytes).unwrap();
        assert_eq!(grid.columns, 2);
        for index in 0..3 {
            let [x, y] = grid.origin(index).map(|v| (v as f32 * SCALE) as u32);
            let [w, h] = grid.cell.map(|v| (v as f32 * SCALE) as u32 - 1);
            let dark = |x, y| picture.pixel(x, y).is_some_and(|p| p.green() < 128);
            let inked = (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))).filter(|&(x, y)| dark(x, y)).count();
            assert!(inked > 100, "cell {index}: {inked}");
        }
    }
}
