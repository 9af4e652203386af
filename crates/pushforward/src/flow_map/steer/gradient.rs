//! Gradient ascent on the reward of the predicted end, as in guided flow maps: few evaluations, and no weights.
//!
//! ```text
//! x <- X_{s,t}( x + a grad_x r(pi_{s,1}(x)) )
//! ```
//!
//! The root-mean-squares of all moves before a jump add up to at most `1 - s`, the scale of the noise.
//!
//! At s = 0, moved Gaussian noise is rescaled to its length before the move: in many dimensions nearly all noise that
//! the map is trained on has about this length.
//!
//! The exact look-ahead of a categorical flow is one-hot, so its reward is piecewise constant and has no gradient; the
//! gradient used here is that of the learned endpoint, which is smooth. Reported rewards are those of the finished
//! items.

use burn::tensor::Tensor;

use super::candidates::pick;
use super::context::{Kept, SteerContext};
use super::lookahead::bounded;
use super::request::SteerError;
use super::reward::checked;
use crate::flow_map::backbone::EndpointNet;
use crate::flow_map::interpolant::Source;
use crate::flow_map::sample::Samples;
use crate::flow_map::sample::batch::SampleBatch;
use crate::tensor::to_host;

/// Euclidean norm of every item, `[batch, 1, 1]`.
fn length(x: Tensor<3>) -> Tensor<3> {
    x.powi_scalar(2).sum_dim(2).sum_dim(1).sqrt().clamp_min(1e-12)
}

/// Runs `count` populations, numbered from `first`, and returns their kept particles.
pub(super) fn run<N: EndpointNet>(
    context: &SteerContext<'_, N>,
    step: f64,
    rounds: usize,
    first: usize,
    count: usize,
) -> Result<Vec<Kept>, SteerError> {
    let (base, particles) = (&context.request.sample, context.request.particles);
    let n = count * particles;
    let start = base.first + (first * particles) as u64;
    let mut items = SampleBatch::new(&context.generator, base, start, n);
    let mut x = items.noise(context.generator.device, false);
    let mut nfe = 0;
    for (s, t) in base.grid.intervals() {
        for _ in 0..rounds {
            let soft = context.soft(&x, &items.conditioning, s, true)?;
            let slope = soft.gradient.expect("a gradient was requested");
            let moved = x.clone() + bounded(slope * step, &items.conditioning, (1.0 - s) / rounds as f64);
            let on_shell = s == 0.0 && context.generator.noise.source == Source::Gaussian;
            x = if on_shell { moved.clone() * (length(x) / length(moved)) } else { moved };
        }
        x = context.jumps(&x, &items.conditioning, s, t);
        nfe += (2 * rounds as u64 + 1) * context.generator.net.passes();
    }
    let endpoints = to_host(&x).into_iter().map(|v| v as f32).collect();
    let ids = items.classes(x, base.last);
    let rewards = checked(context.reward, &ids, context.generator.sites.count)?;
    let samples = Samples { ids, endpoints, sites: context.generator.sites.clone(), nfe: vec![nfe; n] };
    Ok(pick(context.request, &samples, &rewards, first))
}
