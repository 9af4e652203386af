//! Small convolutional U-net over categorical images, conditioned on a pair of times.
//!
//! Residual blocks with GroupNorm and SiLU, modulated by the embedded times; strided convolutions down, transposed
//! convolutions up, skip connections by concatenation (Ronneberger et al. 2015, arXiv:1505.04597; Ho et al. 2020,
//! arXiv:2006.11239).
//!
//! # Examples
//! The last layer starts at zero, so before training every endpoint is uniform.
//! ```
//! use pushforward::burn::tensor::{Device, Tensor};
//! use pushforward::nn::{Pass, SiteShape, unet::UnetConfig};
//! use pushforward::rng::{Purpose, stream};
//! use pushforward::tensor::to_host;
//!
//! let config = UnetConfig { channels: 4, multipliers: vec![1, 2], groups: 2, time_width: 8, ..UnetConfig::default() };
//! let (sites, device) = (SiteShape::image([4, 6], 2), Device::flex());
//! let net = config.init(sites, &device, &mut stream(0, Purpose::Init, 0));
//! let (x, time) = (Tensor::<3>::ones([1, 4 * 6, 2], &device), Tensor::<1>::zeros([1], &device));
//! let z = net.forward(x.into(), time.clone().into(), time.into(), None, &mut Pass::eval());
//! assert_eq!(to_host(&z.value), [0.0; 4 * 6 * 2]);
//! // The image must be divisible by the lowest resolution.
//! assert_eq!(config.check(SiteShape::image([4, 5], 2)).unwrap_err().key, "multipliers");
//! ```

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::conv::{Conv2d, Conv2dConfig, ConvTranspose2d};
use super::dropout::Dropout;
use super::linear::{Linear, LinearConfig};
use super::norm::GroupNorm;
use super::time_embedding::{PairEmbedding, TimeFeatures};
use super::{Pass, SiteShape};
use crate::dual::Dual;
use crate::rng::Stream;
use crate::setting::{SettingError, WIDTH, open_fraction, pairs_of_features, require, size};

/// Configuration of a [`Unet`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UnetConfig {
    /// Channels at full resolution.
    pub channels: usize,
    /// Channels at every resolution, as multiples of `channels`; each entry after the first halves the resolution.
    pub multipliers: Vec<usize>,
    /// Groups of the normalisations; must divide every number of channels.
    pub groups: usize,
    /// Dropout inside the residual blocks, in training passes.
    pub dropout: f64,
    /// Kind of time features.
    pub time: TimeFeatures,
    /// Number of time features.
    pub time_width: usize,
}

impl Default for UnetConfig {
    fn default() -> Self {
        Self {
            channels: 32,
            multipliers: vec![1, 2, 2],
            groups: 8,
            dropout: 0.0,
            time: TimeFeatures::Fourier,
            time_width: 64,
        }
    }
}

/// Largest number of resolutions: each halves the image.
const RESOLUTIONS: usize = 16;

impl UnetConfig {
    /// Width of the conditioning vector (embedded times and labels).
    pub fn cond(&self) -> usize {
        4 * self.channels
    }

    /// Checks the settings on their own, without the shape of the data.
    ///
    /// # Errors
    /// Names the key and its allowed values.
    pub fn validate(&self) -> Result<(), SettingError> {
        require(!self.multipliers.is_empty(), "multipliers", "name at least one resolution, found []")?;
        size("channels", self.channels, 1..=WIDTH)?;
        size("multipliers", self.multipliers.len(), 1..=RESOLUTIONS)?;
        self.multipliers.iter().try_for_each(|&m| size("multipliers", m, 1..=WIDTH))?;
        pairs_of_features("time_width", self.time_width)?;
        open_fraction("dropout", self.dropout)?;
        let divides = |m: &usize| (m * self.channels).is_multiple_of(self.groups);
        let divide = self.groups > 0 && self.multipliers.iter().all(divides);
        require(divide, "groups", format_args!("must divide every channel count, found {}", self.groups))
    }

    /// Checks the settings against the shape of an item.
    ///
    /// # Errors
    /// Names the key and its allowed values.
    pub fn check(&self, sites: SiteShape) -> Result<(), SettingError> {
        self.validate()?;
        let Some([h, w]) = sites.grid() else {
            return Err(SettingError::new("kind", "= unet needs images: use dit or mlp"));
        };
        let factor = 1usize << (self.multipliers.len() - 1).min(20);
        let halves = h.is_multiple_of(factor) && w.is_multiple_of(factor);
        let problem = format_args!("halve the image of {h} x {w} pixels too often, found {:?}", self.multipliers);
        require(halves, "multipliers", problem)
    }

