//! Dilated convolutions along a sequence, conditioned on a pair of times: the kind of network that is published for DNA.
//!
//! ```text
//! c = SiLU(emb(s)) + SiLU(emb(t - s))                  [shift, scale, gate] = W c + b
//! h = W_in x / sqrt(K) + b + position
//! u = LayerNorm(h) (1 + scale) + shift
//! v_i = GELU( sum_j W_j u_(i + d (j - k/2)) + b )      d the dilation of the block, k the odd kernel, zeros outside
//! h = h + gate  W v
//! ```
//!
//! With [`DilatedConfig::rounds`], neighbours correct each other several times in one evaluation: every round reads the laws
//! of the letters so far, and the point itself goes straight to the logits. A jump over the whole time needs that: which
//! letters fit together is decided by the noise of all of them, step by step.
//!
//! ```text
//! p = softmax(z + e(s) x)                                   e(s) = min(s/(1-s)^2, 64)
//! z = (1 + g_r) z + a_r x + V_r GELU( sum_j R_rj p_(i+j-k/2) + U_r h + b )      a_r, g_r: two numbers, of the times
//! ```
//!
//! Blocks take the dilations in turn. The convolution is one product of the `k` shifted sequences side by side with a
//! matrix `[k width, width]`.
//!
//! References: van den Oord et al. 2016 (arXiv:1609.03499); for DNA, with kernel 9 and dilations 1, 1, 4, 16, 64, Stark et
//! al. 2024 (arXiv:2402.05841).
//!
//! # Examples
//! The last layer starts at zero, so before training every endpoint is uniform.
//! ```
//! use pushforward::burn::tensor::{Device, Tensor};
//! use pushforward::nn::{Pass, SiteShape, dilated::DilatedConfig};
//! use pushforward::rng::{Purpose, stream};
//! use pushforward::tensor::to_host;
//!
//! let device = Device::flex();
//! let config = DilatedConfig { width: 8, blocks: 2, cond: 8, time_width: 8, ..DilatedConfig::default() };
//! let net = config.init(SiteShape::line(7, 4), &device, &mut stream(0, Purpose::Init, 0));
//! let (x, time) = (Tensor::<3>::ones([2, 7, 4], &device), Tensor::<1>::zeros([2], &device));
//! let z = net.forward(x.into(), time.clone().into(), time.into(), None, &mut Pass::eval());
//! assert_eq!(to_host(&z.value), [0.0; 2 * 7 * 4]);
//! ```

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::dropout::Dropout;
use super::evidence::evidence;
use super::linear::{Linear, LinearConfig, LinearInit};
use super::modulation::{Modulation, gated};
use super::norm::LayerNorm;
use super::time_embedding::{PairEmbedding, TimeFeatures};
use super::{Fill, Pass, SiteShape, parameter};
use crate::dual::Dual;
use crate::rng::Stream;
use crate::setting::{DEPTH, SettingError, WIDTH, open_fraction, pairs_of_features, require, size};

/// Configuration of a [`Dilated`] network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DilatedConfig {
    /// Width of the trunk.
    pub width: usize,
    /// Number of blocks.
    pub blocks: usize,
    /// Number of letters that a convolution reads, odd.
    pub kernel: usize,
    /// Distances between these letters, in turn over the blocks.
    pub dilations: Vec<usize>,
    /// Width of the conditioning vector (embedded times and labels).
    pub cond: usize,
    /// Dropout on the branch of a block, in training passes.
    pub dropout: f64,
    /// Number of rounds in which neighbours correct each other by their laws so far.
    #[serde(skip_serializing_if = "is_zero")]
    pub rounds: usize,
    /// Kind of time features.
    pub time: TimeFeatures,
    /// Number of time features.
    pub time_width: usize,
}

fn is_zero(n: &usize) -> bool {
    *n == 0
}

impl Default for DilatedConfig {
    fn default() -> Self {
        Self {
            width: 128,
            blocks: 10,
            kernel: 9,
            dilations: vec![1, 1, 4, 16, 64],
            cond: 128,
            dropout: 0.0,
            rounds: 0,
            time: TimeFeatures::Sinusoidal,
            time_width: 256,
        }
    }
}

/// Largest kernel.
const KERNEL: usize = 255;

impl DilatedConfig {
    /// Checks the settings.
    ///
    /// # Errors
    /// Names the key and its allowed values.
    pub fn validate(&self) -> Result<(), SettingError> {
        for (key, width) in [("width", self.width), ("cond", self.cond)] {
            size(key, width, 1..=WIDTH)?;
        }
        size("blocks", self.blocks, 0..=DEPTH)?;
        size("rounds", self.rounds, 0..=DEPTH)?;
        size("kernel", self.kernel, 1..=KERNEL)?;
        require(self.kernel % 2 == 1, "kernel", format_args!("must be odd, found {}", self.kernel))?;
        let possible = !self.dilations.is_empty() && self.dilations.iter().all(|d| (1..=1 << 20).contains(d));
        require(
            possible,
            "dilations",
            format_args!("are numbers from 1 on, at least one, found {:?}", self.dilations),
        )?;
        pairs_of_features("time_width", self.time_width)?;
        open_fraction("dropout", self.dropout)
    }

