//! The classes of a column, made from its different texts.

use std::collections::{HashMap, HashSet};

use crate::data::DataError;
use crate::data::tables::column::{Categories, ColumnKind, Content, NumberClass, Numbers, TableColumn, Value};
use crate::data::tables::kinds::{ColumnChoice, Kind, key, kind};
use crate::data::tables::law::Law;
use crate::data::tables::numbers::{NumberFormat, number_in};
use crate::data::tables::rows::{Distinct, Rows};
use crate::node_pairs::ABSENT;

/// Rare values that are kept, the most frequent first.
const RARE_KEPT: usize = 1000;
/// Least training rows of a bin.
const ROWS_OF_BIN: u64 = 10;
/// Numbers have a class each if there are so many times more training rows.
const ROWS_OF_VALUE: u64 = 5;

/// What a recipe says about all columns.
#[derive(Clone, Debug)]
pub(super) struct Choices {
    pub(super) missing: Vec<String>,
    pub(super) bins: usize,
    pub(super) rare: u64,
    pub(super) drop_rare: u64,
    pub(super) classes: usize,
    /// Whether what is missing is no class.
    pub(super) holes: bool,
}

/// A column with the class of each row.
pub(super) struct Built {
    pub(super) column: TableColumn,
    pub(super) ids: Vec<u32>,
    /// The number of each row, NaN if it is missing; empty if the classes tell the numbers.
    pub(super) numbers: Vec<f64>,
    /// What is not obvious about it.
    pub(super) note: Option<String>,
}

/// Makes the classes of a column.
pub(super) fn column(
    rows: &Rows<'_>,
    place: usize,
    name: &str,
    asked: Option<ColumnChoice>,
    choices: &Choices,
) -> Result<Built, DataError> {
    let named = |content| TableColumn { name: name.to_owned(), content, hole: None };
    let whole = |content, why: &str| Built {
        column: named(content),
        ids: Vec::new(),
        numbers: Vec::new(),
        note: Some(format!("column `{name}` is left out: {why}")),
    };
    if asked == Some(ColumnChoice::Skip) {
        return Ok(whole(Content::Skipped, "as the recipe says"));
    }
    let distinct = rows.distinct(place);
    let (absent, present): (Vec<usize>, Vec<usize>) = (0..distinct.texts.len())
        .partition(|&id| choices.missing.iter().any(|missing| *missing == distinct.texts[id].as_ref()));
    let usual = absent.iter().copied().max_by_key(|&id| (distinct.counts[id][0], std::cmp::Reverse(id)));
    if present.is_empty() || (present.len() == 1 && (absent.is_empty() || choices.holes)) {
        let text = distinct.texts[*present.first().or(usual.as_ref()).expect("a column has values")].to_string();
        let why =
            if present.is_empty() { "all its values are missing".into() } else { format!("it is always {text:?}") };
        return Ok(whole(Content::Constant { text }, &why));
    }
    let mut missing = usual.map(|id| Value {
        text: distinct.texts[id].to_string(),
        count: absent.iter().map(|&id| distinct.counts[id][1]).sum(),
    });
    let (kind, why) = kind(&distinct, &present, asked, name, rows)?;
    let same = if matches!(kind, Kind::Words) { full_stops(&distinct, &present) } else { HashMap::new() };
    let present: Vec<usize> = present.into_iter().filter(|id| !same.contains_key(id)).collect();
    let mut notes: Vec<String> = why.into_iter().collect();
    let content = match kind {
        Kind::Names(why) => {
            let how = format!("{why}; data.columns = {{ {} = \"categorical\" }} keeps it", key(name));
            return Ok(whole(Content::Skipped, &how));
        }
        Kind::Words => {
            check_held_out(rows, name, &distinct, &present)?;
            if !same.is_empty() {
                notes.push(format!(
                    "{} values of held-out rows are read without the full stop at their end",
                    same.len()
                ));
            }
            let (of, dropped) = categories(&distinct, &present, choices, &mut notes);
            if dropped > 0 {
                missing
                    .get_or_insert(Value { text: choices.missing.first().cloned().unwrap_or_default(), count: 0 })
                    .count += dropped;
            }
            if of.values.is_empty() && of.rare.is_empty() {
                let text = missing.map_or(String::new(), |missing| missing.text);
                return Ok(whole(Content::Constant { text }, "all its values are rare"));
            }
            Content::Categories(Categories { missing, ..of })
        }
        Kind::Numbers { .. } | Kind::Dates(_) => {
            let comma = matches!(kind, Kind::Numbers { comma: true });
            let date = if let Kind::Dates(format) = kind { Some(format) } else { None };
            let format = match &date {
                Some(date) => NumberFormat { decimals: Some(date.decimals()), least: 0, comma: false },
                None => NumberFormat::of(present.iter().map(|&id| distinct.texts[id].as_ref()), comma),
            };
            let read = |text: &str| date.as_ref().map_or_else(|| number_in(text, comma), |date| date.number(text));
            let (groups, kind) = groups(&distinct, &present, read);
            let kind = if date.is_some() { ColumnKind::Date } else { kind };
            let classes = classes(groups, format, choices, &mut notes);
            Content::Numbers(Numbers { kind, format, date, classes, missing })
        }
    };
    let mut column = named(content);
    if choices.holes {
        column.hole = column.take_missing();
    }
    if let Some(count) = column
        .missing_class()
        .or(column.hole.as_ref().map(|_| ABSENT))
        .and(usual)
        .map(|_| absent.iter().map(|&id| distinct.counts[id][0]).sum::<u64>())
    {
        notes.push(format!("{count} missing"));
    }
    let note = (!notes.is_empty()).then(|| format!("column `{name}`: {}", notes.join("; ")));
    let ids = rows_of(&column, &distinct, &absent, &same);
    let numbers = numbers_of(&column, &distinct, &absent);
    Ok(Built { column, ids, numbers, note })
}

