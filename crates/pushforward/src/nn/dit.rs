//! Diffusion transformer over categorical sites, conditioned on a pair of times.
//!
//! The trunk of the published text networks (Sahoo et al. 2025, arXiv:2506.10892; used by Roos et al. 2026,
//! arXiv:2602.12233), with both of their input embeddings; images enter as patches with rotary positions on the grid.
//!
//! ```text
//! c = SiLU(emb(s)) + SiLU(emb(t - s))                 [shift, scale, gate, shift', scale', gate'] = W c + b
//! h = h + gate  Attn( LayerNorm(h) (1 + scale ) + shift  )
//! h = h + gate' MLP ( LayerNorm(h) (1 + scale') + shift' )
//! logits = W_out( LayerNorm(h) (1 + scale'') + shift'' ) + b_out
//! ```
//!
//! # Examples
//! The last layer starts at zero, so before training every endpoint is uniform.
//! ```
//! use pushforward::burn::tensor::{Device, Tensor};
//! use pushforward::nn::{Pass, SiteShape, dit::DitConfig};
//! use pushforward::rng::{Purpose, stream};
//! use pushforward::tensor::to_host;
//!
//! let device = Device::flex();
//! let config = DitConfig { width: 8, blocks: 1, heads: 2, cond: 8, time_width: 8, ..DitConfig::default() };
//! let net = config.init(SiteShape::line(3, 5), &device, &mut stream(0, Purpose::Init, 0));
//! let (x, time) = (Tensor::<3>::ones([2, 3, 5], &device), Tensor::<1>::zeros([2], &device));
//! let z = net.forward(x.into(), time.clone().into(), time.into(), None, &mut Pass::eval());
//! assert_eq!(to_host(&z.value), [0.0; 2 * 3 * 5]);
//! ```

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::attention::{Positions, Rotary, check_heads, self_attention};
use super::dropout::Dropout;
use super::linear::{Linear, LinearConfig, LinearInit};
use super::modulation::{Modulation, gated, modulate};
use super::norm::{LayerNorm, RmsNorm};
use super::time_embedding::{PairEmbedding, TimeFeatures};
use super::{Pass, SiteShape};
use crate::dual::Dual;
use crate::rng::Stream;
use crate::setting::{DEPTH, EXPANSION, SettingError, WIDTH, open_fraction, pairs_of_features, require, size};

/// Configuration of a [`Dit`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DitConfig {
    /// Width of the trunk.
    pub width: usize,
    /// Number of transformer blocks.
    pub blocks: usize,
    /// Number of attention heads; the width of a head must be even, for images a multiple of 4.
    pub heads: usize,
    /// Width of the conditioning vector (embedded times and labels).
    pub cond: usize,
    /// Hidden width of the feed-forward layers, as a multiple of the width of the trunk.
    pub expansion: usize,
    /// Dropout on both branches of a block, in training passes.
    pub dropout: f64,
    /// Embedding of the points.
    pub input: InputMode,
    /// Kind of time features.
    pub time: TimeFeatures,
    /// Number of time features.
    pub time_width: usize,
    /// Side of the square patches of images; 1 for text.
    pub patch: usize,
}

impl Default for DitConfig {
    fn default() -> Self {
        Self {
            width: 128,
            blocks: 4,
            heads: 4,
            cond: 128,
            expansion: 4,
            dropout: 0.0,
            input: InputMode::Naive,
            time: TimeFeatures::Sinusoidal,
            time_width: 256,
            patch: 1,
        }
    }
}

/// Embedding of the point `x_s`, a vector of `R^K` per site, into the trunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InputMode {
    /// `W x / sqrt(K) + b`.
    Naive,
    /// `x` scaled so that its expected squared norm is one at every time s, then a linear map, a residual network with
    /// factor 0.1, a modulation by the conditioning vector, and RMSNorm.
    Rms,
}

impl DitConfig {
    /// Checks the settings on their own, without the shape of the data.
    ///
    /// # Errors
    /// Names the key and its allowed values.
    pub fn validate(&self) -> Result<(), SettingError> {
        for (key, width) in [("width", self.width), ("cond", self.cond)] {
            size(key, width, 1..=WIDTH)?;
        }
        size("blocks", self.blocks, 0..=DEPTH)?;
        size("expansion", self.expansion, 1..=EXPANSION)?;
        size("patch", self.patch, 1..=WIDTH)?;
        pairs_of_features("time_width", self.time_width)?;
        open_fraction("dropout", self.dropout)?;
        check_heads(self.heads, self.width, 2)
    }

