//! Residual multilayer perceptron over all sites at once, conditioned on a pair of times: for small problems, and for
//! graphs whose order of nodes is part of the data.
//!
//! ```text
//! h = W_in x / sqrt(K) + b
//! h = h + gate W_2 SiLU( W_1 (LayerNorm(h) (1 + scale) + shift) )
//! logits = W_out LayerNorm(h)
//! ```
//!
//! With [`MlpConfig::posterior`], the network also reads what each site says of itself, `p`, so that it need not learn to
//! filter the noise of many classes, and part of it goes straight to the logits. With [`MlpConfig::skip`], so does the
//! point: a draw from many classes in one jump depends on the noise of every class, which does not fit through layers
//! narrower than all classes together.
//!
//! ```text
//! p = softmax(c + s/(1-s)^2 x)                                         c: learned
//! h = W_in x / sqrt(K) + W_own [p, max(log p, -5) / 4] + b
//! logits += 8 W_p p                                                    posterior
//! logits += a x + (1 + g) 4 W_x x                                      skip; a, g: one number a site, of the times
//! ```
//!
//! With [`MlpConfig::centred`], `x - mean_k x` takes the place of the point, but in the posterior: the mean over the classes of a site says nothing of its
//! class, and is half of the noise where there are two.
//!
//! With [`MlpConfig::rounds`], sites correct each other several times in one evaluation: every round adds what follows for
//! a site from the laws of the others so far, as one step of a mean-field inference would. A jump over the whole time
//! needs that: which classes fit together is decided by the noise of all sites, step by step.
//!
//! ```text
//! z = (1 + g_r) z + a_r x + V_r LayerNorm(h) + 8 W_r softmax(z + e(s) x)   e(s) = min(s/(1-s)^2, 64); a_r, g_r: as above
//! ```
//!
//! If sites depend on each other in pairs and most are decided, logits are linear in `p`. The factors 8 and 4 let these
//! layers learn faster than the others, as they can. `W_p` and `W_x` are products of two matrices of rank 512 where there are
//! more than 1,024 classes in all. Of the columns of a table, the layers have the classes that there are,
//! without padding.
//!
//! # Examples
//! The last layer starts at zero, so before training every endpoint is uniform.
//! ```
//! use pushforward::burn::tensor::{Device, Tensor};
//! use pushforward::nn::{SiteShape, mlp::MlpConfig};
//! use pushforward::rng::{Purpose, stream};
//! use pushforward::tensor::to_host;
//!
//! let device = Device::flex();
//! let net = MlpConfig::default().init(SiteShape::line(3, 5), &device, &mut stream(0, Purpose::Init, 0));
//! let (x, time) = (Tensor::<3>::ones([2, 3, 5], &device), Tensor::<1>::zeros([2], &device));
//! let z = net.forward(x.into(), time.clone().into(), time.into(), None);
//! assert_eq!(to_host(&z.value), [0.0; 2 * 3 * 5]);
//! ```

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::evidence::evidence;
use super::linear::{Linear, LinearConfig, LinearInit};
use super::modulation::{Modulation, gated};
use super::norm::LayerNorm;
use super::packing::Packing;
use super::time_embedding::{PairEmbedding, TimeFeatures};
use super::{Fill, SiteShape, parameter};
use crate::dual::Dual;
use crate::kernels;
use crate::rng::Stream;
use crate::setting::{DEPTH, SettingError, WIDTH, pairs_of_features, size};
use crate::tensor::to_host;

/// Configuration of an [`Mlp`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MlpConfig {
    /// Width of the hidden layers.
    pub width: usize,
    /// Number of residual blocks.
    pub blocks: usize,
    /// Kind of time features.
    pub time: TimeFeatures,
    /// Number of time features.
    pub time_width: usize,
    /// Whether the network also reads the posterior of every site given its own noised vector.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub posterior: bool,
    /// Whether the point goes straight to the logits, too.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub skip: bool,
    /// Whether points are read without their mean over classes, which says nothing of the class; for data whose sites have
    /// equally many classes.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub centred: bool,
    /// Number of rounds in which sites correct each other by their laws so far.
    #[serde(skip_serializing_if = "is_zero")]
    pub rounds: usize,
}

