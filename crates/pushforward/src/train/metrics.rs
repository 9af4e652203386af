//! The metrics file of a run: one JSON object per line, appended while the run goes on.
//!
//! # Examples
//! ```
//! use pushforward::train::metrics::MetricsFile;
//!
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("metrics.jsonl");
//! MetricsFile::open(&path, 0)?.validation(10, &[("loss".into(), 0.5)])?;
//! assert_eq!(std::fs::read_to_string(&path)?, "{\"step\":10,\"validation/loss\":0.5}\n");
//! # Ok::<(), std::io::Error>(())
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use serde_json::{Map, Value};

use super::StepReport;

/// An open metrics file.
#[derive(Debug)]
pub struct MetricsFile(File);

impl MetricsFile {
    /// Opens `path` to continue after `step` (0 for a new run). Lines of later steps, which a resumed run writes again,
    /// and an incomplete last line are removed.
    ///
    /// # Errors
    /// If the file cannot be read or written.
    pub fn open(path: &Path, step: u64) -> io::Result<Self> {
        let text = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            other => other?,
        };
        let keep = |line: &&[u8]| {
            let value: Option<Value> = line.strip_suffix(b"\n").and_then(|line| serde_json::from_slice(line).ok());
            value.and_then(|value| value["step"].as_u64()).is_some_and(|found| step > 0 && found <= step)
        };
        let length: usize = text.split_inclusive(|&byte| byte == b'\n').take_while(keep).map(<[u8]>::len).sum();
        let mut file = OpenOptions::new().create(true).write(true).truncate(false).open(path)?;
        file.set_len(length as u64)?;
        file.seek(SeekFrom::End(0))?;
        Ok(Self(file))
    }

    /// Appends the report of a step: `{"step", "loss", "lr", "grad_norm", "seconds", "examples_per_second", ...}`,
    /// followed by its details if it is a logging step.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn step(&mut self, report: &StepReport) -> io::Result<()> {
        let fixed = [
            ("loss", report.loss),
            ("lr", report.lr),
            ("grad_norm", report.grad_norm),
            ("seconds", report.seconds),
            ("examples_per_second", report.examples_per_second),
        ];
        let details = report.details.iter().flat_map(|d| d.terms.iter().chain(&d.buckets).chain(&d.stats));
        let details = details.map(|(name, value)| (name.as_str(), *value));
        self.line(report.step, fixed.into_iter().chain(details))
    }

    /// Appends the results of a validation, each name with the prefix `validation/`.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn validation(&mut self, step: u64, values: &[(String, f64)]) -> io::Result<()> {
        let named: Vec<(String, f64)> = values.iter().map(|(name, v)| (format!("validation/{name}"), *v)).collect();
        self.line(step, named.iter().map(|(name, value)| (name.as_str(), *value)))
    }

    /// One write per line, so that a killed process can only leave the last line incomplete. Non-finite values become
    /// `null`.
    fn line<'a>(&mut self, step: u64, values: impl Iterator<Item = (&'a str, f64)>) -> io::Result<()> {
        let mut object = Map::from_iter([("step".to_owned(), Value::from(step))]);
        object.extend(values.map(|(name, value)| (name.to_owned(), Value::from(value))));
        let mut text = Value::Object(object).to_string();
        text.push('\n');
        self.0.write_all(text.as_bytes())?;
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::Details;

    fn report(step: u64) -> StepReport {
        let details = Details {
            terms: vec![("fit".into(), 0.25)],
            buckets: vec![("fit/t0.2-0.4".into(), f64::NAN)],
            stats: vec![("scale".into(), 2.0)],
        };
        StepReport {
            step,
            loss: 0.5,
            lr: 0.1,
            grad_norm: 1.0,
            seconds: 3.0,
            examples_per_second: 9.0,
            details: Some(details),
        }
    }

    fn steps(path: &Path) -> Vec<u64> {
        let text = fs::read_to_string(path).expect("the file was written");
        let parse = |line: &str| serde_json::from_str::<Value>(line).expect("one object a line");
        text.lines().map(|line| parse(line)["step"].as_u64().expect("every line has its step")).collect()
    }

    #[test]
    fn resuming_cuts_what_will_be_written_again() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("metrics.jsonl");
        let mut file = MetricsFile::open(&path, 0).expect("the folder is writable");
        for step in [10, 20, 30] {
            file.step(&report(step)).expect("the folder is writable");
            file.validation(step, &[("loss".into(), 0.1)]).expect("the folder is writable");
        }
        let line: Value =
            serde_json::from_str(fs::read_to_string(&path).expect("it exists").lines().next().expect("six lines"))
                .expect("one object a line");
        assert_eq!((line["fit"].as_f64(), line["scale"].as_f64()), (Some(0.25), Some(2.0)));
        assert!(line["fit/t0.2-0.4"].is_null());
        fs::write(&path, [&fs::read(&path).expect("it exists"), &b"{\"step\":40"[..]].concat()).expect("writable");

        let mut file = MetricsFile::open(&path, 25).expect("the folder is writable");
        file.step(&report(30)).expect("the folder is writable");
        assert_eq!(steps(&path), [10, 10, 20, 20, 30]);
        fs::write(&path, [&fs::read(&path).expect("it exists"), &b"{\"step\":35"[..]].concat()).expect("writable");
        MetricsFile::open(&path, 100).expect("the folder is writable");
        assert_eq!(steps(&path), [10, 10, 20, 20, 30]);
        MetricsFile::open(&path, 0).expect("the folder is writable");
        assert!(steps(&path).is_empty());
    }
}
