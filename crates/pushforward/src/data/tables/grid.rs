//! The cells of a file: its text, and where each field begins. No text is copied, so that a table takes four bytes a
//! cell beside its file.

use std::borrow::Cow;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::data::DataError;
use crate::data::fields::{self, Delimiter, delimiter, skip_comments};
use crate::data::files::Source;
use crate::data::plain_text::line_of;
use crate::data::tables::numbers::number;

/// Rows that decide whether the first one is a header.
const LOOKED_AT: usize = 1000;
/// Most columns of a table.
const COLUMNS: usize = 1 << 16;

/// How a line is split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::data) enum Form {
    Character(u8),
    /// Fields between any number of spaces.
    Words,
    /// One field a line.
    Lines,
}

/// The rows of a file, all of one length.
#[derive(Debug)]
pub(in crate::data) struct Grid {
    pub(in crate::data) path: PathBuf,
    pub(in crate::data) form: Form,
    pub(in crate::data) width: usize,
    /// Names of the columns, if the file has them.
    pub(in crate::data) header: Option<Vec<String>>,
    /// What was left out, one sentence each.
    pub(in crate::data) notes: Vec<String>,
    /// Rows that were left out because of their length.
    pub(in crate::data) ragged: u64,
    text: String,
    /// Where the rows begin that are not comments.
    offset: usize,
    /// Lines of the file before the text.
    before: u64,
    /// The line of each row, if they are rows of here and there.
    lines: Vec<u64>,
    /// Where the fields begin, row by row, counted from `offset`. The header is not among them.
    starts: Vec<u32>,
}

/// What a recipe says about the form of a file.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::data) struct Expected {
    pub(in crate::data) header: Option<bool>,
    /// Whether rows of another length are left out; else they are an error.
    pub(in crate::data) drop_ragged: bool,
    /// The form and the width of another file that this one must have.
    pub(in crate::data) like: Option<(Form, usize)>,
    /// The line where these rows begin, if they are later ones of a file: they have no header and no comments.
    pub(in crate::data) later: Option<u64>,
}

impl Grid {
    /// # Errors
    /// A quote that is not closed, rows of different lengths, or no rows.
    pub(in crate::data) fn read(source: Source, expected: Expected) -> Result<Self, DataError> {
        let path = source.path().to_owned();
        let other = match source.as_ref() {
            [b'P', b'A', b'R', b'1', ..] if !cfg!(feature = "parquet") => Some("a Parquet file"),
            [b'P', b'K', 3, 4, ..] => Some("a workbook or an archive"),
            [b'A', b'R', b'R', b'O', b'W', b'1', ..] => Some("an Arrow file"),
            _ => None,
        };
        if let Some(other) = other {
            let problem = format!("this is {other}, and tables are read from text; write it as CSV or Parquet first");
            return Err(DataError::Rows { path, problem });
        }
        let plain = source.text()?;
        // The file as stored is needed no more.
        drop(source);
        let text = plain.text;
        let (head, body, comments) = if expected.later.is_some() { ("", &text[..], 0) } else { skip_comments(&text) };
        let first_line = expected.later.unwrap_or(head.matches('\n').count() as u64 + 1);
        let form = match expected.like {
            // The text of a Parquet file, whatever separates the fields of another one.
            _ if plain.headed => Form::Character(b','),
            Some((form, _)) => form,
            None => form(body),
        };
        let mut grid = Self {
            form,
            width: expected.like.map_or(0, |(_, width)| width),
            header: None,
            notes: plain.notes,
            ragged: 0,
            offset: head.len(),
            before: expected.later.map_or(0, |line| line - 1),
            lines: Vec::new(),
            starts: Vec::new(),
            text: String::new(),
            path,
        };
        if comments > 0 {
            grid.notes.push(format!("left out the comments before the first row: {comments}"));
        }
        let mut rows = 0u64;
        let (mut first, path) = (None, grid.path.clone());
        let (mut starts, mut width, mut ragged) = (Vec::new(), grid.width, 0);
        let mut add = |line: u64, fields: &[usize]| {
            first.get_or_insert(line);
            width = if width == 0 { fields.len() } else { width };
            if fields.len() != width {
                if !expected.drop_ragged {
                    return Err(other_length(&path, line, fields.len(), width, first == Some(line)));
                }
                ragged += 1;
                return Ok(());
            }
            rows += 1;
            starts.extend(fields.iter().map(|&start| start as u32));
            Ok(())
        };
        match form {
            Form::Character(delimiter) => fields::split(body, delimiter, first_line, &path, add)?,
            Form::Words | Form::Lines => {
                let (mut at, mut words) = (0, Vec::new());
                for (line, number) in body.split_inclusive('\n').zip(first_line..) {
                    words.clear();
                    if form == Form::Words {
                        let places =
                            line.split_whitespace().map(|word| word.as_ptr() as usize - line.as_ptr() as usize);
                        words.extend(places.map(|place| at + place));
                    } else if !line.trim().is_empty() {
                        words.push(at);
                    }
                    if !words.is_empty() {
                        add(number, &words)?;
                    }
                    at += line.len();
                }
            }
        }
        if width > COLUMNS {
            return Err(grid.refuse(format!("{width} columns; a table has at most {COLUMNS}")));
        }
        (grid.starts, grid.width, grid.ragged, grid.text) = (starts, width, ragged, text);
        grid.starts.shrink_to_fit();
        if rows == 0 {
            return Err(grid.refuse("the file has no rows".into()));
        }
        let heads = |grid: &Self| expected.header.unwrap_or_else(|| grid.has_header());
        if expected.later.is_none() && (plain.headed || heads(&grid)) {
            grid.take_header();
        }
        if grid.rows() == 0 {
            return Err(
                grid.refuse("the file has a header and no rows; if the line is a row, say data.header = false".into())
            );
        }
        grid.check_swallowed()?;
        Ok(grid)
    }