/// The number of each row, if some lie in bins.
fn numbers_of(column: &TableColumn, distinct: &Distinct<'_>, absent: &[usize]) -> Vec<f64> {
    let Content::Numbers(of) = &column.content else { return Vec::new() };
    if !of.classes.iter().any(|class| matches!(class, NumberClass::Bin { .. })) {
        return Vec::new();
    }
    let mut numbers: Vec<f64> = distinct.texts.iter().map(|text| column.number_of(text).unwrap_or(f64::NAN)).collect();
    absent.iter().for_each(|&id| numbers[id] = f64::NAN);
    distinct.ids.iter().map(|&id| numbers[id as usize]).collect()
}

/// Held-out values that are a training value and a full stop, as in the test part of Adult, with that value.
fn full_stops(distinct: &Distinct<'_>, present: &[usize]) -> HashMap<usize, usize> {
    let train = |id: usize| distinct.counts[id][1] > 0;
    let ends = |id: usize| distinct.texts[id].strip_suffix('.');
    if !present.iter().any(|&id| ends(id).is_some()) || present.iter().any(|&id| train(id) && ends(id).is_some()) {
        return HashMap::new();
    }
    let known: HashMap<&str, usize> =
        present.iter().filter(|&&id| train(id)).map(|&id| (distinct.texts[id].as_ref(), id)).collect();
    present.iter().filter_map(|&id| Some((id, *known.get(ends(id)?)?))).collect()
}

/// Checks that a held-out file has values of the training rows in a column of words.
fn check_held_out(rows: &Rows<'_>, name: &str, distinct: &Distinct<'_>, present: &[usize]) -> Result<(), DataError> {
    for (number, grid) in rows.grids.iter().enumerate().skip(1) {
        let of_file = rows.places.iter().zip(&distinct.ids).filter(|((of, _), _)| *of as usize == number);
        let ids: HashSet<usize> = of_file.map(|(_, &id)| id as usize).collect();
        let (known, unknown): (Vec<usize>, Vec<usize>) =
            present.iter().copied().filter(|id| ids.contains(id)).partition(|&id| distinct.counts[id][1] > 0);
        if known.is_empty() && unknown.len() > 1 {
            let texts = |ids: &mut dyn Iterator<Item = usize>| {
                ids.take(4).map(|id| format!("{:?}", distinct.texts[id])).collect::<Vec<_>>().join(", ")
            };
            let found = texts(&mut unknown.into_iter());
            let trained = texts(&mut present.iter().copied().filter(|&id| distinct.counts[id][1] > 0));
            let problem = format!(
                "column `{name}` has none of the values of the training rows: found {found}, and they have {trained}"
            );
            return Err(grid.refuse(problem));
        }
    }
    Ok(())
}

