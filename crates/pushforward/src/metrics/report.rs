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
    /// Why there is no value, where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
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
            reason: None,
        }
    }

    /// A row without a value, and why.
    pub(crate) fn without_value(metric: &str, unit: &str, reason: String) -> Self {
        Self { reason: Some(reason), ..Self::new(metric, unit, f64::NAN) }
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

    pub(super) fn key(&self) -> Key<'_> {
        Key {
            metric: &self.metric,
            unit: &self.unit,
            sampler: self.sampler.as_deref(),
            estimator: self.estimator.as_deref(),
            reference: self.reference.as_ref().map(|s| s.name.as_str()),
            scorer: self.scorer.as_ref().map(|s| s.name.as_str()),
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
pub(super) struct Key<'a> {
    pub(super) metric: &'a str,
    pub(super) unit: &'a str,
    pub(super) sampler: Option<&'a str>,
    pub(super) estimator: Option<&'a str>,
    pub(super) reference: Option<&'a str>,
    pub(super) scorer: Option<&'a str>,
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
}
