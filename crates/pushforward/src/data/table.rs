//! The one reader of tables that are kept as rows of fields, with the line where each row begins. How lines are split
//! is in [`fields`].

use std::path::Path;

use super::DataError;
use super::fields::{self, Delimiter, delimiter, skip_comments, unclosed};

/// A row and the line where it begins, from 1.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) line: u64,
    pub(crate) fields: Vec<String>,
}

/// The rows of a file; blank lines are none.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) delimiter: Delimiter,
    pub(crate) rows: Vec<Row>,
    /// The character between fields, which may be quoted; `None` for words.
    pub(crate) split: Option<u8>,
    /// Number of comments before the first row.
    pub(crate) comments: usize,
}

impl Table {
    /// Reads a table. `path` names it in errors.
    ///
    /// # Errors
    /// The line where a quote opens that is not closed where a field ends.
    pub(crate) fn read(text: &str, path: &Path) -> Result<Self, DataError> {
        let (head, body, comments) = skip_comments(text);
        let first_line = head.matches('\n').count() as u64 + 1;
        Ok(Self { comments, ..Self::later(body, path, Self::form(text), first_line)? })
    }

    /// What is between fields, and the character between those that may be quoted.
    pub(crate) fn form(text: &str) -> (Delimiter, Option<u8>) {
        let (_, body, _) = skip_comments(text);
        let delimiter = delimiter(body);
        let split = match delimiter {
            Delimiter::Character(delimiter) => Some(delimiter),
            // A table of one column may be quoted.
            Delimiter::Spaces => body.starts_with('"').then_some(b','),
        };
        (delimiter, split)
    }

    /// Reads rows of a table of a known form, from a line on.
    ///
    /// # Errors
    /// As [`Table::read`].
    pub(crate) fn later(
        text: &str,
        path: &Path,
        (delimiter, split): (Delimiter, Option<u8>),
        first_line: u64,
    ) -> Result<Self, DataError> {
        let rows = match split {
            Some(split) => quoted_rows(text, split, first_line, path)?,
            None => words(text, first_line),
        };
        Ok(Self { delimiter, rows, split, comments: 0 })
    }

    /// Checks that no quoted field holds whole rows, which its quotes, meant for two fields, would swallow: lines with as
    /// many fields as the first row, whose field in a column is `like` those of the column.
    ///
    /// # Errors
    /// The line where such a field opens.
    pub(crate) fn check_swallowed(
        &self,
        column: usize,
        like: impl Fn(&str) -> bool,
        path: &Path,
    ) -> Result<(), DataError> {
        let (Delimiter::Character(delimiter), Some(first)) = (self.delimiter, self.rows.first()) else { return Ok(()) };
        for row in &self.rows {
            let mut line = row.line;
            for field in &row.fields {
                let lines = field.split('\n').skip(1);
                let swallowed = lines.filter(|line| {
                    let fields: Vec<&str> = line.split(char::from(delimiter)).collect();
                    fields.len() == first.fields.len() && like(fields[column.min(fields.len() - 1)].trim())
                });
                let swallowed = swallowed.count();
                if swallowed > 0 {
                    let found = format!("{swallowed} lines that look like rows before the next quote");
                    return Err(unclosed(path, line, found));
                }
                line += field.matches('\n').count() as u64;
            }
        }
        Ok(())
    }

    /// The largest number of fields of a row.
    pub(crate) fn width(&self) -> usize {
        self.rows.iter().map(|row| row.fields.len()).max().unwrap_or(0)
    }
}

fn words(body: &str, first_line: u64) -> Vec<Row> {
    let lines = body.lines().zip(first_line..).filter(|(line, _)| !line.trim().is_empty());
    lines.map(|(text, line)| Row { line, fields: text.split_whitespace().map(str::to_owned).collect() }).collect()
}