    /// Makes the network with random initial weights, for images of the given shape.
    ///
    /// # Panics
    /// If [`UnetConfig::check`] fails.
    pub fn init(&self, sites: SiteShape, device: &Device, stream: &mut Stream) -> Unet {
        if let Err(problem) = self.check(sites.clone()) {
            panic!("{problem}");
        }
        let grid = sites.grid().expect("check requires an image");
        let widths: Vec<usize> = self.multipliers.iter().map(|m| m * self.channels).collect();
        let cond = self.cond();
        let mut res = |inputs, outputs| ResBlock::init(self, inputs, outputs, cond, device, stream);
        let down = widths.iter().map(|&w| res(w, w)).collect();
        let deepest = *widths.last().expect("a U-net has at least one resolution");
        let middle = res(deepest, deepest);
        let up = widths.iter().map(|&w| res(2 * w, w)).collect();
        let pairs = || widths.windows(2);
        Unet {
            time: PairEmbedding::init(self.time, self.time_width, cond, device, stream),
            input: Conv2dConfig::same(sites.classes, widths[0], 3).init(device, stream),
            down,
            halve: pairs()
                .map(|w| {
                    Conv2dConfig { inputs: w[0], outputs: w[1], kernel: 3, stride: 2, padding: 1 }.init(device, stream)
                })
                .collect(),
            middle,
            up,
            double: pairs().map(|w| ConvTranspose2d::init(w[1], w[0], device, stream)).collect(),
            norm: GroupNorm::init(self.groups, widths[0], device, stream),
            output: Conv2dConfig::same(widths[0], sites.classes, 3).init_zero(device, stream),
            grid,
        }
    }
}

/// The network, made by [`UnetConfig::init`].
#[derive(Module, Debug)]
pub struct Unet {
    /// Embedding of the pair of times.
    pub time: PairEmbedding,
    /// First convolution.
    pub input: Conv2d,
    /// Encoder blocks, one per resolution.
    pub down: Vec<ResBlock>,
    /// Convolutions that halve the resolution.
    pub halve: Vec<Conv2d>,
    /// Block at the lowest resolution, between encoder and decoder.
    pub middle: ResBlock,
    /// Decoder blocks, one per resolution.
    pub up: Vec<ResBlock>,
    /// Transposed convolutions that double the resolution.
    pub double: Vec<ConvTranspose2d>,
    /// Final normalisation.
    pub norm: GroupNorm,
    /// Map to logits.
    pub output: Conv2d,
    #[module(skip)]
    grid: [usize; 2],
}

impl Unet {
    /// Logits of the endpoint.
    ///
    /// # Shapes
    /// - `x`: `[batch, height * width, classes]`
    /// - `s`, `t`: `[batch]`
    /// - `class`: `[batch, cond]`, added to the embedded times
    /// - output: `[batch, height * width, classes]`
    pub fn forward(
        &self,
        x: Dual<3>,
        s: Dual<1>,
        t: Dual<1>,
        class: Option<Tensor<2>>,
        pass: &mut Pass<'_>,
    ) -> Dual<3> {
        let [b, sites, classes] = x.dims();
        let [height, width] = self.grid;
        let cond = self.time.forward_with(s, t, class);
        let image =
            x.scale(1.0 / (classes as f64).sqrt()).linear(|v| v.swap_dims(1, 2).reshape([b, classes, height, width]));
        let mut h = self.input.forward(image);
        let mut skips = Vec::new();
        for (level, block) in self.down.iter().enumerate() {
            h = block.forward(h, cond.clone(), pass);
            skips.push(h.clone());
            if let Some(halve) = self.halve.get(level) {
                h = halve.forward(h);
            }
        }
        h = self.middle.forward(h, cond.clone(), pass);
        for level in (0..self.up.len()).rev() {
            let skip = skips.pop().expect("one skip per resolution");
            h = self.up[level].forward(Dual::cat(vec![h, skip], 1), cond.clone(), pass);
            if level > 0 {
                h = self.double[level - 1].forward(h);
            }
        }
        let logits = self.output.forward(self.norm.forward(h).silu());
        logits.linear(|v| v.reshape([b, classes, sites]).swap_dims(1, 2))
    }
}

/// A residual block that is modulated by the conditioning vector after its second normalisation.
#[derive(Module, Debug)]
pub struct ResBlock {
    norm_first: GroupNorm,
    first: Conv2d,
    modulation: Linear,
    norm_second: GroupNorm,
    second: Conv2d,
    skip: Option<Conv2d>,
    dropout: Dropout,
}

impl ResBlock {
    fn init(
        config: &UnetConfig,
        inputs: usize,
        outputs: usize,
        cond: usize,
        device: &Device,
        stream: &mut Stream,
    ) -> Self {
        Self {
            norm_first: GroupNorm::init(config.groups, inputs, device, stream),
            first: Conv2dConfig::same(inputs, outputs, 3).init(device, stream),
            modulation: LinearConfig::new(cond, 2 * outputs).init(device, stream),
            norm_second: GroupNorm::init(config.groups, outputs, device, stream),
            second: Conv2dConfig::same(outputs, outputs, 3).init_zero(device, stream),
            skip: (inputs != outputs).then(|| Conv2dConfig::same(inputs, outputs, 1).init(device, stream)),
            dropout: Dropout::new(config.dropout),
        }
    }

    fn forward(&self, x: Dual<4>, cond: Dual<2>, pass: &mut Pass<'_>) -> Dual<4> {
        let h = self.first.forward(self.norm_first.forward(x.clone()).silu());
        let [b, c, _, _] = h.dims();
        let m = self.modulation.forward(cond);
        let part = |i: usize| m.clone().linear(|v| v.narrow(1, i * c, c).reshape([b, c, 1, 1]));
        let h = self.norm_second.forward(h) * part(0).shift(1.0) + part(1);
        let h = self.second.forward(self.dropout.forward(h.silu(), pass));
        let x = match &self.skip {
            Some(skip) => skip.forward(x),
            None => x,
        };
        x + h
    }
}
