//! A column of a table: what its class indices mean, and how they become fields again.

use serde::{Deserialize, Serialize};

use crate::data::tables::dates::DateFormat;
use crate::data::tables::law::{Interval, Law};
use crate::data::tables::numbers::{self, NumberFormat};
use crate::data::tables::wanted::Wanted;
use crate::node_pairs::ABSENT;
use crate::rng::Stream;

/// What kind a column is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ColumnKind {
    /// Values without an order.
    Categorical,
    /// Whole numbers.
    Integer,
    /// Numbers.
    Number,
    /// Dates, with times or without.
    Date,
    /// One value in all rows.
    Constant,
    /// Left out; its fields are written empty.
    Skipped,
}

/// A column of a table, with the meaning of its classes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TableColumn {
    pub(super) name: String,
    pub(super) content: Content,
    /// What stands in cells that are missing, where that is no class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) hole: Option<Value>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Content {
    Skipped,
    Constant { text: String },
    Categories(Categories),
    Numbers(Numbers),
}

/// A value as it is written, with the number of training rows that have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Value {
    pub(super) text: String,
    pub(super) count: u64,
}

/// Classes: the values, then the rare ones together, then what is missing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Categories {
    pub(super) values: Vec<Value>,
    /// Values that share a class; the rarest of very many are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) rare: Vec<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) missing: Option<Value>,
}

/// Classes: numbers in increasing order, then what is missing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Numbers {
    pub(super) kind: ColumnKind,
    pub(super) format: NumberFormat,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) date: Option<DateFormat>,
    pub(super) classes: Vec<NumberClass>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) missing: Option<Value>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum NumberClass {
    /// A number that has a class of its own.
    Value { number: f64, text: String, count: u64 },
    /// The other numbers above the bin before, up to `high`.
    Bin { low: f64, high: f64, count: u64, law: Law },
}

impl TableColumn {
    /// The name in the header, or the number of the column from 1.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What kind it is of.
    pub fn kind(&self) -> ColumnKind {
        match &self.content {
            Content::Skipped => ColumnKind::Skipped,
            Content::Constant { .. } => ColumnKind::Constant,
            Content::Categories(_) => ColumnKind::Categorical,
            Content::Numbers(numbers) => numbers.kind,
        }
    }

    /// Number of classes; none if the column is constant or left out.
    pub fn classes(&self) -> usize {
        match &self.content {
            Content::Skipped | Content::Constant { .. } => 0,
            Content::Categories(of) => {
                of.values.len() + usize::from(!of.rare.is_empty()) + usize::from(of.missing.is_some())
            }
            Content::Numbers(of) => of.classes.len() + usize::from(of.missing.is_some()),
        }
    }

    /// The number that a field stands for, dates as days or seconds since 1970; `None` if it is missing or no number.
    pub fn number_of(&self, text: &str) -> Option<f64> {
        match &self.content {
            Content::Numbers(of) => of.number(text.trim()),
            _ => None,
        }
    }

    /// Share of each class among the training rows that have one; zeros if none has.
    pub(crate) fn shares(&self) -> Vec<f64> {
        let counts: Vec<u64> = match &self.content {
            Content::Skipped | Content::Constant { .. } => Vec::new(),
            Content::Categories(of) => {
                let rare = (!of.rare.is_empty()).then(|| of.rare.iter().map(|value| value.count).sum());
                of.values.iter().map(|value| value.count).chain(rare).collect()
            }
            Content::Numbers(of) => of.classes.iter().map(NumberClass::count).collect(),
        };
        let counts: Vec<f64> =
            counts.into_iter().chain(self.missing().map(|value| value.count)).map(|count| count as f64).collect();
        let total = counts.iter().sum::<f64>().max(1.0);
        counts.into_iter().map(|count| count / total).collect()
    }

    /// Number of training rows in which the value is missing.
    pub fn missing_rows(&self) -> u64 {
        self.missing().or(self.hole.as_ref()).map_or(0, |value| value.count)
    }

    /// What the column holds, for people: the most frequent values, or the range of its numbers.
    pub fn examples(&self) -> String {
        match &self.content {
            Content::Skipped => String::new(),
            Content::Constant { text } => text.clone(),
            Content::Categories(of) => {
                let values: Vec<&str> = of.values.iter().take(4).map(|value| value.text.as_str()).collect();
                let more = if of.values.len() + of.rare.len() > values.len() { ", ..." } else { "" };
                values.join(", ") + more
            }
            Content::Numbers(of) => {
                let [low, high] = of.range();
                format!("{} to {}", of.write(low), of.write(high))
            }
        }
    }

