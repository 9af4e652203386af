//! Progress on stderr: a bar on a terminal, a plain line now and then in a file or a pipe.

use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use pushforward::train::Details;

use crate::printer::Printer;
use crate::watch::LossWatch;

/// Time between two plain lines.
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);

/// Planned end of a training run.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    /// Optimiser steps, counted from the start of the run, also if resumed.
    Steps(u64),
    /// Wall-clock time from now.
    Time(Duration),
}

/// Progress of training: loss, rate and time left.
#[derive(Debug)]
pub(crate) struct TrainBar {
    goal: Goal,
    printer: Printer,
    bar: Option<ProgressBar>,
    started: Instant,
    plain: Interval,
    /// Step, loss and rate of the last update.
    latest: Option<(u64, f64, f64)>,
    losses: LossWatch,
}

impl TrainBar {
    /// Starts the clock and shows the bar, unless the printer is quiet or stderr is not a terminal.
    pub(crate) fn new(goal: Goal, printer: Printer) -> Self {
        let length = match goal {
            Goal::Steps(total) => total,
            Goal::Time(budget) => milliseconds(budget),
        };
        let bar = terminal_bar(printer, length, "{bar:30.cyan/dim} {msg}");
        let (started, plain) = (Instant::now(), Interval::new(PLAIN_INTERVAL));
        Self { goal, printer, bar, started, plain, latest: None, losses: LossWatch::default() }
    }

    /// Shows the state after `step` steps: mean loss, and steps per second over the last while.
    pub(crate) fn update(&mut self, step: u64, loss: f64, steps_per_second: f64) {
        let elapsed = self.started.elapsed();
        self.latest = Some((step, loss, steps_per_second));
        let text = status(self.goal, step, loss, steps_per_second, elapsed);
        if let Some(bar) = &self.bar {
            bar.set_position(match self.goal {
                Goal::Steps(_) => step,
                Goal::Time(_) => milliseconds(elapsed),
            });
            bar.set_message(text);
        } else if self.plain.due(Instant::now()) {
            self.printer.note(&text);
        }
    }

    /// Takes the losses of a logged step, and warns of a jump.
    pub(crate) fn watch(&mut self, step: u64, details: &Details) {
        if let Some(remark) = self.losses.step(step, details) {
            self.note(&format!("warning: {remark}"));
        }
    }

    /// Writes a remark above the bar.
    pub(crate) fn note(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| self.printer.note(text)),
            None => self.printer.note(text),
        }
    }

    /// Replaces the bar by a line with its last state and the time taken.
    pub(crate) fn finish(self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        if let Some((step, loss, steps_per_second)) = self.latest {
            let text = state(self.goal, step, loss, steps_per_second);
            self.printer.note(&format!("{text}  in {}", human_duration(self.started.elapsed())));
        }
    }
}

/// Progress of downloads, one file after another.
#[derive(Debug)]
pub(crate) struct DownloadBar {
    printer: Printer,
    file: String,
    bar: Option<ProgressBar>,
}

impl DownloadBar {
    /// Nothing is shown before the first update.
    pub(crate) fn new(printer: Printer) -> Self {
        Self { printer, file: String::new(), bar: None }
    }

    /// Shows that `received` of `total` bytes of `file` have arrived.
    pub(crate) fn update(&mut self, file: &str, received: u64, total: Option<u64>) {
        if self.file != file {
            self.finish();
            self.file = file.to_string();
            self.bar = terminal_bar(
                self.printer,
                total.unwrap_or(0),
                "{msg} {bar:30.cyan/dim} {bytes} of {total_bytes} {bytes_per_sec} {eta} left",
            );
            match &self.bar {
                Some(bar) => bar.set_message(self.file.clone()),
                None => {
                    let size = total.map_or(String::new(), |total| format!(" ({})", HumanBytes(total)));
                    self.printer.note(&format!("downloading {file}{size}"));
                }
            }
        }
        if let Some(bar) = &self.bar {
            if let Some(total) = total {
                bar.set_length(total);
            }
            bar.set_position(received);
        }
    }

    /// Removes the bar.
    pub(crate) fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

/// Progress of work in named stages, each a count of a total. Shown on a terminal only: such work takes seconds to minutes,
/// and its result says what was done.
#[derive(Debug)]
pub(crate) struct StageBar {
    printer: Printer,
    stage: String,
    bar: Option<ProgressBar>,
}

impl StageBar {
    /// Nothing is shown before the first update.
    pub(crate) fn new(printer: Printer) -> Self {
        Self { printer, stage: String::new(), bar: None }
    }

