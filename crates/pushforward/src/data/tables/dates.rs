//! Dates and times as texts: days or seconds since 1970, by the Gregorian calendar, without time zones.

use serde::{Deserialize, Serialize};

/// A part of a date in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Part {
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
    /// Decimals of the second.
    Decimals(u32),
    Sign(char),
}

/// How a column writes its dates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DateFormat {
    pub(super) parts: Vec<Part>,
    /// Whether months, days and hours have two digits.
    pub(super) padded: bool,
}

/// Formats of days.
const DAYS: [&str; 8] = ["Y-M-D", "Y/M/D", "M/D/Y", "D/M/Y", "D.M.Y", "D-M-Y", "M-D-Y", "Y.M.D"];
/// Formats of what follows a day.
const TIMES: [&str; 3] = ["", "h:m:s", "h:m"];

impl DateFormat {
    /// All formats that are looked for, in the order in which they are preferred.
    fn all() -> impl Iterator<Item = Self> {
        DAYS.iter()
            .flat_map(|day| {
                TIMES.iter().flat_map(move |time| {
                    let joints: &[&str] = if time.is_empty() { &[""] } else { &[" ", "T"] };
                    joints.iter().flat_map(move |joint| {
                        let ends: &[&str] = if time.is_empty() { &[""] } else { &["", "Z"] };
                        ends.iter().map(move |end| format!("{day}{joint}{time}{end}"))
                    })
                })
            })
            .flat_map(|format| {
                let parts: Vec<Part> = format.chars().map(part).collect();
                let seconds = parts.iter().position(|part| *part == Part::Second);
                let decimals = (1..=6).filter_map(move |digits| seconds.map(|at| (at, digits)));
                let plain = parts.clone();
                std::iter::once(plain).chain(decimals.map(move |(at, digits)| {
                    let mut parts = parts.clone();
                    parts.splice(at + 1..at + 1, [Part::Sign('.'), Part::Decimals(digits)]);
                    parts
                }))
            })
            .flat_map(|parts| [true, false].map(|padded| Self { parts: parts.clone(), padded }))
    }

    /// The formats of a text.
    pub(super) fn of(text: &str) -> Vec<Self> {
        if !text.starts_with(|c: char| c.is_ascii_digit()) || !(6..=32).contains(&text.len()) {
            return Vec::new();
        }
        Self::all().filter(|format| format.number(text).is_some()).collect()
    }

    /// Number of decimals of the numbers of this format.
    pub(super) fn decimals(&self) -> u32 {
        self.parts.iter().find_map(|part| if let Part::Decimals(n) = part { Some(*n) } else { None }).unwrap_or(0)
    }

    pub(super) fn is_sound(&self) -> bool {
        self.parts.len() < 32 && self.decimals() <= 6
    }

    fn has_time(&self) -> bool {
        self.parts.contains(&Part::Hour)
    }

    /// Days since 1970, or seconds if the format has times.
    pub(super) fn number(&self, text: &str) -> Option<f64> {
        let mut rest = text;
        let [mut year, mut month, mut day, mut seconds] = [1970i64, 1, 1, 0];
        let mut fraction = 0.0;
        for part in &self.parts {
            let mut digits = |least: usize, most: usize| -> Option<i64> {
                let count = rest.bytes().take(most).take_while(u8::is_ascii_digit).count();
                let (head, tail) = rest.split_at(count);
                rest = tail;
                if count >= least { head.parse().ok() } else { None }
            };
            let short = if self.padded { 2 } else { 1 };
            match part {
                Part::Year => year = digits(4, 4)?,
                Part::Month => month = digits(short, 2)?,
                Part::Day => day = digits(short, 2)?,
                Part::Hour => seconds += 3600 * digits(short, 2).filter(|hour| *hour < 24)?,
                Part::Minute => seconds += 60 * digits(2, 2).filter(|minute| *minute < 60)?,
                Part::Second => seconds += digits(2, 2).filter(|second| *second < 60)?,
                Part::Decimals(n) => fraction = digits(*n as usize, *n as usize)? as f64 / 10f64.powi(*n as i32),
                Part::Sign(sign) => rest = rest.strip_prefix(*sign)?,
            }
        }
        let fits = rest.is_empty() && (1..=12).contains(&month) && day >= 1 && day <= month_length(year, month);
        let days = days_of(year, month, day);
        fits.then(|| if self.has_time() { (days * 86_400 + seconds) as f64 + fraction } else { days as f64 })
    }

