//! Parts of a sample, of scores, of steered samples or of a set that is prepared, which several processes make, each its own range, and
//! the whole that they make together.
//!
//! A part is written beside a description (`.part.json`): what it is a part of, which items it has, and its SHA-256. Items
//! belong to their index and seed, and parts begin where a batch would, so that the whole is what one process writes.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use pushforward::hash::{sha256, sha256_of};
use serde::{Deserialize, Serialize};

use crate::exit::{Failure, OrFail as _};
use crate::files::write_atomic;

/// One of several parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shard {
    /// Which one, from 1.
    pub(crate) index: usize,
    /// How many there are.
    pub(crate) of: usize,
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no part such as 2/8: the second of eight");
        let (index, of) = text.split_once('/').ok_or_else(wrong)?;
        let (index, of) = (index.parse().map_err(|_| wrong())?, of.parse().map_err(|_| wrong())?);
        if (1..=of).contains(&index) && of <= MOST { Ok(Self { index, of }) } else { Err(wrong()) }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.index, self.of)
    }
}

/// Most parts.
const MOST: usize = 1 << 20;
/// Formats whose parts can be put together.
const FORMATS: [&str; 7] = ["jsonl", "csv", "txt", "smi", "fasta", "fa", "safetensors"];

impl Shard {
    /// Its items of `count`, in whole batches, as if all were drawn by one process.
    pub(crate) fn range(self, count: usize, batch: usize) -> Range<usize> {
        let batches = count.div_ceil(batch);
        let at = |index: usize| (index * batches / self.of * batch).min(count);
        at(self.index - 1)..at(self.index)
    }

    /// The file of the part: `new.smi` as `new-2-of-8.smi`.
    ///
    /// # Errors
    /// If parts of that format cannot be put together.
    pub(crate) fn file(self, whole: &Path) -> Result<PathBuf, Failure> {
        let ending = whole.extension().and_then(|e| e.to_str()).unwrap_or_default().to_lowercase();
        if !FORMATS.contains(&ending.as_str()) {
            return Err(Failure::request(format!("parts of {} cannot be put together again", whole.display()))
                .hint(format!("--shard is for files that end in .{}", FORMATS.join(", ."))));
        }
        Ok(self.named(whole, &ending))
    }

    /// The file of the part of that ending.
    pub(crate) fn named(self, whole: &Path, ending: &str) -> PathBuf {
        let stem = whole.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        whole.with_file_name(format!("{stem}-{}-of-{}.{ending}", self.index, self.of))
    }
}

/// The items of a part, or all, of `count` in batches.
///
/// # Errors
/// If there are none.
pub(crate) fn part(shard: Option<Shard>, count: usize, batch: usize) -> Result<Range<usize>, Failure> {
    let Some(shard) = shard else { return Ok(0..count) };
    let items = shard.range(count, batch);
    if items.is_empty() {
        return Err(Failure::request(format!("part {shard} has no items: {count} are fewer batches of {batch}"))
            .hint("take fewer parts, or a smaller --batch"));
    }
    Ok(items)
}

/// A file by its content, in place of its path.
pub(crate) fn hash_of(path: &Path) -> Result<PathBuf, Failure> {
    let bytes = std::fs::read(path).map_err(|e| Failure::request(format!("{}: {e}", path.display())))?;
    Ok(PathBuf::from(sha256([bytes])))
}

/// The hash of a file that is read in pieces.
pub(crate) fn hash_of_file(path: &Path) -> Result<String, Failure> {
    let found = std::fs::File::open(path).and_then(|mut file| sha256_of(&mut file));
    found.map_err(|e| Failure::request(format!("{}: {e}", path.display())))
}

/// What a file is a part of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Part {
    pub(crate) shard: Shard,
    /// SHA-256 of the model; empty for data.
    pub(crate) model: String,
    /// All settings of the whole that decide what its items are; those of data in JSON.
    pub(crate) settings: String,
    /// Number of items of the whole; of steered samples, of populations; of data, of parts.
    pub(crate) count: usize,
    /// Its items.
    pub(crate) items: Range<usize>,
    /// Bytes at the beginning of the file that name columns.
    pub(crate) heading: usize,
    /// SHA-256 of the file.
    pub(crate) sha256: String,
}

impl Part {
    /// The path of the description of a file.
    fn path(file: &Path) -> PathBuf {
        let mut name = file.as_os_str().to_owned();
        name.push(".part.json");
        name.into()
    }

