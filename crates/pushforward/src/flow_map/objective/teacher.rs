//! The teacher of self-distillation, and derivatives of the student's logits.

use burn::tensor::Tensor;

use crate::dual::Dual;
use crate::flow_map::backbone::{Backbone, EndpointNet};
use crate::flow_map::conditioning::Conditioning;
use crate::flow_map::model::FlowMapModel;
use crate::flow_map::objective::batch::NoisedBatch;
use crate::nn::Pass;
use crate::tensor::vector;
use crate::transport::time::TimePairs;

/// A teacher: deterministic, and outside any autodiff graph.
#[derive(Debug)]
pub struct TeacherView<'a, N: Backbone> {
    /// The model, without gradients.
    pub model: &'a FlowMapModel<N>,
    /// The items, for their conditioning.
    pub batch: &'a NoisedBatch,
}

impl<N: Backbone> TeacherView<'_, N> {
    /// Logits outside any autodiff graph; every item has its own pair of times.
    ///
    /// # Shapes
    /// - `x`, output: `[batch, sites, classes]`
    pub fn logits(&self, x: Tensor<3>, s: &[f64], t: &[f64]) -> Tensor<3> {
        let x = x.inner();
        let (s, t) = (vector(s, &x), vector(t, &x));
        let z = self.model.logits(x.into(), s.into(), t.into(), &self.batch.conditioning, &mut Pass::eval());
        // Even if the weights track gradients, no gradient flows through the target.
        z.value.inner()
    }
}

/// The student's logits without tangent; every item has its own pair of times.
///
/// # Shapes
/// - `x`, output: `[batch, sites, classes]`
pub fn logits<N: Backbone>(
    model: &FlowMapModel<N>,
    x: Tensor<3>,
    s: &[f64],
    t: &[f64],
    conditioning: &Conditioning,
    pass: &mut Pass<'_>,
) -> Tensor<3> {
    let (s, t) = (vector(s, &x), vector(t, &x));
    model.trained_logits(x.into(), s.into(), t.into(), conditioning, pass).value
}

/// The student's logits with their derivative in t at fixed x and s as tangent.
///
/// # Shapes
/// - `x`, output: `[batch, sites, classes]`
pub fn along_t<N: Backbone>(
    model: &FlowMapModel<N>,
    x: Tensor<3>,
    pairs: &TimePairs,
    conditioning: &Conditioning,
    pass: &mut Pass<'_>,
) -> Dual<3> {
    let (s, t) = (vector(&pairs.s, &x), vector(&pairs.t, &x));
    let t = Dual::new(t.clone(), t.ones_like());
    model.trained_logits(x.into(), s.into(), t, conditioning, pass)
}

/// The student's logits with their derivative along `(1-s, direction)` in `(s, x)` as tangent, in a pass without dropout.
///
/// With `direction = pi_ss - x` this is `1-s` times the derivative along the flow, `(1, v_s)`.
///
/// # Shapes
/// - `x`, `direction`, output: `[batch, sites, classes]`
pub fn along_flow<N: Backbone>(
    model: &FlowMapModel<N>,
    x: Tensor<3>,
    direction: Tensor<3>,
    pairs: &TimePairs,
    conditioning: &Conditioning,
) -> Dual<3> {
    let (s, t) = (vector(&pairs.s, &x), vector(&pairs.t, &x));
    let ds = s.clone().neg() + 1.0;
    model.trained_logits(Dual::new(x, direction), Dual::new(s, ds), t.into(), conditioning, &mut Pass::eval())
}