    /// Checks the settings against the shape of an item.
    ///
    /// # Errors
    /// Names the key and its allowed values.
    pub fn check(&self, sites: SiteShape) -> Result<(), SettingError> {
        self.validate()?;
        require(sites.grid().is_none(), "kind", "= dilated is for sequences: use unet, dit or mlp for images")
    }

    /// Makes the network with random initial weights, for items of the given shape.
    ///
    /// # Panics
    /// If [`DilatedConfig::check`] fails.
    pub fn init(&self, sites: SiteShape, device: &Device, stream: &mut Stream) -> Dilated {
        if let Err(problem) = self.check(sites.clone()) {
            panic!("{problem}");
        }
        let (width, classes) = (self.width, sites.classes);
        let block = |i: usize, stream: &mut Stream| DilatedBlock {
            norm: LayerNorm::init(width, device, stream),
            taps: LinearConfig::new(self.kernel * width, width).init(device, stream),
            output: LinearConfig::new(width, width).init(device, stream),
            modulation: Modulation::init(self.cond, 3, width, device, stream),
            dropout: Dropout::new(self.dropout),
            kernel: self.kernel,
            dilation: self.dilations[i % self.dilations.len()],
        };
        Dilated {
            input: LinearConfig::new(classes, width).init(device, stream),
            positions: parameter([sites.count, width], Fill::Normal(POSITION), device, stream),
            time: PairEmbedding::init(self.time, self.time_width, self.cond, device, stream),
            blocks: (0..self.blocks).map(|i| block(i, stream)).collect(),
            norm: LayerNorm::init(width, device, stream),
            modulation: Modulation::init(self.cond, 2, width, device, stream),
            output: LinearConfig::new(width, classes).with_init(LinearInit::Zero).init(device, stream),
            rounds: (0..self.rounds)
                .map(|_| Round {
                    factors: LinearConfig::new(self.cond, 2).with_init(LinearInit::Zero).init(device, stream),
                    taps: LinearConfig::new(self.kernel * classes + width, width).init(device, stream),
                    output: LinearConfig::new(width, classes).with_init(LinearInit::Zero).init(device, stream),
                    kernel: self.kernel,
                })
                .collect(),
        }
    }
}

/// Standard deviation of initial embeddings of positions, small beside those of letters.
const POSITION: f64 = 0.1;

/// The network, made by [`DilatedConfig::init`].
#[derive(Module, Debug)]
pub struct Dilated {
    /// `[classes, width]`
    pub input: Linear,
    /// What distinguishes positions, `[sites, width]`: a convolution alone sees them by the ends only.
    pub positions: Param<Tensor<2>>,
    /// Embedding of the pair of times.
    pub time: PairEmbedding,
    /// The blocks.
    pub blocks: Vec<DilatedBlock>,
    /// Final normalisation.
    pub norm: LayerNorm,
    /// Shift and scale of the final normalisation.
    pub modulation: Modulation,
    /// `[width, classes]`
    pub output: Linear,
    /// Corrections of the logits.
    pub rounds: Vec<Round>,
}

impl Dilated {
    /// Logits of the endpoint.
    ///
    /// # Shapes
    /// - `x`: `[batch, sites, classes]`
    /// - `s`, `t`: `[batch]`
    /// - `label`: `[batch, cond]`, added to the embedded times
    /// - output: `[batch, sites, classes]`
    pub fn forward(
        &self,
        x: Dual<3>,
        s: Dual<1>,
        t: Dual<1>,
        label: Option<Tensor<2>>,
        pass: &mut Pass<'_>,
    ) -> Dual<3> {
        let cond = self.time.forward_with(s.clone(), t, label);
        let classes = x.dims()[2] as f64;
        let h = self.input.forward(x.clone().scale(1.0 / classes.sqrt()));
        let mut h = Dual { value: h.value + self.positions.val().unsqueeze::<3>(), tangent: h.tangent };
        for block in &self.blocks {
            h = block.forward(h, cond.clone(), pass);
        }
        let [shift, scale] = self.modulation.forward(cond.clone());
        let h = self.norm.forward_modulated(h, shift, scale);
        let mut z = self.output.forward(h.clone());
        if self.rounds.is_empty() {
            return z;
        }
        let [batch, sites, _] = x.dims();
        let own = x.clone() * evidence(s, CERTAIN).linear(|e| e.reshape([batch, 1, 1]));
        // Noise is never zero in all classes: where a point is, the sequence has ended.
        let there = x.value.clone().detach().abs().sum_dim(2).greater_elem(0.0).float().cast(x.value.dtype());
        let there = Dual::from(there.reshape([batch, sites, 1]));
        for round in &self.rounds {
            z = round.forward(z, &x, &own, &there, h.clone(), cond.clone());
        }
        z
    }
}

