//! Stand-in for rewards of molecules in a build without the feature `chem`: there are none.

use super::error::SpecError;
use super::leaf::{Context, Leaf};
use super::parse::Argument;

/// The names, as error messages list them.
pub(super) const NAMES: &[&str] = &[];

pub(super) fn leaf<'a>(_: &str, _: &[Argument], _: Context<'a>) -> Result<Option<Box<dyn Leaf + 'a>>, SpecError> {
    Ok(None)
}
