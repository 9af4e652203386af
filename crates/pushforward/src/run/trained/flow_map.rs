//! Trained flow maps: sampling, steering and likelihood bounds.

use burn::tensor::Device;

use crate::data::sequences::SequenceLayout;
use crate::data::{Layout, Schema};
use crate::flow_map::backbone::{Backbone, BackboneConfig, Parametrisation};
use crate::flow_map::calibration::{Calibrated, Calibration};
use crate::flow_map::conditioning::Condition;
use crate::flow_map::config::FlowMapConfig;
use crate::flow_map::constraint::Constraint;
use crate::flow_map::grids::Grids;
use crate::flow_map::interpolant::{Noise, Source};
use crate::flow_map::likelihood::{self, BoundRequest, Bounds};
use crate::flow_map::map::FlowMap;
use crate::flow_map::margins::Margins;
use crate::flow_map::model::FlowMapModel;
use crate::flow_map::network::NetworkConfig;
use crate::flow_map::sample::guidance::Guided;
use crate::flow_map::sample::{
    self, GUIDANCE, Generator, LabelChoice, LastStep, ObservedRow, SampleRequest, Sampler, Samples, TEMPERATURE,
};
use crate::flow_map::steer::{self, Reward, SteerRequest, Steered};
use crate::flow_map::time::TimeGrid;
use crate::node_pairs::ABSENT;
use crate::ranks::Ranks;
use crate::run::check::site_shape;
use crate::run::trained::rules::{check_correction, rules};
use crate::run::trained::{RequestError, SteerFailure, Steers};

/// A trained flow map.
///
/// # Examples
/// An item depends on its index and not on the batch (here of an untrained model).
/// ```
/// use pushforward::burn::tensor::Device;
/// use pushforward::data::{Layout, Schema};
/// use pushforward::flow_map::{config::FlowMapConfig, network::NetworkConfig, sample::SampleRequest};
/// use pushforward::rng::{Purpose, stream};
/// use pushforward::run::{TrainedFlowMap, site_shape};
///
/// let (schema, device) = (Schema { sites: 3, classes: 5, layout: Layout::Table }, Device::flex());
/// let config: FlowMapConfig<NetworkConfig> = toml::from_str("network = { kind = 'mlp', width = 8 }")?;
/// let net = config.model(None).init(site_shape(&schema), &device, &mut stream(0, Purpose::Init, 0));
/// let model = TrainedFlowMap::new(config, net, schema, &device);
/// let four = model.sample(&SampleRequest::map(4, 2, 7), &mut |_| true)?;
/// let one = model.sample(&SampleRequest { first: 3, ..SampleRequest::map(1, 2, 7) }, &mut |_| true)?;
/// assert_eq!(four.items().last(), one.items().next());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct TrainedFlowMap<C: BackboneConfig = NetworkConfig> {
    /// Configuration.
    pub config: FlowMapConfig<C>,
    /// Network, without gradients.
    pub net: FlowMapModel<C::Network>,
    /// Sites, classes and layout of the data.
    pub schema: Schema,
    /// Device of the weights.
    pub device: Device,
    /// Calibration of the diagonal, for [bounds](Self::bound).
    pub calibration: Option<Calibration>,
    /// How often each label occurs in the training data, for [samples](Self::sample) that are told nothing; empty if that is
    /// not known.
    pub label_counts: Vec<u64>,
    /// Times of its jumps, for [samples](Self::sample) by the map.
    pub grids: Grids,
    /// Factors of the last decision of its jumps, for [samples](Self::sample) that are told nothing.
    pub margins: Margins,
    /// A weaker model that guidance pushes samples away from.
    weak: Option<FlowMapModel<C::Network>>,
}

impl<C: BackboneConfig> TrainedFlowMap<C> {
    /// A flow map of data with this schema.
    pub fn new(config: FlowMapConfig<C>, net: FlowMapModel<C::Network>, schema: Schema, device: &Device) -> Self {
        Self {
            config,
            net,
            schema,
            device: device.clone(),
            calibration: None,
            label_counts: Vec::new(),
            grids: Grids::default(),
            margins: Margins::default(),
            weak: None,
        }
    }

