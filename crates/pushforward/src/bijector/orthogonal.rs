//! Learned orthogonal maps: products of reflections.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};

use super::lu_linear::LinearStart;
use super::map::{Bijector, check_features, constant_ladj};
use super::triangular::inverse_lower;
use crate::nn::linear::exact_product;
use crate::rng::Stream;
use crate::tensor::from_host;

/// `z = H_1 H_2 ... H_k x` with reflections `H_i = I - 2 v_i v_i^T / |v_i|^2`; its log-determinant is zero.
///
/// The product in one formula, with the normalised vectors as rows of `V`:
///
/// ```text
/// H_1 ... H_k = I - V^T S^-1 V      S = I / 2 + (the part of V V^T above the diagonal)
/// ```
///
/// `k = features` reflections represent every orthogonal matrix with determinant `(-1)^k`.
///
/// References: Tomczak, Welling 2016 (arXiv:1611.09630); for the product, Joffrain et al. 2006
/// (doi:10.1145/1141885.1141886).
///
/// # Examples
/// ```
/// use pushforward::bijector::{Bijector, LinearStart, Orthogonal};
/// use pushforward::burn::tensor::{Device, Tensor};
/// use pushforward::rng::{Purpose, stream};
/// use pushforward::tensor::to_host;
///
/// let device = Device::flex();
/// let mut map = Orthogonal::init(3, 2, LinearStart::Rotation, &device, &mut stream(0, Purpose::Init, 0));
/// map.align(&[vec![0.6, 0.8, 0.0]]);
/// let z = to_host(&map.forward_and_ladj(Tensor::from_data([[3.0f32, 4.0, 12.0]], &device)).0);
/// assert!((z[0].abs() - 5.0).abs() < 1e-5);
/// assert!((z.iter().map(|v| v * v).sum::<f64>().sqrt() - 13.0).abs() < 1e-4);
/// ```
#[derive(Module, Debug)]
pub struct Orthogonal {
    /// `[reflections, features]`, not normalised; no row is zero.
    pub vectors: Param<Tensor<2>>,
}

impl Orthogonal {
    /// Random vectors; for [`LinearStart::Identity`] in equal pairs, which cancel.
    ///
    /// # Panics
    /// If `reflections` is 0, or odd for a start at the identity.
    pub fn init(features: usize, reflections: usize, start: LinearStart, device: &Device, stream: &mut Stream) -> Self {
        assert!(reflections > 0, "an orthogonal map needs at least one reflection");
        let repeat = match start {
            LinearStart::Rotation => 1,
            LinearStart::Identity => 2,
        };
        assert!(
            reflections.is_multiple_of(repeat),
            "a start at the identity takes reflections in pairs, found {reflections}"
        );
        let rows = (0..reflections / repeat).flat_map(|_| vec![stream.normals(features); repeat]);
        let data = TensorData::new(rows.flatten().collect::<Vec<f32>>(), [reflections, features]);
        Self { vectors: Param::from_data(data, device) }
    }