    /// Takes the first row for the names of the columns.
    pub(in crate::data) fn take_header(&mut self) {
        self.header = Some((0..self.width).map(|column| self.cell(0, column).into_owned()).collect());
        self.starts.drain(..self.width);
    }

    /// The text of the file with other fields in some cells, which are in the order of rows and columns. A field is quoted
    /// where it has to be.
    pub(in crate::data) fn with_fields(&self, cells: &[(usize, usize, &str)]) -> String {
        let (head, body) = self.text.split_at(self.offset);
        let (mut out, mut copied) = (head.to_owned(), 0);
        for &(row, column, field) in cells {
            let start = self.starts[row * self.width + column] as usize;
            let length = match self.form {
                Form::Character(delimiter) => fields::length(body, start, delimiter),
                Form::Words => body[start..].split_whitespace().next().unwrap_or_default().len(),
                Form::Lines => fields::length(body, start, b'\n'),
            };
            out += &body[copied..start];
            let special = |c: char| c == '"' || c == '\n' || self.form == Form::Character(c as u8);
            if field.contains(special) {
                out += &format!("\"{}\"", field.replace('"', "\"\""));
            } else {
                out += field;
            }
            copied = start + length;
        }
        out + &body[copied..]
    }

    /// Checks that no quoted field holds whole rows, which its quotes, meant for two fields, would swallow: lines with
    /// as many fields as a row, and numbers where the first row has numbers.
    fn check_swallowed(&self) -> Result<(), DataError> {
        let Form::Character(delimiter) = self.form else { return Ok(()) };
        let body = &self.text[self.offset..];
        let numeric: Vec<bool> = (0..self.width).map(|column| number(&self.cell(0, column)).is_some()).collect();
        if !body.contains('"') || !numeric.contains(&true) {
            return Ok(());
        }
        for row in 0..self.rows() {
            let begin = self.starts[row * self.width] as usize;
            let end = self.starts.get((row + 1) * self.width).map_or(body.len(), |&end| end as usize);
            let like = |line: &&str| {
                let mut fields = line.split(char::from(delimiter));
                let same =
                    numeric.iter().all(|&wanted| fields.next().is_some_and(|f| !wanted || number(f.trim()).is_some()));
                same && fields.next().is_none()
            };
            let count = body[begin..end].lines().skip(1).filter(like).count();
            if count > 0 {
                let found = format!("{count} lines that look like rows before the next quote");
                return Err(fields::unclosed(&self.path, self.line(row), found));
            }
        }
        Ok(())
    }

