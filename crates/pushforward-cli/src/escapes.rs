//! Texts of one line: escapes for what a line cannot hold.
//!
//! `\n`, `\r`, `\t` and `\0` are a line break, a carriage return, a tab and NUL; `\\` is a backslash. A backslash before
//! any other character is an error, so that nothing is read as something else. Files of samples (.txt) are written so,
//! and files of items and the options that take text are read so.

/// The text in one line.
pub(crate) fn escape(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => line.push_str(r"\\"),
            '\n' => line.push_str(r"\n"),
            '\r' => line.push_str(r"\r"),
            '\t' => line.push_str(r"\t"),
            '\0' => line.push_str(r"\0"),
            other => line.push(other),
        }
    }
    line
}

/// The characters of a line, and whether each was escaped; `\_` is an underscore, for options where a bare one is a
/// blank.
///
/// # Errors
/// Names the escape that does not exist.
pub(crate) fn characters(line: &str) -> Result<Vec<(char, bool)>, String> {
    let mut found = Vec::new();
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            found.push((c, false));
            continue;
        }
        let escaped = match rest.next() {
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('0') => '\0',
            Some(c @ ('\\' | '_')) => c,
            other => {
                let end = other.map_or("at the end".to_owned(), |c| format!("before {c:?}"));
                return Err(format!(r"a backslash {end} is no escape: write \\ for a backslash, \n for a line break"));
            }
        };
        found.push((escaped, true));
    }
    Ok(found)
}

/// The text of a line.
///
/// # Errors
/// As [`characters`].
pub(crate) fn unescape(line: &str) -> Result<String, String> {
    Ok(characters(line)?.into_iter().map(|(c, _)| c).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_comes_back_from_its_line() {
        for text in ["plain", "two\nlines", "\\n is no break", "a\tb\r\n\0", "\u{23ce}", "_"] {
            let line = escape(text);
            assert!(!line.contains(['\n', '\r', '\0']), "{line:?}");
            assert_eq!(unescape(&line).as_deref(), Ok(text));
        }
        assert_eq!(characters(r"a_\_"), Ok(vec![('a', false), ('_', false), ('_', true)]));
        assert!(unescape(r"a\q").unwrap_err().contains("'q'") && unescape("\\").unwrap_err().contains("at the end"));
    }
}
