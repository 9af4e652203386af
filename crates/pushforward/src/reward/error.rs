//! Errors of reward specifications.

/// Why a reward specification cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SpecError {
    /// The text does not follow the grammar.
    #[error("the reward, at character {position}: expected {wanted}, found {found}")]
    Syntax {
        /// Position in the text in characters, from 1.
        position: usize,
        /// What is expected there.
        wanted: &'static str,
        /// What was found.
        found: String,
    },
    /// The expression is nested too deeply or has too many parts.
    #[error("the reward has more than {most} {what}")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        most: usize,
    },
    /// There is no reward of that name for this kind of data.
    #[error("there is no reward {name:?} for {kind}: the choices are {choices}")]
    Unknown {
        /// The name.
        name: String,
        /// The kind of data.
        kind: &'static str,
        /// The names that exist.
        choices: String,
    },
    /// The arguments are of the wrong number, kind or range.
    #[error("{name}: {problem}")]
    Argument {
        /// The reward.
        name: String,
        /// What is wrong.
        problem: String,
    },
}
