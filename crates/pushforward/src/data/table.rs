//! The one reader of tables: rows of fields, with the line where each row begins.
//!
//! The delimiter is found among comma, tab, semicolon and `|`: the one that most lines have as often as the first line
//! has. A file in which none does is read as words between spaces. Fields may be quoted, and quoted ones may hold
//! delimiters and line breaks. Comments, lines that begin with `#`, may come before the first row.
//!
//! A quote that is not closed, or that closes where another field was meant to begin, would swallow rows without a
//! word; each such quote is an error that names the line where it opens.

use std::path::Path;

use super::DataError;

/// Lines that decide the delimiter.
const LOOKED_AT: usize = 200;

/// What separates the fields of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delimiter {
    Character(u8),
    /// Any number of spaces and tabs, or one field in each line.
    Spaces,
}

impl Delimiter {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Character(b'\t') => "tabs",
            Self::Character(b';') => "semicolons",
            Self::Character(b'|') => "vertical bars",
            Self::Character(_) => "commas",
            Self::Spaces => "spaces",
        }
    }
}

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
        let delimiter = delimiter(body);
        let first_line = head.matches('\n').count() as u64 + 1;
        let quoted = body.starts_with('"');
        let rows = match delimiter {
            Delimiter::Character(delimiter) => fields(body, delimiter, first_line, path)?,
            // A table of one column may be quoted.
            Delimiter::Spaces if quoted => fields(body, b',', first_line, path)?,
            Delimiter::Spaces => words(body, first_line),
        };
        Ok(Self { delimiter, rows, comments })
    }

    /// The largest number of fields of a row.
    pub(crate) fn width(&self) -> usize {
        self.rows.iter().map(|row| row.fields.len()).max().unwrap_or(0)
    }
}

/// Comments and blank lines before the first row, the rest, and the number of comments. The last comment is the
/// heading, and no comment, if it has the fields of the row below and one of them is named after SMILES.
fn skip_comments(text: &str) -> (&str, &str, usize) {
    let (mut start, mut comments, mut last) = (0, 0, 0);
    for line in text.split_inclusive('\n') {
        if line.starts_with('#') {
            (comments, last) = (comments + 1, start);
        } else if !line.trim().is_empty() {
            break;
        }
        start += line.len();
    }
    if comments > 0 {
        let heading = &text[last + 1..];
        let named = heading.lines().next().is_some_and(|line| line.to_lowercase().contains("smiles"));
        let below = text[start..].lines().next().unwrap_or_default();
        let count = |line: &str, delimiter| match delimiter {
            Delimiter::Character(delimiter) => line.bytes().filter(|&byte| byte == delimiter).count(),
            Delimiter::Spaces => line.split_whitespace().count(),
        };
        let line = heading.lines().next().unwrap_or_default();
        let delimiter = delimiter(&text[start..]);
        if named && count(line, delimiter) == count(below, delimiter) {
            return (&text[..last], heading, comments - 1);
        }
    }
    (&text[..start], &text[start..], comments)
}

/// The delimiter that most lines have as often as the first one.
fn delimiter(body: &str) -> Delimiter {
    let lines: Vec<&str> = body.lines().filter(|line| !line.trim().is_empty()).take(LOOKED_AT).collect();
    // Extensions of SMILES stand between vertical bars after a space, and contain commas.
    let extended = |line: &&&str| line.split_once(" |").is_some_and(|(_, rest)| rest.trim_end().ends_with('|'));
    if 2 * lines.iter().filter(extended).count() > lines.len() && !body.starts_with('"') {
        let quoted = lines.iter().any(|line| line.contains('"'));
        if !quoted {
            return Delimiter::Spaces;
        }
    }
    let share = |&delimiter: &u8| {
        let mut counts = lines.iter().filter_map(|line| delimiters(line, delimiter));
        let first = counts.next().filter(|&count| count > 0)?;
        let (mut same, mut all) = (1, 1);
        for count in counts {
            all += 1;
            same += u32::from(count.abs_diff(first) <= 1 && count > 0);
        }
        Some((1000 * same / all, delimiter))
    };
    let best = b",\t;|".iter().filter_map(share).filter(|&(share, _)| share > 500).max_by_key(|&(share, _)| share);
    best.map_or(Delimiter::Spaces, |(_, delimiter)| Delimiter::Character(delimiter))
}

/// Number of delimiters of a line outside quotes; `None` if a quote is open at its end, so that the line is a part of a
/// row.
fn delimiters(line: &str, delimiter: u8) -> Option<usize> {
    let (mut count, mut quoted) = (0, false);
    for byte in line.bytes() {
        quoted ^= byte == b'"';
        count += usize::from(byte == delimiter && !quoted);
    }
    (!quoted).then_some(count)
}