    /// Writes the description beside the file that it is of.
    pub(crate) fn save(&self, file: &Path) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(self).or_run()? + "\n";
        write_atomic(&Self::path(file), text.as_bytes()).or_run()
    }

    /// Reads a file and its description.
    pub(crate) fn read(file: &Path) -> Result<(Self, Vec<u8>), Failure> {
        let part = Self::described(file)?;
        let bytes = std::fs::read(file).map_err(|e| Failure::request(format!("{}: {e}", file.display())))?;
        part.check(file, &sha256([&bytes]))?;
        Ok((part, bytes))
    }

    /// As [`Self::read`], but leaves the file, which may be larger than memory, on the disk.
    pub(crate) fn of_file(file: &Path) -> Result<Self, Failure> {
        let part = Self::described(file)?;
        part.check(file, &hash_of_file(file)?)?;
        Ok(part)
    }

    /// Compares the checksum of the file.
    fn check(&self, file: &Path, sha256: &str) -> Result<(), Failure> {
        if self.sha256 == sha256 {
            return Ok(());
        }
        let file = file.display();
        Err(Failure::request(format!(
            "{file}: it is not what was written: its checksum differs from that in its description"
        )))
    }

    fn described(file: &Path) -> Result<Self, Failure> {
        let refuse = |problem: String| Failure::request(format!("{}: {problem}", file.display()));
        let about = Self::path(file);
        let text = std::fs::read_to_string(&about).map_err(|e| {
            refuse(format!("its description {} cannot be read ({e})", about.display()))
                .hint("parts are written by `sample --shard I/N`, and by `score`, `steer` and `data prepare` likewise")
        })?;
        serde_json::from_str(&text).map_err(|e| refuse(format!("its description is damaged: {e}")))
    }
}

/// Parts in order, compared with each other.
///
/// # Errors
/// If two are of different models, settings or sizes, or if parts are missing or there twice.
pub(crate) fn ordered(mut parts: Vec<(PathBuf, Part, Vec<u8>)>) -> Result<Vec<(PathBuf, Part, Vec<u8>)>, Failure> {
    parts.sort_by_key(|(_, part, _)| part.shard.index);
    let Some((first_path, first, _)) = parts.first() else { return Err(Failure::request("there are no parts")) };
    for (path, part, _) in &parts {
        let differs = |what: &str| {
            let (a, b) = (first_path.display(), path.display());
            Err(Failure::request(format!("{a} and {b} are parts of different wholes: {what} differs")))
        };
        if part.model != first.model {
            return differs("the model");
        }
        if part.settings != first.settings {
            return differs("a setting");
        }
        if (part.shard.of, part.count) != (first.shard.of, first.count) {
            return differs("the number of parts or items");
        }
    }
    for index in 1..=first.shard.of {
        let having: Vec<&PathBuf> =
            parts.iter().filter(|(_, p, _)| p.shard.index == index).map(|(path, ..)| path).collect();
        match having[..] {
            [_] => {}
            [] => {
                let part = Shard { index, of: first.shard.of };
                return Err(Failure::request(format!("part {part} is missing")));
            }
            [a, b, ..] => {
                return Err(Failure::request(format!("{} and {} are the same part", a.display(), b.display())));
            }
        }
    }
    let mut next = 0;
    for (path, part, _) in &parts {
        if part.items.start != next {
            return Err(Failure::request(format!(
                "{}: its items begin at {}, not at {next}",
                path.display(),
                part.items.start
            )));
        }
        next = part.items.end;
    }
    if next != first.count {
        return Err(Failure::request(format!("the parts have {next} of {} items", first.count)));
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_all_items_in_whole_batches() {
        for (count, batch, of) in [(1000, 64, 4), (10, 64, 3), (64, 64, 1), (129, 64, 2), (1_000_000, 256, 7)] {
            let mut next = 0;
            for index in 1..=of {
                let range = Shard { index, of }.range(count, batch);
                assert!(
                    range.start == next && (range.start.is_multiple_of(batch) || range.is_empty()),
                    "{count} {batch} {of}"
                );
                next = range.end;
            }
            assert_eq!(next, count);
        }
        assert_eq!("2/8".parse(), Ok(Shard { index: 2, of: 8 }));
        for wrong in ["0/2", "3/2", "a/2", "2", "1/0", "-1/2", "1/99999999999"] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
        assert_eq!(Shard { index: 2, of: 8 }.file(Path::new("a/new.smi")).unwrap(), Path::new("a/new-2-of-8.smi"));
        assert!(Shard { index: 2, of: 8 }.file(Path::new("new.png")).is_err());
    }

    #[test]
    fn gaps_doubles_and_other_samples_are_refused() {
        let part = |index: usize, model: &str| {
            let shard = Shard { index, of: 3 };
            let part = Part {
                shard,
                model: model.into(),
                settings: String::new(),
                count: 300,
                items: shard.range(300, 10),
                heading: 0,
                sha256: String::new(),
            };
            (PathBuf::from(format!("p{index}")), part, Vec::new())
        };
        let check = |parts: Vec<_>| ordered(parts).map(|parts| parts.len()).map_err(|e| e.text());
        assert_eq!(check(vec![part(3, "m"), part(1, "m"), part(2, "m")]), Ok(3));
        assert!(check(vec![part(3, "m"), part(1, "m")]).unwrap_err().contains("part 2 of 3 is missing"));
        assert!(
            check(vec![part(1, "m"), part(2, "m"), part(2, "m"), part(3, "m")]).unwrap_err().contains("the same part")
        );
        assert!(check(vec![part(1, "m"), part(2, "n"), part(3, "m")]).unwrap_err().contains("the model differs"));
        let (path, mut wrong, bytes) = part(2, "m");
        wrong.items.end -= 1;
        assert!(check(vec![part(1, "m"), (path, wrong, bytes), part(3, "m")]).unwrap_err().contains("begin at"));
        assert!(check(Vec::new()).is_err());
    }
}
