//! The part of an item that is read once, without knowing the others.

use crate::data::DataError;
use crate::hash::sha256;
use crate::rng::{Purpose, stream};

/// Share of the items that each held-out part has.
const HELD_OUT: f64 = 0.05;

/// How parts are decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::data) enum Parting {
    /// Each item has its part; a held-out part that has none gets one in twenty training items.
    Given { validation: bool, test: bool },
    /// An item's content decides, so that equal ones are in one part.
    Drawn,
}

impl Parting {
    /// The part of an item: the given one, or the one that its content draws.
    pub(in crate::data) fn part(self, given: Option<u8>, content: impl FnOnce() -> u64, seed: u64) -> u8 {
        let uniform = || stream(seed, Purpose::Split, content()).uniform();
        match (self, given) {
            (Self::Given { validation, test }, Some(0)) if !(validation && test) => match uniform() {
                draw if draw < HELD_OUT && !validation => 1,
                draw if draw > 1.0 - HELD_OUT && !test => 2,
                _ => 0,
            },
            (Self::Given { .. }, given) => given.unwrap_or(0),
            (Self::Drawn, _) => match uniform() {
                draw if draw < HELD_OUT => 1,
                draw if draw < 2.0 * HELD_OUT => 2,
                _ => 0,
            },
        }
    }

    /// The hash of a set, given that of its source: another one if parts are not those of the source read at once.
    pub(in crate::data) fn sha256(self, source: String, seed: u64) -> String {
        match self {
            Self::Given { validation: true, test: true } => source,
            _ => sha256([format!("{source} {self:?} {HELD_OUT} {seed}")]),
        }
    }

    /// What to say about it; `how` says what is drawn.
    pub(in crate::data) fn note(self, how: &str) -> Option<String> {
        let what = match self {
            Self::Given { validation: true, test: true } => return None,
            Self::Given { validation: true, .. } => "one in twenty training items tests",
            Self::Given { test: true, .. } => "one in twenty training items validates",
            Self::Given { .. } | Self::Drawn => {
                "about nine in ten items train, one in twenty validates, one in twenty tests"
            }
        };
        Some(format!("{what}: {how}"))
    }

    /// Refuses numbers of items, which drawing item by item cannot keep.
    pub(in crate::data) fn refuse_counts(train: Option<usize>, validation: Option<usize>) -> Result<(), DataError> {
        let key = if train.is_some() { "train" } else { "validation" };
        if train.or(validation).is_none() {
            return Ok(());
        }
        let problem = "counts items, and the parts of a set that is prepared are drawn item by item: leave it out, or \
                       give the parts by a column or by files (data.split)";
        Err(DataError::Setting { key, problem: problem.into() })
    }
}

/// A hash of the classes of an item (FNV-1a of 64 bits).
pub(in crate::data) fn content(ids: &[u32]) -> u64 {
    bytes(ids.iter().flat_map(|id| id.to_le_bytes()))
}

/// A hash of bytes (FNV-1a of 64 bits).
pub(in crate::data) fn bytes(bytes: impl IntoIterator<Item = u8>) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, step)
}

/// Checks that every part has an item.
pub(in crate::data) fn check_parts(counts: [u64; 3]) -> Result<(), String> {
    let [train, validation, test] = counts;
    if counts.contains(&0) {
        return Err(format!(
            "{train} items to train, {validation} to validate and {test} to test; each part needs one. Small sets need not \
             be prepared, and parts may be given by a column or by files (data.split)"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_have_their_shares_and_equal_items_are_together() {
        let part = |item: u32, seed| Parting::Drawn.part(None, || content(&[item, 7]), seed);
        let mut counts = [0; 3];
        (0..20_000).for_each(|item| counts[usize::from(part(item, 0))] += 1);
        assert!((850..1150).contains(&counts[1]) && (850..1150).contains(&counts[2]), "{counts:?}");
        assert!((0..100).all(|item| part(item, 3) == part(item, 3)));
        assert!((0..100).any(|item| part(item, 3) != part(item, 4)));
        let given = Parting::Given { validation: true, test: true };
        assert_eq!([0, 1, 2].map(|part| given.part(Some(part), || unreachable!("it is given"), 0)), [0, 1, 2]);
        let some = Parting::Given { validation: false, test: true };
        let drawn = (0..2000).filter(|&item| some.part(Some(0), || content(&[item]), 0) == 1).count();
        assert!((60..140).contains(&drawn), "{drawn}");
        assert_eq!(some.part(Some(2), || 0, 0), 2);
        let tests = Parting::Given { validation: true, test: false };
        let drawn = (0..2000).filter(|&item| tests.part(Some(0), || content(&[item]), 0) == 2).count();
        assert!((60..140).contains(&drawn), "{drawn}");
        assert_eq!(given.sha256("a".into(), 0), "a");
        assert_ne!(Parting::Drawn.sha256("a".into(), 0), Parting::Drawn.sha256("a".into(), 1));
    }
}