fn words(body: &str, first_line: u64) -> Vec<Row> {
    let lines = body.lines().zip(first_line..).filter(|(line, _)| !line.trim().is_empty());
    lines.map(|(text, line)| Row { line, fields: text.split_whitespace().map(str::to_owned).collect() }).collect()
}

fn fields(body: &str, delimiter: u8, first_line: u64, path: &Path) -> Result<Vec<Row>, DataError> {
    check_quotes(body, delimiter, first_line, path)?;
    let mut reader = csv::ReaderBuilder::new();
    let reader = reader.has_headers(false).flexible(true).delimiter(delimiter);
    let mut rows = Vec::new();
    let (mut counted, mut line) = (0, first_line);
    for record in reader.from_reader(body.as_bytes()).records() {
        let problem = |problem: String| DataError::Rows { path: path.to_owned(), problem };
        let record = record.map_err(|error| problem(error.to_string()))?;
        // The position is that of the blank lines before the row.
        let start = record.position().map_or(counted, |position| position.byte() as usize);
        let blank = body[start..].bytes().take_while(|&byte| byte == b'\n').count();
        line += body[counted..start + blank].matches('\n').count() as u64;
        counted = start + blank;
        let fields: Vec<String> = record.iter().map(|field| field.trim().to_owned()).collect();
        if fields.iter().any(|field| !field.is_empty()) {
            rows.push(Row { line, fields });
        }
    }
    check_swallowed(&rows, delimiter, path)?;
    Ok(rows)
}

enum Place {
    Start,
    Bare,
    Quoted,
    Closed,
}

/// Checks that every quoted field ends where a field may end.
fn check_quotes(body: &str, delimiter: u8, first_line: u64, path: &Path) -> Result<(), DataError> {
    let malformed = |line, found: String| DataError::Malformed {
        path: path.to_owned(),
        place: "line",
        offset: line,
        expected: "a closing quote for the field that opens here with \"".into(),
        found,
    };
    let (mut place, mut line, mut opened) = (Place::Start, first_line, first_line);
    for byte in body.bytes() {
        let ends = byte == delimiter || byte == b'\n';
        place = match place {
            Place::Start if byte == b'"' => {
                opened = line;
                Place::Quoted
            }
            Place::Quoted if byte == b'"' => Place::Closed,
            Place::Closed if byte == b'"' => Place::Quoted,
            Place::Quoted => Place::Quoted,
            Place::Closed if !ends => return Err(malformed(opened, format!("text after the quote in line {line}"))),
            _ if ends => Place::Start,
            _ => Place::Bare,
        };
        line += u64::from(byte == b'\n');
    }
    match place {
        Place::Quoted => Err(malformed(opened, format!("none up to the end of the file in line {line}"))),
        _ => Ok(()),
    }
}

/// Refuses a quoted field that holds lines which look like rows: its quotes belong to two fields.
fn check_swallowed(rows: &[Row], delimiter: u8, path: &Path) -> Result<(), DataError> {
    let Some(first) = rows.first().filter(|row| row.fields.len() > 1) else { return Ok(()) };
    for row in rows {
        let mut line = row.line;
        for field in &row.fields {
            let lines: Vec<&str> = field.split('\n').collect();
            let inner = lines.iter().skip(1).take(lines.len().saturating_sub(2));
            let like_rows =
                inner.filter(|text| text.bytes().filter(|&b| b == delimiter).count() + 1 == first.fields.len());
            let swallowed = like_rows.count();
            if swallowed > 0 {
                return Err(DataError::Malformed {
                    path: path.to_owned(),
                    place: "line",
                    offset: line,
                    expected: "a closing quote for the field that opens here with \"".into(),
                    found: format!("{swallowed} lines with as many fields as the first row before the next quote"),
                });
            }
            line += lines.len() as u64 - 1;
        }
    }
    Ok(())
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
        assert!(rows("").is_empty());
    }

    #[test]
    fn quotes_that_swallow_rows_are_errors_at_the_line_where_they_open() {
        for (text, line) in [
            ("a,b\n1,\"2\n3,4\n5,6\n", 2),
            ("a,b\n1,2\n3,\"4\n5,6\n7,\"8\"\n", 3),
            ("a,b\n1,2\n\"3,4\n5,6\n7\",8\n", 3),
            ("# note\n\na\tb\n1\t2\n\"3\t4\n", 5),
            ("\"smiles\n\"C\"\n", 1),
        ] {
            let message = Table::read(text, Path::new("t.csv")).unwrap_err().to_string();
            assert!(
                message.contains(&format!("t.csv, line {line}:")) && message.contains("quote"),
                "{text:?} {message}"
            );
        }
        // An inch sign within a field is no quote.
        assert_eq!(rows("a,b\n5\",2\n")[1], row(2, &["5\"", "2"]));
    }
}
