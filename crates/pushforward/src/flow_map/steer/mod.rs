//! Steering a trained flow map towards a reward, without training it.
//!
//! With `p` the law of the map's samples and `r` a [`Reward`], the goal is the tilted law `p(x) e^{r(x)} / Z`.
//!
//! | method | law of its samples as particles grow | network evaluations a particle |
//! |---|---|---|
//! | [`Method::BestOf`] | the best of `P` samples of `p`: no tilted law, the most reward | those of the sampler |
//! | [`Method::Resample`] | tilted law of the sampler's own law `p` | those of the sampler |
//! | [`Method::Gradient`] | none that is known: a moved sample of `p` | `2 rounds + 1` a step, `rounds` of them backwards |
//! | [`Method::Smc`] | tilted law of the re-noising sampler | 1 a step |
//! | [`Method::Tilt`] | tilted law of the diffusion along the flow | 2 a step, 3 with a gradient |
//!
//! Samples come from independent populations of `P` particles; each gives `keep` of them. A population's particles
//! start from the streams of the items `g P .. (g+1) P` of an ordinary sample, so neither the batch nor other
//! populations matter.
//!
//! The last classes are drawn or the most probable ones, as the request for the sample says; both are laws of the
//! sampler.
//!
//! Whatever the surrogate of the value, the weights make the last law right; the surrogate decides how many particles
//! that takes. References: Del Moral, Doucet, Jasra 2006 (samplers of this kind, and that the estimate of Z is
//! unbiased); Wu et al. 2023 (arXiv:2306.17775, twisting); Sabour et al. 2025 (arXiv:2511.22688, tilting along flow
//! maps); Eyring et al. 2024 (arXiv:2406.04312, the noise of one-step generators moved up the gradient of a reward).

mod candidates;
mod context;
mod driver;
mod gradient;
mod lookahead;
mod request;
mod reward;
mod smc;
pub mod weights;

pub use self::driver::steer;
pub use self::request::{Method, Population, RenoiseTarget, SmcSettings, SteerError, SteerRequest, Steered, Twist};
pub use self::reward::{Reward, RewardError};
