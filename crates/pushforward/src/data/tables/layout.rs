//! The dictionary of a table: how rows become class indices, and class indices rows.

use serde::{Deserialize, Serialize};

use crate::data::DataError;
use crate::data::tables::column::{ColumnKind, TableColumn};
use crate::data::tables::conditions::Where;
use crate::data::tables::wanted::Wanted;
use crate::node_pairs::ABSENT;
use crate::rng::Stream;
use crate::structural_zeros::StructuralZeros;

/// What the columns of a table are, and what their class indices mean. Part of the [`Schema`](crate::data::Schema) of a
/// table, and so of a checkpoint. It holds values, their counts and quantiles by column, and no row.
///
/// A site of the schema is a column that is modelled; those that are constant or left out have none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TableLayout {
    pub(super) columns: Vec<TableColumn>,
    pub(super) delimiter: char,
    pub(super) header: bool,
    /// Texts that stand for what is missing.
    pub(super) missing: Vec<String>,
    /// Whether cells may be missing without a class for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) holes: bool,
    /// Pairs of classes that no training row has.
    #[serde(default, skip_serializing_if = "StructuralZeros::is_empty")]
    pub(super) zeros: StructuralZeros,
}

impl TableLayout {
    /// All columns in the order of the file.
    pub fn columns(&self) -> &[TableColumn] {
        &self.columns
    }

    /// The columns that are modelled, one for each site.
    pub fn sites(&self) -> impl Iterator<Item = &TableColumn> {
        self.columns.iter().filter(|column| column.classes() > 0)
    }

    /// The place of the column of each site in the file.
    pub fn places(&self) -> Vec<usize> {
        let places = self.columns.iter().enumerate().filter(|(_, column)| column.classes() > 0);
        places.map(|(place, _)| place).collect()
    }

    /// Whether the class of a cell that is missing is [`ABSENT`](crate::data::graph::ABSENT): no class of its column, so that samples have
    /// none ([`MissingValues::Hole`](crate::data::tables::MissingValues::Hole)).
    pub fn has_holes(&self) -> bool {
        self.holes
    }

    /// Pairs of classes that no training row has although at least `structural_zeros` rows would have them if columns were
    /// independent ([`TableConfig`](crate::data::tables::TableConfig)), and rare ones. Samples of a
    /// [trained model](crate::run::TrainedFlowMap) have none of the former.
    pub fn structural_zeros(&self) -> &StructuralZeros {
        &self.zeros
    }

    /// Whether class indices mean the same in both.
    pub(crate) fn has_classes_of(&self, other: &Self) -> bool {
        let of = |layout: &Self| Self { zeros: StructuralZeros::default(), ..layout.clone() };
        of(self) == of(other)
    }

    /// Number of classes of each site.
    pub fn class_counts(&self) -> Vec<usize> {
        self.sites().map(TableColumn::classes).collect()
    }

    /// Number of classes of the site that has most.
    pub fn classes(&self) -> usize {
        self.sites().map(TableColumn::classes).max().unwrap_or(0)
    }

    /// The site of a column, by its name in any case or its number from 1.
    ///
    /// # Errors
    /// If there is no such column, or it is not modelled.
    pub fn site(&self, column: &str) -> Result<usize, DataError> {
        let place = self.column(column)?;
        let found = &self.columns[place];
        if found.classes() == 0 {
            return Err(DataError::Column { column: found.name.clone(), problem: found.unknown("") });
        }
        Ok(self.columns[..place].iter().filter(|column| column.classes() > 0).count())
    }

    /// The place of a column in the file.
    fn column(&self, wanted: &str) -> Result<usize, DataError> {
        find(&self.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>(), wanted)
            .map_err(|problem| DataError::Column { column: wanted.to_owned(), problem })
    }

    fn at(&self, site: usize) -> &TableColumn {
        self.sites().nth(site).expect("the site of a column")
    }

    /// Whether a field stands for what is missing.
    pub fn is_missing(&self, text: &str) -> bool {
        self.missing.iter().any(|missing| missing == text.trim())
    }

    /// The class of a field of a site; of one that is missing as [`TableLayout::has_holes`] says.
    ///
    /// # Errors
    /// If the column has no such value: the nearest one, and those that it has.
    ///
    /// # Panics
    /// If there is no such site.
    pub fn encode(&self, site: usize, text: &str) -> Result<u32, DataError> {
        self.class_in(self.at(site), text)
    }