    /// Draws samples; see [`sample::sample`].
    ///
    /// # Errors
    /// If the request does not fit the model.
    pub fn sample(
        &self,
        request: &SampleRequest,
        progress: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Samples, RequestError> {
        let request = self.checked(request)?;
        Ok(match self.guided(request.guidance) {
            Some(net) => sample::sample(&self.generator(&net, &request), &request, progress),
            None => sample::sample(&self.with_margins(&request), &request, progress),
        })
    }

    /// Draws the samples of several requests in common batches; see [`sample::sample_together`]. The requests are those
    /// that [`TrainedFlowMap::checked`] gives.
    ///
    /// # Panics
    /// If two requests [may not share a batch](SampleRequest::shares_a_batch_with), or one does not fit the model.
    pub fn sample_together(&self, requests: &[SampleRequest], progress: &mut dyn FnMut(usize) -> bool) -> Vec<Samples> {
        let Some(first) = requests.first() else { return Vec::new() };
        match self.guided(first.guidance) {
            Some(net) => sample::sample_together(&self.generator(&net, first), requests, progress),
            None => sample::sample_together(&self.with_margins(first), requests, progress),
        }
    }

    /// A request as this model computes it: checked, and with its defaults filled in.
    ///
    /// # Errors
    /// If the request does not fit the model.
    ///
    /// # Examples
    /// Two requests with seeds of their own, computed in one batch (by an untrained model).
    /// ```
    /// use pushforward::burn::tensor::Device;
    /// use pushforward::data::{Layout, Schema};
    /// use pushforward::flow_map::{config::FlowMapConfig, network::NetworkConfig, sample::SampleRequest};
    /// use pushforward::rng::{Purpose, stream};
    /// use pushforward::run::{TrainedFlowMap, site_shape};
    ///
    /// let (schema, device) = (Schema { sites: 3, classes: 5, layout: Layout::Table }, Device::flex());
    /// let config: FlowMapConfig<NetworkConfig> = toml::from_str("network = { kind = 'mlp', width = 8 }")?;
    /// let net = config.model(None).init(site_shape(&schema), &device, &mut stream(0, Purpose::Init, 0));
    /// let model = TrainedFlowMap::new(config, net, schema, &device);
    /// let requests = [SampleRequest::map(4, 2, 7), SampleRequest::map(1, 2, 8)];
    /// assert!(requests[0].shares_a_batch_with(&requests[1]));
    /// let checked = [model.checked(&requests[0])?, model.checked(&requests[1])?];
    /// let together = model.sample_together(&checked, &mut |_| true);
    /// assert_eq!(together[1].ids, model.sample(&requests[1], &mut |_| true)?.ids);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn checked(&self, request: &SampleRequest) -> Result<SampleRequest, RequestError> {
        let mut request = self.resolve(request)?;
        let steps = request.grid.steps();
        let replaced = request.kept && request.sampler == Sampler::Map && request.grid == TimeGrid::uniform(steps);
        if let Some(kept) = self.grids.of(steps).filter(|_| replaced) {
            request.grid = kept;
        }
        if request.part.is_some() && self.config.condition.takes_any_subset() {
            self.placed(request)
        } else {
            Ok(request)
        }
    }

    /// Estimates of an upper bound of `-log p` in nats, one per item; see [`likelihood::bound`]. `ids` are class
    /// indices, item by item; `first` is the index of the first item, which addresses its noise.
    ///
    /// # Errors
    /// If the bound does not hold for the model (a source other than the standard Gaussian, velocity prediction), or
    /// the items are not of its schema.
    pub fn bound(&self, ids: &[u32], first: u64, request: &BoundRequest) -> Result<Bounds, RequestError> {
        self.check_bound()?;
        if request.draws == 0 {
            return refuse("the likelihood bound takes at least 1 draw per item, found 0");
        }
        let sites = site_shape(&self.schema);
        let has = |i: u32| (i as usize) < sites.classes || (i == ABSENT && self.schema.may_lack_sites());
        if !ids.len().is_multiple_of(sites.count) || !ids.iter().all(|&i| has(i)) {
            let (count, classes) = (sites.count, sites.classes);
            return refuse(format!("an item has {count} sites of {classes} classes, and the data do not match"));
        }
        let told = &request.observed;
        if !told.is_empty() && !self.config.condition.takes_any_subset() {
            return refuse(
                "a bound given some sites is for models that take any subset: model.condition.kind = observed",
            );
        }
        if !told.is_empty() && told.len() != ids.len() {
            return refuse(format!("{} sites are told or not, and the items have {}", told.len(), ids.len()));
        }
        Ok(match &self.calibration {
            Some(calibration) => {
                let net = Calibrated::new(&self.net, calibration);
                likelihood::bound(&FlowMap::new(&net), sites, ids, first, request, &self.device)
            }
            None => likelihood::bound(&FlowMap::new(&self.net), sites, ids, first, request, &self.device),
        })
    }

