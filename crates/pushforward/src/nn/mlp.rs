//! Residual multilayer perceptron over all sites at once, conditioned on a pair of times: for small problems, and for
//! graphs whose order of nodes is part of the data.
//!
//! ```text
//! h = W_in x / sqrt(K) + b
//! h = h + gate W_2 SiLU( W_1 (LayerNorm(h) (1 + scale) + shift) )
//! logits = W_out LayerNorm(h) [+ a(s, t) x]
//! ```
//!
//! With [`MlpConfig::posterior`], the first layer also reads what each site says of itself, so that it need not learn
//! to filter the noise of many classes: `h = W_in x / sqrt(K) + W_own softmax(b + s/(1-s)^2 x) + b_in`, with `b` learned.
//!
//! The last term of the logits is there with [`MlpConfig::skip`], with one number `a` per site: a draw from many classes in one jump
//! depends on the noise of every class, which does not fit through layers narrower than all classes together. Of the
//! columns of a table, the layers have the classes that there are, without padding.
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
use super::time_embedding::{PairEmbedding, TimeFeatures};
use super::{Arrangement, Fill, SiteShape, parameter};
use crate::dual::Dual;
use crate::rng::Stream;
use crate::setting::{DEPTH, SettingError, WIDTH, pairs_of_features, size};
use crate::tensor::{from_host, indices};

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
    /// Whether the first layer also reads the posterior of every site given its own noised vector.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub posterior: bool,
    /// Whether a multiple of the point, one factor per site and pair of times, is added to the logits.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub skip: bool,
}

impl Default for MlpConfig {
    fn default() -> Self {
        Self { width: 128, blocks: 3, time: TimeFeatures::Fourier, time_width: 32, posterior: false, skip: false }
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
        pairs_of_features("time_width", self.time_width)
    }

    /// Makes the network with random initial weights, for items of the given shape.
    pub fn init(&self, sites: SiteShape, device: &Device, stream: &mut Stream) -> Mlp {
        let (width, live) = (self.width, live(&sites));
        let flat = live.as_ref().map_or(sites.count * sites.classes, Vec::len);
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
                own: LinearConfig::new(flat, width).without_bias().init(device, stream),
            }),
            skip: self
                .skip
                .then(|| LinearConfig::new(width, sites.count).with_init(LinearInit::Zero).init(device, stream)),
            classes: sites.classes,
            live,
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
    /// Factors of the point in the logits, `[width, sites]`.
    pub skip: Option<Linear>,
    #[module(skip)]
    classes: usize,
    /// For tables, the places of the classes that there are among `sites * classes`.
    #[module(skip)]
    live: Option<Vec<u32>>,
}

/// What each site says of itself, as an input.
#[derive(Module, Debug)]
pub struct Posterior {
    /// Logits without evidence, `[1, sites, classes]`.
    pub prior: Param<Tensor<3>>,
    /// `[sites * classes, width]`
    pub own: Linear,
}

/// Largest factor of the point in the logits of a site's own posterior; above about 64 its class is certain.
const CERTAIN: f64 = 64.0;

/// The places of the classes that columns of a table have; `None` for other arrangements.
pub(super) fn live(sites: &SiteShape) -> Option<Vec<u32>> {
    let Arrangement::Columns(classes) = &sites.arrangement else { return None };
    let row = |(site, &has): (usize, &usize)| (0..has).map(move |class| (site * sites.classes + class) as u32);
    Some(classes.iter().enumerate().flat_map(row).collect())
}

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

/// Puts the last axis of `packed` at the places `live` of one of length `all`, with zeros elsewhere.
fn spread(packed: Tensor<3>, live: &[u32], all: usize) -> Tensor<3> {
    let [b, one, _] = packed.dims();
    let (device, mut table) = (packed.device(), vec![live.len() as u32; all]);
    live.iter().zip(0..).for_each(|(&place, number)| table[place as usize] = number);
    let none = Tensor::zeros([b, one, 1], (&device, packed.dtype()));
    Tensor::cat(vec![packed, none], 2).select(2, indices(&table, [all], &device))
}

impl Mlp {
    /// The sites of an item one after the other, with the classes that there are.
    fn packed(&self, x: Dual<3>) -> Dual<3> {
        let [b, sites, classes] = x.dims();
        x.linear(|v| {
            let v = v.reshape([b, 1, sites * classes]);
            self.live.as_ref().map_or(v.clone(), |live| v.clone().select(2, indices(live, [live.len()], &v.device())))
        })
    }

    /// Logits with the classes closed that columns of a table do not have.
    fn closed(&self, z: Tensor<3>) -> Tensor<3> {
        let Some(live) = &self.live else { return z };
        let [one, sites, classes] = z.dims();
        let mut open = vec![0.0; sites * classes];
        live.iter().for_each(|&place| open[place as usize] = 1.0);
        let open: Tensor<3> = from_host(&open, [one, sites, classes], &z);
        z + (open - 1.0) * 1e9
    }

    /// Logits of the endpoint.
    ///
    /// # Shapes
    /// - `x`: `[batch, sites, classes]`
    /// - `s`, `t`: `[batch]`
    /// - `class`: `[batch, width]`, added to the embedded times
    /// - output: `[batch, sites, classes]`
    pub fn forward(&self, x: Dual<3>, s: Dual<1>, t: Dual<1>, class: Option<Tensor<2>>) -> Dual<3> {
        let [b, sites, classes] = x.dims();
        let time = s.clone();
        let cond = self.time.forward_with(s, t, class);
        let mut h = self.input.forward(self.packed(x.clone().scale(1.0 / (self.classes as f64).sqrt())));
        if let Some(Posterior { prior, own }) = &self.posterior {
            let factor = evidence(time, CERTAIN).linear(|e| e.reshape([b, 1, 1]));
            let z = x.clone() * factor + Dual::from(self.closed(prior.val()));
            h = h + own.forward(self.packed(z.softmax()));
        }
        for block in &self.blocks {
            let [shift, scale, gate] = block.modulation.forward(cond.clone());
            let m = block.norm.forward_modulated(h.clone(), shift, scale);
            h = gated(h, block.second.forward(block.first.forward_silu(m)), gate);
        }
        let z = self.output.forward(self.norm.forward(h)).linear(|v| {
            let v = self.live.as_ref().map_or(v.clone(), |live| spread(v, live, sites * classes));
            v.reshape([b, sites, classes])
        });
        let Some(skip) = &self.skip else { return z };
        let factors = skip.forward(cond).linear(|a| a.reshape([b, sites, 1]));
        z + x * factors
    }
}
