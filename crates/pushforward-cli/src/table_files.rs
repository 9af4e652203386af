//! Rows of tables as files and on the screen.

use pushforward::data::tables::{ColumnKind, TableFile, TableLayout, Where};
use pushforward::rng::{Purpose, stream};

use crate::exit::{Failure, OrFail as _};

/// Widest column of a preview, in characters.
const WIDEST: usize = 18;

/// How classes become rows: the numbers in bins and the rare values are drawn from streams of the row's index.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowWriter<'a> {
    pub(crate) layout: &'a TableLayout,
    /// What is drawn lies within this condition.
    pub(crate) condition: Option<&'a Where>,
    pub(crate) seed: u64,
    /// Index of the first row.
    pub(crate) first: u64,
    /// Rows whose fields are kept, in turn.
    pub(crate) given: Option<&'a TableFile>,
}

impl RowWriter<'_> {
    /// Rows as fields, one for each column of the file.
    pub(crate) fn rows(&self, ids: &[u32], sites: usize) -> Result<Vec<Vec<String>>, Failure> {
        let places = self.layout.places();
        let row = |(i, item): (usize, &[u32])| {
            let index = self.first + i as u64;
            let mut stream = stream(self.seed, Purpose::Decode, index);
            let mut row = match self.condition {
                Some(condition) => self.layout.decode_row_within(item, condition, &mut stream).or_request()?,
                None => self.layout.decode_row(item, &mut stream),
            };
            if let Some(given) = self.given {
                let from = (index % given.rows() as u64) as usize;
                for (site, &place) in places.iter().enumerate() {
                    if let Some(field) = given.field(from, site).filter(|field| !self.layout.is_missing(field)) {
                        row[place] = field.into_owned();
                    }
                }
            }
            Ok(row)
        };
        ids.chunks(sites).enumerate().map(row).collect()
    }
}

/// A file of the same form as the one that the model was trained on.
pub(crate) fn csv(layout: &TableLayout, rows: &[Vec<String>]) -> String {
    let heading = layout.heading().into_iter();
    heading.chain(rows.iter().map(|row| layout.line(row))).map(|line| line + "\n").collect()
}

/// The columns of a row as JSON: numbers as numbers, what is missing as null.
pub(crate) fn object(layout: &TableLayout, row: &[String]) -> serde_json::Map<String, serde_json::Value> {
    let value = |(column, field): (&pushforward::data::tables::TableColumn, &String)| {
        let number = matches!(column.kind(), ColumnKind::Integer | ColumnKind::Number);
        let value = match field.parse::<serde_json::Number>() {
            _ if layout.is_missing(field) => serde_json::Value::Null,
            Ok(found) if number => found.into(),
            _ => field.as_str().into(),
        };
        (column.name().to_owned(), value)
    };
    layout.columns().iter().zip(row).map(value).collect()
}

/// A text of at most `widest` characters, the last of them an ellipsis if there were more.
pub(crate) fn cut(text: &str, widest: usize) -> String {
    if text.chars().count() <= widest {
        text.to_owned()
    } else {
        text.chars().take(widest - 1).chain(['…']).collect()
    }
}

/// Rows in columns of equal width, with their names.
pub(crate) fn aligned(layout: &TableLayout, rows: &[Vec<String>]) -> String {
    let names: Vec<String> = layout.columns().iter().map(|column| column.name().to_owned()).collect();
    let table: Vec<Vec<String>> =
        std::iter::once(&names).chain(rows).map(|row| row.iter().map(|field| cut(field, WIDEST)).collect()).collect();
    let width = |place: usize| table.iter().map(|row| row[place].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..names.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let fields = row.iter().zip(&widths).map(|(field, &width)| format!("{field:<width$}"));
        fields.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    table.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use pushforward::data::{DataConfig, Layout};

    use super::*;

    fn layout() -> TableLayout {
        let folder = tempfile::tempdir().unwrap();
        let row = |i: usize| {
            format!("{},{},{}\n", i % 7, ["a b", "x,\"y\"", "?"][i % 3].replace("x,\"y\"", "\"x,\"\"y\"\"\""), i % 500)
        };
        let text: String = std::iter::once("n,word,value\n".to_owned()).chain((0..600).map(row)).collect();
        std::fs::write(folder.path().join("t.csv"), text).unwrap();
        let config: DataConfig = toml::from_str("set = 'table'\npath = 't.csv'").unwrap();
        let splits = config.load(folder.path(), 0).unwrap();
        let Layout::Columns(layout) = splits.schema().layout.clone() else { panic!("a table") };
        layout
    }

    #[test]
    fn rows_have_the_form_of_the_file_and_do_not_depend_on_their_neighbours() {
        let layout = layout();
        let ids = [["3", "a b", "100"], ["5", "x,\"y\"", "499"], ["0", "?", "7"]];
        let ids: Vec<u32> = ids.iter().flat_map(|row| layout.encode_row(row).unwrap()).collect();
        let writer = RowWriter { layout: &layout, condition: None, seed: 3, first: 0, given: None };
        let rows = writer.rows(&ids, 3).unwrap();
        let last = RowWriter { first: 2, ..writer }.rows(&ids[6..], 3).unwrap();
        assert_eq!(last[0], rows[2]);
        let text = csv(&layout, &rows);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines.len(), lines[0]), (4, "n,word,value"));
        assert!(lines[2].starts_with("5,\"x,\"\"y\"\"\","), "{text}");
        let object = object(&layout, &rows[2]);
        assert_eq!((object["n"].as_u64(), object["word"].is_null()), (Some(0), true));
        assert!(aligned(&layout, &rows).lines().nth(1).unwrap().starts_with("3  a b"));
    }
}
