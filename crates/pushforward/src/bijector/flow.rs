//! Composition of invertible maps.

use burn::module::Module;
use burn::tensor::Tensor;

use super::{Bijector, Transform, constant_ladj, sum_features};

/// A chain of invertible maps, in the order in which `forward` applies them; the empty chain is the identity.
#[derive(Module, Debug, Default)]
pub struct Flow {
    /// The maps.
    pub steps: Vec<FlowStep>,
}

/// One map of a [`Flow`], or its inverse.
#[derive(Module, Debug)]
pub struct FlowStep {
    /// The map.
    pub transform: Transform,
    /// Whether `forward` of the flow applies the inverse of the map.
    pub inverted: bool,
}

impl FlowStep {
    /// The map as it is.
    pub fn new(transform: Transform) -> Self {
        Self { transform, inverted: false }
    }

    /// The inverse of this step.
    pub fn inverse(self) -> Self {
        Self { inverted: !self.inverted, ..self }
    }
}

impl Bijector for FlowStep {
    fn forward_and_ladj(&self, x: Tensor<2>) -> (Tensor<2>, Tensor<1>) {
        if self.inverted { self.transform.inverse_and_ladj(x) } else { self.transform.forward_and_ladj(x) }
    }

    fn inverse_and_ladj(&self, z: Tensor<2>) -> (Tensor<2>, Tensor<1>) {
        if self.inverted { self.transform.forward_and_ladj(z) } else { self.transform.inverse_and_ladj(z) }
    }
}

impl Flow {
    /// The inverse flow: its `forward` is this one's `inverse`. No parameter changes.
    pub fn inverse(self) -> Self {
        Self { steps: self.steps.into_iter().rev().map(FlowStep::inverse).collect() }
    }

    /// `log N(f(x); 0, I) + ladj(x)`, in nats per example.
    ///
    /// # Shapes
    /// - `x`: `[batch, features]`
    /// - output: `[batch]`
    pub fn log_density(&self, x: Tensor<2>) -> Tensor<1> {
        let constant = 0.5 * x.dims()[1] as f64 * std::f64::consts::TAU.ln();
        let (z, ladj) = self.forward_and_ladj(x);
        sum_features(z.clone() * z) * -0.5 - constant + ladj
    }

    /// Initialises every map that takes its first parameters from data and has not done so, from a batch that is mapped by `forward`,
    /// and answers where the batch arrives, outside any graph.
    ///
    /// # Shapes
    /// - `x`, output: `[batch, features]`
    pub fn initialise(&mut self, x: Tensor<2>) -> Tensor<2> {
        self.steps.iter_mut().fold(x.detach(), |x, step| step.transform.initialise(x, step.inverted))
    }

    /// The same from a batch that is mapped by `inverse`: for flows that training uses in that direction.
    ///
    /// # Shapes
    /// - `z`, output: `[batch, features]`
    pub fn initialise_inverse(&mut self, z: Tensor<2>) -> Tensor<2> {
        self.steps.iter_mut().rev().fold(z.detach(), |z, step| step.transform.initialise(z, !step.inverted))
    }

    /// Declares all maps initialised, after their parameters were loaded.
    pub fn assume_initialised(&mut self) {
        self.steps.iter_mut().for_each(|step| step.transform.assume_initialised());
    }
}

impl Bijector for Flow {
    fn forward_and_ladj(&self, x: Tensor<2>) -> (Tensor<2>, Tensor<1>) {
        let start = (constant_ladj(0.0, &x), x);
        let (ladj, z) = self.steps.iter().fold(start, |(total, x), step| {
            let (y, ladj) = step.forward_and_ladj(x);
            (total + ladj, y)
        });
        (z, ladj)
    }

    fn inverse_and_ladj(&self, z: Tensor<2>) -> (Tensor<2>, Tensor<1>) {
        let start = (constant_ladj(0.0, &z), z);
        let (ladj, x) = self.steps.iter().rev().fold(start, |(total, z), step| {
            let (y, ladj) = step.inverse_and_ladj(z);
            (total + ladj, y)
        });
        (x, ladj)
    }
}