    /// Shows that `done` of `total` of a stage are done.
    pub(crate) fn update(&mut self, stage: &str, done: usize, total: usize) {
        if self.stage != stage {
            self.finish();
            self.stage = stage.to_owned();
            self.bar = terminal_bar(self.printer, total as u64, "{msg} {bar:30.cyan/dim} {pos} of {len} {eta} left");
            if let Some(bar) = &self.bar {
                bar.set_message(stage.to_owned());
            }
        }
        if let Some(bar) = &self.bar {
            bar.set_position(done as u64);
        }
    }

    /// Removes the bar.
    pub(crate) fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

/// A duration in at most two units: `45s`, `1m 20s`, `2h 05m`, `3d 04h`.
pub(crate) fn human_duration(time: Duration) -> String {
    let seconds = time.as_secs_f64().round() as u64;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m {:02}s", seconds % 60),
        3600..86400 => format!("{hours}h {:02}m", minutes % 60),
        86400.. => format!("{days}d {:02}h", hours % 24),
    }
}

fn status(goal: Goal, step: u64, loss: f64, steps_per_second: f64, elapsed: Duration) -> String {
    let left = match goal {
        // Before the first measurement the rate is 0 and the time left unknown.
        Goal::Steps(total) => Duration::try_from_secs_f64(total.saturating_sub(step) as f64 / steps_per_second).ok(),
        Goal::Time(budget) => Some(budget.saturating_sub(elapsed)),
    };
    let left = left.map_or("?".to_string(), human_duration);
    format!("{}  {left} left", state(goal, step, loss, steps_per_second))
}

fn state(goal: Goal, step: u64, loss: f64, steps_per_second: f64) -> String {
    let of = match goal {
        Goal::Steps(total) => format!("/{}", HumanCount(total)),
        Goal::Time(_) => String::new(),
    };
    format!("step {}{of}  loss {loss:.4}  {}", HumanCount(step), rate(steps_per_second))
}

/// A rate with three significant digits; below one step per second, the time per step.
fn rate(steps_per_second: f64) -> String {
    match steps_per_second {
        r if r >= 100.0 => format!("{r:.0} steps/s"),
        r if r >= 10.0 => format!("{r:.1} steps/s"),
        r if r >= 1.0 || r <= 0.0 => format!("{r:.2} steps/s"),
        r => format!("{:.3} s/step", 1.0 / r),
    }
}

/// A bar on stderr, if that is a terminal and the printer is not quiet.
fn terminal_bar(printer: Printer, length: u64, template: &str) -> Option<ProgressBar> {
    if printer.quiet || !stderr().is_terminal() {
        return None;
    }
    let style = ProgressStyle::with_template(template).expect("the templates of this file are valid");
    let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
    Some(bar.with_style(style.progress_chars("━━╌")))
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Rate limiter: allows the first event at once, and later ones after an interval.
#[derive(Debug)]
struct Interval {
    every: Duration,
    last: Option<Instant>,
}

impl Interval {
    fn new(every: Duration) -> Self {
        Self { every, last: None }
    }

    fn due(&mut self, now: Instant) -> bool {
        let due = self.last.is_none_or(|last| now.duration_since(last) >= self.every);
        if due {
            self.last = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn durations_in_two_units() {
        let cases = [(0, "0s"), (59, "59s"), (60, "1m 00s"), (3599, "59m 59s"), (7500, "2h 05m"), (273_600, "3d 04h")];
        for (time, expected) in cases {
            assert_eq!(human_duration(seconds(time)), expected);
        }
        assert_eq!(human_duration(Duration::from_millis(59_600)), "1m 00s", "rounding must not show 60s");
    }

    #[test]
    fn status_by_steps_counts_the_steps_left() {
        let text = status(Goal::Steps(5000), 1200, 0.123_45, 38.0, seconds(30));
        assert_eq!(text, "step 1,200/5,000  loss 0.1235  38.0 steps/s  1m 40s left");
    }

    #[test]
    fn status_by_time_counts_the_time_left() {
        let text = status(Goal::Time(seconds(120)), 10, 2.0, 0.25, seconds(30));
        assert_eq!(text, "step 10  loss 2.0000  4.000 s/step  1m 30s left");
    }

    #[test]
    fn status_knows_no_end_before_the_first_rate_and_none_after_the_last_step() {
        assert!(status(Goal::Steps(10), 0, 1.0, 0.0, seconds(0)).ends_with("? left"));
        assert!(status(Goal::Steps(10), 12, 1.0, 5.0, seconds(0)).ends_with("0s left"));
        assert!(status(Goal::Time(seconds(1)), 1, 1.0, 5.0, seconds(9)).ends_with("0s left"));
    }

    #[test]
    fn plain_lines_come_at_once_and_then_at_the_interval() {
        let mut interval = Interval::new(seconds(10));
        let start = Instant::now();
        let due: Vec<u64> = (0..25).filter(|after| interval.due(start + seconds(*after))).collect();
        assert_eq!(due, [0, 10, 20]);
    }
}