/// Largest factor of the point in the logits of a letter's own posterior; above about 64 its class is certain.
const CERTAIN: f64 = 64.0;

/// A correction of the logits by the laws of neighbours so far.
#[derive(Module, Debug)]
pub struct Round {
    /// Two factors, `[cond, 2]`.
    pub factors: Linear,
    /// `[kernel classes + width, width]`
    pub taps: Linear,
    /// `[width, classes]`
    pub output: Linear,
    #[module(skip)]
    kernel: usize,
}

impl Round {
    /// The corrected logits.
    fn forward(&self, z: Dual<3>, x: &Dual<3>, own: &Dual<3>, there: &Dual<3>, h: Dual<3>, cond: Dual<2>) -> Dual<3> {
        let batch = x.dims()[0];
        let law = (z.clone() + own.clone()).softmax() * there.clone();
        let read = law.linear(|law| shifted(law, self.kernel, 1));
        let change = self.output.forward(self.taps.forward_gelu(Dual::cat(vec![read, h], 2)));
        let factors = self.factors.forward(cond);
        let factor = |at: usize| factors.clone().linear(|f| f.slice_dim(1, at..at + 1).reshape([batch, 1, 1]));
        z * factor(1).shift(1.0) + x.clone() * factor(0) + change
    }
}

/// A block of a [`Dilated`] network.
#[derive(Module, Debug)]
pub struct DilatedBlock {
    /// Normalisation before the convolution.
    pub norm: LayerNorm,
    /// `[kernel width, width]`
    pub taps: Linear,
    /// `[width, width]`
    pub output: Linear,
    /// Shift, scale and gate.
    pub modulation: Modulation,
    dropout: Dropout,
    #[module(skip)]
    kernel: usize,
    #[module(skip)]
    dilation: usize,
}

impl DilatedBlock {
    /// Applies the block.
    ///
    /// # Shapes
    /// - `h`, output: `[batch, sites, width]`
    /// - `cond`: `[batch, cond]`
    pub fn forward(&self, h: Dual<3>, cond: Dual<2>, pass: &mut Pass<'_>) -> Dual<3> {
        let [shift, scale, gate] = self.modulation.forward(cond);
        let u = self.norm.forward_modulated(h.clone(), shift, scale);
        let u = u.linear(|u| shifted(u, self.kernel, self.dilation));
        let v = self.output.forward(self.taps.forward_gelu(u));
        gated(h, self.dropout.forward(v, pass), gate)
    }
}

/// A sequence shifted by every multiple of the dilation that the kernel reads, side by side, with zeros outside.
///
/// # Shapes
/// - `u`: `[batch, sites, width]`
/// - output: `[batch, sites, kernel width]`
fn shifted(u: Tensor<3>, kernel: usize, dilation: usize) -> Tensor<3> {
    let [batch, sites, width] = u.dims();
    let reach = (kernel / 2).saturating_mul(dilation).min(sites);
    let outside = Tensor::<3>::zeros([batch, reach, width], &u.device()).cast(u.dtype());
    let padded = Tensor::cat(vec![outside.clone(), u, outside], 1);
    let tap = |j: usize| {
        let offset = (j as i64 - (kernel / 2) as i64).saturating_mul(dilation as i64);
        // What lies outside altogether is read from the zeros before or behind.
        let start = (reach as i64 + offset).clamp(0, 2 * reach as i64) as usize;
        padded.clone().narrow(1, start, sites)
    };
    Tensor::cat((0..kernel).map(tap).collect(), 2)
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;

    use super::*;
    use crate::tensor::to_host;

    #[test]
    fn every_tap_reads_its_letter_and_zeros_outside() {
        let device = Device::flex();
        for (sites, kernel, dilation) in [(6, 3, 1), (6, 3, 2), (5, 5, 3), (4, 9, 64), (1, 3, 1)] {
            let values: Vec<f32> = (1..=2 * sites).map(|v| v as f32).collect();
            let u = Tensor::<3>::from_data(TensorData::new(values.clone(), [2, sites, 1]), &device);
            let found = to_host(&shifted(u, kernel, dilation));
            for (place, value) in found.iter().enumerate() {
                let (item, site, j) = (place / (sites * kernel), place / kernel % sites, place % kernel);
                let from = site as i64 + (j as i64 - (kernel / 2) as i64) * dilation as i64;
                let inside = (0..sites as i64).contains(&from);
                let expected = if inside { f64::from(values[item * sites + from as usize]) } else { 0.0 };
                assert_eq!(*value, expected, "{sites} {kernel} {dilation}: item {item} site {site} tap {j}");
            }
        }
    }

    #[test]
    fn settings_that_make_no_network_are_named() {
        let check = |config: DilatedConfig| config.check(SiteShape::line(4, 2)).unwrap_err().key;
        assert_eq!(check(DilatedConfig { kernel: 4, ..Default::default() }), "kernel");
        assert_eq!(check(DilatedConfig { dilations: vec![], ..Default::default() }), "dilations");
        assert!(DilatedConfig::default().check(SiteShape::image([2, 2], 2)).is_err());
    }
}