    /// Whether the bound holds for this model.
    pub(in crate::run) fn check_bound(&self) -> Result<(), RequestError> {
        if self.config.noise() != Noise::default() {
            return refuse("the likelihood bound holds for the standard Gaussian source only");
        }
        if self.parametrisation() == Parametrisation::Velocity {
            return refuse("the naive baseline predicts velocities and has no likelihood bound");
        }
        Ok(())
    }

    /// The same model with a weaker one for guidance, such as an early checkpoint or a smaller network.
    ///
    /// # Errors
    /// If schema, source, condition, number of labels or parametrisation of the two models differ.
    pub fn guided_by(self, weak: Self) -> Result<Self, RequestError> {
        let kind = |model: &Self| {
            let condition = std::mem::discriminant(&model.config.condition);
            (model.parametrisation(), condition, model.net.label_count(), model.config.noise())
        };
        if self.schema != weak.schema || kind(&self) != kind(&weak) {
            return refuse(
                "a model guides only models of the same data, source, condition, labels and kind of output: use another \
                 checkpoint for guidance",
            );
        }
        Ok(Self { weak: Some(weak.net), ..self })
    }

    /// A request for a few preview samples; a model conditioned on labels draws them of every label in turn.
    pub fn preview_request(&self, count: usize, nfe: usize, seed: u64) -> SampleRequest {
        preview_request(&self.net, count, nfe, seed)
    }

    fn generator<'a, N>(&'a self, net: &'a N, request: &SampleRequest) -> Generator<'a, N> {
        let generator = Generator::new(net, site_shape(&self.schema), &self.device).with_noise(self.config.noise());
        match rules(&self.schema, request) {
            Some(rules) => generator.with_rules(rules),
            None => generator,
        }
    }

