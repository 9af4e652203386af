//! Runs populations, several at a time, by any of the methods.

use std::ops::Range;

use crate::flow_map::backbone::EndpointNet;
use crate::flow_map::sample::{Generator, Samples};
use crate::flow_map::steer::context::{Kept, SteerContext};
use crate::flow_map::steer::request::{Method, Population, SteerError, SteerRequest, Steered, check};
use crate::flow_map::steer::reward::Reward;
use crate::flow_map::steer::smc::Kernel;
use crate::flow_map::steer::{candidates, gradient, smc};
use crate::nn::SiteShape;
use crate::ranks::codec::{Reader, Writer};
use crate::ranks::{RankError, Ranks};

/// Draws samples of high reward. `progress` is called with the number of finished samples and stops the work by
/// returning false.
///
/// If an error occurs after some samples are finished, these are returned, with the error in [`Steered::stopped`].
///
/// # Errors
/// See [`SteerError`].
pub fn steer<N: EndpointNet>(
    generator: &Generator<'_, N>,
    request: &SteerRequest,
    reward: &dyn Reward,
    progress: &mut dyn FnMut(usize) -> bool,
) -> Result<Steered, SteerError> {
    steer_together(generator, request, reward, &Ranks::alone(), progress)
}

/// As [`steer`], by several ranks, of which all get all samples: those of one process.
///
/// Every rank has some of the populations. If there are fewer populations than ranks, sequential Monte Carlo shares the particles
/// of each: weights are those of all, and particles are sent where resampling puts them.
///
/// # Errors
/// See [`SteerError`].
pub fn steer_together<N: EndpointNet>(
    generator: &Generator<'_, N>,
    request: &SteerRequest,
    reward: &dyn Reward,
    ranks: &Ranks,
    progress: &mut dyn FnMut(usize) -> bool,
) -> Result<Steered, SteerError> {
    check(generator, request)?;
    let alone = Ranks::alone();
    let monte_carlo = matches!(request.method, Method::Smc(_) | Method::Tilt { .. });
    let within = monte_carlo && request.populations() < ranks.size() && request.particles >= ranks.size();
    let (of_particles, of_populations) = if within { (ranks, &alone) } else { (&alone, ranks) };
    let context = SteerContext { generator: generator.clone(), request, reward, ranks: of_particles };
    let run = &mut |first: usize, count: usize| match request.method {
        Method::BestOf | Method::Resample => candidates::run(&context, first, count),
        Method::Gradient { step, rounds } => gradient::run(&context, step, rounds, first, count),
        Method::Smc(settings) => smc::run(&context, settings, Kernel::Renoise, first, count),
        Method::Tilt { churn, pull, settings } => {
            smc::run(&context, settings, Kernel::Diffuse { churn, pull }, first, count)
        }
    };
    in_populations(request, &generator.sites, of_populations, run, progress)
}

/// Collects the samples of all populations, of which every rank has some; `run` gives those of a few, by the number of the
/// first and their count.
pub(crate) fn in_populations(
    request: &SteerRequest,
    sites: &SiteShape,
    ranks: &Ranks,
    run: &mut dyn FnMut(usize, usize) -> Result<Vec<Kept>, SteerError>,
    progress: &mut dyn FnMut(usize) -> bool,
) -> Result<Steered, SteerError> {
    let (populations, together) = (request.populations(), request.together());
    if let Some(part) = &request.part {
        return in_turn(request, sites, part.clone(), run, progress);
    }
    let groups = ranks.share(populations.div_ceil(together));
    let own = (groups.start * together).min(populations)..(groups.end * together).min(populations);
    if ranks.size() == 1 {
        return in_turn(request, sites, own, run, progress)?.complete(request.sample.count);
    }
    let mut found = None;
    let all = ranks.each(|| {
        let steered = in_turn(request, sites, own, run, progress);
        let bytes = match &steered {
            Ok(steered) => steered.encode(),
            Err(error) => Writer::default().text(&error.to_string()).bytes(),
        };
        found = Some(steered);
        bytes
    });
    let own = found.expect("the work was done")?;
    let mut whole = Steered::empty(sites);
    for (rank, bytes) in all?.iter().enumerate() {
        whole.append(rank, bytes)?;
    }
    let stopped = own.stopped.or(whole.stopped);
    Steered { stopped, ..whole }.complete(request.sample.count)
}

/// The samples of a range of populations, some at a time.
fn in_turn(
    request: &SteerRequest,
    sites: &SiteShape,
    populations: Range<usize>,
    run: &mut dyn FnMut(usize, usize) -> Result<Vec<Kept>, SteerError>,
    progress: &mut dyn FnMut(usize) -> bool,
) -> Result<Steered, SteerError> {
    let mut out = Steered::empty(sites);
    let together = request.together();
    for first in populations.clone().step_by(together) {
        let count = together.min(populations.end - first);
        match run(first, count) {
            Ok(kept) => kept.into_iter().for_each(|k| out.take(k, request)),
            Err(error) if out.rewards.is_empty() => return Err(error),
            Err(error) => out.stopped = Some(error),
        }
        if out.stopped.is_none() && !progress(out.rewards.len().min(request.sample.count)) {
            out.stopped = Some(SteerError::Interrupted);
        }
        if out.stopped.is_some() {
            break;
        }
    }
    Ok(out)
}

impl Steered {
    fn empty(sites: &SiteShape) -> Self {
        let samples = Samples { ids: Vec::new(), endpoints: Vec::new(), sites: sites.clone(), nfe: Vec::new() };
        Self { samples, rewards: Vec::new(), populations: Vec::new(), stopped: None }
    }

