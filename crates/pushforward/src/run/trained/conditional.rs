//! Samples that fulfil a condition on some of their sites, such as `age = 30..40` of a table.
//!
//! A site with one class left is fixed, and told to a model that takes any subset. On the other sites of the condition
//! the law of the model given the condition is drawn exactly, by rejection: items are drawn in the order of their
//! indices, and one is kept with the product of the weights of its classes. Where hardly any item is kept, the rest is
//! drawn with the other classes closed, which changes the law.

use crate::flow_map::backbone::BackboneConfig;
use crate::flow_map::constraint::Constraint;
use crate::flow_map::sample::{SampleRequest, Samples};
use crate::rng::{Purpose, stream};
use crate::run::check::site_shape;
use crate::run::trained::RequestError;
use crate::run::trained::flow_map::TrainedFlowMap;

/// Items that are drawn for one that is kept, before the rest is drawn with closed classes.
const TRIES: usize = 200;
/// Items that are drawn at least before that.
const FEWEST: usize = 20_000;

/// Samples under a condition, and how they came about.
#[derive(Clone, Debug)]
pub struct Conditional {
    /// The samples, one after the other; fewer than asked for if progress stopped them.
    pub samples: Samples,
    /// Number of items that were drawn to keep these.
    pub drawn: usize,
    /// Number of samples, the last ones, that were drawn with closed classes.
    pub closed: usize,
}

impl<C: BackboneConfig> TrainedFlowMap<C> {
    /// Draws items whose classes have the given weights: for each site `None`, or a number from 0 to 1 for every class.
    ///
    /// The items depend on the seed and on how many of them come before, not on the size of batches. The first one is
    /// the `first`-th that fulfils the condition. `progress` is called with the number of finished items and stops the
    /// sampling by returning false.
    ///
    /// # Errors
    /// If the request does not fit the model, there is not a weight for each class, or no class is left at a site.
    pub fn sample_given(
        &self,
        request: &SampleRequest,
        weights: &[Option<Vec<f64>>],
        progress: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Conditional, RequestError> {
        let sites = site_shape(&self.schema);
        let fits =
            |(site, row): (usize, &Option<Vec<f64>>)| row.as_ref().is_none_or(|r| r.len() == sites.classes_of(site));
        if weights.len() != sites.count || !weights.iter().enumerate().all(fits) {
            return Err(RequestError(
                "a condition has a weight for every class of a site, and none for free sites".into(),
            ));
        }
        let mut fixed = request.constraint.clone().unwrap_or_else(|| Constraint::all(sites.clone()));
        let (mut closed, mut open) = (fixed.clone(), Vec::new());
        for (site, row) in weights.iter().enumerate().filter_map(|(site, row)| Some((site, row.as_ref()?))) {
            let left: Vec<u32> = (0..).zip(row).filter(|(_, weight)| **weight > 0.0).map(|(class, _)| class).collect();
            let impossible = |e: crate::flow_map::constraint::ConstraintError| RequestError(e.to_string());
            closed = closed.only(site, &left).map_err(impossible)?;
            if left.len() == 1 {
                fixed = fixed.only(site, &left).map_err(impossible)?;
            } else {
                open.push((site, row));
            }
        }
        let with = |constraint: &Constraint| SampleRequest { constraint: Some(constraint.clone()), ..request.clone() };
        if open.is_empty() {
            let samples = self.sample(&with(&fixed), progress)?;
            let drawn = samples.nfe.len();
            return Ok(Conditional { samples, drawn, closed: 0 });
        }
        let skipped = usize::try_from(request.first).unwrap_or(usize::MAX);
        let wanted = skipped.saturating_add(request.count);
        let mut out = Conditional {
            samples: Samples { ids: Vec::new(), endpoints: Vec::new(), sites: sites.clone(), nfe: Vec::new() },
            drawn: 0,
            closed: 0,
        };
        let (mut kept, most) = (0, wanted.saturating_mul(TRIES).max(FEWEST));
        while kept < wanted && out.drawn < most {
            let count = request.batch.max(1).max(wanted - kept).min(most - out.drawn).min(1 << 16);
            let some = SampleRequest { count, first: out.drawn as u64, ..with(&fixed) };
            let samples = self.sample(&some, &mut |_| progress(kept.saturating_sub(skipped)))?;
            let whole = samples.nfe.len() == count;
            let points = sites.count * sites.classes;
            for (i, item) in samples.items().enumerate() {
                let index = (out.drawn + i) as u64;
                let weight: f64 = open.iter().map(|&(site, row)| row[item[site] as usize]).product();
                if kept == wanted || stream(request.seed, Purpose::Accept, index).uniform() >= weight {
                    continue;
                }
                kept += 1;
                if kept > skipped {
                    out.samples.ids.extend(item);
                    out.samples.nfe.push(samples.nfe[i]);
                    out.samples.endpoints.extend(samples.endpoints.iter().skip(i * points).take(points));
                }
            }
            out.drawn += count;
            if !whole || !progress(kept.saturating_sub(skipped)) {
                return Ok(out);
            }
        }
        let missing = request.count - out.samples.nfe.len();
        if missing > 0 {
            // Indices that no item above has had.
            let rest = SampleRequest { count: missing, first: out.drawn as u64, ..with(&closed) };
            let rest = self.sample(&rest, progress)?;
            out.closed = rest.nfe.len();
            out.drawn += rest.nfe.len();
            out.samples.ids.extend(rest.ids);
            out.samples.nfe.extend(rest.nfe);
            out.samples.endpoints.extend(rest.endpoints);
        }
        Ok(out)
    }
}
