//! Errors of data sets.

use std::path::PathBuf;

/// Why a data set could not be loaded.
///
/// # Examples
/// ```
/// use std::path::Path;
/// use pushforward::data::{DataConfig, DataError};
/// let error = DataConfig::Mnist(Default::default()).load(Path::new("nowhere"), 0).unwrap_err();
/// assert!(matches!(error, DataError::NotFound { .. }));
/// assert!(error.to_string().contains("pushforward data fetch mnist"));
/// ```
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A file of a published set is in none of the searched folders.
    #[error(
        "file not found: looked for {} in {}; run `pushforward data fetch {set}`, put the file there, \
         or name another folder with --data-dir or the data setting `path`",
        looked_for.join(" and "), dirs.iter().map(|d| d.display().to_string()).collect::<Vec<_>>().join(" and ")
    )]
    NotFound {
        /// Name of the set.
        set: String,
        /// File names that were searched for.
        looked_for: Vec<String>,
        /// Folders that were searched.
        dirs: Vec<PathBuf>,
    },
    /// A path in the recipe does not exist.
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
    /// A file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// A file could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The caller stopped a preparation.
    #[error("stopped; nothing was written")]
    Stopped,
    /// A file does not have the expected format.
    #[error(
        "{}, {place} {offset}: expected {expected}, found {found}; the file is damaged or of another kind",
        path.display()
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What the offset counts: `byte`, `decompressed byte`, `compressed byte` or `line`.
        place: &'static str,
        /// Position in the file.
        offset: u64,
        /// What is expected there.
        expected: String,
        /// What was found.
        found: String,
    },
    /// A file, or what a compressed file holds, is too large.
    #[error("{}: {what} more than {most} bytes, the most that is read; take a part of it, or prepare it \
         (`pushforward data prepare`)", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// What is too large.
        what: &'static str,
        /// Most bytes.
        most: u64,
    },
    /// The rows of a table, or the lines of a file, cannot be used.
    #[error("{}: {problem}", path.display())]
    Rows {
        /// The file.
        path: PathBuf,
        /// What is wrong, where, and what to do.
        problem: String,
    },
    /// A column of a table, or a value of it, that does not exist.
    #[error("column `{column}` {problem}")]
    Column {
        /// Its name.
        column: String,
        /// What is wrong, and what is known.
        problem: String,
    },
    /// A picture, or a folder of pictures, that cannot be used.
    #[error("{}: {problem}", path.display())]
    Picture {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong, and what is allowed.
        problem: String,
    },
    /// A setting has a value that is not allowed.
    #[error("data setting `{key}`: {problem}")]
    Setting {
        /// The setting.
        key: &'static str,
        /// What is wrong, and what is allowed.
        problem: String,
    },
    /// A text contains a character that is not in the vocabulary.
    #[error("character {character:?} at byte {offset} is not one of the {size} symbols of the vocabulary")]
    UnknownCharacter {
        /// The character.
        character: char,
        /// Byte offset in the text.
        offset: usize,
        /// Number of symbols of the vocabulary.
        size: usize,
    },
    /// A tokenizer file could not be used, or the tokenizer failed on a text.
    #[error("tokenizer: {problem}")]
    Tokenizer {
        /// The message of the tokenizer.
        problem: String,
    },
}
