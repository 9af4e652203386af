//! Look-ahead from unfinished particles: predicted endpoints, the gradient of their reward, and items drawn from them.

use burn::tensor::Tensor;

use super::context::SteerContext;
use super::request::SteerError;
use crate::flow_map::backbone::EndpointNet;
use crate::flow_map::conditioning::Conditioning;
use crate::flow_map::map::FlowMap;
use crate::flow_map::sample::batch::{SampleBatch, draw_item};
use crate::tensor::to_host;

/// Predicted endpoints, their soft rewards, and the gradients of these with respect to the points.
pub(super) struct Soft {
    pub(super) pi: Tensor<3>,
    pub(super) value: Vec<f64>,
    pub(super) gradient: Option<Tensor<3>>,
}

impl<N: EndpointNet> SteerContext<'_, N> {
    fn map(&self) -> FlowMap<'_, N> {
        FlowMap::new(self.generator.net).with_temperature(self.request.sample.temperature)
    }

    /// Applies a function to batches of particles, of the batch size of the request, and collects the results.
    fn in_batches<T>(
        &self,
        x: &Tensor<3>,
        conditioning: &Conditioning,
        mut f: impl FnMut(Tensor<3>, FlowMap<'_, N>, usize) -> T,
    ) -> Vec<T> {
        let (n, batch) = (x.dims()[0], self.request.sample.batch.max(1));
        let part = |start: usize| {
            let range = start..(start + batch).min(n);
            let length = range.len();
            f(x.clone().slice_dim(0, range.clone()), self.map().of(conditioning.slice(range)), length)
        };
        (0..n).step_by(batch).map(part).collect()
    }

    /// The endpoints `pi_{s,t}(x)`; one evaluation per particle.
    pub(super) fn endpoints(&self, x: &Tensor<3>, conditioning: &Conditioning, s: f64, t: f64) -> Tensor<3> {
        Tensor::cat(self.in_batches(x, conditioning, |x, map, n| map.endpoint(&x, &vec![s; n], &vec![t; n])), 0)
    }

    /// The jumps `X_{s,t}(x)`; one evaluation per particle.
    pub(super) fn jumps(&self, x: &Tensor<3>, conditioning: &Conditioning, s: f64, t: f64) -> Tensor<3> {
        Tensor::cat(self.in_batches(x, conditioning, |x, map, n| map.jump(x, &vec![s; n], &vec![t; n])), 0)
    }

    /// The soft reward of the endpoints `pi_{s,1}(x)`; one evaluation per particle, and one more for the gradient.
    pub(super) fn soft(
        &self,
        x: &Tensor<3>,
        conditioning: &Conditioning,
        s: f64,
        gradient: bool,
    ) -> Result<Soft, SteerError> {
        let parts = self.in_batches(x, conditioning, |x, map, n| {
            let x = if gradient { Tensor::from_inner(x).require_grad() } else { x };
            let pi = map.endpoint(&x, &vec![s; n], &vec![1.0; n]);
            let value = self.reward.soft(pi.clone())?;
            let numbers = to_host(&value);
            let slope = gradient.then(|| {
                let found = x.grad(&value.sum().backward());
                // A reward that does not depend on the point has no gradient in the graph: zero.
                found.unwrap_or_else(|| x.clone().inner().zeros_like())
            });
            let pi = if gradient { pi.inner() } else { pi };
            Some((pi, numbers, slope))
        });
        let parts: Option<Vec<_>> = parts.into_iter().collect();
        let parts = parts.ok_or(SteerError::NoGradient)?;
        let mut out = (Vec::new(), Vec::new(), Vec::new());
        for (pi, value, slope) in parts {
            out.0.push(pi);
            out.1.extend(value);
            out.2.extend(slope);
        }
        let slope = gradient.then(|| conditioning.mask(Tensor::cat(out.2, 0)));
        Ok(Soft { pi: Tensor::cat(out.0, 0), value: out.1, gradient: slope })
    }
}

impl SampleBatch {
    /// Draws `draws` items from the predicted endpoint of every particle, from its own stream.
    pub(super) fn draw(&mut self, pi: &Tensor<3>, draws: usize) -> Vec<u32> {
        let [_, sites, classes] = pi.dims();
        let open = self.conditioning.constraint.as_ref().map(to_host);
        let host = to_host(pi);
        let mut ids = Vec::with_capacity(self.streams.len() * draws * sites);
        for (item, (_, fresh)) in host.chunks(sites * classes).zip(&mut self.streams) {
            (0..draws).for_each(|_| ids.extend(draw_item(item, open.as_deref(), classes, fresh)));
        }
        self.mark_absent(&mut ids, draws);
        ids
    }
}

/// Scales the move of every particle so that its root-mean-square over the sites and classes that the item has is at
/// most `most`.
///
/// # Shapes
/// - `step`, output: `[batch, sites, classes]`
pub(super) fn bounded(step: Tensor<3>, conditioning: &Conditioning, most: f64) -> Tensor<3> {
    let size = conditioning.root_mean_square(step.clone());
    let factor = (size.clamp_min(1e-12).recip() * most).clamp_max(1.0);
    step * factor
}
