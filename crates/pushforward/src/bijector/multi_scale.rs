//! The multi-scale architecture.

use burn::tensor::Device;

use super::flow::{Flow, FlowStep, Leading, Transform};
use super::haar::Haar;

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
