//! Pictures of sequences as SVG: a logo, a heat map of letters by position, and a histogram of lengths, of data above or
//! beside samples.
//!
//! ```text
//! height of letter k at position i = p_ik (ln K - H_i) / ln 2 bits        H_i the entropy of position i
//! ```
//!
//! Reference: Schneider and Stephens 1990 (Nucleic Acids Research 18, 6097), without the correction for few sequences.

use pushforward::data::sequences::SequenceLayout;

use crate::svg::{Canvas, SETS};

/// Margin for labels.
const MARGIN: f64 = 48.0;
/// Height of a row of a logo.
const ROW: f64 = 110.0;
/// Largest width of the area of a picture.
const WIDEST: f64 = 1600.0;
/// Most columns of a heat map; longer sequences have several positions in a column.
const COLUMNS: usize = 320;
/// Most letters of a heat map: the most frequent ones of the first set.
const MOST_LETTERS: usize = 40;
/// Colours of letters, in turn; the four bases have those that are usual for them.
const LETTERS: [&str; 12] = [
    "#109648", "#255c99", "#d68910", "#b22222", "#6a3d9a", "#0b7285", "#a61e4d", "#5c940d", "#495057", "#862e9c",
    "#c92a2a", "#364fc7",
];
/// Style of headings.
const BOLD: &str = "font-weight=\"bold\"";

/// The sequences of a picture with their name.
pub(crate) type Set<'a> = (&'a str, &'a [u32]);

/// How often each letter stands at each position, among the sequences that have the position: position by position.
fn frequencies(ids: &[u32], layout: &SequenceLayout) -> Vec<Vec<f64>> {
    let classes = layout.letters().len();
    let mut counts = vec![vec![0.0; classes]; layout.longest()];
    for item in ids.chunks(layout.longest()) {
        for (place, &class) in item[..layout.length_of(item)].iter().enumerate() {
            counts[place][class as usize] += 1.0;
        }
    }
    for position in &mut counts {
        let total: f64 = position.iter().sum();
        position.iter_mut().for_each(|count| *count /= total.max(1.0));
    }
    counts
}

/// The bits by which a position is less than even, at least zero.
fn information(position: &[f64]) -> f64 {
    if position.iter().sum::<f64>() <= 0.0 {
        return 0.0;
    }
    let entropy: f64 = position.iter().filter(|p| **p > 0.0).map(|p| -p * p.ln()).sum();
    (((position.len() as f64).ln() - entropy) / std::f64::consts::LN_2).max(0.0)
}

fn colour(class: usize) -> &'static str {
    LETTERS[class % LETTERS.len()]
}

