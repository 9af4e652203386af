//! Numbers as texts: how a column writes them, and how they are read and written back.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// Most decimals that are written; numbers of more are written with as many digits as they need.
const DECIMALS: u32 = 15;

/// How a column writes its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct NumberFormat {
    /// Decimals to which numbers are rounded; `None` if they have as many as they need.
    pub(super) decimals: Option<u32>,
    /// Decimals that are written even if they are zeros.
    pub(super) least: u32,
    /// Whether a comma stands before the decimals.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) comma: bool,
}

impl NumberFormat {
    #[cfg(test)]
    pub(super) const INTEGER: Self = Self { decimals: Some(0), least: 0, comma: false };

    /// The format of texts that are all numbers, with a comma before the decimals or not.
    pub(super) fn of<'a>(texts: impl Iterator<Item = &'a str>, comma: bool) -> Self {
        let (mut least, mut most) = (DECIMALS, 0);
        for text in texts {
            let [written, needed] = decimals(&with_point(text, comma));
            (least, most) = (least.min(written), most.max(needed));
        }
        Self { decimals: (most <= DECIMALS).then_some(most), least, comma }
    }

    pub(super) fn is_sound(self) -> bool {
        self.decimals.unwrap_or(0).max(self.least) <= DECIMALS
    }

    /// Half the distance of neighbouring numbers.
    pub(super) fn half(self) -> f64 {
        self.decimals.map_or(0.0, |decimals| 0.5 * 10f64.powi(-(decimals as i32)))
    }

    pub(super) fn write(self, number: f64) -> String {
        let text = self.with_point(number);
        if self.comma { text.replace('.', ",") } else { text }
    }

    fn with_point(self, number: f64) -> String {
        let Some(decimals) = self.decimals else { return number.to_string() };
        let mut text = format!("{number:.0$}", decimals as usize);
        if let Some((whole, written)) = text.clone().split_once('.') {
            let needed = written.trim_end_matches('0').len().max(self.least as usize).min(written.len());
            text = if needed == 0 { whole.to_owned() } else { format!("{whole}.{}", &written[..needed]) };
        }
        let missing = (self.least.saturating_sub(decimals)) as usize;
        if missing > 0 {
            let point = if decimals == 0 { "." } else { "" };
            text = format!("{text}{point}{}", "0".repeat(missing));
        }
        let zero = text.starts_with('-') && text.bytes().all(|byte| matches!(byte, b'-' | b'0' | b'.'));
        if zero { text.split_off(1) } else { text }
    }

    /// The number as it is written.
    pub(super) fn round(self, number: f64) -> f64 {
        self.with_point(number).parse().unwrap_or(number)
    }

    /// The least and the largest number of the format within bounds, which may be infinite.
    pub(super) fn inward(self, low: f64, high: f64) -> [f64; 2] {
        let half = self.half();
        let step = |bound: f64, up: f64| {
            let near = if bound.is_finite() { self.round(bound) } else { bound };
            let outside = if up > 0.0 { near < bound } else { near > bound };
            if outside && half > 0.0 { self.round(near + up * 2.0 * half) } else { near }
        };
        [step(low, 1.0), step(high, -1.0)]
    }
}

/// A number of a cell, which may be infinite. Words that Rust reads as numbers (`nan`) are none.
pub(super) fn number(text: &str) -> Option<f64> {
    text.parse::<f64>().ok().filter(|number| !number.is_nan())
}

/// The same where a comma may stand before the decimals.
pub(super) fn number_in(text: &str, comma: bool) -> Option<f64> {
    if comma && text.contains('.') { None } else { number(&with_point(text, comma)) }
}

fn with_point(text: &str, comma: bool) -> Cow<'_, str> {
    if comma { Cow::Owned(text.replacen(',', ".", 1)) } else { Cow::Borrowed(text) }
}

/// Number of decimals of a text that is a number, with the zeros at its end and without; those that its exponent stands
/// for are needed, and not written.
fn decimals(text: &str) -> [u32; 2] {
    let (mantissa, exponent) = text.split_once(['e', 'E']).map_or((text, None), |(a, b)| (a, Some(b)));
    let decimals = mantissa.split_once('.').map_or("", |(_, decimals)| decimals);
    let needed = decimals.trim_end_matches('0').len();
    match exponent {
        None => [decimals.len() as u32, needed as u32],
        Some(exponent) => {
            let moved = exponent.parse::<i64>().unwrap_or(0);
            [0, (needed as i64).saturating_sub(moved).clamp(0, i64::from(u32::MAX)) as u32]
        }
    }
}

/// Whether a text of digits begins with a zero that a number would not have, as codes of places do.
pub(super) fn is_code(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_they_were_read() {
        for (texts, numbers, written) in [
            (&["1", "-20"][..], [3.2, -0.4], ["3", "0"]),
            (&["1.50", "0.25"], [3.0, -0.001], ["3.00", "0.00"]),
            (&["0", "0.2", "0.066666667"], [0.5, 1.0 / 3.0], ["0.5", "0.333333333"]),
            (&["1.0", "2.0"], [3.4, 7.0], ["3.0", "7.0"]),
            (&["1.0", "2.25"], [3.4, 7.0], ["3.4", "7.0"]),
            (&["1.5E-3", "2"], [1.0 / 3.0, 2.0], ["0.3333", "2"]),
            (&["1e-19", "2"], [1e-9, 0.25], ["0.000000001", "0.25"]),
            (&["1e-9", "2"], [1e-9, 0.25], ["0.000000001", "0.25"]),
        ] {
            let format = NumberFormat::of(texts.iter().copied(), false);
            assert_eq!(numbers.map(|number| format.write(number)), written, "{texts:?}");
        }
        assert_eq!(NumberFormat::INTEGER.inward(29.5, 31.2), [30.0, 31.0]);
        assert_eq!(NumberFormat::INTEGER.inward(30.0, f64::INFINITY), [30.0, f64::INFINITY]);
        assert_eq!(NumberFormat::INTEGER.inward(30.2, 30.8), [31.0, 30.0]);
        assert!(is_code("01234") && !is_code("0") && !is_code("0.5"));
    }
}
