//! Steering a trained flow map towards a reward, without training it.
//!
//! With `p` the distribution of the map's samples and `r` a [`Reward`], the target is the tilted distribution
//! `p(x) e^{r(x)} / Z`.
//!
//! | method | distribution of its samples as `P` grows | NFE per particle |
//! |---|---|---|
//! | [`Method::BestOf`] | the best of `P` samples of `p`: highest reward, not tilted | that of the sampler |
//! | [`Method::Resample`] | the tilted `p` of the sampler | that of the sampler |
//! | [`Method::Gradient`] | not known: samples of `p` from moved points | `2 rounds + 1` per step, `rounds` of them backwards |
//! | [`Method::Smc`] | the tilted `p` of the re-noising sampler | 1 per step |
//! | [`Method::Tilt`] | the tilted `p` of the diffusion along the flow | 2 per step, 3 with a gradient |
//!
//! By several ranks ([`steer_together`]), samples, weights and the estimate of `log Z` are those of one process. Processes that know
//! nothing of each other compute some of the populations each ([`SteerRequest::part`]).
//!
//! Samples come from independent populations of `P` particles; each gives `keep` samples. The particles of population g
//! start from the streams of the items `g P .. (g+1) P` of an ordinary sample, so results depend neither on the batch
//! size nor on other populations.
//!
//! The final classes are drawn or the most probable ones, as the sample request says; `p` is then the distribution of
//! that sampler.
//!
//! [`Method::Smc`] and [`Method::Tilt`] use a [`Twist`], an estimate of the value `log E[e^r | x_t]` of unfinished
//! items. The weights are correct for any twist; how many particles are needed depends on its quality.
//!
//! References: Del Moral, Doucet, Jasra 2006 (sequential Monte Carlo samplers; the estimate of Z is unbiased); Wu et
//! al. 2023 (arXiv:2306.17775, twisting); Sabour et al. 2025 (arXiv:2511.22688, tilting along flow maps); Eyring et al.
//! 2024 (arXiv:2406.04312, optimisation of the noise of one-step generators by the gradient of a reward).
//!
//! # Examples
//! An untrained network draws every class with probability 1/2; the best of 64 items has class 1 at both sites.
//! ```
//! use pushforward::burn::tensor::Device;
//! use pushforward::flow_map::model::FlowMapModel;
//! use pushforward::flow_map::sample::{Generator, LastStep, SampleRequest};
//! use pushforward::flow_map::steer::{Method, Reward, RewardError, SteerError, SteerRequest, steer, steer_together};
//! use pushforward::nn::{SiteShape, mlp::MlpConfig};
//! use pushforward::ranks::Ranks;
//! use pushforward::rng::{Purpose, stream};
//!
//! struct Ones;
//! impl Reward for Ones {
//!     fn score(&self, ids: &[u32]) -> Result<Vec<f64>, RewardError> {
//!         Ok(ids.chunks(2).map(|item| f64::from(item[0] + item[1])).collect())
//!     }
//! }
//! let (sites, device) = (SiteShape::line(2, 2), Device::flex());
//! let network = MlpConfig::default().init(sites.clone(), &device, &mut stream(0, Purpose::Init, 0));
//! let model = FlowMapModel::new(network, sites.clone());
//! let sample = SampleRequest { last: LastStep::Draw, ..SampleRequest::map(1, 1, 0) };
//! let request = SteerRequest { sample, method: Method::BestOf, particles: 64, keep: 1, part: None };
//! let generator = Generator::new(&model, sites.clone(), &device);
//! let steered = steer(&generator, &request, &Ones, &mut |_| true)?;
//! assert_eq!((&steered.samples.ids[..], &steered.rewards[..]), (&[1, 1][..], &[2.0][..]));
//! assert_eq!(steered.samples.nfe, [64]);
//! // One rank of many would compute its populations only.
//! let same = steer_together(&generator, &request, &Ones, &Ranks::alone(), &mut |_| true)?;
//! assert_eq!(same.samples.ids, steered.samples.ids);
//! # Ok::<(), SteerError>(())
//! ```

mod candidates;
mod context;
mod driver;
mod gradient;
mod lookahead;
mod particles;
mod request;
mod reward;
mod smc;
pub mod weights;

pub(crate) use self::candidates::{distinct, kept, pick};
pub(crate) use self::context::Kept;
pub(crate) use self::driver::in_populations;
pub use self::driver::{steer, steer_together};
pub(crate) use self::request::check_counts;
pub use self::request::{Method, Population, RenoiseTarget, SmcSettings, SteerError, SteerRequest, Steered, Twist};
pub(crate) use self::reward::checked;
pub use self::reward::{Reward, RewardError};
