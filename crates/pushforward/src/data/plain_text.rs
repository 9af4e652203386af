//! One rule for the text of every file: a byte order mark at the beginning is dropped, `\r\n` and a lone `\r` are line
//! breaks like `\n`, and NUL is refused.
//!
//! Text without these is not changed. NUL does not occur in text; it is the sign of a binary file, or of UTF-16.

use super::DataError;

/// A text by the rule, and what was changed for it.
pub(crate) struct PlainText {
    pub(crate) text: String,
    /// What was dropped or replaced, one sentence each.
    pub(crate) notes: Vec<String>,
    /// Whether the first line is known to name the columns of those below.
    pub(crate) headed: bool,
}

impl PlainText {
    /// # Errors
    /// The line of the first NUL, counted from 1.
    pub(crate) fn of(text: String) -> Result<Self, u64> {
        let (mut text, mut marked, mut returns) = (text, false, [0; 2]);
        if let Some(rest) = text.strip_prefix('\u{feff}') {
            (text, marked) = (rest.to_owned(), true);
        }
        if text.contains('\r') {
            let both = text.matches("\r\n").count() as u64;
            returns = [both, text.matches('\r').count() as u64 - both];
            text = text.replace("\r\n", "\n").replace('\r', "\n");
        }
        let notes = notes(marked, returns);
        match text.find('\0') {
            Some(place) => Err(line_of(&text, place)),
            None => Ok(Self { text, notes, headed: false }),
        }
    }
}

/// What to say about a byte order mark, and about so many `\r\n` and lone `\r`.
pub(crate) fn notes(marked: bool, [both, lone]: [u64; 2]) -> Vec<String> {
    let mark = marked.then(|| "dropped the byte order mark (U+FEFF) at the beginning".to_owned());
    let count = |n: u64, name: &str| (n > 0).then(|| format!("{n} {name}"));
    let counts: Vec<String> =
        [count(both, "CR LF (U+000D U+000A)"), count(lone, "lone CR (U+000D)")].into_iter().flatten().collect();
    let breaks = (!counts.is_empty()).then(|| format!("read as line breaks: {}", counts.join(" and ")));
    mark.into_iter().chain(breaks).collect()
}

/// The line of a byte of a text, from 1.
pub(crate) fn line_of(text: &str, place: usize) -> u64 {
    text.as_bytes()[..place].iter().filter(|&&byte| byte == b'\n').count() as u64 + 1
}

/// The characters of a list that a text rarely means: control characters besides line break and tab, byte order marks,
/// and others that show no sign. `None` if there are none.
pub(crate) fn unusual(symbols: &[char]) -> Option<String> {
    let odd = |&c: &char| {
        (c.is_control() && !matches!(c, '\n' | '\t'))
            || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
            || matches!(c, '\u{feff}' | '\u{fff9}'..='\u{fffd}' | '\u{e000}'..='\u{f8ff}')
    };
    let found: Vec<char> = symbols.iter().copied().filter(odd).collect();
    let shown: Vec<String> = found.iter().take(20).map(|&c| format!("U+{:04X}", u32::from(c))).collect();
    let more =
        if found.len() > shown.len() { format!(" and {} more", found.len() - shown.len()) } else { String::new() };
    (!found.is_empty()).then(|| format!("unusual symbols of the text: {}{more}", shown.join(", ")))
}

/// The error of a NUL.
pub(crate) fn nul(path: &std::path::Path, line: u64) -> DataError {
    DataError::Malformed {
        path: path.to_owned(),
        place: "line",
        offset: line,
        expected: "text, which has no NUL (U+0000; UTF-16 is to be converted to UTF-8)".into(),
        found: "U+0000".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_go_line_ends_become_one_and_nul_is_refused() {
        let plain = |text: &str| PlainText::of(text.to_owned()).map(|plain| (plain.text, plain.notes.len()));
        assert_eq!(plain("a\nb\u{feff}\t"), Ok(("a\nb\u{feff}\t".to_owned(), 0)));
        assert_eq!(plain("\u{feff}a\r\nb\rc\n\r"), Ok(("a\nb\nc\n\n".to_owned(), 2)));
        assert_eq!(plain("a\r\nb\0"), Err(2));
        assert_eq!(unusual(&['a', '\n', '\t', 'é']), None);
        let said = unusual(&['\u{7}', 'a', '\u{feff}']).unwrap();
        assert!(said.ends_with("U+0007, U+FEFF"), "{said}");
    }
}
