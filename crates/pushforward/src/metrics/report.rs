//! Reports: one row per measured number, as JSON for scripts and as a text table for people.
//!
//! A row has everything needed to reproduce and to assess the number: interval, N, seed, network evaluations, sampler,
//! dtype, estimator, reference set and scorer with their hashes. Fields that do not apply are `null`, and so is a value
//! that is not finite (a fraction of no items, an infinite divergence), because JSON cannot represent it.
//!
//! # Examples
//! ```
//! use pushforward::metrics::interval::fraction;
//! use pushforward::metrics::report::{Report, Row};
//! let mut report = Report::new(serde_json::json!({ "recipe": "qm9" }));
//! report.push(Row::estimate("validity_strict", "fraction", fraction(93, 100)).sampled("map", 1).seed(0));
//! assert!(report.table().lines().next().is_some_and(|heading| heading.ends_with("NFE 1")));
//! let read: Report = serde_json::from_str(&report.to_json())?;
//! assert_eq!((read.rows[0].value, read.rows[0].nfe), (0.93, Some(1)));
//! # Ok::<(), serde_json::Error>(())
//! ```

use crate::metrics::interval::{self, Estimate};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeSet;

/// Measurements of one model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Description of the model, as JSON.
    pub model: serde_json::Value,
    /// One row per number.
    pub rows: Vec<Row>,
    /// What someone who reads the numbers should know, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
}

/// One measured number.
///
/// # Examples
/// ```
/// use pushforward::metrics::report::Row;
/// let row = Row::new("entropy_joint", "nats", 8.31).estimator("chao-wang-jost").n(4000);
/// assert_eq!((row.n, row.ci95), (Some(4000), None));
/// assert_eq!(row.ci95([8.2, f64::INFINITY]).ci95, None);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Name of the metric, such as `validity_strict`.
    pub metric: String,
    /// Its value; `null` when it is not finite.
    #[serde(deserialize_with = "null_as_nan")]
    pub value: f64,
    /// 95 % interval.
    pub ci95: Option<[f64; 2]>,
    /// Unit, such as `fraction`, `nats`, `bits/char`.
    pub unit: String,
    /// Network evaluations per sample.
    pub nfe: Option<u32>,
    /// Name of the sampler.
    pub sampler: Option<String>,
    /// Number of items the value is computed from.
    pub n: Option<usize>,
    /// Number of measurements the value is the mean of, each with its own seed.
    #[serde(default)]
    pub repeats: Option<usize>,
    /// Seed of the measurement; for repeats, of the first one.
    pub seed: Option<u64>,
    /// Number type of the network.
    pub dtype: Option<String>,
    /// Which estimator, where a metric has several (`exact`, `importance-64`, `chao-wang-jost`).
    pub estimator: Option<String>,
    /// The set that the samples were compared with.
    pub reference: Option<Source>,
    /// The model or feature extractor that scored them.
    pub scorer: Option<Source>,
}

/// A reference set or a scorer, identified by a hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Name, such as `qm9/train`.
    pub name: String,
    /// SHA-256 of its content, lowercase hex.
    pub sha256: String,
}

impl Report {
    /// An empty report on a model.
    pub fn new(model: serde_json::Value) -> Self {
        Self { model, rows: Vec::new(), remarks: Vec::new() }
    }

    /// Adds a row.
    pub fn push(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// The report as one JSON object, indented.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a report can be serialised")
    }

    /// The report as text: one line per metric, one column per number of network evaluations (first a column for rows
    /// without one), values with their interval. Metrics that appear with several samplers, estimators, references or
    /// scorers get one line each.
    pub fn table(&self) -> String {
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
            let mut line = vec![key.label(ambiguous), key.unit.to_owned()];
            for nfe in &columns {
                let cells = self.rows.iter().filter(|r| r.key() == *key && r.nfe == *nfe).map(Row::cell);
                line.push(cells.collect::<Vec<_>>().join("; "));
            }
            lines.push(line);
        }
        align(&lines)
    }
}

/// The mean of every row over repeats of a measurement, with Student's interval; a single measurement is returned as
/// it is.
///
/// # Examples
/// ```
/// use pushforward::metrics::report::{Row, over_repeats};
/// let run = |value| vec![Row::new("loss", "nats", value)];
/// let rows = over_repeats(vec![run(1.0), run(2.0), run(3.0)]);
/// assert_eq!((rows[0].value, rows[0].repeats), (2.0, Some(3)));
/// assert!(rows[0].ci95.is_some());
/// ```
pub fn over_repeats(mut measured: Vec<Vec<Row>>) -> Vec<Row> {
    if measured.len() < 2 {
        return measured.pop().unwrap_or_default();
    }
    let mean = |row: &Row| {
        let values: Vec<f64> = measured.iter().flatten().filter(|r| r.key() == row.key()).map(|r| r.value).collect();
        let estimate = interval::repeats(&values);
        let row = Row { value: estimate.value, ci95: None, repeats: Some(values.len()), ..row.clone() };
        estimate.ci95.map_or(row.clone(), |ends| row.ci95(ends))
    };
    measured[0].iter().map(mean).collect()
}