    /// Checks the settings against the shape of an item.
    ///
    /// # Errors
    /// Names the key and its allowed values.
    pub fn check(&self, sites: SiteShape) -> Result<(), SettingError> {
        let p = self.patch;
        self.validate()?;
        let Some([h, w]) = sites.grid() else {
            return require(p == 1, "patch", format_args!("must be 1 for data that are not images, found {p}"));
        };
        let divides = p > 0 && h.is_multiple_of(p) && w.is_multiple_of(p);
        require(divides, "patch", format_args!("must divide the image of {h} x {w} pixels, found {p}"))?;
        // Half of the features of a head are rotated by the row and half by the column, in pairs.
        check_heads(self.heads, self.width, 4)
    }

    /// Makes the network with random initial weights, for items of the given shape.
    ///
    /// # Panics
    /// If [`DitConfig::check`] fails.
    pub fn init(&self, sites: SiteShape, device: &Device, stream: &mut Stream) -> Dit {
        if let Err(problem) = self.check(sites.clone()) {
            panic!("{problem}");
        }
        let (width, heads) = (self.width, self.heads);
        let token = self.patch * self.patch * sites.classes;
        Dit {
            input: InputEmbedding::init(self, token, device, stream),
            time: PairEmbedding::init(self.time, self.time_width, self.cond, device, stream),
            blocks: (0..self.blocks).map(|_| Block::init(self, device, stream)).collect(),
            norm: LayerNorm::init(width, device, stream),
            modulation: Modulation::init(self.cond, 2, width, device, stream),
            output: LinearConfig::new(width, token).with_init(LinearInit::Zero).init(device, stream),
            sites,
            patch: self.patch,
            heads,
        }
    }
}

/// The transformer, made by [`DitConfig::init`].
#[derive(Module, Debug)]
pub struct Dit {
    /// Embedding of points.
    pub input: InputEmbedding,
    /// Embedding of the pair of times.
    pub time: PairEmbedding,
    /// The blocks.
    pub blocks: Vec<Block>,
    /// Final normalisation.
    pub norm: LayerNorm,
    /// Shift and scale of the final normalisation.
    pub modulation: Modulation,
    /// Map to logits.
    pub output: Linear,
    #[module(skip)]
    sites: SiteShape,
    #[module(skip)]
    patch: usize,
    #[module(skip)]
    heads: usize,
}

impl Dit {
    /// Logits of the endpoint.
    ///
    /// # Shapes
    /// - `x`: `[batch, sites, classes]`
    /// - `s`, `t`: `[batch]`
    /// - `class`: `[batch, cond]`, added to the embedded times
    /// - output: `[batch, sites, classes]`
    pub fn forward(
        &self,
        x: Dual<3>,
        s: Dual<1>,
        t: Dual<1>,
        class: Option<Tensor<2>>,
        pass: &mut Pass<'_>,
    ) -> Dual<3> {
        let cond = self.time.forward_with(s.clone(), t, class);
        let tokens = x.linear(|x| self.patchify(x));
        let h = self.input.forward(tokens, s, cond.clone());
        let logits = self.output.forward(self.features(h, cond, pass));
        logits.linear(|z| self.unpatchify(z))
    }

    /// The input of the last layer, from embedded tokens.
    ///
    /// # Shapes
    /// - `h`, output: `[batch, tokens, width]`
    /// - `cond`: `[batch, cond]`
    fn features(&self, mut h: Dual<3>, cond: Dual<2>, pass: &mut Pass<'_>) -> Dual<3> {
        let n = h.dims()[1];
        let positions = match self.sites.grid() {
            Some([_, w]) => Positions::Grid { columns: w / self.patch },
            None => Positions::Line,
        };
        let rotary = Rotary::new(positions, n, h.dims()[2] / self.heads, &h.value);
        for block in &self.blocks {
            h = block.forward(h, cond.clone(), &rotary, pass);
        }
        let [shift, scale] = self.modulation.forward(cond);
        self.norm.forward_modulated(h, shift, scale)
    }

    /// The products of points with the weights of the first layer. The network depends on points through these only.
    ///
    /// # Shapes
    /// - `x`: `[batch, sites, classes]`
    /// - output: `[batch, tokens, width]`
    pub(crate) fn embed(&self, x: Tensor<3>) -> Tensor<3> {
        self.input.projection.product(self.patchify(x).into()).value
    }