    pub(super) fn write(&self, number: f64) -> String {
        let scale = 10f64.powi(self.decimals() as i32);
        // Counted in the smallest unit, so that nothing is carried twice.
        let units = (number * scale).round().clamp(-9e17, 9e17) as i64;
        let (whole, fraction) = (units.div_euclid(scale as i64), units.rem_euclid(scale as i64));
        let (days, seconds) =
            if self.has_time() { (whole.div_euclid(86_400), whole.rem_euclid(86_400)) } else { (whole, 0) };
        let (year, month, day) = date_of(days);
        let two = |n: i64| if self.padded { format!("{n:02}") } else { n.to_string() };
        let parts = self.parts.iter().map(|part| match part {
            Part::Year => format!("{year:04}"),
            Part::Month => two(month),
            Part::Day => two(day),
            Part::Hour => two(seconds / 3600),
            Part::Minute => format!("{:02}", seconds / 60 % 60),
            Part::Second => format!("{:02}", seconds % 60),
            Part::Decimals(n) => format!("{fraction:00$}", *n as usize),
            Part::Sign(sign) => sign.to_string(),
        });
        parts.collect()
    }

    /// Whether year, month and day are in the same places.
    pub(super) fn same_order(&self, other: &Self) -> bool {
        self.parts == other.parts
    }

    /// Formats of days for people.
    pub(super) fn examples() -> String {
        let plain = |day: &str| Self { parts: day.chars().map(part).collect(), padded: true }.write(0.0);
        DAYS.map(plain).join(", ") + ", each also with a time, as in 1970-01-01 12:30:00"
    }

    /// The format for people.
    pub(super) fn name(&self) -> String {
        let parts = self.parts.iter().map(|part| match part {
            Part::Year => "year".to_owned(),
            Part::Month => "month".to_owned(),
            Part::Day => "day".to_owned(),
            Part::Hour => "hour".to_owned(),
            Part::Minute => "minute".to_owned(),
            Part::Second => "second".to_owned(),
            Part::Decimals(n) => format!("{n} decimals"),
            Part::Sign(sign) => sign.to_string(),
        });
        parts.collect()
    }
}

/// A number of microseconds since 1970 by ISO 8601: the day alone, or with the time and some decimals of its seconds.
#[cfg(feature = "parquet")]
pub(in crate::data) fn iso(micros: i64, decimals: Option<u32>) -> String {
    let mut parts: Vec<Part> = if decimals.is_some() { "Y-M-D h:m:s" } else { "Y-M-D" }.chars().map(part).collect();
    if let Some(digits) = decimals.filter(|digits| *digits > 0) {
        parts.extend([Part::Sign('.'), Part::Decimals(digits)]);
    }
    let format = DateFormat { parts, padded: true };
    let seconds = micros as f64 / 1e6;
    format.write(if decimals.is_some() { seconds } else { (seconds / 86_400.0).floor() })
}

fn part(sign: char) -> Part {
    match sign {
        'Y' => Part::Year,
        'M' => Part::Month,
        'D' => Part::Day,
        'h' => Part::Hour,
        'm' => Part::Minute,
        's' => Part::Second,
        sign => Part::Sign(sign),
    }
}

fn month_length(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month as usize - 1]
}

/// Days since 1970-01-01. The year is counted from March, so that its last day is the leap day.
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Year, month and day of a number of days since 1970-01-01.
fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, year) = if month < 10 { (month + 3, year) } else { (month - 9, year + 1) };
    (year + era * 400, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_times_come_back() {
        for text in [
            "2024-02-29",
            "1969/12/31",
            "29.02.2000",
            "2024-02-29 23:59:59",
            "2024-02-29T00:00:01.250Z",
            "3/14/2021",
            "12/31/1999 7:05",
        ] {
            let formats = DateFormat::of(text);
            assert!(!formats.is_empty(), "{text}");
            // The one that is preferred writes what was read.
            assert_eq!(formats[0].write(formats[0].number(text).unwrap()), text);
        }
        for text in ["2023-02-29", "2024-13-01", "2024-1", "12345678", "29.02.2001", "2024-02-29 24:00:00", ""] {
            assert!(DateFormat::of(text).is_empty(), "{text}");
        }
        // Both orders are possible.
        assert_eq!(DateFormat::of("01/02/2020").len(), 4);
        assert_eq!(days_of(1970, 1, 1), 0);
        for days in [-1_000_000, -1, 0, 59, 60, 11_016, 20_000, 1_000_000] {
            let (year, month, day) = date_of(days);
            assert_eq!(days_of(year, month, day), days);
        }
    }
}
