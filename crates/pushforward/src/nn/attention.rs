//! Multi-head attention with key masks, and rotary position embeddings.
//!
//! ```text
//! S = Q K^T / sqrt(d)   P = softmax(S)   O = P V
//! dS = (dQ K^T + Q dK^T) / sqrt(d)   dP = P (dS - rowsum(P dS))   dO = dP V + P dV
//! ```
//!
//! References: Vaswani et al. 2017 (arXiv:1706.03762); Su et al. 2021 (arXiv:2104.09864).
//!
//! # Examples
//! With zero queries, attention is the mean of the values.
//! ```
//! use pushforward::burn::tensor::{Device, Tensor};
//! use pushforward::nn::attention::{Positions, Rotary, attention, biased_attention, self_attention};
//! use pushforward::tensor::to_host;
//!
//! let v = Tensor::<4>::from_data([[[[1.0f32], [2.0], [6.0]]]], &Device::flex());
//! let out = attention(v.zeros_like().into(), v.clone().into(), v.into(), None);
//! assert!(to_host(&out.value).iter().all(|mean| (mean - 3.0).abs() < 1e-5));
//!
//! // One head of width 2, in the packed form of a layer: zero queries and keys, values 2 and 6.
//! let qkv = Tensor::<3>::from_data([[[0.0f32, 0.0, 0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 0.0, 0.0, 6.0, 6.0]]], &Device::flex());
//! let out = self_attention(qkv.clone().into(), 1, &Rotary::new(Positions::Line, 2, 2, &qkv));
//! assert!(to_host(&out.value).iter().all(|mean| (mean - 4.0).abs() < 1e-5));
//! // A bias of ln 3 towards the first position gives it a weight of 3/4; a mask can leave it alone.
//! let bias = Tensor::<4>::from_data([[[[3f32.ln(), 0.0], [3f32.ln(), 0.0]]]], &Device::flex());
//! for (mask, expected) in [([[1.0f32, 1.0]], 3.0), ([[1.0, 0.0]], 2.0)] {
//!     let mask = Tensor::<2>::from_data(mask, &Device::flex());
//!     let out = biased_attention(qkv.clone().into(), bias.clone().into(), 1, &mask);
//!     assert!((to_host(&out.value)[0] - expected).abs() < 1e-5);
//! }
//! ```

use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Bool, Tensor};

use crate::dual::Dual;
use crate::kernels;
use crate::setting::{SettingError, require};
use crate::tensor::from_host;

/// Requires that the heads divide the width into parts that are multiples of `part`. Rotary positions need pairs of
/// features.
pub(super) fn check_heads(heads: usize, width: usize, part: usize) -> Result<(), SettingError> {
    let divides = heads > 0 && width.is_multiple_of(heads) && (width / heads).is_multiple_of(part);
    let parts = match part {
        1 => String::new(),
        2 => " into even parts".into(),
        _ => format!(" into multiples of {part}"),
    };
    require(divides, "heads", format_args!("must divide the width{parts}: {heads} heads, width {width}"))
}

/// Scaled dot-product attention of every head.
///
/// # Shapes
/// - `q`, `k`, `v`: `[batch, heads, positions, head_width]`
/// - `keys`: `[batch, positions]`, true where a key may be attended to; at least one per row
/// - output: `[batch, heads, positions, head_width]`
pub fn attention(q: Dual<4>, k: Dual<4>, v: Dual<4>, keys: Option<Tensor<2, Bool>>) -> Dual<4> {
    let [b, heads, n, width] = q.dims();
    let drop = keys.map(|keys| keys.bool_not().reshape([b, 1, 1, n]).expand([b, heads, n, n]));
    if q.tangent.is_none() && k.tangent.is_none() && v.tangent.is_none() {
        let options = AttentionModuleOptions::default();
        return burn::tensor::module::attention(q.value, k.value, v.value, drop, None, options).into();
    }
    let mut scores = q.matmul(k.linear(|k| k.swap_dims(2, 3))).scale(1.0 / (width as f64).sqrt());
    if let Some(drop) = drop {
        // Far below every score, but finite: minus infinity could give NaN.
        scores = scores.mask_fill(drop, -1e30);
    }
    scores.softmax().matmul(v)
}

/// Self-attention of every head, with rotary position embeddings.
///
/// # Shapes
/// - `qkv`: `[batch, positions, 3 width]`: queries, keys and values concatenated, each head by head
/// - output: `[batch, positions, width]`
///
/// # Panics
/// If the heads do not divide the width.
pub fn self_attention(qkv: Dual<3>, heads: usize, rotary: &Rotary) -> Dual<3> {
    if kernels::serve(&qkv.value) && kernels::serve(&rotary.rotary_table) {
        return kernels::attention(qkv.into(), heads, None, Some(rotary.rotary_table.clone()), None).into();
    }
    let [q, k, v] = split_heads(&qkv, heads);
    together(attention(rotary.forward(q), rotary.forward(k), v, None))
}

