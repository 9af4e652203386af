//! SMILES from text files: `.smi` (one SMILES per line, the rest of the line is ignored) and tables with a column of
//! SMILES.
//!
//! A file is a table if its first line has several fields, separated by commas, tabs or semicolons, and one of them is
//! the column's name, `smiles` in any case by default. Fields may be quoted, and quoted ones may hold line breaks, as
//! in the published ZINC250k table. In any other file the SMILES is the text before the first space, tab or comma of
//! each line; a first line that consists of the word `smiles` is a heading. Blank lines are skipped.

use crate::data::DataError;

/// The SMILES of a file, in order.
///
/// # Errors
/// If a column is given by name and does not exist.
pub(super) fn smiles(text: &str, column: Option<&str>) -> Result<Vec<String>, DataError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let heading = text.lines().next().unwrap_or_default();
    let wanted = column.unwrap_or("smiles");
    for separator in [',', '\t', ';'] {
        let names = fields(heading, separator).next().unwrap_or_default();
        let place = names.iter().position(|name| name.trim().eq_ignore_ascii_case(wanted));
        if let (Some(place), 2..) = (place, names.len()) {
            let cells = fields(text, separator).skip(1).filter_map(|mut row| row.drain(..).nth(place));
            return Ok(cells.map(|cell| cell.trim().to_owned()).filter(|cell| !cell.is_empty()).collect());
        }
    }
    if let Some(column) = column {
        let problem = format!("`{column}` is not a column of the file, whose first line is {heading:?}");
        return Err(DataError::Setting { key: "column", problem });
    }
    let first = |line: &str| line.split([' ', '\t', ',']).next().unwrap_or_default().to_owned();
    let lines = text.lines().map(|line| first(line.trim())).filter(|smiles| !smiles.is_empty());
    let headed = heading.trim().eq_ignore_ascii_case("smiles");
    Ok(lines.skip(usize::from(headed)).collect())
}

/// Rows of a table; a quoted field ends at the next quote that is not doubled.
fn fields(text: &str, separator: char) -> impl Iterator<Item = Vec<String>> {
    let mut characters = text.chars().peekable();
    std::iter::from_fn(move || {
        characters.peek()?;
        let (mut row, mut field, mut quoted) = (Vec::new(), String::new(), false);
        loop {
            match characters.next() {
                Some('"') if quoted && characters.peek() == Some(&'"') => {
                    characters.next();
                    field.push('"');
                }
                Some('"') if quoted || field.is_empty() => quoted = !quoted,
                Some(c) if c == separator && !quoted => row.push(std::mem::take(&mut field)),
                Some('\n') if !quoted => break,
                Some('\r') if !quoted => {}
                Some(c) => field.push(c),
                None => break,
            }
        }
        row.push(field);
        Some(row)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        smiles(text, None).unwrap()
    }

    #[test]
    fn lines_headings_and_names() {
        assert_eq!(found("CCO\nC\n"), ["CCO", "C"]);
        assert_eq!(found("SMILES\r\nCCO\r\n\r\nC"), ["CCO", "C"]);
        assert_eq!(found("CCO ethanol\nC\tmethane\n"), ["CCO", "C"]);
        assert_eq!(found("CCO,1,2\nC,3,4\n"), ["CCO", "C"]);
        assert!(found("").is_empty());
        // A blank first line is not a heading, and neither is a molecule.
        assert_eq!(found("\nC\n"), ["C"]);
    }

    #[test]
    fn tables() {
        assert_eq!(found("mol_id,smiles,A\ngdb_1,C,1\ngdb_2,N,2\n"), ["C", "N"]);
        assert_eq!(found("\u{feff}smiles,logP\n\"CC(C)O\n\",0.1\n\"C\n\",0.2\n"), ["CC(C)O", "C"]);
        assert_eq!(found("id\tSMILES\n1\tCCO\n2\n3\tC\n"), ["CCO", "C"]);
        assert_eq!(found("a;smiles\n\"x\"\"y;z\";CO\n"), ["CO"]);
        assert_eq!(smiles("a,b\nC,N\n", Some("B")).unwrap(), ["N"]);
        let message = smiles("a,b\nC,N\n", Some("c")).unwrap_err().to_string();
        assert!(message.contains("`c` is not a column") && message.contains("a,b"), "{message}");
    }
}
