//! Charts as SVG: histograms, lines over steps, and named curves.

use std::fmt::Write as _;

use crate::svg::{Canvas, escaped};

const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 260.0;
/// Margin for the labels of the axes.
const MARGIN: f64 = 44.0;
/// Bars of a histogram.
const BINS: usize = 24;
/// Colours of the two sets: before, after.
const COLOURS: [&str; 2] = ["#9aa0a6", "#1a66b8"];

/// Least and greatest finite value of all sets and, for each set, the shares of its values in equal bins between them;
/// no bins without finite values.
pub(crate) fn shares(sets: &[&[f64]], bins: usize) -> (f64, f64, Vec<Vec<f64>>) {
    let finite = || sets.iter().flat_map(|s| s.iter()).copied().filter(|v| v.is_finite());
    let (low, high) = finite().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    if low > high {
        return (0.0, 0.0, vec![Vec::new(); sets.len()]);
    }
    let width = ((high - low) / bins as f64).max(f64::MIN_POSITIVE);
    let count = |set: &&[f64]| {
        let mut found = vec![0.0; bins];
        for v in set.iter().filter(|v| v.is_finite()) {
            found[(((v - low) / width) as usize).min(bins - 1)] += 1.0 / set.len() as f64;
        }
        found
    };
    (low, high, sets.iter().map(count).collect())
}

/// A histogram of two sets of values, the first behind the second.
pub(crate) fn histogram(title: &str, sets: [(&str, &[f64]); 2]) -> String {
    let (low, high, found) = shares(&[sets[0].1, sets[1].1], BINS);
    let top = found.iter().flatten().copied().fold(0.0, f64::max).max(1e-9);
    let mut body = String::new();
    for (set, colour) in found.iter().zip(COLOURS) {
        for (i, share) in set.iter().enumerate() {
            let width = (WIDTH - 2.0 * MARGIN) / BINS as f64;
            let height = share / top * (HEIGHT - 2.0 * MARGIN);
            let (x, y) = (MARGIN + i as f64 * width, HEIGHT - MARGIN - height);
            write!(body, "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{colour}\" fill-opacity=\"0.7\"/>")
                .expect("a string takes everything");
        }
    }
    let names: Vec<_> = sets.iter().zip(COLOURS).map(|((name, _), colour)| (*name, colour)).collect();
    frame(title, &names, &body, [low, high], [0.0, top])
}

/// Lines over steps 1, 2, ..., all in one colour.
pub(crate) fn traces(title: &str, lines: &[Vec<f64>], top: f64) -> String {
    let steps = lines.iter().map(Vec::len).max().unwrap_or(0);
    let mut body = String::new();
    for line in lines {
        let point = |(i, v): (usize, &f64)| {
            let x = MARGIN + (WIDTH - 2.0 * MARGIN) * i as f64 / (steps.max(2) - 1) as f64;
            let y = HEIGHT - MARGIN - v / top * (HEIGHT - 2.0 * MARGIN);
            format!("{x:.1},{y:.1}")
        };
        let points: Vec<String> = line.iter().enumerate().map(point).collect();
        write!(
            body,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-opacity=\"0.5\"/>",
            points.join(" "),
            COLOURS[1]
        )
        .expect("a string takes everything");
    }
    frame(title, &[], &body, [1.0, steps as f64], [0.0, top])
}

fn frame(title: &str, names: &[(&str, &str)], body: &str, [left, right]: [f64; 2], [bottom, top]: [f64; 2]) -> String {
    let label = |x: f64, y: f64, anchor: &str, colour: &str, text: &str| {
        let text = escaped(text);
        format!("<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\" fill=\"{colour}\">{text}</text>")
    };
    let number = |v: f64| format!("{}", (v * 1000.0).round() / 1000.0);
    let (floor, end) = (HEIGHT - MARGIN, WIDTH - MARGIN);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>{body}\
         <path d=\"M{MARGIN},{MARGIN} V{floor} H{end}\" fill=\"none\" stroke=\"black\"/>"
    );
    out += &label(WIDTH / 2.0, 20.0, "middle", "black", title);
    out += &label(MARGIN, floor + 16.0, "middle", "black", &number(left));
    out += &label(end, floor + 16.0, "middle", "black", &number(right));
    out += &label(MARGIN - 4.0, floor, "end", "black", &number(bottom));
    out += &label(MARGIN - 4.0, MARGIN + 4.0, "end", "black", &number(top));
    for (i, (name, colour)) in names.iter().enumerate() {
        out += &label(end, MARGIN + 14.0 * i as f64, "end", colour, name);
    }
    out + "</svg>\n"
}

/// Colours of named curves, in turn.
const LINES: [&str; 6] = ["#1a66b8", "#d68910", "#109648", "#b22222", "#6a3d9a", "#495057"];
/// Most points of a curve; of more, neighbours are averaged.
const POINTS: usize = 400;
/// Part of the values at each end that may lie outside of the frame: a few outliers would flatten all else.
const OUTSIDE: f64 = 0.01;