    /// The input of the last layer, from [embedded](Self::embed) points, in a pass without dropout.
    ///
    /// # Shapes
    /// - `embedded`, output: `[batch, tokens, width]`
    /// - `s`, `t`: `[batch]`
    /// - `class`: `[batch, cond]`
    pub(crate) fn trunk_of(
        &self,
        embedded: Tensor<3>,
        s: Tensor<1>,
        t: Tensor<1>,
        class: Option<Tensor<2>>,
    ) -> Tensor<3> {
        let cond = self.time.forward_with(s.clone().into(), t.into(), class);
        let h = self.input.forward_read(embedded.into(), s.into(), cond.clone());
        self.features(h, cond, &mut Pass::eval()).value
    }

    /// Logits from the output of [`trunk_of`](Self::trunk_of).
    ///
    /// # Shapes
    /// - `features`: `[batch, tokens, width]`
    /// - output: `[batch, sites, classes]`
    pub(crate) fn unembed(&self, features: Tensor<3>) -> Tensor<3> {
        self.unpatchify(self.output.forward(features.into()).value)
    }

    /// Side of the patches.
    pub(crate) fn patch(&self) -> usize {
        self.patch
    }

    /// Sites to patches: `[batch, sites, classes]` to `[batch, tokens, patch^2 classes]`.
    fn patchify(&self, x: Tensor<3>) -> Tensor<3> {
        let Some([h, w]) = self.sites.grid().filter(|_| self.patch > 1) else { return x };
        let (p, k) = (self.patch, self.sites.classes);
        x.reshape([0, (h / p) as i32, p as i32, (w / p) as i32, p as i32, k as i32])
            .permute([0, 1, 3, 2, 4, 5])
            .reshape([0, ((h / p) * (w / p)) as i32, (p * p * k) as i32])
    }

    /// The inverse of `patchify`.
    fn unpatchify(&self, x: Tensor<3>) -> Tensor<3> {
        let Some([h, w]) = self.sites.grid().filter(|_| self.patch > 1) else { return x };
        let (p, k) = (self.patch, self.sites.classes);
        x.reshape([0, (h / p) as i32, (w / p) as i32, p as i32, p as i32, k as i32])
            .permute([0, 1, 3, 2, 4, 5])
            .reshape([0, (h * w) as i32, k as i32])
    }
}

/// Embedding of points; see [`InputMode`].
#[derive(Module, Debug)]
pub struct InputEmbedding {
    /// `[token, width]`
    pub projection: Linear,
    /// The remaining layers of the `rms` mode.
    pub refine: Option<Refine>,
    #[module(skip)]
    classes: usize,
}

/// Residual network, modulation and normalisation of [`InputMode::Rms`].
#[derive(Module, Debug)]
pub struct Refine {
    /// `[width, 2 width]`
    pub first: Linear,
    /// `[2 width, width]`
    pub second: Linear,
    /// `[cond, width]`
    pub scale: Linear,
    /// `[cond, width]`
    pub shift: Linear,
    /// Final normalisation.
    pub norm: RmsNorm,
}

impl InputEmbedding {
    fn init(config: &DitConfig, token: usize, device: &Device, stream: &mut Stream) -> Self {
        let (width, cond) = (config.width, config.cond);
        let zero = LinearConfig::new(cond, width).with_init(LinearInit::Zero);
        Self {
            projection: LinearConfig::new(token, width).init(device, stream),
            refine: (config.input == InputMode::Rms).then(|| Refine {
                first: LinearConfig::new(width, 2 * width).init(device, stream),
                second: LinearConfig::new(2 * width, width).init(device, stream),
                scale: zero.init(device, stream),
                shift: zero.init(device, stream),
                norm: RmsNorm::init(width, 1e-8, device, stream),
            }),
            classes: token / (config.patch * config.patch),
        }
    }

    fn forward(&self, x: Dual<3>, s: Dual<1>, cond: Dual<2>) -> Dual<3> {
        self.refined(self.projection.forward(self.scaled(x, s)), cond)
    }