    fn missing(&self) -> Option<&Value> {
        match &self.content {
            Content::Categories(of) => of.missing.as_ref(),
            Content::Numbers(of) => of.missing.as_ref(),
            _ => None,
        }
    }

    /// Takes away the class of what is missing.
    pub(super) fn take_missing(&mut self) -> Option<Value> {
        match &mut self.content {
            Content::Categories(of) => of.missing.take(),
            Content::Numbers(of) => of.missing.take(),
            _ => None,
        }
    }

    /// The class of what is missing.
    pub fn missing_class(&self) -> Option<u32> {
        self.missing().map(|_| self.classes() as u32 - 1)
    }

    /// What a class stands for, for people: a value, a range of numbers, `rare` or `missing`.
    ///
    /// # Panics
    /// If there is no such class.
    pub fn class_name(&self, class: u32) -> String {
        assert!((class as usize) < self.classes(), "class {class} of {} in column {}", self.classes(), self.name);
        if Some(class) == self.missing_class() {
            return "missing".to_owned();
        }
        match &self.content {
            Content::Skipped | Content::Constant { .. } => String::new(),
            Content::Categories(of) => {
                of.values.get(class as usize).map_or_else(|| "rare".to_owned(), |value| value.text.clone())
            }
            Content::Numbers(of) => match &of.classes[class as usize] {
                NumberClass::Value { text, .. } => text.clone(),
                NumberClass::Bin { low, high, .. } => format!("{}..{}", of.write(*low), of.write(*high)),
            },
        }
    }

    /// The class of a field that is not missing; `None` if it has none.
    pub(super) fn class_of(&self, text: &str) -> Option<u32> {
        match &self.content {
            Content::Skipped | Content::Constant { .. } => None,
            Content::Categories(of) => {
                let place = of.values.iter().position(|value| value.text == text);
                let rare = || of.rare.iter().any(|value| value.text == text).then_some(of.values.len());
                place.or_else(rare).map(|class| class as u32)
            }
            Content::Numbers(of) => of.class_of(of.number(text)?),
        }
    }

    /// Whether its classes do not tell all numbers.
    pub(super) fn has_bins(&self) -> bool {
        let bin = |class: &NumberClass| matches!(class, NumberClass::Bin { .. });
        matches!(&self.content, Content::Numbers(of) if of.classes.iter().any(bin))
    }

    /// The class of a field of a row that may not be among those which the classes are made from: rare, or missing, if it is
    /// none of them. `held_out` says whether it is a row that is not trained on.
    pub(super) fn nearest_class(&self, text: &str, is_missing: bool, held_out: bool) -> Option<u32> {
        if is_missing {
            return self.missing_class();
        }
        let other = || match &self.content {
            Content::Categories(of) => {
                // As in the test part of Adult.
                let stop = text.strip_suffix('.').filter(|_| held_out).and_then(|text| self.class_of(text));
                stop.or_else(|| (!of.rare.is_empty()).then_some(of.values.len() as u32))
            }
            _ => None,
        };
        self.class_of(text).or_else(other).or_else(|| self.missing_class())
    }

    /// The class of a field.
    ///
    /// # Errors
    /// What is wrong with it, and what is known.
    pub(super) fn encode(&self, text: &str, is_missing: bool) -> Result<u32, String> {
        let text = text.trim();
        let missing = self.missing().filter(|value| is_missing || value.text == text);
        if let Some(class) = missing.and_then(|_| self.missing_class()) {
            return Ok(class);
        }
        self.class_of(text).ok_or_else(|| self.unknown(text))
    }

    /// What is wrong with a field that has no class.
    pub(super) fn unknown(&self, text: &str) -> String {
        match &self.content {
            Content::Skipped => "is left out of the model".to_owned(),
            Content::Constant { text } => format!("has the value {text:?} in all rows and is not modelled"),
            Content::Categories(of) => {
                let known = || of.values.iter().chain(&of.rare).map(|value| value.text.as_str());
                let near =
                    known().map(|known| (strsim::jaro_winkler(&known.to_lowercase(), &text.to_lowercase()), known));
                let near = near.filter(|(score, _)| *score > 0.8).max_by(|a, b| a.0.total_cmp(&b.0));
                let near = near.map_or(String::new(), |(_, known)| format!(" (did you mean {known:?}?)"));
                let shown: Vec<String> = known().take(12).map(|known| format!("{known:?}")).collect();
                let more = known().count() - shown.len();
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                format!("has no value {text:?}{near}; its values are {}{more}", shown.join(", "))
            }
            Content::Numbers(of) => match of.number(text) {
                Some(number) => {
                    let values = of.classes.iter().map(|class| class.numbers()[0]);
                    let near = values.min_by(|a, b| (a - number).abs().total_cmp(&(b - number).abs()));
                    let near = near.map_or(String::new(), |near| format!("; the nearest is {}", of.write(near)));
                    format!("has no value {text}{near}")
                }
                None => {
                    let what = if of.date.is_some() { "date" } else { "number" };
                    let [low, high] = of.range();
                    format!(
                        "has {what}s, and {text:?} is none; they lie between {} and {}{}",
                        of.write(low),
                        of.write(high),
                        if of.missing.is_some() { ", or are missing" } else { "" }
                    )
                }
            },
        }
    }

