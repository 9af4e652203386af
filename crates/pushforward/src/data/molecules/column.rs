//! The SMILES of a file, and where they were found.
//!
//! The column is the one that the recipe names; else the one whose heading is `smiles`, or contains it (in any case);
//! else the one in which most fields read as molecules. If two columns do, or none, the error lists the columns with
//! the share of their fields that do. Letters of peptides and symbols of elements are SMILES too, so that fields of one
//! atom and of few different texts do not count.
//!
//! A SMILES ends at the first space: names and extensions that follow are left out. Stereochemistry is dropped anyway;
//! an extension that says more about the molecule is a reason to refuse it.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::Path;

use rayon::prelude::*;

use crate::chem::{Refusal, read};
use crate::data::DataError;
use crate::data::fields::Delimiter;
use crate::data::label_texts::LabelTexts;
use crate::data::part_names::part_of;
use crate::data::table::{Row, Table};

/// Rows that are looked at to choose a column.
const LOOKED_AT: usize = 200;
/// A column with this share of fields that read as molecules may be the one.
const ENOUGH: f64 = 0.5;
/// Another column with this share makes the choice ambiguous.
const RIVAL: f64 = 0.2;

/// A text to be read as a molecule, and the line where its row begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) line: u64,
    pub(super) smiles: String,
    /// The field that says which part the molecule belongs to.
    pub(super) part: Option<String>,
    /// The field of the label or, if a second file has them, of the name; then the text of the label.
    pub(super) label: Option<String>,
}

/// The texts of a file, and what was chosen.
#[derive(Debug, Default)]
pub(super) struct Texts {
    pub(super) texts: Vec<Text>,
    /// The column and why it was chosen, in words.
    pub(super) column: String,
    /// What else was chosen or left out, one sentence each.
    pub(super) notes: Vec<String>,
    /// Rows without a SMILES.
    pub(super) empty: usize,
}

/// The columns that are read, and how lines are split.
#[derive(Debug)]
pub(super) struct Columns {
    smiles: usize,
    part: Option<usize>,
    label: Option<usize>,
    delimiter: Delimiter,
    split: Option<u8>,
}

impl Columns {
    /// The texts of rows.
    fn texts(&self, rows: &[Row]) -> Texts {
        let mut found = Texts::default();
        for row in rows {
            let other = |place: Option<usize>| place.map(|place| row.fields.get(place).cloned().unwrap_or_default());
            match row.fields.get(self.smiles).map_or("", |field| field.as_str()) {
                "" => found.empty += 1,
                smiles => found.texts.push(Text {
                    line: row.line,
                    smiles: smiles.to_owned(),
                    part: other(self.part),
                    label: other(self.label),
                }),
            }
        }
        found
    }
}

/// What to say of rows without a SMILES.
pub(super) fn left_out(empty: usize) -> String {
    format!("left out {empty} rows without a SMILES")
}

/// The character that separates fields of a text; `None` for words.
pub(super) fn separator(text: &str) -> Option<u8> {
    Table::form(text).1
}

impl Texts {
    /// Puts the texts of labels in the place of the fields that say them; what has none gets an empty text, and is refused
    /// then.
    pub(super) fn resolve_labels(&mut self, labels: &LabelTexts) {
        for text in self.texts.iter_mut().filter_map(|text| text.label.as_mut()) {
            *text = labels.of(text).map_or_else(String::new, Cow::into_owned);
        }
    }
}

