//! Memory layout of packed bfloat16 factors: tiles of sixteen rows of sixteen pairs.

/// Rows of a tile, and its columns of 32 bits.
pub(super) const SIDE: usize = 16;

/// Rows, columns and depth of a block that is computed at once: two by two tiles, and the depth of one.
pub(super) const BLOCK: usize = 32;

/// A row of a tile: sixteen pairs of numbers, a pair being neighbours along the depth.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Line(pub(super) [u32; SIDE]);