    /// The generator of a request, whose last decision has the margins that are kept for it.
    fn with_margins(&self, request: &SampleRequest) -> Generator<'_, FlowMapModel<C::Network>> {
        match self.factors_of(request) {
            Some(factors) => self.generator(&self.net, request).with_factors(factors),
            None => self.generator(&self.net, request),
        }
    }

    fn guided(&self, weight: f64) -> Option<Guided<'_, FlowMapModel<C::Network>>> {
        (weight != 1.0).then(|| Guided::new(&self.net, self.weak.as_ref(), weight))
    }

    fn parametrisation(&self) -> Parametrisation {
        self.config.objective.off_diagonal.parametrisation()
    }

    /// Checks a request against the model and fills in its defaults.
    fn resolve(&self, request: &SampleRequest) -> Result<SampleRequest, RequestError> {
        let (low, high) = (TEMPERATURE.start(), TEMPERATURE.end());
        if !TEMPERATURE.contains(&request.temperature) {
            return refuse(format!(
                "the temperature must be positive, from {low:e} to {high:e}, found {}; below, take 1e-30: the most \
                 probable class",
                request.temperature
            ));
        }
        let velocity = self.parametrisation() == Parametrisation::Velocity;
        if velocity && (request.last == LastStep::Draw || request.temperature != 1.0) {
            return refuse("the naive baseline has no probabilities: its temperature is 1 and its last step argmax");
        }
        if velocity && request.constraint.is_some() {
            return refuse("the naive baseline has no probabilities to constrain");
        }
        if velocity && request.correct {
            return refuse("the naive baseline has no probabilities to correct molecules by");
        }
        check_correction(&self.schema, request)?;
        let (sites, classes) = (self.schema.sites, self.schema.classes);
        let unlike = |other: &Constraint| (other.sites(), other.classes()) != (sites, classes);
        if let Some(constraint) = request.constraint.as_ref().filter(|constraint| unlike(constraint)) {
            let found = (constraint.sites(), constraint.classes());
            return refuse(format!(
                "the constraint is on {} sites of {} classes, and the model has {sites} of {classes}",
                found.0, found.1
            ));
        }
        let counts = if self.net.label_count().is_some() { &self.label_counts[..] } else { &[] };
        let (graph, varies) = (matches!(self.schema.layout, Layout::Graph(_)), site_shape(&self.schema).largest_size());
        if request.part.is_some() && !graph {
            return refuse("only models of graphs keep parts of graphs");
        }
        if request.part.as_ref().and_then(|part| part.otherwise.as_ref()).is_some_and(unlike) {
            return refuse("the constraint beside a part of a graph is on other sites than the model has");
        }
        if request.told_sizes.iter().any(|&size| size == 0 || varies.is_none_or(|largest| size > largest)) {
            return refuse("a size of an item is told that the model does not have");
        }
        let mut request = request.clone().with_label_counts(counts);
        self.check_condition(&request)?;
        // What a constraint fixes is told to a model that takes any subset, so that the other sites fit it.
        if let Some(constraint) = request.constraint.as_ref().filter(|_| self.config.condition.takes_any_subset()) {
            if request.observed.is_empty() && constraint.fixed().next().is_some() {
                request.observed = vec![vec![None; sites]];
            }
            for (site, class) in constraint.fixed() {
                request.observed.iter_mut().for_each(|row| row[site] = row[site].or(Some(class)));
            }
        }
        self.check_guidance(&request)?;
        if let Layout::Graph(graph) = &self.schema.layout {
            if request.sizes.is_empty() {
                request.sizes.clone_from(&graph.sizes);
            }
            if request.sizes.len() > graph.nodes + 1 {
                return refuse(format!("the graphs of this model have at most {} nodes", graph.nodes));
            }
            if request.sizes.first().is_some_and(|&empty| empty > 0) {
                return refuse("a graph has at least 1 node, and graphs without nodes are asked for");
            }
        } else if let Layout::Sequence(sequence) = &self.schema.layout {
            resolve_lengths(sequence, &mut request)?;
        } else if !request.sizes.is_empty() {
            return refuse("only models of graphs and sequences take sizes of items");
        }
        if let Sampler::Renoise { gamma } = request.sampler {
            if !(0.0..=1.0).contains(&gamma) {
                return refuse(format!("the share of noise that is fresh lies in [0, 1], found gamma = {gamma}"));
            }
            if gamma != 1.0 && self.config.noise().source != Source::Gaussian {
                return refuse("only Gaussian noise keeps its law when a part of it is fresh: leave gamma at 1");
            }
        }
        if request.diagonal_noise && !self.net.network.takes_diagonal_noise() {
            return refuse("only the network graph-transformer takes noise on the diagonal");
        }
        Ok(request)
    }

    /// Checks the weight of guidance, once all that items are told is known.
    fn check_guidance(&self, request: &SampleRequest) -> Result<(), RequestError> {
        let w = request.guidance;
        if !GUIDANCE.contains(&w) {
            let (low, high) = (GUIDANCE.start(), GUIDANCE.end());
            return refuse(format!("the weight of guidance must be positive, from {low} to {high}, found {w}"));
        }
        if w != 1.0 && self.weak.is_none() && !request.labels.is_told() && request.observed.is_empty() {
            return refuse("guidance needs a label, observed sites or a weaker model to compare with");
        }
        Ok(())
    }

    /// Checks the condition of a request against the model.
    fn check_condition(&self, request: &SampleRequest) -> Result<(), RequestError> {
        if request.labels.is_told() {
            let Some(count) = self.net.label_count() else {
                return refuse(
                    "this model was not trained with labels: set model.condition.kind = label in its recipe",
                );
            };
            let highest = match &request.labels {
                LabelChoice::InTurn(labels) => labels.iter().copied().max(),
                LabelChoice::Drawn(counts) => (0..).zip(counts).filter(|(_, n)| **n > 0).map(|(label, _)| label).max(),
                LabelChoice::AsTrained | LabelChoice::Hidden => None,
            };
            if let Some(label) = highest.filter(|&label| label as usize >= count) {
                return refuse(format!("the labels of this model are 0 to {}, found {label}", count - 1));
            }
        }
        self.check_observed(&request.observed)?;
        Ok(())
    }

    /// Checks the observed sites of a request against the model.
    pub(super) fn check_observed(&self, rows: &[ObservedRow]) -> Result<(), RequestError> {
        let sites = site_shape(&self.schema);
        for row in rows {
            if row.len() != sites.count {
                return refuse(format!("an item has {} sites, and {} are told or left open", sites.count, row.len()));
            }
            let told = row.iter().enumerate().filter_map(|(site, class)| Some((site, (*class)?)));
            if let Some((site, class)) =
                told.into_iter().find(|&(site, class)| class as usize >= sites.classes_of(site))
            {
                let last = sites.classes_of(site) - 1;
                return refuse(format!("class {class} is told for site {site}, whose classes are 0 to {last}"));
            }
        }
        let longest = match self.config.condition {
            _ if rows.is_empty() => return Ok(()),
            Condition::Observed { .. } => return Ok(()),
            Condition::Prefix { longest, .. } => longest.unwrap_or(sites.count - 1).min(sites.count),
            Condition::None | Condition::Label { .. } => {
                return refuse(
                    "this model was not trained to be told sites: set model.condition.kind = observed or prefix in its \
                     recipe, or fix the sites by a constraint, which needs no training",
                );
            }
        };
        if let Some(row) = rows.iter().find(|row| !is_prefix(row)) {
            let told = row.iter().flatten().count();
            return refuse(format!(
                "this model was trained with prefixes, and other sites than the first {told} are told: set \
                 model.condition.kind = observed in its recipe, or fix the sites by a constraint, which needs no training"
            ));
        }
        // The network has never seen more sites without noise, and ignores what it has not seen.
        if let Some(told) = rows.iter().map(|row| row.iter().flatten().count()).find(|&told| told > longest) {
            return refuse(format!(
                "the prefix has {told} sites, and this model was trained with at most {longest} \
                 (model.condition.longest): shorten it, or fix the sites by a constraint, which needs no training"
            ));
        }
        Ok(())
    }
}