    fn encode(&self) -> Vec<u8> {
        let Self { samples, rewards, populations, .. } = self;
        let why = self.stopped.as_ref().map_or_else(String::new, ToString::to_string);
        let mut message = Writer::default().text(&why).u32s(&samples.ids).f32s(&samples.endpoints).f64s(rewards);
        message = message.u64s(samples.nfe.iter().copied()).u64s([populations.len() as u64]);
        for Population { ess, resampled, log_z, distinct, nfe } in populations {
            let log_z: Vec<f64> = log_z.iter().copied().collect();
            message = message.f64s(ess).f64s(&log_z).f64s(&[*distinct]).u64s([*resampled as u64, *nfe]);
        }
        message.bytes()
    }

    /// Appends what a rank has found: why it has stopped, if it has, and its samples, if there are any.
    fn append(&mut self, rank: usize, bytes: &[u8]) -> Result<(), RankError> {
        let mut reader = Reader::new(bytes);
        let why = reader.text()?;
        if !why.is_empty() {
            let stopped = RankError::Stopped { rank, why };
            if reader.is_at_end() {
                return Err(stopped);
            }
            self.stopped.get_or_insert(stopped.into());
        }
        self.samples.ids.extend(reader.u32s()?);
        self.samples.endpoints.extend(reader.f32s()?);
        self.rewards.extend(reader.f64s()?);
        self.samples.nfe.extend(reader.u64s()?);
        for _ in 0..reader.u64s()?.first().copied().unwrap_or(0) {
            let (ess, log_z, distinct, counts) = (reader.f64s()?, reader.f64s()?, reader.f64s()?, reader.u64s()?);
            let ([distinct], [resampled, nfe]) = (&distinct[..], &counts[..]) else {
                return Err(RankError::Failed("a message of populations is damaged".into()));
            };
            let (resampled, nfe) = (*resampled as usize, *nfe);
            self.populations.push(Population {
                ess,
                resampled,
                log_z: log_z.first().copied(),
                distinct: *distinct,
                nfe,
            });
        }
        Ok(())
    }

    fn take(&mut self, kept: Kept, request: &SteerRequest) {
        let cost = kept.population.nfe * request.particles as u64;
        self.samples.nfe.extend(vec![cost.div_ceil(request.keep as u64); kept.rewards.len()]);
        self.samples.ids.extend(kept.ids);
        self.samples.endpoints.extend(kept.endpoints);
        self.rewards.extend(kept.rewards);
        self.populations.push(kept.population);
    }

    /// The `count` samples that were asked for, from those of [parts](SteerRequest::part) in order, which have all populations.
    ///
    /// # Errors
    /// [`SteerError::NoWeight`] if there are no samples.
    ///
    /// # Examples
    /// Two processes draw 6 samples from 3 populations.
    /// ```
    /// use pushforward::burn::tensor::Device;
    /// use pushforward::flow_map::model::FlowMapModel;
    /// use pushforward::flow_map::sample::{Generator, SampleRequest};
    /// use pushforward::flow_map::steer::{Method, Reward, RewardError, SteerError, SteerRequest, Steered, steer};
    /// use pushforward::nn::{SiteShape, mlp::MlpConfig};
    /// use pushforward::rng::{Purpose, stream};
    ///
    /// struct Zeros;
    /// impl Reward for Zeros {
    ///     fn score(&self, ids: &[u32]) -> Result<Vec<f64>, RewardError> {
    ///         Ok(ids.chunks(2).map(|item| -f64::from(item[0] + item[1])).collect())
    ///     }
    /// }
    /// let (sites, device) = (SiteShape::line(2, 3), Device::flex());
    /// let network = MlpConfig::default().init(sites.clone(), &device, &mut stream(0, Purpose::Init, 0));
    /// let model = FlowMapModel::new(network, sites.clone());
    /// let generator = Generator::new(&model, sites.clone(), &device);
    /// let sample = SampleRequest { batch: 8, ..SampleRequest::map(6, 2, 0) };
    /// let whole = SteerRequest { sample, method: Method::Resample, particles: 4, keep: 2, part: None };
    /// assert_eq!((whole.populations(), whole.together()), (3, 2));
    /// let draw = |part| steer(&generator, &SteerRequest { part, ..whole.clone() }, &Zeros, &mut |_| true);
    /// let joined = Steered::joined([draw(Some(0..2))?, draw(Some(2..3))?], 6)?;
    /// let alone = draw(None)?;
    /// assert_eq!((joined.samples.ids, joined.populations), (alone.samples.ids, alone.populations));
    /// # Ok::<(), SteerError>(())
    /// ```
    pub fn joined(parts: impl IntoIterator<Item = Self>, count: usize) -> Result<Self, SteerError> {
        let mut parts = parts.into_iter();
        let mut whole = parts.next().ok_or(SteerError::NoWeight)?;
        for Self { samples, rewards, populations, stopped } in parts {
            whole.samples.ids.extend(samples.ids);
            whole.samples.endpoints.extend(samples.endpoints);
            whole.samples.nfe.extend(samples.nfe);
            whole.rewards.extend(rewards);
            whole.populations.extend(populations);
            whole.stopped = whole.stopped.or(stopped);
        }
        whole.complete(count)
    }

    /// As many samples as were asked for: the last population may give more.
    fn complete(mut self, count: usize) -> Result<Self, SteerError> {
        let sites = &self.samples.sites;
        self.samples.ids.truncate(count * sites.count);
        self.samples.endpoints.truncate(count * sites.count * sites.classes);
        self.samples.nfe.truncate(count);
        self.rewards.truncate(count);
        if self.rewards.is_empty() { Err(SteerError::NoWeight) } else { Ok(self) }
    }
}