    fn class_in(&self, column: &TableColumn, text: &str) -> Result<u32, DataError> {
        let missing = self.is_missing(text);
        if missing && self.holes {
            return Ok(ABSENT);
        }
        column.encode(text, missing).map_err(|problem| DataError::Column { column: column.name.clone(), problem })
    }

    /// The classes of the fields of a row, which are those of all columns of the file, also of columns that are not
    /// modelled.
    ///
    /// # Errors
    /// If there are not as many fields as columns, or as [`TableLayout::encode`].
    pub fn encode_row<S: AsRef<str>>(&self, fields: &[S]) -> Result<Vec<u32>, DataError> {
        if fields.len() != self.columns.len() {
            let problem = format!("{} fields, and the table has {} columns", fields.len(), self.columns.len());
            return Err(DataError::Setting { key: "row", problem });
        }
        let modelled = self.columns.iter().zip(fields).filter(|(column, _)| column.classes() > 0);
        modelled.map(|(column, field)| self.class_in(column, field.as_ref())).collect()
    }

    /// A row as fields, written as the file writes them: one for each column. Numbers in bins and rare values are drawn.
    ///
    /// # Panics
    /// If there is not a class of each site.
    pub fn decode_row(&self, ids: &[u32], stream: &mut Stream) -> Vec<String> {
        self.decode(ids, &[], stream)
    }

    /// The fields of the sites of a row, without those of columns that are not modelled.
    ///
    /// # Panics
    /// As [`TableLayout::decode_row`].
    pub fn decode_sites(&self, ids: &[u32], stream: &mut Stream) -> Vec<String> {
        let fields = self.columns.iter().zip(self.decode(ids, &[], stream));
        fields.filter(|(column, _)| column.classes() > 0).map(|(_, field)| field).collect()
    }

    /// The field that is expected of a site with these probabilities of its classes: the most probable value of a
    /// category, the mean of numbers and dates.
    ///
    /// # Panics
    /// If there is not a probability of each class.
    pub fn expected(&self, site: usize, law: &[f64]) -> String {
        let column = self.at(site);
        assert_eq!(law.len(), column.classes(), "a probability of each class of column {}", column.name);
        column.expected(law)
    }

    /// A class for people: its value, or the range of its numbers.
    pub fn class_name(&self, site: usize, class: u32) -> String {
        self.at(site).class_name(class)
    }

    /// As [`TableLayout::decode_row`], with what is drawn within a condition that the classes allow.
    ///
    /// # Errors
    /// As [`TableLayout::classes_where`].
    ///
    /// # Panics
    /// As [`TableLayout::decode_row`].
    pub fn decode_row_within(
        &self,
        ids: &[u32],
        condition: &Where,
        stream: &mut Stream,
    ) -> Result<Vec<String>, DataError> {
        let wanted = self.resolve(condition)?;
        Ok(self.decode(ids, &wanted, stream))
    }

    fn decode(&self, ids: &[u32], wanted: &[Option<Wanted>], stream: &mut Stream) -> Vec<String> {
        let mut sites = ids.iter().enumerate();
        let fields = self.columns.iter().map(|column| {
            if column.classes() == 0 {
                return column.decode(0, None, stream);
            }
            let (site, &class) = sites.next().expect("a class for each site");
            column.decode(class, wanted.get(site).and_then(Option::as_ref), stream)
        });
        let fields = fields.collect();
        assert!(sites.next().is_none(), "{} classes for {} sites", ids.len(), self.sites().count());
        fields
    }

    /// The number that a field of a site stands for: itself, or days or seconds since 1970 of a date. `None` if the
    /// column is categorical, the field is missing or no number.
    pub fn number_of(&self, site: usize, text: &str) -> Option<f64> {
        if self.is_missing(text) { None } else { self.at(site).number_of(text) }
    }

    /// For each site, the share of every class that a condition allows, from 0 to 1; `None` for sites without a
    /// condition. A bin that is partly in a range has the share of its law that is inside.
    ///
    /// # Errors
    /// If a column or a value is unknown, or no class is allowed.
    pub fn classes_where(&self, condition: &Where) -> Result<Vec<Option<Vec<f64>>>, DataError> {
        let wanted = self.resolve(condition)?;
        let weights = self.sites().zip(wanted).map(|(column, wanted)| {
            let Some(wanted) = wanted else { return Ok(None) };
            let weights = column.weights(&wanted);
            if weights.iter().all(|&weight| weight == 0.0) {
                let problem = format!("no value fulfils the condition; {}", column.unknown("").trim_start());
                return Err(DataError::Column { column: column.name.clone(), problem });
            }
            Ok(Some(weights))
        });
        weights.collect()
    }

