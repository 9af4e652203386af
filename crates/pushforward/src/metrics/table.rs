//! Reports as text tables that fit the terminal.
//!
//! # Examples
//! ```
//! use pushforward::metrics::report::{Report, Row};
//! let mut report = Report::default();
//! for nfe in [1, 2, 4, 8] {
//!     report.push(Row::new("entropy_joint", "nats", 7.5).ci95([7.4, 7.6]).sampled("map", nfe));
//! }
//! assert_eq!(report.table().lines().count(), 2);
//! // On a narrow terminal the columns continue below.
//! assert!(report.table_within(60).lines().all(|line| line.chars().count() <= 60));
//! ```

use std::collections::BTreeSet;

use super::report::{Key, Report, Row};

/// Columns that name a line: the metric and its unit.
const NAMES: usize = 2;

impl Report {
    /// The report as text: one line per metric, one column per number of network evaluations (first a column for rows
    /// without one), values with their interval. Metrics that appear with several samplers, estimators, references or
    /// scorers get one line each. Reasons for missing values follow.
    pub fn table(&self) -> String {
        self.table_within(usize::MAX)
    }

    /// The same, fitted into lines of `width` characters: columns of values that do not fit beside the others follow
    /// below, and long names are broken.
    pub fn table_within(&self, width: usize) -> String {
        let lines = self.lines();
        let mut text = String::new();
        for block in blocks(&lines, width) {
            text += if text.is_empty() { "" } else { "\n" };
            let table = align(&block);
            let fits = table.lines().all(|line| line.chars().count() <= width);
            text += &if fits { table } else { stacked(&block, width) };
        }
        let mut told = BTreeSet::new();
        for row in &self.rows {
            if let Some(reason) = row.reason.as_ref().filter(|reason| told.insert((&row.metric, *reason))) {
                text += &wrapped(&format!("no {}: {reason}", row.metric), width, 2);
            }
        }
        text
    }

    /// The cells of the table, heading first.
    fn lines(&self) -> Vec<Vec<String>> {
        let columns: Vec<Option<u32>> = self.rows.iter().map(|r| r.nfe).collect::<BTreeSet<_>>().into_iter().collect();
        let mut keys: Vec<Key<'_>> = Vec::new();
        for row in &self.rows {
            if !keys.contains(&row.key()) {
                keys.push(row.key());
            }
        }
        let heading = |nfe: &Option<u32>| nfe.map_or("value".to_owned(), |nfe| format!("NFE {nfe}"));
        let mut lines =
            vec![["metric".to_owned(), "unit".to_owned()].into_iter().chain(columns.iter().map(heading)).collect()];
        for key in &keys {
            let ambiguous = keys.iter().filter(|k| k.metric == key.metric).count() > 1;
            let mut line = vec![label(key, ambiguous), key.unit.to_owned()];
            for nfe in &columns {
                let cells = self.rows.iter().filter(|r| r.key() == *key && r.nfe == *nfe).map(cell);
                line.push(cells.collect::<Vec<_>>().join("; "));
            }
            lines.push(line);
        }
        lines
    }
}

fn cell(row: &Row) -> String {
    match row.ci95 {
        Some([low, high]) => format!("{} [{}, {}]", figures(row.value), figures(low), figures(high)),
        None => figures(row.value),
    }
}

fn label(key: &Key<'_>, ambiguous: bool) -> String {
    let details: Vec<&str> = [key.sampler, key.estimator, key.reference, key.scorer].into_iter().flatten().collect();
    if ambiguous && !details.is_empty() {
        format!("{} ({})", key.metric, details.join(", "))
    } else {
        key.metric.to_owned()
    }
}

/// Four significant figures, in powers of ten where the plain form would be all zeros; a dash for no number.
pub(crate) fn figures(x: f64) -> String {
    match x.abs() {
        _ if !x.is_finite() => "-".to_owned(),
        0.0 => "0".to_owned(),
        size if !(1e-4..1e6).contains(&size) => format!("{x:.3e}"),
        size => format!("{x:.*}", (3 - size.log10().floor() as i32).max(0) as usize),
    }
}

