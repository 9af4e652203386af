//! Reordering of features.

use burn::module::{Module, Param, ParamId};
use burn::tensor::{Device, Int, Tensor, TensorData};

use super::map::{Bijector, check_features, constant_ladj};
use crate::rng::Stream;

/// `z_i = x_{order[i]}`; its log-determinant is zero.
///
/// The order is stored with the parameters, so that a flow with a random order can be loaded; training does not change
/// it.
///
/// # Examples
/// ```
/// use pushforward::bijector::{Bijector, Permutation};
/// use pushforward::burn::tensor::{Device, Tensor};
/// use pushforward::tensor::to_host;
///
/// let x = Tensor::<2>::from_data([[1.0f32, 2.0, 3.0]], &Device::flex());
/// let (z, ladj) = Permutation::new(&[2, 0, 1], &Device::flex()).forward_and_ladj(x);
/// assert_eq!(to_host(&z), [3.0, 1.0, 2.0]);
/// assert_eq!(to_host(&ladj), [0.0]);
/// ```
///
/// Common orders; a random one needs a stream of random numbers.
/// ```
/// use pushforward::bijector::{Bijector, Permutation};
/// use pushforward::burn::tensor::{Device, Tensor};
/// use pushforward::rng::{Purpose, stream};
/// use pushforward::tensor::to_host;
///
/// let device = Device::flex();
/// let x = Tensor::<2>::from_data([[0.0f32, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]], &device);
/// let apply = |order: Permutation| to_host(&order.forward_and_ladj(x.clone()).0);
/// assert_eq!(apply(Permutation::reverse(8, &device)), [7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.0]);
/// // An image of 2 x 4 pixels, row by row: its upper left pixels are 0 and 2.
/// assert_eq!(apply(Permutation::squeeze([1, 2, 4], &device)), [0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0]);
/// let random = Permutation::shuffle(8, &device, &mut stream(0, Purpose::Init, 0));
/// let (z, _) = random.forward_and_ladj(x.clone());
/// assert_eq!(to_host(&random.inverse_and_ladj(z).0), to_host(&x));
/// ```
#[derive(Module, Debug)]
pub struct Permutation {
    /// `[features]`
    pub order: Param<Tensor<1, Int>>,
}

impl Permutation {
    /// Output `i` is input `order[i]`.
    ///
    /// # Panics
    /// If `order` is not a permutation of `0..order.len()`.
    pub fn new(order: &[usize], device: &Device) -> Self {
        let n = order.len();
        let mut seen = vec![false; n];
        for &input in order {
            assert!(input < n && !seen[input], "{order:?} is not a permutation of 0..{n}");
            seen[input] = true;
        }
        let order: Vec<i32> = order.iter().map(|&i| i as i32).collect();
        Self { order: Param::initialized(ParamId::new(), Tensor::from_data(TensorData::new(order, [n]), device)) }
    }

    /// The reversed order.
    pub fn reverse(features: usize, device: &Device) -> Self {
        Self::new(&(0..features).rev().collect::<Vec<_>>(), device)
    }

    /// A random order.
    pub fn shuffle(features: usize, device: &Device, stream: &mut Stream) -> Self {
        let mut order: Vec<usize> = (0..features).collect();
        stream.shuffle(&mut order);
        Self::new(&order, device)
    }

    /// Space to depth: of the blocks of 2 x 2 pixels, all upper left pixels, then all upper right, lower left and lower
    /// right ones, each as an image of half the size with all its channels.
    ///
    /// # Panics
    /// If height or width is odd.
    pub fn squeeze([channels, height, width]: [usize; 3], device: &Device) -> Self {
        assert!(
            height.is_multiple_of(2) && width.is_multiple_of(2),
            "halving an image needs even sides, found {height} x {width}"
        );
        let mut order = Vec::with_capacity(channels * height * width);
        for (down, right) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            for (c, i) in (0..channels).flat_map(|c| (0..height / 2).map(move |i| (c, i))) {
                order.extend((0..width / 2).map(|j| (c * height + 2 * i + down) * width + 2 * j + right));
            }
        }
        Self::new(&order, device)
    }

    fn apply(&self, x: Tensor<2>, order: Tensor<1, Int>) -> (Tensor<2>, Tensor<1>) {
        check_features("a permutation", &x, order.dims()[0]);
        let ladj = constant_ladj(0.0, &x);
        (x.select(1, order), ladj)
    }
}

impl Bijector for Permutation {
    fn forward_and_ladj(&self, x: Tensor<2>) -> (Tensor<2>, Tensor<1>) {
        self.apply(x, self.order.val())
    }

    fn inverse_and_ladj(&self, z: Tensor<2>) -> (Tensor<2>, Tensor<1>) {
        self.apply(z, self.order.val().argsort(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "[0, 2, 2] is not a permutation of 0..3")]
    fn a_repetition_is_refused() {
        Permutation::new(&[0, 2, 2], &Device::flex());
    }
}