fn is_zero(n: &usize) -> bool {
    *n == 0
}

impl Default for MlpConfig {
    fn default() -> Self {
        Self {
            width: 128,
            blocks: 3,
            time: TimeFeatures::Fourier,
            time_width: 32,
            posterior: false,
            skip: false,
            centred: false,
            rounds: 0,
        }
    }
}

impl MlpConfig {
    /// Checks the settings on their own, without the shape of the data.
    ///
    /// # Errors
    /// Names the key and its allowed values.
    pub fn validate(&self) -> Result<(), SettingError> {
        size("width", self.width, 1..=WIDTH)?;
        size("blocks", self.blocks, 0..=DEPTH)?;
        size("rounds", self.rounds, 0..=DEPTH)?;
        pairs_of_features("time_width", self.time_width)
    }

    /// Makes the network with random initial weights, for items of the given shape.
    pub fn init(&self, sites: SiteShape, device: &Device, stream: &mut Stream) -> Mlp {
        let (width, packing) = (self.width, Packing::of(&sites));
        let flat = packing.len();
        Mlp {
            input: LinearConfig::new(flat, width).init(device, stream),
            time: PairEmbedding::init(self.time, self.time_width, width, device, stream),
            blocks: (0..self.blocks)
                .map(|_| MlpBlock {
                    norm: LayerNorm::init(width, device, stream),
                    first: LinearConfig::new(width, 2 * width).init(device, stream),
                    second: LinearConfig::new(2 * width, width).init(device, stream),
                    modulation: Modulation::init(width, 3, width, device, stream),
                })
                .collect(),
            norm: LayerNorm::init(width, device, stream),
            output: LinearConfig::new(width, flat).with_init(LinearInit::Zero).init(device, stream),
            posterior: self.posterior.then(|| Posterior {
                prior: parameter([1, sites.count, sites.classes], Fill::Constant(0.0), device, stream),
                own: LinearConfig::new(2 * flat, width).without_bias().init(device, stream),
                direct: Straight::init(flat, device, stream),
            }),
            skip: self.skip.then(|| InputSkip {
                factors: LinearConfig::new(width, 2 * sites.count).with_init(LinearInit::Zero).init(device, stream),
                mix: Straight::init(flat, device, stream),
            }),
            rounds: (0..self.rounds)
                .map(|_| Round {
                    factors: LinearConfig::new(width, 2 * sites.count).with_init(LinearInit::Zero).init(device, stream),
                    hidden: LinearConfig::new(width, flat).with_init(LinearInit::Zero).init(device, stream),
                    direct: Straight::init(flat, device, stream),
                })
                .collect(),
            centred: self.centred,
            classes: sites.classes,
            packing,
        }
    }
}

/// The perceptron, made by [`MlpConfig::init`].
#[derive(Module, Debug)]
pub struct Mlp {
    /// `[sites * classes, width]`
    pub input: Linear,
    /// Embedding of the pair of times.
    pub time: PairEmbedding,
    /// The residual blocks.
    pub blocks: Vec<MlpBlock>,
    /// Final normalisation.
    pub norm: LayerNorm,
    /// `[width, sites * classes]`
    pub output: Linear,
    /// What each site says of itself, as a second input.
    pub posterior: Option<Posterior>,
    /// The point in the logits.
    pub skip: Option<InputSkip>,
    /// Corrections of the logits.
    pub rounds: Vec<Round>,
    #[module(skip)]
    centred: bool,
    #[module(skip)]
    classes: usize,
    #[module(skip)]
    packing: Packing,
}

/// What each site says of itself, as an input.
#[derive(Module, Debug)]
pub struct Posterior {
    /// Logits without evidence, `[1, sites, classes]`.
    pub prior: Param<Tensor<3>>,
    /// `[2 * sites * classes, width]`
    pub own: Linear,
    /// To the logits.
    pub direct: Straight,
}

/// The point as a part of the logits.
#[derive(Module, Debug)]
pub struct InputSkip {
    /// Two factors for each site, `[width, 2 * sites]`.
    pub factors: Linear,
    /// All sites together.
    pub mix: Straight,
}

