//! Pictures of tables as SVG: the law of every column, and how much pairs of columns tell of each other, of data beside
//! samples.
//!
//! ```text
//! association of columns a, b = I(a; b) / sqrt(H(a) H(b))       with neighbouring classes joined to at most ten
//! ```
//!
//! I is the mutual information and H the entropy, both of the counts as they are.

use pushforward::data::graph::ABSENT;
use pushforward::data::tables::{ColumnKind, TableLayout};

use crate::svg::{Canvas, SETS};
use crate::table_files::cut;

/// Panels of laws in a row, and the size of one.
const ACROSS: usize = 3;
const PANEL: [f64; 2] = [360.0, 190.0];
/// Bars of a panel: the most frequent classes of a category, or bins of numbers.
const BARS: usize = 10;
const BINS: usize = 28;
/// Characters of a name.
const NAME: usize = 16;
/// Most columns that are shown.
const COLUMNS: usize = 60;
/// Classes of a column when pairs are compared.
const JOINED: usize = 10;
/// Most rows that pairs are compared on.
const ROWS: usize = 20_000;
/// Side of a cell of the table of pairs, and the room for names beside it.
const CELL: f64 = 14.0;
const NAMES: f64 = 130.0;

/// Rows as class indices, with their name.
pub(crate) type Set<'a> = (&'a str, &'a [u32]);

