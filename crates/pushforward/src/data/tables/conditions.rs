//! Conditions on the columns of a table, as text.

use crate::data::DataError;
use crate::data::tables::column::{Content, TableColumn};
use crate::data::tables::wanted::Wanted;

/// Conditions that all hold: `sex=Female, age=30..40, education in (Bachelors, Masters)`.
///
/// | condition | meaning |
/// |---|---|
/// | `x=v`, `x!=v` | the value, or any other (also what is missing) |
/// | `x=a..b`, `x=a..`, `x=..b` | numbers or dates from `a` to `b`, both included |
/// | `x<v`, `x<=v`, `x>v`, `x>=v` | numbers or dates |
/// | `x in (a, b)`, `x not in (a, b)` | one of the values, or none of them |
/// | `x=`, `x!=` | missing, or not |
///
/// Columns and values with commas, brackets or signs stand between quotes.
///
/// # Examples
/// ```
/// use pushforward::data::tables::Where;
/// assert_eq!(Where::parse("age=30..40, education in (Bachelors, Masters)")?.columns(), ["age", "education"]);
/// assert!(Where::parse("age").unwrap_err().to_string().contains("age"));
/// # Ok::<(), pushforward::data::DataError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Where {
    pub(super) terms: Vec<Term>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Term {
    pub(super) column: String,
    sign: Sign,
    values: Vec<String>,
    /// Whether a single value stood between quotes, so that it is no range.
    quoted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    In,
    NotIn,
    Below,
    UpTo,
    Above,
    From,
}

fn syntax(text: &str, problem: &str) -> DataError {
    let problem = format!(
        "{text:?} {problem}; conditions are written as in: sex=Female, age=30..40, education in (Bachelors, Masters), \
         income!=, hours>=20"
    );
    DataError::Setting { key: "where", problem }
}

/// The parts of a text between signs that stand outside quotes and brackets.
fn parts(text: &str, ends: impl Fn(char) -> bool) -> Result<Vec<&str>, DataError> {
    let (mut quote, mut depth, mut start, mut found) = (None, 0, 0, Vec::new());
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (Some(_), _) => {}
            // An apostrophe within a word is none of the quotes.
            (None, '"' | '\'')
                if text[start..at].trim_end().is_empty()
                    || text[..at].trim_end().ends_with(['=', '(', ',', '<', '>']) =>
            {
                quote = Some(c);
            }
            (None, '(') => depth += 1,
            (None, ')') => depth -= 1,
            (None, c) if depth == 0 && ends(c) => {
                found.push(&text[start..at]);
                start = at + c.len_utf8();
            }
            _ => {}
        }
    }
    if quote.is_some() || depth != 0 {
        return Err(syntax(text, "has a quote or a bracket that is not closed"));
    }
    found.push(&text[start..]);
    Ok(found)
}

/// A text without its quotes, and whether it had some.
fn unquoted(text: &str) -> (String, bool) {
    let text = text.trim();
    for quote in ['"', '\''] {
        if let Some(inner) = text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) {
            return (inner.to_owned(), true);
        }
    }
    (text.to_owned(), false)
}

impl Term {
    fn parse(text: &str) -> Result<Self, DataError> {
        let text = text.trim();
        // A quoted name may hold signs.
        let skipped = match text.chars().next() {
            Some(quote @ ('"' | '\'')) => text[1..].find(quote).map_or(0, |end| end + 2),
            _ => 0,
        };
        let rest = &text[skipped..];
        let lower = rest.to_ascii_lowercase();
        let sign = rest.find(['=', '<', '>', '!']);
        for (word, sign_of) in [(" not in", Sign::NotIn), (" in", Sign::In)] {
            let Some(at) = lower.find(word) else { continue };
            let list = rest[at + word.len()..].trim();
            if sign.is_none_or(|sign| at < sign) && list.starts_with('(') {
                let inner = list[1..].strip_suffix(')').ok_or_else(|| syntax(text, "has text after its list"))?;
                let values = parts(inner, |c| c == ',')?.into_iter().map(|value| unquoted(value).0).collect();
                return Self::of(text, &text[..skipped + at], sign_of, values, true);
            }
        }
        let at = sign.ok_or_else(|| syntax(text, "is no condition"))?;
        let signs = [
            ("!=", Sign::NotIn),
            ("<=", Sign::UpTo),
            (">=", Sign::From),
            ("==", Sign::In),
            ("=", Sign::In),
            ("<", Sign::Below),
            (">", Sign::Above),
        ];
        let found = signs.iter().find(|(sign, _)| rest[at..].starts_with(sign));
        let &(sign, kind) = found.ok_or_else(|| syntax(text, "has a sign that is not known"))?;
        let (value, quoted) = unquoted(&rest[at + sign.len()..]);
        Self::of(text, &text[..skipped + at], kind, vec![value], quoted)
    }