/// The texts of the column of SMILES, in order.
///
/// # Errors
/// If the table is damaged, a column that is named does not exist, or none can be chosen.
pub(super) fn texts(
    text: &str,
    path: &Path,
    column: Option<&str>,
    part: Option<&str>,
    label: Option<(&str, &'static str)>,
) -> Result<Texts, DataError> {
    let (mut texts, _) = first(text, path, column, part, label)?;
    if texts.empty > 0 {
        // Before a remark on a column of parts, which is the last one.
        let place = texts.notes.iter().take_while(|note| note.starts_with("left out")).count();
        texts.notes.insert(place, left_out(texts.empty));
    }
    Ok(texts)
}

/// The texts of later rows of a file, from a line on.
///
/// # Errors
/// If the table is damaged.
pub(super) fn later(text: &str, path: &Path, line: u64, columns: &Columns) -> Result<Texts, DataError> {
    let table = Table::later(text, path, (columns.delimiter, columns.split), line)?;
    table.check_swallowed(columns.smiles, |field| atoms(field).is_some(), path)?;
    Ok(columns.texts(&table.rows))
}

/// The texts of the first rows of a file, and the columns, which are `None` if there are no rows.
///
/// # Errors
/// As [`texts`].
pub(super) fn first(
    text: &str,
    path: &Path,
    column: Option<&str>,
    part: Option<&str>,
    label: Option<(&str, &'static str)>,
) -> Result<(Texts, Option<Columns>), DataError> {
    let table = Table::read(text, path)?;
    if table.rows.is_empty() {
        return Ok((Texts { column: "nothing: the file has no rows".into(), ..Texts::default() }, None));
    }
    let chosen = match column {
        Some(column) => named(&table, column, "column")?,
        None => choose(&table, path)?,
    };
    table.check_swallowed(chosen.column, |field| atoms(field).is_some(), path)?;
    let suggestion = part.is_none().then(|| split_column(&table)).flatten();
    let part = part.map(|part| named(&table, part, "split").map(|found| found.column)).transpose()?;
    let label = label.map(|(label, key)| named(&table, label, key).map(|found| found.column)).transpose()?;
    let mut notes = Vec::new();
    if table.comments > 0 {
        notes.push(format!("left out the comments before the first row: {}", table.comments));
    }
    let columns = Columns { smiles: chosen.column, part, label, delimiter: table.delimiter, split: table.split };
    let found = columns.texts(&table.rows[usize::from(chosen.heading)..]);
    notes.extend(suggestion);
    let heading = &table.rows[0].fields;
    let name = if chosen.heading { heading.get(chosen.column) } else { None };
    let name = name.map_or(String::new(), |name| format!(" `{}`", short(name)));
    let column = match table.width() {
        1 => format!("the only column{name}"),
        width => {
            let (at, by, why) = (chosen.column + 1, table.delimiter.name(), chosen.why);
            format!("column {at}{name} of {width} (separated by {by}), {why}")
        }
    };
    Ok((Texts { column, notes, ..found }, Some(columns)))
}

/// A remark on a column that says the part of each row.
fn split_column(table: &Table) -> Option<String> {
    let (first, rest) = table.rows.split_first()?;
    let name = first.fields.iter().enumerate().find_map(|(column, name)| {
        let mut fields = rest.iter().take(LOOKED_AT).filter_map(|row| row.fields.get(column)).peekable();
        (fields.peek().is_some() && fields.all(|field| part_of(field).is_some())).then_some(name)
    })?;
    Some(format!("column `{0}` is not used to divide the set; split = {{ column = {0:?} }} would", short(name)))
}

/// Whether a text is a file of molecules: a heading names SMILES, or most of its lines read as molecules.
pub(super) fn is_smiles_file(text: &str) -> bool {
    // The beginning decides, up to the last whole line.
    let mut end = text.len().min(1 << 16);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let head = if end < text.len() { &text[..text[..end].rfind('\n').map_or(0, |at| at + 1)] } else { text };
    let Ok(table) = Table::read(head, Path::new("")) else { return false };
    let Some(first) = table.rows.first() else { return false };
    if by_heading(&table, first).is_some() {
        return true;
    }
    let shares = shares(&table);
    let best = shares.iter().copied().fold(0.0, f64::max);
    best >= 0.8 && (0..shares.len()).any(|column| shares[column] >= 0.8 && different(&table, column) >= 3)
}

struct Chosen {
    column: usize,
    /// Whether the first row is a heading.
    heading: bool,
    why: &'static str,
}

/// The column of that heading, or of that number.
fn named(table: &Table, name: &str, key: &'static str) -> Result<Chosen, DataError> {
    let heading = &table.rows[0].fields;
    let same = |field: &String| field == name;
    let alike = |field: &String| field.trim().eq_ignore_ascii_case(name.trim());
    if let Some(column) = heading.iter().position(same).or_else(|| heading.iter().position(alike)) {
        return Ok(Chosen { column, heading: true, why: "as named" });
    }
    match name.trim().parse::<usize>() {
        Ok(number) if (1..=table.width()).contains(&number) => {
            Ok(Chosen { column: number - 1, heading: has_heading(table, number - 1), why: "as numbered" })
        }
        _ => {
            let columns: Vec<String> = heading.iter().map(|field| format!("`{}`", short(field))).collect();
            let problem = format!(
                "`{}` is not a column of the file, whose first line (line {}) has {}; a column is given by its heading \
                 or by its number, from 1",
                short(name),
                table.rows[0].line,
                columns.join(", ")
            );
            Err(DataError::Setting { key, problem })
        }
    }
}

fn choose(table: &Table, path: &Path) -> Result<Chosen, DataError> {
    let first = &table.rows[0];
    let named = by_heading(table, first);
    if let Some(columns) = &named
        && let [column] = columns[..]
    {
        return Ok(Chosen { column, heading: true, why: "by its heading" });
    }
    if table.width() == 1 {
        return Ok(Chosen { column: 0, heading: false, why: "the only one" });
    }
    let shares = shares(table);
    let candidates: Vec<usize> = named.clone().unwrap_or_else(|| (0..shares.len()).collect());
    let best = candidates.iter().copied().max_by(|&a, &b| shares[a].total_cmp(&shares[b]).then(b.cmp(&a)));
    let best = best.filter(|&best| shares[best] >= ENOUGH);
    let rival = |&column: &usize| {
        // In lines of words the SMILES comes first by convention.
        let convention = table.delimiter == Delimiter::Spaces && best == Some(0);
        Some(column) != best
            && shares[column] >= RIVAL
            && different(table, column) >= 3.min(table.rows.len())
            && !convention
    };
    match best {
        Some(column) if !candidates.iter().any(rival) => {
            let heading = named.is_some() || has_heading(table, column);
            Ok(Chosen { column, heading, why: "whose fields read as molecules" })
        }
        _ => Err(DataError::Rows { path: path.to_owned(), problem: undecided(table, &shares, best.is_some()) }),
    }
}

/// The message for a table without one column of SMILES.
fn undecided(table: &Table, shares: &[f64], several: bool) -> String {
    let first = &table.rows[0].fields;
    let shown = (0..shares.len()).take(30).map(|column| {
        let name = first.get(column).map_or("", |field| field.as_str());
        format!("{} (first line: {:?}) {:.0} %", column + 1, short(name), 100.0 * shares[column])
    });
    let what = if several { "more than one column reads" } else { "no column reads" };
    let by = table.delimiter.name();
    format!(
        "{what} as molecules, and no heading says which is the column of SMILES (fields separated by {by}). Share that \
         reads as molecules of several atoms, by column: {}. Name the column by its heading or number: data.column = \
         \"...\"",
        shown.collect::<Vec<_>>().join("; ")
    )
}

/// The columns whose heading says that they hold SMILES, the preferred one alone; `None` if no heading does.
fn by_heading(table: &Table, first: &Row) -> Option<Vec<usize>> {
    let plain = |field: &String| field.to_lowercase().replace([' ', '-', '.'], "_");
    let names: Vec<String> = first.fields.iter().map(plain).collect();
    for wanted in ["smiles", "canonical_smiles", "smiles_canonical", "isomeric_smiles"] {
        if let Some(column) = names.iter().position(|name| name == wanted) {
            return Some(vec![column]);
        }
    }
    let found: Vec<usize> = (0..names.len().min(table.width())).filter(|&c| names[c].contains("smiles")).collect();
    (!found.is_empty()).then_some(found)
}

/// Whether the first field of a column is no molecule although most others are, or stands above numbers.
fn has_heading(table: &Table, column: usize) -> bool {
    let field = |row: &Row| row.fields.get(column).cloned().unwrap_or_default();
    let number = |text: &String| text.trim().parse::<f64>().is_ok();
    let Some((first, rest)) = table.rows.split_first() else { return false };
    if atoms(&field(first)).is_none() {
        return rest.iter().take(LOOKED_AT).any(|row| atoms(&field(row)).is_some());
    }
    (0..first.fields.len()).any(|other| {
        let below = rest.iter().take(LOOKED_AT).filter_map(|row| row.fields.get(other));
        let mut below = below.filter(|text| !text.is_empty()).peekable();
        below.peek().is_some() && !number(&first.fields[other]) && below.all(number)
    })
}

/// The share of the fields of each column that read as molecules of several atoms, among those of more than one atom. The
/// first row may be a heading; it counts if that makes the share larger.
fn shares(table: &Table) -> Vec<f64> {
    let share = |column: usize| {
        let fields =
            |skipped| table.rows.iter().skip(skipped).take(LOOKED_AT).filter_map(move |r| r.fields.get(column));
        let counts = |fields: BTreeSet<&String>| {
            let atoms: Vec<Option<usize>> = fields.into_iter().map(|field| atoms(field)).collect();
            let molecules = atoms.iter().filter(|&&atoms| atoms > Some(1)).count();
            let all = atoms.iter().filter(|&&atoms| atoms != Some(1)).count();
            if all == 0 { 0.0 } else { molecules as f64 / all as f64 }
        };
        let of = |skipped| counts(fields(skipped).filter(|field| !field.is_empty()).collect());
        f64::max(of(0), of(1))
    };
    (0..table.width()).into_par_iter().map(share).collect()
}

/// Number of different texts of a column among the first rows.
fn different(table: &Table, column: usize) -> usize {
    let fields = table.rows.iter().take(LOOKED_AT).filter_map(|row| row.fields.get(column));
    fields.filter(|field| !field.is_empty()).collect::<BTreeSet<_>>().len()
}

/// Number of atoms of a field that reads as a molecule, also of one that the sets refuse for what it is. A long one
/// counts as a single atom, which decides nothing: reading it takes long.
fn atoms(field: &str) -> Option<usize> {
    let text = without_extension(field).ok()?;
    if text.len() > 400 {
        return Some(1);
    }
    if text.is_empty() || text.parse::<f64>().is_ok() {
        return None;
    }
    match read(text) {
        Ok(reading) => Some(reading.molecule.atoms().len()),
        Err(Refusal::Components(count)) => Some(count),
        Err(Refusal::Isotope | Refusal::Wildcard | Refusal::Bond | Refusal::Hydrogens) => Some(2),
        Err(_) => None,
    }
}

/// The SMILES of a field: the text before the first space.
///
/// # Errors
/// A reason to refuse it: an extension that says more than stereochemistry (radicals, polymers, positions that vary).
pub(super) fn without_extension(field: &str) -> Result<&str, &'static str> {
    let Some((smiles, rest)) = field.trim().split_once(char::is_whitespace) else { return Ok(field.trim()) };
    let extension = rest.trim_start().strip_prefix('|').and_then(|rest| rest.split('|').next()).unwrap_or_default();
    let more = ["^", "Sg:", "m:", "LN:", "$", "f:", "RG:"].iter().any(|mark| extension.contains(mark));
    if more { Err("extension that says more than stereochemistry") } else { Ok(smiles) }
}

/// The beginning of a text, for messages.
pub(super) fn short(text: &str) -> String {
    let start: String = text.chars().take(60).collect();
    if start.len() < text.len() { start + "..." } else { start }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_file(text: &str, column: Option<&str>) -> Result<Texts, DataError> {
        texts(text, Path::new("f"), column, None, None)
    }

    #[track_caller]
    fn found(text: &str) -> Vec<String> {
        read_file(text, None).unwrap().texts.into_iter().map(|text| text.smiles).collect()
    }

    #[test]
    fn lines_headings_and_names() {
        assert_eq!(found("CCO\nC\n"), ["CCO", "C"]);
        assert_eq!(found("SMILES\nCCO\n\nC"), ["CCO", "C"]);
        assert_eq!(found("CCO ethanol\nC\tmethane\n"), ["CCO", "C"]);
        assert_eq!(found("CCO,1,2\nC,3,4\n"), ["CCO", "C"]);
        assert_eq!(found("ethanol CCO\nmethylamine CN\n"), ["CCO", "CN"]);
        assert_eq!(found("CCO;name 0\nCN;name 1\n"), ["CCO", "CN"]);
        assert!(found("").is_empty());
        // A blank first line is not a heading, and neither is a molecule.
        assert_eq!(found("\nC\n"), ["C"]);
    }

    #[test]
    fn tables_by_heading() {
        assert_eq!(found("mol_id,smiles,A\ngdb_1,C,1\ngdb_2,N,2\n"), ["C", "N"]);
        assert_eq!(found("smiles,logP\n\"CC(C)O\n\",0.1\n\"C\n\",0.2\n"), ["CC(C)O", "C"]);
        assert_eq!(found("id\tSMILES\n1\tCCO\n2\n3\tC\n"), ["CCO", "C"]);
        assert_eq!(found("a;smiles\n\"x\"\"y;z\";CO\n"), ["CO"]);
        assert_eq!(found("F,Isomeric SMILES\nC,CO\n"), ["CO"]);
        assert_eq!(found("smiles_1,FP (C)\nCO,-1\n"), ["CO"]);
        assert_eq!(found("cxsmiles,canonical_smiles\nCN,CO\n"), ["CO"]);
        // Several columns of SMILES without a preferred one.
        assert!(read_file("smiles_a,smiles_b\nCO,CN\nCF,CC\nCCC,CCO\n", None).is_err());
    }

    #[test]
    fn tables_by_content() {
        // Letters of peptides, symbols of elements and numbers beside molecules.
        let peptides = "sequence,structure,value\nKLF,CC(=O)O,1\nAC,CCN,2\nGHI,c1ccccc1,3\nWYV,CCO,4\n";
        assert_eq!(found(peptides), ["CC(=O)O", "CCN", "c1ccccc1", "CCO"]);
        assert_eq!(found("element|structure\nC|CCO\nN|CN\n"), ["CCO", "CN"]);
        let texts = read_file(peptides, None).unwrap();
        assert!(texts.column.contains("column 2 `structure` of 3 (separated by commas)"), "{}", texts.column);
        assert_eq!((texts.texts[0].line, texts.texts[3].line), (2, 5));
        // Two columns of molecules, or none, are not decided.
        let message = read_file("a,b\nCO,CCN\nCF,CCO\nCCC,CC\n", None).unwrap_err().to_string();
        for part in ["more than one column", "1 (first line: \"a\") 100 %", "data.column"] {
            assert!(message.contains(part), "{message}");
        }
        let message = read_file("name,value\nx,1\ny,2\n", None).unwrap_err().to_string();
        assert!(message.contains("no column") && message.contains("\"value\") 0 %"), "{message}");
    }

    #[test]
    fn columns_by_name_and_number() {
        let of =
            |text: &str, column| read_file(text, Some(column)).map(|t| t.texts.into_iter().map(|t| t.smiles).collect());
        let texts: Vec<String> = of("a,b\nC,N\n", "B").unwrap();
        assert_eq!(texts, ["N"]);
        let texts: Vec<String> = of("CO,CN\nCF,CC\n", "2").unwrap();
        assert_eq!(texts, ["CN", "CC"]);
        let message = of("a,b\nC,N\n", "c").unwrap_err().to_string();
        assert!(message.contains("`c` is not a column") && message.contains("`a`, `b`"), "{message}");
        assert!(of("a,b\nC,N\n", "3").is_err());
    }

    #[test]
    fn extensions_are_left_out_unless_they_change_the_molecule() {
        assert_eq!(without_extension("CCO |&1:0,r| name"), Ok("CCO"));
        assert_eq!(without_extension(" CCO\tname "), Ok("CCO"));
        assert!(without_extension("CCO |^1:0|").is_err());
    }

    #[test]
    fn files_of_molecules_are_told_from_texts() {
        assert!(is_smiles_file("CCO\nCCN\nc1ccccc1\nC=O\n"));
        assert!(is_smiles_file("id\tSMILES\n1\tC\n"));
        assert!(is_smiles_file("x\tCCO\ny\tCCN\nz\tCCC\n"));
        for text in ["to be or not to be\nthat is it\n", "", "NO\nYES\nNO\n", "C\nO\nN\nF\n", "1\n2\n"] {
            assert!(!is_smiles_file(text), "{text:?}");
        }
    }
}
