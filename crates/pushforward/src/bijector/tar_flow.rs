//! Autoregressive affine maps of tokens, with a causal transformer.

use burn::module::{Module, Param};
use burn::tensor::module::attention;
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Device, Tensor};

use super::elementwise::soft_clip;
use super::map::{Bijector, check_features, sum_features};
use crate::nn::linear::{Linear, LinearConfig, LinearInit};
use crate::nn::norm::LayerNorm;
use crate::nn::{Fill, parameter};
use crate::rng::Stream;

/// Configuration of a [`TarFlow`] layer.
#[derive(Clone, Copy, Debug)]
pub struct TarFlowLayerConfig {
    /// Number of tokens, at least 2.
    pub tokens: usize,
    /// Features of a token.
    pub channels: usize,
    /// Width of the transformer.
    pub width: usize,
    /// Blocks of the transformer.
    pub blocks: usize,
    /// Attention heads; must divide the width.
    pub heads: usize,
    /// Largest absolute logarithm of a scale.
    pub clip: f64,
}

/// `z_i = (x_i - b_i) exp(-a_i)` for tokens `i`, with `a_i` and `b_i` computed from the previous tokens by a causal
/// transformer; the first token is unchanged.
///
/// ```text
/// (a', b)_1, ..., (a', b)_{T-1} = transformer(x_0, ..., x_{T-2})      a = clip tanh(a' / clip)      ladj = -sum a
/// ```
///
/// Starts as the identity. `forward` is one pass of the transformer. `inverse` computes one token after another with a
/// cache of keys and values, one step per token; it is meant to run without an autodiff graph (`module.valid()`).
///
/// Reference: Zhai et al. 2024 (arXiv:2412.06329).
///
/// # Examples
/// ```
/// use pushforward::bijector::{Bijector, TarFlowLayerConfig};
/// use pushforward::burn::tensor::{Device, Tensor};
/// use pushforward::rng::{Purpose, stream};
/// use pushforward::tensor::to_host;
///
/// let config = TarFlowLayerConfig { tokens: 3, channels: 2, width: 8, blocks: 1, heads: 2, clip: 3.0 };
/// let layer = config.init(&Device::flex(), &mut stream(0, Purpose::Init, 0));
/// let (z, ladj) = layer.forward_and_ladj(Tensor::ones([1, 6], &Device::flex()));
/// assert_eq!(to_host(&z), [1.0; 6]); // the identity at the start
/// assert_eq!(to_host(&ladj), [0.0]);
/// ```
#[derive(Module, Debug)]
pub struct TarFlow {
    /// `[channels, width]`
    pub input: Linear,
    /// `[tokens - 1, width]`
    pub position: Param<Tensor<2>>,
    /// The transformer.
    pub blocks: Vec<CausalBlock>,
    /// `[width, 2 channels]`
    pub output: Linear,
    tokens: usize,
    channels: usize,
    clip: f64,
}

impl TarFlowLayerConfig {
    /// A layer with random initial weights.
    ///
    /// # Panics
    /// If there are fewer than two tokens, a size is zero, or the heads do not divide the width.
    pub fn init(&self, device: &Device, stream: &mut Stream) -> TarFlow {
        let Self { tokens, channels, width, heads, .. } = *self;
        assert!(tokens >= 2, "a map of tokens given the previous ones needs at least two tokens, found {tokens}");
        assert!(heads > 0 && width.is_multiple_of(heads), "heads must divide the width: {heads} heads, width {width}");
        TarFlow {
            input: LinearConfig::new(channels, width).init(device, stream),
            position: parameter([tokens - 1, width], Fill::Normal(0.01), device, stream),
            blocks: (0..self.blocks).map(|_| CausalBlock::init(width, heads, device, stream)).collect(),
            output: LinearConfig::new(width, 2 * channels).with_init(LinearInit::Zero).init(device, stream),
            tokens,
            channels,
            clip: self.clip,
        }
    }
}

/// Cache of the keys and values of the tokens so far, `[batch, heads, tokens, head width]` each.
type Past = Option<[Tensor<4>; 2]>;

impl TarFlow {
    /// `a` and `b` of the tokens that follow the given ones, the first of which has the index `start`.
    ///
    /// # Shapes
    /// - `x`, outputs: `[batch, tokens, channels]`
    fn parameters(&self, x: Tensor<3>, start: usize, past: &mut [Past]) -> [Tensor<3>; 2] {
        let [_, n, _] = x.dims();
        let position = self.position.val().narrow(0, start, n).unsqueeze_dim(0);
        let h = self.input.forward(x.into()).value + position;
        let h = self.blocks.iter().zip(past).fold(h, |h, (block, past)| block.forward(h, past));
        let out = self.output.forward(h.into()).value;
        let part = |i: usize| out.clone().narrow(2, i * self.channels, self.channels);
        [soft_clip(part(0), self.clip), part(1)]
    }

