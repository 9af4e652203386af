//! What is found out about molecules before their rewards are asked for.

use crate::chem::{Perceived, check};
use crate::data::{Layout, Schema};

/// A valid molecule as descriptors see it.
pub(super) struct Facts(pub(super) Perceived);

impl Facts {
    /// The facts of every item, none for those that are no single valid molecule; none at all where items are no molecules.
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