    /// The line of the header, if the file has one.
    pub fn heading(&self) -> Option<String> {
        let names: Vec<&str> = self.columns.iter().map(|column| column.name.as_str()).collect();
        self.header.then(|| self.line(&names))
    }

    /// A row as a line of a file of the same form, with quotes where they are needed.
    pub fn line<S: AsRef<str>>(&self, fields: &[S]) -> String {
        let quote = |field: &S| {
            let field = field.as_ref();
            let special = |c: char| c == self.delimiter || matches!(c, '"' | '\n');
            // A line that begins with # would be a comment.
            let padded = field.trim().len() < field.len()
                || field.starts_with('#')
                || (self.delimiter == ' ' && field.is_empty());
            if field.contains(special) || padded {
                format!("\"{}\"", field.replace('"', "\"\""))
            } else {
                field.to_owned()
            }
        };
        fields.iter().map(quote).collect::<Vec<_>>().join(&self.delimiter.to_string())
    }

    /// Checks that this is a dictionary that [`TableLayout::decode_row`] can use: a file may hold anything.
    pub(crate) fn check(&self, sites: usize, classes: usize) -> Result<(), String> {
        if self.sites().count() != sites || self.classes() != classes {
            let (has, most) = (self.sites().count(), self.classes());
            return Err(format!(
                "a table of {has} modelled columns of up to {most} classes does not have {sites} sites of {classes} classes"
            ));
        }
        if let Some(column) = self.columns.iter().find(|column| !column.is_sound()) {
            return Err(format!("the classes of column `{}` are none", column.name));
        }
        if self.zeros.sites() > sites {
            return Err(format!("structural zeros of {} sites, and there are {sites}", self.zeros.sites()));
        }
        Ok(())
    }

    /// What a condition asks of each site.
    fn resolve(&self, condition: &Where) -> Result<Vec<Option<Wanted>>, DataError> {
        let mut wanted: Vec<Option<Wanted>> = vec![None; self.sites().count()];
        for term in &condition.terms {
            let site = self.site(&term.column)?;
            let asked = term.resolve(self.at(site), &self.missing)?;
            wanted[site] = Some(match wanted[site].take() {
                None => asked,
                Some(before) => before.and(&asked).ok_or_else(|| {
                    let problem = "has conditions that cannot be joined; write one, with in (...) or a range".into();
                    DataError::Column { column: term.column.clone(), problem }
                })?,
            });
        }
        Ok(wanted)
    }
}

/// The place of a name: as it is, in any case, or as a number from 1.
///
/// # Errors
/// The names, the nearest first.
pub(super) fn find(names: &[&str], wanted: &str) -> Result<usize, String> {
    let wanted = wanted.trim();
    let same = |name: &&str| *name == wanted;
    let alike = |name: &&str| name.trim().eq_ignore_ascii_case(wanted);
    let numbered = || wanted.parse::<usize>().ok().filter(|number| (1..=names.len()).contains(number)).map(|n| n - 1);
    let found = names.iter().position(same).or_else(|| names.iter().position(alike)).or_else(numbered);
    found.ok_or_else(|| {
        let near = names.iter().map(|name| (strsim::jaro_winkler(&name.to_lowercase(), &wanted.to_lowercase()), name));
        let near = near.filter(|(score, _)| *score > 0.8).max_by(|a, b| a.0.total_cmp(&b.0));
        let near = near.map_or(String::new(), |(_, name)| format!(" (did you mean `{name}`?)"));
        let shown: Vec<String> = names.iter().take(30).map(|name| format!("`{name}`")).collect();
        let more = if names.len() > 30 { format!(" and {} more", names.len() - 30) } else { String::new() };
        format!("is not a column of the table{near}; its columns are {}{more}", shown.join(", "))
    })
}

impl ColumnKind {
    /// The kind as a recipe spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Categorical => "categorical",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Date => "date",
            Self::Constant => "constant",
            Self::Skipped => "skip",
        }
    }
}
