//! What the samples of trained models have to be.

use std::sync::Arc;

use crate::data::{Layout, Schema};
use crate::flow_map::sample::{Rules, SampleRequest};
use crate::run::trained::RequestError;

/// The rules of flow maps: [structural zeros](crate::structural_zeros) of tables, and the correction of molecules if it is asked for.
pub(in crate::run) fn rules(schema: &Schema, request: &SampleRequest) -> Option<Arc<dyn Rules>> {
    match &schema.layout {
        Layout::Columns(table) if !table.structural_zeros().is_empty() => {
            Some(Arc::new(table.structural_zeros().clone()))
        }
        _ => correction(schema, request),
    }
}

/// The correction of molecules, if it is asked for and items are some.
pub(super) fn correction(schema: &Schema, request: &SampleRequest) -> Option<Arc<dyn Rules>> {
    if !request.correct {
        return None;
    }
    match &schema.layout {
        #[cfg(feature = "chem")]
        Layout::Graph(graph) if graph.is_molecular() => Some(Arc::new(crate::data::molecules::Correction::new(graph))),
        _ => None,
    }
}

/// Checks that what is to be corrected can be.
pub(super) fn check_correction(schema: &Schema, request: &SampleRequest) -> Result<(), RequestError> {
    let molecules = match &schema.layout {
        #[cfg(feature = "chem")]
        Layout::Graph(graph) => graph.is_molecular(),
        _ => false,
    };
    if request.correct && !molecules {
        return Err(RequestError("valences are corrected in samples of models of molecules only".into()));
    }
    Ok(())
}

#[cfg(feature = "chem")]
impl Rules for crate::data::molecules::Correction {
    fn hold(&self, ids: &[u32]) -> bool {
        self.holds(ids)
    }

    fn mend(&self, ids: &mut [u32], law: &[f64], open: &dyn Fn(usize, usize) -> bool) {
        crate::data::molecules::Correction::mend(self, ids, law, open);
    }
}
