//! The update of Muon of one matrix.
//!
//! ```text
//! v <- momentum v + (1 - momentum) g          u = orth((1 - momentum) g + momentum v)
//! w <- (1 - lr weight_decay) w - 0.2 sqrt(max(rows, columns)) lr u
//! ```
//!
//! `orth` brings the singular values of a matrix near one and keeps its singular vectors, by so many iterations of
//!
//! ```text
//! x <- a x + (b (x x^T) + c (x x^T)^2) x          (a, b, c) = (3.4445, -4.7750, 2.0315), from x / |x|
//! ```
//!
//! The factor of the rate gives updates the size of AdamW's, so that one learning rate serves both. burn's Muon does
//! the same, but hides `v`, which could not be written to a checkpoint.
//!
//! References: Muon: An optimizer for hidden layers in neural networks (Jordan et al., 2024); Muon is Scalable for LLM
//! Training (Liu et al., 2025), arXiv:2502.16982, equation 4 and section 2.2.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::state::State;

/// Settings of Muon.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MuonSettings {
    /// Weight of the earlier gradients, in `[0, 1)`.
    pub momentum: f64,
    /// Iterations that bring the singular values of an update near one.
    pub iterations: usize,
}

impl Default for MuonSettings {
    fn default() -> Self {
        Self { momentum: 0.95, iterations: 5 }
    }
}

impl MuonSettings {
    /// Whether a parameter takes this update: a matrix inside a list that is named `blocks` or `layers`. Vectors do not, nor what lies
    /// outside of such lists, as first and last layers and embeddings of flow maps do.
    pub(super) fn applies(name: &str, shape: &[usize]) -> bool {
        let mut parts = name.split('.').peekable();
        let listed =
            std::iter::from_fn(|| parts.next().map(|part| (part, parts.peek().copied()))).any(|(part, next)| {
                matches!(part, "blocks" | "layers") && next.is_some_and(|next| next.parse::<usize>().is_ok())
            });
        listed && shape.len() == 2 && shape.iter().all(|&side| side > 1)
    }

    /// One step of a matrix, flattened, of `[rows, columns]`; `keep` is `1 - lr weight_decay`.
    pub(super) fn step(
        self,
        (lr, keep): (f64, f64),
        value: Tensor<1>,
        gradient: Tensor<1>,
        state: Option<State>,
        [rows, columns]: [usize; 2],
    ) -> (Tensor<1>, State) {
        let (old, time) = state.map_or_else(|| (value.zeros_like(), 0), |state| (state.first, state.time));
        let rest = gradient.mul_scalar(1.0 - self.momentum);
        let velocity = old.mul_scalar(self.momentum) + rest.clone();
        let ahead = (velocity.clone().mul_scalar(self.momentum) + rest).reshape([rows, columns]);
        let update = self.orthogonal(ahead).reshape([rows * columns]);
        let rate = 0.2 * (rows.max(columns) as f64).sqrt() * lr;
        (value.mul_scalar(keep) - update.mul_scalar(rate), State { time: time + 1, first: velocity, second: None })
    }

