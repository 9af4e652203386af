//! Label smoothing of the diagonal's cross-entropy, and the posterior without it.
//!
//! A diagonal that is trained towards `(1 - eps) onehot(x_1) + eps / K` predicts the smoothed posterior
//! `p = (1 - eps) pi + eps / K`, where `K` is the number of classes that the site has. At `s = t` the model therefore
//! gives
//!
//! ```text
//! pi = (p - eps / K) / (1 - eps)
//! ```
//!
//! to whoever asks (samplers, steering, the likelihood bound, validation, teachers); only the loss sees `p`. Jumps,
//! `s < t`, follow targets that are made of `pi`, so that nothing is undone there.
//!
//! Reference: Szegedy et al. 2016 (arXiv:1512.00567), section 7, for the smoothing.

use burn::tensor::{Bool, Tensor};

use crate::dual::{Dual, softmax_tangent};

/// Smallest probability after smoothing is undone: below it the prediction has less than the smoothed share of a
/// class, which no posterior has.
const LEAST: f64 = 1e-12;

/// Logits of `pi` for the items where `diagonal` holds; those of the others do not change.
///
/// # Shapes
/// - `z`, output: `[batch, sites, classes]`; logits of classes that a site does not have are masked
/// - `diagonal`: `[batch]`
/// - `live`: one for the classes that a site has, `[1, sites, classes]`; all of them if `None`
pub(super) fn undo(z: Dual<3>, smoothing: f64, diagonal: Tensor<1, Bool>, live: Option<&Tensor<3>>) -> Dual<3> {
    let shape = z.value.dims();
    let p = Dual::from(z.value.clone()).softmax().value;
    let share = match live {
        Some(live) => live.clone() / live.clone().sum_dim(2) * smoothing,
        None => p.ones_like().slice_dim(0, 0..1) * (smoothing / shape[2] as f64),
    };
    let pi = (p.clone() - share) / (1.0 - smoothing);
    let kept = pi.clone().detach().greater_elem(LEAST);
    let pi = pi.clamp_min(LEAST);
    let diagonal = diagonal.reshape([shape[0], 1, 1]).expand(shape);
    let tangent = z.tangent.map(|dz| {
        let slope = softmax_tangent(p, dz.clone()) / pi.clone() / (1.0 - smoothing);
        dz.mask_where(diagonal.clone(), slope.mask_fill(kept.bool_not(), 0.0))
    });
    Dual { value: z.value.mask_where(diagonal, pi.log()), tangent }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, Device};

    use super::*;
    use crate::tensor::to_host;

    fn logits(p: [f64; 3]) -> Tensor<3> {
        Tensor::<3>::from_data([[p.map(f64::ln)], [p.map(f64::ln)]], (&Device::flex(), DType::F64))
    }

    #[test]
    fn the_posterior_comes_back_on_the_diagonal_alone() {
        let (pi, eps) = ([0.7, 0.3 - 1e-9, 1e-9], 0.1);
        let p = pi.map(|q| (1.0 - eps) * q + eps / 3.0);
        let diagonal = Tensor::<1, Bool>::from_data([true, false], &Device::flex());
        let found = to_host(&Dual::from(undo(logits(p).into(), eps, diagonal, None).value).softmax().value);
        for (i, wanted) in pi.into_iter().chain(p).enumerate() {
            assert!((found[i] - wanted).abs() < 1e-12, "{i}: {} {wanted}", found[i]);
        }
    }

    #[test]
    fn the_tangent_is_the_derivative() {
        let (p, eps, h) = ([0.6, 0.3, 0.1], 0.1, 1e-6);
        let dz = Tensor::<3>::from_data([[[0.3, -0.2, 0.9]], [[0.3, -0.2, 0.9]]], (&Device::flex(), DType::F64));
        let live = Tensor::<3>::from_data([[[1.0, 1.0, 1.0]]], (&Device::flex(), DType::F64));
        let at = |step: f64| {
            let diagonal = Tensor::<1, Bool>::from_data([true, false], &Device::flex());
            undo(Dual::new(logits(p) + dz.clone() * step, dz.clone()), eps, diagonal, Some(&live))
        };
        let wanted = to_host(&((at(h).value - at(-h).value) / (2.0 * h)));
        let found = to_host(&at(0.0).tangent.expect("a tangent"));
        assert!(found.iter().zip(&wanted).all(|(a, b)| (a - b).abs() < 1e-8), "{found:?} {wanted:?}");
    }
}
