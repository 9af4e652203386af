//! Trained autoencoders of categorical data: sampling and log-probabilities.

use burn::tensor::{DType, Device, Tensor};

use crate::aef::categorical::{self, CategoricalConfig, CategoricalModel};
use crate::aef::marginal::{LogDensities, MarginalRequest};
use crate::data::{Layout, Schema};
use crate::flow_map::sample::{LastStep, SampleRequest, Sampler, Samples, draw_class, draw_size};
use crate::node_pairs::ABSENT;
use crate::rng::{Purpose, Stream, stream};
use crate::run::check::site_shape;
use crate::run::trained::RequestError;
use crate::tensor::{argmax, from_f32, to_host};
use crate::transport::map::Drawing;
use crate::transport::time::TimeGrid;

/// A trained autoencoder of categorical data.
///
/// # Examples
/// An item depends on its index and not on the batch (here of an untrained model).
/// ```
/// use pushforward::aef::categorical::CategoricalConfig;
/// use pushforward::aef::marginal::MarginalRequest;
/// use pushforward::burn::tensor::Device;
/// use pushforward::data::{Layout, Schema};
/// use pushforward::flow_map::sample::{LastStep, SampleRequest};
/// use pushforward::rng::{Purpose, stream};
/// use pushforward::run::{TrainedCategoricalAef, site_shape};
///
/// let (schema, device) = (Schema { sites: 3, classes: 5, layout: Layout::Table }, Device::flex());
/// let config: CategoricalConfig = toml::from_str("latent = 2\nprior = { kind = 'flow-map' }")?;
/// let mut net = config.init(site_shape(&schema), &device, &mut stream(0, Purpose::Init, 0));
/// net.initialise(&[0, 1, 2, 3, 4, 0]);
/// let model = TrainedCategoricalAef { config, net, schema, device };
/// let request = SampleRequest { last: LastStep::Draw, endpoints: false, ..SampleRequest::map(4, 2, 7) };
/// let four = model.sample(&request, &mut |_| true)?;
/// let one = model.sample(&SampleRequest { first: 3, count: 1, ..request }, &mut |_| true)?;
/// assert_eq!(four.items().last(), one.items().next());
/// assert!(model.log_densities(&four.ids, 0, &MarginalRequest::default())?.values.iter().all(|nats| *nats < 0.0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct TrainedCategoricalAef {
    /// Configuration.
    pub config: CategoricalConfig,
    /// Network, without gradients.
    pub net: CategoricalModel,
    /// Sites, classes and layout of the data.
    pub schema: Schema,
    /// Device of the weights.
    pub device: Device,
}

