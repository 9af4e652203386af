//! Synthetic data sets, each with an exact check of its samples.
//!
//! # Examples
//! ```
//! use pushforward::data::synthetic::{echo, sums};
//! assert!(echo::is_echo(&[2, 0, 2, 0]));
//! // 3+9=12: classes 0 to 9 are the digits, 10 is + and 11 is =.
//! assert_eq!(sums::check(&[3, 10, 9, 11, 1, 2]), sums::Verdict::Correct);
//! ```

pub mod checker;
mod classify;
pub mod echo;
pub mod glyphs;
mod rule;
mod strokes;
pub mod sums;
