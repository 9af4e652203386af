//! Rewards of molecules.

use super::error::SpecError;
use super::leaf::{Context, Items, Leaf, argument_error, bare, quoted};
use super::parse::Argument;
use crate::chem::fingerprint::Fingerprint;
use crate::chem::substructure::Pattern;
use crate::chem::{Perceived, Properties};
use crate::data::Layout;
use crate::metrics::similarity::tanimoto;

/// The names, as error messages list them.
pub(super) const NAMES: &[&str] =
    &["qed", "logp", "tpsa", "weight", "rings", "substructure(\"SMARTS\")", "tanimoto(\"SMILES\")"];

pub(super) fn leaf<'a>(
    name: &str,
    arguments: &[Argument],
    context: Context<'a>,
) -> Result<Option<Box<dyn Leaf + 'a>>, SpecError> {
    let Layout::Graph(layout) = &context.schema.layout else { return Ok(None) };
    if !layout.is_molecular() {
        return Ok(None);
    }
    Ok(Some(match name {
        "substructure" => {
            let pattern = Pattern::of(quoted(name, arguments)?).map_err(|e| argument_error(name, e))?;
            Box::new(OfMolecule(move |m: &Perceived| f64::from(u8::from(m.contains(&pattern)))))
        }
        "tanimoto" => {
            let wanted = quoted(name, arguments)?;
            let target: Fingerprint =
                Perceived::of(wanted).map_err(|e| argument_error(name, format!("{wanted:?}: {e}")))?.fingerprint();
            Box::new(OfMolecule(move |m: &Perceived| tanimoto(&m.fingerprint(), &target)))
        }
        _ => {
            let Some(place) = Properties::NAMES.iter().position(|n| *n == name) else { return Ok(None) };
            bare(name, arguments)?;
            Box::new(OfMolecule(move |m: &Perceived| m.properties().values()[place]))
        }
    }))
}

/// A function of a valid molecule; 0 for invalid ones, whose reward is overwritten by `INVALID`.
struct OfMolecule<F>(F);

impl<F: Fn(&Perceived) -> f64> Leaf for OfMolecule<F> {
    fn score(&self, items: &Items<'_>) -> Vec<f64> {
        items.facts.iter().map(|facts| facts.as_ref().map_or(0.0, |f| (self.0)(&f.0))).collect()
    }
}
