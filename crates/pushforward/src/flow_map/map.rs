//! The flow map of a network: endpoints, velocities and jumps, with every network evaluation counted.

use std::cell::Cell;

use burn::tensor::Tensor;

use crate::dual::softmax;
use crate::flow_map::backbone::{EndpointNet, Parametrisation};
use crate::flow_map::conditioning::Conditioning;
use crate::flow_map::losses::jump;

use crate::flow_map::time::{column, jump_weight, rate};
use crate::nn::Pass;
use crate::tensor::vector;

/// A network read as a flow map.
#[derive(Debug)]
pub struct FlowMap<'a, N> {
    net: &'a N,
    temperature: f64,
    conditioning: Conditioning,
    evaluations: Cell<u64>,
}

impl<'a, N: EndpointNet> FlowMap<'a, N> {
    /// A map that has not been evaluated yet, at temperature one.
    pub fn new(net: &'a N) -> Self {
        Self { net, temperature: 1.0, conditioning: Conditioning::default(), evaluations: Cell::new(0) }
    }

    /// The map of items of which something is known, not evaluated yet.
    pub fn of(&self, conditioning: Conditioning) -> Self {
        Self { conditioning, evaluations: Cell::new(0), ..*self }
    }

    /// The same with logits divided by a temperature; below one it sharpens endpoints. Velocities are not affected.
    ///
    /// # Panics
    /// If `temperature` is not positive.
    pub fn with_temperature(mut self, temperature: f64) -> Self {
        assert!(temperature > 0.0, "a temperature is positive, found {temperature}");
        self.temperature = temperature;
        self
    }

    /// Evaluations of the network per batch so far.
    pub fn evaluations(&self) -> u64 {
        self.evaluations.get()
    }

    /// The raw output of the network at every example's own times.
    ///
    /// # Shapes
    /// - `x`, output: `[batch, sites, classes]`
    /// - `s`, `t`: one time per example
    pub fn output(&self, x: &Tensor<3>, s: &[f64], t: &[f64]) -> Tensor<3> {
        self.evaluations.set(self.evaluations.get() + self.net.passes());
        let mut conditioning = self.conditioning.clone();
        conditioning.diagonal_noise = conditioning.diagonal_noise.filter(|_| s.iter().all(|&s| s == 0.0));
        self.net
            .logits(x.clone().into(), vector(s, x).into(), vector(t, x).into(), &conditioning, &mut Pass::eval())
            .value
    }

    /// The endpoint `pi_{s,t}(x)`: where the straight continuation of the jump from s to t would arrive at time 1.
    ///
    /// On the simplex for the endpoint parametrisation; `x + (1-s) z` for velocities.
    pub fn endpoint(&self, x: &Tensor<3>, s: &[f64], t: &[f64]) -> Tensor<3> {
        let z = self.output(x, s, t);
        match self.net.parametrisation() {
            Parametrisation::Endpoint => softmax(z / self.temperature),
            Parametrisation::Velocity => {
                let rest: Vec<f64> = s.iter().map(|s| 1.0 - s).collect();
                x.clone() + z * column(&rest, x)
            }
        }
    }

    /// The jump `X_{s,t}(x)`.
    pub fn jump(&self, x: Tensor<3>, s: &[f64], t: &[f64]) -> Tensor<3> {
        let pi = self.endpoint(&x, s, t);
        self.towards(x, pi, s, t)
    }

    /// The convex step `x + gamma(s,t) (pi - x)` towards a given endpoint.
    pub fn towards(&self, x: Tensor<3>, pi: Tensor<3>, s: &[f64], t: &[f64]) -> Tensor<3> {
        let gamma: Vec<f64> = s.iter().zip(t).map(|(&s, &t)| jump_weight(s, t)).collect();
        let gamma = column(&gamma, &x);
        jump(x, pi, gamma)
    }

    /// The velocity `v_t(x) = (pi_{t,t}(x) - x) / (1-t)`; zero at `t = 1`.
    pub fn velocity(&self, x: &Tensor<3>, t: &[f64]) -> Tensor<3> {
        let rates: Vec<f64> = t.iter().map(|&t| rate(t)).collect();
        (self.endpoint(x, t, t) - x.clone()) * column(&rates, x)
    }
}