/// The class of each row. `same` are values that are read as others.
fn rows_of(column: &TableColumn, distinct: &Distinct<'_>, absent: &[usize], same: &HashMap<usize, usize>) -> Vec<u32> {
    let known: HashMap<&str, u32> = match &column.content {
        Content::Categories(of) => {
            of.values.iter().zip(0..).map(|(value, class)| (value.text.as_str(), class)).collect()
        }
        _ => HashMap::new(),
    };
    let missing = column.missing_class().or(column.hole.as_ref().map(|_| ABSENT));
    // A value that is not listed belongs to the rare ones, or is dropped and counts as missing.
    let other = match &column.content {
        Content::Categories(of) if !of.rare.is_empty() => Some(of.values.len() as u32),
        _ => missing,
    };
    let mut classes: Vec<u32> = distinct
        .texts
        .iter()
        .map(|text| match &column.content {
            Content::Categories(_) => known.get(text.as_ref()).copied().or(other),
            _ => column.class_of(text).or(missing),
        })
        .map(|class| class.unwrap_or(0))
        .collect();
    same.iter().for_each(|(&id, &other)| classes[id] = classes[other]);
    absent.iter().for_each(|&id| classes[id] = missing.expect("missing values have a class"));
    distinct.ids.iter().map(|&id| classes[id as usize]).collect()
}

/// The classes of words, and how many training rows have a value that is dropped.
fn categories(
    distinct: &Distinct<'_>,
    present: &[usize],
    choices: &Choices,
    notes: &mut Vec<String>,
) -> (Categories, u64) {
    let train = |id: usize| distinct.counts[id][1];
    let mut order = present.to_vec();
    order.sort_by(|&a, &b| train(b).cmp(&train(a)).then_with(|| distinct.texts[a].cmp(&distinct.texts[b])));
    let kept = order.partition_point(|&id| train(id) >= choices.drop_rare);
    let dropped: u64 = order[kept..].iter().map(|&id| train(id)).sum();
    if kept < order.len() {
        let (count, least) = (order.len() - kept, choices.drop_rare);
        notes.push(format!("{count} values of fewer than {least} training rows count as missing ({dropped} rows)"));
    }
    order.truncate(kept);
    let often = order.partition_point(|&id| train(id) >= choices.rare).min(choices.classes);
    // A single rare value may as well keep its class.
    let own = if often + 1 == order.len() && often < choices.classes { order.len() } else { often };
    // Values that only held-out rows have cannot be drawn.
    let value = |&id: &usize| Value { text: distinct.texts[id].to_string(), count: train(id) };
    let values = order[..own].iter().map(value).collect();
    let mut rare: Vec<Value> = order[own..].iter().take(RARE_KEPT).filter(|&&id| train(id) > 0).map(value).collect();
    if own < order.len() {
        let rows: u64 = order[own..].iter().map(|&id| train(id)).sum();
        let count = order.len() - own;
        notes.push(format!(
            "{own} frequent values have a class each, {count} rare ones share one ({rows} training rows)"
        ));
        if rare.is_empty() {
            rare.extend(order[own..].first().map(|&id| Value { text: distinct.texts[id].to_string(), count: 1 }));
        }
    }
    (Categories { values, rare, missing: None }, dropped)
}

/// A number with its most frequent text and its training rows.
struct Group {
    number: f64,
    text: String,
    train: u64,
}

