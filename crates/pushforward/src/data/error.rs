//! What can go wrong with data.

use std::path::PathBuf;

/// Why a data set could not be had.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A file of a known set is in none of the places it may be in.
    #[error(
        "file not found: looked for {} in {}; run `pushforward data fetch {set}`, put the file there, \
         or name another folder with --data-dir or the data setting `path`",
        looked_for.join(" and "), dirs.iter().map(|d| d.display().to_string()).collect::<Vec<_>>().join(" and ")
    )]
    NotFound {
        /// Name of the set.
        set: String,
        /// File names that would do.
        looked_for: Vec<String>,
        /// Folders they were looked for in.
        dirs: Vec<PathBuf>,
    },
    /// A path in the recipe leads nowhere.
    #[error(
        "`{key}` is {}, which exists neither as given nor in the data folder {}",
        path.display(), data_dir.display()
    )]
    NoSuchPath {
        /// The setting that holds the path.
        key: &'static str,
        /// The path as written.
        path: PathBuf,
        /// The data folder.
        data_dir: PathBuf,
    },
    /// The operating system would not read a file.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error(
        "{}, {place} {offset}: expected {expected}, found {found}; the file is damaged or of another kind",
        path.display()
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What the offset counts: `byte`, `decompressed byte`, `compressed byte` or `line`.
        place: &'static str,
        /// Where in the file.
        offset: u64,
        /// What should be there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A picture, or a folder of pictures, that cannot be used.
    #[error("{}: {problem}", path.display())]
    Picture {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// A setting that cannot work.
    #[error("data setting `{key}`: {problem}")]
    Setting {
        /// The setting.
        key: &'static str,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// A text holds a character that the vocabulary lacks.
    #[error("character {character:?} at byte {offset} is not one of the {size} symbols of the vocabulary")]
    UnknownCharacter {
        /// The character.
        character: char,
        /// Byte offset in the text.
        offset: usize,
        /// Symbols in the vocabulary.
        size: usize,
    },
    /// A tokenizer file could not be used, or the tokenizer failed on a text.
    #[error("tokenizer: {problem}")]
    Tokenizer {
        /// What the tokenizer said.
        problem: String,
    },
}
