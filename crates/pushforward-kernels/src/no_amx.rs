//! Stand-in for `amx.rs` on platforms without bfloat16 instructions.

use super::matrix::Matrix;

pub(super) fn serves(_: usize) -> bool {
    false
}

/// Uninhabited: no factor can be packed.
pub(super) enum Panels {}

impl Panels {
    /// # Panics
    /// Always.
    pub(super) unsafe fn packed(_: Matrix<'_>, _: usize, _: usize, _: usize) -> Self {
        unreachable!("there are no such instructions");
    }
}

pub(super) unsafe fn multiply(_: *mut f32, _: usize, _: usize, _: Matrix<'_>, b: &Panels, _: bool) {
    match *b {}
}