/// Both pictures, each with what it shows.
pub(crate) fn draw(sets: [Set<'_>; 2], layout: &TableLayout) -> Vec<(&'static str, String)> {
    vec![("columns", columns(sets, layout)), ("pairs", pairs(sets, layout))]
}

/// The share of each class of a site, among the rows that have one.
fn shares(ids: &[u32], sites: usize, site: usize, classes: usize) -> Vec<f64> {
    let mut counts = vec![0.0; classes];
    ids.chunks(sites).filter(|row| row[site] != ABSENT).for_each(|row| counts[row[site] as usize] += 1.0);
    let rows = counts.iter().sum::<f64>().max(1.0);
    counts.into_iter().map(|count| count / rows).collect()
}

/// The law of every column.
pub(crate) fn columns(sets: [Set<'_>; 2], layout: &TableLayout) -> String {
    let classes = layout.class_counts();
    let shown = classes.len().min(COLUMNS);
    let mut canvas = Canvas::default();
    for (index, (name, _)) in sets.iter().enumerate() {
        let style = format!("fill=\"{}\" font-weight=\"bold\"", SETS[index]);
        canvas.text([20.0 + 120.0 * index as f64, 18.0], &style, name);
    }
    for (site, column) in layout.sites().enumerate().take(shown) {
        let [left, top] = [(site % ACROSS) as f64 * PANEL[0], 26.0 + (site / ACROSS) as f64 * PANEL[1]];
        let laws = sets.map(|(_, ids)| shares(ids, classes.len(), site, classes[site]));
        canvas.text([left + 20.0, top + 16.0], "font-weight=\"bold\"", &cut(column.name(), NAME));
        let name_of = |class: usize| cut(&layout.class_name(site, class as u32), NAME);
        if column.kind() == ColumnKind::Categorical {
            categories(&mut canvas, [left, top], &laws, name_of);
        } else {
            numbers(&mut canvas, [left, top], &laws, name_of);
        }
    }
    canvas.finish([ACROSS as f64 * PANEL[0] + 20.0, 36.0 + shown.div_ceil(ACROSS) as f64 * PANEL[1]])
}

/// A bar to the right for each of the most frequent classes, and one for all others.
fn categories(canvas: &mut Canvas, [left, top]: [f64; 2], laws: &[Vec<f64>; 2], name_of: impl Fn(usize) -> String) {
    let mut order: Vec<usize> = (0..laws[0].len()).collect();
    order.sort_by(|&a, &b| (laws[0][b] + laws[1][b]).total_cmp(&(laws[0][a] + laws[1][a])));
    let rest = order.split_off(order.len().min(BARS));
    let mut bars: Vec<(String, [f64; 2])> =
        order.iter().map(|&class| (name_of(class), [laws[0][class], laws[1][class]])).collect();
    if !rest.is_empty() {
        let sum = |law: &Vec<f64>| rest.iter().map(|&class| law[class]).sum::<f64>();
        bars.push((format!("{} others", rest.len()), [sum(&laws[0]), sum(&laws[1])]));
    }
    let most = bars.iter().flat_map(|(_, shares)| *shares).fold(1e-9, f64::max);
    let step = ((PANEL[1] - 34.0) / bars.len() as f64).min(22.0);
    for (line, (name, shares)) in bars.iter().enumerate() {
        let y = top + 24.0 + line as f64 * step;
        canvas.text([left + 132.0, y + step * 0.72], "text-anchor=\"end\" font-size=\"10\"", name);
        for (index, share) in shares.iter().enumerate() {
            let width = share / most * (PANEL[0] - 160.0);
            canvas.rect([left + 138.0, y + index as f64 * step * 0.42], [width, step * 0.4], SETS[index]);
        }
    }
}

/// A bar upwards for each bin of neighbouring classes.
fn numbers(canvas: &mut Canvas, [left, top]: [f64; 2], laws: &[Vec<f64>; 2], name_of: impl Fn(usize) -> String) {
    let together = laws[0].len().div_ceil(BINS);
    let bins = laws.clone().map(|law| law.chunks(together).map(|bin| bin.iter().sum()).collect::<Vec<f64>>());
    let most = bins.iter().flatten().copied().fold(1e-9, f64::max);
    let (width, height) = (PANEL[0] - 50.0, PANEL[1] - 60.0);
    let (step, floor) = (width / bins[0].len() as f64, top + PANEL[1] - 30.0);
    for (index, law) in bins.iter().enumerate() {
        for (bin, share) in law.iter().enumerate() {
            let x = left + 20.0 + bin as f64 * step + index as f64 * step * 0.45;
            canvas.rect([x, floor - share / most * height], [step * 0.43, share / most * height], SETS[index]);
        }
    }
    canvas.line(&[[left + 20.0, floor], [left + 20.0 + width, floor]], "black", 0.5);
    canvas.text([left + 20.0, floor + 13.0], "font-size=\"10\"", &name_of(0));
    let last = name_of(laws[0].len() - 1);
    canvas.text([left + 20.0 + width, floor + 13.0], "text-anchor=\"end\" font-size=\"10\"", &last);
}

/// The association of every pair of columns.
fn associations(ids: &[u32], classes: &[usize], shown: usize) -> Vec<Vec<f64>> {
    let sites = classes.len();
    let joined = |site: usize| classes[site].min(JOINED);
    let rows: Vec<Vec<usize>> = ids
        .chunks(sites)
        .filter(|row| !row.contains(&ABSENT))
        .take(ROWS)
        .map(|row| (0..shown).map(|site| row[site] as usize * joined(site) / classes[site]).collect())
        .collect();
    let total = rows.len().max(1) as f64;
    let entropy = |counts: &[f64]| -> f64 {
        counts.iter().filter(|count| **count > 0.0).map(|count| -count / total * (count / total).ln()).sum()
    };
    let of = |a: usize, b: usize| {
        let (mut both, mut one, mut other) =
            (vec![0.0; joined(a) * joined(b)], vec![0.0; joined(a)], vec![0.0; joined(b)]);
        for row in &rows {
            both[row[a] * joined(b) + row[b]] += 1.0;
            one[row[a]] += 1.0;
            other[row[b]] += 1.0;
        }
        let [one, other, both] = [entropy(&one), entropy(&other), entropy(&both)];
        ((one + other - both) / (one * other).sqrt().max(1e-12)).clamp(0.0, 1.0)
    };
    (0..shown).map(|a| (0..shown).map(|b| if a == b { 1.0 } else { of(a.min(b), a.max(b)) }).collect()).collect()
}

/// A table of associations for each set, and one of their differences: the darker the more.
pub(crate) fn pairs(sets: [Set<'_>; 2], layout: &TableLayout) -> String {
    let classes = layout.class_counts();
    let names: Vec<String> = layout.sites().map(|column| cut(column.name(), NAME)).take(COLUMNS).collect();
    let [data, samples] = sets.map(|(_, ids)| associations(ids, &classes, names.len()));
    let apart: Vec<Vec<f64>> = data
        .iter()
        .zip(&samples)
        .map(|(a, b)| a.iter().zip(b).map(|(a, b)| (a - b).abs()).collect::<Vec<f64>>())
        .collect();
    let side = CELL * names.len() as f64;
    let largest = apart.iter().flatten().copied().fold(0.0, f64::max);
    let headings = [sets[0].0.to_owned(), sets[1].0.to_owned(), format!("difference (at most {largest:.2})")];
    let mut canvas = Canvas::default();
    for (line, name) in names.iter().enumerate() {
        let y = 40.0 + CELL * (line as f64 + 0.8);
        canvas.text([NAMES - 6.0, y], "text-anchor=\"end\" font-size=\"10\"", name);
    }
    for (index, (table, heading)) in [&data, &samples, &apart].into_iter().zip(&headings).enumerate() {
        let left = NAMES + index as f64 * (side + 24.0);
        canvas.text([left, 28.0], "font-weight=\"bold\" font-size=\"11\"", heading);
        for (a, row) in table.iter().enumerate() {
            for (b, value) in row.iter().enumerate().filter(|(b, _)| *b != a) {
                let shade = 255 - (255.0 * value.sqrt()) as u8;
                let fill = if index < 2 {
                    format!("#{shade:02x}{shade:02x}{:02x}", shade / 2 + 127)
                } else {
                    format!("#{:02x}{shade:02x}{shade:02x}", shade / 2 + 127)
                };
                let at = [left + b as f64 * CELL, 40.0 + a as f64 * CELL];
                canvas.rect(at, [CELL - 1.0, CELL - 1.0], &fill);
            }
        }
    }
    canvas.finish([NAMES + 3.0 * (side + 24.0), side + 56.0])
}

#[cfg(test)]
mod tests {
    use pushforward::data::{DataConfig, Layout};

    use super::*;

    fn layout() -> TableLayout {
        let folder = tempfile::tempdir().unwrap();
        let row = |i: usize| format!("{},{},{}\n", i % 300, ["a & b", "c"][i % 2], i % 2);
        let text: String =
            std::iter::once("size,word,\"a long name of a column\"\n".to_owned()).chain((0..900).map(row)).collect();
        std::fs::write(folder.path().join("t.csv"), text).unwrap();
        let config: DataConfig = toml::from_str("set = 'table'\npath = 't.csv'").unwrap();
        let splits = config.load(folder.path(), 0).unwrap();
        let Layout::Columns(layout) = splits.schema().layout.clone() else { panic!("a table") };
        layout
    }

    #[test]
    fn equal_columns_tell_all_of_each_other_and_independent_ones_nothing() {
        let ids: Vec<u32> = (0..400u32).flat_map(|i| [i % 2, i % 2, (i / 2) % 2]).collect();
        let found = associations(&ids, &[2, 2, 2], 3);
        assert!((found[0][1] - 1.0).abs() < 1e-9 && found[0][2].abs() < 1e-9 && found[2][1] == found[1][2]);
        assert_eq!(shares(&ids, 3, 0, 2), [0.5, 0.5]);
    }

    #[test]
    fn pictures_name_what_they_show() {
        let layout = layout();
        let classes = layout.class_counts();
        let data: Vec<u32> = (0..200).flat_map(|i| classes.iter().map(move |&n| (i * 7 % n) as u32)).collect();
        let sets = [("data", &data[..]), ("samples", &data[..60])];
        let laws = columns(sets, &layout);
        assert!(laws.contains("a &amp; b") && laws.contains("a long name of …") && laws.contains("samples"), "{laws}");
        // No bars but those of bins, categories and the background.
        assert!(laws.matches("<rect").count() <= 1 + 2 * (BINS + 2 + 2));
        assert!(pairs(sets, &layout).contains("difference (at most"));
    }
}
