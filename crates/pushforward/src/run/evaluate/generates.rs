//! What an evaluation asks of a model of categorical data.

use std::ops::Range;

use burn::tensor::Device;

use crate::aef::marginal::MarginalRequest;
use crate::flow_map::backbone::BackboneConfig;
use crate::flow_map::likelihood::BoundRequest;
use crate::flow_map::sample::{SampleRequest, Samples};
use crate::metrics::report::Row;
use crate::run::evaluate::request::EvalRequest;
use crate::run::evaluate::volume;
use crate::run::trained::{RequestError, TrainedCategoricalAef, TrainedFlowMap};
use crate::transport::density::Density;

/// Items whose `-log p` is computed together.
pub(in crate::run) const TOGETHER: usize = 64;

/// A model of categorical data that can be evaluated: it draws items and bounds their `-log p`.
pub trait Generates {
    /// Draws items, see [`TrainedFlowMap::sample`].
    ///
    /// # Errors
    /// If the request does not fit the model.
    fn generate(
        &self,
        request: &SampleRequest,
        progress: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Samples, RequestError>;

    /// Labels that the items of a request are drawn for; empty without labels.
    ///
    /// # Errors
    /// If the request does not fit the model.
    fn labels_of(&self, request: &SampleRequest) -> Result<Vec<u32>, RequestError>;

    /// Names of estimates of `-log p`, as the prefix of their metric and the estimator; the first is a bound.
    fn estimates(&self, draws: usize) -> Vec<(&'static str, String)>;

    /// `-log p` of items in nats by an estimate; item `i` has the random numbers of index `first + i`.
    ///
    /// # Errors
    /// If the model has no such estimate.
    fn nats(&self, which: usize, ids: &[u32], first: u64, request: &EvalRequest) -> Result<Vec<f64>, RequestError>;

    /// `-log p` of a range of items, so many at a time; fewer if `progress`, which gets their number, returns false.
    ///
    /// # Errors
    /// See [`Generates::nats`].
    fn some_nats(
        &self,
        which: usize,
        ids: &[u32],
        sites: usize,
        range: Range<usize>,
        request: &EvalRequest,
        progress: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Vec<f64>, RequestError> {
        let mut nats = Vec::with_capacity(range.len());
        for part in ids[range.start * sites..range.end * sites].chunks(TOGETHER * sites) {
            nats.extend(self.nats(which, part, (range.start + nats.len()) as u64, request)?);
            if !progress(nats.len()) {
                break;
            }
        }
        Ok(nats)
    }

    /// `-log p` of all items.
    ///
    /// # Errors
    /// See [`Generates::nats`].
    fn all_nats(
        &self,
        which: usize,
        ids: &[u32],
        sites: usize,
        request: &EvalRequest,
        progress: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Vec<f64>, RequestError> {
        self.some_nats(which, ids, sites, 0..ids.len() / sites, request, progress)
    }

    /// What else is measured of the model itself.
    fn own_rows(&self, seed: u64) -> Vec<Row>;

    /// Device of the weights.
    fn device(&self) -> &Device;
}

impl<C: BackboneConfig> Generates for TrainedFlowMap<C> {
    fn own_rows(&self, _: u64) -> Vec<Row> {
        Vec::new()
    }

    fn generate(
        &self,
        request: &SampleRequest,
        progress: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Samples, RequestError> {
        self.sample(request, progress)
    }

    fn labels_of(&self, request: &SampleRequest) -> Result<Vec<u32>, RequestError> {
        Ok(self.checked(request)?.told_labels())
    }

    fn estimates(&self, draws: usize) -> Vec<(&'static str, String)> {
        vec![("bound", format!("importance-r-{draws}"))]
    }

    fn nats(&self, _: usize, ids: &[u32], first: u64, request: &EvalRequest) -> Result<Vec<f64>, RequestError> {
        let bound = BoundRequest {
            draws: request.bound_draws,
            seed: request.sample.seed,
            batch: request.sample.batch,
            ..BoundRequest::default()
        };
        Ok(self.bound(ids, first, &bound)?.values)
    }

    fn device(&self) -> &Device {
        &self.device
    }
}

impl Generates for TrainedCategoricalAef {
    fn generate(
        &self,
        request: &SampleRequest,
        progress: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Samples, RequestError> {
        self.sample(request, progress)
    }

    fn labels_of(&self, _: &SampleRequest) -> Result<Vec<u32>, RequestError> {
        Ok(Vec::new())
    }

    /// The bound of the training, the marginal by importance sampling, and that of a coupling.
    fn estimates(&self, draws: usize) -> Vec<(&'static str, String)> {
        let of_map = if self.net.map.is_some() { "-ode" } else { "" };
        let sampled = format!("importance-{draws}{of_map}");
        let coupling = self.net.coupling.is_some().then(|| ("one_step_marginal", sampled.clone()));
        [("bound", format!("elbo-{draws}")), ("marginal", sampled)].into_iter().chain(coupling).collect()
    }

    /// The error of an estimate of the prior's density.
    fn own_rows(&self, seed: u64) -> Vec<Row> {
        volume::rows(self.net.map.as_ref(), seed)
    }

    fn nats(&self, which: usize, ids: &[u32], first: u64, request: &EvalRequest) -> Result<Vec<f64>, RequestError> {
        let draws = request.bound_draws;
        let density = if which == 0 { Density::Bound { draws } } else { Density::default() };
        let request = MarginalRequest { draws, density, seed: request.sample.seed, ..MarginalRequest::default() };
        let found = match which {
            2 => self.one_step_log_densities(ids, first, &request)?,
            _ => self.log_densities(ids, first, &request)?,
        };
        Ok(found.values.into_iter().map(|nats| -nats).collect())
    }

    fn device(&self) -> &Device {
        &self.device
    }
}
