//! Items of a user's file as class indices: lines of text, samples as JSON lines, sequences, rows of tables, images.

use std::path::Path;

use pushforward::data::graph::ABSENT;
use pushforward::data::images::idx::Idx;
use pushforward::data::images::pictures;
use pushforward::data::sequences::read_sequences;
use pushforward::data::tables::{TableFile, TableLayout};
use pushforward::data::{Layout, Schema, Vocabulary, read_text};

use crate::escapes::unescape;
use crate::exit::{Failure, OrFail as _};

/// Reads at most `most` items of a schema.
///
/// Text is read as `sample` writes it: `.jsonl` files have one object a line with the key `text`, other files one item
/// a line with [escapes](crate::escapes). Empty lines are skipped, and so is a byte order mark.
pub(crate) fn read(path: &Path, schema: &Schema, most: usize) -> Result<Vec<u32>, Failure> {
    match &schema.layout {
        Layout::Text { vocabulary } => text(path, vocabulary, schema.sites, most),
        Layout::Image { height, width } => images(path, [*height, *width], schema.classes as u32, most),
        Layout::Sequence(layout) => read_sequences(path, layout, most).or_request(),
        Layout::Columns(layout) => Ok(rows(path, layout, most)?.0),
        Layout::Table | Layout::Graph(_) => {
            Err(Failure::request("items of this kind are taken from the test split: leave the file out"))
        }
    }
}

/// At most `most` rows of a table, and the line of each in its file.
pub(crate) fn rows(path: &Path, table: &TableLayout, most: usize) -> Result<(Vec<u32>, Vec<u64>), Failure> {
    let file = TableFile::read(path, table).or_request()?;
    let count = file.rows().min(most);
    let mut ids = Vec::with_capacity(count * table.sites().count());
    for row in 0..count {
        for (column, class) in table.sites().zip(file.encode(row, table).or_request()?) {
            let class = class.or(column.missing_class()).or(table.has_holes().then_some(ABSENT)).ok_or_else(|| {
                let (line, name) = (file.line(row), column.name());
                Failure::request(format!("line {line}: `{name}` is missing, and in no training row it was"))
                    .hint("fill such cells in first: pushforward impute")
            })?;
            ids.push(class);
        }
    }
    Ok((ids, (0..count).map(|row| file.line(row)).collect()))
}

fn text(path: &Path, vocabulary: &Vocabulary, sites: usize, most: usize) -> Result<Vec<u32>, Failure> {
    let content = read_text(path).or_request()?;
    let json = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("jsonl"));
    let mut ids = Vec::new();
    let lines = content.lines().enumerate().filter(|(_, line)| !line.is_empty());
    for (number, line) in lines.take(most) {
        let wrong = |problem: String| Failure::request(format!("{}, line {}: {problem}", path.display(), number + 1));
        let item = if json { of_json(line) } else { unescape(line) }.map_err(wrong)?;
        let item = vocabulary.encode(&item).map_err(|e| wrong(e.to_string()))?;
        if item.len() != sites {
            return Err(wrong(format!("{} symbols, the model has {sites}", item.len())));
        }
        ids.extend(item);
    }
    if ids.is_empty() { Err(Failure::request(format!("{} holds no items", path.display()))) } else { Ok(ids) }
}

fn of_json(line: &str) -> Result<String, String> {
    let value: serde_json::Value = serde_json::from_str(line).map_err(|e| format!("not a JSON object: {e}"))?;
    value["text"].as_str().map(str::to_owned).ok_or_else(|| "the object has no text under the key \"text\"".to_owned())
}

fn images(path: &Path, size: [usize; 2], levels: u32, most: usize) -> Result<Vec<u32>, Failure> {
    if path.is_dir() || pictures::is_picture(path) {
        let found = pictures::load(path, [1, size[0], size[1]], None).or_request()?.images.pixels;
        let pixels = found.iter().take(most.saturating_mul(size[0] * size[1]));
        return Ok(pixels.map(|&v| u32::from(v) * levels / 256).collect());
    }
    let file = Idx::read(path).or_request()?;
    let found = file.dims.get(1..).unwrap_or_default();
    let [height, width] = size;
    if found != size {
        let problem = format!("holds images of shape {found:?}, the model has {height} x {width}");
        return Err(Failure::request(format!("{} {problem}", path.display())));
    }
    let pixels = file.data.iter().take(most.saturating_mul(height * width));
    Ok(pixels.map(|&v| (u32::from(v) * levels / 256).min(levels - 1)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(name: &str, content: &str) -> Result<Vec<u32>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        let vocabulary = Vocabulary::Characters("ab\n\\".chars().collect());
        let schema = Schema { sites: 2, classes: 4, layout: Layout::Text { vocabulary } };
        read(&path, &schema, usize::MAX).map_err(|failure| format!("{failure:?}"))
    }

    #[test]
    fn what_samples_are_written_as_is_read() {
        assert_eq!(read_text("a.txt", "\u{feff}ab\r\n\na\\n\n\\\\b\n"), Ok(vec![0, 1, 0, 2, 3, 1]));
        assert_eq!(read_text("a.jsonl", "{\"text\": \"a\\n\", \"nfe\": 1}\n"), Ok(vec![0, 2]));
    }

    #[test]
    fn mistakes_have_the_number_of_their_line() {
        for (name, content, part) in [
            ("a.txt", "ab\n\n\nxb\n", "line 4: character 'x'"),
            ("a.txt", "\nab\nabb\n", "line 3: 3 symbols"),
            ("a.txt", "ab\n\na\\q\n", "line 3: a backslash before 'q'"),
            ("a.jsonl", "{\"text\": \"ab\"}\n{}\n", "line 2: the object has no text"),
            ("a.txt", "\n\n", "holds no items"),
        ] {
            let message = read_text(name, content).unwrap_err();
            assert!(message.contains(part), "{message}");
        }
    }
}