fn quoted_rows(body: &str, delimiter: u8, first_line: u64, path: &Path) -> Result<Vec<Row>, DataError> {
    let mut rows = Vec::new();
    fields::split(body, delimiter, first_line, path, |line, starts| {
        let fields: Vec<String> =
            starts.iter().map(|&start| fields::field(body, start, delimiter).into_owned()).collect();
        if fields.iter().any(|field| !field.is_empty()) {
            rows.push(Row { line, fields });
        }
        Ok(())
    })?;
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Table {
        Table::read(text, Path::new("t.csv")).unwrap()
    }

    fn rows(text: &str) -> Vec<(u64, Vec<String>)> {
        read(text).rows.into_iter().map(|row| (row.line, row.fields)).collect()
    }

    fn row(line: u64, fields: &[&str]) -> (u64, Vec<String>) {
        (line, fields.iter().map(|&field| field.to_owned()).collect())
    }

    #[test]
    fn delimiters_are_found() {
        for (text, name) in [
            ("a,b\n1,2\n", "commas"),
            ("a\tb, c\n1\t2\n", "tabs"),
            ("a;b\n1,5;2\n3;4\n", "semicolons"),
            ("a|b\n1|2\n", "vertical bars"),
            ("CCO 1\nCC two words\n", "spaces"),
            ("CCO\n", "spaces"),
            ("CCO |&1:0,r|\nCC |&1:0,r|\n", "spaces"),
            ("smiles,x\n\"CC\n\",1\n\"C\n\",2\n", "commas"),
        ] {
            assert_eq!(read(text).delimiter.name(), name, "{text:?}");
        }
    }

    #[test]
    fn rows_keep_their_lines_through_comments_quotes_and_blank_lines() {
        let text = "# made by\n\n#\nid,smiles\n1,\"C,\"\"C\n\"\n\n2,N\n3\n";
        assert_eq!(read(text).comments, 2);
        let expected = [row(4, &["id", "smiles"]), row(5, &["1", "C,\"C"]), row(8, &["2", "N"]), row(9, &["3"])];
        assert_eq!(rows(text), expected);
        assert_eq!(rows("#smiles\tid\nC\t1\n"), [row(1, &["smiles", "id"]), row(2, &["C", "1"])]);
        assert_eq!(rows("\"smiles\"\n\"C\"\n"), [row(1, &["smiles"]), row(2, &["C"])]);
        assert_eq!(rows("sep=;\na;b\n1;2\n"), [row(2, &["a", "b"]), row(3, &["1", "2"])]);
        assert!(rows("").is_empty());
    }

    #[test]
    fn quotes_that_swallow_rows_are_errors_at_the_line_where_they_open() {
        for (text, line) in [
            ("a,b\n1,\"2\n3,4\n5,6\n", 2),
            ("a,b\n1,2\n3,\"4\n5,6\n7,\"8\"\n", 3),
            ("# note\n\na\tb\n1\t2\n\"3\t4\n", 5),
            ("\"smiles\n\"C\"\n", 1),
        ] {
            let message = Table::read(text, Path::new("t.csv")).unwrap_err().to_string();
            assert!(
                message.contains(&format!("t.csv, line {line}:")) && message.contains("quote"),
                "{text:?} {message}"
            );
        }
        // Quotes that were meant for two fields.
        for (text, line) in [("a,b\n1,2\n\"3,4\n5,6\n7\",8\n", 3), ("a,b\n1,\"2\n3,4\"\n", 2)] {
            let swallowed = read(text).check_swallowed(0, |field| field.parse::<u8>().is_ok(), Path::new("t.csv"));
            let message = swallowed.unwrap_err().to_string();
            assert!(message.contains(&format!("line {line}:")) && message.contains("look like rows"), "{message}");
        }
        let remarks = read("a,b\n1,\"first,\nsecond, third\nfourth\"\n");
        assert!(remarks.check_swallowed(0, |field| field.parse::<u8>().is_ok(), Path::new("t.csv")).is_ok());
        // An inch sign within a field is no quote.
        assert_eq!(rows("a,b\n5\",2\n")[1], row(2, &["5\"", "2"]));
    }
}