    pub(in crate::data) fn rows(&self) -> usize {
        self.starts.len() / self.width
    }

    /// A field without the spaces around it.
    pub(in crate::data) fn cell(&self, row: usize, column: usize) -> Cow<'_, str> {
        let body = &self.text[self.offset..];
        let start = self.starts[row * self.width + column] as usize;
        match self.form {
            Form::Character(delimiter) => fields::field(body, start, delimiter),
            Form::Words => Cow::Borrowed(body[start..].split_whitespace().next().unwrap_or_default()),
            Form::Lines => fields::field(body, start, b'\n'),
        }
    }

    /// The column of a heading or number, that the setting `key` names.
    pub(in crate::data) fn named(&self, name: &str, key: &'static str) -> Result<usize, DataError> {
        let header = self.header.iter().flatten();
        let alike = |field: &String| field.trim().eq_ignore_ascii_case(name.trim());
        if let Some(column) = header.clone().position(|field| field == name).or_else(|| header.clone().position(alike))
        {
            return Ok(column);
        }
        match name.trim().parse::<usize>() {
            Ok(number) if (1..=self.width).contains(&number) => Ok(number - 1),
            _ => Err(DataError::Setting {
                key,
                problem: format!(
                    "`{name}` is not a column of {}, which has {}; a column is given by its heading or by its number, from 1",
                    self.path.display(),
                    self.column_names()
                ),
            }),
        }
    }

    /// The columns, for messages.
    pub(in crate::data) fn column_names(&self) -> String {
        match &self.header {
            Some(header) => header.iter().take(30).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
            None => format!("{} without headings", self.width),
        }
    }

    /// The line where a row begins, from 1.
    pub(in crate::data) fn line(&self, row: usize) -> u64 {
        let here = || self.before + line_of(&self.text, self.offset + self.starts[row * self.width] as usize);
        self.lines.get(row).copied().unwrap_or_else(here)
    }

    /// The line of a row after one whose line is known: counting from the beginning takes long for every row.
    pub(in crate::data) fn line_after(&self, row: usize, (before, line): (usize, u64)) -> u64 {
        let [from, to] = [before, row].map(|row| self.offset + self.starts[row * self.width] as usize);
        line + self.text.as_bytes()[from..to].iter().filter(|&&byte| byte == b'\n').count() as u64
    }

    /// Bytes of a row, about.
    pub(in crate::data) fn row_bytes(&self) -> usize {
        self.text.len() / self.rows().max(1)
    }

    /// A row as it is written, with its line break.
    pub(in crate::data) fn row_text(&self, row: usize) -> String {
        let body = &self.text[self.offset..];
        let end = self.starts.get((row + 1) * self.width).map_or(body.len(), |&end| end as usize);
        body[self.starts[row * self.width] as usize..end].trim_end_matches('\n').to_owned() + "\n"
    }

    /// A table of the same form with other rows, given with their lines.
    pub(in crate::data) fn sampled<'a>(&self, rows: impl Iterator<Item = (u64, &'a str)>) -> Result<Self, DataError> {
        let (lines, texts): (Vec<u64>, Vec<&str>) = rows.unzip();
        let expected = Expected { like: Some((self.form, self.width)), later: Some(1), ..Expected::default() };
        let grid = Self::read(Source::of(&self.path, texts.concat().into_bytes()), expected)?;
        Ok(Self { lines, header: self.header.clone(), notes: self.notes.clone(), ..grid })
    }

    /// The same form without rows.
    pub(in crate::data) fn emptied(&self) -> Self {
        Self {
            path: self.path.clone(),
            header: self.header.clone(),
            notes: self.notes.clone(),
            text: String::new(),
            starts: Vec::new(),
            lines: Vec::new(),
            offset: 0,
            ..*self
        }
    }

    pub(in crate::data) fn refuse(&self, problem: String) -> DataError {
        DataError::Rows { path: self.path.clone(), problem }
    }

    /// Whether the first row names the columns: it has no number and no gap, all its fields differ, and a column has
    /// numbers below it or, in a table of words, repeats its words below without the first.
    fn has_header(&self) -> bool {
        let first: Vec<Cow<'_, str>> = (0..self.width).map(|column| self.cell(0, column)).collect();
        let number = |text: &str| text.parse::<f64>().is_ok();
        let plain = |text: &Cow<'_, str>| !text.is_empty() && text != "?" && !number(text);
        // A column of row numbers often has no name.
        if !first.iter().skip(1).all(plain) || (self.width == 1 && !plain(&first[0])) || number(&first[0]) {
            return false;
        }
        let rows = self.rows().min(LOOKED_AT);
        let (mut names, mut values) = (0, 0);
        for (column, name) in first.iter().enumerate() {
            let below: Vec<Cow<'_, str>> = (1..rows).map(|row| self.cell(row, column)).collect();
            let mut filled = below.iter().filter(|text| !text.is_empty()).peekable();
            if filled.peek().is_none() {
                continue;
            }
            if filled.clone().filter(|text| number(text)).count() * 2 > filled.count() {
                return true;
            }
            let distinct: HashSet<&str> = below.iter().map(AsRef::as_ref).collect();
            let repeats = 2 * distinct.len() <= below.len();
            names += usize::from(repeats && !distinct.contains(name.as_ref()));
            values += usize::from(distinct.contains(name.as_ref()));
        }
        // Without rows below, a line of words is taken for a header.
        rows == 1 || names > values && first.iter().collect::<HashSet<_>>().len() == self.width
    }
}