/// Named curves in one frame.
pub(crate) fn curves(title: &str, lines: &[(String, Vec<[f64; 2]>)]) -> String {
    let mut heights: Vec<f64> = lines.iter().flat_map(|(_, points)| points).map(|[_, y]| *y).collect();
    heights.sort_by(f64::total_cmp);
    let last = heights.len().saturating_sub(1) as f64;
    let at = |share: f64| heights.get((last * share).round() as usize).copied().unwrap_or(0.0);
    let (low, high) = (at(OUTSIDE), at(1.0 - OUTSIDE));
    let (low, high) = if high > low { (low, high) } else { (low - 0.5, high + 0.5) };
    let right = lines.iter().flat_map(|(_, points)| points).fold(1.0, |most: f64, [x, _]| most.max(*x));
    let mut canvas = Canvas::default();
    let (floor, end) = (HEIGHT - MARGIN, 1.6 * WIDTH - MARGIN);
    let left = 1.5 * MARGIN;
    for tick in 0..=4 {
        let share = f64::from(tick) / 4.0;
        let y = floor - share * (floor - MARGIN);
        canvas.line(&[[left, y], [end, y]], "#d7dbe0", 1.0);
        let value = format!("{:.4}", low + share * (high - low));
        canvas.text([left - 4.0, y + 4.0], "text-anchor=\"end\" font-size=\"10\"", &value);
    }
    for (index, (name, points)) in lines.iter().enumerate() {
        let together = points.len().div_ceil(POINTS).max(1);
        let mean = |part: &[[f64; 2]], axis: usize| part.iter().map(|p| p[axis]).sum::<f64>() / part.len() as f64;
        let place = |part: &[[f64; 2]]| {
            let share = ((mean(part, 1) - low) / (high - low)).clamp(0.0, 1.0);
            [left + mean(part, 0) / right * (end - left), floor - share * (floor - MARGIN)]
        };
        let places: Vec<[f64; 2]> = points.chunks(together).map(place).collect();
        let colour = LINES[index % LINES.len()];
        canvas.line(&places, colour, 1.5);
        canvas.text([left + 120.0 * index as f64, MARGIN - 8.0], &format!("fill=\"{colour}\""), name);
    }
    canvas.text([left, 18.0], "font-weight=\"bold\"", title);
    canvas.text([left, floor + 16.0], "", "0");
    canvas.text([end, floor + 16.0], "text-anchor=\"end\"", &format!("step {right:.0}"));
    canvas.finish([1.6 * WIDTH, HEIGHT])
}

/// A histogram as lines of text, one a bin: its two ends, and bars for before and after.
pub(crate) fn text_histogram(before: &[f64], after: &[f64]) -> String {
    let bins = 8;
    let (low, high, found) = shares(&[before, after], bins);
    let [before, after] = found.as_slice() else { return String::new() };
    let bar = |share: f64| "\u{2588}".repeat((share * 30.0).round() as usize);
    let line = |i: usize| {
        let end = |i: usize| low + (high - low) * i as f64 / bins as f64;
        // A bin holds its start; the last one its end too.
        let close = if i + 1 == bins { ']' } else { ')' };
        let range = format!("[{:9.3}, {:9.3}{close}", end(i), end(i + 1));
        format!("{range}  {:30}  {}", bar(before[i]), bar(after[i])).trim_end().to_owned()
    };
    let head = format!("{:>22}  {:30}  {}", "reward", "before", "after");
    std::iter::once(head).chain((0..before.len()).map(line)).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_to_the_finite_part() {
        let (low, high, found) = shares(&[&[0.0, 1.0, 1.0, f64::NEG_INFINITY], &[2.0]], 4);
        assert_eq!((low, high), (0.0, 2.0));
        assert_eq!(found, [vec![0.25, 0.0, 0.5, 0.0], vec![0.0, 0.0, 0.0, 1.0]]);
        assert_eq!(shares(&[&[3.0, 3.0]], 2).2, [vec![1.0, 0.0]], "a constant falls into one bin");
        assert!(shares(&[&[f64::NAN]], 2).2[0].is_empty());
    }

    #[test]
    fn charts_hold_what_they_show() {
        let chart = histogram("r < 1", [("before", &[0.0, 1.0]), ("after", &[1.0])]);
        assert!(
            chart.contains("r &lt; 1") && chart.matches("<rect").count() == 1 + 2 * BINS && chart.contains("after")
        );
        assert_eq!(traces("ess", &[vec![4.0, 2.0], vec![4.0]], 4.0).matches("<polyline").count(), 2);
        let lines = [("a".to_owned(), vec![[1.0, 2.0]; 1000]), ("b & c".to_owned(), vec![[1.0, 5.0]])];
        let drawn = curves("losses", &lines);
        assert!(drawn.contains("b &amp; c") && drawn.contains("losses") && drawn.contains("2.0000"), "{drawn}");
        assert!(drawn.len() < 30_000, "neighbours are averaged");
        let text = text_histogram(&[0.0, 0.0], &[1.0]);
        assert_eq!(text.lines().count(), 9);
        assert!(text.lines().nth(1).unwrap().starts_with("[    0.000,     0.125)"), "{text}");
        assert!(text.lines().nth(8).unwrap().starts_with("[    0.875,     1.000]"), "{text}");
        assert!(text.lines().nth(1).unwrap().contains('\u{2588}'));
        assert!(histogram("none", [("before", &[]), ("after", &[])]).ends_with("</svg>\n"));
    }
}
