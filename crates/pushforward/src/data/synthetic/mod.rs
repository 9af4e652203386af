//! Sets that the program makes itself, each with an exact check of its samples.

pub mod checker;
mod classify;
pub mod echo;
pub mod glyphs;
mod rule;
mod strokes;
pub mod sums;