    fn of(text: &str, column: &str, sign: Sign, values: Vec<String>, quoted: bool) -> Result<Self, DataError> {
        let column = unquoted(column).0;
        if column.is_empty() {
            return Err(syntax(text, "names no column"));
        }
        Ok(Self { column, sign, values, quoted })
    }

    /// What the term asks of its column, in which these texts stand for what is missing.
    pub(super) fn resolve(&self, column: &TableColumn, missing: &[String]) -> Result<Wanted, DataError> {
        let refuse = |problem: String| DataError::Column { column: column.name().to_owned(), problem };
        let others = self.sign == Sign::NotIn;
        let empty = |value: &String| value.is_empty() || (missing.contains(value) && column.class_of(value).is_none());
        if self.values.iter().all(empty) && matches!(self.sign, Sign::In | Sign::NotIn) {
            if column.missing_class().is_none() {
                return Err(refuse("has no missing values".into()));
            }
            return Ok(Wanted::Missing(!others));
        }
        let Content::Numbers(numbers) = &column.content else {
            if !matches!(self.sign, Sign::In | Sign::NotIn) {
                return Err(refuse("is categorical, and only numbers and dates have an order; use =, != or in".into()));
            }
            for value in &self.values {
                if column.class_of(value).is_none() {
                    return Err(refuse(column.unknown(value)));
                }
            }
            return Ok(Wanted::Texts { texts: self.values.clone(), others });
        };
        let number = |text: &str| numbers.number(text.trim()).ok_or_else(|| refuse(column.unknown(text.trim())));
        let (least, most) = (f64::NEG_INFINITY, f64::INFINITY);
        let mut intervals = Vec::new();
        for value in &self.values {
            intervals.push(match (self.sign, value.split_once("..")) {
                (Sign::In | Sign::NotIn, Some((low, high))) if !self.quoted => {
                    let end = |text: &str, open| if text.trim().is_empty() { Ok(open) } else { number(text) };
                    let [low, high] = [end(low, least)?, end(high, most)?];
                    if low > high {
                        return Err(refuse(format!("{value} is an empty range: its ends are in the wrong order")));
                    }
                    [low, high]
                }
                (Sign::In | Sign::NotIn, _) => [number(value)?; 2],
                (Sign::Below, _) => [least, number(value)?.next_down()],
                (Sign::UpTo, _) => [least, number(value)?],
                (Sign::Above, _) => [number(value)?.next_up(), most],
                (Sign::From, _) => [number(value)?, most],
            });
        }
        Ok(Wanted::Numbers { intervals: in_order(intervals, others), missing: others })
    }
}

/// Intervals in order without overlaps, or what they leave.
fn in_order(mut intervals: Vec<[f64; 2]>, others: bool) -> Vec<[f64; 2]> {
    intervals.sort_by(|a, b| a[0].total_cmp(&b[0]));
    let mut joined: Vec<[f64; 2]> = Vec::new();
    for next in intervals {
        match joined.last_mut() {
            Some(last) if next[0] <= last[1] => last[1] = last[1].max(next[1]),
            _ => joined.push(next),
        }
    }
    if !others {
        return joined;
    }
    let lows = std::iter::once(f64::NEG_INFINITY).chain(joined.iter().map(|interval| interval[1].next_up()));
    let highs = joined.iter().map(|interval| interval[0].next_down()).chain([f64::INFINITY]);
    lows.zip(highs).map(|(low, high)| [low, high]).filter(|[low, high]| low <= high).collect()
}

impl Where {
    /// Reads conditions; an empty text is none.
    ///
    /// # Errors
    /// What cannot be read, and how conditions are written.
    pub fn parse(text: &str) -> Result<Self, DataError> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let terms = parts(text, |c| c == ',')?.into_iter().map(Term::parse).collect::<Result<_, _>>()?;
        Ok(Self { terms })
    }

    /// Whether there are no conditions.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// The columns that they name, in their order.
    pub fn columns(&self) -> Vec<&str> {
        self.terms.iter().map(|term| term.column.as_str()).collect()
    }
}