    /// A field of a class, among those that are wanted.
    ///
    /// # Panics
    /// If there is no such class.
    /// See [`TableLayout::expected`](crate::data::tables::TableLayout::expected).
    pub(super) fn expected(&self, law: &[f64]) -> String {
        if let Content::Numbers(of) = &self.content {
            let parts = || law.iter().zip(&of.classes);
            let total: f64 = parts().map(|(p, _)| p).sum();
            if total > 0.0 {
                let mean = parts().map(|(p, class)| p * class.mean()).sum::<f64>() / total;
                return of.write(of.format.round(mean));
            }
        }
        let best = (0..).zip(law).max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(class, _)| class);
        match &self.content {
            // The rare value that is the most frequent.
            Content::Categories(of) if best as usize == of.values.len() && !of.rare.is_empty() => {
                of.rare[0].text.clone()
            }
            _ => self.class_name(best),
        }
    }

    pub(super) fn decode(&self, class: u32, wanted: Option<&Wanted>, stream: &mut Stream) -> String {
        if class == ABSENT {
            return self.hole.as_ref().map_or(String::new(), |value| value.text.clone());
        }
        let class = class as usize;
        if Some(class as u32) == self.missing_class() {
            return self.missing().map_or(String::new(), |value| value.text.clone());
        }
        match &self.content {
            Content::Skipped => String::new(),
            Content::Constant { text } => text.clone(),
            Content::Categories(of) => match of.values.get(class) {
                Some(value) => value.text.clone(),
                None => {
                    assert!(class == of.values.len(), "class {class} of {} in column {}", self.classes(), self.name);
                    draw(&of.rare, wanted, stream)
                }
            },
            Content::Numbers(of) => of.decode(class, wanted, stream),
        }
    }

    /// The share of each class that is wanted.
    pub(super) fn weights(&self, wanted: &Wanted) -> Vec<f64> {
        let missing = self.missing().map(|_| f64::from(u8::from(wanted.missing())));
        let classes: Vec<f64> = match &self.content {
            Content::Skipped | Content::Constant { .. } => Vec::new(),
            Content::Categories(of) => {
                let values = of.values.iter().map(|value| f64::from(u8::from(wanted.has_text(&value.text))));
                let total: u64 = of.rare.iter().map(|value| value.count).sum();
                let rare = of.rare.iter().filter(|value| wanted.has_text(&value.text));
                let rare = rare.map(|value| value.count).sum::<u64>() as f64 / total.max(1) as f64;
                values.chain((!of.rare.is_empty()).then_some(rare)).collect()
            }
            Content::Numbers(of) => of.classes.iter().map(|class| of.weight(class, wanted)).collect(),
        };
        classes.into_iter().chain(missing).collect()
    }

    /// Whether the classes are in order and their numbers finite, so that nothing can panic.
    pub(super) fn is_sound(&self) -> bool {
        match &self.content {
            Content::Skipped | Content::Constant { .. } => true,
            Content::Categories(of) => {
                self.classes() > 0 && (of.rare.is_empty() || total(&of.rare).is_some_and(|n| n > 0))
            }
            Content::Numbers(of) => {
                let bound = of.format.is_sound() && of.date.as_ref().is_none_or(DateFormat::is_sound);
                bound && self.classes() > 0 && of.classes.iter().all(NumberClass::is_sound)
            }
        }
    }
}

fn total(values: &[Value]) -> Option<u64> {
    values.iter().try_fold(0u64, |sum, value| sum.checked_add(value.count))
}