/// A correction of the logits by the law of every site so far.
#[derive(Module, Debug)]
pub struct Round {
    /// Two factors for each site, `[width, 2 * sites]`.
    pub factors: Linear,
    /// From the hidden layers, `[width, sites * classes]`.
    pub hidden: Linear,
    /// From the laws.
    pub direct: Straight,
}

/// A linear map of `n` numbers to as many, zero at first; of low rank if they are many.
#[derive(Module, Debug)]
pub struct Straight {
    /// `[n, rank]`, if the rank is low.
    pub first: Option<Linear>,
    /// `[n, n]`, or `[rank, n]`
    pub last: Linear,
}

/// Most numbers that are mapped by a matrix of full rank, and the rank for more of them.
const FULL: usize = 1024;
const RANK: usize = 512;

impl Straight {
    fn init(n: usize, device: &Device, stream: &mut Stream) -> Self {
        let first = (n > FULL).then(|| LinearConfig::new(n, RANK).without_bias().init(device, stream));
        let rank = if first.is_some() { RANK } else { n };
        let last = LinearConfig::new(rank, n).without_bias().with_init(LinearInit::Zero).init(device, stream);
        Self { first, last }
    }

    /// Number of parameters.
    pub(super) fn parameters(n: usize) -> u128 {
        n as u128 * if n > FULL { 2 * RANK as u128 } else { n as u128 }
    }

    fn forward(&self, x: Dual<3>) -> Dual<3> {
        let x = if let Some(first) = &self.first { first.forward(x) } else { x };
        self.last.forward(x)
    }
}

/// Least logarithm of a probability that the first layer reads.
const LEAST: f64 = -5.0;
/// Divisor of the logarithms there.
const SHORTER: f64 = 4.0;
/// Factors of what goes straight to the logits: the steps of an optimiser that adapts to the size of gradients grow with
/// them.
const DIRECT: f64 = 8.0;
const MIXED: f64 = 4.0;

/// Largest factor of the point in the logits of a site's own posterior; above about 64 its class is certain.
const CERTAIN: f64 = 64.0;

/// One residual block.
#[derive(Module, Debug)]
pub struct MlpBlock {
    /// Normalisation.
    pub norm: LayerNorm,
    /// `[width, 2 width]`
    pub first: Linear,
    /// `[2 width, width]`
    pub second: Linear,
    /// Shift, scale and gate from the conditioning vector.
    pub modulation: Modulation,
}

/// Whether all items have the same time, which does not move.
fn is_constant(time: &Dual<1>) -> bool {
    time.tangent.is_none() && to_host(&time.value).windows(2).all(|pair| pair[0] == pair[1])
}