/// The table cut into tables of as many columns of values as fit beside the names; lines without a value are left out.
fn blocks(lines: &[Vec<String>], width: usize) -> Vec<Vec<Vec<String>>> {
    let columns = lines[0].len();
    let of = |chosen: &[usize]| -> Vec<Vec<String>> {
        let line = |line: &Vec<String>| (0..NAMES).chain(chosen.iter().copied()).map(|c| line[c].clone()).collect();
        let lines = lines.iter().map(line);
        lines.filter(|line: &Vec<String>| line[NAMES..].iter().any(|cell| !cell.is_empty())).collect()
    };
    let mut blocks: Vec<Vec<usize>> = Vec::new();
    for column in NAMES..columns {
        let wider: Option<Vec<usize>> = blocks
            .last()
            .map(|last| last.iter().copied().chain([column]).collect())
            .filter(|all: &Vec<usize>| align(&of(all)).lines().all(|line| line.chars().count() <= width));
        match wider {
            Some(all) => *blocks.last_mut().expect("there is a last one") = all,
            None => blocks.push(vec![column]),
        }
    }
    match blocks.is_empty() {
        true => vec![lines.to_vec()],
        false => blocks.iter().map(|block| of(block)).collect(),
    }
}

/// A table that is too wide even with one column of values: the values stand below their names.
fn stacked(lines: &[Vec<String>], width: usize) -> String {
    let mut text = String::new();
    for line in lines {
        text += &wrapped(&line[..NAMES].join("  "), width, 4);
        text += &wrapped(&format!("  {}", line[NAMES..].join("  ").trim()), width, 4);
    }
    text
}

/// Text in lines of at most `width` characters, the later ones indented. Words are broken only if they must.
fn wrapped(text: &str, width: usize, indent: usize) -> String {
    let (mut out, mut used) = (String::new(), 0);
    let start = text.chars().take_while(|c| *c == ' ').count();
    for (i, word) in text.split_whitespace().enumerate() {
        let length = word.chars().count();
        if i > 0 && used + 1 + length > width {
            out += "\n";
            out += &" ".repeat(indent);
            used = indent;
        } else {
            let gap = if i == 0 { start } else { 1 };
            out += &" ".repeat(gap);
            used += gap;
        }
        for c in word.chars() {
            if used >= width.max(indent + 1) {
                out += "\n";
                out += &" ".repeat(indent);
                used = indent;
            }
            out.push(c);
            used += 1;
        }
    }
    out + "\n"
}

/// Left-aligned columns two spaces apart.
fn align(lines: &[Vec<String>]) -> String {
    let columns = lines.first().map_or(0, Vec::len);
    let widths: Vec<usize> =
        (0..columns).map(|c| lines.iter().map(|line| line[c].chars().count()).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for line in lines {
        let padded: Vec<String> = line.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}")).collect();
        text.push_str(padded.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut report = Report::default();
        let valid = |nfe| Row::new("validity_strict", "fraction", 0.91).ci95([0.8377, 0.9519]).sampled("map", nfe);
        report.push(valid(1));
        report.push(valid(2));
        report
            .push(Row::new("entropy_joint", "nats", 8.31776617).estimator("chao-wang-jost").n(4000).sampled("map", 1));
        report.push(Row::new("entropy_joint", "nats", 7.73).estimator("plug-in").n(4000).sampled("map", 1));
        report.push(Row::new("peak_rss_mib", "MiB", 512.0));
        report
    }

    #[test]
    fn table_has_a_column_per_nfe() {
        let expected = "\
metric                          unit      value  NFE 1                     NFE 2
validity_strict                 fraction         0.9100 [0.8377, 0.9519]   0.9100 [0.8377, 0.9519]
entropy_joint (map, chao-wang-jost)  nats             8.318
entropy_joint (map, plug-in)    nats             7.730
peak_rss_mib                    MiB       512.0
";
        let squeeze =
            |text: &str| text.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>();
        let table = report().table();
        assert_eq!(squeeze(&table), squeeze(expected));
        // The second column of values starts at the same place in every line that has one.
        let column = table.lines().next().unwrap().find("NFE 2").unwrap();
        assert_eq!(table.lines().nth(1).unwrap().rfind("0.9100"), Some(column));
    }

    #[test]
    fn tables_fit_every_width() {
        let mut report = report();
        report.push(Row::without_value("frechet", "squared", "a covariance needs at least 2 images, found 1".into()));
        let squeeze = |text: &str| text.split_whitespace().collect::<String>();
        for width in [12, 20, 30, 40, 60, 72, 80, 100, 120] {
            let table = report.table_within(width);
            assert!(table.lines().all(|line| line.chars().count() <= width), "{width}\n{table}");
            for part in ["[0.8377,0.9519]", "8.318", "512.0", "NFE2", "needsatleast2images"] {
                assert!(squeeze(&table).contains(part), "{width}: {part}\n{table}");
            }
        }
        assert_eq!(report.table_within(200), report.table());
    }

    #[test]
    fn four_figures() {
        let shown = [0.0, 1.0, 0.0012345, 123.456, 123_456.0, 1.5e-7, -2.5e9, f64::NAN].map(figures);
        assert_eq!(shown, ["0", "1.000", "0.001234", "123.5", "123456", "1.500e-7", "-2.500e9", "-"]);
    }
}
