//! Log files of a run: metrics as JSON lines, and TensorBoard events.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use pushforward::train::StepReport;
use pushforward::train::metrics::MetricsFile;

use crate::exit::{Failure, OrFail as _};
use crate::output::Sketch;
use crate::tensorboard::EventWriter;

/// The open files.
pub(crate) struct RunLog {
    metrics: MetricsFile,
    metrics_path: PathBuf,
    events: EventWriter,
}

impl RunLog {
    /// Opens the files of a run, truncated to the step from which it resumes.
    pub(crate) fn open(folder: &Path, resumed_at: u64) -> Result<Self, Failure> {
        let metrics_path = folder.join("metrics.jsonl");
        let metrics = MetricsFile::open(&metrics_path, resumed_at)
            .map_err(|e| Failure::Run(anyhow::anyhow!("{}: {e}", metrics_path.display())))?;
        let mut events = EventWriter::create(&folder.join("tensorboard"), SystemTime::now()).or_run()?;
        if resumed_at > 0 {
            events.restart(resumed_at).or_run()?;
        }
        Ok(Self { metrics, metrics_path, events })
    }

    /// Logs an optimiser step.
    pub(crate) fn step(&mut self, report: &StepReport) -> Result<(), Failure> {
        self.metrics.step(report).map_err(|e| self.unwritten(&e))?;
        let fixed = [("loss", report.loss), ("lr", report.lr), ("grad_norm", report.grad_norm)];
        let details = report.details.iter().flat_map(|d| d.terms.iter().chain(&d.buckets).chain(&d.stats));
        let all = fixed.into_iter().chain(details.map(|(name, v)| (name.as_str(), *v)));
        for (name, value) in all {
            self.events.scalar(report.step, &format!("train/{name}"), value as f32).or_run()?;
        }
        self.events.flush().or_run()
    }

    /// Logs a picture or a text.
    pub(crate) fn sketch(&mut self, step: u64, sketch: &Sketch) -> Result<(), Failure> {
        let tag = sketch.name.split('-').next_back().unwrap_or_default();
        match sketch.size {
            Some(size) => self.events.picture(step, tag, size, &sketch.bytes).or_run()?,
            None => self.events.text(step, tag, &String::from_utf8_lossy(&sketch.bytes)).or_run()?,
        }
        self.events.flush().or_run()
    }

    /// Logs a validation.
    pub(crate) fn validation(&mut self, step: u64, values: &[(String, f64)]) -> Result<(), Failure> {
        self.metrics.validation(step, values).map_err(|e| self.unwritten(&e))?;
        for (name, value) in values {
            self.events.scalar(step, &format!("validation/{name}"), *value as f32).or_run()?;
        }
        self.events.flush().or_run()
    }

    fn unwritten(&self, error: &std::io::Error) -> Failure {
        Failure::Run(anyhow::anyhow!("{}: {error}", self.metrics_path.display()))
    }
}