impl Mlp {
    /// Logits of the endpoint.
    ///
    /// # Shapes
    /// - `x`: `[batch, sites, classes]`
    /// - `s`, `t`: `[batch]`
    /// - `class`: `[batch, width]`, added to the embedded times
    /// - output: `[batch, sites, classes]`
    pub fn forward(&self, x: Dual<3>, s: Dual<1>, t: Dual<1>, class: Option<Tensor<2>>) -> Dual<3> {
        let [b, sites, _] = x.dims();
        let packing = &self.packing;
        // Items of equal times are positions of one entry: what depends on the times is computed once for all of them.
        let together = class.is_none() && b > 1 && kernels::serve(&x.value) && is_constant(&s) && is_constant(&t);
        let [entries, positions] = if together { [1, b] } else { [b, 1] };
        let [s, t] = [s, t].map(|a| if together { a.linear(|a| a.slice_dim(0, 0..1)) } else { a });
        let joined = |x: Dual<3>| x.linear(|x| x.reshape([entries, positions, packing.len()]));
        let apart = |x: Dual<3>| x.linear(|x| x.reshape([b, 1, packing.len()]));
        let packed = |x: Dual<3>| joined(packing.pack(x));
        let at_s = |cap| evidence(s.clone(), cap).linear(|e| e.reshape([entries, 1, 1]));
        let cond = self.time.forward_with(s.clone(), t, class);
        let point = packed(if self.centred { x.clone().linear(|x| x.clone() - x.mean_dim(2)) } else { x.clone() });
        let mut h = self.input.forward(point.clone().scale(1.0 / (self.classes as f64).sqrt()));
        let mut straight = None;
        if let Some(Posterior { prior, own, direct }) = &self.posterior {
            let z = x * at_s(CERTAIN) + Dual::from(packing.closed(prior.val()));
            let logs = packed(z.clone().log_softmax().shift(-LEAST).relu().shift(LEAST));
            let own_law = packed(z.softmax());
            h = h + own.forward(Dual::cat(vec![own_law.clone(), logs.scale(1.0 / SHORTER)], 2));
            straight = Some(direct.forward(own_law.scale(DIRECT)));
        }
        for block in &self.blocks {
            let [shift, scale, gate] = block.modulation.forward(cond.clone());
            let m = block.norm.forward_modulated(h.clone(), shift, scale);
            h = gated(h, block.second.forward(block.first.forward_silu(m)), gate);
        }
        let h = self.norm.forward(h);
        let mut z = self.output.forward(h.clone());
        if let Some(straight) = straight {
            z = z + straight;
        }
        // Two numbers for each site.
        let halves = |factors: &Linear| {
            let factors = factors.forward(cond.clone());
            let half = |start: usize| {
                factors.clone().linear(|a| a.reshape([entries, 1, 2 * sites]).slice_dim(2, start..start + sites))
            };
            [packing.each(half(0)), packing.each(half(sites))]
        };
        if let Some(InputSkip { factors, mix }) = &self.skip {
            let mixed = mix.forward(point.clone().scale(MIXED));
            let [own, gain] = halves(factors);
            z = z + point.clone() * own + mixed * gain.shift(1.0);
        }
        for Round { factors, hidden, direct } in &self.rounds {
            let law = joined(packing.softmax(apart(z.clone() + point.clone() * at_s(CERTAIN))));
            let change = direct.forward(law.scale(DIRECT)) + hidden.forward(h.clone());
            let [own, gain] = halves(factors);
            z = z * gain.shift(1.0) + point.clone() * own + change;
        }
        packing.spread(apart(z))
    }
}

#[cfg(test)]
mod tests {
    use burn::module::{Module, ModuleMapper, Param};
    use burn::tensor::{Device, TensorData};

    use super::*;
    use crate::rng::{Purpose, stream};

    struct Randomise(Stream);

    impl ModuleMapper for Randomise {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|p| parameter(p.dims(), Fill::Normal(0.3), &p.device(), &mut self.0).val())
        }
    }

    #[test]
    fn items_of_equal_times_have_the_logits_that_each_has_alone() {
        let config = MlpConfig {
            width: 8,
            blocks: 2,
            time_width: 4,
            posterior: true,
            skip: true,
            rounds: 2,
            ..Default::default()
        };
        for (sites, centred) in [(SiteShape::columns(&[2, 3]), false), (SiteShape::line(2, 3), true)] {
            let device = Device::flex();
            let random = &mut stream(0, Purpose::Init, 0);
            let net = MlpConfig { centred, ..config.clone() }
                .init(sites, &device, random)
                .map(&mut Randomise(random.clone()));
            let x: Vec<f32> = (0..24).map(|_| random.normal() as f32).collect();
            let logits = |items: std::ops::Range<usize>, s: &[f32], t: &[f32]| {
                let x = TensorData::new(x[items.start * 6..items.end * 6].to_vec(), [items.len(), 2, 3]);
                let time = |a: &[f32]| Dual::from(Tensor::<1>::from_data(a, &device));
                to_host(&net.forward(Tensor::from_data(x, &device).into(), time(s), time(t), None).value)
            };
            let together = logits(0..4, &[0.2; 4], &[0.7; 4]);
            let alone: Vec<f64> = (0..4).flat_map(|i| logits(i..i + 1, &[0.2], &[0.7])).collect();
            // Beside an item of another time.
            let apart = logits(0..4, &[0.2, 0.2, 0.2, 0.2], &[0.7, 0.7, 0.7, 0.9]);
            let near = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4 * (1.0 + a.abs()));
            assert!(near(&together, &alone), "{together:?}\n{alone:?}");
            assert!(
                near(&together[..18], &apart[..18]) && !near(&together[18..], &apart[18..]),
                "{together:?}\n{apart:?}"
            );
        }
    }
}
