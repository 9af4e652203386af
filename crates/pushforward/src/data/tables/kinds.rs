//! What kind a column is of, found by reading it.

use serde::{Deserialize, Serialize};

use crate::data::DataError;
use crate::data::tables::dates::DateFormat;
use crate::data::tables::grid::Form;
use crate::data::tables::numbers::{is_code, number, number_in};
use crate::data::tables::rows::{Distinct, Rows};

/// What a recipe says about a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ColumnChoice {
    /// Values without an order, also if they are numbers.
    Categorical,
    /// Whole numbers.
    Integer,
    /// Numbers.
    Number,
    /// Dates, with times or without.
    Date,
    /// Leave it out.
    Skip,
}

/// Less than this share of the rows are stray values of a column of numbers; more make it one of words.
const STRAY: f64 = 0.05;
/// From this share of different texts on, a column names its rows.
const NAMES: f64 = 0.95;
/// Fewer rows do not tell names from values.
const ROWS: u64 = 20;

/// The kind of a column.
#[derive(Debug)]
pub(super) enum Kind {
    Words,
    Numbers {
        /// Whether a comma stands before the decimals.
        comma: bool,
    },
    Dates(DateFormat),
    /// Every row has another value.
    Names(&'static str),
}

/// The kind of the texts that are not missing, and why if that is not obvious.
pub(super) fn kind(
    distinct: &Distinct<'_>,
    present: &[usize],
    asked: Option<ColumnChoice>,
    name: &str,
    rows: &Rows<'_>,
) -> Result<(Kind, Option<String>), DataError> {
    let text = |id: usize| distinct.texts[id].as_ref();
    let count = |ids: &[usize]| ids.iter().map(|&id| distinct.counts[id][0]).sum::<u64>();
    let all = count(present);
    match asked {
        Some(ColumnChoice::Categorical) => return Ok((Kind::Words, None)),
        Some(ColumnChoice::Skip) => return Ok((Kind::Names("as the recipe says"), None)),
        Some(ColumnChoice::Date) => {
            let format = dates(present, &text).map_err(|id| {
                let line = rows.line(distinct.first[id]);
                let problem = format!("is to be a date, and {:?} ({line}) is none that is known", text(id));
                rows.refuse(name, &format!("{problem}; known are {}", DateFormat::examples()))
            })?;
            return Ok((Kind::Dates(format.0), format.1));
        }
        Some(ColumnChoice::Integer | ColumnChoice::Number) | None => {}
    }
    // Where semicolons separate the fields, commas stand before decimals.
    let semicolons = rows.grids[0].form == Form::Character(b';');
    let comma = semicolons
        && present.iter().any(|&id| text(id).contains(','))
        && present.iter().all(|&id| number_in(text(id), true).is_some());
    let number = |text: &str| number_in(text, comma);
    let others: Vec<usize> = present.iter().copied().filter(|&id| number(text(id)).is_none()).collect();
    let stray = (count(&others) as f64) < STRAY * all as f64;
    if !others.is_empty() && (asked.is_some() || stray) {
        return Err(rows.refuse(name, &stray_values(distinct, name, &others, all, rows)));
    }
    if others.is_empty() {
        let code = present.iter().copied().find(|&id| is_code(text(id)));
        if let Some(code) = code.filter(|_| asked.is_none()) {
            let why = format!("numbers with zeros before them, such as {}, are read as words", text(code));
            return Ok((Kind::Words, Some(why)));
        }
        if let Some(&infinite) = present.iter().find(|&&id| number(text(id)).is_some_and(f64::is_infinite)) {
            let problem = format!(
                "has an infinite number, {:?} ({}); correct it, or list the text in data.missing_values",
                text(infinite),
                rows.line(distinct.first[infinite])
            );
            return Err(rows.refuse(name, &problem));
        }
        if asked == Some(ColumnChoice::Integer)
            && let Some(&id) = present.iter().find(|&&id| number(text(id)).is_some_and(|number| number.fract() != 0.0))
        {
            let problem = format!("is to be whole numbers, and has {:?} ({})", text(id), rows.line(distinct.first[id]));
            return Err(rows.refuse(name, &problem));
        }
        let counted = asked.is_none() && all >= ROWS && rows.places.len() as u64 == all && counts_rows(distinct);
        return Ok(if counted {
            (Kind::Names("it counts the rows"), None)
        } else {
            (Kind::Numbers { comma }, comma.then(|| "commas are read as decimal points".into()))
        });
    }
    if let Ok((format, why)) = dates(present, &text) {
        return Ok((Kind::Dates(format), why));
    }
    if all >= ROWS && present.len() as f64 >= NAMES * all as f64 {
        return Ok((Kind::Names("almost every row has another text"), None));
    }
    Ok((Kind::Words, None))
}

/// Whether a column of numbers grows by one from row to row of the file. Rows are in the order of the parts here, so that
/// the file's order is that of their places.
fn counts_rows(distinct: &Distinct<'_>) -> bool {
    if distinct.texts.len() != distinct.ids.len() {
        return false;
    }
    let whole = |text: &str| number(text).filter(|number| number.fract() == 0.0);
    let numbers: Option<Vec<f64>> = distinct.texts.iter().map(|text| whole(text)).collect();
    let Some(mut numbers) = numbers else { return false };
    numbers.sort_by(f64::total_cmp);
    numbers[0].abs() <= 1.0 && numbers.windows(2).all(|pair| pair[1] == pair[0] + 1.0)
}

/// The format of dates, and a remark if another one fits too.
///
/// # Errors
/// A text that does not fit.
fn dates<'a>(present: &[usize], text: &impl Fn(usize) -> &'a str) -> Result<(DateFormat, Option<String>), usize> {
    let first = *present.first().ok_or(0usize)?;
    let mut formats = DateFormat::of(text(first));
    for &id in present {
        formats.retain(|format| format.number(text(id)).is_some());
        if formats.is_empty() {
            return Err(id);
        }
    }
    let chosen = formats[0].clone();
    let other = formats.iter().find(|other| !other.same_order(&chosen));
    let why = other.map_or_else(
        || format!("dates, written {}", chosen.name()),
        |other| format!("dates, read as {}, although they could be {}", chosen.name(), other.name()),
    );
    Ok((chosen, Some(why)))
}

/// The name of a column as a key of a recipe.
pub(super) fn key(name: &str) -> String {
    let bare = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    if bare { name.to_owned() } else { format!("{name:?}") }
}

fn stray_values(distinct: &Distinct<'_>, name: &str, others: &[usize], all: u64, rows: &Rows<'_>) -> String {
    let count: u64 = others.iter().map(|&id| distinct.counts[id][0]).sum();
    let shown: Vec<String> = others.iter().take(5).map(|&id| format!("{:?}", distinct.texts[id])).collect();
    let more = if others.len() > shown.len() { ", ..." } else { "" };
    let by_line = |&id: &usize| rows.places[distinct.first[id] as usize];
    let first = *others.iter().min_by_key(|id| by_line(id)).expect("there are others");
    let heading = by_line(&first) == (0, 0) && rows.grids[0].header.is_none() && count == 1;
    let heading = if heading { "say data.header = true if that line names the columns, " } else { "" };
    format!(
        "has {} numbers and {count} other values, {}{more} (the first: {}); {heading}correct them, list them in \
         data.missing_values if they stand for what is missing, or say that the column is categorical: data.columns = {{ \
         {} = \"categorical\" }}",
        all - count,
        shown.join(", "),
        rows.line(distinct.first[first]),
        key(name)
    )
}
