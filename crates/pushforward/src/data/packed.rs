//! Class indices in as few bytes as the largest needs.

use crate::node_pairs::ABSENT;

/// Class indices of all items, in as few bytes as the largest needs. The largest number of those bytes is [`ABSENT`].
pub(crate) enum Packed {
    Bytes(Vec<u8>),
    Words(Vec<u16>),
    Whole(Vec<u32>),
}

impl Packed {
    pub(crate) fn new(length: usize, classes: usize) -> Self {
        match classes {
            ..=255 => Self::Bytes(vec![0; length]),
            256..=65_535 => Self::Words(vec![0; length]),
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
            Self::Bytes(ids) => of_byte(ids[place]),
            Self::Words(ids) => of_word(ids[place]),
            Self::Whole(ids) => ids[place],
        }
    }

    pub(crate) fn write(&self, start: usize, out: &mut [u32]) {
        let end = start + out.len();
        match self {
            Self::Bytes(ids) => out.iter_mut().zip(&ids[start..end]).for_each(|(out, &id)| *out = of_byte(id)),
            Self::Words(ids) => out.iter_mut().zip(&ids[start..end]).for_each(|(out, &id)| *out = of_word(id)),
            Self::Whole(ids) => out.copy_from_slice(&ids[start..end]),
        }
    }
}

fn of_byte(id: u8) -> u32 {
    if id == u8::MAX { ABSENT } else { u32::from(id) }
}

fn of_word(id: u16) -> u32 {
    if id == u16::MAX { ABSENT } else { u32::from(id) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_class_and_what_is_absent_come_back() {
        for classes in [2, 255, 256, 257, 65_535, 65_536, 65_537] {
            let mut ids = Packed::new(4, classes);
            let wanted = [0, classes as u32 - 1, ABSENT, 1];
            wanted.iter().enumerate().for_each(|(place, &id)| ids.set(place, id));
            let mut found = [7; 4];
            ids.write(0, &mut found);
            assert_eq!((found, ids.get(1), ids.get(2)), (wanted, wanted[1], ABSENT), "{classes} classes");
        }
    }
}
