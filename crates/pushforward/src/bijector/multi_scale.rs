//! Flows on a part of the features, and the multi-scale architecture that they make.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::haar::Haar;
use super::{Bijector, Flow, FlowStep, Transform};

/// A flow on the first features; the others stay as they are.
#[derive(Module, Debug)]
pub struct Leading {
    /// The flow.
    pub flow: Flow,
    features: usize,
}

impl Leading {
    /// `flow` on the first `features` features.
    ///
    /// # Panics
    /// If `features` is 0.
    pub fn new(features: usize, flow: Flow) -> Self {
        assert!(features > 0, "a flow on the leading features needs at least one of them");
        Self { flow, features }
    }

    /// Initialises the flow, see [`Flow::initialise`].
    pub(super) fn initialise(&mut self, x: &Tensor<2>, inverted: bool) {
        let (first, _) = self.split(x.clone());
        if inverted {
            self.flow.initialise_inverse(first)
        } else {
            self.flow.initialise(first)
        };
    }

    fn split(&self, x: Tensor<2>) -> (Tensor<2>, Option<Tensor<2>>) {
        let ([_, found], n) = (x.dims(), self.features);
        assert!(found >= n, "axis 1 of the input: a flow on the first {n} features found {found}");
        let rest = (found > n).then(|| x.clone().narrow(1, n, found - n));
        (x.narrow(1, 0, n), rest)
    }

    fn apply(&self, x: Tensor<2>, map: impl FnOnce(Tensor<2>) -> (Tensor<2>, Tensor<1>)) -> (Tensor<2>, Tensor<1>) {
        let (first, rest) = self.split(x);
        let (first, ladj) = map(first);
        (Tensor::cat([first].into_iter().chain(rest).collect(), 1), ladj)
    }
}

impl Bijector for Leading {
    fn forward_and_ladj(&self, x: Tensor<2>) -> (Tensor<2>, Tensor<1>) {
        self.apply(x, |x| self.flow.forward_and_ladj(x))
    }

    fn inverse_and_ladj(&self, z: Tensor<2>) -> (Tensor<2>, Tensor<1>) {
        self.apply(z, |z| self.flow.inverse_and_ladj(z))
    }
}

/// A flow of images on several scales: every level halves the image by a Haar transform, applies the flow that `level` makes for the
/// shape it arrived at, and hands the first half of the channels to the next level; the other half is latent from there on.
///
/// Reference: Dinh, Sohl-Dickstein, Bengio 2017 (arXiv:1605.08803), section 3.6.
///
/// # Panics
/// If a level meets an odd side.
pub fn multi_scale(
    [channels, height, width]: [usize; 3],
    levels: usize,
    device: &Device,
    level: &mut dyn FnMut([usize; 3]) -> Flow,
) -> Flow {
    if levels == 0 {
        return Flow::default();
    }
    let mut steps = vec![FlowStep::new(Transform::Haar(Haar::new([channels, height, width], device)))];
    let shape = [4 * channels, height / 2, width / 2];
    steps.extend(level(shape).steps);
    if levels > 1 {
        let kept = [2 * channels, shape[1], shape[2]];
        let rest = multi_scale(kept, levels - 1, device, level);
        steps.push(FlowStep::new(Transform::Leading(Leading::new(kept.iter().product(), rest))));
    }
    Flow { steps }
}
