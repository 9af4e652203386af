//! The only writer to stdout and stderr: results to stdout, everything else to stderr.
//!
//! A closed pipe (`pushforward sample ... | head`) is not a failure: the program then ends quietly with code 0.

use std::io::{self, IsTerminal as _, Write};
use std::process;

use pushforward::metrics::report::Report;
use serde::Serialize;

/// Settings of the output; cheap to copy.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Printer {
    /// Drop notes; results, warnings and errors are still written.
    pub(crate) quiet: bool,
    /// Write reports as JSON.
    pub(crate) json: bool,
    /// Number of this process among several; all but the first write errors only, with their number.
    pub(crate) rank: usize,
}

impl Printer {
    /// Writes a result and a line end to stdout.
    pub(crate) fn result(&self, text: &str) {
        if self.rank > 0 {
            return;
        }
        end_on_failure(self, write_line(&mut io::stdout().lock(), text));
    }

    /// Writes `value` as one JSON object if JSON was asked for, else the text made by `text`.
    pub(crate) fn report(&self, value: &impl Serialize, text: impl FnOnce() -> String) {
        if self.rank > 0 {
            // What the first rank says is enough.
        } else if self.json {
            self.result(&serde_json::to_string(value).expect("reports hold only strings, numbers and lists of these"));
        } else {
            self.result(&text());
        }
    }

    /// A report as a table that fits the terminal; whole where stdout is none.
    pub(crate) fn table(&self, report: &Report) -> String {
        report.table_within(width().unwrap_or(usize::MAX))
    }

    /// Writes progress or a remark to stderr, unless quiet.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet && self.rank == 0 {
            say(text);
        }
    }

    /// Writes a warning to stderr.
    pub(crate) fn warn(&self, text: &str) {
        if self.rank == 0 {
            say(&format!("warning: {text}"));
        }
    }

    /// Writes an error to stderr.
    pub(crate) fn error(&self, text: &str) {
        let rank = if self.rank > 0 { format!("rank {}: ", self.rank) } else { String::new() };
        say(&format!("{rank}error: {text}"));
    }
}

/// Columns of the terminal; `COLUMNS` overrides what it says of itself.
fn width() -> Option<usize> {
    let set = std::env::var("COLUMNS").ok().and_then(|columns| columns.trim().parse().ok());
    let own = || io::stdout().is_terminal().then(terminal_size::terminal_size).flatten();
    set.or_else(|| own().map(|(columns, _)| usize::from(columns.0))).filter(|&columns| columns > 0)
}

/// Writes to stderr. If that fails, nothing can be reported, so the error is ignored.
fn say(text: &str) {
    let _ = write_line(&mut io::stderr().lock(), &harmless(text));
}

/// Characters that are kept at the beginning and at the end of a long message.
const KEPT: [usize; 2] = [3000, 1000];

/// A message that may quote files and arguments: control characters are written as escapes, so that what is quoted
/// cannot steer the terminal, and the middle of a long message is left out.
fn harmless(text: &str) -> String {
    let mut shown: Vec<char> = Vec::with_capacity(text.len().min(2 * (KEPT[0] + KEPT[1])));
    let mut omitted = 0;
    for c in text.chars() {
        if c.is_control() && !matches!(c, '\n' | '\t') {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
        if shown.len() > KEPT[0] + 2 * KEPT[1] {
            omitted += shown.drain(KEPT[0]..KEPT[0] + KEPT[1]).len();
        }
    }
    if omitted == 0 {
        return shown.into_iter().collect();
    }
    let (start, end) = shown.split_at(KEPT[0]);
    let [start, end]: [String; 2] = [start, end].map(|part| part.iter().collect());
    format!("{start} [... {omitted} characters ...] {end}")
}

fn write_line(out: &mut dyn Write, text: &str) -> io::Result<()> {
    out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    out.flush()
}

/// How to end after a failed write to stdout.
#[derive(Debug, PartialEq)]
enum End {
    /// The reader closed the pipe.
    Quietly,
    /// The result is lost, for example on a full disk.
    Lost,
}

fn end_for(error: &io::Error) -> End {
    if error.kind() == io::ErrorKind::BrokenPipe { End::Quietly } else { End::Lost }
}

fn end_on_failure(printer: &Printer, written: io::Result<()>) {
    let Err(error) = written else { return };
    match end_for(&error) {
        End::Quietly => process::exit(0),
        End::Lost => {
            printer.error(&format!("cannot write the result to stdout: {error}"));
            process::exit(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufRead;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn lines_end_exactly_once() {
        let mut out = Vec::new();
        write_line(&mut out, "a").unwrap();
        write_line(&mut out, "b\n").unwrap();
        assert_eq!(out, b"a\nb\n");
    }

    #[test]
    fn what_is_quoted_cannot_steer_the_terminal_or_fill_it() {
        assert_eq!(harmless("a\tb\n\u{e9}"), "a\tb\n\u{e9}");
        assert_eq!(harmless("\u{1b}[31mred\r\0"), "\\u{1b}[31mred\\r\\u{0}");
        let long = harmless(&format!("start {} end", "x".repeat(1_000_000)));
        assert!(long.starts_with("start x") && long.ends_with("x end") && long.len() < 7000, "{}", long.len());
        assert!(long.contains("characters ..."));
    }

    #[test]
    fn only_a_broken_pipe_ends_quietly() {
        assert_eq!(end_for(&io::ErrorKind::BrokenPipe.into()), End::Quietly);
        assert_eq!(end_for(&io::ErrorKind::StorageFull.into()), End::Lost);
    }

    /// This test binary, set to run the one ignored test that prints without end.
    fn endless() -> Command {
        // Test names have no crate name in front.
        let name = concat!(module_path!(), "::prints_without_end").split_once("::").expect("a module path").1;
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "--nocapture", "--exact", name]);
        command
    }

    #[test]
    #[ignore = "a child process of the next test; prints until its reader goes away"]
    fn prints_without_end() {
        for _ in 0..1_000_000 {
            Printer::default().result("again");
        }
        panic!("nobody closed the pipe");
    }

    #[test]
    fn a_reader_that_goes_away_ends_the_program_with_code_0() {
        let mut child = endless().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = io::BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("again")));
        drop(lines);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