/// All pictures of sets, each with what it shows.
pub(crate) fn draw(sets: &[Set<'_>], layout: &SequenceLayout) -> Vec<(&'static str, String)> {
    let mut pictures = vec![("logo", logo(sets, layout)), ("positions", positions(sets, layout))];
    if layout.varies() {
        pictures.push(("lengths", lengths(sets, layout)));
    }
    pictures
}

/// A row of letters for each set, as high as they tell of their position.
pub(crate) fn logo(sets: &[Set<'_>], layout: &SequenceLayout) -> String {
    let step = (WIDEST / layout.longest() as f64).clamp(4.0, 24.0);
    let width = step * layout.longest() as f64;
    let rows: Vec<Vec<Vec<f64>>> = sets.iter().map(|(_, ids)| frequencies(ids, layout)).collect();
    // One scale for all rows.
    let top = rows.iter().flatten().map(|p| information(p)).fold(0.1, f64::max);
    let mut canvas = Canvas::default();
    for (index, (row, (name, _))) in rows.iter().zip(sets).enumerate() {
        let floor = (index as f64 + 1.0) * (ROW + 24.0);
        for (place, position) in row.iter().enumerate() {
            let bits = information(position);
            let mut order: Vec<usize> = (0..position.len()).filter(|&class| position[class] > 0.0).collect();
            order.sort_by(|&a, &b| position[a].total_cmp(&position[b]));
            let mut y = floor;
            for class in order {
                let height = position[class] * bits / top * ROW;
                if height >= 0.5 {
                    let x = MARGIN + place as f64 * step;
                    canvas.letter([x, y], [step, height], colour(class), layout.letters()[class]);
                }
                y -= height;
            }
        }
        let right = MARGIN + width;
        canvas.line(&[[MARGIN, floor - ROW], [MARGIN, floor], [right, floor]], "black", 0.5);
        canvas.text([MARGIN, floor - ROW - 4.0], BOLD, name);
        canvas.text([right, floor - ROW - 4.0], "text-anchor=\"end\"", &format!("{top:.2} bits"));
        number_positions(&mut canvas, layout.longest(), floor + 10.0, |place| (place as f64 - 0.5) * step);
    }
    canvas.finish([width + 2.0 * MARGIN, sets.len() as f64 * (ROW + 24.0) + 20.0])
}

/// Numbers some positions, each at its place to the right of the margin.
fn number_positions(canvas: &mut Canvas, longest: usize, y: f64, place_of: impl Fn(usize) -> f64) {
    for place in ticks(longest) {
        canvas.text([MARGIN + place_of(place), y], "text-anchor=\"middle\" font-size=\"9\"", &place.to_string());
    }
}

/// The share of each letter at each position for each set, the darker the more.
pub(crate) fn positions(sets: &[Set<'_>], layout: &SequenceLayout) -> String {
    let together = layout.longest().div_ceil(COLUMNS);
    let columns = layout.longest().div_ceil(together);
    let step = (WIDEST / columns as f64).clamp(3.0, 24.0);
    let tables: Vec<Vec<Vec<f64>>> = sets.iter().map(|(_, ids)| frequencies(ids, layout)).collect();
    let shown = most_frequent(tables.first().map_or(&[], Vec::as_slice), layout.letters().len());
    let cell = if shown.len() > 12 { 10.0 } else { 18.0 };
    let mean = |table: &[Vec<f64>], column: usize, class: usize| {
        let part = &table[column * together..((column + 1) * together).min(table.len())];
        part.iter().map(|position| position[class]).sum::<f64>() / part.len() as f64
    };
    let top = tables.iter().flatten().flatten().copied().fold(0.01, f64::max);
    let mut canvas = Canvas::default();
    let height = cell * shown.len() as f64 + 34.0;
    for (index, (table, (name, _))) in tables.iter().zip(sets).enumerate() {
        let upper = index as f64 * height + 22.0;
        canvas.text([MARGIN, upper - 6.0], BOLD, name);
        for (line, &class) in shown.iter().enumerate() {
            let y = upper + line as f64 * cell;
            let style = format!("text-anchor=\"end\" font-size=\"{}\"", cell.min(12.0));
            canvas.text([MARGIN - 4.0, y + cell - 2.0], &style, &layout.letters()[class].to_string());
            for column in 0..columns {
                let shade = 255 - (255.0 * (mean(table, column, class) / top).min(1.0)) as u8;
                let fill = format!("#{shade:02x}{shade:02x}{:02x}", shade / 2 + 127);
                canvas.rect([MARGIN + column as f64 * step, y], [step, cell], &fill);
            }
        }
        let floor = upper + cell * shown.len() as f64 + 9.0;
        let place_of = |place: usize| ((place - 1) / together) as f64 * step + step / 2.0;
        number_positions(&mut canvas, layout.longest(), floor, place_of);
    }
    canvas.finish([step * columns as f64 + 2.0 * MARGIN, height * sets.len() as f64 + 10.0])
}

/// The letters of a heat map, in the order of their classes.
fn most_frequent(table: &[Vec<f64>], classes: usize) -> Vec<usize> {
    let sum = |class: usize| table.iter().map(|position| position[class]).sum::<f64>();
    let sums: Vec<f64> = (0..classes).map(sum).collect();
    let mut order: Vec<usize> = (0..classes).collect();
    order.sort_by(|&a, &b| sums[b].total_cmp(&sums[a]));
    order.truncate(MOST_LETTERS);
    order.sort_unstable();
    order
}

/// The share of the sequences of each length.
pub(crate) fn lengths(sets: &[Set<'_>], layout: &SequenceLayout) -> String {
    let together = layout.longest().div_ceil(COLUMNS);
    let bins = layout.longest().div_ceil(together);
    let found: Vec<Vec<f64>> = sets
        .iter()
        .map(|(_, ids)| {
            let mut shares = vec![0.0; bins];
            let n = (ids.len() / layout.longest()).max(1) as f64;
            ids.chunks(layout.longest())
                .for_each(|item| shares[(layout.length_of(item).max(1) - 1) / together] += 1.0 / n);
            shares
        })
        .collect();
    let top = found.iter().flatten().copied().fold(1e-9, f64::max);
    let step = (WIDEST / 2.0 / bins as f64).clamp(2.0, 36.0);
    let (area, bar) = (180.0, step * 0.9 / sets.len() as f64);
    let floor = area + 30.0;
    let mut canvas = Canvas::default();
    for (index, (shares, (name, _))) in found.iter().zip(sets).enumerate() {
        let colour = SETS[index % SETS.len()];
        for (bin, share) in shares.iter().enumerate().filter(|(_, share)| **share > 0.0) {
            let (x, height) = (MARGIN + bin as f64 * step + index as f64 * bar, share / top * area);
            canvas.rect([x, floor - height], [bar, height], colour);
        }
        canvas.text([MARGIN + 110.0 * index as f64, 16.0], &format!("fill=\"{colour}\" {BOLD}"), name);
    }
    let place_of = |place: usize| ((place - 1) / together) as f64 * step + step / 2.0;
    number_positions(&mut canvas, layout.longest(), floor + 11.0, place_of);
    canvas.text([MARGIN - 4.0, 40.0], "text-anchor=\"end\"", &format!("{:.1} %", 100.0 * top));
    canvas.finish([(step * bins as f64).max(260.0) + 2.0 * MARGIN, floor + 24.0])
}

/// Positions that are numbered: about twelve, from 1 on.
fn ticks(longest: usize) -> Vec<usize> {
    let step = [1, 2, 5, 10, 20, 50, 100, 200, 500].into_iter().find(|step| longest / step <= 16).unwrap_or(1000);
    std::iter::once(1)
        .chain((1..).map(|i| i * step).take_while(|&place| place <= longest).filter(|&place| place > 1))
        .collect()
}

#[cfg(test)]
mod tests {
    use pushforward::data::graph::ABSENT;
    use pushforward::data::sequences::Alphabet;

    use super::*;

    fn layout() -> SequenceLayout {
        SequenceLayout::new(Alphabet::Dna, "ACGT".chars().collect(), vec![0, 0, 1, 3])
    }

    #[test]
    fn information_is_that_of_the_letters() {
        assert_eq!(information(&[0.25; 4]), 0.0);
        assert!((information(&[1.0, 0.0, 0.0, 0.0]) - 2.0).abs() < 1e-12);
        assert!((information(&[0.5, 0.5, 0.0, 0.0]) - 1.0).abs() < 1e-12);
        let found = frequencies(&[0, 1, 3, 0, 2, ABSENT], &layout());
        assert_eq!(found, [vec![1.0, 0.0, 0.0, 0.0], vec![0.0, 0.5, 0.5, 0.0], vec![0.0, 0.0, 0.0, 1.0]]);
    }

    #[test]
    fn pictures_hold_what_they_show() {
        let (data, samples) = ([0, 1, 3, 0, 2, ABSENT], [0, 1, 3]);
        let sets = [("data", &data[..]), ("samples", &samples[..])];
        let text = logo(&sets, &layout());
        assert_eq!(text.matches(">A</text>").count(), 2);
        assert!(text.contains("data") && text.contains("samples") && text.contains("2.00 bits"));
        assert_eq!(positions(&sets, &layout()).matches("<rect x").count(), 2 * 4 * 3);
        assert_eq!(lengths(&sets, &layout()).matches("<rect x").count(), 3);
        assert_eq!((ticks(15), ticks(300).len()), ((1..=15).collect(), 16));
        let rare = [vec![0.5, 0.0, 0.5], vec![0.3, 0.1, 0.6]];
        assert_eq!(most_frequent(&rare, 3), [0, 1, 2]);
        let many: Vec<f64> = (0..50).map(|class| f64::from(class % 49)).collect();
        assert_eq!(most_frequent(&[many], 50).len(), MOST_LETTERS);
        assert!(!most_frequent(&[(0..50).map(|class| f64::from(class % 49)).collect()], 50).contains(&49));
        assert!(
            positions(&sets, &SequenceLayout::new(Alphabet::Dna, "ACGT".chars().collect(), vec![0; 2000])).len() > 100
        );
    }
}