impl Row {
    /// A bare value.
    pub fn new(metric: &str, unit: &str, value: f64) -> Self {
        Self {
            metric: metric.to_owned(),
            value,
            ci95: None,
            unit: unit.to_owned(),
            nfe: None,
            sampler: None,
            n: None,
            repeats: None,
            seed: None,
            dtype: None,
            estimator: None,
            reference: None,
            scorer: None,
        }
    }

    /// A value with its interval and number of items.
    pub fn estimate(metric: &str, unit: &str, estimate: Estimate) -> Self {
        let row = Self::new(metric, unit, estimate.value).n(estimate.n);
        match estimate.ci95 {
            Some(ends) => row.ci95(ends),
            None => row,
        }
    }

    /// Sets the 95 % interval; `None` if an end is not finite.
    pub fn ci95(self, ends: [f64; 2]) -> Self {
        Self { ci95: ends.iter().all(|end| end.is_finite()).then_some(ends), ..self }
    }

    /// Sets the number of network evaluations and the sampler.
    pub fn sampled(self, sampler: &str, nfe: u32) -> Self {
        Self { sampler: Some(sampler.to_owned()), nfe: Some(nfe), ..self }
    }

    /// Sets the number of items.
    pub fn n(self, n: usize) -> Self {
        Self { n: Some(n), ..self }
    }

    /// Sets the seed.
    pub fn seed(self, seed: u64) -> Self {
        Self { seed: Some(seed), ..self }
    }

    /// Sets the number type.
    pub fn dtype(self, dtype: &str) -> Self {
        Self { dtype: Some(dtype.to_owned()), ..self }
    }

    /// Sets the estimator.
    pub fn estimator(self, estimator: &str) -> Self {
        Self { estimator: Some(estimator.to_owned()), ..self }
    }

    /// Sets the reference set.
    pub fn reference(self, name: &str, sha256: &str) -> Self {
        Self { reference: Some(Source::new(name, sha256)), ..self }
    }

    /// Sets the scorer.
    pub fn scorer(self, name: &str, sha256: &str) -> Self {
        Self { scorer: Some(Source::new(name, sha256)), ..self }
    }

    fn key(&self) -> Key<'_> {
        Key {
            metric: &self.metric,
            unit: &self.unit,
            sampler: self.sampler.as_deref(),
            estimator: self.estimator.as_deref(),
            reference: self.reference.as_ref().map(|s| s.name.as_str()),
            scorer: self.scorer.as_ref().map(|s| s.name.as_str()),
        }
    }

    fn cell(&self) -> String {
        match self.ci95 {
            Some([low, high]) => format!("{} [{}, {}]", figures(self.value), figures(low), figures(high)),
            None => figures(self.value),
        }
    }
}

impl Source {
    /// A named and hashed source.
    pub fn new(name: &str, sha256: &str) -> Self {
        Self { name: name.to_owned(), sha256: sha256.to_owned() }
    }
}

/// Rows with equal keys share a line of the table.
#[derive(PartialEq)]
struct Key<'a> {
    metric: &'a str,
    unit: &'a str,
    sampler: Option<&'a str>,
    estimator: Option<&'a str>,
    reference: Option<&'a str>,
    scorer: Option<&'a str>,
}

impl Key<'_> {
    fn label(&self, ambiguous: bool) -> String {
        let details: Vec<&str> =
            [self.sampler, self.estimator, self.reference, self.scorer].into_iter().flatten().collect();
        if ambiguous && !details.is_empty() {
            format!("{} ({})", self.metric, details.join(", "))
        } else {
            self.metric.to_owned()
        }
    }
}

/// Four significant figures, in powers of ten where the plain form would be all zeros.
fn figures(x: f64) -> String {
    match x.abs() {
        _ if !x.is_finite() => "-".to_owned(),
        0.0 => "0".to_owned(),
        size if !(1e-4..1e6).contains(&size) => format!("{x:.3e}"),
        size => format!("{x:.*}", (3 - size.log10().floor() as i32).max(0) as usize),
    }
}