    fn cut(&self, x: Tensor<2>) -> Tensor<3> {
        check_features("a map of tokens", &x, self.tokens * self.channels);
        let [batch, _] = x.dims();
        x.reshape([batch, self.tokens, self.channels])
    }
}

impl Bijector for TarFlow {
    fn forward_and_ladj(&self, x: Tensor<2>) -> (Tensor<2>, Tensor<1>) {
        let ([batch, features], x) = (x.dims(), self.cut(x));
        let last = self.tokens - 1;
        let [a, b] = self.parameters(x.clone().narrow(1, 0, last), 0, &mut vec![None; self.blocks.len()]);
        let rest = (x.clone().narrow(1, 1, last) - b) * a.clone().neg().exp();
        let z = Tensor::cat(vec![x.narrow(1, 0, 1), rest], 1).reshape([batch, features]);
        (z, sum_features(a.reshape([batch, last * self.channels])).neg())
    }

    fn inverse_and_ladj(&self, z: Tensor<2>) -> (Tensor<2>, Tensor<1>) {
        let ([batch, features], z) = (z.dims(), self.cut(z));
        let mut past = vec![None; self.blocks.len()];
        let (mut x, mut ladj) = (vec![z.clone().narrow(1, 0, 1)], Vec::with_capacity(self.tokens - 1));
        for i in 1..self.tokens {
            let [a, b] = self.parameters(x[i - 1].clone(), i - 1, &mut past);
            x.push(z.clone().narrow(1, i, 1) * a.clone().exp() + b);
            ladj.push(a);
        }
        let ladj = Tensor::cat(ladj, 1).reshape([batch, features - self.channels]);
        (Tensor::cat(x, 1).reshape([batch, features]), sum_features(ladj))
    }
}

/// One block of the transformer.
///
/// ```text
/// h = h + Attn(LayerNorm(h))      h = h + W_2 gelu(W_1 LayerNorm(h))
/// ```
#[derive(Module, Debug)]
pub struct CausalBlock {
    /// Normalisation before attention.
    pub norm_attention: LayerNorm,
    /// `[width, 3 width]`
    pub qkv: Linear,
    /// `[width, width]`
    pub attention_output: Linear,
    /// Normalisation before the feed-forward layers.
    pub norm_mlp: LayerNorm,
    /// `[width, 4 width]`
    pub mlp_first: Linear,
    /// `[4 width, width]`
    pub mlp_second: Linear,
    heads: usize,
}

impl CausalBlock {
    fn init(width: usize, heads: usize, device: &Device, stream: &mut Stream) -> Self {
        Self {
            norm_attention: LayerNorm::init(width, device, stream),
            qkv: LinearConfig::new(width, 3 * width).init(device, stream),
            attention_output: LinearConfig::new(width, width).init(device, stream),
            norm_mlp: LayerNorm::init(width, device, stream),
            mlp_first: LinearConfig::new(width, 4 * width).init(device, stream),
            mlp_second: LinearConfig::new(4 * width, width).init(device, stream),
            heads,
        }
    }

    /// Maps tokens that follow those of `past`, and adds their keys and values to the cache.
    ///
    /// # Shapes
    /// - `h`, output: `[batch, tokens, width]`; a single token if the cache is not empty
    fn forward(&self, h: Tensor<3>, past: &mut Past) -> Tensor<3> {
        let h = h.clone() + self.attend(self.norm_attention.forward(h.into()).value, past);
        let branch = self.mlp_first.forward(self.norm_mlp.forward(h.clone().into())).gelu();
        h + self.mlp_second.forward(branch).value
    }

    fn attend(&self, h: Tensor<3>, past: &mut Past) -> Tensor<3> {
        let [batch, n, width] = h.dims();
        let qkv = self.qkv.forward(h.into()).value;
        let [q, mut k, mut v] = [0, 1, 2].map(|i| {
            qkv.clone().narrow(2, i * width, width).reshape([batch, n, self.heads, width / self.heads]).swap_dims(1, 2)
        });
        if let Some([keys, values]) = past.take() {
            assert_eq!(n, 1, "with a cache, tokens are computed one at a time");
            (k, v) = (Tensor::cat(vec![keys, k], 2), Tensor::cat(vec![values, v], 2));
        }
        *past = Some([k.clone(), v.clone()]);
        let options = AttentionModuleOptions { is_causal: n > 1, ..Default::default() };
        let out = attention(q, k, v, None, None, options);
        self.attention_output.forward(out.swap_dims(1, 2).reshape([batch, n, width]).into()).value
    }
}
