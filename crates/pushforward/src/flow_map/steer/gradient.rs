//! Look-ahead along the gradient, as in guided flow maps: few evaluations, and no weights.
//!
//! ```text
//! x <- X_{s,t}( x + a grad_x r(pi_{s,1}(x)) )          the move's root-mean-square is at most 1 - s
//! ```
//!
//! The exact look-ahead of a categorical flow is one-hot, so its reward is piecewise constant and has no gradient; what is
//! followed is the smoothness of the learned endpoint. Rewards are reported of the finished items.

use super::candidates::pick;
use super::lookahead::bounded;
use super::reward::checked;
use super::{Kept, Scene, SteerError};
use crate::flow_map::items::Items;
use crate::flow_map::network::EndpointNet;
use crate::flow_map::sample::Samples;
use crate::tensor::to_host;

/// The kept particles of `count` populations from number `first` on.
pub(super) fn run<N: EndpointNet>(
    scene: &Scene<'_, N>,
    step: f64,
    first: usize,
    count: usize,
) -> Result<Vec<Kept>, SteerError> {
    let (base, particles) = (&scene.request.sample, scene.request.particles);
    let n = count * particles;
    let start = base.first + (first * particles) as u64;
    let mut items = Items::new(scene.config, scene.sites, base, start, n, scene.device);
    let mut x = items.noise(scene.device, false);
    let mut nfe = 0;
    for (s, t) in base.grid.intervals() {
        let soft = scene.soft(&x, &items.given, s, true)?;
        let slope = soft.gradient.expect("a gradient was asked for");
        x = scene.jumps(&(x + bounded(slope * step, 1.0 - s)), &items.given, s, t);
        nfe += 3 * scene.net.passes();
    }
    let endpoints = to_host(&x).into_iter().map(|v| v as f32).collect();
    let ids = items.classes(x, base.last);
    let rewards = checked(scene.reward, &ids, scene.sites.count)?;
    let samples = Samples { ids, endpoints, sites: scene.sites, nfe: vec![nfe; n] };
    Ok(pick(scene, &samples, &rewards, first))
}