impl TrainedCategoricalAef {
    /// Draws items. The request is that of a flow map: its grid gives the number of evaluations of a flow map as the prior,
    /// its sampler whether they are jumps or Euler steps, its temperature scales the base variable, and classes are the
    /// most probable ones given the latent, or drawn. With a coupling, one jump is its decoder.
    ///
    /// # Errors
    /// If the request has something that only flow maps have.
    pub fn sample(
        &self,
        request: &SampleRequest,
        progress: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Samples, RequestError> {
        let drawing = self.check(request)?;
        let (sites, d) = (site_shape(&self.schema), self.config.latent);
        let sizes = if request.sizes.is_empty() { self.sizes() } else { &request.sizes };
        let like = Tensor::<1>::zeros([1], (&self.device, DType::F32));
        let (mut ids, mut nfe) = (Vec::with_capacity(request.count * sites.count), Vec::new());
        for start in (0..request.count).step_by(request.batch) {
            let items = request.batch.min(request.count - start);
            let address = |i: usize| request.first + (start + i) as u64;
            let mut random: Vec<Stream> =
                (0..items).map(|i| stream(request.seed, Purpose::Sample, address(i))).collect();
            let base: Vec<f32> = random
                .iter_mut()
                .flat_map(|stream| stream.normals(d))
                .map(|v| (f64::from(v) * request.temperature) as f32)
                .collect();
            let base = from_f32(&base, [items, d], &like);
            let logits = match drawing {
                Drawing::Jumps(1) if self.net.coupling.is_some() => self.net.one_step_logits(base),
                _ => self.net.logits(self.net.draw_latents(base, drawing)),
            };
            let mut drawn = match request.last {
                LastStep::Argmax => argmax(logits),
                LastStep::Draw => classes(&logits, &mut random),
            };
            for (i, item) in drawn.chunks_exact_mut(sites.count).enumerate() {
                if let Some(largest) = sites.largest_size() {
                    let mut size = stream(request.seed, Purpose::Size, address(i));
                    let present = sites.sites_of(draw_size(sizes, largest, &mut size));
                    item.iter_mut()
                        .zip(present)
                        .filter(|(_, present)| *present == 0.0)
                        .for_each(|(id, _)| *id = ABSENT);
                }
            }
            ids.extend(drawn);
            nfe.extend(vec![drawing.evaluations() as u64; items]);
            if !progress(start + items) {
                break;
            }
        }
        Ok(Samples { ids, endpoints: Vec::new(), sites, nfe })
    }

    /// Log-probabilities of items in nats, or their bound; see [`categorical::log_densities`]. Of graphs and sequences given
    /// their sizes.
    ///
    /// # Errors
    /// If there are no items or draws, or an item has another number of sites.
    pub fn log_densities(
        &self,
        ids: &[u32],
        first: u64,
        request: &MarginalRequest,
    ) -> Result<LogDensities, RequestError> {
        self.check_items(ids, request)?;
        Ok(categorical::log_densities(&self.net, ids, first, request))
    }

    /// The same for the decoder of the coupling, from which items are drawn in one evaluation; see
    /// [`categorical::one_step_log_densities`].
    ///
    /// # Errors
    /// As [`Self::log_densities`], or if the model has no coupling.
    pub fn one_step_log_densities(
        &self,
        ids: &[u32],
        first: u64,
        request: &MarginalRequest,
    ) -> Result<LogDensities, RequestError> {
        self.check_items(ids, request)?;
        if self.net.coupling.is_none() {
            return Err(RequestError("the model has no coupling: train one with `model.coupling`".into()));
        }
        Ok(categorical::one_step_log_densities(&self.net, ids, first, request))
    }

    fn check_items(&self, ids: &[u32], request: &MarginalRequest) -> Result<(), RequestError> {
        let sites = self.schema.sites;
        if ids.is_empty() || !ids.len().is_multiple_of(sites) {
            return Err(RequestError(format!("items have {sites} sites, and {} are given", ids.len())));
        }
        if request.draws == 0 {
            return Err(RequestError("`draws`, the number of draws per item, is at least 1".into()));
        }
        Ok(())
    }

    /// How often an item has a size, from the training data; empty if all have all sites.
    fn sizes(&self) -> &[u64] {
        match &self.schema.layout {
            Layout::Graph(graph) => &graph.sizes,
            Layout::Sequence(sequence) if sequence.varies() => &sequence.lengths,
            _ => &[],
        }
    }

    /// How latents are drawn.
    fn check(&self, request: &SampleRequest) -> Result<Drawing, RequestError> {
        let refuse = |problem: &str| Err(RequestError(format!("{problem}: only flow maps have that")));
        if request.constraint.is_some() || !request.observed.is_empty() {
            return refuse("constraints of sites");
        }
        if !request.labels.is_empty() || request.guidance != 1.0 {
            return refuse("labels and guidance");
        }
        if request.endpoints || request.diagonal_noise {
            return refuse("endpoints and noise of sites");
        }
        if request.grid != TimeGrid::uniform(request.grid.steps()) {
            return refuse("times of one's own");
        }
        if request.batch == 0 {
            return Err(RequestError("`batch`, the number of items per pass, is at least 1".into()));
        }
        match request.sampler {
            Sampler::Map => Ok(Drawing::Jumps(request.grid.steps())),
            Sampler::Euler => Ok(Drawing::Euler(request.grid.steps())),
            _ => Err(RequestError("latents are drawn by the samplers map and euler".into())),
        }
    }
}

/// Classes drawn from the law of every site, item by item.
fn classes(logits: &Tensor<3>, random: &mut [Stream]) -> Vec<u32> {
    let [_, sites, classes] = logits.dims();
    let laws = to_host(&crate::dual::softmax(logits.clone()));
    laws.chunks_exact(classes).enumerate().map(|(row, law)| draw_class(law, &mut random[row / sites])).collect()
}
