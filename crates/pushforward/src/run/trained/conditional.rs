//! Samples that fulfil a condition on some of their sites, such as `age = 30..40` of a table.
//!
//! A site with one class left is fixed, and told to a model that takes any subset. On the other sites of the condition
//! the law of the model given the condition is drawn exactly, by rejection: items are drawn in the order of their
//! indices, and one is kept with the product of the weights of its classes. Where hardly any item is kept, the rest is
//! drawn with the other classes closed, which changes the law.

use burn::tensor::Tensor;

use crate::data::{Layout, Schema};
use crate::flow_map::backbone::BackboneConfig;
use crate::flow_map::conditioning::Conditioning;
use crate::flow_map::config::OffDiagonal;
use crate::flow_map::constraint::{Constraint, ConstraintError};
use crate::flow_map::interpolant::source_tensor;
use crate::flow_map::map::FlowMap;
use crate::flow_map::sample::{ObservedRow, SampleRequest, Samples};
use crate::node_pairs::ABSENT;
use crate::rng::{Purpose, stream};
use crate::run::check::site_shape;
use crate::run::trained::RequestError;
use crate::run::trained::flow_map::TrainedFlowMap;
use crate::tensor::to_host;

/// Rows whose laws are computed together.
const TOGETHER: usize = 512;
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

