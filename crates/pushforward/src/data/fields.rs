//! The one rule by which the lines of a file are split into fields.
//!
//! The delimiter is found among comma, tab, semicolon and `|`: the one that most lines have as often as the first line
//! has. A file in which none does is read as words between spaces. Fields may be quoted, and quoted ones may hold
//! delimiters and line breaks. Comments, lines that begin with `#`, may come before the first row.
//!
//! A quote that is not closed, or that closes where another field was meant to begin, would swallow rows without a
//! word; each such quote is an error that names the line where it opens.

use std::borrow::Cow;
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

/// Comments and blank lines before the first row, the rest, and the number of comments. The last comment is the
/// heading, and no comment, if it has the fields of the row below and one of them is named after SMILES.
pub(crate) fn skip_comments(text: &str) -> (&str, &str, usize) {
    let (mut start, mut comments, mut last) = (0, 0, 0);
    for line in text.split_inclusive('\n') {
        // Spreadsheets may name their delimiter in a line of its own.
        let names_delimiter = line.trim_end().len() == 5 && line.to_lowercase().starts_with("sep=");
        // Files of the C4.5 programs have comments after a vertical bar.
        let bar = line.starts_with('|') && line.matches('|').count() == 1;
        if line.starts_with('#') || names_delimiter || bar {
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
pub(crate) fn delimiter(body: &str) -> Delimiter {
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

enum Place {
    Start,
    Bare,
    Quoted,
    Closed,
}

/// The error of a quote that opens in a line.
pub(crate) fn unclosed(path: &Path, line: u64, found: String) -> DataError {
    DataError::Malformed {
        path: path.to_owned(),
        place: "line",
        offset: line,
        expected: "a closing quote for the field that opens here with \"".into(),
        found,
    }
}

/// Calls `row` with the line where each row begins and the places where its fields begin. Blank lines are no rows.
///
/// # Errors
/// The line where a quote opens that is not closed where a field ends; and those of `row`.
pub(crate) fn split(
    body: &str,
    delimiter: u8,
    first_line: u64,
    path: &Path,
    mut row: impl FnMut(u64, &[usize]) -> Result<(), DataError>,
) -> Result<(), DataError> {
    let (mut place, mut line, mut opened) = (Place::Start, first_line, first_line);
    let (mut starts, mut began, mut blank) = (vec![0], first_line, true);
    for (at, byte) in body.bytes().enumerate() {
        let ends = byte == delimiter || byte == b'\n';
        place = match place {
            Place::Start if byte == b'"' => {
                opened = line;
                Place::Quoted
            }
            Place::Quoted if byte == b'"' => Place::Closed,
            Place::Closed if byte == b'"' => Place::Quoted,
            Place::Quoted => Place::Quoted,
            Place::Closed if !ends => {
                return Err(unclosed(path, opened, format!("text after the quote in line {line}")));
            }
            _ if ends => Place::Start,
            _ => Place::Bare,
        };
        if ends && matches!(place, Place::Start) {
            if byte == delimiter {
                starts.push(at + 1);
            } else {
                if !blank {
                    row(began, &starts)?;
                }
                starts.clear();
                starts.push(at + 1);
                (began, blank) = (line + 1, true);
            }
        } else {
            blank = blank && byte.is_ascii_whitespace();
        }
        line += u64::from(byte == b'\n');
    }
    match place {
        Place::Quoted => Err(unclosed(path, opened, format!("none up to the end of the file in line {line}"))),
        _ if blank => Ok(()),
        _ => row(began, &starts),
    }
}

/// The field that begins at a place that [`split`] found, without its quotes and the spaces around it.
pub(crate) fn field(body: &str, start: usize, delimiter: u8) -> Cow<'_, str> {
    let rest = &body[start..];
    let Some(quoted) = rest.strip_prefix('"') else {
        let end = rest.bytes().position(|byte| byte == delimiter || byte == b'\n').unwrap_or(rest.len());
        return Cow::Borrowed(rest[..end].trim());
    };
    // Two quotes stand for one.
    let (mut end, mut doubled) = (0, false);
    loop {
        end += quoted[end..].find('"').unwrap_or(quoted.len() - end);
        if !quoted[end..].starts_with("\"\"") {
            break;
        }
        (end, doubled) = (end + 2, true);
    }
    let inner = quoted[..end].trim();
    if doubled { Cow::Owned(inner.replace("\"\"", "\"")) } else { Cow::Borrowed(inner) }
}

/// Number of bytes of the field that begins at a place that [`split`] found, with its quotes and the spaces around it.
pub(crate) fn length(body: &str, start: usize, delimiter: u8) -> usize {
    let (mut quoted, rest) = (false, body[start..].bytes());
    let opens = body[start..].starts_with('"');
    let ends = |byte: u8| {
        quoted ^= opens && byte == b'"';
        !quoted && (byte == delimiter || byte == b'\n')
    };
    rest.into_iter().position(ends).unwrap_or(body.len() - start)
}
