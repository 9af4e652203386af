//! The multi-scale architecture.

use burn::tensor::Device;

use super::flow::{Flow, FlowStep, Leading, Transform};
use super::haar::Haar;

/// A multi-scale flow on images: every level halves the image by a Haar transform, applies the flow that `level`
/// returns for the new shape, and passes the first half of the channels to the next level. The other half is part of
/// the latent as it is.
///
/// Reference: Dinh, Sohl-Dickstein, Bengio 2017 (arXiv:1605.08803), section 3.6.
///
/// # Panics
/// If height or width is odd at some level.
///
/// # Examples
/// ```
/// use pushforward::bijector::{Bijector, Flow, multi_scale};
/// use pushforward::burn::tensor::{Device, Tensor};
/// use pushforward::tensor::to_host;
///
/// let mut shapes = Vec::new();
/// let flow = multi_scale([1, 4, 4], 2, &Device::flex(), &mut |shape| {
///     shapes.push(shape);
///     Flow::default()
/// });
/// assert_eq!(shapes, [[4, 2, 2], [8, 1, 1]]);
/// // A constant image has a single coefficient, and the length stays the same.
/// let z = to_host(&flow.forward_and_ladj(Tensor::ones([1, 16], &Device::flex())).0);
/// assert_eq!(z[0], 4.0);
/// assert!(z[1..].iter().all(|v| *v == 0.0));
/// ```
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