impl<C: BackboneConfig> Steers for TrainedFlowMap<C> {
    fn plain(&self, request: &SampleRequest, progress: &mut dyn FnMut(usize) -> bool) -> Result<Samples, RequestError> {
        // With the times of the steered samples, so that the two differ by the reward alone.
        self.sample(&SampleRequest { kept: false, ..request.clone() }, progress)
    }

    fn steered(
        &self,
        request: &SteerRequest,
        reward: &dyn Reward,
        ranks: &Ranks,
        progress: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Steered, SteerFailure> {
        let request = SteerRequest { sample: self.resolve(&request.sample)?, ..request.clone() };
        Ok(match self.guided(request.sample.guidance) {
            Some(net) => {
                steer::steer_together(&self.generator(&net, &request.sample), &request, reward, ranks, progress)?
            }
            None => {
                steer::steer_together(&self.generator(&self.net, &request.sample), &request, reward, ranks, progress)?
            }
        })
    }

    fn device(&self) -> &Device {
        &self.device
    }
}

/// Checks the lengths of a request for sequences, or fills in those of the training sequences.
fn resolve_lengths(sequence: &SequenceLayout, request: &mut SampleRequest) -> Result<(), RequestError> {
    let longest = sequence.longest();
    if request.sizes.is_empty() {
        if sequence.varies() {
            request.sizes.clone_from(&sequence.lengths);
        }
        return Ok(());
    }
    if request.sizes.len() > longest + 1 || request.sizes[0] > 0 || request.sizes.iter().all(|&count| count == 0) {
        return refuse(format!(
            "the sequences of this model have 1 to {longest} letters, and another length is asked for"
        ));
    }
    let shorter = request.sizes.iter().take(longest).any(|&count| count > 0);
    if shorter && !sequence.varies() {
        return refuse(format!("all sequences of this model have {longest} letters, and another length is asked for"));
    }
    Ok(())
}

/// Whether only the first sites of a row are told.
fn is_prefix(row: &[Option<u32>]) -> bool {
    row.iter().skip_while(|class| class.is_some()).all(Option::is_none)
}

fn refuse<T>(what: impl Into<String>) -> Result<T, RequestError> {
    Err(RequestError(what.into()))
}

/// A request for a few preview samples; a network conditioned on labels draws them of every label in turn.
pub(crate) fn preview_request<N: Backbone>(
    net: &FlowMapModel<N>,
    count: usize,
    nfe: usize,
    seed: u64,
) -> SampleRequest {
    let labels = (0..net.label_count().unwrap_or(0) as u32).collect::<Vec<_>>().into();
    SampleRequest { labels, endpoints: false, ..SampleRequest::map(count, nfe, seed) }
}