/// Draws among values by their counts.
fn draw(values: &[Value], wanted: Option<&Wanted>, stream: &mut Stream) -> String {
    let inside = || values.iter().filter(|value| wanted.is_none_or(|wanted| wanted.has_text(&value.text)));
    let total: u64 = inside().map(|value| value.count).sum();
    let mut left = stream.uniform() * total as f64;
    for value in inside() {
        left -= value.count as f64;
        if left < 0.0 {
            return value.text.clone();
        }
    }
    // Nothing is wanted: any will do.
    inside().next_back().or(values.last()).map_or(String::new(), |value| value.text.clone())
}

impl NumberClass {
    fn mean(&self) -> f64 {
        match self {
            Self::Value { number, .. } => *number,
            Self::Bin { law, .. } => law.mean(),
        }
    }

    fn count(&self) -> u64 {
        match self {
            Self::Value { count, .. } | Self::Bin { count, .. } => *count,
        }
    }

    /// The least and the largest number.
    pub(super) fn numbers(&self) -> Interval {
        match self {
            Self::Value { number, .. } => [*number; 2],
            Self::Bin { low, high, .. } => [*low, *high],
        }
    }

    fn is_sound(&self) -> bool {
        let [low, high] = self.numbers();
        let law = match self {
            Self::Bin { law, .. } => law.is_sound(),
            Self::Value { .. } => true,
        };
        low.is_finite() && high.is_finite() && low <= high && law
    }
}

impl Numbers {
    pub(super) fn number(&self, text: &str) -> Option<f64> {
        match &self.date {
            Some(date) => date.number(text),
            None => numbers::number_in(text, self.format.comma).filter(|number| number.is_finite()),
        }
    }

    pub(super) fn write(&self, number: f64) -> String {
        match &self.date {
            Some(date) => date.write(number),
            None => self.format.write(number),
        }
    }

    /// The least and the largest number of the column.
    pub(super) fn range(&self) -> Interval {
        let ends = self.classes.iter().map(NumberClass::numbers);
        ends.fold([f64::INFINITY, f64::NEG_INFINITY], |a, b| [a[0].min(b[0]), a[1].max(b[1])])
    }

    /// The class of a number: its own, or that of the first bin up to it; the last bin has all numbers above.
    pub(super) fn class_of(&self, number: f64) -> Option<u32> {
        let own = |class: &NumberClass| matches!(class, NumberClass::Value { number: own, .. } if *own == number);
        let bins = || self.classes.iter().enumerate().filter(|(_, class)| matches!(class, NumberClass::Bin { .. }));
        let up_to = || bins().find(|(_, class)| number <= class.numbers()[1]).or_else(|| bins().next_back());
        let class = self.classes.iter().position(own).or_else(|| up_to().map(|(class, _)| class))?;
        Some(class as u32)
    }

    /// The parts of a bin that are wanted, as bounds of numbers of the format.
    fn parts(&self, low: f64, high: f64, wanted: Option<&Wanted>) -> Vec<Interval> {
        let all = [[f64::NEG_INFINITY, f64::INFINITY]];
        let intervals = wanted.map_or(&all[..], Wanted::intervals);
        let cut = intervals.iter().map(|&[from, to]| self.format.inward(from.max(low), to.min(high)));
        cut.filter(|[from, to]| from <= to).collect()
    }

    fn weight(&self, class: &NumberClass, wanted: &Wanted) -> f64 {
        match class {
            NumberClass::Value { number, .. } => f64::from(u8::from(wanted.has_number(*number))),
            NumberClass::Bin { low, high, law, .. } => {
                let whole = wanted.intervals().iter().any(|[from, to]| from <= low && to >= high);
                let parts = self.parts(*low, *high, Some(wanted));
                let share = parts.iter().map(|&part| law.share(part, self.format)).sum::<f64>();
                if whole { 1.0 } else { share.min(1.0) }
            }
        }
    }

    fn decode(&self, class: usize, wanted: Option<&Wanted>, stream: &mut Stream) -> String {
        match &self.classes[class] {
            NumberClass::Value { text, .. } => text.clone(),
            NumberClass::Bin { low, high, law, .. } => {
                let parts = self.parts(*low, *high, wanted);
                let shares: Vec<f64> = parts.iter().map(|&part| law.share(part, self.format)).collect();
                let total: f64 = shares.iter().sum();
                if total <= 0.0 {
                    return self.write(law.draw([*low, *high], self.format, stream));
                }
                let mut chosen = parts.len() - 1;
                if parts.len() > 1 {
                    let mut left = stream.uniform() * total;
                    for (part, share) in shares.iter().enumerate() {
                        left -= share;
                        if left < 0.0 {
                            chosen = part;
                            break;
                        }
                    }
                }
                self.write(law.draw(parts[chosen], self.format, stream))
            }
        }
    }
}