    /// `orth` of the module page. The square is formed anew in every iteration: carried along, its rounding errors grow twelvefold each time.
    fn orthogonal(self, matrix: Tensor<2>) -> Tensor<2> {
        let [a, b, c] = [3.4445, -4.7750, 2.0315];
        let [rows, columns] = matrix.dims();
        let flat = rows <= columns;
        let x = if flat { matrix } else { matrix.transpose() };
        // A gradient of zeros has no direction and stays zero.
        let norm = x.clone().square().sum().sqrt().clamp_min(1e-30);
        let mut x = x.div(norm.unsqueeze());
        for _ in 0..self.iterations {
            let square = x.clone().matmul(x.clone().transpose());
            let factor = square.clone().matmul(square.clone()).mul_scalar(c) + square.mul_scalar(b);
            x = factor.matmul(x.clone()) + x.mul_scalar(a);
        }
        if flat { x } else { x.transpose() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Purpose, stream};
    use burn::tensor::Device;

    /// An orthogonal matrix: a product of reflections.
    fn rotation(size: usize, index: u64) -> Tensor<2> {
        let device = Device::flex();
        let mut product = Tensor::eye(size, &device);
        for k in 0..3 {
            let normal = stream(k, Purpose::Init, index).normals(size);
            let normal = Tensor::<1>::from_floats(normal.as_slice(), &device).reshape([size, 1]);
            let length = normal.clone().square().sum().unsqueeze();
            product = product.clone() - normal.clone().matmul(normal.transpose().matmul(product)).div(length) * 2.0;
        }
        product
    }

    #[test]
    fn singular_values_follow_the_iteration_and_vectors_stay() {
        let singular = [3.0f64, 1.0, 0.2, 0.02];
        for [rows, columns] in [[4, 7], [7, 4], [4, 4]] {
            for iterations in [1, 3, 5] {
                let diagonal = |values: &[f64]| {
                    let mut full = vec![0.0f32; rows * columns];
                    values.iter().enumerate().for_each(|(i, &value)| full[i * columns + i] = value as f32);
                    Tensor::<1>::from_floats(full.as_slice(), &Device::flex()).reshape([rows, columns])
                };
                let between = |values: &[f64]| rotation(rows, 0).matmul(diagonal(values)).matmul(rotation(columns, 1));
                let norm = singular.iter().map(|s| s * s).sum::<f64>().sqrt();
                let iterated = singular.map(|s| {
                    (0..iterations).fold(s / norm, |x, _| 3.4445 * x - 4.7750 * x.powi(3) + 2.0315 * x.powi(5))
                });
                let found = MuonSettings { iterations, ..Default::default() }.orthogonal(between(&singular));
                let error = (found - between(&iterated)).abs().max().into_scalar::<f64>();
                assert!(error < 1e-4, "{rows} x {columns}, {iterations} iterations: {error}");
                if iterations == 5 {
                    assert!(iterated.iter().all(|s| (0.6..1.3).contains(s)), "{iterated:?}");
                }
            }
        }
        // A matrix of few directions: whatever rounding makes of the others, no singular value leaves its range.
        let thin =
            |index| Tensor::<1>::from_floats(stream(9, Purpose::Init, index).normals(64).as_slice(), &Device::flex());
        let few = thin(0).reshape([32, 2]).matmul(thin(1).reshape([2, 32]));
        let long = MuonSettings { iterations: 15, ..Default::default() }.orthogonal(few);
        let squares = long.square().sum().into_scalar::<f64>();
        assert!((1.0..32.0 * 1.3 * 1.3).contains(&squares), "the sum of squares of 32 of them: {squares}");
        let zeros = Tensor::<2>::zeros([3, 5], &Device::flex());
        assert_eq!(MuonSettings::default().orthogonal(zeros).abs().max().into_scalar::<f64>(), 0.0);
    }

    #[test]
    fn steps_are_momentum_decay_and_an_update_of_the_size_of_adamws() {
        let (muon, lr, keep) = (MuonSettings::default(), 0.01, 0.999);
        let vector = |index| {
            let values = stream(0, Purpose::Init, index).normals(64 * 96);
            Tensor::<1>::from_floats(values.as_slice(), &Device::flex())
        };
        let (value, [first, second]) = (vector(0), [vector(1), vector(2)]);
        let (after, state) = muon.step((lr, keep), value.clone(), first.clone(), None, [64, 96]);
        let moved = (after.clone() - value.clone() * keep).square().mean().sqrt().into_scalar::<f64>();
        assert!((moved / (0.2 * lr) - 1.0).abs() < 0.25, "the root mean square of an update is near 0.2: {moved}");
        let (_, state) = muon.step((lr, keep), after, second.clone(), Some(state), [64, 96]);
        let velocity = first * (0.95 * 0.05) + second * 0.05;
        assert!((state.first - velocity).abs().max().into_scalar::<f64>() < 1e-6);
        assert_eq!(state.time, 2);
    }

    #[test]
    fn hidden_matrices_alone_are_stepped() {
        for (name, shape, applies) in [
            ("network.Dit.blocks.0.qkv.weight", vec![64, 192], true),
            ("layers.12.nodes.first.weight", vec![8, 8], true),
            ("network.Dit.blocks.0.qkv.bias", vec![192], false),
            ("network.Dit.input.projection.weight", vec![8, 64], false),
            ("network.Mlp.rounds.0.direct.last.weight", vec![260, 260], false),
            ("blocks.weight", vec![8, 8], false),
            ("layers.0.bias.weight", vec![64, 1], false),
            ("layers.0.kernel", vec![8, 8, 3], false),
        ] {
            assert_eq!(MuonSettings::applies(name, &shape), applies, "{name}");
        }
    }
}
