//! Learned linear maps of features, or of the channels of an image (invertible 1 x 1 convolution), in LU decomposition.

use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::map::{Bijector, constant_ladj};
use super::permutation::Permutation;
use super::triangular::{factorise, inverse_lower, random_orthogonal};
use crate::nn::linear::exact_product;
use crate::rng::Stream;

/// `z = P L U x` for the channels of every position, with a fixed permutation `P`, `L` lower triangular with ones on
/// its diagonal and `U` upper triangular with the diagonal `exp(log_diagonal)`.
///
/// ```text
/// ladj = positions sum_c log_diagonal_c
/// ```
///
/// Features are channels times positions, with the channel as the slower index: with as many channels as features this
/// is a linear map of all features, with fewer a 1 x 1 convolution. The inverse multiplies by the inverse matrices,
/// which are computed by recursive block inversion.
///
/// Reference: Kingma, Dhariwal 2018 (arXiv:1807.03039), section 3.2.
///
/// # Examples
/// A random rotation keeps lengths and volumes.
/// ```
/// use pushforward::bijector::{Bijector, LinearStart, LuLinear};
/// use pushforward::burn::tensor::{Device, Tensor};
/// use pushforward::rng::{Purpose, stream};
/// use pushforward::tensor::to_host;
///
/// let device = Device::flex();
/// let map = LuLinear::init(3, LinearStart::Rotation, &device, &mut stream(0, Purpose::Init, 0));
/// let (z, ladj) = map.forward_and_ladj(Tensor::<2>::from_data([[2.0f32, -1.0, 2.0]], &device));
/// let length = to_host(&z).iter().map(|v| v * v).sum::<f64>().sqrt();
/// assert!((length - 3.0).abs() < 1e-5 && to_host(&ladj)[0].abs() < 1e-5);
/// ```
#[derive(Module, Debug)]
pub struct LuLinear {
    /// The permutation of the rows.
    pub permutation: Permutation,
    /// `[channels, channels]`; only the part below the diagonal is used.
    pub lower: Param<Tensor<2>>,
    /// `[channels, channels]`; only the part above the diagonal is used.
    pub upper: Param<Tensor<2>>,
    /// `[channels]`
    pub log_diagonal: Param<Tensor<1>>,
}

/// Initial value of a linear map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinearStart {
    /// A random orthogonal matrix.
    #[default]
    Rotation,
    /// The identity.
    Identity,
}

impl LuLinear {
    /// The initial map: a random rotation or the identity.
    ///
    /// # Panics
    /// If `channels` is 0.
    pub fn init(channels: usize, start: LinearStart, device: &Device, stream: &mut Stream) -> Self {
        assert!(channels > 0, "a linear map needs at least one channel");
        let n = channels;
        let (order, factors) = match start {
            LinearStart::Rotation => factorise(random_orthogonal(n, stream)),
            LinearStart::Identity => {
                ((0..n).collect(), (0..n).map(|i| (0..n).map(|j| f64::from(i == j)).collect()).collect())
            }
        };
        // With S the signs of the diagonal of U, P L U = P S (S L S) (S U). Dropping the first S only changes the signs
        // of rows, and makes the diagonal positive, so that it has logarithms.
        let sign = |i: usize| factors[i][i].signum();
        let matrix = |keep: fn(usize, usize) -> bool, value: &dyn Fn(usize, usize) -> f64| {
            let entries = (0..n).flat_map(|i| (0..n).map(move |j| (i, j)));
            let values: Vec<f32> = entries.map(|(i, j)| if keep(i, j) { value(i, j) as f32 } else { 0.0 }).collect();
            Param::from_data(TensorData::new(values, [n, n]), device)
        };
        let diagonal: Vec<f32> = (0..n).map(|i| factors[i][i].abs().ln() as f32).collect();
        Self {
            permutation: Permutation::new(&order, device),
            lower: matrix(|i, j| i > j, &|i, j| sign(i) * factors[i][j] * sign(j)),
            upper: matrix(|i, j| i < j, &|i, j| sign(i) * factors[i][j]),
            log_diagonal: Param::from_data(TensorData::new(diagonal, [n]), device),
        }
    }

    fn channels(&self) -> usize {
        self.log_diagonal.dims()[0]
    }

    /// `L` and `U`.
    fn factors(&self) -> [Tensor<2>; 2] {
        let n = self.channels();
        let lower = self.lower.val().tril(-1);
        let eye = Tensor::<2>::eye(n, &lower.device().without_autodiff()).cast(lower.dtype());
        let diagonal = self.log_diagonal.val().exp().reshape([1, n]) * eye.clone();
        [lower + eye, self.upper.val().triu(1) + diagonal]
    }

    /// Multiplies the channels of every position by `matrix`; the log-determinant is `sign` times that of `U`.
    fn apply(&self, x: Tensor<2>, matrix: Tensor<2>, sign: f64) -> (Tensor<2>, Tensor<1>) {
        let ([batch, features], c) = (x.dims(), self.channels());
        assert!(
            features.is_multiple_of(c),
            "axis 1 of the input: a linear map of {c} channels needs a multiple of {c} features, found {features}"
        );
        let positions = features / c;
        let ladj = constant_ladj(0.0, &x) + self.log_diagonal.val().sum() * (sign * positions as f64);
        // One matrix product over all rows, so that the matrix has one gradient instead of one per example.
        let rows = x.reshape([batch, c, positions]).swap_dims(1, 2).reshape([batch * positions, c]);
        let y = exact_product(rows, matrix.transpose());
        (y.reshape([batch, positions, c]).swap_dims(1, 2).reshape([batch, features]), ladj)
    }

    fn order(&self) -> Tensor<1, Int> {
        self.permutation.order.val()
    }
}

impl Bijector for LuLinear {
    fn forward_and_ladj(&self, x: Tensor<2>) -> (Tensor<2>, Tensor<1>) {
        let [l, u] = self.factors();
        self.apply(x, l.matmul(u).select(0, self.order()), 1.0)
    }

    fn inverse_and_ladj(&self, z: Tensor<2>) -> (Tensor<2>, Tensor<1>) {
        let [l, u] = self.factors();
        let u_inverse = inverse_lower(u.transpose()).transpose();
        // P^-1 permutes the columns of the inverse as P permutes rows: the same selection.
        self.apply(z, u_inverse.matmul(inverse_lower(l)).select(1, self.order()), -1.0)
    }
}
