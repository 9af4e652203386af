//! Why a specification of a reward cannot be used.

/// Why a specification cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SpecError {
    /// Not the language.
    #[error("the reward, at character {position}: {wanted} is expected, found {found}")]
    Syntax {
        /// Place in the text, from 1.
        position: usize,
        /// What may stand there.
        wanted: &'static str,
        /// What does.
        found: String,
    },
    /// No such reward for these data.
    #[error("there is no reward {name:?} for {kind}: the choices are {choices}")]
    Unknown {
        /// The name.
        name: String,
        /// What the data are.
        kind: &'static str,
        /// The names that fit.
        choices: String,
    },
    /// Arguments that do not fit.
    #[error("{name}: {problem}")]
    Argument {
        /// The reward.
        name: String,
        /// What is wrong.
        problem: String,
    },
}
