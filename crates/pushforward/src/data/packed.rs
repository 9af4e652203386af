//! Class indices in as few bytes as the largest needs.

/// Class indices of all items, in as few bytes as the largest needs.
pub(crate) enum Packed {
    Bytes(Vec<u8>),
    Words(Vec<u16>),
    Whole(Vec<u32>),
}

impl Packed {
    pub(crate) fn new(length: usize, classes: usize) -> Self {
        match classes {
            ..=256 => Self::Bytes(vec![0; length]),
            257..=65_536 => Self::Words(vec![0; length]),
            _ => Self::Whole(vec![0; length]),
        }
    }

    pub(crate) fn set(&mut self, place: usize, class: u32) {
        match self {
            Self::Bytes(ids) => ids[place] = class as u8,
            Self::Words(ids) => ids[place] = class as u16,
            Self::Whole(ids) => ids[place] = class,
        }
    }

    pub(crate) fn get(&self, place: usize) -> u32 {
        match self {
            Self::Bytes(ids) => u32::from(ids[place]),
            Self::Words(ids) => u32::from(ids[place]),
            Self::Whole(ids) => ids[place],
        }
    }

    pub(crate) fn write(&self, start: usize, out: &mut [u32]) {
        let end = start + out.len();
        match self {
            Self::Bytes(ids) => out.iter_mut().zip(&ids[start..end]).for_each(|(out, &id)| *out = u32::from(id)),
            Self::Words(ids) => out.iter_mut().zip(&ids[start..end]).for_each(|(out, &id)| *out = u32::from(id)),
            Self::Whole(ids) => out.copy_from_slice(&ids[start..end]),
        }
    }
}
