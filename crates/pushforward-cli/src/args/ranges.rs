//! Ranges of arguments: every number of the command line is checked by one of these parsers, before any work begins.
//!
//! The limits are far above what is of use and keep sizes, durations and float32 numbers from overflowing. Whether a
//! request fits into the memory of the machine is checked when the model is known (`memory.rs`).

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use pushforward::flow_map::sample::{GUIDANCE, TEMPERATURE};

/// Most items, draws, evaluated images and so on of one request.
pub(crate) const ITEMS: usize = 100_000_000;
/// Most network evaluations per item, or steps of a method.
pub(crate) const STEPS: usize = 100_000;
/// Most items computed together, and most particles of a population.
pub(crate) const TOGETHER: usize = 1_000_000;
/// Most independent repetitions of a measurement.
pub(crate) const REPEATS: usize = 10_000;
/// Most processes.
pub(crate) const PROCESSES: usize = 1_000_000;
/// Most mebibytes of a part of a gradient.
pub(crate) const MEBIBYTES: usize = 1_024;
/// Most threads.
pub(crate) const THREADS: usize = 1_024;
/// Largest index of a first item; indices are counted on from there.
const LAST_INDEX: u64 = 1 << 62;
/// Smallest and largest positive number: quotients by it and products with it remain finite in float32.
const POSITIVE: RangeInclusive<f64> = 1e-30..=1e30;
/// Most minutes or seconds of a limit in time: about 19 years, and 300.
const DURATION: f64 = 1e7;

/// Reads a number of a range; `allowed` says in words what is in it.
fn number<T: FromStr>(text: &str, holds: impl Fn(&T) -> bool, allowed: impl Display) -> Result<T, String> {
    match text.trim().parse::<T>() {
        Ok(value) if holds(&value) => Ok(value),
        _ => Err(format!("must be {allowed}")),
    }
}

fn between(text: &str, range: &RangeInclusive<usize>) -> Result<usize, String> {
    let (least, most) = (range.start(), range.end());
    let allowed = format!("a whole number of at least {least} and at most {most}");
    number(text, |value| range.contains(value), allowed)
}

/// A temperature of logits. Far above, what a constraint forbids would no longer be improbable.
pub(super) fn temperature(text: &str) -> Result<f64, String> {
    number(text, |value| *value == 0.0 || TEMPERATURE.contains(value), "0 or from 1e-30 to 1e4")
}

/// A weight of guidance.
pub(super) fn guidance(text: &str) -> Result<f64, String> {
    number(text, |value| GUIDANCE.contains(value), "positive, from 1e-3 to 1e4")
}

/// A number of things from 1 to `most`.
pub(super) fn count(most: usize) -> impl Fn(&str) -> Result<usize, String> + Clone {
    move |text| between(text, &(1..=most))
}

/// A number of things from `least` to `most`.
pub(super) fn from(least: usize, most: usize) -> impl Fn(&str) -> Result<usize, String> + Clone {
    move |text| between(text, &(least..=most))
}

/// The index of the first item.
pub(super) fn index(text: &str) -> Result<u64, String> {
    number(text, |value| *value <= LAST_INDEX, format!("a whole number of at least 0 and at most {LAST_INDEX}"))
}

/// A finite number.
pub(super) fn finite(text: &str) -> Result<f64, String> {
    number(text, |value: &f64| value.is_finite(), "a finite number")
}

/// A positive number.
pub(super) fn positive(text: &str) -> Result<f64, String> {
    number(text, |value| POSITIVE.contains(value), "a positive number from 1e-30 to 1e30")
}

/// A number that is not negative.
pub(super) fn not_negative(text: &str) -> Result<f64, String> {
    number(text, |value| *value == 0.0 || POSITIVE.contains(value), "0 or a positive number from 1e-30 to 1e30")
}

/// A number from 0 to 1.
pub(super) fn share(text: &str) -> Result<f64, String> {
    number(text, |value| (0.0..=1.0).contains(value), "a number from 0 to 1")
}

/// A positive length of time.
pub(super) fn duration(text: &str) -> Result<f64, String> {
    let allowed = format!("positive and at most {DURATION}");
    number(text, |value| *value > 0.0 && *value >= *POSITIVE.start() && *value <= DURATION, allowed)
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::*;
    use crate::args::Cli;

    #[test]
    fn numbers_have_ranges() {
        assert_eq!((count(10)("10"), count(10)(" 1 ")), (Ok(10), Ok(1)));
        for text in ["0", "11", "-1", "1.5", "ten", "99999999999999999999"] {
            let message = count(10)(text).unwrap_err();
            assert_eq!(message, "must be a whole number of at least 1 and at most 10", "{text}");
        }
        assert_eq!((positive("1e-30"), positive("2.5")), (Ok(1e-30), Ok(2.5)));
        for text in ["0", "-1", "1e-39", "1e-45", "1e-400", "1e31", "inf", "nan", "x"] {
            assert!(positive(text).is_err(), "{text}");
        }
        assert_eq!((not_negative("0"), not_negative("1e-46").is_err()), (Ok(0.0), true));
        assert!(
            duration("1e300").is_err() && duration("0").is_err() && share("nan").is_err() && finite("inf").is_err()
        );
        assert!(index("9223372036854775807").is_err() && index("20") == Ok(20));
    }

    /// Every argument that takes a number refuses the extremes of its type, so that a new one cannot be without a range.
    #[test]
    fn every_number_of_the_command_line_has_a_range() {
        let command = Cli::command();
        let (mut checked, mut missing) = (0, Vec::new());
        for sub in command.get_subcommands().filter(|sub| sub.get_subcommands().next().is_none()) {
            for argument in sub.get_arguments() {
                let kind = argument.get_value_parser().type_id();
                let whole = kind == std::any::TypeId::of::<usize>();
                let real = kind == std::any::TypeId::of::<f64>();
                let Some(long) = argument.get_long().filter(|_| whole || real) else { continue };
                let extremes: &[&str] = if whole { &["18446744073709551615"] } else { &["nan", "inf", "-inf"] };
                for extreme in extremes {
                    let flag = format!("--{long}={extreme}");
                    let positional = sub.get_positionals().map(|_| "x");
                    let command: Vec<&str> =
                        ["pushforward", sub.get_name()].into_iter().chain(positional).chain([flag.as_str()]).collect();
                    let refused = Cli::try_parse_from(&command)
                        .err()
                        .is_some_and(|e| e.kind() == clap::error::ErrorKind::ValueValidation);
                    if !refused {
                        missing.push(format!("{} {flag}", sub.get_name()));
                    }
                    checked += 1;
                }
            }
        }
        assert!(checked > 60, "{checked}");
        assert!(missing.is_empty(), "without a range: {missing:?}");
    }
}
