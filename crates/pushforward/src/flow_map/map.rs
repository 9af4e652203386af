//! The flow map of a network: endpoints, velocities and jumps. Counts network evaluations.
//!
//! # Examples
//! ```
//! use pushforward::burn::tensor::{Device, Tensor};
//! use pushforward::flow_map::{map::FlowMap, model::FlowMapModel};
//! use pushforward::nn::{SiteShape, mlp::MlpConfig};
//! use pushforward::rng::{Purpose, stream};
//! use pushforward::tensor::to_host;
//!
//! let (sites, device) = (SiteShape::line(2, 3), Device::flex());
//! let network = MlpConfig::default().init(sites.clone(), &device, &mut stream(0, Purpose::Init, 0));
//! let model = FlowMapModel::new(network, sites.clone());
//! let map = FlowMap::new(&model);
//! let x = Tensor::<3>::ones([1, 2, 3], &device);
//! // A jump of length zero is the identity; a jump to time 1 ends in the endpoint, here uniform.
//! assert_eq!(to_host(&map.jump(x.clone(), &[0.4], &[0.4])), to_host(&x));
//! assert!(to_host(&map.jump(x, &[0.4], &[1.0])).iter().all(|p| (p - 1.0 / 3.0).abs() < 1e-6));
//! assert_eq!(map.evaluations(), 2);
//! ```

use std::cell::Cell;

use burn::tensor::Tensor;

use crate::dual::softmax;
use crate::flow_map::backbone::{EndpointNet, Parametrisation};
use crate::flow_map::conditioning::Conditioning;
use crate::flow_map::losses::jump;

use crate::nn::Pass;
use crate::tensor::vector;
use crate::transport::time::{column, jump_weight, rate};

/// The flow map that a network defines, with temperature and conditioning.
///
/// # Examples
/// A network of your own whose logits are the point itself, at temperature 1/2.
/// ```
/// use pushforward::dual::softmax;
/// use pushforward::flow_map::{conditioning::Conditioning, map::FlowMap};
/// use pushforward::prelude::*;
/// use pushforward::tensor::to_host;
///
/// struct Itself;
/// impl EndpointNet for Itself {
///     fn logits(&self, x: Dual<3>, _: Dual<1>, _: Dual<1>, _: &Conditioning, _: &mut Pass<'_>) -> Dual<3> {
///         x
///     }
/// }
/// let x = Tensor::<3>::from_data([[[0.5f32, -1.0]]], &Device::flex());
/// let endpoint = FlowMap::new(&Itself).with_temperature(0.5).endpoint(&x, &[0.0], &[1.0]);
/// assert_eq!(to_host(&endpoint), to_host(&softmax(x * 2.0)));
/// ```
#[derive(Debug)]
pub struct FlowMap<'a, N> {
    net: &'a N,
    temperature: f64,
    conditioning: Conditioning,
    evaluations: Cell<u64>,
}

impl<'a, N: EndpointNet> FlowMap<'a, N> {
    /// The unconditional map at temperature one, with no evaluations counted.
    pub fn new(net: &'a N) -> Self {
        Self { net, temperature: 1.0, conditioning: Conditioning::default(), evaluations: Cell::new(0) }
    }

    /// The same map under the given conditioning, with no evaluations counted.
    pub fn of(&self, conditioning: Conditioning) -> Self {
        Self { conditioning, evaluations: Cell::new(0), ..*self }
    }

    /// The same map with logits divided by a temperature; values below one sharpen endpoints. No effect on the velocity
    /// parametrisation.
    ///
    /// # Panics
    /// If `temperature` is not positive.
    pub fn with_temperature(mut self, temperature: f64) -> Self {
        assert!(temperature > 0.0, "the temperature must be positive, found {temperature}");
        self.temperature = temperature;
        self
    }

    pub(super) fn conditioning(&self) -> &Conditioning {
        &self.conditioning
    }

    /// Number of network evaluations so far (NFE per item).
    pub fn evaluations(&self) -> u64 {
        self.evaluations.get()
    }

    /// The raw output of the network; every example has its own pair of times.
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

    /// The endpoint `pi_{s,t}(x)`: the point at time 1 on the straight line from `x` at time s through the jump at time
    /// t.
    ///
    /// `softmax(z / temperature)`, a point of the simplex per site, for the endpoint parametrisation; `x + (1-s) z` for
    /// velocities.
    ///
    /// # Shapes
    /// - `x`, output: `[batch, sites, classes]`
    /// - `s`, `t`: one time per example
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

    /// The jump `X_{s,t}(x) = x + gamma(s,t) (pi_{s,t}(x) - x)`.
    ///
    /// # Shapes
    /// - `x`, output: `[batch, sites, classes]`
    /// - `s`, `t`: one time per example
    pub fn jump(&self, x: Tensor<3>, s: &[f64], t: &[f64]) -> Tensor<3> {
        let pi = self.endpoint(&x, s, t);
        self.towards(x, pi, s, t)
    }

    /// The convex step `x + gamma(s,t) (pi - x)` towards a given endpoint; no network evaluation.
    ///
    /// # Shapes
    /// - `x`, `pi`, output: `[batch, sites, classes]`
    /// - `s`, `t`: one time per example
    pub fn towards(&self, x: Tensor<3>, pi: Tensor<3>, s: &[f64], t: &[f64]) -> Tensor<3> {
        let gamma: Vec<f64> = s.iter().zip(t).map(|(&s, &t)| jump_weight(s, t)).collect();
        let gamma = column(&gamma, &x);
        jump(x, pi, gamma)
    }

    /// The velocity `v_t(x) = (pi_{t,t}(x) - x) / (1-t)`; zero at `t = 1`.
    ///
    /// # Shapes
    /// - `x`, output: `[batch, sites, classes]`
    /// - `t`: one time per example
    pub fn velocity(&self, x: &Tensor<3>, t: &[f64]) -> Tensor<3> {
        let rates: Vec<f64> = t.iter().map(|&t| rate(t)).collect();
        (self.endpoint(x, t, t) - x.clone()) * column(&rates, x)
    }
}