/// What is filled in where values of a table are missing: any class but that of what is missing.
///
/// # Errors
/// If a column has no other class.
pub fn without_missing(schema: &Schema) -> Result<Constraint, ConstraintError> {
    let mut constraint = Constraint::all(site_shape(schema));
    if let Layout::Columns(table) = &schema.layout {
        for (site, column) in table.sites().enumerate() {
            if let Some(class) = column.missing_class() {
                constraint = constraint.forbid(site, class)?;
            }
        }
    }
    Ok(constraint)
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
        let impossible = |e: ConstraintError| RequestError(e.to_string());
        let closed = fixed.clone().weighted(weights).map_err(impossible)?;
        let mut open = Vec::new();
        for (site, row) in weights.iter().enumerate().filter_map(|(site, row)| Some((site, row.as_ref()?))) {
            let mut left = (0..).zip(row).filter(|(_, weight)| **weight > 0.0);
            match (left.next(), left.next()) {
                (Some((class, _)), None) => fixed = fixed.fix(site, class).map_err(impossible)?,
                _ => open.push((site, row)),
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

impl<C: BackboneConfig> TrainedFlowMap<C> {
    /// The law of every site given the observed sites of its row: `rows * sites * classes` probabilities.
    ///
    /// At time 0 the point is noise without information, so the endpoint of the diagonal is the law of the data given
    /// what is observed:
    ///
    /// ```text
    /// pi_{0,0}(x_0 | observed) = E[x_1 | observed]
    /// ```
    ///
    /// It is the mean over `draws` noises from the stream of the row, one network evaluation each; a perfect network
    /// needs one. Observed sites have probability one for their class.
    ///
    /// # Errors
    /// If the model was not trained to be told any subset of the sites, or a row does not fit it.
    pub fn marginals(&self, rows: &[ObservedRow], draws: usize, seed: u64) -> Result<Vec<f64>, RequestError> {
        self.check_laws(rows)?;
        Ok(self.laws(rows, &[], draws, seed, 0.0))
    }

    /// The same law from jumps, too: four in five of `draws` noises, one network evaluation each, give the final point of a one-step sample, whose
    /// mean has that law, and the fifth the endpoint of the diagonal:
    ///
    /// ```text
    /// 4/5 E X_{0,1}(x_0 | observed) + 1/5 E pi_{0,0}(x_0 | observed)
    /// ```
    ///
    /// Jumps are learned at the cost of the diagonal, so that they are nearer to the data, but each of them is all but certain; the diagonal leaves what no
    /// jump has seen a probability. A model that learns no jumps has its diagonal.
    ///
    /// # Errors
    /// As [`Self::marginals`].
    pub fn marginals_by_jumps(&self, rows: &[ObservedRow], draws: usize, seed: u64) -> Result<Vec<f64>, RequestError> {
        self.check_laws(rows)?;
        if self.config.objective.off_diagonal == OffDiagonal::None {
            return self.marginals(rows, draws, seed);
        }
        let diagonals = draws.div_ceil(5);
        let jumps = draws - diagonals;
        let mut laws = self.laws(rows, &[], diagonals, seed, 0.0);
        if jumps > 0 {
            let share = jumps as f64 / draws as f64;
            let by_jumps = self.laws(rows, &[], jumps, seed, 1.0);
            laws.iter_mut().zip(by_jumps).for_each(|(p, jump)| *p += share * (jump - *p));
        }
        Ok(laws)
    }

    fn check_laws(&self, rows: &[ObservedRow]) -> Result<(), RequestError> {
        if !self.config.condition.takes_any_subset() {
            return Err(RequestError(
                "the law of sites given others is that of models which are told any subset: set model.condition.kind = \
                 observed in the recipe"
                    .into(),
            ));
        }
        self.check_observed(rows)?;
        if site_shape(&self.schema).largest_size().is_some() {
            return Err(RequestError("the law of sites given others is that of items which have all sites".into()));
        }
        Ok(())
    }

    /// The law of every site of items of these sizes, given the observed sites of their rows, from endpoints of jumps from time 0 to `t`.
    pub(super) fn laws(&self, rows: &[ObservedRow], sizes: &[usize], draws: usize, seed: u64, t: f64) -> Vec<f64> {
        let sites = site_shape(&self.schema);
        let size = sites.count * sites.classes;
        let noise = self.config.noise();
        let mut found = Vec::with_capacity(rows.len() * size);
        for (part, first) in rows.chunks(TOGETHER).zip((0u64..).step_by(TOGETHER)) {
            let own = (first as usize).min(sizes.len())..(first as usize + part.len()).min(sizes.len());
            let device = self.device.clone().without_autodiff();
            let like = Tensor::<1>::zeros([1], &device);
            let conditioning = Conditioning::of_sizes(&sites, &sizes[own], &like).with_observed(
                &sites,
                part.iter().map(|row| &row[..]),
                &like,
            );
            let map = FlowMap::new(&self.net).of(conditioning.clone());
            let mut streams: Vec<_> = (first..).take(part.len()).map(|i| stream(seed, Purpose::Sample, i)).collect();
            let (start, end) = (vec![0.0; part.len()], vec![t; part.len()]);
            let mut sum = vec![0.0; part.len() * size];
            for _ in 0..draws.max(1) {
                let draw = |stream| noise.source.draw_items(&sites, 1, stream);
                let values = streams.iter_mut().flat_map(draw).collect();
                let x0 = source_tensor(values, [part.len(), sites.count, sites.classes], &device);
                let x0 = noise.shape(x0, sites.clone(), &conditioning);
                let point = to_host(&map.endpoint(&x0, &start, &end));
                sum.iter_mut().zip(point).for_each(|(sum, p)| *sum += p / draws.max(1) as f64);
            }
            found.extend(sum);
        }
        found
    }

    /// `-log p` of items in nats, site by site, by the chain rule over the sites in their order:
    ///
    /// ```text
    /// -log p(x_d | x_1, ..., x_{d-1})      one network evaluation for each site and draw
    /// ```
    ///
    /// Sites that an item lacks, the holes of a row, have 0 and are told to nobody. The sum over the sites of an item is a log-density of its own: over all items, `p` sums to one.
    ///
    /// # Errors
    /// As [`TrainedFlowMap::marginals`].
    pub fn chain(&self, ids: &[u32], draws: usize, seed: u64) -> Result<Vec<f64>, RequestError> {
        self.nats(ids, draws, seed, &|_| true, &|site, told| told < site)
    }

    /// The same for the sites that are not `told`, given those that are, of which there is one entry a site:
    ///
    /// ```text
    /// -log p(x_d | told sites, x_e for other sites e < d)      0 for sites that are told
    /// ```
    ///
    /// # Errors
    /// As [`TrainedFlowMap::marginals`], and if `told` has another length.
    pub fn chain_given(&self, ids: &[u32], told: &[bool], draws: usize, seed: u64) -> Result<Vec<f64>, RequestError> {
        let sites = self.schema.sites;
        if told.len() != sites {
            return Err(RequestError(format!("{} sites are told or not, and items have {sites}", told.len())));
        }
        self.nats(ids, draws, seed, &|site| !told[site], &|site, other| told[other] || other < site)
    }

    /// `-log p(x_d | all other sites)` in nats, site by site: large where a site does not fit the rest of its item.
    ///
    /// # Errors
    /// As [`TrainedFlowMap::marginals`].
    pub fn surprise(&self, ids: &[u32], draws: usize, seed: u64) -> Result<Vec<f64>, RequestError> {
        self.nats(ids, draws, seed, &|_| true, &|site, told| told != site)
    }

    /// `-log p` of each site that is `asked` for, given those that `tells` names, as a function of the site and the other one.
    fn nats(
        &self,
        ids: &[u32],
        draws: usize,
        seed: u64,
        asked: &dyn Fn(usize) -> bool,
        tells: &dyn Fn(usize, usize) -> bool,
    ) -> Result<Vec<f64>, RequestError> {
        let sites = site_shape(&self.schema);
        if !ids.len().is_multiple_of(sites.count) {
            return Err(RequestError(format!(
                "{} class indices are not whole items of {} sites",
                ids.len(),
                sites.count
            )));
        }
        let mut found = vec![0.0; ids.len()];
        for site in (0..sites.count).filter(|&site| asked(site)) {
            let told = |(other, &id): (usize, &u32)| (tells(site, other) && id != ABSENT).then_some(id);
            let rows: Vec<ObservedRow> =
                ids.chunks(sites.count).map(|item| item.iter().enumerate().map(told).collect()).collect();
            let laws = self.marginals(&rows, draws, seed)?;
            for (item, law) in laws.chunks(sites.count * sites.classes).enumerate() {
                let place = item * sites.count + site;
                if ids[place] == ABSENT {
                    continue;
                }
                let p = law[site * sites.classes + ids[place] as usize];
                // The smallest number of float32: a class of no probability at all would hide the other sites.
                found[place] = -p.max(f64::from(f32::MIN_POSITIVE)).ln();
            }
        }
        Ok(found)
    }
}