/// The different numbers in increasing order, and whether all are whole.
fn groups(distinct: &Distinct<'_>, present: &[usize], read: impl Fn(&str) -> Option<f64>) -> (Vec<Group>, ColumnKind) {
    let mut read: Vec<(f64, usize)> =
        present.iter().filter_map(|&id| Some((read(&distinct.texts[id])? + 0.0, id))).collect();
    read.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let mut groups: Vec<Group> = Vec::with_capacity(read.len());
    let mut most = 0;
    for (number, id) in read {
        let [all, train] = distinct.counts[id];
        match groups.last_mut() {
            Some(last) if last.number == number => {
                last.train += train;
                if all > most {
                    (most, last.text) = (all, distinct.texts[id].to_string());
                }
            }
            _ => {
                most = all;
                groups.push(Group { number, text: distinct.texts[id].to_string(), train });
            }
        }
    }
    let whole = groups.iter().all(|group| group.number.fract() == 0.0);
    (groups, if whole { ColumnKind::Integer } else { ColumnKind::Number })
}

/// Moves the least and the largest values to the first ones from outside that so many rows reach, so that no single row
/// is told by them.
fn without_extremes(mut values: Vec<(f64, u64)>, rows: u64) -> Vec<(f64, u64)> {
    for _ in 0..2 {
        let mut count = 0;
        let end = values.iter().position(|(_, of)| {
            count += of;
            count >= rows
        });
        if let Some(end) = end {
            values[end].1 = count;
            values.drain(..end);
        }
        values.reverse();
    }
    values
}

/// The classes of numbers: one for each if they are few, else one for each that is frequent, and bins of the others.
fn classes(groups: Vec<Group>, format: NumberFormat, choices: &Choices, notes: &mut Vec<String>) -> Vec<NumberClass> {
    let own = |group: Group| NumberClass::Value { number: group.number, text: group.text, count: group.train };
    let total: u64 = groups.iter().map(|group| group.train).sum();
    let few = groups.len() <= choices.bins && groups.len() as u64 * ROWS_OF_VALUE <= total;
    if few && groups.iter().all(|group| group.train >= choices.drop_rare) {
        return groups.into_iter().map(own).collect();
    }
    let least = ROWS_OF_BIN.max(choices.drop_rare);
    let bins = (choices.bins as u64).min(total / least).max(1);
    let frequent = |group: &Group| group.train >= least && group.train * bins >= total;
    let count = groups.iter().filter(|group| frequent(group)).count() as u64;
    let rest: u64 = groups.iter().filter(|group| !frequent(group)).map(|group| group.train).sum();
    let bins = bins.saturating_sub(count).min(rest / least).max(1);
    let (mut classes, mut open, mut below) = (Vec::new(), Vec::new(), 0u64);
    let (mut begun, mut made) = (0u64, 0u64);
    let close = |open: &mut Vec<(f64, u64)>, classes: &mut Vec<NumberClass>| {
        if let (Some(first), Some(last)) = (open.first(), open.last()) {
            let count = open.iter().map(|(_, count)| count).sum();
            classes.push(NumberClass::Bin {
                low: first.0,
                high: last.0,
                count,
                law: Law::of(open, format, choices.drop_rare),
            });
            open.clear();
        }
    };
    // Frequent numbers lie within bins or between them; a bin goes on on their other side.
    let (frequent, others): (Vec<Group>, Vec<Group>) = groups.into_iter().partition(frequent);
    let values: Vec<(f64, u64)> = others.iter().filter(|of| of.train > 0).map(|of| (of.number, of.train)).collect();
    for (number, count) in without_extremes(values, choices.drop_rare) {
        open.push((number, count));
        below += count;
        if below * bins >= (made + 1) * rest && below - begun >= least.min(rest) {
            close(&mut open, &mut classes);
            (made, begun) = (below * bins / rest.max(1), below);
        }
    }
    close(&mut open, &mut classes);
    let found = classes.len();
    if found == 0 {
        // Only held-out rows have other numbers.
        classes.extend(others.into_iter().map(own));
    }
    let values = frequent.len();
    classes.extend(frequent.into_iter().map(own));
    classes.sort_by(|a, b| a.numbers()[0].total_cmp(&b.numbers()[0]).then(a.numbers()[1].total_cmp(&b.numbers()[1])));
    let frequent = if values == 0 { String::new() } else { format!(" beside {values} frequent values") };
    if found > 0 {
        notes.push(format!("{found} bins{frequent}"));
    }
    classes
}
