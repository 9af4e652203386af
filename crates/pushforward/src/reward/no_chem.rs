//! Stand-ins for a build without chemistry, which has no rewards of molecules.

use super::error::SpecError;
use super::leaf::{Context, Leaf};
use super::parse::Argument;
use crate::data::Schema;

/// Facts about a molecule: none.
pub(super) enum Facts {}

impl Facts {
    pub(super) fn of(_: &[u32], _: &Schema) -> Option<Vec<Option<Self>>> {
        None
    }
}

/// The names, as error messages list them: none.
pub(super) const NAMES: &[&str] = &[];

pub(super) fn leaf<'a>(_: &str, _: &[Argument], _: Context<'a>) -> Result<Option<Box<dyn Leaf + 'a>>, SpecError> {
    Ok(None)
}