    /// Sets the reflections so that output `j` is, up to its sign, the component of a point along `frame[j]`, for
    /// orthonormal vectors.
    ///
    /// The reflections are those of a QR decomposition of the frame. With fewer vectors than reflections, the remaining
    /// outputs are arbitrary.
    ///
    /// # Panics
    /// If the frame has more vectors than there are reflections, or if a vector does not have one entry per feature.
    pub fn align(&mut self, frame: &[Vec<f64>]) {
        let [reflections, features] = self.vectors.dims();
        assert!(frame.len() <= reflections, "{} vectors for {reflections} reflections", frame.len());
        let unit = |j: usize| (0..features).map(|i| if i == j { 1.0 } else { 0.0 }).collect::<Vec<f64>>();
        let mut columns: Vec<Vec<f64>> = frame.iter().cloned().chain((frame.len()..reflections).map(unit)).collect();
        let mut vectors = Vec::with_capacity(reflections);
        for j in 0..reflections {
            let column = &columns[j];
            assert_eq!(column.len(), features, "length of vector {j} of the frame: the map is for {features} features");
            let length = column[j..].iter().map(|v| v * v).sum::<f64>().sqrt();
            let mut v = vec![0.0; features];
            v[j..].copy_from_slice(&column[j..]);
            // With the sign of `v[j]`, to avoid cancellation.
            v[j] += if v[j] < 0.0 { -length } else { length };
            let square: f64 = v.iter().map(|v| v * v).sum();
            if square == 0.0 {
                v[j] = 1.0;
            }
            let square = square.max(f64::MIN_POSITIVE);
            for column in &mut columns[j..] {
                let along = 2.0 * v.iter().zip(column.iter()).map(|(a, b)| a * b).sum::<f64>() / square;
                column.iter_mut().zip(&v).for_each(|(c, v)| *c -= along * v);
            }
            vectors.push(v);
        }
        // The first reflection of the decomposition is applied first: it is the last factor of the product.
        let values: Vec<f64> = vectors.into_iter().rev().flatten().collect();
        let old = self.vectors.val();
        let requires = old.is_require_grad();
        let new = (old.zeros_like() + from_host(&values, [reflections, features], &old)).detach();
        let new = new.set_require_grad(requires);
        self.vectors = self.vectors.clone().map(|_| new);
    }

    /// `x - x V^T core V` with normalised vectors; `core` is a function of the inverse transpose of `S`, which is lower
    /// triangular.
    fn apply(&self, x: Tensor<2>, core: impl FnOnce(Tensor<2>) -> Tensor<2>) -> (Tensor<2>, Tensor<1>) {
        let v = self.vectors.val();
        let [reflections, features] = v.dims();
        check_features("an orthogonal map", &x, features);
        let v = v.clone() / (v.clone() * v).sum_dim(1).sqrt();
        let half = Tensor::<2>::eye(reflections, &v.device().without_autodiff()).cast(v.dtype()) * 0.5;
        let s_transposed = v.clone().matmul(v.clone().transpose()).tril(-1) + half;
        let ladj = constant_ladj(0.0, &x);
        let along = exact_product(x.clone(), v.clone().transpose());
        let along = exact_product(along, core(inverse_lower(s_transposed)));
        (x - exact_product(along, v), ladj)
    }
}

impl Bijector for Orthogonal {
    fn forward_and_ladj(&self, x: Tensor<2>) -> (Tensor<2>, Tensor<1>) {
        self.apply(x, |core| core)
    }

    fn inverse_and_ladj(&self, z: Tensor<2>) -> (Tensor<2>, Tensor<1>) {
        self.apply(z, Tensor::transpose)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Purpose, stream};

    #[test]
    fn an_aligned_map_puts_the_frame_first() {
        let mut map = Orthogonal::init(4, 3, LinearStart::Rotation, &Device::flex(), &mut stream(0, Purpose::Init, 0));
        let frame = vec![vec![0.0, 0.6, 0.0, 0.8], vec![1.0, 0.0, 0.0, 0.0]];
        map.align(&frame);
        let x = [0.3, -1.0, 0.5, 2.0];
        let like = map.vectors.val();
        let z = crate::tensor::to_host(&map.forward_and_ladj(from_host(&x, [1, 4], &like)).0);
        for (z, axis) in z.iter().zip(&frame) {
            let along: f64 = axis.iter().zip(x).map(|(a, b)| a * b).sum();
            assert!((z.abs() - along.abs()).abs() < 1e-6, "{z} {along}");
        }
    }

    #[test]
    #[should_panic(expected = "reflections in pairs, found 3")]
    fn the_identity_needs_pairs() {
        Orthogonal::init(4, 3, LinearStart::Identity, &Device::flex(), &mut stream(0, Purpose::Init, 0));
    }
}