/// Self-attention of every head with a bias added to the scores, among unmasked positions.
///
/// ```text
/// S = Q K^T / sqrt(d) + bias
/// ```
///
/// # Shapes
/// - `qkv`: `[batch, positions, 3 width]`: queries, keys and values concatenated, each head by head
/// - `bias`: `[batch, heads, positions, positions]`, rows are queries
/// - `mask`: `[batch, positions]`, one for positions that exist and zero for padding; at least one per row
/// - output: `[batch, positions, width]`
///
/// # Panics
/// If the heads do not divide the width.
pub fn biased_attention(qkv: Dual<3>, bias: Dual<4>, heads: usize, mask: &Tensor<2>) -> Dual<3> {
    if kernels::serve(&qkv.value) && kernels::serve(&bias.value) && kernels::serve(mask) {
        return kernels::attention(qkv.into(), heads, Some(bias.into()), None, Some(mask.clone())).into();
    }
    let [q, k, v] = split_heads(&qkv, heads);
    let [b, heads, n, head] = q.dims();
    let scores = q.matmul(k.linear(|k| k.swap_dims(2, 3))).scale(1.0 / (head as f64).sqrt()) + bias;
    let absent = mask.clone().lower_scalar(0.5).reshape([b, 1, 1, n]).expand([b, heads, n, n]);
    together(scores.mask_fill(absent, -1e30).softmax().matmul(v))
}

/// Queries, keys and values of every head: `[batch, positions, 3 width]` to three times `[batch, heads, positions,
/// head_width]`.
fn split_heads(qkv: &Dual<3>, heads: usize) -> [Dual<4>; 3] {
    let [b, n, packed] = qkv.dims();
    let (width, head) = (packed / 3, packed / 3 / heads);
    [0, 1, 2]
        .map(|i| qkv.clone().linear(|v| v.narrow(2, i * width, width).reshape([b, n, heads, head]).swap_dims(1, 2)))
}

/// Concatenates the heads of every position: `[batch, heads, positions, head_width]` to `[batch, positions, width]`.
fn together(heads: Dual<4>) -> Dual<3> {
    let [b, count, n, head] = heads.dims();
    heads.linear(|v| v.swap_dims(1, 2).reshape([b, n, count * head]))
}

/// Positions of tokens, for rotary position embeddings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Positions {
    /// A sequence.
    Line,
    /// Row by row on a grid: the first half of the features of every head is rotated by the row, the second half by the
    /// column.
    Grid {
        /// Number of columns.
        columns: usize,
    },
}

/// Cosines and sines of the rotation angles of rotary position embeddings.
///
/// # Examples
/// Position 0 is not rotated, and rotations keep the length.
/// ```
/// use pushforward::burn::tensor::{Device, Tensor};
/// use pushforward::nn::attention::{Positions, Rotary};
/// use pushforward::tensor::to_host;
///
/// let x = Tensor::<4>::from_data([[[[3.0f32, 4.0], [3.0, 4.0]]]], &Device::flex());
/// let y = to_host(&Rotary::new(Positions::Line, 2, 2, &x).forward(x.into()).value);
/// assert_eq!(y[..2], [3.0, 4.0]);
/// assert!(y[2] != 3.0 && (y[2].hypot(y[3]) - 5.0).abs() < 1e-5);
/// ```
#[derive(Clone, Debug)]
pub struct Rotary {
    /// Cosines, then sines: `[2, 1, tokens, width / 2]`.
    rotary_table: Tensor<4>,
}

impl Rotary {
    /// The angles `position * 10000^(-2i/width)` for `i < width/2`, in the precision of `like`.
    ///
    /// # Panics
    /// If `width` is odd, or not a multiple of four on a grid.
    pub fn new<const L: usize>(positions: Positions, tokens: usize, width: usize, like: &Tensor<L>) -> Self {
        let half = width / 2;
        let angle =
            |position: usize, i: usize, width: usize| position as f64 * 10_000f64.powf(-2.0 * i as f64 / width as f64);
        let mut angles = Vec::with_capacity(tokens * half);
        for token in 0..tokens {
            match positions {
                Positions::Line => {
                    assert!(width.is_multiple_of(2), "rotary positions need an even head width, found {width}");
                    angles.extend((0..half).map(|i| angle(token, i, width)));
                }
                Positions::Grid { columns } => {
                    assert!(width.is_multiple_of(4), "rotary grids need a head width divisible by 4, found {width}");
                    let quarter = half / 2;
                    angles.extend((0..quarter).map(|i| angle(token / columns, i, half)));
                    angles.extend((0..quarter).map(|i| angle(token % columns, i, half)));
                }
            }
        }
        let both = angles.iter().map(|a| a.cos()).chain(angles.iter().map(|a| a.sin()));
        Self { rotary_table: from_host(&both.collect::<Vec<_>>(), [2, 1, tokens, half], like) }
    }

    /// Rotates `(a, b) -> (a cos - b sin, b cos + a sin)`, with `a` the first half of the features of a head and `b`
    /// the second.
    ///
    /// # Shapes
    /// - `x`, output: `[batch, heads, tokens, width]`
    pub fn forward(&self, x: Dual<4>) -> Dual<4> {
        let half = x.dims()[3] / 2;
        x.linear(|x| {
            let (a, b) = (x.clone().narrow(3, 0, half), x.narrow(3, half, half));
            let (cos, sin) = (self.rotary_table.clone().narrow(0, 0, 1), self.rotary_table.clone().narrow(0, 1, 1));
            let first = a.clone() * cos.clone() - b.clone() * sin.clone();
            Tensor::cat(vec![first, b * cos + a * sin], 3)
        })
    }
}