    /// The same, from the products of points with the weights: the scale is one number per item, so it commutes with
    /// the product.
    fn forward_read(&self, read: Dual<3>, s: Dual<1>, cond: Dual<2>) -> Dual<3> {
        let h = self.scaled(read, s);
        let h = match &self.projection.bias {
            Some(bias) => h + Dual::from(bias.val().unsqueeze::<3>()),
            None => h,
        };
        self.refined(h, cond)
    }

    fn scaled(&self, x: Dual<3>, s: Dual<1>) -> Dual<3> {
        let (k, b) = (self.classes as f64, x.dims()[0]);
        match &self.refine {
            None => x.scale(1.0 / k.sqrt()),
            Some(_) => x * inverse_rms(s, k).linear(|v| v.reshape([b, 1, 1])),
        }
    }

    fn refined(&self, h: Dual<3>, cond: Dual<2>) -> Dual<3> {
        let Some(refine) = &self.refine else { return h };
        let h = h.clone() + refine.second.forward(refine.first.forward_gelu(h)).scale(0.1);
        let scale = refine.scale.forward(cond.clone()).linear(|v| v.unsqueeze_dim(1));
        let shift = refine.shift.forward(cond).linear(|v| v.unsqueeze_dim(1));
        refine.norm.forward(modulate(h, shift, scale))
    }
}

/// One over the root of the expected squared norm of a noised one-hot vector: `(s^2 + (1-s)^2 K + 1e-6)^(-1/2)`.
fn inverse_rms(s: Dual<1>, k: f64) -> Dual<1> {
    let square = move |s: Tensor<1>| {
        let rest = s.clone().neg() + 1.0;
        s.clone() * s + rest.clone() * rest * k + 1e-6
    };
    s.elementwise(
        |s| square(s).sqrt().recip(),
        |s| {
            let slope = s.clone() * (1.0 + k) - k;
            let q = square(s);
            (slope / (q.clone() * q.sqrt())).neg()
        },
    )
}

/// One transformer block.
#[derive(Module, Debug)]
pub struct Block {
    /// Normalisation before attention.
    pub norm_attention: LayerNorm,
    /// `[width, 3 width]`
    pub qkv: Linear,
    /// `[width, width]`
    pub attention_output: Linear,
    /// Normalisation before the feed-forward layers.
    pub norm_mlp: LayerNorm,
    /// `[width, expansion * width]`
    pub mlp_first: Linear,
    /// `[expansion * width, width]`
    pub mlp_second: Linear,
    /// Shift, scale and gate of both branches.
    pub modulation: Modulation,
    dropout: Dropout,
    #[module(skip)]
    heads: usize,
}

impl Block {
    fn init(config: &DitConfig, device: &Device, stream: &mut Stream) -> Self {
        let (width, hidden) = (config.width, config.expansion * config.width);
        Self {
            norm_attention: LayerNorm::init(width, device, stream),
            qkv: LinearConfig::new(width, 3 * width).without_bias().init(device, stream),
            attention_output: LinearConfig::new(width, width).without_bias().init(device, stream),
            norm_mlp: LayerNorm::init(width, device, stream),
            mlp_first: LinearConfig::new(width, hidden).init(device, stream),
            mlp_second: LinearConfig::new(hidden, width).init(device, stream),
            modulation: Modulation::init(config.cond, 6, width, device, stream),
            dropout: Dropout::new(config.dropout),
            heads: config.heads,
        }
    }

    /// Applies the block.
    ///
    /// # Shapes
    /// - `x`, output: `[batch, tokens, width]`
    /// - `cond`: `[batch, cond]`
    pub fn forward(&self, x: Dual<3>, cond: Dual<2>, rotary: &Rotary, pass: &mut Pass<'_>) -> Dual<3> {
        let [shift_a, scale_a, gate_a, shift_m, scale_m, gate_m] = self.modulation.forward(cond);
        let h = self.norm_attention.forward_modulated(x.clone(), shift_a, scale_a);
        // Dropout before the gate: both are elementwise products, so the order does not matter.
        let x = gated(x, self.dropout.forward(self.attend(h, rotary), pass), gate_a);
        let h = self.norm_mlp.forward_modulated(x.clone(), shift_m, scale_m);
        let h = self.mlp_second.forward(self.mlp_first.forward_gelu(h));
        gated(x, self.dropout.forward(h, pass), gate_m)
    }

    fn attend(&self, h: Dual<3>, rotary: &Rotary) -> Dual<3> {
        self.attention_output.forward(self_attention(self.qkv.forward(h), self.heads, rotary))
    }
}
