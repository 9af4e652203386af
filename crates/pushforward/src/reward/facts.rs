//! Properties of molecules that are computed once and shared by all rewards of an expression.

use crate::chem::{Perceived, check};
use crate::data::{Layout, Schema};

/// A valid molecule with its aromatic rings perceived.
pub(super) struct Facts(pub(super) Perceived);

impl Facts {
    /// The facts of every item, `None` for an item that is not a single valid molecule. `None` altogether if the items
    /// are not molecules.
    pub(super) fn of(ids: &[u32], schema: &Schema) -> Option<Vec<Option<Self>>> {
        let Layout::Graph(layout) = &schema.layout else { return None };
        if !layout.is_molecular() {
            return None;
        }
        let fact = |row: &[u32]| {
            let verdict = check(&layout.molecule(row));
            Perceived::of(verdict.strict()?).ok().map(Self)
        };
        Some(ids.chunks(schema.sites).map(fact).collect())
    }
}
