//! Trained autoencoders of categorical data: sampling and log-probabilities.

use burn::tensor::{DType, Device, Tensor};

use crate::aef::categorical::{self, CategoricalConfig, CategoricalModel};
use crate::aef::marginal::{LogDensities, MarginalRequest};
use crate::data::{Layout, Schema};
use crate::dual::softmax;
use crate::flow_map::conditioning::item_sizes;
use crate::flow_map::sample::{LastStep, SampleRequest, Samples, draw_class, draw_size};
use crate::flow_map::steer::{Reward, SteerRequest, Steered};
use crate::nn::SiteShape;
use crate::node_pairs::ABSENT;
use crate::ranks::Ranks;
use crate::rng::{Purpose, stream};
use crate::run::check::site_shape;
use crate::run::trained::aef::check_choices;
use crate::run::trained::latent_steer::{self, Latents, Slope, Start, drawing_of};
use crate::run::trained::rules::{check_correction, correction};
use crate::run::trained::{RequestError, SteerFailure, Steers};
use crate::tensor::{argmax, from_f32, to_host};
use crate::transport::map::Drawing;

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
        self.sample_likeliest(request, 1, progress)
    }

    /// The same with every item from the likeliest of so many draws of the latent's noise, by the head of a flow map as the prior,
    /// see [`LatentMap::likeliest`](crate::aef::prior::LatentMap::likeliest).
    ///
    /// # Errors
    /// As [`Self::sample`], or if there are several choices and no head.
    pub fn sample_likeliest(
        &self,
        request: &SampleRequest,
        choices: usize,
        progress: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Samples, RequestError> {
        let drawing = drawing_of(request)?;
        check_correction(&self.schema, request)?;
        check_choices(choices, self.net.map.as_ref())?;
        let sites = site_shape(&self.schema);
        let (mut ids, mut nfe) = (Vec::with_capacity(request.count * sites.count), Vec::new());
        for start in (0..request.count).step_by(request.batch) {
            let items = request.batch.min(request.count - start);
            let first = request.first + start as u64;
            let mut particles: Vec<Start> =
                (first..first + items as u64).map(|index| self.start(request, index)).collect();
            if let Some(map) = self.net.map.as_ref().filter(|_| choices > 1) {
                for particle in &mut particles {
                    let scaled = |v: f32| (f64::from(v) * request.temperature) as f32;
                    let more = particle.random.normals(self.config.latent * (choices - 1)).into_iter().map(scaled);
                    particle.base.extend(more);
                }
                let all: Vec<f32> = particles.iter().flat_map(|particle| particle.base.iter().copied()).collect();
                let all = from_f32(&all, [items * choices, self.config.latent], &self.like());
                let best = numbers(&map.likeliest(all, choices).expect("there is a head"));
                let best = best.chunks(self.config.latent);
                particles.iter_mut().zip(best).for_each(|(particle, best)| particle.base = best.to_vec());
            }
            ids.extend(self.decode_drawn(&mut particles, drawing, request));
            nfe.extend(vec![drawing.evaluations() as u64; items]);
            if !progress(start + items) {
                break;
            }
        }
        Ok(Samples { ids, endpoints: Vec::new(), sites, nfe })
    }

    /// Codes of items and their base variables under the prior, `[n, d]` each.
    ///
    /// # Errors
    /// If there are no items, or one has another number of sites, or a class that its site does not have.
    ///
    /// # Examples
    /// Items from their codes again: a trained model gives most of them back (this one is not).
    /// ```
    /// use pushforward::aef::categorical::CategoricalConfig;
    /// use pushforward::burn::tensor::Device;
    /// use pushforward::data::{Layout, Schema};
    /// use pushforward::rng::{Purpose, stream};
    /// use pushforward::run::{TrainedCategoricalAef, site_shape};
    ///
    /// let (schema, device) = (Schema { sites: 3, classes: 5, layout: Layout::Table }, Device::flex());
    /// let config: CategoricalConfig = toml::from_str("latent = 2\nprior = { kind = 'flow-map' }")?;
    /// let mut net = config.init(site_shape(&schema), &device, &mut stream(0, Purpose::Init, 0));
    /// net.initialise(&[0, 1, 2, 3, 4, 0]);
    /// let model = TrainedCategoricalAef { config, net, schema, device };
    /// let ids = [0, 1, 2, 3, 4, 0];
    /// let (z, base) = model.encode(&ids)?;
    /// assert_eq!((z.len(), base.len()), (4, 4));
    /// assert_eq!(model.decode(&z, false, &model.sizes_of(&ids))?, model.decode(&base, true, &[])?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn encode(&self, ids: &[u32]) -> Result<(Vec<f32>, Vec<f32>), RequestError> {
        self.check_classes(ids)?;
        let z = self.net.code(ids);
        Ok((numbers(&z), numbers(&self.net.to_base(z))))
    }

    /// The most probable items of latents, or of base variables if `base`, `[n, d]` row by row. `sizes` are the numbers of
    /// nodes or letters, where items differ in that; without them the largest.
    ///
    /// # Errors
    /// If there are no codes, or numbers do not fit.
    pub fn decode(&self, codes: &[f32], base: bool, sizes: &[usize]) -> Result<Vec<u32>, RequestError> {
        let d = self.config.latent;
        let count = codes.len() / d;
        if count == 0 || codes.len() != count * d {
            return Err(RequestError(format!("codes have {d} numbers, and {} are given", codes.len())));
        }
        if !sizes.is_empty() && sizes.len() != count {
            return Err(RequestError(format!("{} sizes are given for {count} codes", sizes.len())));
        }
        let z = from_f32(codes, [count, d], &self.like());
        let z = if base { self.net.from_base(z) } else { z };
        let sizes: Vec<Option<usize>> = (0..count).map(|i| sizes.get(i).copied()).collect();
        Ok(self.absent(argmax(self.net.logits(z)), &sizes))
    }

    /// Numbers of nodes or letters of items; empty if all have all sites.
    pub fn sizes_of(&self, ids: &[u32]) -> Vec<usize> {
        item_sizes(&site_shape(&self.schema), ids)
    }

    fn like(&self) -> Tensor<1> {
        Tensor::zeros([1], (&self.device, DType::F32))
    }

    /// Marks the sites that items of these sizes do not have.
    fn absent(&self, mut ids: Vec<u32>, sizes: &[Option<usize>]) -> Vec<u32> {
        let sites = site_shape(&self.schema);
        let Some(largest) = sites.largest_size() else { return ids };
        for (item, size) in ids.chunks_exact_mut(sites.count).zip(sizes) {
            let present = sites.sites_of(size.unwrap_or(largest).min(largest));
            item.iter_mut().zip(present).filter(|(_, present)| *present == 0.0).for_each(|(id, _)| *id = ABSENT);
        }
        ids
    }

    /// Logits of particles.
    fn logits(&self, base: Tensor<2>, drawing: Drawing) -> Tensor<3> {
        match drawing {
            Drawing::Jumps(1) if self.net.coupling.is_some() => self.net.one_step_logits(base),
            _ => self.net.logits(self.net.draw_latents(base, drawing)),
        }
    }

    fn base_of(&self, particles: &[Start]) -> Tensor<2> {
        let base: Vec<f32> = particles.iter().flat_map(|particle| particle.base.iter().copied()).collect();
        from_f32(&base, [particles.len(), self.config.latent], &self.like())
    }

    fn decode_drawn(&self, particles: &mut [Start], drawing: Drawing, request: &SampleRequest) -> Vec<u32> {
        let logits = self.logits(self.base_of(particles), drawing);
        let ids = match request.last {
            LastStep::Argmax => argmax(logits.clone()),
            LastStep::Draw => classes(&logits, particles),
        };
        let mut ids = self.absent(ids, &particles.iter().map(|particle| particle.size).collect::<Vec<_>>());
        if let Some(rules) = correction(&self.schema, request) {
            let laws = to_host(&softmax(logits));
            for (item, law) in ids.chunks_mut(self.schema.sites).zip(laws.chunks(laws.len() / particles.len())) {
                if !rules.hold(item) {
                    rules.mend(item, law, &|_, _| true);
                }
            }
        }
        ids
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

    fn check_classes(&self, ids: &[u32]) -> Result<(), RequestError> {
        let sites = site_shape(&self.schema);
        if ids.is_empty() || !ids.len().is_multiple_of(sites.count) {
            return Err(RequestError(format!("items have {} sites, and {} are given", sites.count, ids.len())));
        }
        let absent = self.schema.may_lack_sites();
        let fits = |(place, &id): (usize, &u32)| {
            (id as usize) < sites.classes_of(place % sites.count) || (id == ABSENT && absent)
        };
        match ids.iter().enumerate().find(|found| !fits(*found)) {
            None => Ok(()),
            Some((place, &id)) => {
                let (site, id) = (place % sites.count, if id == ABSENT { -1 } else { i64::from(id) });
                Err(RequestError(format!("site {site} has {} classes, found {id}", sites.classes_of(site))))
            }
        }
    }

    fn check_items(&self, ids: &[u32], request: &MarginalRequest) -> Result<(), RequestError> {
        self.check_classes(ids)?;
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
}

impl Steers for TrainedCategoricalAef {
    fn plain(&self, request: &SampleRequest, progress: &mut dyn FnMut(usize) -> bool) -> Result<Samples, RequestError> {
        self.sample(request, progress)
    }

    /// Draws items of high reward: the reward tilts the law of the prior's base variable. `gradient` is for rewards with a
    /// soft version; `smc` is tempered over the steps of the request, of one evaluation each.
    ///
    /// # Errors
    /// If the request has something that only flow maps have, or the reward fails before any sample is finished.
    ///
    /// # Examples
    /// Items without the last class (of an untrained model).
    /// ```
    /// use pushforward::aef::categorical::CategoricalConfig;
    /// use pushforward::burn::tensor::Device;
    /// use pushforward::data::{Layout, Schema};
    /// use pushforward::flow_map::sample::{LastStep, SampleRequest};
    /// use pushforward::flow_map::steer::{Method, Reward, RewardError, SmcSettings, SteerRequest};
    /// use pushforward::rng::{Purpose, stream};
    /// use pushforward::ranks::Ranks;
    /// use pushforward::run::{Steers, TrainedCategoricalAef, site_shape};
    ///
    /// struct NoTwo;
    /// impl Reward for NoTwo {
    ///     fn score(&self, ids: &[u32]) -> Result<Vec<f64>, RewardError> {
    ///         Ok(ids.chunks(3).map(|item| if item.contains(&2) { f64::NEG_INFINITY } else { 0.0 }).collect())
    ///     }
    /// }
    /// let (schema, device) = (Schema { sites: 3, classes: 3, layout: Layout::Table }, Device::flex());
    /// let config: CategoricalConfig = toml::from_str("latent = 2\nprior = { kind = 'flow-map' }")?;
    /// let mut net = config.init(site_shape(&schema), &device, &mut stream(0, Purpose::Init, 0));
    /// net.initialise(&[0, 1, 2, 1, 2, 0]);
    /// let model = TrainedCategoricalAef { config, net, schema, device };
    /// let sample = SampleRequest { last: LastStep::Draw, endpoints: false, ..SampleRequest::map(8, 3, 7) };
    /// let request = SteerRequest { sample, method: Method::Smc(SmcSettings::default()), particles: 32, keep: 8, part: None };
    /// let models: &dyn Steers = &model;
    /// let found = models.steered(&request, &NoTwo, &Ranks::alone(), &mut |_| true)?;
    /// assert!(found.samples.ids.len() == 8 * 3 && !found.samples.ids.contains(&2));
    /// assert_eq!(found.populations[0].nfe, 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn steered(
        &self,
        request: &SteerRequest,
        reward: &dyn Reward,
        ranks: &Ranks,
        progress: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Steered, SteerFailure> {
        drawing_of(&request.sample)?;
        check_correction(&self.schema, &request.sample)?;
        Ok(latent_steer::steer(self, request, reward, ranks, progress)?)
    }

    fn device(&self) -> &Device {
        &self.device
    }
}

impl Latents for TrainedCategoricalAef {
    fn sites(&self) -> SiteShape {
        site_shape(&self.schema)
    }

    fn start(&self, request: &SampleRequest, index: u64) -> Start {
        let mut random = stream(request.seed, Purpose::Sample, index);
        let scaled = |v: f32| (f64::from(v) * request.temperature) as f32;
        let base = random.normals(self.config.latent).into_iter().map(scaled).collect();
        let sizes = if request.sizes.is_empty() { self.sizes() } else { &request.sizes };
        let size = |largest| draw_size(sizes, largest, &mut stream(request.seed, Purpose::Size, index));
        Start { base, size: Latents::sites(self).largest_size().map(size), random }
    }

    fn decode(&self, request: &SampleRequest, drawing: Drawing, particles: &mut [Start]) -> Vec<u32> {
        let parts = particles.chunks_mut(request.batch.max(1));
        parts.flat_map(|part| self.decode_drawn(part, drawing, request)).collect()
    }

    fn slope(
        &self,
        request: &SampleRequest,
        drawing: Drawing,
        particles: &[Start],
        reward: &dyn Reward,
    ) -> Option<Slope> {
        let (mut values, mut slopes) = (Vec::new(), Vec::new());
        for part in particles.chunks(request.batch.max(1)) {
            let base = Tensor::from_inner(self.base_of(part)).require_grad();
            let value = reward.soft(softmax(self.logits(base.clone(), drawing)))?;
            values.extend(to_host(&value));
            let slope = base.grad(&value.sum().backward());
            slopes.extend(slope.map_or_else(|| vec![0.0; part.len() * self.config.latent], |slope| numbers(&slope)));
        }
        Some((values, slopes))
    }
}

fn numbers(x: &Tensor<2>) -> Vec<f32> {
    to_host(x).into_iter().map(|v| v as f32).collect()
}

/// Classes drawn from the law of every site, item by item.
fn classes(logits: &Tensor<3>, particles: &mut [Start]) -> Vec<u32> {
    let [_, sites, classes] = logits.dims();
    let laws = to_host(&softmax(logits.clone()));
    let draw = |(row, law): (usize, &[f64])| draw_class(law, &mut particles[row / sites].random);
    laws.chunks_exact(classes).enumerate().map(draw).collect()
}