/// Left-aligned columns two spaces apart.
fn align(lines: &[Vec<String>]) -> String {
    let columns = lines[0].len();
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

fn null_as_nan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::<f64>::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::interval::fraction;
    use crate::rng::{Purpose, stream};
    use serde_json::json;

    fn report() -> Report {
        let mut report = Report::new(json!({"recipe": "qm9"}));
        let valid =
            |nfe| Row::estimate("validity_strict", "fraction", fraction(90 + nfe as usize, 100)).sampled("map", nfe);
        report.push(valid(1).seed(0).dtype("f32").reference("qm9/train", "ab"));
        report.push(valid(2).seed(0).dtype("f32").reference("qm9/train", "ab"));
        report
            .push(Row::new("entropy_joint", "nats", 8.31776617).estimator("chao-wang-jost").n(4000).sampled("map", 1));
        report.push(Row::new("entropy_joint", "nats", 7.73).estimator("plug-in").n(4000).sampled("map", 1));
        report.push(Row::new("peak_rss_mib", "MiB", 512.0));
        report
    }

    #[test]
    fn repeats_become_means_with_intervals() {
        let rows = |a: f64, b: f64| {
            vec![Row::new("x", "nats", a).n(7), Row::estimate("y", "nats", interval::mean(&[b, b + 1.0]))]
        };
        let one = over_repeats(vec![rows(1.0, 2.0)]);
        assert_eq!(one, rows(1.0, 2.0));
        let [x, y] = over_repeats(vec![rows(1.0, 2.0), rows(2.0, 2.0), rows(3.0, 2.0)]).try_into().unwrap();
        assert_eq!((x.value, x.repeats, x.n), (2.0, Some(3), Some(7)));
        assert!(x.ci95.is_some_and(|[low, high]| low < 0.0 && high > 4.0));
        assert_eq!((y.value, y.ci95), (2.5, Some([2.5, 2.5])));
    }

    #[test]
    fn json_has_every_key_in_order() {
        let row = Row::new("validity_strict", "fraction", 0.93)
            .ci95([0.92, 0.94])
            .sampled("map", 1)
            .n(10_000)
            .seed(0)
            .reference("qm9/train", "ab");
        let text = serde_json::to_string(&row).unwrap();
        let expected = concat!(
            r#"{"metric":"validity_strict","value":0.93,"ci95":[0.92,0.94],"unit":"fraction","nfe":1,"sampler":"map","#,
            r#""n":10000,"repeats":null,"seed":0,"dtype":null,"estimator":null,"#,
            r#""reference":{"name":"qm9/train","sha256":"ab"},"scorer":null}"#
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn json_round_trip() {
        let report = report();
        assert_eq!(serde_json::from_str::<Report>(&report.to_json()).unwrap(), report);
        let nothing = Row::estimate("uniqueness", "fraction", fraction(0, 0));
        let json = serde_json::to_value(&nothing).unwrap();
        assert!(json["value"].is_null() && json["ci95"].is_null());
        assert!(serde_json::from_value::<Row>(json).unwrap().value.is_nan());
        let infinite = Row::new("kl_true_joint", "nats", f64::INFINITY).ci95([1.0, f64::INFINITY]);
        let read: Row = serde_json::from_str(&serde_json::to_string(&infinite).unwrap()).unwrap();
        assert!(read.value.is_nan() && read.ci95.is_none());
    }

    #[test]
    fn numbers_are_read_bit_for_bit() {
        let mut report = Report::default();
        let mut noise = stream(0, Purpose::Metric, 0);
        for power in -20..20 {
            for _ in 0..50 {
                report.push(Row::new("x", "nats", noise.uniform() * 10f64.powi(power)));
            }
        }
        let bits = |report: &Report| report.rows.iter().map(|row| row.value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&serde_json::from_str(&report.to_json()).unwrap()), bits(&report));
    }

    #[test]
    fn table_has_a_column_per_nfe() {
        let expected = "\
metric                          unit      value  NFE 1                     NFE 2
validity_strict                 fraction         0.9100 [0.8377, 0.9519]   0.9200 [0.8500, 0.9589]
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
        assert_eq!(table.lines().nth(1).unwrap().find("0.9200"), Some(column));
    }

    #[test]
    fn four_figures() {
        let shown = [0.0, 1.0, 0.0012345, 123.456, 123_456.0, 1.5e-7, -2.5e9, f64::NAN].map(figures);
        assert_eq!(shown, ["0", "1.000", "0.001234", "123.5", "123456", "1.500e-7", "-2.500e9", "-"]);
    }
}
