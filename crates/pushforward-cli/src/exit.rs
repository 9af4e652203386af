//! Exit codes and error messages: 0 success, 1 the run failed, 2 the request was invalid.
//!
//! An untagged `anyhow::Error` becomes a failed run; `or_request` tags what the user can correct on the command line,
//! in a recipe or in a file.

use std::error::Error as StdError;
use std::fmt;

use pushforward::run::TrainRunError;
use pushforward::train::TrainError;

use crate::printer::Printer;

/// Why the program ends without success.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A valid request failed: exit code 1.
    Run(anyhow::Error),
    /// A flag, recipe or file is wrong: exit code 2.
    Request(anyhow::Error),
}

impl From<TrainRunError> for Failure {
    fn from(error: TrainRunError) -> Self {
        match error {
            TrainRunError::Data(_) => Self::Run(error.into()),
            TrainRunError::Train(
                TrainError::Checkpoint(_) | TrainError::NonFinite { .. } | TrainError::Ranks { .. },
            ) => Self::Run(error.into()),
            _ => Self::Request(error.into()),
        }
    }
}

impl Failure {
    /// An invalid request, described by `message`.
    pub(crate) fn request(message: impl fmt::Display) -> Self {
        Self::Request(anyhow::anyhow!("{message}"))
    }

    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Run(_) => 1,
            Self::Request(_) => 2,
        }
    }

    /// Adds a hint of what to do, printed after the error.
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        let wrap = |error| anyhow::Error::new(Hinted { error, hint: hint.into() });
        match self {
            Self::Run(error) => Self::Run(wrap(error)),
            Self::Request(error) => Self::Request(wrap(error)),
        }
    }

    /// Prints the error, its causes and its hints on stderr.
    pub(crate) fn print(&self, printer: &Printer) {
        printer.error(&self.text());
    }

    /// The lines printed after `error: `.
    pub(crate) fn text(&self) -> String {
        let (Self::Run(error) | Self::Request(error)) = self;
        let mut lines: Vec<String> = vec![error.to_string()];
        for cause in error.chain().skip(1) {
            let cause = cause.to_string();
            // Many errors already end with their cause; it is not repeated.
            if !lines.last().is_some_and(|line| line.ends_with(&cause)) {
                lines.push(format!("  caused by: {cause}"));
            }
        }
        let mut hints = Vec::new();
        collect_hints(error, &mut hints);
        lines.extend(hints.into_iter().map(|hint| format!("  hint: {hint}")));
        lines.join("\n")
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Run(error)
    }
}

/// Tags the error of a result with the exit code it leads to.
pub(crate) trait OrFail<T> {
    /// An error is a failed run: exit code 1.
    fn or_run(self) -> Result<T, Failure>;
    /// An error is an invalid request: exit code 2.
    fn or_request(self) -> Result<T, Failure>;
}

impl<T, E: Into<anyhow::Error>> OrFail<T> for Result<T, E> {
    fn or_run(self) -> Result<T, Failure> {
        self.map_err(|error| Failure::Run(error.into()))
    }

    fn or_request(self) -> Result<T, Failure> {
        self.map_err(|error| Failure::Request(error.into()))
    }
}

/// An error with a hint: displays and chains like the error it wraps.
#[derive(Debug)]
struct Hinted {
    error: anyhow::Error,
    hint: String,
}

impl fmt::Display for Hinted {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(out)
    }
}

impl StdError for Hinted {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        // Not the wrapped error itself, which `Display` already shows.
        self.error.source()
    }
}

/// Hints of the error and of everything below it, the first given first.
fn collect_hints<'a>(error: &'a anyhow::Error, hints: &mut Vec<&'a str>) {
    for cause in error.chain() {
        if let Some(hinted) = cause.downcast_ref::<Hinted>() {
            collect_hints(&hinted.error, hints);
            hints.push(&hinted.hint);
            // The recursion above has already visited the rest of the chain.
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use anyhow::Context;

    use super::*;

    fn denied() -> Result<(), io::Error> {
        Err(io::Error::new(io::ErrorKind::PermissionDenied, "permission denied"))
    }

    #[test]
    fn tags_decide_the_exit_code() {
        assert_eq!(denied().or_run().unwrap_err().code(), 1);
        assert_eq!(denied().or_request().unwrap_err().code(), 2);
        assert_eq!(Failure::from(anyhow::anyhow!("x")).code(), 1);
        assert_eq!(Failure::request("no such preset").code(), 2);
    }

    #[test]
    fn text_tells_the_chain_then_the_hints() {
        let failure = denied().context("cannot read a.toml").or_request().unwrap_err();
        let failure = failure.hint("check its rights").hint("or copy it");
        let expected =
            "cannot read a.toml\n  caused by: permission denied\n  hint: check its rights\n  hint: or copy it";
        assert_eq!(failure.text(), expected);
    }

    #[test]
    fn hints_survive_context_added_later() {
        let Failure::Run(inner) = Failure::Run(anyhow::anyhow!("inner")).hint("do this") else { unreachable!() };
        let failure = Failure::Run(inner.context("outer"));
        assert_eq!(failure.text(), "outer\n  caused by: inner\n  hint: do this");
        let failure = failure.hint("then that");
        assert_eq!(failure.text(), "outer\n  caused by: inner\n  hint: do this\n  hint: then that");
    }

    #[test]
    fn a_cause_that_the_message_ends_with_is_told_once() {
        let failure = denied().context("cannot read a.toml: permission denied").or_run().unwrap_err();
        assert_eq!(failure.text(), "cannot read a.toml: permission denied");
    }
}