/// Whether a text is a table of at least two columns: almost all lines have as many delimiters as the first.
pub(in crate::data) fn is_table(text: &str) -> bool {
    // The beginning decides, up to the last whole line.
    let mut end = text.len().min(1 << 16);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let head = if end < text.len() { &text[..text[..end].rfind('\n').map_or(0, |at| at + 1)] } else { text };
    let (_, body, _) = skip_comments(head);
    let Delimiter::Character(delimiter) = delimiter(body) else { return false };
    let (mut widths, path) = (Vec::new(), Path::new(""));
    // What comes before a quote that is not closed still tells what the file is.
    let _ = fields::split(body, delimiter, 1, path, |_, starts| {
        widths.push(starts.len());
        Ok(())
    });
    let same = widths.iter().filter(|&&width| width == widths[0]).count();
    widths.len() > 1 && widths[0] > 1 && 20 * same >= 19 * widths.len()
}

/// How the lines of a text are split, after its comments.
pub(in crate::data) fn form_of(text: &str) -> Form {
    form(skip_comments(text).1)
}

fn form(body: &str) -> Form {
    match delimiter(body) {
        Delimiter::Character(delimiter) => Form::Character(delimiter),
        Delimiter::Spaces => {
            let mut counts = body.lines().map(|line| line.split_whitespace().count()).filter(|&count| count > 0);
            let first = counts.next().unwrap_or(0);
            if first > 1 && counts.take(LOOKED_AT).all(|count| count == first) { Form::Words } else { Form::Lines }
        }
    }
}

fn other_length(path: &Path, line: u64, found: usize, width: usize, first: bool) -> DataError {
    let fields = |count: usize| format!("{count} field{}", if count == 1 { "" } else { "s" });
    let what = if first { "the training file has" } else { "the first row has" };
    let problem = format!(
        "line {line} has {}, and {what} {width}; correct the line (a field that holds the delimiter is to be quoted), or \
         leave out such rows with data.ragged = \"drop\"",
        fields(found)
    );
    DataError::Rows { path: path.to_owned(), problem }
}
