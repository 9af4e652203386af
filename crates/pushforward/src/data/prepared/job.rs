//! What is prepared, by which process, and how far it is.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::data::DataError;

/// Which share of the items of a source.
///
/// # Examples
/// See [`DataConfig::prepare_share`](crate::data::DataConfig::prepare_share).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Its number, from 0.
    pub index: usize,
    /// Number of shares.
    pub of: usize,
}

/// What a process does of a preparation.
#[derive(Clone, Copy)]
pub(in crate::data) enum Role<'a> {
    /// Everything.
    Alone,
    /// The items of a share, written to the file of that name.
    Share(Share),
    /// Nothing but putting the shares of these files together, in order.
    Join(&'a [PathBuf]),
}

/// Which share the block that is read now belongs to, and how many blocks there were.
#[derive(Debug, Default)]
pub(in crate::data) struct Turn {
    share: Cell<usize>,
    blocks: Cell<u64>,
}

impl Turn {
    /// Whether the block that is read now belongs to a share.
    pub(in crate::data) fn is_of(&self, share: usize) -> bool {
        self.share.get() == share
    }

    /// Number of blocks so far.
    pub(in crate::data) fn blocks(&self) -> u64 {
        self.blocks.get()
    }

    /// Goes on with the block that begins behind `done` of `total` bytes.
    fn pass(&self, done: u64, total: u64, of: usize) {
        let share = (u128::from(done) * of as u128 / u128::from(total.max(1))) as usize;
        self.share.set(share.min(of - 1));
        self.blocks.set(self.blocks.get() + 1);
    }
}

/// Told what is being done, with how many of how many bytes of the source; `Break` stops.
pub type Watch<'a> = dyn FnMut(&str, u64, u64) -> ControlFlow<()> + 'a;

/// What is prepared, and to where.
pub(in crate::data) struct Job<'a> {
    /// The settings of the source.
    pub(in crate::data) of: Value,
    pub(in crate::data) out: &'a Path,
    pub(in crate::data) watch: &'a mut Watch<'a>,
    /// What this process does of it.
    pub(in crate::data) role: Role<'a>,
    /// Whose block is read, if several do it.
    pub(in crate::data) turn: Rc<Turn>,
}

impl Job<'_> {
    /// Tells of progress, after every block.
    ///
    /// # Errors
    /// If the caller stops.
    pub(in crate::data) fn tell(&mut self, stage: &str, done: u64, total: u64) -> Result<(), DataError> {
        if let Role::Share(share) = self.role {
            self.turn.pass(done, total, share.of);
        }
        if (self.watch)(stage, done, total).is_break() { Err(DataError::Stopped) } else { Ok(()) }
    }
}
